"""How many events come in a window of time, and how many never did: bursts.

Counts are judged as counts. Of 0.1 a minute three are nothing much and of 100 three more are
nothing at all, which no distance in deviations tells; events that cause one another come in
heaps, which no Poisson distribution tells. A negative binomial one, whose variance is so many times
its mean as that of the stream is, tells both; and what it finds rare is set against how often it
did, so that a stream that it does not fit raises its own bar.
"""

from __future__ import annotations

from math import lgamma, log, log1p, log10, sqrt
from typing import NamedTuple

from msgspec import Struct, field

from eventd.core.scoring.excess import Excess
from eventd.core.scoring.pauses import HOUR, WEEK, of_week

WARM = 7 * 86_400.0  # s: every hour of the week was seen
YOUNG = 86_400.0  # s in which nothing is judged: what is usual is hardly known
WINDOWS = 50.0  # with an event in them, before anything is said
WEEKS = 8  # that an hour of the week remembers
LEVEL = 1800.0  # s; half-life of the recent level: a burst that lasts is usual after an hour
RAREST = 7 * 86_400.0  # s; whatever was seen, an event in so long is taken to be usual
HEAPS, HEAPS_PRIOR = 2.0, 20.0  # variance by mean, and events that this usual one weighs
ALIKE = 0.8  # of the recent level: a usual count as high as that is what is told
KEEP = 0.9999  # of what made it, a window: a week of minutes
ABSURD = 10.0  # deviations, and events, above what is usual that are learned at most
EDGE = 2.0  # decades: what is rarer is looked at for how rare it really is
USUAL = 1.0 / log(10.0)  # decades beyond it where the distribution fits
RANGE = 1.64  # deviations: nine counts in ten are nearer
POISSON = 1.001  # variance by mean, below which there are no heaps


class Burst(NamedTuple):
    """A count beside what is usual."""

    events: int
    surprise: float  # decades: once in so many hours a window has as many
    low: float
    high: float
    highest: int  # before
    hour: int  # of the week, whose usual count it is; -1: lately it was higher


class CountScorer(Struct, gc=False, array_like=True):
    """The rate of one stream, in about 1 kB of plain data. Times are seconds since 1970."""

    first: float  # from when on it is counted
    window: float  # the last one that was learned, counted from 1970
    level: float = 0.0  # events in a window, lately
    hour: int = 0  # since 1970, that is summed up now
    total: float = 0.0  # events in it
    filled: float = 0.0  # windows of it with an event
    strayed: float = 0.0  # squares of what counts differ from the usual by, faded
    expected: float = 0.0  # usual counts of the same windows
    windows: float = 0.0  # with an event in them
    highest: int = 0
    tail: Excess = field(default_factory=Excess)
    # of each hour of the week: events in a window, as 32-bit float; and how many weeks made that
    usual: bytearray = field(default_factory=lambda: bytearray(4 * WEEK))
    known: bytearray = field(default_factory=lambda: bytearray(WEEK))

    def score_then_learn(self, window: int, count: int, length: float) -> Burst | None:
        """Of the window that began at `window * length`, all counts before it learned already.

        None until warm.
        """
        self._pass(window, length)
        start = window * length
        week = of_week(start // HOUR)
        habit = self._around(week)
        usual = max(habit, self.level, length / RAREST)
        heaps = self._heaps()
        found = None
        if start - self.first >= YOUNG:
            rare = -tail(count, usual, heaps)
            if start - self.first >= WARM and self.windows >= WINDOWS:
                found = self._burst(count, rare, usual, heaps, length)
                if habit >= ALIKE * self.level:
                    found = found._replace(hour=week)
            self.tail.learn(rare - EDGE)
        learnt = min(float(count), usual + ABSURD * (1.0 + sqrt(heaps * usual)))
        self._stray(learnt, usual, 1.0)
        self.level += (1.0 - 0.5 ** (length / LEVEL)) * (learnt - self.level)
        self.total += learnt
        self.filled += 1.0
        self.windows += 1.0
        self.highest = max(self.highest, count)
        self.window = float(window)
        return found

    def look(self, window: int, count: int, length: float) -> Burst | None:
        """What would be said of that window; nothing is learned. None until warm."""
        start = window * length
        if start - self.first < WARM or self.windows < WINDOWS:
            return None
        empty = max(0.0, window - self.window - 1.0)
        level = self.level * 0.5 ** (empty * length / LEVEL)
        week = of_week(start // HOUR)
        habit = self._around(week)
        usual, heaps = max(habit, level, length / RAREST), self._heaps()
        found = self._burst(count, -tail(count, usual, heaps), usual, heaps, length)
        return found._replace(hour=week) if habit >= ALIKE * level else found

    # -- parts ------------------------------------------------------------------------------------

    def _burst(self, count: int, rare: float, usual: float, heaps: float, length: float) -> Burst:
        far = sqrt(heaps * usual) * RANGE
        surprise = 0.0
        if rare > EDGE:
            surprise = self.tail.surprise(rare - EDGE, USUAL) - log10(HOUR / length)
        return Burst(count, surprise, max(0.0, usual - far), usual + far, self.highest, -1)

    def _pass(self, window: int, length: float) -> None:
        """Nothing came in the windows between the last one and this."""
        empty = window - self.window - 1.0
        hour = int(window * length // HOUR)
        each = HOUR / length
        if empty > 0.0:
            self.level *= 0.5 ** (empty * length / LEVEL)
            self.tail.learn(-1.0, empty)
        for ended in range(max(self.hour, hour - WEEK), hour):
            week = of_week(ended)
            counted, filled = (self.total, self.filled) if ended == self.hour else (0.0, 0.0)
            self._stray(0.0, max(self._around(week), counted / each), each - filled)
            known = self.known[week] = min(self.known[week] + 1, WEEKS)
            usual = memoryview(self.usual).cast("f")
            usual[week] += (counted / each - usual[week]) / known
        if hour != self.hour:
            self.hour, self.total, self.filled = hour, 0.0, 0.0

    def _stray(self, count: float, usual: float, times: float) -> None:
        keep = KEEP**times
        self.strayed = self.strayed * keep + times * (count - usual) ** 2
        self.expected = self.expected * keep + times * usual

    def _heaps(self) -> float:
        """The variance of counts by their mean; 1 where events know nothing of each other."""
        found = (self.strayed + HEAPS_PRIOR * HEAPS) / (self.expected + HEAPS_PRIOR)
        return max(1.0, found)

    def _around(self, week: int) -> float:
        """The usual count at that hour or one beside it: a rush begins now earlier, now later."""
        usual = memoryview(self.usual).cast("f")
        return max([usual[(week + beside) % WEEK] for beside in (-1, 0, 1)])


def tail(count: int, mean: float, heaps: float) -> float:
    """log10 of the probability of `count` or more, negative binomial, within a few per cent.

    The first term, and a geometric series above all others: exact enough where it is small.
    """
    if count <= mean + 1.0:
        return 0.0
    n = float(count)
    if heaps < POISSON:
        first, ratio = n * log(mean) - mean - lgamma(n + 1.0), mean / (n + 1.0)
    else:
        size = mean / (heaps - 1.0)
        share = 1.0 - 1.0 / heaps
        first = lgamma(n + size) - lgamma(size) - lgamma(n + 1.0)
        first += size * log1p(-share) + n * log(share)
        ratio = (n + size) / (n + 1.0) * share
    return min(0.0, (first - log1p(-min(ratio, 0.99))) / log(10.0))
