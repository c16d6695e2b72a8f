"""What an MQTT source needs around it in a test: a runtime one can halt, a meter, a bad line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from msgspec.structs import replace
from tests.broker import Mosquitto

from eventd.core.model import Delivery, Event, Refused, Severity, SourcePolicy, Status
from eventd.errors import DecodeError
from eventd.inbox import Inbox, Outcome, Submission
from eventd.sources.decoded import Decoded
from eventd.sources.mqtt import Broker, MqttSource

PLANT = SourcePolicy(name="plant", decoder="text")
STATUS = "eventd/status"
ROOMY = 64 * 1024 * 1024
COMMITTED = Outcome(1, 0, ())
WITHIN = 20.0  # s; a loaded CI machine


def decode(delivery: Delivery) -> Decoded:
    """One event a word; `no` is rejected, `bad` spoils the whole, nothing at all is nothing."""
    words = delivery.payload.decode().split()
    if "bad" in words:
        raise DecodeError("", "bad", "words")
    return Decoded(
        tuple(_event(word) for word in words if word != "no"),
        tuple((i, "expected yes, got no") for i, word in enumerate(words) if word == "no"),
    )


def _event(name: str) -> Event:
    return Event(
        source="plant",
        fingerprint=name.encode().hex().zfill(32),
        key=name.encode(),
        strong=False,
        status=Status.FIRING,
        severity=Severity.MAJOR,
        name=name,
    )


class Meter:
    """Counts, and lets a test wait for a connection."""

    def __init__(self) -> None:
        self.ups = self.downs = self.drops = 0
        self._moved = asyncio.Event()

    def connection(self, broker: str, *, up: bool) -> None:
        assert broker == "yard"
        if up:
            self.ups += 1
        else:
            self.downs += 1
        self._moved.set()

    def dropped(self, broker: str) -> None:
        assert broker == "yard"
        self.drops += 1
        self._moved.set()

    async def until(self, *, ups: int = 0, downs: int = 0, drops: int = 0) -> None:
        """Return when at least as many have been counted."""
        async with asyncio.timeout(WITHIN):
            while self.ups < ups or self.downs < downs or self.drops < drops:
                self._moved.clear()
                await self._moved.wait()


class Desk:
    """Stands where the runtime stands: what comes in lies here until the test commits it."""

    def __init__(self, max_bytes: int = ROOMY) -> None:
        self.inbox = Inbox(max_bytes)
        self.meter = Meter()

    async def take(self, count: int) -> list[Submission]:
        """The next `count` submissions, in order."""
        taken: list[Submission] = []
        async with asyncio.timeout(WITHIN):
            while len(taken) < count:
                item = self.inbox.take()
                if item is None:
                    self.inbox.wake.clear()
                    await self.inbox.wake.wait()
                else:
                    taken.append(item)
        return taken

    async def commit(self, count: int) -> list[Submission]:
        """Take and settle them."""
        taken = await self.take(count)
        for item in taken:
            item.done(COMMITTED)
        return taken

    @asynccontextmanager
    async def source(self, broker: Broker) -> AsyncIterator[MqttSource]:
        """A running source, connected at first; stopped in good order at the end."""
        source = MqttSource(broker, self.inbox, decode, self.meter)
        ups = self.meter.ups
        async with asyncio.TaskGroup() as group:
            group.create_task(source.run())
            await self.meter.until(ups=ups + 1)
            yield source
            source.stop()

    @asynccontextmanager
    async def doomed_source(self, broker: Broker) -> AsyncIterator[MqttSource]:
        """The same, but it breaks off at the end and acknowledges nothing any more."""
        try:
            async with self.source(broker) as source:
                yield source
                raise Gone  # noqa: TRY301 - through the source, not past it
        except* Gone:
            pass


class Gone(Exception):
    """The end of a doomed source."""


class Wire:
    """A TCP proxy in front of a broker that can drip towards the client, be still, and be cut."""

    def __init__(self, port: int, *, drip: int = 65_536) -> None:
        """`drip`: how many bytes the client gets at a time."""
        self._port, self._drip = port, drip
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0
        self.carries = asyncio.Event()  # cleared: nothing passes, and nobody is told
        self.carries.set()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[Wire]:
        """Listening on `port`."""
        async with asyncio.TaskGroup() as group:

            async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                there, back = await asyncio.open_connection("127.0.0.1", self._port)
                self._writers += [writer, back]
                group.create_task(self._carry(reader, back, 65_536))
                group.create_task(self._carry(there, writer, self._drip))

            server = await asyncio.start_server(accept, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            try:
                yield self
            finally:
                server.close()
                self.cut()

    def cut(self) -> None:
        """Break all connections without a word of either protocol."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def garble(self, noise: bytes) -> None:
        """Put bytes of our own among those that both ends get."""
        for writer in self._writers:
            writer.write(noise)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, at_once: int
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(at_once):
                await self.carries.wait()
                if writer.is_closing():  # uvloop raises where asyncio forgets the data
                    return
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


def words(items: list[Submission]) -> list[str]:
    """Their payloads."""
    return [item.delivery.payload.decode() for item in items if item.delivery is not None]


def yard(port: int, version: int = 5, **options: object) -> Broker:
    """A broker on the loopback that may tell us everything under ``events/``."""
    plain = Broker(
        name="yard",
        host="127.0.0.1",
        port=port,
        version=version,
        client_id="eventd",
        will_topic=STATUS,
        topics=(("events/#", PLANT),),
    )
    return replace(plain, **options)


async def large_is_taken_and_huge_refused(broker: Mosquitto, reached: Broker) -> None:
    """Of a message larger than one read, and of one that nobody takes; once each."""
    desk = Desk()
    large, huge = "x" * 300_000, "y" * 9_000_000
    async with desk.source(reached):
        await asyncio.to_thread(broker.publish, "events/a", large, huge, "small")
        taken = await desk.commit(3)
    async with desk.source(reached):
        broker.publish("events/a", "marker")
        after = await desk.commit(1)

    assert words(taken) == [large, "", "small"]
    assert taken[1].inputs == (
        Refused("plant", "too_large", "expected a payload of at most 8 MiB"),
    )
    assert words(after) == ["marker"]
