"""Everything the engine remembers, as plain data out and in."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from datetime import datetime

from msgspec import Struct, structs

from eventd.core.changes import Changes, Sort, Values
from eventd.core.correlation.correlation import Correlation
from eventd.core.dedup import AlertTable, Record
from eventd.core.enrich import Enrichment
from eventd.core.explained import Explained
from eventd.core.flapping import Flapping
from eventd.core.habits import Habits, Hours, Pace, Source
from eventd.core.heartbeats import Beat, Heartbeats
from eventd.core.incidents import IncidentRecord, IncidentTable
from eventd.core.inventory import Inventory
from eventd.core.labels import shared, shared_labels, shared_links
from eventd.core.model import (
    Alert,
    Change,
    Ci,
    Incident,
    IncidentState,
    Maintenance,
    Service,
    Settings,
    Shifts,
    Silence,
    Status,
    seconds,
)
from eventd.core.raised import Raised
from eventd.core.rules.inhibit import Role
from eventd.core.rules.rule import Limits
from eventd.core.rules.ruleset import RuleSet
from eventd.core.scoring.pulse import Pulse
from eventd.core.snapshot import Restored, Snapshot
from eventd.core.storms import Storm, Storms
from eventd.core.suppress import Suppressions
from eventd.core.timers import Timers

SETTLE = "settle:"  # and a rule: what suppresses an alert that may clear by itself
# and a rule: what suppresses an alert that another explains, or may yet
EXPLAINED = ("inhibit:", "dependency:")
CALENDAR = "calendar:"  # and a rule: what suppresses an alert that is known at given times
SETTLE_TIMER = "settle"  # its key is the fingerprint of an alert that is waited with
TimerKey = tuple[str, str]  # kind and id
Judged = tuple[bool | None, list[str]]  # a person's verdict, and fingerprints of those alerts


class Meta(Struct, frozen=True):
    """What is one of a kind."""

    settings: Settings
    rules_version: str
    incidents: int
    silences: int
    windows: int
    inventory: str = ""  # version
    started_at: datetime | None = None


class State:
    """The tables, the timers and the counters ids are made from."""

    def __init__(self) -> None:
        """Nothing is known and no rule is loaded."""
        self.settings = Settings()
        self.full: list[str] = []  # tables that made room in this step
        self.table = AlertTable()
        self.rules = RuleSet()
        self.suppressions = Suppressions()
        self.changes = Changes(self.full)
        self.explained = Explained(self.full)
        self.raised = Raised(self.full)
        self.judged: dict[str, Judged] = {}  # closed incidents that held alerts of what scores
        self.storms = Storms()
        self.timers: Timers[TimerKey] = Timers()
        self.incidents = IncidentTable(self.timers, self.full)
        self.enrichment = Enrichment()
        self.correlation = Correlation(self.timers, self.full)
        self.doubted: dict[str, None] = {}  # whose clear may be lost: fingerprints
        self.habits = Habits(self.full)
        self.heartbeats = Heartbeats(self.timers, self.full)
        self.flapping = Flapping(self.timers)
        self.started_at: datetime | None = None  # the last time
        self.silence_count = 0
        self.window_count = 0

    def snapshot(self) -> Snapshot:
        """A copy that later steps do not reach; encoding it is left to whoever has the time."""
        inventory = self.enrichment.inventory
        meta = Meta(
            self.settings,
            self.rules.version,
            self.incidents.count,
            self.silence_count,
            self.window_count,
            inventory.version,
            self.started_at,
        )
        return Snapshot(
            {
                "meta": [meta],
                "services": list(inventory.services),
                "cis": list(inventory.cis),
                "unknown": [(*name, count) for name, count in self.enrichment.unknown.items()],
                "known_as": [(said, *one) for said, one in self.enrichment.known_as.items()],
                "rules": list(self.rules.texts()),
                "zones": list(self.rules.zones.items()),
                "rules_off": list(self.rules.off.items()),
                "rule_states": self.rules.dump(),
                "alerts": list(map(structs.replace, self.table.records.values())),
                "cleared": list(self.table.cleared),
                "keys": self.table.keys.dump(),
                "incidents": [_copied(record) for record in self.incidents.records.values()],
                "suppressions": self.suppressions.dump(),
                "rule_changes": self.changes.dump(),
                "joined_last": list(self.changes.joined),
                "explained": self.explained.dump(),
                "raised": self.raised.dump(),
                "judged": [(name, *one) for name, one in self.judged.items()],
                "storms": self.storms.dump(),
                "heartbeats": self.heartbeats.dump(),
                "flapping": self.flapping.dump(),
                "doubted": list(self.doubted),
                **self.habits.dump(),
                **self.correlation.dump(),
                "timers": [(kind, key, at) for (kind, key), at in self.timers.items()],
            }
        )

    def learned(self) -> Snapshot:
        """What experience tells, in sections of their own.

        Of checks whether they cry wolf, of CIs how wrong their clocks are, of what beats how often.
        """
        return Snapshot(
            {
                "checks": self.correlation.noise.dump(),
                "lags": self.correlation.onsets.dump(),
                "cadences": self.heartbeats.cadences(),
            }
        )

    def learn(self, data: Restored) -> None:
        """Take up what `learned` gave, before anything has happened."""
        self.correlation.noise.load(data.read("checks", tuple[str, int, int]))
        self.correlation.onsets.load(data.read("lags", tuple[str, tuple[float, ...]]))
        self.heartbeats.load(data.read("cadences", tuple[str, Pulse | None, Beat | None]))

    @classmethod
    def restore(cls, data: Restored) -> State:
        """The state a snapshot holds. Raises msgspec.MsgspecError where it cannot be read."""
        state = cls()
        for said, fingerprint, episode in data.read("known_as", tuple[str, str, int]):
            state.enrichment.known_as[said] = fingerprint, episode
        for meta in data.read("meta", Meta):
            state.take_settings(meta.settings)
            state.incidents.count = meta.incidents
            state.silence_count, state.window_count = meta.silences, meta.windows
            state.started_at = meta.started_at
            texts = tuple(data.read("rules", str))
            zones = dict(data.read("zones", tuple[str, Shifts]))
            state.rules.load(meta.rules_version, texts, limits_of(state), zones)
            services, cis = data.read("services", Service), data.read("cis", Ci)
            state.take_inventory(Inventory(meta.inventory, services, cis))
        state.enrichment.restore(data.read("unknown", tuple[str, str, int]))
        rows: dict[str, list[object]] = {}
        for name, row in data.read("rule_states", tuple[str, object]):
            rows.setdefault(name, []).append(row)
        for name, dumped in rows.items():
            state.rules.states[name].load(dumped)
        for name, error in data.read("rules_off", tuple[str, str]):
            state.rules.switch_off(state.rules.states[name], error)
        for record in data.read("alerts", Record):
            state.remember(record)
        for fingerprint in data.read("cleared", str):
            state.table.cleared[fingerprint] = None
        state.table.keys.load(data.read("keys", tuple[int, bytes]))
        for incident in data.read("incidents", IncidentRecord):
            state.incidents.load(incident)
        state.suppressions.load(
            data.read("suppressions", tuple[str, Silence | None, Maintenance | None])
        )
        state.changes.load(data.read("rule_changes", tuple[Sort, Values, Change]))
        state.changes.joined.extend(data.read("joined_last", tuple[str, int]))
        fires = {f for f, one in state.table.records.items() if one.status is Status.FIRING}
        roles = data.read("explained", tuple[str, tuple[Role, ...], str])
        # a snapshot of before may hold what has ended
        state.explained.load(
            row for row in roles if row[0] in fires and (not row[2] or row[2] in fires)
        )
        state.raised.load(data.read("raised", tuple[str, list[str]]))
        for name, verdict, alerts in data.read("judged", tuple[str, bool | None, list[str]]):
            state.judged[name] = verdict, alerts
        state.storms.load(data.read("storms", tuple[str, list[int], Storm | None]))
        state.heartbeats.load(data.read("heartbeats", tuple[str, Pulse | None, Beat | None]))
        state.flapping.load(data.read("flapping", tuple[str, int, int, bool]))
        state.doubted.update(dict.fromkeys(data.read("doubted", str)))
        state.habits.load(
            data.read("sources", tuple[str, Source]),
            data.read("paces", tuple[str, Pace]),
            data.read("hours", tuple[str, Hours]),
        )
        state.correlation.load(data)
        for kind, key, at in data.read("timers", tuple[str, str, datetime]):
            state.timers.set((kind, key), at)
        return state

    def take_settings(self, settings: Settings) -> None:
        """What is held to them is so from now on."""
        self.settings = settings
        self.incidents.limit = settings.max_incidents

    def take_inventory(self, inventory: Inventory) -> None:
        """Whoever asks the inventory asks this one from now on."""
        self.enrichment.load(inventory)
        self.suppressions.rename(self.enrichment.window)
        self.explained.inventory = inventory
        self.incidents.inventory = inventory
        self.correlation.table.inventory = inventory
        self.rules.limit(limits_of(self))

    def remember(self, record: Record) -> None:
        """Take up an alert, its texts stored once."""
        record.labels = shared_labels(record.labels)
        record.links = shared_links(record.links)
        record.source, record.name = shared(record.source), shared(record.name)
        record.ci, record.service = shared(record.ci), shared(record.service)
        self.table.records[record.fingerprint] = record
        if record.suppressed_by:
            self.suppressions.hold(record.suppressed_by, record.fingerprint)

    @classmethod
    def rebuild(
        cls,
        alerts: Iterable[Alert],
        incidents: Iterable[Incident],
        members: Iterable[tuple[str, str]],
        silences: Iterable[Silence],
        maintenance: Iterable[Maintenance],
    ) -> State:
        """The last resort: from the tables, when no snapshot is good.

        Lost are delivery keys (see `Engine.recognise`), promises to repeat, the times sources gave,
        what rules were counting, and the clusters of the correlation: what it raised resolves as a
        rule's incident does. `incidents` are those not closed; `members` pairs (incident,
        fingerprint). Of a maintenance whose window is empty only the id counts.
        """
        state = cls()
        for alert in alerts:
            state.remember(_record_of(alert))
            if alert.suppressed_by.startswith(SETTLE):
                state.timers.set(("settle", alert.fingerprint), alert.last_seen_at)
            if alert.status is Status.CLEARED:
                state.table.cleared[alert.fingerprint] = None
                since = alert.cleared_at or alert.last_seen_at
                wait = seconds(state.settings.forget_after)
                state.timers.set(("forget", alert.fingerprint), since + wait)
        for incident in incidents:
            state.incidents.load(_incident_record_of(incident, state.settings))
            number = int(incident.id.rpartition("-")[2])
            state.incidents.count = max(state.incidents.count, number)
        for incident_id, fingerprint in members:
            known = state.table.records.get(fingerprint)
            if known is None:
                state.incidents.readmit(incident_id, fingerprint, 0, "", fires=False)
                state.incidents.forget(incident_id, fingerprint, "")
                continue
            fires = known.incident == incident_id and known.status is Status.FIRING
            state.incidents.readmit(incident_id, fingerprint, known.episode, known.ci, fires=fires)
        state.incidents.rearm(state.settings)
        for silence in silences:
            state.suppressions.add_silence(silence)
            state.timers.set(("silence", silence.id), silence.ends_at)
            state.silence_count = max(state.silence_count, int(silence.id.rpartition("-")[2]))
        grace = seconds(state.settings.maintenance_grace)
        for one in maintenance:
            if one.window.ends_at > one.window.starts_at:
                state.suppressions.add_window(one, one.id)
                state.timers.set(("maintenance", one.id), one.window.ends_at + grace)
            state.window_count = max(state.window_count, int(one.id.rpartition("-")[2]))
        return state


def limits_of(state: State) -> Limits:
    """What rules are held to."""
    settings = state.settings
    return Limits(
        settings.max_groups,
        seconds(settings.late_within),
        state.started_at,
        seconds(settings.start_grace),
        inventory=state.enrichment.inventory,
    )


def _copied(record: IncidentRecord) -> IncidentRecord:
    twin = copy(record)
    twin.members, twin.cis, twin.noted = dict(record.members), dict(record.cis), list(record.noted)
    twin.answers_for = list(record.answers_for)
    return twin


def _record_of(alert: Alert) -> Record:
    return Record(
        fingerprint=alert.fingerprint,
        source=alert.source,
        name=alert.name,
        ci=alert.ci,
        service=alert.service,
        summary=alert.summary,
        status=alert.status,
        severity=alert.severity,
        labels=alert.labels,
        links=alert.links,
        started_at=alert.started_at,
        last_seen_at=alert.last_seen_at,
        cleared_at=alert.cleared_at,
        count=alert.count,
        episode=alert.episode,
        suppressed_by=alert.suppressed_by,
        incident=alert.incident,
        measured=alert.value,
    )


def _incident_record_of(incident: Incident, settings: Settings) -> IncidentRecord:
    """What the table row says; the rule's own spec is known again with its next incident."""
    closing = incident.state is IncidentState.RESOLVED
    return IncidentRecord(
        id=incident.id,
        rule=incident.rule,
        group=incident.group,
        title=incident.title,
        service=incident.service,
        impact=incident.impact,
        urgency=incident.urgency,
        impact_because=incident.impact_because,
        urgency_because=incident.urgency_because,
        opened_at=incident.opened_at,
        updated_at=incident.updated_at,
        because=incident.because,
        reopen_within=settings.reopen_within,
        team=incident.team,
        workaround=incident.workaround,
        state=incident.state,
        members={},
        cis={},
        noted=[],
        answers_for=[],
        resolved_at=incident.resolved_at if closing else None,
        acknowledged_at=incident.acknowledged_at,
        acknowledged_by=incident.acknowledged_by,
        owner=incident.owner,
        roots=incident.roots,
        merged_into=incident.merged_into,
        recurs=incident.recurs,
        past_alerts=incident.alerts,
        past_cis=incident.cis,
    )
