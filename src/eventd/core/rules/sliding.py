"""Runs of alerts, each of which began less than so long after the one before.

Which alerts are one run depends on when they began, never on the order of arrival: a run is opened
only when nothing late can link it to another any more.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec import Struct

from eventd.core.rules.rule import Limits
from eventd.core.rules.sightings import LEAST_ROWS, Key

MAX_WAITING = 1_000  # alerts of a run that wait for its name; more than that do not


class Run(Struct, gc=False, array_like=True):
    """Alerts without a gap."""

    first: datetime
    last: datetime
    waiting: list[str]  # fingerprints of those not given away yet
    name: str = ""  # when its first alert began, as far as that was known then; "": it waits


def name_of(begins: datetime) -> str:
    """What a window that begins then is called; those a millisecond apart have different names."""
    return f"{begins:%Y-%m-%dT%H:%M:%S}.{begins.microsecond // 1000:03}Z".replace(".000Z", "Z")


class Taken(NamedTuple):
    """Alerts that belong to the run of that name."""

    name: str
    alerts: tuple[str, ...]


class Runs:
    """The runs of each key to which something can be added yet.

    Beyond `max_groups` keys the one longest known makes room, and beyond so many runs of a key the
    oldest.
    """

    def __init__(self, within: timedelta, limits: Limits) -> None:
        """None yet."""
        self._within, self.limits = within, limits
        self.runs: dict[Key, list[Run]] = {}
        self.dropped: dict[str, int] = {}

    def see(self, key: Key, at: datetime, fingerprint: str, now: datetime) -> list[Taken]:
        """An alert that began then; what can be said now, of it and of others."""
        runs = self.runs.setdefault(key, [])
        self._cut(runs, now)
        near = [r for r in runs if r.first - at < self._within and at - r.last < self._within]
        one = Run(at, at, [fingerprint])
        for run in near:
            if run.name and one.name:  # what was too late to be waited for links nothing
                break
            one = Run(
                min(run.first, one.first),
                max(run.last, one.last),
                [*run.waiting, *one.waiting],
                run.name or one.name,
            )
            runs.remove(run)
        runs.append(one)
        runs.sort(key=lambda run: run.first)
        if len(runs) > LEAST_ROWS:
            del runs[0]
            self._drop("sightings")
        return self._open(runs, now)

    def make_room(self) -> Key | None:
        """The key that makes room, if there are too many."""
        if len(self.runs) <= self.limits.max_groups:
            return None
        key = next(iter(self.runs))
        del self.runs[key]
        self._drop("groups")
        return key

    def due(self, key: Key, now: datetime) -> list[Taken]:
        """What can be said by now; forget the key where nothing can be added any more."""
        runs = self.runs.get(key, [])
        taken = self._open(runs, now)
        self._cut(runs, now)
        if not runs:
            self.runs.pop(key, None)
        return taken

    def next(self, key: Key) -> datetime | None:
        """When there is something to be said of the key, or it is to be forgotten."""
        runs = self.runs.get(key)
        if not runs:
            return None
        waits = [self._until(runs, n) for n, run in enumerate(runs) if not run.name]
        return min([self._over(runs[-1]), *waits])

    def _open(self, runs: list[Run], now: datetime) -> list[Taken]:
        taken: list[Taken] = []
        for n, run in enumerate(runs):
            full = len(run.waiting) > MAX_WAITING
            if not run.name and (full or self._until(runs, n) <= now):
                run.name = name_of(run.first)
            if run.name and run.waiting:
                taken.append(Taken(run.name, tuple(run.waiting)))
                run.waiting = []
        return taken

    def _until(self, runs: list[Run], n: int) -> datetime:
        """When nothing late can link the run any more, to the one before it or after it."""
        before = [self._over(runs[n - 1])] if n else []
        after = [self._over(runs[n])] if n + 1 < len(runs) else []
        return max([runs[n].first, *before, *after])

    def _over(self, run: Run) -> datetime:
        """When nothing can be added at its end any more."""
        return run.last + self._within + self.limits.late_within

    def _cut(self, runs: list[Run], now: datetime) -> None:
        runs[:] = [run for run in runs if self._over(run) > now or not run.name]

    def _drop(self, table: str) -> None:
        self.dropped[table] = self.dropped.get(table, 0) + 1
