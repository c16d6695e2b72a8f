"""Flapping: what changes state too often to be believed."""

from __future__ import annotations

from tests.builders import (
    TICK,
    Feed,
    at,
    clear,
    engine_after,
    event,
    facts_of,
    revived,
    run,
    started,
)

from eventd.core.model import AlertFlapping, AlertForgotten

DISK = event().fingerprint


def flips(count: int, every: float) -> Feed:
    """It fires, clears, fires, ..."""
    return [
        (at(every * n), clear(payload=f"{n}") if n % 2 else event(payload=f"{n}"))
        for n in range(count)
    ]


def told(feed: Feed) -> list[tuple[float, bool]]:
    """When it began and ended to flap."""
    flapping = [fact for fact in facts_of(feed) if isinstance(fact, AlertFlapping)]
    return [((fact.at - at(0)).total_seconds(), fact.on) for fact in flapping]


def test_six_changes_on_end_are_flapping() -> None:
    assert told(flips(6, 100)) == []
    assert told(flips(7, 100)) == [(600, True)]


def test_changes_far_apart_are_none() -> None:
    assert told([*flips(12, 900), (at(30_000), TICK)]) == []


def test_it_ends_when_the_changes_are_long_ago() -> None:
    ((began, on), (ended, off)) = told([*flips(8, 100), (at(10_000), TICK)])

    assert (on, off) == (True, False)
    assert began < ended < 2_600


def test_it_ends_as_soon_however_many_changes_there_were() -> None:
    ((began, _), (ended, _)) = told([*flips(600, 1), (at(10_000), TICK)])

    assert began < 10
    assert 600 < ended < 600 + 1_800


def test_an_alert_that_lasted_long_has_not_begun_to_flap_with_its_first_clear() -> None:
    feed: Feed = [(at(-10_000), event(payload="first")), *flips(8, 100)[1:]]

    assert told(feed)[0][0] == 700


def test_it_is_told_once() -> None:
    assert [on for _, on in told(flips(20, 60))] == [True]


def test_what_is_forgotten_flaps_no_more() -> None:
    feed: Feed = [(at(0), started(forget_after=200)), *flips(8, 60), (at(5_000), TICK)]

    facts = facts_of(feed)

    assert [type(f) for f in facts if isinstance(f, AlertFlapping | AlertForgotten)] == [
        AlertFlapping,
        AlertForgotten,
    ]
    assert len(engine_after(feed).correlating.flapping) == 0


def test_it_goes_on_after_a_restart() -> None:
    before, after = flips(9, 100)[:5], flips(9, 100)[5:]

    facts = run(revived(engine_after(before)), after)

    assert [fact for fact in facts if isinstance(fact, AlertFlapping)] == [
        AlertFlapping(at(600), DISK, 4, on=True)
    ]
