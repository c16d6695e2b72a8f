"""What a snapshot has of keys that `anomaly` rules know, made plain while they go on."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import T0, rule
from tests.core import test_novelty, test_rates, test_silences
from tests.core.test_anomaly import UNBOUNDED, USUAL, orders

from eventd.core.asking import as_alert
from eventd.core.model import Event
from eventd.core.rules import anomaly, state_of
from eventd.core.rules.budget import Share
from eventd.core.rules.rates import GRID
from eventd.core.rules.rule import Grouping, Limits, Rule, Seen, Transition
from eventd.core.rules.watching import Watching

KINDS = ("values", "rates", "silences", "new")
CIS = ("a", "b", "c", "d")
HOUR = timedelta(hours=1)


class Turn:
    """A rule that hears of one key after another."""

    def __init__(self, of: str, one: Rule, rows: list[object], now: datetime) -> None:
        state = state_of(one, Limits(len(rows)))
        assert isinstance(state, anomaly.State | Watching)
        state.load(rows)
        self.of, self.now, self.state = of, now, state
        self._grouping = Grouping(one.by)
        self.state.limits = Limits(state.share().streams + 2)

    def hear(self, ci: str, value: float = 300.0) -> None:
        """In a window of its own; an absurd value is a burst of what is counted."""
        self.now += HOUR
        for _ in range(90 if self.of == "rates" and value > 1e3 else 1):
            seen = Seen(as_alert(self._event(ci, value), self.now), Transition.NOTED, self.now)
            self.state.observe(seen, self.now)
        if self.of == "rates":
            self.state.due(GRID, self.now + test_rates.WINDOW)

    def wait(self) -> None:
        """Each is looked at whether it has been quiet for too long."""
        self.now += 2 * HOUR
        for ci in (*CIS, "web1"):
            key = self._grouping.of(as_alert(self._event(ci, 0.0), self.now)) or ()
            self.state.due(GRID if self.of == "rates" else self._grouping.key(key), self.now)

    def judge(self) -> None:
        for alert in list(self.state.budget.criers):
            self.state.budget.judge(alert, None, verdict=False)

    def _event(self, ci: str, value: float) -> Event:
        if self.of == "values":
            return orders(value, ci)
        if self.of == "rates":
            return test_rates.login(ci)
        return test_silences.polled(ci) if self.of == "silences" else test_novelty.said(ci)


@cache
def _warm(of: str) -> tuple[Rule, list[object], datetime]:
    """Rule, rows and time after one key knew enough and has cried."""
    if of == "values":
        turn = Turn(of, rule(UNBOUNDED), [(5.0, 0.0)], T0)
        for n in range(120):
            turn.hear("a", USUAL[n % len(USUAL)])
            turn.hear("b", USUAL[n % len(USUAL)])
    else:
        kind, now = {
            "rates": (test_rates, test_rates.NINE),
            "silences": (test_silences, test_silences.NOON),
            "new": (test_novelty, test_novelty.LATER),
        }[of]
        (state,) = kind.two_weeks().rules.budgeted.values()
        turn = Turn(of, state.rule, state.dump(), now)
    turn.wait() if of == "silences" else turn.hear("web1" if of == "rates" else "a", 1e6)
    assert turn.state.budget.criers
    return turn.state.rule, turn.state.dump(), turn.now


def warm(of: str) -> Turn:
    return Turn(of, *_warm(of))


steps = st.lists(st.sampled_from((*CIS, "web1", "judge", "read", "freeze", "wait")), max_size=40)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(KINDS), steps, st.integers(0, 9))
def test_each_snapshot_is_as_all_was_however_late_it_is_read(
    of: str, script: list[str], seed: int
) -> None:
    turn, chance = warm(of), random.Random(seed)
    expected: list[list[object]] = []
    read: list[tuple[list[object], Iterator[object]]] = []

    for step in script:
        if step == "judge":
            turn.judge()
        elif step == "freeze":
            expected.append(turn.state.dump())
            read.append(([], iter(turn.state.freeze())))
        elif step == "read":
            for rows, rest in read:
                rows += [row for _ in range(2) if (row := next(rest, None)) is not None]
        elif step == "wait":
            turn.wait()
        else:
            turn.hear(step, chance.choice((*USUAL, 1e6)))

    assert [[*rows, *rest] for rows, rest in read] == expected


@pytest.mark.parametrize("of", KINDS)
def test_what_makes_room_is_in_a_snapshot_as_it_was(of: str) -> None:
    """Its alert fires, and is over with that."""
    turn = warm(of)
    expected, frozen = turn.state.dump(), turn.state.freeze()

    for n in range(turn.state.limits.max_groups):
        turn.hear(f"new-{n}")

    assert list(frozen) == expected


@pytest.mark.parametrize("of", KINDS)
def test_what_changes_while_it_is_made_plain_is_thrown_away(of: str) -> None:
    turn = warm(of)
    expected = turn.state.dump()
    frozen = turn.state.freeze()
    made = frozen.row

    def slowly(key: tuple[str, ...], known: object) -> object:
        """The rule hears of it in the middle of that."""
        frozen.row = made
        turn.hear("a" if of == "new" else key[0], 5.0)
        return made(key, known)  # type: ignore[arg-type]

    frozen.row = slowly

    assert list(frozen) == expected


@pytest.mark.parametrize("of", KINDS)
def test_a_snapshot_read_in_another_thread_is_as_all_was(of: str) -> None:
    """However the two take turns."""
    turn = warm(of)
    turn.state.limits = Limits(999)
    for n in range(400):
        turn.hear(f"more-{n}")
    expected, frozen = turn.state.dump(), turn.state.freeze()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(list, frozen)
            while not reading.done():
                for n in range(399, 0, -7):  # it begins at the other end
                    turn.hear(f"more-{n}", 999.0)
            found = reading.result()
    finally:
        sys.setswitchinterval(before)

    assert found == expected


def test_a_budget_tells_who_shares_it() -> None:
    turn = warm("values")
    turn.hear("c")
    budget = turn.state.budget

    assert turn.state.share() == Share(budget.rate, budget.needed, streams=3, young=1, criers=1)


def test_a_snapshot_that_nobody_reads_any_more_costs_nothing() -> None:
    turn = warm("values")
    turn.state.freeze()

    turn.hear("a")

    assert isinstance(turn.state, anomaly.State)
    assert turn.state._streams._frozen == []
