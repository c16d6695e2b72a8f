"""What is known opens nothing, and is judged again when that ends."""

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
    kind_rule,
    last,
    maintenance,
    matchers,
    only,
    rule,
    silence,
    started,
    threshold_rule,
)

from eventd.core import suppress
from eventd.core.model import (
    AddSilence,
    AlertCleared,
    AlertFired,
    AlertJoined,
    AlertSuppressed,
    AlertUnmatched,
    AlertUnsuppressed,
    CapHit,
    CommandRejected,
    EndReason,
    EndSilence,
    EventNoted,
    Fact,
    Grouped,
    IncidentClosed,
    IncidentOpened,
    Input,
    Maintenance,
    MaintenanceAnnounced,
    MaintenanceEnded,
    Matcher,
    Severity,
    Silence,
    SilenceAdded,
    SilenceEnded,
    Status,
    Window,
)
from eventd.core.rules.own import own_fingerprint

DISK = event().fingerprint
SHARP = started(maintenance_lead=0.0, maintenance_grace=0.0)
NOTED = EventNoted(at(0), "zabbix", Status.CHANGE)


def kinds(facts: list[Fact]) -> list[type]:
    """The types of facts, in order."""
    return [type(fact) for fact in facts]


def test_a_silence_is_in_force_from_the_command_until_its_end() -> None:
    assert last([(at(0), silence('name="disk"', at(60)))]) == [
        SilenceAdded(
            at(0),
            Silence("SIL-000001", matchers('name="disk"'), at(0), at(60), "ann", "known"),
        )
    ]
    assert last([(at(0), silence('name="disk"', at(60))), (at(90), TICK)]) == [
        SilenceEnded(at(60), "SIL-000001")
    ]


def test_a_silenced_alert_opens_nothing() -> None:
    feed: Feed = [(at(0), silence('name="disk"', at(60))), (at(5), event())]

    facts = last(feed, group_rule())

    assert facts[1:] == [AlertSuppressed(at(5), DISK, 1, "SIL-000001")]
    assert engine_after(feed, group_rule()).alert(DISK).suppressed_by == "SIL-000001"


def test_what_no_silence_matches_is_judged_as_ever() -> None:
    feed: Feed = [(at(0), silence('name="disk"', at(60))), (at(5), event("cpu"))]

    assert IncidentOpened in kinds(last(feed, group_rule()))


def test_the_oldest_silence_that_matches_is_the_one() -> None:
    feed: Feed = [
        (at(0), silence('name="cpu"', at(60))),
        (at(1), silence('service="shop"', at(60))),
        (at(2), silence('name="disk"', at(60))),
        (at(5), event()),
    ]

    assert last(feed)[1:] == [AlertSuppressed(at(5), DISK, 1, "SIL-000002")]


def test_what_still_fires_when_its_silence_ends_is_judged_again_that_moment() -> None:
    feed: Feed = [(at(0), silence('name="disk"', at(60))), (at(5), event()), (at(90), TICK)]

    facts = last(feed, group_rule())

    assert facts[:2] == [
        SilenceEnded(at(60), "SIL-000001"),
        AlertUnsuppressed(at(60), DISK, 1, "SIL-000001"),
    ]
    assert isinstance(facts[2], IncidentOpened)
    because = Grouped("by-service", {"service": "shop"})
    assert facts[3] == AlertJoined(at(60), "INC-000001", DISK, 1, because)


def test_what_still_fires_when_its_silence_ends_may_be_covered_by_the_next() -> None:
    feed: Feed = [
        (at(0), silence('name="disk"', at(60))),
        (at(1), silence('service="shop"', at(900))),
        (at(5), event()),
        (at(60), TICK),
    ]

    assert last(feed, group_rule()) == [
        SilenceEnded(at(60), "SIL-000001"),
        AlertUnsuppressed(at(60), DISK, 1, "SIL-000001"),
        AlertSuppressed(at(60), DISK, 1, "SIL-000002"),
    ]


def test_what_cleared_under_its_silence_is_not_judged_again() -> None:
    feed: Feed = [
        (at(0), silence('name="disk"', at(60))),
        (at(5), event()),
        (at(6), event(ci="db2")),
        (at(20), clear()),
        (at(21), clear(ci="db2")),
        (at(90), TICK),
    ]

    assert last(feed, group_rule()) == [SilenceEnded(at(60), "SIL-000001")]


APPS: dict[str, object] = {
    **kind_rule("group", {"match": 'name="app"'}, "apps", by=["name"]),
    "alert": {"severity": "major"},
}
OWN = own_fingerprint(rule(APPS), {"name": "app"})


@pytest.mark.parametrize("ends", [EndSilence("SIL-000001", "ann"), TICK])
def test_what_ends_as_another_is_judged_again_is_over(ends: Input) -> None:
    """A rule ends what made an alert of a rule's, by what the same silence covered."""
    paired = kind_rule("pair", {"opens": 'name="app"', "closes": 'name="up"'}, "up-again")
    covered = silence('name=~"apps|up|x"', at(50))
    begin: Feed = [(at(0), covered), (at(1), event("app")), (at(2), event("up"))]
    engine = engine_after([*begin, (at(3), event("x"))], APPS, paired)
    assert event("up").fingerprint < OWN  # in the order in which they are judged
    assert [alert.suppressed_by for alert in engine.alerts()] == ["", *["SIL-000001"] * 3]

    facts = engine.step(ends, at(50))

    freed = {fact.fingerprint for fact in facts if isinstance(fact, AlertUnsuppressed)}
    assert freed == {event("up").fingerprint, event("x").fingerprint}
    over = [fact.fingerprint for fact in facts if isinstance(fact, AlertCleared)]
    assert over == [event("app").fingerprint, OWN, event("up").fingerprint]
    assert all(not alert.suppressed_by for alert in engine.alerts())


def test_at_the_cap_what_made_room_as_another_was_judged_again_is_gone() -> None:
    one, two = sorted((event("app"), event("app", ci="db2")), key=lambda said: said.fingerprint)
    full: Feed = [(at(0), started(max_alerts=2)), (at(0), silence("", at(50)))]
    engine = engine_after([*full, (at(1), two), (at(2), one)], APPS)

    facts = engine.step(TICK, at(50))

    assert only(AlertUnsuppressed, facts).fingerprint == one.fingerprint
    assert [alert.fingerprint for alert in engine.alerts()] == [one.fingerprint, OWN]


def test_an_operator_ends_a_silence_early() -> None:
    feed: Feed = [(at(0), silence('name="disk"', at(60))), (at(5), EndSilence("SIL-000001", "bob"))]

    assert last(feed) == [SilenceEnded(at(5), "SIL-000001", "bob")]
    assert list(engine_after(feed).silences()) == []
    assert last([*feed, (at(90), TICK)]) == []


def test_ending_a_silence_that_is_unknown_or_over_is_rejected() -> None:
    ended: Feed = [(at(0), silence('name="disk"', at(60))), (at(60), TICK)]

    for name in ("SIL-000002", "SIL-000000", "SIL-1", "SIL-" + "1" * 5_000):
        assert last([*ended, (at(62), EndSilence(name, "bob"))]) == [
            CommandRejected(at(62), missing=True, error=f"no silence {name}")
        ]
    assert last([*ended, (at(61), EndSilence("SIL-000001", "bob"))]) == [
        CommandRejected(at(61), missing=False, error="SIL-000001 has ended already")
    ]


def test_a_silence_that_would_end_before_it_starts_is_rejected() -> None:
    assert last([(at(0), silence("", at(0)))]) == [
        CommandRejected(at(0), missing=False, error="the silence would end before it starts")
    ]


def test_a_silence_that_could_never_be_asked_is_rejected_and_poisons_nothing() -> None:
    command = AddSilence((Matcher("name", "=~", "(?=x)"),), at(60), "ann", "")

    (rejected,) = last([(at(0), command)])

    assert isinstance(rejected, CommandRejected)
    assert rejected.error.startswith("matchers: '(?=x)' is no RE2 pattern")


def test_a_silence_beyond_the_cap_is_rejected() -> None:
    feed: Feed = [
        (T0, started(max_silences=1)),
        (at(0), silence('name="a"', at(60))),
        (at(1), silence('name="b"', at(60))),
    ]

    assert last(feed) == [
        CapHit(at(1), "silences"),
        CommandRejected(at(1), missing=False, error="too many silences; end some"),
    ]


def test_a_silence_covers_what_fired_before_it_when_its_severity_moves() -> None:
    feed: Feed = [
        (at(0), event(severity=Severity.MINOR)),
        (at(10), silence('name="disk"', at(60))),
        (at(20), event(severity=Severity.CRITICAL)),
    ]

    facts = last(feed, group_rule(match="severity>=critical"))

    assert facts[1:] == [AlertSuppressed(at(20), DISK, 1, "SIL-000001")]


def test_a_silence_covers_what_fired_before_it_when_it_repeats() -> None:
    feed: Feed = [
        (at(0), event()),
        (at(10), silence('name="disk"', at(600))),
        (at(20), event()),
        (at(40), event()),
    ]
    rule = threshold_rule(count=2, of="events")

    assert last(feed[:3], rule)[1:] == [AlertSuppressed(at(20), DISK, 1, "SIL-000001")]
    assert len(last(feed, rule)) == 1


def test_a_silence_covers_what_fired_before_it_when_others_reach_a_threshold() -> None:
    feed: Feed = [
        (at(0), event("a")),
        (at(10), silence('name="a"', at(600))),
        (at(20), event("b")),
    ]

    facts = last(feed, threshold_rule(count=2))

    assert facts[1] == AlertSuppressed(at(20), event("a").fingerprint, 1, "SIL-000001")
    assert kinds(facts[2:]) == [IncidentOpened, AlertJoined]
    assert only(AlertJoined, facts).fingerprint == event("b").fingerprint


def test_a_silence_leaves_what_belongs_to_an_incident_there() -> None:
    feed: Feed = [
        (at(0), event(severity=Severity.MINOR)),
        (at(10), silence('name="disk"', at(60))),
        (at(20), event(severity=Severity.CRITICAL)),
    ]

    engine = engine_after(feed, group_rule())

    assert engine.alert(DISK).suppressed_by == ""
    assert engine.incident("INC-000001").urgency == 1


def test_a_change_of_severity_does_not_lift_a_silence() -> None:
    feed: Feed = [
        (at(0), silence('name="disk"', at(60))),
        (at(10), event(severity=Severity.MINOR)),
        (at(20), event(severity=Severity.CRITICAL)),
    ]

    facts = last(feed, group_rule())

    assert len(facts) == 1
    assert engine_after(feed, group_rule()).alert(DISK).suppressed_by == "SIL-000001"


def test_a_change_event_announces_maintenance() -> None:
    planned = maintenance("CHG7", starts=60, ends=120, cis=["db1"], services=["shop"])

    facts = last([(at(0), planned)])

    window = Window(at(60), at(120), ("db1",), ("shop",))
    assert facts == [
        NOTED,
        MaintenanceAnnounced(at(0), Maintenance("MNT-000001", window, "CHG7", "zabbix")),
    ]


def test_maintenance_of_a_ci_covers_its_alerts_in_the_half_open_window() -> None:
    planned: Feed = [(T0, SHARP), (at(0), maintenance(starts=60, ends=120, cis=["db1"]))]

    def opens(second: float, ci: str) -> bool:
        return IncidentOpened in kinds(last([*planned, (at(second), event(ci=ci))], group_rule()))

    assert [opens(59, "db1"), opens(60, "db1"), opens(119, "db1"), opens(120, "db1")] == [
        True, False, False, True,
    ]  # fmt: skip
    assert opens(90, "db2")


def test_maintenance_covers_a_little_before_and_for_longer_after() -> None:
    def opens(second: float) -> bool:
        planned = (at(0), maintenance(starts=300, ends=600, cis=["db1"]))
        return IncidentOpened in kinds(last([planned, (at(second), event())], group_rule()))

    assert [opens(239), opens(240), opens(1_499), opens(1_500)] == [True, False, False, True]


def test_maintenance_of_a_service_covers_its_alerts() -> None:
    planned = (at(0), maintenance(services=["shop"]))

    assert last([planned, (at(5), event())], group_rule())[1:] == [
        AlertSuppressed(at(5), DISK, 1, "MNT-000001")
    ]
    assert IncidentOpened in kinds(last([planned, (at(5), event(service="b"))], group_rule()))


def test_what_still_fires_when_maintenance_is_over_is_judged_again_that_moment() -> None:
    feed: Feed = [
        (T0, SHARP),
        (at(0), maintenance(ends=60, cis=["db1"])),
        (at(5), event()),
        (at(90), TICK),
    ]

    facts = last(feed, group_rule())

    assert kinds(facts) == [MaintenanceEnded, AlertUnsuppressed, IncidentOpened, AlertJoined]
    assert {fact.at for fact in facts} == {at(60)}


def test_an_announcement_replaces_the_one_made_before() -> None:
    feed: Feed = [
        (at(0), maintenance(ends=600, cis=["db1"])),
        (at(5), event()),
        (at(10), maintenance(ends=60, cis=["db2"])),
    ]

    facts = last(feed, group_rule())

    assert kinds(facts) == [
        EventNoted, MaintenanceAnnounced, MaintenanceEnded, AlertUnsuppressed, IncidentOpened,
        AlertJoined,
    ]  # fmt: skip
    assert facts[2] == MaintenanceEnded(at(10), "MNT-000001")


def test_two_announcements_for_one_ci_stand_side_by_side() -> None:
    feed: Feed = [
        (T0, SHARP),
        (at(0), maintenance("CHG1", ends=60, cis=["db1"])),
        (at(1), maintenance("CHG2", ends=600, cis=["db1"])),
        (at(5), event()),
        (at(60), TICK),
    ]

    assert last(feed, group_rule()) == [
        MaintenanceEnded(at(60), "MNT-000001"),
        AlertUnsuppressed(at(60), DISK, 1, "MNT-000001"),
        AlertSuppressed(at(60), DISK, 1, "MNT-000002"),
    ]


def test_a_window_that_names_a_ci_twice_ends_cleanly() -> None:
    feed: Feed = [
        (T0, SHARP),
        (at(0), maintenance(ends=60, cis=["db1", "db1"])),
        (at(60), TICK),
    ]

    assert last(feed) == [MaintenanceEnded(at(60), "MNT-000001")]


def test_the_same_announcement_again_changes_nothing() -> None:
    feed: Feed = [
        (at(0), maintenance(cis=["db1"])),
        (at(5), event()),
        (at(10), maintenance(cis=["db1"])),
    ]

    assert last(feed) == [EventNoted(at(10), "zabbix", Status.CHANGE)]


def test_an_announcement_that_is_over_ends_the_one_made_before() -> None:
    feed: Feed = [
        (at(0), maintenance(ends=600, cis=["db1"])),
        (at(60), maintenance(ends=50, cis=["db1"])),
    ]

    assert last(feed)[1:] == [MaintenanceEnded(at(60), "MNT-000001")]
    assert last([*feed, (at(700), TICK)]) == []


def test_an_announcement_of_an_empty_or_past_window_is_noted_and_nothing_else() -> None:
    assert last([(at(0), maintenance(starts=60, ends=60))]) == [NOTED]
    assert last([(at(0), maintenance(starts=-60, ends=0))]) == [NOTED]


def test_maintenance_beyond_the_cap_is_not_taken_but_may_replace() -> None:
    feed: Feed = [
        (T0, started(max_maintenance=1)),
        (at(0), maintenance("CHG1", cis=["db1"])),
        (at(0), maintenance("CHG2", cis=["db2"])),
    ]

    assert last(feed) == [NOTED, CapHit(at(0), "maintenance")]
    assert kinds(last([*feed, (at(1), maintenance("CHG1", cis=["db3"]))])) == [
        EventNoted, MaintenanceAnnounced, MaintenanceEnded,
    ]  # fmt: skip


def test_windows_have_ten_names_each_on_average_and_a_smaller_one_may_always_replace() -> None:
    few, many = [f"db{n}" for n in range(12)], [f"web{n}" for n in range(20)]
    feed: Feed = [(T0, started(max_maintenance=2)), (at(0), maintenance("CHG1", cis=few))]
    full = [NOTED, CapHit(at(0), "maintenance")]

    assert last([*feed, (at(0), maintenance("CHG2", cis=few[:9]))]) == full
    assert last([*feed, (at(0), maintenance("CHG1", services=many, cis=few[:1]))]) == full
    replaced = [*feed, (at(0), maintenance("CHG1", cis=few[:10], services=few[:10]))]
    assert len(kinds(last(replaced))) == 3
    smaller = [*replaced, (at(1), maintenance("CHG1", cis=few))]
    assert len(kinds(last([*smaller, (at(1), maintenance("CHG2", cis=few[:8]))]))) == 2


def test_a_name_has_no_more_windows_than_each_alert_there_may_look_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(suppress, "MAX_OF_A_NAME", 2)
    feed: Feed = [(at(0), maintenance(f"CHG{n}", cis=["db1"], services=["s"])) for n in (1, 2)]
    full = [NOTED, CapHit(at(0), "maintenance")]

    assert last([*feed, (at(0), maintenance("CHG3", cis=["web1", "db1"]))]) == full
    assert last([*feed, (at(0), maintenance("CHG3", services=["s"]))]) == full
    assert len(kinds(last([*feed, (at(0), maintenance("CHG3", cis=["web1"]))]))) == 2
    assert len(kinds(last([*feed, (at(0), maintenance("CHG2", cis=["db1", "db2"]))]))) == 3


def test_a_window_for_no_name_covers_nothing() -> None:
    feed: Feed = [
        (T0, SHARP),
        (at(0), maintenance(ends=60, cis=["", "db1"], services=[""])),
        (at(1), event(ci="", service="")),
        (at(60), TICK),
    ]

    assert kinds(last(feed[:3])) == [AlertFired, AlertUnmatched]
    assert last(feed) == [MaintenanceEnded(at(60), "MNT-000001")]


def test_a_change_without_a_window_is_noted() -> None:
    assert last([(at(0), event(status=Status.CHANGE))]) == [NOTED]


def test_suppressed_is_not_unmatched() -> None:
    feed: Feed = [(at(0), silence("", at(60))), (at(5), event())]

    assert kinds(last(feed)) == [AlertFired, AlertSuppressed]
    assert kinds(last(feed[1:])) == [AlertFired, AlertUnmatched]


def test_an_alert_judged_again_reopens_nothing_but_takes_the_place_of_what_is_resolved() -> None:
    feed: Feed = [
        (at(0), event("a")),
        (at(1), silence('name="b"', at(200))),
        (at(2), event("b")),
        (at(10), clear("a")),
        (at(70), TICK),  # resolved
        (at(200), TICK),  # the silence is over, b fires still
    ]

    facts = last(feed, group_rule())

    closed, opened = only(IncidentClosed, facts), only(IncidentOpened, facts)
    assert (closed.incident, closed.reason) == ("INC-000001", EndReason.SUPERSEDED)
    assert (opened.incident.id, opened.incident.alerts) == ("INC-000002", 1)
