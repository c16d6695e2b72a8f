"""Starting again: the newest good snapshot, then the journal's tail through the same step."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Protocol, TypeVar

import msgspec
from msgspec import Struct

from eventd.core.concerned import incidents_of
from eventd.core.engine import Engine
from eventd.core.model import (
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
    Event,
    EventDuplicate,
    Fact,
    Incident,
    Input,
    Maintenance,
    Silence,
)
from eventd.core.snapshot import Restored
from eventd.errors import EventdError, Poisoned, StoreBroken, StoreError
from eventd.runtime import SNAPSHOT_EVERY, Batch, Quarantined, Step

# Values of one batch when every row is written anew.
ROWS_AT_ONCE = 1_000


class Row(Protocol):
    """A journal row to step again."""

    @property
    def seq(self) -> int:
        """Of its first input."""
        ...

    @property
    def now(self) -> datetime:
        """Engine time it was stepped at."""
        ...

    @property
    def digest(self) -> int:
        """Of the facts it caused."""
        ...

    @property
    def inputs(self) -> tuple[Input, ...]:
        """In order."""
        ...


class Saved(Protocol):
    """A snapshot read back."""

    @property
    def next_seq(self) -> int:
        """The journal position it was taken at."""
        ...

    @property
    def now(self) -> datetime | None:
        """Engine time then."""
        ...

    @property
    def frames(self) -> Iterable[bytes]:
        """For `Restored`."""
        ...


class Span(Protocol):
    """How far the journal reaches: `[first, next_seq)`."""

    @property
    def first(self) -> int:
        """The oldest row's position."""
        ...

    @property
    def next_seq(self) -> int:
        """Where the next row goes."""
        ...

    @property
    def now(self) -> datetime | None:
        """Of the last row; None where there is none."""
        ...


class Journal(Protocol):
    """What recovery needs of a store."""

    def snapshots(self) -> Sequence[str]:
        """Names, newest first."""
        ...

    def load(self, name: str) -> Saved:
        """Raise StoreError where the snapshot is no good, StoreBroken where nobody can say."""
        ...

    def set_aside(self, name: str) -> None:
        """The snapshot counts no more."""
        ...

    def pass_over(self, name: str) -> None:
        """The snapshot stays until there is a newer one; what is older is needed until then."""
        ...

    def span(self) -> Span:
        """`[0, 0)` where the journal is empty."""
        ...

    def follows(self, seq: int) -> int | None:
        """Position of the first row from a position on, damaged or not; None: there is none."""
        ...

    def position_at(self, start: datetime) -> int:
        """The first position that was stepped then or later."""
        ...

    def tail(self, seq: int) -> Iterator[Row]:
        """Rows from a position on, in order."""
        ...

    def digest(self, facts: Sequence[Fact]) -> int:
        """As the rows have it."""
        ...

    def skipped(self) -> frozenset[int]:
        """Positions of inputs never to be stepped again."""
        ...

    def quarantined_keys(self) -> tuple[bytes, ...]:
        """Delivery keys never to be stepped again."""
        ...

    def quarantine(self, seq: int, poison: Quarantined) -> None:
        """Add to both."""
        ...

    def rewrite(self, seq: int, batches: Iterable[Batch], everything: Iterable[Batch]) -> None:
        """Make the tables say what `batches` do from `seq` on, then put `everything`."""
        ...

    def alerts(self) -> Iterator[Alert]:
        """From the tables."""
        ...

    def incidents(self) -> Iterator[Incident]:
        """From the tables: those not closed, and the one opened last."""
        ...

    def members(self) -> Iterator[tuple[str, str]]:
        """From the tables: incident and fingerprint."""
        ...

    def silences(self) -> Iterator[Silence]:
        """From the tables."""
        ...

    def maintenance(self) -> Iterator[Maintenance]:
        """From the tables."""
        ...


class Recovered(Struct, frozen=True):
    """The engine as it was when the journal ended, and how that was found out."""

    engine: Engine
    next_seq: int
    snapshot_seq: int
    now: datetime | None
    dirty: tuple[str, ...]  # alerts whose rows may be behind
    gone: tuple[str, ...]  # alerts that are known no more and may have rows
    moved: tuple[Incident, ...]  # whose rows may be behind
    quarantine: tuple[bytes, ...]
    start: str  # "empty", "journal", "tables", or the snapshot's name
    replayed: int  # journal rows
    fired: int  # alerts that began to fire in them
    diverged: int  # of them, rows whose facts came out differently; the tables follow
    poisoned: int  # inputs found to raise on the way
    rejected: tuple[str, ...]  # what could not be used, and why: to be said loudly


class Poison(Poisoned):
    """An input that raised while it was stepped again."""

    def __init__(self, seq: int, quarantined: Quarantined) -> None:
        """`seq` is the input's own position."""
        self.seq, self.quarantined = seq, quarantined
        super().__init__(quarantined.traceback)


Answers = list[tuple[Fact, ...]]
R = TypeVar("R", bound=Row)


def replayed(
    engine: Engine, rows: Iterable[R], skipped: frozenset[int]
) -> Iterator[tuple[R, Answers]]:
    """Step rows again; the facts of each input, none where it is skipped. Raises Poison."""
    step = engine.step
    for row in rows:
        now, seq = row.now, row.seq
        answers: Answers = []
        for at, item in enumerate(row.inputs, seq):
            if skipped and at in skipped:
                answers.append(())
                continue
            try:
                answers.append(step(item, now))
            except MemoryError:  # the row is as good as it was: the next start steps it
                raise
            except Exception as e:
                # the boundary of runtime, once more: one input must not keep eventd from starting
                why = traceback.format_exc()
                raise Poison(at, Quarantined(item, now, None, why)) from e
        yield row, answers


def recover(journal: Journal) -> Recovered:
    """The engine at the journal's end. Blocks; raises StoreError where there is no way.

    A snapshot that cannot be read may be good: the tables, which lose more, are not read then.

    An input that raises is quarantined, and recovery starts again without it.
    """
    poisoned = 0
    rejected: dict[str, None] = {}
    while True:
        start = _start(journal, rejected)
        try:
            return _Recovery(journal, start).run(poisoned, tuple(rejected))
        except Poison as poison:
            journal.quarantine(poison.seq, poison.quarantined)
            poisoned += 1


class _Start(Struct, frozen=True):
    """Where recovery starts from."""

    engine: Engine
    next_seq: int
    snapshot_seq: int
    now: datetime | None
    name: str


def _start(journal: Journal, rejected: dict[str, None]) -> _Start:
    span = journal.span()
    unread: StoreBroken | None = None
    for name in journal.snapshots():
        try:
            saved = journal.load(name)
            _fits(saved, span, journal)
            engine = Engine.restore(Restored(saved.frames))
        except StoreBroken as e:
            unread = unread or e
            rejected[str(e)] = None
            journal.pass_over(name)
        except (StoreError, msgspec.MsgspecError, EventdError, LookupError, ValueError) as e:
            rejected[f"{name}: {e}"] = None
            journal.set_aside(name)
        else:
            return _Start(engine, saved.next_seq, saved.next_seq, saved.now, name)
    if span.first == 0:
        return _Start(Engine(), 0, 0, None, "journal" if span.next_seq else "empty")
    if unread is not None:
        raise unread
    rejected["no snapshot is good and the journal does not reach back to its beginning"] = None
    engine = Engine.rebuild(
        journal.alerts(),
        journal.incidents(),
        journal.members(),
        journal.silences(),
        journal.maintenance(),
    )
    if span.now is not None:
        oldest = span.now - timedelta(seconds=engine.settings.strong_key_for)
        _recognise(engine, journal, oldest, rejected)
    # as far behind as makes the runtime take a snapshot at once
    behind = span.next_seq - SNAPSHOT_EVERY
    return _Start(engine, span.next_seq, behind, span.now, "tables")


def _recognise(
    engine: Engine, journal: Journal, oldest: datetime, rejected: dict[str, None]
) -> None:
    """Have it know again what the journal still has, as far as its rows can be decoded."""
    skipped = journal.skipped()
    try:
        for row in journal.tail(journal.position_at(oldest)):
            for at, item in enumerate(row.inputs, row.seq):
                if isinstance(item, Event) and at not in skipped:
                    engine.recognise(item, row.now)
    except msgspec.MsgspecError as e:
        rejected[f"what came last may count again: the journal cannot be read: {e}"] = None


def _fits(saved: Saved, span: Span, journal: Journal) -> None:
    """Raise StoreError where the journal does not continue the snapshot."""
    if saved.next_seq == span.next_seq:
        return
    first = journal.follows(saved.next_seq)
    if first is None:
        raise StoreError(f"ends at {saved.next_seq}, after the journal's end {span.next_seq}")
    if first != saved.next_seq:
        raise StoreError(f"ends at {saved.next_seq}, the journal goes on at {first}")


class _Recovery:
    """One attempt."""

    def __init__(self, journal: Journal, start: _Start) -> None:
        self._journal, self._start, self._engine = journal, start, start.engine
        self._touched: dict[str, None] = {}  # fingerprints
        self._moved: dict[str, None] = {}  # incidents
        self._rows = self._diverged = self._fired = 0
        self._now = start.now

    def run(self, poisoned: int, rejected: tuple[str, ...]) -> Recovered:
        """Step the tail; at the first facts that differ, the tables start to follow."""
        start, journal = self._start, self._journal
        steps = self._steps()
        for step, differs in steps:
            if differs:
                batches = self._batches(chain(((step, differs),), steps))
                journal.rewrite(step.seq, batches, self._everything())
        engine = self._engine
        known = tuple(f for f in self._touched if _is_known(engine, f))
        gone = tuple(f for f in self._touched if not _is_known(engine, f))
        return Recovered(
            engine=engine,
            next_seq=max(start.next_seq, journal.span().next_seq),
            snapshot_seq=start.snapshot_seq,
            now=self._now,
            dirty=known,
            gone=gone,
            # the last batch before a poisonous input is committed without its incidents
            moved=tuple(_incidents(engine, self._moved)),
            quarantine=journal.quarantined_keys(),
            start=start.name,
            replayed=self._rows,
            fired=self._fired,
            diverged=self._diverged,
            poisoned=poisoned,
            rejected=rejected,
        )

    def _steps(self) -> Iterator[tuple[Step, bool]]:
        journal = self._journal
        rows = journal.tail(self._start.next_seq)
        for row, answers in replayed(self._engine, rows, journal.skipped()):
            facts = answers[0] if len(answers) == 1 else tuple(chain.from_iterable(answers))
            self._mark(facts)
            self._rows += 1
            self._now = row.now
            differs = journal.digest(facts) != row.digest
            self._diverged += differs
            yield Step(row.seq, row.now, None, row.inputs, facts), differs

    def _batches(self, steps: Iterable[tuple[Step, bool]]) -> Iterator[Batch]:
        for step, _ in steps:
            moved: dict[str, None] = {}
            for fact in step.facts:
                moved.update(dict.fromkeys(incidents_of(fact)))
            yield Batch((step,), tuple(_incidents(self._engine, moved)))

    def _everything(self) -> Iterator[Batch]:
        engine = self._engine
        yield Batch(incidents=tuple(engine.incidents()))
        alerts: list[Alert] = []
        for alert in engine.alerts():
            alerts.append(alert)
            if len(alerts) == ROWS_AT_ONCE:
                yield Batch(alerts=tuple(alerts))
                alerts.clear()
        yield Batch(alerts=tuple(alerts))

    def _mark(self, facts: tuple[Fact, ...]) -> None:
        """Note whose alert and incident rows the facts moved."""
        touched = self._touched
        for fact in facts:
            match fact:
                case EventDuplicate() if not fact.fingerprint:
                    pass  # a command given twice
                case EventDuplicate() | AlertRepeated() | AlertChanged() | AlertForgotten():
                    touched[fact.fingerprint] = None
                case AlertCleared() | AlertJoined() | AlertDetached():
                    touched[fact.fingerprint] = None
                    self._moved.update(dict.fromkeys(incidents_of(fact)))
                case AlertSuppressed() | AlertUnsuppressed():
                    touched[fact.fingerprint] = None
                case AlertFired():
                    touched[fact.alert.fingerprint] = None
                    self._fired += 1
                case _:
                    self._moved.update(dict.fromkeys(incidents_of(fact)))


def _is_known(engine: Engine, fingerprint: str) -> bool:
    try:
        return engine.alert(fingerprint).episode > 0
    except KeyError:
        return False


def _incidents(engine: Engine, names: Iterable[str]) -> Iterator[Incident]:
    """The present value of each, as far as the engine remembers it."""
    for name in names:
        try:
            yield engine.incident(name)
        except KeyError:
            continue
