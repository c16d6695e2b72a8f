"""An MQTT broker: sessions, an in-flight window, redelivery with DUP, and a memory that may be old.

It speaks the bytes of MQTT 3.1.1 and 5 to the one client it has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from copy import deepcopy

from msgspec import Struct
from msgspec.structs import replace
from paho.mqtt.client import topic_matches_sub

from tests.simulation.loop import Loop, World
from tests.simulation.wire import Wire

WINDOW = 20  # messages in flight: mosquitto's max_inflight_messages
CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 12, 14


class Message(Struct, frozen=True):
    """One publication."""

    topic: str
    payload: bytes
    qos: int
    retain: bool = False  # sent from memory, not because it happened
    dup: bool = False


class Session:
    """What is kept for the client while it is away."""

    def __init__(self) -> None:
        self.filters: list[str] = []
        self.queue: deque[Message] = deque()
        self.flying: dict[int, Message] = {}  # by packet id, in order
        self.last = 0


class Broker:
    """One broker with its one client."""

    def __init__(self, world: World, outside: Loop) -> None:
        self.world, self._outside = world, outside
        self.up = True
        self.window = WINDOW
        self.torn = 0.0  # share of the client's writes that come in part
        self.session = Session()
        self.retained: dict[str, Message] = {}
        self.acknowledging: Callable[[Message], None] = lambda _message: None
        self._saved = deepcopy((self.session, self.retained))
        self._connection: Connection | None = None

    @property
    def drained(self) -> bool:
        """Everything was sent and acknowledged."""
        return not self.session.queue and not self.session.flying

    # -- publishers -------------------------------------------------------------------------------

    def publish(self, message: Message, *, keep: bool = False) -> bool:
        """Take it; False where the broker is down. `keep` makes it the topic's retained message."""
        if not self.up:
            return False
        if keep:
            self.retained[message.topic] = message
        if any(topic_matches_sub(one, message.topic) for one in self.session.filters):
            self._queue(message)
        return True

    def _queue(self, message: Message) -> None:
        if message.qos or self._connection is not None:
            self.session.queue.append(message)
            self._push()

    # -- what happens to it -----------------------------------------------------------------------

    def save(self) -> None:
        """What a crash goes back to."""
        self._saved = deepcopy((self.session, self.retained))

    def crash(self) -> None:
        """Down, and back to what was saved."""
        self.up = False
        self.cut()
        self.session, self.retained = deepcopy(self._saved)
        if self.world.random.random() < 0.5:
            self.number_anew()

    def number_anew(self) -> None:
        """Packet ids were not saved: those in flight get others, of a few before."""
        session = self.session
        if not session.flying:
            return
        flying = [replace(one, dup=True) for one in session.flying.values()]
        session.last = (min(session.flying) - 1 - self.world.random.randint(1, 2)) % 65_535
        session.queue.extendleft(reversed(flying))
        session.flying.clear()

    def start(self) -> None:
        """Up again."""
        self.up = True

    def cut(self) -> None:
        """The network breaks."""
        if self._connection is not None:
            self._connection.wire.cut()

    # -- the client -------------------------------------------------------------------------------

    def accept(self, inside: Loop) -> Wire:
        """A connection from a process. Raises ConnectionRefusedError."""
        if not self.up:
            raise ConnectionRefusedError(111, "Connection refused")
        wire = Wire(self.world, inside, self._outside)
        wire.torn = self.torn
        Connection(self, wire)
        return wire

    def greet(self, connection: Connection, *, clean: bool) -> None:
        """CONNECT: the session goes on; what was in flight is sent again first."""
        if self._connection is not None:
            self._connection.wire.cut()
        self._connection = connection
        if clean:
            self.session = Session()
        there = bool(self.session.filters)
        connection.write(2, 0, bytes([there, 0]) + (b"\0" if connection.v5 else b""))
        for mid, message in self.session.flying.items():
            connection.send(replace(message, dup=True), mid)
        self._push()

    def gone(self, connection: Connection) -> None:
        """Its connection ended."""
        if self._connection is connection:
            self._connection = None

    def subscribe(self, connection: Connection, filters: list[str]) -> None:
        """Retained messages are sent with every subscription."""
        for one in filters:
            if one not in self.session.filters:
                self.session.filters.append(one)
            for message in self.retained.values():
                if topic_matches_sub(one, message.topic):
                    self._queue(replace(message, retain=True))

    def acknowledged(self, mid: int) -> None:
        """PUBACK."""
        self.session.flying.pop(mid, None)
        self._push()

    def _push(self) -> None:
        session, connection = self.session, self._connection
        while connection and session.queue and len(session.flying) < self.window:
            message = session.queue.popleft()
            mid = 0
            if message.qos:
                mid = session.last = next(
                    n for k in range(65_535) if (n := (session.last + k) % 65_535 + 1)
                    not in session.flying
                )  # fmt: skip
                session.flying[mid] = message
            connection.send(message, mid)


class Connection:
    """The broker's end of a wire."""

    def __init__(self, broker: Broker, wire: Wire) -> None:
        self.broker, self.wire = broker, wire
        self.v5 = False
        self._packets, self._watched = Packets(), Packets()
        wire.taken, wire.closed = self._take, self._closed
        wire.sock.watch_sent = self._watch

    def write(self, kind: int, flags: int, body: bytes) -> None:
        self.wire.to_client(bytes([kind << 4 | flags]) + length(len(body)) + body)

    def send(self, message: Message, mid: int) -> None:
        flags = message.dup << 3 | message.qos << 1 | message.retain
        head = text(message.topic) + (mid.to_bytes(2, "big") if message.qos else b"")
        self.write(PUBLISH, flags, head + (b"\0" if self.v5 else b"") + message.payload)

    def _watch(self, data: bytes) -> None:
        """An acknowledgement counts from the moment it is written."""
        for kind, _, body in self._watched.feed(data):
            if kind == PUBACK:
                message = self.broker.session.flying.get(int.from_bytes(body[:2], "big"))
                if message is not None and self.broker._connection is self:
                    self.broker.acknowledging(message)

    def _take(self, data: bytes) -> None:
        for kind, flags, body in self._packets.feed(data):
            if kind == CONNECT:
                self.v5 = body[6] == 5
                self.broker.greet(self, clean=bool(body[7] & 2))
            elif kind == SUBSCRIBE:
                self._subscribe(body)
            elif kind == PUBACK:
                self.broker.acknowledged(int.from_bytes(body[:2], "big"))
            elif kind == PUBLISH and flags & 2:
                size = int.from_bytes(body[:2], "big")
                self.write(PUBACK, 0, body[2 + size : 4 + size])
            elif kind == PINGREQ:
                self.write(13, 0, b"")
            elif kind == DISCONNECT:
                self.wire.cut()

    def _subscribe(self, body: bytes) -> None:
        at = 3 if self.v5 else 2  # no properties are sent
        filters = []
        while at < len(body):
            size = int.from_bytes(body[at : at + 2], "big")
            filters.append(body[at + 2 : at + 2 + size].decode())
            at += 3 + size
        self.write(9, 0, body[:2] + (b"\0" if self.v5 else b"") + b"\1" * len(filters))
        self.broker.subscribe(self, filters)

    def _closed(self) -> None:
        self.broker.gone(self)


class Packets:
    """Cuts a stream into packets."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Kind, flags, body of each that is whole."""
        self._data += data
        while (end := self._end()) and end <= len(self._data):
            packet, self._data = self._data[:end], self._data[end:]
            start = 1
            while packet[start] & 0x80:
                start += 1
            yield packet[0] >> 4, packet[0] & 15, packet[start + 1 :]

    def _end(self) -> int:
        size = shift = 0
        for at, byte in enumerate(self._data[1:5], 2):
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                return at + size
            shift += 7
        return 0


def length(size: int) -> bytes:
    """A remaining length."""
    out = bytearray()
    while True:
        size, byte = divmod(size, 128)
        out.append(byte | (0x80 if size else 0))
        if not size:
            return bytes(out)


def text(value: str) -> bytes:
    """A string with its length."""
    data = value.encode()
    return len(data).to_bytes(2, "big") + data
