"""Carries out what the correlation decides: alerts, incidents and clusters meet here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec.structs import astuple, replace

from eventd.core.correlation.correlation import Correlation
from eventd.core.correlation.parameters import OVER_AFTER, OVER_SHARE
from eventd.core.correlation.verdicts import (
    Alone,
    Detach,
    Join,
    LetGo,
    Merge,
    Over,
    Placed,
    Raise,
    Rank,
    Split,
    Verdict,
)
from eventd.core.dedup import AlertTable, Record
from eventd.core.incidents import IncidentTable
from eventd.core.model import (
    Alert,
    AlertAlone,
    AlertDetached,
    Fact,
    IncidentClosed,
    IncidentMerged,
    IncidentSplit,
    IncidentState,
    Status,
)


class Placement:
    """Which incident each alert belongs to, as far as the correlation says."""

    def __init__(
        self, alerts: AlertTable, incidents: IncidentTable, correlation: Correlation
    ) -> None:
        """The engine's own."""
        self._alerts, self._incidents = alerts, incidents
        self._correlation = correlation

    def carry_out(self, verdicts: Iterable[Verdict], now: datetime, facts: list[Fact]) -> list[str]:
        """In order. Fingerprints of firing alerts whose clear must have been lost."""
        lost: list[str] = []
        for verdict in verdicts:
            match verdict:
                case Join():
                    self._join(verdict, now, facts)
                case Raise():
                    self._raise(verdict, now, facts)
                case Alone():
                    facts.append(AlertAlone(now, *astuple(verdict)))
                case Merge():
                    self._merge(verdict, now, facts)
                case Split():
                    self._split(verdict, now, facts)
                case Detach():
                    self._leave(verdict, now, facts)
                case Over():
                    lost += self._over(verdict, now, facts)
                case LetGo():
                    record = self._incidents.records[verdict.incident]
                    self._incidents.let_go(record, now, OVER_AFTER)
                case Rank():
                    facts += self._incidents.ranked(verdict.incident, verdict.roots, now)
        return lost

    def _over(self, over: Over, now: datetime, facts: list[Fact]) -> list[str]:
        """Resolve the incident, unless something in it was repeated of late.

        A rule's may have alerts that the correlation does not follow, and be resolved already: what
        a rule claims while it is does not always reopen it.
        """
        incident = self._incidents.records[over.incident]
        if incident.state is not IncidentState.OPEN:
            return []
        members = self._incidents.members(over.incident)
        firing = [
            record
            for fingerprint, episode in members
            if (record := self._alerts.records.get(fingerprint)) is not None
            and record.status is Status.FIRING
            and is_in(record, episode, over.incident)
        ]
        since = now - timedelta(seconds=OVER_AFTER)
        many = len(firing) > OVER_SHARE * len(members)
        if (many and not incident.steered) or any(record.last_seen_at > since for record in firing):
            self._correlation.goes_on(over.cluster, now.timestamp())
            return []
        facts += self._incidents.over(over.incident, now)
        return [record.fingerprint for record in firing]

    def _join(self, join: Join, now: datetime, facts: list[Fact]) -> None:
        for placed in filter(self._loose, join.placed):
            self._place(join.incident, placed, now, facts)

    def _raise(self, raised: Raise, now: datetime, facts: list[Fact], source: str = "") -> str:
        """Open the incident; "" where all that is in the cluster belongs elsewhere by now."""
        placed = [one for one in raised.placed if self._loose(one, source)]
        if not placed:
            self._correlation.dissolved(raised.cluster)
            return ""
        if self._incidents.is_full and not source:
            self._overflow(placed, now, facts)
            self._correlation.dissolved(raised.cluster)
            return ""
        placed.sort(key=lambda one: one.fingerprint != raised.lead)
        lead = self._alerts.records[placed[0].fingerprint].value()
        record = self._incidents.raise_cluster(
            raised.cluster,
            raised.title,
            lead,
            placed[0].because,
            raised.roots,
            now,
            raised.recurs,
        )
        for at, one in enumerate(placed):
            self._place(record.id, one, now, facts, source, opening=at == 0)
        self._correlation.named(raised.cluster, record.id)
        return record.id

    def _overflow(self, placed: list[Placed], now: datetime, facts: list[Fact]) -> None:
        """There is no room for an incident of their own."""
        for one in placed:
            record, start = self._alerts.records[one.fingerprint], len(facts)
            alert = as_of(record, one.episode, "")
            into = self._incidents.overflow(alert, now, facts, fresh=False)
            if isinstance(superseded := facts[start], IncidentClosed):
                self._correlation.closed(superseded.incident)
            if is_in(record, one.episode, ""):
                record.incident = into.id
            self._incidents.settle(into, now, OVER_AFTER)

    def _loose(self, placed: Placed, source: str = "") -> bool:
        """Whether the episode is remembered, and in no incident but `source`."""
        record = self._alerts.records.get(placed.fingerprint)
        return record is not None and (
            record.episode != placed.episode or record.incident in {"", source}
        )

    def _place(
        self,
        incident: str,
        placed: Placed,
        now: datetime,
        facts: list[Fact],
        source: str = "",
        *,
        opening: bool = False,
    ) -> None:
        record = self._alerts.records[placed.fingerprint]
        alert = as_of(record, placed.episode, source)
        if is_in(record, placed.episode, source):
            record.incident = incident
        self._incidents.place(incident, alert, placed.because, now, facts, opening=opening)

    def _merge(self, merge: Merge, now: datetime, facts: list[Fact]) -> None:
        facts.append(IncidentMerged(now, merge.incident, merge.into, merge.because))
        members = self._incidents.members(merge.incident)
        placed = [Placed(fingerprint, episode, merge.because) for fingerprint, episode in members]
        for one in placed:
            record = self._alerts.records.get(one.fingerprint)
            if is_remembered(record, one.episode, merge.incident):
                self._place(merge.into, one, now, facts, merge.incident)
        facts += self._incidents.merged(merge.incident, merge.into, now)

    def _split(self, split: Split, now: datetime, facts: list[Fact]) -> None:
        leaving = [one for one in split.raised.placed if self._loose(one, split.incident)]
        apart = self._raise(split.raised, now, facts, split.incident)
        facts.append(IncidentSplit(now, split.incident, apart))
        # the present episode counts as firing: it has to leave before earlier ones of its alert
        for one in sorted(leaving, key=lambda one: -one.episode):
            self._detach(split.incident, one.fingerprint, one.episode, apart, now, facts)

    def _leave(self, left: Detach, now: datetime, facts: list[Fact]) -> None:
        """Take the episode out, where no rule has claimed it for another incident."""
        members = self._incidents.records[left.incident].members
        if members.get(left.fingerprint) == left.episode:
            self._detach(left.incident, left.fingerprint, left.episode, "", now, facts)

    def _detach(
        self,
        incident: str,
        fingerprint: str,
        episode: int,
        into: str,
        now: datetime,
        facts: list[Fact],
    ) -> None:
        record = self._alerts.records.get(fingerprint)
        there = record is not None and is_in(record, episode, incident, into)
        fires = there and record is not None and record.status is Status.FIRING
        self._incidents.release(incident, fingerprint, fires=fires, now=now)
        if there and record is not None:
            record.incident = into
        facts.append(AlertDetached(now, incident, fingerprint, episode, fires, into))


def is_in(record: Record, episode: int, incident: str, into: str = "") -> bool:
    """Whether that is the present episode, and it is in the incident, or on its way `into` another.

    An alert that was forgotten counts its episodes anew, and may be anywhere.
    """
    return record.episode == episode and record.incident in {incident, into or incident}


def is_remembered(record: Record | None, episode: int, incident: str) -> bool:
    """Whether the alert is the incident's member, and was not forgotten since it joined."""
    if record is None:
        return False
    return record.episode > episode or is_in(record, episode, incident)


def as_of(record: Record, episode: int, incident: str) -> Alert:
    """The alert as it was in that episode in the incident: an earlier one is over."""
    alert = record.value()
    if is_in(record, episode, incident):
        return alert
    return replace(alert, episode=episode, status=Status.CLEARED)
