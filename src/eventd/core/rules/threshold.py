"""`threshold`: so many within so long.

`of: alerts` counts distinct alerts that began to fire, `of: events` every firing event, and with
`distinct` only different values of that label count, however often each is seen. The window is
half-open: what happened exactly `within` ago no longer counts.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import OrderedDict
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from eventd.core.model import Alert, Counted
from eventd.core.rules.pattern import TELLING
from eventd.core.rules.rule import (
    Answer,
    Finding,
    Grouping,
    Limits,
    Matching,
    Missed,
    Over,
    Rule,
    Seen,
    Span,
    Transition,
    Wake,
    Window,
)
from eventd.core.rules.selectors import reader_of
from eventd.core.rules.sightings import LEAST_ROWS, ROWS_EACH
from eventd.errors import RuleError

Group = tuple[str, ...]
CUT = 16  # rows that are over before it is worth while to move the others


class Ends(Struct, frozen=True, forbid_unknown_fields=True):
    """It is over when fewer than that were seen within so long."""

    below: Annotated[int, Meta(ge=1)]
    within: Span


class Spec(Matching, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many, of what; and how few end it, if it is not the alerts that say so."""

    count: Annotated[int, Meta(ge=2, le=10_000)]
    of: Literal["alerts", "events"] = "alerts"
    distinct: Annotated[str, Meta(max_length=128)] = ""  # label; what lacks it is not counted
    ends: Ends | None = None

    def check(self) -> None:
        if self.ends is not None and self.ends.below > self.count:
            message = f"it would end before it begins: {self.ends.below} is more than {self.count}"
            raise RuleError("ends.below", message, f"at most {self.count}")


class Row(Struct, gc=False, array_like=True):
    """A sighting."""

    at: datetime
    mark: str | int  # what tells it from others: the alert, the value, or a running number
    fingerprint: str
    episode: int
    found: bool = False  # it was in a finding
    held: bool = False  # the rule held when it was seen


class Track:
    """The sightings of a group, the oldest first, and the window that ends with the newest.

    A group that was seen once has only the row, as most are: that is a tenth of this.
    """

    __slots__ = ("begin", "counts", "due", "full", "near", "open", "rows", "told")

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.told: datetime | None = None  # until when a window reached whose miss was told
        self.due: datetime | None = None  # when the rule wants to look at it again
        self.near: datetime | None = None  # when all but one had been seen, last
        self.open = False  # the rule holds, and has not said that this is over
        self.begin = 0  # where the window begins
        self.counts: dict[str | int, int] = {}  # marks in it, and how often
        self.full = False  # whether it has enough of them


class State:
    """What each group has seen lately, in the order in which it happened.

    Invariant: what it found follows from what happened and when, whatever the order of arrival. A
    group is remembered while one of its sightings may be in a window with what is still to come,
    and at most `max_groups` are: beyond that the one longest quiet is dropped.
    """

    hears = ends = holds = always = False

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """Empty windows."""
        if not isinstance(rule.spec, Spec):
            raise TypeError(rule.kind)
        self.rule, spec = rule, rule.spec
        self.repeats = spec.of == "events"
        self._count, self._below = spec.count, spec.ends.below if spec.ends else 0
        self._distinct = spec.distinct
        self._value = reader_of(spec.distinct) if spec.distinct else None
        self._within = timedelta(seconds=rule.within)
        self._until = timedelta(seconds=float(spec.ends.within)) if spec.ends else self._within
        self._longest = max(self._within, self._until)
        self._most = max(LEAST_ROWS, ROWS_EACH * spec.count)
        self._grouping = Grouping(rule.by)
        self.limits = limits
        self.dropped: dict[str, int] = {}
        self._number = 0
        # least recently seen group first
        self._groups: OrderedDict[Group, Row | Track] = OrderedDict()
        self._empty_at: datetime | None = None  # no group is over before then

    def observe(self, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        """Holds for all in a window that is full; a late one may fill those that ended before."""
        if seen.transition is Transition.CHANGED and not self.repeats:
            return ()
        alert = seen.alert
        key = self._grouping.of(alert)
        if key is None:
            return ()
        mark: str | int = alert.fingerprint
        if self._value is not None:
            mark = self._value(alert)
            if not mark:
                return ()
        elif self.repeats:
            self._number += 1
            mark = self._number
        row = Row(seen.at, mark, alert.fingerprint, alert.episode)
        known = self._groups.get(key)
        if known is None:
            self._groups[key] = row  # one is never enough
            return self._forget(now)
        self._groups.move_to_end(key)
        if isinstance(known, Row):
            known = self._groups[key] = Track([known])
            self._sweep(known)
        return self._see(key, known, row, now)

    def due(self, key: str, now: datetime) -> tuple[Answer, ...]:
        """Whether it is over, and what was missed."""
        values = self._grouping.values(key)
        track = self._groups.get(values)
        if not isinstance(track, Track):
            return ()
        track.due = None
        answers: list[Answer] = []
        late = self.limits.late_within
        if track.open and self._below and self._over_at(track) + late <= now:
            track.open = False
            answers.append(Over(self._grouping.named(values)))
        answers += self._near_misses(values, track, now - self._within - late)
        return (*answers, *self._wake(values, track, now))

    def recall(self, alert: Alert) -> Window | None:
        """What its group has in the window that ends with the alert."""
        key = self._grouping.of(alert)
        group = self._groups.get(key) if key is not None else None
        rows = [group] if isinstance(group, Row) else group.rows if group is not None else []
        last = next((row for row in reversed(rows) if row.fingerprint == alert.fingerprint), None)
        if key is None or last is None:
            return None
        inside = [row for row in rows if last.at - self._within < row.at <= last.at]
        count = len({row.mark for row in inside})
        what = self._distinct or ("events" if self.repeats else "alerts")
        lacks = f"{count} of {self._count} {what}" if count < self._count else ""
        seen = tuple((row.at, "", row.fingerprint) for row in inside)
        return Window(self._grouping.named(key), seen, lacks)

    def dump(self) -> list[object]:
        """Groups in order; first, the running number and when a group may be over."""
        return [
            (self._number, self._empty_at),
            *(_saved(key, group) for key, group in self._groups.items()),
        ]

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        head = data[0] if isinstance(data[0], list) else [data[0], None]
        self._number, self._empty_at = msgspec.convert(head, tuple[int, datetime | None])
        for row in data[1:]:
            saved = _read(row)
            if saved.once:
                self._groups[saved.key] = saved.rows[0]
                continue
            track = self._groups[saved.key] = Track(saved.rows)
            track.told, track.due, track.near = saved.told, saved.due, saved.near
            track.open = saved.open
            self._count_anew(track)

    # -- parts ------------------------------------------------------------------------------------

    def _see(self, key: Group, track: Track, row: Row, now: datetime) -> tuple[Answer, ...]:
        self._cut(track, now)
        rows, near = track.rows, track.near
        if not rows or row.at >= rows[-1].at:
            rows.append(row)
            found = self._advance(track, len(rows) - 1)
        else:
            insort(rows, row, key=_AT)
            found = self._sweep(track)
        answers: list[Answer] = []
        begins = bool(found) and not track.open
        if found:
            for one in found:
                one.found = True
            track.open = True
            alerts = tuple(dict.fromkeys([one.fingerprint for one in found]))
            labels = self._grouping.named(key)
            seen, within = len(track.counts), self.rule.within
            because = Counted(self.rule.name, labels, seen, self._count, within)
            answers.append(Finding(self.rule, labels, alerts, because))
        if len(rows) > self._most:
            self._thin(track)
        if track.near != near or (begins and self._below):
            answers += self._wake(key, track, now)
        return tuple(answers)

    def _advance(self, track: Track, n: int) -> list[Row]:
        """Move the window on by one, to end with that row; what it has to be found with it."""
        rows, counts = track.rows, track.counts
        row = rows[n]
        counts[row.mark] = counts.get(row.mark, 0) + 1
        start = row.at - self._within
        while rows[track.begin].at <= start:
            mark = rows[track.begin].mark
            track.begin += 1
            if counts[mark] == 1:
                del counts[mark]
            else:
                counts[mark] -= 1
        was_full, track.full = track.full, len(counts) >= self._count
        if track.full:
            row.held = True
            if not was_full:
                return [one for one in rows[track.begin : n + 1] if not one.found]
        elif self._below and (row.held or (n and rows[n - 1].held and self._lasts(rows, n))):
            row.held = True
        else:
            if len(counts) == self._count - 1 and n and not rows[track.begin].found:
                # of two, all but one are seen with the first; only the second can be too late
                track.near = row.at if self._count >= TELLING else rows[n - 1].at
            return []
        return [] if row.found else [row]

    def _sweep(self, track: Track) -> list[Row]:
        """The same for all windows, one after the other."""
        track.begin, track.counts, track.full = 0, {}, False
        found: dict[int, Row] = {}
        for n in range(len(track.rows)):
            found.update((id(one), one) for one in self._advance(track, n))
        return list(found.values())

    def _count_anew(self, track: Track) -> None:
        """What is in its window; nothing is found by that."""
        near = track.near
        self._sweep(track)
        track.near = near

    def _lasts(self, rows: list[Row], n: int) -> bool:
        """Whether until that row never too few were left of those before it."""
        until, marks, at = rows[n].at - self._until, dict[str | int, None](), n - 1
        while at >= 0 and rows[at].at >= until and len(marks) < self._below:
            marks[rows[at].mark] = None
            at -= 1
        return len(marks) >= self._below

    def _over_at(self, track: Track) -> datetime:
        """When too few are left, if nothing more comes."""
        rows, marks = track.rows, dict[str | int, None]()
        at = last = next((n for n in range(len(rows) - 1, -1, -1) if rows[n].held), 0)
        marks[rows[at].mark] = None
        while at and len(marks) < self._below:
            at -= 1
            marks[rows[at].mark] = None
        return max(rows[at].at + self._until, rows[last].at)

    def _near_misses(self, key: Group, track: Track, until: datetime) -> list[Answer]:
        """Of windows that begin until then, and in which all but one was seen."""
        answers: list[Answer] = []
        rows, counts, end = track.rows, dict[str | int, int](), 0
        found = 0
        for row in rows:
            if row.at > until:
                break
            over = row.at + self._within
            while end < len(rows) and rows[end].at < over:
                counts[rows[end].mark] = counts.get(rows[end].mark, 0) + 1
                found += rows[end].found
                end += 1
            told = track.told is not None and row.at < track.told
            if len(counts) == self._count - 1 and not found and not told:
                late = next((one for one in rows[end:] if one.mark not in counts), None)
                if late is not None or self._count >= TELLING:
                    track.told = over
                    answers.append(self._missed(key, row, rows[end - 1], late))
            found -= row.found
            counts[row.mark] -= 1
            if not counts[row.mark]:
                del counts[row.mark]
        return answers

    def _missed(self, key: Group, first: Row, last: Row, late: Row | None) -> Missed:
        told = (first, last) if late is None else (first, last, late)
        return Missed(
            self._grouping.named(key),
            tuple({(row.fingerprint, row.episode): None for row in told}),
            f"another {self._distinct}".rstrip(),
            self._count - 1,
            self._count,
            self.rule.within,
            (late.at - first.at).total_seconds() if late is not None else 0.0,
        )

    def _wake(self, key: Group, track: Track, now: datetime) -> tuple[Answer, ...]:
        """Ask to be asked when it may be over, or a window ends that was nearly full."""
        late, times = self.limits.late_within, list[datetime]()
        if track.open and self._below:
            times.append(self._over_at(track) + late)
        if track.near is not None:
            after = max(track.near - self._within, now - self._within - late)
            begins = bisect_right(track.rows, after, key=_AT)
            if begins < len(track.rows) and track.rows[begins].at <= track.near:
                times.append(track.rows[begins].at + self._within + late)
            else:
                track.near = None
        at = min(times, default=None)
        if at is None or (track.due is not None and track.due <= at):
            return ()
        track.due = at
        return (Wake(self._grouping.key(key), at),)

    def _cut(self, track: Track, now: datetime) -> None:
        """Let go what is in no window any more."""
        rows = track.rows
        over = now - self.limits.late_within - self._longest
        if rows[0].at > over:
            return
        gone = bisect_right(rows, over, key=_AT)
        if gone >= CUT or gone == len(rows):
            del rows[:gone]
            self._count_anew(track)

    def _thin(self, track: Track) -> None:
        """Let go what changes no count; else, the older half, as all others move.

        What was found is missed by what comes late at most.
        """
        track.rows = _without_redundant(track.rows, min(self._within, self._until))
        over = len(track.rows) - self._most // 2
        if over > 0:
            if not all(row.found for row in track.rows[:over]):
                self._drop("sightings")
            del track.rows[:over]
        self._count_anew(track)

    def _forget(self, now: datetime) -> tuple[Answer, ...]:
        """Drop groups that are over, and the one longest quiet beyond the cap."""
        groups, most = self._groups, self.limits.max_groups
        if self._empty_at is not None and now < self._empty_at and len(groups) <= most:
            return ()
        lasts = self._longest + self.limits.late_within
        answers: list[Answer] = []
        while len(groups) > 1:
            key, oldest = next(iter(groups.items()))
            if _newest(oldest).at > now - lasts:
                if len(groups) <= most:
                    break
                self._drop("groups")
            if isinstance(oldest, Track) and oldest.due is not None:
                answers.append(Wake(self._grouping.key(key), None))
            del groups[key]
        self._empty_at = _newest(next(iter(groups.values()))).at + lasts
        return tuple(answers)

    def _drop(self, table: str) -> None:
        self.dropped[table] = self.dropped.get(table, 0) + 1


_AT = attrgetter("at")


def _newest(group: Row | Track) -> Row:
    return group if isinstance(group, Row) else group.rows[-1]


def _without_redundant(rows: list[Row], within: timedelta) -> list[Row]:
    """Without those for which, of their mark, one before or one after is in every window."""
    kept: dict[str | int, list[Row]] = {}
    gone: dict[int, None] = {}
    for row in rows:
        same = kept.setdefault(row.mark, [])
        if len(same) > 1 and row.at - same[-2].at <= within:
            gone[id(same.pop())] = None
        same.append(row)
    return [row for row in rows if id(row) not in gone]


class _Saved(Struct, array_like=True):
    """A group in a snapshot."""

    key: Group
    rows: list[Row]
    once: bool = True
    told: datetime | None = None
    due: datetime | None = None
    near: datetime | None = None
    open: bool = False


class _Older(Struct, array_like=True):
    """The same as it was kept before windows followed the sources' time."""

    key: Group
    full: bool
    items: list[tuple[str | int | None, tuple[datetime, str]]]
    value: str = ""


def _saved(key: Group, group: Row | Track) -> _Saved:
    if isinstance(group, Row):
        return _Saved(key, [replace(group)])
    rows = list(map(replace, group.rows))
    return _Saved(key, rows, False, group.told, group.due, group.near, group.open)


def _read(data: object) -> _Saved:
    if isinstance(data, list) and not isinstance(data[1], bool):
        return msgspec.convert(data, _Saved)
    older = msgspec.convert(data, _Older)
    rows = [
        Row(at, known if known is not None else older.value or seen, seen, 0, older.full)
        for known, (at, seen) in older.items
    ]
    return _Saved(older.key, rows, once=len(rows) == 1)
