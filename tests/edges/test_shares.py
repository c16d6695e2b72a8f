"""What waits for the engine: its cap, its reserve, and who gets how much of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.edges.store_desk import alive, wrong

from eventd import inbox as inbox_module
from eventd.core.model import Comment, Delivery, Fact, Input
from eventd.errors import EventdError, Overloaded, OverShare, Stopping
from eventd.inbox import LONGEST_REST, OVERHEAD, TURN, Inbox, Outcome, Submission
from eventd.runtime import Batch
from eventd.sources.decode import decode

CAP = 64 * OVERHEAD  # 56 for everybody, 4 more for clears, the last 4 for commands
T0 = datetime(2026, 1, 5, 14, 0, tzinfo=UTC)


def nobody(_: Outcome | EventdError) -> None: ...


def sent(source: str = "a", status: str = "firing", events: int = 1) -> Submission:
    delivery = Delivery(transport="http", received_at=T0, payload=b"", source=source)
    bodies = b"[" + b",".join([b'{"name":"x","status":"%s"}' % status.encode()] * events) + b"]"
    found = decode(Delivery(transport="http", received_at=T0, payload=bodies, decoder="native"))
    return Submission(found.events, nobody, delivery)


def published() -> Submission:
    delivery = Delivery(transport="mqtt", received_at=T0, payload=b"", source="plant")
    return Submission(sent().inputs, nobody, delivery)


def command() -> Submission:
    inputs: tuple[Input, ...] = (Comment("INC-000001", "ann", "so it is"),)
    delivery = Delivery(transport="http", received_at=T0, payload=b"", source="api")
    return Submission(inputs, nobody, delivery)


def fill(inbox: Inbox, *items: Submission) -> int:
    """How many rounds of all of them find room, refused ones passed over."""
    taken = -1
    while len(inbox) > taken:
        taken = len(inbox)
        for item in items:
            try:
                inbox.put(item)
            except Overloaded:
                continue
    return taken


def batch(inbox: Inbox) -> tuple[Submission, ...]:
    """What is taken for one that takes no time."""
    taken = inbox.drain(2_000)
    inbox.rest(0.0, 0.0)
    return taken


def held(inbox: Inbox) -> dict[str, int]:
    """Deliveries that wait, by source."""
    found: dict[str, int] = {}
    while (item := inbox.take()) is not None:
        assert item.delivery is not None
        found[item.delivery.source] = found.get(item.delivery.source, 0) + 1
    return dict(sorted(found.items()))


def test_a_lone_flood_gets_half_of_the_room_and_a_quiet_source_is_let_in_beside_it() -> None:
    inbox = Inbox(CAP)

    flood = fill(inbox, sent("flood"))
    with pytest.raises(OverShare, match="flood has its share of the inbox"):
        inbox.put(sent("flood"))
    for _ in range(5):
        inbox.put(sent("quiet"))

    assert flood == 28
    assert held(inbox) == {"flood": 28, "quiet": 5}


@pytest.mark.parametrize(("floods", "each"), [(1, 28), (2, 18), (3, 14), (6, 8)])
def test_floods_share_alike_and_leave_as_much_for_whoever_comes_next(
    floods: int, each: int
) -> None:
    inbox = Inbox(CAP)

    fill(inbox, *(sent(f"flood {n}") for n in range(floods)))
    inbox.put(sent("quiet"))

    found = held(inbox)
    assert found.pop("quiet") == 1
    assert all(each <= count <= each + 1 for count in found.values())


def test_a_source_that_was_refused_is_let_in_once_the_engine_has_taken_some() -> None:
    inbox = Inbox(CAP)
    fill(inbox, sent("flood"))

    for _ in range(3):
        inbox.take()

    assert fill(inbox, sent("flood")) == 28


def test_sources_take_turns_and_each_keeps_its_order() -> None:
    """D27: who sends little never waits behind a flood."""
    inbox = Inbox(1 << 20)
    flood = [sent("flood", events=15) for _ in range(4)]
    late = [sent("quiet") for _ in range(2)]

    for item in (*flood, *late):
        inbox.put(item)

    turns = [batch(inbox) for _ in range(3)]
    assert (
        [list(map(id, turn)) for turn in turns]
        == [
            list(map(id, [flood[0], *late])),  # a second one would make 30: it is over the turn
            list(map(id, flood[1:3])),  # saved up, and others are still expected
            list(map(id, flood[3:])),
        ]
    )


def test_a_delivery_larger_than_a_turn_lets_others_pass_while_it_saves_up() -> None:
    inbox = Inbox(1 << 20)
    large, small = sent("flood", events=60), sent("quiet")
    inbox.put(large)
    turns = []

    for _ in range(3):
        inbox.put(small)
        turns.append(batch(inbox))

    assert [list(map(id, turn)) for turn in turns] == [
        [id(small)], [id(small)], [id(large), id(small)]
    ]  # fmt: skip


def test_turns_are_as_many_times_larger_as_a_disk_is_slower_and_no_batch_is_longer_than_one() -> (
    None
):
    """D07: a turn of a few events a sync would choke two sources that a disk could bear."""
    inbox = Inbox(1 << 27)
    for n in range(10_000):
        inbox.put(sent(f"source {n % 2}"))
    taken = []

    for sync in (0.0, 0.004, 0.04, 0.3, 0.0):
        taken.append(len(inbox.drain(2_000)))
        inbox.rest(0.0, sync)
    taken.append(len(inbox.drain(2_000)))
    inbox.close()
    taken.append(len(inbox.drain(2_000)))  # nobody comes any more who could wait for it

    assert taken == [2 * TURN, 2 * TURN, 2 * TURN, 20 * TURN, 2_000, 2 * TURN, 2_000]


def test_what_goes_along_is_no_more_than_its_holder_may_have() -> None:
    """D27: else who sends little would wait for all of a large delivery in its own batch."""
    inbox = Inbox(1 << 20)
    inbox.put(sent("quiet"))
    inbox.put(sent("flood", events=60))

    turns = [len(inbox.drain(2_000)), len(inbox.drain(2_000, along=True))]
    inbox.rest(0.0, 0.0)

    assert turns == [1, 0]
    assert len(batch(inbox)) == 1


def test_beside_who_sends_little_a_flood_rests_as_long_as_its_batch_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D27: who came while a batch of the flood is under way would wait for its end."""
    now = 100.0
    monkeypatch.setattr(inbox_module, "monotonic", lambda: now)
    inbox = Inbox(1 << 20)
    for item in (*(sent("flood", events=20) for _ in range(9)), sent("quiet")):
        inbox.put(item)

    assert [len(inbox.drain(2_000)), len(inbox.drain(2_000))] == [2, 0]  # until the commit
    inbox.put(sent("quiet"))
    assert len(inbox.drain(2_000)) == 1  # it goes along
    inbox.rest(0.004, 0.001)
    assert inbox.gives_way
    assert inbox.ready_in() == pytest.approx(0.004)
    assert not inbox.drain(2_000)
    inbox.put(sent("quiet"))
    assert inbox.ready_in() == 0.0
    assert len(inbox.drain(2_000)) == 1  # at once
    now += 0.0041
    assert len(inbox.drain(2_000)) == 1
    inbox.rest(60.0, 0.001)  # on a disk that was full
    assert inbox.ready_in() == pytest.approx(LONGEST_REST)
    inbox.close()
    assert inbox.ready_in() == 0.0
    assert len(inbox.drain(2_000)) == 7  # all that waits at the end: it has no neighbours


def test_a_flood_rests_no_more_once_its_neighbour_is_gone_and_floods_do_not_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others_for = 250
    monkeypatch.setattr("eventd.inbox.OTHERS_FOR", others_for)
    inbox = Inbox(1 << 27)
    inbox.put(sent("quiet"))
    for n in range(2_000):
        inbox.put(sent(f"flood {n % 2}", events=20))
    turns = []

    for _ in range(3 * others_for):
        turns.append((inbox.gives_way, inbox.ready_in()))
        inbox.drain(2_000)
        inbox.rest(0.0, 0.0)

    assert turns[0] == (False, 0.0)  # nobody has come yet
    assert turns[1 : others_for - 1] == [(True, 0.0)] * (others_for - 2)
    assert turns[others_for + 1 :] == [(False, 0.0)] * (2 * others_for - 1)


async def test_who_comes_while_a_batch_of_a_flood_is_stepped_goes_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[str]] = []
    told: list[Outcome | EventdError] = []
    late = [replace(sent("late"), done=told.append)]

    async with alive(tmp_path / "state") as life:
        loop, commit, step = asyncio.get_running_loop(), life.store.commit, life.runtime.engine.step

        async def committed(batch: Batch) -> None:
            batches.append([one.delivery.source for one in batch.steps if one.delivery])
            await commit(batch)

        def stepped(item: Input, now: datetime) -> tuple[Fact, ...]:
            if batches and late:
                loop.call_soon(life.inbox.put, late.pop())
            return step(item, now)

        rest = life.inbox.rest
        # whatever the disk is here: on a slow one two of the flood are a turn
        monkeypatch.setattr(life.inbox, "rest", lambda took, _: rest(took, sync=0.0))
        monkeypatch.setattr(life.store, "commit", committed)
        monkeypatch.setattr(life.runtime.engine, "step", stepped)
        for item in (*(sent("flood", events=20) for _ in range(4)), sent("quiet")):
            life.inbox.put(replace(item, done=told.append))
        async with asyncio.timeout(10):
            while len(told) < 6:
                await asyncio.sleep(0.001)

    with_flood = [one for one in batches if "flood" in one]
    assert len(with_flood) == 4  # each in a batch of its own, after a rest
    assert "quiet" in with_flood[0]
    assert [one for one in batches if "late" in one] == [["flood", "late"]]
    assert not wrong(tmp_path / "state")


def test_who_sends_alone_is_taken_in_large_batches() -> None:
    inbox = Inbox(1 << 20)
    for _ in range(30):
        inbox.put(sent("flood", events=10))
    inbox.put(Submission((), nobody))  # eventd's own is no neighbour

    assert [len(inbox.drain(200)), len(inbox.drain(200))] == [21, 10]

    inbox.put(sent("flood", events=1_000))
    assert len(inbox.drain(200)) == 1  # whatever is first is taken


def test_clears_and_commands_find_room_when_nothing_else_does() -> None:
    inbox = Inbox(CAP)
    everybody = fill(inbox, *(sent(f"flood {n}") for n in range(200)))

    mixed = Submission((*sent().inputs, *sent(status="cleared").inputs), nobody, sent().delivery)
    inbox.put(mixed)
    cleared = fill(inbox, sent("flood 1", "cleared"))
    with pytest.raises(Overloaded, match="the inbox is full"):
        inbox.put(sent("flood 1", "cleared"))
    commands = fill(inbox, command())
    with pytest.raises(Overloaded):
        inbox.put(command())

    assert (everybody, cleared, commands) == (56, 59, 63)
    assert inbox.bytes <= inbox.max_bytes
    inbox.put(Submission((), nobody))  # eventd's own


def test_what_a_flood_clears_is_let_in_though_the_flood_has_its_share() -> None:
    inbox = Inbox(CAP)
    fill(inbox, sent("flood"))

    inbox.put(sent("flood", "cleared"))

    assert len(inbox) == 29


def test_a_flood_over_http_does_not_stop_mqtt_nor_the_other_way_round() -> None:
    inbox = Inbox(CAP)
    fill(inbox, *(sent(f"flood {n}") for n in range(3)))

    over_http = len(inbox)
    while not inbox.crowded:
        inbox.put(published(), force=True)
    over_mqtt = len(inbox) - over_http
    inbox.put(sent("quiet"))

    assert over_http == 42
    assert over_mqtt == 12
    assert inbox.bytes <= inbox.max_bytes


def test_what_is_larger_than_all_the_room_is_let_in_where_nothing_waits() -> None:
    inbox = Inbox(CAP)
    inbox.put(sent("quiet"))

    with pytest.raises(Overloaded):
        inbox.put(sent(events=100))
    inbox.take()
    inbox.put(sent(events=100))
    with pytest.raises(Overloaded):
        inbox.put(sent("quiet"))
    inbox.take()

    assert fill(inbox, sent()) == 28


async def test_whoever_waits_for_room_is_told_when_there_is_some() -> None:
    inbox = Inbox(CAP)
    while not inbox.crowded:
        inbox.put(published(), force=True)

    inbox.take()

    await inbox.room()
    assert not inbox.crowded


def test_an_event_counts_as_much_as_it_takes_in_memory() -> None:
    inbox = Inbox(CAP)

    inbox.put(sent(events=20))
    with pytest.raises(OverShare):
        inbox.put(sent(events=20))

    assert (inbox.bytes, inbox.events) == (20 * OVERHEAD, 20)


def test_when_empty_again_all_sums_are_zero_and_when_closed_nothing_is_taken() -> None:
    inbox = Inbox(CAP)
    inbox.put(sent())
    inbox.put(published(), force=True)
    inbox.put(command())

    while inbox.take() is not None:
        pass
    inbox.close()
    with pytest.raises(Stopping):
        inbox.put(sent())

    assert (inbox.bytes, inbox.events, len(inbox)) == (0, 0, 0)
