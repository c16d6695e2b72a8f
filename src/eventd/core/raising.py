"""Fires the alerts of rules that open no incident, and ends them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import islice

from msgspec.structs import replace

from eventd.core.dedup import Record
from eventd.core.labels import severity_of
from eventd.core.model import (
    AlertRaised,
    Because,
    CapHit,
    ClearReason,
    Event,
    Fact,
    Severity,
    Status,
)
from eventd.core.rules.loops import MAX_CHAIN
from eventd.core.rules.own import own_event
from eventd.core.rules.rule import AlertSpec, Finding, Rule
from eventd.core.sentences import called
from eventd.core.state import State

TakeIn = Callable[[Event, datetime, list[Fact]], None]
EndAlert = Callable[[Record, datetime, ClearReason, list[Fact]], None]
MAX_TOLD = 8  # of the alerts behind one, by name


class Raising:
    """A rule's own alert fires while any of those does that made it.

    It is taken in as the event of a source is, so that whatever looks at alerts looks at it.
    """

    def __init__(self, state: State, take_in: TakeIn, end: EndAlert) -> None:
        """The engine's own; `take_in` is for events that rules say, `end` for alerts they end."""
        self._table, self._records = state.raised, state.table.records
        self._take_in, self._end = take_in, end
        self._depth = 0  # how many alerts of rules have made one another by now

    def fire(
        self, finding: Finding, made: Sequence[Record], now: datetime, facts: list[Fact]
    ) -> None:
        """The rule holds, as these alerts fire; each time that it does is seen."""
        event = _event(finding.rule, finding.group, now)
        own = event.fingerprint
        if self._depth >= MAX_CHAIN:  # never of rules without loops
            facts.append(CapHit(now, "chain", finding.rule.name))
            return
        alerts = [one.fingerprint for one in made if one.fingerprint != own]
        new = self._table.link(own, alerts)
        if not alerts or not self._table.behind(own):
            return
        begins = not self._fires(own)
        self._depth += 1
        try:
            self._take_in(event, now, facts)
        finally:
            self._depth -= 1
        behind = self._table.behind(own)  # what it caused may have ended them
        if not behind:
            self._over(own, now, ClearReason.PAIRED, facts)
        elif not self._fires(own):  # evicted twice at one time, it fired anew but once
            self._table.drop(own)
        elif begins or new:
            new = [one for one in new if one in behind]
            self._tell(finding, own, new, begins=begins, now=now, facts=facts)

    def over(self, rule: Rule, group: dict[str, str], now: datetime, facts: list[Fact]) -> None:
        """The rule holds no more for the group."""
        own = _event(rule, group, now).fingerprint
        self._table.drop(own)
        self._over(own, now, ClearReason.FEWER, facts)

    def cleared(self, fingerprint: str, now: datetime, facts: list[Fact]) -> None:
        """An alert fires no more, and with it those that nobody else is behind."""
        for own in self._table.cleared(fingerprint):
            self._over(own, now, ClearReason.PAIRED, facts)

    def tell(self, own: str, because: Because, now: datetime, facts: list[Fact]) -> None:
        """Why a rule fires an alert that no others made."""
        record = self._records.get(own)
        if record is not None:
            facts.append(
                AlertRaised(now, own, record.episode, own, record.name, because, 0, (), begins=True)
            )

    # -- parts ------------------------------------------------------------------------------------

    def _tell(
        self,
        finding: Finding,
        own: str,
        new: Sequence[str],
        *,
        begins: bool,
        now: datetime,
        facts: list[Fact],
    ) -> None:
        """Of the alert, and of those that are behind it from now on."""
        record, behind = self._records[own], self._table.behind(own)
        known = map(self._records.__getitem__, islice(behind, MAX_TOLD))
        first = [(one.fingerprint, called(one.name, one.ci)) for one in known]
        told = AlertRaised(
            now,
            own,
            record.episode,
            own,
            record.name,
            finding.because,
            len(behind),
            tuple(first),
            begins,
        )
        facts.append(told)
        facts += [
            replace(
                told,
                fingerprint=one,
                episode=self._records[one].episode,
                because=finding.own.get(one, finding.because),
                alerts=(),
                begins=False,
            )
            for one in new
        ]

    def _fires(self, own: str) -> bool:
        record = self._records.get(own)
        return record is not None and record.status is Status.FIRING

    def _over(self, own: str, now: datetime, reason: ClearReason, facts: list[Fact]) -> None:
        if self._fires(own):
            record = self._records[own]
            record.weak_key = b""  # fired anew at this very time, it is no redelivery
            self._end(record, now, reason, facts)


def _event(rule: Rule, group: dict[str, str], now: datetime) -> Event:
    spec = rule.alert or AlertSpec()
    severity = severity_of(spec.severity) or Severity.INFO
    return own_event(rule, group, spec.name or rule.name, severity, Status.FIRING, now)
