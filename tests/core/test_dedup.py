"""New, repeat, duplicate; episodes; what the source's own time is good for."""

from __future__ import annotations

from sys import getsizeof

from msgspec.structs import replace
from tests.builders import (
    T0,
    TICK,
    Feed,
    at,
    clear,
    engine_after,
    event,
    facts_of,
    last,
    only,
    revived,
    run,
    started,
)

from eventd.allocator import LARGE
from eventd.core.dedup import KEY_BYTES, SETS, AlertTable, DeliveryKeys
from eventd.core.model import (
    Alert,
    AlertChanged,
    AlertCleared,
    AlertFired,
    AlertForgotten,
    AlertRepeated,
    Arrival,
    CapHit,
    ClearReason,
    EventDuplicate,
    EventNoted,
    Settings,
    Severity,
    Status,
)

DISK = event().fingerprint
HOUR = 3_600.0
REPEATED = [AlertRepeated(at(60), DISK, 1)]
DUPLICATE = [EventDuplicate(at(60), DISK)]


def test_the_first_event_of_a_fingerprint_fires_an_alert() -> None:
    said = event(labels={"mount": "/"}, summary="full", value=99.0, severity=Severity.CRITICAL)

    facts = facts_of([(at(5), said)])

    assert facts[0] == AlertFired(
        at(5),
        Alert(
            fingerprint=said.fingerprint,
            source="zabbix",
            name="disk",
            ci="db1",
            service="shop",
            summary="full",
            status=Status.FIRING,
            severity=Severity.CRITICAL,
            labels={"mount": "/"},
            links=(),
            started_at=at(5),
            last_seen_at=at(5),
            cleared_at=None,
            count=1,
            episode=1,
            suppressed_by="",
            incident="",
            value=99.0,
        ),
    )


def test_the_same_again_is_a_repeat_that_counts_and_moves_last_seen() -> None:
    engine = engine_after([(at(0), event()), (at(60), event(summary="fuller", value=3.0))])

    alert = engine.alert(DISK)

    assert (alert.count, alert.last_seen_at, alert.summary, alert.value) == (
        2, at(60), "fuller", 3.0,
    )  # fmt: skip


def test_another_severity_changes_the_alert_and_counts() -> None:
    feed: Feed = [
        (at(0), event(severity=Severity.MINOR)),
        (at(60), event(severity=Severity.CRITICAL)),
    ]

    assert last(feed) == [AlertChanged(at(60), DISK, 1, Severity.MINOR, Severity.CRITICAL)]
    assert engine_after(feed).alert(DISK).count == 2


def test_a_clear_ends_the_episode_and_the_next_firing_begins_another() -> None:
    feed: Feed = [
        (at(0), event(labels={"a": "b"})),
        (at(10), clear(labels={"a": "b"})),
        (at(20), event(labels={"a": "b"})),
    ]

    facts = facts_of(feed)

    fingerprint = event(labels={"a": "b"}).fingerprint
    assert facts[2] == AlertCleared(at(10), fingerprint, 1, ClearReason.SENT)
    again = engine_after(feed).alert(fingerprint)
    assert (again.episode, again.count, again.started_at, again.cleared_at) == (2, 2, at(20), None)


def test_a_second_clear_is_a_repeat_that_counts_nothing() -> None:
    feed: Feed = [(at(0), event()), (at(10), clear()), (at(60), clear())]

    assert last(feed) == REPEATED
    assert engine_after(feed).alert(DISK).count == 1


def test_a_strong_key_seen_before_is_a_duplicate_for_72_hours() -> None:
    feed: Feed = [(at(0), event(id="a")), (at(71.5 * HOUR), event(id="a"))]

    assert only(EventDuplicate, last(feed)) == EventDuplicate(at(71.5 * HOUR), DISK)
    assert engine_after(feed).alert(DISK).count == 1


def test_a_strong_key_older_than_72_hours_recognises_nothing() -> None:
    feed: Feed = [
        (at(0), event(id="a")),
        (at(73 * HOUR), event("other", id="b")),
        (at(73 * HOUR), event(id="a")),
    ]

    assert last(feed) == [AlertRepeated(at(73 * HOUR), DISK, 1)]


def test_keys_are_kept_for_at_least_as_long_as_told_where_that_is_less_than_an_hour() -> None:
    feed: Feed = [
        (T0, started(strong_key_for=600.0)),
        (at(HOUR - 60), event(id="a")),
        (at(HOUR + 60), event("other", id="b")),
        (at(HOUR + 60), event(id="a")),
    ]

    assert only(EventDuplicate, last(feed)) == EventDuplicate(at(HOUR + 60), DISK)


def test_a_duplicate_moves_last_seen_and_nothing_else() -> None:
    engine = engine_after([(at(0), event(id="a"))])
    before = engine.alert(DISK)

    engine.step(event(id="a", severity=Severity.OK, value=7.0), at(60))

    assert engine.alert(DISK) == replace(before, last_seen_at=at(60))


def test_a_duplicate_of_an_unknown_alert_names_none() -> None:
    feed: Feed = [
        (at(0), event(id="a", status=Status.INFO)),
        (at(1), event(id="a", status=Status.INFO)),
    ]

    assert last(feed) == [EventDuplicate(at(1), "")]


def test_a_weak_key_is_a_duplicate_for_ten_seconds() -> None:
    assert last([(at(50), event()), (at(60), event())]) == DUPLICATE
    assert last([(at(49), event()), (at(60), event())]) == REPEATED


def test_a_weak_key_matches_only_the_latest_event_of_its_fingerprint() -> None:
    feed: Feed = [(at(58), event(payload="a")), (at(59), event(payload="b"))]

    assert last([*feed, (at(60), event(payload="a"))]) == REPEATED


def test_what_the_broker_sends_again_is_a_duplicate_at_any_age() -> None:
    again = event(arrival=Arrival.REDELIVERED)

    assert last([(at(-9_000), event()), (at(60), again)])[-1:] == DUPLICATE


def test_what_the_broker_sends_again_for_the_first_time_is_new() -> None:
    again = event(payload="never seen", arrival=Arrival.REDELIVERED)

    assert last([(at(0), event()), (at(60), again)]) == REPEATED


def test_what_the_broker_sends_again_ends_as_it_ended_where_some_of_it_has_no_key() -> None:
    first, second = event(payload="a"), event(payload="b")
    for stream in ([first, second, clear(id="c")], [clear(payload="a"), clear(), event(id="c")]):
        again = [replace(one, arrival=Arrival.REDELIVERED) for one in stream]

        engine = engine_after([(at(n), one) for n, one in enumerate([*stream, *again])])

        assert engine.table.records[DISK].status is stream[-1].status


def test_what_the_broker_sends_thrice_ends_as_it_ended() -> None:
    gone = clear(id="c", arrival=Arrival.REDELIVERED)
    kept = event(arrival=Arrival.REDELIVERED)  # lost, the first time
    feed: Feed = [(at(0), gone), (at(1), gone), (at(1), kept), (at(2), gone), (at(2), kept)]

    assert engine_after(feed).alert(DISK).status is Status.FIRING


def test_what_the_broker_sends_of_a_forgotten_alert_ends_as_it_ended() -> None:
    stream = [event(), clear(id="c")]
    again = [replace(one, arrival=Arrival.REDELIVERED) for one in stream]
    feed: Feed = [(at(0), one) for one in stream]

    engine = engine_after([*feed, *((at(25 * HOUR), one) for one in again)])

    assert engine.alert(DISK).status is Status.CLEARED


def test_a_key_seen_before_moves_nothing_once_the_broker_sends_what_is_new() -> None:
    again = clear(id="c", arrival=Arrival.REDELIVERED)
    feed: Feed = [
        (at(0), again),
        (at(1), event(payload="a", arrival=Arrival.REDELIVERED)),
        (at(2), event(payload="b")),
    ]

    assert last([*feed, (at(60), again)]) == DUPLICATE


def test_what_speaks_of_no_alert_moves_none_however_often_it_is_sent() -> None:
    note = event(status=Status.INFO, id="i")
    again = [replace(one, arrival=Arrival.REDELIVERED) for one in (event(payload="a"), note)]

    assert last([(at(0), note), (at(1), event()), (at(1), again[0]), (at(60), again[1])]) == (
        DUPLICATE
    )


def test_a_duplicate_that_moves_its_alert_is_one_all_the_same_and_not_counted() -> None:
    worse = event(id="c", severity=Severity.CRITICAL)
    stream = [event(payload="a"), event(payload="b"), worse, clear(id="d")]
    again = [replace(one, arrival=Arrival.REDELIVERED) for one in stream]
    engine = engine_after([(at(0), one) for one in (*stream, *again[:2])])
    count = engine.alert(DISK).count

    facts = run(engine, [(at(60), again[2]), (at(60), again[3]), (at(60), again[3])])

    assert facts == [
        AlertChanged(at(60), DISK, 2, Severity.MAJOR, Severity.CRITICAL),
        EventDuplicate(at(60), DISK),
        AlertCleared(at(60), DISK, 2, ClearReason.SENT),
        EventDuplicate(at(60), DISK),
        EventDuplicate(at(60), DISK),
    ]
    assert engine.alert(DISK).count == count


def test_a_retained_message_that_says_what_is_known_is_a_duplicate() -> None:
    kept = event(payload="other bytes", arrival=Arrival.RETAINED)

    assert last([(at(0), event()), (at(60), kept)]) == DUPLICATE


def test_a_retained_message_restores_state_and_counts_no_repeat() -> None:
    kept = event(severity=Severity.CRITICAL, arrival=Arrival.RETAINED)
    feed: Feed = [(at(0), event()), (at(60), kept)]

    assert last(feed) == [AlertChanged(at(60), DISK, 1, Severity.MAJOR, Severity.CRITICAL)]
    assert engine_after(feed).alert(DISK).count == 1


def test_a_retained_message_of_an_unknown_alert_fires_it() -> None:
    facts = facts_of([(at(0), event(arrival=Arrival.RETAINED))])

    assert isinstance(facts[0], AlertFired)
    assert facts[0].alert.count == 1


def test_a_retained_message_may_begin_an_episode_but_counts_no_occurrence() -> None:
    kept = event(arrival=Arrival.RETAINED)

    fired = last([(at(0), event()), (at(10), clear()), (at(60), kept)])[0]

    assert isinstance(fired, AlertFired)
    assert (fired.alert.episode, fired.alert.count) == (2, 1)


def test_a_heartbeat_is_never_a_duplicate_and_its_key_recognises_nothing() -> None:
    beat = event(status=Status.HEARTBEAT, id="a")

    facts = facts_of([(at(0), beat), (at(1), beat), (at(2), event(id="a"))])

    assert facts[:2] == [
        EventNoted(at(0), "zabbix", Status.HEARTBEAT),
        EventNoted(at(1), "zabbix", Status.HEARTBEAT),
    ]
    assert isinstance(facts[2], AlertFired)


def test_a_clear_that_arrives_before_its_firing_leaves_nothing_firing() -> None:
    """D18."""
    feed: Feed = [
        (at(0), clear(occurred_at=at(-5))),
        (at(1), event(occurred_at=at(-60))),
    ]

    assert facts_of(feed) == [
        EventNoted(at(0), "zabbix", Status.CLEARED),
        AlertRepeated(at(1), DISK, 0, late=True),
    ]
    assert list(engine_after(feed).alerts()) == []


def test_a_late_firing_does_not_reopen_what_cleared_after_it() -> None:
    """D19."""
    feed: Feed = [
        (at(0), event(occurred_at=at(0))),
        (at(20), clear(occurred_at=at(20))),
        (at(60), event(occurred_at=at(10), payload="late")),
    ]

    assert last(feed) == [AlertRepeated(at(60), DISK, 1, late=True)]
    assert engine_after(feed).alert(DISK).status is Status.CLEARED


def test_a_late_clear_does_not_end_what_fired_after_it() -> None:
    feed: Feed = [(at(0), event(occurred_at=at(0))), (at(60), clear(occurred_at=at(-10)))]

    assert last(feed) == [AlertRepeated(at(60), DISK, 1, late=True)]
    assert engine_after(feed).alert(DISK).status is Status.FIRING


def test_an_incredible_time_is_no_time_so_that_the_order_of_arrival_counts() -> None:
    for far in (-31 * 24 * HOUR, 301):
        said = event(occurred_at=at(60 + far))

        fired = last([(at(0), event()), (at(30), clear()), (at(60), said)])[0]

        assert isinstance(fired, AlertFired)
        assert fired.alert.started_at == at(60)


def test_a_source_without_times_is_not_late_after_a_clock_that_ran_ahead() -> None:
    feed: Feed = [
        (at(0), event()),
        (at(30), clear(occurred_at=at(300))),
        (at(60), event(payload="x")),
    ]

    assert isinstance(last(feed)[0], AlertFired)


def test_a_clear_is_not_late_by_the_time_at_which_its_firing_came_in() -> None:
    feed: Feed = [
        (at(0), event()),
        (at(30), event()),
        (at(60), clear(occurred_at=at(-3_600))),
    ]

    assert last(feed) == [AlertCleared(at(60), DISK, 1, ClearReason.SENT)]


def test_a_source_that_now_and_then_gives_no_time_is_held_to_those_it_gave() -> None:
    feed: Feed = [
        (at(0), event(occurred_at=at(0))),
        (at(20), clear()),
        (at(60), event(occurred_at=at(-10), payload="late")),
    ]

    assert last(feed) == [AlertRepeated(at(60), DISK, 1, late=True)]


def test_an_alert_never_starts_in_the_future() -> None:
    engine = engine_after([(at(0), event(occurred_at=at(200))), (at(1), clear())])

    alert = engine.alert(DISK)

    assert (alert.started_at, alert.cleared_at) == (at(0), at(1))


def test_a_cleared_alert_is_forgotten_after_a_day() -> None:
    engine = engine_after([(at(0), event()), (at(10), clear())])

    facts = run(engine, [(at(24 * HOUR + 20), TICK)])

    assert only(AlertForgotten, facts) == AlertForgotten(at(24 * HOUR + 10), DISK)
    assert list(engine.alerts()) == []


def test_an_alert_that_fires_again_is_not_forgotten() -> None:
    feed: Feed = [(at(0), event()), (at(10), clear()), (at(20), event()), (at(25 * HOUR), TICK)]

    assert not [fact for fact in last(feed) if isinstance(fact, AlertForgotten)]


def test_where_alerts_are_capped_the_longest_cleared_makes_room() -> None:
    feed: Feed = [
        (T0, started(max_alerts=2)),
        (at(0), event("a")),
        (at(1), event("b")),
        (at(2), clear("b")),
        (at(3), event("c")),
    ]

    facts = last(feed)

    assert facts[:2] == [CapHit(at(3), "alerts"), AlertForgotten(at(3), event("b").fingerprint)]
    assert [alert.name for alert in engine_after(feed).alerts()] == ["a", "c"]


def test_where_all_that_is_capped_fires_the_longest_known_is_evicted() -> None:
    feed: Feed = [(T0, started(max_alerts=1)), (at(0), event("a")), (at(3), event("b"))]

    facts = last(feed)

    evicted = event("a").fingerprint
    assert facts[:3] == [
        CapHit(at(3), "alerts"),
        AlertCleared(at(3), evicted, 1, ClearReason.EVICTED),
        AlertForgotten(at(3), evicted),
    ]


def test_who_comes_back_after_it_made_room_is_the_youngest() -> None:
    engine = engine_after(
        [(T0, started(max_alerts=3)), *((at(n), event("abc"[n])) for n in (0, 1, 2))]
    )
    later: Feed = [
        (at(3), event("d")),
        (at(4), clear("b")),
        (at(5), event("e")),
        (at(6), event("b")),
        (at(7), event("f")),
        (at(8), event("g")),
    ]
    gone: list[str] = []
    for now, item in later:
        again = revived(engine)
        facts = engine.step(item, now)
        assert again.step(item, now) == facts
        gone += [one.fingerprint for one in facts if isinstance(one, AlertForgotten)]

    assert gone == [event(name).fingerprint for name in "abcde"]


def test_where_keys_are_capped_the_oldest_make_room() -> None:
    feed: Feed = [
        (T0, started(max_keys=2)),
        (at(0), event(id="a")),
        (at(20), event(id="b")),
        (at(40), event(id="c")),
        (at(60), event(id="a")),
    ]

    facts = facts_of(feed)

    assert [fact for fact in facts if isinstance(fact, CapHit)] == [
        CapHit(at(40), "keys"),
        CapHit(at(60), "keys"),
    ]
    assert facts[-1] == AlertRepeated(at(60), DISK, 1)


def test_many_keys_survive_a_snapshot() -> None:
    engine = engine_after([(at(second), event(id=f"id{second}")) for second in range(0, 5_000, 2)])

    restored = revived(engine)

    assert run(restored, [(at(5_000), event(id="id0")), (at(5_000), event(id="id4998"))]) == [
        EventDuplicate(at(5_000), DISK),
        EventDuplicate(at(5_000), DISK),
    ]


def test_capped_keys_make_room_alike_after_a_snapshot() -> None:
    engine = engine_after(
        [(T0, started(max_keys=300)), *((at(n), event(id=f"id{n}")) for n in range(400))]
    )
    later: Feed = [(at(n), event(id=f"id{n}")) for n in range(400, 410)]

    restored = revived(engine)

    assert len(engine.table.keys) <= 300
    facts = run(restored, later)
    assert facts == run(engine, later)
    assert sum(isinstance(fact, CapHit) for fact in facts) in {3, 4}  # three at once


def test_what_a_snapshot_has_of_the_keys_is_not_reached_by_later_ones() -> None:
    engine = engine_after([(at(second), event(id=f"id{second}")) for second in range(1_500)])
    frames = list(engine.snapshot().frames())
    snapshot = engine.snapshot()

    run(engine, [(at(second), event(id=f"id{second}")) for second in range(1_500, 3_000)])

    assert list(snapshot.frames()) == frames


def test_what_holds_the_keys_at_their_cap_is_large_enough_to_be_given_back() -> None:
    share = Settings().max_keys // SETS  # of one set
    keys, settings = DeliveryKeys(), Settings(max_keys=share)

    sizes = set()
    for n in range(3 * share):
        keys.add(b"\0" + n.to_bytes(KEY_BYTES - 1, "big"), T0, settings)
        if n >= share:
            sizes.add(getsizeof(keys._known[0]))

    assert min(sizes) >= LARGE  # smaller ones leave holes in the heap
    assert max(sizes) <= 40 * share


def test_a_duplicate_of_what_fires_in_doubt_sets_its_severity_right() -> None:
    table = AlertTable()
    record = table.add(event(id="a"), T0, Settings())
    again = event(id="a", arrival=Arrival.REDELIVERED)

    assert not table.sets_right(again, record)
    assert table.sets_right(replace(again, severity=Severity.MINOR), record)
    assert not table.sets_right(event(id="a"), record)
