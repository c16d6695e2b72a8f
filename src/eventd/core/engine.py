"""One pure function decides everything: `Engine.step(input, now) -> facts`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from msgspec.structs import replace

from eventd.core.asking import Asking, as_alert
from eventd.core.correlating import Began, Correlating
from eventd.core.dedup import Outcome, Record, said_at
from eventd.core.enrich import Place, identity
from eventd.core.explaining import Explaining
from eventd.core.incidents import Rejected
from eventd.core.inventory import Inventory
from eventd.core.model import (
    AccessDenied,
    AddSilence,
    Alert,
    AlertChanged,
    AlertCleared,
    AlertFired,
    AlertForgotten,
    AlertRepeated,
    AlertUnmatched,
    AlertUnsuppressed,
    CapHit,
    ClearReason,
    Command,
    CommandRejected,
    Denied,
    EndSilence,
    Event,
    EventDuplicate,
    EventNoted,
    EventRefused,
    Fact,
    GiveVerdict,
    Grouped,
    Incident,
    Input,
    InventoryLoaded,
    LoadInventory,
    LoadRules,
    Maintenance,
    MaintenanceAnnounced,
    MaintenanceEnded,
    Refused,
    Severity,
    Silence,
    SilenceAdded,
    SilenceEnded,
    Started,
    Status,
    Stormed,
    Tick,
    TimerFailed,
    Window,
    seconds,
)
from eventd.core.noting import Noting
from eventd.core.overruling import Overruling
from eventd.core.rules.rule import STORM, Seen, Transition, happened_at
from eventd.core.rules.selectors import check
from eventd.core.rules.trace import Trace
from eventd.core.snapshot import Restored, Snapshot
from eventd.core.state import State, limits_of
from eventd.core.storms import CHECK_EVERY, Storm, reason, urgent
from eventd.core.storms import finding as storm_finding
from eventd.core.verdicts import Verdicts
from eventd.errors import RuleError

Other = Refused | Denied | Tick | Started | LoadRules | LoadInventory | Command


class Engine:
    """Everything eventd believes, moved by inputs alone.

    `now` never goes back. The same inputs at the same times give the same facts, in this process
    and in any other, also across `snapshot` and `restore`.
    """

    def __init__(self) -> None:
        """Nothing is known and no rule is loaded."""
        self._take_up(State())

    def _take_up(self, state: State) -> None:
        self._state = state
        self.settings = state.settings
        self._late_within = seconds(state.settings.late_within)
        self.table, self.rules = state.table, state.rules
        self.suppressions, self.timers = state.suppressions, state.timers
        self.storms, self.enrichment = state.storms, state.enrichment
        self._full = state.full
        self._noting = Noting(state)
        self.incident_table = state.incidents
        self.correlation = state.correlation
        self.heartbeats, self.habits = state.heartbeats, state.habits
        self.correlating = Correlating(state)
        self._explaining = Explaining(state, self._unexplained)
        self._asking = Asking(
            state,
            self.correlating,
            self._explaining,
            self._noting,
            self._say,
            self._cleared,
        )
        self._overruling = Overruling(state.table, state.incidents, state.correlation)
        self._verdicts = Verdicts(state)

    @classmethod
    def restore(cls, data: Restored) -> Engine:
        """The engine a snapshot was taken of: it has the same future."""
        engine = cls()
        engine._take_up(State.restore(data))
        return engine

    @classmethod
    def rebuild(
        cls,
        alerts: Iterable[Alert],
        incidents: Iterable[Incident],
        members: Iterable[tuple[str, str]],
        silences: Iterable[Silence],
        maintenance: Iterable[Maintenance],
    ) -> Engine:
        """The last resort, from the tables; see `State.rebuild` for what is lost."""
        engine = cls()
        engine._take_up(State.rebuild(alerts, incidents, members, silences, maintenance))
        return engine

    def recognise(self, event: Event, now: datetime) -> None:
        """Know its delivery by a strong key: it was stepped at `now`, before a rebuild."""
        table = self.table
        if event.strong and event.status is not Status.HEARTBEAT and event.key not in table.keys:
            table.keys.add(event.key, now, self.settings)

    def snapshot(self) -> Snapshot:
        """Its state as plain data that later steps do not reach."""
        return self._state.snapshot()

    def learned(self) -> Snapshot:
        """What it has learned of checks, clocks and cadences, without anything that happened."""
        return self._state.learned()

    def learn(self, data: Restored) -> None:
        """Begin with what another learned: for an engine that has seen nothing yet."""
        self._state.learn(data)

    def trace(self, what: str) -> Trace:
        """What rules are asked from now on of one fingerprint, or of all alerts on a CI."""
        trace = self._asking.trace = Trace(what)
        return trace

    # -- what the shell asks -----------------------------------------------------------------

    def step(self, item: Input, now: datetime) -> tuple[Fact, ...]:
        """What the input caused: timers due first, each at its own due time, then the input."""
        facts: list[Fact] = []
        if type(item) is Started:
            self._start(item, now)
        due = self.timers.next()
        if due is not None and due <= now:
            self.incident_table.now = now
            for at, (kind, key) in self.timers.pop_due(now):
                told = len(facts)
                try:
                    self._due(kind, key, at, facts)
                except MemoryError:  # says nothing of what was due: the process ends
                    raise
                except Exception as error:  # noqa: BLE001 - due again after a restart, and again
                    facts.append(TimerFailed(at, kind, key, repr(error)))
                self._follow(facts, told, at)
        told, duplicate = len(facts), None
        if isinstance(item, Event):
            if self.enrichment.active:
                duplicate = self._enriched(item, now, facts)
            else:
                duplicate = self._event(item, now, facts)
        else:
            self._other(item, now, facts)
        if len(facts) > told + 1:  # the first says what the input is
            self._follow(facts, told, now)
        if self._full:
            facts += [CapHit(now, table) for table in self._full]
            self._full.clear()
        if duplicate is not None:  # last, where it is looked for, whatever else it caused
            facts.append(duplicate)
        return tuple(facts)

    def _follow(self, facts: list[Fact], told: int, now: datetime) -> None:
        """What was put into incidents since so many facts: what it explains, and what may it."""
        if self.rules.explains:
            self._explaining.follow(facts, told, now)
        self._noting.follow(facts, told, now)

    def deadline(self) -> datetime | None:
        """When it wants a Tick if nothing comes before."""
        return self.timers.next()

    def alert(self, fingerprint: str) -> Alert:
        """The alert as it stands. Raises KeyError."""
        return self.table.records[fingerprint].value()

    def known_alerts(self, fingerprints: Iterable[str]) -> tuple[Alert, ...]:
        """Those of them that ever fired and are remembered, as they stand."""
        records = map(self.table.records.get, fingerprints)
        return tuple(
            [record.value() for record in records if record is not None and record.episode]
        )

    def explained_by(self, fingerprint: str) -> Alert | None:
        """The alert that suppresses this one as it explains it."""
        record = self.table.records.get(self._state.explained.by(fingerprint))
        return record.value() if record is not None else None

    def alerts(self) -> Iterator[Alert]:
        """Every alert that ever fired and is remembered, the longest known first."""
        return (record.value() for record in self.table.records.values() if record.episode)

    def incident(self, incident: str) -> Incident:
        """The incident as it stands. Raises KeyError where it is unknown or long closed."""
        return self.incident_table.records[incident].value()

    def find_incident(self, incident: str) -> Incident | None:
        """The incident as it stands; None where it is unknown or long closed."""
        record = self.incident_table.records.get(incident)
        return record.value() if record is not None else None

    def incidents(self) -> Iterator[Incident]:
        """Those that are not closed, and those closed a moment ago, oldest first."""
        records = self.incident_table.records.values()  # closed ones last
        return (one.value() for one in sorted(records, key=lambda one: (len(one.id), one.id)))

    def silences(self) -> Iterator[Silence]:
        """Those in force."""
        return iter(self.suppressions.silences.values())

    @property
    def rules_version(self) -> str:
        """Digest of the rule set in force, "" before the first load."""
        return self.rules.version

    @property
    def inventory(self) -> Inventory:
        """The one in force, empty before the first load."""
        return self.enrichment.inventory

    def identify(self, event: Event) -> str:
        """The fingerprint of the alert the event would speak of now."""
        if not self.enrichment.active:
            return event.fingerprint
        return self._identity(event, self.enrichment.place(event))

    # -- events ------------------------------------------------------------------------------

    def _enriched(self, said: Event, now: datetime, facts: list[Fact]) -> EventDuplicate | None:
        """Take the event as the inventory has it; remember what it lacks, and whom it spoke of."""
        enrichment = self.enrichment
        place = enrichment.place(said)
        if place.plain and said.fingerprint not in enrichment.known_as:
            return self._event(said, now, facts)
        own = self._identity(said, place)
        event = replace(said, ci=place.ci, service=place.service, fingerprint=own)
        duplicate = self._event(event, now, facts)
        if duplicate is not None:
            return duplicate
        if place.unknown and enrichment.count(place.unknown):
            facts.append(CapHit(now, "unknown_names"))
        renamed = own != said.fingerprint and event.status is Status.FIRING
        if renamed and self._fires(own):  # no rule has ended it, or made room of it
            episode = self.table.records[own].episode
            if enrichment.know(said.fingerprint, own, episode):
                facts.append(CapHit(now, "known_as"))
        return None

    def _event(self, event: Event, now: datetime, facts: list[Fact]) -> EventDuplicate | None:
        """What it caused is added to the facts; that it is known already is for the caller."""
        table, settings = self.table, self.settings
        record = table.records.get(event.fingerprint)
        if table.is_duplicate(event, record, now, settings.weak_key_within):
            if record is not None and record.doubted and table.sets_right(event, record):
                was = record.severity
                outcome = table.apply_again(event, record, now, settings)
                self._moved(event, record, outcome, was, now, facts)
            elif record is not None and record.status is event.status is Status.FIRING:
                record.last_seen_at = now
                self._promise(event, record, now, extend=True)
            known = event.fingerprint if record is not None else ""
            return EventDuplicate(now, known)
        status = event.status
        beats = status is Status.HEARTBEAT  # never a duplicate: its key recognises nothing
        if event.strong and not beats and table.keys.add(event.key, now, settings):
            facts.append(CapHit(now, "keys"))
        if status is not Status.FIRING and status is not Status.CLEARED:
            self._noted(event, now, facts)
            return None
        if record is None and len(table.records) >= settings.max_alerts:
            self._make_room(now, facts)
            record = table.records.get(event.fingerprint)  # of a rule's that this has fired
        if record is not None:
            was = record.severity
            outcome = table.apply(event, record, now, settings)
            self._moved(event, record, outcome, was, now, facts)
        else:
            record = table.add(event, now, settings)
            if status is Status.FIRING:
                self._fired(event, record, now, facts, new=True)
            else:
                forget_at = now + seconds(settings.forget_after)
                self.timers.set(("forget", record.fingerprint), forget_at)
                facts.append(EventNoted(now, event.source, status))
        if self.rules.listens and status is Status.FIRING:
            alert = record.value()
            seen = Seen(alert, Transition.HEARD, self._happened(event, now))
            self._asking.ask(self.rules.on_hearing(alert), None, seen, now, facts)
        return None

    def _say(self, event: Event, now: datetime, facts: list[Fact]) -> None:
        """Take in what eventd says itself: where it is known already, nobody sent it twice."""
        self._event(event, now, facts)

    def _noted(self, event: Event, now: datetime, facts: list[Fact]) -> None:
        facts.append(EventNoted(now, event.source, event.status))
        if event.status is Status.HEARTBEAT:
            back = self.heartbeats.beat(event, now.timestamp())
            if back is not None:
                self._say(back, now, facts)
        if event.status in self.rules.heard:
            alert = as_alert(event, now)
            seen = Seen(alert, Transition.NOTED, self._happened(event, now))
            self._asking.ask(self.rules.on_note(alert), None, seen, now, facts)
        if event.window is not None:
            self._announce(event, event.window, now, facts)
        elif event.status is Status.CHANGE and event.ci:
            self.correlation.changed(event.ci, now.timestamp())

    def _identity(self, event: Event, place: Place) -> str:
        """Its fingerprint as the inventory has it, but an alert that fires keeps its identity.

        Else nobody could clear what fired before its alias led where it leads now.
        """
        said = event.fingerprint
        known = self.enrichment.known_as.get(said)
        if known is not None and self._fires(*known):
            return known[0]
        found = identity(event, place)
        return said if found != said and self._fires(said) else found

    def _fires(self, fingerprint: str, episode: int = 0) -> bool:
        """Whether the alert does, in that episode if one is named."""
        record = self.table.records.get(fingerprint)
        if record is None or record.status is not Status.FIRING:
            return False
        return episode in {0, record.episode}

    def _moved(
        self,
        event: Event,
        record: Record,
        outcome: Outcome,
        was: Severity,
        now: datetime,
        facts: list[Fact],
    ) -> None:
        fingerprint = record.fingerprint
        match outcome:
            case Outcome.FIRED:
                self.timers.cancel(("forget", fingerprint))
                self.rules.forget(fingerprint)
                self._fired(event, record, now, facts)
            case Outcome.REPEATED | Outcome.LATE:
                late = outcome is Outcome.LATE
                facts.append(AlertRepeated(now, fingerprint, record.episode, late))
                if record.status is event.status is Status.FIRING:
                    self.correlating.repeated(event, record, now, facts, late=late)
                    self._promise(event, record, now, extend=late)
                    if self.rules.repeats and not record.suppressed_by:
                        self._repeated(event, record, now, facts)
            case Outcome.CHANGED:
                self._promise(event, record, now)
                self._changed(event, record, was, now, facts)
            case Outcome.CLEARED:
                self._cleared(record, now, ClearReason.SENT, facts)

    def _changed(
        self, event: Event, record: Record, was: Severity, now: datetime, facts: list[Fact]
    ) -> None:
        alert = record.value()
        facts.append(AlertChanged(now, alert.fingerprint, alert.episode, was, alert.severity))
        if self.rules.explains:
            self._explaining.changed(record, alert, now, facts)
        if self._asking.waits_in_vain(record, alert):
            self._settled(record, now, facts)
            return
        if record.incident and not record.suppressed_by:
            facts += self.incident_table.changed(record.incident, alert, now)
        elif not record.suppressed_by:
            self._asking.suppress(record, alert, now, facts)
        if not record.suppressed_by:
            self.rules.forget(record.fingerprint)
            states = self.rules.index.matching(alert)
            seen = Seen(alert, Transition.CHANGED, self._happened(event, now))
            self._asking.ask(states, record, seen, now, facts)
            fires = record.status is Status.FIRING and not record.suppressed_by
            if record.severity > was and fires:  # no rule has ended it meanwhile, or explains it
                self.correlating.worsened(record, alert, now, facts)

    def _fired(
        self, event: Event, record: Record, now: datetime, facts: list[Fact], *, new: bool = False
    ) -> None:
        alert = record.value()
        facts.append(AlertFired(now, alert))
        began = self.correlating.began(event, record, now, self.settings, facts)
        self._promise(event, record, now)
        storm = self.storms.count(alert, now, self.settings.storm_above) if new else None
        if self.rules.explains:
            self._explaining.fired(record, alert, now, facts)
        at = happened_at(began.said, now, self._late_within)
        self._judge(record, Seen(alert, Transition.FIRED, at), now, facts, storm, began)

    def _repeated(self, event: Event, record: Record, now: datetime, facts: list[Fact]) -> None:
        alert = record.value()
        if not record.incident and self._asking.suppress(record, alert, now, facts):
            return
        seen = Seen(alert, Transition.REPEATED, self._happened(event, now))
        self._asking.ask(self.rules.on_repeat(alert), record, seen, now, facts)

    def _happened(self, event: Event, now: datetime) -> datetime:
        """When rules take it to have happened."""
        return happened_at(said_at(event, now, self.settings), now, self._late_within)

    def _promise(
        self, event: Event, record: Record, now: datetime, *, extend: bool = False
    ) -> None:
        """Set the time at which the alert clears itself, where its sender promised something.

        `extend`: the event is an old one seen again, and can only put that time off.
        """
        wait = event.quiet_for or event.repeats_within or self.correlating.quiet_for(record)
        if wait:
            at = now + timedelta(seconds=wait)
        elif event.expires_at is not None:
            at = max(event.expires_at, now)
        else:
            return
        key = ("stale", record.fingerprint)
        if extend:
            before = self.timers.get(key)
            if before is None or at <= before:
                return
        self.timers.set(key, at)

    def _judge(
        self,
        record: Record,
        seen: Seen,
        now: datetime,
        facts: list[Fact],
        storm: Storm | None = None,
        began: Began | None = None,
    ) -> None:
        """Suppress a firing alert, or ask the rules about it; in a storm, only the urgent ones."""
        alert = seen.alert
        covers = self.suppressions.silences or self.suppressions.windows or self.rules.suppresses
        if covers and self._asking.suppress(record, alert, now, facts):
            return
        fired = seen.transition is Transition.FIRED
        waits = fired and storm is None and self.rules.explains
        if waits and self._explaining.wait(record, now, facts):
            return
        states = self.rules.index.matching(alert)
        if storm is not None:
            states = urgent(states)
        self._asking.ask(states, record, seen, now, facts)
        if record.status is Status.CLEARED or record.suppressed_by:
            return  # a rule has ended it, or waits whether it clears
        if storm is not None and not record.incident:
            self._storm(storm, record, alert, now, facts)
        if storm is None:
            self.correlating.fired(record, alert, began, now, facts)
        if not record.incident:
            facts.append(AlertUnmatched(now, record.fingerprint, record.episode))

    def _storm(
        self, storm: Storm, record: Record, alert: Alert, now: datetime, facts: list[Fact]
    ) -> None:
        because: Grouped | Stormed = Grouped(STORM, {"source": alert.source})
        if not storm.incident:
            because = reason(alert.source, storm, self.settings.storm_above)
            storm.told = storm.alerts
            self.timers.set(("storm", alert.source), now + CHECK_EVERY)
        storm.incident = record.incident = self.incident_table.join(
            storm_finding(alert, because), alert, now, self.settings, facts, fresh=True
        )

    def _check_storm(self, source: str, at: datetime, facts: list[Fact]) -> None:
        """Say how it goes on whenever it has doubled, and when it is over."""
        storm, over = self.storms.check(source, at, self.settings.storm_above)
        if over or storm.alerts >= 2 * storm.told:
            storm.told = storm.alerts
            because = reason(source, storm, self.settings.storm_above)
            facts += self.incident_table.remark(storm.incident, because, at)
        if not over:
            self.timers.set(("storm", source), at + CHECK_EVERY)

    def _cleared(
        self, record: Record, at: datetime, reason: ClearReason, facts: list[Fact]
    ) -> None:
        self.table.clear(record, at)
        fingerprint = record.fingerprint
        self.timers.cancel(("stale", fingerprint))
        self.timers.set(("forget", fingerprint), at + seconds(self.settings.forget_after))
        if record.suppressed_by and not self._asking.settled(record):
            self._explaining.let_go(record)
        self._explaining.over(fingerprint)
        incident = ""
        if record.incident and self.incident_table.cleared(
            record.incident, fingerprint, record.episode, at, self.settings
        ):
            incident = record.incident
        facts.append(AlertCleared(at, fingerprint, record.episode, reason, incident))
        self.correlating.cleared(record, at, reason, facts)
        if self.rules.ends:
            alert = record.value()
            seen = Seen(alert, Transition.CLEARED, at)
            self._asking.ask(self.rules.on_clear(alert), record, seen, at, facts)
        self._asking.raising.cleared(fingerprint, at, facts)
        if self.rules.explains:
            self._explaining.cleared(fingerprint, at, facts)

    def _forget(self, record: Record, at: datetime, facts: list[Fact]) -> None:
        self.timers.cancel(("forget", record.fingerprint))
        self.table.forget(record)
        for incident in (record.incident, record.before):
            self.incident_table.forget(incident, record.fingerprint, record.ci)
        self.rules.forget(record.fingerprint)
        self.correlating.forget(record.fingerprint, at)
        facts.append(AlertForgotten(at, record.fingerprint))

    def _make_room(self, now: datetime, facts: list[Fact]) -> None:
        """At the cap the longest cleared alert is forgotten; where all fire, the oldest clears."""
        facts.append(CapHit(now, "alerts"))
        # the end of one may fire an alert of a rule's, which has made room for itself by then; it
        # comes to an end, as an alert that is evicted twice at one time says what it said at first
        while (oldest := self.table.oldest()).status is Status.FIRING:
            self._cleared(oldest, now, ClearReason.EVICTED, facts)
        self._forget(oldest, now, facts)

    # -- everything else -----------------------------------------------------------------------

    def _other(self, item: Other, now: datetime, facts: list[Fact]) -> None:
        match item:
            case Tick() | Started():
                pass
            case Refused():
                facts.append(EventRefused(now, item.source, item.reason))
            case Denied():
                facts.append(AccessDenied(now, item.source, item.peer, item.count))
            case LoadRules():
                explained = self.rules.explains
                self._asking.load(item, now, facts)
                for by, fingerprints in self._asking.recover(now):
                    self._judge_again(by, fingerprints, now, facts)
                if explained or self.rules.explains:
                    self._explaining.reload(now, facts)
            case LoadInventory():
                new = Inventory(item.version, item.services, item.cis)
                self._state.take_inventory(new)
                counts = len(new.services), len(new.cis), new.dependencies
                facts.append(InventoryLoaded(now, new.version, *counts))
                if self.rules.explains:
                    self._explaining.retake()
                    self._explaining.reload(now, facts)
            case _:
                self._command(item, now, facts)

    def _start(self, started: Started, now: datetime) -> None:
        """Nothing goes stale in the first minutes: while eventd was away nobody could repeat."""
        self.settings = started.settings
        self._state.take_settings(started.settings)
        self._late_within = seconds(started.settings.late_within)
        self._state.started_at = now
        self.rules.limit(limits_of(self._state))
        self.table.keys.limit()
        grace = now + seconds(self.settings.start_grace)
        self.heartbeats.excuse(grace)
        for (kind, key), due in list(self.timers.items()):
            if kind == "stale" and due < grace and not self.table.records[key].occurrence:
                self.timers.set((kind, key), grace)

    def _command(self, command: Command, now: datetime, facts: list[Fact]) -> None:
        if command.key and command.key in self.table.keys:
            facts.append(EventDuplicate(now, ""))
            return
        try:
            match command:
                case AddSilence():
                    self._add_silence(command, now, facts)
                case EndSilence():
                    self._known(command.silence)
                    self._end_silence(command.silence, command.actor, now, facts)
                case GiveVerdict():
                    facts.append(self._verdicts.give(command, now))
                case _:
                    facts += self._overruling.command(command, now, self.settings)
        except Rejected as no:
            facts.append(CommandRejected(now, no.missing, no.error))
            return
        if command.key and self.table.keys.add(command.key, now, self.settings):
            facts.append(CapHit(now, "keys"))

    def _known(self, silence: str) -> None:
        if silence in self.suppressions.silences:
            return
        found = re.fullmatch("SIL-([0-9]{6,9})", silence)
        if found is not None and 0 < int(found[1]) <= self._state.silence_count:
            raise Rejected(missing=False, error=f"{silence} has ended already")
        raise Rejected(missing=True, error=f"no silence {silence}")

    def _add_silence(self, command: AddSilence, now: datetime, facts: list[Fact]) -> None:
        if command.ends_at <= now:
            raise Rejected(missing=False, error="the silence would end before it starts")
        try:
            for matcher in command.matchers:
                check(matcher, "matchers")
        except RuleError as error:
            raise Rejected(missing=False, error=str(error)) from None
        if len(self.suppressions.silences) >= self.settings.max_silences:
            facts.append(CapHit(now, "silences"))
            raise Rejected(missing=False, error="too many silences; end some")
        self._state.silence_count += 1
        silence = Silence(
            f"SIL-{self._state.silence_count:06d}",
            command.matchers,
            now,
            command.ends_at,
            command.actor,
            command.comment,
        )
        self.suppressions.add_silence(silence)
        self.timers.set(("silence", silence.id), silence.ends_at)
        facts.append(SilenceAdded(now, silence))

    def _end_silence(self, silence: str, actor: str, now: datetime, facts: list[Fact]) -> None:
        self.timers.cancel(("silence", silence))
        held = self.suppressions.end(silence)
        facts.append(SilenceEnded(now, silence, actor))
        self._judge_again(silence, held, now, facts)

    def _announce(self, event: Event, said: Window, now: datetime, facts: list[Fact]) -> None:
        window = self.enrichment.window(said)
        before = self.suppressions.announced(event.fingerprint)
        if before is not None and before.window == window:
            return
        if window.ends_at <= max(window.starts_at, now):
            if before is not None:
                self._end_window(before.id, now, facts)
            return
        if not self.suppressions.has_room(window, before, self.settings.max_maintenance):
            facts.append(CapHit(now, "maintenance"))
            return
        self._state.window_count += 1
        maintenance = Maintenance(
            f"MNT-{self._state.window_count:06d}", window, event.name, event.source
        )
        self.suppressions.add_window(maintenance, event.fingerprint)
        grace = seconds(self.settings.maintenance_grace)
        self.timers.set(("maintenance", maintenance.id), window.ends_at + grace)
        facts.append(MaintenanceAnnounced(now, maintenance))
        if before is not None:
            self._end_window(before.id, now, facts)

    def _end_window(self, window: str, now: datetime, facts: list[Fact]) -> None:
        self.timers.cancel(("maintenance", window))
        held = self.suppressions.end(window)
        facts.append(MaintenanceEnded(now, window))
        self._judge_again(window, held, now, facts)

    def _judge_again(
        self, by: str, fingerprints: list[str], now: datetime, facts: list[Fact]
    ) -> None:
        for fingerprint in fingerprints:
            record = self.table.records.get(fingerprint)
            if record is None or record.suppressed_by != by:
                continue  # the judgement of another has ended it
            self.suppressions.release(by, fingerprint)
            record.suppressed_by = ""
            facts.append(AlertUnsuppressed(now, fingerprint, record.episode, by))
            self._judge(record, Seen(record.value(), Transition.JUDGED, now), now, facts)

    def _settled(self, record: Record, now: datetime, facts: list[Fact]) -> None:
        """It was waited with, and fires still: what it would have met at first, it meets now."""
        by = record.suppressed_by
        settled = self._asking.settled(record)
        if not settled:
            self._explaining.let_go(record)
        facts.append(AlertUnsuppressed(now, record.fingerprint, record.episode, by))
        at = happened_at(record.started_at, now, self._late_within)
        began = Began(record.started_at.timestamp(), goes_on=False)
        how = Transition.SETTLED if settled else Transition.WAITED
        seen = Seen(record.value(), how, at)
        if record.incident:
            self._unexplained(record, seen, now, facts)
        else:
            self._judge(record, seen, now, facts, began=began)

    def _unexplained(self, record: Record, seen: Seen, now: datetime, facts: list[Fact]) -> None:
        """Nothing explains it any more; it stays where it is, if that is somewhere."""
        if not record.incident:
            self._judge(record, seen, now, facts)
            return
        facts += self.incident_table.changed(record.incident, seen.alert, now)
        states = self.rules.index.matching(seen.alert)
        self._asking.ask(states, record, seen, now, facts)

    def _due(self, kind: str, key: str, at: datetime, facts: list[Fact]) -> None:
        match kind:
            case "stale":
                record = self.table.records[key]
                quiet = ClearReason.QUIET if record.occurrence else ClearReason.STALE
                self._cleared(record, at, quiet, facts)
            case "forget":
                self._forget(self.table.records[key], at, facts)
            case "resolve":
                facts += self.incident_table.resolve_due(key, at)
                self.correlation.resolved(key, at.timestamp())
            case "close":
                facts += self.incident_table.close_due(key, at)
                self.correlation.expired(key)
            case "drop":
                self._verdicts.keep(key)
                self.incident_table.drop_due(key)
            case "silent":
                self._silent(key, at, facts)
            case "flapping":
                self.correlating.calm(key, at, facts)
            case "cluster":
                self._look_at(key, at, facts)
            case _:
                self._due_here(kind, key, at, facts)

    def _due_here(self, kind: str, key: str, at: datetime, facts: list[Fact]) -> None:
        match kind:
            case "settle":
                self._settled(self.table.records[key], at, facts)
            case "rule":
                self._asking.due(key, at, facts)
            case "silence":
                self._end_silence(key, "", at, facts)
            case "maintenance":
                self._end_window(key, at, facts)
            case "calendar":
                for by, fingerprints in self._asking.recover(at, key):
                    self._judge_again(by, fingerprints, at, facts)
            case "storm":
                self._check_storm(key, at, facts)
            case _:
                raise ValueError(kind)

    def _silent(self, heartbeat: str, at: datetime, facts: list[Fact]) -> None:
        silent = self.heartbeats.due(heartbeat, at.timestamp())
        if silent is not None:
            self._say(silent, at, facts)

    def _look_at(self, cluster: str, at: datetime, facts: list[Fact]) -> None:
        covers = self.suppressions.silences or self.suppressions.windows or self.rules.calendars
        if covers:
            # what waits may have fired before what covers it now began
            waiting = map(self.table.records.__getitem__, self.correlation.waiting(cluster))
            for record in [one for one in waiting if not one.incident]:
                self._asking.suppress(record, record.value(), at, facts)
        for fingerprint in self.correlating.look_at(cluster, at, facts):
            lost = self.table.records.get(fingerprint)
            if lost is not None and lost.status is Status.FIRING:  # the end of another may end it
                self._cleared(lost, at, ClearReason.LOST, facts)
