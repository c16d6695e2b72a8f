"""The only module that asks the system for the time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

# Seconds the wall clock may run away from ours before it is a jump and not a drift: NTP slews
# below 0.128 s and steps above (ntp.org, "How NTP works"); ten times that is no drift.
JUMP = 1.28
# Share of elapsed time by which we run faster or slower to close a gap: Linux' adjtime slews
# 500 ppm; ten times that closes a second in 200 s and stays invisible in timers.
SLEW = 0.005


class Clock(Protocol):
    """Where the runtime gets `now` from."""

    def now(self) -> datetime:
        """Aware UTC, never before an earlier answer."""
        ...


class SystemClock:
    """Runs monotonically from where it was anchored and slews towards wall time.

    A jump of the wall clock is not followed at once: `drift` tells how far we are from it.
    """

    def __init__(self, not_before: datetime | None = None) -> None:
        """Anchor at wall time, or at `not_before` (the journal's last `now`) if that is later."""
        wall = datetime.now(UTC)
        self._now = wall if not_before is None or not_before < wall else not_before
        self._mono = time.monotonic()

    def now(self) -> datetime:
        """Aware UTC, never before an earlier answer."""
        mono = time.monotonic()
        elapsed = mono - self._mono
        if elapsed <= 0.0:
            return self._now
        self._mono = mono
        step = elapsed + self._correction(elapsed)
        self._now += timedelta(seconds=step)
        return self._now

    def drift(self) -> float:
        """Seconds the wall clock is ahead of ours; beyond JUMP it was set, not drifting."""
        return (datetime.now(UTC) - self.now()).total_seconds()

    def _correction(self, elapsed: float) -> float:
        gap = (datetime.now(UTC) - self._now).total_seconds() - elapsed
        limit = elapsed * SLEW
        return max(-limit, min(limit, gap))


def monotonic() -> float:
    """Seconds for measuring durations at the edges; never reaches the core."""
    return time.monotonic()


def wall() -> datetime:
    """Wall time, aware UTC: for `received_at` and for what people read."""
    return datetime.now(UTC)
