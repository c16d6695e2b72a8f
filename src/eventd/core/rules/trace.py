"""What rules were asked about some alerts and what they said, for a run that has to explain it.

A daemon never has one: what it would cost is spent when somebody asks, on a run of the journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from eventd.core.model import Alert, Matcher
from eventd.core.rules.rule import Answer, Recalling, Rule, RuleState, Seen, Window
from eventd.core.rules.selectors import compile_matcher, field_of

MAX_ASKED = 1_000  # times of an alert that are kept: the latest


class Asked(Struct, frozen=True):
    """One rule, asked once about an alert as it was then."""

    at: datetime
    alert: Alert
    rule: str
    during: bool = True  # whether the rule held at that time
    lacks: tuple[str, ...] = ()  # labels that tell its groups apart
    answers: tuple[Answer, ...] = ()
    window: Window | None = None  # after it; None: the rule looks at the alert alone


class Trace:
    """Collects it for the alert of one fingerprint, or for those on one CI."""

    def __init__(self, what: str) -> None:
        """Nothing was asked yet."""
        self._what = what
        self.asked: dict[str, deque[Asked]] = {}  # by fingerprint
        self.left_out: dict[str, int] = {}  # times that were too many

    def wants(self, alert: Alert) -> bool:
        """Whether it is one of them."""
        return self._what in {alert.fingerprint, alert.ci}

    def off(self, state: RuleState, seen: Seen, now: datetime) -> None:
        """The rule is not in force at that time."""
        if self.wants(seen.alert):
            self._add(Asked(now, seen.alert, state.rule.name, during=False))

    def said(
        self, state: RuleState, seen: Seen, now: datetime, answers: tuple[Answer, ...]
    ) -> None:
        """The rule was asked."""
        if not self.wants(seen.alert):
            return
        alert, rule = seen.alert, state.rule
        lacks = tuple(label for label in rule.by if not field_of(alert, label))
        window = state.recall(alert) if isinstance(state, Recalling) else None
        said = Asked(now, alert, rule.name, lacks=lacks, answers=answers, window=window)
        self._add(said)

    def _add(self, asked: Asked) -> None:
        fingerprint = asked.alert.fingerprint
        times = self.asked.setdefault(fingerprint, deque(maxlen=MAX_ASKED))
        if len(times) == MAX_ASKED:
            self.left_out[fingerprint] = self.left_out.get(fingerprint, 0) + 1
        times.append(asked)


class Condition(NamedTuple):
    """How far an alert gets with a selector that does not match it."""

    path: str  # in the rule
    held: tuple[Matcher, ...]
    failed: Matcher  # the first
    has: str  # what the alert has there
    others: int  # that fail too


def nearest(rule: Rule, alert: Alert) -> Condition | None:
    """The selector that lacks least; None where one matches."""
    found: list[Condition] = []
    for path, selector in _selectors(rule):
        failed = [one for one in selector if not compile_matcher(one)(alert)]
        if not failed:
            return None
        held = tuple(one for one in selector if one not in failed)
        found.append(Condition(path, held, failed[0], _has(alert, failed[0]), len(failed) - 1))
    return min(found, key=lambda one: (one.others, -len(one.held)), default=None)


def _selectors(rule: Rule) -> Iterator[tuple[str, tuple[Matcher, ...]]]:
    for (path, _), selectors in zip(rule.spec.written(), rule.parts, strict=True):
        for number, selector in enumerate(selectors):
            yield (f"{path}[{number}]" if len(selectors) > 1 else path), selector


def _has(alert: Alert, matcher: Matcher) -> str:
    if matcher.label == "value":
        return "" if alert.value is None else f"{alert.value:g}"
    return field_of(alert, matcher.label)
