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
from eventd.runtime import MAX_BATCH_INPUTS
from eventd.store.database import transaction, unsynced
from eventd.store.payloads import REUSE_FOR
from eventd.store.queries import QUERIES
from eventd.store.rows import MICROSECOND, decode_entries, decode_fact, encode, json_array
from eventd.store.snapshots import KEPT, position_of, snapshot_paths
from eventd.store.tables import Tables

ANY_AGE = 1 << 62  # microseconds: later than any time there is
ANY_SIZE = 1 << 62  # bytes: more than any store has
PIECE_ROWS = 64  # of most kinds; the queries say how much of each a piece is
THIN_PIECES = 16  # a bite looks at, where nothing else is left to delete: some 20 ms
SHRINK_BY = 256 << 10  # bytes a bite, at least, where the store is too large


class Limits(Struct, frozen=True):
    """How long and how much.

    Whatever these say, the journal reaches back to the older snapshot.
    """

    journal_for: timedelta = timedelta(days=30)  # and closed incidents with their reasons
    raw_for: timedelta = timedelta(days=7)  # raw deliveries
    max_bytes: int = 8 << 30  # of the database; what is oldest goes first


class Retention:
    """Forgets in bites of a few milliseconds, each of one or more pieces."""

    def __init__(
        self, tables: Tables, directory: Path, limits: Limits, unread: Collection[str] = ()
    ) -> None:
        """`tables` are the writer's; `unread` are snapshots nobody could start from."""
        self._tables, self._directory, self._limits = tables, directory, limits
        self._unread = unread
        self._left = ANY_SIZE  # by the last bite
        self._thinned = 0  # the ledger's row that was looked at last
        self.freed = 0  # bytes by the last bite, of which the log has about as many

    @property
    def room(self) -> int:
        """Bytes that were still free after the last bite."""
        return self._limits.max_bytes - self._left

    def bite(self, inputs: int) -> bool:
        """Delete what is too old, or too much; whether there may be more.

        No less than came since the last bite, or a load without a pause would outgrow it: pieces of
        what is too old for as many as `inputs`, and what is too much until less is there than then.
        """
        tables, limits = self._tables, self._limits
        raw_before = tables.now - limits.raw_for // MICROSECOND - REUSE_FOR
        before = tables.now - limits.journal_for // MICROSECOND
        floor = self._floor()
        at_first = self._used()
        with unsynced(tables.db):
            tables.file_ledger()
            with transaction(tables.db):
                pieces = iter(range(min(inputs, MAX_BATCH_INPUTS) // PIECE_ROWS))
                more = self._trim(raw_before, before, floor, lambda: next(pieces, None) is None)
                used = self._used()
                if used > limits.max_bytes:
                    tables.payloads.clear()
                    goal = max(limits.max_bytes, min(used, self._left) - SHRINK_BY)
                    if not self._trim(ANY_AGE, ANY_AGE, floor, lambda: self._used() <= goal):
                        for _ in range(THIN_PIECES):
                            if self._used() <= goal or not self._thin_out(floor):
                                break
        self._left = self._used()
        self.freed = max(0, at_first - self._left)
        return more or limits.max_bytes < self._left < used

    def _trim(self, raw_before: int, before: int, floor: int, enough: Callable[[], bool]) -> bool:
        """Delete pieces until it is `enough`, in order of how little they are missed.

        False where nothing is left of them. What the journal from `floor` on speaks of stays.
        """
        db = self._tables.db
        kinds: tuple[Callable[[], int], ...] = (
            lambda: (
                _trimmed(db, "trim_quarantined", raw_before)
                or _trimmed(db, "trim_deliveries", raw_before)
            ),
            lambda: _trimmed(db, "trim_journal", before, floor) + _trimmed(db, "trim_orphans"),
            lambda: (
                _trimmed(db, "trim_quarantined_inputs", before) + _trimmed(db, "trim_quarantine")
            ),
            lambda: self._trim_loose_ledger(before, floor),
            lambda: self._trim_incidents(before, floor),
            lambda: _trimmed(db, "trim_silences", before, floor),
            lambda: _trimmed(db, "trim_maintenance", before, floor),
            lambda: self._trim_audit(before, floor),
        )
        for kind in kinds:
            while kind():
                if enough():
                    return True
        return False

    def _trim_loose_ledger(self, before: int, floor: int) -> int:
        gone = _trimmed(self._tables.db, "trim_loose_ledger", before, floor)
        if gone:
            _trimmed(self._tables.db, "trim_loose_ledger_of")
        return gone

    def _trim_incidents(self, before: int, floor: int) -> int:
        db = self._tables.db
        (names,) = db.execute(QUERIES["old_incidents"], (before, floor)).fetchone()
        if not msgspec.json.decode(names):
            return 0
        for name in ("trim_timeline", "trim_ledger", "trim_ledger_of"):
            db.execute(QUERIES[name], (names,))
        return db.execute(QUERIES["trim_incidents"], (names,)).rowcount

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

    def _thin_out(self, floor: int) -> bool:
        """Delete why alerts that are forgotten were in incidents, of the next few ledger rows.

        False where there are no more, and the next are the first again. The incidents are open:
        else they would be gone by now. A storm that goes on is one for days, and holds far more
        alerts than are remembered.
        """
        db = self._tables.db
        rows = db.execute(QUERIES["ledger_after"], (self._thinned, floor)).fetchall()
        self._thinned = rows[-1][0] if rows else 0
        for row, incident, body in rows:
            try:
                entries = decode_entries(body)
            except msgspec.MsgspecError:  # a damaged one stays, and `check` tells of it
                continue
            alerts = json_array([getattr(fact, "fingerprint", "") for _, fact in entries])
            (known,) = db.execute(QUERIES["known_alerts"], (alerts,)).fetchone()
            there = set(msgspec.json.decode(known))
            kept = [one for one in entries if getattr(one[1], "fingerprint", "") in there]
            if not kept:
                db.execute(QUERIES["drop_ledger"], (row,))
                db.execute(QUERIES["drop_ledger_of"], (incident, row))
            elif len(kept) < len(entries):
                db.execute(QUERIES["thin_ledger"], (encode(kept), row))
        return bool(rows)

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
