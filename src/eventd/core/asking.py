"""Asks the rules, and carries out what they say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from msgspec.structs import replace

from eventd.core.correlating import Correlating
from eventd.core.dedup import Record
from eventd.core.explaining import Explaining
from eventd.core.model import (
    Absent,
    Alert,
    AlertDetached,
    AlertSuppressed,
    CapHit,
    ClearReason,
    Connected,
    Counted,
    Event,
    Fact,
    Gathered,
    IncidentClosed,
    IncidentState,
    LoadRules,
    RuleMissed,
    RulesLoaded,
    RuleSwitchedOff,
    Sequenced,
    Status,
)
from eventd.core.noting import Noting
from eventd.core.raising import EndAlert, Raising, TakeIn
from eventd.core.rules.rule import (
    OWN_SOURCE,
    Answer,
    End,
    Ending,
    Finding,
    Grouping,
    Hold,
    Missed,
    Noted,
    Over,
    Raise,
    RuleState,
    Seen,
    Transition,
    Wake,
)
from eventd.core.rules.trace import Trace
from eventd.core.state import CALENDAR, SETTLE, SETTLE_TIMER, State, limits_of

RULE_TIMER = "rule"
CALENDAR_TIMER = "calendar"  # its key is the name of a rule
_JOINT = "\x1f"  # between a rule's name and its key, which is JSON and so has none
_NOTHING: dict[str, int] = {}
OF_SEVERAL = Counted | Sequenced | Gathered | Connected | Absent  # reasons of several alerts
_FRESH = (Transition.FIRED, Transition.WAITED, Transition.SETTLED)
_AGAIN = (Transition.JUDGED, Transition.WAITED, Transition.SETTLED)  # after it was held back


class Asking:
    """What rules find, put into incidents: an alert belongs to the first that claims it."""

    def __init__(
        self,
        state: State,
        correlating: Correlating,
        explaining: Explaining,
        noting: Noting,
        take_in: TakeIn,
        end: EndAlert,
    ) -> None:
        """The engine's own; `take_in` is for events that rules say, `end` for alerts they end."""
        self._take_in, self._end = take_in, end
        self._explaining, self._noting = explaining, noting
        self.raising = Raising(state, take_in, end)
        self._own: dict[str, Finding] = {}  # what rules hold for an alert of theirs, on its way
        self._state = state
        self._alerts, self._incidents = state.table, state.incidents
        self._rules, self._timers = state.rules, state.timers
        self._suppressions, self._correlation = state.suppressions, state.correlation
        self._correlating = correlating
        self.trace: Trace | None = None  # of a run that has to explain

    def load(self, load: LoadRules, now: datetime, facts: list[Fact]) -> None:
        """Replace the rule set. Rules that are unchanged keep what they remember."""
        before, explained = dict(self._rules.states), self._rules.explains
        kept = self._rules.load(load.version, load.rules, limits_of(self._state), load.zones)
        facts.append(RulesLoaded(now, load.version, len(load.rules), kept))
        if explained or self._rules.explains:  # what ends now may speak of rules that are gone
            self._explaining.retake()
        self._let_go(
            [old for n, old in before.items() if self._rules.states.get(n) is not old], now, facts
        )

    def ask(
        self,
        states: list[RuleState],
        record: Record | None,
        seen: Seen,
        now: datetime,
        facts: list[Fact],
    ) -> None:
        """What rules say of an alert; `record` is None where it is none."""
        if record is not None and record.detached:
            return
        fresh = seen.transition in _FRESH
        for state in states:
            if state.rule.during is not None and not self._in_force(state, seen, now):
                continue
            before = dict(state.dropped) if state.dropped else _NOTHING
            try:
                answers = state.observe(seen, now)
            except Exception as error:  # noqa: BLE001 - such a rule is switched off, others go on
                self._switch_off(state, error, now, facts)
                continue
            if self.trace is not None:
                self.trace.said(state, seen, now, answers)
            if state.dropped:
                self._tell_dropped(state, before, now, facts)
            for answer in answers:
                if type(answer) is Finding:
                    self._found(answer, record, seen.alert, now, facts, fresh=fresh)
                else:
                    self._carry_out(state, answer, now, facts)
            if answers and record is not None and record.status is not seen.alert.status:
                return  # it has ended the alert
            if record is not None and record.suppressed_by:
                return  # or holds it back
        if seen.alert.source == OWN_SOURCE and record is not None:
            self._claim(record, seen, now, facts, fresh=fresh)

    def due(self, key: str, at: datetime, facts: list[Fact]) -> None:
        """A rule wanted to be asked now."""
        name, _, own = key.rpartition(_JOINT)
        state = self._rules.states[name]
        before = dict(state.dropped) if state.dropped else _NOTHING
        try:
            answers = state.due(own, at)
        except Exception as error:  # noqa: BLE001 - such a rule is switched off, others go on
            self._switch_off(state, error, at, facts)
            return
        if state.dropped:
            self._tell_dropped(state, before, at, facts)
        for answer in answers:
            self._carry_out(state, answer, at, facts)

    def suppress(self, record: Record, alert: Alert, now: datetime, facts: list[Fact]) -> bool:
        """Suppress a firing alert of no incident, where something covers or explains it now."""
        by = self._suppressions.cover(alert, now, self._state.settings)
        known = None if by else self._rules.covered(alert, now)
        if known is not None:
            by = f"{CALENDAR}{known[0]}"
            self._timers.set((CALENDAR_TIMER, known[0]), known[1])
        if by:
            record.suppressed_by = by
            self._suppressions.hold(by, record.fingerprint)
            facts.append(AlertSuppressed(now, record.fingerprint, record.episode, by))
            self._correlation.withdrawn(record.fingerprint, now.timestamp())
            return True
        return self._rules.explains and self._explaining.suppress(record, now, facts)

    def recover(self, now: datetime, rule: str = "") -> list[tuple[str, list[str]]]:
        """A calendar's time is over, or all are others. What is covered no more, by what it was."""
        gone: list[tuple[str, list[str]]] = []
        for by, held in self._suppressions.held(f"{CALENDAR}{rule}"):
            if rule and by != f"{CALENDAR}{rule}":
                continue
            name, free = by.removeprefix(CALENDAR), list[str]()
            self._timers.cancel((CALENDAR_TIMER, name))
            for fingerprint in held:
                known = self._rules.covered(self._alerts.records[fingerprint].value(), now)
                if known is not None and known[0] == name:
                    self._timers.set((CALENDAR_TIMER, name), known[1])
                else:
                    free.append(fingerprint)
            gone.append((by, free))
        return gone

    def waits_in_vain(self, record: Record, alert: Alert) -> bool:
        """Whether a rule holds the alert back that would not any more, as it is now."""
        by = record.suppressed_by
        if by.startswith(SETTLE):
            return not self._rules.waits(by.removeprefix(SETTLE), alert)
        return self._explaining.in_vain(record)

    def settled(self, record: Record) -> bool:
        """End the wait of an alert, if a rule waits whether it clears; it is to be judged again."""
        by = record.suppressed_by
        if not by.startswith(SETTLE):
            return False
        self._timers.cancel((SETTLE_TIMER, record.fingerprint))
        self._suppressions.release(by, record.fingerprint)
        record.suppressed_by = ""
        return True

    # -- parts ------------------------------------------------------------------------------------

    def _claim(
        self, record: Record, seen: Seen, now: datetime, facts: list[Fact], *, fresh: bool
    ) -> None:
        """An alert of a rule's own: after what others say of it comes what that rule holds."""
        if record.status is not Status.FIRING:
            return  # it is being ended on its way
        own = self._own.pop(record.fingerprint, None)
        if own is None and seen.transition in _AGAIN:
            own = self._rules.claims(seen.alert)
        if own is not None:
            self._found(own, record, seen.alert, now, facts, fresh=fresh)

    def _in_force(self, state: RuleState, seen: Seen, now: datetime) -> bool:
        """Whether a rule that holds at given times does so at that one, or looks at them itself."""
        during = state.limits.during
        if state.always or during is None or during.covers(seen.at):
            return True
        if self.trace is not None:
            self.trace.off(state, seen, now)
        return False

    def _carry_out(
        self, state: RuleState, answer: Answer, now: datetime, facts: list[Fact]
    ) -> None:
        match answer:
            case Wake():
                self._wake(state.rule.name, answer, now)
            case Raise():
                self._raise(answer, now, facts)
            case Hold():
                self._hold(state.rule.name, answer, now, facts)
            case End():
                for one in self._firing(answer.alerts):
                    self._end(one, now, ClearReason.PAIRED, facts)
            case Over():
                self._over(state, answer, now, facts)
            case Noted():
                self._noting.note(answer, now, facts)
            case Missed():
                self._missed(state.rule.name, answer, now, facts)
            case Finding():
                self._found(answer, None, None, now, facts, fresh=True)

    def _raise(self, said: Raise, now: datetime, facts: list[Fact]) -> None:
        """Take in an event of a rule's own."""
        own = said.event.fingerprint
        if said.finding is not None:
            self._own[own] = said.finding
        self._take_in(said.event, now, facts)
        if said.because is not None:
            self.raising.tell(own, said.because, now, facts)
        if (left := self._own.pop(own, None)) is not None:  # it fires already
            self._found(left, None, None, now, facts, fresh=True)

    def _wake(self, rule: str, wake: Wake, now: datetime) -> None:
        key = (RULE_TIMER, f"{rule}{_JOINT}{wake.key}")
        if wake.at is None:
            self._timers.cancel(key)
        else:
            # what is late no longer may make it due some time ago: nothing is told of the past
            self._timers.set(key, max(wake.at, now))

    def _over(self, state: RuleState, over: Over, now: datetime, facts: list[Fact]) -> None:
        """End what fires of its alerts; others in the incident go on as they are."""
        rule = state.rule
        if rule.alert is not None:
            self.raising.over(rule, over.group, now, facts)
            return
        incident = self._incidents.of_group(rule.name, over.group)
        grouping, values = Grouping(rule.by), tuple(over.group.values())
        for one in self._firing(self._incidents.members(incident) if incident else ()):
            alert = one.value()
            if grouping.of(alert) == values and state in self._rules.index.matching(alert):
                self._end(one, now, ClearReason.FEWER, facts)

    def _firing(self, alerts: Iterable[tuple[str, int]]) -> Iterator[Record]:
        """Those whose episode goes on."""
        for fingerprint, episode in alerts:
            one = self._alerts.records.get(fingerprint)
            if one is not None and one.episode == episode and one.status is Status.FIRING:
                yield one

    def _hold(self, rule: str, hold: Hold, now: datetime, facts: list[Fact]) -> None:
        record = self._alerts.records[hold.fingerprint]
        by = record.suppressed_by = f"{SETTLE}{rule}"
        self._suppressions.hold(by, record.fingerprint)
        self._timers.set((SETTLE_TIMER, record.fingerprint), hold.until)
        facts.append(AlertSuppressed(now, record.fingerprint, record.episode, by))

    def _found(
        self,
        finding: Finding,
        record: Record | None,
        alert: Alert | None,
        now: datetime,
        facts: list[Fact],
        *,
        fresh: bool,
    ) -> None:
        if finding.rule.alert is not None:
            alerts = map(self._alerts.records.get, finding.alerts)
            made = [one for one in alerts if one is not None and _can_be_taken(one)]
            self.raising.fire(finding, made, now, facts)
            return
        if finding.names:
            known = {name: self._alerts.records.get(f) for name, f in finding.names.items()}
            named = {name: one.value() for name, one in known.items() if one is not None}
            finding = replace(finding, named=named)
        if (
            record is None
            or alert is None
            or finding.own
            or finding.alerts != (record.fingerprint,)
            or record.incident
            or record.suppressed_by
        ):
            self._take(finding, alert, now, facts, fresh=fresh)
            return
        self._join(finding, record, alert, now, facts, fresh=fresh)
        if not fresh:
            self._correlating.claimed([record.fingerprint], record.incident, now, facts)

    def _join(
        self,
        finding: Finding,
        record: Record,
        alert: Alert,
        now: datetime,
        facts: list[Fact],
        *,
        fresh: bool,
    ) -> None:
        start = len(facts)
        record.incident = self._incidents.join(
            finding, alert, now, self._state.settings, facts, fresh=fresh
        )
        superseded = facts[start]
        if isinstance(superseded, IncidentClosed):
            self._correlation.closed(superseded.incident)

    def _take(
        self,
        finding: Finding,
        alert: Alert | None,
        now: datetime,
        facts: list[Fact],
        *,
        fresh: bool,
    ) -> None:
        """An alert belongs to the first incident that claims it; a finding takes what is left.

        `alert` is the one the rule was asked about; `fresh`: it fired.
        """
        loose: list[Record] = []
        elsewhere: dict[str, None] = {}
        own = self._incidents.of_group(finding.rule.name, finding.group)
        known = map(self._alerts.records.get, finding.alerts)
        for record in [one for one in known if one is not None and _can_be_taken(one)]:
            if not record.incident or self._was_raised(record, finding):
                loose.append(record)
            elif record.incident != own:
                elsewhere[record.incident] = None
        because = finding.because
        several = isinstance(because, OF_SEVERAL)
        if elsewhere and isinstance(because, OF_SEVERAL):
            finding = replace(finding, because=replace(because, elsewhere=tuple(elsewhere)))
        for record in loose:
            one = alert
            if one is None or record.fingerprint != one.fingerprint:
                one = record.value()
                # it may have fired before what covers it now began
                if not record.incident and self.suppress(record, one, now, facts):
                    continue
            self._join_anew(finding, record, one, now, facts, fresh=fresh)
        taken = [record for record in loose if record.incident]
        if taken:  # and what the correlation raised of the others before the rule held
            claims = dict.fromkeys([*(r.fingerprint for r in taken), *finding.alerts])
            self._correlating.claimed(list(claims), taken[0].incident, now, facts)
        if elsewhere and several and not loose:
            asked = self._alerts.records.get(alert.fingerprint) if alert is not None else None
            on = asked.incident if asked is not None else ""
            on = on if on in elsewhere else next(reversed(elsewhere))
            facts += self._incidents.note(on, finding, now)

    def _was_raised(self, record: Record, finding: Finding) -> bool:
        """Whether the correlation has raised the alert meanwhile, of a rule that waits as it does.

        Rules come first, and such a one would hardly ever be before it.
        """
        incident = self._incidents.records.get(record.incident)
        raised = incident is not None and incident.steered and incident.state is IncidentState.OPEN
        return raised and isinstance(finding.because, Connected)

    def _join_anew(
        self,
        finding: Finding,
        record: Record,
        alert: Alert,
        now: datetime,
        facts: list[Fact],
        *,
        fresh: bool,
    ) -> None:
        """Put the alert into the finding's incident, out of the one that it is in."""
        left, because = record.incident, finding.own.get(record.fingerprint)
        if because is not None:
            finding = replace(finding, because=because)
        self._join(finding, record, alert, now, facts, fresh=fresh)
        if left:
            own, episode = record.fingerprint, record.episode
            self._incidents.release(left, own, fires=True, now=now)
            facts.append(AlertDetached(now, left, own, episode, True, record.incident))

    def _missed(self, rule: str, missed: Missed, now: datetime, facts: list[Fact]) -> None:
        """Tell it of each alert concerned, as long as that is in the same episode."""
        for fingerprint, episode in missed.alerts:
            record = self._alerts.records.get(fingerprint)
            if record is not None and record.episode == episode:
                facts.append(
                    RuleMissed(
                        now,
                        fingerprint,
                        episode,
                        rule,
                        missed.group,
                        missed.missing,
                        missed.count,
                        missed.at_least,
                        missed.within,
                        missed.late,
                    )
                )

    def _switch_off(
        self, state: RuleState, error: Exception, now: datetime, facts: list[Fact]
    ) -> None:
        if isinstance(error, MemoryError):
            raise error  # which is no fault of the rule's: the process ends
        self._rules.switch_off(state, repr(error))
        facts.append(RuleSwitchedOff(now, state.rule.name, repr(error)))
        self._let_go([state], now, facts)

    def _let_go(self, states: list[RuleState], now: datetime, facts: list[Fact]) -> None:
        """What they remembered is gone, and with it what they waited for and what they fired."""
        gone = {state.rule.name for state in states}
        for kind, key in [one for one, _ in self._timers.items()] if gone else []:
            if kind == RULE_TIMER and key.rpartition(_JOINT)[0] in gone:
                self._timers.cancel((kind, key))
        for state in states:
            for answer in state.end(now) if isinstance(state, Ending) else ():
                self._carry_out(state, answer, now, facts)

    @staticmethod
    def _tell_dropped(
        state: RuleState, before: dict[str, int], now: datetime, facts: list[Fact]
    ) -> None:
        for table, count in state.dropped.items():
            if count != before.get(table, 0):
                facts.append(CapHit(now, table, state.rule.name))


def as_alert(event: Event, now: datetime) -> Alert:
    """What is no alert, for selectors to look at."""
    return Alert(
        event.fingerprint,
        event.source,
        event.name,
        event.ci,
        event.service,
        event.summary,
        event.status,
        event.severity,
        event.labels,
        event.links,
        now,
        now,
        None,
        1,
        0,
        "",
        "",
        event.value,
    )


def _can_be_taken(record: Record) -> bool:
    """Whether a rule may put the alert into its incident."""
    return record.status is Status.FIRING and not record.suppressed_by and not record.detached
