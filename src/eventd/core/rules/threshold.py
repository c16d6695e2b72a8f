"""`threshold`: so many within so long.

`of: alerts` counts distinct alerts that began to fire, `of: events` every firing event, and with
`distinct` only different values of that label count, however often each is seen. The window is
half-open: what was seen exactly `within` ago no longer counts.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from eventd.core.model import Counted
from eventd.core.rules.rule import (
    Finding,
    Grouping,
    Limits,
    Matching,
    Rule,
    Seen,
    Transition,
)
from eventd.core.rules.selectors import reader_of

Group = tuple[str, ...]


class Spec(Matching, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many, of what."""

    count: Annotated[int, Meta(ge=2, le=10_000)]
    of: Literal["alerts", "events"] = "alerts"
    distinct: Annotated[str, Meta(max_length=128)] = ""  # label; what lacks it is not counted


class _Once(Struct, frozen=True, gc=False):
    """All that is known of a group that was seen once, as most are: a tenth of `_Sightings`."""

    at: datetime
    fingerprint: str
    value: str = ""  # of the label whose values are counted


class _Sightings:
    """The newest sightings of one group, oldest first, and whether they fill the window."""

    __slots__ = ("full", "seen")

    def __init__(self) -> None:
        # fingerprint, or a running number where every event counts, or a value → when, fingerprint
        self.seen: OrderedDict[str | int, tuple[datetime, str]] = OrderedDict()
        self.full = False


class State:
    """The newest `count` sightings of each group.

    Invariant: a group is remembered exactly while one of its sightings is inside the window, and
    at most `max_groups` are: beyond that the one longest quiet is dropped.
    """

    hears = ends = holds = False

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """An empty window."""
        if not isinstance(rule.spec, Spec):
            raise TypeError(rule.kind)
        self.rule = rule
        self.repeats = rule.spec.of == "events"
        self._count = rule.spec.count
        self._value = reader_of(rule.spec.distinct) if rule.spec.distinct else None
        self._within = timedelta(seconds=rule.within)
        self._grouping = Grouping(rule.by)
        self.limits = limits
        self.dropped: dict[str, int] = {}
        self._number = 0
        # least recently seen group first
        self._groups: OrderedDict[Group, _Once | _Sightings] = OrderedDict()
        self._empty_at: datetime | None = None  # no group's window is empty before then

    def observe(self, seen: Seen, now: datetime) -> tuple[Finding, ...]:
        """Holds for all in the window when the count is reached, then for each that keeps it so."""
        if seen.transition is Transition.CHANGED and not self.repeats:
            return ()
        key = self._grouping.of(seen.alert)
        if key is None:
            return ()
        value = self._value(seen.alert) if self._value is not None else ""
        if self._value is not None and not value:
            return ()
        group = self._groups.get(key)
        if group is None:
            self._groups[key] = _Once(now, seen.alert.fingerprint, value)
            self._forget(now)
            return ()  # one is never enough
        self._groups.move_to_end(key)
        if isinstance(group, _Once):
            once, group = group, _Sightings()
            self._groups[key] = group
            self._see(group, once.at, once.fingerprint, once.value)
        return self._again(key, group, seen.alert.fingerprint, value, now)

    def due(self, key: str, now: datetime) -> tuple[Finding, ...]:
        """It waits for nothing: a window is looked at when something comes."""
        return ()

    def dump(self) -> list[object]:
        """Groups in order, the running number first."""
        return [self._number, *(_row(key, group) for key, group in self._groups.items())]

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        self._number = msgspec.convert(data[0], int)
        for row in msgspec.convert(data[1:], list[_Row]):
            if row.items[0][0] is None:
                self._groups[row.key] = _Once(*row.items[0][1], row.value)
                continue
            group = self._groups[row.key] = _Sightings()
            group.full = row.full
            group.seen.update((k, seen) for k, seen in row.items if k is not None)

    def _again(
        self, key: Group, group: _Sightings, fingerprint: str, value: str, now: datetime
    ) -> tuple[Finding, ...]:
        self._see(group, now, fingerprint, value)
        self._shorten(group, now)
        if len(group.seen) < self._count:
            group.full = False
            return ()
        alerts: tuple[str, ...] = (fingerprint,)
        if not group.full:
            group.full = True
            alerts = tuple(dict.fromkeys(fp for _, fp in group.seen.values()))
        rule, labels = self.rule, self._grouping.named(key)
        because = Counted(rule.name, labels, len(group.seen), self._count, rule.within)
        return (Finding(rule, labels, alerts, because),)

    def _see(self, group: _Sightings, at: datetime, fingerprint: str, value: str) -> None:
        self._number += 1
        key: str | int = value or (self._number if self.repeats else fingerprint)
        group.seen[key] = (at, fingerprint)
        group.seen.move_to_end(key)

    def _shorten(self, group: _Sightings, now: datetime) -> None:
        start = now - self._within
        seen = group.seen
        while len(seen) > self._count or next(iter(seen.values()))[0] <= start:
            seen.popitem(last=False)

    def _forget(self, now: datetime) -> None:
        """Drop groups whose window is empty, and the one longest quiet beyond the cap."""
        groups, most = self._groups, self.limits.max_groups
        if self._empty_at is not None and now < self._empty_at and len(groups) <= most:
            return
        start = now - self._within
        while len(groups) > 1:
            newest = _newest(next(iter(groups.values())))
            if newest > start:
                if len(groups) <= most:
                    break
                self.dropped["groups"] = self.dropped.get("groups", 0) + 1
            groups.popitem(last=False)
        self._empty_at = _newest(next(iter(groups.values()))) + self._within


def _newest(group: _Once | _Sightings) -> datetime:
    return group.at if isinstance(group, _Once) else next(reversed(group.seen.values()))[0]


class _Row(Struct, array_like=True):
    """A group in a snapshot. One that was seen once has its sighting under None."""

    key: Group
    full: bool
    items: list[tuple[str | int | None, tuple[datetime, str]]]
    value: str = ""


def _row(key: Group, group: _Once | _Sightings) -> _Row:
    if isinstance(group, _Once):
        return _Row(key, False, [(None, (group.at, group.fingerprint))], group.value)
    return _Row(key, group.full, list(group.seen.items()))
