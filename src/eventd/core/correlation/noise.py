"""What experience says of a check: whether it cries wolf."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from msgspec import Struct

from eventd.core.correlation import parameters as p


class Record(Struct, gc=False, array_like=True):
    """Of all alerts with one name."""

    blips: int = 0  # cleared soon, with nothing around them
    reals: int = 0  # parts of something wider

    @property
    def noise(self) -> float:
        """The share of blips, in (0, 1), cautious while little is known."""
        return (self.blips + 0.5) / (self.blips + self.reals + 2)

    @property
    def noisy(self) -> bool:
        """Whether it opens nothing by itself."""
        return self.blips >= p.BLIPS and self.noise > p.NOISY

    @property
    def proven(self) -> bool:
        """Whether it has been right before, and seldom wrong."""
        return self.reals >= p.PROVEN_TIMES and self.noise < p.PROVEN_NOISE


UNKNOWN = Record()


class Noise:
    """The records of at most MAX_CHECKS checks; the longest unseen makes room."""

    def __init__(self, full: list[str]) -> None:
        """No check is known; `full` is told when one makes room."""
        self._checks: OrderedDict[str, Record] = OrderedDict()
        self._full = full

    def __len__(self) -> int:
        return len(self._checks)

    def of(self, name: str) -> Record:
        """What is known of it; not to be changed."""
        return self._checks.get(name, UNKNOWN)

    def blip(self, name: str) -> None:
        """It cleared soon, with nothing around it."""
        self._take(name).blips += 1

    def real(self, name: str) -> None:
        """It was part of something wider."""
        self._take(name).reals += 1

    def _take(self, name: str) -> Record:
        record = self._checks.get(name)
        if record is None:
            record = self._checks[name] = Record()
            if len(self._checks) > p.MAX_CHECKS:
                self._checks.popitem(last=False)
                self._full.append("checks")
        else:
            self._checks.move_to_end(name)
        return record

    def dump(self) -> list[object]:
        """Plain data from which `load` makes the same."""
        return [(name, record.blips, record.reals) for name, record in self._checks.items()]

    def load(self, rows: Iterator[tuple[str, int, int]]) -> None:
        """Take up what `dump` gave."""
        for name, blips, reals in rows:
            self._checks[name] = Record(blips, reals)
