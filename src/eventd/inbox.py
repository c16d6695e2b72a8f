"""What waits for the engine: submissions with their acknowledgement, bounded in bytes."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from eventd.clock import monotonic
from eventd.core.model import Delivery, Event, Fact, Input, Refused, Status
from eventd.errors import EventdError, Overloaded, OverShare, Stopping

# Bytes accounted for a delivery besides its payload, and for each further event of it: measured on
# CPython 3.11, an event without labels takes 480, one with three labels, a CI and a summary 1,300.
OVERHEAD = 1_024
KEPT_FOR_CLEARS = 8  # the last eighth of the room is for clears and commands ...
KEPT_FOR_COMMANDS = 16  # ... and the last sixteenth for commands
TURN = 25  # inputs a holder may have in a batch while others send too: some 2 ms of stepping
# s a disk may sync for which that is meant. Where it takes longer, turns are as many times larger:
# a handful every 300 ms would choke whoever is not alone.
TURN_SYNC = 0.004
# Batches, about a minute of a flood, for which others are still expected: whoever finds it alone
# waits for a whole batch of it, 20 ms.
OTHERS_FOR = 50_000
# Who leaves something waiting rests so many times as long as its batch took, seconds at most, while
# somebody is there who does not: on a slow disk it is the sync that takes long, and no rest helps.
REST, LONGEST_REST = 1.0, 0.01

BROKERS = "(brokers)"  # the holder of what came over MQTT; no source can have this name
OWN = ""  # the holder of what eventd asks itself
FAILED = "the store has failed; try again"
CRASHED = "it crashed the daemon before"
_COUNTED = (Event, Refused)  # what a delivery of events holds; commands are no events


class Outcome(Struct, frozen=True, gc=False):
    """What became of one submission, told after its commit."""

    accepted: int  # inputs journaled: duplicates and refusals among them
    duplicates: int
    facts: tuple[Fact, ...]
    crashed: tuple[int, ...] = ()  # positions of inputs that did before and were not stepped


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
        given = self.delivery
        payload = len(given.payload) + len(given.topic) if given else 0
        return payload + OVERHEAD * (len(self.inputs) or 1)

    def events(self) -> int:
        """How many events it holds, refused ones among them; commands are none."""
        inputs = self.inputs
        return len(inputs) if self.delivery and inputs and isinstance(inputs[0], _COUNTED) else 0


class _Line:
    """What of one holder waits, oldest first, each with its bytes and events."""

    __slots__ = ("bytes", "credit", "items", "rests_until")

    def __init__(self) -> None:
        self.items: deque[tuple[Submission, int, int]] = deque()
        self.bytes = 0
        self.credit = 0  # inputs it may have and has not had
        self.rests_until = 0.0  # s of the monotonic clock


class Inbox:
    """Submissions waiting for the engine, bounded in bytes: beyond the cap `put` raises Overloaded.

    Holders take turns of as many inputs each, so that nobody waits behind a flood of another; a
    delivery that is larger saves up for it (Shreedhar and Varghese, "Efficient Fair Queuing Using
    Deficit Round-Robin", 1996). What one of them sends is taken in its order. Beside a holder that
    sends little, who sends more than is taken rests half of the time: else the other would nearly
    always come while a batch of it is under way, and wait for its end.

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
        self._received = received
        self.wake = asyncio.Event()
        self._lines: dict[str, _Line] = {}  # by holder: as many as there are sources
        self._turns: deque[_Line] = deque()  # those in which something waits, next first
        self._brokers = self._line(BROKERS)
        self._own = self._line(OWN)
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        self._others = 0  # batches for which others are expected
        self._light = 0  # the same of those who send little
        self._resting: list[_Line] = []  # until the batch they left something of is committed
        self._sync = 0.0  # s the disk took at the end of the last batch

    def __len__(self) -> int:
        return sum(len(line.items) for line in self._turns)

    @property
    def crowded(self) -> bool:
        """Senders that can be paused hold more than is free: they should be."""
        return self._brokers.bytes + self.bytes > self.max_bytes

    def put(self, item: Submission, *, force: bool = False) -> None:
        """Queue it. Raise Overloaded where there is no room, Stopping where nothing is taken."""
        if self._closed:
            raise Stopping
        events = item.events()
        size = item.size()
        if events and item.delivery is not None:
            self._received(item.delivery.source, events)
        line = self._line(_holder(item))
        # whoever holds all of what is no more than is free may have it
        if self._turns and 2 * (self.bytes + size) > self._open and not force:
            self._admit(item, size, line.bytes)
        self.bytes += size
        self.events += events
        if not line.items:
            self._turns.append(line)
        line.items.append((item, size, events))
        line.bytes += size
        if self._room.is_set() and self.crowded:
            self._room.clear()
        self.wake.set()

    def _line(self, holder: str) -> _Line:
        line = self._lines.get(holder)
        if line is None:
            line = self._lines[holder] = _Line()
        return line

    def _admit(self, item: Submission, size: int, held: int) -> None:
        """Raise Overloaded where it may not come in beside the bytes its holder has there."""
        used = self.bytes + size
        if item.delivery is None:
            fits = True  # eventd's own are few, and nobody would send them again
        elif not item.events():
            fits = used <= self.max_bytes
        else:
            fits = held + used <= self._open
            if not fits and used <= self._for_clears:
                fits = any(map(_clears, item.inputs))
        if not fits:
            raise Overloaded if used > self._open else OverShare(_holder(item))

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
        """The oldest of the holder whose turn it is, or None."""
        if not self._turns:
            return None
        item, size, events = self._turns[0].items.popleft()
        self._taken(size, events)
        return item

    def _taken(self, size: int, events: int) -> None:
        """So many bytes and events were taken of the first line."""
        line = self._turns[0]
        line.bytes -= size
        self.bytes -= size
        self.events -= events
        if not line.items:
            line.credit = 0
            self._turns.popleft()
        if not self._room.is_set() and not self.crowded:
            self._room.set()

    def drain(self, max_inputs: int, *, along: bool = False) -> tuple[Submission, ...]:
        """Take about `max_inputs` of a holder that sends alone, else a turn of each that waits.

        The slower the disk, the larger the turns, together up to `max_inputs`; as they are at the
        end, when nobody comes who could wait for it.
        At least one delivery, where any waits; none that is larger than its holder may have by
        now, where it would go along with others that wait for its end.
        """
        turns = self._turns
        if len(turns) > 1 + bool(self._own.items):
            self._others = OTHERS_FOR
        turn = self._turn(max_inputs)
        taken: list[Submission] = []
        served: list[_Line] = []
        now = monotonic()
        while not taken and any(self._awake(line, now) for line in turns):
            for _ in range(len(turns)):
                line = turns[0]
                if self._awake(line, now) and self._serve(line, turn, taken):
                    served.append(line)
                if line.items:
                    turns.rotate(-1)
            if along:
                break
        if taken and self._others:
            self._others -= 1
        self._hold_back([line for line in served if line is not self._own])
        return tuple(taken)

    def _turn(self, max_inputs: int) -> int:
        if not self._others:
            return max_inputs
        share = max_inputs // max(len(self._turns), 1)
        return max(TURN, share if self._closed else min(share, int(TURN * self._sync / TURN_SYNC)))

    def _awake(self, line: _Line, now: float) -> bool:
        return line.rests_until <= now or self._closed

    def _serve(self, line: _Line, turn: int, taken: list[Submission]) -> bool:
        """Take what the first line may have by now; say whether that was anything."""
        items, credit = line.items, line.credit + turn
        before = len(taken)
        size = events = 0
        while items and (inputs := len(items[0][0].inputs)) <= credit:
            credit -= inputs
            item, item_size, item_events = items.popleft()
            size += item_size
            events += item_events
            taken.append(item)
        line.credit = credit
        if len(taken) == before:
            return False
        self._taken(size, events)
        return True

    def _hold_back(self, served: list[_Line]) -> None:
        """See whether somebody sends little: then who has more waits for the batch, and rests."""
        left = [line for line in served if line.items]
        if len(left) < len(served) and any(line is not self._own for line in self._turns):
            self._light = OTHERS_FOR
        if self._light:
            for line in left:
                line.rests_until = math.inf
            self._resting += left

    @property
    def gives_way(self) -> bool:
        """There was somebody lately who sends little beside one who sends much."""
        return self._light > 0

    def rest(self, took: float, sync: float) -> None:
        """The batch took so many seconds, in which who left something was given no more.

        The disk took `sync` of them.
        """
        self._sync = sync
        until = monotonic() + min(REST * took, LONGEST_REST)
        for line in self._resting:
            line.rests_until = until
        self._resting.clear()
        self._light -= self._light > 0

    def ready_in(self) -> float | None:
        """Seconds until something may be taken, 0 at least; None where nothing waits."""
        if not self._turns:
            return None
        first = min(line.rests_until for line in self._turns)
        return 0.0 if self._closed else max(first - monotonic(), 0.0)


def _holder(item: Submission) -> str:
    """Whose share it is: its source's; brokers are paused together, so they have one together."""
    if item.delivery is None:
        return OWN
    return BROKERS if item.delivery.transport == "mqtt" else item.delivery.source


def _clears(one: Input) -> bool:
    return isinstance(one, Event) and one.status is Status.CLEARED
