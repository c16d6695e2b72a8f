"""What there is, what it belongs to, and what it depends on: by name, in constant time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from eventd.core.labels import canonical_ci
from eventd.core.model import Ci, Dependency, Service

# How likely what depends on a failed thing fails with it: shares, from CORRELATION §2.5. A hard
# dependency is rarely survived; one that others can stand in for mostly is, but not always.
HARD, REDUNDANT = 0.85, 0.30
# Hops along dependencies that still explain: four, five and six measured the same.
MAX_HOPS = 5
# Strength below which a path explains nothing: one redundant hop and five hard ones are above it,
# two redundant ones are not.
WEAKEST = 0.12
# Hops below a thing within which what depends on it is weighed: its own neighbourhood.
HOPS_BELOW = 3
# Things one may depend on, directly or not: the first found, so the nearest, count.
MAX_ANCESTORS = 1_000
# Ancestors remembered in all, 200 bytes each; at the cap all are forgotten and looked for anew.
MAX_REMEMBERED = 250_000

Strengths = dict[str, float]


class Reach(Struct, frozen=True, gc=False):
    """How one thing reaches another: the strongest path along dependencies."""

    strength: float  # product of its edges' strengths, in (0, 1)
    hops: int
    via: tuple[str, ...]  # what lies between, in order from the one asked about


class Inventory:
    """Services and CIs, found by canonical name or alias.

    It never changes: a reload makes another. Names that are only depended on take part in the
    graph, but are not known. Of two rows of one name the first counts, an alias of two things is
    nobody's, and no alias hides a name: `eventd check` tells of such.
    """

    def __init__(
        self, version: str = "", services: Iterable[Service] = (), cis: Iterable[Ci] = ()
    ) -> None:
        """Index the rows. `version` is their digest, "" where none was loaded."""
        self.version = version
        self.services, self.cis = tuple(services), tuple(cis)
        self.dependencies = 0
        self._rows: dict[str, Service | Ci] = {}
        self._above: dict[str, Strengths] = {}
        self._below: dict[str, Strengths] = {}
        self._ancestors: dict[str, Mapping[str, Reach]] = {}
        self._remembered = 0
        self._weights: dict[str, float] = {}
        for row in self.rows():
            self._rows.setdefault(canonical_ci(row.name), row)
        self._aliases = dict(self._resolved())
        for name, row in self._rows.items():
            for needed, strength in self._needs(name, row):
                above = self._above.setdefault(name, {})
                self.dependencies += needed not in above
                above[needed] = max(strength, above.get(needed, 0.0))
                self._below.setdefault(needed, {})[name] = above[needed]

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> Iterator[Service | Ci]:
        """Services, then CIs, as they were written."""
        yield from self.services
        yield from self.cis

    # -- names ------------------------------------------------------------------------------

    def canonical(self, name: str) -> str:
        """The name everything goes by here; an unknown one in canonical spelling."""
        return self.resolve(canonical_ci(name))

    def resolve(self, name: str) -> str:
        """The same for a name in canonical spelling, such as an event's."""
        return self._aliases.get(name, name)

    def knows(self, name: str) -> bool:
        """Whether a canonical name has a row."""
        return name in self._rows

    # -- rows, by canonical name; "" where nothing is known -----------------------------------

    def type_of(self, name: str) -> str:
        """What kind of thing it is, in the operator's words."""
        row = self._rows.get(name)
        return (row.type or "") if row is not None else ""

    def site_of(self, name: str) -> str:
        """Where it is."""
        row = self._rows.get(name)
        return (row.site or "") if row is not None else ""

    def service_of(self, name: str) -> str:
        """The service it is part of, in the inventory's spelling; a service is its own."""
        row = self._rows.get(name)
        if row is None:
            return ""
        if isinstance(row, Service):
            return row.name
        service = self.service(row.service)
        return row.service if service is None else service.name

    def service(self, name: str) -> Service | None:
        """The service of that name, however it is spelled."""
        row = self._rows.get(self.canonical(name)) if name else None
        return row if isinstance(row, Service) else None

    # -- the graph, by canonical name -----------------------------------------------------------

    def depends_on(self, name: str) -> Mapping[str, float]:
        """What it depends on directly, with strengths, in the file's order."""
        return self._above.get(name, {})

    def ancestors(self, name: str) -> Mapping[str, Reach]:
        """All it depends on within MAX_HOPS and WEAKEST, in the order found; remembered."""
        found = self._ancestors.get(name)
        if found is None:
            if name not in self._above:  # unknown names have no bound
                return {}
            found = _reached(self._above, name, MAX_HOPS, MAX_ANCESTORS)
            self._remembered += len(found) + 1
            if self._remembered > MAX_REMEMBERED:
                self._ancestors.clear()
                self._remembered = len(found) + 1
            self._ancestors[name] = found
        return found

    def dependants(self, name: str) -> Mapping[str, Reach]:
        """All that depends on it within HOPS_BELOW and WEAKEST, in the order found."""
        return _reached(self._below, name, HOPS_BELOW, len(self._rows))

    def weight_below(self, name: str) -> float:
        """Sum of its dependants' strengths: how much would fail with it; remembered."""
        weight = self._weights.get(name)
        if weight is None:
            if name not in self._below:
                return 0.0
            weight = sum((reach.strength for reach in self.dependants(name).values()), 0.0)
            self._weights[name] = weight
        return weight

    # -- parts ------------------------------------------------------------------------------

    def _resolved(self) -> Iterator[tuple[str, str]]:
        """Aliases and what they stand for."""
        found: dict[str, str] = {}
        for name, row in self._rows.items():
            for alias in map(canonical_ci, row.aliases):
                if alias not in self._rows:
                    known = found.setdefault(alias, name)
                    found[alias] = name if known == name else ""
        return ((alias, name) for alias, name in found.items() if name)

    def _needs(self, name: str, row: Service | Ci) -> Iterator[tuple[str, float]]:
        for one in row.depends_on:
            needed = one if isinstance(one, Dependency) else Dependency(one)
            above = self.canonical(needed.name)
            if above != name:
                yield above, REDUNDANT if needed.redundant else HARD


def _reached(
    edges: Mapping[str, Strengths], start: str, hops: int, most: int
) -> Mapping[str, Reach]:
    """Strongest paths from `start`, breadth first: at most so many hops and things.

    Of paths of equal strength the shortest counts, then the one written first.
    """
    found: dict[str, Reach] = {}
    latest = {start: Reach(1.0, 0, ())}
    for hop in range(1, hops + 1):
        reached: dict[str, Reach] = {}
        for name, reach in latest.items():
            via = (*reach.via, name) if name != start else ()
            for needed, strength in edges.get(name, {}).items():
                strongest = reach.strength * strength
                known = reached.get(needed) or found.get(needed)
                if strongest < WEAKEST or needed == start:
                    continue
                if known is None and len(found) + len(reached) >= most:
                    continue
                if known is None or strongest > known.strength:
                    reached[needed] = Reach(strongest, hop, via)
        found |= reached
        latest = reached
    return found
