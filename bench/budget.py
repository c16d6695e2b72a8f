"""Whether the budget of an `anomaly` rule is kept, and what a larger one finds.

    python -m bench.budget [--seeds 10]    500 streams, a value every 15 minutes; a line a seed

Streams are those of bench/scoring.py, in turn, for 30 days. First without faults: how many alerts
come. Then with one fault a day from the eighth day on: how many of them an alert tells of.
"""

from __future__ import annotations

import argparse
import json
import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from statistics import mean

from msgspec.structs import replace

from bench.scoring import FAULTS, STREAMS, inject, stream
from eventd.core.model import Alert, Severity, Status
from eventd.core.rules import parse
from eventd.core.rules.anomaly import State
from eventd.core.rules.budget import rate_of
from eventd.core.rules.rule import Limits, Raise, Seen, Transition
from eventd.core.rules.streams import Stream
from eventd.core.scoring.scorer import Score
from eventd.core.scoring.values import ValueScorer

T0 = datetime(2026, 3, 2, tzinfo=UTC)
DAILY, DAYS, COUNT = 96, 30, 500
FAULTS_FROM, LONGEST = 8, 7  # days: until the first, and that a fault may last
NOTHING = -1.0  # it does not know yet
BUDGETS = ("2 per week", "4 per week")


class Run:
    """The scores of all streams, and what an `anomaly` rule makes of them."""

    def __init__(self, seed: int, count: int, days: int) -> None:
        """`count` streams without faults."""
        self.seed, self.length = seed, days * DAILY
        self.scores = [scored(self._values(n)[0]) for n in range(count)]
        self.faults: dict[int, tuple[int, int]] = {}  # stream → from where, until

    def spoil(self) -> None:
        """One fault a day, each on another stream."""
        days = range(FAULTS_FROM, self.length // DAILY - LONGEST)
        for number, day in enumerate(days):
            own = number * len(self.scores) // len(days)
            chance = random.Random(f"fault {self.seed} {own}")
            values, unit = self._values(own)
            at = day * DAILY + chance.randrange(DAILY)
            lasts = inject(values, FAULTS[number % len(FAULTS)], at, unit, chance)
            self.faults[own] = at, at + lasts + 5
            self.scores[own] = scored(values)

    def alerts(self, budget: str) -> list[tuple[int, int]]:
        """Stream and place of each value that fires an alert under that budget."""
        spec = {"match": "", "budget": budget}
        rule = parse({"name": "bench", "anomaly": spec, "by": ["ci"]})
        state = Told(rule, Limits(len(self.scores)))
        alerts = [_measured(n) for n in range(len(self.scores))]
        return list(self._fired(state, alerts))

    def found(self, fired: Iterable[tuple[int, int]]) -> int:
        """How many of the faults an alert tells of."""
        hits = {own for own, n in fired if own in self.faults and n in range(*self.faults[own])}
        return len(hits)

    def _fired(self, state: State, alerts: Sequence[Alert]) -> Iterator[tuple[int, int]]:
        for n in range(self.length):
            now = T0 + timedelta(days=n / DAILY)
            for own, scores in enumerate(self.scores):
                alert = replace(alerts[own], value=scores[n])
                said = state.observe(Seen(alert, Transition.NOTED, now), now)
                if any(isinstance(one, Raise) and one.because is not None for one in said):
                    yield own, n

    def _values(self, number: int) -> tuple[list[float], float]:
        kind = STREAMS[number % len(STREAMS)]
        chance = random.Random(f"{self.seed} {number}")
        return stream(kind, chance, self.length, DAILY)


class Told(State):
    """The rule's own state, whose streams are told scores in place of values."""

    def _add(self, key: tuple[str, ...], measured: Alert) -> Stream:
        stream = super()._add(key, measured)
        stream.scorer = _Echo()
        return stream


class _Echo(ValueScorer):
    __slots__ = ()

    def score_then_learn(self, at: float, value: float) -> Score | None:
        return Score(0.0, 0.0, 0.0, 0.0, (), value) if value >= 0.0 else None


def scored(values: list[float]) -> array[float]:
    """What the scorer says of each, NOTHING where it does not know yet."""
    scorer, start = ValueScorer(), T0.timestamp()
    found = array("d")
    for n, value in enumerate(values):
        score = scorer.score_then_learn(start + n * 86_400.0 / DAILY, value)
        found.append(NOTHING if score is None else score.surprise)
    return found


def _measured(number: int) -> Alert:
    name = f"ci-{number}"
    return Alert(
        name, "bench", "load", name, "", "", Status.INFO, Severity.INFO, {}, (), T0, T0, None, 1,
        0, "", "",
    )  # fmt: skip


def measure(
    seed: int, count: int = COUNT, days: int = DAYS, budgets: Sequence[str] = BUDGETS
) -> dict[str, float]:
    """Alerts beside the budget without faults, and the share of faults found."""
    run = Run(seed, count, days)
    line: dict[str, float] = {"seed": seed}
    for budget in budgets:
        wanted = rate_of(budget) * days * 86_400.0
        line[f"alerts, {budget}"] = len(run.alerts(budget))
        line[f"of budget, {budget}"] = round(line[f"alerts, {budget}"] / wanted, 2)
    run.spoil()
    for budget in budgets:
        line[f"found, {budget}"] = round(run.found(run.alerts(budget)) / len(run.faults), 2)
    return line


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10)
    lines = []
    for seed in range(parser.parse_args().seeds):
        lines.append(measure(seed))
        print(json.dumps(lines[-1]), flush=True)
    print(json.dumps({name: round(mean(one[name] for one in lines), 2) for name in lines[0]}))
