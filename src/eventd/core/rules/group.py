"""`group`: alerts with these labels in common belong together, as long as a window lasts.

A session lasts while anything in it fires, and for `within` after the last alert cleared; what
fires in that time joins the same incident. A fixed window is so much of the clock, a sliding one
ends when nothing has begun for so long. What lacks a label is grouped with nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from eventd.core.model import Grouped
from eventd.core.rules.rule import (
    Answer,
    Finding,
    Grouping,
    Limits,
    Matching,
    Rule,
    Seen,
    Wake,
)
from eventd.core.rules.sightings import Key
from eventd.core.rules.sliding import Run, Runs, Taken, name_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WINDOW = "window"  # what tells incidents of one key apart, beside its labels


class Spec(Matching, frozen=True, forbid_unknown_fields=True):
    """What to match, and how long what it matches belongs together."""

    window: Literal["session", "fixed", "sliding"] = "session"


MAX_REASONS = 4_096  # made before and kept, so that a group's alerts share one


class State:
    """Of sessions it remembers nothing that counts: the incident table knows them."""

    repeats = hears = ends = holds = always = False

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """`limits` are for sliding windows."""
        if not isinstance(rule.spec, Spec):
            raise TypeError(rule.kind)
        self.rule, self._window = rule, rule.spec.window
        self._grouping = Grouping(rule.by)
        self._reasons: dict[Key, Grouped] = {}
        self._within = timedelta(seconds=rule.within)
        self._runs = Runs(self._within, limits)
        self.dropped = self._runs.dropped
        self._due: dict[Key, datetime] = {}

    @property
    def limits(self) -> Limits:
        """What it is held to."""
        return self._runs.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._runs.limits = limits

    def observe(self, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        """Holds at once, but where something late may say in which window the alert is."""
        alert = seen.alert
        values = self._grouping.of(alert)
        if values is None:
            return ()
        if self._window == "sliding":
            return self._slide(values, seen, now)
        name = ""
        if self._window == "fixed":
            name = name_of(_begin(seen.at, self._within))
        return (self._finding(values, name, (alert.fingerprint,)),)

    def due(self, key: str, now: datetime) -> tuple[Answer, ...]:
        """Whether what has waited is in a window of its own."""
        values = self._grouping.values(key)
        self._due.pop(values, None)
        return self._answers(values, self._runs.due(values, now))

    def dump(self) -> list[object]:
        """Sliding windows, and when each is to be looked at."""
        return [
            (key, self._due[key], [Run(r.first, r.last, list(r.waiting), r.name) for r in runs])
            for key, runs in self._runs.runs.items()
        ]

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        for key, due, runs in msgspec.convert(data, list[tuple[Key, datetime, list[Run]]]):
            self._runs.runs[key], self._due[key] = runs, due

    # -- parts ------------------------------------------------------------------------------------

    def _finding(self, values: Key, window: str, alerts: tuple[str, ...]) -> Finding:
        key = (*values, window) if window else values
        because = self._reasons.get(key)
        if because is None:
            if len(self._reasons) >= MAX_REASONS:
                self._reasons.clear()
            group = self._grouping.named(values)
            if window:
                group[WINDOW] = f"{group.get(WINDOW, '')} {window}".lstrip()
            because = self._reasons[key] = Grouped(self.rule.name, group)
        return Finding(self.rule, because.group, alerts, because)

    def _slide(self, values: Key, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        if seen.alert.incident:  # it moves, and began before
            return ()
        taken = self._runs.see(values, seen.at, seen.alert.fingerprint, now)
        answers = self._answers(values, taken)
        gone = self._runs.make_room()
        if gone is None:
            return answers
        del self._due[gone]
        return (*answers, Wake(self._grouping.key(gone), None))

    def _answers(self, values: Key, taken: list[Taken]) -> tuple[Answer, ...]:
        found = tuple(self._finding(values, one.name, one.alerts) for one in taken)
        at, due = self._runs.next(values), self._due.get(values)
        if at is None or (due is not None and due <= at):
            return found
        self._due[values] = at
        return (*found, Wake(self._grouping.key(values), at))


def _begin(at: datetime, within: timedelta) -> datetime:
    """Of the window of the clock that it is in."""
    return _EPOCH + (at - _EPOCH) // within * within
