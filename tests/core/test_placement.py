"""What the correlation decides of alerts that are elsewhere by now, or were forgotten."""

from __future__ import annotations

from tests.builders import Feed, at, clear, engine_after, event, group_rule, load, only, started

from eventd.core.correlation.verdicts import Detach, Merge, Verdict
from eventd.core.engine import Engine
from eventd.core.model import AlertDetached, AlertJoined, Correlated, Fact, Tie
from eventd.core.placement import Placement

A, B = event("a").fingerprint, event("b").fingerprint
BECAUSE = Correlated(Tie.SAME, 1.0, 0.3)


def carried_out(engine: Engine, verdict: Verdict) -> list[Fact]:
    facts: list[Fact] = []
    placement = Placement(engine.table, engine.incident_table, engine.correlation)
    assert placement.carry_out([verdict], at(300), facts) == []
    return facts


def reborn() -> Engine:
    """`a` and `b` in one incident, `c` in the third; `a`, forgotten since, fires in the second."""
    feed: Feed = [
        (at(0), started(forget_after=100.0)),
        *((at(1), event(name)) for name in "ab"),
        (at(2), clear("a")),
        (at(200), load(group_rule("by-name", by=["name"]), version="v2")),
        *((at(201), event(name)) for name in "ac"),
    ]
    return engine_after(feed, group_rule())


def test_an_alert_leaves_no_incident_that_it_is_not_in() -> None:
    assert carried_out(reborn(), Detach("INC-000003", B, 1)) == []


def test_of_an_alert_that_was_forgotten_only_the_membership_ends() -> None:
    engine = reborn()

    left = only(AlertDetached, carried_out(engine, Detach("INC-000001", A, 1)))

    assert not left.fires
    assert engine.alert(A).incident == "INC-000002"
    assert [one.firing for one in engine.incidents()] == [1, 1, 1]


def test_a_merge_leaves_behind_what_was_forgotten() -> None:
    engine = reborn()

    told = carried_out(engine, Merge("INC-000001", "INC-000003", BECAUSE))

    assert only(AlertJoined, told).fingerprint == B
    assert engine.alert(A).incident == "INC-000002"
    assert [one.firing for one in engine.incidents()] == [0, 1, 2]
