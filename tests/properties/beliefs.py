"""What a reader of facts alone would believe: the engine must believe the same."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from msgspec import Struct

from eventd.core import incidents
from eventd.core.engine import Engine
from eventd.core.model import (
    AlertChanged,
    AlertCleared,
    AlertDetached,
    AlertFired,
    AlertForgotten,
    AlertJoined,
    AlertSuppressed,
    AlertUnsuppressed,
    EndReason,
    Fact,
    Incident,
    IncidentAcknowledged,
    IncidentClosed,
    IncidentMerged,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    IncidentState,
    IncidentUpdated,
    MaintenanceAnnounced,
    MaintenanceEnded,
    Severity,
    SilenceAdded,
    SilenceEnded,
    Status,
)

EXPLAINED = ("inhibit:", "dependency:")
KINDS_OF_RULES = ("settle:", "calendar:", *EXPLAINED)


class BelievedAlert(Struct):
    """An alert by its facts."""

    episode: int
    severity: Severity
    status: Status = Status.FIRING
    suppressed_by: str = ""
    incident: str = ""
    cleared_at: datetime | None = None


class BelievedIncident(Struct):
    """An incident by its facts."""

    impact: int
    urgency: int
    state: IncidentState = IncidentState.OPEN
    members: set[str] = set()
    firing: int = 0
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    resolved_at: datetime | None = None
    closed_at: datetime | None = None


class Beliefs:
    """The fold of all facts so far."""

    def __init__(self) -> None:
        self.alerts: dict[str, BelievedAlert] = {}
        self.incidents: dict[str, BelievedIncident] = {}
        self.suppressors: set[str] = set()
        self.merged: set[str] = set()  # incidents whose alerts are elsewhere
        self.moving: set[tuple[str, str]] = set()  # alerts that are to leave an incident yet
        self.lives: Counter[str] = Counter()  # how often an alert was forgotten
        self.joined: dict[tuple[str, str], int] = {}  # in which life it joined the incident last
        self.again: Counter[str] = Counter()  # alerts that an incident of many may count twice

    def take(self, fact: Fact) -> None:
        """Believe one more fact."""
        match fact:
            case AlertFired(_, alert):
                self.alerts[alert.fingerprint] = BelievedAlert(alert.episode, alert.severity)
            case AlertChanged():
                assert self.alerts[fact.fingerprint].severity is fact.was
                self.alerts[fact.fingerprint].severity = fact.severity
            case AlertCleared():
                known = self.alerts[fact.fingerprint]
                assert known.episode == fact.episode
                known.status, known.suppressed_by = Status.CLEARED, ""
                known.cleared_at = fact.at
                if fact.incident:
                    self.incidents[fact.incident].firing -= 1
            case AlertForgotten():
                self.alerts.pop(fact.fingerprint, None)
                self.lives[fact.fingerprint] += 1
            case AlertSuppressed():
                assert fact.by in self.suppressors or fact.by.startswith(KINDS_OF_RULES)
                self.alerts[fact.fingerprint].suppressed_by = fact.by
            case AlertUnsuppressed():
                assert self.alerts[fact.fingerprint].suppressed_by == fact.by
                self.alerts[fact.fingerprint].suppressed_by = ""
            case AlertJoined():
                self._joined(fact)
            case AlertDetached():
                self._detached(fact)
            case _:
                self._suppressor(fact)
                self._incident(fact)

    def _joined(self, fact: AlertJoined) -> None:
        """An episode that is over, or another one by now, joins without firing."""
        alert = self.alerts.get(fact.fingerprint)
        incident = self.incidents[fact.incident]
        assert incident.state is not IncidentState.CLOSED
        life, key = self.lives[fact.fingerprint], (fact.incident, fact.fingerprint)
        if life > self.joined.get(key, life) and len(incident.members) > incidents.KEPT:
            self.again[fact.incident] += 1
        self.joined[key] = life
        incident.members.add(fact.fingerprint)
        if alert is None or alert.episode != fact.episode:
            return
        if alert.incident == "":
            assert not alert.suppressed_by or alert.suppressed_by.startswith(EXPLAINED)
        elif alert.incident not in self.merged:
            self.moving.add((alert.incident, fact.fingerprint))
        alert.incident = fact.incident
        incident.firing += alert.status is Status.FIRING

    def _detached(self, fact: AlertDetached) -> None:
        self.moving.discard((fact.incident, fact.fingerprint))
        incident = self.incidents[fact.incident]
        incident.members.discard(fact.fingerprint)  # another episode of it may have left before
        incident.firing -= fact.fires
        alert = self.alerts.get(fact.fingerprint)
        # an alert that was forgotten counts its episodes anew: it may be another that is meant
        there = alert is not None and alert.incident == fact.incident
        if alert is not None and there and alert.episode == fact.episode and not fact.into:
            assert fact.fires is (alert.status is Status.FIRING)
            alert.incident = ""

    def _suppressor(self, fact: Fact) -> None:
        match fact:
            case SilenceAdded():
                self.suppressors.add(fact.silence.id)
            case MaintenanceAnnounced():
                self.suppressors.add(fact.maintenance.id)
            case SilenceEnded():
                self.suppressors.remove(fact.silence)
            case MaintenanceEnded():
                self.suppressors.remove(fact.maintenance)
            case _:
                pass

    def _incident(self, fact: Fact) -> None:
        match fact:
            case IncidentOpened(_, new):
                self.incidents[new.id] = BelievedIncident(new.impact, new.urgency, members=set())
            case IncidentUpdated():
                known = self.incidents[fact.incident]
                known.impact, known.urgency = fact.impact, fact.urgency
            case IncidentAcknowledged():
                known = self.incidents[fact.incident]
                known.acknowledged_at, known.acknowledged_by = fact.at, fact.actor
            case IncidentResolved():
                known = self.incidents[fact.incident]
                assert known.state is IncidentState.OPEN
                known.state, known.resolved_at = IncidentState.RESOLVED, fact.at
            case IncidentReopened():
                known = self.incidents[fact.incident]
                assert known.state is IncidentState.RESOLVED
                known.state, known.resolved_at = IncidentState.OPEN, None
                known.acknowledged_at, known.acknowledged_by = None, ""
            case IncidentMerged():
                self.merged.add(fact.incident)
            case IncidentClosed():
                known = self.incidents[fact.incident]
                if fact.reason is EndReason.MERGED:
                    known.firing = 0
                assert known.state is not IncidentState.CLOSED
                known.state, known.closed_at = IncidentState.CLOSED, fact.at
                known.resolved_at = known.resolved_at or fact.at
                if fact.reason is EndReason.MERGED:
                    known.firing = 0  # they fire elsewhere
            case _:
                pass

    def agree_with(self, engine: Engine) -> None:
        """Assert that the engine's tables say the same."""
        assert not self.moving
        seen = {
            alert.fingerprint: BelievedAlert(
                alert.episode,
                alert.severity,
                alert.status,
                alert.suppressed_by,
                alert.incident,
                alert.cleared_at,
            )
            for alert in engine.alerts()
        }
        assert seen == self.alerts
        for incident in engine.incidents():
            believed = self.incidents[incident.id]
            assert 0 <= incident.alerts - len(believed.members) <= self.again[incident.id]
            assert _as_believed(incident, believed.members) == believed
        known = {incident.id for incident in engine.incidents()}
        for id_, believed in self.incidents.items():
            assert id_ in known or believed.state is IncidentState.CLOSED


def _as_believed(incident: Incident, members: set[str]) -> BelievedIncident:
    return BelievedIncident(
        impact=incident.impact,
        urgency=incident.urgency,
        state=incident.state,
        members=members,
        firing=incident.firing,
        acknowledged_at=incident.acknowledged_at,
        acknowledged_by=incident.acknowledged_by,
        resolved_at=incident.resolved_at,
        closed_at=incident.closed_at,
    )
