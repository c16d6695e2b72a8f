"""The store: one writer thread, one transaction a batch, snapshots beside it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Self, TypeVar

import msgspec
import structlog

from eventd.clock import monotonic
from eventd.core.snapshot import Snapshot
from eventd.errors import EventdError, StoreBroken, StoreFull
from eventd.runtime import Batch, Quarantined
from eventd.store.database import (
    DATABASE,
    LOCK,
    LOG,
    WAL_LIMIT,
    OpenFile,
    explain,
    lock_state,
    open_reader,
    open_writer,
)
from eventd.store.journal import JournalReader
from eventd.store.retention import Limits, Retention
from eventd.store.rows import moment
from eventd.store.snapshots import SnapshotFile, set_aside
from eventd.store.tables import Tables
from eventd.store.writer import WriterThread

T = TypeVar("T")

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

DEFAULTS = Limits()
# Bytes written to the log between checkpoints. Commits wait behind one: 4 to 10 ms, 40 with 16 MB.
# With a quarter they wait 1.4, but posts of one event each cost a twentieth more: so this is for
# those who send little beside a flood, whose every 30th delivery would come while one is made.
CHECKPOINT_EVERY, BRIEF = 2 << 20, 512 << 10
# Who comes before a checkpoint may wait for five syncs: the commit under way, the log, the
# database, the new beginning of the log, and his own commit. Where one takes longer than SLOW_SYNC
# seconds, checkpoints lie so many times its length apart, so that fewer than 1 answer in 100 is
# that late. The log grows meanwhile, until WAL_LIMIT bytes were written to it.
SLOW_SYNC = 0.05
SYNCS_BETWEEN = 400
# Bytes a commit writes besides bodies: four pages and their frames.
COMMIT_OVERHEAD = 4 * 8192
# Engine time, microseconds, between looks for what is too old; bytes written between looks for what
# is too much, or such a part of the room there is. Beside a flood a commit waits 2 ms for a look.
TRIM_EVERY = 60 * 1_000_000
TRIM_AFTER = 1 << 20
TRIM_AFTER_PART = 8
# The journal reaches back to the older snapshot whatever its size: of large events two are apart no
# more than such a part of what may be kept, or so many bytes.
SNAPSHOT_PART = 8
SNAPSHOT_LEAST = 32 << 20


class SqliteStore:
    """The durable state of one daemon: `commit` for the runtime, the rest for recovery.

    All SQLite work happens in one thread of its own, in order. Between commits the same thread
    writes snapshots, checkpoints and forgets, a few milliseconds at a time. After anything but a
    full disk, or too many open files, goes wrong nothing is committed any more.
    """

    def __init__(self, directory: Path, limits: Limits) -> None:
        """Use `open`."""
        self.directory = directory
        self._limits = limits
        self._writer = WriterThread()
        self._lock = -1
        self._files = (
            OpenFile(directory / DATABASE),
            OpenFile(directory / LOG, cut_to=WAL_LIMIT),
            OpenFile(directory / LOCK),  # without its name it keeps nobody else out
        )
        self._tables: Tables | None = None
        self._retention: Retention | None = None
        self._snapshot: SnapshotFile | None = None
        self._unread: dict[str, None] = {}  # snapshots recovery could not read
        self._settled = False  # what was in the log at the start is in the database
        self._unchecked = 0  # bytes since the last checkpoint
        self._check_every = CHECKPOINT_EVERY
        self._checked = monotonic()  # when that was
        self._checked_last = False  # nothing else was done since
        self._trimmed = 0  # engine time of the last look for what is too old
        self._trimming = False
        self._trim_after = TRIM_AFTER
        self._inputs = self._written = 0  # since then; the latter in bytes
        self._unsaved = 0  # bytes since the last snapshot was begun
        self._came = False  # something, since the last bite
        self._tidying = False
        self._closing = False
        self.broken: StoreBroken | None = None  # why nothing is committed any more
        self._untold: StoreBroken | None = None  # the same, while nobody who waits was told
        self.breaks: Callable[[], object] = lambda: None  # called in the writer thread then
        self.snapshots = 0  # that became durable
        self.snapshot_seq = 0  # position of the last of them
        self.snapshot_failures = 0  # given up for want of room

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        journal_for: timedelta = DEFAULTS.journal_for,
        raw_for: timedelta = DEFAULTS.raw_for,
        max_bytes: int = DEFAULTS.max_bytes,
    ) -> SqliteStore:
        """For `async with`: the store in a state directory, taken for this process.

        Entering raises StoreInUse, StoreTooNew, StoreFull, or StoreError with path and reason;
        leaving raises StoreBroken where it broke since the last commit.
        """
        return cls(directory, Limits(journal_for, raw_for, max_bytes))

    async def __aenter__(self) -> Self:
        self._writer.start()
        try:
            await self._writer.run(self._open)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._writer.run(self._close)
        finally:
            self._writer.stop()

    @property
    def wants_snapshot(self) -> bool:
        """What came since the last one takes much of the room there may be."""
        return self._unsaved >= max(SNAPSHOT_LEAST, self._limits.max_bytes // SNAPSHOT_PART)

    @property
    def sync_took(self) -> float:
        """Seconds it took at the end of the last batch until that was durable."""
        return self._tables.sync_took if self._tables is not None else 0.0

    async def commit(self, batch: Batch) -> None:
        """Write it in one transaction; return when it is durable.

        Raises StoreFull where it may be retried unchanged, StoreBroken where it may not.
        """
        await self._writer.run(lambda: self._commit(batch))

    @contextmanager
    def journal(self) -> Iterator[SqliteJournal]:
        """For recovery, before the first commit, from any thread but the writer's."""
        with closing(open_reader(self.directory)) as db:
            try:
                yield SqliteJournal(self.directory, db, self._in_writer, self._unread)
            except (sqlite3.Error, msgspec.DecodeError) as e:
                raise explain(e, self.directory) from e

    def _in_writer(self, work: Callable[[Tables], T]) -> T:
        def settled() -> T:
            tables = self._settle()
            return self._guarded(lambda: work(tables))

        return self._writer.wait(settled)

    # -- the writer thread ------------------------------------------------------------------------

    def _open(self) -> None:
        self._lock = lock_state(self.directory)
        db = open_writer(self.directory)
        self._tables = tables = Tables(db)
        self._retention = Retention(tables, self.directory, self._limits, self._unread)
        self._guarded(tables.load)
        self._trimmed = tables.now
        self._written = TRIM_AFTER  # who lives for less than a minute looks all the same
        with suppress(StoreFull):  # what is there can be read
            self._settle()

    def _settle(self) -> Tables:
        """To be done before anything is written.

        A crash may have left a commit whose sync failed, whole only in memory: write it anew.
        """
        tables = self._open_tables()
        if not self._settled:
            self._checkpoint(tables)
            self._settled = True
        return tables

    def _checkpoint(self, tables: Tables) -> None:
        self._guarded(lambda: tables.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall())
        self._unchecked, self._checked = 0, monotonic()

    def _close(self) -> None:
        self._closing = True
        try:
            if self._untold is not None:
                raise self._untold
            if self.broken is None and self._tables is not None:
                while self._snapshot is not None:
                    self._advance(self._snapshot)
        finally:
            if self._tables is not None:
                self._tables.db.close()
            if self._lock >= 0:
                os.close(self._lock)

    def _open_tables(self) -> Tables:
        if self._tables is None:
            raise StoreBroken(f"{self.directory}: is not open")
        return self._tables

    def _commit(self, batch: Batch) -> None:
        tables = self._settle()
        self._check_every = BRIEF if batch.brief else CHECKPOINT_EVERY
        if batch.steps or batch.alerts or batch.forgotten or batch.incidents or batch.quarantined:
            before = tables.next_seq
            size = self._write(tables, batch) + COMMIT_OVERHEAD
            self._unchecked += size
            self._written += size
            self._unsaved += size - COMMIT_OVERHEAD
            self._came = True
            self._inputs += tables.next_seq - before
        else:
            self._guarded(lambda: None)
        if batch.snapshot is not None:
            self._take(batch.snapshot, batch.next_seq)
        if not self._tidying and self._untidy():
            self._tidying = True
            self._writer.post(self._tidy)

    def _write(self, tables: Tables, batch: Batch) -> int:
        """The bytes it brought. Where they find no room, what the log holds may make some."""
        try:
            return self._guarded(lambda: tables.write(batch))
        except StoreFull:
            with suppress(StoreFull):
                self._checkpoint(tables)
            raise

    def _guarded(self, work: Callable[[], T]) -> T:
        """Run it; whatever goes wrong becomes StoreFull, or StoreBroken for ever.

        The files are looked at before. What takes them away while it runs takes what was committed
        before as well: no look afterwards could undo that.

        What is neither SQLite's word nor the disk's, nor damaged there, is a fault of ours: it is
        logged as it came.
        """
        if self.broken is not None:
            self._untold = None
            raise self.broken
        try:
            for file in self._files:
                file.look()
            return work()
        except EventdError as e:  # a replay that is written says itself what stopped it
            if isinstance(e, StoreBroken):
                self.broken = e
            raise
        except Exception as e:
            if not isinstance(e, sqlite3.Error | OSError | msgspec.DecodeError):
                _log.error("store.failed", exc_info=e)
            error = explain(e, self.directory)
            if isinstance(error, StoreBroken):
                self.broken = error
            raise error from e

    def _take(self, snapshot: Snapshot, next_seq: int) -> None:
        if self._snapshot is not None:
            self._guarded(self._snapshot.abandon)
        now = moment(self._open_tables().now)
        self._snapshot = SnapshotFile(self.directory, snapshot, next_seq, now, self._unread)
        self._unsaved = 0

    def _untidy(self) -> bool:
        return self._checkpoint_due() or self._behind()

    def _behind(self) -> bool:
        return self._snapshot is not None or self._forgets()

    def _forgets(self) -> bool:
        return (
            self._trimming
            or self._written >= self._trim_after
            or self._open_tables().now - self._trimmed >= TRIM_EVERY
        )

    def _checkpoint_due(self) -> bool:
        if self._unchecked < self._check_every:
            return False
        sync = self._open_tables().sync_took
        return (
            sync < SLOW_SYNC
            or self._unchecked >= WAL_LIMIT
            or monotonic() - self._checked >= SYNCS_BETWEEN * sync
        )

    def _tidy(self) -> None:
        """One bite; commits that wait go before the next."""
        self._tidying = False
        if self._closing or self.broken is not None:
            return
        try:
            self._bite()
        except StoreFull:
            return  # it is tried again after a later commit
        except StoreBroken as e:
            self._untold = e  # the next commit raises it, or closing where there is none
            self.breaks()
            return
        if self._untidy():
            self._tidying = True
            self._writer.post(self._tidy)

    def _bite(self) -> None:
        """Of what is due nothing waits for ever: under load all of it always is."""
        tables, retention = self._open_tables(), self._retention
        if self._checkpoint_due() and not (self._checked_last and self._behind()):
            self._checked_last = True
            self._checkpoint(tables)
            return
        self._checked_last = False
        if self._snapshot is not None:
            self._advance(self._snapshot)
        if self._forgets() and retention is not None:
            inputs, self._inputs, self._written = self._inputs, 0, 0
            self._trimmed = tables.now
            self._trimming = self._guarded(lambda: retention.bite(inputs))
            if not self._came:  # what goes as something comes writes the log about as that does
                self._unchecked += retention.freed
            self._came = False
            self._trim_after = max(TRIM_AFTER, retention.room // TRIM_AFTER_PART)

    def _advance(self, snapshot: SnapshotFile) -> None:
        """Write a little of the snapshot. Want of space gives it up, anything else is doubt."""
        try:
            if not self._guarded(lambda: snapshot.advance(self._unsaved)):
                self._snapshot = None
                self._unread.clear()
                self.snapshots += 1
                self.snapshot_seq = snapshot.next_seq
        except StoreFull:
            self._snapshot = None
            self.snapshot_failures += 1
            self._guarded(snapshot.abandon)


class SqliteJournal(JournalReader):
    """What recovery reads, and what it mends."""

    def __init__(
        self,
        directory: Path,
        db: sqlite3.Connection,
        in_writer: Callable[[Callable[[Tables], object]], object],
        unread: dict[str, None],
    ) -> None:
        """`db` reads; `in_writer` has work done on the tables and waits for it.

        What is passed over is added to `unread`.
        """
        super().__init__(directory, db)
        self._in_writer, self._unread = in_writer, unread

    def set_aside(self, name: str) -> None:
        """A snapshot that cannot be used counts no more."""
        set_aside(self.directory / name)

    def pass_over(self, name: str) -> None:
        """A snapshot that cannot be read: the next one takes its place, not that of an older."""
        self._unread[name] = None

    def quarantine(self, seq: int, poison: Quarantined) -> None:
        """Never step the journaled input at `seq` again."""
        self._in_writer(lambda tables: tables.quarantine(seq, poison))

    def rewrite(self, seq: int, batches: Iterable[Batch], everything: Iterable[Batch]) -> None:
        """Make the tables follow a replay; see `Tables.rewrite`."""
        self._in_writer(lambda tables: tables.rewrite(seq, batches, everything))
