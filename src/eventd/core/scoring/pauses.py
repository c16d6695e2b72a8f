"""How long a stream of events pauses, by the hour of the week, and for how long it never did.

An hour is known by the longest pause that began in it: of what reports every 30 s that is 30 s at
noon, and in the evening the whole night. Pauses are judged in that unit, so that a stream whose
nights are quiet and one whose events come by chance need no settings of their own.
"""

from __future__ import annotations

from math import log10
from typing import NamedTuple

from msgspec import Struct, field

from eventd.core.scoring.excess import Excess

HOUR, WEEK = 3600.0, 168  # s; hours
MONDAY = 3 * 24  # hours; 1970 began on a Thursday, three days after one
WARM = 13 * 86_400.0  # s: nearly every hour of the week was heard twice, weekends too
PAUSES = 50.0  # before anything is said: a fiftieth is one
LEAST = 2.2  # usual longest pauses: one event may get lost, and the next be late by a fifth
EDGE = 1.2  # the same; what is late by a fifth is no tail
JITTER = 0.05  # the same; excess where no pause was longer: clocks and queues differ by as much
SHORTEST = 1.0  # s; shorter pauses are as long
WEEKS = 2  # the last with an event in it are what an hour of the week is known by
SURE = 2  # weeks in a row with an event in it: then an hour is one in which something comes
EARLY = 0.02  # share of the newest pause in their mean


class Pause(NamedTuple):
    """What a stream's pause is judged by. Times are seconds since 1970."""

    since: float  # its last event, or the begin of an hour in which one always came
    until: float  # then the pause surprises as much as was asked
    usual: float  # s; the longest of such an hour
    hour: int  # of the week; 0 is Monday 00:00 UTC


class PauseScorer(Struct, gc=False, array_like=True):
    """The cadence of one stream, in under 2 kB of plain data. Times are seconds since 1970."""

    first: float  # from when on it is listened to
    last: float  # its last event
    open: float = 0.0  # s; the longest pause in the hour of the last event, by now
    usual: float = 0.0  # s; the longest that is usual then; 0: that is not known
    every: float = 0.0  # s; the mean pause
    whole: bool = False  # that hour was listened to from its begin
    tail: Excess = field(default_factory=Excess)  # of pauses, in usual longest ones, beyond EDGE
    # of each hour of the week: the longest pause of each of those WEEKS, s, as 32-bit floats; which
    # of them is the newest; and for how many weeks in a row something has come then
    longest: bytearray = field(default_factory=lambda: bytearray(4 * WEEKS * WEEK))
    newest: bytearray = field(default_factory=lambda: bytearray(WEEK))
    streak: bytearray = field(default_factory=lambda: bytearray(WEEK))

    @property
    def warm(self) -> bool:
        """It has heard enough to know what is usual."""
        return self.last - self.first >= WARM and self.tail.seen >= PAUSES

    def hear(self, now: float) -> None:
        """An event came. More at one instant are one."""
        gap = now - self.last
        if gap <= 0.0:
            return
        if self.usual:
            self.every += max(EARLY, 1.0 / (1.0 + self.tail.seen)) * (gap - self.every)
            self.tail.learn(gap / self.usual - EDGE)
        self.open = max(self.open, gap)
        hour = now // HOUR
        if hour != self.last // HOUR:
            if self.whole:
                self._close(hour)
            self.whole = True
            self.open = now - hour * HOUR
            week = of_week(hour)
            self.usual = self._around(week) if self._usual(week) else 0.0
        self.last = now

    def excuse(self, now: float) -> None:
        """Nobody could listen until now: the pause says nothing."""
        self.last, self.open, self.usual, self.whole = now, 0.0, 0.0, False

    def judge(self, needed: float) -> Pause | None:
        """When the pause that began with the last event surprises as much; None until warm."""
        if not self.warm:
            return None
        hour = self.last // HOUR
        found = self._pause(self.last, of_week(hour), needed)
        for ahead in range(1, WEEK):
            since = (hour + ahead) * HOUR
            if found is not None and since >= found.until:
                break
            week = of_week(hour + ahead)
            if self.streak[week] >= SURE:
                other = self._pause(since, week, needed)
                if other is not None and (found is None or other.until < found.until):
                    found = other
        return found

    def surprise(self, pause: Pause, now: float) -> float:
        """Decades: once in so many hours a pause is as long as this one is now."""
        far = (now - pause.since) / pause.usual - EDGE
        return self.tail.surprise(far, JITTER) - self._often()

    # -- parts ------------------------------------------------------------------------------------

    def _pause(self, since: float, week: int, needed: float) -> Pause | None:
        usual = self._around(week)
        if not usual:
            return None
        far = max(LEAST, EDGE + self.tail.reach(needed + self._often(), JITTER))
        return Pause(since, since + far * usual, usual, week)

    def _often(self) -> float:
        """Decades of pauses in an hour: who speaks often is often late."""
        return max(0.0, log10(HOUR / self.every)) if self.every else 0.0

    def _around(self, week: int) -> float:
        """The longest pause that is usual at that hour or one beside it, s; 0.0 is unknown.

        In the evening the last event comes now in this hour, now in that.
        """
        return max([self._usual((week + beside) % WEEK) for beside in (-1, 0, 1)])

    def _usual(self, week: int) -> float:
        """That of the hour alone."""
        longest = memoryview(self.longest).cast("f")
        return max(longest[WEEKS * week : WEEKS * (week + 1)])

    def _close(self, until: float) -> None:
        """The hour of the last event is over, and perhaps others after it with none."""
        hour = self.last // HOUR
        week = of_week(hour)
        newest = self.newest[week] = (self.newest[week] + 1) % WEEKS
        memoryview(self.longest).cast("f")[WEEKS * week + newest] = max(SHORTEST, self.open)
        self.streak[week] = min(self.streak[week] + 1, SURE)
        for empty in range(1, min(int(until - hour), WEEK)):
            self.streak[of_week(hour + empty)] = 0


def of_week(hour: float) -> int:
    """Of an hour since 1970; 0 is Monday 00:00 UTC."""
    return int(hour + MONDAY) % WEEK
