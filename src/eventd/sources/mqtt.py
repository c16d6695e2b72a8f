"""The MQTT source: one broker's persistent session, kept up for as long as the daemon runs."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol

import structlog
from aiomqtt import Client, MqttCodeError, MqttError, ProtocolVersion, Wildcard, Will
from msgspec import Struct
from msgspec.structs import replace
from paho.mqtt import client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from eventd.clock import monotonic
from eventd.core.model import Delivery, Input, Refused, SourcePolicy
from eventd.errors import DecodeError
from eventd.inbox import Inbox
from eventd.sources.decoded import MAX_UNREADABLE, Decoded
from eventd.sources.frames import Publish
from eventd.sources.session import Session
from eventd.sources.terms import granted, heed_expiry
from eventd.sources.tls import TlsSocket

MAX_PAYLOAD = 8 * 1024 * 1024  # RELIABILITY §6, as an HTTP body
RETRY_FIRST = 1.0  # s; the longest first wait, doubled with each failure
RETRY_MAX = 30.0  # s; also how long a connection must last to be called a success
STAY_AWAY = 1.0  # s at least after a connection was given up for want of room
STOP_WITHIN = 5.0  # s for the acknowledgements of what was taken before a stop
GOODBYE_WITHIN = 2.0  # s for the broker to read them
ANSWER_WITHIN = 60.0  # s for a subscription, until it is told: a backlog may come before it
MAX_TOPICS = 10_000  # remembered with their policy; beyond, all are looked up anew
MAX_TOPIC = 512  # characters of one that is remembered
_ONLINE, _OFFLINE = b"online", b"offline"

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

Decode = Callable[[Delivery], Decoded]


class Broker(Struct, frozen=True, kw_only=True):
    """Where and how to connect, and what to subscribe to."""

    name: str
    host: str
    port: int = 1883
    version: int = 5  # of MQTT: 5, or 4 for 3.1.1
    client_id: str
    username: str = ""
    password: str = ""
    tls: bool = False
    ca_file: str = ""  # "" = the system's
    keepalive: int = 60  # s; a silent broker is given up within 1.5 times this
    session_expiry: int = 7 * 86_400  # s the broker keeps messages while we are away
    topics: tuple[tuple[str, SourcePolicy], ...]  # filter, `$share/group/filter` too; first wins
    will_topic: str = ""  # retained "online" or "offline"; "" = none

    def __repr__(self) -> str:
        """Without the password."""
        return f"Broker(name={self.name!r}, host={self.host!r}, port={self.port})"


class Meter(Protocol):
    """What is counted of a broker."""

    def connection(self, broker: str, *, up: bool) -> None:
        """A connection came up, or the one that was up went down."""
        ...

    def dropped(self, broker: str) -> None:
        """A QoS 0 message found no room and is gone."""
        ...


class Topics:
    """Under which policy a topic falls: that of the first filter that matches."""

    def __init__(self, filters: tuple[tuple[str, SourcePolicy], ...], stray: SourcePolicy) -> None:
        """`stray` is for topics that no filter matches. Raise ValueError for a wrong filter."""
        self._filters = [(_unshared(name), policy) for name, policy in filters]
        self._stray = stray
        self._known: dict[str, SourcePolicy] = {}

    def policy(self, topic: str) -> SourcePolicy:
        """Find it, in a table if the topic has been seen lately."""
        known = self._known.get(topic)
        if known is None:
            known = self._find(topic)
            if len(topic) <= MAX_TOPIC:
                if len(self._known) >= MAX_TOPICS:
                    self._known.clear()
                self._known[topic] = known
        return known

    def _find(self, topic: str) -> SourcePolicy:
        for name, policy in self._filters:
            if paho.topic_matches_sub(name, topic):
                return policy
        return self._stray


class MqttSource:
    """Messages of one broker, submitted and acknowledged after their commit.

    Whatever happens to the connection, `run` comes back to it: after a jittered exponential wait
    that starts anew once a connection has lasted, and not while the inbox is crowded.
    """

    def __init__(self, broker: Broker, inbox: Inbox, decode: Decode, meter: Meter) -> None:
        """`decode` raises DecodeError where a message cannot be read, and nothing else."""
        self.connected = False
        self._broker, self._inbox, self._decode, self._meter = broker, inbox, decode, meter
        self._stray = SourcePolicy(name=broker.name, decoder="")
        self._topics = Topics(broker.topics, self._stray)
        self._stopping = asyncio.Event()

    def renew(self, password: str) -> None:
        """Use another one from the next connection on."""
        self._broker = replace(self._broker, password=password)

    async def run(self) -> None:
        """Receive until `stop`."""
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(self._keep_connected(), name=f"mqtt-{self._broker.name}")
            await self._stopping.wait()
            if not self.connected:
                keeper.cancel()

    def stop(self) -> None:
        """Take nothing more, acknowledge what was taken, say goodbye; then `run` returns.

        The session stays: the broker keeps what comes meanwhile.
        """
        self._stopping.set()

    async def _keep_connected(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            if self._inbox.crowded:
                await self._rest(STAY_AWAY)
                continue
            since = monotonic()
            why = await self._outlive_connection()
            _heed_cancellation()
            if self._stopping.is_set():
                break
            failures = 0 if monotonic() - since > RETRY_MAX else min(failures + 1, 10)
            delay = random.uniform(0.0, min(RETRY_MAX, RETRY_FIRST * 2 ** (failures - 1)))
            _log.warning("mqtt.lost", broker=self._broker.name, why=why, retry_in=round(delay, 2))
            await self._rest(delay)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _outlive_connection(self) -> str:
        """Why it ended."""
        why: BaseException | None = None
        try:
            await self._connection()
        except* (MqttError, ValueError, OSError, struct.error) as group:
            why = group
        while isinstance(why, BaseExceptionGroup):
            why = why.exceptions[0]
        if why is None:
            return ""
        cause = why.__cause__ or why  # aiomqtt puts what it means before what happened
        if isinstance(cause, MqttCodeError) and isinstance(cause.rc, ReasonCode):
            if cause.rc.getName() == "Unspecified error":  # paho's word for a closed socket
                return f"cut off: broker or network, or another {self._broker.client_id!r} came"
            return cause.rc.getName()
        return str(cause)

    async def _connection(self) -> None:
        client = self._client()
        library = _library_of(client)
        session = Session(
            library, self._inbox, self._admit, lambda: self._meter.dropped(self._broker.name)
        )
        _hand_over(library, session)
        heed_expiry(library, self._broker.name, self._broker.session_expiry)
        try:
            async with client, asyncio.TaskGroup() as group:
                guards = (
                    group.create_task(_until_lost(client), name="mqtt-lost"),
                    group.create_task(session.watch(), name="mqtt-watch"),
                )
                await self._greet(client)
                _heed_cancellation()
                await self._stopping.wait()
                await self._take_leave(client, session)
                for guard in guards:
                    guard.cancel()
        finally:
            session.end()
            if library.socket() is not None:
                # aiomqtt leaves it open when the broker does not answer, and does not want to hear
                library.on_disconnect = None
                library.disconnect()
            if self.connected:
                self.connected = False
                self._meter.connection(self._broker.name, up=False)

    def _client(self) -> Client:
        broker = self._broker
        v5 = broker.version == ProtocolVersion.V5
        properties = None
        if v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho's
            properties.SessionExpiryInterval = broker.session_expiry
        return Client(
            broker.host,
            broker.port,
            username=broker.username or None,
            password=broker.password or None,
            identifier=broker.client_id,
            protocol=ProtocolVersion(broker.version),
            will=Will(broker.will_topic, _OFFLINE, 1, retain=True) if broker.will_topic else None,
            clean_session=None if v5 else False,
            clean_start=False if v5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
            # the library notices a silent broker after two of its keep-alives
            keepalive=max(1, broker.keepalive * 2 // 3),
            properties=properties,
            tls_context=_trusting(broker.ca_file) if broker.tls else None,
            # a few acknowledgements must not wait for the answer to the ones before
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )

    async def _greet(self, client: Client) -> None:
        """Subscribe, and say that we are there."""
        names = [name for name, _ in self._broker.topics]
        wanted: list[tuple[str, SubscribeOptions]] | list[tuple[str, int]]
        if self._broker.version == ProtocolVersion.V5:
            wanted = [(name, SubscribeOptions(qos=1)) for name in names]
        else:
            wanted = [(name, 1) for name in names]
        late = asyncio.get_running_loop().call_later(ANSWER_WITHIN, self._tell_late)
        try:
            codes: Sequence[ReasonCode | int] = await client.subscribe(wanted, timeout=math.inf)
        finally:
            late.cancel()
        if len(codes) != len(names):
            raise MqttError(f"{len(codes)} answers to {len(names)} filters")
        given = [granted(self._broker.name, *pair) for pair in zip(names, codes, strict=True)]
        # QoS 0: an answer would have to be read, and reading may be paused by now
        if topic := self._broker.will_topic:
            await client.publish(topic, _ONLINE, retain=True, timeout=math.inf)
        self.connected = True
        self._meter.connection(self._broker.name, up=True)
        _log.info("mqtt.connected", broker=self._broker.name, filters=sum(given))

    def _tell_late(self) -> None:
        _log.warning("mqtt.subscription_unanswered", broker=self._broker.name, after=ANSWER_WITHIN)

    async def _take_leave(self, client: Client, session: Session) -> None:
        """Let the broker read the acknowledgements of all that was taken, and our goodbye."""
        session.hold()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN):
                await session.settled()
        # QoS 1: its answer says that the broker has read everything before it
        if topic := self._broker.will_topic:
            await client.publish(topic, _OFFLINE, 1, retain=True, timeout=GOODBYE_WITHIN)

    def _admit(self, publish: Publish, received_at: datetime) -> tuple[Delivery, tuple[Input, ...]]:
        """A delivery with its inputs; with none where it is our own announcement."""
        policy = self._topics.policy(publish.topic)
        delivery = Delivery(
            transport="mqtt",
            received_at=received_at,
            payload=publish.payload,
            source=policy.name,
            decoder=policy.decoder,
            topic=publish.topic,
            qos=publish.qos,
            retain=publish.retain,
            dup=publish.dup,
            properties=publish.properties,
            quiet_for=policy.quiet_for,
            repeats_every=policy.repeats_every,
            volatile=policy.volatile,
        )
        if publish.topic and publish.topic == self._broker.will_topic:
            return delivery, ()
        if policy is self._stray:
            why = f"no filter of {self._broker.name} matches the topic {publish.topic[:80]!r}"
            return delivery, (Refused(policy.name, "unknown_source", why),)
        if publish.too_large or len(publish.payload) > MAX_PAYLOAD:
            why = "expected a payload of at most 8 MiB"
            return replace(delivery, payload=b""), (Refused(policy.name, "too_large", why),)
        try:
            decoded = self._decode(delivery)
        except DecodeError as e:
            if len(publish.payload) > MAX_UNREADABLE:
                delivery = replace(delivery, payload=b"")
            return delivery, (Refused(policy.name, "decode", str(e)),)
        if not decoded.rejected:
            return delivery, decoded.events
        refused = (Refused(policy.name, "invalid", why, i) for i, why in decoded.rejected)
        return delivery, (*decoded.events, *refused)


def _trusting(ca_file: str) -> ssl.SSLContext:
    """What checks the broker's certificate. Raise MqttError where the file will not do."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise MqttError(f"{ca_file}: no certificates to trust: {error.strerror or error}") from None
    context.sslsocket_class = TlsSocket
    return context


def _library_of(client: Client) -> paho.Client:
    """The client under aiomqtt, set to leave acknowledgements to us.

    A private access: aiomqtt 2.5 acknowledges on receipt and offers no other way. Checked
    here, so that a release that moves it fails the first connection, not the first crash.
    """
    library: object = getattr(client, "_client", None)
    if not isinstance(library, paho.Client):
        raise TypeError(
            "this release of aiomqtt keeps its paho client elsewhere: acknowledgement is unsafe"
        )
    library.manual_ack_set(True)
    return library


def _hand_over(library: paho.Client, session: Session) -> None:
    """Let the session watch the socket; called before connecting."""
    opened = library.on_socket_open
    loop = asyncio.get_running_loop()

    def on_socket_open(client: paho.Client, userdata: object, sock: paho.SocketLike) -> None:
        # In the thread that connects, before CONNECT is sent: aiomqtt registers its reader, ours
        # replaces it before the broker can have answered.
        if opened is not None:
            opened(client, userdata, sock)
        if isinstance(sock, socket.socket):
            loop.call_soon_threadsafe(session.attach, sock)

    def on_socket_register_write(
        _client: paho.Client, _userdata: object, sock: paho.SocketLike
    ) -> None:
        if isinstance(sock, socket.socket):
            loop.call_soon_threadsafe(session.want_write, sock)

    library.on_socket_open = on_socket_open
    library.on_socket_register_write = on_socket_register_write


def _heed_cancellation() -> None:
    """Raise CancelledError where one was swallowed on the way here.

    Before Python 3.13 a task group forgets a cancellation that meets an error of its own, and
    before 3.12 `wait_for`, which aiomqtt uses, one that comes together with what it waited for.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _until_lost(client: Client) -> None:
    """Raise MqttError when the connection ends; the messages themselves never come this way."""
    async for _ in client.messages:
        pass


def _unshared(name: str) -> str:
    """The filter behind ``$share/group/``. Raise ValueError where it is none."""
    if name.startswith("$share/"):
        name = name.removeprefix("$share/").partition("/")[2]
    return Wildcard(name).value
