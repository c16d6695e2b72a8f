"""`inhibit`: while one alert fires, others say nothing new.

The semantics are Alertmanager's: a target is inhibited while a source fires whose `equal` labels
have the same values, a label that both lack included; what matches both sides is inhibited by
nothing that does so too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from eventd.core.model import Alert
from eventd.core.rules.rule import Forgetful, Kind, Limits, Parts, Rule, Written
from eventd.core.rules.selectors import reader_of
from eventd.core.rules.sightings import Key

SOURCE, TARGET = 0, 1


class Spec(Kind, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What explains what, where these labels are equal."""

    keyless: ClassVar[bool] = True
    default_within: ClassVar[float | None] = 10.0

    source: Written
    target: Written
    equal: Annotated[tuple[str, ...], Meta(max_length=8)] = ()

    def written(self) -> tuple[tuple[str, Written], ...]:
        return (("source", self.source), ("target", self.target))


class Role(Struct, frozen=True, gc=False, array_like=True):
    """What an alert is to a rule."""

    rule: str
    key: Key
    explains: bool
    explained: bool
    hops: int = 0  # along dependencies between the two; 0: none, their keys are equal
    strong: float = 0.0  # how strong the path has to be, at least


class Explaining(Forgetful, ABC):
    """A rule that says which alerts explain which others."""

    @abstractmethod
    def role(self, alert: Alert) -> Role:
        """Of an alert that one of its selectors matches."""


class State(Explaining):
    """Says which side of the rule an alert is on; who stands there is remembered for all rules.

    It is asked before an alert is judged, and finds nothing.
    """

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """`limits` are for kinds that remember."""
        if not isinstance(rule.spec, Spec):
            raise TypeError(rule.kind)
        super().__init__(rule, limits)
        self._of_rule = Parts(rule.parts)
        self._readers = tuple(map(reader_of, rule.spec.equal))

    def role(self, alert: Alert) -> Role:
        sides = self._of_rule.of(alert)
        key = tuple([read(alert) for read in self._readers])
        return Role(self.rule.name, key, SOURCE in sides, TARGET in sides)
