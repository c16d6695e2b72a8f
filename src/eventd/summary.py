"""What a replay comes to: a day of monitoring as one value."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from math import ceil

from msgspec import Struct

from eventd.backtest import Backtest, Episode
from eventd.core.model import Incident, IncidentState
from eventd.core.sentences import evidence

MOST = 10  # checks and incidents told of
HALF, NEARLY_ALL = 0.5, 0.95  # shares of the incidents


class Check(Struct, frozen=True):
    """All alerts with one name."""

    name: str
    fired: int
    alone: int  # of these times, in no incident


class Raised(Struct, frozen=True):
    """One incident."""

    id: str
    priority: str
    state: str
    title: str
    opened_at: datetime
    resolved_at: datetime | None
    lasted: float  # s; until it resolved, else until the recording ended
    alerts: int
    cis: int
    root: str | None
    because: str  # what speaks for the root, else why it was opened


class Within(Struct, frozen=True):
    """Seconds from an incident's first alert to the incident."""

    p50: float
    p95: float


class Summary(Struct, frozen=True):
    """The replay of a recording. Counts of `others` and `noise` are by reason, the most first."""

    began: datetime | None  # the first event
    ended: datetime | None
    events: int
    refused: int  # events, or whole deliveries, that could not be read; not among `events`
    refusals: tuple[str, ...]  # where the first of them stand, and why
    facts: int
    others: dict[str, int]  # events that move no alert, by what they are
    alerts: int
    fired: int  # times that alerts began to fire
    joined: int  # of these, in an incident
    noise: dict[str, int]  # the rest of them
    incidents: int
    open: int
    merged: int  # into others, and counted there
    priorities: dict[str, int]
    within: Within | None
    noisiest: tuple[Check, ...]
    longest: tuple[Raised, ...]
    raised: tuple[Raised, ...]  # in order of opening


def summary(run: Backtest) -> Summary:
    """Of a run that is over."""
    members = run.members()
    incidents = [one for one in run.incidents() if not one.merged_into]
    raised = tuple(_raised(one, members[one.id], run.now) for one in incidents)
    noise = _by_count(one.standing for one in run.episodes.values() if one.standing)
    longest = sorted(raised, key=lambda one: -one.lasted)
    return Summary(
        began=run.began,
        ended=run.now,
        events=run.events,
        refused=run.refused,
        refusals=tuple(run.refusals),
        facts=run.facts,
        others=dict(sorted(run.kinds.items(), key=_most_first)),
        alerts=len({fingerprint for fingerprint, _ in run.episodes}),
        fired=len(run.episodes),
        joined=len(run.episodes) - sum(noise.values()),
        noise=noise,
        incidents=len(raised),
        open=sum(one.state is IncidentState.OPEN for one in incidents),
        merged=sum(1 for one in run.incidents() if one.merged_into),
        priorities=dict(sorted(_by_count(one.priority for one in raised).items())),
        within=_within(incidents, members),
        noisiest=_noisiest(run.episodes.values()),
        longest=tuple(longest[:MOST]),
        raised=raised,
    )


def _raised(incident: Incident, members: list[Episode], end: datetime | None) -> Raised:
    until = incident.resolved_at or end or incident.opened_at
    root = incident.roots[0] if incident.roots else None
    return Raised(
        incident.id,
        f"P{incident.priority}",
        incident.state.value,
        incident.title,
        incident.opened_at,
        incident.resolved_at,
        (until - incident.opened_at).total_seconds(),
        len({one.alert.fingerprint for one in members}),
        len({one.alert.ci for one in members if one.alert.ci}),
        root.ci if root is not None else None,
        evidence(root) if root is not None else incident.because,
    )


def _within(incidents: list[Incident], members: dict[str, list[Episode]]) -> Within | None:
    waits = sorted(
        (one.opened_at - min(m.alert.last_seen_at for m in members[one.id])).total_seconds()
        for one in incidents
        if members[one.id]
    )
    if not waits:
        return None
    return Within(_reached(waits, HALF), _reached(waits, NEARLY_ALL))


def _reached(ordered: list[float], share: float) -> float:
    """What at least that share of them do not exceed."""
    return ordered[ceil(share * len(ordered)) - 1]


def _noisiest(episodes: Iterable[Episode]) -> tuple[Check, ...]:
    """The checks that fired most for nothing."""
    fired: dict[str, list[int]] = {}
    for one in episodes:
        counts = fired.setdefault(one.alert.name, [0, 0])
        counts[0] += 1
        counts[1] += bool(one.standing)
    checks = [Check(name, all_, alone) for name, (all_, alone) in fired.items() if alone]
    return tuple(sorted(checks, key=lambda one: (-one.alone, one.name))[:MOST])


def _by_count(words: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return dict(sorted(counts.items(), key=_most_first))


def _most_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]
