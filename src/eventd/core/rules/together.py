"""`all`: several sorts of alert, so many of each, within so long and in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from eventd.core.model import Because, Gathered
from eventd.core.rules.pattern import Near, Part, Pattern, check_names, numbered, since, title_of
from eventd.core.rules.rule import Kind, Limits, Rule, Written
from eventd.core.rules.sightings import Sighting


class Spec(Kind, frozen=True, forbid_unknown_fields=True):
    """What has to be seen; what is of two parts counts for both."""

    parts: Annotated[tuple[Part, ...], Meta(min_length=2, max_length=16)]

    def written(self) -> tuple[tuple[str, Written], ...]:
        return tuple((f"parts[{n}].match", part.match) for n, part in enumerate(self.parts))

    def names(self) -> dict[str, int]:
        return numbered(self.parts)

    def check(self) -> None:
        check_names(self.parts, "parts")


class State(Pattern):
    """What was seen of each part lately, by key."""

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """Nothing seen yet."""
        if not isinstance(rule.spec, Spec):
            raise TypeError(rule.kind)
        super().__init__(rule, limits, rule.spec.parts)

    def can_end(self, row: Sighting) -> bool:
        """Whatever comes last."""
        return True

    def begins(self, rows: list[Sighting], end: int) -> int | None:
        """The whole window, where enough of each is in it."""
        first = since(rows, end, self.within)
        counts = self._count(rows, range(first, end + 1))
        enough = all(part.count <= counts[n] for n, part in enumerate(self.parts))
        return first if enough else None

    def near(self, rows: list[Sighting], begin: int) -> Near | None:
        """What one part lacks by one."""
        over = rows[begin].at + self.within
        end = next((n for n in range(begin, len(rows)) if rows[n].at >= over), len(rows))
        counts = self._count(rows, range(begin, end))
        lacks = {n: part.count - counts[n] for n, part in enumerate(self.parts)}
        short = [n for n, lack in lacks.items() if lack > 0]
        if len(short) != 1 or lacks[short[0]] != 1:
            return None
        late = next((row for row in rows[end:] if short[0] in row.parts), None)
        return Near(short[0], rows[end - 1], late)

    def reason(self, group: dict[str, str], rows: Sequence[Sighting]) -> Because:
        """How many were seen of each."""
        counts = self._count(rows, range(len(rows)))
        parts = tuple((title_of(part), counts[n]) for n, part in enumerate(self.parts))
        return Gathered(self.rule.name, group, parts, self.rule.within)

    def _count(self, rows: Sequence[Sighting], window: range) -> list[int]:
        """How many alerts, or events, of each part are in the window."""
        marks: list[dict[str | int, None]] = [{} for _ in self.parts]
        for n in window:
            for part in rows[n].parts:
                marks[part][self.mark(rows[n], n, part)] = None
        return list(map(len, marks))
