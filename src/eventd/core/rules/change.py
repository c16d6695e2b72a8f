"""`change`: what was changed shortly before an incident is evidence of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from eventd.core.model import Change
from eventd.core.rules.rule import (
    Answer,
    Forgetful,
    Grouping,
    Limits,
    Matching,
    Noted,
    Parts,
    Rule,
    Seen,
    Transition,
)

_NEW = (Transition.NOTED, Transition.FIRED, Transition.WAITED, Transition.SETTLED)


class Spec(Matching, frozen=True, forbid_unknown_fields=True):
    """What is a change."""

    incidentless: ClassVar[bool] = True


class State(Forgetful):
    """Remembers nothing: changes are kept for all rules, by what alerts share with them."""

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """`limits` are for kinds that remember."""
        super().__init__(rule, limits)
        self._of_rule = Parts(rule.parts)
        self.hears = self._of_rule.hears
        self._grouping = Grouping(rule.by)
        self._within = timedelta(seconds=rule.within)

    def observe(self, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        """What is told is a change, and what begins to fire."""
        alert, values = seen.alert, self._grouping.of(seen.alert)
        if values is None or seen.transition not in _NEW or not self._of_rule.of(alert):
            return ()
        until = seen.at + self._within
        said = alert.name, alert.ci, alert.summary
        change = Change(self.rule.name, alert.fingerprint, seen.at, until, *said)
        return (Noted(self.rule.by, values, change),)
