"""The inventory as operators write it: read strictly, and examined for what it lacks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from eventd.complaints import Shape, complaint, likely, shown
from eventd.core.inventory import HARD, Inventory
from eventd.core.labels import canonical_ci
from eventd.core.model import Ci, Dependency, LoadInventory, Service
from eventd.core.rules.rule import decode_hook
from eventd.document import Document, first_key, read
from eventd.errors import ConfigError

MAX_FILE = 64 << 20  # bytes; DESIGN §8
KEYS = ("services", "cis")
SUGGESTED = 20  # findings that come with the name that was perhaps meant: it takes a search each

R = TypeVar("R", Service, Ci)


class Finding(NamedTuple):
    """What an inventory that can be loaded still lacks."""

    line: str  # file, line, path, what is wrong, what to do
    fault: bool = True  # False: it may well be meant so


class Written(NamedTuple):
    """An inventory file that can be loaded."""

    document: Document
    load: LoadInventory


def read_inventory(path: Path) -> Written:
    """The inventory of a file. Raises ConfigError with every problem, one line each."""
    document = read(path, MAX_FILE)
    data = document.data
    problems: list[str] = []
    if not isinstance(data, dict):
        message = f"expected a mapping, got {shown(data)}"
        raise ConfigError([document.complain("", message, "services: [...] and cis: [...]")])
    for key in data:
        if key not in KEYS:
            hint = likely(key, list(KEYS))
            problems.append(document.complain(key, f"unknown key {key!r}", hint))
    services = tuple(_rows(document, "services", Service, problems))
    cis = tuple(_rows(document, "cis", Ci, problems))
    if problems:
        raise ConfigError(problems)
    version = hashlib.sha256(msgspec.msgpack.encode((services, cis))).hexdigest()[:16]
    return Written(document, LoadInventory(version, services, cis))


def is_inventory(path: Path) -> bool:
    """Whether a file begins as an inventory does; False also where it cannot be read."""
    return first_key(path) in KEYS


def examine(written: Written) -> Iterator[Finding]:
    """Names that lead nowhere or to two things, circles, CIs that no service needs."""
    document, load = written
    inventory = Inventory(load.version, load.services, load.cis)
    examined = _Examination(document, inventory)
    yield from examined.twice()
    yield from examined.aliases()
    yield from examined.names()
    yield from examined.circles()
    yield from examined.idle()


def _rows(document: Document, key: str, kind: type[R], problems: list[str]) -> Iterator[R]:
    data = document.data
    rows = data.get(key, []) if isinstance(data, dict) else []
    if not isinstance(rows, list):
        message = f"expected a list, got {shown(rows)}"
        problems.append(document.complain(key, message, "begin each entry with a dash"))
        return
    shape = Shape(kind, decode_hook)
    for index, row in enumerate(rows):
        try:
            yield msgspec.convert(row, kind)
        except msgspec.ValidationError as error:
            sentence, _, where = str(error).partition(" - at `")
            where = where.rstrip("`").removeprefix("$").removeprefix(".")
            inner, message, hint = complaint(sentence, where, row, shape)
            joint = "" if not inner or inner.startswith("[") else "."
            path = f"{key}[{index}]{joint}{inner}"
            problems.append(document.complain(path, message, hint))


def _paths(
    services: tuple[Service, ...], cis: tuple[Ci, ...]
) -> Iterator[tuple[str, Service | Ci]]:
    """Rows and their paths."""
    for index, service in enumerate(services):
        yield f"services[{index}]", service
    for index, ci in enumerate(cis):
        yield f"cis[{index}]", ci


class _Examination:
    """What is there to find in an inventory."""

    def __init__(self, document: Document, inventory: Inventory) -> None:
        self._document, self._inventory = document, inventory
        self._rows = tuple(_paths(inventory.services, inventory.cis))
        self._places: dict[str, str] = {}
        for path, row in self._rows:
            self._places.setdefault(canonical_ci(row.name), path)
        self._suggested = 0

    def twice(self) -> Iterator[Finding]:
        """Names that have two rows: events and dependencies cannot tell them apart."""
        for path, row in self._rows:
            first = self._places[canonical_ci(row.name)]
            if first != path:
                line = self._document.line_of(first)
                message = f"{shown(row.name)} stands at line {line} already: the two are one"
                hint = "rename one; case, port and domain make no difference"
                yield self._found(f"{path}.name", message, hint)
            if isinstance(row, Service) and row.service and not self._is_own(row):
                message = f"a service is part of no other, got {shown(row.service)}"
                yield self._found(f"{path}.service", message, "use depends_on")

    @staticmethod
    def _is_own(row: Service) -> bool:
        return canonical_ci(row.service) == canonical_ci(row.name)

    def aliases(self) -> Iterator[Finding]:
        """Aliases that are somebody else's too."""
        owners: dict[str, str] = {}
        for path, row in self._rows:
            name = canonical_ci(row.name)
            for index, alias in enumerate(row.aliases):
                said = canonical_ci(alias)
                if said == name:
                    continue
                owner = self._places.get(said) or owners.setdefault(said, path)
                if owner != path:
                    line = self._document.line_of(owner)
                    message = f"{shown(alias)} means what stands at line {line}"
                    hint = "give it to one of them"
                    yield self._found(f"{path}.aliases[{index}]", message, hint)

    def names(self) -> Iterator[Finding]:
        """Dependencies and services that nobody has written down."""
        inventory = self._inventory
        for path, row in self._rows:
            name = canonical_ci(row.name)
            if isinstance(row, Ci) and row.service and inventory.service(row.service) is None:
                message = f"no service is called {shown(row.service)}"
                services = [one.name for one in inventory.services]
                yield self._found(f"{path}.service", message, self._meant(row.service, services))
            for index, one in enumerate(row.depends_on):
                needed = one.name if isinstance(one, Dependency) else one
                where = f"{path}.depends_on[{index}]"
                if inventory.canonical(needed) == name:
                    yield self._found(where, "it depends on itself", "leave it out")
                elif not inventory.knows(inventory.canonical(needed)):
                    message = f"nothing is called {shown(needed)}"
                    known = [row.name for _, row in self._rows]
                    yield self._found(where, message, self._meant(needed, known))

    def circles(self) -> Iterator[Finding]:
        """Circles of hard dependencies: where all fail together, no root can be told."""
        inventory = self._inventory
        hard = {
            name: [one for one, strength in inventory.depends_on(name).items() if strength == HARD]
            for name in self._places
        }
        for circle in _circles(hard):
            way = " → ".join((*circle, circle[0]))
            message = f"depends on itself: {way}"
            hint = "take one out, or mark it redundant"
            yield self._found(f"{self._places[circle[0]]}.depends_on", message, hint)

    def idle(self) -> Iterator[Finding]:
        """CIs of which nobody can say whom they matter to: of no service, needed by none."""
        inventory = self._inventory
        needed = {canonical_ci(one.name): None for one in inventory.services}
        needed |= {name: None for name in self._places if inventory.service_of(name)}
        waiting = list(needed)
        while waiting:
            for one in inventory.depends_on(waiting.pop()):
                if one not in needed:
                    needed[one] = None
                    waiting.append(one)
        for name, path in self._places.items():
            if name not in needed:
                message = f"{name} is of no service, and no service needs it"
                hint = "name its service, if it has one"
                yield Finding(self._document.complain(path, message, hint), fault=False)

    def _found(self, path: str, message: str, hint: str) -> Finding:
        return Finding(self._document.complain(path, message, hint))

    def _meant(self, name: str, known: list[str]) -> str:
        self._suggested += 1
        near = likely(name, known) if self._suggested <= SUGGESTED else ""
        return near if near.startswith("did") else "write it down, or mend the name"


def _circles(edges: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """Ways from a name back to it, none of two beginning with the same name."""
    done: dict[str, None] = {}
    told: dict[str, None] = {}
    for start in edges:
        way = {} if start in done else {start: iter(edges[start])}
        while way:
            name, rest = next(reversed(way.items()))
            needed = next(rest, None)
            if needed is None:
                done[name] = None
                del way[name]
            elif needed not in way:
                if needed not in done:
                    way[needed] = iter(edges.get(needed, ()))
            elif needed not in told:
                names = list(way)
                circle = names[names.index(needed) :]
                told[needed] = None
                yield circle
