"""`group`: what has these labels in common belongs together, for a session."""

from __future__ import annotations

from tests.builders import (
    TICK,
    Feed,
    alert,
    at,
    clear,
    engine_after,
    event,
    facts_of,
    group_rule,
    last,
    rule,
)

from eventd.core.model import (
    AlertFired,
    AlertJoined,
    AlertUnmatched,
    EndReason,
    Grouped,
    IncidentClosed,
    IncidentOpened,
    IncidentReopened,
    IncidentUpdated,
    Severity,
)
from eventd.core.rules.group import MAX_REASONS, State
from eventd.core.rules.rule import Limits, Seen, Transition

BECAUSE = Grouped("by-service", {"service": "shop"})


def test_the_first_alert_of_a_group_opens_an_incident_and_joins_it() -> None:
    facts = facts_of([(at(5), event())], group_rule())

    assert isinstance(facts[0], AlertFired)
    assert isinstance(facts[1], IncidentOpened)
    assert facts[1].because == BECAUSE
    assert facts[2:] == [AlertJoined(at(5), "INC-000001", event().fingerprint, 1, BECAUSE)]


def test_the_next_alert_of_the_group_joins_the_same_incident() -> None:
    facts = last([(at(0), event()), (at(5), event("cpu"))], group_rule())

    assert facts[1:] == [AlertJoined(at(5), "INC-000001", event("cpu").fingerprint, 1, BECAUSE)]


def test_another_group_is_another_incident() -> None:
    engine = engine_after([(at(0), event()), (at(5), event(service="bank"))], group_rule())

    assert [(i.id, i.group) for i in engine.incidents()] == [
        ("INC-000001", {"service": "shop"}),
        ("INC-000002", {"service": "bank"}),
    ]


def test_an_alert_that_lacks_the_label_is_not_grouped() -> None:
    facts = last([(at(0), event(service=""))], group_rule())

    assert facts[1:] == [AlertUnmatched(at(0), event(service="").fingerprint, 1)]


def test_an_alert_the_selectors_do_not_match_is_not_grouped() -> None:
    rule = group_rule(match=['name="cpu"', 'name="net"'])

    assert isinstance(last([(at(0), event())], rule)[1], AlertUnmatched)
    assert isinstance(last([(at(0), event("net"))], rule)[1], IncidentOpened)


def test_an_alert_belongs_to_the_first_rule_that_wants_it() -> None:
    feed: Feed = [(at(0), event())]

    engine = engine_after(feed, group_rule("first", by=["ci"]), group_rule("second"))

    assert [(i.rule, i.group) for i in engine.incidents()] == [("first", {"ci": "db1"})]


def test_an_alert_that_becomes_bad_enough_is_grouped_then() -> None:
    feed: Feed = [
        (at(0), event(severity=Severity.MINOR)),
        (at(5), event(severity=Severity.CRITICAL)),
    ]

    facts = last(feed, group_rule(match="severity>=critical"))

    assert [type(fact) for fact in facts[1:]] == [IncidentOpened, AlertJoined]


def test_what_fires_within_the_session_reopens_the_incident() -> None:
    feed: Feed = [
        (at(0), event()),
        (at(10), clear()),
        (at(100), TICK),
        (at(10 + 60 + 299), event("cpu")),
    ]

    facts = last(feed, group_rule(within="5m"))

    assert facts[1:] == [
        IncidentReopened(at(369), "INC-000001", EndReason.FIRED),
        AlertJoined(at(369), "INC-000001", event("cpu").fingerprint, 1, BECAUSE),
    ]


def test_what_fires_after_the_session_is_another_incident() -> None:
    feed: Feed = [(at(0), event()), (at(10), clear()), (at(10 + 60 + 300), event())]

    facts = last(feed, group_rule(within="5m"))

    assert facts[1] == IncidentClosed(at(370), "INC-000001", EndReason.EXPIRED)
    assert isinstance(facts[3], IncidentOpened)
    assert facts[3].incident.id == "INC-000002"


def test_a_rule_may_say_how_long_its_incidents_can_reopen() -> None:
    feed: Feed = [(at(0), event()), (at(10), clear()), (at(10 + 60 + 30), TICK)]

    facts = last(feed, group_rule(within="5m", reopen_within="30s"))

    assert facts[1] == IncidentClosed(at(100), "INC-000001", EndReason.EXPIRED)


def test_a_reopened_incident_is_judged_anew() -> None:
    feed: Feed = [
        (at(0), event(severity=Severity.MINOR)),
        (at(10), clear()),
        (at(90), TICK),
        (at(100), event("cpu", severity=Severity.CRITICAL)),
    ]

    facts = last(feed, group_rule())

    assert [type(fact) for fact in facts] == [
        AlertFired,
        IncidentReopened,
        IncidentUpdated,
        AlertJoined,
    ]


def test_alerts_of_a_group_share_its_reason_within_a_bound() -> None:
    state = State(rule(group_rule()), Limits(1))
    first, again = (
        state.observe(Seen(alert(), Transition.FIRED, at(0)), at(0))[0] for _ in range(2)
    )

    assert first.because is again.because
    for n in range(MAX_REASONS):
        state.observe(Seen(alert(service=f"s{n}"), Transition.FIRED, at(0)), at(0))
    (anew,) = state.observe(Seen(alert(), Transition.FIRED, at(0)), at(0))
    assert anew.because == first.because
    assert anew.because is not first.because
