"""`anomaly` of rates: far more events than usual at this hour of the week."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from math import exp, lgamma, log, log10
from operator import itemgetter
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import TICK, engine_with, event, frames, only, revived, rule, run, silence
from tests.properties.test_engine import memory

from eventd.core.asking import as_alert
from eventd.core.engine import Engine
from eventd.core.model import (
    AlertCleared,
    AlertFired,
    AlertRaised,
    Event,
    Fact,
    IncidentOpened,
    Input,
    Severity,
    Status,
)
from eventd.core.rules import parse, rates, state_of
from eventd.core.rules.rates import CALM_WINDOWS, LEAST, NEXT_PORTION, State
from eventd.core.rules.rule import Limits, Raise, Seen, Transition
from eventd.core.scoring.counts import Burst, CountScorer, tail
from eventd.core.scoring.reasons import burst
from eventd.core.sentences import raised
from eventd.errors import RuleError

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
NINE = MONDAY + timedelta(days=14, hours=9)
WINDOW = timedelta(minutes=10)
OF_RATES: dict[str, object] = {"match": 'status="info"', "of": "rates", "window": "10m"}
RULE: dict[str, object] = {"name": "often", "anomaly": OF_RATES}
OF_ALERTS_TOO: dict[str, object] = {
    **RULE,
    "anomaly": {"match": ['status="info"', 'status="firing"'], "of": "rates", "window": "10m"},
}
USUAL = (3, 5, 2, 4, 6, 3, 4)  # events in a window
Said = tuple[datetime, Input]


def login(ci: str = "web1") -> Event:
    """Somebody got in."""
    return event("login", ci=ci, status=Status.INFO, severity=Severity.INFO)


def logins(start: datetime, counts: Sequence[int], ci: str = "web1") -> list[Said]:
    """So many in each window from then on."""
    return [
        (start + WINDOW * n + timedelta(seconds=second), login(ci))
        for n, count in enumerate(counts)
        for second in range(count)
    ]


@cache
def _two_weeks() -> Engine:
    engine = engine_with(RULE)
    windows = (NINE - MONDAY) // WINDOW
    counts = [USUAL[n % len(USUAL)] for n in range(windows)]
    assert fired(run(engine, logins(MONDAY, counts))) == []
    return engine


def two_weeks() -> Engine:
    """After two weeks of what is usual."""
    return revived(_two_weeks())


def fired(facts: Sequence[Fact]) -> list[AlertFired]:
    return [one for one in facts if isinstance(one, AlertFired)]


def test_a_burst_is_an_incident_by_itself_that_says_what_is_usual() -> None:
    engine = two_weeks()

    facts = run(engine, [*logins(NINE, [90]), (NINE + 2 * WINDOW, TICK)])

    alert = only(AlertFired, facts)
    assert (alert.at, alert.alert.name) == (NINE + WINDOW, "login unusually often")
    assert (alert.alert.ci, alert.alert.service, alert.alert.value) == ("web1", "shop", 90.0)
    assert alert.alert.summary.startswith(
        "90 in 10 min; usual for Monday 09:00 is 1 to 7; the highest seen was 6 (once in "
    )
    told = raised(only(AlertRaised, facts))
    assert told.startswith(f"fired by rule often: {alert.alert.summary}; surprise ")
    sys.stdout.write(f"{told}\n")  # to be looked at with -s
    assert only(IncidentOpened, facts).incident.title == "login unusually often on web1"


def test_it_is_over_after_some_calm_windows_whether_anything_comes_or_not() -> None:
    for rest in ([4] * 20, [0] * 20):
        engine = two_weeks()
        run(engine, logins(NINE, [90, 80]))

        facts = run(engine, [*logins(NINE + 2 * WINDOW, rest), (NINE + 30 * WINDOW, TICK)])

        assert only(AlertCleared, facts).at == NINE + WINDOW * (2 + CALM_WINDOWS)


@pytest.mark.parametrize(("match", "bursts"), [('name="login"', 0), ('name="other"', 1)])
def test_a_burst_of_what_is_suppressed_is_none(match: str, bursts: int) -> None:
    engine = engine_with(OF_ALERTS_TOO)
    counts = [USUAL[n % len(USUAL)] for n in range((NINE - MONDAY) // WINDOW)]
    run(engine, logins(MONDAY, counts))
    burst = [event("login", ci="web1", labels={"n": str(n)}) for n in range(90)]

    engine.step(silence(match, NINE + 9 * WINDOW), NINE)
    facts = run(engine, [*((NINE, one) for one in burst), (NINE + 2 * WINDOW, TICK)])

    often = [one for one in fired(facts) if one.alert.name == "login unusually often"]
    assert len(often) == bursts


def test_a_rush_at_the_same_hour_of_every_week_is_none() -> None:
    engine = engine_with(RULE)
    counts = []
    for n in range(3 * 7 * 144):
        hour = n // 6 % 168
        counts.append(40 + 3 * (n % 4) if hour == 9 else USUAL[n % len(USUAL)])

    assert fired(run(engine, logins(MONDAY, counts))) == []


def test_a_few_more_than_usual_are_no_burst() -> None:
    engine = two_weeks()

    facts = run(engine, [*logins(NINE, [11]), (NINE + 2 * WINDOW, TICK)])

    assert fired(facts) == []


def test_of_what_hardly_ever_comes_a_few_at_once_are_no_burst() -> None:
    engine = engine_with({**RULE, "anomaly": {"match": 'status="info"', "of": "rates"}})
    every = [(MONDAY + timedelta(hours=3 * n), login()) for n in range(14 * 8)]
    run(engine, every)

    few = [(NINE + timedelta(seconds=n), login()) for n in range(LEAST - 1)]
    assert fired(run(engine, [*few, (NINE + timedelta(minutes=2), TICK)])) == []
    later = NINE + timedelta(hours=1)
    more = [(later + timedelta(seconds=n), login()) for n in range(3 * LEAST)]
    (one,) = fired(run(engine, [*more, (later + timedelta(minutes=2), TICK)]))
    assert one.alert.summary.startswith("15 in 60 s; usual for Monday 10:00 is 0 to ")


def test_the_words_of_a_burst() -> None:
    found = Burst(310, 5.0, 40.0, 60.0, 88, 9)

    assert burst(found, 60.0) == (
        "310 in 60 s; usual for Monday 09:00 is 40 to 60; the highest seen was 88 "
        "(once in 100,000 hours)"
    )
    assert "; usual lately is 40 to 60; " in burst(found._replace(hour=-1), 60.0)


def counted(chance: random.Random, mean: float, heaps: int, windows: int) -> Iterator[int]:
    """Counts that come by chance, `heaps` at a time."""
    for _ in range(windows):
        count, left = 0, chance.expovariate(1.0)
        while left < mean / heaps:
            count += heaps
            left += chance.expovariate(1.0)
        yield count


@pytest.mark.parametrize("mean", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("heaps", [1, 4])
def test_what_comes_by_chance_is_as_rarely_a_burst_as_it_says(mean: float, heaps: int) -> None:
    """None of 13,000 windows is what an hour has once in 100,000."""
    chance, length = random.Random(1), 60.0
    scorer = CountScorer(0.0, -1.0)
    strange = judged = 0
    for window, count in enumerate(counted(chance, mean, heaps, 20_000)):
        if not count:
            continue
        found = scorer.score_then_learn(window, count, length)
        if found is not None:
            judged += 1
            strange += found.surprise >= 5.0
    assert judged > 100
    assert strange == 0
    much = scorer.score_then_learn(20_000, int(12 * mean + 20 * heaps), length)
    assert much is not None
    assert much.surprise >= 5.0
    if mean >= 1.0:  # else too few came to tell
        wide = 1.64 * (heaps * mean) ** 0.5  # the variance is `heaps` times the mean
        assert much.high - mean == pytest.approx(wide, rel=0.4)


def test_a_burst_that_lasts_is_usual_after_an_hour() -> None:
    scorer = CountScorer(0.0, -1.0)
    for window in range(14 * 1440):
        scorer.score_then_learn(window, 10 + window % 3, 60.0)

    surprises = []
    for window in range(14 * 1440, 14 * 1440 + 90):
        found = scorer.score_then_learn(window, 100, 60.0)
        assert found is not None
        surprises.append(found.surprise)
    assert surprises[0] > 7.0
    assert max(surprises[60:]) < 2.5


@pytest.mark.parametrize(("count", "mean"), [(3, 0.1), (10, 2.0), (20, 10.0), (60, 20.0)])
def test_the_tail_is_that_of_the_distribution(count: int, mean: float) -> None:
    def poisson(n: int) -> float:
        return exp(n * log(mean) - mean - lgamma(n + 1.0))

    def heaped(n: int) -> float:
        size = mean  # a variance of twice the mean
        ways = lgamma(n + size) - lgamma(size) - lgamma(n + 1.0)
        return exp(ways + (size + n) * log(0.5))

    for heaps, each in ((1.0, poisson), (2.0, heaped)):
        exact = log10(sum(map(each, range(count, count + 300))))
        assert tail(count, mean, heaps) == pytest.approx(exact, abs=0.05)
    assert tail(count, float(count), 1.0) == 0.0


def test_an_hour_with_nothing_in_it_is_remembered_as_one() -> None:
    scorer = CountScorer(0.0, -1.0)
    for week in range(3):
        for minute in range(60):
            scorer.score_then_learn(week * 7 * 1440 + minute, 10, 60.0)

    assert max(scorer.known) == 2
    assert scorer.level > 5.0
    usual = memoryview(scorer.usual).cast("f")
    assert [hour for hour in range(168) if usual[hour] > 0] == [72]  # 1970 began on a Thursday
    assert scorer.hour == 2 * 168


def see(state: State, when: datetime, ci: str) -> None:
    state.observe(Seen(as_alert(login(ci), when), Transition.NOTED, when), when)


def test_at_the_cap_the_stream_longest_unheard_makes_room() -> None:
    state = State(rule(RULE), Limits(2))
    for ci in "abac":
        see(state, MONDAY, ci)

    assert list(state._watched) == list(state._counts) == [("a", "login"), ("c", "login")]
    assert state.dropped == {"groups": 1}


def test_what_makes_room_while_its_alert_fires_ends_it() -> None:
    engine = engine_with(RULE)
    engine.step(TICK, MONDAY)
    state = engine.rules.states["often"]
    assert isinstance(state, State)
    see(state, MONDAY, "a")
    state._firing["a", "login"] = None
    state._watched["a", "login"].fires = True
    state.limits = Limits(1)

    seen = Seen(as_alert(login("b"), MONDAY), Transition.NOTED, MONDAY)
    over, _ = state.observe(seen, MONDAY)

    assert isinstance(over, Raise)
    assert over.event.status is Status.CLEARED
    assert list(state._firing) == []
    assert state.due("grid", MONDAY + WINDOW) == ()


def test_what_has_no_key_or_is_no_event_is_not_counted() -> None:
    state = state_of(rule(RULE), Limits(2))
    for ci, transition in (("", Transition.NOTED), ("a", Transition.JUDGED)):
        seen = Seen(as_alert(login(ci), MONDAY), transition, MONDAY)
        assert state.observe(seen, MONDAY) == ()


@pytest.mark.parametrize(
    ("own", "path", "message"),
    [
        ({"window": "2h", "of": "rates"}, "window", "expected 1s to 1h, got 7200 s"),
        ({"window": "1ms", "of": "rates"}, "window", "expected 1s to 1h, got 0.001 s"),
        ({"window": "1m"}, "window", "values have no windows"),
        (
            {"window": "45m", "of": "rates"},
            "window",
            "an hour has to be a whole number of windows, of 2700 s it is not",
        ),
    ],
)
def test_a_window_that_is_none_is_refused(own: dict[str, object], path: str, message: str) -> None:
    with pytest.raises(RuleError) as error:
        parse({"name": "often", "anomaly": {"match": "", **own}})

    assert (error.value.path, error.value.message) == (f"anomaly.{path}", message)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_a_restart_at_any_point_and_extra_ticks_change_nothing(data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.sampled_from((0, 3, 5, 40)), min_size=1, max_size=16))
    feed = [*logins(NINE, counts), (NINE + 40 * WINDOW, TICK)]
    whole, stopped, busy = two_weeks(), two_weeks(), two_weeks()

    expected, facts, more = run(whole, feed), list[Fact](), list[Fact]()
    last = NINE
    for now, item in feed:
        if data.draw(st.booleans()):
            stopped = revived(stopped)
        facts += stopped.step(item, now)
        more += run(busy, [(last + (now - last) / 2, TICK), (now, item)])
        last = now

    assert facts == expected
    assert more == expected
    assert frames(stopped) == frames(whole)
    assert memory(busy) == memory(whole)


def test_what_is_over_with_the_same_window_is_told_in_an_order_that_a_restart_keeps() -> None:
    """Heard last and first to fire: what was heard is in another order than what fires."""
    engine = engine_with({**RULE, "anomaly": {**OF_RATES, "budget": "1000 per day"}})
    hours = (NINE - MONDAY) // WINDOW
    counts = [USUAL[n % len(USUAL)] for n in range(hours)]
    run(
        engine,
        sorted([*logins(MONDAY, counts, "a"), *logins(MONDAY, counts, "b")], key=itemgetter(0)),
    )
    last = NINE + timedelta(minutes=9)
    run(engine, [*logins(NINE, [90], "a"), *logins(NINE, [90], "b"), (last, login("a"))])
    assert len(fired(run(engine, [(NINE + WINDOW, TICK)]))) == 2

    restored, over = revived(engine), [(NINE + 40 * WINDOW, TICK)]
    facts = run(engine, over)

    assert len([one for one in facts if isinstance(one, AlertCleared)]) == 2
    assert run(restored, over) == facts


def crowd(start: datetime, counts: Sequence[int]) -> list[Said]:
    """As many of each of three CIs."""
    all_of_it = [said for n in range(3) for said in logins(start, counts, f"web{n}")]
    return sorted(all_of_it, key=itemgetter(0))


@cache
def _crowd_for_two_weeks() -> Engine:
    engine = engine_with({**RULE, "anomaly": {**OF_RATES, "budget": "10000 per day"}})
    windows = (NINE - MONDAY) // WINDOW
    run(engine, crowd(MONDAY, [USUAL[n % len(USUAL)] for n in range(windows)]))
    return engine


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_many_keys_are_judged_some_at_a_time_and_alike(data: st.DataObject) -> None:
    """Wherever a restart falls, and where the next window ends before all of this are judged."""
    counts = data.draw(st.lists(st.sampled_from((0, 3, 5, 60)), min_size=1, max_size=8))
    feed = [*crowd(NINE, counts), (NINE + 40 * WINDOW, TICK)]
    at_once = [one.alert for one in fired(run(revived(_crowd_for_two_weeks()), feed))]
    pause = data.draw(st.sampled_from([timedelta(milliseconds=20), WINDOW / 3]))
    with patch.object(rates, "PORTION", 1), patch.object(rates, "NEXT_PORTION", pause):
        whole, stopped = revived(_crowd_for_two_weeks()), revived(_crowd_for_two_weeks())
        expected, facts = run(whole, feed), list[Fact]()
        for now, item in feed:
            if data.draw(st.booleans()):
                stopped = revived(stopped)
            facts += stopped.step(item, now)

    found = [one.alert for one in fired(expected)]
    assert [(one.ci, one.summary) for one in found] == [(one.ci, one.summary) for one in at_once]
    assert facts == expected
    assert frames(stopped) == frames(whole)


def test_keys_that_nothing_came_of_for_a_week_are_judged_a_few_at_a_time() -> None:
    engine = engine_with(RULE)
    later = MONDAY + timedelta(days=9)
    for start in (MONDAY, later):
        run(engine, [(start, login(f"c{n}")) for n in range(100)])

    state = engine.rules.states["often"]
    assert isinstance(state, State)
    engine.step(TICK, later + WINDOW)
    left = len(state._ended)
    engine.step(TICK, later + WINDOW + 10 * NEXT_PORTION)

    assert 70 < left < 80
    assert not state._ended


def test_what_made_room_before_it_was_judged_is_judged_no_more() -> None:
    state = State(rule(RULE), Limits(2))
    for ci in "ab":
        see(state, MONDAY, ci)
    with patch.object(rates, "PORTION", 1):
        state.due("grid", MONDAY + WINDOW)
    see(state, MONDAY + WINDOW, "a")
    see(state, MONDAY + WINDOW, "c")

    state.due("grid", MONDAY + WINDOW + NEXT_PORTION)

    assert list(state._watched) == [("a", "login"), ("c", "login")]
    assert not state._ended
