"""The shell's loop: inbox → step → commit → acknowledge → publish.

One task owns the engine. It drains whatever waits in the inbox into one batch, steps it, and
hands it to the store; while that commits, the next batch gathers. Nothing else knows of batches.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Protocol

import msgspec
from msgspec import Struct

from eventd.clock import Clock, monotonic
from eventd.core.concerned import incidents_of
from eventd.core.engine import Engine
from eventd.core.labels import payload_key
from eventd.core.model import (
    QUARANTINED,
    Alert,
    AlertChanged,
    AlertCleared,
    AlertDetached,
    AlertFired,
    AlertForgotten,
    AlertJoined,
    AlertRepeated,
    AlertSuppressed,
    AlertUnsuppressed,
    CommandRejected,
    Delivery,
    Event,
    EventDuplicate,
    Fact,
    FindingNoted,
    Incident,
    IncidentAcknowledged,
    IncidentClosed,
    IncidentCommented,
    IncidentMerged,
    IncidentOpened,
    IncidentRanked,
    IncidentReopened,
    IncidentResolved,
    IncidentSplit,
    IncidentState,
    IncidentUpdated,
    Input,
    Refused,
    Started,
    Tick,
    VerdictGiven,
)
from eventd.core.snapshot import Snapshot
from eventd.errors import EventdError, Poisoned, Stopping, StoreFull
from eventd.inbox import CRASHED, Inbox, Outcome, Submission

MAX_BATCH_INPUTS = 2_000  # about 20 ms of stepping: how long the loop may be held
# A restart steps again what came after the snapshot: some three seconds of a core at most. An alert
# that begins to fire takes as long as ten repeats.
SNAPSHOT_EVERY = 100_000  # inputs; DESIGN §7
SNAPSHOT_FIRED = 25_000  # alerts that began to fire
SNAPSHOT_RETRY = 60.0  # s at least until one that found no room is tried again
LONG_START = 10_000  # inputs stepped at a start: it takes one, as who crashes may crash again
SEEN_EVERY = 10.0  # s the last-seen of alerts that only had duplicates may lag
FLUSH_EVERY = 1.0  # s alert rows may lag behind the journal; DESIGN §7
FULL_RETRY_EVERY = 0.5  # s between tries of a commit that found the disk full


class Step(Struct, frozen=True, gc=False):
    """One journal row: the inputs of one submission, the time they were stepped at, the facts."""

    seq: int  # of the first input; the next row's is seq + len(inputs)
    now: datetime
    delivery: Delivery | None
    inputs: tuple[Input, ...]
    facts: tuple[Fact, ...]


class Quarantined(Struct, frozen=True):
    """An input the core raised on: never stepped again."""

    input: Input
    now: datetime
    delivery: Delivery | None
    traceback: str

    @property
    def key(self) -> bytes | None:
        """By which it is known when it comes again; None where it cannot come from outside."""
        return None if isinstance(self.input, Tick) else known_by(self.input, self.delivery)


def known_by(item: Input, delivery: Delivery | None) -> bytes:
    """The delivery key of an event, a digest of a command's request or of what is eventd's own.

    A command's own key is new with every try of some clients, its times may be.
    """
    if isinstance(item, Event):
        return item.key
    if delivery is not None:
        return payload_key(delivery.source, delivery.path, delivery.payload)
    return payload_key("", "", msgspec.msgpack.encode(item))


class Batch(Struct, frozen=True):
    """What one transaction holds, in order."""

    steps: tuple[Step, ...] = ()
    incidents: tuple[Incident, ...] = ()  # present value of every incident the steps touched
    alerts: tuple[Alert, ...] = ()  # alert rows brought up to date (they may lag)
    forgotten: tuple[str, ...] = ()  # fingerprints of alert rows to delete
    quarantined: Quarantined | None = None
    snapshot: Snapshot | None = None  # to be written once the transaction is durable
    next_seq: int = 0  # the journal position after this batch
    brief: bool = False  # somebody waits for the next: what is done between should be short


class _Work:
    """A batch in the making."""

    __slots__ = ("items", "outcomes", "quarantined", "steps", "touched")

    def __init__(self, touched: dict[str, None]) -> None:
        """Nothing but incidents whose rows are behind."""
        self.items: list[Submission] = []
        self.outcomes: list[Outcome | EventdError] = []  # one an item
        self.steps: list[Step] = []
        self.touched = touched
        self.quarantined: Quarantined | None = None  # what poisoned the engine


class Store(Protocol):
    """Where batches go. One transaction each; returns when it is durable."""

    @property
    def snapshot_seq(self) -> int:
        """Position of the last snapshot that became durable; 0 where none has yet."""
        ...

    @property
    def sync_took(self) -> float:
        """Seconds it took at the end of the last batch until that was durable."""
        ...

    @property
    def snapshot_failures(self) -> int:
        """Snapshots that were given up for want of room."""
        ...

    @property
    def wants_snapshot(self) -> bool:
        """What came since the last one takes much of the room there may be."""
        ...

    async def commit(self, batch: Batch) -> None:
        """Raise StoreFull where it may be retried unchanged, StoreBroken where it may not."""
        ...


class Observer(Protocol):
    """Told of every committed batch: metrics, log."""

    def observe(self, batch: Batch) -> None:
        """Must not raise and must not wait."""
        ...

    def abandoned(self, source: str, events: int) -> None:
        """Events were taken and will not be committed: their sender has to send them again."""
        ...


class Runtime:
    """Owns the engine. Invariant: nothing is acknowledged or published before its commit."""

    def __init__(
        self, engine: Engine, store: Store, clock: Clock, inbox: Inbox, observer: Observer
    ) -> None:
        """`engine` must have been recovered; `next_seq` is set by `resume`."""
        self.engine = engine
        self.inbox = inbox
        self._store, self._clock, self._observer = store, clock, observer
        self._seq = 0
        self._resumed_seq = 0  # of the snapshot that was there at the start
        self._snapshot_seq = 0  # of the last one that was begun
        self._snapshot_at = monotonic()
        self._snapshot_failures = 0  # before it was begun
        self._fired = 0  # alerts that began to fire since the snapshot
        self._long_start = False
        self._now: datetime | None = None
        self._dirty: dict[str, None] = {}  # alerts whose rows lag
        self._seen: dict[str, None] = {}  # alerts of which only last-seen moved
        self._counted: dict[str, None] = {}  # incidents of which only counters moved
        self._seen_at = monotonic()
        self._moved: dict[str, Incident] = {}  # whose rows were behind at the start
        self._forgotten: dict[str, None] = {}
        self._flushed = monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._working = 0
        self._quarantine: dict[bytes, None] = {}
        self._probes: dict[bool, asyncio.Future[Outcome]] = {}  # the last, by whether it flushes
        self.blocked_since: float | None = None  # monotonic; the disk is full since
        self.commit_seconds = 0.0  # the last one took

    @property
    def waiting(self) -> int:
        """Events taken and not yet committed."""
        return self.inbox.events + self._working

    @property
    def time(self) -> datetime:
        """What its clock says, for who looks at the engine between two steps."""
        return self._clock.now()

    @property
    def beyond_snapshot(self) -> int:
        """Inputs a restart would replay."""
        return self._seq - max(self._resumed_seq, self._store.snapshot_seq)

    def resume(
        self,
        next_seq: int,
        snapshot_seq: int,
        now: datetime | None,
        dirty: tuple[str, ...] = (),
        gone: tuple[str, ...] = (),
        moved: tuple[Incident, ...] = (),
        quarantine: tuple[bytes, ...] = (),
        fired: int = 0,
    ) -> None:
        """Continue where the journal ends; `dirty` alerts' rows are behind the journal.

        So are those of `moved` incidents, which the first commit writes; `gone` alerts are known
        no more. `fired` alerts began to fire since the snapshot.
        """
        self._fired = fired
        self._seq, self._now = next_seq, now
        self._snapshot_seq = self._resumed_seq = snapshot_seq
        self._long_start = self.beyond_snapshot >= LONG_START
        self._dirty, self._forgotten = dict.fromkeys(dirty), dict.fromkeys(gone)
        self._moved = {one.id: one for one in moved}
        # a closed one's row is final, and retention may have taken it already
        self._counted = dict.fromkeys(
            one.id for one in self.engine.incidents() if one.state is not IncidentState.CLOSED
        )
        self._quarantine = dict.fromkeys(quarantine)

    async def submit(
        self, inputs: tuple[Input, ...], delivery: Delivery | None = None, *, flush: bool = False
    ) -> Outcome:
        """Queue and wait for the commit. Raises Overloaded, Stopping, Poisoned or StoreError.

        What is eventd's own always has room: it would have nobody to come back with it later.
        Without inputs it is a probe: on a full disk the next try to commit answers it, StoreFull.
        """
        if not inputs:
            return await asyncio.shield(self._probe(flush=flush))
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        item = Submission(inputs, partial(_end, future), delivery, flush)
        self.inbox.put(item, force=delivery is None)
        return await future

    def _probe(self, *, flush: bool) -> asyncio.Future[Outcome]:
        """The one that is on its way, or a new one.

        One for all who ask, however many have given up: while the disk hangs nothing else would
        bound them. It has not come back, so all that was acknowledged is older than its flush.
        """
        probe = self._probes.get(flush)
        if probe is None or probe.done():
            probe = asyncio.get_running_loop().create_future()
            if self.blocked_since is None:
                self.inbox.put(Submission((), partial(_end, probe), None, flush), force=True)
            probe.add_done_callback(asyncio.Future.exception)  # maybe nobody waits any more
            self._probes[flush] = probe
        return probe

    async def run(self) -> None:
        """Work until the inbox is closed and empty, then flush. Raises what the store raises.

        StoreFull only where the inbox is closed: until then a full disk is waited out.
        """
        while True:
            items = self._drain()
            if items or self._flush_due():
                began = monotonic()
                await self._work(items)
                self.inbox.rest(monotonic() - began, self._store.sync_took)
                # the answers go out before the next batch is stepped, which holds up the loop
                await asyncio.sleep(0)
            elif self.inbox.closed:
                break
            else:
                self._arm()
                await self.inbox.wake.wait()
            self.inbox.wake.clear()
            if self.inbox.ready_in() == 0.0 or self.inbox.closed:
                self.inbox.wake.set()
        await self._work((), last=True)

    def _drain(self, *, along: bool = False) -> tuple[Submission, ...]:
        waiting = self.inbox.events
        items = self.inbox.drain(MAX_BATCH_INPUTS, along=along)
        self._working += waiting - self.inbox.events
        return items

    def _flush_due(self) -> bool:
        due = self.engine.deadline()
        if due is not None and due <= self._tell_time():
            return True
        return self._behind() and monotonic() - self._flushed >= FLUSH_EVERY

    def _tell_time(self) -> datetime:
        now = self._clock.now()
        if self._now is not None and now < self._now:
            now = self._now
        self._now = now
        return now

    def _arm(self) -> None:
        """Wake up at the engine's deadline, or when alert rows have lagged long enough."""
        waits = []
        if (due := self.engine.deadline()) is not None:
            waits.append((due - self._tell_time()).total_seconds())
        if self._dirty or self._counted or self._forgotten:
            waits.append(self._flushed + FLUSH_EVERY - monotonic())
        elif self._seen:
            due_at = max(self._seen_at + SEEN_EVERY, self._flushed + FLUSH_EVERY)
            waits.append(due_at - monotonic())
        if (rest := self.inbox.ready_in()) is not None:
            waits.append(rest)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if waits:
            # a day at most: what lies further off is looked at again then
            delay = min(max(min(waits), 0.0), 86_400.0)
            self._timer = asyncio.get_running_loop().call_later(delay, self.inbox.wake.set)

    async def _work(self, items: tuple[Submission, ...], *, last: bool = False) -> None:
        work = _Work(dict.fromkeys(self._moved))
        self._take_up(items, work)
        if self.inbox.gives_way:
            # two rounds of the loop, in which what lies in the sockets is read and handed in: it
            # goes along, and need not wait for this batch's end and then for its own
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self._take_up(self._drain(along=True), work)
        asked = last or any(item.flush for item in work.items)
        batch = self._batch(work, asked=asked, last=last)
        try:
            await self._commit(batch)
        except StoreFull:
            for item in (*work.items, *iter(self.inbox.take, None)):
                item.done(Stopping("eventd is stopping, and its disk is full"))
            raise
        self._working = 0
        told = tuple(zip(work.items, work.outcomes, strict=True))
        for item, outcome in told:
            item.done(outcome)
        self._observer.observe(batch)
        if work.quarantined is not None:
            self._abandon([item for item, outcome in told if type(outcome) is Poisoned])
            raise Poisoned(work.quarantined.traceback)

    def _take_up(self, items: tuple[Submission, ...], work: _Work) -> None:
        """Step what is submitted, as far as nothing poisons the engine."""
        due = self.engine.deadline()
        now = self._tell_time()
        # a start puts off what fell due while nobody was there: it has to come first
        if work.quarantined is None and due is not None and due <= now and not _is_start(items):
            facts = self.engine.step(Tick(), now)
            # also where nothing came of it: the start after this one must not put it off again
            work.steps.append(self._record(now, None, (Tick(),), facts))
            self._mark(facts, work.touched)
        for item in items:
            work.items.append(item)
            work.outcomes.append(self._outcome(item, now, work))

    def _outcome(self, item: Submission, now: datetime, work: _Work) -> Outcome | EventdError:
        if work.quarantined is not None:
            return Poisoned(_RESTARTS)
        if not item.inputs:
            return _PROBED
        inputs = self._without_quarantined(item) if self._quarantine else item.inputs
        if not inputs:
            return Outcome(0, 0, (CommandRejected(now, False, CRASHED),))
        facts, duplicates, work.quarantined = self._step(item, inputs, now)
        if work.quarantined is not None:
            return Poisoned("the daemon could not process this input")
        work.steps.append(self._record(now, item.delivery, inputs, facts))
        self._mark(facts, work.touched)
        crashed = _crashed(inputs) if self._quarantine else ()
        return Outcome(len(inputs), duplicates, facts, crashed)

    def _abandon(self, items: list[Submission]) -> None:
        """Take no more; tell all whose events will not be committed, `items` and who waits.

        The first of `items` holds the poisonous input, which is not abandoned but quarantined.
        """
        self.inbox.close()
        while (item := self.inbox.take()) is not None:
            item.done(Poisoned(_RESTARTS))
            items.append(item)
        for place, item in enumerate(items):
            events = item.events() - (place == 0)
            if item.delivery is not None and events > 0:
                self._observer.abandoned(item.delivery.source, events)

    def _step(
        self, item: Submission, inputs: tuple[Input, ...], now: datetime
    ) -> tuple[tuple[Fact, ...], int, Quarantined | None]:
        """The facts, how many inputs were duplicates, and what poisoned the engine, if anything."""
        step = self.engine.step
        facts: list[Fact] = []
        duplicates = index = 0
        try:
            if len(inputs) == 1:  # as every MQTT message and most posts
                new = step(inputs[0], now)
                return new, int(bool(new) and type(new[-1]) is EventDuplicate), None
            for index, one in enumerate(inputs):  # noqa: B007 - names the culprit below
                new = step(one, now)
                facts += new
                if new and type(new[-1]) is EventDuplicate:
                    duplicates += 1
        except MemoryError:  # says nothing of the input: the process ends, the sender comes again
            raise
        except Exception:  # noqa: BLE001 - the one boundary: quarantine, commit the rest, leave
            why = traceback.format_exc()
            return (), 0, Quarantined(inputs[index], now, item.delivery, why)
        return tuple(facts), duplicates, None

    def _without_quarantined(self, item: Submission) -> tuple[Input, ...]:
        """What is quarantined is answered and never stepped again; its neighbours are.

        None are left where it is no event: such an input comes alone.
        """
        inputs = item.inputs
        if not isinstance(inputs[0], Event | Refused):
            return () if known_by(inputs[0], item.delivery) in self._quarantine else inputs
        return tuple(
            Refused(one.source, QUARANTINED, CRASHED, index)
            if isinstance(one, Event) and one.key in self._quarantine
            else one
            for index, one in enumerate(inputs)
        )

    def _record(
        self,
        now: datetime,
        delivery: Delivery | None,
        inputs: tuple[Input, ...],
        facts: tuple[Fact, ...],
    ) -> Step:
        step = Step(self._seq, now, delivery, inputs, facts)
        self._seq += len(inputs)
        return step

    def _mark(self, facts: tuple[Fact, ...], touched: dict[str, None]) -> None:
        """Note which alert rows the facts moved, and which incidents: at once, or later.

        An incident's row is written with what changed its state or priority; its counters may lag
        as alert rows do, since the ledger has every member.
        """
        dirty, seen, counted = self._dirty, self._seen, self._counted
        for fact in facts:
            # the kinds a storm is made of come first, by type: `isinstance` is a call
            if type(fact) is AlertRepeated:
                dirty[fact.fingerprint] = None
            elif type(fact) is EventDuplicate:
                seen[fact.fingerprint] = None
            elif type(fact) is AlertFired:
                dirty[fact.alert.fingerprint] = None
                self._fired += 1
            elif type(fact) is AlertJoined or type(fact) is AlertCleared:
                dirty[fact.fingerprint] = None
                counted[fact.incident] = None
            elif isinstance(fact, _OF_ALERTS):
                dirty[fact.fingerprint] = None
            elif isinstance(fact, IncidentOpened):
                touched[fact.incident.id] = None
            elif isinstance(fact, _OF_INCIDENTS):
                touched[fact.incident] = None
            elif isinstance(fact, (AlertDetached, IncidentMerged, IncidentSplit)):
                # never late: a counter that falls would look like one that runs ahead
                touched.update(dict.fromkeys(incidents_of(fact)))
                if isinstance(fact, AlertDetached):
                    dirty[fact.fingerprint] = None
            elif isinstance(fact, AlertForgotten):
                dirty.pop(fact.fingerprint, None)
                seen.pop(fact.fingerprint, None)
                self._forgotten[fact.fingerprint] = None

    def _behind(self) -> bool:
        """Some row lags by more than a last-seen."""
        return bool(self._dirty or self._counted or self._forgotten) or (
            bool(self._seen) and self._unseen()
        )

    def _lagging(self) -> bool:
        return self._behind() and monotonic() - self._flushed >= FLUSH_EVERY

    def _batch(self, work: _Work, *, asked: bool, last: bool) -> Batch:
        """Collect the rows.

        After poison the engine's memory is in doubt: nothing of it is read, the restart replays
        the journal and writes the rows anew.
        """
        steps, touched = tuple(work.steps), work.touched
        if work.quarantined is not None:
            return Batch(steps, quarantined=work.quarantined, next_seq=self._seq)
        behind = self._seq - self._snapshot_seq
        snapshot = None
        failures = self._store.snapshot_failures
        failed = failures > self._snapshot_failures
        # under a flood the next would take the place of each before it is whole
        written = failed or self._snapshot_seq <= max(self._resumed_seq, self._store.snapshot_seq)
        due = written and (
            behind >= SNAPSHOT_EVERY
            or self._fired >= SNAPSHOT_FIRED
            or self._long_start
            or self._store.wants_snapshot
        )
        if failed:
            due = due or monotonic() - self._snapshot_at >= SNAPSHOT_RETRY
        if due or (last and (behind > 0 or failed)):
            snapshot = self.engine.snapshot()
            self._snapshot_seq, self._fired, self._long_start = self._seq, 0, False
            self._snapshot_at, self._snapshot_failures = monotonic(), failures
        alerts: tuple[Alert, ...] = ()
        forgotten: tuple[str, ...] = ()
        if asked or snapshot is not None or self._lagging():
            if asked or snapshot is not None or self._unseen():
                self._dirty.update(self._seen)
                self._seen.clear()
                self._seen_at = monotonic()
            alerts = self.engine.known_alerts(self._dirty)
            forgotten = tuple(self._forgotten)
            touched.update(self._counted)
            for gone in (self._dirty, self._forgotten, self._counted):
                gone.clear()
            self._flushed = monotonic()
        incidents = tuple(self._known(touched))
        self._moved.clear()
        return Batch(
            steps,
            incidents,
            alerts,
            forgotten,
            snapshot=snapshot,
            next_seq=self._seq,
            brief=self.inbox.gives_way,
        )

    def _known(self, incidents: Iterable[str]) -> Iterator[Incident]:
        """Counters may lag behind the close that dropped the incident: its row stands.

        Unless it was behind at the start: then it is brought up to what the incident was there.
        """
        for name in incidents:
            incident = self.engine.find_incident(name) or self._moved.get(name)
            if incident is not None:
                yield incident

    def _unseen(self) -> bool:
        """Duplicates move nothing but last-seen: their rows are brought up less often."""
        return monotonic() - self._seen_at >= SEEN_EVERY

    async def _commit(self, batch: Batch) -> None:
        """A full disk is waited out: the engine stands still, senders get 503 at their deadline.

        Not by a daemon that is to stop, which raises StoreFull: nothing was acknowledged.
        """
        began = monotonic()
        while True:
            try:
                await self._store.commit(batch)
            except StoreFull as full:
                if self.blocked_since is None:
                    self.blocked_since = monotonic()
                self._answer_probes(full)
                if self.inbox.closed:
                    raise
                await asyncio.sleep(FULL_RETRY_EVERY)
            else:
                if self.blocked_since is not None:
                    self.blocked_since = None
                    self._answer_probes(StoreFull("the disk was full"))
                self.commit_seconds = monotonic() - began
                return

    def _answer_probes(self, full: StoreFull) -> None:
        for probe in self._probes.values():
            _end(probe, full)


def _end(future: asyncio.Future[Outcome], result: Outcome | EventdError) -> None:
    if future.done():
        return
    if isinstance(result, EventdError):
        future.set_exception(result)
    else:
        future.set_result(result)


def _is_start(items: tuple[Submission, ...]) -> bool:
    return any(type(one) is Started for item in items[:1] for one in item.inputs[:1])


def _crashed(inputs: tuple[Input, ...]) -> tuple[int, ...]:
    return tuple(
        index
        for index, one in enumerate(inputs)
        if isinstance(one, Refused) and one.reason == QUARANTINED
    )


_PROBED = Outcome(0, 0, ())
_RESTARTS = "the daemon restarts after a poisonous input"
_OF_ALERTS = (AlertChanged, AlertSuppressed, AlertUnsuppressed)
_OF_INCIDENTS = (
    IncidentUpdated,
    IncidentAcknowledged,
    IncidentCommented,
    IncidentResolved,
    IncidentReopened,
    IncidentClosed,
    IncidentRanked,
    FindingNoted,
    VerdictGiven,
)
