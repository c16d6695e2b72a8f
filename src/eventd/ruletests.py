"""Rule tests: the cases beside rules, run through the engine that will judge by them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from eventd.cases import Case, Row, moment
from eventd.core.engine import Engine
from eventd.core.labels import SEVERITY_NAMES
from eventd.core.model import (
    Alert,
    AlertFired,
    AlertJoined,
    AlertRaised,
    AlertSuppressed,
    Fact,
    FindingNoted,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    RuleMissed,
    RuleSwitchedOff,
    Tick,
)
from eventd.core.sentences import near_miss, sentence

CORRELATION = "correlation"  # the rule of incidents that no rule opened


class Result(NamedTuple):
    """What came of a case."""

    case: Case
    missing: tuple[Row, ...]  # wanted, and did not happen
    extra: tuple[Row, ...]  # happened, and was not wanted
    met: tuple[Row, ...]
    happened: tuple[Row, ...]  # all of it

    @property
    def good(self) -> bool:
        """Whether what was wanted happened, and nothing else."""
        return not self.missing and not self.extra

    def difference(self) -> Iterator[str]:
        """A line for each thing: `-` was wanted, `+` happened; nothing before what is both."""
        rows = [(row, "- ") for row in self.missing] + [(row, "+ ") for row in self.extra]
        rows += [(row, "  ") for row in self.met]
        for row, mark in sorted(rows, key=lambda one: one[0].at):
            yield f"{mark}{row}"
        near = [row for row in self.happened if row.what == "missed"]
        if not any(row.what == "missed" for row in (*self.missing, *self.met)):
            yield from dict.fromkeys(f"  near: {row.said['']}, at {moment(row.at)}" for row in near)


def run(case: Case) -> Result:
    """Feed the engine, let it wait, and compare."""
    engine = Engine()
    for load in (case.rules, case.inventory):
        if load.version:
            engine.step(load, case.starts_at)
    facts = [fact for at, event in case.feed for fact in engine.step(event, at)]
    facts += engine.step(Tick(), case.ends_at)
    happened = list(_rows(facts, case.starts_at))
    sorts = {"opened", "switched_off", *(row.what for row in case.want)}
    whole = any(row.said.get("rule") == CORRELATION for row in case.want)
    extra = [
        row
        for row in happened
        if row.what in sorts and (whole or row.said.get("rule") != CORRELATION)
    ]
    missing: list[Row] = []
    met: list[Row] = []
    for want in case.want:
        found = next((row for row in extra if _meets(row, want)), None)
        if found is None:
            missing.append(want)
        else:
            extra.remove(found)
            met.append(want)
    return Result(case, tuple(missing), tuple(extra), tuple(met), tuple(happened))


def _rows(facts: Sequence[Fact], starts_at: datetime) -> Iterator[Row]:
    """What a test can speak of, in order."""
    alerts: dict[str, Alert] = {}
    rules: dict[str, str] = {}  # by the incidents they opened
    for fact in facts:
        at = (fact.at - starts_at).total_seconds()
        match fact:
            case AlertFired():
                alerts[fact.alert.fingerprint] = fact.alert
            case IncidentOpened(_, one):
                rules[one.id] = one.rule
                said = {"title": one.title, "priority": f"P{one.priority}"}
                said |= {"root": one.roots[0].ci} if one.roots else {}
                yield Row(at, "opened", {**said, "service": one.service, "rule": one.rule})
            case AlertJoined():
                alert = alerts[fact.fingerprint]
                said = {"incident": fact.incident, "rule": rules[fact.incident]}
                yield Row(at, "joined", {**said, "name": alert.name, "ci": alert.ci})
            case AlertSuppressed():
                alert = alerts[fact.fingerprint]
                said = {"by": fact.by, "name": alert.name, "ci": alert.ci}
                said |= {"source": alerts[fact.source].name} if fact.source else {}
                yield Row(at, "suppressed", said)
            case IncidentResolved():
                said = {"": fact.incident, "rule": rules[fact.incident]}
                yield Row(at, "resolved", said)
            case IncidentReopened():
                said = {"": fact.incident, "rule": rules[fact.incident]}
                yield Row(at, "reopened", said)
            case RuleMissed():
                yield Row(at, "missed", {"": near_miss(fact), "rule": fact.rule})
            case AlertRaised(begins=True):
                alert = alerts[fact.fingerprint]
                said = {"name": alert.name, "rule": fact.because.rule}
                said |= {"severity": SEVERITY_NAMES[alert.severity]}
                yield Row(at, "raised", {**said, "ci": alert.ci, "service": alert.service})
            case FindingNoted():
                said = {"": sentence(fact.because), "rule": fact.because.rule}
                yield Row(at, "noted", said)
            case RuleSwitchedOff():
                yield Row(at, "switched_off", {"": f"{fact.rule}: {fact.error}"})
            case _:
                pass


def _meets(row: Row, want: Row) -> bool:
    if row.what != want.what or not math.isclose(row.at, want.at, abs_tol=1e-6):
        return False
    if want.what in {"missed", "noted"}:
        return want.said[""] in row.said.values()
    return all(row.said.get(key, "") == value for key, value in want.said.items())
