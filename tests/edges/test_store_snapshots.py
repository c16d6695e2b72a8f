"""Snapshot files: whole, or not believed."""

from __future__ import annotations

import pickle
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import at, event
from tests.edges.store_desk import alive, query, wrong

from eventd.core.snapshot import Restored, Snapshot
from eventd.errors import StoreBroken, StoreError
from eventd.store.database import DATABASE
from eventd.store.snapshots import (
    MAGIC,
    MOST,
    SYNC_EVERY,
    SnapshotFile,
    position_of,
    read_snapshot,
    snapshot_paths,
)

SECTIONS = st.dictionaries(st.text(min_size=1), st.lists(st.text(), min_size=1, max_size=5))


def written(folder: Path, next_seq: int, snapshot: Snapshot) -> Path:
    file = SnapshotFile(folder, snapshot, next_seq, at(next_seq))
    while file.advance():
        pass
    return snapshot_paths(folder)[0]


async def lived_twice(state: Path) -> None:
    """Two clean stops: a snapshot at 2 and one at 3."""
    async with alive(state) as life:
        await life.submit(at(0), event("a"), event("b"))
    async with alive(state) as life:
        await life.submit(at(1), event("a", severity=event().severity))
    assert [position_of(path) for path in snapshot_paths(state)] == [3, 2]


@given(SECTIONS)
def test_what_is_written_is_read_back(sections: dict[str, Iterable[object]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = written(Path(name), 7, Snapshot(dict(sections)))

        header, frames = read_snapshot(path)

    assert (header.next_seq, header.now) == (7, at(7))
    assert frames == list(Snapshot(dict(sections)).frames())
    restored = Restored(frames)
    assert {name: list(restored.read(name, str)) for name in sections} == sections


@given(st.data())
def test_any_flipped_or_missing_byte_is_noticed(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = written(Path(name), 7, Snapshot({"a": ["x", "y"], "b": ["z"]}))
        good = path.read_bytes()
        spot = data.draw(st.integers(0, len(good) - 1))
        flipped = bytearray(good)
        flipped[spot] ^= data.draw(st.integers(1, 255))

        for bad in (bytes(flipped), good[:spot], good + b"\0", b"\0" * len(good)):
            path.write_bytes(bad)
            with pytest.raises(StoreError, match=r"is (no snapshot|cut short|damaged)"):
                read_snapshot(path)


def test_a_later_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr("eventd.store.snapshots.FORMAT", 2)
        path = written(tmp_path, 7, Snapshot({}))

    with pytest.raises(StoreError, match="has format 2; this eventd reads 1"):
        read_snapshot(path)


def test_the_two_newest_are_kept(tmp_path: Path) -> None:
    for seq in (5, 10, 200_000, 99_999_999):
        written(tmp_path, seq, Snapshot({"a": [str(seq)]}))

    assert [position_of(path) for path in snapshot_paths(tmp_path)] == [99_999_999, 200_000]
    assert not (tmp_path / "snapshot.tmp").exists()


def test_one_that_is_not_finished_does_not_count(tmp_path: Path) -> None:
    file = SnapshotFile(tmp_path, Snapshot({"a": ["x"], "b": ["y"]}), 7, None)
    for _ in range(3):  # two frames, and what ends the file
        assert file.advance()

        assert snapshot_paths(tmp_path) == []
    file.abandon()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("came", "written_at_least", "at_most"),
    [
        (0, 1, 2_000),
        (1_000, 2_000, 4_000),
        (50_000, 100_000, 102_000),
        (1 << 30, MOST, 1.01 * MOST),
    ],
)
def test_it_keeps_pace_with_what_comes(
    tmp_path: Path, came: int, written_at_least: int, at_most: int
) -> None:
    file = SnapshotFile(tmp_path, Snapshot({f"{n}": ["x" * 1_000] for n in range(9_000)}), 7, None)

    assert file.advance(came)

    assert written_at_least <= (tmp_path / "snapshot.tmp").stat().st_size <= at_most
    file.abandon()


def test_it_syncs_once_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    big = Snapshot({f"{n}": ["x" * 500_000] for n in range(30)})
    file = SnapshotFile(tmp_path, big, 7, None)
    total, more = 0, True
    while more:
        more = file.advance(1 << 30)

        assert len(synced) <= 1
        total += len(synced)
        synced.clear()
    assert total == 15e6 // SYNC_EVERY + 2  # the end's, and the directory's


@pytest.mark.parametrize("damage", [b"", b"\0" * 500, MAGIC, MAGIC + b"\x80\x04cos\nsystem\n."])
async def test_a_torn_newest_means_the_older_one(tmp_path: Path, damage: bytes) -> None:
    await lived_twice(tmp_path)
    newest, older = snapshot_paths(tmp_path)
    newest.write_bytes(damage)

    async with alive(tmp_path) as life:
        assert life.recovered.start == older.name
        assert [text.split(":")[0] for text in life.recovered.rejected] == [newest.name]
        assert life.recovered.replayed == 1
        assert life.recovered.diverged == 0
        await life.submit(at(5), event("c"))

    # the bad one counts no more: the good older one is still kept beside the new one
    assert [position_of(path) for path in snapshot_paths(tmp_path)] == [4, 2]
    assert (tmp_path / "snapshot.bad").read_bytes() == damage
    assert wrong(tmp_path) == []


class Bomb:
    """Runs when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)

    def frames(self) -> Iterator[bytes]:
        """As a snapshot whose sums are right."""
        yield pickle.dumps(self)


@pytest.mark.parametrize("form", ["bare", "behind the magic", "in a frame"])
async def test_a_pickle_in_the_place_of_a_snapshot_is_not_loaded(tmp_path: Path, form: str) -> None:
    """D62: it is set aside, and the older one counts."""
    state, bomb = tmp_path / "state", Bomb(tmp_path / "went-off")
    pickle.loads(pickle.dumps(bomb))
    assert bomb.mark.exists()
    bomb.mark.unlink()
    await lived_twice(state)
    newest, older = snapshot_paths(state)
    if form == "in a frame":
        written(state, 3, bomb)  # type: ignore[arg-type] # it looks like one
    else:
        newest.write_bytes(MAGIC * (form != "bare") + pickle.dumps(bomb))

    async with alive(state) as life:
        assert life.recovered.start == older.name
        assert [one.name for one in life.runtime.engine.alerts()] == ["a", "b"]

    assert not bomb.mark.exists()
    assert (state / "snapshot.bad").exists()
    assert wrong(state) == []


async def test_both_torn_means_the_whole_journal(tmp_path: Path) -> None:
    await lived_twice(tmp_path)
    for path in snapshot_paths(tmp_path):
        path.write_bytes(path.read_bytes()[:-1])

    async with alive(tmp_path) as life:
        assert (life.recovered.start, life.recovered.replayed) == ("journal", 2)
        assert len(life.recovered.rejected) == 2
    assert (tmp_path / "snapshot.bad.old").exists()
    assert (tmp_path / "snapshot.bad").exists()
    assert wrong(tmp_path) == []


def unreadable(path: Path) -> str:
    """Have every read of it fail as on a bad sector, also for root; how that is told."""
    path.unlink()
    path.symlink_to("/proc/self/mem")  # nothing is at its beginning
    return f"{path}: cannot be read: Input/output error"


@pytest.mark.parametrize("directory", [False, True])
async def test_one_that_cannot_be_read_gives_way_to_the_older_which_stays(
    tmp_path: Path, *, directory: bool
) -> None:
    await lived_twice(tmp_path)
    newest, older = snapshot_paths(tmp_path)
    why = unreadable(newest)
    if directory:
        newest.unlink()
        newest.mkdir()
        why = f"{newest}: cannot be read: Is a directory"
    assert [one.detail for one in wrong(tmp_path)] == [why]

    async with alive(tmp_path, journal_for=timedelta(days=1)) as life:
        assert (life.recovered.start, life.recovered.rejected) == (older.name, (why,))
        await life.submit(at(9 * 86_400), event("late"))
        await life.runtime.submit(())
        await life.runtime.submit(())
        assert query(tmp_path, "SELECT MIN(seq) FROM journal") == [(0,)]
        assert snapshot_paths(tmp_path) == [newest, older]

    # only now that there are two good ones it counts no more
    assert [position_of(path) for path in snapshot_paths(tmp_path)] == [5, 2]
    assert (tmp_path / "snapshot.bad").is_dir() is directory
    assert wrong(tmp_path) == []
    snapshot_paths(tmp_path)[0].write_bytes(b"")
    async with alive(tmp_path) as life:
        assert life.recovered.start == older.name


async def test_one_that_cannot_be_read_gives_its_name_to_the_next(tmp_path: Path) -> None:
    await lived_twice(tmp_path)
    newest, older = snapshot_paths(tmp_path)
    unreadable(newest)

    async with alive(tmp_path):
        pass

    assert snapshot_paths(tmp_path) == [newest, older]
    async with alive(tmp_path) as life:
        assert life.recovered.start == newest.name


async def test_where_none_can_be_read_the_journal_is_read_from_its_beginning(
    tmp_path: Path,
) -> None:
    await lived_twice(tmp_path)
    told = [unreadable(path) for path in snapshot_paths(tmp_path)]

    async with alive(tmp_path) as life:
        assert (life.recovered.start, life.recovered.replayed) == ("journal", 2)
        assert life.recovered.rejected == tuple(told)


async def test_where_the_tables_would_be_left_what_cannot_be_read_ends_the_start(
    tmp_path: Path,
) -> None:
    """It may be good: another time it is read, and so is the one behind it."""
    state = tmp_path / "state"
    await lived_twice(state)
    newest, older = snapshot_paths(state)
    with closing(sqlite3.connect(state / DATABASE)) as db, db:
        db.execute("DELETE FROM journal WHERE seq < 2")
    copy = shutil.copy(newest, tmp_path)
    why = unreadable(newest)
    unreadable(older)
    names = sorted(path.name for path in state.iterdir())

    with pytest.raises(StoreBroken, match=f"^{why}$"):
        async with alive(state):
            pass

    assert sorted(path.name for path in state.iterdir()) == names
    newest.unlink()
    shutil.move(copy, newest)
    async with alive(state) as life:
        assert life.recovered.start == newest.name


async def test_a_snapshot_ahead_of_the_journal_is_not_believed(tmp_path: Path) -> None:
    async with alive(tmp_path / "other") as life:
        for n in range(9):
            await life.submit(at(n), event(f"e{n}"))
    await lived_twice(tmp_path / "state")
    snapshot_paths(tmp_path / "other")[0].rename(tmp_path / "state" / f"snapshot-{9:020d}")

    async with alive(tmp_path / "state") as life:
        assert life.recovered.start == f"snapshot-{3:020d}"
        assert life.recovered.rejected == (
            f"snapshot-{9:020d}: ends at 9, after the journal's end 3",
        )
    assert query(tmp_path / "state", "SELECT COUNT(*) FROM alert") == [(2,)]
