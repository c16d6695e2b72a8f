"""`dependency`: what depends on something that is down says nothing new.

As `inhibit`, but source and target are tied by the inventory and not by labels.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from eventd.core.inventory import least_strength
from eventd.core.model import Alert
from eventd.core.rules.inhibit import SOURCE, TARGET, Explaining, Role
from eventd.core.rules.rule import Kind, Limits, Parts, Rule, Written


class Spec(Kind, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What says that a CI is down, and what is explained by that, so many hops below it."""

    keyless: ClassVar[bool] = True
    default_within: ClassVar[float | None] = 10.0

    source: Written
    target: Written = 'ci!=""'
    hops: Annotated[int, Meta(ge=1, le=3)] = 3
    redundant: bool = False  # also where something else can stand in

    def written(self) -> tuple[tuple[str, Written], ...]:
        return (("source", self.source), ("target", self.target))


class State(Explaining):
    """Says which side of the rule an alert is on."""

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """`limits` are for kinds that remember."""
        if not isinstance(rule.spec, Spec):
            raise TypeError(rule.kind)
        super().__init__(rule, limits)
        self._of_rule = Parts(rule.parts)
        hops = self._hops = rule.spec.hops
        self._strong = least_strength(hops, redundant=rule.spec.redundant)

    def role(self, alert: Alert) -> Role:
        sides = self._of_rule.of(alert)
        source, target = SOURCE in sides, TARGET in sides
        return Role(self.rule.name, (alert.ci,), source, target, self._hops, self._strong)
