"""What is learned is bounded: at a cap the longest unseen makes room, and that is told."""

from __future__ import annotations

import pytest
from tests.builders import T0, Feed, at, clear, engine_after, event, run

from eventd.core import habits, heartbeats
from eventd.core.correlation import parameters
from eventd.core.engine import Engine
from eventd.core.model import CapHit, EventDuplicate, Severity, Status


def beat(name: str, source: str = "agent") -> Feed:
    return [(at(0), event(name, status=Status.HEARTBEAT, source=source))]


def blip(name: str) -> Feed:
    minor = Severity.MINOR
    return [(at(0), event(name, severity=minor)), (at(9), clear(name, severity=minor))]


def change(ci: str) -> Feed:
    return [(at(0), event("deploy", status=Status.CHANGE, ci=ci))]


def timed(ci: str) -> Feed:
    return [(at(0), event("disk", ci=ci, occurred_at=T0))]


@pytest.mark.parametrize(
    ("where", "cap", "first", "second", "table"),
    [
        (parameters, "MAX_CHECKS", blip("a"), blip("b"), "checks"),
        (parameters, "MAX_CIS", timed("a"), timed("b"), "clocks"),
        (parameters, "MAX_CHANGES", change("a"), change("b"), "changes"),
        (habits, "MAX_SOURCES", timed("a"), [(at(1), event("disk", source="nagios"))], "sources"),
        (heartbeats, "MAX_BEATING", beat("a"), beat("b"), "heartbeats"),
        (heartbeats, "MAX_SOURCES", beat("a"), beat("a", "other"), "heartbeat_sources"),
    ],
)
def test_a_table_at_its_cap_makes_room_and_says_so(
    where: object, cap: str, first: Feed, second: Feed, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, cap, 1)
    engine: Engine = engine_after(first)

    facts = run(engine, second)

    hits = [fact.table for fact in facts if isinstance(fact, CapHit)]
    assert hits == [table]


def test_that_an_event_came_twice_stands_last_beside_a_table_that_was_full() -> None:
    """It is looked for there: else it counts as new, and `check` says that it did twice."""
    engine = engine_after([(at(0), event("disk", id="1"))])
    engine._state.full.append("checks")  # as what is due in the same step does

    facts = engine.step(event("disk", id="1"), at(1))

    assert [type(fact) for fact in facts] == [CapHit, EventDuplicate]
