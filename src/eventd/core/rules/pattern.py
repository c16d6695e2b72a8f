"""What `sequence` and `all` have in common: parts that are seen within so long, by key."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct

from eventd.core.model import Alert, Because
from eventd.core.rules.rule import (
    Answer,
    Finding,
    Grouping,
    Limits,
    Missed,
    Parts,
    Rule,
    Seen,
    Transition,
    Wake,
    Window,
    Written,
)
from eventd.core.rules.sightings import Key, Sighting, Sightings, Track
from eventd.errors import RuleError

TELLING = 3  # sightings a rule asks for, from which all but one is a near miss


class Part(Struct, frozen=True, forbid_unknown_fields=True, rename={"called": "as"}):
    """One sort of alert, and how many of it."""

    match: Written
    called: Annotated[str, Meta(max_length=64, pattern="^[A-Za-z_][A-Za-z0-9_]*$|^$")] = ""
    count: Annotated[int, Meta(ge=1, le=1_000)] = 1
    of: Literal["alerts", "events"] = "alerts"


def title_of(part: Part) -> str:
    """What people read of it."""
    return part.called or (part.match if isinstance(part.match, str) else " or ".join(part.match))


def numbered(parts: Sequence[Part]) -> dict[str, int]:
    """Those that are called something. Their numbers."""
    return {part.called: number for number, part in enumerate(parts) if part.called}


def check_names(parts: Sequence[Part], field: str) -> None:
    """Raise RuleError where two are called the same."""
    named = [part.called for part in parts if part.called]
    for number, part in enumerate(parts):
        if part.called and named.count(part.called) > 1:
            path = f"{field}[{number}].as"
            raise RuleError(path, f"two are called {part.called!r}", "rename one")


class Near(NamedTuple):
    """All but one was seen in the window that begins with some sighting."""

    missing: int  # part
    last: Sighting  # of what was seen
    late: Sighting | None  # what was missing, if it came at all


def since(rows: list[Sighting], end: int, within: timedelta) -> int:
    """The first row of the window that ends with that one; half-open before it."""
    start, first = rows[end].at - within, end
    while first and rows[first - 1].at > start:
        first -= 1
    return first


class Pattern(ABC):
    """A rule of several parts.

    Invariant: what it found follows from the sightings that are remembered, whatever the order in
    which they came. A kind with something that must not be seen waits until nothing can come any
    more that happened before.
    """

    waits = ends = holds = always = False

    def __init__(self, rule: Rule, limits: Limits, parts: Sequence[Part]) -> None:
        """`parts` are those that have to be seen; the rule may have more."""
        self.rule = rule
        self.parts = parts
        self.within = timedelta(seconds=rule.within)
        self.needed = sum(part.count for part in parts)
        self._of_rule = Parts(rule.parts)
        self.hears = self._of_rule.hears
        self._events = frozenset(n for n, part in enumerate(parts) if part.of == "events")
        self.repeats = bool(self._events)
        self._grouping = Grouping(rule.by)
        self._seen = Sightings(len(rule.parts), self.needed, limits)
        self.dropped = self._seen.dropped

    @property
    def limits(self) -> Limits:
        """What it is held to."""
        return self._seen.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._seen.limits = limits

    def observe(self, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        """Remember what was seen, and say where the rule holds with it."""
        key = self._grouping.of(seen.alert)
        if key is None:
            return ()
        parts = [part for part in self._of_rule.of(seen.alert) if self._counts(key, seen, part)]
        if not parts:
            return ()
        track, row = self._seen.see(key, seen, parts)
        answers: list[Answer] = [Wake(self._grouping.key(one), None) for one in self._seen.gone]
        self._seen.gone.clear()
        if self.waits:
            answers += self._settle(key, track, now)
        else:
            answers += self._hold(key, track, self._ends(track.rows, row))
        return (*answers, *self._wake(key, track))

    def due(self, key: str, now: datetime) -> tuple[Answer, ...]:
        """Judge what has waited, and let go what can be in no window any more."""
        values = self._grouping.values(key)
        track = self._seen.tracks.get(values)
        if track is None:
            return ()
        track.due = None
        answers = self._settle(values, track, now) if self.waits else []
        over = now - self.limits.late_within - self.within
        answers += self._near_misses(values, track, over)
        self._seen.expire(values, over)
        return (*answers, *self._wake(values, track))

    def recall(self, alert: Alert) -> Window | None:
        """What its key has in the window that ends with the alert."""
        key = self._grouping.of(alert)
        track = self._seen.tracks.get(key) if key is not None else None
        rows = track.rows if track is not None else []
        ends = [n for n, row in enumerate(rows) if row.fingerprint == alert.fingerprint]
        if key is None or not ends:
            return None
        first = since(rows, ends[-1], self.within)
        inside = rows[first : ends[-1] + 1]
        called = [title_of(part) for part in self.parts]
        names = [*called, *["unwanted"] * (len(self.rule.parts) - len(called))]
        seen = [(row.at, " and ".join(names[n] for n in row.parts), row) for row in inside]
        lacks = "" if any(row.found for row in inside) else self._lacks(inside)
        told = tuple((at, what, row.fingerprint) for at, what, row in seen)
        return Window(self._grouping.named(key), told, lacks)

    def dump(self) -> list[object]:
        """Its sightings."""
        return self._seen.dump()

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        self._seen.load(data)

    # -- what a kind says -----------------------------------------------------------------------

    @abstractmethod
    def can_end(self, row: Sighting) -> bool:
        """Whether a window that holds can end with it."""

    @abstractmethod
    def begins(self, rows: list[Sighting], end: int) -> int | None:
        """The first row of the widest window for which the rule holds, and that ends there."""

    @abstractmethod
    def near(self, rows: list[Sighting], begin: int) -> Near | None:
        """What is missing to the window that begins there, if it is one."""

    @abstractmethod
    def reason(self, group: dict[str, str], rows: Sequence[Sighting]) -> Because:
        """Why the rule holds for what was seen."""

    def mark(self, row: Sighting, n: int, part: int) -> str | int:
        """What tells it from others of the part: the alert, or its place where events count."""
        return n if part in self._events else row.fingerprint

    # -- parts ------------------------------------------------------------------------------------

    def _counts(self, key: Key, seen: Seen, part: int) -> bool:
        if part in self._events:
            return True
        return seen.transition is not Transition.REPEATED and not self._seen.knows(key, seen, part)

    def _ends(self, rows: list[Sighting], row: Sighting) -> list[int]:
        """Where windows end that the row can be in."""
        first, over = len(rows) - 1, row.at + self.within
        while rows[first] is not row:
            first -= 1
        return [n for n in range(first, len(rows)) if rows[n].at < over and self.can_end(rows[n])]

    def _settle(self, key: Key, track: Track, now: datetime) -> list[Answer]:
        """Judge what nothing can come before any more."""
        until = now - self.limits.late_within
        ends = [
            n
            for n, row in enumerate(track.rows)
            if not row.judged and row.at <= until and self.can_end(row)
        ]
        return self._hold(key, track, ends)

    def _hold(self, key: Key, track: Track, ends: Iterable[int]) -> list[Answer]:
        """All that is new in the windows that end there and for which the rule holds."""
        rows, found, window = track.rows, dict[int, Sighting](), (0, -1)
        for end in ends:
            rows[end].judged = True
            begin = self.begins(rows, end)
            if begin is not None:
                window = begin, end
                found |= {n: rows[n] for n in range(begin, end + 1) if self._wanted(rows[n])}
        if not found:
            return []
        for row in found.values():
            row.found = True
        alerts = tuple(dict.fromkeys(found[n].fingerprint for n in sorted(found)))
        group = self._grouping.named(key)
        inside = rows[window[0] : window[1] + 1]
        names = {
            part.called: next((r.fingerprint for r in inside if n in r.parts and r.episode), "")
            for n, part in enumerate(self.parts)
            if part.called
        }
        return [Finding(self.rule, group, alerts, self.reason(group, inside), names)]

    def _wanted(self, row: Sighting) -> bool:
        """Whether it can be in a finding: an alert that was in none, of what has to be seen."""
        return row.episode > 0 and not row.found and min(row.parts) < len(self.parts)

    def _lacks(self, rows: Sequence[Sighting]) -> str:
        """The first part of which there is not enough."""
        for number, part in enumerate(self.parts):
            marks = {self.mark(row, n, number) for n, row in enumerate(rows) if number in row.parts}
            if len(marks) < part.count:
                return f"{len(marks)} of {part.count} {title_of(part)}"
        return "enough of all, but not in that order, or something unwanted came in between"

    def _near_misses(self, key: Key, track: Track, until: datetime) -> list[Answer]:
        """Those of windows that begin with what is let go."""
        answers: list[Answer] = []
        for begin, row in enumerate(track.rows):
            if row.at > until:
                break
            over = row.at + self.within
            told = track.told is not None and row.at < track.told
            if told or any(r.found for r in track.rows[begin:] if r.at < over):
                continue
            near = self.near(track.rows, begin)
            if near is None or (near.late is None and self.needed < TELLING):
                continue
            track.told = over
            answers.append(self._missed(key, row, near))
        return answers

    def _missed(self, key: Key, first: Sighting, near: Near) -> Missed:
        told = (first, near.last) if near.late is None else (first, near.last, near.late)
        return Missed(
            self._grouping.named(key),
            tuple({(r.fingerprint, r.episode): None for r in told if r.episode}),
            title_of(self.parts[near.missing]),
            self.needed - 1,
            self.needed,
            self.rule.within,
            (near.late.at - first.at).total_seconds() if near.late is not None else 0.0,
        )

    def _wake(self, key: Key, track: Track) -> tuple[Answer, ...]:
        if not track.rows:
            return ()
        at = track.rows[0].at + self.within + self.limits.late_within
        if self.waits:
            waiting = (r.at for r in track.rows if not r.judged and self.can_end(r))
            first = next(waiting, None)
            if first is not None:
                at = min(at, first + self.limits.late_within)
        if track.due is not None and track.due <= at:
            return ()
        track.due = at
        return (Wake(self._grouping.key(key), at),)
