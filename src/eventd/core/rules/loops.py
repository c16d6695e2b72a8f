"""Whether alerts that rules fire come back to the rules that fired them.

Of such an alert the rule tells all but the values of its labels: its name, severity, source and
summary, and which labels it has. What a selector asks of a value that is not known is taken to
hold. So a loop that there is is always found; one that the values make impossible may be too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

from msgspec.structs import replace

from eventd.core.labels import severity_of
from eventd.core.model import Alert, Matcher, Severity, Status
from eventd.core.rules.index import SelectorIndex
from eventd.core.rules.rule import OWN_SOURCE, AlertSpec, Rule
from eventd.core.rules.selectors import READERS, compile_matcher

MAX_CHAIN = 16  # alerts of rules that make one another
MAX_LOOPS = 20  # told
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ANYONE = Alert(
    "", OWN_SOURCE, "", "", "", "", Status.FIRING, Severity.INFO, {}, (), _EPOCH, _EPOCH, None,
    1, 1, "", "",
)  # fmt: skip
_OF_KINDS = ("window", "top", "alike")  # labels that kinds add to a group's
_KNOWN = READERS.keys() - {"ci", "service"}  # fields of which it is known what they say


def chains(rules: Sequence[Rule]) -> Iterator[tuple[int, ...]]:
    """Chains of rules of which each may be asked about the alert of the one before.

    Loops, which end with the rule that they begin with; or, where there is none, the first chain
    of more than MAX_CHAIN. Of loops MAX_LOOPS are told, and not every way through each.
    """
    follows = _Follows(rules)
    found = list(islice(_loops(follows), MAX_LOOPS))
    yield from found
    if not found:
        yield from filter(None, [_too_long(follows)])


class _Follows:
    """Rules that fire alerts, and which of them may be asked about each one's."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self.firing = [n for n, rule in enumerate(rules) if rule.alert is not None]
        self._labels = dict.fromkeys(label for n in self.firing for label in _unknown(rules[n]))
        self._indexes: dict[Severity, SelectorIndex[tuple[int, ...]]] = {}
        self._of: dict[int, list[int]] = {}

    def of(self, n: int) -> list[int]:
        """In order; remembered."""
        found = self._of.get(n)
        if found is None:
            rules, alert = self._rules, _alert(self._rules[n])
            near = {m for some in self._index(alert).matching(alert) for m in some}
            found = self._of[n] = [m for m in sorted(near) if _may_match(rules[m], rules[n])]
        return found

    def _index(self, alert: Alert) -> SelectorIndex[tuple[int, ...]]:
        """Who may be asked about alerts of that severity; what several ask is asked once.

        So the cost follows what is asked, not how many ask it, where no look-up helps.
        """
        found = self._indexes.get(alert.severity)
        if found is None:
            anyone = tuple(self._labels)
            who: dict[tuple[Matcher, ...], dict[int, None]] = {}
            for n in self.firing:
                for selector in self._rules[n].match:
                    grave = [one for one in selector if one.label == "severity"]
                    if _may_be_own(selector, anyone) and _all_hold(grave, alert):
                        own = _without(selector, {**self._labels, "severity": None})
                        who.setdefault(own, {})[n] = None
            found = SelectorIndex((tuple(some), [own]) for own, some in who.items())
            self._indexes[alert.severity] = found
        return found


def _all_hold(matchers: Iterable[Matcher], alert: Alert) -> bool:
    return all(compile_matcher(matcher)(alert) for matcher in matchers)


def _loops(follows: _Follows) -> Iterator[tuple[int, ...]]:
    done: dict[int, None] = {}
    for start in follows.firing:
        path: dict[int, Iterator[int]] = {} if start in done else {start: iter(follows.of(start))}
        while path:
            last = next(reversed(path))
            rule = next(path[last], None)
            if rule is None:
                done[last] = None
                del path[last]
            elif rule in path:
                steps = list(path)
                yield (*steps[steps.index(rule) :], rule)
            elif rule not in done:
                path[rule] = iter(follows.of(rule))


def _too_long(follows: _Follows) -> tuple[int, ...]:
    """A chain of more than MAX_CHAIN, in a graph without loops; empty where there is none."""
    level = dict.fromkeys(follows.firing)
    came: list[dict[int, int]] = []  # rule → one before it
    while level and len(came) < MAX_CHAIN:
        came.append({after: rule for rule in level for after in follows.of(rule)})
        level = dict.fromkeys(came[-1])
    if not level:
        return ()
    chain = [next(iter(level))]
    for before in reversed(came):
        chain.append(before[chain[-1]])
    return tuple(reversed(chain))


def _alert(rule: Rule) -> Alert:
    """What the rule fires, as far as it is known."""
    spec = rule.alert or AlertSpec()
    severity = severity_of(spec.severity) or Severity.INFO
    name, said = spec.name or rule.name, rule.description
    return replace(_ANYONE, name=name, severity=severity, summary=said)


def _unknown(rule: Rule) -> tuple[str, ...]:
    """Labels of which it has some value."""
    return (*(label for label in rule.by if label not in _KNOWN), *_OF_KINDS, "status")


def _without(selector: Iterable[Matcher], labels: dict[str, None]) -> tuple[Matcher, ...]:
    return tuple(matcher for matcher in selector if matcher.label not in labels)


def _may_be_own(selector: Iterable[Matcher], labels: tuple[str, ...]) -> bool:
    """Whether it may match the alert of any rule, whatever that is called and how grave it is."""
    known = [m for m in selector if m.label not in {"name", "alertname", "severity", "summary"}]
    return all(_may_hold(matcher, _ANYONE, labels) for matcher in known)


def _may_match(rule: Rule, other: Rule) -> bool:
    """Whether the rule may be asked about the alert of the other."""
    alert, unknown = _alert(other), _unknown(other)
    return any(all(_may_hold(m, alert, unknown) for m in selector) for selector in rule.match)


def _may_hold(matcher: Matcher, alert: Alert, unknown: tuple[str, ...]) -> bool:
    test = compile_matcher(matcher)
    if matcher.label == "status":
        return test(alert) or test(replace(alert, status=Status.CLEARED))
    if matcher.label in unknown:
        return matcher.op != "=" or bool(matcher.value)
    return test(alert)
