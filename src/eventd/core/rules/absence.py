"""`absence`: what should have come within so long, after something else or at all, and did not.

Nobody says so, hence the rule does: it fires an alert of its own, which clears when that comes.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import ClassVar

import msgspec

from eventd.core.labels import severity_of
from eventd.core.model import Absent, Alert, Event, Severity, Status
from eventd.core.rules.own import own_event, own_fingerprint, own_key
from eventd.core.rules.rule import (
    OWN_SOURCE,
    Answer,
    Finding,
    Grade,
    Grouping,
    Kind,
    Limits,
    Parts,
    Raise,
    Rule,
    Seen,
    Transition,
    Wake,
    Window,
    Written,
)
from eventd.core.rules.sightings import Key, Sighting, Sightings, Track

AFTER = "after"  # what titles call the alert that something should have followed


class Spec(Kind, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`match` should come within so long after `after`; without that, again and again."""

    alerts: ClassVar[bool] = True

    match: Written
    after: Written | None = None
    severity: Grade = "major"

    def written(self) -> tuple[tuple[str, Written], ...]:
        """What waits, if it is something else, then what is waited for."""
        if self.after is None:
            return (("match", self.match),)
        return (("after", self.after), ("match", self.match))

    def names(self) -> dict[str, int]:
        return {} if self.after is None else {AFTER: 0}


class State:
    """What waits for something to come, by key, and for which keys the rule's own alert fires.

    Invariant: what it says follows from what happened and when, whatever the order of arrival.
    Beyond `max_groups` keys a new one is not remembered: those that wait are worth more.
    """

    repeats = always = True
    ends = holds = False

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """Nothing seen yet."""
        if not isinstance(rule.spec, Spec):
            raise TypeError(rule.kind)
        self.rule, self._spec = rule, rule.spec
        self._within = timedelta(seconds=rule.within)
        self._came = len(rule.parts) - 1
        self.follows = self._came > 0  # something has to be there that waits
        self._of_rule = Parts(rule.parts)
        self.hears = self._of_rule.hears
        self._grouping = Grouping(rule.by)
        self._seen = Sightings(len(rule.parts), 1, limits, stays=True)
        self.dropped = self._seen.dropped
        # the longest first, each with the fingerprint of the alert that waited, if one did
        self._fires: OrderedDict[Key, str] = OrderedDict()

    @property
    def limits(self) -> Limits:
        """What it is held to."""
        return self._seen.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._seen.limits = limits

    def observe(self, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        """Something waits, or what is waited for came."""
        key = self._grouping.of(seen.alert)
        if key is None or seen.alert.source == OWN_SOURCE:
            return ()
        parts = [part for part in self._of_rule.of(seen.alert) if self._counts(key, seen, part)]
        if not parts:
            return ()
        answers: list[Answer] = []
        if key in self._fires and self._came in parts:
            del self._fires[key]
            answers.append(Raise(self._event(key, Status.CLEARED, now)))
        track, _ = self._seen.see(key, seen, parts)
        self._shorten(key, track, now)
        return (*answers, *self._wake(key, track))

    def due(self, key: str, now: datetime) -> tuple[Answer, ...]:
        """Whether what waited was waited for in vain."""
        values = self._grouping.values(key)
        track = self._seen.tracks.get(values)
        if track is None:
            return ()
        track.due = None
        answers: list[Answer] = []
        over = now - self.limits.late_within
        for n, row in enumerate(track.rows):
            if row.judged or not self._waits(row) or self._until(row) > over:
                continue
            row.judged = True
            during = self.limits.during
            misses = during is None or during.covers(self._until(row))
            if misses and not self._answered(track.rows, n):
                answers += self._vain(values, track.rows[n:], now)
        self._shorten(values, track, now)
        return (*answers, *self._wake(values, track))

    def end(self, now: datetime) -> tuple[Answer, ...]:
        """The rule is no more, and its alerts are over with that."""
        return tuple([Raise(self._event(key, Status.CLEARED, now)) for key in self._fires])

    def take_over(self, other: State) -> None:
        """Go on with the alerts of the rule as it was: they end when what is missing comes."""
        if other.rule.by == self.rule.by:
            self._fires, other._fires = other._fires, self._fires

    def claims(self, alert: Alert) -> Finding | None:
        """What it holds for an alert of its own that fires; None for any other."""
        key = own_key(self.rule, alert)
        waits = self._fires.get(key)
        own = own_fingerprint(self.rule, self._grouping.named(key))
        return None if waits is None or own != alert.fingerprint else self._finding(key, waits)

    def recall(self, alert: Alert) -> Window | None:
        """What waits with the alert, or was answered by it."""
        key = self._grouping.of(alert)
        track = self._seen.tracks.get(key) if key is not None else None
        if key is None or track is None:
            return None
        called = ("waits", "came") if self.follows else ("came",)
        seen = [(row.at, " and ".join(called[n] for n in row.parts), row) for row in track.rows]
        waits = [self._until(row) for row in track.rows if self._waits(row) and not row.judged]
        lacks = f"nothing yet, it waits until {min(waits):%H:%M:%S}" if waits else ""
        told = tuple((at, what, row.fingerprint) for at, what, row in seen)
        return Window(self._grouping.named(key), told, lacks)

    def dump(self) -> list[object]:
        """The keys whose alert fires first, in one row, with what waited; then what was seen."""
        return [[(*key, waits) for key, waits in self._fires.items()], *self._seen.dump()]

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        parts = len(self.rule.by)
        for row in msgspec.convert(data[0], list[Key]):  # of old without what waited
            self._fires[row[:parts]] = "".join(row[parts:])
        self._seen.load(data[1:])

    # -- parts ------------------------------------------------------------------------------------

    def _counts(self, key: Key, seen: Seen, part: int) -> bool:
        """Every event comes; what waits begins to once."""
        if part == self._came:
            return True
        return seen.transition is not Transition.REPEATED and not self._seen.knows(key, seen, part)

    @staticmethod
    def _waits(row: Sighting) -> bool:
        """Whether something should come after it."""
        return 0 in row.parts

    def _until(self, row: Sighting) -> datetime:
        """When it has waited long enough: in the first minutes after a start nobody is missed."""
        until, limits = row.at + self._within, self.limits
        if limits.started is not None and row.at < limits.started:
            return max(until, limits.started + limits.start_grace)
        return until

    def _answered(self, rows: list[Sighting], n: int) -> bool:
        until = self._until(rows[n])
        return any(self._came in row.parts and row.at < until for row in rows[n + 1 :])

    def _shorten(self, key: Key, track: Track, now: datetime) -> None:
        """Keep what waits still, and what may be the answer to something late."""
        rows, late = track.rows, now - self.limits.late_within
        track.rows = [
            row
            for n, row in enumerate(rows)
            if row.at > late or (self._waits(row) and not (row.judged or self._answered(rows, n)))
        ]
        if not track.rows and key in self._seen.tracks:
            self._seen.forget(key)

    def _wake(self, key: Key, track: Track) -> tuple[Answer, ...]:
        if not track.rows or key not in self._seen.tracks:
            return ()
        late = self.limits.late_within
        waiting = [self._until(row) for row in track.rows if self._waits(row) and not row.judged]
        at = min(waiting, default=track.rows[-1].at) + late
        if track.due is not None and track.due <= at:
            return ()
        track.due = at
        return (Wake(self._grouping.key(key), at),)

    def _vain(self, key: Key, rows: list[Sighting], now: datetime) -> list[Answer]:
        """The rule's own alert fires; and ends at once where what was missed has come by now."""
        waits = rows[0].fingerprint if self._spec.after is not None and rows[0].episode else ""
        fires = Raise(self._event(key, Status.FIRING, now), self._finding(key, waits))
        if any(self._came in row.parts for row in rows[1:]):
            return [fires, Raise(self._event(key, Status.CLEARED, now))]
        if key not in self._fires and len(self._fires) >= self.limits.max_groups:
            self._fires.popitem(last=False)
            self.dropped["groups"] = self.dropped.get("groups", 0) + 1
        self._fires[key] = waits
        return [fires]

    def _event(self, key: Key, status: Status, now: datetime) -> Event:
        severity = severity_of(self._spec.severity) or Severity.MAJOR
        group = self._grouping.named(key)
        return own_event(self.rule, group, self.rule.name, severity, status, now)

    def _finding(self, key: Key, waits: str) -> Finding:
        rule, group = self.rule, self._grouping.named(key)
        missing, after = _shown(self._spec.match), _shown(self._spec.after or "")
        because = Absent(rule.name, group, missing, after, rule.within)
        own = own_fingerprint(rule, group)
        alerts = (own, waits) if waits else (own,)
        return Finding(rule, group, alerts, because, {AFTER: waits} if waits else {})


def _shown(written: Written) -> str:
    return written if isinstance(written, str) else " or ".join(written)
