"""The step itself: time, starts, refusals, rule sets, rules that raise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from weakref import ref

import pytest
from msgspec import Struct
from tests.builders import (
    T0,
    TICK,
    Feed,
    at,
    clear,
    engine_after,
    event,
    frames,
    group_rule,
    kind_rule,
    last,
    load,
    revived,
    run,
    silence,
    started,
    threshold_rule,
)

from eventd.core.engine import Engine
from eventd.core.model import (
    AccessDenied,
    AlertCleared,
    AlertFired,
    AlertJoined,
    AlertUnmatched,
    CapHit,
    Denied,
    EventNoted,
    EventRefused,
    IncidentOpened,
    IncidentResolved,
    IncidentState,
    Refused,
    RulesLoaded,
    RuleSwitchedOff,
    SilenceAdded,
    SilenceEnded,
    Started,
    Status,
    TimerFailed,
)
from eventd.core.rules import KINDS, group
from eventd.core.rules.rule import Answer, Seen
from eventd.core.snapshot import FRAME_BYTES, FRAME_MOST, Restored, Snapshot


class Raising(group.State):
    """A rule that raises when it is asked about an alert of the ci "bad"."""

    def observe(self, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        if seen.alert.ci == "bad":
            raise ZeroDivisionError("bad")
        return super().observe(seen, now)


@contextmanager
def raising_kind() -> Iterator[dict[str, object]]:
    """A rule of a kind that raises."""
    KINDS["raising"] = (group.Spec, Raising)
    yield {"name": "raises", "raising": {"match": ""}, "by": ["name"], "within": "5m"}
    del KINDS["raising"]


def test_timers_fire_before_the_input_and_at_their_own_time() -> None:
    feed: Feed = [
        (at(0), event()),
        (at(1), silence('name="cpu"', at(65))),
        (at(10), clear()),
        (at(90), event("net")),
    ]

    facts = last(feed, group_rule())

    assert [(type(fact), fact.at) for fact in facts] == [
        (SilenceEnded, at(65)),
        (IncidentResolved, at(70)),
        (AlertFired, at(90)),
        (type(facts[3]), at(90)),
        (AlertJoined, at(90)),
    ]


def test_the_deadline_is_the_first_timer() -> None:
    engine = Engine()

    assert engine.deadline() is None
    engine.step(event(expires_at=at(300)), at(0))
    engine.step(silence("", at(200)), at(0))
    assert engine.deadline() == at(200)


def test_a_tick_and_a_start_cause_nothing_by_themselves() -> None:
    assert last([(at(0), TICK)]) == []
    assert last([(at(0), Started("1.0"))]) == []


def test_what_was_refused_is_a_fact() -> None:
    facts = last([(at(0), Refused("zabbix", "decode", "no JSON", 3))])

    assert facts == [EventRefused(at(0), "zabbix", "decode")]


def test_who_was_not_let_in_is_a_fact_and_nothing_else() -> None:
    facts = last([(at(0), Denied("api", "192.0.2.1", 3))])

    assert facts == [AccessDenied(at(0), "api", "192.0.2.1", 3)]


@pytest.mark.parametrize("status", [Status.INFO, Status.HEARTBEAT, Status.CHANGE])
def test_an_event_that_speaks_of_no_alert_is_noted(status: Status) -> None:
    assert last([(at(0), event(status=status))]) == [EventNoted(at(0), "zabbix", status)]


def test_where_keys_are_capped_a_command_may_push_one_out() -> None:
    feed: Feed = [(T0, started(max_keys=1)), (at(0), event(id="a"))]

    facts = last([*feed, (at(1), silence("", at(60), key=b"k" * 16))])

    assert [type(fact) for fact in facts] == [SilenceAdded, CapHit]


def test_an_unknown_alert_or_incident_is_a_key_error() -> None:
    engine = Engine()

    with pytest.raises(KeyError):
        engine.alert("0" * 32)
    with pytest.raises(KeyError):
        engine.incident("INC-000001")


def test_a_load_replaces_the_rules_and_says_how_many_are_unchanged() -> None:
    engine = Engine()

    facts = [
        *engine.step(load(group_rule(), threshold_rule(), version="v1"), at(0)),
        *engine.step(load(group_rule(), threshold_rule(count=9), version="v2"), at(1)),
    ]

    assert facts == [RulesLoaded(at(0), "v1", 2, 0), RulesLoaded(at(1), "v2", 2, 1)]
    assert engine.rules_version == "v2"


def test_an_unchanged_rule_keeps_its_window() -> None:
    feed: Feed = [
        (at(0), event("a")),
        (at(5), load(group_rule("new", "name=x"), threshold_rule(count=2))),
    ]

    facts = last([*feed, (at(10), event("b"))], threshold_rule(count=2))

    assert isinstance(facts[1], IncidentOpened)


def test_a_changed_rule_starts_empty() -> None:
    feed: Feed = [(at(0), event("a")), (at(5), load(threshold_rule(count=2, within="50s")))]

    facts = last([*feed, (at(10), event("b"))], threshold_rule(count=2))

    assert isinstance(facts[1], AlertUnmatched)


def test_the_incidents_of_a_removed_rule_live_on() -> None:
    feed: Feed = [(at(0), event()), (at(5), load()), (at(10), clear())]

    assert last([*feed, (at(70), TICK)], group_rule())[0].at == at(70)
    resolved = engine_after([*feed, (at(70), TICK)], group_rule()).incident("INC-000001")
    assert resolved.state is IncidentState.RESOLVED


def test_a_rule_that_raises_is_switched_off_and_the_others_go_on() -> None:
    with raising_kind() as raises:
        feed: Feed = [(at(0), event(ci="bad")), (at(1), event("cpu", ci="bad", service="bank"))]
        engine = engine_after([], raises, group_rule())

        facts = run(engine, feed)

        assert facts[1] == RuleSwitchedOff(at(0), "raises", "ZeroDivisionError('bad')")
        opened = [fact.incident.rule for fact in facts if isinstance(fact, IncidentOpened)]
        assert opened == ["by-service", "by-service"]
        assert len([fact for fact in facts if isinstance(fact, RuleSwitchedOff)]) == 1


@pytest.mark.parametrize("where", ["observe", "due", "timer"])
def test_where_memory_runs_out_no_rule_is_switched_off_and_no_timer_given_up(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = kind_rule("absence", {"match": 'name="b"'})
    engine = engine_after([(at(0), event("b"))], absent)

    def runs_out(*_of: object) -> None:
        raise MemoryError

    if where == "timer":
        engine.timers.set(("alien", "x"), at(1))
        monkeypatch.setattr(engine, "_due_here", runs_out)
    else:
        monkeypatch.setattr(engine.rules.states["it"], where, runs_out)
    with pytest.raises(MemoryError):
        run(engine, [(at(1), event("b", id="2")), (at(900), TICK)])

    assert engine.rules.off == {}


def test_a_rule_that_raised_stays_off_across_a_snapshot_and_is_on_after_a_load() -> None:
    with raising_kind() as raises:
        engine = revived(engine_after([(at(0), event(ci="bad"))], raises))

        off = run(engine, [(at(1), event())])
        again = run(engine, [(at(2), load(raises)), (at(3), event("cpu"))])

        assert isinstance(off[1], AlertUnmatched)
        assert again[0] == RulesLoaded(at(2), "v1", 1, 0)
        assert isinstance(again[2], IncidentOpened)


def test_a_restored_engine_knows_all_it_knew() -> None:
    engine = engine_after(
        [
            (T0, started(resolve_after=5.0)),
            (at(0), event(id="a", labels={"x": "y"}, value=1.5)),
            (at(1), silence('name="cpu"', at(60))),
            (at(2), event("cpu")),
        ],
        group_rule(),
        threshold_rule(),
    )

    restored = revived(engine)

    assert frames(restored) == frames(engine)
    assert list(restored.alerts()) == list(engine.alerts())
    assert list(restored.incidents()) == list(engine.incidents())
    assert list(restored.silences()) == list(engine.silences())
    assert (restored.rules_version, restored.deadline()) == ("v1", engine.deadline())


def test_an_empty_snapshot_restores_to_an_empty_engine() -> None:
    assert frames(Engine.restore(Restored([]))) == frames(Engine())


def test_a_timer_that_raises_is_told_and_left_and_the_others_go_on() -> None:
    alien = Snapshot({"timers": [("alien", "x", at(10))]})
    engine = Engine.restore(Restored(alien.frames()))
    run(engine, [(at(0), event(repeats_within=10.0)), (at(0), event("cpu", repeats_within=10.0))])

    facts = run(engine, [(at(20), event("net")), (at(30), TICK)])

    assert facts[0] == TimerFailed(at(10), "alien", "x", "ValueError('alien')")
    assert [type(fact) for fact in facts[1:]] == [
        AlertCleared,
        AlertCleared,
        AlertFired,
        AlertUnmatched,
    ]


def test_a_large_section_is_cut_into_frames() -> None:
    numbers = Snapshot({"numbers": list(range(2_500))})

    cut = list(numbers.frames())

    assert len(cut) == 4
    assert list(Restored(cut).read("numbers", int)) == list(range(2_500))


class Kept(Struct, weakref=True):
    """A value of which is known whether anybody holds it."""

    number: int


def test_what_of_a_snapshot_is_encoded_is_let_go() -> None:
    sections = {"kept": [Kept(n) for n in range(2_500)]}
    known = [ref(one) for one in sections["kept"]]

    frames = Snapshot(dict(sections)).frames()
    sections.clear()
    held = [sum(one() is not None for one in known) for _ in frames]

    assert held == [2_500, 2_490, 1_490, 490]


@pytest.mark.parametrize("stride", [1, 13])  # all are large; some are, and none of those weighed
def test_large_values_after_small_ones_are_no_large_frame(stride: int) -> None:
    rows = [bytes(50 if n < 500 or n % stride else 80_000) for n in range(1_500)]

    cut = list(Snapshot({"rows": rows}).frames())

    assert max(map(len, cut)) <= FRAME_MOST
    assert list(Restored(cut).read("rows", bytes)) == rows


def test_a_value_larger_than_a_frame_is_one() -> None:
    rows = [b"small", bytes(2 * FRAME_MOST), b"small"]

    cut = list(Snapshot({"rows": rows}).frames())

    assert [len(one) > FRAME_MOST for one in cut] == [False, True, False]
    assert list(Restored(cut).read("rows", bytes)) == rows


def test_large_values_are_cut_into_frames_that_hold_nobody_up() -> None:
    rows = [bytes([n % 256]) * 16_000 for n in range(1_000)]

    cut = list(Snapshot({"rows": rows}).frames())

    assert max(map(len, cut)) <= FRAME_BYTES
    assert list(Restored(cut).read("rows", bytes)) == rows
