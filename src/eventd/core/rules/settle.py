"""`settle`: nothing is raised that clears within so long."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from eventd.core.rules.rule import Answer, Hold, Limits, Matching, Rule, Seen, Transition


class Spec(Matching, frozen=True, forbid_unknown_fields=True):
    """What is waited for whether it clears."""

    keyless: ClassVar[bool] = True


class State:
    """Remembers nothing: the alert knows that it waits, a timer how long."""

    repeats = hears = ends = False
    holds = True

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """`limits` are for kinds that remember."""
        self.rule, self.limits = rule, limits
        self.dropped: dict[str, int] = {}
        self._within = timedelta(seconds=rule.within)

    def observe(self, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        """Wait with an alert that begins to fire."""
        if seen.transition is not Transition.FIRED:
            return ()
        return (Hold(seen.alert.fingerprint, now + self._within),)

    def due(self, key: str, now: datetime) -> tuple[Answer, ...]:
        """It waits for nothing itself."""
        return ()

    def dump(self) -> list[object]:
        """Nothing."""
        return []

    def load(self, data: list[object]) -> None:
        """Nothing."""
