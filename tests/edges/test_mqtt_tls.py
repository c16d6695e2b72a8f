"""The MQTT source over TLS takes, refuses and acknowledges as over a plain connection."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.acceptance.daemon import free_port
from tests.broker import Mosquitto
from tests.certificates import certificate
from tests.edges.mqtt_desk import (
    WITHIN,
    Desk,
    Wire,
    large_is_taken_and_huge_refused,
    words,
    yard,
)

from eventd.core.model import Delivery, Input
from eventd.sources.frames import Publish
from eventd.sources.mqtt import Broker
from eventd.sources.session import Session
from eventd.sources.tls import TlsSocket

both_versions = pytest.mark.parametrize("version", [5, 4], ids=["v5", "v3.1.1"])
Safe = tuple[Mosquitto, Broker]


@pytest.fixture
def safe(tmp_path: Path) -> Iterator[Safe]:
    """A mosquitto that lets through what eventd does not take, and how to reach it over TLS."""
    cert, key = certificate(tmp_path)
    port = free_port()
    lines = ("message_size_limit 0", f"listener {port} 127.0.0.1", f"certfile {cert}")
    with Mosquitto(tmp_path, *lines, f"keyfile {key}", durable=False).running() as broker:
        yield broker, yard(port, tls=True, ca_file=str(cert))


async def test_text_that_begins_with_a_byte_order_mark_does_not_hold_up_what_is_behind_it(
    safe: Safe,
) -> None:
    """Legal in MQTT 5, 1.5.4; the client library ends a connection over it, each time."""
    broker, reached = safe
    desk = Desk()
    async with desk.source(reached):
        broker.publish("events/a", "one")
        _publish_odd(broker.port, "two")
        broker.publish("events/a", "three")
        taken = await desk.commit(3)
    async with desk.source(reached):
        broker.publish("events/a", "marker")
        after = await desk.commit(1)

    assert words(taken) == ["one", "two", "three"]
    delivery = taken[1].delivery
    assert delivery is not None
    assert delivery.properties == {"site": "\ufeffplant", "content-type": "\ufefftext"}
    assert words(after) == ["marker"]


@both_versions
async def test_a_large_message_is_taken_and_a_huge_one_refused(safe: Safe, version: int) -> None:
    broker, reached = safe
    await large_is_taken_and_huge_refused(broker, replace(reached, version=version))


async def test_of_a_packet_over_the_limit_little_is_held(keys: tuple[Path, Path]) -> None:
    ours, theirs = await asyncio.to_thread(_pair, *keys)
    library = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    desk, kept = Desk(), list[Publish]()
    delivery = Delivery(transport="mqtt", received_at=datetime(2026, 1, 1, tzinfo=UTC), payload=b"")

    def admit(publish: Publish, _at: datetime) -> tuple[Delivery, tuple[Input, ...]]:
        kept.append(publish)
        return delivery, ()

    session = Session(library, desk.inbox, admit, lambda: None)
    huge = b"\x30\x80\x80\x80\x0c\x00\x01a" + bytes((24 << 20) - 3)
    with ours, theirs:
        tracemalloc.start()
        session.attach(ours)
        await asyncio.to_thread(theirs.sendall, huge)
        await desk.take(1)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        session.end()
        asyncio.get_running_loop().remove_reader(ours.fileno())

    assert [(one.topic, one.payload, one.too_large) for one in kept] == [("a", b"", True)]
    assert peak < 1 << 20


@pytest.mark.loops
async def test_what_is_behind_a_control_packet_is_taken_at_once(keys: tuple[Path, Path]) -> None:
    """The rest of one record of TLS; the control packet releases a message at QoS 2."""
    ours, theirs = await asyncio.to_thread(_pair, *keys)
    library = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, manual_ack=True)
    library._sock = ours
    desk = Desk()
    delivery = Delivery(transport="mqtt", received_at=datetime(2026, 1, 1, tzinfo=UTC), payload=b"")
    session = Session(library, desk.inbox, lambda _publish, _at: (delivery, ()), lambda: None)
    with ours, theirs:
        session.attach(ours)
        theirs.sendall(b"\x34\x06\x00\x01a\x00\x07\x00")
        await desk.commit(1)
        received = await asyncio.to_thread(theirs.recv, 100)
        theirs.sendall(b"\x62\x02\x00\x07" + b"\x32\x06\x00\x01a\x00\x08\x00")
        completed = await asyncio.to_thread(theirs.recv, 100)
        await desk.commit(1)
        acknowledged = await asyncio.to_thread(theirs.recv, 100)
        session.end()
        asyncio.get_running_loop().remove_reader(ours.fileno())

    answers = [b"\x50\x02\x00\x07", b"\x70\x02\x00\x07", b"\x40\x02\x00\x08"]
    assert [received, completed, acknowledged] == answers


@pytest.mark.loops
@pytest.mark.parametrize("drip", [3, 1000])
async def test_messages_come_whole_however_the_bytes_of_tls_come(safe: Safe, drip: int) -> None:
    broker, reached = safe
    desk, wire = Desk(), Wire(reached.port, drip=drip)
    sent = ["one", "x" * 200, "y" * 20_000, "two"]
    async with wire.laid():
        async with desk.doomed_source(replace(reached, port=wire.port)):
            broker.publish("events/a", *sent)
            taken = await desk.take(4)
        async with desk.source(replace(reached, port=wire.port)):  # all at once now
            again = await desk.commit(4)
    async with desk.source(reached):
        broker.publish("events/a", "marker")
        after = await desk.commit(1)

    assert words(taken) == words(again) == sent
    assert words(after) == ["marker"]


@pytest.mark.loops
async def test_a_tls_connection_that_is_garbled_is_made_anew(safe: Safe) -> None:
    broker, reached = safe
    desk, wire = Desk(), Wire(reached.port)
    async with wire.laid(), desk.source(replace(reached, port=wire.port)):
        wire.garble(b"\x17\x03\x03\x00\x20" + b"nonsense" * 4)
        await desk.meter.until(downs=1, ups=2)
        broker.publish("events/a", "marker")
        after = await desk.commit(1)

    assert words(after) == ["marker"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.binary(min_size=1, max_size=40_000),
    st.lists(st.tuples(st.integers(1, 20_000), st.booleans()), max_size=12),
)
def test_what_was_peeked_at_is_what_is_read(
    keys: tuple[Path, Path], data: bytes, steps: list[tuple[int, bool]]
) -> None:
    got = b""
    ours, theirs = _pair(*keys)
    with ours, theirs:
        theirs.sendall(data)
        for size, peek in steps:
            if len(got) < len(data):
                found = ours.recv(size, socket.MSG_PEEK if peek else 0)
                assert 0 < len(found) <= size
                assert data.startswith(found, len(got))
                got += b"" if peek else found
        while len(got) < len(data):
            got += ours.recv(len(data))
        with pytest.raises(BlockingIOError):
            ours.recv(1, socket.MSG_PEEK)

    assert got == data


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate, and its key."""
    return certificate(tmp_path_factory.mktemp("keys"))


def _pair(cert: Path, key: Path) -> tuple[TlsSocket, ssl.SSLSocket]:
    """Ours, which does not block, and the other end."""
    client, server = (
        ssl.create_default_context(cafile=cert),
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
    )
    client.sslsocket_class = TlsSocket
    server.load_cert_chain(cert, key)
    here, there = socket.socketpair()
    there.settimeout(WITHIN)
    theirs = server.wrap_socket(there, server_side=True, do_handshake_on_connect=False)
    with ThreadPoolExecutor(1) as pool:
        shaken = pool.submit(theirs.do_handshake)
        ours = client.wrap_socket(here, server_hostname="127.0.0.1")
        shaken.result()
    ours.setblocking(False)
    assert isinstance(ours, TlsSocket)
    return ours, theirs


def _publish_odd(port: int, payload: str) -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho's
    properties.UserProperty = ("site", "\ufeffplant")
    properties.ContentType = "\ufefftext"
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.publish("events/a", payload, 1, properties=properties).wait_for_publish(WITHIN)
    client.disconnect()
    client.loop_stop()
