"""`anomaly` of rates: far more events in a window of time than is usual at this hour of the week.

Events are counted on a grid of engine time, and judged where a window of it ends.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace

from eventd.core.rules.anomaly import CALM
from eventd.core.rules.budget import tempered
from eventd.core.rules.keys import Key
from eventd.core.rules.own import OFTEN
from eventd.core.rules.rule import Answer, Limits, Rule, Seen, Wake
from eventd.core.rules.watching import Look, Watched, Watching
from eventd.core.scoring.counts import Burst, CountScorer
from eventd.core.scoring.reasons import burst

WINDOW = 60.0  # s, where the rule says nothing
LEAST = 5  # events: fewer are no burst, whatever is usual
CALM_WINDOWS = 10  # in a row: then the alert is over
GRID = "grid"  # what the rule's own wake is called; a key is JSON


class Stream(Watched, kw_only=True):
    """The counts of one key."""

    scorer: CountScorer
    calm: int = 0  # windows in a row, while it fires
    count: int = 0  # events


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
        return over if waits else (*over, self._wake())

    def due(self, key: str, now: datetime) -> tuple[Answer, ...]:
        """A window has ended."""
        answers: list[Answer] = []
        counts, self._counts = self._counts, {}
        for one, count in counts.items():
            stream = self._watched[one]
            found = stream.scorer.score_then_learn(self._window, count, self._length)
            if found is not None and stream.young:
                self._ripens(stream)
            answers += self._judge(one, stream, found, now)
        # in an order that a restart does not change
        for one in sorted(self._firing.keys() - counts.keys()):
            answers += self._judge(one, self._watched[one], None, now)
        self._window += 1
        return (*answers, self._wake()) if self._firing else tuple(answers)

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        self._window, counts = msgspec.convert(data[0], tuple[int, list[tuple[Key, int]]])
        self._counts.update(counts)
        super().load(data[1:])
        self._firing.update({key: None for key in self._watched if self._watched[key].fires})

    # -- parts ------------------------------------------------------------------------------------

    def _head(self) -> list[object]:
        """The window that runs first, in one row."""
        return [(self._window, list(self._counts.items())), *super()._head()]

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

    def _wake(self) -> Wake:
        """At the end of the window that runs."""
        return Wake(GRID, datetime.fromtimestamp((self._window + 1) * self._length, UTC))

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
