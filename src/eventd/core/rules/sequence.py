"""`sequence`: one after the other, within so long, and nothing unwanted in between."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from msgspec import Meta

from eventd.core.model import Because, Sequenced
from eventd.core.rules.pattern import Near, Part, Pattern, check_names, numbered, since, title_of
from eventd.core.rules.rule import Kind, Limits, Rule, Written
from eventd.core.rules.sightings import Sighting
from eventd.errors import RuleError


class Step(Part, frozen=True, forbid_unknown_fields=True):
    """What follows; `without`: what must not come between the step before and this one."""

    without: Written | None = None


class Spec(Kind, frozen=True, forbid_unknown_fields=True):
    """What happens, in order."""

    steps: Annotated[tuple[Step, ...], Meta(min_length=2, max_length=16)]

    def written(self) -> tuple[tuple[str, Written], ...]:
        """The steps, then what must not come before each."""
        unwanted = [
            (f"steps[{n}].without", step.without)
            for n, step in enumerate(self.steps)
            if step.without is not None
        ]
        return (*((f"steps[{n}].match", s.match) for n, s in enumerate(self.steps)), *unwanted)

    def names(self) -> dict[str, int]:
        return numbered(self.steps)

    def check(self) -> None:
        check_names(self.steps, "steps")
        if self.steps[0].without is not None:
            message = "nothing comes before the first step"
            raise RuleError("steps[0].without", message, "write it at the step it must not precede")


class State(Pattern):
    """The steps seen lately, by key."""

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """Nothing seen yet."""
        if not isinstance(rule.spec, Spec):
            raise TypeError(rule.kind)
        steps = rule.spec.steps
        super().__init__(rule, limits, steps)
        unwanted = [n for n, step in enumerate(steps) if step.without is not None]
        # step → the part that must not be seen before it
        self._without = {step: len(steps) + n for n, step in enumerate(unwanted)}
        self.waits = bool(unwanted)
        self._last = len(steps) - 1

    def can_end(self, row: Sighting) -> bool:
        """The last step ends it."""
        return self._last in row.parts

    def begins(self, rows: list[Sighting], end: int) -> int | None:
        """Back from the end, each step as late as it can be: if that does not hold, nothing does.

        The first step may have been seen earlier, too.
        """
        first = since(rows, end, self.within)
        wall: datetime | None = None  # what must not come between was last seen then
        lowest, at = wall, end
        for step in range(self._last, -1, -1):
            ended = next((n for n in range(at, first - 1, -1) if step in rows[n].parts), None)
            if ended is None or (wall is not None and rows[ended].at < wall):
                return None
            picked = self._pick(rows, range(ended, first - 1, -1), step)
            if picked is None:
                return None
            lowest, wall = wall, self._wall(rows, ended, first, step)
            at = picked - 1
        if self.parts[0].count > 1:
            lowest = None
        return next(
            n
            for n in range(first, end + 1)
            if 0 in rows[n].parts and (lowest is None or rows[n].at >= lowest)
        )

    def near(self, rows: list[Sighting], begin: int) -> Near | None:
        """Forward from the first step, each step as early as it can be."""
        if 0 not in rows[begin].parts:
            return None
        over = rows[begin].at + self.within
        step, count, last = 0, 0, rows[begin]
        have: dict[str | int, None] = {}
        for n in range(begin, len(rows)):
            row = rows[n]
            if row.at >= over:
                break
            if max(row.parts) > self._last:
                return None  # it is no matter of time
            if step not in row.parts or (mark := self.mark(row, n, step)) in have:
                continue
            have[mark] = None
            count, last = count + 1, row
            if len(have) == self.parts[step].count:
                step, have = step + 1, {}
        if count != self.needed - 1:
            return None
        late = next((r for r in rows[begin:] if r.at >= over and self._last in r.parts), None)
        return Near(self._last, last, late)

    def reason(self, group: dict[str, str], rows: Sequence[Sighting]) -> Because:
        """The steps, and how long they took."""
        took = (rows[-1].at - rows[0].at).total_seconds()
        steps = tuple((title_of(step), step.count) for step in self.parts)
        return Sequenced(self.rule.name, group, steps, took, self.rule.within)

    def _pick(self, rows: list[Sighting], back: range, step: int) -> int | None:
        """The earliest of so many rows of the step, each as late as it can be."""
        have: dict[str | int, None] = {}
        for n in back:
            if step in rows[n].parts:
                have[self.mark(rows[n], n, step)] = None
                if len(have) == self.parts[step].count:
                    return n
        return None

    def _wall(self, rows: list[Sighting], ended: int, first: int, step: int) -> datetime | None:
        """When what must not come before the step was last seen before its end."""
        unwanted, over = self._without.get(step), rows[ended].at
        back = (rows[n] for n in range(ended, first - 1, -1))
        return next((r.at for r in back if unwanted in r.parts and r.at < over), None)
