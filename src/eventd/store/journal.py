"""Reading the journal and what recovery needs of the tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct, structs

from eventd.core.model import (
    QUARANTINED,
    Alert,
    AlertDetached,
    AlertJoined,
    Delivery,
    Fact,
    Incident,
    Input,
    Maintenance,
    Refused,
    Silence,
)
from eventd.store.database import reading
from eventd.store.queries import QUERIES
from eventd.store.rows import (
    decode_alert,
    decode_delivery,
    decode_entries,
    decode_incident,
    decode_inputs,
    decode_maintenance,
    decode_silence,
    digest_of,
    moment,
)
from eventd.store.snapshots import read_snapshot, snapshot_paths

# Rows of one read transaction: a long one would keep the writer from reusing its log. A row of
# 100 events takes about 90 kB.
PAGE_ROWS = 200


class JournalRow(NamedTuple):
    """A journal row for export; `delivery` is None where there was none or it is kept no more.

    An input that is never stepped again is given as Refused.
    """

    seq: int
    now: datetime
    source: str
    delivery: Delivery | None
    inputs: tuple[Input, ...]


def iter_journal(state_dir: Path, since_seq: int = 0) -> Iterator[JournalRow]:
    """The journal from a position on, in order, beside a live daemon; ends at its present end.

    Raises StoreError where the store cannot be read.
    """
    with reading(state_dir) as db:
        skipped = _skipped(db)
        seq = since_seq
        while rows := db.execute(QUERIES["page_of_journal"], (seq, PAGE_ROWS)).fetchall():
            for at, now, source, body, meta, payload in rows:
                delivery = None
                if meta is not None and payload is not None:
                    delivery = structs.replace(decode_delivery(meta), payload=payload)
                inputs = decode_inputs(body)
                if skipped:
                    inputs = tuple(
                        Refused(source, QUARANTINED, "it raised when it was stepped again", n)
                        if at + n in skipped
                        else one
                        for n, one in enumerate(inputs)
                    )
                yield JournalRow(at, moment(now), source, delivery, inputs)
            seq = rows[-1][0] + 1


class Row(Struct, frozen=True, gc=False):
    """A journal row to step again."""

    seq: int
    now: datetime
    digest: int
    inputs: tuple[Input, ...]


class Saved(Struct, frozen=True):
    """A snapshot read back."""

    name: str
    next_seq: int
    now: datetime | None
    frames: list[bytes]


class Span(Struct, frozen=True):
    """How far the journal reaches: `[first, next_seq)`, and its last `now`."""

    first: int
    next_seq: int
    now: datetime | None


class JournalReader:
    """The journal, the snapshots and the tables as recovery and `check` read them."""

    def __init__(self, directory: Path, db: sqlite3.Connection) -> None:
        """`db` is a reader's connection."""
        self.directory, self.db = directory, db

    def span(self) -> Span:
        """How far it reaches; nothing at 0 where it is empty."""
        row = self.db.execute(QUERIES["journal_span"]).fetchone()
        return Span(0, 0, None) if row is None else Span(row[0], row[1], moment(row[2]))

    def tail(self, seq: int) -> Iterator[Row]:
        """Rows from a position on, in order. No statement stays open between two rows."""
        while rows := self.db.execute(QUERIES["tail"], (seq, PAGE_ROWS)).fetchall():
            for at, now, digest, body in rows:
                yield Row(at, moment(now), digest, decode_inputs(body))
            seq = rows[-1][0] + 1

    def follows(self, seq: int) -> int | None:
        """Position of the first row from a position on; None where there is none."""
        row = self.db.execute(QUERIES["journal_at"], (seq,)).fetchone()
        return None if row is None else int(row[0])

    def position_at(self, start: datetime) -> int:
        """The first position that was stepped then or later; `now` never goes back."""
        span = self.span()
        low, high = span.first, span.next_seq
        while low < high:
            middle = (low + high) // 2
            row = self.db.execute(QUERIES["journal_at"], (middle,)).fetchone()
            if row is None or moment(row[1]) >= start:
                high = middle
            else:
                low = row[0] + 1
        return low

    def own_before(self, seq: int) -> Iterator[Input]:
        """What came through no door (starts, loads, ticks) before a position, newest first."""
        for (body,) in self.db.execute(QUERIES["own_before"], (seq,)):
            yield from reversed(decode_inputs(body))

    def digest(self, facts: Sequence[Fact]) -> int:
        """What a row's `digest` must be."""
        return digest_of(facts)

    def skipped(self) -> frozenset[int]:
        """Positions of inputs that are never stepped again."""
        return _skipped(self.db)

    def quarantined_keys(self) -> tuple[bytes, ...]:
        """Delivery keys that are never stepped again, newest first, at most 10,000."""
        return tuple(key for (key,) in self.db.execute(QUERIES["quarantined_keys"]))

    def snapshots(self) -> list[str]:
        """Names of the snapshot files, newest first."""
        return [path.name for path in snapshot_paths(self.directory)]

    def load(self, name: str) -> Saved:
        """A snapshot, every sum checked. Raises StoreError, saying why not; see `read_snapshot`."""
        header, frames = read_snapshot(self.directory / name)
        return Saved(name, header.next_seq, header.now, frames)

    # -- the tables, for rebuilding the engine and for `check` ---------------------------------

    def alerts(self) -> Iterator[Alert]:
        """Every alert row, the longest known first, to about a second."""
        return (decode_alert(body) for (body,) in self.db.execute(QUERIES["all_alerts"]))

    def incidents(self) -> Iterator[Incident]:
        """Those not closed, and the last one whatever its state: ids continue after it."""
        rows = self.db.execute(QUERIES["incidents_to_rebuild"])
        return (decode_incident(body) for (body,) in rows)

    def all_incidents(self) -> Iterator[Incident]:
        """Whatever their state, in order of opening."""
        rows = self.db.execute(QUERIES["all_incidents"])
        return (decode_incident(body) for (body,) in rows)

    def members(self) -> Iterator[tuple[str, str]]:
        """Incident and fingerprint, for incidents that are not closed, in order of joining."""
        found: dict[tuple[str, str], None] = {}
        for (body,) in self.db.execute(QUERIES["ledger_to_rebuild"]):
            for _, fact in decode_entries(body):
                if isinstance(fact, AlertJoined):
                    found[fact.incident, fact.fingerprint] = None
                elif isinstance(fact, AlertDetached):
                    found.pop((fact.incident, fact.fingerprint), None)
        return iter(found)

    def silences(self) -> Iterator[Silence]:
        """Those in force, and the last one: where it has ended, it ends when it did."""
        for body, ended_at in self.db.execute(QUERIES["silences_to_rebuild"]):
            silence = decode_silence(body)
            if ended_at is not None:
                silence = structs.replace(silence, ends_at=moment(ended_at))
            yield silence

    def maintenance(self) -> Iterator[Maintenance]:
        """Those to come or in force, and the last one: where it has ended, its window is empty."""
        for body, ended_at in self.db.execute(QUERIES["maintenance_to_rebuild"]):
            one = decode_maintenance(body)
            if ended_at is not None:
                window = structs.replace(one.window, ends_at=one.window.starts_at)
                one = structs.replace(one, window=window)
            yield one


def _skipped(db: sqlite3.Connection) -> frozenset[int]:
    return frozenset(seq for (seq,) in db.execute(QUERIES["skipped"]))
