"""Which incidents a fact concerns, and which facts stand on their timelines."""

from __future__ import annotations

from eventd.core.model import (
    AlertDetached,
    Fact,
    FindingNoted,
    Incident,
    IncidentAcknowledged,
    IncidentClosed,
    IncidentCommented,
    IncidentMerged,
    IncidentOpened,
    IncidentRanked,
    IncidentReopened,
    IncidentResolved,
    IncidentSplit,
    IncidentUpdated,
    VerdictGiven,
)

KINDS: dict[type[Fact], str] = {
    IncidentOpened: "opened",
    IncidentUpdated: "updated",
    IncidentAcknowledged: "acknowledged",
    IncidentCommented: "commented",
    IncidentResolved: "resolved",
    IncidentReopened: "reopened",
    IncidentClosed: "closed",
    IncidentMerged: "merged",
    IncidentSplit: "split",
    IncidentRanked: "ranked",
    AlertDetached: "detached",
    FindingNoted: "finding_noted",
    VerdictGiven: "verdict",
}
_FIELDS = ("incident", "into", "apart")


def incidents_of(fact: Fact) -> list[str]:
    """Ids of the incidents it is about, its own first."""
    found: list[str] = []
    for field in _FIELDS:
        value = getattr(fact, field, "")
        name = value.id if isinstance(value, Incident) else value
        if isinstance(name, str) and name:
            found.append(name)
    return found
