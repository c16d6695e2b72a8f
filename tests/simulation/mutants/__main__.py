"""Show that the simulation sees what it is there to see.

    python -m tests.simulation.mutants [--real] [NAME…]

Each patch beside this file breaks eventd in one way. It is applied to a copy of the source, and
seeds are played on that copy until an invariant does not hold. With `--real`, those that concern
durability run as a process that is killed, or whose disk fails, until a test does not pass.
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
KILL, CRASHES, FAULTS = (
    f"tests/acceptance/test_{name}.py" for name in ("kill", "crashpoints", "faults")
)
# Which test of a real process is to catch a mutant.
REAL = {
    "acknowledge-before-commit": KILL,
    "counter-reset-on-restore": CRASHES,
    "go-on-after-failed-fsync": FAULTS,
    "no-delivery-key-check": KILL,
    "no-fsync": FAULTS,
    "snapshot-marked-before-its-rows": CRASHES,
    "tick-not-journaled": KILL,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants")
    parser.add_argument("--real", action="store_true", help="by a real process, not the simulation")
    parser.add_argument("names", nargs="*", help="these alone")
    asked = parser.parse_args()
    names = asked.names or (REAL if asked.real else [patch.stem for patch in PATCHES])
    missed = 0
    for patch in (one for one in PATCHES if one.stem in names):
        found = caught_for_real(patch) if asked.real else caught(patch)
        missed += found is None
        print(f"{patch.stem}: {found or 'not caught'}", flush=True)
    return 1 if missed else 0


def caught(patch: Path) -> str | None:
    """The seed, the step and the invariant; None where all seeds hold."""
    ran = run(patch, "-m", "tests.simulation", "--seeds", f"{SEEDS}", "--until-failure")
    if ran.returncode == 0:
        return None
    found = re.search(r"^(seed \d+, step \d+), commit \w+: (.*)$", ran.stdout, re.MULTILINE)
    if found is None:
        raise SystemExit(f"{patch.stem}: {ran.stderr}")
    return f"{found[1]}: {found[2]}"


def caught_for_real(patch: Path) -> str | None:
    """The test that fails, and why; None where all pass."""
    ran = run(
        patch, "-m", "pytest", "-qx", "--tb=short", "-p", "no:cacheprovider", REAL[patch.stem]
    )
    if ran.returncode == 0:
        return None
    found = re.search(r"^FAILED \S+::(.*)$", ran.stdout, re.MULTILINE)
    if found is None:
        raise SystemExit(f"{patch.stem}: {ran.stdout[-2000:]}{ran.stderr}")
    return found[1]


def run(patch: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python, where eventd is a copy of the source with the patch applied."""
    with tempfile.TemporaryDirectory() as folder:
        mutate(patch, Path(folder))
        return subprocess.run(
            (sys.executable, *arguments),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{folder}/src:{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )


def mutate(patch: Path, folder: Path) -> None:
    """A copy of the source with the patch applied. Raises CalledProcessError where it does not."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        ("git", "apply", "-p1", str(patch)), cwd=folder, check=True, capture_output=True, text=True
    )


if __name__ == "__main__":
    sys.exit(main())
