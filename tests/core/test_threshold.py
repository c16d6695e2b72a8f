"""`threshold`: so many within so long, half-open."""

from __future__ import annotations

from tests.builders import (
    T0,
    Feed,
    at,
    clear,
    engine_after,
    event,
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
    AlertJoined,
    AlertUnmatched,
    CapHit,
    Counted,
    Event,
    Fact,
    FindingNoted,
    IncidentOpened,
    IncidentUpdated,
    Severity,
)

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
    assert facts[1:] == [AlertJoined(at(50), "INC-000001", fingerprint, 1, counted(3))]


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

    facts = run(engine, [(at(0), event(service="s1")), (at(60), event(service="s2"))])

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

    assert len(joined(run(revived(engine), [(at(3), by_user("cy"))]))) == 3


def test_a_window_of_an_older_snapshot_is_read() -> None:
    older = [1, [["shop"], False, [[None, [at(0), event("a").fingerprint]]]]]
    engine = engine_after([], threshold_rule(count=2))
    engine.rules.states["many"].load(older)

    assert len(joined(run(engine, [(at(1), event("b"))]))) == 1
