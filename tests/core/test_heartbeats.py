"""Absence: what beats, and no longer does while its source still talks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import pytest
from tests.builders import TICK, Feed, at, engine_after, event, only, revived, run, started

from eventd.core import heartbeats
from eventd.core.engine import Engine
from eventd.core.model import (
    AlertCleared,
    AlertFired,
    Event,
    Fact,
    IncidentOpened,
    Input,
    Severity,
    Status,
)


def beat(ci: str, number: float, source: str = "agent") -> Event:
    """It is alive."""
    return event("alive", ci=ci, status=Status.HEARTBEAT, source=source, payload=f"{number}")


def beats(ci: str, until: float, *, start: float = 0, every: float = 30) -> Feed:
    """It beats from `start` until before `until`."""
    count = int((until - start) // every)
    return [(at(start + every * n), beat(ci, start + every * n)) for n in range(count)]


def mixed(*feeds: Iterable[tuple[datetime, Input]]) -> Feed:
    """In order of time."""
    return sorted((one for feed in feeds for one in feed), key=lambda one: one[0])


def fired(facts: Iterable[Fact]) -> list[tuple[float, str, str]]:
    """When which alert fired, of what."""
    return [
        ((fact.at - at(0)).total_seconds(), fact.alert.name, fact.alert.ci)
        for fact in facts
        if isinstance(fact, AlertFired)
    ]


OTHERS = mixed(beats("b", 2_000), beats("c", 2_000), beats("d", 2_000))


def test_silence_while_the_source_talks_is_an_alert() -> None:
    facts = run(Engine(), mixed(beats("a", 600), OTHERS))

    # the last beat was at 570; 3.6 cadences and 20 s later
    assert fired(facts) == [(698, "alive silent", "a")]
    alert = only(AlertFired, facts).alert
    assert (alert.severity, alert.summary) == (
        Severity.MAJOR,
        "nothing heard for 128 s; until then every 30 s",
    )


def test_it_is_raised_at_once_for_it_was_waited_for_already() -> None:
    facts = run(Engine(), mixed(beats("a", 600), OTHERS))

    assert (only(IncidentOpened, facts).at - at(698)).total_seconds() <= 20


def test_a_beat_clears_it() -> None:
    facts = run(Engine(), mixed(beats("a", 600), OTHERS, [(at(900), beat("a", 900))]))

    assert only(AlertCleared, facts).at == at(900)


def test_it_can_fall_silent_again() -> None:
    twice = mixed(beats("a", 600), beats("a", 1_200, start=900), OTHERS)

    assert [when for when, *_ in fired(run(Engine(), twice))] == [698, 1_298]


def test_where_the_source_is_silent_too_nothing_is_said_of_what_beats() -> None:
    feed = mixed(*(beats(ci, 600) for ci in "abcd"), [(at(5_000), TICK)])

    assert fired(run(Engine(), feed)) == []


def test_where_the_source_comes_back_without_one_that_one_is_silent() -> None:
    away = mixed(
        *(beats(ci, 600) for ci in "abcd"), *(beats(ci, 8_000, start=5_000) for ci in "bcd")
    )

    ((when, _, ci),) = fired(run(Engine(), away))

    assert ci == "a"
    assert 5_000 < when < 5_300


@pytest.mark.parametrize("every", [5, 30, 300])
def test_a_source_that_stops_is_told_at_any_cadence(every: float) -> None:
    feed = mixed(*(beats(ci, 20 * every, every=every) for ci in "abcd"), [(at(50_000), TICK)])

    assert fired(run(Engine(), feed)) == []


def test_a_cadence_is_believed_after_five_gaps() -> None:
    known, unknown = (run(Engine(), mixed(beats("a", 30.0 * n), OTHERS)) for n in (6, 5))

    assert len(fired(known)) == 1
    assert fired(unknown) == []


def test_nothing_is_silent_in_the_first_minutes_after_a_start() -> None:
    away = mixed(
        *(beats(ci, 600) for ci in "abcd"),
        [(at(3_000), started(start_grace=300))],
        *(beats(ci, 4_000, start=3_001) for ci in "bcd"),
    )

    ((when, _, ci),) = fired(run(Engine(), away))

    assert ci == "a"
    assert when >= 3_300


def test_it_goes_on_after_a_restart() -> None:
    before, after = mixed(beats("a", 600), OTHERS)[:80], mixed(beats("a", 600), OTHERS)[80:]

    facts = run(revived(engine_after(before)), after)

    assert fired(facts) == [(698, "alive silent", "a")]


def test_an_equal_moment_is_no_cadence() -> None:
    engine = engine_after([(at(0), beat("a", n)) for n in range(10)])

    (known,) = engine.heartbeats.beats.values()
    assert known.gaps == []


def test_beyond_the_caps_the_longest_unheard_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "MAX_BEATING", 2)
    monkeypatch.setattr(heartbeats, "MAX_SOURCES", 2)

    engine = engine_after([(at(n), beat("x", n, source=f"s{n}")) for n in range(4)])

    assert [one.source for one in engine.heartbeats.beats.values()] == ["s2", "s3"]
    assert list(engine.heartbeats.pulses) == ["s2", "s3"]


def test_of_a_source_that_made_room_nothing_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "MAX_SOURCES", 1)
    other = [(at(601), beat("x", 0, source="other"))]

    facts = run(Engine(), mixed(beats("a", 600), beats("b", 600), other, [(at(900), TICK)]))

    assert fired(facts) == []


def test_what_makes_room_while_it_is_silent_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "MAX_BEATING", 4)
    feed = mixed(beats("a", 600), OTHERS)
    engine = engine_after([one for one in feed if one[0] < at(900)])
    assert engine.heartbeats.beats[beat("a", 0).fingerprint].silent

    facts = run(engine, [(at(901), beat("new", 901))])

    assert only(AlertCleared, facts).at == at(901)
    assert beat("a", 0).fingerprint not in engine.heartbeats.beats


def test_of_sources_the_one_longest_unheard_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "MAX_SOURCES", 2)

    said = enumerate(("busy", "calm", "busy", "new"))
    engine = engine_after([(at(n), beat("x", n, source=source)) for n, source in said])

    assert list(engine.heartbeats.pulses) == ["busy", "new"]
