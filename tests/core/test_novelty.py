"""`anomaly` of what is new: told once, and of much that is new only the first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import (
    TICK,
    engine_with,
    event,
    frames,
    only,
    revived,
    rule,
    run,
    settle_rule,
    silence,
)
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
from eventd.core.rules.novelty import FORGOTTEN, LASTS, LEARNS, State, template_of
from eventd.core.rules.rule import Limits, Raise, Seen, Transition
from eventd.core.sentences import raised

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
LATER = MONDAY + timedelta(days=14)
HOUR = timedelta(hours=1)
RULE: dict[str, object] = {
    "name": "first",
    "anomaly": {"match": 'status="info"', "of": "new"},
    "by": ["name", "service"],
}
OF_ALERTS_TOO: dict[str, object] = {
    **RULE,
    "anomaly": {"match": ['status="info"', 'name="raid"'], "of": "new"},
}
Said = tuple[datetime, Input]


def said(name: str = "error", text: str = "", service: str = "shop") -> Event:
    """A line of a log."""
    return event(name, service=service, summary=text, status=Status.INFO, severity=Severity.INFO)


def lines(start: datetime, end: datetime) -> list[Said]:
    """What is said again and again."""
    hours = int((end - start) / HOUR)
    return [(start + HOUR * n, said(f"known-{n % 5}", f"job {n} done")) for n in range(hours)]


@cache
def _two_weeks(by: str) -> Engine:
    engine = engine_with({**RULE, "by": by.split()})
    assert fired(run(engine, lines(MONDAY, LATER))) == []
    return engine


def two_weeks(by: str = "name service") -> Engine:
    """After two weeks of what is said again and again."""
    return revived(_two_weeks(by))


def fired(facts: Sequence[Fact]) -> list[AlertFired]:
    return [one for one in facts if isinstance(one, AlertFired)]


def test_a_new_kind_of_error_is_told_once_and_is_no_news_after_an_hour() -> None:
    engine = two_weeks()
    new = said("io_error", "I/O error on sda3")

    facts = run(engine, [(LATER, new), (LATER + HOUR / 4, new), (LATER + 2 * HOUR, new)])

    alert = only(AlertFired, facts).alert
    assert (alert.name, alert.service, alert.labels) == (
        "io_error newly seen", "shop", {"rule": "first"},
    )  # fmt: skip
    assert alert.summary == "never seen in the 14 days that were listened to: I/O error on sda3"
    told = raised(only(AlertRaised, facts))
    assert told == (
        f"fired by rule first: {alert.summary}; surprise 7.2 of 5.0 for name io_error, service shop"
    )
    sys.stdout.write(f"{told}\n")  # to be looked at with -s
    assert only(IncidentOpened, facts).incident.title == "io_error newly seen on shop"
    assert only(AlertCleared, facts).at == LATER + LASTS


def test_a_pair_that_was_never_seen_is_new_though_each_of_it_was() -> None:
    engine = two_weeks()

    (one,) = fired(run(engine, [(LATER, said("known-1", service="bank"))]))

    assert one.alert.service == "bank"


def test_what_came_suppressed_is_new_when_it_comes_again_and_is_not() -> None:
    engine = engine_with(OF_ALERTS_TOO)
    run(engine, lines(MONDAY, LATER))
    engine.step(silence('name="raid"', LATER + HOUR), LATER)
    raid = event("raid", service="shop")

    covered = run(engine, [(LATER, raid), (LATER + HOUR / 2, raid), (LATER + 2 * HOUR, TICK)])
    again = engine.step(raid, LATER + 3 * HOUR)

    assert [one.alert.name for one in fired(covered)] == ["raid"]
    assert [one.alert.name for one in fired(again)] == ["raid newly seen"]


def test_what_is_waited_with_is_new_when_it_has_not_cleared() -> None:
    engine = engine_with(OF_ALERTS_TOO, settle_rule('name="raid"', "10m"))
    run(engine, lines(MONDAY, LATER))

    facts = run(engine, [(LATER, event("raid", service="shop")), (LATER + HOUR / 2, TICK)])

    assert [one.alert.name for one in fired(facts)] == ["raid", "raid newly seen"]
    assert fired(facts)[1].at == LATER + HOUR / 6


def test_a_text_is_new_by_what_does_not_vary_in_it() -> None:
    engine = two_weeks("template")

    old = [(LATER + HOUR * n, said("other", f"job {900 + n} done")) for n in range(9)]
    assert fired(run(engine, [*old, (LATER + 9 * HOUR, said("quiet"))])) == []
    (one,) = fired(run(engine, [(LATER + 9 * HOUR, said("other", "job 7 failed"))]))

    assert one.alert.labels == {"rule": "first", "template": "job * failed"}
    assert one.alert.name == "first newly seen"


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("job 17 took 3.5 s", "job * took * s"),
        ("can't open 'a b' for \"x\"", "can't open * for *"),
        ("lost 0xdeadbeef at 10.0.0.1:80", "lost * at *"),
        ("user ann got in", "user ann got in"),
        ("x" * 300, "x" * 128),
        ("", ""),
    ],
)
def test_what_varies_in_a_text_is_a_star(text: str, template: str) -> None:
    assert template_of(text) == template


def test_fifty_new_texts_of_a_deploy_are_not_fifty_alerts() -> None:
    engine = two_weeks()
    deploy = [(LATER + timedelta(seconds=n), said(f"new-{n}")) for n in range(50)]

    assert len(fired(run(engine, deploy))) == 1


def test_where_something_new_comes_all_the_time_none_of_it_is_told() -> None:
    """Such as names with a number in them."""
    engine = engine_with(RULE)
    churn = [(MONDAY + HOUR * n / 3, said(f"run-{n}")) for n in range(3 * 24 * 21)]

    assert len(fired(run(engine, churn))) <= 1


def test_what_was_not_seen_for_a_month_is_new_again_and_what_comes_monthly_is_not() -> None:
    engine = engine_with(RULE)
    run(engine, [*lines(MONDAY, MONDAY + 3 * HOUR)])
    monthly = MONDAY + timedelta(seconds=FORGOTTEN)

    assert fired(run(engine, [(monthly, said("known-0"))])) == []
    (one,) = fired(run(engine, [(monthly + 3 * HOUR, said("known-1"))]))

    assert one.alert.summary == "not seen for 30 days"


def test_in_the_first_week_everything_is_new_and_nothing_is_told() -> None:
    engine = engine_with(RULE)
    first = MONDAY + timedelta(seconds=LEARNS)

    facts = run(engine, [(MONDAY, said("a")), (first - HOUR, said("b")), (first, said("c"))])

    assert [one.alert.name for one in fired(facts)] == ["c newly seen"]


def see(state: State, when: datetime, name: str) -> list[Raise]:
    seen = Seen(as_alert(said(name), when), Transition.NOTED, when)
    return [one for one in state.observe(seen, when) if isinstance(one, Raise)]


def test_at_the_cap_the_one_longest_unseen_makes_room_and_its_alert_is_over() -> None:
    state = State(rule(RULE), Limits(2))
    for name in "abac":
        assert see(state, MONDAY, name) == []
    assert list(state._watched) == [("a", "shop"), ("c", "shop")]
    assert state.dropped == {"groups": 1}

    (new,) = see(state, LATER, "d")[-1:]
    assert new.event.status is Status.FIRING
    see(state, LATER, "e")
    over = see(state, LATER, "f")

    assert [(one.event.status, one.event.fingerprint) for one in over] == [
        (Status.CLEARED, new.event.fingerprint)
    ]
    assert state.due('["d","shop"]', LATER + LASTS) == ()


def test_what_has_no_key_is_never_new() -> None:
    state = State(rule(RULE), Limits(2))
    seen = Seen(as_alert(said(service=""), LATER), Transition.NOTED, LATER)

    assert state.observe(seen, LATER) == ()


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_a_restart_at_any_point_and_extra_ticks_change_nothing(data: st.DataObject) -> None:
    steps = st.tuples(st.sampled_from((1, 600, 4_000, 90_000)), st.sampled_from("abcd"))
    feed: list[Said] = []
    when = LATER
    for gap, name in data.draw(st.lists(steps, min_size=1, max_size=12)):
        when += timedelta(seconds=gap)
        feed.append((when, said(name)))
    feed.append((when + 9 * HOUR, TICK))
    whole, stopped, busy = two_weeks(), two_weeks(), two_weeks()

    expected, facts, more = run(whole, feed), list[Fact](), list[Fact]()
    last = LATER
    for now, item in feed:
        stopped = revived(stopped)
        facts += stopped.step(item, now)
        more += run(busy, [(last + (now - last) / 2, TICK), (now, item)])
        last = now

    assert fired(expected)
    assert facts == expected
    assert more == expected
    assert frames(stopped) == frames(whole)
    assert memory(busy) == memory(whole)
