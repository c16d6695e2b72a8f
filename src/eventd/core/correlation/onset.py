"""When an alert really began: late deliveries told apart from wrong clocks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from eventd.core.correlation import parameters as p


class Onsets:
    """The last lags of at most MAX_CIS CIs; the longest unheard makes room."""

    def __init__(self, full: list[str]) -> None:
        """No clock is known; `full` is told when one makes room."""
        self._lags: OrderedDict[str, tuple[float, ...]] = OrderedDict()
        self._full = full

    def __len__(self) -> int:
        return len(self._lags)

    def of(self, ci: str, said: float | None, now: float) -> float:
        """When it began by eventd's clock; `said` is the source's own time of it.

        A constant lag is the clock's error; what goes beyond it is lateness.
        """
        if said is None:
            return now
        lag = now - said
        lags = self._lags.get(ci)
        if lags is None:
            lags = self._lags[ci] = ()
            if len(self._lags) > p.MAX_CIS:
                self._lags.popitem(last=False)
                self._full.append("clocks")
        else:
            self._lags.move_to_end(ci)
        if len(lags) >= p.LAG_LEAST:
            error = sorted(lags)[len(lags) // 2]
        else:
            error = lag if lag < 0 or lag > p.LAG_ABSURD else 0.0
        self._lags[ci] = (*lags[1 - p.LAGS :], lag)
        return now - min(max(lag - error, 0.0), p.LATE_MOST)

    def dump(self) -> Iterable[object]:
        """Plain data from which `load` makes the same; pairs are made as they are asked for."""
        return zip(list(self._lags), list(self._lags.values()), strict=True)

    def load(self, rows: Iterator[tuple[str, tuple[float, ...]]]) -> None:
        """Take up what `dump` gave."""
        for ci, lags in rows:
            self._lags[ci] = lags
