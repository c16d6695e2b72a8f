"""`threshold`: so many within so long.

`of: alerts` counts distinct alerts that began to fire, `of: events` every firing event. The
window is half-open: what was seen exactly `within` ago no longer counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from eventd.core.model import Counted
from eventd.core.rules.rule import Finding, Rule, Seen, Transition, group_of

Group = tuple[str, ...]


class Spec(Struct, frozen=True, forbid_unknown_fields=True):
    """`match`: one selector, or several of which any may match."""

    match: str | tuple[str, ...]
    count: Annotated[int, Meta(ge=2, le=10_000)]
    of: Literal["alerts", "events"] = "alerts"


class State:
    """The newest `count` sightings of each group, oldest first.

    Invariant: a group is remembered exactly while one of its sightings is inside the window, and
    at most `max_groups` are: beyond that the one longest quiet is dropped.
    """

    def __init__(self, rule: Rule, max_groups: int) -> None:
        """An empty window."""
        self.rule = rule
        self.capped = 0
        if not isinstance(rule.spec, Spec):
            raise TypeError(rule.kind)
        self._spec = rule.spec
        self.repeats = self._spec.of == "events"
        self._within = timedelta(seconds=rule.within)
        self._max_groups = max_groups
        # least recently seen group first
        self._groups: dict[Group, list[tuple[datetime, str]]] = {}

    def observe(self, seen: Seen, now: datetime) -> Iterator[Finding]:
        """Holds from the sighting that completes the count for as long as the window stays full."""
        if seen.transition is Transition.CHANGED:
            return
        labels = group_of(self.rule, seen.alert)
        if labels is None:
            return
        key = tuple(labels.values())
        sightings = self._recent(self._groups.pop(key, []), now)
        fingerprint = seen.alert.fingerprint
        if not self.repeats:
            sightings = [one for one in sightings if one[1] != fingerprint]
        sightings.append((now, fingerprint))
        self._groups[key] = sightings[-self._spec.count :]
        self._forget(now)
        if len(sightings) >= self._spec.count:
            because = Counted(
                self.rule.name, labels, len(sightings), self._spec.count, self.rule.within
            )
            alerts = tuple(dict.fromkeys(fp for _, fp in self._groups[key]))
            yield Finding(self.rule, labels, alerts, because)

    def dump(self) -> list[object]:
        """Groups in order."""
        return [(key, sightings) for key, sightings in self._groups.items()]

    def load(self, data: list[object]) -> None:
        """Groups in order."""
        for key, sightings in msgspec.convert(data, list[tuple[Group, list[tuple[datetime, str]]]]):
            self._groups[key] = sightings

    def _recent(
        self, sightings: list[tuple[datetime, str]], now: datetime
    ) -> list[tuple[datetime, str]]:
        start = now - self._within
        return [one for one in sightings if one[0] > start]

    def _forget(self, now: datetime) -> None:
        start = now - self._within
        while self._groups:
            oldest = next(iter(self._groups))
            full = len(self._groups) > self._max_groups
            if not full and self._groups[oldest][-1][0] > start:
                return
            self.capped += full
            del self._groups[oldest]
