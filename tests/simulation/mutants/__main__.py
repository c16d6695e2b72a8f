"""Show that the simulation sees what it is there to see.

    python -m tests.simulation.mutants [NAME…]

Each patch beside this file breaks eventd in one way. It is applied to a copy of the source, and
seeds are played on that copy until an invariant does not hold.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SEEDS = 200
ROOT = Path(__file__).parents[3]
PATCHES = tuple(sorted(Path(__file__).parent.glob("*.patch")))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants")
    parser.add_argument("names", nargs="*", help="these alone")
    names = parser.parse_args().names
    missed = 0
    for patch in PATCHES:
        if names and patch.stem not in names:
            continue
        found = caught(patch)
        missed += found is None
        print(f"{patch.stem}: {found or f'not caught in {SEEDS} seeds'}", flush=True)
    return 1 if missed else 0


def caught(patch: Path) -> str | None:
    """The seed, the step and the invariant; None where all seeds hold."""
    with tempfile.TemporaryDirectory() as folder:
        mutate(patch, Path(folder))
        ran = subprocess.run(
            (sys.executable, "-m", "tests.simulation", "--seeds", f"{SEEDS}", "--until-failure"),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{folder}/src:{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )
    if ran.returncode == 0:
        return None
    found = re.search(r"^(seed \d+, step \d+), commit \w+: (.*)$", ran.stdout, re.MULTILINE)
    if found is None:
        raise SystemExit(f"{patch.stem}: {ran.stderr}")
    return f"{found[1]}: {found[2]}"


def mutate(patch: Path, folder: Path) -> None:
    """A copy of the source with the patch applied. Raises CalledProcessError where it does not."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        ("git", "apply", "-p1", str(patch)), cwd=folder, check=True, capture_output=True, text=True
    )


if __name__ == "__main__":
    sys.exit(main())
