"""What the API shows: read-only, page by page, off the loop."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Self, TypeVar

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
MAX_REASONS = 10_000  # of one incident


class Reader:
    """Questions to the tables. Every answer is one consistent state of them.

    Once it is closed, each raises Stopping.
    """

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

    async def incidents(
        self, filters: Mapping[str, object], after: str, limit: int
    ) -> list[Incident]:
        """Newest first; `after` is the id of the last one seen."""
        where, values = _where(filters, INCIDENT_FILTERS)
        if after:
            where, values = [*where, _older("incident")], [*values, *[after] * 3]
        select = "SELECT body FROM incident"
        return await self._ask(decode_incident, select, where, values, "rowid DESC", limit)

    async def incident(self, incident: str) -> Incident | None:
        """One, or None."""
        select = "SELECT body FROM incident"
        found = await self._ask(decode_incident, select, ["id = ?"], [incident], "id", 1)
        return found[0] if found else None

    async def verdicts(self, incidents: Iterable[str]) -> dict[str, bool]:
        """What operators said last of those of which they did, by id."""
        wanted = json_array(list(incidents))
        rows = await self._run(lambda db: db.execute(QUERIES["verdicts"], (wanted,)).fetchall())
        facts = [decode_fact(body) for (body,) in rows]
        return {fact.incident: fact.verdict for fact in facts if isinstance(fact, VerdictGiven)}

    async def lately(self, hearing: Hearing) -> list[Point]:
        """The latest values of a stream, in order, with their scores as far as they are known."""
        return await self._run(lambda db: lately(self._directory, db, hearing))

    async def timeline(self, incident: str) -> list[Fact]:
        """What happened to it, in order."""
        select, where = "SELECT body FROM timeline", ["incident = ?"]
        return await self._ask(decode_fact, select, where, [incident], "n", -1)

    async def joined(self, incident: str) -> list[AlertJoined]:
        """Why each alert is in it, in order of joining; what was detached is in it no more."""
        return await self._run(lambda db: _joined(_entries(db, "ledger_of_incident", incident)))

    async def reasons(self, alert: Alert) -> list[Reason]:
        """Why its present or last episode is where it is, in order.

        Of what put it into no incident the latest of each sort, at least.
        """
        return await self._run(lambda db: _reasons(db, alert))

    async def alerts(self, filters: Mapping[str, object], after: str, limit: int) -> list[Alert]:
        """By fingerprint; `after` is the last one seen."""
        where, values = _where(filters, ALERT_FILTERS)
        if after:
            where, values = [*where, "fingerprint > ?"], [*values, after]
        select = "SELECT body FROM alert"
        return await self._ask(decode_alert, select, where, values, "fingerprint", limit)

    async def alert(self, fingerprint: str) -> Alert | None:
        """One, or None."""
        return (await self.known([fingerprint])).get(fingerprint)

    async def known(self, fingerprints: Iterable[str]) -> dict[str, Alert]:
        """Those that are remembered, by fingerprint."""
        wanted = json_array(list(fingerprints))
        where = ["fingerprint IN (SELECT value FROM json_each(?))"]
        select = "SELECT body FROM alert"
        alerts = await self._ask(decode_alert, select, where, [wanted], "fingerprint", -1)
        return {alert.fingerprint: alert for alert in alerts}

    async def silences(self, after: str, limit: int) -> list[tuple[Silence, bool]]:
        """Newest first, and whether each is in force."""
        where, values = ([_older("silence")], [after] * 3) if after else ([], [])
        select = "SELECT body, ended_at IS NULL FROM silence"
        return await self._ask(_silence, select, where, list(values), "rowid DESC", limit)

    async def maintenance(self, after: str, limit: int) -> list[tuple[Maintenance, bool]]:
        """Newest first, and whether each is to come or in force."""
        where, values = ([_older("maintenance")], [after] * 3) if after else ([], [])
        select = "SELECT body, ended_at IS NULL FROM maintenance"
        return await self._ask(_maintenance, select, where, list(values), "rowid DESC", limit)

    async def audit(self, before: int, limit: int) -> list[tuple[int, Fact]]:
        """Who did what, and who was not let in, newest first, with the id of each."""
        rows = await self._run(
            lambda db: db.execute(QUERIES["page_of_audit"], (before, limit)).fetchall()
        )
        return [(number, decode_fact(body)) for number, body in rows]

    async def open_by_priority(self) -> dict[int, int]:
        """How many incidents of each priority are not closed."""
        rows = await self._run(
            lambda db: db.execute(
                "SELECT priority, count(*) FROM incident WHERE state <> 'closed' GROUP BY priority"
            ).fetchall()
        )
        return dict(rows)

    async def _ask(
        self,
        made: Callable[..., T],
        select: str,
        where: list[str],
        values: list[object],
        order: str,
        limit: int,
    ) -> list[T]:
        """What is `made` of each row, in the thread: 10,000 would hold up the loop."""
        condition = " WHERE " + " AND ".join(where) if where else ""
        # the parts are this module's own; what callers say travels as values
        text = f"{select}{condition} ORDER BY {order} LIMIT ?"
        return await self._run(
            lambda db: [made(*row) for row in db.execute(text, [*values, limit]).fetchall()]
        )

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise Stopping
        try:
            return await loop.run_in_executor(self._threads, lambda: work(self._connection()))
        except sqlite3.Error as e:
            raise StoreError(f"{self._directory / DATABASE}: cannot be read: {e}") from e

    def _connection(self) -> sqlite3.Connection:
        if self._closed:
            raise Stopping
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = open_reader(self._directory)
            self._opened.append(db)
        return db


def _entries(db: sqlite3.Connection, query: str, value: str) -> list[Fact]:
    rows = db.execute(QUERIES[query], (value,)).fetchall()
    return [fact for (body,) in rows for _, fact in decode_entries(body)]


def _joined(facts: Iterable[Fact]) -> list[AlertJoined]:
    found: dict[tuple[str, int], AlertJoined] = {}
    for fact in facts:
        if isinstance(fact, AlertJoined):
            found[fact.fingerprint, fact.episode] = fact
        elif isinstance(fact, AlertDetached):
            found.pop((fact.fingerprint, fact.episode), None)
    return list(islice(found.values(), MAX_REASONS))


def _reasons(db: sqlite3.Connection, alert: Alert) -> list[Reason]:
    facts = _entries(db, "alone", json_array(names_of(alert.fingerprint)))
    facts += _entries(db, "ledger_of_incident", alert.incident) if alert.incident else []
    found = [
        fact
        for fact in facts
        if isinstance(fact, Reason)
        and (fact.fingerprint, fact.episode) == (alert.fingerprint, alert.episode)
    ]
    # at one moment it is suppressed first, then joins what explains it; what missed it is last
    return sorted(found, key=lambda fact: (fact.at, isinstance(fact, RuleMissed)))


def _silence(body: bytes, on: int) -> tuple[Silence, bool]:
    return decode_silence(body), bool(on)


def _maintenance(body: bytes, on: int) -> tuple[Maintenance, bool]:
    return decode_maintenance(body), bool(on)


def _older(table: str) -> str:
    """What stands before the row of an id, which is asked for three times.

    Ids are texts, INC-1000000 stands before INC-999999; rows stand in order. Retention may have
    taken the row meanwhile: then its place is before the next that is left.
    """
    return (  # the tables are ours
        f"rowid < COALESCE((SELECT rowid FROM {table} WHERE id = ?), (SELECT MAX(rowid) + 1"  # noqa: S608
        f" FROM {table} WHERE (length(id), id) < (length(?), ?)))"
    )


def _where(filters: Mapping[str, object], known: tuple[str, ...]) -> tuple[list[str], list[object]]:
    names = [name for name in known if name in filters]
    return [f"{name} = ?" for name in names], [filters[name] for name in names]
