"""The rule set in force: who matches, who is asked, who is switched off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from eventd.core.model import Alert, Matcher, Miss, Shifts, Status
from eventd.core.rules import (
    absence,
    anomaly,
    calendar,
    change,
    from_text,
    inhibit,
    silences,
    state_of,
)
from eventd.core.rules.index import SelectorIndex
from eventd.core.rules.own import own_key
from eventd.core.rules.recurrence import UTC_SHIFTS, Calendar
from eventd.core.rules.rule import OWN_SOURCE, UTC, Finding, Limits, Rule, RuleState
from eventd.core.rules.selectors import allows_status
from eventd.core.rules.streams import Scored
from eventd.core.rules.watching import Watched, Watching

NO_ZONES: Mapping[str, Shifts] = {}
MOVING = frozenset({"value", "summary"})  # what a repeat moves without being a change


class RuleSet:
    """Rules in their order, each with what it remembers.

    A rule that raised is in `off` and is asked no more until the next load.
    """

    def __init__(self) -> None:
        """No rules."""
        self.version = ""
        self.states: dict[str, RuleState] = {}
        self.off: dict[str, str] = {}
        self.repeats = False  # whether any rule is asked about repeats
        # which statuses of what is no alert any rule is asked about
        self.heard: frozenset[Status] = frozenset()
        self.ends = False  # whether any rule is asked about alerts that clear
        self.listens = False  # whether any rule is asked about all that comes, suppressed or not
        self._listening: SelectorIndex[RuleState] = SelectorIndex()
        self.explains = False  # whether any rule says that one alert explains another
        self._explaining: SelectorIndex[inhibit.Explaining] = SelectorIndex()
        self.calendars = False  # whether any rule says when what is known
        self._calendars: SelectorIndex[calendar.State] = SelectorIndex()
        self.notes = False  # whether any rule says what was changed
        self.scoring: dict[str, anomaly.State] = {}  # those that score values
        # those whose alerts follow from scores, whatever of
        self.budgeted: dict[str, anomaly.State | Watching[Watched]] = {}
        self.zones: dict[str, Shifts] = {}
        self._moving = False  # whether one of them matches on what a repeat moves
        self.index: SelectorIndex[RuleState] = SelectorIndex()  # who matches an alert, in order
        # what to ask when an alert repeats, so that a storm of repeats never asks the index
        self._on_repeat: dict[str, list[RuleState]] = {}

    def load(
        self,
        version: str,
        texts: tuple[str, ...],
        limits: Limits,
        zones: Mapping[str, Shifts] = NO_ZONES,
    ) -> int:
        """Replace the set. How many rules are unchanged, and kept their windows."""
        before, self.states = self.states, {}
        self.zones = dict(zones)
        kept = 0
        for text in texts:
            rule = from_text(text)
            old = before.get(rule.name)
            own = limits._replace(during=self._calendar(rule))
            if old is not None and old.rule.text == rule.text and rule.name not in self.off:
                self.states[rule.name] = old
                old.limits = own
                kept += 1
            else:
                new = self.states[rule.name] = state_of(rule, own)
                if isinstance(new, absence.State) and isinstance(old, absence.State):
                    new.take_over(old)
        self.version = version
        self.off = {}
        self._file()
        return kept

    def limit(self, limits: Limits) -> None:
        """What rules are held to from now on."""
        for state in self.states.values():
            state.limits = limits._replace(during=state.limits.during)

    def on_repeat(self, alert: Alert) -> list[RuleState]:
        """Rules that match and whose mind a repeat can change."""
        found = self._on_repeat.get(alert.fingerprint)
        if found is None:
            found = [state for state in self.index.matching(alert) if state.repeats]
            if not self._moving:
                self._on_repeat[alert.fingerprint] = found
        return found

    def on_note(self, alert: Alert) -> list[RuleState]:
        """Rules that match what is no alert."""
        states = *self.index.matching(alert), *self._listening.matching(alert)
        return [state for state in states if state.hears]

    def on_hearing(self, alert: Alert) -> list[RuleState]:
        """Rules that match an alert of which an event came, and listen to all."""
        return self._listening.matching(alert)

    def on_clear(self, alert: Alert) -> list[RuleState]:
        """Rules that match an alert that cleared, and are asked about that."""
        return [state for state in self.index.matching(alert) if state.ends]

    @property
    def suppresses(self) -> bool:
        """Whether any rule may say that an alert is known."""
        return self.explains or self.calendars

    def looking_at(self, alert: Alert) -> list[str]:
        """Names of the rules that match the alert, in order."""
        found = {state.rule.name for state in self.index.matching(alert)}
        found |= {state.rule.name for state in self._listening.matching(alert)}
        found |= {state.rule.name for state in self._explaining.matching(alert)}
        found |= {state.rule.name for state in self._calendars.matching(alert)}
        return [name for name in self.states if name in found]

    def roles(self, alert: Alert) -> tuple[inhibit.Role, ...]:
        """What the alert is to the rules that say what explains what."""
        if not self.explains:
            return ()
        return tuple([state.role(alert) for state in self._explaining.matching(alert)])

    def covered(self, alert: Alert, now: datetime) -> tuple[str, datetime] | None:
        """The rule whose calendar covers the alert now, and until when."""
        if not self.calendars:
            return None
        for state in self._calendars.matching(alert):
            until = state.until(now)
            if until is not None:
                return state.rule.name, until
        return None

    def nearly_covered(self, alert: Alert) -> tuple[str, Miss, float] | None:
        """The calendar that missed the alert as it began, how, and by how many s."""
        for state in self._calendars.matching(alert):
            missed = state.missed(alert.started_at)
            if missed is not None:
                return state.rule.name, *missed
        return None

    def claims(self, alert: Alert) -> Finding | None:
        """What a rule holds for an alert of its own."""
        state = self.states.get(alert.name)
        return state.claims(alert) if isinstance(state, absence.State) else None

    def scores(self, alert: Alert, now: datetime) -> list[Scored]:
        """What rules that score make of what the alert belongs to, or of what they fired it for."""
        found: list[Scored | None] = []
        at = now.timestamp()
        if alert.source == OWN_SOURCE:
            one = self.budgeted.get(alert.labels.get("rule", ""))
            found += [one.scored(own_key(one.rule, alert), at)] if one is not None else []
        elif self.budgeted:
            for state in (*self.index.matching(alert), *self._listening.matching(alert)):
                if isinstance(state, anomaly.State | Watching):
                    key = state.key_of(alert)
                    found += [state.scored(key, at)] if key is not None else []
        return [one for one in found if one is not None]

    def taught_by(self, alert: str) -> bool:
        """Whether a verdict on the alert of that fingerprint teaches any rule."""
        return any(alert in state.budget.criers for state in self.budgeted.values())

    def teach(self, alert: str, was: bool | None, verdict: bool) -> list[str]:
        """A person says whether the alert was right, and said so before; who learns from it."""
        states = self.budgeted.items()
        return [name for name, one in states if one.budget.judge(alert, was, verdict)]

    def _calendar(self, rule: Rule) -> Calendar | None:
        during = rule.during
        if during is None:
            return None
        shifts = UTC_SHIFTS if during.zone == UTC else self.zones[during.zone]
        return Calendar(during.starts, float(during.lasts), shifts)

    def waits(self, rule: str, alert: Alert) -> bool:
        """Whether that rule, which waits with the alert, matches it still."""
        return any(one.holds and one.rule.name == rule for one in self.index.matching(alert))

    def forget(self, fingerprint: str) -> None:
        """The alert fired anew, changed or was forgotten: it may match others now."""
        if self.repeats:
            self._on_repeat.pop(fingerprint, None)

    def switch_off(self, state: RuleState, error: str) -> None:
        """The rule raised: it is reset, and asked no more until the next load."""
        self.off[state.rule.name] = error
        self.states[state.rule.name] = state_of(state.rule, state.limits)
        self._file()

    def dump(self) -> Iterable[object]:
        """What each rule remembers, by its name; of many keys made when it is asked for."""
        rows: list[tuple[str, Iterable[object]]] = [
            (name, self.budgeted[name].freeze() if name in self.budgeted else state.dump())
            for name, state in self.states.items()
        ]
        return Named(rows) if self.budgeted else list(Named(rows))

    def texts(self) -> Iterator[str]:
        """The rules as they were loaded."""
        return (state.rule.text for state in self.states.values())

    def _file(self) -> None:
        on = [state for name, state in self.states.items() if name not in self.off]
        explaining = [state for state in on if isinstance(state, inhibit.Explaining)]
        self.explains = bool(explaining)
        self._explaining = SelectorIndex((state, state.rule.match) for state in explaining)
        calendars = [state for state in on if isinstance(state, calendar.State)]
        self.calendars = bool(calendars)
        self._calendars = SelectorIndex((state, state.rule.match) for state in calendars)
        self.notes = any(isinstance(state, change.State) for state in on)
        self.scoring = {state.rule.name: state for state in on if isinstance(state, anomaly.State)}
        self.budgeted = {
            state.rule.name: state for state in on if isinstance(state, anomaly.State | Watching)
        }
        on = [state for state in on if not isinstance(state, inhibit.Explaining | calendar.State)]
        on.sort(key=lambda state: not state.holds)
        heard = (_statuses(selector) for one in on if one.hears for selector in one.rule.match)
        self.heard = frozenset().union(*heard)
        listening = [state for state in on if _listens(state)]
        self.listens = bool(listening)
        self._listening = SelectorIndex((state, state.rule.match) for state in listening)
        on = [state for state in on if not _listens(state)]
        self.repeats = any(state.repeats for state in on)
        self.ends = any(state.ends for state in on)
        self._moving = any(
            matcher.label in MOVING
            for state in on
            if state.repeats
            for selector in state.rule.match
            for matcher in selector
        )
        self.index = SelectorIndex((state, state.rule.match) for state in on)
        self._on_repeat.clear()


def _listens(state: RuleState) -> bool:
    """Whether it asks who speaks at all: who is suppressed does."""
    return isinstance(state, silences.State) or (
        isinstance(state, absence.State) and not state.follows
    )


class Named:
    """Rows of rules, each with the name of its own."""

    def __init__(self, rows: list[tuple[str, Iterable[object]]]) -> None:
        """In order."""
        self._rows = rows

    def __iter__(self) -> Iterator[object]:
        for name, own in self._rows:
            for row in own:
                yield name, row


def _statuses(selector: tuple[Matcher, ...]) -> frozenset[Status]:
    """Those that it names; none where it names none, as it means alerts then."""
    if not any(matcher.label == "status" for matcher in selector):
        return frozenset()
    return frozenset(one for one in Status if allows_status(selector, one))
