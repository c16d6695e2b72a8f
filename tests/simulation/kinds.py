"""What happened, in words to count by: whether seeds meet what they are there to meet."""

from __future__ import annotations

from collections.abc import Iterator

from eventd.core.heartbeats import SILENT
from eventd.core.incidents import CORRELATION, OPERATOR
from eventd.core.model import (
    AlertAlone,
    AlertCleared,
    AlertDetached,
    AlertFired,
    AlertFlapping,
    AlertJoined,
    AlertSuppressed,
    CommandRejected,
    Correlated,
    Fact,
    IncidentClosed,
    IncidentMerged,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    IncidentSplit,
)

# Each of these is met by any fifty seeds: by a sixth of all, at least. Others are rarer.
WANTED = (
    "AlertAlone blip",
    "AlertAlone info",
    "AlertChanged",
    "AlertDetached by operator",
    "AlertForgotten",
    "AlertJoined claimed",
    "AlertJoined depends",
    "AlertJoined island",
    "AlertJoined root",
    "AlertJoined same",
    "AlertSuppressed MNT",
    "AlertSuppressed SIL",
    "AlertUnsuppressed",
    "FindingNoted",
    "IncidentMerged by eventd",
    "IncidentMerged by operator",
    "IncidentOpened by correlation",
    "IncidentOpened by rule",
    "IncidentRanked",
    "IncidentResolved cleared",
    "IncidentSplit by eventd",
    "IncidentSplit by operator",
    "InventoryLoaded",
    "RulesLoaded",
)


def kinds(fact: Fact) -> Iterator[str]:
    """What a fact counts as."""
    name = type(fact).__name__
    match fact:
        case AlertFired():
            yield f"{name} silent" if fact.alert.name.endswith(SILENT) else name
        case AlertCleared() | IncidentClosed() | IncidentResolved() | IncidentReopened():
            yield f"{name} {fact.reason.value}"
        case AlertJoined():
            because = fact.because
            how = because.tie.value if isinstance(because, Correlated) else type(because).__name__
            yield f"{name} {how.lower()}"
        case AlertAlone():
            yield f"{name} {fact.why.value}"
        case AlertFlapping():
            yield f"{name} {'on' if fact.on else 'off'}"
        case AlertSuppressed():
            yield f"{name} {fact.by[:3]}"
        case AlertDetached() if not fact.into:
            yield f"{name} {_who(fact.actor)}"
        case IncidentMerged() | IncidentSplit():
            yield f"{name} {_who(fact.actor)}"
        case IncidentOpened():
            own = {CORRELATION: "correlation", OPERATOR: "operator"}
            yield f"{name} by {own.get(fact.incident.rule, 'rule')}"
            if fact.incident.recurs:
                yield f"{name} recurs"
        case CommandRejected():
            yield f"{name} {'unknown' if fact.missing else 'impossible'}"
        case _:
            yield name


def _who(actor: str) -> str:
    return "by operator" if actor else "by eventd"
