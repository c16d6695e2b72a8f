"""What the API shows: one type a resource, from which OpenAPI is generated."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from eventd.core.concerned import KINDS
from eventd.core.labels import SEVERITY_NAMES
from eventd.core.model import (
    AccessDenied,
    Alert,
    AlertAlone,
    AlertDetached,
    AlertJoined,
    AlertRaised,
    AlertSuppressed,
    AlertUnsuppressed,
    Because,
    Correlated,
    Fact,
    Incident,
    IncidentAcknowledged,
    IncidentClosed,
    IncidentCommented,
    IncidentMerged,
    IncidentReopened,
    IncidentResolved,
    IncidentSplit,
    InventoryLoaded,
    Maintenance,
    Matcher,
    Reason,
    RootCandidate,
    RuleMissed,
    RulesLoaded,
    Silence,
    SilenceAdded,
    SilenceEnded,
    VerdictGiven,
)
from eventd.core.rules.keys import name_of
from eventd.core.rules.rule import Rule
from eventd.core.rules.streams import Scored
from eventd.core.scoring.scorer import score_of
from eventd.core.sentences import alert_said, evidence, happened, miss, runner_up, sentence
from eventd.plot import Point, svg

E = TypeVar("E")
M = TypeVar("M")


class AlertView(Struct, frozen=True):
    """What eventd believes now about one fingerprint."""

    fingerprint: str
    name: str
    ci: str
    service: str
    status: str
    severity: str
    count: int
    episode: int
    started_at: datetime
    last_seen_at: datetime
    cleared_at: datetime | None
    incident: str | None
    suppressed_by: str | None
    source: str
    summary: str
    value: float | None
    labels: dict[str, str]
    links: tuple[str, ...]


class ReasonView(Struct, frozen=True):
    """Why an alert is where it is, or a rule holds: in a sentence, and its parts."""

    rule: str
    kind: str
    group: dict[str, str]
    text: str
    count: int | None = None
    at_least: int | None = None
    within_seconds: float | None = None
    elsewhere: tuple[str, ...] = ()
    parts: tuple[tuple[str, int], ...] = ()  # of a rule that has several, and how many of each
    took_seconds: float | None = None  # from the first of them to the last
    above: int | None = None  # new alerts a minute: a storm
    names: tuple[tuple[str, int], ...] = ()  # who talks most in it, and how often
    cis: tuple[tuple[str, int], ...] = ()
    tie: str | None = None  # of the correlation: what connects it
    via: str | None = None  # the CI, or name, that does
    hops: int | None = None  # to it
    score: float | None = None  # how strongly, in [0, 1]
    needed: float | None = None  # how strongly it had to
    runner_up: str | None = None  # the incident it would have gone to else
    runner_up_score: float | None = None
    runner_up_tie: str | None = None  # and by what; also where it is no incident yet
    runner_up_via: str | None = None
    runner_up_hops: int | None = None
    actor: str | None = None  # an operator put it there


class WhyView(Struct, frozen=True):
    """Where an alert came to belong, or why to none."""

    at: datetime
    # "joined", "detached", "alone", "suppressed", "unsuppressed", "raised" (a rule made an alert)
    # or "missed" (a rule, nearly)
    kind: str
    incident: str | None
    text: str
    because: ReasonView | None = None  # joined: what put it there; alone: what it was nearest to
    alone: str | None = None  # "info", "noisy", "common", "doubted" or "blip"
    short_by: float | None = None  # alone: how much stronger that would have had to be
    actor: str | None = None
    by: str | None = None  # suppressed and unsuppressed: what does, or did


class ScoreView(Struct, frozen=True):
    """What an `anomaly` rule knows of a key: how strange it is now, and what an alert takes."""

    id: str  # of the stream
    rule: str
    of: str  # what the rule looks at: values, rates, silences or new
    group: dict[str, str]
    at: datetime  # of its last value or event; of rates, when the window of that began
    since: datetime | None  # from when on it is known; null of values
    value: float | None  # the last; events in the window that runs; s since the last; null of new
    usual: float | None  # at most, at this hour: events, or s; null of others, or not known
    score: float | None  # in [0, 1]; null of new, and where too little is known: 100 values
    surprise: float | None  # decades of rarity; `score` is surprise / (surprise + 5)
    needed: float  # surprise
    text: str  # of values why the last is strange, "" where it is not; else what is usual
    values: int  # values or events that were seen
    fires: bool
    alerts: tuple[datetime, ...]  # of values: when its last ones began


class AlertDetail(AlertView, frozen=True):
    """An alert and why its present or last episode is where it is, in order."""

    flapping: bool
    explained_by: str | None  # the alert that suppresses it: its name, CI and fingerprint
    covered_by: str | None  # of the silence or maintenance that does: who, until when, why
    rules: tuple[str, ...] | None  # that match it as it stands; None: there are no rules
    reasons: tuple[WhyView, ...]
    scores: tuple[ScoreView, ...]  # of its values, or of those that it was fired for


class RootView(Struct, frozen=True):
    """A CI the other alerts may follow from, and what speaks for it."""

    ci: str
    score: float  # only compares the candidates of one incident
    explains: int  # CIs that depend on it, itself included
    of: int  # CIs of the incident
    lag: float | None  # s; its first alert after the first of the others, negative before it
    depends: float  # strengths of what it depends on and alerts too
    changed: float | None  # s; between a change to it and its first alert
    silent: bool  # it has no alert itself
    needs: int | None  # CIs it depends on, directly or not; null: nobody knows
    rule: str  # the rule that says so, "" where none does
    text: str


class IncidentView(Struct, frozen=True):
    """An unplanned interruption or degradation."""

    id: str
    state: str
    priority: str
    title: str
    service: str
    because: str
    impact: int
    urgency: int
    impact_because: str
    urgency_because: str
    alert_count: int  # that ever joined
    firing_count: int
    ci_count: int
    opened_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    closed_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    team: str | None
    workaround: str | None
    rule: str
    group: dict[str, str]
    owner: str | None
    roots: tuple[RootView, ...]  # the likeliest first
    merged_into: str | None  # the incident that has its alerts now
    recurs: str | None  # the incident this is a recurrence of
    verdict: bool | None  # an operator's: false is a false alarm; null: nobody said


class JudgedView(Struct, frozen=True):
    """An incident that is kept no more, and a verdict given on it all the same."""

    id: str
    verdict: bool  # false is a false alarm


class EntryView(Struct, frozen=True):
    """One entry of an incident's timeline."""

    at: datetime
    kind: str
    actor: str | None
    text: str


class MemberView(Struct, frozen=True):
    """An alert of an incident: since when it belongs to it, and why."""

    fingerprint: str
    episode: int
    joined_at: datetime
    because: ReasonView
    runner_up: str | None  # where else it might have gone
    alert: AlertView | None


class Detailed(IncidentView, Generic[E, M], frozen=True):
    """An incident with entries and members that are encoded, or are not yet."""

    timeline: Sequence[E]
    timeline_left_out: Annotated[
        int, Meta(description="Entries after the first, which had no room; the newest have")
    ]
    alerts: Sequence[M]
    alerts_left_out: Annotated[
        int, Meta(description="Those that joined first, which had no room; `/alerts` has them")
    ]


class IncidentDetail(Detailed[EntryView, MemberView], frozen=True):
    """An incident with its timeline, its alerts and the reason for each."""


class MatcherView(Struct, frozen=True):
    """One test on a label or field."""

    label: str
    op: str
    value: str


class SilenceView(Struct, frozen=True):
    """Alerts an operator has declared known, for a while."""

    id: str
    active: bool
    matchers: tuple[MatcherView, ...]
    starts_at: datetime
    ends_at: datetime
    actor: str
    comment: str


class AgainView(Struct, frozen=True):
    """Nothing: the same Idempotency-Key came again, and the silence stands already."""


class MaintenanceView(Struct, frozen=True):
    """A maintenance window."""

    id: str
    active: bool
    name: str
    source: str
    starts_at: datetime
    ends_at: datetime
    cis: tuple[str, ...]
    services: tuple[str, ...]


class ActView(Struct, frozen=True):
    """What somebody did, or that somebody was not let in (`access_denied`)."""

    id: int
    at: datetime
    kind: str
    actor: str | None
    subject: str  # id of an incident or silence; version of rules or inventory; whose door it was
    text: str
    peer: str | None = None  # address of who was not let in
    count: int | None = None  # how many times, since the last row about them


class GapView(Struct, frozen=True):
    """A name that events had and the inventory lacks."""

    kind: str  # "ci" or "service"
    name: str
    count: int  # of events


class RuleView(Struct, frozen=True):
    """A rule in force."""

    name: str
    kind: str
    description: str
    by: tuple[str, ...]
    within_seconds: float
    off_because: str | None


class Problem(Struct, frozen=True):
    """An error, as RFC 9457 has it, and what to mend where it is the request."""

    type: str
    title: str
    status: int
    detail: str
    field: str | UnsetType = UNSET  # which it is in
    expected: str | UnsetType = UNSET  # what to send instead
    offset: int | UnsetType = UNSET  # the byte where it stops being JSON


def alert_view(alert: Alert) -> AlertView:
    """For people and tools."""
    return AlertView(
        fingerprint=alert.fingerprint,
        name=alert.name,
        ci=alert.ci,
        service=alert.service,
        status=alert.status.value,
        severity=SEVERITY_NAMES[alert.severity],
        count=alert.count,
        episode=alert.episode,
        started_at=alert.started_at,
        last_seen_at=alert.last_seen_at,
        cleared_at=alert.cleared_at,
        incident=alert.incident or None,
        suppressed_by=alert.suppressed_by or None,
        source=alert.source,
        summary=alert.summary,
        value=alert.value,
        labels=alert.labels,
        links=alert.links,
    )


def incident_view(incident: Incident, verdict: bool | None) -> IncidentView:
    """For people and tools, with what an operator said of it."""
    return IncidentView(
        id=incident.id,
        state=incident.state.value,
        priority=f"P{incident.priority}",
        title=incident.title,
        service=incident.service,
        because=incident.because,
        impact=incident.impact,
        urgency=incident.urgency,
        impact_because=incident.impact_because,
        urgency_because=incident.urgency_because,
        alert_count=incident.alerts,
        firing_count=incident.firing,
        ci_count=incident.cis,
        opened_at=incident.opened_at,
        updated_at=incident.updated_at,
        resolved_at=incident.resolved_at,
        closed_at=incident.closed_at,
        acknowledged_at=incident.acknowledged_at,
        acknowledged_by=incident.acknowledged_by or None,
        team=incident.team or None,
        workaround=incident.workaround or None,
        rule=incident.rule,
        group=incident.group,
        owner=incident.owner or None,
        roots=tuple(map(root_view, incident.roots)),
        merged_into=incident.merged_into or None,
        recurs=incident.recurs or None,
        verdict=verdict,
    )


def root_view(root: RootCandidate) -> RootView:
    """With its evidence in a sentence."""
    return RootView(**structs.asdict(root), text=evidence(root))


def reason_view(because: Because) -> ReasonView:
    """The typed reason, flat."""
    correlated = because if isinstance(because, Correlated) else None
    other = correlated is not None and correlated.other_score > 0
    return ReasonView(
        rule=because.rule,
        kind=type(because).__name__.lower(),
        group=because.group,
        text=sentence(because),
        count=getattr(because, "count", None),
        at_least=getattr(because, "at_least", None),
        within_seconds=getattr(because, "within", None),
        elsewhere=getattr(because, "elsewhere", ()),
        parts=getattr(because, "parts", ()),
        took_seconds=getattr(because, "took", None),
        above=getattr(because, "limit", None),
        names=getattr(because, "names", ()),
        cis=getattr(because, "cis", ()),
        tie=correlated.tie.value if correlated else None,
        via=getattr(because, "via", None) or None,
        hops=getattr(because, "hops", None),
        score=getattr(because, "score", None),
        needed=getattr(because, "needed", None),
        runner_up=getattr(because, "other", None) or None,
        runner_up_score=correlated.other_score if correlated and other else None,
        runner_up_tie=correlated.other_tie.value if correlated and other else None,
        runner_up_via=correlated.other_via or None if correlated and other else None,
        runner_up_hops=correlated.other_hops if correlated and other else None,
        actor=getattr(because, "actor", None),
    )


def why_view(fact: Reason, sources: Mapping[str, Alert]) -> WhyView:
    """What a fact says of where an alert belongs.

    `sources` are those remembered that may explain it, by fingerprint.
    """
    source = sources.get(fact.source) if isinstance(fact, AlertSuppressed) else None
    text = alert_said(fact, _named(source) if source is not None else "")
    match fact:
        case AlertJoined():
            because = reason_view(fact.because)
            actor = because.actor
            return WhyView(fact.at, "joined", fact.incident, text, because, actor=actor)
        case AlertDetached():
            return WhyView(fact.at, "detached", fact.incident, text, actor=fact.actor or None)
        case AlertAlone():
            near = reason_view(fact.near) if fact.near is not None else None
            short, _ = miss(fact.near)
            why = fact.why.value
            return WhyView(fact.at, "alone", None, text, near, why, short or None)
        case RuleMissed():
            return WhyView(fact.at, "missed", None, text)
        case AlertSuppressed():
            return WhyView(fact.at, "suppressed", None, text, by=fact.by)
        case AlertUnsuppressed():
            return WhyView(fact.at, "unsuppressed", None, text, by=fact.by)
        case AlertRaised():
            return WhyView(fact.at, "raised", None, text, reason_view(fact.because))


class Standing(Struct, frozen=True):
    """What is known of an alert at the moment, beside what it is."""

    flapping: bool
    source: Alert | None  # explains it
    cover: Silence | Maintenance | None  # suppresses it
    rules: tuple[str, ...] | None  # match it; None: there are none at all
    scores: tuple[Scored, ...]


def alert_detail(
    alert: Alert, reasons: Iterable[Reason], sources: Mapping[str, Alert], standing: Standing
) -> AlertDetail:
    """An alert with why it is where it is; `sources` as for `why_view`."""
    source, cover = standing.source, standing.cover
    return AlertDetail(
        **structs.asdict(alert_view(alert)),
        flapping=standing.flapping,
        explained_by=f"{_named(source)} ({source.fingerprint})" if source is not None else None,
        covered_by=_said_of(cover) if cover is not None else None,
        rules=standing.rules,
        reasons=tuple(why_view(one, sources) for one in reasons),
        scores=tuple(map(score_view, standing.scores)),
    )


def stream_id(rule: str, key: tuple[str, ...]) -> str:
    """By which a stream is asked for, in a URL that a line of a header has room for."""
    return urlsafe_b64encode(msgspec.json.encode((rule, name_of(key)))).decode().rstrip("=")


def stream_of(text: str) -> tuple[str, tuple[str, ...]] | None:
    """Rule of a stream, and the name of its key; None where that is no id of one."""
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.json.decode(data, type=tuple[str, tuple[str, ...]])
    except (ValueError, msgspec.MsgspecError):
        return None


def score_view(scored: Scored) -> ScoreView:
    """For people and tools."""
    surprise = scored.surprise
    return ScoreView(
        stream_id(scored.rule, scored.key),
        scored.rule,
        scored.of,
        scored.group,
        _moment(scored.at),
        _moment(scored.since) if scored.since else None,
        scored.value,
        scored.usual,
        score_of(surprise) if surprise is not None else None,
        surprise,
        scored.needed,
        "; ".join(scored.said),
        scored.count,
        scored.fires,
        tuple(map(_moment, scored.cries)),
    )


def picture(scored: Scored, points: Iterable[Point]) -> str:
    """The latest values of a stream, as SVG; where its alerts began is known, whatever they are."""
    cries = frozenset(scored.cries)
    told = [point._replace(alarms=point.at in cries) for point in points]
    named = ", ".join(f"{label} {value}" for label, value in scored.group.items())
    title = f"rule {scored.rule}: {named}"
    return svg(title, told, score_of(scored.needed))


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _named(alert: Alert) -> str:
    return f"{alert.name} on {alert.ci}" if alert.ci else alert.name


def _said_of(cover: Silence | Maintenance) -> str:
    """Who says that it is known, until when, and why."""
    if isinstance(cover, Silence):
        who, until, why = cover.actor, cover.ends_at, cover.comment
    else:
        who, until, why = cover.source, cover.window.ends_at, cover.name
    return f"{who}, until {until:%Y-%m-%dT%H:%M:%SZ}{f' ({why})' if why else ''}"


def member_view(joined: AlertJoined, alert: Alert | None) -> MemberView:
    """`alert` is None once it is forgotten."""
    return MemberView(
        joined.fingerprint,
        joined.episode,
        joined.at,
        reason_view(joined.because),
        runner_up(joined.because) or None,
        alert_view(alert) if alert is not None else None,
    )


def entry_view(fact: Fact, incident: str, called: tuple[str, str] | None) -> EntryView:
    """A fact of an incident's history, in a sentence. Raises KeyError: it is none of one.

    `called`: name and CI of the alert that it is about, if it is about one that is remembered.
    """
    actor = getattr(fact, "actor", "") or None
    alert = " on ".join(filter(None, called or ()))
    return EntryView(fact.at, KINDS[type(fact)], actor, happened(fact, incident, alert))


def act_view(number: int, fact: Fact) -> ActView:
    """A row of the audit, in a sentence."""
    match fact:
        case SilenceAdded(at, silence):
            return ActView(number, at, "silence_added", silence.actor, silence.id, silence.comment)
        case SilenceEnded():
            return ActView(number, fact.at, "silence_ended", fact.actor, fact.silence, "")
        case RulesLoaded():
            text = f"{fact.rules} rules, {fact.kept} of them unchanged"
            return ActView(number, fact.at, "rules_loaded", None, fact.version, text)
        case InventoryLoaded():
            text = f"{fact.services} services, {fact.cis} CIs, {fact.dependencies} dependencies"
            return ActView(number, fact.at, "inventory_loaded", None, fact.version, text)
        case AccessDenied(at, source, peer, count):
            text = f"{peer} was not let in {count} times"
            return ActView(number, at, "access_denied", None, source, text, peer, count)
        case (
            IncidentAcknowledged()
            | IncidentCommented()
            | IncidentResolved()
            | IncidentReopened()
            | IncidentClosed()
            | IncidentMerged()
            | IncidentSplit()
            | AlertDetached()
            | VerdictGiven()
        ):
            entry = entry_view(fact, fact.incident, None)
            return ActView(number, fact.at, entry.kind, entry.actor, fact.incident, entry.text)
        case _:
            raise ValueError(type(fact).__name__)


def silence_view(silence: Silence, active: bool) -> SilenceView:
    """For people and tools."""
    return SilenceView(
        silence.id,
        active,
        tuple(_matcher_view(one) for one in silence.matchers),
        silence.starts_at,
        silence.ends_at,
        silence.actor,
        silence.comment,
    )


def _matcher_view(matcher: Matcher) -> MatcherView:
    return MatcherView(matcher.label, matcher.op, matcher.value)


def maintenance_view(one: Maintenance, active: bool) -> MaintenanceView:
    """For people and tools."""
    window = one.window
    return MaintenanceView(
        one.id,
        active,
        one.name,
        one.source,
        window.starts_at,
        window.ends_at,
        window.cis,
        window.services,
    )


def rule_view(rule: Rule, off_because: str | None) -> RuleView:
    """For people and tools."""
    return RuleView(rule.name, rule.kind, rule.description, rule.by, rule.within, off_because)
