"""What must hold for every feed."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import TICK, Feed, engine_after, frames, revived, run
from tests.properties.beliefs import Beliefs
from tests.properties.feeds import commands, feeds, fixed, is_start

from eventd.core.engine import Engine
from eventd.core.labels import fingerprint_of
from eventd.core.model import (
    AlertCleared,
    AlertFired,
    Event,
    EventDuplicate,
    EventNoted,
    Fact,
    IncidentState,
    Status,
    Tick,
)

pytestmark = pytest.mark.usefixtures("unmeasured")


@given(feeds())
def test_the_same_feed_gives_the_same_facts_and_the_same_state(feed: Feed) -> None:
    first, second = Engine(), Engine()

    facts = [run(first, feed), run(second, feed)]

    assert facts[0] == facts[1]
    assert frames(first) == frames(second)


@given(feeds(), st.data())
def test_extra_ticks_change_nothing(feed: Feed, data: st.DataObject) -> None:
    ticked = with_ticks(feed, data)
    plain, busy = Engine(), Engine()

    facts = [run(plain, feed), run(busy, ticked)]

    assert facts[1] == facts[0]
    assert memory(busy) == memory(plain)


def memory(engine: Engine) -> list[bytes]:
    """Its state, but for closed incidents.

    For how long the shell can still read those follows the steps made; they decide nothing more.
    """
    remembered = revived(engine)
    for incident in list(remembered.incidents()):
        if incident.state is IncidentState.CLOSED:
            remembered._verdicts.keep(incident.id)
            remembered.incident_table.drop_due(incident.id)
            remembered.timers.cancel(("drop", incident.id))
    return frames(remembered)


def with_ticks(feed: Feed, data: st.DataObject) -> Feed:
    """The feed with ticks at any times, but where eventd was away: nobody ticks there."""
    ticked = list(feed[:1])
    for (before, _), (after, item) in pairwise(feed):
        if not is_start(item):
            shares = sorted(data.draw(st.lists(st.floats(0, 1), max_size=3)))
            ticked += [(before + (after - before) * share, TICK) for share in shares]
        ticked.append((after, item))
    return ticked


@given(feeds(), st.data())
def test_a_restored_engine_has_the_same_future(feed: Feed, data: st.DataObject) -> None:
    whole = Engine()
    restored = Engine()
    expected = run(whole, feed)
    stops = data.draw(st.sets(st.integers(0, len(feed) - 1), min_size=1, max_size=5))

    facts: list[Fact] = []
    for position, (now, item) in enumerate(feed):
        if position in stops:
            restored = revived(restored)
        facts += restored.step(item, now)

    assert facts == expected
    assert frames(restored) == frames(whole)


@given(feeds())
def test_a_snapshot_is_not_reached_by_later_steps(feed: Feed) -> None:
    half = len(feed) // 2
    engine = engine_after(feed[:half])
    taken = frames(engine)
    snapshot = engine.snapshot()

    run(engine, feed[half:])

    assert list(snapshot.frames()) == taken


@given(feeds())
def test_firing_and_clearing_alternate_for_each_fingerprint(feed: Feed) -> None:
    firing: dict[str, bool] = {}

    for fact in run(Engine(), feed):
        if isinstance(fact, AlertFired):
            assert not firing.get(fact.alert.fingerprint)
            firing[fact.alert.fingerprint] = True
        elif isinstance(fact, AlertCleared):
            assert firing[fact.fingerprint]
            firing[fact.fingerprint] = False


@given(feeds(commands(), fixed(), strong=True, steps=(0, 1, 10, 61, 400)))
def test_redelivery_of_everything_with_its_own_keys_adds_only_duplicates(feed: Feed) -> None:
    engine = engine_after(feed)
    now = feed[-1][0]
    engine.step(TICK, now)
    incidents = list(engine.incidents())
    again = [(now, item) for _, item in feed if isinstance(item, Event)]

    facts = run(engine, again)

    beats = sum(item.status is Status.HEARTBEAT for _, item in again)
    assert Counter(type(fact) for fact in facts) == Counter(
        {EventDuplicate: len(again) - beats, EventNoted: beats}
    )
    assert list(engine.incidents()) == incidents
    assert run(engine, [(now, TICK)]) == []


@given(st.dictionaries(st.text(), st.text()), st.randoms(use_true_random=False))
def test_the_order_of_labels_does_not_change_a_fingerprint(
    labels: dict[str, str], random: Random
) -> None:
    shuffled = list(labels.items())
    random.shuffle(shuffled)

    fingerprints = {
        fingerprint_of("s", "n", "c", "v", labels),
        fingerprint_of("s", "n", "c", "v", dict(shuffled)),
    }

    assert len(fingerprints) == 1


@given(feeds())
def test_a_reader_of_facts_alone_believes_what_the_engine_believes(feed: Feed) -> None:
    engine, beliefs = Engine(), Beliefs()

    for now, item in feed:
        for fact in engine.step(item, now):
            beliefs.take(fact)

        beliefs.agree_with(engine)


@given(feeds())
def test_closed_is_final_and_a_group_has_one_incident_at_a_time(feed: Feed) -> None:
    engine = Engine()
    closed: dict[str, object] = {}

    for now, item in feed:
        engine.step(item, now)

        groups = Counter[object]()
        for incident in engine.incidents():
            if incident.state is IncidentState.CLOSED:
                assert closed.setdefault(incident.id, incident) == incident
            else:
                assert incident.id not in closed
                groups[incident.rule, tuple(incident.group.items())] += 1
        assert not groups or max(groups.values()) == 1


@given(feeds())
def test_an_incident_counts_exactly_its_firing_alerts(feed: Feed) -> None:
    engine = Engine()

    for now, item in feed:
        engine.step(item, now)

        firing = Counter(a.incident for a in engine.alerts() if a.status is Status.FIRING)
        assert {
            i.id: i.firing for i in engine.incidents() if i.state is not IncidentState.CLOSED
        } == {i.id: firing[i.id] for i in engine.incidents() if i.state is not IncidentState.CLOSED}


@given(feeds())
def test_no_table_passes_its_cap(feed: Feed) -> None:
    engine = Engine()

    for now, item in feed:
        before = sizes(engine)
        engine.step(item, now)

        caps = engine.settings
        limits = (caps.max_alerts, caps.max_keys, caps.max_silences, caps.max_maintenance)
        # a cap lowered by a start holds for what is added from then on
        for size, limit, was in zip(sizes(engine), limits, before, strict=True):
            assert size <= max(limit, was)


def sizes(engine: Engine) -> tuple[int, int, int, int]:
    """How full the capped tables are."""
    return (
        len(engine.table.records),
        len(engine.table.keys),
        len(engine.suppressions.silences),
        len(engine.suppressions.windows),
    )


@given(feeds())
def test_time_never_goes_back_in_facts_and_no_deadline_is_past(feed: Feed) -> None:
    engine = Engine()
    facts: list[Fact] = []

    for now, item in feed:
        facts += engine.step(item, now)

        deadline = engine.deadline()
        assert deadline is None or deadline >= now
        assert not facts or facts[-1].at <= now

    assert all(one.at <= other.at for one, other in pairwise(facts))
    assert all(
        alert.cleared_at is None or alert.cleared_at >= alert.started_at
        for alert in engine.alerts()
    )


@given(feeds())
def test_timers_fire_at_their_own_time_until_nothing_is_left(feed: Feed) -> None:
    engine = engine_after(feed)

    while (deadline := engine.deadline()) is not None:
        facts = engine.step(Tick(), deadline)

        assert {fact.at for fact in facts} <= {deadline}
        next_deadline = engine.deadline()
        assert next_deadline is None or next_deadline >= deadline

    assert not list(engine.silences())
