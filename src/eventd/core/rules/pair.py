"""`pair`: something opens, and something else, of whatever fingerprint, ends it."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime

import msgspec
from msgspec import Struct

from eventd.core.model import Paired
from eventd.core.rules.rule import (
    Answer,
    End,
    Finding,
    Grouping,
    Kind,
    Limits,
    Parts,
    Rule,
    Seen,
    Transition,
    Wake,
    Written,
)
from eventd.core.rules.sightings import Key

OPENS, CLOSES = 0, 1


class Spec(Kind, frozen=True, forbid_unknown_fields=True):
    """What opens, and what ends it."""

    opens: Written
    closes: Written

    def written(self) -> tuple[tuple[str, Written], ...]:
        return (("opens", self.opens), ("closes", self.closes))


class Opened(Struct, frozen=True, gc=False, array_like=True):
    """An alert that has opened, and that nothing has ended."""

    key: Key
    episode: int
    at: datetime


class State:
    """What is open, by alert and by key, and when each key was last ended, as long as that counts.

    Beyond `max_groups` alerts the one longest open is let go, and beyond as many keys the end
    longest ago.
    """

    repeats = holds = False
    ends = always = True

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """Nothing is open."""
        if not isinstance(rule.spec, Spec):
            raise TypeError(rule.kind)
        self.rule, self.limits = rule, limits
        self.dropped: dict[str, int] = {}
        self._of_rule = Parts(rule.parts)
        self.hears = self._of_rule.hears
        self._grouping = Grouping(rule.by)
        self._open: OrderedDict[str, Opened] = OrderedDict()  # by fingerprint
        self._of_key: dict[Key, dict[str, None]] = {}
        self._ended: OrderedDict[Key, datetime] = OrderedDict()

    def observe(self, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        """Open at once, in its times; end what opened before, or at the same time, always."""
        key, alert = self._grouping.of(seen.alert), seen.alert
        if seen.transition is Transition.CLEARED:
            self._let_go(alert.fingerprint)
            return ()
        if key is None:
            return ()
        parts = self._of_rule.of(alert)
        answers: list[Answer] = []
        during = self.limits.during
        if OPENS in parts and alert.episode and (during is None or during.covers(seen.at)):
            because = Paired(self.rule.name, self._grouping.named(key))
            answers.append(Finding(self.rule, because.group, (alert.fingerprint,), because))
            self._remember(key, seen)
        if CLOSES in parts:
            self._ended[key] = max(seen.at, self._ended.pop(key, seen.at))
            if len(self._ended) > self.limits.max_groups:
                answers.append(Wake(self._grouping.key(self._ended.popitem(last=False)[0]), None))
                self._drop()
            answers.append(Wake(self._grouping.key(key), now + self.limits.late_within))
        ended = self._end(key)
        if CLOSES in parts and OPENS not in parts and alert.episode:
            ended.append((alert.fingerprint, alert.episode))  # that was all it had to say
        return (*answers, End(tuple(ended))) if ended else tuple(answers)

    def due(self, key: str, now: datetime) -> tuple[Answer, ...]:
        """Nothing comes any more that opened before the key was last ended."""
        self._ended.pop(self._grouping.values(key), None)
        return ()

    def dump(self) -> list[object]:
        """What is open, then when keys were ended."""
        return [list(self._open.items()), list(self._ended.items())]

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        for fingerprint, opened in msgspec.convert(data[0], list[tuple[str, Opened]]):
            self._open[fingerprint] = opened
            self._of_key.setdefault(opened.key, {})[fingerprint] = None
        self._ended.update(msgspec.convert(data[1], list[tuple[Key, datetime]]))

    # -- parts ------------------------------------------------------------------------------------

    def _remember(self, key: Key, seen: Seen) -> None:
        fingerprint, episode = seen.alert.fingerprint, seen.alert.episode
        known = self._open.get(fingerprint)
        if known is not None and (known.key, known.episode) == (key, episode):
            return
        self._let_go(fingerprint)
        self._open[fingerprint] = Opened(key, episode, seen.at)
        self._of_key.setdefault(key, {})[fingerprint] = None
        if len(self._open) > self.limits.max_groups:
            self._let_go(next(iter(self._open)))
            self._drop()

    def _end(self, key: Key) -> list[tuple[str, int]]:
        """What opened before the key was last ended."""
        at = self._ended.get(key)
        if at is None:
            return []
        over = [f for f in self._of_key.get(key, ()) if self._open[f].at <= at]
        return [(f, opened.episode) for f in over if (opened := self._let_go(f)) is not None]

    def _let_go(self, fingerprint: str) -> Opened | None:
        opened = self._open.pop(fingerprint, None)
        if opened is not None:
            of_key = self._of_key[opened.key]
            del of_key[fingerprint]
            if not of_key:
                del self._of_key[opened.key]
        return opened

    def _drop(self) -> None:
        self.dropped["groups"] = self.dropped.get("groups", 0) + 1
