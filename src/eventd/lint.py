"""What is doubtful in rules that can be loaded, as far as the rules themselves tell."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from eventd.core.model import Alert, Matcher, Severity, Status
from eventd.core.rules import LISTS, parse
from eventd.core.rules.index import SelectorIndex
from eventd.core.rules.rule import Rule
from eventd.core.rules.selectors import READERS, compile_matcher, pattern_of
from eventd.document import Document, read
from eventd.files import MAX_RULES_FILE, rule_files

AT_ONCE = ("group", "pair")  # kinds that claim an alert when it fires
_PLAIN = re.compile(r"[A-Za-z0-9 _\-:/]+(?:\|[A-Za-z0-9 _\-:/]+)*")  # a pattern that is a list
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING = Alert(
    "", "", "", "", "", "", Status.FIRING, Severity.OK, {}, (), _EPOCH, _EPOCH, None, 1, 1, "", ""
)  # fmt: skip
_PRESENT = "!="  # and "": the label is there


class Placed(NamedTuple):
    """A rule and where it stands."""

    rule: Rule
    document: Document
    path: str

    @property
    def at(self) -> str:
        """File and line."""
        return f"{self.document.file}:{self.document.line_of(self.path)}"

    @property
    def opens(self) -> bool:
        """Whether it opens incidents."""
        spec = self.rule.spec
        return not spec.keyless and not spec.incidentless and self.rule.alert is None

    @property
    def claims(self) -> bool:
        """Whether it has an alert as soon as that fires."""
        return self.opens and self.rule.kind in AT_ONCE

    def warn(self, message: str, evidence: str, inner: str = "") -> str:
        """One printable line."""
        return self.document.complain(f"{self.path}{inner}", message, evidence)

    def parts(self) -> Iterator[tuple[str, int, tuple[Matcher, ...]]]:
        """Each selector with its path and the number of its part."""
        kind = self.rule.kind
        for part, (written, _) in enumerate(self.rule.spec.written()):
            inner = written.removeprefix(LISTS.get(kind, ""))
            joint = "" if inner.startswith("[") else "."
            own = self.rule.parts[part]
            for n, selector in enumerate(own):
                yield f".{kind}{joint}{inner}{f'[{n}]' if len(own) > 1 else ''}", part, selector


def rules_of(path: Path) -> list[Placed]:
    """The rules of a file or a directory that `load_rules` accepts, in order."""
    found: list[Placed] = []
    for file in rule_files(path):
        document = read(file, MAX_RULES_FILE)
        data = document.data
        rules = data["rules"] if isinstance(data, dict) else []
        found += [Placed(parse(one), document, f"rules[{n}]") for n, one in enumerate(rules)]
    return found


# -- from the rules alone -----------------------------------------------------------------------


def examine(rules: Sequence[Placed]) -> Iterator[str]:
    """Rules that cannot match, that another leaves nothing to, that overlap with one."""
    for one in rules:
        yield from _impossible(one)
    earlier = _Earlier(rules)
    for n, one in enumerate(rules):
        yield from _behind(one, earlier.near(n))


class _Earlier:
    """Rules that claim an alert when it fires, by a matcher that all they cover has to meet."""

    def __init__(self, rules: Sequence[Placed]) -> None:
        self._rules = rules
        self._alike: dict[Matcher, list[int]] = {}
        self._always: list[int] = []
        anchored: list[tuple[int, list[tuple[Matcher, ...]]]] = []
        for n, one in enumerate(rules):
            if not one.claims or one.rule.during is not None:
                continue
            for selector in one.rule.parts[0]:
                anchor = next((m for m in selector if _is_text(m)), None)
                if anchor is None:
                    self._always.append(n)
                else:
                    self._alike.setdefault(anchor, []).append(n)
                    anchored.append((n, [(anchor,)]))
        self._index = SelectorIndex(anchored)

    def near(self, n: int) -> Iterator[Placed]:
        """Those before a rule that may cover it, in order."""
        found = dict.fromkeys(self._always)
        for matcher in next(iter(self._rules[n].rule.match), ()):
            found |= dict.fromkeys(self._alike.get(matcher, ()))
            if values := _values(matcher):
                found |= dict.fromkeys(self._index.matching(_with(matcher.label, values[0])))
        return (self._rules[one] for one in sorted(found) if one < n)


def _is_text(matcher: Matcher) -> bool:
    """Whether it names a text that has to be there."""
    text = matcher.label not in {"severity", "status", "value"}
    return text and matcher.op in {"=", "=~"} and not _accepts(matcher, "")


def _impossible(one: Placed) -> Iterator[str]:
    rule = one.rule
    for path, _, selector in one.parts():
        for label in dict.fromkeys(matcher.label for matcher in selector):
            own = [matcher for matcher in selector if matcher.label == label]
            if not _can_hold(label, own):
                yield one.warn("cannot match", f"nothing is {_text(own)}", path)
            elif label in rule.by and any(m.op == "=" and not m.value for m in own):
                yield one.warn("cannot match", f"what has no {label} has no key", path)
    distinct = getattr(rule.spec, "distinct", "")
    if distinct and distinct in rule.by:
        message = "cannot hold: a key has one value of what it counts"
        yield one.warn(message, f"{distinct} is in by", f".{rule.kind}.distinct")
    if rule.kind == "pair" and all(_covers(rule.parts[1], own) for own in rule.parts[0]):
        evidence = "whatever opens matches closes too"
        yield one.warn("never holds anything: what opens ends at once", evidence, ".pair")


def _behind(one: Placed, earlier: Iterable[Placed]) -> Iterator[str]:
    """The first rule before it that claims all that it matches, when that fires."""
    rule = one.rule
    if not one.opens or rule.kind == "absence":
        return
    for other in earlier:
        first = other.rule.parts[0]
        if not all(_covers(first, selector) for selector in rule.match):
            continue
        missing = [
            label
            for label in other.rule.by
            if label not in rule.by
            and not all(_implied(Matcher(label, _PRESENT, ""), own) for own in rule.match)
        ]
        if missing:
            message = f"overlaps with rule {other.rule.name}"
            lacks = " and ".join(missing)
            yield one.warn(message, f"that has every alert with {lacks} first, see {other.at}")
        else:
            message = f"is shadowed by rule {other.rule.name}, which has every alert of it first"
            yield one.warn(message, f"see {other.at}")
        return


def _can_hold(label: str, own: list[Matcher]) -> bool:
    tests = [compile_matcher(matcher) for matcher in own]
    tried = _candidates(label, own)
    return tried is None or any(all(test(one) for test in tests) for one in tried)


def _candidates(label: str, own: list[Matcher]) -> list[Alert] | None:
    """Alerts that stand for all that can hold; None where there is no end of them."""
    if label == "severity":
        return [replace(_NOTHING, severity=one) for one in Severity]
    if label == "status":
        return [replace(_NOTHING, status=one) for one in Status]
    if label == "value":
        bounds = [float(matcher.value) for matcher in own]
        around = [(math.nextafter(x, -math.inf), x, math.nextafter(x, math.inf)) for x in bounds]
        return [replace(_NOTHING, value=x) for x in chain.from_iterable(around)]
    listed = [values for matcher in own if (values := _values(matcher)) is not None]
    return [_with(label, value) for value in listed[0]] if listed else None


def _values(matcher: Matcher) -> tuple[str, ...] | None:
    """The only texts that it accepts, where they can be listed."""
    if matcher.op == "=":
        return (matcher.value,)
    if matcher.op == "=~" and _PLAIN.fullmatch(matcher.value):
        return tuple(matcher.value.split("|"))
    return None


def _with(label: str, value: str) -> Alert:
    field = "name" if label == "alertname" else label
    if field in READERS:
        return replace(_NOTHING, **{field: value})
    return replace(_NOTHING, labels={label: value})


def _accepts(matcher: Matcher, value: str) -> bool:
    return compile_matcher(matcher)(_with(matcher.label, value))


def _covers(selectors: Iterable[tuple[Matcher, ...]], inner: tuple[Matcher, ...]) -> bool:
    """Whether one of the selectors matches whatever `inner` does, as far as can be told."""
    return any(all(_implied(matcher, inner) for matcher in own) for own in selectors)


def _implied(matcher: Matcher, selector: tuple[Matcher, ...]) -> bool:
    own = [one for one in selector if one.label == matcher.label]
    if matcher in own:
        return True
    if matcher.label == "value":
        return any(_tighter(one, matcher) for one in own)
    tried = _candidates(matcher.label, own) if own else None
    if tried is not None:
        test, tests = compile_matcher(matcher), [compile_matcher(one) for one in own]
        return all(test(one) for one in tried if all(held(one) for held in tests))
    if matcher.op == _PRESENT and not matcher.value:
        return any(m.op == "=~" and not pattern_of(m.value).fullmatch("") for m in own)
    return False


def _tighter(one: Matcher, other: Matcher) -> bool:
    """Whether a bound holds wherever the other does not; both on `value`."""
    x, y = float(one.value), float(other.value)
    if one.op[0] != other.op[0]:
        return False
    beyond = x > y if one.op[0] == ">" else x < y
    return beyond or (x == y and (one.op == other.op or other.op.endswith("=")))


def _text(selector: Iterable[Matcher]) -> str:
    return ", ".join(f'{m.label}{m.op}"{m.value}"' for m in selector)
