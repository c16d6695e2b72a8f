"""Flapping: changing state too often to be believed, by Icinga's weighted hysteresis.

The last 20 states count, newer ones more. A check that only speaks when it changes says nothing of
the states between, so one is taken to be seen every 90 seconds: twenty are half an hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from eventd.core.timers import Timers

STATES = 20
SLOT = 90.0  # s a state is taken to last
BEGINS, ENDS = 0.30, 0.25  # shares of change
OLDEST, NEWEST = 0.8, 1.2  # weights
TIMER = "flapping"
_MASK = (1 << STATES) - 1
_WEIGHTS = tuple(
    (NEWEST - (NEWEST - OLDEST) * age / (STATES - 1)) / STATES for age in range(STATES)
)


class Flapping:
    """The latest changes of alerts that changed within half an hour, and which of them flap."""

    def __init__(self, timers: Timers[tuple[str, str]]) -> None:
        """`timers` is the engine's; keys are (TIMER, fingerprint)."""
        self._changes: dict[str, tuple[int, int]] = {}  # bits, the newest lowest; slot of that one
        self._on: dict[str, None] = {}
        self._timers = timers

    def __contains__(self, fingerprint: str) -> bool:
        return fingerprint in self._on

    def __len__(self) -> int:
        return len(self._on)

    def changed(self, fingerprint: str, now: datetime) -> bool:
        """The alert fired or cleared. True where it begins to flap with that."""
        slot = _slot(now)
        bits, last = self._changes.get(fingerprint, (0, slot - 1))
        passed = max(1, slot - last)
        bits = (bits << passed | 1) & _MASK
        self._changes[fingerprint] = (bits, slot)  # never ahead of time: it is calm in half an hour
        self._look_again(fingerprint, now)
        if fingerprint in self._on or _share(bits) <= BEGINS:
            return False
        self._on[fingerprint] = None
        return True

    def due(self, fingerprint: str, at: datetime) -> bool:
        """Look at it again. True where it ends flapping with that."""
        bits, last = self._changes[fingerprint]
        bits = bits << max(0, _slot(at) - last) & _MASK
        if fingerprint in self._on:
            if _share(bits) >= ENDS:
                self._look_again(fingerprint, at)
                return False
            del self._on[fingerprint]
            self._look_again(fingerprint, at)
            return True
        del self._changes[fingerprint]  # all that was is longer ago than counts
        return False

    def forget(self, fingerprint: str) -> None:
        """The alert is remembered no more."""
        self._on.pop(fingerprint, None)
        if self._changes.pop(fingerprint, None) is not None:
            self._timers.cancel((TIMER, fingerprint))

    def _look_again(self, fingerprint: str, now: datetime) -> None:
        wait = SLOT if fingerprint in self._on else SLOT * STATES
        self._timers.set((TIMER, fingerprint), now + timedelta(seconds=wait))

    def dump(self) -> list[object]:
        """Plain data from which `load` makes the same."""
        return [
            (fingerprint, bits, last, fingerprint in self._on)
            for fingerprint, (bits, last) in self._changes.items()
        ]

    def load(self, rows: Iterator[tuple[str, int, int, bool]]) -> None:
        """Take up what `dump` gave."""
        for fingerprint, bits, last, on in rows:
            self._changes[fingerprint] = (bits, last)
            if on:
                self._on[fingerprint] = None


def _slot(at: datetime) -> int:
    return int(at.timestamp() // SLOT)


def _share(bits: int) -> float:
    share = 0.0
    while bits:
        newest = bits & -bits
        share += _WEIGHTS[newest.bit_length() - 1]
        bits -= newest
    return share
