"""Scorers: what is strange, what is not, and what no input can do to them."""

from __future__ import annotations

import random
from math import inf, isfinite, nan, pi, sin
from statistics import median
from sys import getsizeof

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventd.core.scoring.reasons import sentence
from eventd.core.scoring.scorer import Reason, Score, Scorer, State, score_of
from eventd.core.scoring.trends import ANYWHERE, Bounds
from eventd.core.scoring.values import PARTS, WARM, ValueScorer

EVERY = 300.0  # s between values
SINCE = 1_767_571_200.0  # Monday 2026-01-05, 00:00 UTC
ANYTHING = st.floats(allow_nan=True, allow_infinity=True)
ORDINARY = st.sampled_from([0.0, 1.0, 1.0, 2.0, 2.5, 40.0, -3.0])
BOUNDS = st.sampled_from([ANYWHERE, Bounds(high=200.0), Bounds(low=0.0)])
STREAM = st.lists(st.tuples(ANYTHING | ORDINARY, st.floats(-1e12, 1e12) | ANYTHING), max_size=20)


def scores(values: list[float], scorer: Scorer | None = None) -> list[Score | None]:
    """Of values five minutes apart."""
    scorer = scorer or ValueScorer()
    return [scorer.score_then_learn(SINCE + EVERY * n, value) for n, value in enumerate(values)]


def calm(count: int = 4_000, seed: int = 1) -> list[float]:
    """Noise around a daily wave."""
    chance = random.Random(seed)
    day = 86_400 / EVERY
    return [100 + 30 * sin(2 * pi * n / day) + chance.gauss(0, 3) for n in range(count)]


def said(found: Score | None) -> str:
    """Its reasons, in words."""
    assert found is not None
    return "; ".join(sentence(reason) for reason in found.because)


def alarms(found: list[Score | None], since: int = 0) -> list[int]:
    return [n for n, one in enumerate(found) if n >= since and one is not None and one.alarm]


def test_it_does_not_know_until_it_is_warm() -> None:
    found = scores(calm(200))

    assert [one is None for one in found] == [True] * (WARM + 18 - 19) + [False] * (
        200 - (WARM + 18 - 19)
    )


def test_a_calm_stream_hardly_alarms() -> None:
    assert sum(len(alarms(scores(calm(seed=seed)), 1_500)) for seed in range(4)) <= 6


def spike(values: list[float], at: int) -> None:
    values[at] += 60


def shift(values: list[float], at: int) -> None:
    values[at : at + 60] = [value + 25 for value in values[at : at + 60]]


def drop(values: list[float], at: int) -> None:
    values[at : at + 60] = [value - 40 for value in values[at : at + 60]]


def leak(values: list[float], at: int) -> None:
    values[at : at + 200] = [v + 0.3 * n for n, v in enumerate(values[at : at + 200])]


def freeze(values: list[float], at: int) -> None:
    values[at : at + 60] = [values[at]] * 60


def burst(values: list[float], at: int) -> None:
    values[at : at + 60] = [v + 15 * (-1) ** n for n, v in enumerate(values[at : at + 60])]


@pytest.mark.parametrize(
    ("fault", "lasts", "words"),
    [
        (spike, 3, "usual for"),
        (shift, 60, "usual for"),
        (drop, 60, "usual for"),
        (leak, 200, "usual"),
        (freeze, 60, "times in a row"),
        (burst, 60, "usual for"),
    ],
)
def test_a_fault_is_found_while_it_lasts_and_its_reason_told(
    fault: object, lasts: int, words: str
) -> None:
    values = calm()
    at = 3_500
    assert callable(fault)
    fault(values, at)

    found = scores(values)

    during = [n for n in alarms(found, at) if n < at + lasts]
    assert during
    assert words in "; ".join(said(found[n]) for n in range(at, at + lasts) if found[n])


def test_one_anomaly_alarms_once_and_again_where_it_gets_much_worse() -> None:
    values = calm()
    values[3_500:3_540] = [value + 60 for value in values[3_500:3_540]]
    worse = calm()
    worse[3_500] += 25
    worse[3_520] += 3_000

    found = scores(values)

    assert len(alarms(found[:3_560], 3_500)) <= 2
    during = [one for one in found[3_510:3_520] if one is not None]
    assert all(one.raw_score > 0.3 and one.anomaly_score == 0.0 for one in during)
    assert alarms(scores(worse), 3_500) == [3_500, 3_520]


def test_what_is_strange_stands_out_as_long_as_it_lasts() -> None:
    """Also when it is no news any more, and nothing alarms."""
    values = calm()
    values[3_500:3_600] = [value + 60 for value in values[3_500:3_600]]

    found = scores(values)

    usual = sorted(one.raw_score for one in found[2_500:3_500] if one is not None)
    lasting = [one for one in found[3_520:3_600] if one is not None]
    assert median(one.raw_score for one in lasting) > usual[990]
    assert not any(one.alarm for one in lasting)


def test_what_is_learned_of_an_absurd_value_does_not_blind_it() -> None:
    values = calm()
    values[2_000] = 1e308
    values[2_001] = -1e308
    values[3_500] += 100

    found = scores(values)

    assert found[3_500] is not None
    assert found[3_500].raw_score > 0.5


@pytest.mark.parametrize("first", [1e308, -1e308])
def test_an_absurd_first_value_spoils_no_stream(first: float) -> None:
    values = calm()
    values[0] = first
    values[3_500] += 100

    assert 3_500 in alarms(scores(values))


@pytest.mark.parametrize("constant", [0.0, 5.0, 0.1, -1e308])
def test_a_constant_is_not_strange_and_its_first_change_is(constant: float) -> None:
    found = scores([constant] * 1_000 + [constant + 1 if abs(constant) < 1e9 else 0.0])

    assert alarms(found[:1_000]) == []
    assert found[1_000] is not None
    assert found[1_000].alarm


def test_spikes_on_nothing_become_usual() -> None:
    found = scores([20.0 if n % 100 == 99 else 0.0 for n in range(4_000)])

    assert alarms(found)
    assert alarms(found, 1_000) == []


def test_what_is_not_finite_is_not_scored_and_not_learned() -> None:
    with_gaps, without = ValueScorer(), ValueScorer()
    for n, value in enumerate(calm(500)):
        at = SINCE + EVERY * n
        for bad in (nan, inf, -inf):
            assert with_gaps.score_then_learn(at, bad) is None
        assert with_gaps.score_then_learn(nan, value) is None

        assert with_gaps.score_then_learn(at, value) == without.score_then_learn(at, value)


def test_gaps_and_a_clock_that_goes_back_change_no_more_than_the_hour() -> None:
    values = calm()
    scorer = ValueScorer()
    found = []
    for n, value in enumerate(values):
        away = 30 * 86_400 if n > 2_500 else 0
        back = -7 * 86_400 if n > 3_000 else 0
        found.append(scorer.score_then_learn(SINCE + EVERY * n + away + back, value))

    assert len(alarms(found, 1_500)) <= len(alarms(scores(values), 1_500)) + 3


@settings(max_examples=60, deadline=None)
@given(
    stream=STREAM, warm=st.sampled_from([0, 18, 120]), bounds=BOUNDS, more=st.floats(-1e305, 1e305)
)
def test_scores_are_finite_and_within_0_and_1_whatever_comes(
    stream: list[tuple[float, float]], warm: int, bounds: Bounds, more: float
) -> None:
    scorer = ValueScorer(bounds)
    scores(calm(warm), scorer)
    line = [(more * n, SINCE + EVERY * (warm + n)) for n in range(100)]

    for value, at in stream * 6 + line + stream:
        found = scorer.score_then_learn(at, value)

        if found is not None:
            assert 0.0 <= found.raw_score <= 1.0
            assert found.anomaly_score in {0.0, score_of(found.surprise)}
            assert found.anomaly_score <= found.raw_score
            assert abs(found.low) < inf
            assert abs(found.high) < inf
            for one in found.because:
                assert sentence(one)
                assert all(abs(told) < inf for told in (one.observed, one.low, one.high))
                assert all(abs(told) < inf for told in (one.lasts, one.due))


@settings(max_examples=40, deadline=None)
@given(stream=STREAM, cut=st.integers(0, 340), seed=st.integers(0, 9), bounds=BOUNDS)
def test_a_restart_in_the_middle_changes_no_digit(
    stream: list[tuple[float, float]], cut: int, seed: int, bounds: Bounds
) -> None:
    rising = [value + max(0, n - 130) / 10 for n, value in enumerate(calm(330, seed))]
    values = [(value, SINCE + EVERY * n) for n, value in enumerate(rising)] + stream
    through, before = ValueScorer(bounds), ValueScorer(bounds)
    whole = [through.score_then_learn(at, value) for value, at in values]

    parts = [before.score_then_learn(at, value) for value, at in values[:cut]]
    kept = msgspec.msgpack.encode(before.dump())
    after = ValueScorer.load(msgspec.msgpack.decode(kept, type=State))
    parts += [after.score_then_learn(at, value) for value, at in values[cut:]]

    assert parts == whole
    assert after.dump() == through.dump()


@settings(max_examples=20, deadline=None)
@given(stream=STREAM, more=STREAM)
def test_what_comes_later_changes_no_score(
    stream: list[tuple[float, float]], more: list[tuple[float, float]]
) -> None:
    begun = [(value, SINCE + EVERY * n) for n, value in enumerate(calm(130))] + stream
    short, long = ValueScorer(), ValueScorer()

    some = [short.score_then_learn(at, value) for value, at in begun]
    all_of_it = [long.score_then_learn(at, value) for value, at in begun + more]

    assert all_of_it[: len(some)] == some


def test_a_state_of_another_layout_is_learned_anew() -> None:
    scorer = ValueScorer()
    scores(calm(300), scorer)
    layout, *rest = scorer.dump()

    again = ValueScorer.load((layout + 1, *rest))  # type: ignore[arg-type]  # four bytes each

    assert again.dump() == ValueScorer().dump()


def test_a_stream_takes_less_than_4_kilobytes() -> None:
    scorer = ValueScorer()
    scores(calm(2_500), scorer)

    parts = [getattr(scorer, name) for name in ValueScorer.__slots__]
    trends = scorer._trends
    parts += [trends.since, trends.span, trends.looks, *scorer._levels]

    assert getsizeof(scorer) + sum(map(getsizeof, parts)) < 3_000
    assert len(msgspec.msgpack.encode(scorer.dump())) < 2_048


@pytest.mark.parametrize("part", sorted({*PARTS} - {"slope"}))
def test_every_part_has_its_sentence(part: str) -> None:
    up = Reason(part, 3.0, 310.0, 40.0, 60.0, 9)
    down = Reason(part, 99.0, 250_000.0, 300_000.0, 1e12, 9)

    assert "310" in sentence(up)
    assert "once in 1,000 values" in sentence(up)
    assert "250000" in sentence(down)
    assert "once in 1,000,000,000 values" in sentence(down)


def test_a_slope_is_told_by_how_long_it_lasts_and_where_it_leads() -> None:
    due = SINCE + 86_400.0 + 14 * 3_600.0 + 20 * 60
    fills = Reason("slope", 9.0, 1.2, 0.0, 0.4, lasts=10_800.0, bound=100.0, due=due)
    falls = Reason("slope", 9.0, -1.2, 0.0, 0.4, lasts=5_400.0)

    assert sentence(fills) == (
        "rises by 1.2 an hour, steadily, for 3 h; reaches 100 at about Tuesday 14:20"
    )
    assert sentence(falls) == "falls by 1.2 an hour, steadily, for 90 min, and was never so low"


def test_a_reason_names_baseline_and_observed() -> None:
    usual = Reason("hour of the week", 2.0, 310.0, 40.0, 60.0, 9)
    record = Reason("record", 2.3, 310.0, 40.0, 88.0)

    assert sentence(usual) == "310; usual for Monday 09:00 is 40 to 60 (once in 100 values)"
    assert sentence(record) == "310; the highest seen was 88 (once in 200 values)"


def test_an_hour_of_the_week_is_called_by_its_name() -> None:
    scorer = ValueScorer()
    week = 7 * 24 * 12  # values
    for n in range(4 * week):
        busy = n % week // 12 == 9  # Monday, 09:00
        scorer.score_then_learn(SINCE + EVERY * n, (500.0 if busy else 100.0) + n * 7 % 11)

    score = scorer.score_then_learn(SINCE + 4 * week * EVERY + 9 * 3_600.0, 2_000.0)

    assert score is not None
    assert score.low > 300.0  # not the hundred of all other hours
    assert {one.hour for one in score.because if one.hour >= 0} == {9}


def test_the_smallest_numbers_there_are_spoil_nothing() -> None:
    """Their range divides into no number at all."""
    scorer = ValueScorer()
    values = [5e-324 * (n % 9 + 1) for n in range(300)]
    values += [1.0 + n % 10 / 100 for n in range(1_500)]

    found = [scorer.score_then_learn(60.0 * n, value) for n, value in enumerate(values)]

    scores = [one for one in found if one is not None]
    assert all(0.0 <= one.raw_score <= 1.0 and isfinite(one.surprise) for one in scores)
    assert scores[-1].surprise < 1.0


def test_a_state_that_was_spoilt_learns_anew_within_its_bounds() -> None:
    scorer = ValueScorer(Bounds(0.0, 100.0))
    for n in range(200):
        scorer.score_then_learn(60.0 * n, float(n % 7))
    scorer._strange = inf

    found = ValueScorer.load(scorer.dump())

    assert found.dump() == ValueScorer(Bounds(0.0, 100.0)).dump()
