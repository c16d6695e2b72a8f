"""How rarely something is as far beyond an edge as now, by how often and how far it was before."""

from __future__ import annotations

from math import log, log10

from msgspec import Struct

MEMORY = 20_000.0  # seen at once, what is older fades: a week of what comes every 30 s
PRIOR = 5.0  # exceedances that the usual excess weighs
LEARNED = 10.0  # excess learned at most: one decides nothing
_DECADE = log(10.0)


class Excess(Struct, gc=False, array_like=True):
    """The share of what was seen that is beyond an edge, and how far that is, on average.

    Beyond it a tail is taken to fall exponentially, as pauses between events do that know nothing
    of each other.
    """

    seen: float = 0.0
    above: float = 0.0
    total: float = 0.0  # of what they exceed the edge by

    def surprise(self, far: float, usual: float) -> float:
        """-log10 of how often it is so `far` beyond the edge; `usual` where little is known."""
        return self._rare() + far / self._mean(usual) / _DECADE

    def reach(self, surprise: float, usual: float) -> float:
        """How far beyond the edge something is that surprises so."""
        return (surprise - self._rare()) * self._mean(usual) * _DECADE

    def learn(self, far: float, times: float = 1.0) -> None:
        """It was so far beyond, so many times; not beyond at all where that is negative."""
        self.seen += times
        if far > 0.0:
            self.above += times
            self.total += times * min(far, LEARNED)
        if self.seen > MEMORY:
            keep = MEMORY / self.seen
            self.seen *= keep
            self.above *= keep
            self.total *= keep

    def _rare(self) -> float:
        return -log10((self.above + 1.0) / (self.seen + 1.0))

    def _mean(self, usual: float) -> float:
        return (self.total + PRIOR * usual) / (self.above + PRIOR)
