"""Times that come again: cron's five fields in a time zone, whatever its clocks do.

Pure: what a zone's clocks do is a table that comes with the rules, so that a replay sees the same.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from msgspec import Struct

from eventd.core.model import Shifts
from eventd.errors import RuleError

UTC_SHIFTS: Shifts = ((0, 0),)
DAY = 86_400  # s
AHEAD = 32  # days that are looked through for the next time; beyond, later

_NAMES = {
    "month": ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    "weekday": ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
}
_RANGES = {
    "minute": (0, 59),
    "hour": (0, 23),
    "day": (1, 31),
    "month": (1, 12),
    "weekday": (0, 7),
}
_ITEM = re.compile(r"(\*|[0-9a-z]+)(?:-([0-9a-z]+))?(?:/([0-9]{1,4}))?")  # eventd's own pattern
_NTH = re.compile(r"([0-9a-z]+)#([1-5])")
_EPOCH = date(1970, 1, 1).toordinal()
HINT = 'minute hour day month weekday, such as "30 2 * * mon-fri"'


class Cron(Struct, frozen=True):
    """The five fields, read."""

    minutes: tuple[int, ...]  # of the day, ascending
    days: tuple[int, ...]  # () where any will do
    last: bool  # the last day of the month, too
    months: tuple[int, ...]
    weekdays: tuple[int, ...]  # 0: Sunday; () where any will do
    nths: tuple[tuple[int, int], ...]  # and the how manieth of the month

    def on(self, day: date) -> bool:
        """Whether it begins on that day. As cron has it, a day or a weekday is enough."""
        if day.month not in self.months:
            return False
        by_day, by_weekday = self.days or self.last, self.weekdays or self.nths
        if not by_day and not by_weekday:
            return True
        if by_day and (day.day in self.days or (self.last and (day + timedelta(1)).day == 1)):
            return True
        weekday = day.isoweekday() % 7
        return weekday in self.weekdays or (weekday, (day.day + 6) // 7) in self.nths


def parse_cron(text: str, path: str) -> Cron:
    """Read "30 2 * * mon-fri". Raises RuleError with `path`."""
    fields = text.lower().split()
    if len(fields) != len(_RANGES):
        raise RuleError(path, f"expected five fields, got {len(fields)} in {text!r}", HINT)
    parts = dict(zip(_RANGES, fields, strict=True))
    nths, weekdays = [], []
    for item in parts["weekday"].split(","):
        nth = _NTH.fullmatch(item)
        if nth:
            nths.append((_number(nth[1], "weekday", path) % 7, int(nth[2])))
        else:
            weekdays.append(item)
    days = [item for item in parts["day"].split(",") if item != "l"]
    last = len(days) < len(parts["day"].split(","))
    months = _numbers(parts["month"], "month", path)
    found = _numbers(",".join(days), "day", path) if days else ()
    if found and not last and parts["weekday"] == "*":
        longest = max(monthrange(2000, month)[1] for month in months)  # a leap year
        if found[0] > longest:
            raise RuleError(path, f"no such day ever comes: {text!r}", HINT)
    minutes = _numbers(parts["minute"], "minute", path)
    hours = _numbers(parts["hour"], "hour", path)
    of_week = _numbers(",".join(weekdays), "weekday", path) if weekdays else ()
    return Cron(
        tuple(hour * 60 + minute for hour in hours for minute in minutes),
        () if parts["day"] == "*" else found,
        last,
        months,
        () if parts["weekday"] == "*" else tuple(sorted({day % 7 for day in of_week})),
        tuple(nths),
    )


def _numbers(field: str, kind: str, path: str) -> tuple[int, ...]:
    low, high = _RANGES[kind]
    found: dict[int, None] = {}
    for item in field.split(","):
        read = _ITEM.fullmatch(item)
        if read is None:
            raise RuleError(path, f"{item!r} is no {kind}", HINT)
        first, to, step = read[1], read[2], int(read[3] or 1)
        begin = low if first == "*" else _number(first, kind, path)
        if to is not None:
            end = _number(to, kind, path)
        else:
            end = high if first == "*" or read[3] else begin
        if begin > end or not step or (first == "*" and to):
            raise RuleError(path, f"{item!r} is no {kind}", HINT)
        found |= dict.fromkeys(range(begin, end + 1, step))
    return tuple(sorted(found))


def _number(text: str, kind: str, path: str) -> int:
    low, high = _RANGES[kind]
    names = _NAMES.get(kind, ())
    number = names.index(text) + low if text in names else int(text) if text.isdigit() else -1
    if not low <= number <= high:
        raise RuleError(path, f"{text!r} is no {kind} from {low} to {high}", HINT)
    return number


class Zone:
    """What the clocks of a zone show."""

    def __init__(self, shifts: Shifts) -> None:
        """As the table has it."""
        self._from = [at for at, _ in shifts]
        self._offsets = [offset for _, offset in shifts]

    def day(self, t: float) -> int:
        """The number of the day there, since the year 1."""
        at = max(bisect_right(self._from, t) - 1, 0)
        return int((t + self._offsets[at]) // DAY) + _EPOCH

    def instant(self, shown: int) -> int:
        """When the clocks show that, in s as if they were of UTC; s since 1970.

        The first time, where they show it twice; where they leave it out, when they do.
        """
        at = max(bisect_right(self._from, shown) - 2, 0)  # offsets are less than a day
        while at + 1 < len(self._from) and shown - self._offsets[at] >= self._from[at + 1]:
            at += 1
            if shown - self._offsets[at] < self._from[at]:
                return self._from[at]
        return shown - self._offsets[at]


class Calendar:
    """Spans of time that come again, half-open; those that overlap are one."""

    def __init__(self, starts: str, lasts: float, shifts: Shifts) -> None:
        """`lasts` in s. Raises RuleError where `starts` is none."""
        self._cron = parse_cron(starts, "starts")
        self._lasts = lasts
        self._zone = Zone(shifts)
        # what was found out last: from when until when, and whether it is a span
        self._known = (0.0, 0.0, False)
        self._known_until = 0.0  # or until the next span begins, which may end later

    def covers(self, at: datetime) -> bool:
        """Whether it is in a span."""
        return self._look(at.timestamp())[2]

    def until(self, at: datetime) -> datetime:
        """When the span that it is in ends, as far as those that have begun say."""
        return datetime.fromtimestamp(self._look(at.timestamp())[1], UTC)

    def around(self, at: datetime, within: float) -> tuple[float, float] | None:
        """How long ago a span ended, and in how long one begins, in s; None where it is in one.

        Infinite where that is not less than `within` s, which is less than a span lasts.
        """
        t = at.timestamp()
        _, begins, inside = self._find(t)
        if inside:
            return None
        looked, ended = t - within, -math.inf
        while looked < t:
            _, until, inside = self._find(looked)
            looked, ended = until, until if inside else ended
        return t - ended, begins - t if begins - t < within else math.inf

    def _look(self, t: float) -> tuple[float, float, bool]:
        if not self._known[0] <= t < self._known_until:
            self._known = _, until, inside = self._find(t)
            self._known_until = min(until, self._next(t)) if inside else until
        return self._known

    def _find(self, t: float) -> tuple[float, float, bool]:
        day = self._zone.day(t)
        back = int(self._lasts // DAY) + 2
        for one in range(day + 1, day - back, -1):
            begins, n = self._starts(one, t)
            if n:
                latest = begins(n - 1)
                if t < latest + self._lasts:
                    return latest, latest + self._lasts, True
                break
        return t, self._next(t), False

    def _next(self, t: float) -> float:
        """When a span begins; where that is far off, a day later."""
        day = self._zone.day(t)
        for one in range(day - 1, day + AHEAD):
            begins, n = self._starts(one, t)
            if n < len(self._cron.minutes) and self._cron.on(date.fromordinal(one)):
                return begins(n)
        return t + DAY

    def _starts(self, day: int, t: float) -> tuple[Callable[[int], int], int]:
        """When it begins on a day, by number, and how many of those are until then."""
        minutes, midnight = self._cron.minutes, (day - _EPOCH) * DAY

        def begins(n: int) -> int:
            return self._zone.instant(midnight + minutes[n] * 60)

        if not self._cron.on(date.fromordinal(day)):
            return begins, 0
        return begins, bisect_right(range(len(minutes)), t, key=begins)
