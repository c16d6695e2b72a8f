"""Promises kept as values: what is due, when, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

K = TypeVar("K")

STALE_SHARE = 2  # heap entries for each live timer before the heap is rebuilt: keeps it bounded


class Timers(Generic[K]):
    """Timers by key, one each. Ties are popped in the order in which they were set.

    Moving a timer later costs nothing but a dictionary write: the heap learns of it when the old
    entry comes up.
    """

    def __init__(self) -> None:
        """Nothing is due."""
        self._due: dict[K, tuple[datetime, int]] = {}
        self._heap: list[tuple[datetime, int, K]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: K, at: datetime) -> None:
        """Fire `key` at `at`; replaces what was set before."""
        self._count += 1
        before = self._due.get(key)
        self._due[key] = (at, self._count)
        if before is None or at < before[0]:
            heappush(self._heap, (at, self._count, key))
            self._tidy()

    def cancel(self, key: K) -> None:
        """Forget `key`; nothing happens where it is not set."""
        self._due.pop(key, None)

    def get(self, key: K) -> datetime | None:
        """When `key` is due."""
        entry = self._due.get(key)
        return entry[0] if entry is not None else None

    def next(self) -> datetime | None:
        """When the first timer is due."""
        heap, due = self._heap, self._due
        while heap:
            at, count, key = heap[0]
            entry = due.get(key)
            if entry is None:
                heappop(heap)
            elif entry[1] != count:
                heappop(heap)
                heappush(heap, (*entry, key))
            else:
                return at
        return None

    def pop_due(self, now: datetime) -> Iterator[tuple[datetime, K]]:
        """Remove and yield every timer due at or before `now`, in order."""
        while (at := self.next()) is not None and at <= now:
            key = heappop(self._heap)[2]
            del self._due[key]
            yield at, key

    def items(self) -> Iterator[tuple[K, datetime]]:
        """All timers in the order they were set: restoring them in that order changes nothing."""
        for key, (at, _) in sorted(self._due.items(), key=lambda item: item[1][1]):
            yield key, at

    def _tidy(self) -> None:
        if len(self._heap) > STALE_SHARE * len(self._due) + 64:
            self._heap = [(at, count, key) for key, (at, count) in self._due.items()]
            heapify(self._heap)
