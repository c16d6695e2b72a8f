"""What waits for the engine: submissions with their acknowledgement, bounded in bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from eventd.core.model import Delivery, Event, Fact, Input, Refused
from eventd.errors import EventdError, Overloaded, Stopping

DELIVERY_OVERHEAD = 256  # bytes accounted for a delivery besides its payload
_COUNTED = (Event, Refused)  # what a delivery of events holds; commands are no events


class Outcome(Struct, frozen=True, gc=False):
    """What became of one submission, told after its commit."""

    accepted: int  # inputs journaled: duplicates and refusals among them
    duplicates: int
    facts: tuple[Fact, ...]


Done = Callable[["Outcome | EventdError"], None]


class Submission(Struct, frozen=True, gc=False):
    """One inbox item: a delivery with its inputs, or inputs of eventd's own.

    `done` is called once, on the loop: with the Outcome after the commit, or with the error that
    says why there will be none. Without inputs it is a probe that travels to the writer and back;
    `flush` asks that the alert rows be brought up to date on the way.
    """

    inputs: tuple[Input, ...]
    done: Done
    delivery: Delivery | None = None
    flush: bool = False

    def size(self) -> int:
        """Bytes accounted in the inbox."""
        return DELIVERY_OVERHEAD + (len(self.delivery.payload) if self.delivery else 0)

    def events(self) -> int:
        """How many events it holds, refused ones among them; commands are none."""
        inputs = self.inputs
        return len(inputs) if self.delivery and inputs and isinstance(inputs[0], _COUNTED) else 0


class Inbox:
    """Submissions waiting for the engine, bounded in bytes: beyond the cap `put` raises Overloaded.

    MQTT, which cannot be told so, uses `force` and pauses its socket until `room` returns.
    """

    def __init__(
        self, max_bytes: int, received: Callable[[str, int], None] = lambda _source, _inputs: None
    ) -> None:
        """`max_bytes` counts payloads and a flat overhead a delivery.

        `received` is told of the events of every delivery that comes to the door.
        """
        self.max_bytes = max_bytes
        self.bytes = 0
        self.events = 0  # that wait
        self._received = received
        self.wake = asyncio.Event()
        self._items: deque[Submission] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def crowded(self) -> bool:
        """More than half full: senders that can be paused should be."""
        return self.bytes * 2 > self.max_bytes

    def put(self, item: Submission, *, force: bool = False) -> None:
        """Queue it. Raise Overloaded where there is no room, Stopping where nothing is taken."""
        if self._closed:
            raise Stopping
        events = item.events()
        if events and item.delivery is not None:
            self._received(item.delivery.source, events)
        size = item.size()
        if not force and self.bytes + size > self.max_bytes:
            raise Overloaded
        self.bytes += size
        self.events += events
        self._items.append(item)
        if self._room.is_set() and self.crowded:
            self._room.clear()
        self.wake.set()

    async def room(self) -> None:
        """Return when it is less than half full."""
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
        item = self._items.popleft()
        self.bytes -= item.size()
        self.events -= item.events()
        if not self._room.is_set() and not self.crowded:
            self._room.set()
        return item
