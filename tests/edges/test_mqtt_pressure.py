"""The MQTT source where there is too much: a full inbox, floods, large and torn messages."""

from __future__ import annotations

import asyncio
import socket
import struct
from datetime import UTC, datetime

import pytest
from aiomqtt import MqttError
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from tests.broker import Mosquitto
from tests.edges.mqtt_desk import (
    COMMITTED,
    WITHIN,
    Desk,
    Wire,
    decode,
    large_is_taken_and_huge_refused,
    words,
    yard,
)

from eventd.core.model import Delivery
from eventd.inbox import Submission
from eventd.sources.mqtt import MqttSource
from eventd.sources.session import Session


class Tight(socket.socket):
    """A socket whose other end reads nothing, with this many bytes of room left."""

    room = 0

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override] # bytes will do
        if not self.room:
            raise BlockingIOError
        sent = super().send(data[: self.room], flags)
        self.room -= sent
        return sent


CAP = 320_000  # bytes of inbox: some 310 short messages
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

    assert CAP / 2 < crowded <= CAP / 2 + 1_030
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

    assert crowded <= CAP / 2 + 1_030
    assert ups == 1
    assert seen == set(sent)


async def test_nothing_is_connected_while_the_inbox_is_crowded(broker: Mosquitto) -> None:
    desk = Desk(CAP)
    kept = Delivery(transport="mqtt", received_at=datetime.now(UTC), payload=b"")
    while not desk.inbox.crowded:
        desk.inbox.put(Submission((), lambda _: None, kept), force=True)
    source = MqttSource(yard(broker.port), desk.inbox, decode, desk.meter)
    async with asyncio.TaskGroup() as group:
        group.create_task(source.run())
        await asyncio.sleep(0.1)
        while_crowded = desk.meter.ups
        await desk.take(len(desk.inbox))
        await desk.meter.until(ups=1)
        source.stop()

    assert while_crowded == 0


async def test_messages_after_the_inbox_has_closed_are_left_to_the_next_start(
    broker: Mosquitto,
) -> None:
    desk, next_desk = Desk(), Desk()
    async with desk.source(yard(broker.port)):
        desk.inbox.close()
        broker.publish("events/a", "one")
    async with next_desk.source(yard(broker.port)):
        later = await next_desk.commit(1)

    assert len(desk.inbox) == 0
    assert words(later) == ["one"]


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
    await large_is_taken_and_huge_refused(huge_broker, yard(huge_broker.port, version))


async def test_acknowledgements_that_find_no_room_wait_their_turn() -> None:
    desk, library, ours, theirs = _tight(room=8)
    session = _session(desk, library)
    with ours, theirs:
        session.attach(ours)
        theirs.sendall(b"".join(_publish(mid) for mid in range(1, 6)))
        await desk.commit(5)
        await asyncio.sleep(0.05)
        meanwhile = session._owed
        ours.room = 100
        theirs.sendall(_publish(6))
        await desk.commit(1)
        await session.settled()
        sent = theirs.recv(100)
        session.end()
        asyncio.get_running_loop().remove_reader(ours.fileno())

    assert sent == b"".join(b"\x40\x02\x00" + bytes([mid]) for mid in range(1, 7))
    assert meanwhile == 3


async def test_a_connection_that_takes_half_an_acknowledgement_is_given_up() -> None:
    desk, library, ours, theirs = _tight(room=6)
    session = _session(desk, library)
    with ours, theirs:
        session.attach(ours)
        theirs.sendall(_publish(1) + _publish(2))
        await desk.commit(2)
        with pytest.raises(MqttError, match="torn"):
            await session.watch()

    assert not library.want_write()


@pytest.mark.loops
async def test_a_connection_that_is_reset_with_more_to_read_is_given_up_at_once() -> None:
    desk, library, ours, theirs = _connected()
    session = _session(desk, library)
    with ours:
        theirs.sendall(b"".join(_publish(mid) for mid in range(200)) * 100)  # three reads
        _reset(theirs)
        session.attach(ours)
        async with asyncio.timeout(WITHIN):
            with pytest.raises(MqttError, match="reset"):
                await session.watch()

    assert len(desk.inbox) > 0


@pytest.mark.loops
async def test_an_acknowledgement_that_meets_a_reset_connection_gives_it_up() -> None:
    desk, library, ours, theirs = _connected()
    session = _session(desk, library)
    with ours:
        session.attach(ours)
        theirs.sendall(_publish(1))
        [item] = await desk.take(1)
        asyncio.get_running_loop().remove_reader(ours.fileno())  # as while the inbox is crowded
        _reset(theirs)
        item.done(COMMITTED)
        async with asyncio.timeout(WITHIN):
            with pytest.raises(MqttError, match="cut off"):
                await session.watch()


@pytest.mark.loops
async def test_a_wish_to_write_to_a_socket_that_failed_or_closed_is_no_error() -> None:
    loop, wrong = asyncio.get_running_loop(), list[dict[str, object]]()
    loop.set_exception_handler(lambda _loop, context: wrong.append(context))
    _, library, ours, theirs = _connected()
    session = _session(Desk(), library)
    failed = asyncio.Event()
    loop.add_reader(ours.fileno(), failed.set)
    _reset(theirs)
    await failed.wait()

    loop.call_soon(session.want_write, ours)
    await asyncio.sleep(0.01)
    loop.remove_writer(ours.fileno())
    loop.remove_reader(ours.fileno())
    ours.close()
    loop.call_soon(session.want_write, ours)
    await asyncio.sleep(0.01)

    assert not wrong


async def test_a_connection_that_comes_too_late_is_not_read() -> None:
    desk, library, ours, theirs = _tight(room=0)
    session = _session(desk, library)
    with ours, theirs:
        session.end()
        session.attach(ours)
        read = asyncio.get_running_loop().remove_reader(ours.fileno())

    assert not read


async def test_a_closed_inbox_ends_the_taking() -> None:
    desk, library, ours, theirs = _tight(room=0)
    session = _session(desk, library)
    desk.inbox.close()
    with ours, theirs:
        theirs.sendall(_publish(1))
        session.attach(ours)
        await asyncio.sleep(0.01)
        await session.settled()
        session.end()
        asyncio.get_running_loop().remove_reader(ours.fileno())

    assert len(desk.inbox) == 0


def _tight(room: int) -> tuple[Desk, Client, Tight, socket.socket]:
    here, theirs = socket.socketpair()
    ours = Tight(fileno=here.detach())
    ours.setblocking(False)
    ours.room = room
    library = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    library.manual_ack_set(on=True)
    return Desk(), library, ours, theirs


def _connected() -> tuple[Desk, Client, socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    ours.setblocking(False)
    library = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    library.manual_ack_set(on=True)
    return Desk(), library, ours, theirs


def _reset(sock: socket.socket) -> None:
    """Close it so that the other end is told of an error, not of an end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _session(desk: Desk, library: Client) -> Session:
    delivery = Delivery(transport="mqtt", received_at=datetime(2026, 1, 1, tzinfo=UTC), payload=b"")
    return Session(library, desk.inbox, lambda _publish, _at: (delivery, ()), lambda: None)


def _publish(mid: int) -> bytes:
    return b"\x32\x06\x00\x01a\x00" + bytes([mid]) + b"\x00"
