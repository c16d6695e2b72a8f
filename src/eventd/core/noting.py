"""What was changed before alerts of an incident, and which rules nearly had a word on them."""

from __future__ import annotations

from datetime import datetime

from eventd.core.incidents import JOINT
from eventd.core.model import Alert, AlertJoined, Change, Changed, Fact, Miss, RuleMissed
from eventd.core.rules.rule import Grouping, Noted
from eventd.core.sentences import called
from eventd.core.state import State


class Noting:
    """What `change` rules do, and the near misses of `change` and `calendar`."""

    def __init__(self, state: State) -> None:
        """The engine's own."""
        self._state, self._changes = state, state.changes
        self._rules, self._alerts, self._incidents = state.rules, state.table, state.incidents

    def follow(self, facts: list[Fact], told: int, now: datetime) -> None:
        """Say it of what was put into an incident since so many were told."""
        if not (self._rules.notes or self._rules.calendars or self._changes.known):
            return
        for fact in [one for one in facts[told:] if type(one) is AlertJoined]:
            if self._rules.notes:
                self._changes.joined.append((fact.fingerprint, fact.episode))
            if not self._rules.calendars and not self._changes.known:
                continue
            record = self._alerts.records.get(fact.fingerprint)
            if record is None or record.episode != fact.episode:
                continue
            alert = record.value()
            if self._changes.known:
                self._look_back(fact.incident, alert, now, facts)
            near = self._rules.nearly_covered(alert) if self._rules.calendars else None
            if near is not None:
                rule, how, late = near
                whose = alert.fingerprint, alert.episode
                facts.append(RuleMissed(now, *whose, rule, {}, "", 0, 0, 0.0, late, how))

    def note(self, noted: Noted, now: datetime, facts: list[Fact]) -> None:
        """Remember a change; one that is told late may be what alerts followed that came before."""
        change = noted.change
        self._changes.add(noted.by, noted.values, change, now)
        if change.at == now:
            return
        grouping, told = Grouping(noted.by), {""}  # incidents, each of which is told once
        for fingerprint, episode in self._changes.joined:
            record = self._alerts.records.get(fingerprint)
            if record is None or record.episode != episode or record.started_at < change.at:
                continue
            if record.incident not in told and grouping.of(record) == noted.values:
                told.add(record.incident)
                group = grouping.named(noted.values)
                facts += self._told(record.incident, record.value(), group, change, now)

    # -- parts ------------------------------------------------------------------------------------

    def _look_back(self, incident: str, alert: Alert, now: datetime, facts: list[Fact]) -> None:
        for group, change in self._changes.of(alert):
            facts += self._told(incident, alert, group, change, now)
        for group, change in self._changes.before(alert):
            if not self._incidents.nearly_noted(incident, change.rule):
                continue
            within = (change.until - change.at).total_seconds()
            missing = called(change.name, change.ci, change.summary)
            missed = alert.fingerprint, alert.episode, change.rule, group, missing, 0, 0, within
            late = (alert.started_at - change.at).total_seconds()
            facts.append(RuleMissed(now, *missed, late, Miss.CHANGE))

    def _told(
        self, incident: str, alert: Alert, group: dict[str, str], change: Change, now: datetime
    ) -> list[Fact]:
        before = (alert.started_at - change.at).total_seconds()
        said = change.name, change.ci, change.summary
        key = f"{change.rule}{JOINT}{change.fingerprint}{JOINT}{change.at.isoformat()}"
        because = Changed(change.rule, group, *said, before)
        return self._incidents.note_change(incident, because, key, now)
