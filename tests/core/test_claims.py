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
    IncidentOpened,
    Input,
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
