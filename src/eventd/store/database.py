"""The state directory and the connections to the database in it."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import quote

import msgspec
import structlog

from eventd import __version__
from eventd.errors import StoreBroken, StoreError, StoreFull, StoreInUse, StoreTooNew
from eventd.store.queries import QUERIES

DATABASE = "eventd.db"
LOG = f"{DATABASE}-wal"
LOCK = "lock"
SCHEMA = 4  # the highest schema/NNN.sql
# Bytes: a delivery of 100 events takes about 90 kB; with 4 KiB pages each costs a third more CPU.
PAGE_SIZE = 8192
CACHE_KIB = 16 * 1024
# Bytes the WAL file is cut back to when it was stretched, by a long reader or a full disk.
WAL_LIMIT = 64 << 20

EMPTY = f"holds no tables of eventd; where it is a copy, {LOG} was left out: see docs/operations.md"

_log: structlog.stdlib.BoundLogger = structlog.get_logger()
# Of the disk, of descriptors: no transaction ends in these. SQLite tells its own ends itself.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_FOR_NOW = _NO_ROOM | {errno.EMFILE, errno.ENFILE}
# SQLite does not call it full when it cannot grow the WAL's index, when a quota is used up, nor
# when there is no inode for a file beside the database.
_FULL_CODES = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_CANTOPEN,
    }
)
ROOM = 1 << 20  # bytes; where so many cannot be written there is none


def explain(error: Exception, directory: Path) -> StoreFull | StoreBroken:
    """What the caller may do: StoreFull (retry unchanged) or StoreBroken (stop)."""
    if isinstance(error, OSError):
        if error.errno in _FOR_NOW:
            return StoreFull(f"{directory}: {os.strerror(error.errno).lower()}")
        return StoreBroken(f"{directory}: {error}")
    if isinstance(error, msgspec.DecodeError):
        return StoreBroken(f"{directory / DATABASE}: cannot be read: {error}")
    code = getattr(error, "sqlite_errorcode", None)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if code == sqlite3.SQLITE_FULL or (code in _FULL_CODES and _no_space(directory)):
        return StoreFull(f"{directory}: no space left ({name})")
    return StoreBroken(f"{directory}: {error} ({name})")


def _no_space(place: Path) -> bool:
    """Found out by writing: figures of the file system know nothing of quotas."""
    folder = place if place.is_dir() else place.parent
    left = ROOM
    try:
        with TemporaryFile(dir=folder, buffering=0) as file:
            while left:
                left -= file.write(bytes(left))
    except OSError as e:
        return e.errno in _NO_ROOM
    return False


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """One transaction, rolled back where anything raises."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextmanager
def unsynced(db: sqlite3.Connection) -> Iterator[None]:
    """What ends in here need not be durable: the sync of the next commit takes it along.

    After a power cut it may not have been, never in part, nor anything after it without it.
    """
    (level,) = db.execute("PRAGMA synchronous").fetchone()
    db.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        db.execute(f"PRAGMA synchronous = {level}")


def lock_state(directory: Path) -> int:
    """Make the directory private and take it; the lock goes with the process, also by kill -9.

    The last component is made where it is missing. Returns the descriptor to close. Raises
    StoreInUse, or StoreError with path and reason.
    """
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        if directory.stat().st_mode & 0o077:
            directory.chmod(0o700)
        fd = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise unusable(directory, e) from e
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise StoreInUse(
            f"{directory}: in use by another eventd (process {pid or 'unknown'}); "
            "stop it, or give another state directory"
        ) from None
    try:
        os.fchmod(fd, 0o600)
        # in this order, as a full disk may have no room for what was let go of
        os.ftruncate(fd, os.pwrite(fd, f"{os.getpid()}\n".encode(), 0))
    except OSError as e:
        if e.errno in _FOR_NOW:
            return fd  # it is taken: the number is for people
        os.close(fd)
        raise unusable(directory, e) from e
    return fd


def unusable(directory: Path, error: OSError) -> StoreError:
    """With what is in the way, where it is one of these."""
    why = f"{directory}: the state directory cannot be used: {error.strerror}"
    for place in (directory, *directory.parents):
        with suppress(OSError):
            if place.is_dir():
                break
            if place.is_symlink():
                return StoreError(f"{why} ({place} is a link to what is no directory)")
            if place.exists():
                return StoreError(f"{why} ({place} is no directory)")
    return StoreError(why)


def open_writer(directory: Path) -> sqlite3.Connection:
    """The one connection that writes and checkpoints; the directory must be locked.

    Raises StoreTooNew, StoreFull, or StoreError with path and reason.
    """
    path = directory / DATABASE
    try:
        held = _refuse_lost(path)
        _make_private(path)
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as e:
        raise StoreError(f"{path}: cannot be opened: {e}") from e
    try:
        _prepare(db, path)
        if held and not _version(db):
            _refuse_beside(path, "holds no tables", _snapshots(path))
            # not refused: a first start that was cut short leaves the same
            _log.warning("store.empty", path=str(path), why=EMPTY)
        _migrate(db, path)
        with transaction(db):
            db.execute(QUERIES["put_meta"], ("version", __version__))
        # SQLite syncs the directory where it makes a file, and goes on where that fails
        sync_directory(directory)
    except (sqlite3.Error, OSError) as e:
        db.close()
        raise explain(e, path) from e
    except StoreError:
        db.close()
        raise
    return db


class OpenFile:
    """A file that this process goes on using, and that the next start looks for by its name.

    Without its name, or where it was cut behind SQLite's back, that start finds nothing of what was
    written since, however well it was synced.
    """

    def __init__(self, path: Path, cut_to: int = sys.maxsize) -> None:
        """SQLite itself cuts it back to so many bytes, and never further."""
        self._path, self._cut_to = path, cut_to
        self._size = self._device = self._inode = 0

    def look(self) -> None:
        """Raise StoreBroken where it is not the file of the first look any more. Raises OSError."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            raise StoreBroken(f"{self._path}: was removed under this process") from None
        if not self._inode:
            self._device, self._inode = found.st_dev, found.st_ino
        if found.st_ino != self._inode or found.st_dev != self._device:
            raise StoreBroken(f"{self._path}: was replaced under this process")
        if found.st_size < self._size:
            raise StoreBroken(f"{self._path}: was cut under this process")
        self._size = min(found.st_size, self._cut_to)


def open_reader(directory: Path) -> sqlite3.Connection:
    """A read-only connection that works beside a live daemon. Raises StoreError."""
    path = directory / DATABASE
    try:
        _refuse_lost(path)
    except OSError as e:
        raise StoreError(f"{path}: cannot be opened: {e}") from e
    if not path.exists():
        raise StoreError(f"{path}: there is none; name the state directory of a daemon")
    try:
        db = sqlite3.connect(
            f"file:{quote(os.fsencode(path.absolute()))}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
    except sqlite3.Error as e:
        raise StoreError(f"{path}: cannot be opened: {e}") from e
    try:
        _refuse_empty(_refuse_newer(db, path), path)
    except sqlite3.Error as e:
        db.close()
        raise StoreError(f"{path}: cannot be read: {e}") from e
    except StoreError:
        db.close()
        raise
    return db


def _refuse_lost(path: Path) -> int:
    """The database's size. Raise StoreError where it is gone and what was beside it is not.

    SQLite would begin a new one, and delete the log unread. It never writes to the log of a
    database that holds nothing, so no first start that is cut short leaves this. Raises OSError.
    """
    there = path.exists()
    held = path.stat().st_size if there else 0
    if not held:
        log = path.with_name(LOG)
        logs = [LOG] if log.exists() and log.stat().st_size else []
        _refuse_beside(path, "is empty" if there else "is missing", logs + _snapshots(path))
    return held


def _snapshots(path: Path) -> list[str]:
    return sorted(one.name for one in path.parent.glob("snapshot-*"))


def _refuse_beside(path: Path, what: str, beside: list[str]) -> None:
    if beside:
        raise StoreError(
            f"{path}: {what}, though beside it there is still {' and '.join(beside)}; restore a "
            "backup, or move all of it away to begin anew: see docs/operations.md"
        )


@contextmanager
def reading(directory: Path) -> Iterator[sqlite3.Connection]:
    """`open_reader`, closed at the end. Raises StoreError also where what it finds is damaged."""
    with closing(open_reader(directory)) as db:
        try:
            yield db
        except (sqlite3.Error, msgspec.MsgspecError) as e:
            raise StoreError(f"{directory / DATABASE}: cannot be read: {e}") from e


def _make_private(path: Path) -> None:
    """The database with its final mode, which SQLite gives to the files beside it too."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
    finally:
        os.close(fd)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make new, renamed and deleted names durable. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    # to the end: an error after the row of the answer would go unseen
    [(mode,)] = db.execute("PRAGMA journal_mode = WAL").fetchall()
    if mode != "wal":  # nor does SQLite always raise where the disk failed it
        raise StoreBroken(f"{path}: cannot be switched to WAL: the mode is {mode}")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    # a read error through a memory map is SIGBUS, and the writer reads little
    db.execute("PRAGMA mmap_size = 0")
    db.execute("PRAGMA temp_store = MEMORY")


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _refuse_newer(db: sqlite3.Connection, path: Path) -> int:
    version = _version(db)
    if version > SCHEMA:
        raise StoreTooNew(
            f"{path}: written by a newer eventd (schema {version}, this one knows {SCHEMA}); "
            "run that one, or give another state directory"
        )
    return version


def _refuse_empty(version: int, path: Path) -> None:
    if not version:
        raise StoreError(f"{path}: {EMPTY}")


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date, one numbered file and transaction at a time."""
    for number in range(_refuse_newer(db, path) + 1, SCHEMA + 1):
        script = files("eventd.store").joinpath("schema", f"{number:03d}.sql").read_text("utf-8")
        try:
            db.executescript(
                f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;"
            )
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
