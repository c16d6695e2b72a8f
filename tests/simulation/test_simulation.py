"""Five hundred seeds hold every invariant; the same seed goes the same way in any process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.daemon import unmeasured
from tests.simulation.kinds import WANTED
from tests.simulation.mutants.__main__ import PATCHES, mutate
from tests.simulation.simulation import MIN_STEPS, run, seeds

SEEDS, AT_ONCE = 500, 50  # so many of them in a test
ROOT = Path(__file__).parents[2]


# Measuring coverage takes as long again; the other tests reach the same lines.
@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_every_invariant_holds_for_every_seed(first: int) -> None:
    asked = ("--first", str(first), "--seeds", str(AT_ONCE), "--kinds")
    played = subprocess.run(
        (sys.executable, "-m", "tests.simulation", *asked),
        cwd=ROOT,
        env=unmeasured(),
        check=False,
        capture_output=True,
        text=True,
    )

    print(played.stdout)
    assert played.returncode == 0, played.stdout + played.stderr
    figures = [int(one) for one in re.findall(r"\d+", played.stdout.splitlines()[-1])]
    count, steps, _, starts, acked, failures = figures
    assert (count, failures) == (AT_ONCE, 0)
    assert steps > MIN_STEPS * AT_ONCE
    # what was drawn was worth drawing
    assert starts > 3 * AT_ONCE
    assert acked > 20 * AT_ONCE
    rows = [line.split(maxsplit=2) for line in played.stdout.splitlines()[:-1]]
    met = {kind for seeds, _, kind in rows if seeds != "0"}
    assert sorted(set(WANTED) - met) == []


def test_a_seed_goes_the_same_way_under_any_hash_seed() -> None:
    traces = [
        subprocess.run(
            (sys.executable, "-m", "tests.simulation", "--seeds", "12", "--trace"),
            cwd=ROOT,
            env={**unmeasured(), "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()[:-1]  # the last line has figures of real time
        for hash_seed in ("0", "1")
    ]

    assert len(traces[0]) > 12 * MIN_STEPS
    assert traces[0] == traces[1]


def test_another_seed_goes_another_way() -> None:
    traces: list[list[str]] = [[], []]
    with seeds():
        for seed, trace in enumerate(traces):
            run(seed, trace=trace.append)

    assert traces[0] != traces[1]


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_every_mutant_still_applies(patch: Path, tmp_path: Path) -> None:
    mutate(patch, tmp_path)

    assert len(PATCHES) == 15
