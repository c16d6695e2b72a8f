"""Which selectors match an alert, without asking each: the cost follows the alert, not the set.

Each selector is filed under one matcher that a look-up can answer: an equality, a list of plain
alternatives, or a pattern (all patterns on a label are one RE2 set, matched in a single pass).
Only a selector without any of these is asked every time; `scanned` counts them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

import re2

from eventd.core.model import Alert, Matcher
from eventd.core.rules.selectors import FIELDS, Test, compile_matcher, field_of, pattern_of

K = TypeVar("K")

_FIXED = (*FIELDS, "alertname", "severity")
_PLAIN = re.compile(r"[A-Za-z0-9 _\-:/]+(?:\|[A-Za-z0-9 _\-:/]+)*")  # eventd's own pattern
SET_MEMORY = 256 << 20  # bytes RE2 may spend on the patterns of one label


class _Entry(NamedTuple, Generic[K]):
    order: int
    key: K
    tests: tuple[Test, ...]  # what is left to ask once the look-up has answered


class SelectorIndex(Generic[K]):
    """Selectors by key; `matching` yields keys in the order they were added."""

    def __init__(self, entries: Iterable[tuple[K, Iterable[tuple[Matcher, ...]]]] = ()) -> None:
        """Each key comes with its selectors, of which any may match."""
        self._equal: dict[str, dict[str, list[_Entry[K]]]] = {}
        self._patterns: dict[str, list[tuple[str, _Entry[K]]]] = {}
        self._always: list[_Entry[K]] = []
        self._sets: dict[str, re2.Set] = {}
        for order, (key, selectors) in enumerate(entries):
            for selector in selectors:
                self._file(order, key, selector)
        for label, patterns in self._patterns.items():
            self._sets[label] = _set_of(pattern for pattern, _ in patterns)

    @property
    def scanned(self) -> int:
        """How many selectors are asked for every alert."""
        return len(self._always)

    def matching(self, alert: Alert) -> list[K]:
        """Keys with a selector that matches."""
        found: dict[int, K] = {}
        for entry in self._always:
            self._ask(entry, alert, found)
        equal, sets = self._equal, self._sets
        for label in _FIXED:
            if label in equal or label in sets:
                self._look_up(label, field_of(alert, label), alert, found)
        for label, value in alert.labels.items():
            if (label in equal or label in sets) and label not in _FIXED:
                self._look_up(label, value, alert, found)
        if len(found) < 2:  # noqa: PLR2004 - nothing to sort
            return list(found.values())
        return [found[order] for order in sorted(found)]

    def _look_up(self, label: str, value: str, alert: Alert, found: dict[int, K]) -> None:
        table = self._equal.get(label)
        if table is not None:
            for entry in table.get(value, ()):
                self._ask(entry, alert, found)
        patterns = self._sets.get(label)
        if patterns is not None:
            filed = self._patterns[label]
            for position in patterns.Match(value) or ():
                self._ask(filed[position][1], alert, found)

    @staticmethod
    def _ask(entry: _Entry[K], alert: Alert, found: dict[int, K]) -> None:
        if entry.order not in found and all(test(alert) for test in entry.tests):
            found[entry.order] = entry.key

    def _file(self, order: int, key: K, selector: tuple[Matcher, ...]) -> None:
        anchor = min(range(len(selector)), key=lambda i: self._cost(selector[i]), default=None)
        if anchor is None or self._cost(selector[anchor])[0] >= _ASKED:
            tests = tuple(compile_matcher(m) for m in selector)
            self._always.append(_Entry(order, key, tests))
            return
        rest = tuple(compile_matcher(m) for i, m in enumerate(selector) if i != anchor)
        entry = _Entry(order, key, rest)
        matcher = selector[anchor]
        values = _values(matcher)
        if values is None:
            self._patterns.setdefault(matcher.label, []).append((matcher.value, entry))
        else:
            table = self._equal.setdefault(matcher.label, {})
            for value in values:
                table.setdefault(value, []).append(entry)

    def _cost(self, matcher: Matcher) -> tuple[int, int]:
        """How dear it is to file under this matcher: kind first, then how crowded its place is."""
        values = _values(matcher)
        if values is not None:
            table = self._equal.get(matcher.label, {})
            return 0, max(len(table.get(value, ())) for value in values)
        if matcher.op == "=~" and not _matches_absent(matcher):
            return 1, 0
        return _ASKED, 0


_ASKED = 2


def _values(matcher: Matcher) -> tuple[str, ...] | None:
    """The only texts the matcher accepts, or None where they cannot be listed."""
    if matcher.label in {"severity", "value"}:
        return None
    if matcher.op == "=" and matcher.value:
        return (matcher.value,)
    if matcher.op == "=~" and _PLAIN.fullmatch(matcher.value):
        return tuple(dict.fromkeys(matcher.value.split("|")))
    return None


def _matches_absent(matcher: Matcher) -> bool:
    """True for a pattern that also accepts alerts without the label: no look-up finds those."""
    return matcher.label not in _FIXED and pattern_of(matcher.value).fullmatch("") is not None


def _set_of(patterns: Iterable[str]) -> re2.Set:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = SET_MEMORY
    built = re2.Set.FullMatchSet(options)
    for pattern in patterns:
        built.Add(pattern)
    built.Compile()
    return built
