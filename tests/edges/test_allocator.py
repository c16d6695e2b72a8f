"""What is freed goes back to the system."""

from __future__ import annotations

import subprocess
import sys

# 45 MB in blocks of 3,000 bytes, of which one in 20 stays, so that none of the end is free
HOLES = """
from pathlib import Path
from eventd.allocator import give_back, settle_allocator
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
settle_allocator()
blocks = [bytes(3_000) for _ in range(15_000)][::20]
before = resident()
give_back()
print(before - resident())
"""


def test_holes_in_the_heap_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)

    assert int(done.stdout) > 30 << 20
