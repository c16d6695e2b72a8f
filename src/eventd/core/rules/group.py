"""`group`: alerts with these labels in common belong together.

A session lasts while anything in it fires, and for `within` after the last alert cleared; what
fires in that time joins the same incident.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from eventd.core.model import Grouped
from eventd.core.rules.rule import Finding, Grouping, Kind, Rule, Seen


class Spec(Kind, frozen=True, forbid_unknown_fields=True):
    """Nothing but what to match."""


class State:
    """Remembers nothing: the incident table knows the session."""

    repeats = False
    dropped = 0

    def __init__(self, rule: Rule, max_groups: int) -> None:
        """`max_groups` is for kinds that remember."""
        self.rule, self.max_groups = rule, max_groups
        self._grouping = Grouping(rule.by)

    def observe(self, seen: Seen, now: datetime) -> Iterable[Finding]:
        """Holds at once."""
        rule, alert = self.rule, seen.alert
        values = self._grouping.of(alert)
        if values is None:
            return ()
        group = self._grouping.named(values)
        return (Finding(rule, group, (alert.fingerprint,), Grouped(rule.name, group)),)

    def dump(self) -> list[object]:
        """Nothing."""
        return []

    def load(self, data: list[object]) -> None:
        """Nothing."""
