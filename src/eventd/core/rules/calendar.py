"""`calendar`: what comes at given times is known, and opens nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Meta

from eventd.core.rules.recurrence import parse_cron
from eventd.core.rules.rule import Forgetful, Matching, Span, Times


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

    def until(self, at: datetime) -> datetime | None:
        """When its time ends, as far as can be told then; None where it is none of its times."""
        calendar = self.limits.during
        return calendar.until(at) if calendar is not None and calendar.covers(at) else None
