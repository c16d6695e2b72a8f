"""A stream of numbers, scored by few parts that each look for one kind of strangeness.

What a part sees is judged against its own past (`tails`), so that no part needs a unit, a spread or
a weight. A value is as strange as the two parts together say that find it strangest: one alone is
too often wrong. What each is worth is measured in docs/scoring.md.

All is counted in values, not in time, except the hours of the week: gaps, and a clock that goes
back, change nothing.
"""

from __future__ import annotations

from array import array
from math import copysign, exp, isfinite, log, log10, sqrt
from statistics import median

from eventd.core.scoring.scorer import HALF, Reason, Score, State
from eventd.core.scoring.tails import FIELDS, surprise

LAYOUT = 1  # of the state; another is not read, the stream learns anew
WARM = 100  # values before it says anything
LIMIT = 1e30  # larger measurements there are none
EXACT = 1e-9  # relative: what is nearer is the same
SCALES = (
    2.0,
    8.0,
    32.0,
    128.0,
    512.0,
)  # half-lives of levels, in values: 10 min to 2 days at 5 min
FADES = tuple(1.0 - 0.5 ** (1.0 / scale) for scale in SCALES)
CLIP = 1  # the level that the usual deviation is from
ABSURD, REACH = 1000.0, 30.0  # usual deviations: what is beyond the one is learned as the other
SPREAD_FADE = 0.01
REST = 3  # the level that habits are relative to, so that they outlast its shifts
DAY, WEEK = 24, 168  # hours
MONDAY = 3 * DAY  # 1970 began on a Thursday, three days after one
HABIT = 100  # values that an hour of the day remembers; one of the week half as many
SHRINK = 12.0  # values (an hour's at 5 min) that make the hour of the week outweigh that of the day
RECORD_FADE = 0.02  # records are usual where one came in 50 values
RECORD_FAR = 10.0  # a tenth of the range beyond all seen is twice as rare
FAST, SLOW = 1.0 - 0.5 ** (1.0 / 6.0), 1.0 - 0.5 ** (1.0 / 200.0)  # of activity
NEW, OLD = 5, 14  # values whose medians are compared
TREND = 50.0  # half-life of the slope, in values
KEEP = 0.5 ** (1.0 / TREND)
LINGER = 0.5 ** (1.0 / 10.0)  # a strange value makes the next ones look strange: people label spans
PAUSE = 100  # values that one anomaly is given
WORSE = 1.5  # times as surprising as what alarmed last alarms all the same
WEEKLY, DAILY, MEDIAN, SLOPE, ACTIVITY, STUCK, RECORD = range(4, 11)
PARTS = (
    *(f"level over {scale:g}" for scale in SCALES[:-1]),
    "hour of the week", "hour of the day", "median", "slope", "activity", "stuck", "record",
)  # fmt: skip
_PLACES = tuple(2 * part * FIELDS for part in range(RECORD))
STUCK_AT = _PLACES[STUCK]
# The hours ask of the same value twice, and where values are rounded they repeat by chance.
WEIGHTS = tuple({WEEKLY: 0.8, STUCK: 0.6}.get(part, 1.0) for part in range(len(PARTS)))
_NUMBERS = (
    "_rows", "_origin", "_spread", "_high", "_low", "_records", "_fast", "_slow", "_run",
    "_every", "_at", "_s0", "_s1", "_s2", "_y", "_xy", "_yy", "_strange", "_until", "_alarmed",
)  # fmt: skip
Told = list[tuple[float, int, float, float, float]]  # surprise, part, observed, usual, its unit


class ValueScorer:
    """Scores the values of one stream; about 2 kB of state, whatever comes."""

    __slots__ = ("_habits", "_hours", "_levels", "_recent", "_tails", *_NUMBERS)

    _rows: float
    _origin: float
    _spread: float
    _high: float
    _low: float
    _records: float
    _fast: float
    _slow: float
    _run: float
    _every: float
    _at: float
    _s0: float
    _s1: float
    _s2: float
    _y: float
    _xy: float
    _yy: float
    _strange: float
    _until: float
    _alarmed: float

    def __init__(self) -> None:
        self._levels = array("d", [0.0] * len(SCALES))
        self._recent = array("d")
        self._tails = array("f", [0.0] * (2 * RECORD * FIELDS))  # a part has one up and one down
        self._habits = array("f", [0.0] * (WEEK + DAY))
        self._hours = array("B", [0] * (WEEK + DAY))  # values that made them, as far as it matters
        for name in _NUMBERS:
            setattr(self, name, 0.0)

    def score_then_learn(self, at: float, value: float) -> Score | None:
        """None in the first WARM values, and for what is not finite, which is not learned either.

        `at` is seconds since 1970, UTC; it may stand still, jump and go backwards.
        """
        if not (isfinite(value) and isfinite(at)):
            return None
        x = value if -LIMIT <= value <= LIMIT else copysign(LIMIT, value)
        if len(self._recent) < NEW + OLD:
            self._recent.append(x)
            if len(self._recent) == NEW + OLD:
                self._begin(at)
            return None
        told: Told = []
        low, high = self._look(at, x, told)
        return self._score(told, low, high, int(at // 3600 + MONDAY) % WEEK)

    def _begin(self, at: float) -> None:
        """Learn the first values around their median: one absurd value spoils no beginning."""
        first = array("d", self._recent)
        self._origin = median(first)
        self._spread = median(abs(x - self._origin) for x in first)
        self._high = self._low = self._origin
        self._at = at
        for place in range(len(SCALES)):
            self._levels[place] = self._origin
        for x in first:
            self._look(at, x, [])

    def _look(self, at: float, x: float, told: Told) -> tuple[float, float]:
        """Fill `told` with what is surprising about `x`, and learn it; what was usual just now."""
        self._rows += 1.0
        rest = self._levels[REST]
        learnt = self._clipped(x)
        least = EXACT * max(abs(learnt), abs(rest))
        self._shift(learnt, least, told)
        low, high = self._habit(at, x, learnt, rest, least, told)
        self._record(x, learnt, told)
        self._motion(learnt, told)
        self._step(learnt, least, told)
        self._trend(at, learnt, told)
        return low, high

    def _judge(
        self,
        told: Told,
        part: int,
        off: float,
        least: float,
        observed: float,
        usual: float,
        unit: float = 1.0,
    ) -> None:
        """Tell of `off`, what `observed` differs from `usual` in `unit`, where that surprises."""
        place = _PLACES[part]
        if off < 0.0:
            found = surprise(self._tails, place + FIELDS, -off, least)
        else:
            found = surprise(self._tails, place, off, least)
        if found:
            told.append((found * WEIGHTS[part], part, observed, usual, unit))

    def _edges(self, part: int, usual: float, unit: float) -> tuple[float, float]:
        place = 2 * part * FIELDS + 1
        return usual - self._tails[place + FIELDS] * unit, usual + self._tails[place] * unit

    def _clipped(self, x: float) -> float:
        """What is learned of `x`: of an absurd value little, unless more such come."""
        level = self._levels[CLIP]
        wide = self._high - self._low or max(1.0, abs(level))
        usual = max(self._spread, 2.0 * wide / REACH)
        learnt = x
        if abs(x - level) > ABSURD * usual:
            learnt = level + REACH * usual if x > level else level - REACH * usual
        fade = max(SPREAD_FADE, 1.0 / (self._rows + 1.0))
        self._spread += fade * (abs(learnt - level) - self._spread)
        return learnt

    def _shift(self, x: float, least: float, told: Told) -> None:
        """Several time scales of level at once: each level beside the one that is slower."""
        levels = self._levels
        early = 1.0 / (self._rows + 1.0)
        fades = FADES if early < FADES[-1] else [max(fade, early) for fade in FADES]
        quick = 0.0
        for scale, fade in enumerate(fades):
            level = levels[scale]
            if scale:
                self._judge(told, scale - 1, quick - level, least, quick, level)
            level += fade * (x - level)
            levels[scale] = quick = level

    def _habit(
        self, at: float, x: float, learnt: float, rest: float, least: float, told: Told
    ) -> tuple[float, float]:
        """The value beside what is usual at this hour of the day, and of the week."""
        hour = int(at // 3600 + MONDAY) % WEEK
        day = WEEK + hour % DAY
        habits = self._habits
        hours = self._hours
        usual = rest
        if hours[day]:
            usual += habits[day]
            self._judge(told, DAILY, x - usual, least, x, usual)
            weight = hours[hour] / (hours[hour] + SHRINK)
            usual += weight * (habits[hour] - habits[day])
            self._judge(told, WEEKLY, x - usual, least, x, usual)
        off = learnt - rest
        for place, memory in ((day, HABIT), (hour, HABIT // 2)):
            known = min(hours[place] + 1, 255)
            hours[place] = known
            habits[place] += (off - habits[place]) / min(known, memory)
        return self._edges(WEEKLY, usual, 1.0)

    def _record(self, x: float, learnt: float, told: Told) -> None:
        """How far outside all that was seen. By chance one in `rows` / 2 values is a record."""
        far = max(x - self._high, self._low - x, 0.0)
        if far:
            usual = max(2.0 / (self._rows + 1.0), min(1.0, self._records))
            wide = self._high - self._low
            found = -log10(usual) + (log10(1.0 + RECORD_FAR * far / wide) if wide else 0.0)
            told.append((found, RECORD, x, self._low, self._high))
        self._records += RECORD_FADE * ((1.0 if far else 0.0) - self._records)
        self._high = max(self._high, learnt)
        self._low = min(self._low, learnt)

    def _motion(self, x: float, told: Told) -> None:
        """Bursts of activity, and values that stand still."""
        moved = abs(x - self._recent[-1])
        early = 1.0 / self._rows
        self._fast += max(FAST, early) * (moved - self._fast)
        self._slow += max(SLOW, early) * (moved - self._slow)
        if self._slow > 0.0:
            more = max(0.0, log((self._fast + 1e-3 * self._slow) / (1.001 * self._slow)))
            self._judge(told, ACTIVITY, more, EXACT, self._fast, self._slow)
        if moved == 0.0:
            self._run += 1.0
            found = surprise(self._tails, STUCK_AT, self._run, EXACT, learn=False)
            if found:
                told.append((found * WEIGHTS[STUCK], STUCK, self._run, 0.0, 1.0))
        else:
            surprise(self._tails, STUCK_AT, self._run, EXACT)  # a run is learned whole, once
            self._run = 1.0

    def _step(self, x: float, least: float, told: Told) -> None:
        """The level as the median of 5, beside the median of the 14 before: spikes are no step."""
        recent = self._recent
        del recent[0]
        recent.append(x)
        old = sorted(recent[:OLD])
        usual = (old[OLD // 2 - 1] + old[OLD // 2]) / 2.0
        now = sorted(recent[OLD:])[NEW // 2]
        self._judge(told, MEDIAN, now - usual, least, now, usual)

    def _trend(self, at: float, value: float, told: Told) -> None:
        """The slope of the last 50 or so, in deviations from the line: what fills up or leaks."""
        y = value - self._origin
        self._s2 = KEEP * (self._s2 - 2.0 * self._s1 + self._s0)
        self._xy = KEEP * (self._xy - self._y)
        self._s1 = KEEP * (self._s1 - self._s0)
        self._s0 = KEEP * self._s0 + 1.0
        self._y = KEEP * self._y + y
        self._yy = KEEP * self._yy + y * y
        passed = at - self._at
        self._at = at
        if 0.0 < passed < 7 * 86400.0:
            self._every += max(SPREAD_FADE, 1.0 / self._rows) * (passed - self._every)
        room = self._s0 * self._s2 - self._s1 * self._s1
        if self._rows <= TREND or room <= 0.0:
            return
        slope = (self._s0 * self._xy - self._s1 * self._y) / room
        start = (self._y - slope * self._s1) / self._s0
        left = self._yy - start * self._y - slope * self._xy
        if left <= EXACT * self._yy:
            return
        around = sqrt(left / self._s0)
        self._judge(told, SLOPE, slope * TREND / around, EXACT, slope, 0.0, around / TREND)

    def _score(self, told: Told, low: float, high: float, hour: int) -> Score | None:
        told.sort(reverse=True)
        del told[2:]
        strange = max(sum(one[0] for one in told), LINGER * self._strange)
        self._strange = strange
        if self._rows < WARM:
            return None
        raw = strange / (strange + HALF)
        paused = self._rows < self._until and strange < WORSE * self._alarmed
        if not paused and strange >= HALF:
            self._until = self._rows + PAUSE
            self._alarmed = strange
        because = tuple([self._reason(one, hour) for one in told])
        return Score(raw, 0.0 if paused else raw, low, high, because)

    def _reason(self, told: tuple[float, int, float, float, float], hour: int) -> Reason:
        found, part, observed, usual, unit = told
        name, found = PARTS[part], found / WEIGHTS[part]
        if part == RECORD:
            return Reason(name, found, observed, usual, unit)
        low, high = self._edges(part, usual, unit)
        if part == ACTIVITY:  # it is the logarithm that is judged
            low, high = 0.0, usual * exp(high - usual)
        if part == SLOPE and self._every > 0.0:
            hourly = 3600.0 / self._every
            return Reason(name, found, observed * hourly, low * hourly, high * hourly)
        return Reason(name, found, observed, low, high, hour if part in (WEEKLY, DAILY) else -1)

    def dump(self) -> State:
        """All it knows."""
        numbers = array("d", [getattr(self, name) for name in _NUMBERS])
        return (
            LAYOUT,
            (numbers + self._levels + self._recent).tobytes(),
            self._tails.tobytes(),
            self._habits.tobytes(),
            self._hours.tobytes(),
        )

    @classmethod
    def load(cls, state: State) -> ValueScorer:
        """What was dumped; one of another layout is not understood, and learns anew."""
        scorer = cls()
        layout, numbers, tails, habits, hours = state
        if layout != LAYOUT:
            return scorer
        values = array("d")
        values.frombytes(numbers)
        for name, value in zip(_NUMBERS, values, strict=False):
            setattr(scorer, name, value)
        scorer._levels = values[len(_NUMBERS) : len(_NUMBERS) + len(SCALES)]
        scorer._recent = values[len(_NUMBERS) + len(SCALES) :]
        scorer._tails = array("f")
        scorer._tails.frombytes(tails)
        scorer._habits = array("f")
        scorer._habits.frombytes(habits)
        scorer._hours = array("B")
        scorer._hours.frombytes(hours)
        return scorer
