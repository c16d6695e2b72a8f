"""The recorded storm gives the facts in `storm.txt`, in any process.

After a deliberate change of behaviour, `python -m tests.golden.test_storm > tests/golden/storm.txt`
and read the difference.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from enum import Enum
from hashlib import sha256
from pathlib import Path

from msgspec import Struct
from tests.builders import T0, revived
from tests.golden.storm import storm

from eventd.core.engine import Engine

EXPECTED = Path(__file__).with_name("storm.txt")
ROOT = Path(__file__).parents[2]


def shown(value: object) -> str:
    """A value on one line: what is empty left out, times in seconds after the beginning."""
    match value:
        case datetime():
            return f"{(value - T0).total_seconds():g}s"
        case Enum():
            return value.name.lower()
        case Struct():
            fields = ((name, getattr(value, name)) for name in value.__struct_fields__)
            told = (f"{name}={shown(one)}" for name, one in fields if one not in (None, "", (), {}))
            return f"{type(value).__name__}({' '.join(told)})"
        case tuple():
            return f"[{', '.join(shown(one) for one in value)}]"
        case dict():
            return f"{{{', '.join(f'{key}: {shown(one)}' for key, one in value.items())}}}"
        case _:
            return str(value)


def lines(*, revive: bool = False) -> str:
    """Every fact of the storm, and every incident at its end, a line each."""
    engine, told = Engine(), []
    for now, item in storm():
        if revive:
            engine = revived(engine)
        told += [shown(fact) for fact in engine.step(item, now)]
    told += [shown(incident) for incident in engine.incidents()]
    return "\n".join(told) + "\n"


def test_the_storm_gives_the_facts_that_were_read_and_agreed_to() -> None:
    assert lines() == EXPECTED.read_text()


def test_the_storm_gives_the_same_facts_when_every_step_begins_from_a_snapshot() -> None:
    assert lines(revive=True) == EXPECTED.read_text()


def test_the_storm_gives_the_same_facts_under_any_hash_seed() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-m", "tests.golden.test_storm", "digest"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1")
    }

    assert digests == {sha256(EXPECTED.read_bytes()).hexdigest() + "\n"}


if __name__ == "__main__":
    if "digest" in sys.argv:
        sys.stdout.write(sha256(lines().encode()).hexdigest() + "\n")
    else:
        sys.stdout.write(lines())
