"""What was changed lately, by what alerts may have in common with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime

from eventd.core.model import Alert, Change
from eventd.core.rules.rule import Grouping

MAX_CHANGES = 10_000  # remembered; at the cap the oldest goes
MAX_ALIKE = 16  # of these of one CI, service or whatever: each alert there looks at all of them
MAX_JOINED = 256  # alerts whose change may be told late
MAX_SORTS = 16  # sets of labels by which changes are kept; the rules' first ones

Sort = tuple[str, ...]  # labels
Values = tuple[str, ...]
_NONE: dict[int, Change] = {}


class Changes:
    """Changes that may explain something, or nearly do, the one told first at first."""

    def __init__(self, full: list[str]) -> None:
        """None; `full` is told when one makes room."""
        self._full = full
        self._by: dict[Sort, dict[Values, dict[int, Change]]] = {}  # by their number, in order
        self._groupings: dict[Sort, Grouping] = {}
        self.known: dict[tuple[Sort, Values, int], Change] = {}  # in order
        self._count = 0
        # who joined an incident last: fingerprint and episode
        self.joined: deque[tuple[str, int]] = deque(maxlen=MAX_JOINED)

    def add(self, by: Sort, values: Values, change: Change, now: datetime) -> None:
        """Remember it, as long as it may explain something, and once more so long."""
        while self.known:
            key = next(iter(self.known))
            full = len(self.known) >= MAX_CHANGES
            first = self.known[key]
            over = first.until + (first.until - first.at) <= now
            if not over and not full:
                break
            if first.until > now:
                self._full.append("rule_changes")
            self._drop(key)
        if by not in self._by:
            if len(self._by) >= MAX_SORTS:
                self._full.append("rule_changes")
                return
            self._by[by], self._groupings[by] = {}, Grouping(by)
        alike = self._by[by].setdefault(values, {})
        if len(alike) >= MAX_ALIKE:
            oldest = next(iter(alike))
            if alike[oldest].until > now:
                self._full.append("rule_changes")
            del alike[oldest], self.known[by, values, oldest]
        self._count += 1
        self.known[by, values, self._count] = alike[self._count] = change

    def of(self, alert: Alert) -> Iterator[tuple[dict[str, str], Change]]:
        """What was changed before the alert began and may explain it, and what they share."""
        for by, known in self._by.items():
            grouping = self._groupings[by]
            values = grouping.of(alert)
            for change in known.get(values, _NONE).values() if values is not None else ():
                if change.at <= alert.started_at < change.until:
                    yield grouping.named(values or ()), change

    def before(self, alert: Alert) -> Iterator[tuple[dict[str, str], Change]]:
        """Of each sort the last change that was too long before, but not twice as long."""
        for by, known in self._by.items():
            grouping = self._groupings[by]
            values = grouping.of(alert)
            began, latest = alert.started_at, None
            for change in known.get(values, _NONE).values() if values is not None else ():
                near = change.until <= began < change.until + (change.until - change.at)
                if near and (latest is None or change.at > latest.at):
                    latest = change
            if latest is not None:
                yield grouping.named(values or ()), latest

    def dump(self) -> list[object]:
        """In order."""
        return [(by, values, change) for (by, values, _), change in self.known.items()]

    def load(self, rows: Iterator[tuple[Sort, Values, Change]]) -> None:
        """Take up what `dump` gave."""
        for by, values, change in rows:
            self.add(by, values, change, change.at)

    def _drop(self, key: tuple[Sort, Values, int]) -> None:
        by, values, number = key
        del self.known[key], self._by[by][values][number]
        if not self._by[by][values]:
            del self._by[by][values]
        if not self._by[by]:
            del self._by[by], self._groupings[by]
