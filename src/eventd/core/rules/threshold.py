"""`threshold`: so many within so long.

`of: alerts` counts distinct alerts that began to fire, `of: events` every firing event. The
window is half-open: what was seen exactly `within` ago no longer counts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from eventd.core.model import Counted
from eventd.core.rules.rule import Finding, Kind, Rule, Seen, Transition, group_of

Group = tuple[str, ...]


class Spec(Kind, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many, of what."""

    count: Annotated[int, Meta(ge=2, le=10_000)]
    of: Literal["alerts", "events"] = "alerts"


class _Sightings:
    """The newest sightings of one group, oldest first, and whether they fill the window."""

    __slots__ = ("full", "seen")

    def __init__(self) -> None:
        # fingerprint, or a running number where every event counts → when, fingerprint
        self.seen: OrderedDict[str | int, tuple[datetime, str]] = OrderedDict()
        self.full = False


class State:
    """The newest `count` sightings of each group.

    Invariant: a group is remembered exactly while one of its sightings is inside the window, and
    at most `max_groups` are: beyond that the one longest quiet is dropped.
    """

    def __init__(self, rule: Rule, max_groups: int) -> None:
        """An empty window."""
        if not isinstance(rule.spec, Spec):
            raise TypeError(rule.kind)
        self.rule = rule
        self.repeats = rule.spec.of == "events"
        self._count = rule.spec.count
        self._within = timedelta(seconds=rule.within)
        self.max_groups = max_groups
        self.dropped = 0
        self._number = 0
        # least recently seen group first
        self._groups: OrderedDict[Group, _Sightings] = OrderedDict()

    def observe(self, seen: Seen, now: datetime) -> Iterator[Finding]:
        """Holds for all in the window when the count is reached, then for each that keeps it so."""
        if seen.transition is Transition.CHANGED and not self.repeats:
            return
        labels = group_of(self.rule, seen.alert)
        if labels is None:
            return
        group = self._touch(tuple(labels.values()), now)
        fingerprint = seen.alert.fingerprint
        self._number += 1
        key: str | int = self._number if self.repeats else fingerprint
        group.seen[key] = (now, fingerprint)
        group.seen.move_to_end(key)
        self._shorten(group, now)
        if len(group.seen) < self._count:
            group.full = False
            return
        alerts: tuple[str, ...] = (fingerprint,)
        if not group.full:
            group.full = True
            alerts = tuple(dict.fromkeys(fp for _, fp in group.seen.values()))
        because = Counted(self.rule.name, labels, len(group.seen), self._count, self.rule.within)
        yield Finding(self.rule, labels, alerts, because)

    def dump(self) -> list[object]:
        """Groups in order, the running number first."""
        return [
            self._number,
            *((key, g.full, list(g.seen.items())) for key, g in self._groups.items()),
        ]

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        self._number = msgspec.convert(data[0], int)
        for key, full, items in msgspec.convert(data[1:], list[_Row]):
            group = self._groups[key] = _Sightings()
            group.full = full
            group.seen.update(items)

    def _touch(self, key: Group, now: datetime) -> _Sightings:
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Sightings()
            self._forget(now)
        else:
            self._groups.move_to_end(key)
        return group

    def _shorten(self, group: _Sightings, now: datetime) -> None:
        start = now - self._within
        seen = group.seen
        while len(seen) > self._count or next(iter(seen.values()))[0] <= start:
            seen.popitem(last=False)

    def _forget(self, now: datetime) -> None:
        """Drop groups whose window is empty, and the one longest quiet beyond the cap."""
        start = now - self._within
        while len(self._groups) > 1:
            key, group = next(iter(self._groups.items()))
            newest = next(reversed(group.seen.values()))[0]
            if newest > start:
                if len(self._groups) <= self.max_groups:
                    return
                self.dropped += 1
            del self._groups[key]


_Row = tuple[Group, bool, list[tuple[str | int, tuple[datetime, str]]]]
