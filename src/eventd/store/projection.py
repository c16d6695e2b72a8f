"""What facts mean for the tables: pure, rows out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from eventd.core.model import (
    AccessDenied,
    AlertJoined,
    AlertSuppressed,
    AlertUnmatched,
    AlertUnsuppressed,
    Fact,
    FindingNoted,
    IncidentAcknowledged,
    IncidentClosed,
    IncidentCommented,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    IncidentUpdated,
    InventoryLoaded,
    MaintenanceAnnounced,
    MaintenanceEnded,
    RulesLoaded,
    SilenceAdded,
    SilenceEnded,
)
from eventd.runtime import Step
from eventd.store.queries import SqlRow
from eventd.store.rows import encode, micros

TimelineFact = (
    IncidentOpened
    | IncidentUpdated
    | IncidentAcknowledged
    | IncidentCommented
    | IncidentResolved
    | IncidentReopened
    | IncidentClosed
    | FindingNoted
)
KINDS: dict[type[Fact], str] = {
    IncidentOpened: "opened",
    IncidentUpdated: "updated",
    IncidentAcknowledged: "acknowledged",
    IncidentCommented: "commented",
    IncidentResolved: "resolved",
    IncidentReopened: "reopened",
    IncidentClosed: "closed",
    FindingNoted: "finding_noted",
}
_PROJECTED = frozenset(
    {
        *KINDS,
        AlertJoined,
        AlertSuppressed,
        AlertUnsuppressed,
        AlertUnmatched,
        SilenceAdded,
        SilenceEnded,
        MaintenanceAnnounced,
        MaintenanceEnded,
    }
)

# Somebody did it, or was not let in.
_ACTS = frozenset(
    {
        IncidentAcknowledged,
        IncidentCommented,
        IncidentResolved,
        IncidentReopened,
        IncidentClosed,
        SilenceAdded,
        SilenceEnded,
        RulesLoaded,
        InventoryLoaded,
        AccessDenied,
    }
)
_TAKEN_UP = _PROJECTED | _ACTS

NOWHERE = ""  # the ledger's incident for alerts that are in none


class Projection:
    """Rows of one batch, collected step by step in order.

    Timeline rows lack `n`, which only the table knows.
    """

    def __init__(self) -> None:
        """No rows."""
        self.timeline: list[tuple[str, int, int, str, str, bytes]] = []
        self.ledger: defaultdict[str, list[tuple[int, Fact]]] = defaultdict(list)
        self.silences: list[SqlRow] = []
        self.ended_silences: list[SqlRow] = []
        self.maintenance: list[SqlRow] = []
        self.ended_maintenance: list[SqlRow] = []
        self.audit: list[SqlRow] = []

    def add(self, seq: int, facts: Iterable[Fact]) -> None:
        """Take up one step. Most facts of a busy daemon (repeats) mean nothing here."""
        ledger = self.ledger
        for fact in facts:
            if type(fact) is AlertJoined:  # most of the rest
                ledger[fact.incident].append((seq, fact))
            elif type(fact) in _TAKEN_UP:
                self._add(seq, fact)
                if type(fact) in _ACTS and getattr(fact, "actor", True):  # "" is eventd itself
                    self.audit.append((seq, micros(fact.at), encode(fact)))

    def _add(self, seq: int, fact: Fact) -> None:
        match fact:
            case AlertSuppressed() | AlertUnsuppressed() | AlertUnmatched():
                self.ledger[NOWHERE].append((seq, fact))
            case IncidentOpened():
                self._happened(seq, fact.incident.id, fact, "")
            case IncidentUpdated() | FindingNoted():
                self._happened(seq, fact.incident, fact, "")
            case (
                IncidentAcknowledged()
                | IncidentCommented()
                | IncidentResolved()
                | IncidentReopened()
                | IncidentClosed()
            ):
                self._happened(seq, fact.incident, fact, fact.actor)
            case SilenceAdded(silence=silence):
                span = micros(silence.starts_at), micros(silence.ends_at)
                self.silences.append((silence.id, seq, *span, encode(silence)))
            case SilenceEnded():
                self.ended_silences.append((micros(fact.at), fact.actor, seq, fact.silence))
            case MaintenanceAnnounced(maintenance=one):
                span = micros(one.window.starts_at), micros(one.window.ends_at)
                self.maintenance.append((one.id, seq, *span, encode(one)))
            case MaintenanceEnded():
                self.ended_maintenance.append((micros(fact.at), seq, fact.maintenance))
            case _:
                pass

    def _happened(self, seq: int, incident: str, fact: TimelineFact, actor: str) -> None:
        kind = KINDS[type(fact)]
        self.timeline.append((incident, seq, micros(fact.at), kind, actor, encode(fact)))

    def incidents(self) -> list[str]:
        """Those with timeline rows."""
        return list(dict.fromkeys(row[0] for row in self.timeline))

    def timeline_rows(self, heads: dict[str, int]) -> list[SqlRow]:
        """Number the rows on from the highest `n` of each incident."""
        rows: list[SqlRow] = []
        for row in self.timeline:
            heads[row[0]] = n = heads.get(row[0], 0) + 1
            rows.append((row[0], n, *row[1:]))
        return rows

    def ledger_rows(self, first: int) -> list[SqlRow]:
        """One row per incident; ids from `first` on."""
        return [
            (at, incident, entries[0][0], entries[-1][0], micros(entries[0][1].at), encode(entries))
            for at, (incident, entries) in enumerate(self.ledger.items(), first)
        ]


def project(steps: Sequence[Step]) -> Projection:
    """The rows of a batch."""
    projection = Projection()
    for step in steps:
        facts = step.facts
        if len(facts) != 1 or type(facts[0]) in _TAKEN_UP:
            projection.add(step.seq, facts)
    return projection
