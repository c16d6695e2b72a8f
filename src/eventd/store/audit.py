"""Comparing what a replay says with what the tables say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import msgspec

from eventd.core.concerned import KINDS, incidents_of
from eventd.core.engine import Engine
from eventd.core.model import (
    Alert,
    CapHit,
    Event,
    EventDuplicate,
    Fact,
    Incident,
    IncidentState,
    Maintenance,
    RootCandidate,
    Silence,
    Status,
    VerdictGiven,
)
from eventd.store.journal import JournalReader, Row
from eventd.store.projection import Projection
from eventd.store.queries import QUERIES
from eventd.store.rows import (
    alert_row,
    decode_alert,
    decode_delivery,
    decode_entries,
    decode_fact,
    decode_incident,
    decode_inputs,
    decode_maintenance,
    decode_silence,
    incident_row,
    micros,
    moment,
)

HOUR = timedelta(hours=1)  # the grain in which delivery keys are forgotten
ACTS = "who did what is written down once"
Finding = tuple[str, list[str], str]  # sentence, what is wrong, figures

# What may follow what in a timeline. Closed is final.
_STATE_AFTER = {
    "opened": IncidentState.OPEN,
    "reopened": IncidentState.OPEN,
    "resolved": IncidentState.RESOLVED,
    "closed": IncidentState.CLOSED,
}
_LEGAL_IN = {
    "opened": frozenset[IncidentState | None]({None}),
    "reopened": frozenset[IncidentState | None]({IncidentState.RESOLVED}),
    "resolved": frozenset[IncidentState | None]({IncidentState.OPEN}),
}
_NOT_CLOSED = frozenset[IncidentState | None]({IncidentState.OPEN, IncidentState.RESOLVED})

VERDICT = KINDS[VerdictGiven]


class Scan:
    """The whole journal, once: gaps, time, acknowledged ids, keys before the replay's start."""

    def __init__(self, reader: JournalReader, acked: set[str], base: int) -> None:
        """Read it all."""
        self.gaps: list[str] = []
        self.backwards: list[str] = []
        self.keys: dict[bytes, datetime] = {}
        self._acked, self._wanted = len(acked), acked
        self._rows = self._inputs = 0
        skipped = reader.skipped()
        want = now = 0
        for seq, inputs, at, body in reader.db.execute(QUERIES["whole_journal"]):
            items = decode_inputs(body)
            if self._rows and seq != want:
                self.gaps.append(f"{seq} follows where {want} was due")
            if inputs != len(items):
                self.gaps.append(f"row {seq} says {inputs} inputs and holds {len(items)}")
            if at < now:
                self.backwards.append(f"row {seq}")
            want, now = seq + inputs, at
            self._rows += 1
            self._inputs += inputs
            for position, item in enumerate(items, seq):
                if isinstance(item, Event):
                    self._wanted.discard(item.id)
                    if item.strong and position < base and position not in skipped:
                        self.keys.setdefault(item.key, moment(at))

    def lost(self) -> list[str]:
        """Acknowledged ids that are not there."""
        return sorted(self._wanted)

    def size(self) -> str:
        """Figures."""
        return f"{self._rows} rows, {self._inputs} inputs, {self._acked} ids asked for"


class Told:
    """What the replay of the tail said."""

    def __init__(self, keys: dict[bytes, datetime], *, capped: bool = False) -> None:
        """`keys` are strong delivery keys of before, with the time they were journaled at.

        Where it is `capped` some of them may be known no more.
        """
        self.rows = Projection()
        self.incidents: dict[str, Incident | None] = {}  # None: the engine forgot it meanwhile
        self.touched: dict[str, None] = {}  # fingerprints of alerts
        self.twice: list[str] = []
        self._keys = keys
        self._stepped = 0
        self._keys_capped = capped

    def add(self, row: Row, answers: list[tuple[Fact, ...]], engine: Engine) -> None:
        """Take up a row."""
        self._stepped += 1
        names: dict[str, None] = {}
        for item, facts in zip(row.inputs, answers, strict=True):
            self.rows.add(row.seq, facts)
            for fact in facts:
                self._note(fact, names)
            if isinstance(item, Event) and item.strong and facts:
                self._count(item, facts, row, engine)
        for name in names:
            try:
                self.incidents[name] = engine.incident(name)
            except KeyError:
                self.incidents[name] = None

    def _note(self, fact: Fact, names: dict[str, None]) -> None:
        if not isinstance(fact, VerdictGiven):  # that may be of one retention has taken
            names.update(dict.fromkeys(incidents_of(fact)))
        alert = getattr(fact, "alert", None)
        fingerprint = alert.fingerprint if isinstance(alert, Alert) else None
        fingerprint = fingerprint or getattr(fact, "fingerprint", None)
        if isinstance(fingerprint, str) and fingerprint:
            self.touched[fingerprint] = None
        if isinstance(fact, CapHit) and fact.table == "keys":
            self._keys_capped = True

    def _count(self, event: Event, facts: tuple[Fact, ...], row: Row, engine: Engine) -> None:
        if event.status is Status.HEARTBEAT or isinstance(facts[-1], EventDuplicate):
            return
        before = self._keys.get(event.key)
        kept_for = timedelta(seconds=engine.settings.strong_key_for) - HOUR
        if before is not None and row.now - before < kept_for and not self._keys_capped:
            self.twice.append(f"{event.id or event.key.hex()} in row {row.seq}")
        self._keys[event.key] = row.now

    def size(self, start: str) -> str:
        """Figures."""
        return f"{self._stepped} rows from {start}"


class Audit:
    """Both sides: the tables, and the replay from position `base` on."""

    def __init__(self, reader: JournalReader, told: Told, engine: Engine, base: int) -> None:
        """`engine` is where the replay ended."""
        self.reader, self.told, self.engine, self.base = reader, told, engine, base


def compare(audit: Audit) -> Iterator[Finding]:
    """Incidents, timelines, ledger, counts, and what suppresses."""
    yield _incidents(audit)
    yield _timelines(audit)
    yield _ledger(audit)
    yield _alerts(audit)
    yield _covers(audit)


def _incidents(audit: Audit) -> Finding:
    rows = {one.id: one for one in audit.reader.all_incidents()}
    told = dict(audit.told.incidents)
    for one in audit.engine.incidents():
        # retention may have taken a closed one that nothing has happened to since
        if one.state is not IncidentState.CLOSED or one.id in rows or one.id in told:
            told[one.id] = one
    wrong = [
        f"{name}: {'is missing' if name not in rows else 'differs'}"
        for name, one in told.items()
        if name not in rows or (one is not None and not _follows(rows[name], one))
    ]
    wrong += [
        f"{name}: the replay does not know it"
        for name, one in rows.items()
        if one.state is not IncidentState.CLOSED and name not in told
    ]
    return "incidents are what the replay says", wrong, f"{len(rows)} incidents"


def _follows(row: Incident, told: Incident) -> bool:
    """Equal, or behind by counters and evidence alone, which the journal rebuilds."""
    if row == told:
        return True
    if row.updated_at > told.updated_at or row.alerts > told.alerts or row.cis > told.cis:
        return False
    return row.firing <= row.alerts and _settled(row) == _settled(told)


def _settled(incident: Incident) -> Incident:
    """Without the counters, and of the root candidates with none but the leader's name."""
    leads = tuple(RootCandidate(one.ci, 0.0, 0, 0) for one in incident.roots[:1])
    level = {"alerts": 0, "firing": 0, "cis": 0, "updated_at": incident.opened_at, "roots": leads}
    return msgspec.structs.replace(incident, **level)


def _timelines(audit: Audit) -> Finding:
    told: dict[str, list[tuple[object, ...]]] = {}
    for incident, *rest in audit.told.rows.timeline:
        told.setdefault(incident, []).append(tuple(rest))
    rows: dict[str, list[tuple[object, ...]]] = {}
    for incident, *rest in audit.reader.db.execute(QUERIES["timeline_from"], (audit.base,)):
        rows.setdefault(incident, []).append(tuple(rest))
    wrong = sorted(name for name in told.keys() | rows.keys() if told.get(name) != rows.get(name))
    return "timelines are what the replay says", wrong, f"{sum(map(len, rows.values()))} entries"


def _ledger(audit: Audit) -> Finding:
    told = audit.told.rows.ledger
    rows: dict[str, list[tuple[int, Fact]]] = {}
    for incident, body in audit.reader.db.execute(QUERIES["ledger_from"], (audit.base,)):
        kept = [entry for entry in decode_entries(body) if entry[0] >= audit.base]
        rows.setdefault(incident, []).extend(kept)
    names = told.keys() | rows.keys()
    wrong = sorted(name or "(none)" for name in names if told.get(name) != rows.get(name))
    misfiled = audit.reader.db.execute(QUERIES["misfiled_ledger"])
    wrong += sorted(f"{name or '(none)'}: is misfiled" for (name,) in misfiled)
    return "the ledger is what the replay says", wrong, f"{sum(map(len, rows.values()))} reasons"


def _alerts(audit: Audit) -> Finding:
    """A row may be behind by what the journal can rebuild, never ahead and never elsewhere."""
    touched = audit.told.touched
    rows = {one.fingerprint: one for one in audit.reader.alerts()}
    wrong, behind = [], 0
    for alert in audit.engine.alerts():
        row = rows.pop(alert.fingerprint, None)
        if row == alert:
            continue
        behind += 1
        if alert.fingerprint not in touched:
            wrong.append(f"{alert.fingerprint}: {'is missing' if row is None else 'differs'}")
        elif row is not None and _ahead(row, alert):
            wrong.append(f"{alert.fingerprint}: is ahead of the replay")
    wrong += [f"{name}: the replay does not know it" for name in rows if name not in touched]
    said = "alerts are counted as the replay counts them"
    return said, wrong, f"{len(rows) + behind} rows may lag" if behind else "all rows equal"


def _covers(audit: Audit) -> Finding:
    """Silences and windows in force or to come."""
    reader, covers = audit.reader, audit.engine.suppressions
    told: dict[str, tuple[int, int, Silence | Maintenance]] = {}
    for silence in covers.silences.values():
        told[silence.id] = micros(silence.starts_at), micros(silence.ends_at), silence
    for one in covers.windows.values():
        told[one.id] = micros(one.window.starts_at), micros(one.window.ends_at), _unnamed(one)
    rows: dict[str, tuple[int, int, Silence | Maintenance]] = {}
    for name, starts, ends, body in reader.db.execute(QUERIES["silences_in_force"]):
        rows[name] = starts, ends, decode_silence(body)
    for name, starts, ends, body in reader.db.execute(QUERIES["maintenance_in_force"]):
        rows[name] = starts, ends, _unnamed(decode_maintenance(body))
    wrong = [
        f"{name}: {'differs' if name in told else 'the replay does not know it'}"
        for name, row in rows.items()
        if told.get(name) != row
    ]
    wrong += [f"{name}: is missing" for name in told if name not in rows]
    said = "silences and maintenance in force are what the replay says"
    return said, wrong, f"{len(rows)} in force"


def _unnamed(one: Maintenance) -> Maintenance:
    """Without names: an inventory that is loaded later changes those the engine has."""
    return msgspec.structs.replace(
        one, window=msgspec.structs.replace(one.window, cis=(), services=())
    )


def acts(audit: Audit) -> Finding:
    """Who did what: one row of the audit each."""
    begun = audit.reader.db.execute(QUERIES["audited_from"]).fetchone()
    if begun is None:
        return ACTS, [], "an older eventd wrote this store, and no audit"
    since = max(begun[0], audit.base)
    told = [row for row in audit.told.rows.audit if row[0] >= since]
    rows = audit.reader.db.execute(QUERIES["audit_from"], (since,)).fetchall()
    differs = (Counter(told) - Counter(rows)) + (Counter(rows) - Counter(told))
    wrong = sorted(f"row {seq!r}" for seq, *_ in differs)
    return ACTS, wrong, f"{len(rows)} acts"


def _ahead(row: Alert, alert: Alert) -> bool:
    if row.started_at > alert.started_at:
        return True
    return (row.episode, row.count) > (alert.episode, alert.count) or (
        row.last_seen_at > alert.last_seen_at
    )


def lifecycles(reader: JournalReader) -> Iterator[tuple[str, str, list[str], str]]:
    """What the tables must keep among themselves."""
    yield "I3", "columns say what the rows hold", *_columns(reader)
    incidents = list(reader.all_incidents())
    seen: dict[tuple[str, tuple[tuple[str, str], ...]], str] = {}
    twins: list[str] = []
    for one in incidents:
        if one.state is not IncidentState.CLOSED:
            other = seen.setdefault((one.rule, tuple(one.group.items())), one.id)
            if other != one.id:
                twins.append(f"{other} and {one.id}")
    yield (
        "I6",
        "at most one incident of a rule and group is not closed",
        twins,
        f"{len(seen)} not closed",
    )
    states: dict[str, IncidentState | None] = {}
    counted: dict[str, int] = {}
    gaps: list[str] = []
    illegal: list[str] = []
    for name, n, kind in reader.db.execute(QUERIES["lifecycles"]):
        counted[name] = counted.get(name, 0) + 1
        if n != counted[name]:
            gaps.append(f"{name}: {n} stands where {counted[name]} was due")
        if kind == VERDICT:  # given at any time, also when retention has taken all else
            continue
        state = states.get(name)
        legal = _NOT_CLOSED if state is not None else _LEGAL_IN["opened"]
        if state not in _LEGAL_IN.get(kind, legal) or (kind != "opened" and state is None):
            illegal.append(f"{name}: {kind} while {state.value if state else 'unknown'}")
        states[name] = _STATE_AFTER.get(kind, state)
    entries = f"{sum(counted.values())} entries of {len(counted)} incidents"
    yield "I7", "timelines count from 1 without gaps", gaps, entries
    illegal += [
        f"{one.id}: is {one.state.value}, its timeline says otherwise"
        for one in incidents
        if states.get(one.id) is not one.state
    ]
    yield "I7", "only legal transitions, and they end where the incident is", illegal, entries


_READ: dict[str, Callable[[bytes], object]] = {
    "timeline": decode_fact,
    "ledger": decode_entries,
    "silence": decode_silence,
    "maintenance": decode_maintenance,
    "delivery": decode_delivery,
    "audit": decode_fact,
}


def unread(reader: JournalReader) -> Iterator[str]:
    """Rows whose body cannot be read, also where they are older than what a replay compares."""
    audited = reader.db.execute(QUERIES["audited_from"]).fetchone() is not None
    for query in ("bodies", "audit_bodies")[: 1 + audited]:
        for table, row, body in reader.db.execute(QUERIES[query]):
            try:
                _READ[table](body)
            except msgspec.MsgspecError as e:
                yield f"{table} {row} cannot be read: {e}"


def _columns(reader: JournalReader) -> tuple[list[str], str]:
    """What is searched and filtered by, row by row, as the tables may be large."""
    wrong: list[str] = []
    count = 0
    for name, *columns, body in reader.db.execute(QUERIES["incident_rows"]):
        count += 1
        if (name, *columns) != incident_row(decode_incident(body))[:-1]:
            wrong.append(f"{name}: a column differs")
    for name, *columns, body in reader.db.execute(QUERIES["alert_rows"]):
        count += 1
        if (name, *columns) != alert_row(decode_alert(body))[:-1]:
            wrong.append(f"{name}: a column differs")
    return wrong, f"{count} rows"
