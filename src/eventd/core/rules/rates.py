"""`anomaly` of rates: far more events in a window of time than is usual at this hour of the week.

Events are counted on a grid of engine time, and judged where a window of it ends; of many keys some
at a time, so that who else waits does not wait for all.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from eventd.core.rules.anomaly import CALM
from eventd.core.rules.budget import tempered
from eventd.core.rules.keys import Key
from eventd.core.rules.own import OFTEN
from eventd.core.rules.rule import Answer, Limits, Rule, Seen, Wake
from eventd.core.rules.watching import Look, Watched, Watching
from eventd.core.scoring.counts import Burst, CountScorer
from eventd.core.scoring.pauses import HOUR, WEEK
from eventd.core.scoring.reasons import burst

WINDOW = 60.0  # s, where the rule says nothing
LEAST = 5  # events: fewer are no burst, whatever is usual
CALM_WINDOWS = 10  # in a row: then the alert is over
GRID = "grid"  # what the rule's own wake is called; a key is JSON
# What is judged at a time, about 10 ms of it, and when the next is.
PORTION, KEY_COSTS, HOUR_COSTS = 4_000, 4, 1  # an hour that has passed since a key's last window
NEXT_PORTION = timedelta(milliseconds=20)


class Stream(Watched, kw_only=True):
    """The counts of one key."""

    scorer: CountScorer
    calm: int = 0  # windows in a row, while it fires
    count: int = 0  # events


class _Head(Struct, array_like=True):
    """What a snapshot has of all keys together."""

    window: int
    counts: list[tuple[Key, int]]
    ended: list[tuple[int, Key, int]] = []


class State(Watching[Stream]):
    """How many events came of each key in the window that runs, and how many usually do."""

    ending = OFTEN
    watched = Stream

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """Nothing counted yet."""
        super().__init__(rule, limits)
        self._length = float(self.spec.window or WINDOW)
        self._window = 0  # the one that runs, counted from 1970
        self._counts: dict[Key, int] = {}  # in it
        self._firing: dict[Key, None] = {}
        self._ended: deque[tuple[int, Key, int]] = deque()  # window and count, not judged yet

    def observe(self, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        """Count it."""
        key, at = self._key(seen), now.timestamp()
        if key is None:
            return ()
        self.budget.give(at)
        window = int(at // self._length)
        stream, over = self._watched.hear(key), tuple[Answer, ...]()
        if stream is None:
            stream = Stream(scorer=CountScorer(at, window - 1.0, hour=int(at // 3600.0)))
            over = self._add(key, stream, now)
        stream.count += 1
        stream.service = seen.alert.service or stream.service
        waits = self._counts or self._firing
        self._window = window
        self._counts[key] = self._counts.get(key, 0) + 1
        return over if waits else (*over, *self._wake(now))

    def due(self, key: str, now: datetime) -> tuple[Answer, ...]:
        """A window has ended, or there is more to be judged of those that have."""
        if not (self._counts or self._firing):
            self._window = int(now.timestamp() // self._length)
        elif self._end() <= now:
            self._close()
        answers: list[Answer] = []
        spent, ended = 0, self._ended
        while ended and spent < PORTION:
            window, one, count = ended.popleft()
            stream = self._watched.get(one)
            if stream is None:
                continue  # it made room
            spent += KEY_COSTS
            found = None
            if count:
                hour = int(window * self._length // HOUR)
                spent += HOUR_COSTS * min(WEEK, max(0, hour - stream.scorer.hour))
                found = stream.scorer.score_then_learn(window, count, self._length)
            if found is not None and stream.young:
                self._ripens(stream)
            answers += self._judge(one, stream, found, now)
        return (*answers, *self._wake(now))

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        head = msgspec.convert(data[0], _Head)
        self._window = head.window
        self._counts.update(head.counts)
        self._ended.extend(head.ended)
        super().load(data[1:])
        self._firing.update({key: None for key in self._watched if self._watched[key].fires})

    # -- parts ------------------------------------------------------------------------------------

    def _head(self) -> list[object]:
        """The window that runs first, and what is not judged yet, in one row."""
        counts = list(self._counts.items())
        return [_Head(self._window, counts, list(self._ended)), *super()._head()]

    def _look(self, key: Key, one: Stream, needed: float, now: float) -> Look:
        runs, scorer = int(now // self._length), one.scorer
        window = self._window if key in self._counts else scorer.window
        count = self._counts.get(key, 0) if window == runs else 0
        look = Look(window * self._length, scorer.first, one.count, float(count))
        found = scorer.look(runs, count, self._length)
        if found is None:
            return look
        surprise, told = tempered(found.surprise), burst(found, self._length)
        return replace(look, usual=found.high, surprise=surprise, said=told)

    def _close(self) -> None:
        """The window that runs is over."""
        counts, self._counts = self._counts, {}
        self._ended.extend((self._window, key, count) for key, count in counts.items())
        # in an order that a restart does not change
        quiet = sorted(self._firing.keys() - counts.keys())
        self._ended.extend((self._window, key, 0) for key in quiet)
        self._window += 1

    def _end(self) -> datetime:
        """Of the window that runs."""
        return datetime.fromtimestamp((self._window + 1) * self._length, UTC)

    def _wake(self, now: datetime) -> tuple[Wake, ...]:
        """For what is to be judged next."""
        waits = [now + NEXT_PORTION] if self._ended else []
        waits += [self._end()] if self._counts or self._firing else []
        return (Wake(GRID, min(waits)),) if waits else ()

    def _judge(
        self, key: Key, stream: Stream, found: Burst | None, now: datetime
    ) -> tuple[Answer, ...]:
        surprise = tempered(found.surprise) if found is not None else 0.0
        needed = self._needed(stream, now.timestamp())
        if stream.fires:
            stream.calm = stream.calm + 1 if surprise < CALM * needed else 0
            if stream.calm < CALM_WINDOWS:
                return ()
            del self._firing[key]
            return (self._over(key, stream, now),)
        if found is None or surprise < needed or found.events < LEAST:
            return ()
        stream.calm = 0
        self._firing[key] = None
        said = burst(found, self._length)
        return (self._fire(key, stream, now, (float(found.events), surprise, needed, said)),)

    def _gone(self, key: Key) -> None:
        self._firing.pop(key, None)
        self._counts.pop(key, None)
