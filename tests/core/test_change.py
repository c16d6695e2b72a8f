"""`change`: what was changed shortly before an incident is evidence of it."""

from __future__ import annotations

import pytest
from tests.builders import (
    T0,
    TICK,
    Feed,
    at,
    clear,
    engine_after,
    event,
    facts_of,
    frames,
    group_rule,
    load,
    only,
    revived,
    run,
)

from eventd.core import changes, incidents
from eventd.core.model import (
    AlertJoined,
    CapHit,
    Changed,
    Close,
    Event,
    Fact,
    FindingNoted,
    RuleMissed,
    Severity,
    Status,
)
from eventd.core.rules import parse
from eventd.core.sentences import happened, near_miss, sentence
from eventd.errors import RuleError

RULE: dict[str, object] = {
    "name": "deploys",
    "change": {"match": 'name="deploy", status="change"'},
    "by": ["service"],
    "within": "10m",
}


def deploy(**fields: object) -> Event:
    return event("deploy", status=Status.CHANGE, ci="web1", **fields)  # type: ignore[arg-type] # checked there


def told(facts: list[Fact]) -> list[tuple[float, str, float]]:
    """When on which incident, and how long before."""
    return [
        ((fact.at - T0).total_seconds(), fact.incident, fact.because.before)
        for fact in facts
        if isinstance(fact, FindingNoted) and isinstance(fact.because, Changed)
    ]


def test_an_incident_says_what_was_changed_shortly_before() -> None:
    facts = facts_of([(at(0), deploy(summary="4.2")), (at(420), event())], group_rule(), RULE)

    noted = only(FindingNoted, facts)
    assert noted.because == Changed("deploys", {"service": "shop"}, "deploy", "web1", "4.2", 420.0)
    assert happened(noted, "INC-000001") == (
        "rule deploys: deploy on web1 (4.2) was 7 min before, for service shop"
    )
    assert sentence(Changed("r", {"service": "s"}, "deploy", "", "", 5.0)) == (
        "rule r: deploy was 5 s before, for service s"
    )


def test_what_was_changed_too_long_before_or_after_says_nothing() -> None:
    def before(second: float, **fields: object) -> list[tuple[float, str, float]]:
        seen: Feed = [(at(0), deploy()), (at(second), event(**fields))]  # type: ignore[arg-type] # checked there
        return told(facts_of(seen, group_rule(), RULE))

    assert before(599.9) == [(599.9, "INC-000001", 599.9)]
    assert before(600) == []
    assert before(0) == [(0, "INC-000001", 0)]
    assert before(10, occurred_at=at(-1)) == []
    assert before(10, service="bank") == []


def test_what_lacks_the_label_has_nothing_in_common() -> None:
    seen: Feed = [(at(0), deploy(service="")), (at(5), event(service=""))]

    assert told(facts_of(seen, group_rule(by=["ci"]), RULE)) == []


def test_a_change_is_told_once_an_incident_and_each_by_itself() -> None:
    seen: Feed = [
        (at(0), deploy()),
        (at(1), deploy(payload="again")),
        (at(10), event("a")),
        (at(20), event("b")),
        (at(30), event("c", ci="x")),
    ]

    assert told(facts_of(seen, group_rule(by=["ci"]), RULE)) == [
        (10, "INC-000001", 10),
        (10, "INC-000001", 9),
        (30, "INC-000002", 30),
        (30, "INC-000002", 29),
    ]


def test_the_correlation_s_incidents_say_so_too() -> None:
    seen: Feed = [(at(0), deploy()), (at(10), event(severity=Severity.CRITICAL)), (at(900), TICK)]

    assert told(facts_of(seen, RULE)) == [(210, "INC-000001", 10)]


def test_of_an_alert_in_several_episodes_the_present_one_counts() -> None:
    critical = {"severity": Severity.CRITICAL}
    seen: Feed = [
        (at(0), event(**critical)),  # type: ignore[arg-type] # a severity
        (at(20), clear(severity=Severity.CRITICAL)),
        (at(25), deploy()),
        (at(30), event(payload="again", **critical)),  # type: ignore[arg-type] # a severity
    ]

    facts = facts_of([*seen, (at(900), TICK)], RULE)

    assert [one[2] for one in told(facts)] == [5]
    assert {fact.episode for fact in facts if isinstance(fact, AlertJoined)} == {1, 2}


def test_what_begins_to_fire_may_be_a_change() -> None:
    rule = {**RULE, "change": {"match": 'name="config"'}}
    seen: Feed = [
        (at(0), event("config", severity=Severity.INFO)),
        (at(5), event("config", severity=Severity.MINOR)),
        (at(10), event("disk")),
    ]

    facts = facts_of(seen, group_rule(match='name="disk"'), rule)

    assert told(facts) == [(10, "INC-000001", 10)]


def test_a_closed_incident_and_one_that_notes_much_already_say_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(incidents, "MAX_NOTED", 1)
    seen: Feed = [(at(0), deploy()), (at(1), deploy(payload="again")), (at(10), event())]

    assert len(told(facts_of(seen, group_rule(), RULE))) == 1
    engine = engine_after(seen[2:], group_rule(), RULE)
    engine.step(Close("INC-000001", "ann"), at(11))
    because = Changed("deploys", {}, "deploy", "", "", 1.0)
    assert engine.incident_table.note_change("INC-000001", because, "k", at(12)) == []


def test_changes_survive_a_snapshot() -> None:
    engine = engine_after([(at(0), deploy()), (at(1), deploy(service="bank"))], group_rule(), RULE)
    again = revived(engine)

    assert frames(again) == frames(engine)
    assert told(run(again, [(at(10), event())])) == [(10, "INC-000001", 10)]


def test_what_is_over_makes_room_and_beyond_the_cap_the_oldest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changes, "MAX_CHANGES", 2)
    engine = engine_after([(at(n), deploy(payload=f"{n}")) for n in (0, 1)], group_rule(), RULE)

    assert [type(f) for f in run(engine, [(at(2), deploy(payload="2"))])][1:] == [CapHit]
    assert told(run(engine, [(at(3), event())])) == [(3, "INC-000001", 2), (3, "INC-000001", 1)]
    facts = run(engine, [(at(700), deploy(payload="3", service="bank"))])
    assert not [fact for fact in facts if isinstance(fact, CapHit)]
    assert run(engine, [(at(701), clear())])[0].at == at(701)


def test_of_many_changes_of_one_service_the_newest_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each alert there looks at all of them."""
    monkeypatch.setattr(changes, "MAX_ALIKE", 2)
    engine = engine_after([(at(n), deploy(payload=f"{n}")) for n in (0, 1)], group_rule(), RULE)
    engine.step(deploy(service="bank"), at(2))

    assert [type(f) for f in run(engine, [(at(3), deploy(payload="3"))])][1:] == [CapHit]
    assert frames(revived(engine)) == frames(engine)
    assert told(run(engine, [(at(4), event())])) == [(4, "INC-000001", 3), (4, "INC-000001", 1)]
    facts = run(engine, [(at(605 + n), deploy(payload=f"{n}")) for n in (0, 1)])
    assert [fact for fact in facts if isinstance(fact, CapHit)] == []  # they explain no more
    run(engine, [(at(4_000), deploy(service="bank"))])
    assert len(engine._state.changes.known) == 1


def test_of_so_many_sets_of_labels_changes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MAX_SORTS", 1)
    by_ci = {**RULE, "name": "by-ci", "by": ["ci"]}
    seen: Feed = [(at(0), deploy()), (at(5), event(ci="web1"))]

    facts = facts_of(seen, group_rule(), RULE, by_ci)

    assert [fact for fact in facts if isinstance(fact, CapHit)] == [CapHit(at(0), "rule_changes")]
    assert [one[2] for one in told(facts)] == [5]


def test_a_rule_that_is_gone_tells_no_new_changes() -> None:
    engine = engine_after([], group_rule(), RULE)
    run(engine, [(at(0), load(group_rule(), version="v2")), (at(1), deploy())])

    assert told(run(engine, [(at(5), event())])) == []


def test_a_mistake_is_answered_with_its_path() -> None:
    with pytest.raises(RuleError) as raised:
        parse({**RULE, "incident": {}})

    assert str(raised.value) == ": object contains unknown field `incident`"


def missed(facts: list[Fact]) -> list[tuple[float, str]]:
    """When which near misses were told."""
    return [
        ((fact.at - T0).total_seconds(), near_miss(fact))
        for fact in facts
        if isinstance(fact, RuleMissed)
    ]


def test_a_change_that_was_a_little_too_long_before_is_a_near_miss() -> None:
    def after(*seconds: float) -> list[tuple[float, str]]:
        seen = [(at(n), event(f"a{n}")) for n in seconds]
        return missed(facts_of([(at(0), deploy(summary="4.2")), *seen], group_rule(), RULE))

    text = "rule deploys missed service shop: deploy on web1 (4.2) was 17 min before"
    assert after(1_020) == [(1_020, f"{text}; the rule looks 10 min back")]
    assert after(1_199.9, 1_199.95) == [(1_199.9, after(1_199.9)[0][1])]
    assert after(599.9, 700) == after(1_200) == []


def test_of_several_the_last_one_was_nearest() -> None:
    seen: Feed = [
        (at(0), deploy(summary="1")),
        (at(60), deploy(summary="2")),
        (at(661), event()),
        (at(662), event("cpu", service="bank")),
    ]

    ((second, text),) = missed(facts_of(seen, group_rule(), RULE))

    assert (second, text[:58]) == (
        661,
        "rule deploys missed service shop: deploy on web1 (2) was 1",
    )


def test_near_misses_leave_room_on_an_incident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incidents, "MAX_NOTED", 0)

    assert missed(facts_of([(at(0), deploy()), (at(700), event())], group_rule(), RULE)) == []


def test_a_change_that_is_told_late_is_told_of_alerts_that_came_before_it() -> None:
    late = deploy(occurred_at=at(5), id="1")
    seen: Feed = [
        (at(3), event("before")),
        (at(8), event()),
        (at(9), event("other", service="bank")),
        (at(10), event("over", service="tax")),
        (at(11), clear("over", service="tax")),
        (at(12), event("over", service="tax")),
        (at(20), late),
    ]
    engine = engine_after(seen[:-1], group_rule(), RULE)
    broken = revived(engine)

    assert told(run(engine, seen[-1:])) == [(20, "INC-000001", 3.0)]
    assert told(run(broken, seen[-1:])) == [(20, "INC-000001", 3.0)]
    assert frames(broken) == frames(engine)


def test_what_is_forgotten_or_too_long_ago_is_no_alert_that_came_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changes, "MAX_JOINED", 1)
    seen: Feed = [(at(8), event()), (at(9), event("x", service="bank"))]

    assert told(facts_of([*seen, (at(20), deploy(occurred_at=at(5)))], group_rule(), RULE)) == []
    assert told(facts_of([*seen, (at(90), deploy(occurred_at=at(5)))], group_rule(), RULE)) == []


def test_a_later_change_leaves_what_may_still_be_a_near_miss() -> None:
    other = event("deploy", status=Status.CHANGE, ci="web2", service="bank")
    seen: Feed = [(at(0), deploy()), (at(650), other), (at(1_020), event())]

    assert len(missed(facts_of(seen, group_rule(), RULE))) == 1
    seen = [(at(0), deploy()), (at(1_200), other)]
    assert len(engine_after(seen, RULE)._state.changes.known) == 1
