"""What is doubtful in rules, as far as what came to a daemon tells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from msgspec.structs import replace

from eventd.complaints import likely
from eventd.core.asking import as_alert
from eventd.core.enrich import Enrichment, identity
from eventd.core.inventory import Inventory
from eventd.core.model import Alert, Event, LoadInventory, Status
from eventd.core.rules.index import SelectorIndex
from eventd.core.rules.rule import Grouping, Rule
from eventd.core.rules.selectors import READERS
from eventd.core.sentences import inert
from eventd.lint import Placed
from eventd.recording import Line

KEYS_FROM = 100  # keys of a rule before it is asked whether they come to an end
STILL_NEW = 0.4  # share of them that came in the later half: they do not
MAX_KEYS = 10_000  # of a rule that are looked at
MAX_OPEN = 250_000  # alerts that are watched until they clear
ALERTS_FROM = 10  # that fired before it is said that none cleared
ALWAYS = ("name", "alertname", "status", "severity")  # there is no event without
_PLACE = re.compile(r"\{([^{}]*)\}")  # in titles


class _Tally:
    """What came for one rule."""

    def __init__(self, one: Placed) -> None:
        self.placed = one
        self.rule = rule = one.rule
        self.parts = [0] * len(rule.parts)  # events that each part matched
        self.hears = [
            any(m.label == "status" for selector in part for m in selector) for part in rule.parts
        ]
        self.early: dict[tuple[str, ...], None] = {}  # keys, by when they came first
        self.late: dict[tuple[str, ...], None] = {}
        self.fired = self.cleared = 0  # alerts, as far as they were watched
        self.behind: dict[str, tuple[int, str]] = {}  # earlier rule → events, one of them
        self._grouping = Grouping(rule.by)

    def key(self, alert: Alert) -> tuple[str, ...] | None:
        """What the rule tells its groups apart by."""
        return self._grouping.of(alert) if self.rule.by else None

    def count(self, part: int, key: tuple[str, ...], *, later: bool) -> None:
        """An event with a key matched a part."""
        self.parts[part] += 1
        if key not in self.early and len(self.early) + len(self.late) < MAX_KEYS:
            (self.late if later else self.early)[key] = None


class Usage:
    """Counts, for each rule, what came for it."""

    def __init__(self, rules: Sequence[Placed], middle: datetime) -> None:
        """`middle` halves the time in which things came."""
        self._tallies = [_Tally(one) for one in rules]
        self._middle = middle
        self._index = SelectorIndex[tuple[int, int]](
            ((n, part), own)
            for n, one in enumerate(rules)
            for part, own in enumerate(one.rule.parts)
        )
        self._enrichment = Enrichment()
        self._labels: dict[str, None] = {}
        self._firing: dict[str, list[_Tally]] = {}
        self._events = 0

    def see(self, lines: Iterable[Line]) -> None:
        """Count them; events as the inventory among them has them."""
        enrichment = self._enrichment
        for line in lines:
            item = line.own
            if isinstance(item, LoadInventory):
                enrichment.load(Inventory(item.version, item.services, item.cis))
            elif isinstance(item, Event):
                self._events += 1
                event = _placed(item, enrichment) if enrichment.active else item
                self._see(as_alert(event, line.at), later=line.at >= self._middle)

    def warnings(self) -> Iterator[str]:
        """A printable line each; none where nothing came."""
        if not self._events:
            return
        for tally in self._tallies:
            yield from self._unknown(tally)
            yield from _never_ends(tally)
            yield from _without_end_of_keys(tally)
            for name, (count, example) in tally.behind.items():
                evidence = f"{count:,} events, such as {example}"
                message = f"overlaps with rule {name}, which has first what both match"
                yield tally.placed.warn(message, evidence)

    def _see(self, alert: Alert, *, later: bool) -> None:
        self._labels.update(dict.fromkeys(alert.labels))
        for field in ("ci", "service", "source", "summary", "value"):
            if field not in self._labels and getattr(alert, field) not in {"", None}:
                self._labels[field] = None
        if alert.status is Status.CLEARED:
            for tally in self._firing.pop(alert.fingerprint, ()):
                tally.cleared += 1
            return
        concerned: dict[_Tally, bool] = {}  # whether it has the alert at once
        for n, part in self._index.matching(alert):
            tally = self._tallies[n]
            key = tally.key(alert)
            if alert.status is not Status.FIRING and not tally.hears[part]:
                continue
            if key is None:
                tally.parts[part] += not tally.rule.by
                continue
            tally.count(part, key, later=later)
            at_once = tally.placed.claims and part == 0
            concerned[tally] = concerned.get(tally, False) or at_once
        if alert.status is Status.FIRING:
            self._fires(alert, concerned)

    def _fires(self, alert: Alert, concerned: dict[_Tally, bool]) -> None:
        first = next((tally for tally, at_once in concerned.items() if at_once), None)
        behind = False
        for tally in concerned:
            if behind and first is not None and tally.placed.opens:
                name = first.rule.name
                count, example = tally.behind.get(name, (0, _called(alert)))
                tally.behind[name] = count + 1, example
            behind = behind or tally is first
        if concerned and alert.fingerprint not in self._firing and len(self._firing) < MAX_OPEN:
            self._firing[alert.fingerprint] = list(concerned)
            for tally in concerned:
                tally.fired += 1

    def _unknown(self, tally: _Tally) -> Iterator[str]:
        """Labels that the rule names and that nothing had."""
        rule = tally.rule
        named = [(path, m.label) for path, _, selector in tally.placed.parts() for m in selector]
        named += [(f".by[{n}]", label) for n, label in enumerate(rule.by)]
        called = rule.spec.names()
        for place in _PLACE.findall(rule.incident.title):
            first, _, rest = place.partition(".")
            named.append((".incident.title", rest if first in called else place))
        if distinct := getattr(rule.spec, "distinct", ""):
            named.append((f".{rule.kind}.distinct", distinct))
        known = list(dict.fromkeys((*self._labels, *READERS)))
        for path, label in dict.fromkeys(named):
            if label not in self._labels and label not in ALWAYS:
                near = likely(label, [one for one in known if one != label])
                hint = f"; {near}" if near.startswith("did") else ""
                evidence = f"none of {self._events:,} events has it{hint}"
                yield tally.placed.warn(f"{label!r} was never seen", evidence, path)


def _placed(event: Event, enrichment: Enrichment) -> Event:
    place = enrichment.place(event)
    own = identity(event, place)
    return replace(event, ci=place.ci, service=place.service, fingerprint=own)


def _never_ends(tally: _Tally) -> Iterator[str]:
    rule, parts = tally.rule, tally.parts
    paths = [path for path, _ in rule.spec.written()]
    last = len(parts) - 1
    if rule.kind in {"pair", "absence"} and last > 0 and parts[0] and not parts[last]:
        evidence = f"{paths[0]} matches {parts[0]:,} events, {paths[last]} none"
        yield tally.placed.warn("never ends", evidence, f".{rule.kind}.{paths[last]}")
    elif tally.placed.opens and tally.fired >= ALERTS_FROM and not (tally.cleared or _ends(rule)):
        evidence = f"none of {tally.fired:,} alerts that it matches was cleared by its source"
        yield tally.placed.warn("may never end but by hand, or when alerts go stale", evidence)


def _ends(rule: Rule) -> bool:
    """Whether it says itself when its alerts are over."""
    return rule.kind == "pair" or getattr(rule.spec, "ends", None) is not None


def _without_end_of_keys(tally: _Tally) -> Iterator[str]:
    early, late = len(tally.early), len(tally.late)
    whole = early + late
    if whole >= KEYS_FROM and (whole >= MAX_KEYS or late >= STILL_NEW * whole):
        many = "at least " if whole >= MAX_KEYS else ""
        evidence = f"{many}{whole:,} keys, {late:,} of them new in the later half of the journal"
        message = f"has no end of keys: by {', '.join(tally.rule.by)}"
        yield tally.placed.warn(message, evidence, ".by")


def _called(alert: Alert) -> str:
    return inert(f"{alert.name} on {alert.ci}" if alert.ci else alert.name)
