"""What rules of several parts have seen of each key, in the order in which it happened.

Whether such a rule holds depends on what happened and when, never on the order of arrival: a late
event is put where it belongs, and what it changes is looked at again.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from eventd.core.rules.rule import Limits, Seen, Transition

Key = tuple[str, ...]
LEAST_ROWS = 64  # sightings of a key that are kept, or
ROWS_EACH = 4  # times as many as the rule asks for, if that is more


class Sighting(Struct, gc=False, array_like=True):
    """Something that one or more parts of the rule look for."""

    at: datetime
    parts: tuple[int, ...]
    fingerprint: str
    episode: int
    found: bool = False  # it was in a finding
    judged: bool = False  # it was looked at whether the rule holds with it


class Track(Struct, gc=False, array_like=True):
    """The sightings of one key, the oldest first; at the same time, earlier parts first."""

    rows: list[Sighting]
    level: int = 0  # different parts seen
    told: datetime | None = None  # until when a window reached of which a near miss was told
    due: datetime | None = None  # when the rule wants to look at it again


class Sightings:
    """Sightings by key, within caps.

    Beyond `max_groups` keys, the one that has seen the fewest parts makes room, of these the one
    longest quiet. Beyond its cap of sightings, a key lets go the oldest of the part it saw most.
    """

    def __init__(self, parts: int, needed: int, limits: Limits, *, stays: bool = False) -> None:
        """`needed`: sightings the rule asks for. `stays`: at the cap a new key goes at once."""
        self._stays = stays
        self.tracks: dict[Key, Track] = {}
        self.limits = limits
        self.dropped: dict[str, int] = {}
        self.gone: list[Key] = []  # made room since somebody took note
        self._most = max(LEAST_ROWS, ROWS_EACH * needed)
        self._levels = tuple(OrderedDict[Key, None]() for _ in range(parts + 1))

    def see(self, key: Key, seen: Seen, parts: Iterable[int]) -> tuple[Track, Sighting]:
        """Put it where it belongs in time."""
        track = self.tracks.get(key)
        if track is None:
            track = self.tracks[key] = Track([])
        alert = seen.alert
        row = Sighting(seen.at, tuple(parts), alert.fingerprint, alert.episode)
        insort(track.rows, row, key=_order)
        if len(track.rows) > self._most:
            _thin_out(track.rows, row)
            self._drop("sightings")
        self._file(key, track)
        # a cap that was lowered since is not yet kept by what stays
        while len(self.tracks) > self.limits.max_groups and key in self.tracks:
            self._make_room(key)
        return track, row

    def knows(self, key: Key, seen: Seen, part: int) -> bool:
        """Whether the part has seen the alert in this episode."""
        if seen.transition is Transition.FIRED or seen.transition is Transition.NOTED:
            return False
        track, alert = self.tracks.get(key), seen.alert
        return track is not None and any(
            part in one.parts
            and one.fingerprint == alert.fingerprint
            and one.episode == alert.episode
            for one in track.rows
        )

    def expire(self, key: Key, until: datetime) -> None:
        """Let go what happened until then."""
        track = self.tracks[key]
        gone = 0
        while gone < len(track.rows) and track.rows[gone].at <= until:
            gone += 1
        del track.rows[:gone]
        if track.rows:
            self._file(key, track)
        else:
            self.forget(key)

    def dump(self) -> list[object]:
        """Copies, the one longest quiet of the fewest parts first."""
        return [
            (key, replace(track, rows=list(map(replace, track.rows))))
            for level in self._levels
            for key in level
            for track in (self.tracks[key],)
        ]

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        for key, track in msgspec.convert(data, list[tuple[Key, Track]]):
            self.tracks[key] = track
            self._levels[track.level][key] = None

    def _make_room(self, newest: Key) -> None:
        if self._stays:
            self.forget(newest)
            self._drop("groups")
            return
        key = next(key for level in self._levels for key in level if key != newest)
        self.forget(key)
        self.gone.append(key)
        self._drop("groups")

    def _file(self, key: Key, track: Track) -> None:
        self._levels[track.level].pop(key, None)
        track.level = len({part for one in track.rows for part in one.parts})
        self._levels[track.level][key] = None

    def forget(self, key: Key) -> None:
        """Nothing is left of it."""
        del self._levels[self.tracks.pop(key).level][key]

    def _drop(self, table: str) -> None:
        self.dropped[table] = self.dropped.get(table, 0) + 1


def _order(row: Sighting) -> tuple[datetime, tuple[int, ...], str, int]:
    return row.at, row.parts, row.fingerprint, row.episode


def _thin_out(rows: list[Sighting], new: Sighting) -> None:
    """Drop the oldest sighting of the part that was seen most, but the new one: it is judged now.

    Of one moment, or late, it may well be the first.
    """
    counts: dict[int, int] = {}
    for row in rows:
        for part in row.parts if row is not new else ():
            counts[part] = counts.get(part, 0) + 1
    most = max(counts, key=lambda part: (counts[part], part))
    del rows[next(i for i, row in enumerate(rows) if most in row.parts and row is not new)]
