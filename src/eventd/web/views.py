"""What the API shows: one type a resource, from which OpenAPI is generated."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, structs

from eventd.core.labels import SEVERITY_NAMES
from eventd.core.model import (
    AccessDenied,
    Alert,
    AlertJoined,
    Because,
    Fact,
    FindingNoted,
    Incident,
    IncidentAcknowledged,
    IncidentClosed,
    IncidentCommented,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    IncidentUpdated,
    InventoryLoaded,
    Maintenance,
    Matcher,
    RulesLoaded,
    Silence,
    SilenceAdded,
    SilenceEnded,
    Stormed,
)


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


class ReasonView(Struct, frozen=True):
    """Why a rule holds."""

    rule: str
    kind: str
    group: dict[str, str]
    count: int | None = None
    at_least: int | None = None
    within_seconds: float | None = None
    elsewhere: tuple[str, ...] = ()
    above: int | None = None  # new alerts a minute: a storm
    names: tuple[tuple[str, int], ...] = ()  # who talks most in it, and how often
    cis: tuple[tuple[str, int], ...] = ()


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
    alert: AlertView | None


class IncidentDetail(IncidentView, frozen=True):
    """An incident with its timeline, its alerts and the reason for each."""

    timeline: tuple[EntryView, ...]
    alerts: tuple[MemberView, ...]


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
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str


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


def incident_view(incident: Incident) -> IncidentView:
    """For people and tools."""
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
    )


def incident_detail(
    incident: Incident, timeline: tuple[EntryView, ...], alerts: tuple[MemberView, ...]
) -> IncidentDetail:
    """The same with what happened and who is in it."""
    return IncidentDetail(
        **structs.asdict(incident_view(incident)), timeline=timeline, alerts=alerts
    )


def reason_view(because: Because) -> ReasonView:
    """The typed reason, flat."""
    kind = type(because).__name__.lower()
    return ReasonView(
        rule=because.rule,
        kind=kind,
        group=because.group,
        count=getattr(because, "count", None),
        at_least=getattr(because, "at_least", None),
        within_seconds=getattr(because, "within", None),
        elsewhere=getattr(because, "elsewhere", ()),
        above=getattr(because, "limit", None),
        names=getattr(because, "names", ()),
        cis=getattr(because, "cis", ()),
    )


def member_view(joined: AlertJoined, alert: Alert | None) -> MemberView:
    """`alert` is None once it is forgotten."""
    return MemberView(
        joined.fingerprint,
        joined.episode,
        joined.at,
        reason_view(joined.because),
        alert_view(alert) if alert is not None else None,
    )


def entry_view(fact: Fact) -> EntryView:
    """A fact of an incident's history, in a sentence."""
    match fact:
        case IncidentOpened(at, incident):
            return EntryView(at, "opened", None, f"{incident.title}: {incident.because}")
        case IncidentUpdated():
            priority = f"P{fact.impact + fact.urgency - 1}"
            return EntryView(fact.at, "updated", None, f"{priority}: {fact.because}")
        case IncidentAcknowledged():
            return EntryView(fact.at, "acknowledged", fact.actor, f"{fact.actor} has it")
        case IncidentCommented():
            return EntryView(fact.at, "commented", fact.actor, fact.text)
        case IncidentResolved() | IncidentReopened() | IncidentClosed():
            kind = type(fact).__name__.removeprefix("Incident").lower()
            return EntryView(fact.at, kind, fact.actor or None, fact.text or fact.reason.value)
        case FindingNoted(because=Stormed() as storm):
            most = ", ".join(f"{name} ({count})" for name, count in storm.names)
            text = f"{storm.count} new alerts by now, most of them {most}"
            return EntryView(fact.at, "finding_noted", None, text)
        case FindingNoted():
            text = f"rule {fact.because.rule} holds too"
            return EntryView(fact.at, "finding_noted", None, text)
        case _:
            raise ValueError(type(fact).__name__)


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
        ):
            entry = entry_view(fact)
            return ActView(number, fact.at, entry.kind, entry.actor, fact.incident, entry.text)
        case _:
            raise ValueError(type(fact).__name__)


def silence_view(silence: Silence, *, active: bool) -> SilenceView:
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


def maintenance_view(one: Maintenance, *, active: bool) -> MaintenanceView:
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
