"""Which selectors match an alert, without asking each: the cost follows the alert, not the set.

Each selector is filed under one matcher that a look-up can answer: an equality, a list of plain
alternatives, or a pattern (all patterns on a label are one RE2 set, matched in a single pass).
Only a selector without any of these is asked every time; `scanned` counts them.

Most alerts say nothing new in what the selectors read: for those the answer is remembered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

import re2

from eventd.core.model import Alert, Matcher
from eventd.core.rules.selectors import READERS, Test, compile_matcher, pattern_of

K = TypeVar("K")

_PLAIN = re.compile(r"[A-Za-z0-9 _\-:/]+(?:\|[A-Za-z0-9 _\-:/]+)*")  # eventd's own pattern
MAX_KNOWN = 4_096  # values of a label whose patterns are remembered, and answers of an index
MAX_READ = 16  # labels and fields that an answer may depend on to be remembered
# Fields as an answer depends on them, and those that nearly every alert has for itself.
_ATTRIBUTES = {**{name: name for name in (*READERS, "value")}, "alertname": "name"}
_ITS_OWN = frozenset({"ci", "summary", "value"})
SET_MEMORY = 256 << 20  # bytes RE2 may spend on the patterns of one label


class _Entry(NamedTuple, Generic[K]):
    order: int
    key: K
    tests: tuple[Test, ...]  # what is left to ask once the look-up has answered


class _Label(Generic[K]):
    """The selectors filed under one label: by value, and by pattern."""

    def __init__(self) -> None:
        self.equal: dict[str, list[_Entry[K]]] = {}
        self.patterns: list[tuple[str, _Entry[K]]] = []
        self._set: re2.Set | None = None
        # values repeat far more than they differ, and asking RE2 costs ten look-ups
        self._known: dict[str, list[_Entry[K]]] = {}

    def close(self) -> None:
        """All selectors are filed."""
        if self.patterns:
            self._set = _set_of(pattern for pattern, _ in self.patterns)

    def candidates(self, value: str) -> Sequence[_Entry[K]]:
        """Entries whose filed matcher accepts the value."""
        if self._set is None:
            return self.equal.get(value, ())
        known = self._known.get(value)
        if known is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            known = list(self.equal.get(value, ()))
            known += [self.patterns[at][1] for at in self._set.Match(value) or ()]
            self._known[value] = known
        return known


class SelectorIndex(Generic[K]):
    """Selectors by key; `matching` yields keys in the order they were added."""

    def __init__(self, entries: Iterable[tuple[K, Iterable[tuple[Matcher, ...]]]] = ()) -> None:
        """Each key comes with its selectors, of which any may match."""
        self._labels: dict[str, _Label[K]] = {}
        self._always: list[_Entry[K]] = []
        self._reads: dict[str, None] = {}
        self._answers: dict[tuple[object, ...], list[K]] = {}
        for order, (key, selectors) in enumerate(entries):
            for selector in selectors:
                self._file(order, key, selector)
        for filed in self._labels.values():
            filed.close()
        # an alert has every field and few labels: fields are read, labels looked up
        self._fields: list[tuple[Callable[[Alert], str], _Label[K]]] = [
            (READERS[name], self._labels.pop(name)) for name in READERS if name in self._labels
        ]
        self._what_counts = _what_counts(list(self._reads))

    @property
    def scanned(self) -> int:
        """How many selectors are asked for every alert."""
        return len(self._always)

    def matching(self, alert: Alert) -> list[K]:
        """Keys with a selector that matches, in the order they were added; not to be changed."""
        if self._what_counts is None:
            return self._look_up(alert)
        key = self._what_counts(alert)
        found = self._answers.get(key)
        if found is None:
            if len(self._answers) >= MAX_KNOWN:
                self._answers.clear()
            found = self._answers[key] = self._look_up(alert)
        return found

    def _look_up(self, alert: Alert) -> list[K]:
        candidates = self._always
        for read, field in self._fields:
            if filed := field.candidates(read(alert)):
                candidates = [*candidates, *filed]
        filed_under, labels = self._labels, alert.labels
        for name in filed_under if len(filed_under) < len(labels) else labels:
            if (
                (value := labels.get(name)) is not None
                and (label := filed_under.get(name)) is not None
                and (filed := label.candidates(value))
            ):
                candidates = [*candidates, *filed]
        found: dict[int, K] = {}
        for order, key, tests in candidates:
            for test in tests:
                if not test(alert):
                    break
            else:
                found[order] = key
        return [found[order] for order in sorted(found)]

    def _file(self, order: int, key: K, selector: tuple[Matcher, ...]) -> None:
        self._reads.update(dict.fromkeys(matcher.label for matcher in selector))
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
            self._labels.setdefault(matcher.label, _Label()).patterns.append((matcher.value, entry))
        else:
            filed = self._labels.setdefault(matcher.label, _Label())
            for value in values:
                filed.equal.setdefault(value, []).append(entry)

    def _cost(self, matcher: Matcher) -> tuple[int, int]:
        """How dear it is to file under this matcher: kind first, then how crowded its place is."""
        values = _values(matcher)
        if values is not None:
            filed = self._labels.get(matcher.label)
            if filed is None:
                return 0, 0
            return 0, max(len(filed.equal.get(value, ())) for value in values)
        if matcher.op == "=~" and not _matches_absent(matcher):
            return 1, 0
        return _ASKED, 0


_ASKED = 2


def _what_counts(names: list[str]) -> Callable[[Alert], tuple[object, ...]] | None:
    """Reads all that selectors on these names depend on; None where it is hardly ever the same."""
    if len(names) > MAX_READ or not _ITS_OWN.isdisjoint(names):
        return None
    labels = [name for name in names if name not in _ATTRIBUTES]
    fields = [_ATTRIBUTES[name] for name in names if name in _ATTRIBUTES]
    if not fields:
        return lambda alert: tuple(map(alert.labels.get, labels))
    of_fields = attrgetter(*fields)
    return lambda alert: (of_fields(alert), *map(alert.labels.get, labels))


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
    return matcher.label not in READERS and pattern_of(matcher.value).fullmatch("") is not None


def _set_of(patterns: Iterable[str]) -> re2.Set:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = SET_MEMORY
    built = re2.Set.FullMatchSet(options)
    for pattern in patterns:
        built.Add(pattern)
    built.Compile()
    return built
