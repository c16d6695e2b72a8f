"""Whether a quantity fills up, leaks or runs out.

It does where it changes steadily, by more than it usually varies and faster than it did before, and
will soon be where it must not be. What is told once is told as long as it goes on.

**Steadily**: we look back over an hour, six hours, and a day and a half; further where values are
rare. Each look is a line through twelve marks, which are means of five minutes, or of six marks of
the shorter look. How many of its errors it is steep says how rarely that is chance (Student's t);
what the marks are off the line is the error, so that a step or an odd value makes no such line.

**Where it must not be** is beyond the bound, if one is known, and soon is within four times as long
as we looked back. Without a bound it is beyond all that was, once there has been a day of it.

**Before**: what was as steep is usual, half forgotten after two weeks, since days have their
mornings. So is what has risen from the beginning, or for six looks: a counter.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import copysign, inf, log10, sqrt
from operator import mul

from msgspec import Struct

LOOKS = 3
MARKS = 12
SHORTEST, FEWEST = 300.0, 4.0  # s and values of a mark, at least
WIDER = 6.0  # marks that make one of the next look
STEADY = 9.0  # errors of the slope: a step that takes a quarter of the look has fewer
RISES = 5.5  # errors: more than a step at once has, and by chance once in 4,000 looks
STRAIGHT = 100.0  # errors counted at most
AHEAD = 4.0  # looks
FAR = 5.0  # usual deviations that a look has to rise by
STEEPER = 1.5  # times what is usual
OLD = WIDER * MARKS  # marks after which what goes on is usual: the next look has seen it whole
KNOWN = 86_400.0  # s after which all that was has had its morning
FORGETS = 14 * 86_400.0  # s in which half of what is usual is forgotten
LONGEST = 7 * 86_400.0  # s of a mark counted at most: after a gap
EXACT = 1e-6  # relative, for a mark: what is less does not rise
_FROM_MIDDLE = tuple(n - (MARKS - 1) / 2.0 for n in range(MARKS))
_SQUARES = sum(n * n for n in _FROM_MIDDLE)
# Of a look: its marks; the one in the making, and of how many; how many marks there were; for how
# many the slope has gone on, below 0 downwards, and how steep it was at most; how steep those
# before were, down and up; the lowest and highest mark it has left behind; and its surprise.
MEAN, COUNT, SEEN, LASTED, STEEPEST, DOWN, UP, LOWEST, HIGHEST, FOUND = range(MARKS, MARKS + 10)
FIELDS = MARKS + 10


class Bounds(Struct, frozen=True, gc=False):
    """Where a quantity must not be: none unless known."""

    low: float = -inf
    high: float = inf


ANYWHERE = Bounds()


class Steady(Struct, frozen=True, gc=False):
    """A slope that is told of; it and the usual ones, `down` to `up`, are per second.

    It has gone on for `lasts` (s) and reaches `bound` at `due` (s since 1970). Where that is None,
    it is beyond all that was.
    """

    slope: float
    down: float
    up: float
    lasts: float
    bound: float | None
    due: float


class Trends:
    """How steadily the values of a stream change, in about 300 bytes."""

    __slots__ = ("bounds", "looks", "since", "span")

    def __init__(self, bounds: Bounds) -> None:
        """Nothing seen."""
        self.bounds = bounds
        self.since = 0.0  # s since 1970; when the mark in the making was begun
        self.span = 0.0  # s; of a mark of the first look, usually
        self.looks = array("f", [0.0] * (LOOKS * FIELDS))

    def learn_then_score(self, at: float, value: float, spread: float) -> float:
        """-log10 of how often chance is as steady as this; 0 where there is nothing to tell.

        What does not change by more than FAR times `spread` within a look is nothing.
        """
        looks = self.looks
        count = looks[COUNT]
        passed = at - self.since
        if passed >= SHORTEST and count >= FEWEST:
            passed = min(passed, LONGEST)
            self.span += (passed - self.span) / MARKS if self.span else passed
            self._look(0, spread)
            self.since = at
            count = 0.0
        elif 0.0 < count < LOOKS:  # one look a value is enough
            place = int(count) * FIELDS
            if looks[place + COUNT] >= WIDER:
                self._look(place, spread)
        if count == 0.0 or passed < 0.0:
            self.since = at
        count += 1.0
        looks[COUNT] = count
        mean = looks[MEAN]
        looks[MEAN] = mean + (value - mean) / count
        return max(looks[FOUND::FIELDS])

    def steady(self, at: float) -> Steady:
        """What is the most surprising at this time, where anything is."""
        looks = self.looks
        found = looks[FOUND::FIELDS]
        look = found.index(max(found))
        place = look * FIELDS
        span = self._length(place)
        slope, _ = _line(looks[place : place + MARKS])
        bound, marks = self._ahead(looks[place + MARKS - 1], slope)
        return Steady(
            slope / span,
            0.0 - looks[place + DOWN] / span,
            looks[place + UP] / span,
            (abs(looks[place + LASTED]) + MARKS / 2.0) * span,
            bound,
            at + marks * span,
        )

    def _look(self, place: int, spread: float) -> None:
        """Take up the mark in the making, which is whole, and judge what the look then sees."""
        looks = self.looks
        whole = looks[place : place + FIELDS]
        gone, *marks, _, seen, lasted, steepest, down, up, lowest, highest, told = whole
        mark = marks[-1]
        if place < (LOOKS - 1) * FIELDS:
            wider = place + FIELDS
            count = looks[wider + COUNT] + 1.0
            looks[wider + COUNT] = count
            looks[wider + MEAN] += (mark - looks[wider + MEAN]) / count
        seen += 1.0
        if seen > MARKS:
            highest = max(highest, gone) if seen > MARKS + 1 else gone
            lowest = min(lowest, gone) if seen > MARKS + 1 else gone
        found = 0.0
        if seen >= MARKS:
            slope, steady = _line(marks)
            steep = abs(slope)
            usual = [down, up]
            if down or up:
                fades = 0.5 ** (self._length(place) / FORGETS)
                usual = [down * fades, up * fades]
            if lasted and (steady < RISES or lasted * slope < 0.0):  # over, and usual from now on
                usual[lasted > 0.0] = max(usual[lasted > 0.0], steepest)
                lasted = steepest = told = 0.0
            rises = slope > 0.0
            if steady >= RISES:
                always = seen == MARKS and steady >= STEADY
                lasted += copysign(OLD if always else 1.0, slope)
                steepest = max(steepest, steep)
            if abs(lasted) >= OLD:
                usual[rises] = max(usual[rises], steep)
            down, up = usual
            beyond = mark > highest + spread if rises else mark < lowest - spread
            if (told and steep > usual[rises]) or (
                steady >= STEADY
                and steep > max(STEEPER * usual[rises], FAR * spread / MARKS)
                and self._matters(mark, slope, beyond=beyond)
            ):
                chance = (MARKS - 2) / 2.0 * log10(1.0 + steady * steady / (MARKS - 2))
                found = chance * (1.0 + min(abs(lasted) / MARKS, 1.0))  # the look before saw it too
        looks[place : place + FIELDS] = array(
            "f", (*marks, 0.0, 0.0, seen, lasted, steepest, down, up, lowest, highest, found)
        )

    def _length(self, place: int) -> float:
        """Of a mark of the look, usually; s."""
        return self.span * WIDER ** (place // FIELDS)

    def _matters(self, mark: float, slope: float, *, beyond: bool) -> bool:
        """Whether it is soon where it must not be, or is already where it never was."""
        bound, marks = self._ahead(mark, slope)
        if bound is not None:
            return marks <= AHEAD * MARKS
        return beyond and self.looks[SEEN] * self.span >= KNOWN

    def _ahead(self, mark: float, slope: float) -> tuple[float | None, float]:
        """The bound that lies ahead, None where there is none, and how many marks it is away."""
        bound = self.bounds.high if slope > 0.0 else self.bounds.low
        way = bound - mark
        if abs(bound) == inf or way * slope <= 0.0:
            return None, 0.0
        return bound, way / slope


def _line(marks: Sequence[float]) -> tuple[float, float]:
    """The slope of the line through the marks, per mark, and how many of its errors that is."""
    total = sum(marks)
    squares = sum(map(mul, marks, marks))
    slope = sum(map(mul, _FROM_MIDDLE, marks)) / _SQUARES
    if slope * slope <= EXACT * EXACT * squares:
        return slope, 0.0
    left = squares - total * total / MARKS - slope * slope * _SQUARES
    error = sqrt(max(left, 0.0) / ((MARKS - 2) * _SQUARES))
    steep = abs(slope)
    return slope, steep / max(error, steep / STRAIGHT)
