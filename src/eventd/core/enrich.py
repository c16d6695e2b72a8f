"""What the inventory adds to an event: the canonical CI, its service, and what it lacks."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from eventd.core.inventory import Inventory
from eventd.core.labels import fingerprint_of
from eventd.core.model import Event, Window

MAX_PLACES = 65_536  # pairs of CI and service remembered; at the cap all are looked up anew
MAX_UNKNOWN = 10_000  # names that are counted; at the cap the rarer half is forgotten
MAX_KNOWN_AS = 100_000  # identities by alias; at the cap all are forgotten

Name = tuple[str, str]  # "ci" or "service", and the name


class Place(Struct, frozen=True, gc=False):
    """Where an event belongs: CI and service as the inventory has them."""

    ci: str
    service: str
    unknown: tuple[Name, ...]  # what of it the inventory lacks
    moved: bool  # the event says it otherwise, or not at all
    plain: bool  # neither: nothing is to do


class Enrichment:
    """The inventory in force, and the names of events that it lacks.

    Invariant: nothing is counted while there is no inventory, and nothing that is known.
    """

    def __init__(self) -> None:
        """No inventory."""
        self.unknown: dict[Name, int] = {}  # → how many events named it
        # fingerprint of an event by alias → alert and episode it fired: its clear must find them
        # whatever the alias leads to by then
        self.known_as: dict[str, tuple[str, int]] = {}
        self.load(Inventory())

    def load(self, inventory: Inventory) -> None:
        """Another inventory is in force; what it knows is no longer unknown."""
        self.inventory = inventory
        self.active = len(inventory) > 0 or len(self.known_as) > 0
        self._places: dict[Name, Place] = {}  # by CI and service as events have them
        self.restore((*name, n) for name, n in self.unknown.items())

    def know(self, said: str, fingerprint: str, episode: int) -> bool:
        """An event by alias fired the episode. True where all others had to be forgotten."""
        full = len(self.known_as) >= MAX_KNOWN_AS and said not in self.known_as
        if full:
            self.known_as.clear()
        self.known_as[said] = (fingerprint, episode)
        return full

    def restore(self, counted: Iterable[tuple[str, str, int]]) -> None:
        """Take up what was counted, as far as it is unknown still."""
        self.unknown = {
            (kind, name): count for kind, name, count in counted if self._lacks(kind, name)
        }

    def place(self, event: Event) -> Place:
        """Where the event belongs."""
        key = (event.ci, event.service)
        place = self._places.get(key)
        if place is None:
            if len(self._places) >= MAX_PLACES:
                self._places.clear()
            place = self._places[key] = self._look_up(*key)
        return place

    def count(self, names: Iterable[Name]) -> bool:
        """An event named what is unknown. True where others had to be forgotten for it."""
        unknown = self.unknown
        for name in names:
            unknown[name] = unknown.get(name, 0) + 1
        if len(unknown) <= MAX_UNKNOWN:
            return False
        most = sorted(unknown.items(), key=lambda one: one[1], reverse=True)
        self.unknown = dict(most[: MAX_UNKNOWN // 2])
        return True

    def window(self, window: Window) -> Window:
        """A maintenance window over CIs and services as alerts have them."""
        inventory = self.inventory
        return Window(
            window.starts_at,
            window.ends_at,
            tuple(map(inventory.resolve, window.cis)),
            tuple(map(inventory.spelled, window.services)),
        )

    def _look_up(self, ci: str, service: str) -> Place:
        found = self.inventory.resolve(ci)
        named = self.inventory.spelled(service) or self.inventory.service_of(found)
        said = (("ci", found), ("service", service))
        unknown = tuple((kind, name) for kind, name in said if self._lacks(kind, name))
        moved = (found, named) != (ci, service)
        return Place(found, named, unknown, moved, plain=not moved and not unknown)

    def _lacks(self, kind: str, name: str) -> bool:
        if not name or not len(self.inventory):
            return False
        if kind == "service":
            return self.inventory.service(name) is None
        return not self.inventory.knows(name)


def identity(event: Event, place: Place) -> str:
    """The event's fingerprint at its place.

    It follows the CI, so that one alert under two names is one, unless the sender gave it. It does
    not follow the service: which one a CI is part of may change any day.
    """
    if event.volatile is None or place.ci == event.ci:
        return event.fingerprint
    return fingerprint_of(
        event.source, event.name, place.ci, event.service, event.labels, event.volatile
    )
