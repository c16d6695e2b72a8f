"""A stream of numbers, scored by few parts that each look for one kind of strangeness.

What a part sees is judged against its own past (`tails`), so that no part needs a unit, a spread or
a weight. A value is as strange as the two parts together say that find it strangest: one alone is
too often wrong. What each is worth is measured in docs/scoring.md.

All is counted in values, not in time, except the hours of the week, and what fills up (`trends`):
gaps, and a clock that goes back, change nothing else.
"""

from __future__ import annotations

from array import array
from math import copysign, isfinite, log, log10
from statistics import median

from eventd.core.scoring.scorer import HALF, Reason, Score, State, score_of
from eventd.core.scoring.tails import FIELDS, surprise
from eventd.core.scoring.trends import ANYWHERE, Bounds, Trends

LAYOUT = 3  # of the state; another is not read, the stream learns anew
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
NEAR = 1  # the level that the usual deviation is from
REST = 3  # the level that habits are relative to, so that they outlast its shifts
ABSURD, REACH = 1000.0, 30.0  # usual deviations: what is beyond the one is learned as the other
SPREAD_FADE = 0.01
HOUR = 3600.0  # s
DAY, WEEK = 24, 168  # hours
MONDAY = 3 * DAY  # 1970 began on a Thursday, three days after one
HABIT = 100  # values that an hour of the day remembers; one of the week half as many
MOST_KNOWN = 255  # values of an hour counted
SHRINK = 12.0  # values (an hour's at 5 min) that make the hour of the week outweigh that of the day
RECORD_FADE = 0.02  # records are usual where one came in 50 values
RECORD_FAR = 10.0  # a tenth of the range beyond all seen is twice as rare
NEW, OLD = 5, 14  # values whose medians are compared
LINGER = 0.5 ** (1.0 / 10.0)  # a strange value makes the next ones look strange: people label spans
LASTING = 2.0  # what was strange and far away over the last ten weighs as much as two values
PAUSE = 100  # values that one anomaly is given
WORSE = 1.5  # times as surprising as what alarmed last alarms all the same
PARTS = (
    "level over 2", "level over 8", "level over 32", "level over 128",
    "hour of the week", "hour of the day", "median", "stuck", "slope", "record",
)  # fmt: skip
QUICK, MIDDLE, SLOW, SLOWER, WEEKLY, DAILY, MEDIAN, STUCK, SLOPE, RECORD = range(len(PARTS))
TAILS = 2 * SLOPE  # those before it have one up and one down each
# The hours ask of the same value twice, and where values are rounded they repeat by chance.
WEIGHTS = {WEEKLY: 0.8, STUCK: 0.6}  # others 1
_AT = tuple(2 * part * FIELDS for part in range(SLOPE))
AT_QUICK, AT_MIDDLE, AT_SLOW, AT_SLOWER, AT_WEEKLY, AT_DAILY, AT_MEDIAN, AT_STUCK = _AT
_NUMBERS = (
    "_rows", "_spread", "_high", "_low", "_records", "_run", "_strange", "_until", "_alarmed",
    "_wide", "_far", "_lately",
)  # fmt: skip
Telling = tuple[float, int, float, float, float]  # surprise, part, observed, usual, until where
Told = list[Telling]


class ValueScorer:
    """Scores the values of one stream; about 2 kB of state, whatever comes."""

    __slots__ = ("_habits", "_hours", "_levels", "_recent", "_tails", "_trends", *_NUMBERS)

    _rows: float
    _spread: float
    _high: float
    _low: float
    _records: float
    _run: float
    _strange: float
    _until: float
    _alarmed: float
    _wide: float
    _far: float
    _lately: float

    def __init__(self, bounds: Bounds = ANYWHERE) -> None:
        """Nothing seen; the values must not be beyond `bounds`."""
        self._levels = [0.0] * len(SCALES)
        self._recent = array("d")
        self._tails = array("f", [0.0] * (TAILS * FIELDS))
        self._habits = array("f", [0.0] * (WEEK + DAY))
        self._hours = array("B", [0] * (WEEK + DAY))  # values that made them, as far as it matters
        self._trends = Trends(bounds)
        for name in _NUMBERS:
            setattr(self, name, 0.0)

    def score_then_learn(self, at: float, value: float) -> Score | None:
        """None in the first WARM values, and for what is not finite, which is not learned either.

        `at` is seconds since 1970, UTC; it may stand still, jump and go backwards.
        """
        if not (isfinite(value) and isfinite(at)):
            return None
        x = value if -LIMIT <= value <= LIMIT else copysign(LIMIT, value)
        if not self._rows:
            if not self._recent:
                self._trends.since = at
            self._recent.append(x)
            if len(self._recent) == NEW + OLD:
                self._begin(at)
            return None
        told: Told = []
        low, high, now = self._look(at, x, told)
        if found := self._trends.learn_then_score(at, now, self._spread):
            told.append((found, SLOPE, now, 0.0, 0.0))
        return self._score(told, low, high, at)

    def _begin(self, at: float) -> None:
        """Learn the first values around their median: one absurd value spoils no beginning."""
        first = self._recent[:]
        middle = median(first)
        self._spread = median(abs(x - middle) for x in first)
        self._high = self._low = middle
        self._levels = [middle] * len(SCALES)
        since = self._trends.since
        for n, x in enumerate(first, 1):
            now = self._look(at, x, [])[-1]
            self._trends.learn_then_score(since + (at - since) * n / len(first), now, self._spread)

    def _look(self, at: float, x: float, told: Told) -> tuple[float, float, float]:
        """Fill `told` with what is surprising about `x`, and learn it.

        What was usual just now, from low to high, and the median of the last.
        """
        self._rows += 1.0
        rest = self._levels[REST]
        learnt = self._clipped(x)
        least = EXACT * max(abs(learnt), abs(rest))
        self._shift(learnt, least, told)
        low, high = self._habit(at, x, learnt, rest, least, told)
        self._record(x, learnt, told)
        self._still(learnt, told)
        return low, high, self._step(learnt, least, told)

    def _clipped(self, x: float) -> float:
        """What is learned of `x`: of an absurd value little, unless more such come."""
        level = self._levels[NEAR]
        off = x - level
        wide = self._high - self._low or max(1.0, abs(level))
        usual = max(self._spread, 2.0 * wide / REACH)
        learnt = x
        if abs(off) > ABSURD * usual:
            off = copysign(REACH * usual, off)
            learnt = level + off
        self._spread += max(SPREAD_FADE, 1.0 / (self._rows + 1.0)) * (abs(off) - self._spread)
        return learnt

    def _shift(self, x: float, least: float, told: Told) -> None:
        """Several time scales of level at once: each level beside the one that is slower."""
        tails = self._tails
        quick, middle, slow, slower, slowest = self._levels
        early = 1.0 / (self._rows + 1.0)
        a, b, c, d, e = FADES if early < FADES[-1] else [max(fade, early) for fade in FADES]
        self._away(abs(x - slowest), least, e)
        quick += a * (x - quick)
        if found := surprise(tails, AT_QUICK, quick - middle, least):
            told.append((found, QUICK, quick, middle, 0.0))
        middle += b * (x - middle)
        if found := surprise(tails, AT_MIDDLE, middle - slow, least):
            told.append((found, MIDDLE, middle, slow, 0.0))
        slow += c * (x - slow)
        if found := surprise(tails, AT_SLOW, slow - slower, least):
            told.append((found, SLOW, slow, slower, 0.0))
        slower += d * (x - slower)
        if found := surprise(tails, AT_SLOWER, slower - slowest, least):
            told.append((found, SLOWER, slower, slowest, 0.0))
        slowest += e * (x - slowest)
        self._levels = [quick, middle, slow, slower, slowest]

    def _away(self, off: float, least: float, fade: float) -> None:
        """How far it has lately been from the slowest level, which takes days to find usual.

        It surprises nobody, as most of what is far away stays there; it tells how long that lasts.
        """
        wide = self._wide
        far = log(min(off / wide, ABSURD)) if off > wide > least else 0.0
        self._far += (1.0 - LINGER) * (far - self._far)
        self._wide += fade * (off - wide)

    def _habit(
        self, at: float, x: float, learnt: float, rest: float, least: float, told: Told
    ) -> tuple[float, float]:
        """The value beside what is usual at this hour of the day, and of the week."""
        hour = int(at // HOUR + MONDAY) % WEEK
        day = WEEK + hour % DAY
        habits, hours, tails = self._habits, self._hours, self._tails
        daily, weekly, known, well = habits[day], habits[hour], hours[day], hours[hour]
        usual = rest
        if known:
            usual += daily
            if found := surprise(tails, AT_DAILY, x - usual, least):
                told.append((found, DAILY, x, usual, 0.0))
            usual += well / (well + SHRINK) * (weekly - daily)
            if found := surprise(tails, AT_WEEKLY, x - usual, least):
                told.append((found * WEIGHTS[WEEKLY], WEEKLY, x, usual, 0.0))
        off = learnt - rest
        if known < MOST_KNOWN:
            hours[day] = known = known + 1
        if well < MOST_KNOWN:
            hours[hour] = well = well + 1
        habits[day] = daily + (off - daily) / min(known, HABIT)
        habits[hour] = weekly + (off - weekly) / min(well, HABIT // 2)
        return usual - tails[AT_WEEKLY + FIELDS + 1], usual + tails[AT_WEEKLY + 1]

    def _record(self, x: float, learnt: float, told: Told) -> None:
        """How far outside all that was seen. By chance one in `rows` / 2 values is a record."""
        fades = 1.0 - RECORD_FADE
        if self._low <= x <= self._high:
            self._records *= fades
            return
        far = max(x - self._high, self._low - x)
        usual = max(2.0 / (self._rows + 1.0), min(1.0, self._records))
        wide = self._high - self._low
        # the smallest numbers there are divide into no number at all
        ranges = min(RECORD_FAR * far / wide, LIMIT) if wide else 0.0
        found = log10(1.0 + ranges) - log10(usual)
        told.append((found, RECORD, x, self._low, self._high))
        self._records = self._records * fades + RECORD_FADE
        self._high = max(self._high, learnt)
        self._low = min(self._low, learnt)

    def _still(self, x: float, told: Told) -> None:
        """Values that stand still."""
        if x == self._recent[-1]:
            self._run += 1.0
            found = surprise(self._tails, AT_STUCK, self._run, EXACT, learn=False)
            if found:
                told.append((found * WEIGHTS[STUCK], STUCK, self._run, 0.0, 0.0))
        else:
            surprise(self._tails, AT_STUCK, self._run, EXACT)  # a run is learned whole, once
            self._run = 1.0

    def _step(self, x: float, least: float, told: Told) -> float:
        """The level as the median of 5, beside the median of the 14 before: spikes are no step."""
        recent = self._recent
        del recent[0]
        recent.append(x)
        old = sorted(recent[:OLD])
        usual = (old[OLD // 2 - 1] + old[OLD // 2]) / 2.0
        now = sorted(recent[OLD:])[NEW // 2]
        if found := surprise(self._tails, AT_MEDIAN, now - usual, least):
            told.append((found, MEDIAN, now, usual, 0.0))
        return now

    def _score(self, told: Told, low: float, high: float, at: float) -> Score | None:
        told.sort(reverse=True)
        del told[2:]
        strange = max(sum([one[0] for one in told]), LINGER * self._strange)
        self._strange = strange
        self._lately += (1.0 - LINGER) * (strange - self._lately)
        rows = self._rows
        if rows < WARM:
            return None
        paused = rows < self._until and strange < WORSE * self._alarmed
        if strange >= HALF and not paused:
            self._until = rows + PAUSE
            self._alarmed = strange
        because = tuple([self._reason(one, at) for one in told])
        raw = score_of(strange + LASTING * (self._lately + self._far))
        return Score(raw, 0.0 if paused else score_of(strange), low, high, because, strange)

    def _reason(self, told: Telling, at: float) -> Reason:
        found, part, observed, usual, until = told
        name, found = PARTS[part], found / WEIGHTS.get(part, 1.0)
        if part == RECORD:
            return Reason(name, found, observed, usual, until)
        if part == SLOPE:
            steady = self._trends.steady(at)
            return Reason(
                name,
                found,
                steady.slope * HOUR,
                steady.down * HOUR,
                steady.up * HOUR,
                lasts=steady.lasts,
                bound=steady.bound,
                due=steady.due,
            )
        tails, place = self._tails, _AT[part] + 1
        low, high = usual - tails[place + FIELDS], usual + tails[place]
        hour = int(at // HOUR + MONDAY) % WEEK if part in (WEEKLY, DAILY) else -1
        return Reason(name, found, observed, low, high, hour)

    def dump(self) -> State:
        """All it knows."""
        trends = self._trends
        numbers = array("d", [getattr(self, name) for name in _NUMBERS])
        numbers.extend((trends.bounds.low, trends.bounds.high))
        numbers.extend((trends.since, trends.span))
        numbers.extend(self._levels)
        numbers.extend(self._recent)
        return (
            LAYOUT,
            numbers.tobytes(),
            (self._tails + trends.looks).tobytes(),
            self._habits.tobytes(),
            self._hours.tobytes(),
        )

    @classmethod
    def load(cls, state: State) -> ValueScorer:
        """What was dumped; one of another layout is not understood, and learns anew."""
        layout, numbers, tails, habits, hours = state
        scorer = cls()
        if layout != LAYOUT:
            return scorer
        values = array("d")
        values.frombytes(numbers)
        for name, number in zip(_NUMBERS, values, strict=False):
            setattr(scorer, name, number)
        rest = iter(values[len(_NUMBERS) :])
        trends = scorer._trends = Trends(Bounds(next(rest), next(rest)))
        if not all(map(isfinite, values[: len(_NUMBERS)])):
            return cls(trends.bounds)
        trends.since, trends.span = next(rest), next(rest)
        scorer._levels = [next(rest) for _ in SCALES]
        scorer._recent = array("d", rest)
        scorer._tails = array("f")
        scorer._tails.frombytes(tails)
        trends.looks = scorer._tails[TAILS * FIELDS :]
        del scorer._tails[TAILS * FIELDS :]
        scorer._habits = array("f")
        scorer._habits.frombytes(habits)
        scorer._hours = array("B")
        scorer._hours.frombytes(hours)
        return scorer
