"""Suppresses alerts that others explain, and lets them join the incident of what explains them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice

from msgspec.structs import replace

from eventd.core.dedup import Record
from eventd.core.model import (
    Alert,
    AlertJoined,
    AlertSuppressed,
    AlertUnsuppressed,
    Fact,
    Inhibited,
    Miss,
    RuleMissed,
    Status,
)
from eventd.core.rules.rule import Seen, Transition
from eventd.core.sentences import called
from eventd.core.state import EXPLAINED, SETTLE_TIMER, State

NEAR = 60.0  # s; a source that comes so long after it was waited for was nearly in time
MAX_TOLD = 100  # alerts that a source has missed, so many are told of it
Judge = Callable[[Record, Seen, datetime, list[Fact]], None]


class Explaining:
    """What `inhibit` and `dependency` rules do.

    A target waits a moment for its source. While something explains it, it is suppressed, and in
    the incident of that as soon as there is one: there it counts neither for impact nor urgency.
    When nothing explains it any more, it is judged again; it stays in an incident it is in.
    """

    def __init__(self, state: State, judge: Judge) -> None:
        """The engine's own; `judge` is for alerts that nothing explains any more."""
        self._state, self._judge = state, judge
        self._table, self._alerts = state.explained, state.table

    def fired(self, record: Record, alert: Alert, now: datetime, facts: list[Fact]) -> None:
        """An episode began: what it explains is suppressed, but for what explains it itself."""
        fingerprint = record.fingerprint
        self._table.take(fingerprint, self._state.rules.roles(alert))
        found = self._table.source_of(fingerprint)
        if found is not None:
            self._table.explain(fingerprint, found[1])
        missed = self._spread(fingerprint, now, facts)
        self._table.unexplain(fingerprint)  # it is not suppressed yet
        self._miss(missed, alert, now, facts)

    def changed(self, record: Record, alert: Alert, now: datetime, facts: list[Fact]) -> None:
        """A firing alert is another to rules than it was."""
        fingerprint = record.fingerprint
        self._table.take(fingerprint, self._state.rules.roles(alert))
        self._look_again(self._table.explained_by(fingerprint), now, facts)
        self._spread(fingerprint, now, facts)
        if not self.in_vain(record):
            self._look_again([fingerprint], now, facts)

    def over(self, fingerprint: str) -> None:
        """An episode is over: what that causes finds it in no role."""
        self._table.take(fingerprint, ())

    def cleared(self, fingerprint: str, now: datetime, facts: list[Fact]) -> None:
        """What it explained is judged again, but for what is explained by others."""
        self._look_again(self._table.explained_by(fingerprint), now, facts)

    def suppress(self, record: Record, now: datetime, facts: list[Fact]) -> bool:
        """Suppress an alert that something explains. Whether that is so."""
        found = self._table.source_of(record.fingerprint)
        if found is None:
            return False
        role, source = found
        by = self._by(role.rule)
        if record.suppressed_by != by:
            self._hold(record, by)
        self._table.explain(record.fingerprint, source)
        self._state.timers.cancel((SETTLE_TIMER, record.fingerprint))
        facts.append(AlertSuppressed(now, record.fingerprint, record.episode, by, source))
        self._state.correlation.withdrawn(record.fingerprint, now.timestamp())
        self._join(record, source, now, facts)
        return True

    def wait(self, record: Record, now: datetime, facts: list[Fact]) -> bool:
        """Wait for what may explain an alert that begins to fire. Whether there is such a rule."""
        roles = [one for one in self._table.roles(record.fingerprint) if one.explained]
        if not roles:
            return False
        rules = [self._state.rules.states[one.rule].rule for one in roles]
        longest = max(rules, key=lambda rule: rule.within)
        by = self._by(longest.name)
        self._hold(record, by)
        until = now + timedelta(seconds=longest.within)
        self._state.timers.set((SETTLE_TIMER, record.fingerprint), until)
        facts.append(AlertSuppressed(now, record.fingerprint, record.episode, by))
        return True

    def in_vain(self, record: Record) -> bool:
        """Whether an alert is suppressed that nothing explains, and that no rule waits with."""
        by, fingerprint = record.suppressed_by, record.fingerprint
        if not by.startswith(EXPLAINED) or self._table.source_of(fingerprint) is not None:
            return False
        if self._state.timers.get((SETTLE_TIMER, fingerprint)) is None:
            return True
        roles = self._table.roles(fingerprint)
        return not any(role.explained and by == self._by(role.rule) for role in roles)

    def let_go(self, record: Record) -> None:
        """The alert is suppressed and waited with no more: it is to be judged, or over."""
        self._state.timers.cancel((SETTLE_TIMER, record.fingerprint))
        self._state.suppressions.release(record.suppressed_by, record.fingerprint)
        self._table.unexplain(record.fingerprint)
        record.suppressed_by = ""

    def follow(self, facts: list[Fact], told: int, now: datetime) -> None:
        """What was put into an incident since so many were told takes along what it explains."""
        while told < len(facts):  # those that follow may explain others
            fact = facts[told]
            told += 1
            if type(fact) is not AlertJoined:
                continue
            for target in self._table.explained_by(fact.fingerprint):
                self._join(self._alerts.records[target], fact.fingerprint, now, facts)

    def retake(self) -> None:
        """Other rules are in force, or another inventory: all that fires has other roles."""
        for record in self._alerts.records.values():
            if record.status is Status.FIRING:
                self._table.take(record.fingerprint, self._state.rules.roles(record.value()))

    def reload(self, now: datetime, facts: list[Fact]) -> None:
        """What fires has taken other roles: others explain it, or nothing does."""
        firing = [r for r in self._alerts.records.values() if r.status is Status.FIRING]
        self._look_again([record.fingerprint for record in firing], now, facts)
        for record in firing:
            if not record.suppressed_by and not record.incident and not record.detached:
                self.suppress(record, now, facts)

    # -- parts ------------------------------------------------------------------------------------

    def _spread(self, fingerprint: str, now: datetime, facts: list[Fact]) -> list[Record]:
        """Suppress what belongs to no incident yet, and what has waited for it. The others."""
        others: list[Record] = []
        for target in self._table.explainable(fingerprint):
            record = self._alerts.records[target]
            if record.detached or self._table.by(target):
                continue
            if record.incident:
                others.append(record)
            elif not record.suppressed_by or record.suppressed_by.startswith(EXPLAINED):
                self.suppress(record, now, facts)
        return others

    def _miss(self, others: list[Record], source: Alert, now: datetime, facts: list[Fact]) -> None:
        """Tell it of those that would have been explained, had they been waited with longer."""
        if not others:
            return
        rules = [one.rule for one in self._table.roles(source.fingerprint) if one.explains]
        waits = {name: self._state.rules.states[name].rule.within for name in rules}
        longest = max(waits.values()) + NEAR
        waited = ((one, (now - one.started_at).total_seconds()) for one in others)
        for record, late in islice((one for one in waited if one[1] < longest), MAX_TOLD):
            fingerprint = record.fingerprint
            found = self._table.source_of(fingerprint)
            if found is None or found[1] != source.fingerprint:
                continue
            within = waits[found[0].rule]
            if late < within + NEAR:
                who, what = (fingerprint, record.episode), called(source.name, source.ci)
                told = RuleMissed(now, *who, found[0].rule, {}, what, 0, 0, within, late)
                facts.append(replace(told, how=Miss.SOURCE))

    def _look_again(self, fingerprints: list[str], now: datetime, facts: list[Fact]) -> None:
        """Let go what nothing explains any more, and nobody waits with."""
        for fingerprint in fingerprints:
            record = self._alerts.records.get(fingerprint)
            if record is None:
                continue  # the judgement of another has made room of it
            by = record.suppressed_by
            if not by.startswith(EXPLAINED):
                self._table.unexplain(fingerprint)
                continue
            found = self._table.source_of(fingerprint)
            if found is not None:
                if (self._by(found[0].rule), found[1]) != (by, self._table.by(fingerprint)):
                    self.suppress(record, now, facts)
                continue
            if self.in_vain(record):
                self.let_go(record)
                facts.append(AlertUnsuppressed(now, fingerprint, record.episode, by))
                seen = Seen(record.value(), Transition.JUDGED, now)
                self._judge(record, seen, now, facts)

    def _by(self, rule: str) -> str:
        """What suppresses an alert, if that rule does."""
        return f"{self._state.rules.states[rule].rule.kind}:{rule}"

    def _hold(self, record: Record, by: str) -> None:
        if record.suppressed_by:
            self._state.suppressions.release(record.suppressed_by, record.fingerprint)
        record.suppressed_by = by
        self._state.suppressions.hold(by, record.fingerprint)

    def _join(self, record: Record, source: str, now: datetime, facts: list[Fact]) -> None:
        """Put it where its source is, if that is somewhere."""
        explains = self._alerts.records[source]
        if record.incident or record.detached or not explains.incident:
            return
        rule = record.suppressed_by.partition(":")[2]
        because = Inhibited(rule, {}, source, explains.name, explains.ci)
        alert = record.value()
        if self._state.incidents.follow(explains.incident, alert, because, now, facts):
            record.incident = explains.incident
