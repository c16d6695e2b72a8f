"""What the runtime may rely on, whatever the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from tests.builders import at, event
from tests.edges.store_desk import batch, step
from tests.simulation.disk import Disk
from tests.simulation.standins import on, replace

from eventd.core.model import Input
from eventd.errors import StoreBroken
from eventd.runtime import Batch, Store
from eventd.store.journal import iter_journal
from eventd.store.sqlite import SqliteStore


class Kept:
    """A store, and what can be read of it from outside while it is open."""

    def __init__(self, store: Store, inputs: Callable[[], list[Input]]) -> None:
        self.store, self.inputs = store, inputs


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Kept]:
    async with SqliteStore.open(folder) as store:
        yield Kept(store, lambda: [item for row in iter_journal(folder) for item in row.inputs])


@asynccontextmanager
async def simulated(folder: Path) -> AsyncIterator[Kept]:
    """The store on the simulation's disk, its writer in turns of the test's loop."""
    disk = Disk(folder, Random(7))
    with ExitStack() as stack:
        replace(stack, on(disk))
        async with sqlite(disk.state) as kept:
            yield kept


Open = Callable[[Path], AbstractAsyncContextManager[Kept]]
every_store = pytest.mark.parametrize("opened", [sqlite, simulated])


@every_store
async def test_when_commit_returns_the_batch_is_there(opened: Open, tmp_path: Path) -> None:
    async with opened(tmp_path) as kept:
        for n in range(3):
            await kept.store.commit(batch(step(n, at(n), event(f"e{n}"))))

            assert kept.inputs() == [event(f"e{k}") for k in range(n + 1)]


@every_store
async def test_commits_are_made_in_the_order_they_were_asked_for(
    opened: Open, tmp_path: Path
) -> None:
    async with opened(tmp_path) as kept, asyncio.TaskGroup() as tasks:
        for n in range(20):
            tasks.create_task(kept.store.commit(batch(step(n, at(n), event(f"e{n}")))))
    async with opened(tmp_path) as kept:
        assert kept.inputs() == [event(f"e{n}") for n in range(20)]


@every_store
async def test_an_empty_batch_travels_to_the_writer_and_back(opened: Open, tmp_path: Path) -> None:
    async with opened(tmp_path) as kept:
        await kept.store.commit(Batch())

        assert kept.inputs() == []


@every_store
async def test_a_commit_that_fails_leaves_nothing_and_is_the_last(
    opened: Open, tmp_path: Path
) -> None:
    async with opened(tmp_path) as kept:
        await kept.store.commit(batch(step(0, at(0), event("a"))))

        # a row that is there already: the journal and the runtime disagree, nobody knows why
        for steps in ((step(1, at(1), event("b")), step(0, at(1), event("c"))), (step(1, at(1)),)):
            with pytest.raises(StoreBroken):
                await kept.store.commit(batch(*steps))

        assert kept.inputs() == [event("a")]


@every_store
async def test_a_waiter_that_gives_up_does_not_stop_the_commit(
    opened: Open, tmp_path: Path
) -> None:
    async with opened(tmp_path) as kept:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await kept.store.commit(batch(step(0, at(0), event("a"))))
        await kept.store.commit(Batch())

        assert kept.inputs() == [event("a")]
