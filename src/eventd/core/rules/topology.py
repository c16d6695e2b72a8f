"""`topology`: so many CIs that are tied by dependencies, within so long.

Two CIs are tied where one depends on the other, over so many hops at most; all that is tied,
directly or over others, is one group. A sighting is looked at when nothing late can come before
it any more, so that the groups follow from what happened and when.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from eventd.core.inventory import HOPS_BELOW
from eventd.core.model import Alert, Because, Connected, Severity, Status
from eventd.core.rules.pattern import TELLING
from eventd.core.rules.rule import (
    Answer,
    Finding,
    Grouping,
    Limits,
    Matching,
    Missed,
    Rule,
    Seen,
    Transition,
    Wake,
    Window,
)
from eventd.core.rules.sightings import LEAST_ROWS, Key
from eventd.core.rules.ties import Group, Near, Paths, Row, Standing, Ties

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TOP = "top"  # what titles call the alert on the CI that most of the others depend on


class Spec(Matching, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many CIs, and what ties them."""

    by_itself: ClassVar[bool] = True

    count: Annotated[int, Meta(ge=2, le=10_000)] = 2
    hops: Annotated[int, Meta(ge=1, le=HOPS_BELOW)] = HOPS_BELOW
    redundant: bool = False  # also where something else can stand in
    # the share of what depends on a thing from which it ties them though it says nothing itself
    silent: Annotated[float, Meta(gt=0, le=1)] | None = None

    def names(self) -> dict[str, int]:
        return {TOP: 0}


class Track(Struct, gc=False):
    """What is known of one key."""

    ties: Ties
    rows: list[Row]  # not looked at yet, the oldest first
    due: datetime | None = None  # when the rule wants to be asked again

    @property
    def size(self) -> int:
        """CIs and sightings remembered."""
        return len(self.ties.standing) + len(self.rows)


class State:
    """What has been seen lately of each key.

    At most `max_groups` CIs and sightings are remembered. Beyond, the key longest quiet makes
    room, and where there is one only, its CI longest quiet.
    """

    repeats = hears = ends = holds = always = False

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """Nothing seen yet."""
        if not isinstance(rule.spec, Spec):
            raise TypeError(rule.kind)
        self.rule, self._spec = rule, rule.spec
        self._within = timedelta(seconds=rule.within)
        self._grouping = Grouping(rule.by)
        self._tracks: OrderedDict[Key, Track] = OrderedDict()  # the longest quiet first
        self._size = 0
        self.dropped: dict[str, int] = {}
        self._limits = limits
        self._paths = self._paths_in(limits)

    @property
    def limits(self) -> Limits:
        """What it is held to."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        other = limits.inventory is not self._limits.inventory
        self._limits = limits
        if other:
            self._paths = self._paths_in(limits)
            for track in self._tracks.values():
                track.ties.rename(self._paths)

    def observe(self, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        """Remember it until it can be looked at."""
        alert = seen.alert
        key = self._grouping.of(alert)
        if key is None or not alert.ci:
            return ()
        track = self._tracks.get(key)
        if track is None:
            track = self._tracks[key] = Track(self._ties(), [])
        self._tracks.move_to_end(key)
        again = seen.transition is Transition.CHANGED
        row = Row(seen.at, alert.ci, alert.fingerprint, alert.episode, again)
        insort(track.rows, row, key=_ORDER)
        self._size += 1
        return (*self._look(key, track, now), *self._make_room())

    def due(self, key: str, now: datetime) -> tuple[Answer, ...]:
        """Look at what nothing late can come before any more."""
        values = self._grouping.values(key)
        track = self._tracks.get(values)
        if track is None:
            return ()
        track.due = None
        return self._look(values, track, now)

    def recall(self, alert: Alert) -> Window | None:
        """The CIs that are tied to the alert's; none before nothing late can come any more."""
        key = self._grouping.of(alert)
        track = self._tracks.get(key) if key is not None else None
        if key is None or track is None:
            return None
        waits = [row.at for row in track.rows if row.fingerprint == alert.fingerprint]
        if waits:
            at = waits[-1] + self.limits.late_within
            return Window(self._grouping.named(key), (), f"nothing yet, it looks at {at:%H:%M:%S}")
        standing = track.ties.standing.get(alert.ci)
        if standing is None:
            return None
        group = track.ties.groups[standing.group]
        rows = [row for ci in group.cis for row in track.ties.standing[ci].rows.values()]
        seen = tuple((row.at, "", row.fingerprint) for row in sorted(rows, key=_ORDER))
        lacks = "" if group.top else f"{len(group.cis)} of {self._spec.count} CIs that are tied"
        return Window(self._grouping.named(key), seen, lacks)

    def dump(self) -> list[object]:
        """Copies, the key longest quiet first."""
        return [
            (key, track.due, list(map(replace, track.rows)), track.ties.dump())
            for key, track in self._tracks.items()
        ]

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        for key, due, rows, saved in msgspec.convert(data, list[_Saved]):
            track = self._tracks[key] = Track(self._ties(), rows, due)
            track.ties.load(*saved, self._paths)
            self._size += track.size

    # -- parts ------------------------------------------------------------------------------------

    def _paths_in(self, limits: Limits) -> Paths:
        return Paths(limits.inventory, self._spec.hops, redundant=self._spec.redundant)

    def _ties(self) -> Ties:
        return Ties(self._within, self._spec.count, self._spec.silent or 0.0)

    def _look(self, key: Key, track: Track, now: datetime) -> tuple[Answer, ...]:
        """Look at what is over; then ask to be asked again."""
        answers: list[Answer] = []
        ties, rows, size = track.ties, track.rows, track.size
        over = now - self.limits.late_within
        ready = bisect_right(rows, over, key=_AT)
        for n, row in enumerate(rows[:ready]):
            answers += self._expire(key, track, row.at - self._within, n)
            for group in ties.see(row, self._paths):
                holds = group.top or len(group.cis) >= self._spec.count
                if holds and group.waiting:
                    answers.append(self._finding(key, ties, group))
        del rows[:ready]
        answers += self._expire(key, track, over - self._within, 0)
        self._tell_forgotten(ties)
        self._size += track.size - size
        if not track.size:
            del self._tracks[key]
            return tuple(answers)
        waits = [row.at for row in rows[:1]]
        if ties.standing:
            waits.append(next(iter(ties.standing.values())).at + self._within)
        at = min(waits) + self.limits.late_within
        if track.due is None or at < track.due:
            track.due = at
            answers.append(Wake(self._grouping.key(key), at))
        return tuple(answers)

    def _finding(self, key: Key, ties: Ties, group: Group) -> Finding:
        """All alerts that were in none."""
        top = group.top = group.top or ties.top(group, self._paths)
        because = Connected(self.rule.name, self._named(key, top), len(group.cis), self.rule.within)
        rows = sorted(group.waiting.values(), key=_ORDER)
        for row in rows:
            row.found = True
        group.waiting.clear()
        ways: dict[str, Because] = {
            row.fingerprint: replace(because, via=row.via, hops=row.hops) for row in rows if row.via
        }
        names, named = self._called(ties, top)
        alerts = tuple([row.fingerprint for row in rows])
        return Finding(self.rule, because.group, alerts, because, names, named, ways)

    @staticmethod
    def _called(ties: Ties, top: str) -> tuple[dict[str, str], dict[str, Alert]]:
        """The first alert on the top, for titles; what stands for it where there is none."""
        standing = ties.standing.get(top)
        if standing is not None and standing.rows:
            return {TOP: next(iter(standing.rows))}, {}
        return {}, {TOP: _quiet(top)}

    def _expire(self, key: Key, track: Track, until: datetime, n: int) -> list[Answer]:
        """Let go what was seen until then; `n` of the rows have been looked at."""
        coming = track.rows[n : n + LEAST_ROWS]
        return [
            self._missed(key, near)
            for near in track.ties.expire(until, coming, self._paths)
            if near.late is not None or self._spec.count >= TELLING
        ]

    def _missed(self, key: Key, near: Near) -> Missed:
        told = (near.first, near.last) if near.late is None else (near.first, near.last, near.late)
        return Missed(
            self._named(key, near.top),
            tuple({(row.fingerprint, row.episode): None for row in told}),
            "another CI",
            self._spec.count - 1,
            self._spec.count,
            self.rule.within,
            (near.late.at - near.first.at).total_seconds() if near.late is not None else 0.0,
        )

    def _named(self, key: Key, top: str) -> dict[str, str]:
        return {**self._grouping.named(key), TOP: top}

    def _make_room(self) -> list[Answer]:
        answers: list[Answer] = []
        while self._size > self.limits.max_groups:
            key, track = next(iter(self._tracks.items()))
            if len(self._tracks) > 1:
                del self._tracks[key]
                self._size -= track.size
                self._drop("groups")
                answers.append(Wake(self._grouping.key(key), None))
                continue
            if track.ties.standing:
                track.ties.drop(next(iter(track.ties.standing)), self._paths)
            else:
                del track.rows[0]
            self._size -= 1
            self._drop("sightings")
        return answers

    def _tell_forgotten(self, ties: Ties) -> None:
        for _ in range(ties.forgot):
            self._drop("sightings")
        ties.forgot = 0

    def _drop(self, table: str) -> None:
        self.dropped[table] = self.dropped.get(table, 0) + 1


_AT = attrgetter("at")
_ORDER = attrgetter("at", "fingerprint")
_Saved = tuple[
    Key,
    datetime | None,
    list[Row],
    tuple[int, list[tuple[str, Standing]], list[tuple[int, str, datetime | None]]],
]


def _quiet(ci: str) -> Alert:
    """What stands for a CI of which there is no alert."""
    return Alert(
        "",
        "",
        "",
        ci,
        "",
        "",
        Status.CLEARED,
        Severity.OK,
        {},
        (),
        _EPOCH,
        _EPOCH,
        None,
        0,
        0,
        "",
        "",
    )
