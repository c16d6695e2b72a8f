"""Play seeds: `python -m tests.simulation --seeds 10000`, or one: `--seed 17 --trace`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable

from tests.simulation.kinds import WANTED
from tests.simulation.simulation import Ran, commit, run, seeds


def main() -> int:
    """Print what broke, and figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--seeds", type=int, default=500, help="so many")
    parser.add_argument("--first", type=int, default=0, help="from this one on")
    parser.add_argument("--until-failure", action="store_true", help="stop at the first")
    parser.add_argument("--trace", action="store_true", help="print every step")
    parser.add_argument("--kinds", action="store_true", help="print how many seeds met which facts")
    asked = parser.parse_args()
    wanted: Iterable[int] = range(asked.first, asked.first + asked.seeds)
    if asked.seed is not None:
        wanted = (asked.seed,)
    played: list[Ran] = []
    began = time.perf_counter()
    with seeds():
        for seed in wanted:
            played.append(run(seed, trace=print if asked.trace else None))
            if played[-1].problem:
                print(told(played[-1]), flush=True)
                if asked.until_failure:
                    break
    if asked.kinds:
        print(met(played))
    print(summary(played, time.perf_counter() - began))
    return 1 if any(ran.problem for ran in played) else 0


def told(ran: Ran) -> str:
    """What broke, and how to see it again."""
    return (
        f"seed {ran.seed}, step {ran.step}, commit {commit()}: {ran.problem}\n"
        f"  python -m tests.simulation --seed {ran.seed} --trace"
    )


def met(played: list[Ran]) -> str:
    """How many seeds met each kind of fact, and how often it was met in all; the rarest first."""
    in_all: Counter[str] = Counter()
    for ran in played:
        in_all.update(ran.seen)
    rows = [(sum(kind in ran.seen for ran in played), kind) for kind in {*in_all, *WANTED}]
    return "\n".join(f"{seeds:6d} {in_all[kind]:8d}  {kind}" for seeds, kind in sorted(rows))


def summary(played: list[Ran], took: float) -> str:
    """One line."""
    steps = sum(ran.steps for ran in played)
    return (
        f"{len(played)} seeds, {steps} steps ({steps / took:.0f}/s), "
        f"{sum(ran.starts for ran in played)} starts, "
        f"{sum(ran.acked for ran in played)} events acknowledged, "
        f"{sum(bool(ran.problem) for ran in played)} failures"
    )


if __name__ == "__main__":
    sys.exit(main())
