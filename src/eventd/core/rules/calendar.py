"""`calendar`: what comes at given times is known, and opens nothing."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Meta

from eventd.core.model import Miss
from eventd.core.rules.recurrence import parse_cron
from eventd.core.rules.rule import Forgetful, Limits, Matching, Rule, Span, Times

NEAR, NEAR_MOST = 0.25, 3600.0  # of what a time lasts, and s: what comes so near to it, missed it


class Spec(Matching, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known, and when."""

    keyless: ClassVar[bool] = True
    timeless: ClassVar[bool] = True

    starts: Annotated[str, Meta(max_length=256)]
    lasts: Span
    zone: Annotated[str, Meta(max_length=64)] = "UTC"

    def times(self) -> Times | None:
        return Times(starts=self.starts, lasts=self.lasts, zone=self.zone)

    def check(self) -> None:
        parse_cron(self.starts, "starts")


class State(Forgetful):
    """Remembers nothing: when its times are follows from the clock."""

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """`limits` say when, too."""
        super().__init__(rule, limits)
        self._lasts = float(rule.during.lasts) if rule.during is not None else 0.0

    def until(self, at: datetime) -> datetime | None:
        """When its time ends, as far as can be told then; None where it is none of its times."""
        calendar = self.limits.during
        return calendar.until(at) if calendar is not None and calendar.covers(at) else None

    def missed(self, at: datetime) -> tuple[Miss, float] | None:
        """How, and by how many s, it missed what began then; None where it did not, or by far."""
        calendar, near = self.limits.during, min(self._lasts * NEAR, NEAR_MOST)
        around = calendar.around(at, near) if calendar is not None else None
        if around is None or min(around) == math.inf:
            return None
        ended, begins = around
        return (Miss.EARLY, begins) if begins < ended else (Miss.OVER, ended)
