"""The last resort: the engine from the tables of the store, when no snapshot is good."""

from __future__ import annotations

from msgspec.structs import replace
from tests.builders import (
    TICK,
    Feed,
    at,
    clear,
    engine_after,
    event,
    group_rule,
    inventory,
    load,
    maintenance,
    only,
    run,
    silence,
)

from eventd.core.engine import Engine
from eventd.core.model import (
    AlertCleared,
    AlertForgotten,
    AlertRepeated,
    AlertSuppressed,
    AlertUnsuppressed,
    Ci,
    ClearReason,
    EndReason,
    EventDuplicate,
    IncidentClosed,
    IncidentOpened,
    IncidentResolved,
    IncidentState,
    Maintenance,
    MaintenanceAnnounced,
    MaintenanceEnded,
    Resolve,
    Severity,
    SilenceAdded,
    SilenceEnded,
    Status,
    Window,
)

INC = "INC-000001"


def rebuilt(engine: Engine, *members: tuple[str, str]) -> Engine:
    """An engine from what the tables of this one would hold."""
    windows: list[Maintenance] = list(engine.suppressions.windows.values())
    again = Engine.rebuild(engine.alerts(), engine.incidents(), members, engine.silences(), windows)
    again.step(load(group_rule()), at(100))
    return again


def after(*feed: tuple[float, object]) -> Engine:
    """An engine that groups by service and saw this."""
    timed: Feed = [(at(second), item) for second, item in feed]  # type: ignore[misc] # inputs
    return engine_after(timed, group_rule())


def test_alerts_and_open_incidents_go_on() -> None:
    engine = after((0, event()), (1, event("cpu")), (10, clear("cpu")))
    fingerprints = [event().fingerprint, event("cpu").fingerprint]

    again = rebuilt(engine, *((INC, fingerprint) for fingerprint in fingerprints))

    assert list(again.alerts()) == list(engine.alerts())
    assert again.incident(INC) == engine.incident(INC)
    facts = run(again, [(at(200), clear()), (at(300), TICK)])
    assert facts[-1] == IncidentResolved(at(260), INC, EndReason.CLEARED)


def test_what_is_known_of_an_incident_outlives_the_correlation() -> None:
    feed: Feed = [
        (at(0), inventory(Ci("sw"), Ci("app", depends_on=("sw",)))),
        (at(1), event("down", ci="sw", severity=Severity.CRITICAL)),
        (at(2), event("slow", ci="app")),
        (at(60), TICK),
    ]
    engine = engine_after(feed)
    members = [(INC, alert.fingerprint) for alert in engine.alerts()]

    again = rebuilt(engine, *members)

    assert again.incident(INC) == engine.incident(INC)
    assert again.incident(INC).roots[0].ci == "sw"
    clears: Feed = [
        (at(200), clear("down", ci="sw", severity=Severity.CRITICAL)),
        (at(201), clear("slow", ci="app")),
        (at(300), TICK),
    ]
    resolved = IncidentResolved(at(261), INC, EndReason.CLEARED)
    assert only(IncidentResolved, run(again, clears)) == resolved


def test_a_cleared_alert_is_forgotten_in_its_time() -> None:
    again = rebuilt(after((0, event()), (10, clear()), (5_000, TICK)))

    facts = run(again, [(at(90_000), TICK)])

    assert facts[-1] == AlertForgotten(at(86_410), event().fingerprint)


def test_a_cleared_alert_without_a_time_is_forgotten_after_it_was_last_seen() -> None:
    alert = replace(next(after((0, event()), (10, clear())).alerts()), cleared_at=None)

    again = Engine.rebuild([alert], [], [], [], [])

    assert again.deadline() == at(86_410)


def test_an_incident_in_which_nothing_fires_resolves() -> None:
    again = rebuilt(after((0, event()), (10, clear())), (INC, event().fingerprint))

    facts = run(again, [(at(200), TICK)])

    assert facts == []
    assert again.incident(INC).state is IncidentState.RESOLVED


def test_a_resolved_incident_closes() -> None:
    again = rebuilt(after((0, event()), (10, clear()), (100, TICK)), (INC, event().fingerprint))

    facts = run(again, [(at(9_000), TICK)])

    assert facts == [IncidentClosed(at(70 + 600), INC, EndReason.EXPIRED)]


def test_a_resolved_incident_in_which_something_fires_closes_too() -> None:
    again = rebuilt(after((0, event()), (10, Resolve(INC, "ann"))), (INC, event().fingerprint))

    facts = run(again, [(at(9_000), TICK)])

    assert facts == [IncidentClosed(at(610), INC, EndReason.EXPIRED)]


def test_a_member_whose_alert_is_forgotten_is_still_counted() -> None:
    both = (INC, event().fingerprint), (INC, "f" * 32)
    again = rebuilt(after((0, event())), *both, both[1])

    assert (again.incident(INC).alerts, again.incident(INC).firing) == (2, 1)


def test_members_of_closed_incidents_and_without_ci_change_nothing() -> None:
    engine = after((0, event(ci="")))

    again = rebuilt(engine, (INC, event(ci="").fingerprint), ("INC-000099", "f" * 32))

    assert again.incident(INC) == engine.incident(INC)


def test_an_alert_the_ledger_does_not_know_as_member_clears_on_its_own() -> None:
    again = rebuilt(after((0, event())))

    facts = run(again, [(at(120), clear())])

    assert facts == [AlertCleared(at(120), event().fingerprint, 1, ClearReason.SENT, "")]


def test_ids_go_on_where_they_were() -> None:
    engine = after(
        (0, event()),
        (1, silence('name="x"', at(900))),
        (2, maintenance("CHG1", ends=900, cis=["y"])),
    )

    facts = run(
        rebuilt(engine, (INC, event().fingerprint)),
        [
            (at(200), event(service="bank")),
            (at(201), silence('name="z"', at(900))),
            (at(202), maintenance("CHG2", ends=900, cis=["z"])),
        ],
    )

    assert [fact.incident.id for fact in facts if isinstance(fact, IncidentOpened)] == [
        "INC-000002"
    ]
    assert [fact.silence.id for fact in facts if isinstance(fact, SilenceAdded)] == ["SIL-000002"]
    announced = [fact for fact in facts if isinstance(fact, MaintenanceAnnounced)]
    assert [fact.maintenance.id for fact in announced] == ["MNT-000002"]


def test_silences_and_windows_hold_what_they_held_and_end_in_time() -> None:
    engine = after(
        (0, silence('name="disk"', at(300))),
        (0, maintenance("CHG1", ends=400, cis=["db2"])),
        (5, event()),
        (6, event("cpu", ci="db2")),
    )

    facts = run(rebuilt(engine), [(at(1_400), TICK)])

    assert [(type(fact), fact.at) for fact in facts if not hasattr(fact, "incident")] == [
        (SilenceEnded, at(300)),
        (AlertUnsuppressed, at(300)),
        (MaintenanceEnded, at(1_300)),  # a quarter of an hour is for what comes up slowly
        (AlertUnsuppressed, at(1_300)),
    ]


def test_of_a_window_that_is_over_only_the_id_counts() -> None:
    over = Maintenance("MNT-000007", Window(at(10), at(10), ("db1",)), "CHG1", "zabbix")
    engine = Engine.rebuild((), (), (), (), (over,))

    facts = run(engine, [(at(10), event()), (at(20), maintenance("CHG2", ends=900, cis=["z"]))])

    assert not [fact for fact in facts if isinstance(fact, AlertSuppressed)]
    assert only(MaintenanceAnnounced, facts).maintenance.id == "MNT-000008"


def test_what_was_stepped_before_is_known_by_its_strong_key() -> None:
    engine = rebuilt(after((0, event("disk"))))
    for one in (event(id="1"), event(id="1"), event(id="2", status=Status.HEARTBEAT), event()):
        engine.recognise(one, at(1))

    again = [engine.step(event(id=name), at(101))[-1] for name in ("1", "2")]

    assert [type(fact) for fact in again] == [EventDuplicate, AlertRepeated]
    assert len(engine.table.keys) == 2
