"""`anomaly`: a measurement is unlike all that its stream was.

Nobody says so, hence the rule does: it fires an alert of its own, which clears when the stream has
been calm for a while. How strange is strange enough follows from a budget of alerts.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from eventd.core.labels import severity_of
from eventd.core.model import Alert, Event, Severity, Status, Strange
from eventd.core.rules.budget import Budget, Share, rate_of, tempered
from eventd.core.rules.keys import Frozen, Key, Keys
from eventd.core.rules.own import UNUSUAL, own_fingerprint, strange_event
from eventd.core.rules.rule import (
    OWN_SOURCE,
    Answer,
    Grade,
    Grouping,
    Limits,
    Matching,
    Parts,
    Raise,
    Rule,
    Seen,
    Span,
    Transition,
    Wake,
)
from eventd.core.rules.selectors import allows_status
from eventd.core.rules.streams import MAX_CRIES, Row, Scored, Stream, row_of, stream_of
from eventd.core.scoring.bounds import bounds_of
from eventd.core.scoring.reasons import sentence
from eventd.core.scoring.scorer import HALF
from eventd.core.scoring.values import PARTS, SLOPE, ValueScorer
from eventd.errors import RuleError

TREND = "trend"  # label of its alert where the values change steadily: rising or falling
CALM = 0.5  # of what is needed: below, a value is calm
CALM_VALUES = 10  # in a row: then the alert is over
TOLD = CALM * HALF  # surprise from which a stream remembers what said so
QUIET = timedelta(hours=1)  # without a value: then, too
LONGEST_WINDOW = 3600.0  # s: what is usual is known by the hour
Of = Literal["values", "rates", "silences", "new"]


class Spec(Matching, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of which streams what is looked at, and how many alerts of them are wanted."""

    streams: ClassVar[bool] = True

    of: Of = "values"
    budget: Annotated[str, Meta(max_length=64)] = "2 per week"
    severity: Grade = "minor"

    window: Span | None = None  # of rates: in which events are counted

    def check(self) -> None:
        rate_of(self.budget)
        if self.window is None:
            return
        if self.of != "rates":
            raise RuleError("window", f"{self.of} have no windows", "leave it out, or of: rates")
        if not 1.0 <= self.window <= LONGEST_WINDOW:
            raise RuleError("window", f"expected 1s to 1h, got {self.window:g} s", "such as 1m")
        if LONGEST_WINDOW % self.window:
            wrong = f"an hour has to be a whole number of windows, of {self.window:g} s it is not"
            raise RuleError("window", wrong, "such as 1m, 5m or 15m")


class State:
    """A scorer for each key, and a budget that they share by how trustworthy they have proved.

    A stream that cried asks for more surprise than the others until that is forgotten; one that
    cried wolf, as a person says, for longer, and one that was right for less.
    """

    always = ends = holds = False

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """Nothing seen yet."""
        if not isinstance(rule.spec, Spec):
            raise TypeError(rule.kind)
        self.rule, self._spec, self.limits = rule, rule.spec, limits
        # alerts that fire on are asked about only where it looks at alerts at all
        self.repeats = any(allows_status(one, Status.FIRING) for one in rule.match)
        self.budget = Budget(rate_of(rule.spec.budget))
        self.hears = Parts(rule.parts).hears
        self._grouping = Grouping(rule.by)
        self.dropped: dict[str, int] = {}
        self._streams: Keys[Stream] = Keys()
        self._warm = 0  # of them those that are not young

    def observe(self, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        """A value: score it, then learn it."""
        key, value = self._grouping.of(seen.alert), seen.alert.value
        if key is None or value is None or seen.alert.source == OWN_SOURCE:
            return ()
        if seen.transition is Transition.JUDGED:
            return ()  # the value came before
        at = seen.at.timestamp()
        over: tuple[Answer, ...] = ()
        stream = self._streams.hear(key)
        if stream is None:
            over = self._make_room(now)
            stream = self._add(key, seen.alert)
        score = stream.scorer.score_then_learn(at, value)
        self.budget.give(now.timestamp())
        if stream.trust is not None:
            stream.trust.forget(max(0.0, at - stream.at))
        # time that goes back and forth, as of late values, is not counted twice
        stream.at, stream.value = max(stream.at, at), value
        stream.count += 1
        if score is None:
            return over
        if stream.young:
            stream.young = False
            self._warm += 1
            self.budget.share(self._warm)
        surprise = tempered(score.surprise)
        needed = self.budget.of(stream.trust)
        stream.surprise = surprise
        stream.because = score.because if surprise >= TOLD else ()
        if stream.fires:
            stream.calm = stream.calm + 1 if surprise < CALM * needed else 0
            return (self._over(key, stream, now),) if stream.calm >= CALM_VALUES else ()
        if surprise < needed:
            return ()
        said = tuple(map(sentence, score.because))
        group = self._grouping.named(key)
        because = Strange(self.rule.name, group, value, surprise, needed, said)
        fires = self._event(key, Status.FIRING, now, seen.alert, "; ".join(said))
        for reason in score.because:
            if reason.part == PARTS[SLOPE]:
                way = "rising" if reason.observed > 0.0 else "falling"
                fires = replace(fires, labels={**fires.labels, TREND: way})
        stream.fires, stream.calm = True, 0
        stream.trust = self.budget.spend(fires.fingerprint, stream.trust)
        stream.cries = (*stream.cries[1 - MAX_CRIES :], at)
        return (Raise(fires, because=because), Wake(self._grouping.key(key), now + QUIET))

    def end(self, now: datetime) -> tuple[Answer, ...]:
        """The rule is no more, and its alerts are over with that."""
        peek = self._streams.peek
        firing = [key for key in self._streams if (one := peek(key)) is not None and one.fires]
        return tuple([self._over(key, self._streams[key], now) for key in firing])

    def due(self, key: str, now: datetime) -> tuple[Answer, ...]:
        """Whether a stream whose alert fires has gone quiet."""
        values = self._grouping.values(key)
        stream = self._streams.get(values)
        if stream is None or not stream.fires:
            return ()
        until = datetime.fromtimestamp(stream.at, now.tzinfo) + QUIET
        return (Wake(key, until),) if until > now else (self._over(values, stream, now),)

    def share(self) -> Share:
        """Its budget as it stood at the last value."""
        budget, streams = self.budget, len(self._streams)
        young, criers = streams - self._warm, len(budget.criers)
        return Share(budget.rate, budget.needed, streams, young, criers)

    def scored(self, key: Key, now: float) -> Scored | None:
        """The stream of that key as it stands; None where there is none."""
        stream = self._streams.peek(key)
        if stream is None:
            return None
        return Scored(
            rule=self.rule.name,
            of=self._spec.of,
            key=key,
            group=self._grouping.named(key),
            at=stream.at,
            count=stream.count,
            value=stream.value,
            surprise=None if stream.young else stream.surprise,
            needed=self.budget.of(stream.trust),
            said=tuple(map(sentence, stream.because)),
            fires=stream.fires,
            cries=stream.cries,
        )

    def key_of(self, alert: Alert) -> Key | None:
        """Of the stream that the alert's value belongs to."""
        return self._grouping.of(alert)

    def named(self, name: Key) -> Key | None:
        """The key of that name, None where there is none."""
        return self._streams.named(name)

    def after(self, key: Key | None, limit: int) -> list[Key]:
        """The next keys in order."""
        return self._streams.after(key, limit)

    def freeze(self) -> Frozen[Stream]:
        """What `dump` gives, made when it is asked for, as it is now."""
        trusts = self.budget.trusts()
        return self._streams.freeze(
            [(self.budget.needed, self.budget.given_at)],
            lambda key, stream: row_of(key, stream, trusts.get(id(stream.trust))),
        )

    def dump(self) -> list[object]:
        """What is needed, then the streams."""
        return list(self.freeze())

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        needed, given_at = msgspec.convert(data[0], tuple[float, float])
        self.budget.needed, self.budget.given_at = needed, given_at
        for one in data[1:]:
            row = msgspec.convert(one, Row)
            stream = stream_of(row)
            self._streams.add(row.key, stream)
            self._warm += not stream.young
            if stream.trust is not None:
                self.budget.criers[self._alert(row.key)] = stream.trust

    # -- parts ------------------------------------------------------------------------------------

    def _make_room(self, now: datetime) -> tuple[Answer, ...]:
        """At the cap the stream longest unheard goes, and its alert is over."""
        if len(self._streams) < self.limits.max_groups:
            return ()
        gone, old = self._streams.pop()
        self._warm -= not old.young
        self.budget.criers.pop(self._alert(gone), None)
        self.dropped["groups"] = self.dropped.get("groups", 0) + 1
        return (self._over(gone, old, now),) if old.fires else ()

    def _add(self, key: Key, measured: Alert) -> Stream:
        bounds = bounds_of(measured.name, measured.labels.get("unit", ""))
        stream = Stream(ValueScorer(bounds))
        self._streams.add(key, stream)
        return stream

    def _alert(self, key: Key) -> str:
        return own_fingerprint(self.rule, self._grouping.named(key))

    def _over(self, key: Key, stream: Stream, now: datetime) -> Raise:
        stream.fires = False
        return Raise(self._event(key, Status.CLEARED, now))

    def _event(
        self,
        key: Key,
        status: Status,
        now: datetime,
        measured: Alert | None = None,
        summary: str = "",
    ) -> Event:
        """What it says of a stream."""
        group, severity = self._grouping.named(key), severity_of(self._spec.severity)
        event = strange_event(self.rule, group, UNUSUAL, severity or Severity.MINOR, status, now)
        return replace(
            event,
            service=event.service or (measured.service if measured is not None else ""),
            summary=summary,
            value=measured.value if measured is not None else None,
        )
