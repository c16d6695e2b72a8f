"""`pair`: something opens, and something else, of whatever fingerprint, ends it."""

from __future__ import annotations

import pytest
from tests.builders import (
    T0,
    TICK,
    Feed,
    at,
    clear,
    engine_after,
    engine_with,
    event,
    facts_of,
    group_rule,
    kind_rule,
    last,
    only,
    revived,
    rule,
    run,
    started,
)
from tests.core.test_sequence import feed, joined, says

from eventd.core.model import (
    AlertAlone,
    AlertCleared,
    AlertFired,
    AlertJoined,
    AlertUnmatched,
    CapHit,
    ClearReason,
    Detach,
    Fact,
    IncidentClosed,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    Paired,
    Severity,
    Status,
)
from eventd.core.rules import parse
from eventd.core.rules.pair import State
from eventd.core.rules.rule import Limits
from eventd.errors import RuleError

A_TO_B = kind_rule("pair", {"opens": 'name=~"a|c"', "closes": 'name=~"b|d"'}, within="5m")


def ended(facts: list[Fact]) -> list[str]:
    """The names of `says(name, …)` that a rule ended, in order."""
    names = {says(name, 0).fingerprint: name for name in "abcd"}
    return [
        names.get(fact.fingerprint, "other")
        for fact in facts
        if isinstance(fact, AlertCleared) and fact.reason is ClearReason.PAIRED
    ]


def test_what_opens_is_an_incident_at_once() -> None:
    facts = last(feed((0, "a")), A_TO_B)

    because = Paired("it", {"service": "shop"})
    assert isinstance(facts[1], IncidentOpened)
    assert facts[1].because == because
    assert facts[2] == AlertJoined(at(0), "INC-000001", says("a", 0).fingerprint, 1, because)
    assert facts[1].incident.because == "rule it: nothing has ended it for service shop"


def test_what_closes_ends_all_that_opened_and_itself() -> None:
    facts = last(feed((0, "a"), (1, "c"), (9, "b")), A_TO_B)

    assert [type(fact) for fact in facts] == [AlertFired, AlertCleared, AlertCleared, AlertCleared]
    assert ended(facts) == ["a", "c", "b"]


def test_the_incident_resolves_as_if_its_alerts_had_cleared() -> None:
    facts = facts_of([*feed((0, "a"), (9, "b")), (at(900), TICK)], A_TO_B)

    assert only(IncidentResolved, facts).at == at(69)
    assert only(IncidentClosed, facts).at == at(69 + 300)


def test_what_opens_again_in_time_reopens_it() -> None:
    facts = facts_of(feed((0, "a"), (9, "b"), (300, "a")), A_TO_B)

    assert only(IncidentReopened, facts).incident == "INC-000001"


def test_what_opens_after_it_closed_is_open() -> None:
    facts = facts_of(feed((0, "b"), (1, "a")), A_TO_B)

    assert (joined(facts), ended(facts)) == (["a"], ["b"])


def test_what_opened_before_and_comes_after_its_end_opens_and_ends() -> None:
    late: Feed = [(at(9), says("b", 9)), (at(20), says("a", 8))]

    facts = facts_of(late, A_TO_B)

    assert (joined(facts), ended(facts)) == (["a"], ["b", "a"])


def test_what_comes_later_than_is_allowed_is_open() -> None:
    late: Feed = [(at(9), says("b", 9)), (at(69), says("a", 8))]

    assert ended(facts_of(late, A_TO_B)) == ["b"]


def test_an_end_that_is_late_ends_only_what_opened_before() -> None:
    late: Feed = [*feed((0, "a"), (10, "c")), (at(20), says("b", 5)), (at(21), says("d", 1))]

    facts = facts_of(late, A_TO_B)

    assert ended(facts) == ["a", "b", "d"]


def test_keys_are_kept_apart_and_what_lacks_one_is_none() -> None:
    apart: Feed = [
        *feed((0, "a")),
        (at(1), says("b", 1, service="bank")),
        (at(2), says("b", 2, service="")),
    ]

    facts = facts_of(apart, A_TO_B)

    assert len([f for f in facts if isinstance(f, AlertCleared)]) == 1
    assert ended(facts_of([*apart, *feed((3, "b"))], A_TO_B))[-2:] == ["a", "b"]


def test_what_closes_may_be_no_alert() -> None:
    noted = kind_rule("pair", {"opens": 'name="a"', "closes": 'name="up", status="info"'})
    seen: Feed = [*feed((0, "a")), (at(9), event("up", status=Status.INFO))]

    assert ended(facts_of(seen, noted)) == ["a"]


def test_nothing_opens_that_is_no_alert() -> None:
    noted = kind_rule("pair", {"opens": 'name="a", status="info"', "closes": 'name="b"'})

    facts = facts_of([(at(0), event("a", status=Status.INFO)), *feed((1, "b"))], noted)

    assert not [fact for fact in facts if isinstance(fact, IncidentOpened)]


def test_what_closes_is_asked_of_no_rule_after_it_and_of_no_correlation() -> None:
    seen: Feed = [(at(0), event("b", severity=Severity.CRITICAL)), (at(900), TICK)]

    facts = facts_of(seen, A_TO_B, group_rule())

    assert not [f for f in facts if isinstance(f, IncidentOpened | AlertAlone | AlertUnmatched)]


def test_what_worsens_until_it_closes_ends() -> None:
    graver = kind_rule("pair", {"opens": 'name="a"', "closes": 'name="b", severity>=critical'})
    seen: Feed = [
        (at(0), event("a")),
        (at(1), event("b", severity=Severity.MINOR)),
        (at(2), event("b", severity=Severity.CRITICAL)),
    ]

    assert len([f for f in last(seen, graver) if isinstance(f, AlertCleared)]) == 2


def test_what_cleared_by_itself_is_open_no_more() -> None:
    engine = engine_after([*feed((0, "a")), (at(5), clear("a"))], A_TO_B)

    assert engine.rules.states["it"].dump() == [[], []]
    assert ended(run(engine, feed((9, "b")))) == ["b"]


def test_what_was_detached_and_cleared_is_over_already() -> None:
    detached = Detach("INC-000001", says("a", 0).fingerprint, "ann")
    seen: Feed = [*feed((0, "a"), (1, "c")), (at(2), detached), (at(5), clear("a"))]

    assert ended(facts_of([*seen, *feed((9, "b"))], A_TO_B)) == ["c", "b"]


def test_what_changed_opens_once_and_a_new_episode_anew() -> None:
    seen: Feed = [
        (at(0), event("a")),
        (at(1), event("a", severity=Severity.CRITICAL)),
        (at(2), clear("a")),
        (at(3), event("a")),
    ]
    engine = engine_after(seen, A_TO_B)

    facts = run(engine, feed((9, "b")))

    (over,) = [f for f in facts if isinstance(f, AlertCleared) and f.episode == 2]
    assert over.fingerprint == event("a").fingerprint


def test_what_is_of_both_opens_and_ends() -> None:
    both = kind_rule("pair", {"opens": 'name="a"', "closes": 'service="shop"'})

    facts = facts_of(feed((0, "a")), both)

    assert (joined(facts), ended(facts)) == (["a"], ["a"])


def test_what_is_open_survives_a_snapshot() -> None:
    engine = revived(engine_after(feed((0, "a"), (1, "c")), A_TO_B))

    assert ended(run(engine, feed((9, "b")))) == ["a", "c", "b"]
    assert ended(run(revived(engine), [(at(30), says("a", 8))])) == ["a"]


def test_an_end_is_forgotten_when_nothing_late_can_come() -> None:
    engine = engine_after([*feed((0, "b"), (30, "b")), (at(60), TICK)], A_TO_B)
    assert engine.rules.states["it"].dump()[1] != []

    engine.step(TICK, at(90))

    assert engine.rules.states["it"].dump() == [[], []]


def test_beyond_the_cap_the_longest_open_and_the_oldest_end_are_let_go() -> None:
    engine = engine_with(A_TO_B)
    seen: Feed = [
        (T0, started(max_groups=1)),
        *feed((0, "a"), (1, "c")),
        (at(2), says("b", 2, service="bank")),
        *feed((3, "b")),
    ]

    facts = run(engine, seen)

    assert [f for f in facts if isinstance(f, CapHit)] == [
        CapHit(at(1), "groups", "it"),
        CapHit(at(3), "groups", "it"),
    ]
    assert ended(facts)[-2:] == ["c", "b"]
    assert len([kind for (kind, _), _ in engine.timers.items() if kind == "rule"]) == 1


def test_it_is_for_its_own_kind() -> None:
    with pytest.raises(TypeError, match="group"):
        State(rule(), Limits(10))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"opens": ""}, "pair: object missing required field `closes`"),
        ({"opens": "", "closes": "", "match": ""}, "pair: object contains unknown field `match`"),
        (
            {"opens": "", "closes": []},
            "pair.closes: expected at least one selector, got none (such as 'service!=\"\"')",
        ),
    ],
)
def test_a_mistake_is_answered_with_its_path(own: object, message: str) -> None:
    with pytest.raises(RuleError) as raised:
        parse(kind_rule("pair", own))

    assert str(raised.value) == message
