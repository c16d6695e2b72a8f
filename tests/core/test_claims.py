"""What rules and silences say comes before the correlation, also of alerts it knows already."""

from __future__ import annotations

import pytest
from tests.builders import (
    TICK,
    Feed,
    at,
    clear,
    engine_after,
    engine_with,
    event,
    group_rule,
    inventory,
    maintenance,
    only,
    run,
    silence,
    threshold_rule,
)

from eventd.core.engine import Engine
from eventd.core.model import (
    AlertJoined,
    AlertSuppressed,
    Ci,
    IncidentOpened,
    IncidentState,
    Input,
    Resolve,
    Severity,
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
