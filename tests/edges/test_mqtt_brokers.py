"""The MQTT source and brokers that ask for credentials, remember too much, or misbehave."""

from __future__ import annotations

import asyncio
import gc
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from structlog.testing import capture_logs
from tests.acceptance.daemon import free_port
from tests.broker import Mosquitto
from tests.certificates import certificate
from tests.edges.mqtt_desk import COMMITTED, PLANT, WITHIN, Desk, decode, words, yard
from tests.edges.test_mqtt_frames import varint

from eventd.core.model import Refused, SourcePolicy
from eventd.sources.mqtt import MqttSource, Topics, _library_of

WELCOME = {4: b"\x20\x02\x00\x00", 5: b"\x20\x03\x00\x00\x00"}  # CONNACK
both_versions = pytest.mark.parametrize("version", [5, 4], ids=["v5", "v3.1.1"])


class Server:
    """Whatever a broker may do wrong: answers the first packet with bytes, the next with others.

    An answer may come in pieces, so many seconds apart.
    """

    def __init__(self, *answers: bytes | tuple[bytes, ...], pause: float = 0.03) -> None:
        self._answers, self._pause = answers, pause
        self.calls = asyncio.Semaphore(0)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """On the port given."""
        async with asyncio.TaskGroup() as group:
            server = await asyncio.start_server(
                lambda reader, writer: group.create_task(self._serve(reader, writer)),
                "127.0.0.1",
                0,
            )
            async with server:
                yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls.release()
        with suppress(ConnectionError):
            for answer in self._answers:
                await reader.read(1000)
                for piece in answer if isinstance(answer, tuple) else (answer,):
                    writer.write(piece)
                    await asyncio.sleep(self._pause)
            await reader.read()
        writer.transport.abort()


@pytest.mark.loops
@both_versions
async def test_over_tls_messages_are_bounded_complete_and_acknowledged(
    tmp_path: Path, version: int
) -> None:
    cert, key = certificate(tmp_path)
    port = free_port()
    lines = (f"listener {port} 127.0.0.1", f"certfile {cert}", f"keyfile {key}")
    desk = Desk(100_000)
    sent = [f"{n} " + "x" * (n % 7 * 1000) for n in range(300)]
    safe = yard(port, version, tls=True, ca_file=str(cert))
    with Mosquitto(tmp_path, *lines, durable=False).running() as broker:
        async with desk.source(safe):
            await asyncio.to_thread(broker.publish, "events/a", *sent)
            crowded = desk.inbox.bytes
            taken = [item for _ in range(60) for item in await desk.commit(5)]
        async with desk.source(safe):
            broker.publish("events/a", "marker")
            after = await desk.commit(1)

    assert 50_000 < crowded <= 50_000 + 6300
    assert words(taken) == sent
    assert words(after) == ["marker"]


# paho leaves the socket of a handshake that failed to the garbage collector
@pytest.mark.filterwarnings("ignore:Exception ignored in.*TlsSocket")
async def test_a_broker_with_an_unknown_certificate_is_not_trusted(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    port = free_port()
    lines = (f"listener {port} 127.0.0.1", f"certfile {cert}", f"keyfile {key}")
    desk = Desk()
    with Mosquitto(tmp_path, *lines, durable=False).running():
        unknown = MqttSource(yard(port, tls=True), desk.inbox, decode, desk.meter)
        logs = await _two_tries(desk, unknown)
        absent = yard(port, tls=True, ca_file="/absent.pem")
        logs += await _two_tries(desk, MqttSource(absent, desk.inbox, decode, desk.meter))
    gc.collect()

    assert "certificate verify failed" in logs[0]
    assert logs[2] == "/absent.pem: no certificates to trust: No such file or directory"
    assert desk.meter.ups == 0


async def test_credentials_are_sent_and_a_refused_login_is_tried_again(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "eventd", "right"], check=True)
    lines = ("allow_anonymous false", f"password_file {passwords}")
    desk = Desk()
    with Mosquitto(tmp_path, *lines, durable=False).running() as broker:
        wrong = yard(broker.port, username="eventd", password="wrong")
        logs = await _two_tries(desk, MqttSource(wrong, desk.inbox, decode, desk.meter))
        refused = desk.meter.ups
        async with desk.source(yard(broker.port, username="eventd", password="right")):
            accepted = desk.meter.ups

    assert "Not authorized" in logs[0]
    assert (refused, accepted) == (0, 1)
    assert "wrong" not in repr(wrong)


@both_versions
async def test_a_filter_that_is_configured_no_more_is_refused_by_name_also_at_qos_2(
    broker: Mosquitto, version: int
) -> None:
    await _subscribed(broker.port, version)
    broker.publish("old/a", "one", "two", qos=2)
    broker.publish("old/a", "three", qos=1)
    desk = Desk()
    async with desk.source(yard(broker.port, version)):
        taken = await desk.commit(3)
    async with desk.source(yard(broker.port, version)):
        broker.publish("events/a", "marker")
        after = await desk.commit(1)

    why = "no filter of yard matches the topic 'old/a'"
    assert [item.inputs for item in taken] == [(Refused("yard", "unknown_source", why),)] * 3
    assert sorted(words(taken)) == ["one", "three", "two"]
    assert words(after) == ["marker"]


@both_versions
async def test_qos_2_is_acknowledged_after_the_commit_and_fills_no_window(
    broker: Mosquitto, version: int
) -> None:
    """More than a broker sends at once, a second time without those that were committed."""
    await _subscribed(broker.port, version)
    sent = [str(n) for n in range(100)]
    broker.publish("old/a", *sent, qos=2)
    desk = Desk()
    async with desk.doomed_source(yard(broker.port, version)):
        first = await desk.take(3)
        first[0].done(COMMITTED)
        await asyncio.sleep(0)  # the acknowledgements of a turn leave together at its end
    await desk.take(len(desk.inbox))
    async with desk.source(yard(broker.port, version)):
        again = [item for _ in sent[1:] for item in await desk.commit(1)]
    async with desk.source(yard(broker.port, version)):
        broker.publish("old/a", "marker", qos=2)
        after = await desk.commit(1)

    assert words(first) == sent[:3]
    assert words(again) == sent[1:]
    assert words(after) == ["marker"]


async def test_the_loss_of_a_connection_names_what_may_be_behind_it(broker: Mosquitto) -> None:
    first, second = Desk(), Desk()
    with capture_logs() as logs:
        async with first.source(yard(broker.port)), second.source(yard(broker.port)):
            await first.meter.until(downs=1)

    [why] = {x["why"] for x in logs if x["event"] == "mqtt.lost"}
    assert why == "cut off: broker or network, or another 'eventd' came"


@pytest.mark.parametrize(
    ("code", "told", "filters"),
    [(b"\x80", ["refused"], 0), (b"\x00", ["cut"], 1), (b"\x01", [], 1)],
    ids=["refused", "qos0", "granted"],
)
@both_versions
async def test_a_filter_that_is_not_granted_as_asked_for_is_told_and_ends_no_connection(
    version: int, code: bytes, told: list[str], filters: int
) -> None:
    rest = b"\x00\x01" + (b"\x00" if version == 5 else b"") + code
    desk, serve = Desk(), Server(WELCOME[version], b"\x90" + bytes([len(rest)]) + rest)
    with capture_logs() as logs:
        async with serve.listening() as port, desk.source(yard(port, version, will_topic="")):
            pass

    found = [(x["event"], x["filter"]) for x in logs if "subscription" in x["event"]]
    assert found == [(f"mqtt.subscription_{what}", "events/#") for what in told]
    assert [x["filters"] for x in logs if x["event"] == "mqtt.connected"] == [filters]


@pytest.mark.parametrize(("given", "told"), [(7_200, 1), (604_800, 0)], ids=["less", "all"])
async def test_a_session_that_is_kept_for_less_than_asked_is_told(given: int, told: int) -> None:
    welcome = b"\x20\x08\x00\x00\x05\x11" + given.to_bytes(4)
    desk, serve = Desk(), Server(welcome, b"\x90\x04\x00\x01\x00\x01")
    with capture_logs() as logs:
        async with serve.listening() as port, desk.source(yard(port, will_topic="")):
            pass

    found = [(x["asked"], x["given"]) for x in logs if x["event"] == "mqtt.session_cut"]
    assert found == [(604_800, given)] * told


async def test_a_subscription_that_is_not_answered_is_told_and_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eventd.sources.mqtt.ANSWER_WITHIN", 0.05)
    desk, serve = Desk(), Server(WELCOME[4], (b"", b"\x90\x03\x00\x01\x01"), pause=0.2)
    with capture_logs() as logs:
        async with serve.listening() as port, desk.source(yard(port, 4, will_topic="")):
            pass

    assert [x["event"] for x in logs] == ["mqtt.subscription_unanswered", "mqtt.connected"]


async def test_a_message_without_a_topic_is_counted_where_eventd_has_none_either() -> None:
    desk = Desk()
    serve = Server(WELCOME[4], b"\x90\x03\x00\x01\x01\x30\x03\x00\x00X")
    async with serve.listening() as port, desk.source(yard(port, 4, will_topic="")):
        (taken,) = await desk.commit(1)

    why = "no filter of yard matches the topic ''"
    assert taken.inputs == (Refused("yard", "unknown_source", why),)


@pytest.mark.parametrize("codes", [b"", b"\x01\x01"], ids=["none", "two"])
@both_versions
async def test_answers_to_other_filters_than_were_asked_for_end_the_connection_alone(
    version: int, codes: bytes
) -> None:
    rest = b"\x00\x01" + (b"\x00" if version == 5 else b"") + codes
    serve, desk = Server(WELCOME[version], b"\x90" + bytes([len(rest)]) + rest), Desk()
    with capture_logs() as logs:
        async with serve.listening() as port, asyncio.timeout(WITHIN), asyncio.TaskGroup() as group:
            source = MqttSource(yard(port, version, will_topic=""), desk.inbox, decode, desk.meter)
            group.create_task(source.run())
            await serve.calls.acquire()
            await serve.calls.acquire()
            source.stop()

    (why, *_) = (line["why"] for line in logs if line["event"] == "mqtt.lost")
    assert why == f"{len(codes)} answers to 1 filters"


@pytest.mark.parametrize(
    "wrong",
    [{"host": "broker..example.com"}, {"host": ""}, {"keepalive": 8_553_600}],
    ids=["label", "empty", "keepalive"],
)
async def test_what_the_library_refuses_is_told_and_ends_nothing_else(
    wrong: dict[str, object],
) -> None:
    desk = Desk()
    with capture_logs() as logs:
        async with asyncio.timeout(WITHIN), asyncio.TaskGroup() as group:
            source = MqttSource(yard(1, 5, **wrong), desk.inbox, decode, desk.meter)
            running = group.create_task(source.run())
            while len(logs) < 2:
                await asyncio.sleep(0.01)
            assert not running.done()
            source.stop()

    assert [line["event"] for line in logs][:2] == ["mqtt.lost"] * 2


async def test_a_broker_that_sends_is_not_given_up_though_it_answers_no_ping() -> None:
    """Busy with what came before, as mosquitto is that saves with every message."""
    desk, messages = Desk(), 20
    busy = (b"\x32\x06\x00\x01a\x00%cX" % (n + 1) for n in range(messages))
    serve = Server(WELCOME[4], (b"\x90\x03\x00\x01\x01", *busy), pause=0.2)
    async with (
        serve.listening() as port,
        desk.source(yard(port, 4, will_topic="", topics=(("a", PLANT),), keepalive=1)),
    ):
        taken = await desk.commit(messages)  # in four times as long as it may be silent
        await serve.calls.acquire()

    assert words(taken) == ["X"] * messages
    assert serve.calls.locked()  # there was one connection


async def test_a_broker_is_not_given_up_for_a_message_that_takes_long_to_come() -> None:
    desk, size, pieces = Desk(), 100_000, 20
    packet = b"\x32" + varint(size) + b"\x00\x01a\x00\x01" + b"X" * (size - 5)
    slow = (packet[at : at + size // pieces] for at in range(0, len(packet), size // pieces))
    serve = Server(WELCOME[4], (b"\x90\x03\x00\x01\x01", *slow), pause=0.2)
    async with (
        serve.listening() as port,
        desk.source(yard(port, 4, will_topic="", topics=(("a", PLANT),), keepalive=1)),
    ):
        taken = await desk.commit(1)  # in four times as long as it may be silent
        await serve.calls.acquire()

    assert words(taken) == ["X" * (size - 5)]
    assert serve.calls.locked()  # there was one connection


async def test_a_control_packet_in_two_pieces_is_left_until_it_is_whole() -> None:
    desk = Desk()
    suback = b"\x90\x03\x00\x01\x01"
    serve = Server(
        (WELCOME[4][:1], WELCOME[4][1:]), (suback[:3], suback[3:] + b"\x30\x04\x00\x01aX")
    )
    async with (
        serve.listening() as port,
        desk.source(yard(port, 4, will_topic="", topics=(("a", PLANT),))),
    ):
        taken = await desk.commit(1)

    assert words(taken) == ["X"]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x32\x02\x00\x09",  # a PUBLISH shorter than its topic
        b"\x30\x00",  # than its topic's length
        b"\x30\x00\x30",
        b"\x32\x80\x00",
        b"\x30\xff\xff\xff\xff\xff",  # a length of five bytes
        b"\xd0\xff\xff\xff\xff\xff",
        b"\x90\x80\x80\x08" + bytes(66_000),  # a control packet of 128 kB
    ],
    ids=["short", "none", "none-and-more", "none-at-length", "long", "control", "large"],
)
async def test_bytes_that_are_no_mqtt_end_the_connection_and_it_is_made_anew(
    nonsense: bytes,
) -> None:
    serve, desk = Server(WELCOME[4] + nonsense), Desk()
    async with serve.listening() as port, asyncio.timeout(WITHIN), asyncio.TaskGroup() as group:
        source = MqttSource(yard(port, 4), desk.inbox, decode, desk.meter)
        group.create_task(source.run())
        await serve.calls.acquire()
        await serve.calls.acquire()
        source.stop()

    assert len(desk.inbox) == 0


def test_an_aiomqtt_without_its_paho_client_is_not_used() -> None:
    with pytest.raises(TypeError, match="acknowledgement is unsafe"):
        _library_of(object())  # type: ignore[arg-type] # a release to come


def test_the_first_filter_that_matches_a_topic_gives_it_its_policy() -> None:
    names = ("$share/g/a/+", "a/#", "#", "$SYS/#")
    policies = {name: SourcePolicy(name=name, decoder="text") for name in names}
    topics = Topics(tuple(policies.items()), PLANT)

    found = [topics.policy(topic).name for topic in ("a/b", "a/b/c", "b", "$SYS/x", "a/b", "$x/y")]

    assert found == ["$share/g/a/+", "a/#", "#", "$SYS/#", "$share/g/a/+", "plant"]


def test_a_topic_that_is_very_long_is_not_remembered() -> None:
    topics = Topics((("a/#", PLANT),), SourcePolicy(name="stray", decoder=""))

    assert [topics.policy("a/" + "x" * size).name for size in (9, 600)] == ["plant"] * 2
    assert [len(topic) for topic in topics._known] == [11]


@pytest.mark.parametrize("name", ["", "a/#/b", "a+", "$share/g", "$share/g/"])
def test_a_wrong_filter_is_refused_before_anything_is_connected(name: str) -> None:
    with pytest.raises(ValueError, match="Invalid wildcard"):
        Topics(((name, PLANT),), PLANT)


async def _two_tries(desk: Desk, source: MqttSource) -> list[str]:
    """Why each of the first two connections failed."""
    with capture_logs() as logs:
        async with asyncio.timeout(WITHIN), asyncio.TaskGroup() as group:
            group.create_task(source.run())
            while sum(x["event"] == "mqtt.lost" for x in logs) < 2:
                await asyncio.sleep(0.01)
            source.stop()
    return [x["why"] for x in logs if x["event"] == "mqtt.lost"]


async def _subscribed(port: int, version: int) -> None:
    """Leave the session a filter at QoS 2 that no configuration knows any more."""
    properties = None
    if version == 5:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho's
        properties.SessionExpiryInterval = 1000
    async with aiomqtt.Client(
        "127.0.0.1",
        port,
        identifier="eventd",
        protocol=aiomqtt.ProtocolVersion(version),
        properties=properties,
        clean_session=None if version == 5 else False,
    ) as before:
        await before.subscribe("old/#", 2)
