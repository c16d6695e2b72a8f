"""Alerts clear themselves only where their sender promised something."""

from __future__ import annotations

from datetime import datetime

from tests.builders import TICK, Feed, at, clear, engine_after, event, last, only, started

from eventd.core.model import AlertCleared, AlertFired, ClearReason

DISK = event().fingerprint
A_WEEK = 7 * 86_400.0


def ends(feed: Feed) -> list[tuple[datetime, int, ClearReason]]:
    """When, which episode and why, of what the last input ended."""
    cleared = [fact for fact in last(feed) if isinstance(fact, AlertCleared)]
    return [(fact.at, fact.episode, fact.reason) for fact in cleared]


def test_an_alert_whose_source_promised_nothing_fires_for_ever() -> None:
    assert ends([(at(0), event()), (at(A_WEEK), TICK)]) == []


def test_an_alert_that_was_not_repeated_before_it_expires_goes_stale_then() -> None:
    feed: Feed = [(at(0), event(expires_at=at(300))), (at(500), TICK)]

    assert ends(feed) == [(at(300), 1, ClearReason.STALE)]


def test_an_alert_that_was_not_repeated_within_the_promised_time_goes_stale_then() -> None:
    feed: Feed = [(at(0), event(repeats_within=120)), (at(500), TICK)]

    assert ends(feed) == [(at(120), 1, ClearReason.STALE)]


def test_a_repeat_puts_staleness_off() -> None:
    feed: Feed = [
        (at(0), event(repeats_within=120)),
        (at(100), event(repeats_within=120)),
        (at(200), TICK),
    ]

    assert ends(feed) == []


def test_a_duplicate_puts_staleness_off() -> None:
    feed: Feed = [
        (at(0), event(id="a", repeats_within=120)),
        (at(100), event(id="a", repeats_within=120)),
        (at(200), TICK),
    ]

    assert ends(feed) == []


def test_an_old_promise_seen_again_never_brings_staleness_nearer() -> None:
    feed: Feed = [
        (at(0), event(id="a", expires_at=at(60))),
        (at(50), event(id="b", expires_at=at(600))),
        (at(100), event(id="a", expires_at=at(60))),
        (at(200), TICK),
    ]

    assert ends(feed) == []


def test_a_duplicate_makes_no_promise_where_there_was_none() -> None:
    feed: Feed = [
        (at(0), event(id="a")),
        (at(50), event(id="a", expires_at=at(60))),
        (at(200), TICK),
    ]

    assert ends(feed) == []


def test_a_clear_seen_again_promises_nothing_for_the_episode_that_fires_now() -> None:
    feed: Feed = [
        (at(0), event(quiet_for=1_000)),
        (at(20), clear(id="a", quiet_for=10)),
        (at(40), event(quiet_for=1_000)),
        (at(60), clear(id="a", quiet_for=10)),
        (at(900), TICK),
    ]

    assert ends(feed) == []


def test_an_alert_that_arrives_after_it_expired_fires_and_clears_at_once() -> None:
    engine = engine_after([(at(60), event(expires_at=at(0)))])

    assert engine.deadline() == at(60)
    assert engine.step(TICK, at(60)) == (AlertCleared(at(60), DISK, 1, ClearReason.STALE),)


def test_an_alert_cleared_by_its_source_does_not_go_stale_as_well() -> None:
    feed: Feed = [(at(0), event(expires_at=at(300))), (at(100), clear()), (at(500), TICK)]

    assert ends(feed) == []


def test_an_occurrence_clears_itself_when_it_is_quiet() -> None:
    feed: Feed = [(at(0), event(quiet_for=900)), (at(1_000), TICK)]

    assert ends(feed) == [(at(900), 1, ClearReason.QUIET)]


def test_what_fires_after_it_went_stale_is_a_new_episode() -> None:
    feed: Feed = [(at(0), event(expires_at=at(300))), (at(500), event())]

    assert ends(feed) == [(at(300), 1, ClearReason.STALE)]
    assert only(AlertFired, last(feed)).alert.episode == 2


def test_nothing_goes_stale_in_the_first_minutes_after_a_start() -> None:
    feed: Feed = [
        (at(0), event(repeats_within=120)),
        (at(1_000), started(start_grace=300)),
        (at(2_000), TICK),
    ]

    assert ends(feed) == [(at(1_300), 1, ClearReason.STALE)]


def test_a_promise_that_outlasts_the_grace_stands() -> None:
    feed: Feed = [
        (at(0), event(repeats_within=1_900)),
        (at(1_000), started(start_grace=300)),
        (at(2_000), TICK),
    ]

    assert ends(feed) == [(at(1_900), 1, ClearReason.STALE)]


def test_an_occurrence_needs_no_grace() -> None:
    feed: Feed = [(at(0), event(quiet_for=120)), (at(1_000), started())]

    assert ends(feed) == [(at(120), 1, ClearReason.QUIET)]
