"""What `anomaly` has in common where not values are looked at but when events come, and which.

A key is watched, for which the rule fires an alert of its own within a budget.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import ClassVar, Generic, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from eventd.core.labels import severity_of
from eventd.core.model import Alert, Severity, Status, Strange
from eventd.core.rules.anomaly import Spec
from eventd.core.rules.budget import Budget, Share, Trust, rate_of
from eventd.core.rules.keys import Frozen, Key, Keys
from eventd.core.rules.own import own_fingerprint, strange_event
from eventd.core.rules.rule import (
    OWN_SOURCE,
    Answer,
    Grouping,
    Limits,
    Parts,
    Raise,
    Rule,
    Seen,
    Transition,
)
from eventd.core.rules.streams import Scored


class Watched(Struct, gc=False, kw_only=True, array_like=True):
    """What is known of a key, in memory and in a snapshot."""

    fires: bool = False
    young: bool = True  # too little is known of it for an alert
    service: str = ""
    trust: Trust | None = None  # None: it never cried
    trusted_at: float = 0.0  # s since 1970; what was long before weighs less since then


class Look(Struct, frozen=True, gc=False):
    """How a key stands; see `Scored`."""

    at: float
    since: float
    count: int
    value: float | None = None
    usual: float | None = None
    surprise: float | None = None
    said: str = ""


W = TypeVar("W", bound=Watched)
_encode = msgspec.msgpack.Encoder().encode


class Watching(ABC, Generic[W]):
    """The keys that are watched, the longest unheard first, and a budget that they share."""

    ending: ClassVar[str]  # of the names of its alerts
    watched: type[W]  # what is known of a key
    repeats = True
    always = ends = holds = False

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """Nothing seen yet."""
        if not isinstance(rule.spec, Spec):
            raise TypeError(rule.kind)
        self.rule, self.spec, self.limits = rule, rule.spec, limits
        self.budget = Budget(rate_of(rule.spec.budget))
        self.hears = Parts(rule.parts).hears
        self._grouping = Grouping(rule.by)
        self.dropped: dict[str, int] = {}
        self._watched: Keys[W] = Keys()
        self._warm = 0  # of them those that are not young

    def end(self, now: datetime) -> tuple[Answer, ...]:
        """The rule is no more, and its alerts are over with that."""
        peek = self._watched.peek
        firing = [key for key in self._watched if (one := peek(key)) is not None and one.fires]
        return tuple([self._over(key, self._watched[key], now) for key in firing])

    def share(self) -> Share:
        """Its budget as it stood when something came last."""
        budget, watched = self.budget, len(self._watched)
        return Share(budget.rate, budget.needed, watched, watched - self._warm, len(budget.criers))

    def scored(self, key: Key, now: float) -> Scored | None:
        """What is known of that key as it stands; None where that is nothing."""
        one = self._watched.peek(key)
        if one is None:
            return None
        needed = self.budget.of(one.trust)
        look = self._look(key, one, needed, now)
        return Scored(
            rule=self.rule.name,
            of=self.spec.of,
            key=key,
            group=self._grouping.named(key),
            at=look.at,
            since=look.since,
            count=look.count,
            value=look.value,
            usual=look.usual,
            surprise=max(0.0, look.surprise) if look.surprise is not None else None,
            needed=needed,
            said=(look.said,) if look.said else (),
            fires=one.fires,
        )

    def key_of(self, alert: Alert) -> Key | None:
        """Of what the alert belongs to."""
        return self._grouping.of(alert)

    def named(self, name: Key) -> Key | None:
        """The key of that name, None where there is none."""
        return self._watched.named(name)

    def after(self, key: Key | None, limit: int) -> list[Key]:
        """The next keys in order."""
        return self._watched.after(key, limit)

    def freeze(self) -> Frozen[W]:
        """What `dump` gives, made when it is asked for, as it is now."""
        trusts = self.budget.trusts()

        def row(key: Key, one: W) -> object:
            trusted = one.trust is not None
            return key, _encode(replace(one, trust=trusts.get(id(one.trust))) if trusted else one)

        return self._watched.freeze(self._head(), row)

    def dump(self) -> list[object]:
        """What is known beside the keys, then what is watched."""
        return list(self.freeze())

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        needed, given_at = msgspec.convert(data[0], tuple[float, float])
        self.budget.needed, self.budget.given_at = needed, given_at
        for key, row in msgspec.convert(data[1:], list[tuple[Key, bytes]]):
            one = msgspec.msgpack.decode(row, type=self.watched)
            self._watched.add(key, one)
            self._warm += not one.young
            if one.trust is not None:
                self.budget.criers[self._alert(key)] = one.trust

    # -- parts ------------------------------------------------------------------------------------

    @abstractmethod
    def _look(self, key: Key, one: W, needed: float, now: float) -> Look:
        """How it stands at that time, s since 1970, where an alert takes so much surprise."""

    def _head(self) -> list[object]:
        """The rows before what is watched, plain and copied: at last what is needed."""
        return [(self.budget.needed, self.budget.given_at)]

    def _key(self, seen: Seen) -> Key | None:
        """Of what comes; None of what came before and is judged again, or is eventd's own."""
        if seen.transition is Transition.JUDGED or seen.alert.source == OWN_SOURCE:
            return None
        return self._grouping.of(seen.alert)

    def _add(self, key: Key, one: W, now: datetime) -> tuple[Answer, ...]:
        """Watch another; at the cap the one longest unheard makes room, and its alert is over."""
        answers: tuple[Answer, ...] = ()
        if len(self._watched) >= self.limits.max_groups:
            gone, left = self._watched.pop()
            self._warm -= not left.young
            self.budget.criers.pop(self._alert(gone), None)
            self._gone(gone)
            answers = (self._over(gone, left, now),) if left.fires else ()
            self.dropped["groups"] = self.dropped.get("groups", 0) + 1
        self._watched.add(key, one)
        return answers

    def _alert(self, key: Key) -> str:
        return own_fingerprint(self.rule, self._grouping.named(key))

    def _gone(self, key: Key) -> None:
        """It made room; for kinds that know it elsewhere too."""

    def _ripens(self, one: W) -> None:
        """Enough is known of it: one more shares the budget."""
        one.young = False
        self._warm += 1
        self.budget.share(self._warm)

    def _needed(self, one: W, at: float) -> float:
        """How much surprise an alert of it takes."""
        self.budget.give(at)
        if one.trust is not None:
            one.trust.forget(max(0.0, at - one.trusted_at))
            one.trusted_at = at
        return self.budget.of(one.trust)

    def _fire(
        self, key: Key, one: W, now: datetime, told: tuple[float, float, float, str]
    ) -> Raise:
        """`told`: what was seen, how much that surprises, how much it had to, and all in words."""
        one.fires = True
        value, surprise, needed, said = told
        group = self._grouping.named(key)
        because = Strange(self.rule.name, group, value, surprise, needed, (said,))
        fires = self._raise(key, one, Status.FIRING, now, because)
        one.trust = self.budget.spend(fires.event.fingerprint, one.trust)
        one.trusted_at = now.timestamp()
        return fires

    def _over(self, key: Key, one: W, now: datetime) -> Raise:
        one.fires = False
        return self._raise(key, one, Status.CLEARED, now)

    def _raise(
        self, key: Key, one: W, status: Status, now: datetime, because: Strange | None = None
    ) -> Raise:
        group, severity = self._grouping.named(key), severity_of(self.spec.severity)
        event = strange_event(
            self.rule, group, self.ending, severity or Severity.MINOR, status, now
        )
        event = replace(event, service=event.service or one.service)
        if because is not None:
            event = replace(event, summary=because.said[0], value=because.value)
        return Raise(event, because=because)
