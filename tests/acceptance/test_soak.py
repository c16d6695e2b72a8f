"""What the soak concludes from what it saw."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.soak import MAX_SIZE, Sample, slope, verdict
from tests.acceptance.traffic import ALERTS, HTTP, MQTT, Books, Sent

FULL = float(MAX_SIZE >> 20)


def sample(minute: int, **more: Any) -> Sample:
    """Of a process of 40 minutes, then of another that settles higher."""
    life, age = divmod(minute, 40)
    plain = Sample(minute * 60.0, life, age * 60.0, 200 + 30.0 * life, 20, FULL, FULL, 0, 0, 0, 0.2)
    return plain._replace(**more)


def test_each_process_has_its_own_level_and_all_one_slope() -> None:
    points = [
        (life, minute * 60.0, 100 * life + minute / 60) for life in (1, 2) for minute in (0, 9)
    ]

    assert slope(points) == pytest.approx(1.0)
    assert slope([(1, 0.0, 5.0)]) == 0.0


def test_what_stays_is_good_and_what_grows_or_is_too_large_is_not() -> None:
    stays = [sample(n) for n in range(120)]
    leaks = [sample(n, rss_mb=200 + n / 60 * 1.5) for n in range(120)]
    opens = [sample(n, descriptors=20 + n // 30) for n in range(120)]
    overflows = [*stays, sample(120, store_mb=FULL * 1.2)]
    never_full = [sample(n, store_mb=FULL / 2) for n in range(120)]

    said = [verdict(one, 600.0) for one in (stays, leaks, opens, overflows, never_full)]

    assert [one["good"] for one in said] == [True, False, False, False, False]
    assert said[0]["settled_samples"] == 90
    assert said[1]["rss_mb_per_h"] == 1.5


def test_books_remember_ids_for_a_while_and_counts_for_ever() -> None:
    books = Books(remembered_for=60.0)
    for minute in range(3):
        books.took(Sent(books.draw(HTTP, 2), 2, minute * 60.0))

    assert books.ids(since=0.0) == ["keyed-2", "keyed-3", "keyed-4", "keyed-5"]
    assert books.ids(since=61.0) == ["keyed-4", "keyed-5"]
    assert sum(books.expected(HTTP).values()) == books.acknowledged == 6
    assert len(books.expected(HTTP)) == len(books.expected(MQTT)) == ALERTS
