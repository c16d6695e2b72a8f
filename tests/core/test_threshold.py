"""`threshold`: so many within so long, half-open."""

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
    group_rule,
    last,
    only,
    revived,
    run,
    silence,
    started,
    threshold_rule,
)

from eventd.core.model import (
    AlertCleared,
    AlertJoined,
    AlertUnmatched,
    CapHit,
    ClearReason,
    Close,
    Counted,
    Event,
    Fact,
    FindingNoted,
    IncidentOpened,
    IncidentResolved,
    IncidentUpdated,
    RuleMissed,
    Severity,
)
from eventd.core.rules import parse
from eventd.errors import RuleError

SHOP = {"service": "shop"}


def counted(count: int, at_least: int = 3, *elsewhere: str) -> Counted:
    """The reason of the rule "many"."""
    return Counted("many", SHOP, count, at_least, 60.0, elsewhere)


def joined(facts: list[Fact]) -> list[str]:
    """The fingerprints that joined, in order."""
    return [fact.fingerprint for fact in facts if isinstance(fact, AlertJoined)]


def fingerprints(*names: str) -> list[str]:
    """Of `event(name)`."""
    return [event(name).fingerprint for name in names]


def test_an_incident_opens_with_all_that_was_counted_when_the_count_is_reached() -> None:
    feed: Feed = [(at(0), event("a")), (at(10), event("b")), (at(20), event("c"))]

    facts = last(feed, threshold_rule(count=3))

    assert isinstance(facts[1], IncidentOpened)
    assert (facts[1].incident.title, facts[1].because) == ("a on db1", counted(3))
    assert facts[1].incident.because == "rule many: 3 within 60 s for service shop"
    assert joined(facts) == fingerprints("a", "b", "c")


def test_below_the_count_an_alert_is_unmatched() -> None:
    facts = last([(at(0), event("a")), (at(10), event("b"))], threshold_rule(count=3))

    assert facts[1:] == [AlertUnmatched(at(10), event("b").fingerprint, 1)]


def test_what_was_seen_exactly_the_window_ago_no_longer_counts() -> None:
    def opens(second: float) -> bool:
        feed: Feed = [(at(0), event("a")), (at(second), event("b"))]
        return bool(joined(last(feed, threshold_rule(count=2, within="60s"))))

    assert (opens(59.999), opens(60)) == (True, False)


def test_an_alert_counts_once_where_alerts_are_counted() -> None:
    feed: Feed = [
        (at(0), event("a")),
        (at(20), event("a")),
        (at(25), clear("a")),
        (at(40), event("a")),
    ]

    assert joined(last(feed, threshold_rule(count=2))) == []


def test_every_event_counts_where_events_are_counted() -> None:
    feed: Feed = [(at(0), event("a")), (at(20), event("a")), (at(40), event("a"))]

    facts = last(feed, threshold_rule(count=3, of="events"))

    assert joined(facts) == fingerprints("a")


def test_an_event_that_moves_the_severity_counts_where_events_are_counted() -> None:
    feed: Feed = [
        (at(0), event("a", severity=Severity.MINOR)),
        (at(20), event("a", severity=Severity.MAJOR)),
        (at(40), event("a", severity=Severity.CRITICAL)),
    ]

    assert joined(last(feed, threshold_rule(count=3, of="events"))) == fingerprints("a")
    assert joined(last(feed, threshold_rule(count=2, of="alerts"))) == []


def test_a_duplicate_counts_nowhere() -> None:
    feed: Feed = [(at(0), event("a", id="1")), (at(20), event("a", id="1"))]

    assert joined(last(feed, threshold_rule(count=2, of="events"))) == []


def test_a_repeat_is_counted_by_the_rules_its_value_matches_now() -> None:
    rule = threshold_rule('name="a"', "value>90", count=2, of="events")
    feed: Feed = [
        (at(0), event("a", value=95.0)),
        (at(20), event("a", value=10.0)),
        (at(40), event("a", value=95.0)),
    ]

    assert joined(last(feed[:2], rule)) == []
    assert joined(last(feed, rule)) == fingerprints("a")


def test_each_that_keeps_the_count_reached_joins_alone() -> None:
    feed: Feed = [(at(s), event(name)) for s, name in ((0, "a"), (10, "b"), (20, "c"), (50, "d"))]

    facts = last(feed, threshold_rule(count=3))

    fingerprint = event("d").fingerprint
    assert facts[1:] == [AlertJoined(at(50), "INC-000001", fingerprint, 1, counted(4))]


def test_after_a_pause_all_in_the_window_are_found_again() -> None:
    feed: Feed = [
        (at(s), event(name, severity=Severity.INFO))
        for s, name in ((0, "a"), (10, "b"), (100, "c"), (110, "d"))
    ]

    assert joined(last(feed[:3], threshold_rule(count=2))) == []
    assert joined(last(feed, threshold_rule(count=2))) == fingerprints("c", "d")


def test_what_cleared_meanwhile_is_counted_but_does_not_join() -> None:
    feed: Feed = [(at(0), event("a")), (at(10), clear("a")), (at(20), event("b"))]

    assert joined(last(feed, threshold_rule(count=2))) == fingerprints("b")


def test_what_was_forgotten_meanwhile_is_counted_but_does_not_join() -> None:
    feed: Feed = [
        (T0, started(forget_after=5.0)),
        (at(0), event("a")),
        (at(10), clear("a")),
        (at(20), event("b")),
    ]

    assert joined(last(feed, threshold_rule(count=2))) == fingerprints("b")


def test_groups_are_counted_apart() -> None:
    feed: Feed = [(at(0), event("a")), (at(10), event("b", service="bank"))]

    assert joined(last(feed, threshold_rule(count=2))) == []


def test_an_alert_that_lacks_the_label_is_not_counted() -> None:
    feed: Feed = [(at(0), event("a", service="")), (at(10), event("b", service=""))]

    assert joined(last(feed, threshold_rule(count=2))) == []


def test_a_suppressed_alert_counts_when_it_is_judged_again() -> None:
    feed: Feed = [
        (at(0), silence('name="a"', at(30))),
        (at(10), event("a")),
        (at(20), event("b")),
        (at(30), event("c")),
    ]

    facts = last(feed, threshold_rule(count=3))

    assert joined(facts) == fingerprints("b", "a", "c")


def test_alerts_of_another_incident_are_named_and_stay_there() -> None:
    feed: Feed = [(at(0), event("a")), (at(10), event("b"))]

    facts = last(feed, group_rule("named", 'name="a"', by=["name"]), threshold_rule(count=2))

    assert only(IncidentOpened, facts).because == counted(2, 2, "INC-000001")
    assert joined(facts) == fingerprints("b")


def test_a_finding_whose_alerts_all_belong_somewhere_is_noted_once() -> None:
    rules = (group_rule(), threshold_rule(count=2, impact=1))
    feed: Feed = [(at(0), event("a")), (at(10), event("b")), (at(20), event("c"))]

    assert last(feed[:2], *rules)[2:] == [
        FindingNoted(at(10), "INC-000001", counted(2, 2, "INC-000001")),
        IncidentUpdated(at(10), "INC-000001", 1, 2, "rule many holds too"),
    ]
    assert len(last(feed, *rules)) == 2
    assert engine_after(feed, *rules).incident("INC-000001").impact_because == (
        "rule many holds too"
    )


def test_a_noted_finding_may_raise_impact_or_urgency_alone() -> None:
    feed: Feed = [(at(0), event("a")), (at(10), event("b"))]

    wider, worse = threshold_rule(count=2, impact=1), threshold_rule(count=2, urgency=1)
    for rule, raised in ((wider, (1, 2)), (worse, (3, 1))):
        incident = engine_after(feed, group_rule(), rule).incident("INC-000001")

        assert (incident.impact, incident.urgency) == raised


def test_beyond_the_cap_the_group_longest_quiet_is_dropped() -> None:
    def alert_of(service: str, name: str) -> Event:
        return event(name, service=service, severity=Severity.INFO)

    feed: Feed = [
        (at(0), alert_of("s1", "a")),
        (at(1), alert_of("s2", "a")),
        (at(2), alert_of("s1", "b")),
        (at(3), alert_of("s3", "a")),
    ]
    engine = engine_after([(T0, started(max_groups=2))], threshold_rule(count=3))

    facts = run(engine, feed)

    assert [fact for fact in facts if isinstance(fact, CapHit)] == [CapHit(at(3), "groups", "many")]
    assert joined(run(engine, [(at(4), alert_of("s1", "c"))])) == [
        alert_of("s1", name).fingerprint for name in ("a", "b", "c")
    ]


def test_a_group_whose_window_is_over_makes_room_unnoticed() -> None:
    engine = engine_after([(T0, started(max_groups=1))], threshold_rule(count=3))

    facts = run(engine, [(at(0), event(service="s1")), (at(120), event(service="s2"))])

    assert not [fact for fact in facts if isinstance(fact, CapHit)]


def test_a_window_survives_a_snapshot() -> None:
    engine = engine_after([(at(0), event("a")), (at(10), event("b"))], threshold_rule(count=3))

    facts = run(revived(engine), [(at(20), event("c"))])

    assert joined(facts) == fingerprints("a", "b", "c")


def by_user(user: str, **fields: object) -> Event:
    """An event of somebody."""
    labels = {"user": user} if user else {}
    return event("login", severity=Severity.INFO, labels=labels, **fields)  # type: ignore[arg-type] # checked there


USERS = {**threshold_rule(), "threshold": {"match": "", "count": 3, "distinct": "user"}}
EVENTS = {**threshold_rule(), "threshold": {**USERS["threshold"], "of": "events"}}  # type: ignore[dict-item] # it is one


def test_different_values_of_a_label_count_however_often_each_is_seen() -> None:
    seen: Feed = [
        (at(0), by_user("ann")),
        (at(1), by_user("bob", ci="x")),
        (at(2), by_user("bob", ci="y")),
        (at(3), by_user("")),
        (at(4), by_user("")),
    ]

    for rule in (USERS, EVENTS):
        assert joined(last(seen, rule)) == []
        facts = last([*seen, (at(5), by_user("cy"))], rule)
        assert joined(facts) == [
            by_user("ann").fingerprint,
            by_user("bob", ci="x").fingerprint,
            by_user("bob", ci="y").fingerprint,
            by_user("cy").fingerprint,
        ]


def test_a_value_that_is_seen_again_counts_from_then_on() -> None:
    seen: Feed = [
        (at(0), by_user("ann")),
        (at(50), by_user("ann", payload="again")),
        (at(70), by_user("bob")),
        (at(80), by_user("cy")),
    ]

    assert joined(last(seen, USERS)) == []
    assert len(joined(last(seen, EVENTS))) == 3


def test_a_window_of_values_survives_a_snapshot() -> None:
    first: Feed = [(at(0), by_user("ann"))]
    second: Feed = [(at(1), by_user("ann", ci="x")), (at(2), by_user("bob"))]

    engine = revived(engine_after(first, USERS))
    run(engine, second)

    assert len(joined(run(revived(engine), [(at(3), by_user("cy"))]))) == 4


def info(name: str, **fields: object) -> Event:
    """An event that no one else takes up."""
    return event(name, severity=Severity.INFO, **fields)  # type: ignore[arg-type] # checked there


def of(count: int, **more: object) -> dict[str, object]:
    """A rule that counts."""
    return {**threshold_rule(), "threshold": {"match": "", "count": count, **more}}


def test_what_is_late_counts_when_it_happened() -> None:
    seen: Feed = [
        (at(0), info("a")),
        (at(50), info("b")),
        (at(70), info("c")),
        (at(75), info("d", occurred_at=at(61))),
    ]

    assert joined(last(seen, threshold_rule(count=3))) == fingerprints("b", "d", "c")


def test_a_late_one_may_fill_a_window_that_was_over() -> None:
    seen: Feed = [
        (at(0), info("a")),
        (at(59), info("b")),
        (at(100), info("d", occurred_at=at(50))),
    ]

    facts = last(seen, threshold_rule(count=3))

    assert joined(facts) == fingerprints("a", "d", "b")


def test_what_is_too_late_counts_when_it_came() -> None:
    seen: Feed = [(at(0), info("a")), (at(70), info("b", occurred_at=at(1)))]

    assert joined(last(seen, threshold_rule(count=2))) == []


def test_what_is_over_counts_no_more_though_others_are_in_memory() -> None:
    seen: Feed = [(at(n), info(f"a{n}")) for n in (0, 70, 140, 190)]

    assert joined(facts_of(seen, of(2))) == fingerprints("a140", "a190")


def test_when_all_is_over_it_begins_anew() -> None:
    seen: Feed = [(at(n / 10), info(f"a{n}")) for n in range(20)]
    again: Feed = [(at(500), info("b")), (at(501), info("c"))]

    assert joined(last([*seen, again[0]], of(2))) == []
    assert joined(last([*seen, *again], of(2))) == fingerprints("b", "c")


def missed(facts: list[Fact]) -> list[tuple[float, str, int, float]]:
    """When which alert missed it with how many, and how late the rest was."""
    return [
        ((fact.at - T0).total_seconds(), fact.fingerprint, fact.count, fact.late)
        for fact in facts
        if isinstance(fact, RuleMissed)
    ]


def test_a_near_miss_is_told_when_nothing_late_can_fill_the_window_any_more() -> None:
    seen: Feed = [(at(0), info("a")), (at(20), info("b")), (at(119), TICK), (at(400), TICK)]
    a, b = fingerprints("a", "b")

    assert missed(facts_of(seen, of(3))) == [(120, a, 2, 0), (120, b, 2, 0)]
    assert missed(facts_of(seen, of(4))) == []
    assert missed(facts_of([*seen[:2], (at(30), info("c")), *seen[2:]], of(3))) == []


def test_a_miss_by_a_moment_says_by_how_much() -> None:
    seen: Feed = [(at(0), info("a")), (at(20), info("b")), (at(71), info("c")), (at(400), TICK)]
    a, b, c = fingerprints("a", "b", "c")

    assert missed(facts_of(seen, of(3)))[:3] == [(120, a, 2, 71), (120, b, 2, 71), (120, c, 2, 71)]


def test_of_two_only_a_second_that_came_too_late_is_a_near_miss() -> None:
    alone: Feed = [(at(0), info("a")), (at(400), TICK)]
    late: Feed = [(at(0), info("a")), (at(61), info("b")), (at(400), TICK)]
    a, b = fingerprints("a", "b")

    assert missed(facts_of(alone, of(2))) == []
    assert missed(facts_of(late, of(2))) == [(120, a, 1, 61), (120, b, 1, 61)]
    assert missed(facts_of([late[0], (at(30), info("a", id="2")), late[2]], EVENTS_OF_TWO)) == []


EVENTS_OF_TWO = of(2, distinct="name", of="events")


def test_a_near_miss_is_told_once_a_window() -> None:
    seen: Feed = [(at(n), info(name)) for n, name in ((0, "a"), (20, "b"), (50, "b2"))]

    told = missed(facts_of([*seen, (at(80), info("c")), (at(900), TICK)], of(4)))

    assert {when for when, *_ in told} == {120}


ENDS = {"of": "events", "ends": {"below": 2, "within": "2m"}}


def over(facts: list[Fact]) -> list[float]:
    """When the rule ended an alert."""
    return [
        (fact.at - T0).total_seconds()
        for fact in facts
        if isinstance(fact, AlertCleared) and fact.reason is ClearReason.FEWER
    ]


def test_it_ends_late_within_after_too_few_are_left() -> None:
    seen: Feed = [(at(n), info("a", id=str(n))) for n in (0, 10, 20)]

    facts = facts_of([*seen, (at(900), TICK)], of(3, **ENDS))

    assert over(facts) == [190]  # the second newest was seen at 10
    assert only(IncidentResolved, facts).at == at(250)


def test_until_it_ends_each_that_is_seen_joins() -> None:
    seen: Feed = [(at(n), info("a", id=str(n))) for n in (0, 10, 20)]
    more: Feed = [(at(100), info("b")), (at(130), info("c")), (at(900), TICK)]

    facts = facts_of([*seen, *more], of(3, **ENDS))

    assert joined(facts) == fingerprints("a", "b", "c")
    assert over(facts) == [280, 280, 280]


def test_what_is_seen_after_the_end_is_no_part_of_it() -> None:
    seen: Feed = [(at(n), info("a", id=str(n))) for n in (0, 10, 20)]
    more: Feed = [(at(131), info("b")), (at(900), TICK)]

    assert joined(facts_of([*seen, *more], of(3, **ENDS))) == fingerprints("a")
    late: Feed = [(at(131), info("b", occurred_at=at(129))), (at(900), TICK)]
    assert joined(facts_of([*seen, *late], of(3, **ENDS))) == fingerprints("a", "b")


def test_what_holds_again_before_the_end_is_told_goes_on() -> None:
    seen: Feed = [(at(n), info("a", id=str(n))) for n in (0, 10, 20, 150, 151, 152)]

    assert over(facts_of([*seen, (at(900), TICK)], of(3, **ENDS))) == [331]


def test_a_window_to_end_may_be_shorter_than_the_one_to_begin() -> None:
    seen: Feed = [(at(n), info("a", id=str(n))) for n in (0, 25, 50)]
    rule = of(3, of="events", ends={"below": 3, "within": "10s"})

    assert over(facts_of([*seen, (at(900), TICK)], rule)) == [110]


def test_only_alerts_that_the_rule_matches_end_with_it() -> None:
    rule = {**of(2, ends={"below": 1, "within": "10s"}), "by": ["ci"]}
    rule["threshold"]["match"] = "severity<=info"  # type: ignore[index] # it is one
    seen: Feed = [
        *((at(n), info(name)) for n, name in enumerate("abc")),
        (at(3), event("c", severity=Severity.CRITICAL)),
        (at(4), clear("b")),
    ]

    facts = facts_of([*seen, (at(900), TICK)], rule)

    ended = [fact.fingerprint for fact in facts if isinstance(fact, AlertCleared)]
    assert ended == fingerprints("b", "a")


def test_a_rule_whose_incident_is_over_ends_nothing() -> None:
    seen: Feed = [(at(n), info("a", id=str(n))) for n in (0, 10, 20)]

    facts = facts_of([*seen, (at(30), Close("INC-000001", "ann")), (at(900), TICK)], of(3, **ENDS))

    assert over(facts) == []


def test_an_end_and_a_miss_survive_a_snapshot() -> None:
    seen: Feed = [(at(n), info("a", id=str(n))) for n in (0, 10, 20)]
    near: Feed = [(at(n), info("x", service="bank", id=f"x{n}")) for n in (0, 10)]
    engine = revived(engine_after(sorted([*seen, *near], key=lambda one: one[0]), of(3, **ENDS)))

    facts = run(engine, [(at(100), info("b")), (at(900), TICK)])

    assert joined(facts) == fingerprints("b")
    assert over(facts) == [200, 200]
    assert {when for when, *_ in missed(facts)} == {120}


def test_a_group_is_kept_while_something_late_may_fall_into_its_window() -> None:
    engine = engine_after([(T0, started(max_groups=1))], threshold_rule(count=2))

    facts = run(engine, [(at(0), info("a")), (at(119), info("a", service="bank"))])

    assert len([fact for fact in facts if isinstance(fact, CapHit)]) == 1


def test_of_a_group_that_makes_room_nothing_is_told_any_more() -> None:
    engine = engine_after([(T0, started(max_groups=1))], of(3))
    seen: Feed = [(at(0), info("a")), (at(1), info("b")), (at(2), info("a", service="bank"))]

    facts = run(engine, [*seen, (at(900), TICK)])

    assert missed(facts) == []
    assert [kind for (kind, _), _ in engine.timers.items() if kind == "rule"] == []


def test_beyond_the_cap_of_a_group_what_is_seen_again_makes_room_first() -> None:
    flood = [by_user("bob", ci=f"c{n}") for n in range(1_000)]
    seen: Feed = [(at(0), by_user("ann")), *((at(1 + n / 100), one) for n, one in enumerate(flood))]

    facts = facts_of([*seen, (at(50), by_user("cy"))], USERS)

    assert joined(facts)[0] == by_user("ann").fingerprint
    assert not [fact for fact in facts if isinstance(fact, CapHit)]


def test_beyond_the_cap_of_a_group_the_oldest_make_room() -> None:
    found: Feed = [(at(n / 10), info(f"a{n}")) for n in range(100)]
    missed: Feed = [(at(n * 0.6), info(f"a{n}")) for n in range(100)]

    assert len(joined(facts_of(found, of(2)))) == 100
    assert not [fact for fact in facts_of(found, of(2)) if isinstance(fact, CapHit)]
    hits = [f for f in facts_of(missed, {**of(3), "within": "1s"}) if isinstance(f, CapHit)]
    assert [hit.table for hit in hits] == ["sightings"] * 2


def test_a_window_of_an_older_snapshot_is_read() -> None:
    once = [["shop"], False, [[None, [at(0), event("a").fingerprint]]]]
    twice = [["bank"], True, [["a", [at(0), "a"]], ["b", [at(0), "b"]]]]
    engine = engine_after([], threshold_rule(count=2))
    engine.rules.states["many"].load([1, once, twice])

    assert len(joined(run(engine, [(at(1), event("b"))]))) == 1
    assert len(joined(run(engine, [(at(2), event("c", service="bank"))]))) == 1


def test_a_rule_that_would_end_before_it_begins_is_refused() -> None:
    wrong = of(3, ends={"below": 4, "within": "1m"})

    with pytest.raises(RuleError) as raised:
        parse(wrong)

    assert str(raised.value) == (
        "threshold.ends.below: it would end before it begins: 4 is more than 3 (at most 3)"
    )


def test_which_alerts_of_a_value_join_does_not_depend_on_the_order_of_arrival() -> None:
    first, again = by_user("ann", occurred_at=at(10)), by_user("ann", ci="x", occurred_at=at(60))
    other = by_user("bob", occurred_at=at(60))
    rule = {**threshold_rule(), "threshold": {"match": "", "count": 2, "distinct": "user"}}

    orders: list[Feed] = [
        [(at(10), first), (at(60), again), (at(61), other)],
        [(at(10), first), (at(60), other), (at(61), again)],
    ]

    found = [joined(run(engine_after([], rule), one)) for one in orders]

    assert sorted(found[0]) == sorted(found[1])
    assert len(found[0]) == 3
