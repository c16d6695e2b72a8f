"""What must hold for every kind of rule, in feeds of which every one opens an incident."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import (
    TICK,
    Feed,
    at,
    calendar_rule,
    dependency_rule,
    engine_after,
    event,
    frames,
    inhibit_rule,
    inventory,
    kind_rule,
    revived,
    run,
    steps,
)
from tests.properties.test_engine import memory, with_ticks

from eventd.core.engine import Engine
from eventd.core.model import AlertJoined, Ci, Event, Fact, IncidentOpened, Severity

pytestmark = pytest.mark.usefixtures("unmeasured")

LATE = 59.999  # s; how late a delivery may be
OVER = 10_000.0  # s; when every window has ended


class Said(NamedTuple):
    """An event: when it happens, what it is called, and where; `n` tells alerts apart."""

    when: float
    name: str
    n: int
    service: str = "kern"
    serial: int = 0

    def event(self) -> Event:
        """As its source says it. It is information, so that no one else takes it up."""
        return event(
            self.name,
            ci=f"ci{self.n}",
            service=self.service,
            severity=Severity.INFO,
            occurred_at=at(self.when),
            id=f"{self.serial}",
        )


class Case(NamedTuple):
    """A rule, and what makes it hold: seconds in which each name is seen, from a first moment."""

    rule: dict[str, object]
    kernel: tuple[tuple[float, float, str], ...]
    repeats: str = ""  # of this name every event counts
    barred: str = "x"  # names that would keep the rule from holding, in its group
    others: tuple[dict[str, object], ...] = ()  # rules beside it


def fires(own: object, kind: str) -> dict[str, object]:
    """A rule that fires an alert, which is called so."""
    return {**kind_rule(kind, own, "fires"), "alert": {}}


AB = steps("a", "b")
EVERY = {"starts": "* * * * *", "lasts": "1m", "zone": "Europe/Berlin"}
ENDING = {"count": 3, "ends": {"below": 2, "within": "30s"}}
CASES = {
    "group": Case(kind_rule("group", {"match": 'name="a"'}), ((0, 59, "a"),)),
    "group by the clock": Case(
        kind_rule("group", {"match": 'name=~"a|b"', "window": "fixed"}),
        ((0, 59, "a"), (0, 59, "b")),
    ),
    "group of runs": Case(
        kind_rule("group", {"match": 'name=~"a|b"', "window": "sliding"}, within="20s"),
        ((0, 59, "a"), (0, 59, "b")),
    ),
    "sequence": Case(kind_rule("sequence", AB), ((0, 20, "a"), (20, 59, "b"))),
    "sequence of three": Case(
        kind_rule("sequence", [{**AB[0], "count": 2}, *steps("b", "c", count=2, of="events")]),
        ((0, 9, "a"), (0, 9, "a"), (9, 30, "b"), (30, 59, "c"), (30, 59, "c")),
        "c",
    ),
    "sequence without": Case(
        kind_rule("sequence", steps("a", "b", without='name="x"')), ((0, 20, "a"), (20, 59, "b"))
    ),
    "all": Case(
        kind_rule("all", [{**AB[0], "count": 2}, {**AB[1], "of": "events", "count": 2}]),
        ((0, 59, "a"), (0, 59, "a"), (0, 59, "b"), (0, 59, "b")),
        "b",
    ),
    "pair": Case(
        kind_rule("pair", {"opens": 'name="a"', "closes": 'name=~"b|x"'}, within="1h"),
        ((0, 20, "a"), (20, 59, "b")),
    ),
    "similar": Case(
        kind_rule("similar", {"match": 'name="a"', "count": 3}, by=["service"]),
        ((0, 59, "a"),) * 3,
    ),
    "topology": Case(
        kind_rule("topology", {"match": 'name=~"a|b"', "count": 3, "silent": 0.5}),
        ((0, 40, "a"), (0, 40, "a"), (0, 40, "b")),
    ),
    "topology over a quiet thing": Case(
        kind_rule("topology", {"match": 'name=~"a|b"', "hops": 1, "silent": 0.1}),
        ((0, 59, "b"), (0, 59, "a"), (0, 59, "a")),
    ),
    "threshold": Case(
        kind_rule("threshold", {"match": 'name=~"a|b"', "count": 3}),
        ((0, 59, "a"), (0, 59, "a"), (0, 59, "b")),
    ),
    "threshold of events": Case(
        kind_rule("threshold", {"match": 'name="a"', "count": 3, "of": "events"}),
        ((0, 59, "a"),) * 3,
        "a",
    ),
    "threshold of values": Case(
        kind_rule("threshold", {"match": 'name=~"a|b"', "count": 2, "distinct": "name"}),
        ((0, 59, "a"), (0, 59, "b")),
    ),
    "threshold with an end": Case(
        kind_rule("threshold", {**ENDING, "match": 'name=~"a|b"', "of": "events"}),
        ((0, 59, "a"), (0, 59, "a"), (0, 59, "b")),
        "a",
    ),
    "absence": Case(
        kind_rule("absence", {"match": 'name="b"', "after": 'name="a"'}), ((0, 0, "a"),), "b", "b"
    ),
    "inhibit": Case(
        kind_rule("group", {"match": 'name="a", service="kern"'}),
        ((0, 20, "a"), (20, 59, "b")),
        barred="abx",
        others=(inhibit_rule('name="a"', 'name="b", service="kern"', ("service",), "60s"),),
    ),
    "dependency": Case(
        kind_rule("group", {"match": 'name="a", service="kern"'}),
        ((0, 20, "a"), (20, 59, "b")),
        barred="abx",
        others=(
            dependency_rule('name="a"', "60s", target='name="b", service="kern"', redundant=True),
        ),
    ),
    "calendar": Case(
        kind_rule("group", {"match": 'name=~"a|b"'}),
        ((0, 20, "a"), (20, 59, "b")),
        others=(calendar_rule('name="b"', "* * * * *", "1m"),),
    ),
    "during": Case(
        {**kind_rule("threshold", {"match": 'name=~"a|b"', "count": 2}), "during": EVERY},
        ((0, 40, "a"), (0, 40, "b")),
    ),
    "fired": Case(
        kind_rule("group", {"match": 'name="fires"'}),
        ((0, 59, "a"), (0, 59, "a"), (0, 59, "b")),
        others=(fires({"match": 'name=~"a|b"', "count": 3}, "threshold"),),
    ),
    "fired by what waits": Case(
        kind_rule("all", [{"match": 'name="fires"'}, {"match": 'name="b"'}], within="1h"),
        ((0, 20, "a"), (20, 59, "b")),
        others=(fires(steps("a", "b", without='name="x"'), "sequence"),),
    ),
    "absence of all": Case(kind_rule("absence", {"match": 'name="b"'}), ((0, 0, "b"),), "b"),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
EXAMPLES = settings(max_examples=30)  # of each kind, of which there are many


# `n` of what else is said goes on from 100
TREE = inventory(
    Ci("ci1", depends_on=("sw",)),
    Ci("ci2", depends_on=("sw",)),
    Ci("sw", depends_on=("ci0",)),
    *(Ci(f"ci{n}", depends_on=(f"ci{n // 2 - 50}", f"ci{n - 2}")) for n in range(100, 112)),
)


def loaded(case: Case) -> Engine:
    """An engine with its rules and the inventory."""
    return engine_after([(at(0), TREE)], case.rule, *case.others)


@st.composite
def said_in(draw: st.DrawFn, case: Case) -> list[Said]:
    """What makes the rule hold, and others around it; in the order in which they happen."""
    start = draw(st.integers(60, 200))
    told = [
        Said(start + draw(st.integers(int(low), int(high))), name, 0 if case.repeats == name else n)
        for n, (low, high, name) in enumerate(case.kernel)
    ]
    others = st.tuples(
        st.integers(0, 300), st.sampled_from("aabbccxz"), st.sampled_from(("shop", "bank", "kern"))
    )
    for n, (when, name, service) in enumerate(draw(st.lists(others, max_size=12)), 100):
        if service != "kern" or name not in case.barred:
            told.append(Said(when, name, n % 3 if case.repeats == name else n, service))
    return [one._replace(serial=serial) for serial, one in enumerate(sorted(told))]


def delivered(told: Iterable[tuple[float, Said]]) -> Feed:
    """Each at its time; then everything is over."""
    by_time = sorted(told, key=lambda one: one[0])
    return [*((at(when), said.event()) for when, said in by_time), (at(OVER), TICK)]


def incidents(facts: list[Fact]) -> list[tuple[object, ...]]:
    """Rule, group and members of each that is another one.

    What a window is called depends on which of its alerts came first, what is in it does not.
    """
    members: dict[str, set[str]] = {}
    for fact in facts:
        if isinstance(fact, AlertJoined):
            members.setdefault(fact.incident, set()).add(fact.fingerprint)
    return sorted(
        {
            (
                one.incident.rule,
                *[item for item in one.incident.group.items() if item[0] != "window"],
                *sorted(members[one.incident.id]),
            )
            for one in facts
            if isinstance(one, IncidentOpened)
        }
    )


@cases
@EXAMPLES
@given(st.data())
def test_deliveries_shuffled_inside_the_allowed_lateness_give_the_same_incidents(
    case: Case, data: st.DataObject
) -> None:
    told = data.draw(said_in(case))
    late = [(said.when + data.draw(st.floats(0, LATE)), said) for said in told]

    plain = incidents(run(loaded(case), delivered((one.when, one) for one in told)))
    shuffled = incidents(run(loaded(case), delivered(late)))

    assert ("it", ("service", "kern")) in [one[:2] for one in plain]
    assert shuffled == plain


@cases
@EXAMPLES
@given(st.data())
def test_a_restart_at_any_point_gives_the_same(case: Case, data: st.DataObject) -> None:
    feed = delivered((one.when, one) for one in data.draw(said_in(case)))
    whole, restored = loaded(case), loaded(case)
    stops = data.draw(st.sets(st.integers(0, len(feed) - 1), min_size=1, max_size=5))

    expected = run(whole, feed)
    facts: list[Fact] = []
    for position, (now, item) in enumerate(feed):
        if position in stops:
            restored = revived(restored)
        facts += restored.step(item, now)

    assert [fact for fact in facts if isinstance(fact, IncidentOpened)]
    assert facts == expected
    assert frames(restored) == frames(whole)


@cases
@EXAMPLES
@given(st.data())
def test_extra_ticks_change_nothing(case: Case, data: st.DataObject) -> None:
    feed = delivered((one.when, one) for one in data.draw(said_in(case)))
    plain, busy = loaded(case), loaded(case)

    facts = [run(plain, feed), run(busy, with_ticks(feed, data))]

    assert [fact for fact in facts[0] if isinstance(fact, IncidentOpened)]
    assert facts[1] == facts[0]
    assert memory(busy) == memory(plain)
