"""What operators say of incidents, and of which alerts belong together."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from eventd.core.correlation.correlation import Correlation
from eventd.core.correlation.parameters import RANKED
from eventd.core.dedup import AlertTable, Record
from eventd.core.incidents import IncidentRecord, IncidentTable, Rejected
from eventd.core.model import (
    Acknowledge,
    AlertDetached,
    Close,
    Comment,
    Detach,
    Fact,
    IncidentMerged,
    IncidentSplit,
    IncidentState,
    Merge,
    Ordered,
    Reopen,
    Resolve,
    Settings,
    Split,
    Status,
)
from eventd.core.placement import as_of, is_in, is_remembered

MAX_TOLD = 200  # characters of an operator's text that each alert is told

Order = Acknowledge | Comment | Resolve | Close | Reopen | Merge | Split | Detach


class Overruling:
    """Carries out commands about incidents, those of rules and those of the correlation.

    An incident that was merged, split off or reopened by hand is the operators': it resolves when
    all its alerts have cleared, whoever opened it, and the correlation only adds to it.
    """

    def __init__(
        self, alerts: AlertTable, incidents: IncidentTable, correlation: Correlation
    ) -> None:
        """The engine's own."""
        self._alerts, self._incidents = alerts, incidents
        self._correlation = correlation

    def command(self, order: Order, now: datetime, settings: Settings) -> list[Fact]:
        """What an operator asked for. Raises Rejected, and then nothing changed."""
        match order:
            case Merge():
                return self._merge(order, now, settings)
            case Split():
                return self._split(order, now, settings)
            case Detach():
                return self._detach(order, now, settings)
            case _:
                facts = self._incidents.command(order, now)
        match order:
            case Resolve():
                self._correlation.resolved(order.incident, now.timestamp())
            case Close():
                self._correlation.closed(order.incident)
            case Reopen():
                self._correlation.overruled(order.incident, order.incident, now.timestamp())
            case _:
                pass
        return facts

    def _merge(self, order: Merge, now: datetime, settings: Settings) -> list[Fact]:
        source = self._incidents.live(order.incident, now)
        into = self._incidents.live(order.into, now)
        if source is into:
            raise Rejected(missing=False, error=f"{into.id} cannot be merged into itself")
        because = Ordered(order.actor, order.text)
        facts: list[Fact] = [IncidentMerged(now, source.id, into.id, because, order.actor)]
        if source.firing and into.state is IncidentState.RESOLVED:
            reopen = Reopen(into.id, order.actor, order.text)
            facts += self._incidents.command(reopen, now)
        self._place(into, source, source.members, _of_each(order), now, facts)
        facts += self._incidents.merged(source.id, into.id, now, order.actor, order.text)
        self._incidents.answer_for(into, source)
        for incident in (source, into):
            self._correlation.overruled(incident.id, into.id, now.timestamp())
        if into.state is IncidentState.RESOLVED:  # nothing of the other fires
            self._correlation.resolved(into.id, now.timestamp())
        self._incidents.let_go(into, now, settings.resolve_after)
        return facts

    def _split(self, order: Split, now: datetime, settings: Settings) -> list[Fact]:
        record = self._incidents.live(order.incident, now)
        if record.state is IncidentState.RESOLVED:
            raise Rejected(missing=False, error=f"{record.id} is resolved; reopen it first")
        leaving = self._leaving(record, order.alerts)
        meant = self._remembered(record, leaving)
        known = [self._alerts.records[fingerprint] for fingerprint in meant]
        if not known:
            raise Rejected(missing=True, error="eventd remembers none of these alerts")
        lead = min(known, key=lambda one: (-one.severity, one.started_at, one.fingerprint))
        because = Ordered(order.actor, order.text)
        apart = self._incidents.split_off(_title(lead, known), lead.value(), because, now)
        because = _of_each(order)
        facts: list[Fact] = []
        self._place(apart, record, leaving, because, now, facts, opening=True)
        facts.append(IncidentSplit(now, record.id, apart.id, order.actor, order.text))
        facts += [self._release(record, one, apart.id, because, now) for one in leaving]
        self._correlation.overruled(record.id, apart.id, now.timestamp(), meant)
        facts += self._ranked(record, leaving, now)
        for incident in (record, apart):
            self._incidents.settle(incident, now, settings.resolve_after)
        return facts

    def _detach(self, order: Detach, now: datetime, settings: Settings) -> list[Fact]:
        record = self._incidents.live(order.incident, now)
        leaving = self._leaving(record, (order.fingerprint,))
        meant = self._remembered(record, leaving)
        because = Ordered(order.actor, order.text)
        fact = self._release(record, order.fingerprint, "", because, now)
        alert = self._alerts.records.get(order.fingerprint)
        if alert is not None and fact.fires:
            alert.detached = True
        self._correlation.overruled(record.id, "", now.timestamp(), meant)
        self._incidents.settle(record, now, settings.resolve_after)
        return [fact, *self._ranked(record, leaving, now)]

    def _ranked(self, record: IncidentRecord, left: Iterable[str], now: datetime) -> list[Fact]:
        """Its root candidates without what has left; of a storm only where that was one of them."""
        roots = [root.ci for root in record.roots]
        known = [one for alert in left if (one := self._alerts.records.get(alert)) is not None]
        if len(record.members) > RANKED and not any(one.ci in roots for one in known):
            return []
        ranked = self._correlation.roots_of(record.id)
        return self._incidents.ranked(record.id, ranked, now) if roots else []

    def _leaving(self, record: IncidentRecord, alerts: Iterable[str]) -> dict[str, int]:
        """The members named, with their episodes. Raises Rejected where none would stay."""
        leaving: dict[str, int] = {}
        for fingerprint in alerts:
            episode = record.members.get(fingerprint)
            if episode is None:
                raise Rejected(missing=True, error=f"{record.id} has no alert {fingerprint}")
            leaving[fingerprint] = episode
        if len(leaving) == len(record.members):
            raise Rejected(missing=False, error=f"{record.id} would have no alert left")
        return leaving

    def _remembered(self, incident: IncidentRecord, members: dict[str, int]) -> list[str]:
        """Fingerprints of the members that eventd has not forgotten since they joined."""
        alerts = self._alerts.records
        return [
            fingerprint
            for fingerprint, episode in members.items()
            if is_remembered(alerts.get(fingerprint), episode, incident.id)
        ]

    def _place(
        self,
        into: IncidentRecord,
        source: IncidentRecord,
        members: dict[str, int],
        because: Ordered,
        now: datetime,
        facts: list[Fact],
        *,
        opening: bool = False,
    ) -> None:
        for fingerprint in self._remembered(source, members):
            record, episode = self._alerts.records[fingerprint], members[fingerprint]
            alert = as_of(record, episode, source.id)
            if is_in(record, episode, source.id):
                record.incident = into.id
            self._incidents.place(into.id, alert, because, now, facts, opening=opening)
            opening = False

    def _release(
        self,
        incident: IncidentRecord,
        fingerprint: str,
        into: str,
        because: Ordered,
        now: datetime,
    ) -> AlertDetached:
        episode = incident.members[fingerprint]
        alert = self._alerts.records.get(fingerprint)
        present = alert is not None and is_in(alert, episode, incident.id, into)
        fires = alert is not None and present and alert.status is Status.FIRING
        self._incidents.release(incident.id, fingerprint, fires=fires, now=now)
        if alert is not None and present:
            alert.incident = into
        return AlertDetached(
            now, incident.id, fingerprint, episode, fires, into, because.actor, because.text
        )


def _of_each(order: Merge | Split) -> Ordered:
    """What each alert is told: it may be one of 100,000, and the timeline has the whole text."""
    text = order.text
    return Ordered(order.actor, text if len(text) <= MAX_TOLD else f"{text[:MAX_TOLD]}…")


def _title(lead: Record, alerts: list[Record]) -> str:
    others = len(alerts) - 1
    more = f" and {others} more alert{'s' if others > 1 else ''}" if others else ""
    return f"{lead.name} on {lead.ci or 'somewhere'}{more}"
