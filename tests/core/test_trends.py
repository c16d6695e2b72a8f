"""What fills up, leaks or runs out, and what only looks like it."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf, pi, sin

import pytest

from eventd.core.scoring.bounds import bounds_of
from eventd.core.scoring.reasons import sentence
from eventd.core.scoring.scorer import THRESHOLD, Reason, Score
from eventd.core.scoring.trends import ANYWHERE, Bounds
from eventd.core.scoring.values import PARTS, SLOPE, ValueScorer

SINCE = 1_767_571_200.0  # Monday 2026-01-05, 00:00 UTC
DAY = 1_440  # values, one a minute
PERCENT = Bounds(high=100.0)
Shape = Callable[[int], float]


def slopes(shape: Shape, count: int, bounds: Bounds = ANYWHERE) -> list[tuple[int, Reason, Score]]:
    """What is told of slopes in values a minute apart, with noise of one."""
    chance = random.Random(1)
    scorer = ValueScorer(bounds)
    told: list[tuple[int, Reason, Score]] = []
    for n in range(count):
        score = scorer.score_then_learn(SINCE + 60.0 * n, shape(n) + chance.gauss(0, 1))
        if score is not None:
            told += [(n, one, score) for one in score.because if one.part == PARTS[SLOPE]]
    return told


def rising(since: int, an_hour: float, level: float = 40.0) -> Shape:
    return lambda n: level + max(0, n - since) / 60.0 * an_hour


def test_what_fills_up_is_told_hours_before_it_is_full() -> None:
    told = slopes(rising(120, 12.0), 420, PERCENT)

    when, reason, score = told[0]
    full = 120 + 60 * 5
    assert 140 < when < 200
    assert score.alarm
    assert reason.bound == 100.0
    assert abs(reason.due - (SINCE + 60.0 * full)) < 30 * 60
    assert 9 < reason.observed < 15
    _, later, _ = told[-1]
    assert later.surprise > reason.surprise  # what lasts is no chance
    assert abs(later.lasts - 3_600.0 * 5) < 3_600.0
    assert sentence(later) == (
        "rises by 12.13 an hour, steadily, for 5 h; reaches 100 at about Monday 07:10"
    )


def test_what_runs_out_is_told_before_it_has() -> None:
    told = slopes(lambda n: 500 - max(0, n - 120), 480, Bounds(low=0.0))

    _, reason, _ = told[0]
    assert reason.bound == 0.0
    assert sentence(reason).startswith("falls by 6")


def test_a_bound_that_is_far_away_is_nobodys_trouble() -> None:
    assert slopes(rising(120, 6.0, level=20.0), 360, PERCENT) == []
    assert slopes(lambda n: 60 - max(0, n - 120) / 5, 360, PERCENT) == []


def test_days_of_slow_growth_are_seen_by_a_longer_look() -> None:
    told = slopes(rising(2 * DAY, 1.0, level=50.0), 4 * DAY, PERCENT)

    _, reason, _ = told[0]
    assert reason.bound == 100.0
    assert reason.lasts > 6 * 3_600.0


def test_without_a_bound_a_rise_is_told_once_a_day_is_known_and_it_is_higher_than_ever() -> None:
    first_day = slopes(rising(300, 12.0), 600)
    second_day = slopes(rising(DAY + 300, 12.0), DAY + 600)
    low = slopes(lambda n: 200.0 if n < 60 else rising(DAY + 300, 12.0)(n), DAY + 600)

    assert first_day == []
    assert low == []
    _, reason, score = second_day[0]
    assert score.raw_score > THRESHOLD
    assert reason.bound is None
    assert sentence(reason).endswith("an hour, steadily, for 40 min, and was never so high")


def test_what_falls_without_a_bound_was_never_so_low() -> None:
    told = slopes(lambda n: -rising(DAY + 300, 12.0)(n), DAY + 600)

    assert sentence(told[0][1]).endswith("and was never so low")


@pytest.mark.parametrize(
    "shape",
    [
        lambda n: 40.0,
        lambda n: 40.0 + (30 if n > 300 else 0),
        lambda n: 40.0 + min(max(0, n - 300), 12) * 3,
        lambda n: 40.0 + (50 if n % 50 == 0 else 0),
        lambda n: 40.0 + 20 * sin(2 * pi * n / 30),
        lambda n: 40.0 + n / 60 * 0.5,
    ],
    ids=["noise", "step", "ramp", "spikes", "waves", "slow"],
)
def test_what_does_not_rise_steadily_is_not_told(shape: Shape) -> None:
    assert slopes(shape, 900, PERCENT) == []


def test_what_has_risen_from_the_beginning_is_a_counter() -> None:
    assert slopes(lambda n: 12.0 * n, 3 * DAY) == []


def test_what_rose_as_steeply_before_is_usual_until_that_is_long_ago() -> None:
    def mornings(n: int) -> float:
        return 30 + 12.0 * min(max(0, n % DAY - 480), 240) / 60 * (n % DAY < 1_200)

    first = slopes(mornings, DAY, PERCENT)
    assert first
    assert [n for n, _, _ in slopes(mornings, 5 * DAY, PERCENT) if n >= DAY] == []

    def once_more(n: int) -> float:
        return mornings(n) if n < DAY or n > 30 * DAY else 30.0

    assert [n for n, _, _ in slopes(once_more, 32 * DAY, PERCENT) if n >= DAY]


def test_what_goes_on_for_six_looks_is_usual_then() -> None:
    told = slopes(rising(DAY + 300, 12.0), DAY + 2_000)

    hours = [n for n, reason, _ in told if reason.lasts < 6 * 3_600.0]
    assert DAY + 300 + 5 * 60 < hours[-1] < DAY + 300 + 7 * 60


def test_what_was_told_is_told_as_long_as_it_goes_on() -> None:
    def slower(n: int) -> float:
        return rising(120, 12.0, level=45.0)(min(n, 200)) + max(0, n - 200) / 60.0 * 6.0

    when = [n for n, _, _ in slopes(slower, 360, PERCENT)]

    assert (
        slopes(rising(120, 6.0, level=45.0), 360, PERCENT) == []
    )  # had it risen so from the first
    assert when[0] < 200
    assert [n for n in range(220, 360) if n not in when] == []


def test_a_gap_and_a_clock_that_goes_back_stop_nothing() -> None:
    chance = random.Random(1)
    scorer = ValueScorer(PERCENT)
    at, told = SINCE, 0
    for n in range(360):
        at += {100: 30 * 86_400.0, 130: -60 * 86_400.0}.get(n, 60.0)
        score = scorer.score_then_learn(at, rising(180, 12.0)(n) + chance.gauss(0, 1))
        told += score is not None and any(one.part == "slope" for one in score.because)

    assert told


@pytest.mark.parametrize(
    ("name", "unit", "bounds"),
    [
        ("mem_used_percent", "", Bounds(high=100.0)),
        ("diskUsedPct", "", Bounds(high=100.0)),
        ("Memory utilization", "%", Bounds(high=100.0)),
        ("CPUUtilization", "Percent", Bounds(high=100.0)),
        ("DISK % used", "", Bounds(high=100.0)),
        ("heap_used_ratio", "", Bounds(high=1.0)),
        ("node_filesystem_avail_bytes", "", Bounds(low=0.0)),
        ("FreeStorageSpace", "Bytes", Bounds(low=0.0)),
        ("disk_free_percent", "", Bounds(low=0.0)),
        ("cache_hit_ratio", "", ANYWHERE),
        ("backup_progress_percent", "", ANYWHERE),
        ("orders", "", ANYWHERE),
        ("tx_per_min", "1/min", ANYWHERE),
        ("", "", ANYWHERE),
    ],
)
def test_bounds_are_what_name_and_unit_say(name: str, unit: str, bounds: Bounds) -> None:
    assert bounds_of(name, unit) == bounds


def test_no_bound_is_far_away() -> None:
    assert (ANYWHERE.low, ANYWHERE.high) == (-inf, inf)
