"""Sources recognised by what they do: those that never clear, and those that look once a period.

An alert of a source that never clears is an occurrence: it lasts while its CI keeps alerting at its
own pace. A polled source sees all that went wrong since it last looked at the same moment, so the
moment says nothing of what belongs together and a session of looks is what belongs together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from math import cos, hypot, pi, sin
from typing import Protocol, TypeVar

from msgspec import Struct

NEVER_EVENTS, NEVER_FOR = 100, 6 * 3600.0  # events, and s, without a clear: then it never clears
PACE = 20.0  # times the usual time between a CI's events ends its burst
BURST_LEAST, BURST_MOST = 9.0, 300.0  # s, whatever its pace
PACE_GAPS = 9  # whose median is the pace
RARE_HOURS, RARE_NAME_HOURS = 2, 12  # hours in which the same CI and name, or the name, were seen
SWELLS, SWELL_LEAST = 3, 8  # times the largest burst so far, and events at least: that is news
LOOKS = 9  # moments a source spoke before it can be called polled
LOOK_APART = 5.0  # s; what is nearer is the same look
IN_STEP = 0.9  # length of the mean of their phases in the minute
FADES = 0.98  # weight of a phase at the next look
SESSION_SLACK = 1.05  # periods without anything end a session
SESSION_LEAST = 300.0  # s, whatever its period
SESSION_MOST, SESSION_PERIODS = 420.0, 4.0  # s, or periods if that is longer: it ends anyway
PERIOD_GAPS = 20
MAX_SOURCES = 10_000
MAX_SEEN = 20_000

T = TypeVar("T")


class Named(Protocol):
    """An alert, or the record of one."""

    @property
    def source(self) -> str:
        """Where it comes from."""
        ...

    @property
    def labels(self) -> dict[str, str]:
        """As its source gave them."""
        ...


def stream_of(alert: Named) -> str:
    """The source, and its namespace where it tells several apart: each has a rhythm of its own."""
    namespace = alert.labels.get("namespace")
    return f"{alert.source} {namespace}" if namespace else alert.source


class Source(Struct, gc=False, array_like=True):
    """What is known of one stream. Times are seconds since 1970."""

    first: float
    events: int = 0
    clears: bool = False
    never: bool = False  # clears, as it turned out
    looked: float = 0.0  # when it spoke last, by its own clock
    looks: int = 0
    east: float = 0.0  # sums of phases in the minute, faded
    north: float = 0.0
    weight: float = 0.0
    gaps: list[float] = []  # between looks

    @property
    def polled(self) -> bool:
        """Whether it looks once a period."""
        if self.looks < LOOKS or self.weight <= 0:
            return False
        return hypot(self.east, self.north) / self.weight > IN_STEP

    def session(self) -> tuple[float, float]:
        """Seconds without anything that end a session of looks, and seconds it lasts at most."""
        # a quarter of the gaps are shorter than a period or are one; quiet times make the rest
        period = sorted(self.gaps)[len(self.gaps) // 4] if self.gaps else 60.0
        return (
            max(SESSION_LEAST, SESSION_SLACK * period),
            max(SESSION_MOST, SESSION_PERIODS * period),
        )


class Pace(Struct, gc=False, array_like=True):
    """How fast events of one CI follow each other within a burst."""

    last: float
    gaps: list[float]

    def quiet(self) -> float:
        """Seconds without an event that end the burst."""
        if not self.gaps:
            return BURST_MOST
        median = sorted(self.gaps)[len(self.gaps) // 2]
        return min(max(PACE * median, BURST_LEAST), BURST_MOST)


class Hours(Struct, gc=False, array_like=True):
    """In how many distinct hours something was seen."""

    last: int
    count: int = 1
    episodes: int = 0
    burst: int = 0  # events of the present one
    largest: int = 0  # of those before


class Habits:
    """What sources do. Whatever is remembered longest ago makes room at the cap, a bit at a time.

    So it is rarely told that something did: where every CI is new, not at each of them.
    """

    def __init__(self, full: list[str]) -> None:
        """No source is known; `full` is told when one makes room."""
        self._full = full
        self.sources: OrderedDict[str, Source] = OrderedDict()
        self.paces: OrderedDict[str, Pace] = OrderedDict()
        self.hours: OrderedDict[str, Hours] = OrderedDict()

    def spoke(self, source: str, ci: str, said: float, now: float) -> bool:
        """A firing event, which its source dates at `said`: whether the CI's burst goes on."""
        known = self.sources.get(source)
        if known is None:
            known = self.sources[source] = Source(now, gaps=[])
            self._bound("sources", self.sources, MAX_SOURCES)
        known.events += 1
        if abs(said - known.looked) > LOOK_APART:
            if known.looks and said > known.looked:
                known.gaps.append(said - known.looked)
                if len(known.gaps) > PERIOD_GAPS:
                    del known.gaps[0]
            known.looked = said
            known.looks += 1
            phase = 2 * pi * (said % 60.0) / 60.0
            known.east = known.east * FADES + cos(phase)
            known.north = known.north * FADES + sin(phase)
            known.weight = known.weight * FADES + 1.0
        return not known.clears and self._keep_pace(ci, now)

    def _bound(self, name: str, table: OrderedDict[str, T], most: int) -> None:
        if len(table) > most:
            for _ in range(max(1, most // 100)):
                table.popitem(last=False)
            self._full.append(name)

    def cleared(self, source: str) -> None:
        """The source cleared something."""
        known = self.sources.get(source)
        if known is not None:
            known.clears, known.never = True, False

    def turns_out(self, source: str, now: float) -> bool:
        """Whether it has just said enough, for long enough, without ever clearing anything."""
        known = self.sources[source]
        if known.never or known.clears or known.events <= NEVER_EVENTS:
            return False
        known.never = now - known.first > NEVER_FOR
        return known.never

    def quiet_for(self, ci: str) -> float:
        """Seconds without an event after which the burst on a CI is over."""
        pace = self.paces.get(ci)
        return pace.quiet() if pace is not None else BURST_MOST

    def rare(self, ci: str, name: str, now: float) -> bool:
        """Whether this is seldom seen there, and the name anywhere; it is seen now."""
        hour = int(now // 3600)
        here = self._see(f"{ci}\x1f{name}", hour)
        anywhere = self._see(f"\x1f{name}", hour)
        here.largest, here.burst = max(here.largest, here.burst), 1
        return here.count <= RARE_HOURS and anywhere.count <= RARE_NAME_HOURS

    def swells(self, ci: str, name: str) -> bool:
        """One more of the same burst: whether it is far larger than any before with that."""
        here = self.hours.get(f"{ci}\x1f{name}", Hours(0))  # it may have made room
        here.burst += 1
        return here.burst == max(SWELL_LEAST, SWELLS * here.largest + 1)

    def surprise(self, source: str, ci: str) -> float:
        """How much one more episode of the CI tells, in (0, 1]: less each time after the second."""
        seen = self._see(f"{source}\x1f\x1f{ci}", 0)
        seen.episodes += 1
        return 1 / (1 + max(0, seen.episodes - 3) / 6)

    def _see(self, key: str, hour: int) -> Hours:
        seen = self.hours.get(key)
        if seen is None:
            seen = self.hours[key] = Hours(hour)
            self._bound("hours", self.hours, MAX_SEEN)
            return seen
        self.hours.move_to_end(key)
        if seen.last != hour:
            seen.last = hour
            seen.count += 1
        return seen

    def _keep_pace(self, key: str, now: float) -> bool:
        pace = self.paces.get(key)
        if pace is None:
            self.paces[key] = Pace(now, [])
            self._bound("paces", self.paces, MAX_SEEN)
            return False
        self.paces.move_to_end(key)
        gap, pace.last = now - pace.last, now
        if gap > BURST_LEAST and gap > pace.quiet():  # which is never less
            pace.gaps.clear()
            return False
        pace.gaps.append(gap)
        if len(pace.gaps) > PACE_GAPS:
            del pace.gaps[0]
        return True

    def dump(self) -> dict[str, list[object]]:
        """Snapshot sections from which `load` makes the same; copies."""
        return {
            "sources": [(name, _copy(one)) for name, one in self.sources.items()],
            "paces": [(key, Pace(one.last, list(one.gaps))) for key, one in self.paces.items()],
            "hours": [
                (key, Hours(one.last, one.count, one.episodes, one.burst, one.largest))
                for key, one in self.hours.items()
            ],
        }

    def load(
        self,
        sources: Iterator[tuple[str, Source]],
        paces: Iterator[tuple[str, Pace]],
        hours: Iterator[tuple[str, Hours]],
    ) -> None:
        """Take up what `dump` gave."""
        self.sources.update(sources)
        self.paces.update(paces)
        self.hours.update(hours)


def _copy(one: Source) -> Source:
    return Source(
        one.first,
        one.events,
        one.clears,
        one.never,
        one.looked,
        one.looks,
        one.east,
        one.north,
        one.weight,
        list(one.gaps),
    )
