"""The simulated disk does to the store what disks do."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from eventd.core.engine import Engine
from eventd.core.model import Input
from eventd.errors import StoreBroken, StoreFull
from eventd.runtime import Batch
from eventd.store import database
from eventd.store.journal import iter_journal
from eventd.store.snapshots import SnapshotFile
from eventd.store.sqlite import SqliteStore
from tests.builders import at, event
from tests.edges.store_desk import batch, step
from tests.simulation.disk import Disk, SimOs, snapshots_in
from tests.simulation.loop import Killed
from tests.simulation.standins import on, replace


@asynccontextmanager
async def store_on(disk: Disk) -> AsyncIterator[SqliteStore]:
    with ExitStack() as stack:
        replace(stack, on(disk))
        async with SqliteStore.open(disk.state) as store:
            yield store


@asynccontextmanager
async def cut_off(disk: Disk) -> AsyncIterator[SqliteStore]:
    """Its machine loses power at the end: what it says to that nobody hears."""
    with suppress(StoreBroken):
        async with store_on(disk) as store:
            yield store
            disk.restart(power_cut=True)


def inputs(disk: Disk) -> list[Input]:
    return [item for row in iter_journal(disk.state) for item in row.inputs]


async def test_a_full_disk_is_told_and_the_same_commit_succeeds_later(tmp_path: Path) -> None:
    disk = Disk(tmp_path, Random(1))
    first = batch(step(0, at(0), event("a")))
    async with store_on(disk) as store:
        disk.full = True
        with pytest.raises(StoreFull):
            await store.commit(first)
        disk.full = False
        await store.commit(first)

        assert inputs(disk) == [event("a")]


@pytest.mark.parametrize("seed", range(4))
async def test_after_a_failed_sync_nothing_is_committed(tmp_path: Path, seed: int) -> None:
    disk = Disk(tmp_path, Random(seed))
    async with store_on(disk) as store:
        await store.commit(batch(step(0, at(0), event("a"))))
        disk.fail_next_sync = True
        for _ in range(2):
            with pytest.raises(StoreBroken):
                await store.commit(batch(step(1, at(1), event("b"))))
        with pytest.raises(StoreBroken):
            await store.commit(Batch())

    # refused is not absent
    assert inputs(disk) in ([event("a")], [event("a"), event("b")])


async def test_a_power_cut_keeps_what_was_committed(tmp_path: Path) -> None:
    disk = Disk(tmp_path, Random(1))
    async with cut_off(disk) as store:
        await store.commit(batch(step(0, at(0), event("a"))))

    async with store_on(disk):
        assert inputs(disk) == [event("a")]


async def test_a_power_cut_may_take_what_was_never_synced(tmp_path: Path) -> None:
    lost = 0
    for seed in range(8):
        disk = Disk(tmp_path / f"{seed}", Random(seed))
        disk.base.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "_prepare", _carelessly)
            async with cut_off(disk) as store:
                await store.commit(batch(step(0, at(0), event("a"))))
        async with store_on(disk):
            lost += inputs(disk) == []

    assert 0 < lost < 8


def _carelessly(db: sqlite3.Connection, _path: Path) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = OFF")


def test_a_snapshot_dies_at_any_of_its_calls_and_counts_or_not(tmp_path: Path) -> None:
    seen = set()
    for seed in range(40):
        disk = Disk(tmp_path / f"{seed}", Random(seed))
        disk.state.mkdir(parents=True)
        disk.dies_within = 0.1
        with ExitStack() as stack:
            replace(stack, on(disk))
            file = SnapshotFile(disk.state, Engine().snapshot(), 0, None)
            try:
                while file.advance():
                    pass
            except Killed:
                disk.restart(power_cut=True)
        seen.add((disk.doomed, len(snapshots_in(disk.state))))

    assert seen == {(False, 0), (False, 1)}


def test_everything_else_is_the_systems(tmp_path: Path) -> None:
    assert SimOs(Disk(tmp_path, Random(1))).getpid() > 0
