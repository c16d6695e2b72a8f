"""`anomaly` of silences: what always spoke at this hour of the week, and does not."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import (
    TICK,
    calendar_rule,
    dependency_rule,
    engine_with,
    event,
    frames,
    group_rule,
    inhibit_rule,
    inventory,
    only,
    revived,
    rule,
    run,
    settle_rule,
    silence,
    started,
)
from tests.properties.test_engine import memory

from eventd.core.asking import as_alert
from eventd.core.engine import Engine
from eventd.core.model import (
    AlertCleared,
    AlertFired,
    AlertRaised,
    AlertSuppressed,
    Ci,
    Detach,
    Event,
    Fact,
    GiveVerdict,
    IncidentOpened,
    Input,
    Severity,
    Status,
    VerdictGiven,
    Window,
)
from eventd.core.rules import silences
from eventd.core.rules.budget import raw, tempered
from eventd.core.rules.rule import Limits, Raise, Seen, Transition, Wake
from eventd.core.rules.silences import State
from eventd.core.scoring.excess import Excess
from eventd.core.scoring.pauses import PauseScorer
from eventd.core.sentences import raised

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
WEEKS = timedelta(days=14)
NOON = MONDAY + WEEKS + timedelta(hours=12)
RULE: dict[str, object] = {"name": "quiet", "anomaly": {"match": 'status="info"', "of": "silences"}}
EVERY = timedelta(minutes=5)
HALF_A_MINUTE = timedelta(seconds=30)
Said = tuple[datetime, Event]


def polled(ci: str = "web1", source: str = "poller", status: Status = Status.INFO) -> Event:
    """A look at something."""
    return event("poll", ci=ci, source=source, status=status, severity=Severity.INFO, value=1.0)


def by_day(when: datetime) -> bool:
    """Nights are quiet."""
    return 6 <= when.hour < 22


def office(when: datetime) -> bool:
    """So are weekends, and no hour begins when the day does."""
    return 6.6 <= when.hour + when.minute / 60 < 17.4 and when.weekday() < 5


def polls(
    start: datetime,
    end: datetime,
    item: Event | None = None,
    *,
    every: timedelta = EVERY,
    talks: Callable[[datetime], bool] = by_day,
) -> list[Said]:
    """What is said from `start` until before `end`."""
    one = item or polled()
    times = (start + every * n for n in range(int((end - start) / every)))
    return [(when, one) for when in times if talks(when)]


def mixed(*feeds: Sequence[Said]) -> list[Said]:
    """In order of time."""
    return sorted((one for feed in feeds for one in feed), key=lambda one: one[0])


def after(said: Sequence[Said], **rule: object) -> Engine:
    """An engine that has heard that, and of which nothing was said."""
    engine = engine_with({**RULE, **rule})
    assert fired(run(engine, said)) == []
    return engine


@cache
def _two_weeks(talks: Callable[[datetime], bool]) -> Engine:
    return after(polls(MONDAY, NOON, talks=talks))


def two_weeks(talks: Callable[[datetime], bool] = by_day) -> Engine:
    """After two weeks and a morning in which it always spoke."""
    return revived(_two_weeks(talks))


def fired(facts: Sequence[Fact]) -> list[AlertFired]:
    return [one for one in facts if isinstance(one, AlertFired)]


def waits(engine: Engine, until: datetime) -> list[Fact]:
    """Nothing more comes until then."""
    return list(engine.step(TICK, until))


@pytest.mark.parametrize("by", [("ci", "name"), ("source",)])
def test_silence_at_noon_is_one_incident_within_three_intervals(by: tuple[str, ...]) -> None:
    """Quiet nights are none, and it is over when it speaks again."""
    engine = after(polls(MONDAY, NOON, every=HALF_A_MINUTE), by=by)

    facts = waits(engine, NOON + timedelta(hours=1))

    incident, alert = only(IncidentOpened, facts), only(AlertFired, facts).alert
    assert NOON < incident.at <= NOON + 3 * HALF_A_MINUTE
    assert alert.summary.startswith(
        "nothing for 66 s; usual for Monday 11:00 is at most 30 s (once in 1,000,000,000 hours)"
    )
    assert alert.name.endswith(" unusually silent")
    told = raised(only(AlertRaised, facts))
    assert told.startswith(f"fired by rule quiet: {alert.summary}; surprise 9.4 of 5.0 for ")
    sys.stdout.write(f"{told}\n")  # to be looked at with -s
    back = engine.step(polled(), NOON + timedelta(hours=2))
    assert [one.fingerprint for one in back if isinstance(one, AlertCleared)] == [alert.fingerprint]
    rest = polls(NOON + timedelta(hours=2), NOON + timedelta(days=2), every=HALF_A_MINUTE)
    assert fired(run(engine, rest)) == []


def test_weekends_and_nights_that_begin_at_any_minute_are_no_silence() -> None:
    engine = two_weeks(office)

    facts = run(engine, polls(NOON, NOON + timedelta(days=9), talks=office))

    assert fired(facts) == []


def late_by_turns(when: datetime) -> bool:
    """The day ends ten minutes before 22 or, the next day, after it."""
    minute = when.hour * 60 + when.minute
    return 360 <= minute < (1310 if (when - MONDAY).days % 2 == 0 else 1330)


def earlier_at_last(when: datetime) -> bool:
    """The day ends ten minutes after 22, and in the third week before it."""
    minute = when.hour * 60 + when.minute
    return 360 <= minute < (1330 if when < NOON else 1310)


@pytest.mark.parametrize("talks", [late_by_turns, earlier_at_last])
def test_evenings_that_end_now_in_this_hour_now_in_the_next_are_no_silence(
    talks: Callable[[datetime], bool],
) -> None:
    engine = two_weeks(talks)

    facts = run(engine, polls(NOON, NOON + timedelta(days=6), talks=talks))

    assert fired(facts) == []


def test_what_does_not_come_back_after_the_night_is_told_in_the_morning() -> None:
    engine = two_weeks()
    morning = MONDAY + WEEKS + timedelta(days=1, hours=6)

    run(engine, polls(NOON, morning))
    facts = waits(engine, morning + timedelta(hours=1))

    alert = only(AlertFired, facts)
    assert morning < alert.at <= morning + 3 * EVERY
    assert "nothing for 8 h; usual for Tuesday 06:00 is at most 5 min" in alert.alert.summary


def test_a_person_teaches_it() -> None:
    """After a verdict that it was none, a silence has to be stranger."""
    engine = two_weeks()
    incident = only(IncidentOpened, waits(engine, NOON + timedelta(hours=1))).incident.id
    engine = revived(engine)

    verdict = GiveVerdict(incident, verdict=False, actor="ann")
    given = only(VerdictGiven, engine.step(verdict, NOON + timedelta(hours=2)))

    assert given.taught == (("quiet", 1),)


def test_nothing_is_said_in_the_first_weeks() -> None:
    engine = engine_with(RULE)

    facts = run(engine, [*polls(MONDAY, MONDAY + timedelta(days=12)), (NOON, TICK)])

    assert fired(facts) == []


OTHERS = mixed(
    polls(MONDAY, NOON + timedelta(hours=9), polled("web2"), every=EVERY * 4),
    polls(MONDAY, NOON + timedelta(hours=9), polled("web3"), every=EVERY * 10),
)


def test_where_nothing_else_of_its_source_comes_either_the_source_is_silent() -> None:
    rest = [one for one in OTHERS if one[0] < NOON]
    engine = after(mixed(polls(MONDAY, NOON), rest))

    facts = waits(engine, NOON + timedelta(hours=3))

    assert fired(facts) == []


def test_it_is_silent_where_others_of_its_source_talk() -> None:
    rest = [one for one in OTHERS if one[0] < NOON]
    engine = after(mixed(polls(MONDAY, NOON), rest))

    facts = run(engine, [one for one in OTHERS if one[0] >= NOON])

    (one,) = fired(facts)
    assert (one.alert.ci, one.at < NOON + 3 * EVERY) == ("web1", True)


@pytest.mark.parametrize(("every", "longest"), [(4, 13), (100, 3)])
def test_it_is_waited_for_others_that_seldom_talk_but_not_for_those_that_hardly_do(
    every: int, longest: int
) -> None:
    others = polls(MONDAY, NOON, polled("web2"), every=EVERY * every)
    engine = after(mixed(polls(MONDAY, NOON), others))

    other = NOON + EVERY * 8, polled("web2")
    facts = [*run(engine, [other]), *waits(engine, NOON + timedelta(hours=2))]

    alert = only(AlertFired, facts)
    assert (alert.alert.ci, alert.at < NOON + EVERY * longest) == ("web1", True)
    assert (alert.at > other[0]) is (every == 4)


def test_what_stays_away_when_its_source_is_back_is_told() -> None:
    """The others come back after five hours; it does not."""
    back = NOON + EVERY * 60
    engine = after(mixed(polls(MONDAY, NOON), [one for one in OTHERS if one[0] < NOON]))

    facts = run(engine, [one for one in OTHERS if one[0] >= back])

    (one,) = fired(facts)
    assert one.alert.ci == "web1"
    assert back < one.at < back + EVERY * 20


def test_after_a_start_everybody_has_time_to_speak() -> None:
    engine = two_weeks()
    start = NOON + timedelta(hours=1)
    quiet = engine.step(started(), start)
    assert fired(quiet) == []

    facts = waits(engine, start + timedelta(hours=1))

    assert abs(only(AlertFired, facts).at - start - 2.2 * EVERY) < timedelta(seconds=1)
    again = two_weeks()
    again.step(started(start_grace=3600.0), start)
    rest = run(again, polls(start + timedelta(minutes=59), start + timedelta(hours=3)))
    assert fired(rest) == []


def test_of_its_times_a_rule_says_in_which_it_tells() -> None:
    engine = engine_with({**RULE, "during": {"starts": "0 14 * * *", "lasts": "1h"}})
    run(engine, polls(MONDAY, NOON))

    facts = waits(engine, NOON + timedelta(days=1))

    assert timedelta(hours=2) <= only(AlertFired, facts).at - NOON < timedelta(hours=3)


def test_heartbeats_have_their_own_watch() -> None:
    engine = engine_with({**RULE, "anomaly": {"match": 'status="heartbeat"', "of": "silences"}})

    facts = run(engine, polls(MONDAY, NOON, polled(status=Status.HEARTBEAT)))

    assert fired([*facts, *waits(engine, NOON + timedelta(hours=1))]) == []


def test_repeats_of_an_alert_are_heard_and_what_has_no_key_is_not() -> None:
    engine = engine_with({**RULE, "anomaly": {"match": "severity>=info", "of": "silences"}})

    run(engine, [*polls(MONDAY, NOON, polled(status=Status.FIRING)), (NOON, event("x", ci=""))])
    facts = waits(engine, NOON + timedelta(hours=1))

    assert only(AlertFired, facts).alert.ci == "web1"


ALERTS: dict[str, object] = {
    **RULE,
    "anomaly": {"match": 'name="poll"', "of": "silences", "severity": "major"},
}
EVENING = NOON + timedelta(hours=6)


def episodes(start: datetime, end: datetime) -> list[Said]:
    """An alert every five minutes, which clears a minute later."""
    fires = polls(start, end, polled(status=Status.FIRING))
    clears = polls(start, end, polled(status=Status.CLEARED))
    return mixed(fires, [(when + EVERY / 5, one) for when, one in clears])


def planned(ci: str) -> Event:
    """Work is announced on it for the afternoon."""
    window = Window(NOON, EVENING, (ci,), ())
    return event("change", status=Status.CHANGE, ci="", service="", window=window)


@pytest.mark.parametrize(
    ("other", "covers"),
    [
        (None, silence('name="poll"', EVENING)),
        (None, planned("web1")),
        (calendar_rule('name="poll"', "0 12 19 1 *", "6h", "UTC"), TICK),
        (inhibit_rule('name="big"', 'name="poll"'), event("big", ci="web9")),
        (dependency_rule('name="big"'), event("big", ci="sw1")),
        (settle_rule('name="poll"', "3m"), TICK),
    ],
)
def test_what_is_suppressed_has_spoken(other: dict[str, object] | None, covers: Input) -> None:
    """What nobody wants to hear of is no silence; what stops coming is."""
    engine = engine_with(ALERTS, *([other] if other is not None else []))
    web1 = Ci("web1", depends_on=("sw1",))
    engine.step(inventory(web1, Ci("sw1")), MONDAY)
    run(engine, episodes(MONDAY, NOON))
    covered = run(engine, [(NOON, covers), *episodes(NOON, EVENING)])

    assert len([one for one in covered if isinstance(one, AlertSuppressed)]) > 70
    assert silent_ones(covered) == []
    (one,) = silent_ones(waits(engine, EVENING + timedelta(hours=1)))
    assert EVENING - EVERY < one.at < EVENING + 3 * EVERY


def silent_ones(facts: Sequence[Fact]) -> list[AlertFired]:
    return [one for one in fired(facts) if one.alert.name.endswith("silent")]


def test_repeats_of_what_is_suppressed_are_heard_as_it_is_then() -> None:
    """Suppressed from the beginning, it becomes what is listened to meanwhile."""
    engine = engine_with({**ALERTS, "anomaly": {"match": 'severity="major"', "of": "silences"}})
    minor, major = (
        event("poll", ci="web1", severity=severity) for severity in (Severity.MINOR, Severity.MAJOR)
    )
    run(engine, [(MONDAY, silence('name="poll"', EVENING)), (MONDAY, minor)])
    known = engine.rules.states["quiet"]
    assert isinstance(known, State)
    assert not known._watched

    run(engine, [(MONDAY + EVERY, major), *polls(MONDAY + 2 * EVERY, NOON, major)])

    assert fired(waits(engine, NOON + timedelta(hours=1))) != []


def test_a_source_that_storms_is_not_silent() -> None:
    """Of a storm other rules are told only where they are urgent."""
    engine = engine_with({**ALERTS, "by": ["source"]})
    engine.step(started(storm_above=10), MONDAY)
    run(engine, polls(MONDAY, NOON, polled(status=Status.FIRING), every=EVERY * 6))
    new = [event("poll", ci=f"web{n}", source="poller") for n in range(2_000)]

    facts = run(engine, [(NOON + timedelta(seconds=5 * n), one) for n, one in enumerate(new)])

    assert silent_ones(facts) == []


def test_what_an_operator_has_put_aside_is_heard_nonetheless() -> None:
    engine = engine_with(ALERTS, group_rule(match='name="poll"'))
    firing, other = (polled(ci, status=Status.FIRING) for ci in ("web1", "web2"))
    incident = only(IncidentOpened, run(engine, [(MONDAY, firing), (MONDAY, other)])).incident.id
    engine.step(Detach(incident, firing.fingerprint, "ann"), MONDAY)

    engine.step(firing, MONDAY + EVERY)

    state = engine.rules.states["quiet"]
    assert isinstance(state, State)
    assert state._watched["web1", "poll"].heard_at == (MONDAY + EVERY).timestamp()


def test_silence_during_maintenance_is_suppressed_like_any_alert() -> None:
    """What is silent still when the work should be over is an incident."""
    engine = two_weeks()

    facts = [*engine.step(planned("web1"), NOON), *waits(engine, EVENING - EVERY)]

    alert = only(AlertFired, facts).alert
    assert only(AlertSuppressed, facts).fingerprint == alert.fingerprint
    assert [one for one in facts if isinstance(one, IncidentOpened)] == []
    opened = only(IncidentOpened, waits(engine, EVENING + timedelta(hours=1)))
    assert opened.incident.title == "poll unusually silent on web1"


def hear(state: State, when: datetime, ci: str, source: str = "poller") -> None:
    item = polled(ci, source)
    answers = state.observe(Seen(as_alert(item, when), Transition.NOTED, when), when)
    assert not [one for one in answers if isinstance(one, Raise)]


def test_at_the_cap_the_stream_longest_unheard_makes_room() -> None:
    state = State(rule(RULE), Limits(2))
    for ci in "abac":
        hear(state, MONDAY, ci)

    assert list(state._watched) == [("a", "poll"), ("c", "poll")]
    assert state.dropped == {"groups": 1}
    assert state.due('["b","poll"]', NOON) == ()


def test_at_the_cap_of_sources_the_first_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silences, "MAX_SOURCES", 1)
    state = State(rule(RULE), Limits(9))
    for when, _ in polls(MONDAY, NOON, every=timedelta(hours=1)):
        hear(state, when, "a", "one")
        hear(state, when, "b", "other")

    assert state.dropped["sources"] > 0
    due = NOON + timedelta(hours=3)
    assert [one for one in state.due('["a","poll"]', due) if isinstance(one, Raise)]


def test_at_an_hour_at_which_it_was_never_heard_it_is_not_waited_for() -> None:
    state = State(rule(RULE), Limits(9))
    for when, _ in polls(MONDAY, NOON):
        hear(state, when, "a")
    stream = state._watched["a", "poll"]
    stream.scorer.longest[:] = bytes(len(stream.scorer.longest))

    assert state.due('["a","poll"]', NOON + timedelta(days=1)) == ()
    assert stream.wakes_at == 0.0


def test_only_a_rule_of_that_kind_has_such_a_state() -> None:
    with pytest.raises(TypeError):
        State(rule({"name": "x", "group": {"match": ""}, "by": ["ci"], "within": "1m"}), Limits(1))


@pytest.mark.parametrize("surprise", [0.0, 5.0, 9.0, 9.5, 40.0, 1e6])
def test_what_is_needed_is_asked_of_what_was_not_tempered(surprise: float) -> None:
    assert raw(tempered(surprise)) == pytest.approx(surprise)


def test_a_budget_that_is_spent_for_long_asks_for_no_time_that_there_is_not() -> None:
    state = State(rule(RULE), Limits(9))
    for when, _ in polls(MONDAY, NOON):
        hear(state, when, "a")
    state.budget.needed = 1_000.0

    (wake,) = state.due('["a","poll"]', NOON + timedelta(minutes=11))

    assert isinstance(wake, Wake)
    assert wake.at is not None
    assert timedelta(days=300) < wake.at - NOON < timedelta(days=370)


def test_it_tells_who_shares_its_budget() -> None:
    engine = two_weeks()
    state = engine.rules.states["quiet"]
    assert isinstance(state, State)
    waits(engine, NOON + timedelta(hours=1))
    engine.step(polled("web2"), NOON + timedelta(hours=1))

    share = state.share()

    assert (share.streams, share.young, share.criers) == (2, 1, 1)
    revived_state = revived(engine).rules.states["quiet"]
    assert isinstance(revived_state, State)
    assert revived_state.share() == share


def test_what_was_long_ago_weighs_less() -> None:
    tail = Excess()
    tail.learn(1.0)
    tail.learn(-1.0, 40_000.0)

    assert tail.seen == 20_000.0
    assert tail.above == pytest.approx(0.5, rel=0.01)


def test_of_an_hour_of_which_nothing_is_known_nothing_is_said() -> None:
    """It never spoke at night: when it did and stopped, nobody knows what that means."""
    scorer = PauseScorer(0.0, 0.0)
    for day in range(20):
        for minute in range(120):
            scorer.hear(day * 86_400.0 + minute * 60.0)
    scorer.hear(20 * 86_400.0 + 10 * 3600.0)

    pause = scorer.judge(5.0)
    assert pause is not None
    assert pause.since == 21 * 86_400.0
    assert PauseScorer(0.0, 0.0).judge(5.0) is None


def test_one_that_comes_by_chance_has_to_be_quiet_for_longer() -> None:
    chance = random.Random(1)
    regular, random_one = PauseScorer(0.0, 0.0), PauseScorer(0.0, 0.0)
    when = 0.0
    for n in range(14 * 144):
        regular.hear(600.0 * n)
        when += chance.expovariate(1 / 600.0)
        random_one.hear(when)

    waits = []
    for scorer in (regular, random_one):
        pause = scorer.judge(5.0)
        assert pause is not None
        waits.append(pause.until - pause.since)
    assert waits[0] == pytest.approx(2.2 * 600.0)
    assert 8 * 600.0 < waits[1] < 20 * 600.0  # of means; exp(-11.5) is once in 100,000


def test_where_nothing_was_ever_known_of_any_hour_it_cannot_be_silent() -> None:
    scorer = PauseScorer(0.0, 0.0)
    scorer.tail.seen = 100.0
    scorer.last = 14 * 86_400.0

    assert scorer.judge(5.0) is None


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_a_restart_at_any_point_and_extra_ticks_change_nothing(data: st.DataObject) -> None:
    gaps = data.draw(st.lists(st.sampled_from((300, 300, 300, 900, 4_000, 30_000)), max_size=12))
    feed: list[tuple[datetime, Input]] = []
    when = NOON
    for gap in gaps:
        when += timedelta(seconds=gap)
        feed.append((when, polled()))
    feed.append((when + timedelta(hours=9), TICK))
    whole, stopped, busy = two_weeks(), two_weeks(), two_weeks()

    expected, facts, more = run(whole, feed), list[Fact](), list[Fact]()
    for now, item in feed:
        stopped = revived(stopped)
        facts += stopped.step(item, now)
    last = NOON
    for now, item in feed:
        spread = (now - last) / 3
        more += run(busy, [(last + spread, TICK), (last + 2 * spread, TICK), (now, item)])
        last = now

    assert facts == expected
    assert more == expected
    assert frames(stopped) == frames(whole)
    assert memory(busy) == memory(whole)
