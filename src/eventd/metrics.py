"""Every metric name and label; the numbers behind /metrics.

Of events since start, replay left out: received = applied + duplicate + refused + quarantined +
waiting.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from itertools import islice
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from eventd import __version__
from eventd.core.model import (
    AlertAlone,
    AlertCleared,
    AlertDetached,
    AlertFired,
    AlertFlapping,
    AlertRaised,
    AlertRepeated,
    AlertSuppressed,
    CapHit,
    Delivery,
    Event,
    EventDuplicate,
    Fact,
    FindingNoted,
    IncidentClosed,
    IncidentMerged,
    IncidentOpened,
    IncidentRanked,
    IncidentReopened,
    IncidentResolved,
    IncidentSplit,
    Input,
    Refused,
    RulesLoaded,
    RuleSwitchedOff,
    Strange,
    TimerFailed,
    VerdictGiven,
    sort_of,
)
from eventd.core.rules.budget import Share

MAX_RULES = 1_000  # label values; beyond that "other"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
EVENTS = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)

TRANSITIONS: dict[type, str] = {
    AlertFired: "fired",
    AlertCleared: "cleared",
    AlertDetached: "detached",
}
INCIDENTS: dict[type, str] = {
    IncidentOpened: "opened",
    IncidentResolved: "resolved",
    IncidentReopened: "reopened",
    IncidentClosed: "closed",
    IncidentMerged: "merged",
    IncidentSplit: "split",
    IncidentRanked: "ranked",
}


class Row(Protocol):
    """A journal row, for counting."""

    @property
    def delivery(self) -> Delivery | None:
        """What it came with."""
        ...

    @property
    def inputs(self) -> Sequence[Input]:
        """At least one."""
        ...

    @property
    def facts(self) -> Sequence[Fact]:
        """What the inputs caused."""
        ...


class Meter:
    """The numbers. Told once a batch; labels come from closed sets only."""

    def __init__(self) -> None:
        """All at zero."""
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"eventd_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"eventd_{name}", text, labels, registry=registry)

        self._received = counter("events_received", "Events that came to the door.", "source")
        self._applied = counter("events_applied", "Events the engine took in.", "source")
        self._duplicate = counter("events_duplicate", "Events applied before.", "source")
        self._refused = counter("events_refused", "Events refused.", "source", "reason")
        self._quarantined = counter("events_quarantined", "Events that crashed the core.")
        self.waiting = gauge("events_waiting", "Events taken and not yet committed.")
        self._deliveries_refused = counter(
            "deliveries_refused", "Deliveries refused unread.", "source", "reason"
        )
        self._truncated = counter("alerts_truncated", "Alerts senders left out.", "source")
        self._transitions = counter("alert_transitions", "Alerts that changed state.", "kind")
        self._suppressed = counter("alerts_suppressed", "Alerts suppressed.", "kind")
        self._incidents = counter("incident_transitions", "Incidents by what happened.", "kind")
        self._findings = counter("rule_findings", "Times a rule opened, added or fired.", "rule")
        self._rules_off = counter("rules_switched_off", "Rules that raised.")
        self._timers_failed = counter("timers_failed", "Timers that raised.")
        self._caps = counter("caps_hit", "Times a full table made room.", "kind")
        self._rule_caps = counter(
            "rule_caps_hit", "Times a rule let go what it remembered.", "rule", "kind"
        )
        self.alerts = gauge("alerts_remembered", "Alerts in memory, firing or cleared.")
        self.keys = gauge("delivery_keys", "Strong delivery keys in memory.")
        self.open = gauge("incidents_open", "Incidents that are not closed.", "priority")
        self.inbox = gauge("inbox_bytes", "Bytes waiting for the engine.")
        self.inbox_limit = gauge("inbox_limit_bytes", "Bytes that may wait.")
        self.inbox_reserve = gauge("inbox_reserve_bytes", "Of them, kept for clears and commands.")
        self.connections = gauge("http_connections", "Connections over HTTP.")
        self.connections_limit = gauge("http_connections_limit", "Connections there may be.")
        self._cut_off = counter("http_connections_cut", "Connections closed on peers.", "reason")
        self.rules = gauge("rules_loaded", "Rules in force.")
        self.reloaded = gauge("rules_last_load_success", "1 where the last load succeeded.")
        self.unlocked = gauge("secrets_last_load_success", "1 where the last load succeeded.")
        self.services = gauge("inventory_services", "Services in the inventory.")
        self.cis = gauge("inventory_cis", "CIs in the inventory.")
        self.dependencies = gauge("inventory_dependencies", "Dependencies in the inventory.")
        self.unknown = gauge("inventory_unknown_names", "Names of events that it lacks.")
        self._inventories = counter("inventory_reads", "Times it was read from its file.", "kind")
        self._inventory_good = gauge(
            "inventory_last_load_success", "1 where the last load succeeded."
        )
        self.commits = Histogram(
            "eventd_commit_duration_seconds",
            "Time of a commit.",
            buckets=SECONDS,
            registry=registry,
        )
        self.batches = Histogram(
            "eventd_batch_events", "Events of a commit.", buckets=EVENTS, registry=registry
        )
        self.rows = counter("journal_rows", "Journal rows written.")
        self.beyond = gauge("journal_beyond_snapshot_inputs", "Inputs a restart must replay.")
        self.snapshots = counter("snapshots", "Snapshots that became durable.")
        self.diverged = counter("replay_divergences", "Journal rows that replayed differently.")
        self.blocked = gauge("store_blocked", "1 while the disk is full.")
        self.drift = gauge("clock_drift_seconds", "Wall clock ahead of the engine's.")
        self._mqtt_up = gauge("mqtt_connected", "1 while connected.", "source")
        self._mqtt_connects = counter("mqtt_connections", "Connections made.", "source")
        self._mqtt_dropped = counter("mqtt_dropped", "QoS 0 messages without room.", "source")
        gauge("build_info", "What runs.", "version").labels(__version__).set(1)
        self._correlation(counter, gauge)
        self._anomalies(counter, gauge)
        self._known_rules: dict[str, None] = {}
        # counts since the last page: a labelled counter costs ten times an addition
        self._since: dict[tuple[Counter, tuple[str, ...]], int] = {}
        self._came: dict[str, int] = {}  # events of a source, likewise

    def _correlation(self, counter: Callable[..., Counter], gauge: Callable[..., Gauge]) -> None:
        self._alone = counter("alerts_alone", "Alerts the correlation left alone.", "reason")
        self._flaps = counter("alerts_flapped", "Alerts that began to flap.")
        self.flapping = gauge("alerts_flapping", "Alerts that flap now.")
        self.clusters = gauge("clusters_live", "Clusters of alerts the correlation holds.")
        self.clusters_limit = gauge("clusters_limit", "Clusters there may be.")
        self.raised = gauge("clusters_raised", "Of them, those that are incidents.")
        self.heartbeats = gauge("heartbeats_tracked", "Heartbeats that are listened for.")
        self.silent = gauge("heartbeats_silent", "Of them, those that are missing.")
        self._learned = gauge("learned_rows", "Rows of what is learned from events.", "kind")
        self._learned_limit = gauge("learned_limit_rows", "Rows there may be.", "kind")

    def _anomalies(self, counter: Callable[..., Counter], gauge: Callable[..., Gauge]) -> None:
        self._strange = counter("anomaly_alerts", "Alerts made of scores.", "rule")
        self._verdicts = counter(
            "anomaly_verdicts", "Streams that a verdict taught.", "rule", "verdict"
        )
        self._budget = gauge(
            "anomaly_budget_alerts_per_second", "Alerts wanted of all streams together.", "rule"
        )
        self._needed = gauge("anomaly_needed_surprise", "Decades that an alert takes now.", "rule")
        self._streams = gauge("anomaly_streams", "Streams that are scored.", "rule")
        self._young = gauge("anomaly_streams_young", "Of them, too young for a score.", "rule")
        self._criers = gauge("anomaly_streams_cried", "Of them, those that ever cried.", "rule")

    def shares(self, budgets: Mapping[str, Share]) -> None:
        """The budget of each rule, and who shares it; rules that are gone are shown no more.

        These have no label among those of rules that ever fired, which only grow.
        """
        told = (self._budget, self._needed, self._streams, self._young, self._criers)
        for one in told:
            one.clear()
        for rule, share in islice(budgets.items(), MAX_RULES):  # the others cannot be added up
            for gauge, value in zip(told, share, strict=True):
                gauge.labels(rule).set(value)

    def page(self) -> bytes:
        """The text page of /metrics."""
        self.settle()
        return generate_latest(self.registry)

    def settle(self) -> None:
        """Bring what was counted since the last page into the counters."""
        for source, events in self._came.items():
            self._received.labels(source).inc(events)
        self._came.clear()
        for (counter, labels), count in self._since.items():
            (counter.labels(*labels) if labels else counter).inc(count)
        self._since.clear()

    def _add(self, counter: Counter, count: int, *labels: str) -> None:
        key = (counter, labels)
        self._since[key] = self._since.get(key, 0) + count

    # -- the door ---------------------------------------------------------------------------

    def received(self, source: str, events: int) -> None:
        """Events were read from a delivery."""
        self._came[source] = self._came.get(source, 0) + events

    def refused(self, source: str, reason: str, events: int) -> None:
        """Read, and not let in."""
        self._add(self._refused, events, source, reason)

    def turned_away(self, source: str, reason: str) -> None:
        """A delivery was refused before it was read."""
        self._deliveries_refused.labels(source, reason).inc()

    def cut_off(self, reason: str) -> None:
        """A connection was closed on its peer."""
        self._cut_off.labels(reason).inc()

    def truncated(self, source: str, alerts: int) -> None:
        """A sender said that it left alerts out."""
        self._truncated.labels(source).inc(alerts)

    def connection(self, broker: str, *, up: bool) -> None:
        """A broker came or went."""
        self._mqtt_up.labels(broker).set(up)
        if up:
            self._mqtt_connects.labels(broker).inc()

    def dropped(self, broker: str) -> None:
        """A QoS 0 message found no room."""
        self._mqtt_dropped.labels(broker).inc()

    def inventory_read(self, *, good: bool) -> None:
        """The inventory's file was read, or could not be."""
        self._inventories.labels("good" if good else "rejected").inc()
        self._inventory_good.set(good)

    # -- committed ----------------------------------------------------------------------------

    def applied(self, rows: Iterable[Row]) -> None:
        """The journal rows of one batch. Most hold one event that moved nothing but its alert."""
        plain: dict[tuple[str, type[Fact]], int] = {}
        count = 0
        for row in rows:
            count += 1
            source = row.delivery.source if row.delivery is not None else ""
            facts, inputs = row.facts, row.inputs
            if len(facts) == len(inputs) == 1 and type(inputs[0]) is Event:
                kind = type(facts[0])
                if kind in _PLAIN:
                    plain[source, kind] = plain.get((source, kind), 0) + 1
                    continue
            self._row(inputs, facts, source)
        if count:
            self._add(self.rows, count)
        for (source, kind), events in plain.items():
            self._add(self._duplicate if kind is EventDuplicate else self._applied, events, source)

    def _row(self, inputs: Sequence[Input], facts: Sequence[Fact], source: str) -> None:
        events = list(map(type, inputs)).count(Event)
        duplicates = list(map(type, facts)).count(EventDuplicate)
        if events:
            again = min(duplicates, events)
            if again:
                self._add(self._duplicate, again, source)
            if events > again:
                self._add(self._applied, events - again, source)
        if len(inputs) > events:
            for one in inputs:
                if isinstance(one, Refused):
                    self._add(self._refused, 1, source, one.reason)
        if len(facts) > duplicates:
            self._caused(Tally(map(type, facts)), facts)

    def _caused(self, causes: Tally[type], facts: Sequence[Fact]) -> None:
        for kind, count in causes.items():
            if name := TRANSITIONS.get(kind):
                self._add(self._transitions, count, name)
            elif name := INCIDENTS.get(kind):
                self._add(self._incidents, count, name)
        if not causes.keys() & _LOOKED_AT:
            return
        for fact in facts:
            if type(fact) in _LOOKED_AT:
                self._look(fact)

    def _look(self, fact: Fact) -> None:
        match fact:
            case IncidentOpened() | FindingNoted():
                self._add(self._findings, 1, self._rule(fact.because.rule))
            case AlertRaised(begins=True):
                self._add(self._findings, 1, self._rule(fact.because.rule))
                self._scored(fact)
            case AlertSuppressed():
                self._add(self._suppressed, 1, sort_of(fact.by))
            case AlertAlone():
                self._add(self._alone, 1, fact.why.value)
            case AlertFlapping(on=True):
                self._flaps.inc()
            case CapHit():
                self._add(self._caps, 1, fact.table)
                if fact.rule:
                    self._add(self._rule_caps, 1, self._rule(fact.rule), fact.table)
            case RulesLoaded():
                self.rules.set(fact.rules)
                self.reloaded.set(1)
            case RuleSwitchedOff():
                self._rules_off.inc()
            case TimerFailed():
                self._timers_failed.inc()
            case _:
                self._scored(fact)

    def _scored(self, fact: Fact) -> None:
        match fact:
            case AlertRaised(because=Strange() as because):
                self._add(self._strange, 1, self._rule(because.rule))
            case VerdictGiven():
                for rule, streams in fact.taught:
                    verdict = "true" if fact.verdict else "false"
                    self._add(self._verdicts, streams, self._rule(rule), verdict)
            case _:
                pass

    def quarantined(self) -> None:
        """An event crashed the core."""
        self._quarantined.inc()

    def _rule(self, name: str) -> str:
        if name not in self._known_rules:
            if len(self._known_rules) >= MAX_RULES:
                return "other"
            self._known_rules[name] = None
        return name

    def watch_learned(self, kind: str, table: Sized, limit: int) -> None:
        """Count the rows of a learned table when the page is asked for; it has `limit` at most."""
        self._learned.labels(kind).set_function(lambda: len(table))
        self._learned_limit.labels(kind).set(limit)

    def watch(self, gauge: Gauge, read: Callable[[], float]) -> None:
        """Read the gauge's value when the page is asked for."""
        gauge.set_function(read)


_PLAIN = frozenset({AlertRepeated, EventDuplicate})  # alone in a row, they count one event
_LOOKED_AT = frozenset(
    {
        IncidentOpened,
        FindingNoted,
        AlertAlone,
        AlertFlapping,
        AlertRaised,
        AlertSuppressed,
        CapHit,
        RulesLoaded,
        RuleSwitchedOff,
        TimerFailed,
        VerdictGiven,
    }
)
