"""A disk under the real store: what is durable, what only seems so, and everything it may refuse.

The store's own code runs: its tables in SQLite, its snapshot files, its retention. Replaced are
the writer's thread, by turns of the loop, and the calls that make things durable. A transaction
counts as durable where SQLite would have synced it; a snapshot's bytes and names where the code
did. What is not durable survives the death of the process and may be gone after a power cut.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from eventd.store import database
from eventd.store.database import DATABASE
from eventd.store.writer import WriterThread
from tests.simulation.loop import Killed

USUAL_DELAY = 0.004  # s at most until the writer gets to a job
SLOW_DELAY = 3.0
FULL_SYNC = 2  # PRAGMA synchronous
IMAGE_EVERY = 0.2  # share of commits without a sync after which the disk happens to have it all
_WAL = f"{DATABASE}-wal"


class Disk:
    """One machine's disk: outlives the processes that use it."""

    def __init__(self, folder: Path, chance: Random) -> None:
        """`folder` is empty."""
        self.base, self.chance = folder, chance
        self.generation = 0
        self.state = folder / "0"
        self.slow = self.full = False
        self.fail_next_sync = False
        self.failed = False  # a sync failed under the process that runs now
        self.dies_within = 0.0  # share of calls at which the process dies
        self.doomed = False  # it has: whoever runs processes buries this one
        self.threaded = False  # somebody blocks for the writer
        self.committed: Callable[[sqlite3.Connection], None] = lambda _db: None
        self.syncs = 0
        self._image: dict[str, bytes] = {}  # what a power cut leaves of a database never synced
        self._lazy = False
        self._synced: dict[int, int] = {}  # inode → durable bytes
        self._names: frozenset[str] = frozenset()  # durable names of snapshots

    # -- what the store calls ---------------------------------------------------------------------

    def open_writer(self, directory: Path) -> SimConnection:
        """As `database.open_writer`; a fresh one is a copy of one made before."""
        if not (directory / DATABASE).exists():
            (directory / DATABASE).write_bytes(_template(self.base))
        db = database.open_writer(directory)
        (level,) = db.execute("PRAGMA synchronous").fetchone()
        self._lazy = level < FULL_SYNC
        self.remember_image()
        return SimConnection(db, self)

    def commit(self, db: sqlite3.Connection) -> None:
        """A transaction's end."""
        self.may_die()
        if self.full:
            raise failure("database or disk is full", sqlite3.SQLITE_FULL)
        if self._lazy:
            db.execute("COMMIT")
            if self.chance.random() < IMAGE_EVERY:
                self.remember_image()
        elif self.fail_next_sync:
            self.fail_next_sync = False
            self.failed = True
            # written it is; whether it came to the platter nobody can say
            db.execute("COMMIT" if self.chance.random() < 0.5 else "ROLLBACK")
            raise failure("disk I/O error", sqlite3.SQLITE_IOERR_FSYNC)
        else:
            db.execute("COMMIT")
        self.syncs += 1
        self.committed(db)
        self.may_die()

    def remember_image(self) -> None:
        """Where nothing is synced, this is what the disk has by now."""
        if self._lazy:
            there = (self.state / DATABASE, self.state / _WAL)
            self._image = {path.name: path.read_bytes() for path in there if path.exists()}

    def may_die(self) -> None:
        """Between any two system calls the process may be killed."""
        if self.dies_within and self.chance.random() < self.dies_within:
            self.doomed = True
            raise Killed

    def sync(self, fd: int) -> None:
        """A snapshot's fsync."""
        self.may_die()
        if self.fail_next_sync:
            self.fail_next_sync = False
            self.failed = True
            raise OSError(errno.EIO, "Input/output error")
        found = os.fstat(fd)
        self._synced[found.st_ino] = found.st_size
        self.may_die()

    def write(self, fd: int, data: bytes) -> int:
        """A snapshot's write."""
        self.may_die()
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(fd, data)

    def sync_directory(self, directory: Path) -> None:
        """Names are durable from here."""
        self.may_die()
        self._names = frozenset(snapshots_in(directory))
        self.may_die()

    def delay(self) -> float:
        """Until a job is done."""
        return self.chance.random() * (SLOW_DELAY if self.slow else USUAL_DELAY)

    # -- what happens to the machine --------------------------------------------------------------

    def restart(self, *, power_cut: bool) -> None:
        """What a new process finds: all that was written, or what was durable and some more."""
        self.generation += 1
        old, new = self.state, self.base / str(self.generation)
        if old.exists():
            shutil.copytree(old, new, ignore=shutil.ignore_patterns("*-shm"))
            if power_cut:
                self._lose(old, new)
            shutil.rmtree(old)
        new.mkdir(exist_ok=True)
        self.state = new
        self.failed = self.doomed = self.fail_next_sync = False
        self._synced = {
            path.stat().st_ino: path.stat().st_size for path in map(new.joinpath, _files(new))
        }
        self._names = frozenset(snapshots_in(new))

    def damage(self) -> str:
        """Something happens to the newest snapshot, where there is an older one; its name."""
        names = snapshots_in(self.state)
        if len(names) < 2:
            return ""
        path = self.state / names[-1]
        data = bytearray(path.read_bytes())
        at = self.chance.randrange(len(data))
        if self.chance.random() < 0.5:
            del data[at:]
        else:
            data[at] ^= 1 << self.chance.randrange(8)
        path.write_bytes(data)
        return names[-1]

    def _lose(self, old: Path, new: Path) -> None:
        if self._lazy:
            (new / _WAL).unlink(missing_ok=True)
            for name, data in self._image.items():
                (new / name).write_bytes(data)
        for name in _files(old):
            found = (old / name).stat()
            durable = self._synced.get(found.st_ino, 0)
            if durable < found.st_size:
                os.truncate(new / name, self.chance.randint(durable, found.st_size))
            named = name in self._names or not name.startswith("snapshot-")
            if not named and self.chance.random() < 0.5:
                (new / name).replace(new / "snapshot.tmp")


class SimConnection:
    """The writer's connection on such a disk."""

    def __init__(self, db: sqlite3.Connection, disk: Disk) -> None:
        self.db, self._disk = db, disk

    def execute(self, sql: str, *values: Any) -> Any:
        if sql == "COMMIT":
            self._disk.commit(self.db)
            return None
        if sql == "BEGIN IMMEDIATE":
            self._disk.may_die()
        return self.db.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.db, name)


class SimOs:
    """The module `os`, as far as snapshots use it on such a disk."""

    def __init__(self, disk: Disk) -> None:
        self.fsync, self.write = disk.sync, disk.write

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


class Jobs:
    """The writer's queue, worked off in turns of the loop it was started on."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._jobs: deque[Callable[[], None] | None] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._coming = False

    def start(self) -> None:
        """On the running loop."""
        self._loop = asyncio.get_running_loop()
        self._call()

    def put(self, job: Callable[[], None] | None) -> None:
        """Have it done in its turn; at once where another thread blocks for it."""
        self._jobs.append(job)
        if self._disk.threaded:
            while self._jobs:
                self._do()
        else:
            self._call()

    def _call(self) -> None:
        if self._loop is not None and self._jobs and not self._coming:
            self._coming = True
            self._loop.call_later(self._disk.delay(), self._turn)

    def _turn(self) -> None:
        self._coming = False
        if self._jobs:
            self._do()
            self._call()

    def _do(self) -> None:
        job = self._jobs.popleft()
        if job is not None and not self._disk.doomed:
            job()


class SimWriter(WriterThread):
    """The writer without its thread: what it is given and what it answers is its own code."""

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self._turns = Jobs(disk)
        self._jobs = self._turns  # type: ignore[assignment] # a queue all the same

    def start(self) -> None:
        self._turns.start()


def failure(text: str, code: int) -> sqlite3.OperationalError:
    """What sqlite3 raises."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    error.sqlite_errorname = text
    return error


def snapshots_in(directory: Path) -> list[str]:
    """Names of the finished ones."""
    return [name for name in _files(directory) if name.startswith("snapshot-")]


def _files(directory: Path) -> list[str]:
    """Snapshots, finished or not, in order."""
    return sorted(p.name for p in directory.iterdir() if p.name.startswith("snapshot"))


_made: list[bytes] = []


def _template(base: Path) -> bytes:
    """A database with its schema: making one takes longer than most seeds."""
    if not _made:
        folder = base / "template"
        folder.mkdir()
        database.open_writer(folder).close()
        _made.append((folder / DATABASE).read_bytes())
        shutil.rmtree(folder)
    return _made[0]
