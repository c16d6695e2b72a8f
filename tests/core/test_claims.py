"""What rules and silences say comes before the correlation, also of alerts it knows already."""

from __future__ import annotations

import pytest
from tests.bank import bank, down, later
from tests.builders import (
    TICK,
    Feed,
    at,
    clear,
    engine_after,
    engine_with,
    event,
    group_rule,
    inhibit_rule,
    inventory,
    kind_rule,
    maintenance,
    only,
    run,
    silence,
    threshold_rule,
)

from eventd.core.engine import Engine
from eventd.core.model import (
    AlertCleared,
    AlertJoined,
    AlertSuppressed,
    Ci,
    ClearReason,
    EndReason,
    IncidentOpened,
    IncidentResolved,
    IncidentState,
    Input,
    Merge,
    Resolve,
    Severity,
    Split,
)

WORSE = event("a", severity=Severity.CRITICAL)


def incidents(engine: Engine) -> list[tuple[str, int]]:
    """Rule and firing alerts of each."""
    return [(one.rule, one.firing) for one in engine.incidents()]


def test_an_alert_that_a_rule_claims_when_it_gets_worse_is_raised_by_nothing_else() -> None:
    feed: Feed = [(at(0), event("a", severity=Severity.WARNING)), (at(10), WORSE), (at(400), TICK)]

    engine = engine_after(feed, group_rule("grave", "severity>=critical"))

    assert incidents(engine) == [("grave", 1)]


def test_alerts_that_a_rule_counts_together_are_raised_by_nothing_else() -> None:
    feed: Feed = [(at(n), event(name)) for n, name in enumerate("abc")]

    engine = engine_after([*feed, (at(400), TICK)], threshold_rule(count=3))

    assert incidents(engine) == [("many", 3)]


def test_what_waits_beside_a_claimed_alert_goes_where_the_rule_says() -> None:
    feed: Feed = [
        (at(0), event("a", severity=Severity.WARNING)),
        (at(1), event("b", severity=Severity.WARNING)),
        (at(10), WORSE),
    ]
    engine = engine_with(group_rule("grave", "severity>=critical"))

    facts = run(engine, feed)

    joined = [(f.fingerprint, f.because.rule) for f in facts if isinstance(f, AlertJoined)]
    assert joined == [(WORSE.fingerprint, "grave"), (event("b").fingerprint, "correlation")]
    assert incidents(engine) == [("grave", 2)]


@pytest.mark.parametrize(
    "cover", [silence('name="a"', at(9_000)), maintenance(starts=1, ends=9_000, cis=["db1"])]
)
@pytest.mark.parametrize("again", [[], [(at(50), event("a"))]])
def test_what_is_suppressed_while_it_waits_is_not_raised(cover: Input, again: Feed) -> None:
    engine = Engine()

    facts = run(engine, [(at(0), event("a")), (at(1), cover), *again, (at(400), TICK)])

    assert only(AlertSuppressed, facts).fingerprint == event("a").fingerprint
    assert not [fact for fact in facts if isinstance(fact, IncidentOpened)]
    assert incidents(engine) == []


def test_what_is_suppressed_leaves_the_others_to_be_raised() -> None:
    feed: Feed = [
        (at(0), event("a")),
        (at(0), event("b")),
        (at(1), silence('name="a"', at(9_000))),
        (at(400), TICK),
    ]

    facts = run(Engine(), feed)

    assert only(AlertJoined, facts).fingerprint == event("b").fingerprint


def test_what_fired_anew_as_mere_information_counts_once_when_it_gets_worse() -> None:
    feed: Feed = [
        (at(0), event("a")),
        (at(0), event("b")),
        (at(60), TICK),
        (at(400), clear("b")),
        (at(410), event("b", severity=Severity.INFO)),
        (at(411), event("b", severity=Severity.MAJOR)),
        (at(412), clear("b")),
    ]

    engine = engine_after(feed)

    (cluster,) = engine.correlation.table.clusters.values()
    assert (cluster.firing, cluster.evidence[Severity.MAJOR]) == (1, 1)
    assert incidents(engine) == [("correlation", 1)]


@pytest.mark.parametrize("by_hand", [True, False])
def test_what_waited_reopens_no_incident_of_a_rule_that_is_resolved(by_hand: bool) -> None:
    """It fired before; what fires anew does reopen it."""
    over: Input = Resolve("INC-000001", "ann") if by_hand else clear("down", ci="db-a")
    feed: Feed = [
        (at(0), inventory(Ci("db-a", depends_on=("san",)), Ci("shop", depends_on=("lan",)))),
        (at(1), event("down", ci="shop", severity=Severity.MAJOR)),
        (at(5), event("down", ci="db-a", severity=Severity.MAJOR)),
        (at(90), inventory(Ci("db-a"), Ci("shop", depends_on=("db-a",)), version="i2")),
        (at(100), over),
        (at(190), TICK),
    ]
    engine = engine_after(feed, group_rule("db", 'ci="db-a"', ["ci"], reopen_within="10m"))
    assert engine.incident("INC-000001").state is IncidentState.RESOLVED

    told = run(engine, [(at(400), TICK)])

    assert [one.incident.rule for one in told if isinstance(one, IncidentOpened)] == ["correlation"]
    assert engine.incident("INC-000001").state is IncidentState.RESOLVED


BY_NAME = group_rule("by-name", 'name="down"', by=["name"])
THREE = [(0.0, down("shop")), (1.0, down("pay")), (2.0, down("hr"))]
TWO_CLEAR = [(60.0, clear("down", ci="shop")), (61.0, clear("down", ci="pay"))]


def test_a_rules_incident_is_over_when_hardly_anything_of_it_fires() -> None:
    engine = bank(*THREE, *TWO_CLEAR, until=300, rules=[BY_NAME])
    assert incidents(engine) == [("by-name", 1)]

    told = later(engine, until=400)

    assert only(IncidentResolved, told).reason is EndReason.SUBSIDED
    assert only(AlertCleared, told).reason is ClearReason.LOST


def test_what_the_correlation_found_around_it_ends_no_incident_of_a_rule() -> None:
    rule = group_rule("shop", 'ci="shop"', by=["ci"])
    around = [(n, down(ci, f"check-{n}")) for n, ci in enumerate(("web", "web", "portal"), 1)]
    over = [(60 + n, clear(f"check-{n}", ci=e.ci)) for n, e in around]

    engine = bank((0, down("shop")), *around, *over, until=2_000, rules=[rule])

    assert incidents(engine) == [("shop", 1)]
    assert [one.alerts for one in engine.incidents()] == [4]


def test_what_the_correlation_does_not_follow_keeps_a_rules_incident_open() -> None:
    unknown = [(3 + n, down(f"cloud-{n}")) for n in range(3)]

    engine = bank(*THREE, *unknown, *TWO_CLEAR, until=2_000, rules=[BY_NAME])

    assert incidents(engine) == [("by-name", 4)]


def test_an_incident_that_a_person_put_together_ends_with_its_last_alert() -> None:
    engine = bank(*THREE, (30, down("fax", "else")), *TWO_CLEAR, until=240, rules=[BY_NAME])
    known = [one.id for one in engine.incidents()]

    run(engine, [(at(241), Merge(known[1], known[0], "ann")), (at(2_000), TICK)])

    assert ("by-name", 2) in incidents(engine)


def test_a_rules_incident_that_resolves_by_itself_is_over_once() -> None:
    engine = bank(*THREE, *TWO_CLEAR, rules=[BY_NAME])

    told = later(engine, (70, clear("down", ci="hr")), until=2_000)

    assert len([fact for fact in told if isinstance(fact, IncidentResolved)]) == 1


def test_what_is_taken_for_lost_is_over_once_though_the_end_of_another_ends_it() -> None:
    """What explains an alert is lost: then a rule is asked about that alert, and ends both."""
    rules = [
        group_rule("by-ci", by=["ci"]),
        kind_rule("pair", {"opens": 'name="cpu"', "closes": 'name="odd"'}, "back", by=["ci"]),
        inhibit_rule('name="src"', 'name="odd"', ("ci",)),
    ]
    several = [event(f"a{n}") for n in range(12)]
    fired: Feed = [
        (at(0), inventory(Ci("db1"))),
        *((at(1), one) for one in several),
        *((at(2 + n), event(name)) for n, name in enumerate(("src", "cpu", "odd"))),
    ]
    cleared: Feed = [(at(400), clear(one.name)) for one in several]
    engine = engine_after([*fired, *cleared], *rules)
    assert incidents(engine) == [("by-ci", 3)]

    told = run(engine, [(at(705), TICK)])

    over = [engine.alert(f.fingerprint).name for f in told if isinstance(f, AlertCleared)]
    assert over == ["src", "cpu", "odd"]
    assert incidents(engine) == [("by-ci", 0)]


# Its check cries wolf, half an hour apart.
BLIPS = [(2_000.0 * n, down(f"branch-0{n + 1}", "blip")) for n in range(4)]
WOLF = [*BLIPS, *((second + 50, clear("blip", ci=one.ci)) for second, one in BLIPS)]


def test_what_a_rule_has_claimed_stays_though_its_check_cries_wolf() -> None:
    rule = threshold_rule("often", 'ci="shop"', of="events", within="90s", by=["ci"])
    engine = bank(*WOLF, rules=[rule])
    again = [(8_000 + 20 * n, down("shop", "blip", payload=f"{n}")) for n in range(3)]

    told = later(engine, *again, (8_100, clear("blip", ci="shop")))

    assert only(AlertCleared, told).incident == "INC-000001"
    assert [one.alerts for one in engine.incidents()] == [1]


def test_what_a_person_has_merged_stays_though_its_check_cries_wolf() -> None:
    engine = bank(*WOLF, (8_000, down("fax")), (8_001, down("fax", "full")))
    raised = [(9_000, down("shop")), (9_001, down("shop", "slow")), (9_002, down("shop", "blip"))]
    later(engine, *raised, until=9_060)
    run(engine, [(at(9_070), Merge("INC-000002", "INC-000001", "ann"))])

    told = later(engine, (9_100, clear("blip", ci="shop")))

    assert only(AlertCleared, told).incident == "INC-000001"
    assert engine.incident("INC-000001").alerts == 5


def test_what_a_person_has_split_off_stays_though_its_check_cries_wolf() -> None:
    engine = bank(*WOLF, (8_000, down("shop")), (8_001, down("shop", "slow")))
    later(engine, (8_002, down("shop", "blip")), until=8_060)
    apart = Split("INC-000001", (down("shop", "blip").fingerprint,), "ann")
    run(engine, [(at(8_070), apart)])

    told = later(engine, (8_100, clear("blip", ci="shop")))

    assert only(AlertCleared, told).incident == "INC-000002"
    assert [one.alerts for one in engine.incidents()] == [2, 1]


def test_of_no_label_all_that_a_rule_matches_is_one() -> None:
    feed: Feed = [(at(0), event("a", ci="x")), (at(1), event("b", ci="y")), (at(2), event("c"))]

    engine = engine_after(feed, group_rule("one", 'name=~"a|b"', by=[]))

    assert incidents(engine) == [("one", 2)]
    (incident,) = engine.incidents()
    assert incident.because == "rule one: all that it matches belongs together"


def test_what_is_resolved_already_is_over_once_whoever_else_fires_beside_it() -> None:
    by_ci = group_rule("by-ci", by=["ci"], reopen_within="1h")
    engine = bank((0, down("db-a")), rules=[by_ci])
    run(engine, [(at(30), Resolve("INC-000001", "ann"))])

    told = later(
        engine,
        (40, down("shop")),
        (100, clear("down", ci="db-a")),
        (101, clear("down", ci="shop")),
        until=2_000,
    )

    resolved = [one.incident for one in told if isinstance(one, IncidentResolved)]
    assert resolved == ["INC-000002"]
