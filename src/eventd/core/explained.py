"""Which firing alerts explain which others, as rules say it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from msgspec import Struct

from eventd.core.inventory import Inventory
from eventd.core.rules.inhibit import Role
from eventd.core.rules.sightings import Key

MAX_ROLES = 16  # of an alert; what further rules say of it does not count
MAX_CHAIN = 16  # alerts that explain one another
MAX_LOOKED = 64  # sources of a place that are looked at

Place = tuple[str, Key]


class Sides(Struct):
    """Who stands where, in the order in which they came."""

    sources: dict[str, None]  # and on no other side
    both: dict[str, None]
    targets: dict[str, None]  # and on no other side


class Explained:
    """The roles of firing alerts, and who stands on which side of which rule.

    Invariant: who fires no more has no role. Nothing explains what explains it, over however many
    rules.
    """

    def __init__(self, full: list[str]) -> None:
        """Nobody has a role; `full` is told when an alert has too many."""
        self._full = full
        self.inventory = Inventory()
        self._roles: dict[str, tuple[Role, ...]] = {}
        self._sides: dict[Place, Sides] = {}
        self._by: dict[str, str] = {}  # who is explained → by whom
        self._explains: dict[str, dict[str, None]] = {}  # the other way round

    def roles(self, fingerprint: str) -> tuple[Role, ...]:
        """What the alert is to which rules."""
        return self._roles.get(fingerprint, ())

    def take(self, fingerprint: str, roles: Iterable[Role]) -> None:
        """The alert has these roles from now on, and no others."""
        found = tuple(roles)
        full = len(found) > MAX_ROLES
        if full:
            found = found[:MAX_ROLES]
        if found == self._roles.get(fingerprint, ()):
            return
        if full:
            self._full.append("roles")
        for role in self._roles.pop(fingerprint, ()):
            self._leave(fingerprint, role)
        if found:
            self._roles[fingerprint] = found
        for role in found:
            sides = self._sides.setdefault((role.rule, role.key), Sides({}, {}, {}))
            _side(sides, role)[fingerprint] = None

    def source_of(self, fingerprint: str) -> tuple[Role, str] | None:
        """What explains the alert, and by which rule: the nearest, that has fired longest."""
        for role in self._roles.get(fingerprint, ()):
            if not role.explained:
                continue
            sources = (source for place in self._above(role) for source in self._at(place, role))
            for source in islice(sources, MAX_LOOKED):
                if source != fingerprint and not self._follows_from(source, fingerprint):
                    return role, source
        return None

    def explainable(self, fingerprint: str) -> list[str]:
        """Who may be explained by the alert, and was by none in its place."""
        found: dict[str, None] = {}
        for role in self._roles.get(fingerprint, ()):
            if not role.explains:
                continue
            own = self._sides[role.rule, role.key]
            others = len(own.sources) - 1
            if role.explained or role.hops:
                others += len(own.both)
            if others > 0:
                continue
            for place in self._below(role):
                if (sides := self._sides.get(place)) is None:
                    continue
                found |= sides.targets
                if role.hops or not role.explained:
                    found |= sides.both
        found.pop(fingerprint, None)
        return list(found)

    def explain(self, fingerprint: str, source: str) -> None:
        """The alert is suppressed, as that one explains it."""
        self.unexplain(fingerprint)
        self._by[fingerprint] = source
        self._explains.setdefault(source, {})[fingerprint] = None

    def unexplain(self, fingerprint: str) -> None:
        """It is suppressed no more, or by something else."""
        source = self._by.pop(fingerprint, None)
        if source is not None:
            explains = self._explains[source]
            del explains[fingerprint]
            if not explains:
                del self._explains[source]

    def by(self, fingerprint: str) -> str:
        """What the alert is suppressed by; "" where nothing explains it."""
        return self._by.get(fingerprint, "")

    def explained_by(self, source: str) -> list[str]:
        """What is suppressed as that one explains it."""
        return list(self._explains.get(source, ()))

    def dump(self) -> list[object]:
        """Alerts with their roles, then who is explained by whom, each in order."""
        roles: list[object] = [(f, roles, "") for f, roles in self._roles.items()]
        return roles + [(f, (), source) for f, source in self._by.items()]

    def load(self, rows: Iterator[tuple[str, tuple[Role, ...], str]]) -> None:
        """Take up what `dump` gave."""
        for fingerprint, roles, source in rows:
            if source:
                self.explain(fingerprint, source)
            else:
                self.take(fingerprint, roles)

    # -- parts ------------------------------------------------------------------------------------

    def _leave(self, fingerprint: str, role: Role) -> None:
        sides = self._sides[role.rule, role.key]
        del _side(sides, role)[fingerprint]
        if not sides.sources and not sides.both and not sides.targets:
            del self._sides[role.rule, role.key]

    def _at(self, place: Place, role: Role) -> Iterable[str]:
        """The sources there for one in that role.

        As in Alertmanager, what matches both sides of a rule is inhibited by nothing that does so
        too; but what is down depends on what is down.
        """
        sides = self._sides.get(place)
        if sides is None:
            return ()
        if role.explains and not role.hops:
            return sides.sources
        return chain(sides.sources, sides.both)

    def _above(self, role: Role) -> Iterator[Place]:
        """Where its sources are, the nearest first."""
        if not role.hops:
            yield role.rule, role.key
            return
        for ci, reach in self.inventory.ancestors(role.key[0]).items():
            if reach.hops <= role.hops and role.strong <= reach.strength:
                yield role.rule, (ci,)

    def _below(self, role: Role) -> Iterator[Place]:
        """Where its targets are."""
        if not role.hops:
            yield role.rule, role.key
            return
        for ci, reach in self.inventory.dependants(role.key[0]).items():
            if reach.hops <= role.hops and role.strong <= reach.strength:
                yield role.rule, (ci,)

    def _follows_from(self, source: str, fingerprint: str) -> bool:
        """Whether the source is explained by the alert itself, over others or not."""
        for _ in range(MAX_CHAIN):
            source = self._by.get(source, "")
            if source in {"", fingerprint}:
                return bool(source)
        return True


def _side(sides: Sides, role: Role) -> dict[str, None]:
    if role.explains:
        return sides.both if role.explained else sides.sources
    return sides.targets
