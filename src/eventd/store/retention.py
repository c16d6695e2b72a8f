"""Forgetting on disk what is old or too much, in small bites. Used by the writer thread only."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import msgspec
from msgspec import Struct

from eventd.core.model import VerdictGiven
from eventd.store.database import transaction
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


class Retention:
    """Bites of at most a few milliseconds."""

    def __init__(
        self, tables: Tables, directory: Path, limits: Limits, unread: Collection[str] = ()
    ) -> None:
        """`tables` are the writer's; `unread` are snapshots nobody could start from."""
        self._tables, self._directory, self._limits = tables, directory, limits
        self._unread = unread

    def bite(self) -> bool:
        """Delete a little of what is too old, or too much; whether there may be more."""
        tables, limits = self._tables, self._limits
        raw_before = tables.now - limits.raw_for // MICROSECOND - REUSE_FOR
        before = tables.now - limits.journal_for // MICROSECOND
        floor = self._floor()
        if self._trim(raw_before, before, floor):
            return True
        if self._used() <= limits.max_bytes:
            return False
        tables.payloads.clear()
        return self._trim(ANY_AGE, ANY_AGE, floor)

    def _trim(self, raw_before: int, before: int, floor: int) -> bool:
        """The first that finds anything, in order of how little it is missed.

        What the journal from `floor` on speaks of stays.
        """
        db = self._tables.db
        with transaction(db):
            if _trimmed(db, "trim_quarantined", raw_before) or _trimmed(
                db, "trim_deliveries", raw_before
            ):
                return True
            if _trimmed(db, "trim_journal", before, floor) + _trimmed(db, "trim_orphans"):
                return True
            if _trimmed(db, "trim_quarantined_inputs", before) + _trimmed(db, "trim_quarantine"):
                return True
            self._tables.file_ledger()
            if _trimmed(db, "trim_loose_ledger", before, floor):
                _trimmed(db, "trim_loose_ledger_of")
                return True
            (names,) = db.execute(QUERIES["old_incidents"], (before, floor)).fetchone()
            if msgspec.json.decode(names):
                for name in ("trim_timeline", "trim_ledger", "trim_ledger_of", "trim_incidents"):
                    db.execute(QUERIES[name], (names,))
                return True
            ended = _trimmed(db, "trim_silences", before, floor)
            ended += _trimmed(db, "trim_maintenance", before, floor)
            return bool(ended + self._trim_audit(before, floor))

    def _trim_audit(self, before: int, floor: int) -> int:
        """And verdicts on incidents that were taken before: nothing else says when they go."""
        db = self._tables.db
        acts = db.execute(QUERIES["old_acts"], (before, floor)).fetchall()
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

    def _used(self) -> int:
        db = self._tables.db
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        (free,) = db.execute("PRAGMA freelist_count").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
        return int((pages - free) * size)


def _trimmed(db: sqlite3.Connection, name: str, *values: int) -> int:
    return db.execute(QUERIES[name], values).rowcount
