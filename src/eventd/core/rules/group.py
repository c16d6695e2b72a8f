"""`group`: alerts with these labels in common belong together.

A session lasts while anything in it fires, and for `within` after the last alert cleared; what
fires in that time joins the same incident.
"""

from __future__ import annotations

from datetime import datetime

from eventd.core.model import Grouped
from eventd.core.rules.rule import Finding, Grouping, Limits, Matching, Rule, Seen


class Spec(Matching, frozen=True, forbid_unknown_fields=True):
    """Nothing but what to match."""


MAX_REASONS = 4_096  # made before and kept, so that a group's alerts share one


class State:
    """Remembers nothing that counts: the incident table knows the session."""

    repeats = hears = ends = holds = False

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """`limits` are for kinds that remember."""
        self.rule, self.limits = rule, limits
        self.dropped: dict[str, int] = {}
        self._grouping = Grouping(rule.by)
        self._reasons: dict[tuple[str, ...], Grouped] = {}

    def observe(self, seen: Seen, now: datetime) -> tuple[Finding, ...]:
        """Holds at once."""
        rule, alert = self.rule, seen.alert
        values = self._grouping.of(alert)
        if values is None:
            return ()
        because = self._reasons.get(values)
        if because is None:
            if len(self._reasons) >= MAX_REASONS:
                self._reasons.clear()
            because = self._reasons[values] = Grouped(rule.name, self._grouping.named(values))
        return (Finding(rule, because.group, (alert.fingerprint,), because),)

    def due(self, key: str, now: datetime) -> tuple[Finding, ...]:
        """It waits for nothing."""
        return ()

    def dump(self) -> list[object]:
        """Nothing."""
        return []

    def load(self, data: list[object]) -> None:
        """Nothing."""
