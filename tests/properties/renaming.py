"""Other names for everything: in the same order, and with the same digits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import Random
from string import ascii_lowercase

import msgspec
from msgspec.structs import replace
from tests.builders import Feed

from eventd.core.labels import fingerprint_of
from eventd.core.model import Ci, Dependency, Event, Fact, Input, LoadInventory

WORD = re.compile("[a-z]+")
NAME = re.compile("[a-z0-9]+")


class Renaming:
    """Each run of letters in the names of CIs and checks becomes another."""

    def __init__(self, feed: Feed, random: Random) -> None:
        items = [item for _, item in feed]
        self.names = {name for item in items for name in _names(item)}
        self.fingerprints: dict[str, str] = {}
        runs = sorted({run for name in self.names for run in WORD.findall(name)})
        made: set[str] = set()
        while len(made) < len(runs):
            made.add("".join(random.choices(ascii_lowercase, k=random.randint(1, 5))))
        self.words = dict(zip(runs, sorted(made), strict=True))

    def name(self, name: str) -> str:
        """The new one."""
        return WORD.sub(lambda found: self.words.get(found[0], found[0]), name)

    def feed(self, feed: Feed) -> Feed:
        """The same with the new names."""
        return [(now, self._item(item)) for now, item in feed]

    def values(self, facts: Iterable[Fact]) -> object:
        """Facts as plain data, with the new names."""
        return self._value(msgspec.to_builtins(list(facts)))

    def _item(self, item: Input) -> Input:
        match item:
            case Event():
                name, ci = self.name(item.name), self.name(item.ci)
                fingerprint = fingerprint_of(item.source, name, ci, item.service, {}, ())
                self.fingerprints[item.fingerprint] = fingerprint
                return replace(item, name=name, ci=ci, fingerprint=fingerprint)
            case LoadInventory():
                return replace(item, cis=tuple(map(self._ci, item.cis)))
            case _:
                return item

    def _ci(self, ci: Ci) -> Ci:
        needs = tuple(
            Dependency(self.name(one.name), one.redundant)
            if isinstance(one, Dependency)
            else self.name(one)
            for one in ci.depends_on
        )
        return replace(ci, name=self.name(ci.name), depends_on=needs)

    def _value(self, value: object) -> object:
        match value:
            case str():
                known = self.fingerprints.get(value, value)
                return NAME.sub(self._text, known) if known == value else known
            case list() | tuple():
                return type(value)(self._value(one) for one in value)
            case dict():
                return {self._value(key): self._value(one) for key, one in value.items()}
            case _:
                return value

    def _text(self, found: re.Match[str]) -> str:
        return self.name(found[0]) if found[0] in self.names else found[0]


def _names(item: Input) -> Iterable[str]:
    match item:
        case Event():
            return (item.name, item.ci)
        case LoadInventory():
            return [ci.name for ci in item.cis]
        case _:
            return ()
