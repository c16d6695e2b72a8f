"""Which firing alerts explain which others, as rules say it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from eventd.core.rules.inhibit import Role
from eventd.core.rules.sightings import Key

MAX_ROLES = 16  # of an alert; what further rules say of it does not count
MAX_CHAIN = 16  # alerts that explain one another

Place = tuple[str, Key]


class Sides(Struct):
    """Who stands where, in the order in which they came."""

    sources: dict[str, None]
    targets: dict[str, None]


class Explained:
    """The roles of firing alerts, and who stands on which side of which rule.

    Invariant: who fires no more has no role. Nothing explains what explains it, over however many
    rules.
    """

    def __init__(self, full: list[str]) -> None:
        """Nobody has a role; `full` is told when an alert has too many."""
        self._full = full
        self._roles: dict[str, tuple[Role, ...]] = {}
        self._sides: dict[Place, Sides] = {}
        self._by: dict[str, str] = {}  # who is explained → by whom

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
            sides = self._sides.setdefault((role.rule, role.key), Sides({}, {}))
            if role.explains:
                sides.sources[fingerprint] = None
            if role.explained:
                sides.targets[fingerprint] = None

    def source_of(self, fingerprint: str) -> tuple[Role, str] | None:
        """What explains the alert, the one that has stood there longest, and by which rule."""
        for role in self._roles.get(fingerprint, ()):
            if not role.explained:
                continue
            for source in self._sides[role.rule, role.key].sources:
                if role.explains and self._on_both(source, role):
                    continue
                if source != fingerprint and not self._follows_from(source, fingerprint):
                    return role, source
        return None

    def targets_of(self, roles: Iterable[Role]) -> list[str]:
        """Who may be explained by an alert with these roles."""
        found: dict[str, None] = {}
        for role in roles:
            sides = self._sides.get((role.rule, role.key))
            if role.explains and sides is not None:
                found |= sides.targets
        return list(found)

    def explain(self, fingerprint: str, source: str) -> None:
        """The alert is suppressed, as that one explains it."""
        self._by[fingerprint] = source

    def unexplain(self, fingerprint: str) -> None:
        """It is suppressed no more, or by something else."""
        self._by.pop(fingerprint, None)

    def by(self, fingerprint: str) -> str:
        """What the alert is suppressed by; "" where nothing explains it."""
        return self._by.get(fingerprint, "")

    def dump(self) -> list[object]:
        """Alerts with their roles, then who is explained, in order."""
        return [(f, roles, self._by.get(f, "")) for f, roles in self._roles.items()]

    def load(self, rows: Iterator[tuple[str, tuple[Role, ...], str]]) -> None:
        """Take up what `dump` gave."""
        for fingerprint, roles, source in rows:
            self.take(fingerprint, roles)
            if source:
                self._by[fingerprint] = source

    def _leave(self, fingerprint: str, role: Role) -> None:
        sides = self._sides[role.rule, role.key]
        sides.sources.pop(fingerprint, None)
        sides.targets.pop(fingerprint, None)
        if not sides.sources and not sides.targets:
            del self._sides[role.rule, role.key]

    def _on_both(self, source: str, role: Role) -> bool:
        """Whether it matches both sides of the rule."""
        return any(one.rule == role.rule and one.explained for one in self._roles[source])

    def _follows_from(self, source: str, fingerprint: str) -> bool:
        """Whether the source is explained by the alert itself, over others or not."""
        for _ in range(MAX_CHAIN):
            source = self._by.get(source, "")
            if source in {"", fingerprint}:
                return bool(source)
        return True
