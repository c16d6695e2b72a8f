"""Incidents: opened, judged, acknowledged, resolved, reopened, closed."""

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
    group_rule,
    last,
    only,
    run,
    started,
    threshold_rule,
)

from eventd.core.model import (
    Acknowledge,
    AlertCleared,
    ClearReason,
    Close,
    Command,
    CommandRejected,
    Comment,
    EndReason,
    EventDuplicate,
    Incident,
    IncidentAcknowledged,
    IncidentClosed,
    IncidentCommented,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    IncidentState,
    IncidentUpdated,
    Reopen,
    Resolve,
    Severity,
)

INC = "INC-000001"
OPENED: Feed = [(at(0), event())]
RESOLVED: Feed = [*OPENED, (at(10), clear()), (at(100), TICK)]
CLOSED: Feed = [*OPENED, (at(10), Close(INC, "ann"))]


def test_an_incident_opens_with_title_reason_and_judgement() -> None:
    opened = last(OPENED, group_rule(assign="storage", workaround="extend it"))[1]

    assert isinstance(opened, IncidentOpened)
    assert opened.incident == Incident(
        id=INC,
        state=IncidentState.OPEN,
        title="disk on db1",
        service="shop",
        rule="by-service",
        group={"service": "shop"},
        impact=3,
        urgency=2,
        impact_because="fewer than 3 CIs affected",
        urgency_because="disk is major",
        alerts=1,
        firing=1,
        cis=1,
        opened_at=at(0),
        updated_at=at(0),
        team="storage",
        workaround="extend it",
        because="rule by-service: same service shop",
    )
    assert opened.incident.priority == 4


def test_what_a_rule_says_of_impact_and_urgency_stands() -> None:
    feed: Feed = [(at(0), event()), *((at(i), event(ci=f"c{i}")) for i in range(1, 20))]

    incident = engine_after(feed, group_rule(impact=2, urgency=3)).incident(INC)

    assert (incident.impact, incident.urgency, incident.priority) == (2, 3, 4)
    assert (incident.impact_because, incident.urgency_because) == (("rule by-service says so",) * 2)


@pytest.mark.parametrize(("cis", "impact"), [(1, 3), (2, 3), (3, 2), (9, 2), (10, 1)])
def test_impact_grows_with_the_things_affected(cis: int, impact: int) -> None:
    feed: Feed = [(at(i), event(ci=f"c{i}")) for i in range(cis)]

    incident = engine_after(feed, group_rule()).incident(INC)

    assert (incident.impact, incident.cis) == (impact, cis)


@pytest.mark.parametrize(
    ("severity", "urgency"),
    [(Severity.OK, 3), (Severity.MINOR, 3), (Severity.MAJOR, 2), (Severity.CRITICAL, 1)],
)
def test_urgency_follows_the_worst_severity_and_says_why(severity: Severity, urgency: int) -> None:
    incident = engine_after([(at(0), event(severity=severity))], group_rule()).incident(INC)

    assert (incident.urgency, incident.urgency_because) == (
        urgency, f"disk is {severity.name.lower()}",
    )  # fmt: skip


def test_an_alert_of_no_ci_counts_none() -> None:
    incident = engine_after([(at(0), event(ci=""))], group_rule()).incident(INC)

    assert (incident.cis, incident.impact, incident.impact_because) == (
        0,
        3,
        "fewer than 3 CIs affected",
    )


def test_judgement_is_raised_with_the_reason_and_never_lowered() -> None:
    feed: Feed = [
        (at(0), event(severity=Severity.MINOR)),
        (at(10), event(severity=Severity.CRITICAL)),
        (at(20), event(severity=Severity.MINOR)),
    ]

    assert last(feed[:2], group_rule())[1:] == [
        IncidentUpdated(at(10), INC, 3, 1, "disk is critical")
    ]
    assert len(last(feed, group_rule())) == 1
    assert engine_after(feed, group_rule()).incident(INC).urgency == 1


def test_a_joining_alert_may_raise_both() -> None:
    feed: Feed = [(at(i), event(ci=f"c{i}", severity=Severity.MINOR)) for i in range(2)]

    facts = last([*feed, (at(9), event(ci="c9", severity=Severity.CRITICAL))], group_rule())

    assert facts[1] == IncidentUpdated(at(9), INC, 2, 1, "3 or more CIs affected; disk is critical")


def test_a_clearing_alert_says_which_incident_has_one_less() -> None:
    feed: Feed = [(at(0), event()), (at(1), event("cpu")), (at(10), clear())]

    assert last(feed, group_rule()) == [
        AlertCleared(at(10), event().fingerprint, 1, ClearReason.SENT, INC)
    ]
    assert engine_after(feed, group_rule()).incident(INC).firing == 1


def test_an_incident_resolves_by_itself_when_all_stayed_clear() -> None:
    feed: Feed = [
        (at(0), event()),
        (at(1), event("cpu")),
        (at(10), clear()),
        (at(20), clear("cpu")),
    ]

    assert last([*feed, (at(79), TICK)], group_rule()) == []
    assert last([*feed, (at(100), TICK)], group_rule()) == [
        IncidentResolved(at(80), INC, EndReason.CLEARED)
    ]


def test_what_fires_before_it_resolves_keeps_it_open() -> None:
    feed: Feed = [(at(0), event()), (at(10), clear()), (at(69), event()), (at(500), TICK)]

    assert last(feed, group_rule()) == []


def test_a_resolved_incident_closes_after_its_reopen_window() -> None:
    feed: Feed = [*RESOLVED, (at(1_000), TICK)]

    facts = last(feed, group_rule(within="5m"))

    assert facts == [IncidentClosed(at(370), INC, EndReason.EXPIRED)]
    closed = engine_after([*RESOLVED, (at(400), TICK)], group_rule()).incident(INC)
    assert (closed.state, closed.resolved_at, closed.closed_at) == (
        IncidentState.CLOSED, at(70), at(370),
    )  # fmt: skip


def test_where_the_rule_does_not_say_a_counted_incident_reopens_as_settings_say() -> None:
    feed: Feed = [
        (T0, started(reopen_within=40.0)),
        (at(0), event("a")),
        (at(1), event("b")),
        (at(2), Resolve(INC, "ann")),
        (at(100), TICK),
    ]

    assert last(feed, threshold_rule(count=2)) == [IncidentClosed(at(42), INC, EndReason.EXPIRED)]


def test_a_closed_incident_is_remembered_for_ten_minutes() -> None:
    engine = engine_after([*CLOSED, (at(609), TICK)], group_rule())

    assert [incident.id for incident in engine.incidents()] == [INC]
    engine.step(TICK, at(610))
    assert list(engine.incidents()) == []


def test_a_person_acknowledges() -> None:
    feed: Feed = [*OPENED, (at(10), Acknowledge(INC, "ann"))]

    assert last(feed, group_rule()) == [IncidentAcknowledged(at(10), INC, "ann")]
    taken = engine_after(feed, group_rule()).incident(INC)
    assert (taken.acknowledged_at, taken.acknowledged_by) == (at(10), "ann")


def test_a_person_comments_on_open_and_on_resolved() -> None:
    comment = Comment(INC, "ann", "looking")

    for feed in (OPENED, RESOLVED):
        assert last([*feed, (at(110), comment)], group_rule()) == [
            IncidentCommented(at(110), INC, "ann", "looking")
        ]


def test_a_person_resolves_what_still_fires() -> None:
    feed: Feed = [*OPENED, (at(10), Resolve(INC, "ann", "fixed"))]

    assert last(feed, group_rule()) == [
        IncidentResolved(at(10), INC, EndReason.OPERATOR, "ann", "fixed")
    ]


def test_a_repeat_or_a_change_does_not_reopen_what_a_person_resolved() -> None:
    feed: Feed = [
        *OPENED,
        (at(10), Resolve(INC, "ann")),
        (at(30), event()),
        (at(50), event(severity=Severity.CRITICAL)),
    ]

    incident = engine_after(feed, group_rule()).incident(INC)

    assert (incident.state, incident.urgency) == (IncidentState.RESOLVED, 2)


def test_a_finding_is_not_noted_on_what_a_person_resolved() -> None:
    feed: Feed = [(at(0), event("a")), (at(1), Resolve(INC, "ann")), (at(20), event("a"))]

    facts = last(feed, group_rule(), threshold_rule(count=2, of="events"))

    assert len(facts) == 1


def test_what_clears_after_a_person_resolved_resolves_nothing_twice() -> None:
    feed: Feed = [*OPENED, (at(10), Resolve(INC, "ann")), (at(20), clear()), (at(200), TICK)]

    assert last(feed, group_rule()) == []


def test_a_person_reopens_and_acknowledgement_is_gone() -> None:
    feed: Feed = [
        *OPENED,
        (at(5), Acknowledge(INC, "ann")),
        (at(10), Resolve(INC, "ann")),
        (at(20), Reopen(INC, "bob", "not yet")),
    ]

    assert last(feed, group_rule()) == [
        IncidentReopened(at(20), INC, EndReason.OPERATOR, "bob", "not yet")
    ]
    reopened = engine_after(feed, group_rule()).incident(INC)
    assert (reopened.resolved_at, reopened.acknowledged_at, reopened.acknowledged_by) == (
        None, None, "",
    )  # fmt: skip


def test_what_a_person_reopened_without_anything_firing_stays_open() -> None:
    feed: Feed = [*RESOLVED, (at(110), Reopen(INC, "bob")), (at(9_000), TICK)]

    assert last(feed, group_rule()) == []
    assert engine_after(feed, group_rule()).incident(INC).state is IncidentState.OPEN


def test_what_a_person_reopened_resolves_by_itself_once_something_fired_and_cleared() -> None:
    feed: Feed = [*RESOLVED, (at(110), Reopen(INC, "bob")), (at(200), event()), (at(300), clear())]

    assert last([*feed, (at(400), TICK)], group_rule()) == [
        IncidentResolved(at(360), INC, EndReason.CLEARED)
    ]


def test_a_person_closes_and_a_new_firing_opens_another() -> None:
    feed: Feed = [*OPENED, (at(10), Close(INC, "ann", "done")), (at(20), event("cpu"))]

    assert last(feed[:2], group_rule()) == [
        IncidentClosed(at(10), INC, EndReason.OPERATOR, "ann", "done")
    ]
    assert only(IncidentOpened, last(feed, group_rule())).incident.id == "INC-000002"
    closed = engine_after(feed, group_rule()).incident(INC)
    assert (closed.resolved_at, closed.closed_at, closed.firing) == (at(10), at(10), 1)


def test_what_clears_after_its_incident_closed_leaves_it_as_it_was() -> None:
    for later in (20, 5_000):  # remembered still, and no longer
        feed: Feed = [*CLOSED, (at(later), clear())]

        assert last(feed, group_rule())[-1] == AlertCleared(
            at(later), event().fingerprint, 1, ClearReason.SENT
        )


def test_what_changes_after_its_incident_closed_moves_nothing() -> None:
    for later in (20, 5_000):
        feed: Feed = [*CLOSED, (at(later), event(severity=Severity.CRITICAL))]

        assert len(last(feed, group_rule())) == 1


@pytest.mark.parametrize(
    "command",
    [
        Acknowledge(INC, "bob"),
        Comment(INC, "bob", "x"),
        Resolve(INC, "bob"),
        Close(INC, "bob"),
        Reopen(INC, "bob"),
    ],
)
def test_closed_is_final(command: Command) -> None:
    error = "INC-000001 is closed; closed is final"

    assert last([*CLOSED, (at(20), command)], group_rule()) == [
        CommandRejected(at(20), missing=False, error=error)
    ]


@pytest.mark.parametrize(
    ("feed", "command", "missing", "error"),
    [
        (OPENED, Comment("INC-000009", "ann", "x"), True, "no open incident INC-000009"),
        (OPENED, Reopen(INC, "ann"), False, "INC-000001 is open"),
        (RESOLVED, Resolve(INC, "ann"), False, "INC-000001 is resolved already"),
        (
            [*OPENED, (at(5), Acknowledge(INC, "ann"))],
            Acknowledge(INC, "bob"),
            False,
            "INC-000001 is acknowledged by ann already",
        ),
    ],
)
def test_a_command_that_cannot_be_applied_is_rejected_and_changes_nothing(
    feed: Feed, command: Command, missing: bool, error: str
) -> None:
    engine = engine_after(feed, group_rule())
    before = list(engine.incidents())

    facts = run(engine, [(at(110), command)])

    assert facts == [CommandRejected(at(110), missing, error)]
    assert list(engine.incidents()) == before


def test_a_command_with_a_key_is_applied_once() -> None:
    comment = Comment(INC, "ann", "x", key=b"k" * 16)

    facts = last([*OPENED, (at(5), comment), (at(6), comment)], group_rule())

    assert facts == [EventDuplicate(at(6), "")]


def test_a_command_without_a_key_is_applied_each_time() -> None:
    comment = Comment(INC, "ann", "x")

    facts = last([*OPENED, (at(5), comment), (at(6), comment)], group_rule())

    assert facts == [IncidentCommented(at(6), INC, "ann", "x")]


def test_a_rejected_command_may_be_tried_again_with_its_key() -> None:
    comment = Comment(INC, "ann", "x", key=b"k" * 16)

    facts = last([(at(0), comment), (at(5), event()), (at(6), comment)], group_rule())

    assert facts == [IncidentCommented(at(6), INC, "ann", "x")]


def test_ids_are_never_used_twice() -> None:
    feed: Feed = [
        (at(0), event()),
        (at(10), Close(INC, "ann")),
        (at(20), event(service="bank")),
        (at(1_000), event(service="pay")),
    ]

    assert only(IncidentOpened, last(feed, group_rule())).incident.id == "INC-000003"


def test_findings_noted_on_one_incident_are_limited() -> None:
    rules = [threshold_rule(f"t{i}", count=2, of="events") for i in range(70)]
    feed: Feed = [(at(0), event()), (at(20), event())]

    facts = last(feed, group_rule(), *rules)

    assert len(facts) == 1 + 64
