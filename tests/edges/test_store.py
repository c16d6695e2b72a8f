"""The store on a real disk: who may open it, what it keeps, what it refuses."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from structlog.testing import capture_logs
from tests.builders import at, event, group_rule, load
from tests.edges.store_desk import Life, alive, batch, killed, query, saved, step

from eventd import runtime
from eventd.cli import main
from eventd.clock import monotonic
from eventd.core.engine import Engine
from eventd.core.model import (
    Comment,
    Delivery,
    Event,
    EventDuplicate,
    Fact,
    IncidentState,
    Input,
    Refused,
)
from eventd.core.snapshot import Snapshot
from eventd.errors import StoreBroken, StoreError, StoreFull, StoreInUse, StoreTooNew
from eventd.runtime import Batch, Step
from eventd.store import database, retention, sqlite
from eventd.store import writer as writing
from eventd.store.database import DATABASE, LOCK, LOG, SCHEMA
from eventd.store.journal import JournalRow, iter_journal
from eventd.store.payloads import MAX_RECENT, MIN_SIZE, RecentPayloads
from eventd.store.queries import insert
from eventd.store.sqlite import CHECKPOINT_EVERY, SqliteStore
from eventd.store.tables import Tables
from eventd.store.writer import WriterThread

HOLD = """
import asyncio, sys
from pathlib import Path
from eventd.store.sqlite import SqliteStore

async def hold():
    async with SqliteStore.open(Path(sys.argv[1])):
        print("open", flush=True)
        await asyncio.sleep(600)

asyncio.run(hold())
"""


async def test_what_was_committed_is_there_in_order(tmp_path: Path) -> None:
    steps = (
        step(0, at(0), event("a"), event("b"), payload=b'{"x": 1}'),
        step(2, at(1), Refused("zabbix", "decode", "bad")),
        Step(3, at(1), None, (load(),), ()),
    )

    async with SqliteStore.open(tmp_path) as store:
        await store.commit(batch(*steps[:2]))
        await store.commit(batch(*steps[2:]))

    assert list(iter_journal(tmp_path)) == [
        JournalRow(0, at(0), "zabbix", steps[0].delivery, steps[0].inputs),
        JournalRow(2, at(1), "zabbix", steps[1].delivery, steps[1].inputs),
        JournalRow(3, at(1), "", None, steps[2].inputs),
    ]
    assert [row.seq for row in iter_journal(tmp_path, 2)] == [2, 3]
    assert query(tmp_path, "SELECT rules FROM journal") == [("",), ("",), ("v1",)]


async def test_the_journal_can_be_read_beside_the_daemon(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path) as store:
        await store.commit(batch(*(step(n, at(n), event(f"e{n}")) for n in range(450))))
        rows = iter_journal(tmp_path)
        first = next(rows)
        await store.commit(batch(step(450, at(450), event("late"))))

        assert first.inputs == (event("e0"),)
        assert [row.seq for row in rows] == list(range(1, 451))


async def test_a_payload_sent_again_is_stored_once_and_exported_each_time(tmp_path: Path) -> None:
    body = b"x" * 50_000
    steps = [step(n, at(n * 1_200), event("a"), payload=body) for n in range(6)]

    async with SqliteStore.open(tmp_path) as store:
        for one in steps:
            await store.commit(batch(one))

    assert [row.delivery for row in iter_journal(tmp_path)] == [one.delivery for one in steps]
    # again after an hour: 0, 1,200, 2,400 and 3,600 s share the first, the rest the next
    same_as = query(tmp_path, "SELECT same_as FROM delivery ORDER BY seq")
    assert same_as == [(None,), (0,), (0,), (0,), (None,), (4,)]


async def test_a_second_instance_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path):
        with pytest.raises(StoreInUse, match=f"in use by another eventd .process {os.getpid()}"):
            async with SqliteStore.open(tmp_path):
                pass

    async with SqliteStore.open(tmp_path):
        pass


async def test_kill_9_frees_the_state_directory(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"open\n"
    with pytest.raises(StoreInUse):
        await SqliteStore.open(tmp_path).__aenter__()

    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()

    async with SqliteStore.open(tmp_path):
        pass


async def test_a_newer_schema_is_refused_with_a_sentence(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA + 1}")

    with pytest.raises(
        StoreTooNew, match=rf"newer eventd \(schema {SCHEMA + 1}, .* knows {SCHEMA}\)"
    ):
        await SqliteStore.open(tmp_path).__aenter__()
    with pytest.raises(StoreTooNew):
        list(iter_journal(tmp_path))


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database at all" * 100)

    with pytest.raises(StoreBroken, match="file is not a database"):
        await SqliteStore.open(tmp_path).__aenter__()


async def test_an_unusable_directory_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for path, why in (
        (tmp_path / "missing" / "state", "No such file or directory"),
        (tmp_path / "file", "File exists"),
        (Path("/proc/eventd"), "No such file or directory"),
    ):
        with pytest.raises(StoreError, match=f"{path}: .* cannot be used: {why}"):
            await SqliteStore.open(path).__aenter__()


async def test_what_is_in_the_way_of_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")

    for path, why in (
        (tmp_path / "file", f"File exists ({tmp_path}/file is no directory)"),
        (tmp_path / "file" / "x" / "y", f"Not a directory ({tmp_path}/file is no directory)"),
        (tmp_path / "link", f"File exists ({tmp_path}/link is a link to what is no directory)"),
    ):
        with pytest.raises(StoreError, match=f"^{re.escape(f'{path}: the state directory')}") as e:
            await SqliteStore.open(path).__aenter__()
        assert str(e.value).endswith(f" cannot be used: {why}")


async def test_a_disk_without_inodes_is_told_as_full(small_disk: Path) -> None:
    # for the folder, the lock, the database and its log
    subprocess.run(["mount", "-o", "remount,nr_inodes=5", small_disk], check=True)

    with pytest.raises(StoreFull, match=r"eventd\.db: no space left \(SQLITE_CANTOPEN\)"):
        await SqliteStore.open(small_disk / "state").__aenter__()


async def test_a_directory_may_be_called_as_it_likes(tmp_path: Path) -> None:
    state = tmp_path / os.fsdecode(b"\xff ?#%20\n")
    async with alive(state) as life:
        await life.submit(at(0), event("a"))

    assert [row.inputs for row in iter_journal(state)] == [(event("a"),)]


async def test_a_read_only_directory_is_named_with_the_reason(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)

    with pytest.raises(StoreError, match=f"{small_disk}: .*Read-only file system"):
        await SqliteStore.open(small_disk).__aenter__()


async def test_a_store_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"{tmp_path}/eventd.db: there is none; name the state"):
        list(iter_journal(tmp_path))


async def test_a_database_copied_without_its_log_is_no_store_and_says_so(tmp_path: Path) -> None:
    """Copied as a store was made: what made the tables stands in the log."""
    copy = tmp_path / "copy"
    copy.mkdir()
    with closing(sqlite3.connect(copy / "eventd.db")) as db:
        db.execute("PRAGMA journal_mode = WAL")

    with pytest.raises(StoreError, match=f"{copy}/eventd.db: holds no tables of eventd; .*-wal"):
        list(iter_journal(copy))
    checked = CliRunner().invoke(main, ["check", "--store", str(copy)])
    assert (checked.exit_code, "holds no tables" in checked.output) == (2, True)
    with capture_logs() as logs:
        async with SqliteStore.open(tmp_path / "new"), SqliteStore.open(copy):
            pass
        async with SqliteStore.open(copy):
            pass
    warned = [one["path"] for one in logs if one["event"] == "store.empty"]
    assert warned == [f"{copy}/eventd.db"]


@pytest.mark.parametrize(
    ("what", "beside"),
    [
        ("is missing", LOG),
        ("is missing", "snapshot-0"),
        ("is empty", LOG),
        ("is empty", "snapshot-0"),
        ("holds no tables", "snapshot-0"),
    ],
)
async def test_what_is_left_of_a_store_without_its_database_stays_as_it_is(
    tmp_path: Path, what: str, beside: str
) -> None:
    async with alive(tmp_path / "state") as life:
        await life.submit(at(0), event())
        rest = killed(life.store.directory, tmp_path / "killed")
    if beside != LOG:
        rest = tmp_path / "state"
    (rest / DATABASE).unlink()
    if what == "is empty":
        (rest / DATABASE).touch()
    elif what == "holds no tables":
        with closing(sqlite3.connect(rest / DATABASE)) as db:
            db.execute("PRAGMA journal_mode = WAL")
    before = {one: one.read_bytes() for one in rest.iterdir() if one.name != "lock"}

    with pytest.raises(StoreError, match=f"{DATABASE}: {what}, .* still {beside}.* restore a"):
        await SqliteStore.open(rest).__aenter__()
    with pytest.raises(StoreError):
        list(iter_journal(rest))

    assert {one: one.read_bytes() for one in before} == before
    assert (rest / DATABASE).exists() == (what != "is missing")


async def test_only_the_owner_may_read(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with alive(tmp_path / "state") as life:
            await life.submit(at(0), event())
            now = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "state").iterdir()}
    finally:
        os.umask(before)
    after = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "state").iterdir()}

    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert set(now) == {"lock", "eventd.db", "eventd.db-wal", "eventd.db-shm"}
    assert set(after) == {"lock", "eventd.db", "snapshot-00000000000000000001"}
    assert {*now.values(), *after.values()} == {0o600}


async def test_a_directory_open_to_others_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    async with SqliteStore.open(tmp_path):
        assert tmp_path.stat().st_mode & 0o777 == 0o700


async def test_a_full_disk_is_told_and_the_same_commit_succeeds_later(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (4 << 20))
    state = small_disk / "state"
    big = step(1, at(1), event("b"), payload=os.urandom(5 << 20))

    async with SqliteStore.open(state) as store:
        await store.commit(batch(step(0, at(0), event("a"))))
        for _ in range(3):
            with pytest.raises(StoreFull, match="no space left"):
                await store.commit(batch(big))
        assert store.broken is None
        ballast.unlink()
        small = step(1, at(1), event("b"), payload=big.delivery.payload[: 1 << 20])  # type: ignore[union-attr]
        await store.commit(batch(small))

    assert [row.inputs for row in iter_journal(state)] == [(event("a"),), (event("b"),)]


async def test_a_full_database_is_told_and_the_same_commit_succeeds_later(tmp_path: Path) -> None:
    big = step(0, at(0), event("b"), payload=os.urandom(5 << 20))

    async with SqliteStore.open(tmp_path) as store:
        tables = store._open_tables()
        tables.db.execute("PRAGMA max_page_count = 100")
        with pytest.raises(StoreFull):
            await store.commit(batch(big))
        tables.db.execute("PRAGMA max_page_count = 100000")
        await store.commit(batch(big))
        await store.commit(batch(step(1, at(1), event("b"), payload=big.delivery.payload)))  # type: ignore[union-attr]

    assert [row.delivery == big.delivery for row in iter_journal(tmp_path)] == [True, False]
    assert query(tmp_path, "SELECT same_as FROM delivery") == [(None,), (0,)]


async def test_a_snapshot_on_a_full_disk_is_given_up_and_the_journal_goes_on(
    small_disk: Path,
) -> None:
    async with alive(small_disk / "state") as life:
        await life.submit(at(0), event("a"))
        (small_disk / "ballast").write_bytes(b"\0" * (6 << 20))
        snapshot = life.runtime.engine.snapshot()
        snapshot.sections["alerts"] = ["x" * 100_000] * 100
        await life.store.commit(Batch(snapshot=snapshot, next_seq=1))
        await life.submit(at(1), event("b"))
        await life.submit(at(1), event("c"))
        while not life.store.snapshot_failures:
            await asyncio.sleep(0.01)

        assert life.store.snapshot_failures == 1
        assert life.store.broken is None
        assert not (small_disk / "state" / "snapshot.tmp").exists()
    assert len(list(iter_journal(small_disk / "state"))) == 3


async def test_a_snapshot_that_failed_is_not_counted_and_tried_again_when_there_is_room(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "SNAPSHOT_EVERY", 2)
    monkeypatch.setattr(runtime, "SNAPSHOT_RETRY", 0.2)
    (small_disk / "ballast").write_bytes(b"\0" * (4 << 20))
    async with alive(small_disk / "state") as life:
        engine = life.runtime.engine
        snapshot = engine.snapshot

        def large() -> Snapshot:
            made = snapshot()
            made.sections["alerts"] = ["x" * 100_000] * 100
            return made

        engine.snapshot = large  # type: ignore[method-assign]
        await life.submit(at(0), event("a"))
        await life.submit(at(1), event("b"))
        while not life.store.snapshot_failures:
            await asyncio.sleep(0.01)
        await life.submit(at(2), event("c"))

        assert (life.store.snapshots, life.store.snapshot_failures) == (0, 1)
        assert life.runtime.beyond_snapshot == 3
        engine.snapshot = snapshot  # type: ignore[method-assign]
        await asyncio.sleep(0.2)
        await life.submit(at(3), event("d"))
        await saved(life)

        assert (life.store.snapshots, life.store.snapshot_failures) == (1, 1)
        assert life.runtime.beyond_snapshot == 0


async def test_a_snapshot_that_is_still_written_is_not_given_up_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a flood the next would be due before any is whole, and a start would step it all."""
    monkeypatch.setattr(runtime, "SNAPSHOT_EVERY", 2)
    async with alive(tmp_path) as life:
        with monkeypatch.context() as patch:
            patch.setattr(SqliteStore, "_advance", lambda *_: None)  # a slow disk
            for n in range(7):
                await life.submit(at(n), event("a"))
        await saved(life)
        assert life.store.snapshot_seq == 2
        assert life.runtime.beyond_snapshot == 5

        await life.submit(at(7), event("a"))
        while life.store.snapshots < 2:
            await asyncio.sleep(0.001)
        assert life.runtime.beyond_snapshot == 0


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
async def test_where_too_many_files_are_open_retention_and_snapshots_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    met: list[str] = []

    def fails(name: str) -> Callable[..., None]:
        def call(*_: object) -> None:
            met.append(name)
            raise OSError(code, os.strerror(code))

        return call

    async with alive(tmp_path) as life:
        await life.submit(at(0), event("a"))
        with monkeypatch.context() as patch:
            patch.setattr("eventd.store.snapshots.os.open", fails("snapshot"))
            patch.setattr(retention, "snapshot_paths", fails("retention"))
            await life.store.commit(Batch(snapshot=life.runtime.engine.snapshot(), next_seq=1))
            await life.submit(at(61), event("b"))
            async with asyncio.timeout(20):
                while set(met) != {"snapshot", "retention"}:
                    await asyncio.sleep(0.001)
            await life.submit(at(62), event("c"))
        await life.submit(at(122), event("d"))

        assert life.store.broken is None
        assert life.store.snapshot_failures == 1


async def test_after_any_other_error_nothing_is_committed_any_more(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path) as store:
        await store.commit(batch(step(0, at(0), event("a"))))
        with pytest.raises(StoreBroken, match="UNIQUE"):
            await store.commit(batch(step(0, at(0), event("a again"))))
        with pytest.raises(StoreBroken, match="UNIQUE"):
            await store.commit(batch(step(1, at(1), event("b"))))
        with pytest.raises(StoreBroken, match="UNIQUE"):
            await store.commit(Batch())

    assert [row.inputs for row in iter_journal(tmp_path)] == [(event("a"),)]


async def test_what_breaks_after_the_last_commit_is_raised_by_closing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr("eventd.store.snapshots.os.write", fails)
        with pytest.raises(StoreBroken, match="Input/output error"):
            async with alive(tmp_path) as life:
                await life.submit(at(0), event("a"))

    async with alive(tmp_path) as life:
        assert (life.recovered.start, life.recovered.replayed) == ("journal", 1)


def cut(path: Path) -> None:
    os.truncate(path, 0)


def replace_by_a_copy(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def move_its_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("harm", "name", "why", "left"),
    [
        (Path.unlink, LOG, "removed", ["a"]),  # closing puts it into the database
        (replace_by_a_copy, LOG, "replaced", ["a"]),
        (cut, LOG, "cut", []),
        (Path.unlink, DATABASE, "removed", None),  # nor does one begin anew beside the log
        (replace_by_a_copy, DATABASE, "replaced", ["a"]),
        (cut, DATABASE, "cut", None),
        (move_its_folder, DATABASE, "removed", []),
        (Path.unlink, LOCK, "removed", ["a"]),  # another could take the state
        (replace_by_a_copy, LOCK, "replaced", ["a"]),
    ],
)
@pytest.mark.parametrize("probe", [True, False])
async def test_nothing_is_committed_to_files_that_no_start_finds(
    tmp_path: Path,
    harm: Callable[[Path], None],
    name: str,
    why: str,
    left: list[str] | None,
    *,
    probe: bool,
) -> None:
    state = tmp_path / "state"
    async with SqliteStore.open(state) as store:
        await store.commit(batch(step(0, at(0), event("a"))))
        await store.commit(Batch())  # what is done after the first looks at the files too
        harm(state / name)
        last = Batch() if probe else batch(step(1, at(1), event("b")))
        for _ in range(2):
            with pytest.raises(StoreBroken, match=f"^{state / name}: was {why} under this"):
                await store.commit(last)

    if left is None:
        with pytest.raises(StoreError, match=f"^{state / name}: is .* still {LOG};"):
            await SqliteStore.open(state).__aenter__()
        return
    async with alive(state) as life:
        assert [one.name for row in iter_journal(state) for one in row.inputs] == left  # type: ignore[union-attr]
        await life.submit(at(2), event("c"))


async def test_what_is_put_in_the_place_of_the_files_stays_whole(tmp_path: Path) -> None:
    state, other = tmp_path / "state", tmp_path / "other"
    async with SqliteStore.open(other) as store:
        await store.commit(batch(step(0, at(0), event("other"))))
        copy = killed(other, tmp_path / "copy")
    async with SqliteStore.open(state) as store:
        await store.commit(batch(step(0, at(0), event("a"))))
        for name in (DATABASE, LOG):
            (copy / name).replace(state / name)
        with pytest.raises(StoreBroken, match="was replaced"):
            await store.commit(Batch())

    async with alive(state):
        assert [row.inputs for row in iter_journal(state)] == [(event("other"),)]


async def test_sqlite_itself_may_cut_its_log_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "SLOW_SYNC", 1e9)  # however busy this disk is
    for module in (database, sqlite):
        monkeypatch.setattr(module, "WAL_LIMIT", 1 << 20)
    log, sizes = tmp_path / LOG, []

    async with SqliteStore.open(tmp_path) as store:
        for n in range(20):
            payload = os.urandom(5 << 20 if n % 5 == 0 else 100)
            await store.commit(batch(step(n, at(n), event(f"e{n}"), payload=payload)))
            await store.commit(Batch())  # checkpoints come between
            sizes.append(log.stat().st_size)

    assert min(sizes[1:]) <= 2 << 20 < 5 << 20 <= max(sizes)


async def test_a_row_that_cannot_be_made_breaks_the_store_and_is_logged_as_it_came(
    tmp_path: Path,
) -> None:
    delivery = Delivery(transport="http", received_at=at(0), payload=b"", path="\udcff")
    unwritable = Step(0, at(0), delivery, (event("a"),), ())

    async with SqliteStore.open(tmp_path) as store:
        with capture_logs() as logs, pytest.raises(StoreBroken, match="surrogates not allowed"):
            await store.commit(batch(unwritable))
        with pytest.raises(StoreBroken):
            await store.commit(batch(step(0, at(0), event("a"))))

    assert [(one["event"], type(one["exc_info"])) for one in logs] == [
        ("store.failed", UnicodeEncodeError)
    ]
    assert list(iter_journal(tmp_path)) == []


async def test_the_log_is_checkpointed_and_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "SLOW_SYNC", 1e9)  # however busy this disk is
    async with SqliteStore.open(tmp_path) as store:
        for n in range(60):
            await store.commit(batch(step(n, at(n), event("a"), payload=os.urandom(1 << 20))))
        log = (tmp_path / f"{DATABASE}-wal").stat().st_size

        assert log < CHECKPOINT_EVERY * 1.5
        assert (tmp_path / DATABASE).stat().st_size > 40 << 20


async def test_what_finds_no_room_lets_the_log_be_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CHECKPOINT_EVERY", 1 << 40)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    async with SqliteStore.open(tmp_path) as store:
        await store.commit(batch(step(0, at(0), event("a"), payload=os.urandom(1 << 20))))
        before = (tmp_path / DATABASE).stat().st_size
        with monkeypatch.context() as patch:
            patch.setattr(Tables, "write", full)
            with pytest.raises(StoreFull):
                await store.commit(batch(step(1, at(1), event("a"))))
        assert (tmp_path / DATABASE).stat().st_size >= before + (1 << 20)
        await store.commit(batch(step(1, at(1), event("a"))))

    assert len(list(iter_journal(tmp_path))) == 2


async def test_on_a_disk_that_is_slow_to_sync_checkpoints_are_rare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown: list[int] = []
    monkeypatch.setattr(sqlite, "SLOW_SYNC", 0.0)  # each of these is
    monkeypatch.setattr(sqlite, "SYNCS_BETWEEN", 0.0)

    async def grow(store: SqliteStore, megabytes: int) -> None:
        for _ in range(megabytes):
            n = len(grown)
            await store.commit(batch(step(n, at(n), event("a"), payload=os.urandom(1 << 20))))
            await store.commit(Batch())  # a checkpoint comes between
            grown.append((tmp_path / DATABASE).stat().st_size >> 20)

    async with SqliteStore.open(tmp_path) as store:
        await grow(store, 3)
        assert grown == [0, 2, 2]  # time enough has passed
        monkeypatch.setattr(sqlite, "SYNCS_BETWEEN", 1e9)
        await grow(store, 20)
        assert grown[3:] == [2] * 20
        monkeypatch.setattr(sqlite, "WAL_LIMIT", 24 << 20)
        await grow(store, 10)
        assert sorted(set(grown[23:])) == [2, 26]  # nor does the log grow for ever
        monkeypatch.setattr(sqlite, "SLOW_SYNC", 1e9)
        await grow(store, 2)
        assert grown[-1] > 30  # it is quick again


async def test_timeline_and_ledger_name_the_rows_that_caused_them(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await life.submit(
            at(0), load({"name": "g", "group": {"match": ""}, "by": ["service"], "within": "5m"})
        )
        await life.submit(at(1), event("a"), event("b"), event("c", service="bank"))
        await life.submit(at(2), Comment("INC-000001", "ann", "looking"))

    assert query(tmp_path, "SELECT incident, n, seq, kind, actor FROM timeline") == [
        ("INC-000001", 1, 1, "opened", ""),
        ("INC-000001", 2, 4, "commented", "ann"),
        ("INC-000002", 1, 1, "opened", ""),
    ]
    assert query(tmp_path, "SELECT incident, seq, last_seq FROM ledger") == [
        ("INC-000001", 1, 1),
        ("INC-000002", 1, 1),
    ]
    incidents = "SELECT id, state, priority, service, rule FROM incident"
    assert [row[:2] for row in query(tmp_path, incidents)] == [
        ("INC-000001", "open"),
        ("INC-000002", "open"),
    ]
    assert query(tmp_path, "SELECT COUNT(*), SUM(incident = 'INC-000001') FROM alert") == [(3, 2)]


async def test_duplicates_cost_a_journal_row_and_nothing_else(tmp_path: Path) -> None:
    facts = tuple(EventDuplicate(at(0), event().fingerprint) for _ in range(100))

    async with SqliteStore.open(tmp_path) as store:
        await store.commit(batch(Step(0, at(0), None, (event(),) * 100, facts)))

    tables = ("timeline", "ledger", "incident", "alert", "silence", "maintenance", "quarantine")
    counts = [query(tmp_path, f"SELECT COUNT(*) FROM {table}") for table in tables]
    assert counts == [[(0,)]] * len(tables)
    assert query(tmp_path, "SELECT seq, inputs FROM journal") == [(0, 100)]


@given(st.integers(0, 700))
def test_any_number_of_rows_is_inserted_in_order(count: int) -> None:
    rows = [(f"k{n:04d}", str(n)) for n in range(count)]

    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT)")
        insert(db, "put_meta", rows)

        assert db.execute("SELECT * FROM meta ORDER BY rowid").fetchall() == rows


async def test_a_year_of_time_is_kept_to_the_microsecond(tmp_path: Path) -> None:
    times = [at(0) + timedelta(days=30 * n, microseconds=7 * n + 1) for n in range(12)]

    async with SqliteStore.open(tmp_path) as store:
        await store.commit(batch(*(step(n, now, event()) for n, now in enumerate(times))))

    assert [row.now for row in iter_journal(tmp_path)] == times


async def test_another_programs_database_is_left_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db:
        db.execute("CREATE TABLE alert (mine TEXT)")

    with pytest.raises(StoreBroken, match="table alert already exists"):
        await SqliteStore.open(tmp_path).__aenter__()

    with closing(sqlite3.connect(tmp_path / DATABASE)) as db:
        assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("alert",)]


async def test_a_store_that_was_closed_takes_nothing(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path) as store:
        pass

    with pytest.raises(RuntimeError, match="the writer has stopped"):
        await store.commit(Batch())


async def test_what_work_raises_reaches_whoever_waits_next() -> None:
    writer = WriterThread()
    writer.start()

    with pytest.raises(ZeroDivisionError):
        writer.wait(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        await writer.run(lambda: 1 // 0)
    assert await writer.run(lambda: 1) == 1
    writer.post(lambda: print(1 // 0))
    with pytest.raises(ZeroDivisionError):
        await writer.run(lambda: 1)
    with pytest.raises(ZeroDivisionError):
        writer.wait(lambda: 1)
    writer.stop()


class Work:
    """What fails, and can be looked after."""

    def __call__(self) -> None:
        raise ZeroDivisionError


async def test_the_writer_begins_before_a_busy_loop_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writing, "HAND_OVER", 60.0)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(60)  # nobody has to let go of the interpreter lock
    writer, begun = WriterThread(), threading.Event()
    writer.start()

    work = asyncio.create_task(writer.run(begun.set))
    await asyncio.sleep(0)

    try:
        assert begun.is_set()
        await work
    finally:
        sys.setswitchinterval(usual)
        writer.stop()


async def test_the_loop_goes_on_while_the_writer_is_at_something_else() -> None:
    writer, over, in_time = WriterThread(), threading.Event(), list[bool]()
    writer.start()
    writer.post(lambda: in_time.append(over.wait(10)))

    work = asyncio.create_task(writer.run(lambda: None))
    await asyncio.sleep(0)
    over.set()
    await work

    assert in_time == [True]
    writer.stop()


async def test_work_that_failed_is_gone_with_its_error() -> None:
    writer = WriterThread()
    writer.start()
    gc.collect()
    gc.disable()
    try:
        for_loop, for_thread = Work(), Work()
        left = [weakref.ref(for_loop), weakref.ref(for_thread)]
        with suppress(ZeroDivisionError):
            await writer.run(for_loop)
        with suppress(ZeroDivisionError):
            writer.wait(for_thread)
        del for_loop, for_thread
        await writer.run(lambda: None)  # the thread lets go of its last job
        assert [one() for one in left] == [None, None]
    finally:
        gc.enable()
        writer.stop()


def test_only_so_many_payloads_are_remembered() -> None:
    recent = RecentPayloads(seed=1)
    bodies = [n.to_bytes(4, "big") * MIN_SIZE for n in range(MAX_RECENT + 1)]
    for n, body in enumerate(bodies):
        assert recent.place("a", body, n, 0) is None
        recent.committed()

    assert recent.place("a", bodies[0], 9_999, 0) is None
    assert recent.place("a", bodies[1], 9_999, 0) == 1
    assert recent.place("b", bodies[1], 9_999, 0) is None


async def test_what_a_crash_left_in_the_log_is_written_anew_at_start(tmp_path: Path) -> None:
    crashed, without_log = tmp_path / "crashed", tmp_path / "without log"
    async with SqliteStore.open(tmp_path / "state") as store:
        await store.commit(batch(step(0, at(0), event("a"))))
        shutil.copytree(tmp_path / "state", crashed)

    async with SqliteStore.open(crashed):
        without_log.mkdir()
        shutil.copy(crashed / DATABASE, without_log)

    assert [row.seq for row in iter_journal(without_log)] == [0]


async def test_who_waits_for_the_last_seen_of_alerts_does_not_spin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "SEEN_EVERY", 0.3)
    async with alive(tmp_path) as life:
        armed = 0
        arm = life.runtime._arm

        def count() -> None:
            nonlocal armed
            armed += 1
            arm()

        await life.submit(at(0), event("a", id="a"), flush=True)
        await asyncio.sleep(0.2)
        life.runtime._flushed = monotonic()  # other rows, before last-seen is due
        await life.submit(at(1), event("a", id="a"))
        monkeypatch.setattr(life.runtime, "_arm", count)
        assert life.runtime._seen
        async with asyncio.timeout(20):
            while life.runtime._seen:
                await asyncio.sleep(0.01)

        assert armed < 10


def test_who_waits_is_answered_before_the_next_batch_is_stepped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    step = Engine.step

    def noted(engine: Engine, item: Input, now: datetime) -> tuple[Fact, ...]:
        if isinstance(item, Event):
            order.append(f"step {item.name}")
        return step(engine, item, now)

    async def send(life: Life, name: str) -> None:
        await life.submit(at(0), event(name))
        order.append(f"answer {name}")

    async def scene() -> None:
        async with alive(tmp_path / "state") as life, asyncio.TaskGroup() as senders:
            senders.create_task(send(life, "first"))
            while not order:
                await asyncio.sleep(0)
            senders.create_task(send(life, "second"))  # while the first commits

    monkeypatch.setattr(Engine, "step", noted)
    asyncio.run(scene())
    assert order == ["step first", "answer first", "step second", "answer second"]


async def test_an_incident_behind_at_the_start_is_written_though_it_is_known_no_more(
    tmp_path: Path,
) -> None:
    """The engine drops what is closed, maybe with the first thing that happens."""
    async with alive(tmp_path / "state") as life:
        await life.feed([(at(0), load(group_rule())), (at(1), event())])
        (known,) = life.runtime.engine.incidents()
        gone = replace(known, id="INC-000009", state=IncidentState.CLOSED)
        with closing(sqlite3.connect(tmp_path / "state" / DATABASE)) as db, db:
            db.execute(
                "INSERT INTO timeline SELECT ?, n, seq, at, kind, actor, body FROM timeline",
                (gone.id,),
            )
        life.runtime.resume(2, 0, at(1), moved=(gone,))
        await life.submit(at(2), event())

        rows = query(tmp_path / "state", "SELECT id FROM incident ORDER BY id")
    assert rows == [(known.id,), (gone.id,)]
