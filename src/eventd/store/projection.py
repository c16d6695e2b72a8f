"""What facts mean for the tables: pure, rows out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from eventd.core.concerned import KINDS, incidents_of
from eventd.core.model import (
    SORTS,
    AccessDenied,
    AlertAlone,
    AlertDetached,
    AlertFlapping,
    AlertForgotten,
    AlertJoined,
    AlertRaised,
    AlertSuppressed,
    AlertUnmatched,
    AlertUnsuppressed,
    Fact,
    FindingNoted,
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
    InventoryLoaded,
    MaintenanceAnnounced,
    MaintenanceEnded,
    Miss,
    Reason,
    RuleMissed,
    RulesLoaded,
    SilenceAdded,
    SilenceEnded,
    VerdictGiven,
    sort_of,
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
    | IncidentMerged
    | IncidentSplit
    | IncidentRanked
    | AlertDetached
    | FindingNoted
    | VerdictGiven
)
_PROJECTED = frozenset(
    {
        *KINDS,
        AlertJoined,
        AlertSuppressed,
        AlertUnsuppressed,
        AlertUnmatched,
        AlertAlone,
        AlertFlapping,
        AlertForgotten,
        AlertRaised,
        RuleMissed,
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
        IncidentMerged,
        IncidentSplit,
        AlertDetached,
        VerdictGiven,
        SilenceAdded,
        SilenceEnded,
        RulesLoaded,
        InventoryLoaded,
        AccessDenied,
    }
)
_TAKEN_UP = _PROJECTED | _ACTS

_NAMES = (
    "",
    " raised",
    *(f" {sort}{end}" for sort in SORTS for end in ("", " over")),
    *(f" missed {how.value}" for how in Miss),
)
NOWHERE = ""  # the ledger's incident for alerts that are in none


def filed_under(fact: Reason) -> str:
    """What the latest reason of its sort is filed under, of those in the ledger of none.

    One of `names_of`.
    """
    match fact:
        case AlertSuppressed():
            return f"{fact.fingerprint} {sort_of(fact.by)}"
        case AlertUnsuppressed():
            return f"{fact.fingerprint} {sort_of(fact.by)} over"
        case RuleMissed():
            return f"{fact.fingerprint} missed {fact.how.value}"
        case AlertRaised():
            return f"{fact.fingerprint} raised"
        case AlertJoined() | AlertDetached() | AlertAlone():
            return fact.fingerprint


def names_of(fingerprint: str) -> tuple[str, ...]:
    """All that reasons of the alert may be filed under.

    `forget_alone` finds them by the fingerprint they begin with, and the blank behind it.
    """
    return tuple([f"{fingerprint}{name}" for name in _NAMES])


class Projection:
    """Rows of one batch, collected step by step in order.

    Timeline rows lack `n`, which only the table knows.
    """

    def __init__(self) -> None:
        """No rows."""
        self.timeline: list[tuple[str, int, int, str, str, bytes]] = []
        self.ledger: defaultdict[str, list[tuple[int, Fact]]] = defaultdict(list)
        self.alone: dict[str, None] = {}  # what reasons in the ledger of none are filed under
        self.forgotten: list[str] = []  # alerts of which nothing of before is filed any more
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
            elif type(fact) is AlertForgotten:
                self._forget(fact.fingerprint)
            elif type(fact) in _TAKEN_UP:
                self._add(seq, fact)
                if type(fact) in _ACTS and getattr(fact, "actor", True):  # "" is eventd itself
                    self.audit.append((seq, micros(fact.at), encode(fact)))

    def _add(self, seq: int, fact: Fact) -> None:
        match fact:
            case AlertDetached():
                self.ledger[fact.incident].append((seq, fact))
                if not fact.into:  # else the entry that says what became of them is enough
                    self._happened(seq, fact.incident, fact, fact.actor)
                    self._stands_alone(seq, fact)
            case AlertUnmatched() | AlertFlapping():
                self.ledger[NOWHERE].append((seq, fact))
            case (
                AlertAlone()
                | AlertSuppressed()
                | AlertUnsuppressed()
                | AlertRaised()
                | RuleMissed()
            ):
                self._stands_alone(seq, fact)
            case IncidentOpened():
                self._happened(seq, fact.incident.id, fact, "")
            case IncidentUpdated() | FindingNoted() | IncidentRanked():
                self._happened(seq, fact.incident, fact, "")
            case IncidentMerged() | IncidentSplit():
                for incident in incidents_of(fact):
                    self._happened(seq, incident, fact, fact.actor)
            case (
                IncidentAcknowledged()
                | IncidentCommented()
                | IncidentResolved()
                | IncidentReopened()
                | IncidentClosed()
                | VerdictGiven()
            ):
                self._happened(seq, fact.incident, fact, fact.actor)
            case SilenceAdded() | SilenceEnded() | MaintenanceAnnounced() | MaintenanceEnded():
                self._covered(seq, fact)
            case _:
                pass

    def _covered(
        self,
        seq: int,
        fact: SilenceAdded | SilenceEnded | MaintenanceAnnounced | MaintenanceEnded,
    ) -> None:
        match fact:
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

    def _forget(self, fingerprint: str) -> None:
        if self.alone:
            for name in names_of(fingerprint):
                self.alone.pop(name, None)
        self.forgotten.append(fingerprint)

    def _stands_alone(self, seq: int, fact: Reason) -> None:
        self.ledger[NOWHERE].append((seq, fact))
        self.alone[filed_under(fact)] = None

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

    def alone_rows(self, first: int) -> list[SqlRow]:
        """Where the ledger says why alerts stand alone; its ids are given from `first` on."""
        if not self.alone:
            return []
        row = first + list(self.ledger).index(NOWHERE)
        return [(fingerprint, row) for fingerprint in self.alone]

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
