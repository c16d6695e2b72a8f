"""Which alerts are one group along the inventory's dependencies, directly or over others.

What is said follows from the sightings in the order in which they happened: they have to be given
in that order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from eventd.core.inventory import Inventory, least_strength
from eventd.core.model import AT
from eventd.core.rules.sightings import LEAST_ROWS


class Paths:
    """What depends on what, over so many hops at most."""

    def __init__(self, inventory: Inventory, hops: int, *, redundant: bool) -> None:
        """`redundant`: also where something else can stand in."""
        self._inventory, self._hops = inventory, hops
        self._strong = least_strength(hops, redundant=redundant)
        self._below: dict[str, int] = {}

    def above(self, ci: str) -> dict[str, int]:
        """What it depends on, the nearest first, and over how many hops."""
        return {
            name: reach.hops
            for name, reach in self._inventory.ancestors(ci).items()
            if reach.hops <= self._hops
            and self._strong <= reach.strength
            and not name.startswith(AT)
        }

    def below(self, ci: str) -> int:
        """How many depend on it; remembered."""
        found = self._below.get(ci)
        if found is None:
            reaches = self._inventory.dependants(ci).values()
            found = self._below[ci] = sum(
                reach.hops <= self._hops and self._strong <= reach.strength for reach in reaches
            )
        return found


class Row(Struct, gc=False, array_like=True):
    """An alert that was seen, and what it was tied by when it was."""

    at: datetime
    ci: str
    fingerprint: str
    episode: int
    again: bool = False  # it changed, and may have been seen before
    found: bool = False  # it was in a finding
    via: str = ""  # the CI that ties it
    hops: int = 0  # up to that CI; negative: down to it; 0: it is its own


class Standing(Struct, gc=False, array_like=True):
    """A CI that has alerted within the window, or is taken to be down."""

    at: datetime  # the last time
    group: int
    rows: dict[str, Row] = {}  # by fingerprint, the longest known first
    silent: bool = False  # it says nothing itself


class Group(Struct, gc=False, array_like=True):
    """CIs that are tied. Invariant: there is one that stands; where it has a top, nothing waits."""

    cis: dict[str, None] = {}
    silent: dict[str, None] = {}
    waiting: dict[str, Row] = {}  # in no finding yet
    top: str = ""  # the CI it is called after; "": the rule does not hold for it yet
    told: datetime | None = None  # until when a window reached of which a near miss was told


class Near(NamedTuple):
    """A group that lacks one CI, and loses one; what came too late, if anything did."""

    top: str
    first: Row
    last: Row
    late: Row | None


class Ties:
    """The groups of one key.

    Invariants: a CI stands while its last sighting is in the window, in one group; `under` holds
    the CIs that stand and are not silent, by what they depend on.
    """

    def __init__(self, within: timedelta, count: int, silent: float) -> None:
        """`silent`: share of its dependants from which a quiet thing is taken to be down, or 0."""
        self._within, self._count, self._silent = within, count, silent
        self.number = 0
        self.standing: OrderedDict[str, Standing] = OrderedDict()  # the longest quiet first
        self.groups: dict[int, Group] = {}
        self._under: dict[str, dict[str, None]] = {}
        self.forgot = 0  # rows let go for want of room

    def see(self, row: Row, paths: Paths) -> list[Group]:
        """The groups that are others now; none where it was seen already."""
        known = self.standing.get(row.ci)
        if known is not None and row.again:
            before = known.rows.get(row.fingerprint)
            if before is not None and before.episode == row.episode:
                return []
        above = paths.above(row.ci)
        number = self._unite(self._tied(row, above, paths))
        self._stand(row.ci, row.at, number, above)
        standing, group = self.standing[row.ci], self.groups[number]
        standing.rows[row.fingerprint] = group.waiting[row.fingerprint] = row
        if len(standing.rows) > LEAST_ROWS:
            gone = next(iter(standing.rows))
            del standing.rows[gone]
            group.waiting.pop(gone, None)
            self.forgot += 1
        for ci in above if self._silent else ():
            self._take_down(ci, row.at, paths)
        moved = (row.ci, *above) if self._silent else (row.ci,)
        numbers = {self.standing[ci].group: None for ci in moved if ci in self.standing}
        return [self.groups[one] for one in numbers]

    def expire(self, until: datetime, coming: Sequence[Row], paths: Paths) -> Iterator[Near]:
        """Let go what was seen until then; what was nearly enough. `coming` is seen after that."""
        while self.standing:
            ci, standing = next(iter(self.standing.items()))
            if standing.at > until:
                return
            group = self.groups[standing.group]
            short = len(group.cis) == self._count - 1 and not standing.silent and not group.top
            if short and (group.told is None or group.told <= standing.at):
                group.told = standing.at + self._within
                yield self._near(group, coming, paths)
            self.drop(ci, paths)

    def drop(self, ci: str, paths: Paths) -> None:
        """The CI stands no more."""
        standing = self.standing.pop(ci)
        group = self.groups[standing.group]
        for fingerprint in standing.rows:
            group.waiting.pop(fingerprint, None)
        (group.silent if standing.silent else group.cis).pop(ci)
        if not group.cis and not group.silent:
            del self.groups[standing.group]
        for name in () if standing.silent else paths.above(ci):
            below = self._under[name]
            del below[ci]
            if not below:
                del self._under[name]

    def top(self, group: Group, paths: Paths) -> str:
        """The CI on which most of the group depend; of several the one longest quiet."""
        below = dict.fromkeys([*group.silent, *group.cis], 0)
        for ci in group.cis:
            for name in paths.above(ci):
                if name in below:
                    below[name] += 1
        return min(below, key=lambda ci: (-below[ci], self.standing[ci].at, ci))

    def rename(self, paths: Paths) -> None:
        """Another inventory tells what depends on what."""
        self._under = {}
        for ci, standing in self.standing.items():
            if not standing.silent:
                self._file(ci, paths.above(ci))

    def dump(self) -> list[object]:
        """Copies: who stands, in order, then the groups."""
        standing = [
            (ci, replace(one, rows={f: replace(row) for f, row in one.rows.items()}))
            for ci, one in self.standing.items()
        ]
        groups = [(n, group.top, group.told) for n, group in self.groups.items()]
        return [self.number, standing, groups]

    def load(
        self,
        number: int,
        standing: Iterable[tuple[str, Standing]],
        groups: Iterable[tuple[int, str, datetime | None]],
        paths: Paths,
    ) -> None:
        """Take up what `dump` gave."""
        self.number = number
        self.groups = {n: Group(top=top, told=told) for n, top, told in groups}
        for ci, one in standing:
            self.standing[ci] = one
            group = self.groups[one.group]
            (group.silent if one.silent else group.cis)[ci] = None
            group.waiting |= {f: row for f, row in one.rows.items() if not row.found}
        self.rename(paths)

    # -- parts ------------------------------------------------------------------------------------

    def _tied(self, row: Row, above: Mapping[str, int], paths: Paths) -> dict[int, None]:
        """The groups of what it is tied to; notes the nearest in the row."""
        ci, found = row.ci, dict[int, None]()
        for name in above:
            if (one := self.standing.get(name)) is not None:
                if not found:
                    row.via, row.hops = name, above[name]
                found[one.group] = None
        known = self.standing.get(ci)
        if known is not None:  # whatever depends on it is tied to it already
            found[known.group] = None
            row.via, row.hops = ci, 0
            return found
        below = self._under.get(ci, {})
        if below and not found:
            near = min(below, key=lambda name: (paths.above(name)[ci], name))
            row.via, row.hops = near, -paths.above(near)[ci]
        return found | dict.fromkeys(self.standing[name].group for name in below)

    def _unite(self, numbers: Iterable[int]) -> int:
        """Make them one group, but those for which the rule holds: of these the eldest counts."""
        tied = sorted(numbers, key=lambda n: (not self.groups[n].top, n))
        if not tied:
            self.number += 1
            self.groups[self.number] = Group()
            return self.number
        first = self.groups[tied[0]]
        for number in tied[1:]:
            other = self.groups[number]
            if other.top:
                continue
            for ci in (*other.cis, *other.silent):
                self.standing[ci].group = tied[0]
            first.cis |= other.cis
            first.silent |= other.silent
            first.waiting |= other.waiting
            del self.groups[number]
        return tied[0]

    def _stand(self, ci: str, at: datetime, number: int, above: Mapping[str, int]) -> None:
        """It alerts."""
        standing = self.standing.get(ci)
        if standing is None or standing.silent:
            self._file(ci, above)
        self._place(ci, at, number, silent=False)

    def _file(self, ci: str, above: Iterable[str]) -> None:
        for name in above:
            self._under.setdefault(name, {})[ci] = None

    def _place(self, ci: str, at: datetime, number: int, *, silent: bool) -> None:
        """It stands in that group from now on."""
        standing = self.standing.get(ci)
        if standing is None:
            standing = self.standing[ci] = Standing(at, number, {}, silent)
        elif standing.group != number or standing.silent != silent:
            group = self.groups[standing.group]
            (group.silent if standing.silent else group.cis).pop(ci)
            if not group.cis and not group.silent and standing.group != number:
                del self.groups[standing.group]
            standing.group, standing.silent = number, silent
        standing.at = at
        self.standing.move_to_end(ci)
        group = self.groups[number]
        (group.silent if silent else group.cis)[ci] = None

    def _take_down(self, ci: str, at: datetime, paths: Paths) -> None:
        """Take it to be down, if it says nothing itself and enough of what depends on it does."""
        known = self.standing.get(ci)
        if known is not None and not known.silent:
            return
        below = self._under.get(ci, {})
        if len(below) < max(2, ceil(self._silent * paths.below(ci))):
            return
        if known is not None:  # it ties already what stands below it
            self._place(ci, at, known.group, silent=True)
            return
        tied = dict.fromkeys(self.standing[name].group for name in below)
        for name in paths.above(ci):
            if (one := self.standing.get(name)) is not None:
                tied[one.group] = None
        self._place(ci, at, self._unite(tied), silent=True)

    def _near(self, group: Group, coming: Sequence[Row], paths: Paths) -> Near:
        rows = [row for ci in group.cis for row in self.standing[ci].rows.values()]
        rows.sort(key=lambda row: (row.at, row.fingerprint))
        late = next((row for row in coming if self._ties(row.ci, group, paths)), None)
        return Near(self.top(group, paths), rows[0], rows[-1], late)

    def _ties(self, ci: str, group: Group, paths: Paths) -> bool:
        """Whether a CI that is not in the group is tied to what is."""
        if ci in group.cis:
            return False
        above, below = paths.above(ci), self._under.get(ci, {})
        return any(name in above or name in below for name in group.cis)
