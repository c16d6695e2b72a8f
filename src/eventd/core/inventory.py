"""What there is, what it belongs to, and what it depends on: by name, in constant time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from eventd.core.labels import canonical_ci
from eventd.core.model import AT, Ci, Dependency, Service

# How likely what depends on a failed thing fails with it: shares, from CORRELATION §2.5. A hard
# dependency is rarely survived; one that others can stand in for mostly is, but not always.
HARD, REDUNDANT = 0.85, 0.30
# Being at one site is a common cause too, that nobody writes down: power, uplink, weather. It is
# weighed like a hub that says nothing, so a site of hundreds explains nothing of two.
TOGETHER = 0.70
# Hops along dependencies that still explain: four, five and six measured the same.
MAX_HOPS = 5
# Strength below which a path explains nothing: one redundant hop and five hard ones are above it,
# two redundant ones are not.
WEAKEST = 0.12
# Hops below a thing within which what depends on it is weighed: its own neighbourhood.
HOPS_BELOW = 3
JUST = 1e-9  # strengths are products
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


def least_strength(hops: int, *, redundant: bool) -> float:
    """Of a path of so many hops: of hard dependencies only, unless `redundant`."""
    return WEAKEST if redundant else HARD**hops - JUST


class Inventory:
    """Services and CIs, found by canonical name or alias.

    It never changes: a reload makes another. Rows of one name are one thing, what the first says
    counts; an alias of two things is nobody's, and no alias hides a name: `eventd check` tells of
    such. Names that are only depended on take part in the graph, but are not known.
    """

    def __init__(
        self, version: str = "", services: Iterable[Service] = (), cis: Iterable[Ci] = ()
    ) -> None:
        """Index the rows. `version` is their digest, "" where none was loaded."""
        self.version = version
        self.services, self.cis = tuple(services), tuple(cis)
        self.dependencies = 0
        self._aliases: dict[str, str] = {}
        self._services: dict[str, Service] = {}
        self._part_of: dict[str, str] = {}  # thing → service, as it is spelled
        self._types: dict[str, str] = {}
        self._sites: dict[str, str] = {}
        self._above: dict[str, Strengths] = {}
        self._below: dict[str, Strengths] = {}
        self._ancestors: dict[str, Mapping[str, Reach]] = {}
        self._remembered = 0
        self._weights: dict[str, float] = {}
        all_rows: tuple[Service | Ci, ...] = (*self.services, *self.cis)
        rows = [(canonical_ci(row.name), row) for row in all_rows]
        self._known = {name: None for name, _ in rows}
        self._take_names(rows)
        for name, row in rows:
            self._take(name, row)

    def __len__(self) -> int:
        return len(self._known)

    # -- names ------------------------------------------------------------------------------

    def canonical(self, name: str) -> str:
        """The name everything goes by here; an unknown one in canonical spelling."""
        return self.resolve(canonical_ci(name))

    def resolve(self, name: str) -> str:
        """The same for a name in canonical spelling, such as an event's."""
        return self._aliases.get(name, name)

    def knows(self, name: str) -> bool:
        """Whether a canonical name has a row."""
        return name in self._known

    # -- what is known of a thing, by canonical name; "" where nothing is ----------------------

    def type_of(self, name: str) -> str:
        """What kind of thing it is, in the operator's words."""
        return self._types.get(name, "")

    def site_of(self, name: str) -> str:
        """Where it is."""
        return self._sites.get(name, "")

    def service_of(self, name: str) -> str:
        """The service it is part of, in the inventory's spelling; a service is its own."""
        return self._part_of.get(name, "")

    def service(self, name: str) -> Service | None:
        """The service of that name, however it is spelled."""
        return self._services.get(self.canonical(name)) if name and self._services else None

    def spelled(self, service: str) -> str:
        """A service's name in the inventory's spelling; an unknown one as it is."""
        found = self.service(service)
        return service if found is None else found.name

    # -- the graph, by canonical name -----------------------------------------------------------

    def depends_on(self, name: str) -> Mapping[str, float]:
        """What it depends on directly, with strengths, in the file's order."""
        return self._above.get(name, {})

    def ancestors(self, name: str) -> Mapping[str, Reach]:
        """All it depends on within MAX_HOPS and WEAKEST, in the order found; remembered."""
        found = self._ancestors.get(name)
        if found is None:
            if name not in self._known and name not in self._above:  # unknown ones have no bound
                return {}
            found = dict(_reached(self._above, name, MAX_HOPS, MAX_ANCESTORS))
            if name in self._sites:
                found[AT + self._sites[name]] = Reach(TOGETHER, 1, ())
            self._remembered += len(found) + 1
            if self._remembered > MAX_REMEMBERED:
                self._ancestors.clear()
                self._remembered = len(found) + 1
            self._ancestors[name] = found
        return found

    def dependants(self, name: str) -> Mapping[str, Reach]:
        """All that depends on it within HOPS_BELOW and WEAKEST, in the order found."""
        return _reached(self._below, name, HOPS_BELOW, len(self._known))

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

    def _take_names(self, rows: Iterable[tuple[str, Service | Ci]]) -> None:
        owners: dict[str, str] = {}
        for name, row in rows:
            for alias in map(canonical_ci, row.aliases):
                if alias not in self._known and owners.setdefault(alias, name) != name:
                    owners[alias] = ""
            if isinstance(row, Service):
                self._services.setdefault(name, row)
        self._aliases = {alias: name for alias, name in owners.items() if name}

    def _take(self, name: str, row: Service | Ci) -> None:
        if row.type:
            self._types.setdefault(name, row.type)
        if row.site and name not in self._sites:
            self._sites[name] = row.site
            site = AT + row.site
            self._weights[site] = self._weights.get(site, 0.0) + TOGETHER
        service = self.spelled(row.name if isinstance(row, Service) else row.service)
        if service:
            self._part_of.setdefault(name, service)
        for one in row.depends_on:
            needed = one if isinstance(one, Dependency) else Dependency(one)
            other = self.canonical(needed.name)
            if other == name:
                continue
            above = self._above.setdefault(name, {})
            self.dependencies += other not in above
            strength = REDUNDANT if needed.redundant else HARD
            above[other] = max(strength, above.get(other, 0.0))
            self._below.setdefault(other, {})[name] = above[other]


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
