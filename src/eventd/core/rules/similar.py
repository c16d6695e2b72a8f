"""`similar`: the same on things that are named alike, on so many of them within so long."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta
from msgspec.structs import replace

from eventd.core.labels import shape
from eventd.core.rules import threshold
from eventd.core.rules.rule import Grouping, Limits, Matching, Rule
from eventd.core.rules.selectors import Labelled

NAME, ALIKE = "name", "alike"  # what tells groups apart, beside the labels of `by`


class Spec(Matching, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """On how many CIs."""

    by_itself: ClassVar[bool] = True

    count: Annotated[int, Meta(ge=2, le=10_000)] = 3


class Shapes(Grouping):
    """What tells groups apart: the labels, the alert's name, and what its CI's name looks like."""

    def __init__(self, by: tuple[str, ...]) -> None:
        """In the order the rule names them."""
        super().__init__((*by, NAME, ALIKE))
        self._labels = Grouping(by)

    def of(self, alert: Labelled) -> tuple[str, ...] | None:
        """None where it names no CI, or lacks a label."""
        values = self._labels.of(alert)
        if values is None or not alert.ci:
            return None
        return (*values, alert.name, shape(alert.ci))


class State(threshold.State):
    """The CIs of each name and shape, counted as different values of a label are."""

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """Nothing seen yet."""
        if not isinstance(rule.spec, Spec):
            raise TypeError(rule.kind)
        counting = threshold.Spec(rule.spec.match, count=rule.spec.count, distinct="ci")
        super().__init__(replace(rule, spec=counting), limits)
        self.rule = rule
        self._grouping = Shapes(rule.by)
