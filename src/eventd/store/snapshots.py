"""Snapshot files: written aside, checked by sums, the two newest kept.

A file is a magic, then records of length, xxh3_64 of the payload, payload: a header, the frames,
a trailer with the number of frames and the xxh3_64 of all bytes before it.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from xxhash import xxh3_64, xxh3_64_intdigest

from eventd import __version__
from eventd.core.snapshot import Frame, Snapshot
from eventd.errors import StoreBroken, StoreError
from eventd.store.database import sync_directory

MAGIC = b"eventd snapshot\n"
FORMAT = 1
KEPT = 2
SYNC_EVERY = 4 << 20  # bytes between fsyncs, so that the last one does not hold a commit for long
# Until one is whole, nothing goes of what came since the older one: it grows by so many bytes for
# each that comes, at most so many at a time. Where little comes, by a frame at a time.
PACE, MOST = 2, 1 << 20
_HEAD = struct.Struct("<IQ")
_TRAILER = struct.Struct("<IQ")
_NAME = re.compile(r"snapshot-(\d{20})")
_TEMPORARY = "snapshot.tmp"


class Header(Struct, frozen=True, array_like=True):
    """What a snapshot file says of itself."""

    format: int
    version: str  # of eventd
    next_seq: int
    now: datetime | None  # engine time of the last step in it


class SnapshotFile:
    """One snapshot on its way to disk, written in bites. Only the last makes it count."""

    def __init__(
        self,
        directory: Path,
        snapshot: Snapshot,
        next_seq: int,
        now: datetime | None,
        unread: Collection[str] = (),
    ) -> None:
        """`snapshot` is encoded as it is written; it takes the place of those named `unread`."""
        self.next_seq = next_seq
        self._directory, self._unread = directory, unread
        self._header = Header(FORMAT, __version__, next_seq, now)
        self._frames = snapshot.frames()
        self._count = self._unsynced = self._written = 0
        self._sum = xxh3_64()
        self._fd = -1
        self._sealed = False

    def advance(self, came: int = 0) -> bool:
        """Write a frame, or as many as keep pace with the bytes that came since it was begun.

        There is one sync at most, as commits wait behind it. False once it is complete and durable.
        Raises OSError.
        """
        goal = min(PACE * came, self._written + MOST)
        more = self._step()
        while more and self._unsynced and not self._sealed and self._written < goal:
            more = self._step()
        return more

    def _step(self) -> bool:
        if self._sealed:
            self._publish()
            return False
        if self._fd < 0:
            path = self._directory / _TEMPORARY
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._fd = os.open(path, flags, 0o600)
            self._write(MAGIC)
            self._record(msgspec.msgpack.encode(self._header))
        frame = next(self._frames, None)
        if frame is None:
            self._seal()
            return True
        self._record(frame)
        self._count += 1
        if self._unsynced >= SYNC_EVERY:
            os.fsync(self._fd)
            self._unsynced = 0
        return True

    def abandon(self) -> None:
        """Leave nothing behind."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        (self._directory / _TEMPORARY).unlink(missing_ok=True)

    def _seal(self) -> None:
        self._record(_TRAILER.pack(self._count, self._sum.intdigest()))
        os.fsync(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._sealed = True

    def _publish(self) -> None:
        for path in snapshot_paths(self._directory):
            if path.name in self._unread:  # and maybe has the name of this one
                set_aside(path)
        name = f"snapshot-{self._header.next_seq:020d}"
        (self._directory / _TEMPORARY).replace(self._directory / name)
        sync_directory(self._directory)
        for old in snapshot_paths(self._directory)[KEPT:]:
            old.unlink()

    def _record(self, payload: bytes) -> None:
        self._write(_HEAD.pack(len(payload), xxh3_64_intdigest(payload)))
        self._write(payload)

    def _write(self, data: bytes) -> None:
        self._sum.update(data)
        self._unsynced += len(data)
        self._written += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]


def snapshot_paths(directory: Path) -> list[Path]:
    """The snapshot files, newest first."""
    return sorted((p for p in directory.iterdir() if _NAME.fullmatch(p.name)), reverse=True)


def position_of(path: Path) -> int:
    """The journal position in a snapshot file's name."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        raise ValueError(path.name)
    return int(found[1])


def set_aside(path: Path) -> None:
    """Rename a bad file so that it counts no more; the latest two are kept for people."""
    bad = path.with_name("snapshot.bad")
    if bad.exists():
        bad.replace(path.with_name("snapshot.bad.old"))
    path.replace(bad)


def read_snapshot(path: Path) -> tuple[Header, list[bytes]]:
    """Header and frames, every sum checked. Raises StoreError, saying why not.

    StoreBroken where it cannot be read at all: it may be good, and be read another time.
    """
    try:
        data = memoryview(path.read_bytes())
    except FileNotFoundError as e:  # a daemon that lives has made a newer one meanwhile
        raise StoreError("is gone") from e
    except OSError as e:
        raise StoreBroken(f"{path}: cannot be read: {e.strerror}") from e
    if data[: len(MAGIC)] != MAGIC:
        raise StoreError("is no snapshot")
    *records, (at, trailer) = list(_records(data)) or [(0, data[:0])]
    if not records or len(trailer) != _TRAILER.size:
        raise StoreError("is cut short")
    # the sum ends where the trailer's own record begins
    if _TRAILER.unpack(trailer) != (len(records) - 1, xxh3_64_intdigest(data[:at])):
        raise StoreError("is damaged: the sum over the file is wrong")
    try:
        header = msgspec.msgpack.decode(records[0][1], type=Header)
    except msgspec.MsgspecError as e:
        raise StoreError(f"has no header: {e}") from e
    if header.format != FORMAT:
        raise StoreError(f"has format {header.format}; this eventd reads {FORMAT}")
    return header, [bytes(payload) for _, payload in records[1:]]


def frames_of(path: Path) -> Iterator[tuple[str, list[msgspec.Raw]]]:
    """Section and values of each frame, one at a time in memory, its sum checked.

    Raises StoreError and OSError.
    """
    decode = msgspec.msgpack.Decoder(Frame).decode
    with path.open("rb") as file:
        file.seek(len(MAGIC))
        number = 0
        while head := file.read(_HEAD.size):
            length, digest = _HEAD.unpack(head.ljust(_HEAD.size))
            payload = file.read(length)
            if len(payload) != length or xxh3_64_intdigest(payload) != digest:
                raise StoreError(f"is damaged before byte {file.tell()}")
            if number and length != _TRAILER.size:  # the first is the header
                frame = decode(payload)
                yield frame.section, frame.items
            number += 1


def _records(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Where each record begins, and its payload."""
    at = len(MAGIC)
    while at < len(data):
        start = at + _HEAD.size
        if start > len(data):
            raise StoreError("is cut short")
        length, digest = _HEAD.unpack(data[at:start])
        end = start + length
        if end > len(data):
            raise StoreError("is cut short")
        payload = data[start:end]
        if xxh3_64_intdigest(payload) != digest:
            raise StoreError(f"is damaged at byte {start}")
        yield at, payload
        at = end
