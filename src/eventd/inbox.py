"""What waits for the engine: submissions with their acknowledgement, bounded in bytes."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable

from msgspec import Struct

from eventd.core.model import Delivery, Event, Fact, Input, Refused, Status
from eventd.errors import EventdError, Overloaded, OverShare, Stopping

# Bytes accounted for a delivery besides its payload, and for each further event of it: measured on
# CPython 3.11, an event without labels takes 480, one with three labels, a CI and a summary 1,300.
OVERHEAD = 1_024
KEPT_FOR_CLEARS = 8  # the last eighth of the room is for clears and commands ...
KEPT_FOR_COMMANDS = 16  # ... and the last sixteenth for commands

BROKERS = "(brokers)"  # the holder of what came over MQTT; no source can have this name
FAILED = "the store has failed; try again"
_COUNTED = (Event, Refused)  # what a delivery of events holds; commands are no events


class Outcome(Struct, frozen=True, gc=False):
    """What became of one submission, told after its commit."""

    accepted: int  # inputs journaled: duplicates and refusals among them
    duplicates: int
    facts: tuple[Fact, ...]


Done = Callable[["Outcome | EventdError"], None]


class Submission(Struct, frozen=True):
    """One inbox item: a delivery with its inputs, or inputs of eventd's own.

    `done` is called once, on the loop: with the Outcome after the commit, or with the error that
    says why there will be none. Without inputs it is a probe that travels to the writer and back;
    `flush` asks that the alert rows be brought up to date on the way. Whoever waits knows the inbox
    it lies in, so the garbage collector must see it.
    """

    inputs: tuple[Input, ...]
    done: Done
    delivery: Delivery | None = None
    flush: bool = False

    def size(self) -> int:
        """Bytes accounted in the inbox."""
        payload = len(self.delivery.payload) if self.delivery else 0
        return payload + OVERHEAD * (len(self.inputs) or 1)

    def events(self) -> int:
        """How many events it holds, refused ones among them; commands are none."""
        inputs = self.inputs
        return len(inputs) if self.delivery and inputs and isinstance(inputs[0], _COUNTED) else 0


class Inbox:
    """Submissions waiting for the engine, bounded in bytes: beyond the cap `put` raises Overloaded.

    Of the cap, an eighth is a reserve: deliveries with a clear fill it to the half, commands whole,
    and what eventd asks itself is never refused. What else comes finds room while its source holds
    no more than is still free: a lone flood gets half of the room, n floods an n+1st each, and a
    source that holds little is let in beside them (Choudhury and Hahne, "Dynamic Queue Length
    Thresholds for Shared-Memory Packet Switches", 1998, with a factor of 1: no weights, no list of
    who is active). An empty inbox takes whatever comes: a delivery that has no room there would be
    refused for ever, and it is in memory already.

    MQTT, which cannot be told so, uses `force` and pauses its socket until `room` returns: while
    what MQTT holds is more than is free.
    """

    def __init__(
        self,
        max_bytes: int,
        received: Callable[[str, int], None] = lambda _source, _inputs: None,
        failed: Callable[[], bool] = lambda: False,
    ) -> None:
        """`max_bytes` counts payloads and a flat overhead a delivery and event.

        `received` is told of the events of every delivery that comes to the door. `failed` says
        that the store has: to be asked before an acknowledgement goes out, none does after that.
        """
        self.max_bytes, self.failed = max_bytes, failed
        self.bytes = 0
        self.events = 0  # that wait
        self.reserve = max_bytes // KEPT_FOR_CLEARS
        self._open = max_bytes - self.reserve  # bytes for everybody
        self._for_clears = max_bytes - max_bytes // KEPT_FOR_COMMANDS
        # Bytes by holder; None while all that waits is no more than is free, whoever holds it.
        self._held: defaultdict[str, int] | None = None
        self._received = received
        self.wake = asyncio.Event()
        self._items: deque[tuple[Submission, int, int]] = deque()  # with its bytes and events
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def crowded(self) -> bool:
        """Senders that can be paused hold more than is free: they should be."""
        return self._held is not None and self._held[BROKERS] + self.bytes > self.max_bytes

    def put(self, item: Submission, *, force: bool = False) -> None:
        """Queue it. Raise Overloaded where there is no room, Stopping where nothing is taken."""
        if self._closed:
            raise Stopping
        events = item.events()
        size = item.size()
        if events and item.delivery is not None:
            self._received(item.delivery.source, events)
        if self._held is not None or 2 * (self.bytes + size) > self._open:
            self._share(item, size, force=force)
        self.bytes += size
        self.events += events
        self._items.append((item, size, events))
        if self._held is not None and self._room.is_set() and self.crowded:
            self._room.clear()
        self.wake.set()

    def _share(self, item: Submission, size: int, *, force: bool) -> None:
        """Account for it by holder. Raise Overloaded where it may not come in.

        Who holds what is counted once where it begins to matter, and kept up until the inbox is
        down to half of that: a constant cost an item.
        """
        held = self._held
        if held is None:
            held = self._held = defaultdict(int)
            for one, its_size, _ in self._items:
                held[_holder(one)] += its_size
        holder = _holder(item)
        used = self.bytes + size
        if not force and self._items:
            if item.delivery is None:
                fits = True  # eventd's own are few, and nobody would send them again
            elif not item.events():
                fits = used <= self.max_bytes
            else:
                fits = held[holder] + used <= self._open
                if not fits and used <= self._for_clears:
                    fits = any(map(_clears, item.inputs))
            if not fits:
                raise Overloaded if used > self._open else OverShare(holder)
        held[holder] += size

    async def room(self) -> None:
        """Return when it is not crowded."""
        await self._room.wait()

    def close(self) -> None:
        """Take no more; what waits is still worked off."""
        self._closed = True
        self.wake.set()

    @property
    def closed(self) -> bool:
        """No more is taken."""
        return self._closed

    def take(self) -> Submission | None:
        """The oldest, or None."""
        if not self._items:
            return None
        item, size, events = self._items.popleft()
        self.bytes -= size
        self.events -= events
        if self._held is not None:
            self._held[_holder(item)] -= size
            if 4 * self.bytes < self._open:
                self._held = None
            if not self.crowded:
                self._room.set()
        return item

    def drain(self, max_inputs: int) -> tuple[Submission, ...]:
        """Take, oldest first, until nothing waits or `max_inputs` are reached."""
        taken: list[Submission] = []
        inputs = 0
        while inputs < max_inputs and (item := self.take()) is not None:
            taken.append(item)
            inputs += len(item.inputs)
        return tuple(taken)


def _holder(item: Submission) -> str:
    """Whose share it is: its source's; brokers are paused together, so they have one together."""
    if item.delivery is None:
        return ""
    return BROKERS if item.delivery.transport == "mqtt" else item.delivery.source


def _clears(one: Input) -> bool:
    return isinstance(one, Event) and one.status is Status.CLEARED
