"""Alerts on their way into the correlation: what habits, theirs and their source's, say of them."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from eventd.core.correlation.firing import Firing, Session
from eventd.core.dedup import Record, said_at
from eventd.core.habits import BURST_MOST, stream_of
from eventd.core.heartbeats import SILENT
from eventd.core.model import (
    Alert,
    AlertFlapping,
    ClearReason,
    Event,
    Fact,
    Settings,
    Status,
    seconds,
)
from eventd.core.placement import Placement
from eventd.core.rules.anomaly import TREND
from eventd.core.rules.own import ENDINGS
from eventd.core.rules.rule import OWN_SOURCE
from eventd.core.state import State

# Between two changes of an alert that was never seen before: else it is no flapping in the making.
FLAP_WITHIN = timedelta(minutes=30)


class Began(Struct, frozen=True, gc=False):
    """How an episode began."""

    onset: float  # s since 1970, by eventd's clock
    goes_on: bool  # its CI said something else a moment ago
    said: datetime | None = None  # its source's time of it, where that is credible


class Correlating:
    """The last word on alerts that no rule claims, and what it has to know of all others."""

    def __init__(self, state: State) -> None:
        """The engine's own."""
        self._state = state
        self._alerts, self._timers = state.table, state.timers
        self._habits, self.flapping = state.habits, state.flapping
        self._correlation = state.correlation
        self._doubted = state.doubted
        self._placement = Placement(state.table, state.incidents, state.correlation)

    def began(
        self, event: Event, record: Record, now: datetime, settings: Settings, facts: list[Fact]
    ) -> Began:
        """Take a new episode into account, whoever claims it."""
        at = now.timestamp()
        said = said_at(event, now, settings)
        word = said.timestamp() if said is not None else None
        stream = stream_of(record)
        own = record.source == OWN_SOURCE  # whose alerts clear when what was missed comes
        goes_on = not own and self._habits.spoke(
            stream, record.ci, at if word is None else word, at
        )
        if not own and self._habits.sources[stream].never:
            record.occurrence = True
        elif record.episode > 1 and self.flapping.changed(record.fingerprint, now):
            facts.append(AlertFlapping(now, record.fingerprint, record.episode, on=True))
        return Began(self._correlation.onsets.of(record.ci, word, at), goes_on, said)

    def quiet_for(self, record: Record) -> float:
        """Seconds after which an alert of a source that never clears is over; 0 of any other."""
        if not record.occurrence:
            return 0.0
        known = self._habits.sources.get(stream_of(record))
        return self._habits.quiet_for(record.ci) if known is not None and known.never else 0.0

    def fired(
        self, record: Record, alert: Alert, began: Began | None, now: datetime, facts: list[Fact]
    ) -> None:
        """The rules were asked. `began` is None where it is judged again after a suppression.

        Whether such an alert still fires is not known, but for eventd's own: its clear may have
        been lost meanwhile.
        """
        claimed = record.incident
        if record.detached or (claimed and not self._correlation.knows(alert.ci)):
            return
        doubted = began is None and record.source != OWN_SOURCE
        if doubted and not claimed:
            self._doubted[record.fingerprint] = None
        self._fire(record, alert, began, now, facts, doubted=doubted)

    def repeated(
        self, event: Event, record: Record, now: datetime, facts: list[Fact], *, late: bool
    ) -> None:
        """A firing alert was seen again."""
        stream = stream_of(record)
        known = self._habits.sources.get(stream)
        if known is not None and not known.clears:
            said = said_at(event, now, self._state.settings) or now
            self._habits.spoke(stream, record.ci, said.timestamp(), now.timestamp())
            if self._habits.turns_out(stream, now.timestamp()):
                self._never_clears(stream, now)
            swells = record.occurrence and self._habits.swells(record.ci, record.name)
            if swells and not (record.incident or record.suppressed_by or record.detached):
                self._swells(record, now, facts)
        loose = not (late or record.incident or record.suppressed_by or record.detached)
        if self._doubted and loose and record.fingerprint in self._doubted:
            del self._doubted[record.fingerprint]
            self._fire(record, record.value(), None, now, facts)

    def claimed(
        self, fingerprints: list[str], incident: str, now: datetime, facts: list[Fact]
    ) -> None:
        """A rule put alerts into its incident, some of which fired a while ago."""
        verdicts = self._correlation.claimed(fingerprints, incident, now.timestamp())
        if verdicts:
            self._placement.carry_out(verdicts, now, facts)

    def worsened(self, record: Record, alert: Alert, now: datetime, facts: list[Fact]) -> None:
        """A firing alert is graver than before."""
        if not record.detached:
            verdicts = self._correlation.worsened(alert, record.incident, now.timestamp())
            self._placement.carry_out(verdicts, now, facts)

    def cleared(self, record: Record, at: datetime, reason: ClearReason, facts: list[Fact]) -> None:
        """An episode is over."""
        fingerprint = record.fingerprint
        self._doubted.pop(fingerprint, None)
        if reason is ClearReason.EVICTED:  # nobody said so: it says nothing of its check
            self._correlation.forgotten(fingerprint, at.timestamp())
            return
        if reason is ClearReason.SENT:
            self._habits.cleared(stream_of(record))
        short = at - record.started_at < FLAP_WITHIN
        flaps = not record.occurrence and (record.episode > 1 or short)
        if flaps and self.flapping.changed(fingerprint, at):
            facts.append(AlertFlapping(at, fingerprint, record.episode, on=True))
            self._correlation.steady(fingerprint, at.timestamp(), steady=True)
        verdicts = self._correlation.cleared(fingerprint, at.timestamp())
        if verdicts:
            self._placement.carry_out(verdicts, at, facts)

    def forget(self, fingerprint: str, at: datetime) -> None:
        """The alert is remembered no more."""
        self._correlation.forgotten(fingerprint, at.timestamp())
        self.flapping.forget(fingerprint)
        self._doubted.pop(fingerprint, None)

    def calm(self, fingerprint: str, at: datetime, facts: list[Fact]) -> None:
        """Look whether an alert still flaps."""
        if self.flapping.due(fingerprint, at):
            episode = self._alerts.records[fingerprint].episode
            facts.append(AlertFlapping(at, fingerprint, episode, on=False))
            self._correlation.steady(fingerprint, at.timestamp(), steady=False)

    def look_at(self, cluster: str, at: datetime, facts: list[Fact]) -> list[str]:
        """A cluster's timer. Fingerprints of firing alerts whose clear must have been lost."""
        return self._placement.carry_out(self._correlation.due(cluster, at), at, facts)

    def _fire(
        self,
        record: Record,
        alert: Alert,
        began: Began | None,
        now: datetime,
        facts: list[Fact],
        *,
        doubted: bool = False,
    ) -> None:
        at, claimed = now.timestamp(), record.incident
        stream = stream_of(alert)
        source = self._habits.sources.get(stream)
        burst = rare = False
        if source is not None and not source.clears:
            burst = source.never
            rare = self._habits.rare(alert.ci, alert.name, at) and burst
        session = None
        if source is not None and not claimed and source.polled:
            gap, most = source.session()
            session = Session(stream, gap, most, self._habits.surprise(stream, alert.ci))
        strange = alert.source == OWN_SOURCE and alert.name.endswith(ENDINGS)
        firing = Firing(
            alert,
            alert.started_at.timestamp() if began is None else began.onset,
            at,
            claimed,
            steady=record.fingerprint in self.flapping,
            prompt=strange or rare or alert.name.endswith(SILENT),
            strange=strange,
            trend=strange and TREND in alert.labels,
            doubted=doubted,
            burst=burst,
            goes_on=began is not None and began.goes_on,
            session=session,
        )
        verdicts = self._correlation.fired(firing)
        if verdicts:
            self._placement.carry_out(verdicts, now, facts)

    def _never_clears(self, stream: str, now: datetime) -> None:
        """What still fires of a stream that turned out never to clear is quiet soon."""
        at = now + seconds(BURST_MOST)
        firing = (r for r in self._alerts.records.values() if r.status is Status.FIRING)
        for record in [r for r in firing if stream_of(r) == stream]:
            record.occurrence = True
            key = ("stale", record.fingerprint)
            self._timers.set(key, self._timers.get(key) or at)

    def _swells(self, record: Record, now: datetime, facts: list[Fact]) -> None:
        """A burst of what is common has become far larger than any before."""
        at = now.timestamp()
        firing = Firing(record.value(), at, at, prompt=True, burst=True, goes_on=True)
        self._placement.carry_out(self._correlation.fired(firing), now, facts)
