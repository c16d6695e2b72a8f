"""Where the log goes: a file that may stand still, break or be full, and harms nobody by it."""

from __future__ import annotations

import os
from collections.abc import Callable
from queue import SimpleQueue
from threading import RLock, Thread

MAX_WAITING = 1_000  # records that wait for a slow reader; what comes then is dropped and counted
LEAVE_WITHIN = 1.0  # s for them at the end


class Outlet:
    """Takes records without waiting or raising; a thread of its own writes them.

    Who reads a pipe may sleep or be gone, a terminal be stopped, a disk be full: that costs
    records, which are counted, and told once some can be written again. What it waits for can be
    taken twice by one thread: the garbage collector may log out of the middle of a record.
    """

    def __init__(self, fd: int, told: Callable[[int], object]) -> None:
        """Writes to `fd` from now on; `told` says how many records were dropped, as a record."""
        self._fd, self._told = fd, told
        self._waiting = SimpleQueue[bytes | None]()
        self._lock = RLock()
        self._dropped = 0
        self._thread = Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Hand it on."""
        if self._waiting.qsize() < MAX_WAITING:
            self._waiting.put(text.encode(errors="backslashreplace"))
        else:
            self._drop()
        return len(text)

    def flush(self) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """Let what waits be written, if it is read soon."""
        self._waiting.put(None)
        self._thread.join(LEAVE_WITHIN)

    def _run(self) -> None:
        while (record := self._waiting.get()) is not None:
            try:
                view = memoryview(record)
                while view:
                    view = view[os.write(self._fd, view) :]
            except OSError:
                self._drop()
            else:
                self._tell()

    def _drop(self) -> None:
        with self._lock:
            self._dropped += 1

    def _tell(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            self._told(dropped)
