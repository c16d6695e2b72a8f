"""`all`: several sorts of alert, so many of each, within so long and in any order."""

from __future__ import annotations

import pytest
from tests.builders import TICK, Feed, at, facts_of, kind_rule, last, only, rule, steps
from tests.core.test_sequence import feed, joined, missed, opened, says

from eventd.core.model import Gathered, IncidentOpened
from eventd.core.rules import parse
from eventd.core.rules.rule import Limits
from eventd.core.rules.together import State
from eventd.errors import RuleError

BOTH = kind_rule("all", steps("a", "b"))
SHOP = {"service": "shop"}


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_all_of_them_in_any_order_open_an_incident(order: str) -> None:
    facts = last(feed((0, order[0]), (9, order[1])), BOTH)

    assert joined(facts) == list(order)
    found = only(IncidentOpened, facts)
    assert found.because == Gathered("it", SHOP, (("a", 1), ("b", 1)), 60.0)
    assert found.incident.because == "rule it: a, b within 60 s for service shop"


def test_each_has_its_own_count() -> None:
    rule = kind_rule("all", [{"match": 'name=~"a|b"', "count": 2}, *steps("c", "d")[:1]])

    assert joined(facts_of(feed((0, "a"), (1, "c"), (2, "a")), rule)) == []
    facts = facts_of(feed((0, "a"), (1, "c"), (2, "b")), rule)
    assert joined(facts) == ["a", "c", "b"]
    assert only(IncidentOpened, facts).incident.because == (
        'rule it: 2 times name=~"a|b", c within 60 s for service shop'
    )


def test_every_event_counts_where_events_are_counted() -> None:
    rule = kind_rule("all", steps("a", "b", of="events", count=3))

    assert joined(facts_of(feed((0, "b"), (1, "b"), (2, "a"), (3, "b")), rule)) == ["b", "a"]


def test_what_was_seen_exactly_the_window_ago_no_longer_counts() -> None:
    assert joined(facts_of(feed((0, "a"), (59.999, "b")), BOTH)) == ["a", "b"]
    assert joined(facts_of(feed((0, "a"), (60, "b")), BOTH)) == []


def test_an_alert_that_is_of_two_parts_counts_for_both() -> None:
    rule = kind_rule("all", [{"match": 'name="a"'}, {"match": 'ci="db1"'}])

    assert joined(facts_of(feed((0, "a")), rule)) == ["a"]


def test_a_late_event_completes_a_window_that_was_over() -> None:
    seen: Feed = [*feed((0, "a")), (at(80), says("b", 30))]

    assert joined(facts_of(seen, BOTH)) == ["a", "b"]


def test_what_keeps_it_so_joins_and_what_comes_after_the_window_does_not() -> None:
    rule = kind_rule("all", [{"match": 'name=~"a|c|d"'}, *steps("a", "b")[1:]])

    facts = facts_of(feed((0, "a"), (9, "b"), (68, "c"), (70, "d")), rule)

    assert joined(facts) == ["a", "b", "c"]
    assert len(opened(facts)) == 1


def test_all_but_one_of_many_is_a_near_miss() -> None:
    three = kind_rule("all", steps("a", "b", "c"))
    over = (at(900), TICK)

    assert missed(facts_of([*feed((0, "c"), (1, "a")), over], three)) == [("b", 0.0)] * 2
    assert (
        missed(facts_of([*feed((0, "c"), (1, "a"), (71, "b")), over], three)) == [("b", 71.0)] * 3
    )
    assert missed(facts_of([*feed((0, "c")), over], three)) == []
    assert missed(facts_of([*feed((0, "a")), over], BOTH)) == []


def test_a_title_names_alerts_of_parts() -> None:
    rule = kind_rule("all", steps("a", "b"), title="{a.name} and {b.name}", root="b")

    assert opened(facts_of(feed((0, "b"), (9, "a")), rule)) == ["a and b"]


def test_it_is_for_its_own_kind() -> None:
    with pytest.raises(TypeError, match="group"):
        State(rule(), Limits(10))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (steps("a"), "all: expected `array` of length >= 2"),
        (steps("a", "b", **{"as": "a"}), "all[0].as: two are called 'a' (rename one)"),
        (steps("a", "b", without=""), "all[1]: object contains unknown field `without`"),
        (
            [{"match": "x"}, *steps("a")],
            "all[0].match: expected label, operator, quoted value at character 1 of 'x' "
            "(operators are =~ !~ != <= >= = < >)",
        ),
    ],
)
def test_a_mistake_is_answered_with_its_path(own: object, message: str) -> None:
    with pytest.raises(RuleError) as raised:
        parse(kind_rule("all", own))

    assert str(raised.value) == message
