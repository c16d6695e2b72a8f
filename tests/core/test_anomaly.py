"""`anomaly`: measurements that are unlike all that their stream was."""

from __future__ import annotations

import random
from copy import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple, replace
from tests.bank import BANK, down, later, members, opened
from tests.builders import T0, Feed, at, engine_with, event, frames, load, only, revived, rule, run

from eventd.core.asking import as_alert
from eventd.core.engine import Engine
from eventd.core.model import (
    AlertCleared,
    AlertFired,
    AlertRaised,
    ClearReason,
    Event,
    Fact,
    IncidentResolved,
    RuleSwitchedOff,
    Severity,
    Status,
    Strange,
)
from eventd.core.rules import parse
from eventd.core.rules.anomaly import CALM_VALUES, QUIET, State
from eventd.core.rules.budget import BEGINS, STEP
from eventd.core.rules.rule import Limits, Raise, Seen, Transition
from eventd.core.scoring.scorer import HALF
from eventd.core.sentences import raised
from eventd.errors import RuleError

USUAL = (301.0, 295.0, 310.0, 288.0, 304.0, 299.0, 312.0, 293.0, 297.0)
LOW = (101.0, 95.0, 110.0, 98.0, 104.0)
MINUTES = 300  # of what is usual, before anything happens
STARTS = MINUTES * 60.0
ANOMALY: dict[str, object] = {"name": "odd", "anomaly": {"match": 'status="info"'}}
UNBOUNDED = {**ANOMALY, "anomaly": {"match": "", "budget": "10000 per day"}}


def orders(value: float, ci: str = "shop", name: str = "orders") -> Event:
    """A measurement."""
    return event(name, ci=ci, status=Status.INFO, severity=Severity.INFO, value=value)


def measured(
    values: tuple[float, ...], times: int, start: float = 0.0, ci: str = "shop"
) -> list[tuple[float, Event]]:
    """One a minute, these in turn."""
    return [(start + 60.0 * n, orders(values[n % len(values)], ci)) for n in range(times)]


def bank(*told: tuple[float, Event], **anomaly: object) -> Engine:
    """The bank after hours of what is usual, and then that."""
    engine = engine_with({**ANOMALY, "anomaly": {"match": 'status="info"', **anomaly}})
    engine.step(BANK, T0)
    run(engine, [(at(when), item) for when, item in (*measured(USUAL, MINUTES), *told)])
    return engine


def own(facts: list[Fact]) -> list[AlertFired]:
    """Alerts of the rule's."""
    return [one for one in facts if isinstance(one, AlertFired) and one.alert.source == "eventd"]


def feed_of(told: list[tuple[float, Event]]) -> Feed:
    return [(at(when), item) for when, item in told]


def test_a_drop_is_an_alert_that_says_what_is_usual_and_an_incident_by_itself() -> None:
    engine = bank()

    facts = run(engine, feed_of(measured(LOW, 60, STARTS)))

    (fired,) = own(facts)
    assert (fired.at, fired.alert.name, fired.alert.ci) == (at(STARTS), "orders unusual", "shop")
    assert (fired.alert.severity, fired.alert.value) == (Severity.MINOR, 101.0)
    assert fired.alert.labels == {"rule": "odd"}
    assert "usual beside the slower one is 29" in fired.alert.summary
    told = raised(only(AlertRaised, facts))
    assert told.startswith(f"fired by rule odd: {fired.alert.summary}; surprise 9")
    assert told.endswith(" of 6.9 for ci shop, name orders")
    (incident,) = opened(facts)
    assert incident.title == "orders unusual on shop"
    assert incident.roots[0].ci == "shop"
    assert (incident.opened_at - at(STARTS)).total_seconds() == 20


def test_it_is_over_when_the_stream_has_been_calm_for_a_while() -> None:
    engine = bank(*measured(LOW, 3, STARTS))

    facts = run(engine, feed_of(measured(USUAL, 200, STARTS + 180)))

    assert own(facts) == []
    cleared = [one for one in facts if isinstance(one, AlertCleared)]
    assert len(cleared) == 1
    assert cleared[0].at >= at(STARTS + 180 + 60 * (CALM_VALUES - 1))
    assert [one for one in facts if isinstance(one, IncidentResolved)]


def test_it_is_over_when_the_stream_goes_quiet() -> None:
    engine = bank(*measured(LOW, 3, STARTS))

    facts = later(engine, until=STARTS + 120 + QUIET.total_seconds())

    (cleared,) = [one for one in facts if isinstance(one, AlertCleared)]
    assert cleared.at == at(STARTS + 120) + QUIET


def test_an_hour_after_it_was_over_nothing_is_said() -> None:
    engine = bank(*measured(LOW, 3, STARTS), *measured(USUAL, 50, STARTS + 180))

    facts = later(engine, until=STARTS + 2 * QUIET.total_seconds())

    assert not [one for one in facts if isinstance(one, AlertCleared)]


def test_what_is_no_number_or_has_no_key_is_no_stream() -> None:
    odd = event("orders", status=Status.INFO, ci="shop")
    keyless = orders(1e9, ci="")
    engine = bank()

    assert own(run(engine, feed_of([(STARTS, odd), (STARTS + 1, keyless)]))) == []


def test_its_alert_draws_nothing_in_and_joins_only_what_just_alerted_and_explains_it() -> None:
    alone = bank(*measured(LOW, 3, STARTS), (STARTS + 100, down("db-a")))
    later(alone, until=STARTS + 900)
    assert sorted(members(alone).values()) == [["db-a"], ["shop"]]

    soon = bank((STARTS - 100, down("db-a")), *measured(LOW, 3, STARTS))
    later(soon, until=STARTS + 900)
    assert list(members(soon).values()) == [["db-a", "shop"]]

    long_after = bank((STARTS - 900, down("db-a")), *measured(LOW, 3, STARTS))
    later(long_after, until=STARTS + 900)
    assert sorted(members(long_after).values()) == [["db-a"], ["shop"]]


def memory(name: str, leaks: float = 0.2) -> list[tuple[float, Event]]:
    """What db-a takes, a value a minute: from the third hour on it leaks."""
    chance = random.Random(3)
    values = [40.0 + chance.gauss(0, 1) + max(0, n - 120) * leaks for n in range(300)]
    return [(60.0 * n, orders(value, "db-a", name)) for n, value in enumerate(values)]


def test_a_leak_says_where_it_leads_and_is_an_incident_by_itself_whatever_explains_it() -> None:
    engine = engine_with(ANOMALY)
    engine.step(BANK, T0)
    told = [(60.0 * n, down("san-a", f"check {n}")) for n in range(150, 200)]

    facts = run(engine, feed_of(sorted([*memory("mem_percent"), *told], key=lambda one: one[0])))

    (fired,) = own(facts)
    assert at(160 * 60) < fired.at < at(200 * 60)
    assert fired.alert.labels == {"rule": "odd", "trend": "rising"}
    assert "rises by 12.46 an hour" in fired.alert.summary
    assert "an hour, steadily, for" in fired.alert.summary
    assert "reaches 100 at about Monday 15:55" in fired.alert.summary
    assert ["db-a"] in members(engine).values()


def test_what_falls_is_called_so() -> None:
    engine = engine_with(ANOMALY)

    (fired,) = own(run(engine, feed_of(memory("disk_free", leaks=-0.1))))

    assert fired.alert.labels["trend"] == "falling"


def test_a_unit_tells_of_a_bound_as_a_name_does() -> None:
    engine = engine_with(ANOMALY)
    told = [(when, replace(one, labels={"unit": "%"})) for when, one in memory("memory")]

    (fired,) = own(run(engine, feed_of(told)))
    unknown = own(run(engine_with(ANOMALY), feed_of(memory("memory"))))

    assert "trend" in fired.alert.labels
    assert not any("trend" in one.alert.labels for one in unknown)


def test_its_incident_stays_though_it_was_short() -> None:
    engine = bank(*measured(LOW, 1, STARTS), *measured(USUAL, 30, STARTS + 1))

    assert list(members(engine).values()) == [["shop"]]


def streams(
    state: State, values: list[tuple[str, float]], every: float = 60.0
) -> list[tuple[int, str]]:
    """Which value made which stream's alert fire."""
    fired: list[tuple[int, str]] = []
    for n, (ci, value) in enumerate(values):
        now = at(every * n)
        seen = Seen(as_alert(orders(value, ci), now), Transition.NOTED, now)
        events = [one.event for one in state.observe(seen, now) if isinstance(one, Raise)]
        fired += [(n, ci) for one in events if one.status is Status.FIRING]
    return fired


def test_a_budget_is_kept_whatever_the_streams_do() -> None:
    """Each alert asks more of the next one, and the budget takes it back."""
    state = State(rule({**ANOMALY, "anomaly": {"match": "", "budget": "1 per day"}}), Limits(100))
    values = [USUAL[n % len(USUAL)] for n in range(200)] + list(LOW)
    told = [(f"ci-{ci}", value) for ci in range(60) for value in values]

    fired = streams(state, told)

    days = len(told) / 1440
    assert days < len(fired) <= days + 10
    assert len(streams(State(rule(UNBOUNDED), Limits(100)), told)) == 60


def test_what_is_needed_begins_above_the_least_and_sinks_to_it() -> None:
    state = State(rule(ANOMALY), Limits(100))
    streams(state, [("shop", 1.0)])
    assert state.dump()[0] == (HALF + BEGINS * STEP, T0.timestamp())

    streams(state, [("shop", float(n % 5)) for n in range(20)], every=86_400.0)

    assert state.dump()[0] == (HALF, at(19 * 86_400.0).timestamp())


def test_at_the_cap_the_stream_longest_unheard_makes_room() -> None:
    state = State(rule(ANOMALY), Limits(2))
    streams(state, [("a", 1.0), ("b", 1.0), ("a", 1.0), ("c", 1.0)])

    assert [row.key for row in state.dump()[1:]] == [("a", "orders"), ("c", "orders")]  # type: ignore[attr-defined]
    assert state.dropped == {"groups": 1}


def test_what_makes_room_while_its_alert_fires_ends_it() -> None:
    engine = bank(*measured(LOW, 3, STARTS))
    (state,) = engine.rules.states.values()
    state.limits = Limits(1)

    facts = run(engine, feed_of([(STARTS + 200, orders(1.0, "another"))]))

    assert [fact.reason for fact in facts if isinstance(fact, AlertCleared)] == [ClearReason.SENT]
    assert state.dropped == {"groups": 1}


@settings(max_examples=15)
@given(st.data())
def test_a_restart_at_any_point_gives_the_same(data: st.DataObject) -> None:
    values = data.draw(st.lists(st.sampled_from((*USUAL, 90.0, 1e6)), min_size=1, max_size=60))
    feed = feed_of([(STARTS + 60 * n, orders(value)) for n, value in enumerate(values)])
    whole, stopped = bank(), revived(bank())

    expected, facts = run(whole, feed), list[Fact]()
    for now, item in feed:
        stopped = revived(stopped)
        facts += stopped.step(item, now)

    assert facts == expected
    assert frames(stopped) == frames(whole)


def test_a_reload_of_the_same_rule_keeps_its_streams() -> None:
    engine = bank()

    engine.step(load({**ANOMALY, "anomaly": {"match": 'status="info"'}}), at(STARTS - 1))

    assert own(run(engine, feed_of(measured(LOW, 3, STARTS))))


@pytest.mark.parametrize("budget", ["2", "0 per week", "x per day", "2 per year", "-1 per day"])
def test_a_budget_that_is_none_is_refused_with_what_was_expected(budget: str) -> None:
    with pytest.raises(RuleError) as raised:
        parse({**ANOMALY, "anomaly": {"match": "", "budget": budget}})

    assert (raised.value.path, raised.value.hint) == (
        "anomaly.budget",
        "such as '2 per week': day, week or month",
    )


def test_only_a_rule_of_that_kind_has_such_a_state() -> None:
    with pytest.raises(TypeError):
        State(rule({"name": "x", "group": {"match": ""}, "by": ["ci"], "within": "1m"}), Limits(1))


def test_of_an_alert_that_made_room_meanwhile_nothing_is_told() -> None:
    facts: list[Fact] = []

    Engine()._asking.raising.tell("gone", Strange("odd", {}, 1.0, 9.0, 7.0, ()), T0, facts)

    assert facts == []


def odd_again(**changes: object) -> Fact | None:
    """The end of the alert, after a reload of the rule with that in it; none: without the rule."""
    engine = bank(*measured(LOW, 3, STARTS))
    rules = [{**ANOMALY, "anomaly": {"match": 'status="info"', **changes}}] if changes else []
    facts = engine.step(load(*rules), at(STARTS + 200))
    ends = [one for one in facts if isinstance(one, AlertCleared)]
    assert own(run(engine, feed_of(measured(USUAL, 60, STARTS + 300)))) == []
    return ends[0] if ends else None


@pytest.mark.parametrize("changes", [{}, {"budget": "4 per week"}])
def test_the_alert_of_a_rule_that_is_gone_or_another_is_over(changes: dict[str, object]) -> None:
    assert odd_again(**changes) is not None


def test_the_alert_of_a_rule_that_failed_is_over() -> None:
    engine = bank(*measured(LOW, 3, STARTS))
    (state,) = engine.rules.states.values()
    state._streams.hear = None  # type: ignore[attr-defined]

    facts = run(engine, feed_of([(STARTS + 200, orders(1.0))]))

    assert only(RuleSwitchedOff, facts).rule == "odd"
    assert only(AlertCleared, facts).reason is ClearReason.SENT


def test_values_of_an_alert_that_fires_on_are_scored_each() -> None:
    engine = engine_with({**ANOMALY, "anomaly": {"match": 'name="queue"'}})
    told = [
        (60.0 * n, event("queue", ci="mq", value=float(n % 7), payload=f"{n}")) for n in range(150)
    ]

    run(engine, feed_of(told))

    (state,) = engine.rules.budgeted.values()
    found = state.scored(("mq", "queue"), at(9_000).timestamp())
    assert found is not None
    assert found.count == 150
    assert found.surprise is not None
    assert state.scored(("mq", "topic"), at(9_000).timestamp()) is None


def test_what_is_judged_again_was_measured_before() -> None:
    state = State(rule(UNBOUNDED), Limits(9))

    assert state.observe(Seen(as_alert(orders(1.0), T0), Transition.JUDGED, T0), T0) == ()

    assert state.after(None, 9) == []


def test_late_values_make_no_time_pass_twice() -> None:
    state = State(rule(UNBOUNDED), Limits(9))
    values = [(60.0 * n, orders(USUAL[n % 9])) for n in range(200)]
    values += [(12_000.0 + 60.0 * n, orders(LOW[n % 5])) for n in range(3)]
    for when, one in values:
        state.observe(Seen(as_alert(one, at(when)), Transition.NOTED, at(when)), at(when))
    (known,) = (state._streams.peek(key) for key in state.after(None, 9))
    assert known is not None
    assert known.trust is not None
    cried, now = copy(known.trust), at(12_200)

    for n in range(100):  # one in time, and one ten minutes late
        heard = Seen(as_alert(orders(300.0), now), Transition.NOTED, at(12_200 - 600 * (n % 2)))
        state.observe(heard, now)

    assert known.at == now.timestamp()
    assert astuple(known.trust) == pytest.approx(astuple(cried), rel=1e-3)
