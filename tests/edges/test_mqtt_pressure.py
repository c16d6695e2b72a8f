"""The MQTT source where there is too much: a full inbox, floods, large and torn messages."""

from __future__ import annotations

import asyncio

import pytest
from tests.broker import Mosquitto
from tests.edges.mqtt_desk import Desk, Wire, words, yard

from eventd.core.model import Refused

CAP = 100_000  # bytes of inbox: some 380 short messages
both_versions = pytest.mark.parametrize("version", [5, 4], ids=["v5", "v3.1.1"])


@pytest.mark.loops
@both_versions
async def test_a_stalled_runtime_bounds_the_inbox_and_loses_nothing(
    broker: Mosquitto, version: int
) -> None:
    desk = Desk(CAP)
    sent = [str(n) for n in range(3000)]
    async with desk.source(yard(broker.port, version)):
        await asyncio.to_thread(broker.publish, "events/a", *sent)
        crowded = desk.inbox.bytes
        taken = [item for _ in range(30) for item in await desk.commit(100)]

    assert CAP / 2 < crowded <= CAP / 2 + 260
    assert words(taken) == sent
    assert desk.meter.downs == 1  # by the stop


@pytest.mark.loops
async def test_a_runtime_stalled_for_longer_than_the_keepalive_is_left_alone_for_a_while(
    broker: Mosquitto,
) -> None:
    desk = Desk(CAP)
    sent = [str(n) for n in range(1000)]
    async with desk.source(yard(broker.port, keepalive=1)):
        await asyncio.to_thread(broker.publish, "events/a", *sent)
        await desk.meter.until(downs=1)
        crowded, ups = desk.inbox.bytes, desk.meter.ups
        stale = await desk.commit(len(desk.inbox))
        seen = set(words(stale))
        while not seen.issuperset(sent):
            seen.update(words(await desk.commit(1)))

    assert crowded <= CAP / 2 + 260
    assert ups == 1
    assert seen == set(sent)


async def test_qos_0_takes_half_the_inbox_and_the_rest_is_counted(broker: Mosquitto) -> None:
    desk = Desk(CAP)
    async with desk.source(yard(broker.port)):
        await asyncio.to_thread(broker.publish, "events/a", *["x" * 100] * 500, qos=0)
        await desk.meter.until(drops=1)
        held = len(desk.inbox)
        await desk.meter.until(drops=500 - held)
        await desk.commit(held)
        broker.publish("events/a", "after")
        after = await desk.commit(1)

    assert 130 < held < 150
    assert desk.meter.drops == 500 - held
    assert words(after) == ["after"]


@pytest.mark.loops
@both_versions
@pytest.mark.parametrize("drip", [1, 3, 1000])
async def test_messages_come_whole_however_the_bytes_come(
    broker: Mosquitto, version: int, drip: int
) -> None:
    desk, wire = Desk(), Wire(broker.port, drip=drip)
    sent = ["one", "x" * 200, "y" * 20_000, "two"]
    async with wire.laid(), desk.source(yard(wire.port, version)):
        broker.publish("events/a", *sent)
        taken = await desk.commit(4)
    async with desk.source(yard(broker.port, version)):
        broker.publish("events/a", "marker")
        after = await desk.commit(1)

    assert words(taken) == sent
    assert words(after) == ["marker"]


@both_versions
async def test_a_message_larger_than_one_read_is_taken_and_a_huge_one_refused(
    huge_broker: Mosquitto, version: int
) -> None:
    broker, desk = huge_broker, Desk()
    large, huge = "x" * 300_000, "y" * 9_000_000
    async with desk.source(yard(broker.port, version)):
        await asyncio.to_thread(broker.publish, "events/a", large, huge, "small")
        taken = await desk.commit(3)
    async with desk.source(yard(broker.port, version)):
        broker.publish("events/a", "marker")
        after = await desk.commit(1)

    assert words(taken) == [large, "", "small"]
    assert taken[1].inputs == (
        Refused("plant", "too_large", "expected a payload of at most 8 MiB"),
    )
    assert words(after) == ["marker"]
