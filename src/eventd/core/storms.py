"""Storms: a source that brings more new alerts than anybody can read gets one incident for them.

Counted are fingerprints never seen before, each source by itself, over the last minute in slices
of ten seconds. A storm begins above the limit and ends at a check that finds less than half of it.
What comes while it lasts is remembered and can be searched like any alert; of the rules only those
that make a P1 are asked about it, and what none of them wants joins the storm's incident.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from eventd.core.model import Alert, Grouped, Stormed
from eventd.core.rules.rule import STORM, Finding, IncidentSpec, Kind, Rule, RuleState

SLICE = 10  # s
SLICES = 6  # a minute of them
CHECK_EVERY = timedelta(seconds=60)
MAX_TALKERS = 1_000  # names, and CIs, that are counted; those that come later are not
SHOWN = 5  # of each, in a reason

_RULE = Rule(
    name=STORM,
    description="More new alerts from one source than anybody can read.",
    kind=STORM,
    spec=Kind(),
    parts=(),
    by=("source",),
    within=600.0,
    incident=IncidentSpec(title="Storm of new alerts from {source}"),
    text="",
)


class Storm(Struct, array_like=True):
    """A storm while it lasts."""

    names: dict[str, int]
    cis: dict[str, int]
    incident: str = ""
    alerts: int = 0
    told: int = 0  # of them, when the incident's timeline last said so


class Storms:
    """The new alerts of every source in the last minute, and the storms that last."""

    def __init__(self) -> None:
        """Nothing was said."""
        self._lately: dict[str, list[int]] = {}  # by slice, the present one last
        self._storms: dict[str, Storm] = {}
        self._slice = 0  # its number, since 1970
        self._slice_ends = datetime.fromtimestamp(SLICE, UTC)

    def count(self, alert: Alert, now: datetime, limit: int) -> Storm | None:
        """Take a new alert into account; the storm it belongs to, if there is one."""
        if now >= self._slice_ends:
            self._turn(now)
        source = alert.source
        lately = self._lately.get(source)
        if lately is None:
            lately = self._lately[source] = [0] * SLICES
        lately[-1] += 1
        storm = self._storms.get(source)
        if storm is None:
            if sum(lately) <= limit:
                return None
            storm = self._storms[source] = Storm({}, {})
        storm.alerts += 1
        _tally(storm.names, alert.name)
        _tally(storm.cis, alert.ci)
        return storm

    def check(self, source: str, now: datetime, limit: int) -> tuple[Storm, bool]:
        """The source's storm, and whether it is over. Raises KeyError where there is none."""
        self._turn(now)
        storm = self._storms[source]
        over = sum(self._lately.get(source, ())) * 2 < limit
        if over:
            del self._storms[source]
        return storm, over

    def dump(self) -> list[object]:
        """The present slice first, then each source and each storm; copies."""
        lately = [(source, list(slices), None) for source, slices in self._lately.items()]
        storms: list[object] = [
            (source, [], _copied(storm)) for source, storm in self._storms.items()
        ]
        return [("", [self._slice], None), *lately, *storms]

    def load(self, rows: Iterator[tuple[str, list[int], Storm | None]]) -> None:
        """Take up what `dump` gave."""
        for source, slices, storm in rows:
            if storm is not None:
                self._storms[source] = storm
            elif source:
                self._lately[source] = slices
            else:
                self._begin(slices[0])

    def _turn(self, now: datetime) -> None:
        """Begin the slice of `now`; who said nothing for a minute is forgotten."""
        before = self._slice
        self._begin(int(now.timestamp()) // SLICE)
        passed = min(self._slice - before, SLICES)
        for source, slices in list(self._lately.items()):
            slices[:] = [*slices[passed:], *[0] * passed]
            if not any(slices):
                del self._lately[source]

    def _begin(self, number: int) -> None:
        self._slice = number
        self._slice_ends = datetime.fromtimestamp((number + 1) * SLICE, UTC)


def finding(alert: Alert, because: Grouped | Stormed) -> Finding:
    """The alert belongs to its source's storm."""
    return Finding(_RULE, {"source": alert.source}, (alert.fingerprint,), because)


def reason(source: str, storm: Storm, limit: int) -> Stormed:
    """How many, and who talks most."""
    return Stormed(
        STORM, {"source": source}, storm.alerts, limit, _most(storm.names), _most(storm.cis)
    )


def urgent(states: list[RuleState]) -> list[RuleState]:
    """The rules that are asked in a storm too: those that make a P1."""
    return [s for s in states if s.rule.incident.impact == s.rule.incident.urgency == 1]


def _copied(storm: Storm) -> Storm:
    return Storm(dict(storm.names), dict(storm.cis), storm.incident, storm.alerts, storm.told)


def _tally(counts: dict[str, int], name: str) -> None:
    if name in counts or (name and len(counts) < MAX_TALKERS):
        counts[name] = counts.get(name, 0) + 1


def _most(counts: dict[str, int]) -> tuple[tuple[str, int], ...]:
    """Highest count first, then in the order they came."""
    return tuple(sorted(counts.items(), key=lambda item: -item[1])[:SHOWN])
