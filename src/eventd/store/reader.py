"""What the API shows: read-only, page by page, off the loop."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, starmap
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from eventd.core.model import (
    Alert,
    AlertDetached,
    AlertJoined,
    Fact,
    Incident,
    Maintenance,
    Reason,
    RuleMissed,
    Silence,
    VerdictGiven,
)
from eventd.core.rules.streams import Hearing
from eventd.errors import Stopping, StoreError
from eventd.plot import Point
from eventd.store.database import DATABASE, open_reader
from eventd.store.projection import names_of
from eventd.store.queries import QUERIES
from eventd.store.rows import (
    decode_alert,
    decode_entries,
    decode_fact,
    decode_incident,
    decode_maintenance,
    decode_silence,
    json_array,
)
from eventd.store.streams import lately

T = TypeVar("T")
THREADS = 2
INCIDENT_FILTERS = ("state", "priority", "service", "rule")
ALERT_FILTERS = ("status", "severity", "service", "ci", "name", "source", "incident")
# With what an operator said of it last.
INCIDENT = """SELECT body, (
    SELECT t.body FROM timeline AS t WHERE t.incident = incident.id AND t.kind = 'verdict'
    ORDER BY t.n DESC LIMIT 1
) FROM incident"""


class Reader:
    """Questions to the tables, asked in threads. Once it is closed, each raises Stopping."""

    def __init__(self, directory: Path) -> None:
        """Use as `async with`."""
        self._directory = directory
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="reader")
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True  # where the daemon ends for a fault, requests are still under way
        self._threads.shutdown(wait=True)
        for db in self._opened:
            db.close()

    async def look(self, made: Callable[[State], T]) -> T:
        """What is `made`, in the thread, of one consistent state of the tables."""
        return await self._run(lambda db: _look(db, made))

    async def lately(self, hearing: Hearing) -> list[Point]:
        """The latest values of a stream, in order, with their scores as far as they are known."""
        return await self._run(lambda db: lately(self._directory, db, hearing))

    async def open_by_priority(self) -> dict[int, int]:
        """How many incidents of each priority are not closed."""
        rows = await self._run(
            lambda db: db.execute(
                "SELECT priority, count(*) FROM incident WHERE state <> 'closed' GROUP BY priority"
            ).fetchall()
        )
        return dict(rows)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise Stopping
        try:
            return await loop.run_in_executor(self._threads, lambda: work(self._connection()))
        except (sqlite3.Error, msgspec.DecodeError) as e:
            raise StoreError(f"{self._directory / DATABASE}: cannot be read: {e}") from e

    def _connection(self) -> sqlite3.Connection:
        if self._closed:
            raise Stopping
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = open_reader(self._directory)
            self._opened.append(db)
        return db


class State:
    """One state of the tables, as long as a look at it lasts.

    What may be much is read while it is iterated: who stops early has not paid for the rest.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        """`db` is in a transaction."""
        self._db = db

    def incidents(
        self, filters: Mapping[str, object], after: str, limit: int
    ) -> Iterator[tuple[Incident, bool | None]]:
        """Newest first, each with the verdict on it; `after` is the id of the last one seen."""
        where, values = _where(filters, INCIDENT_FILTERS)
        if after:
            where, values = [*where, _older("incident")], [*values, *[after] * 3]
        return self._rows(_judged, INCIDENT, where, values, "rowid DESC", limit)

    def incident(self, incident: str) -> tuple[Incident, bool | None] | None:
        """One with the verdict on it, or None."""
        return next(self._rows(_judged, INCIDENT, ["id = ?"], [incident], "id", 1), None)

    def verdict(self, incident: str) -> bool | None:
        """What an operator said of it last, also where it is gone."""
        select, where = "SELECT body FROM timeline", ["incident = ?", "kind = 'verdict'"]
        said = next(self._rows(decode_fact, select, where, [incident], "n DESC", 1), None)
        return said.verdict if isinstance(said, VerdictGiven) else None

    def timeline(self, incident: str) -> Iterator[tuple[int, Fact]]:
        """What happened to it, the newest first; numbered from 1 without gaps."""
        select, where = "SELECT n, body FROM timeline", ["incident = ?"]
        return self._rows(_numbered, select, where, [incident], "n DESC", -1)

    def opening(self, incident: str) -> Fact:
        """What happened to it first."""
        select, where = "SELECT body FROM timeline", ["incident = ?"]
        return next(self._rows(decode_fact, select, where, [incident], "n", 1))

    def joined(self, incident: str) -> Iterator[AlertJoined]:
        """Why each alert is in it, the newest first; what was detached is in it no more."""
        known: set[tuple[str, int]] = set()
        for fact in _entries(self._db, "ledger_of_incident", incident):
            if isinstance(fact, AlertJoined | AlertDetached):
                episode = fact.fingerprint, fact.episode
                if episode not in known and isinstance(fact, AlertJoined):
                    yield fact
                known.add(episode)

    def reasons(self, alert: Alert) -> list[Reason]:
        """Why its present or last episode is where it is, in order.

        Of what put it into no incident the latest of each sort, at least.
        """
        facts = _entries(self._db, "alone", json_array(names_of(alert.fingerprint)))
        if alert.incident:
            facts = chain(_entries(self._db, "ledger_of_incident", alert.incident), facts)
        found = [
            fact
            for fact in facts
            if isinstance(fact, Reason)
            and (fact.fingerprint, fact.episode) == (alert.fingerprint, alert.episode)
        ]
        found.reverse()
        # at one moment it is suppressed first, then joins what explains it; what missed it is last
        return sorted(found, key=lambda fact: (fact.at, isinstance(fact, RuleMissed)))

    def alerts(self, filters: Mapping[str, object], after: str, limit: int) -> Iterator[Alert]:
        """By fingerprint; `after` is the last one seen."""
        where, values = _where(filters, ALERT_FILTERS)
        if after:
            where, values = [*where, "fingerprint > ?"], [*values, after]
        select = "SELECT body FROM alert"
        return self._rows(decode_alert, select, where, values, "fingerprint", limit)

    def alert(self, fingerprint: str) -> Alert | None:
        """One, or None."""
        select, where = "SELECT body FROM alert", ["fingerprint = ?"]
        return next(self._rows(decode_alert, select, where, [fingerprint], "fingerprint", 1), None)

    def called(self, fingerprint: str) -> tuple[str, str] | None:
        """Name and CI of an alert, as long as it is remembered."""
        found: tuple[str, str] | None = self._db.execute(
            QUERIES["called"], (fingerprint,)
        ).fetchone()
        return found

    def silences(self, after: str, limit: int) -> Iterator[tuple[Silence, bool]]:
        """Newest first, and whether each is in force."""
        where, values = ([_older("silence")], [after] * 3) if after else ([], [])
        select = "SELECT body, ended_at IS NULL FROM silence"
        return self._rows(_silence, select, where, list(values), "rowid DESC", limit)

    def maintenance(self, after: str, limit: int) -> Iterator[tuple[Maintenance, bool]]:
        """Newest first, and whether each is to come or in force."""
        where, values = ([_older("maintenance")], [after] * 3) if after else ([], [])
        select = "SELECT body, ended_at IS NULL FROM maintenance"
        return self._rows(_maintenance, select, where, list(values), "rowid DESC", limit)

    def audit(self, before: int, limit: int) -> Iterator[tuple[int, Fact]]:
        """Who did what, and who was not let in, newest first, with the id of each."""
        return starmap(_numbered, self._db.execute(QUERIES["page_of_audit"], (before, limit)))

    def _rows(
        self,
        made: Callable[..., T],
        select: str,
        where: list[str],
        values: list[object],
        order: str,
        limit: int,
    ) -> Iterator[T]:
        """What is `made` of each row, as it is read."""
        condition = " WHERE " + " AND ".join(where) if where else ""
        # the parts are this module's own; what callers say travels as values
        text = f"{select}{condition} ORDER BY {order} LIMIT ?"
        return starmap(made, self._db.execute(text, [*values, limit]))


def _look(db: sqlite3.Connection, made: Callable[[State], T]) -> T:
    db.execute("BEGIN")
    try:
        return made(State(db))
    finally:
        if db.in_transaction:  # an error of the disk may have ended it
            db.execute("ROLLBACK")


def _entries(db: sqlite3.Connection, query: str, value: str) -> Iterator[Fact]:
    """The newest first."""
    for (body,) in db.execute(QUERIES[query], (value,)):
        for _, fact in reversed(decode_entries(body)):
            yield fact


def _judged(body: bytes, verdict: bytes | None) -> tuple[Incident, bool | None]:
    said = decode_fact(verdict) if verdict is not None else None
    return decode_incident(body), said.verdict if isinstance(said, VerdictGiven) else None


def _numbered(number: int, body: bytes) -> tuple[int, Fact]:
    return number, decode_fact(body)


def _silence(body: bytes, on: int) -> tuple[Silence, bool]:
    return decode_silence(body), bool(on)


def _maintenance(body: bytes, on: int) -> tuple[Maintenance, bool]:
    return decode_maintenance(body), bool(on)


def _older(table: str) -> str:
    """What stands before the row of an id, which is asked for three times.

    Ids are texts, INC-1000000 stands before INC-999999; rows stand in order. Retention may have
    taken the row meanwhile: then its place is before the next that is left.
    """
    known = f"(SELECT rowid FROM {table} WHERE id = ?)"  # noqa: S608 - the tables are ours
    next_left = f"(SELECT MAX(rowid) + 1 FROM {table} WHERE (length(id), id) < (length(?), ?))"  # noqa: S608 - so it is
    return f"rowid < COALESCE({known}, {next_left})"


def _where(filters: Mapping[str, object], known: tuple[str, ...]) -> tuple[list[str], list[object]]:
    names = [name for name in known if name in filters]
    return [f"{name} = ?" for name in names], [filters[name] for name in names]
