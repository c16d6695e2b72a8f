"""Whether a source still talks, by how many of its events come beside how many usually do."""

from __future__ import annotations

from math import exp

from msgspec import Struct

USUALLY = 3600.0  # s; what the rate of a source's events looks back
TALKS = 0.4  # share of its usual rate at which a source still talks


class Pulse(Struct, gc=False, array_like=True):
    """How many of a source's events came, and how many do: a decayed rate, per second."""

    first: float
    at: float
    count: int = 0
    usually: float = 0.0

    def hear(self, now: float) -> None:
        """Another came."""
        self.usually = self.usually * exp((self.at - now) / USUALLY) + 1 / USUALLY
        self.at = now
        self.count += 1

    def expected(self, since: float, now: float) -> float:
        """How many come between the two; the rate is one of the time heard, however short."""
        heard = self.at - self.first
        rate = self.usually / (1 - exp(-heard / USUALLY)) if heard > 0 else 0.0
        return rate * (now - since)
