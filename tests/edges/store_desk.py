"""A daemon's inside on a real store: engine, runtime and SQLite, with a clock that is set."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path

from tests.builders import T0, Feed

from eventd.core.model import Delivery, Input
from eventd.errors import Poisoned
from eventd.inbox import Inbox, Outcome
from eventd.replay import Recovered, recover, replayed
from eventd.runtime import Batch, Runtime, Step
from eventd.store.database import open_reader
from eventd.store.sqlite import SqliteStore
from eventd.store.verdicts import Verdict, verdicts


class SetClock:
    """Stands still until it is set."""

    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at


class Listener:
    """Remembers what was given up."""

    def __init__(self) -> None:
        self.given_up: list[tuple[str, int]] = []

    def observe(self, batch: Batch) -> None:
        pass

    def abandoned(self, source: str, events: int) -> None:
        self.given_up.append((source, events))


class Life:
    """From one start to the end of it."""

    def __init__(self, store: SqliteStore, recovered: Recovered) -> None:
        self.store, self.recovered = store, recovered
        self.clock = SetClock(recovered.now or T0)
        self.inbox = Inbox(1 << 26)
        self.listener = Listener()
        self.runtime = Runtime(recovered.engine, store, self.clock, self.inbox, self.listener)
        self.runtime.resume(
            recovered.next_seq,
            recovered.snapshot_seq,
            recovered.now,
            recovered.dirty,
            recovered.gone,
            recovered.moved,
            recovered.quarantine,
            recovered.fired,
        )

    async def feed(self, feed: Feed, *, flush: bool = False) -> None:
        """One delivery an input."""
        for now, item in feed:
            await self.submit(now, item, flush=flush)

    async def submit(
        self, now: datetime, *items: Input, payload: bytes = b"{}", flush: bool = False
    ) -> Outcome:
        """One delivery."""
        self.clock.at = now
        delivery = Delivery(transport="http", received_at=now, payload=payload, source="zabbix")
        return await self.runtime.submit(items, delivery, flush=flush)


async def saved(life: Life) -> None:
    """Wait for a snapshot of this life."""
    async with asyncio.timeout(20):
        while not life.store.snapshots:
            await asyncio.sleep(0.001)


def recovered_from(store: SqliteStore) -> Recovered:
    with store.journal() as journal:
        return recover(journal)


@asynccontextmanager
async def alive(state: Path, **limits: object) -> AsyncIterator[Life]:
    """Start on a state directory; stop cleanly at the end. A poisonous input ends it."""
    async with SqliteStore.open(state, **limits) as store:  # type: ignore[arg-type] # checked there
        life = Life(store, await asyncio.to_thread(recovered_from, store))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(life.runtime.run(), name="runtime")
                yield life
                life.inbox.close()
        except* Poisoned:
            pass


def killed(state: Path, grave: Path) -> Path:
    """What kill -9 would leave: a copy of the files, as they are now, to start from."""
    shutil.copytree(state, grave, ignore=shutil.ignore_patterns("*-shm"))
    return grave


def wrong(state: Path, acked: Iterable[str] = ()) -> list[Verdict]:
    """The promises that are broken."""
    return [one for one in verdicts(state, replayed, acked) if not one.ok]


def query(state: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    with closing(open_reader(state)) as db:
        return [tuple(row) for row in db.execute(sql, values)]


def batch(*steps: Step) -> Batch:
    """The steps and where the journal is after them."""
    last = steps[-1]
    return Batch(steps, next_seq=last.seq + len(last.inputs))


def step(seq: int, now: datetime, *items: Input, payload: bytes = b"{}") -> Step:
    """A journal row without facts."""
    delivery = Delivery(transport="http", received_at=now, payload=payload, source="zabbix")
    return Step(seq, now, delivery, items, ())
