"""What a snapshot has of streams, made plain while they go on."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import at, rule
from tests.core.test_anomaly import UNBOUNDED, USUAL, orders

from eventd.core.asking import as_alert
from eventd.core.rules.anomaly import State
from eventd.core.rules.budget import Share
from eventd.core.rules.rule import Limits, Seen, Transition

CIS = ("a", "b", "c", "d")


class Turn:
    """A rule that hears of one stream after another."""

    def __init__(self, cap: int = 3) -> None:
        self.state, self._n = State(rule(UNBOUNDED), Limits(cap)), 0

    def hear(self, ci: str, value: float) -> None:
        self._n += 1
        now = at(60.0 * self._n)
        seen = Seen(as_alert(orders(value, ci), now), Transition.NOTED, now)
        self.state.observe(seen, now)

    def judge(self) -> None:
        for alert in list(self.state.budget.criers):
            self.state.budget.judge(alert, None, verdict=False)


def warm() -> Turn:
    """Two streams that know enough, of which one has cried."""
    turn = Turn()
    for n in range(120):
        turn.hear("a", USUAL[n % len(USUAL)])
        turn.hear("b", USUAL[n % len(USUAL)])
    turn.hear("a", 1e6)
    assert turn.state.budget.criers
    return turn


steps = st.lists(st.sampled_from((*CIS, "judge", "read", "freeze", "due")), max_size=40)


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(0, 9))
def test_each_snapshot_is_as_all_was_however_late_it_is_read(script: list[str], seed: int) -> None:
    turn, chance = warm(), random.Random(seed)
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
        elif step == "due":
            turn.state.due('["a","orders"]', at(1e6))
        else:
            turn.hear(step, chance.choice((*USUAL, 1e6)))

    assert [[*rows, *rest] for rows, rest in read] == expected


def test_what_changes_while_it_is_made_plain_is_thrown_away() -> None:
    turn = warm()
    expected = turn.state.dump()
    frozen = turn.state.freeze()
    made = frozen.row

    def slowly(key: tuple[str, ...], stream: object) -> object:
        """The rule hears of the stream in the middle of that."""
        frozen.row = made  # type: ignore[method-assign]
        turn.hear(key[0], 5.0)
        return made(key, stream)  # type: ignore[arg-type]

    frozen.row = slowly  # type: ignore[assignment,method-assign]

    assert list(frozen) == expected


def test_a_budget_tells_who_shares_it() -> None:
    turn = warm()
    turn.hear("c", 1.0)
    budget = turn.state.budget

    assert turn.state.share() == Share(budget.rate, budget.needed, streams=3, young=1, criers=1)


def test_a_snapshot_that_nobody_reads_any_more_costs_nothing() -> None:
    turn = warm()
    turn.state.freeze()

    turn.hear("a", 300.0)

    assert [one() for one in turn.state._streams._frozen] == [None]
