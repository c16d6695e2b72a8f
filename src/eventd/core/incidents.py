"""Incidents: opened by findings, joined, judged, resolved, reopened, closed."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from eventd.core.inventory import Inventory
from eventd.core.model import (
    Acknowledge,
    Alert,
    AlertJoined,
    Because,
    Changed,
    Close,
    Comment,
    Correlated,
    EndReason,
    Fact,
    FindingNoted,
    Grouped,
    Incident,
    IncidentAcknowledged,
    IncidentClosed,
    IncidentCommented,
    IncidentOpened,
    IncidentRanked,
    IncidentReopened,
    IncidentResolved,
    IncidentState,
    IncidentUpdated,
    Ordered,
    Paired,
    Reopen,
    Resolve,
    RootCandidate,
    Settings,
    Severity,
    Status,
    seconds,
)
from eventd.core.rules.rule import Finding
from eventd.core.rules.titles import render
from eventd.core.sentences import evidence, sentence
from eventd.core.timers import Timers

# How many CIs make an impact of 1 and of 2, where the rule does not say: ten things at once is
# more than one team's own trouble, three is more than one thing's.
WIDE, SEVERAL = 10, 3
_BREADTH = {
    1: f"{WIDE} or more CIs affected",
    2: f"{SEVERAL} or more CIs affected",
    3: f"fewer than {SEVERAL} CIs affected",
}
PREFIX = "INC-"  # of an incident's id
MAX_DIGITS = 20  # of its number
JOINT = "\x1f"  # between the parts of what tells changes apart
MAX_NOTED = 64  # findings noted on one incident
# So many alerts of one incident, and CIs, stay its members when they are forgotten. Beyond that
# they are only counted, or a storm that goes on would be without bounds.
KEPT = 1_000
# How long a closed incident can still be asked for in memory; the store keeps it longer.
DROP_AFTER = 600.0  # s
CLOSED_FOR = 1.0  # s, in any case: the shell has to read it after the step

_URGENCY = {Severity.CRITICAL: 1, Severity.MAJOR: 2}

CORRELATION = "correlation"  # eventd's own rule: no operator's is called so
OPERATOR = "operator"  # the same for what operators split off
OVERFLOW = "overflow"  # and for what finds no room
_OWN_RULES = frozenset({CORRELATION, OPERATOR})
# s; what comes later is a recurrence (CORRELATION §2.9)
REOPEN_WITHIN = 600.0

IncidentKey = tuple[str, tuple[str, ...]]


class IncidentRecord(Struct, gc=False, array_like=True):
    """An incident as the table keeps it: mutable and private to it; `value` is what leaves."""

    id: str
    rule: str
    group: dict[str, str]
    title: str
    service: str
    impact: int
    urgency: int
    impact_because: str
    urgency_because: str
    opened_at: datetime
    updated_at: datetime
    because: str
    reopen_within: float
    impact_fixed: bool = False  # the rule says so: nothing is judged
    urgency_fixed: bool = False
    team: str = ""
    workaround: str = ""
    state: IncidentState = IncidentState.OPEN
    members: dict[str, int] = {}  # fingerprint → the episode that joined last
    cis: dict[str, None] = {}
    firing: int = 0
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    noted: list[str] = []
    worst: int = -1  # severity so far; none yet
    owner: str = ""
    steered: bool = False  # the correlation says when it is over
    roots: tuple[RootCandidate, ...] = ()
    merged_into: str = ""
    recurs: str = ""
    answers_for: list[IncidentKey] = []  # rules and groups of what was merged into it
    verdict: bool | None = None  # a person's, on whether there was something to hear of
    past_alerts: int = 0  # those that were members, and are only counted
    past_cis: int = 0

    def value(self) -> Incident:
        """The incident as a value."""
        return Incident(
            id=self.id,
            state=self.state,
            title=self.title,
            service=self.service,
            rule=self.rule,
            group=self.group,
            impact=self.impact,
            urgency=self.urgency,
            impact_because=self.impact_because,
            urgency_because=self.urgency_because,
            alerts=len(self.members) + self.past_alerts,
            firing=self.firing,
            cis=len(self.cis) + self.past_cis,
            opened_at=self.opened_at,
            updated_at=self.updated_at,
            resolved_at=self.resolved_at,
            closed_at=self.closed_at,
            acknowledged_at=self.acknowledged_at,
            acknowledged_by=self.acknowledged_by,
            team=self.team,
            workaround=self.workaround,
            because=self.because,
            owner=self.owner,
            roots=self.roots,
            merged_into=self.merged_into,
            recurs=self.recurs,
        )


class Rejected(Exception):
    """A command that cannot be applied."""

    def __init__(self, *, missing: bool, error: str) -> None:
        """`missing`: what it names is unknown."""
        self.missing, self.error = missing, error
        super().__init__(error)


class IncidentTable:
    """Incidents that are not closed, and those closed a moment ago.

    Invariants: at most one incident of a rule and group is not closed; `firing` counts exactly
    the members whose joined episode still fires; a resolve timer runs exactly while an open
    incident has nothing firing and no person reopened it since, a close timer exactly while it
    is resolved. There are no more than `limit`, but for what persons and reviews split off: one
    that is opened there puts out the longest closed, and where none is closed, what would open
    another gathers in one for all.
    """

    def __init__(self, timers: Timers[tuple[str, str]], full: list[str]) -> None:
        """`timers` is the engine's; keys are (kind, incident id). `full` is told of the limit."""
        self.records: dict[str, IncidentRecord] = {}
        self.limit = Settings().max_incidents
        self.count = 0
        self.now: datetime | None = None  # of the latest step that had timers due
        self.inventory = Inventory()
        self._open: dict[IncidentKey, str] = {}
        self._timers, self._full = timers, full
        self._live = 0  # records that are not closed
        self._closed: dict[str, None] = {}  # the others, the longest first

    # -- alerts -----------------------------------------------------------------------------

    def join(
        self,
        finding: Finding,
        alert: Alert,
        now: datetime,
        settings: Settings,
        facts: list[Fact],
        *,
        fresh: bool,
    ) -> str:
        """Put a firing alert that belongs to none into the finding's incident; its id.

        `fresh`: something has begun to fire just now. Nothing else reopens a resolved incident:
        another takes its place.
        """
        key = (finding.rule.name, tuple(finding.group.values()))
        record = self.records.get(self._open.get(key, ""))
        if record is not None and record.state is IncidentState.RESOLVED:
            if fresh:
                self._reopen(record, now)
                facts.append(IncidentReopened(now, record.id, EndReason.FIRED))
            else:
                self._supersede(record, now, facts)
                record = None
        if record is None and self.is_full:
            return self.overflow(alert, now, facts, fresh=fresh).id
        if record is None:
            record = self._new(finding, alert, now, settings)
            self.load(record)
            self._admit(record, alert, now)
            self._judge(record, alert)
            facts.append(IncidentOpened(now, record.value(), finding.because))
        else:
            self._admit(record, alert, now)
            if (why := self._judge(record, alert)) is not None:
                facts.append(IncidentUpdated(now, record.id, record.impact, record.urgency, why))
        facts.append(AlertJoined(now, record.id, alert.fingerprint, alert.episode, finding.because))
        return record.id

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another, as none is closed that could make it."""
        return self._live >= self.limit

    def _supersede(self, record: IncidentRecord, now: datetime, facts: list[Fact]) -> None:
        self._close(record, now)
        facts.append(IncidentClosed(now, record.id, EndReason.SUPERSEDED))

    def overflow(
        self, alert: Alert, now: datetime, facts: list[Fact], *, fresh: bool
    ) -> IncidentRecord:
        """Put an alert, firing or over, into the incident of all that find no room; see `join`."""
        self._full.append("incidents")
        because = Ordered("eventd", f"there is room for {self.limit} incidents")
        record = self.records.get(self._open.get((OVERFLOW, ()), ""))
        if record is not None and record.state is IncidentState.RESOLVED and not fresh:
            self._supersede(record, now, facts)
            record = None
        opening = record is None
        if record is None:
            title = "More incidents than there is room for"
            record = self._raised(OVERFLOW, {}, title, alert, sentence(because), now)
        self.place(record.id, alert, because, now, facts, opening=opening)
        return record

    def _make_room(self, now: datetime) -> None:
        """At the limit the longest closed is remembered by the store alone, from now on."""
        if not self._closed or len(self.records) < self.limit:
            return
        longest = next(iter(self._closed))
        due = self._timers.get(("drop", longest))
        if due is not None and due <= now + seconds(DROP_AFTER - CLOSED_FOR):
            del self._closed[longest]
            self._timers.set(("drop", longest), now)
            self._full.append("incidents")

    def follow(
        self, incident: str, alert: Alert, because: Because, now: datetime, facts: list[Fact]
    ) -> bool:
        """Put in a firing alert that something in it explains. False where it is not open.

        It weighs nothing until it is judged by itself.
        """
        record = self.records.get(incident)
        if record is None or record.state is not IncidentState.OPEN:
            return False
        self._admit(record, alert, now)
        facts.append(AlertJoined(now, incident, alert.fingerprint, alert.episode, because))
        return True

    def of_group(self, rule: str, group: dict[str, str]) -> str:
        """The incident of the rule and group that is not closed, "" where there is none."""
        return self._open.get((rule, tuple(group.values())), "")

    def note(self, incident: str, finding: Finding, now: datetime) -> list[Fact]:
        """A finding whose alerts all belong somewhere: written down once, and its weight taken."""
        record = self.records.get(incident)
        if record is None or record.state is not IncidentState.OPEN:
            return []
        label = f"{finding.rule.name}\x1f{finding.group}"
        if label in record.noted or len(record.noted) >= MAX_NOTED:
            return []
        record.noted.append(label)
        record.updated_at = now
        facts: list[Fact] = [FindingNoted(now, record.id, finding.because)]
        spec = finding.rule.incident
        why = f"rule {finding.rule.name} holds too"
        wider = spec.impact is not None and spec.impact < record.impact
        worse = spec.urgency is not None and spec.urgency < record.urgency
        if spec.impact is not None and wider:
            record.impact, record.impact_because = spec.impact, why
        if spec.urgency is not None and worse:
            record.urgency, record.urgency_because = spec.urgency, why
        if wider or worse:
            facts.append(IncidentUpdated(now, record.id, record.impact, record.urgency, why))
        return facts

    def note_change(self, incident: str, because: Changed, key: str, now: datetime) -> list[Fact]:
        """What may have caused it: written down once.

        `key` tells changes apart: the rule, JOINT, and whatever else.
        """
        record = self.records.get(incident)
        if record is None or record.state is IncidentState.CLOSED or key in record.noted:
            return []
        if len(record.noted) >= MAX_NOTED:
            return []
        record.noted.append(key)
        record.updated_at = now
        return [FindingNoted(now, incident, because)]

    def nearly_noted(self, incident: str, rule: str) -> bool:
        """Whether it is the first near miss of that rule there, which has noted no change."""
        record, start = self.records.get(incident), f"{rule}{JOINT}"
        if record is None or any(one.startswith(start) for one in record.noted):
            return False
        if len(record.noted) >= MAX_NOTED:
            return False
        record.noted.append(f"{start}missed")
        return True

    def remark(self, incident: str, because: Because, now: datetime) -> list[Fact]:
        """Write down how what opened the incident goes on."""
        record = self.records.get(incident)
        if record is None or record.state is IncidentState.CLOSED:
            return []
        record.updated_at = now
        return [FindingNoted(now, incident, because)]

    def changed(self, incident: str, alert: Alert, now: datetime) -> list[Fact]:
        """A member's severity moved."""
        record = self.records.get(incident)
        if record is None or record.state is not IncidentState.OPEN:
            return []
        why = self._judge(record, alert)
        if why is None:
            return []
        record.updated_at = now
        return [IncidentUpdated(now, record.id, record.impact, record.urgency, why)]

    def cleared(
        self, incident: str, fingerprint: str, episode: int, now: datetime, settings: Settings
    ) -> bool:
        """A member's episode ended; with the last one the incident starts to resolve.

        False where the incident knows no such member: it is closed, or the alert left it.
        """
        record = self.records.get(incident)
        if record is None or record.state is IncidentState.CLOSED:
            return False
        if record.members.get(fingerprint) != episode:
            return False
        record.firing -= 1
        record.updated_at = now
        self.settle(record, now, settings.resolve_after)
        return True

    def forget(self, incident: str, fingerprint: str, ci: str) -> None:
        """A member is an alert no more. Should it come again, it is another one of many."""
        record = self.records.get(incident)
        if record is None or fingerprint not in record.members:
            return
        if len(record.members) > KEPT:
            del record.members[fingerprint]
            record.past_alerts += 1
        if len(record.cis) > KEPT and ci in record.cis:
            del record.cis[ci]
            record.past_cis += 1

    # -- what the correlation decides -----------------------------------------------------------

    def raise_cluster(
        self,
        number: int,
        title: str,
        lead: Alert,
        because: Correlated,
        roots: tuple[RootCandidate, ...],
        now: datetime,
        recurs: str = "",
    ) -> IncidentRecord:
        """An incident for a cluster; it has no members yet."""
        why = evidence(roots[0]) if roots else sentence(because)
        group = {"cluster": str(number)}
        record = self._raised(CORRELATION, group, title, lead, why, now)
        record.steered, record.roots, record.recurs = True, roots, recurs
        return record

    def _raised(
        self,
        rule: str,
        group: dict[str, str],
        title: str,
        lead: Alert,
        because: str,
        now: datetime,
    ) -> IncidentRecord:
        self._make_room(now)
        self.count += 1
        record = IncidentRecord(
            id=id_of(self.count),
            rule=rule,
            group=group,
            title=title,
            service=lead.service,
            impact=3,
            urgency=3,
            impact_because="",
            urgency_because="",
            opened_at=now,
            updated_at=now,
            because=because,
            reopen_within=REOPEN_WITHIN,
            members={},
            cis={},
            noted=[],
            answers_for=[],
        )
        self.load(record)
        return record

    def place(
        self,
        incident: str,
        alert: Alert,
        because: Because,
        now: datetime,
        facts: list[Fact],
        *,
        opening: bool = False,
    ) -> None:
        """Put an episode, firing or over, into an incident that is not closed."""
        record = self.records[incident]
        fires = alert.status is Status.FIRING
        if fires and record.state is IncidentState.RESOLVED:
            self._reopen(record, now)
            facts.append(IncidentReopened(now, record.id, EndReason.FIRED))
        if fires:
            self._admit(record, alert, now)
        else:
            known = record.members.get(alert.fingerprint, 0)
            record.members[alert.fingerprint] = max(known, alert.episode)
            record.cis |= {alert.ci: None} if alert.ci else {}
        why = self._judge(record, alert)
        if opening:
            facts.append(IncidentOpened(now, record.value(), because))
        elif why is not None:
            facts.append(IncidentUpdated(now, record.id, record.impact, record.urgency, why))
        facts.append(AlertJoined(now, record.id, alert.fingerprint, alert.episode, because))

    def members(self, incident: str) -> list[tuple[str, int]]:
        """Fingerprint and the episode that joined last, in order of joining."""
        return list(self.records[incident].members.items())

    def release(self, incident: str, fingerprint: str, *, fires: bool, now: datetime) -> None:
        """A member leaves the incident."""
        record = self.records[incident]
        left = record.members.pop(fingerprint, None) is not None
        record.firing -= fires and left
        record.updated_at = now

    def merged(
        self, incident: str, into: str, now: datetime, actor: str = "", text: str = ""
    ) -> list[Fact]:
        """The incident's members have all gone: it answers with where from now on."""
        record = self.records[incident]
        record.merged_into = into
        record.firing = 0
        self._close(record, now)
        return [IncidentClosed(now, incident, EndReason.MERGED, actor, text)]

    def over(self, incident: str, now: datetime) -> list[Fact]:
        """Nearly nothing of it fires any more."""
        record = self.records[incident]
        self._resolve(record, now)
        reason = EndReason.SUBSIDED if record.firing else EndReason.CLEARED
        return [IncidentResolved(now, incident, reason)]

    def ranked(self, incident: str, roots: tuple[RootCandidate, ...], now: datetime) -> list[Fact]:
        """Its root candidates as they are judged now; told where another one leads."""
        record = self.records.get(incident)
        if record is None or record.state is IncidentState.CLOSED or record.roots == roots:
            return []
        if record.roots and record.roots[0].rule:
            return []
        led = record.roots[:1] and record.roots[0].ci
        record.roots = roots
        if roots and roots[0].ci == led:
            return []
        return [IncidentRanked(now, incident, roots)]

    # -- time -------------------------------------------------------------------------------

    def resolve_due(self, incident: str, at: datetime) -> list[Fact]:
        """All stayed clear."""
        record = self.records[incident]
        self._resolve(record, at)
        return [IncidentResolved(at, incident, EndReason.CLEARED)]

    def close_due(self, incident: str, at: datetime) -> list[Fact]:
        """Nothing fired within the reopen window."""
        self._close(self.records[incident], at)
        return [IncidentClosed(at, incident, EndReason.EXPIRED)]

    def drop_due(self, incident: str) -> None:
        """The store alone remembers it from now on."""
        del self.records[incident]
        self._closed.pop(incident, None)

    # -- commands ---------------------------------------------------------------------------

    def live(self, incident: str, now: datetime) -> IncidentRecord:
        """An incident that is not closed. Raises Rejected."""
        record = self.records.get(incident)
        if record is None or _long_closed(record, now):
            raise Rejected(missing=True, error=f"no open incident {incident}")
        if record.merged_into:
            where = f"{record.id} is one with {record.merged_into}"
            raise Rejected(missing=False, error=f"{where}; say it of that one")
        if record.state is IncidentState.CLOSED:
            raise Rejected(missing=False, error=f"{record.id} is closed; closed is final")
        return record

    def judged(self, incident: str, now: datetime) -> IncidentRecord | None:
        """One on which a verdict can be given; None where the store alone remembers it.

        Raises Rejected.
        """
        record = self.records.get(incident)
        if record is None or _long_closed(record, now):
            digits = incident.removeprefix(PREFIX)
            number = int(digits) if digits.isdecimal() and len(digits) < MAX_DIGITS else 0
            if not 1 <= number <= self.count or id_of(number) != incident:
                raise Rejected(missing=True, error=f"no incident {incident}")
            return None
        if record.merged_into:
            return self.live(incident, now)  # which says where it went
        return record

    def split_off(self, title: str, lead: Alert, because: Ordered, now: datetime) -> IncidentRecord:
        """An incident for alerts that an operator named; it has no members yet."""
        number = id_of(self.count + 1)
        return self._raised(OPERATOR, {"split": number}, title, lead, sentence(because), now)

    def answer_for(self, record: IncidentRecord, merged: IncidentRecord) -> None:
        """What rules find for the merged incident belongs to this one from now on."""
        for key in _keys(merged):
            if key[0] not in _OWN_RULES and key not in record.answers_for:
                record.answers_for.append(key)
                self._open[key] = record.id

    def let_go(self, record: IncidentRecord, now: datetime, resolve_after: float) -> None:
        """The correlation says no more when it is over."""
        record.steered = False
        self.settle(record, now, resolve_after)

    def settle(self, record: IncidentRecord, now: datetime, resolve_after: float) -> None:
        """Its alerts are others: where none fires any more, it resolves in so many seconds."""
        if record.firing == 0 and record.state is IncidentState.OPEN and not record.steered:
            self._timers.set(("resolve", record.id), now + seconds(resolve_after))

    def command(
        self, command: Acknowledge | Comment | Resolve | Close | Reopen, now: datetime
    ) -> list[Fact]:
        """What an operator asked for. Raises Rejected, and then nothing changed."""
        record = self.live(command.incident, now)
        facts = self._apply(command, record, now)
        record.updated_at = now
        return facts

    def _apply(
        self,
        command: Acknowledge | Comment | Resolve | Close | Reopen,
        record: IncidentRecord,
        now: datetime,
    ) -> list[Fact]:
        resolved = record.state is IncidentState.RESOLVED
        match command:
            case Acknowledge():
                if record.acknowledged_at is not None:
                    raise Rejected(
                        missing=False,
                        error=f"{record.id} is acknowledged by {record.acknowledged_by} already",
                    )
                record.acknowledged_at, record.acknowledged_by = now, command.actor
                return [IncidentAcknowledged(now, record.id, command.actor)]
            case Comment():
                return [IncidentCommented(now, record.id, command.actor, command.text)]
            case Resolve():
                if resolved:
                    raise Rejected(missing=False, error=f"{record.id} is resolved already")
                self._resolve(record, now)
                return [
                    IncidentResolved(
                        now, record.id, EndReason.OPERATOR, command.actor, command.text
                    )
                ]
            case Close():
                self._close(record, now)
                return [
                    IncidentClosed(now, record.id, EndReason.OPERATOR, command.actor, command.text)
                ]
            case Reopen():
                if not resolved:
                    raise Rejected(missing=False, error=f"{record.id} is open")
                # where nothing fires, it stays open until a person resolves it
                self._reopen(record, now)
                record.steered = False
                return [
                    IncidentReopened(
                        now, record.id, EndReason.OPERATOR, command.actor, command.text
                    )
                ]

    # -- parts ------------------------------------------------------------------------------

    def _new(
        self, finding: Finding, alert: Alert, now: datetime, settings: Settings
    ) -> IncidentRecord:
        self._make_room(now)
        self.count += 1
        spec = finding.rule.incident
        reopen = spec.reopen_within
        if reopen is None:
            in_session = isinstance(finding.because, Grouped | Paired)
            reopen_within = finding.rule.within if in_session else settings.reopen_within
        else:
            reopen_within = float(reopen)
        return IncidentRecord(
            id=id_of(self.count),
            rule=finding.rule.name,
            group=finding.group,
            title=render(spec.title, alert, finding.named),
            service=alert.service,
            impact=spec.impact or 3,
            urgency=spec.urgency or 3,
            impact_because=f"rule {finding.rule.name} says so" if spec.impact else "",
            urgency_because=f"rule {finding.rule.name} says so" if spec.urgency else "",
            opened_at=now,
            updated_at=now,
            because=sentence(finding.because),
            reopen_within=reopen_within,
            impact_fixed=spec.impact is not None,
            urgency_fixed=spec.urgency is not None,
            team=spec.assign,
            workaround=spec.workaround,
            members={},
            cis={},
            noted=[],
            answers_for=[],
            roots=_root_of(finding),
        )

    def _admit(self, record: IncidentRecord, alert: Alert, now: datetime) -> None:
        record.members[alert.fingerprint] = alert.episode
        if alert.ci:
            record.cis[alert.ci] = None
        if not record.owner and (service := self.inventory.service(alert.service)) is not None:
            record.owner = service.owner
        if record.firing == 0:
            self._timers.cancel(("resolve", record.id))
        record.firing += 1
        record.updated_at = now

    def _judge(self, record: IncidentRecord, alert: Alert) -> str | None:
        """Raise impact by whom it hits and how wide, urgency by how bad; lower neither.

        What moved them, or None.
        """
        moved: list[str] = []
        if record.impact > 1 and not record.impact_fixed:
            impact, because = self._impact(record, alert)
            if impact < record.impact or not record.impact_because:
                record.impact, record.impact_because = min(impact, record.impact), because
                moved.append(because)
        if not record.urgency_fixed and alert.severity > record.worst:
            record.worst = alert.severity
            urgency = _URGENCY.get(alert.severity, 3)
            if urgency < record.urgency or not record.urgency_because:
                record.urgency = min(urgency, record.urgency)
                record.urgency_because = f"{alert.name} is {alert.severity.name.lower()}"
                moved.append(record.urgency_because)
        return "; ".join(moved) or None

    def _impact(self, record: IncidentRecord, alert: Alert) -> tuple[int, str]:
        """What the alert's service has by default, or more where many CIs are hit; and why."""
        wide = len(record.cis)
        breadth = 1 if wide >= WIDE else 2 if wide >= SEVERAL else 3
        service = self.inventory.service(alert.service)
        if service is None or service.impact is None or service.impact > breadth:
            return breadth, _BREADTH[breadth]
        return service.impact, f"service {service.name} has impact {service.impact}"

    def _resolve(self, record: IncidentRecord, at: datetime) -> None:
        record.state = IncidentState.RESOLVED
        record.resolved_at = record.updated_at = at
        self._timers.cancel(("resolve", record.id))
        self._timers.set(("close", record.id), at + seconds(record.reopen_within))

    def _reopen(self, record: IncidentRecord, at: datetime) -> None:
        """Reopening clears acknowledgement: whoever had it thought that it was over."""
        record.state = IncidentState.OPEN
        record.resolved_at = record.acknowledged_at = None
        record.acknowledged_by = ""
        record.updated_at = at
        self._timers.cancel(("close", record.id))

    def _close(self, record: IncidentRecord, at: datetime) -> None:
        record.state = IncidentState.CLOSED
        record.closed_at = record.updated_at = at
        record.resolved_at = record.resolved_at or at
        self._timers.cancel(("resolve", record.id))
        self._timers.cancel(("close", record.id))
        # from the step on, not from when it was due: after a long absence an incident resolves
        # and closes in one step, and the shell must still be able to read it
        since = at if self.now is None else max(at, self.now)
        self._timers.set(("drop", record.id), since + seconds(DROP_AFTER))
        for key in _keys(record):
            self._open.pop(key, None)
        self._live -= 1
        self._closed[record.id] = None
        self.records[record.id] = self.records.pop(record.id)  # so a snapshot holds their order

    def load(self, record: IncidentRecord) -> None:
        """Take up a record of a snapshot; timers are restored by their owner."""
        self.records[record.id] = record
        if record.state is IncidentState.CLOSED:
            self._closed[record.id] = None
        else:
            self._live += 1
            self._open.update(dict.fromkeys(_keys(record), record.id))

    def readmit(
        self, incident: str, fingerprint: str, episode: int, ci: str, *, fires: bool
    ) -> None:
        """Rebuilding: the member joined once; `fires` where the episode that joined still does.

        It is counted as one of the past until then.
        """
        record = self.records.get(incident)
        if record is None:
            return
        if fingerprint not in record.members:
            record.past_alerts = max(0, record.past_alerts - 1)
        record.members[fingerprint] = episode
        record.firing += fires
        if ci and ci not in record.cis:
            record.cis[ci] = None
            record.past_cis = max(0, record.past_cis - 1)

    def rearm(self, settings: Settings) -> None:
        """Rebuilding: set the timers that every incident's state asks for."""
        for record in self.records.values():
            if record.state is IncidentState.OPEN and record.firing == 0:
                wait = seconds(settings.resolve_after)
                self._timers.set(("resolve", record.id), record.updated_at + wait)
            elif record.state is IncidentState.RESOLVED and record.resolved_at is not None:
                wait = seconds(record.reopen_within)
                self._timers.set(("close", record.id), record.resolved_at + wait)


def id_of(number: int) -> str:
    """What the incident that was opened as that one is called."""
    return f"{PREFIX}{number:06d}"


def _root_of(finding: Finding) -> tuple[RootCandidate, ...]:
    """What the rule says is the root, if that alert names its CI."""
    root = finding.named.get(finding.rule.incident.root)
    if root is None or not root.ci:
        return ()
    return (RootCandidate(root.ci, 1.0, 1, 1, rule=finding.rule.name),)


def _keys(record: IncidentRecord) -> list[IncidentKey]:
    """What findings look for it by."""
    return [(record.rule, tuple(record.group.values())), *record.answers_for]


def _long_closed(record: IncidentRecord, now: datetime) -> bool:
    """Whether commands no longer find it, whenever the timer ran that drops it."""
    return record.closed_at is not None and record.closed_at + seconds(DROP_AFTER) <= now
