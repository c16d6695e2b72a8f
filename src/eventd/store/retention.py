"""Forgetting on disk what is old or too much, in small bites. Used by the writer thread only."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import msgspec
from msgspec import Struct

from eventd.core.model import VerdictGiven
from eventd.store.database import transaction, unsynced
from eventd.store.payloads import REUSE_FOR
from eventd.store.queries import QUERIES
from eventd.store.rows import MICROSECOND, decode_fact, json_array
from eventd.store.snapshots import KEPT, position_of, snapshot_paths
from eventd.store.tables import Tables

# Microseconds: later than any time there is.
ANY_AGE = 1 << 62


class Limits(Struct, frozen=True):
    """How long and how much.

    Whatever these say, the journal reaches back to the older snapshot.
    """

    journal_for: timedelta = timedelta(days=30)  # and closed incidents with their reasons
    raw_for: timedelta = timedelta(days=7)  # raw deliveries
    max_bytes: int = 8 << 30  # of the database; what is oldest goes first


class Bite(Struct, frozen=True):
    """How much of each kind goes at once, and once more where there is more.

    No less than was written since the last one: or a load that never pauses would outgrow it.
    """

    rows: int
    inputs: int  # that journal rows hold
    incidents: int
    bytes: int  # of raw deliveries; the one that reaches it goes too

    @classmethod
    def after(cls, inputs: int, size: int) -> Bite:
        """For so many inputs and bytes of bodies written: some milliseconds, or as those took."""
        return cls(max(32, inputs), max(256, inputs), max(8, inputs), max(512 << 10, size))


class Retention:
    """Forgets in bites."""

    def __init__(
        self, tables: Tables, directory: Path, limits: Limits, unread: Collection[str] = ()
    ) -> None:
        """`tables` are the writer's; `unread` are snapshots nobody could start from."""
        self._tables, self._directory, self._limits = tables, directory, limits
        self._unread = unread

    def bite(self, size: Bite) -> bool:
        """Delete a little of what is too old, or too much; whether there may be more."""
        tables, limits = self._tables, self._limits
        raw_before = tables.now - limits.raw_for // MICROSECOND - REUSE_FOR
        before = tables.now - limits.journal_for // MICROSECOND
        if self._trim(size, raw_before, before, lambda: False):
            return True
        if self._fits():
            return False
        tables.payloads.clear()
        return self._trim(size, ANY_AGE, ANY_AGE, self._fits)

    def _trim(self, size: Bite, raw_before: int, before: int, enough: Callable[[], bool]) -> bool:
        """Whether anything was found, in order of how little it is missed, until it is `enough`.

        Where more is left of a kind the next ones wait, but not for what came since the last bite:
        under a load without a pause there is always some. What the journal from the older snapshot
        on speaks of stays.
        """
        floor = self._floor()
        kinds: tuple[Callable[[], int], ...] = (
            lambda: self._trim_raw(size, raw_before),
            lambda: self._trim_journal(size, before, floor),
            lambda: self._trim_quarantine(size, before),
            lambda: self._trim_loose_ledger(size, before, floor),
            lambda: self._trim_incidents(size, before, floor),
            lambda: self._trim_ended(before, floor) + self._trim_audit(size, before, floor),
        )
        found = False
        with unsynced(self._tables.db), transaction(self._tables.db):
            for kind in kinds:
                if not kind():
                    continue
                found = True
                if enough() or kind():
                    break
        return found

    def _trim_raw(self, size: Bite, before: int) -> int:
        db = self._tables.db
        return _trimmed(db, "trim_quarantined", size.rows, before, size.bytes) or _trimmed(
            db, "trim_deliveries", size.inputs, size.rows, before, size.bytes
        )

    def _trim_journal(self, size: Bite, before: int, floor: int) -> int:
        db = self._tables.db
        gone = _trimmed(db, "trim_journal", size.inputs, before, floor)
        return gone + _trimmed(db, "trim_orphans", size.inputs, size.rows)

    def _trim_quarantine(self, size: Bite, before: int) -> int:
        db = self._tables.db
        gone = _trimmed(db, "trim_quarantined_inputs", before, size.rows)
        return gone + _trimmed(db, "trim_quarantine", size.rows)

    def _trim_loose_ledger(self, size: Bite, before: int, floor: int) -> int:
        db = self._tables.db
        self._tables.file_ledger()
        gone = _trimmed(db, "trim_loose_ledger", size.rows, before, floor)
        if gone:
            _trimmed(db, "trim_loose_ledger_of", size.rows)
        return gone

    def _trim_incidents(self, size: Bite, before: int, floor: int) -> int:
        db = self._tables.db
        query = QUERIES["old_incidents"]
        (names,) = db.execute(query, (before, floor, size.incidents)).fetchone()
        if not msgspec.json.decode(names):
            return 0
        for name in ("trim_timeline", "trim_ledger", "trim_ledger_of"):
            db.execute(QUERIES[name], (names,))
        return db.execute(QUERIES["trim_incidents"], (names,)).rowcount

    def _trim_ended(self, before: int, floor: int) -> int:
        db = self._tables.db
        gone = _trimmed(db, "trim_silences", before, floor)
        return gone + _trimmed(db, "trim_maintenance", before, floor)

    def _trim_audit(self, size: Bite, before: int, floor: int) -> int:
        """And verdicts on incidents that were taken before: nothing else says when they go."""
        db = self._tables.db
        acts = db.execute(QUERIES["old_acts"], (size.rows, before, floor)).fetchall()
        judged: list[str] = []
        for _, body in acts:
            with suppress(msgspec.MsgspecError):  # a damaged one goes all the same
                fact = decode_fact(body)
                if isinstance(fact, VerdictGiven):
                    judged.append(fact.incident)
        if judged:
            db.execute(QUERIES["trim_verdicts"], (json_array(judged), before, floor))
        return _trimmed(db, "trim_audit", acts[-1][0]) if acts else 0

    def _floor(self) -> int:
        """Position of the older snapshot; the beginning where there are not two."""
        paths = [one for one in snapshot_paths(self._directory) if one.name not in self._unread]
        return position_of(paths[KEPT - 1]) if len(paths) >= KEPT else 0

    def _fits(self) -> bool:
        db = self._tables.db
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        (free,) = db.execute("PRAGMA freelist_count").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
        return int((pages - free) * size) <= self._limits.max_bytes


def _trimmed(db: sqlite3.Connection, name: str, *values: int) -> int:
    return db.execute(QUERIES[name], values).rowcount
