"""`anomaly` of silences: what always spoke at this hour of the week, and does not.

Nobody says so, hence the rule does, at the moment from which on a pause surprises enough; its alert
clears when the stream speaks again.
"""

from __future__ import annotations

from collections import OrderedDict
from copy import copy
from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace

from eventd.core.model import Status
from eventd.core.rules.budget import raw, tempered
from eventd.core.rules.keys import Key
from eventd.core.rules.own import SILENT
from eventd.core.rules.rule import LONGEST, Answer, Limits, Rule, Seen, Wake
from eventd.core.rules.watching import Look, Watched, Watching
from eventd.core.scoring.pauses import HOUR, Pause, PauseScorer
from eventd.core.scoring.pulse import TALKS, Pulse
from eventd.core.scoring.reasons import awaited, silent

FEW = 0.1  # events of others that should have come meanwhile: it is not waited for so few
LATE = 1.1  # the same, since the last of others: one is late, or its source is silent
AGAIN = 3600.0  # s; outside the rule's times: when it is looked at again
PRECISE = 0.001  # s later it is looked at: times are whole microseconds
MAX_SOURCES = 10_000


class Stream(Watched, kw_only=True):
    """When the events of one key come. Times are seconds since 1970."""

    source: str  # "" where the key tells sources apart: then all are its neighbours
    scorer: PauseScorer
    pulse: Pulse  # its own share of its source's
    heard_at: float
    since: float  # from when on its source is listened to
    counted: int = 0  # of its source's events until then
    others: float = 0.0  # of others, a second, in that hour
    hour: float = 0.0  # since 1970, in which it was last looked at as it came
    wakes_at: float = 0.0  # 0: it does not wait to be looked at
    patience: float = 0.0  # s after its last event, when it was set
    count: int = 0  # events


class State(Watching[Stream]):
    """The cadence of each key, and which of them are silent.

    Silent is only what is missing while its source talks: else the source is, or the way to it.
    It is asked about all that comes, once: who is suppressed, waited with or in a storm has spoken.
    What says `heartbeat` is watched without a rule, and not once more by one.
    """

    ending = SILENT
    watched = Stream
    always = True

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """Nothing heard yet."""
        super().__init__(rule, limits)
        self._apart = "source" in rule.by
        self._pulses: OrderedDict[str, Pulse] = OrderedDict()  # by source, of what has a cadence

    def observe(self, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        """Something came: learn when, and end its silence."""
        alert, key, at = seen.alert, self._key(seen), now.timestamp()
        if key is None or alert.status is Status.HEARTBEAT:
            return ()
        self.budget.give(at)
        stream, over = self._watched.hear(key), tuple[Answer, ...]()
        if stream is None:
            source = "" if self._apart else alert.source
            pulse = Pulse(at, at)
            stream = Stream(
                source=source, scorer=PauseScorer(at, at), pulse=pulse, heard_at=at, since=at
            )
            over = self._add(key, stream, now)
        stream.service = alert.service or stream.service
        if stream.fires:
            over = (*over, self._over(key, stream, now))
        stream.count += 1
        self._excuse_start(stream, at)
        stream.scorer.hear(at)
        stream.heard_at = at
        if not stream.scorer.warm:
            return over
        if stream.young:
            self._ripens(stream)
        pulse = self._pulse(stream.source, at)
        if not stream.pulse.count:
            stream.pulse = Pulse(at, at)
        pulse.hear(at)
        stream.pulse.hear(at)
        stream.since, stream.counted = at, pulse.count
        waits = stream.wakes_at and stream.wakes_at <= at + stream.patience
        if waits and stream.hour == at // HOUR:
            return over
        stream.others = max(0.0, pulse.expected(0.0, 1.0) - stream.pulse.expected(0.0, 1.0))
        stream.hour, pause = at // HOUR, stream.scorer.judge(raw(self._needed(stream, at)))
        return (*over, *self._wait(key, stream, at, pause))

    def due(self, key: str, now: datetime) -> tuple[Answer, ...]:
        """Whether a pause has become a silence."""
        values, at = self._grouping.values(key), now.timestamp()
        stream = self._watched.get(values)
        if stream is None or stream.fires:
            return ()
        self._excuse_start(stream, at)
        needed = self._needed(stream, at)
        pause = stream.scorer.judge(raw(needed))
        if pause is None or self._until(pause) > at:
            return self._wait(values, stream, at, pause)
        during = self.limits.during
        if during is not None and not during.covers(now):
            return self._wake(values, stream, at, AGAIN)
        if not self._talks(stream, at):
            often = stream.others
            late = often * (at - self._heard_others(stream, at))
            if late < 2 * LATE:
                step = LATE if late < LATE else 2 * LATE
                return self._wake(values, stream, at, (step - late) / often)
            self._listen(stream, at)
            return self._wait(values, stream, at, stream.scorer.judge(raw(needed)))
        stream.wakes_at = 0.0
        surprise, passed = tempered(stream.scorer.surprise(pause, at)), at - stream.heard_at
        said = silent(surprise, passed, pause.usual, pause.hour)
        return (self._fire(values, stream, now, (passed, surprise, needed, said)),)

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        self._pulses.update(msgspec.convert(data[0], list[tuple[str, Pulse]]))
        super().load(data[1:])

    # -- parts ------------------------------------------------------------------------------------

    def _head(self) -> list[object]:
        """Sources first, in one row."""
        return [[(source, copy(one)) for source, one in self._pulses.items()], *super()._head()]

    def _look(self, key: Key, one: Stream, needed: float, now: float) -> Look:
        passed = max(0.0, now - one.heard_at)
        look = Look(one.heard_at, one.scorer.first, one.count, passed)
        pause = one.scorer.judge(raw(needed))
        if pause is None:
            return look
        surprise = tempered(one.scorer.surprise(pause, now))
        told = silent(surprise, passed, pause.usual, pause.hour)
        if not one.fires:
            told = awaited(pause.usual, pause.hour, self._until(pause))
        return replace(look, usual=pause.usual, surprise=surprise, said=told)

    def _pulse(self, source: str, at: float) -> Pulse:
        pulse = self._pulses.get(source)
        if pulse is None:
            if len(self._pulses) >= MAX_SOURCES:
                self._pulses.popitem(last=False)
                self.dropped["sources"] = self.dropped.get("sources", 0) + 1
            pulse = self._pulses[source] = Pulse(at, at)
        return pulse

    def _wait(self, key: Key, stream: Stream, at: float, pause: Pause | None) -> tuple[Answer, ...]:
        """Be asked when the pause is a silence."""
        if pause is None:
            stream.wakes_at = 0.0
            return ()
        until = self._until(pause)
        stream.patience = until - stream.scorer.last
        return self._wake(key, stream, at, until - at)

    def _wake(self, key: Key, stream: Stream, at: float, after: float) -> tuple[Answer, ...]:
        """Be asked so many seconds later."""
        stream.wakes_at = at + after + PRECISE
        return (Wake(self._grouping.key(key), datetime.fromtimestamp(stream.wakes_at, UTC)),)

    def _until(self, pause: Pause) -> float:
        """In the first minutes after a start nobody is missed; nothing is waited for a year."""
        until = min(pause.until, pause.since + LONGEST)
        started, grace = self.limits.started, self.limits.start_grace
        return until if started is None else max(until, (started + grace).timestamp())

    def _excuse_start(self, stream: Stream, at: float) -> None:
        """While the daemon was away nobody could be heard."""
        started = self.limits.started
        if started is not None and stream.scorer.last < started.timestamp():
            self._listen(stream, at, started.timestamp())

    def _listen(self, stream: Stream, at: float, since: float = 0.0) -> None:
        """Its pause, and its source's, count from now on."""
        stream.scorer.excuse(since or at)
        pulse = self._pulses.get(stream.source)
        stream.since, stream.counted = at, pulse.count if pulse is not None else 0

    def _heard_others(self, stream: Stream, at: float) -> float:
        """When any other of its source came last."""
        return max(stream.since, self._pulse(stream.source, at).at)

    def _talks(self, stream: Stream, at: float) -> bool:
        """Whether others of its source come, as far as any should."""
        expected = stream.others * (at - stream.since)
        if expected < FEW:
            return True
        heard = self._pulse(stream.source, at).count - stream.counted
        late = stream.others * (at - self._heard_others(stream, at))
        return heard > TALKS * expected and late < LATE
