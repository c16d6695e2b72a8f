"""The values eventd is about: events, alerts, incidents, inputs and facts.

All are frozen. Times are aware UTC datetimes. Inputs and facts are closed unions. Values that
reach the journal or the snapshot are `array_like`: their field order is the disk format, so new
fields are added at the end, with a default.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum, IntEnum
from typing import Annotated

from msgspec import Meta, Struct


class Severity(IntEnum):
    """The source's opinion; higher is worse."""

    OK = 0
    INFO = 1
    WARNING = 2
    MINOR = 3
    MAJOR = 4
    CRITICAL = 5


class Status(Enum):
    """What an event says."""

    FIRING = "firing"
    CLEARED = "cleared"
    INFO = "info"  # a plain occurrence or measurement
    HEARTBEAT = "heartbeat"
    CHANGE = "change"


class Arrival(Enum):
    """How a delivery reached the door; only MQTT says anything but LIVE."""

    LIVE = "live"
    REDELIVERED = "redelivered"  # MQTT DUP: the broker may have sent it before
    RETAINED = "retained"  # a broker's memory of an old state, never a new occurrence


class SourcePolicy(Struct, frozen=True, array_like=True, kw_only=True):
    """What an operator says of one source; stamped on its deliveries, so that replay sees it."""

    name: str
    decoder: str
    quiet_for: float = 0.0  # seconds: the source never clears, its alerts clear themselves
    repeats_every: float = 0.0  # seconds: the source promises to repeat what still fires
    volatile: tuple[str, ...] = ()  # labels that are no part of a fingerprint


class Delivery(Struct, frozen=True, gc=False, array_like=True, kw_only=True):
    """One HTTP request or MQTT message as it came, credentials left out."""

    transport: str  # "http" or "mqtt"
    received_at: datetime
    payload: bytes
    source: str = ""
    decoder: str = ""
    topic: str = ""  # MQTT
    qos: int = 0
    retain: bool = False
    dup: bool = False
    properties: dict[str, str] = {}
    method: str = ""  # HTTP
    path: str = ""
    query: str = ""
    headers: dict[str, str] = {}  # only those a decoder reads; names in lower case
    quiet_for: float = 0.0  # seconds: the source never clears, its alerts clear themselves
    repeats_every: float = 0.0  # seconds: the source promises to repeat what still fires
    volatile: tuple[str, ...] = ()  # labels that are no part of a fingerprint


class Window(Struct, frozen=True, gc=False, array_like=True):
    """Planned maintenance a `change` event announces, half-open; empty lists match nothing."""

    starts_at: datetime
    ends_at: datetime
    cis: tuple[str, ...] = ()  # canonical
    services: tuple[str, ...] = ()


class Event(Struct, frozen=True, gc=False, array_like=True, kw_only=True, tag="event"):
    """One immutable message from a source: "X was seen at T".

    When it was received is its delivery's to say: equal deliveries make equal events.
    """

    source: str
    fingerprint: str  # identity of the alert it speaks of: 32 hex digits
    key: bytes  # delivery key, 16 bytes
    strong: bool  # the key is the sender's own
    status: Status
    severity: Severity
    name: str
    occurred_at: datetime | None = None  # the source's word; None where it said nothing usable
    ci: str = ""  # canonical
    service: str = ""
    summary: str = ""
    labels: dict[str, str] = {}
    value: float | None = None
    id: str = ""  # the sender's own
    links: tuple[str, ...] = ()
    expires_at: datetime | None = None  # promise: repeated before then, or no longer true
    repeats_within: float = 0.0  # seconds: the same promise, counted from its arrival
    quiet_for: float = 0.0  # seconds: an occurrence; clears itself after this long
    arrival: Arrival = Arrival.LIVE
    window: Window | None = None
    # labels left out of the fingerprint; None: it is made of the sender's own id
    volatile: tuple[str, ...] | None = None


class Alert(Struct, frozen=True, gc=False, array_like=True):
    """What eventd believes now about one fingerprint."""

    fingerprint: str
    source: str
    name: str
    ci: str
    service: str
    summary: str
    status: Status  # FIRING or CLEARED
    severity: Severity
    labels: dict[str, str]
    links: tuple[str, ...]
    started_at: datetime  # of the present or last episode
    last_seen_at: datetime  # engine time
    cleared_at: datetime | None
    count: int  # events of all remembered episodes, duplicates left out
    episode: int  # 1, 2, …: one firing-to-clear span each
    suppressed_by: str  # id of the silence or maintenance window, kind and name of a rule, else ""
    incident: str  # id, else ""
    value: float | None = None


class RootCandidate(Struct, frozen=True, gc=False, array_like=True):
    """A CI the other alerts of an incident may follow from, and the evidence for it."""

    ci: str
    score: float  # only compares candidates of one incident
    explains: int  # CIs of the incident that depend on it, itself included
    of: int  # CIs of the incident
    # s; its first alert after the first of the other CIs, negative before it; None: it is silent
    lag: float | None = None
    depends: float = 0.0  # strengths of what it depends on that alerts too; 0: all that is quiet
    changed: float | None = None  # s; between a change to it and its first alert
    silent: bool = False  # it has no alert itself
    needs: int | None = None  # CIs it depends on, directly or not; None: nobody knows
    rule: str = ""  # the rule that says so; nothing else ranks the incident's candidates then


class IncidentState(Enum):
    """ITIL's states as eventd keeps them."""

    OPEN = "open"
    RESOLVED = "resolved"
    CLOSED = "closed"


class Incident(Struct, frozen=True, gc=False, array_like=True):
    """An unplanned interruption or degradation. Members are in the ledger, not in here."""

    id: str  # INC-000042
    state: IncidentState
    title: str
    service: str
    rule: str
    group: dict[str, str]
    impact: int  # 1 high … 3 low
    urgency: int
    impact_because: str
    urgency_because: str
    alerts: int  # that ever joined
    firing: int  # of them, firing now
    cis: int  # distinct among those that joined
    opened_at: datetime
    updated_at: datetime
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    team: str = ""
    workaround: str = ""
    because: str = ""  # why it was opened, one sentence
    roots: tuple[RootCandidate, ...] = ()  # the likeliest first
    merged_into: str = ""  # the incident that has its alerts now
    recurs: str = ""  # the incident this is a recurrence of
    owner: str = ""  # of the first service among its alerts' that has one

    @property
    def priority(self) -> int:
        """1 … 5, from impact and urgency; never stored, never set."""
        return self.impact + self.urgency - 1


class Matcher(Struct, frozen=True, array_like=True):
    """One test on a label or field: `label op value`, op one of ``= != =~ !~ < <= > >=``."""

    label: str
    op: str
    value: str


class Silence(Struct, frozen=True, array_like=True):
    """Alerts an operator has declared known, for a while."""

    id: str  # SIL-000001
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    actor: str
    comment: str


class Maintenance(Struct, frozen=True, array_like=True):
    """A maintenance window in force or to come."""

    id: str  # MNT-000001
    window: Window
    name: str
    source: str


# -- the inventory --------------------------------------------------------------------------

Called = Annotated[str, Meta(min_length=1, max_length=256)]  # an inventory name, as it is written


class Dependency(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """What something needs; `redundant`: others can stand in for it."""

    name: Called
    redundant: bool = False


class Service(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """What people depend on, as the inventory has it. Rows keep their keys: files are read so."""

    name: Called
    owner: str = ""
    impact: Annotated[int, Meta(ge=1, le=3)] | None = None  # of its incidents, by default
    hours: str = ""  # it is supported in, for people
    depends_on: tuple[Called | Dependency, ...] = ()
    type: str | None = None
    site: str | None = None
    service: str = ""  # its own name, where an export gives every row one
    aliases: tuple[Called, ...] = ()


class Ci(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """A thing in the inventory: host, disk, pod, link."""

    name: Called
    type: str | None = None
    site: str | None = None
    service: str = ""  # it is part of
    aliases: tuple[Called, ...] = ()
    depends_on: tuple[Called | Dependency, ...] = ()


# -- inputs ---------------------------------------------------------------------------------


QUARANTINED = "quarantined"  # the reason of a Refused that stands for a poisonous input


class Refused(Struct, frozen=True, gc=False, array_like=True, tag="refused"):
    """An event, or a whole delivery, that could not be read; journaled and counted."""

    source: str
    reason: str  # closed set: "decode", "invalid", "unknown_source", "too_large", QUARANTINED
    error: str  # for people
    index: int | None = None  # position in the delivery; None for the whole of it


class Denied(Struct, frozen=True, array_like=True, tag="denied"):
    """Somebody was not let in: no event and no command, but to be known afterwards."""

    source: str  # whose door it was: a source, "api", "metrics", or "other" where it has no name
    peer: str  # address, or network of 64 bits; "others" where they are too many to be told apart
    count: int  # how many times since the last one of the same source and peer


class Tick(Struct, frozen=True, array_like=True, tag="tick"):
    """Time passed and nothing else; journaled exactly when it produced facts."""


class Settings(Struct, frozen=True, array_like=True, kw_only=True):
    """What an operator may tune in the engine; an input, so that replay sees the same."""

    resolve_after: float = 60.0  # s all alerts must stay clear before an incident resolves
    reopen_within: float = 600.0  # s; default where a rule does not say
    start_grace: float = 300.0  # s after a start in which nothing goes stale
    weak_key_within: float = 10.0  # s; DESIGN §7
    strong_key_for: float = 72 * 3600.0  # s; DESIGN §7
    forget_after: float = 24 * 3600.0  # s a cleared alert is remembered
    future_tolerance: float = 300.0  # s an occurred_at may lie ahead of the engine's time
    past_tolerance: float = 30 * 86400.0  # s an occurred_at may lie behind it
    max_alerts: int = 100_000
    max_keys: int = 1_000_000
    max_groups: int = 100_000  # keys a rule remembers
    max_silences: int = 10_000
    max_maintenance: int = 10_000
    storm_above: int = 60_000  # new alerts of one source within a minute
    maintenance_lead: float = 60.0  # s before a window in which it covers already: clocks differ
    maintenance_grace: float = 900.0  # s after it in which it still does: things come up slowly
    late_within: float = 60.0  # s an event may come late and count in rules when it happened
    max_incidents: int = 20_000  # those closed a moment ago among them


class Started(Struct, frozen=True, array_like=True, tag="started"):
    """The daemon started, with these settings."""

    version: str
    settings: Settings = Settings()


# When the clocks of a zone were set, s since 1970, and by how many seconds they are ahead of UTC
# from then on; the first row holds for all before it, too.
Shifts = tuple[tuple[int, int], ...]


class LoadRules(Struct, frozen=True, array_like=True, tag="load_rules"):
    """Replace the rule set. Each rule is JSON text, already proven by `core.rules.parse`."""

    version: str  # digest of all else
    rules: tuple[str, ...]
    zones: dict[str, Shifts] = {}  # those that rules name, but for UTC


class LoadInventory(Struct, frozen=True, array_like=True, tag="load_inventory"):
    """Replace the inventory. Its rows were read strictly; what they lack stops nothing."""

    version: str  # digest of the rows, "" for none
    services: tuple[Service, ...] = ()
    cis: tuple[Ci, ...] = ()


class Acknowledge(Struct, frozen=True, array_like=True, tag="acknowledge"):
    """A person took the incident."""

    incident: str
    actor: str
    key: bytes = b""  # delivery key; b"" where the caller gave none


class Comment(Struct, frozen=True, array_like=True, tag="comment"):
    """A person wrote something down."""

    incident: str
    actor: str
    text: str
    key: bytes = b""


class Resolve(Struct, frozen=True, array_like=True, tag="resolve"):
    """A person says that it is over."""

    incident: str
    actor: str
    text: str = ""
    key: bytes = b""


class Close(Struct, frozen=True, array_like=True, tag="close"):
    """A person says that nothing is left to do; final."""

    incident: str
    actor: str
    text: str = ""
    key: bytes = b""


class Reopen(Struct, frozen=True, array_like=True, tag="reopen"):
    """A person says that it is not over."""

    incident: str
    actor: str
    text: str = ""
    key: bytes = b""


class Merge(Struct, frozen=True, array_like=True, tag="merge"):
    """A person says that two incidents are one: the alerts of `incident` go into `into`."""

    incident: str
    into: str
    actor: str
    text: str = ""
    key: bytes = b""


class Split(Struct, frozen=True, array_like=True, tag="split"):
    """A person says that some alerts of an incident are one of their own."""

    incident: str
    alerts: tuple[str, ...]  # fingerprints
    actor: str
    text: str = ""
    key: bytes = b""


class Detach(Struct, frozen=True, array_like=True, tag="detach"):
    """A person says that an alert has nothing to do with its incident, nor with another."""

    incident: str
    fingerprint: str
    actor: str
    text: str = ""
    key: bytes = b""


class GiveVerdict(Struct, frozen=True, array_like=True, tag="give_verdict"):
    """A person says whether there was something to hear of; what scores alerts learns from it."""

    incident: str
    verdict: bool  # False: it was a false alarm
    actor: str
    text: str = ""
    key: bytes = b""


class AddSilence(Struct, frozen=True, array_like=True, tag="add_silence"):
    """Suppress what matches until `ends_at`; starts when it is applied."""

    matchers: tuple[Matcher, ...]
    ends_at: datetime
    actor: str
    comment: str
    key: bytes = b""


class EndSilence(Struct, frozen=True, array_like=True, tag="end_silence"):
    """End a silence now."""

    silence: str
    actor: str
    key: bytes = b""


Command = (
    Acknowledge
    | Comment
    | Resolve
    | Close
    | Reopen
    | Merge
    | Split
    | Detach
    | GiveVerdict
    | AddSilence
    | EndSilence
)
Input = (
    Event
    | Refused
    | Denied
    | Tick
    | Started
    | LoadRules
    | LoadInventory
    | Acknowledge
    | Comment
    | Resolve
    | Close
    | Reopen
    | Merge
    | Split
    | Detach
    | GiveVerdict
    | AddSilence
    | EndSilence
)


class Change(Struct, frozen=True, gc=False, array_like=True):
    """What was changed, as the source says it, and for how long that may explain others."""

    rule: str
    fingerprint: str
    at: datetime
    until: datetime
    name: str
    ci: str
    summary: str


# -- reasons --------------------------------------------------------------------------------


class ClearReason(Enum):
    """Why an alert cleared."""

    SENT = "sent"  # the source said so
    STALE = "stale"  # it broke its promise to repeat
    QUIET = "quiet"  # an occurrence that was not seen again
    EVICTED = "evicted"  # the alert table was full
    PAIRED = "paired"  # a rule saw what ends it
    FEWER = "fewer"  # a rule saw few enough of its kind
    LOST = "lost"  # nearly all of its incident cleared; its own clear must have been lost


class Grouped(Struct, frozen=True, gc=False, array_like=True, tag="grouped"):
    """A `group` rule holds: the alert has these labels in common with the incident."""

    rule: str
    group: dict[str, str]


class Counted(Struct, frozen=True, gc=False, array_like=True, tag="counted"):
    """A `threshold` rule holds: `count` seen within `within` seconds, `at_least` asked for."""

    rule: str
    group: dict[str, str]
    count: int
    at_least: int
    within: float
    elsewhere: tuple[str, ...] = ()  # incidents that counted alerts already belong to


class Sequenced(Struct, frozen=True, gc=False, array_like=True, tag="sequenced"):
    """A `sequence` rule holds: the steps came in order, within `within` seconds."""

    rule: str
    group: dict[str, str]
    parts: tuple[tuple[str, int], ...]  # the steps, and how many of each
    took: float  # s; from the first sighting to the last
    within: float
    elsewhere: tuple[str, ...] = ()  # incidents that some of the alerts belong to already


class Gathered(Struct, frozen=True, gc=False, array_like=True, tag="gathered"):
    """An `all` rule holds: enough of each part was seen within `within` seconds."""

    rule: str
    group: dict[str, str]
    parts: tuple[tuple[str, int], ...]  # and how many of it
    within: float
    elsewhere: tuple[str, ...] = ()


class Connected(Struct, frozen=True, gc=False, array_like=True, tag="connected"):
    """A `topology` rule holds: so many CIs, tied by dependencies, alert within `within` seconds."""

    rule: str
    group: dict[str, str]
    count: int
    within: float
    via: str = ""  # the CI that ties the alert's to the others; "": it was the first
    hops: int = 0  # up to that CI; negative: down to it
    elsewhere: tuple[str, ...] = ()


class Absent(Struct, frozen=True, gc=False, array_like=True, tag="absent"):
    """An `absence` rule holds: what should have come within `within` seconds did not."""

    rule: str
    group: dict[str, str]
    missing: str
    after: str  # what it should have come after; "": after the last one
    within: float
    elsewhere: tuple[str, ...] = ()


class Paired(Struct, frozen=True, gc=False, array_like=True, tag="paired"):
    """A `pair` rule holds: the alert has opened, and nothing has ended it."""

    rule: str
    group: dict[str, str]


class Inhibited(Struct, frozen=True, gc=False, array_like=True, tag="inhibited"):
    """An `inhibit` rule holds: another alert, which is in the incident, explains this one."""

    rule: str
    group: dict[str, str]
    source: str  # fingerprint of that alert
    name: str
    ci: str


class Strange(Struct, frozen=True, gc=False, array_like=True, tag="strange"):
    """An `anomaly` rule holds: a value is unlike all that its stream was."""

    rule: str
    group: dict[str, str]
    value: float
    surprise: float  # decades of rarity, of two parts of the scorer together
    needed: float  # that it took
    said: tuple[str, ...]  # what those parts saw, and what is usual


class Changed(Struct, frozen=True, gc=False, array_like=True, tag="changed"):
    """A `change` rule holds: something was changed shortly before an alert of the incident."""

    rule: str
    group: dict[str, str]
    name: str  # of the change
    ci: str
    summary: str
    before: float  # s


class Stormed(Struct, frozen=True, gc=False, array_like=True, tag="stormed"):
    """A source brought `count` new alerts in a storm: more than `limit` within a minute."""

    rule: str
    group: dict[str, str]
    count: int
    limit: int
    names: tuple[tuple[str, int], ...]  # who talked most, the most first
    cis: tuple[tuple[str, int], ...]


AT = "site:"  # before a site's name, where that ties: no CI is called so


class Tie(Enum):
    """What holds an alert and a cluster together."""

    OPENS = "opens"  # it is the first
    SAME = "same"  # an alert of the same CI
    DEPENDS = "depends"  # its CI depends on one that alerts
    ROOT = "root"  # alerting CIs depend on its own
    COMMON = "common"  # both depend on one that says nothing
    ALIKE = "alike"  # the same name on CIs named alike
    ISLAND = "island"  # nothing is known of its CI, and little else goes on
    POLLED = "polled"  # seen in the same looks of a source that looks once a period
    CLAIMED = "claimed"  # a rule put it there


class Correlated(Struct, frozen=True, gc=False, array_like=True, tag="correlated"):
    """The automatic correlation put the alert there."""

    tie: Tie
    score: float  # affinity, in [0, 1]
    needed: float  # that it had to reach
    via: str = ""  # the CI, or name, that ties them
    hops: int = 0  # from the alert's own CI to it
    other: str = ""  # the runner-up: an incident, or "" where it was none yet
    other_score: float = 0.0
    rule: str = "correlation"
    group: dict[str, str] = {}
    other_tie: Tie = Tie.OPENS  # OPENS where there is no runner-up
    other_via: str = ""
    other_hops: int = 0


class Ordered(Struct, frozen=True, gc=False, array_like=True, tag="ordered"):
    """An operator put the alert there."""

    actor: str
    text: str = ""
    rule: str = "operator"
    group: dict[str, str] = {}


OfRule = (
    Grouped
    | Counted
    | Sequenced
    | Gathered
    | Connected
    | Absent
    | Paired
    | Inhibited
    | Changed
    | Strange
)
Because = OfRule | Stormed | Correlated | Ordered


class Why(Enum):
    """Why an alert stands alone."""

    INFO = "info"  # its source calls it information
    NOISY = "noisy"  # its check cries wolf, and nothing explains it
    COMMON = "common"  # its source never clears, and says the like all the time
    DOUBTED = "doubted"  # it was held back, and nothing says that it still fires
    BLIP = "blip"  # it cleared before there was enough to raise


class EndReason(Enum):
    """Why an incident resolved, reopened or closed."""

    CLEARED = "cleared"  # its alerts cleared and stayed clear
    OPERATOR = "operator"
    FIRED = "fired"  # a new firing episode inside the reopen window
    EXPIRED = "expired"  # the reopen window passed
    SUBSIDED = "subsided"  # nearly all its alerts have cleared and stayed clear
    MERGED = "merged"  # another incident has its alerts now
    SUPERSEDED = "superseded"  # another of its rule and group took its place


# -- facts ----------------------------------------------------------------------------------


class EventDuplicate(Struct, frozen=True, gc=False, array_like=True, tag="duplicate"):
    """The delivery key was already applied; `fingerprint` is "" where it names no known alert."""

    at: datetime
    fingerprint: str


class EventNoted(Struct, frozen=True, gc=False, array_like=True, tag="noted"):
    """An event that speaks of no alert (info, heartbeat, change), or clears an unknown one."""

    at: datetime
    source: str
    status: Status


class EventRefused(Struct, frozen=True, gc=False, array_like=True, tag="event_refused"):
    """What was refused at the door."""

    at: datetime
    source: str
    reason: str


class AccessDenied(Struct, frozen=True, array_like=True, tag="access_denied"):
    """Somebody was not let in, `count` times."""

    at: datetime
    source: str
    peer: str
    count: int


class AlertFired(Struct, frozen=True, gc=False, array_like=True, tag="fired"):
    """A new episode began."""

    at: datetime
    alert: Alert


class AlertRepeated(Struct, frozen=True, gc=False, array_like=True, tag="repeated"):
    """Same fingerprint and status again; `late` = older than what is already known."""

    at: datetime
    fingerprint: str
    episode: int
    late: bool = False


class AlertChanged(Struct, frozen=True, gc=False, array_like=True, tag="changed"):
    """A firing alert's severity moved."""

    at: datetime
    fingerprint: str
    episode: int
    was: Severity
    severity: Severity


class AlertCleared(Struct, frozen=True, gc=False, array_like=True, tag="cleared"):
    """The episode ended."""

    at: datetime
    fingerprint: str
    episode: int
    reason: ClearReason
    incident: str = ""  # that has one firing alert less now


class AlertForgotten(Struct, frozen=True, gc=False, array_like=True, tag="forgotten"):
    """A cleared alert left the table."""

    at: datetime
    fingerprint: str


# What suppresses an alert is a silence, a maintenance window, or a rule of one of these kinds.
SORTS = ("silence", "maintenance", "settle", "inhibit", "dependency", "calendar")


def sort_of(by: str) -> str:
    """Of what suppresses an alert: one of SORTS."""
    if by.startswith("SIL-"):
        return "silence"
    return "maintenance" if by.startswith("MNT-") else by.partition(":")[0]


class AlertSuppressed(Struct, frozen=True, gc=False, array_like=True, tag="suppressed"):
    """Known, but opens nothing: `by` is the silence's or maintenance window's id, or a rule."""

    at: datetime
    fingerprint: str
    episode: int
    by: str
    source: str = ""  # fingerprint of the alert that explains it


class AlertUnsuppressed(Struct, frozen=True, gc=False, array_like=True, tag="unsuppressed"):
    """What suppressed it ended while it still fired: it is judged again."""

    at: datetime
    fingerprint: str
    episode: int
    by: str


class AlertUnmatched(Struct, frozen=True, gc=False, array_like=True, tag="unmatched"):
    """No rule wanted the episode (or none has counted far enough yet)."""

    at: datetime
    fingerprint: str
    episode: int


class AlertJoined(Struct, frozen=True, gc=False, array_like=True, tag="joined"):
    """The episode belongs to the incident from now on."""

    at: datetime
    incident: str
    fingerprint: str
    episode: int
    because: Because


class AlertFlapping(Struct, frozen=True, gc=False, array_like=True, tag="flapping"):
    """The alert began, or ended, to change state too often to be believed."""

    at: datetime
    fingerprint: str
    episode: int
    on: bool


class AlertDetached(Struct, frozen=True, gc=False, array_like=True, tag="detached"):
    """The episode belongs to the incident no more."""

    at: datetime
    incident: str
    fingerprint: str
    episode: int
    fires: bool  # and still does
    into: str = ""  # the incident that it went to, if any
    actor: str = ""  # an operator, or eventd itself
    text: str = ""


class AlertAlone(Struct, frozen=True, gc=False, array_like=True, tag="alone"):
    """The episode opens and joins nothing; `near` is what it was nearest to."""

    at: datetime
    fingerprint: str
    episode: int
    why: Why
    near: Correlated | None = None
    blips: int = 0  # of its check, where that cries wolf: how often it cleared soon and alone,
    reals: int = 0  # and how often it was part of something wider


class IncidentMerged(Struct, frozen=True, gc=False, array_like=True, tag="merged"):
    """The incident's alerts belong to `into` from now on."""

    at: datetime
    incident: str
    into: str
    because: Correlated | Ordered
    actor: str = ""


class IncidentSplit(Struct, frozen=True, gc=False, array_like=True, tag="split"):
    """Some of the incident's alerts became the incident `apart`."""

    at: datetime
    incident: str
    apart: str
    actor: str = ""
    text: str = ""


class IncidentRanked(Struct, frozen=True, gc=False, array_like=True, tag="ranked"):
    """Another CI than before leads the incident's root candidates."""

    at: datetime
    incident: str
    roots: tuple[RootCandidate, ...]


class Miss(Enum):
    """How a rule missed an alert."""

    PARTS = "parts"  # its window ended with all but one of what it counts
    SOURCE = "source"  # what explains the alert came when it was waited for no more
    EARLY = "early"  # the alert came before the time at which it would have been known
    OVER = "over"  # or after it
    CHANGE = "change"  # the change was longer before than the rule looks


class RuleMissed(Struct, frozen=True, gc=False, array_like=True, tag="rule_missed"):
    """A rule nearly held for the alert, with `count` of `at_least` where it counts."""

    at: datetime
    fingerprint: str
    episode: int
    rule: str
    group: dict[str, str]
    missing: str  # what
    count: int
    at_least: int
    within: float  # s
    # s; parts: after the first, what was missing came, 0: it never did; source: after the alert;
    # early, over: from the time; change: before the alert
    late: float = 0.0
    how: Miss = Miss.PARTS


class AlertRaised(Struct, frozen=True, gc=False, array_like=True, tag="alert_raised"):
    """A rule fires an alert of its own: told of that one, and of each alert that made it."""

    at: datetime
    fingerprint: str
    episode: int
    raised: str  # fingerprint of the rule's alert
    name: str  # of that
    because: Because
    count: int  # alerts behind it by now
    alerts: tuple[tuple[str, str], ...] = ()  # fingerprint, and name and CI, of the first of them
    begins: bool = False  # it fires from now on


class FindingNoted(Struct, frozen=True, gc=False, array_like=True, tag="finding_noted"):
    """A rule holds for alerts that all belong to incidents already: noted on this one."""

    at: datetime
    incident: str
    because: Because


class IncidentOpened(Struct, frozen=True, gc=False, array_like=True, tag="opened"):
    """The value as it was opened."""

    at: datetime
    incident: Incident
    because: Because


class IncidentUpdated(Struct, frozen=True, gc=False, array_like=True, tag="updated"):
    """Impact or urgency was judged anew; `because` names what moved it."""

    at: datetime
    incident: str
    impact: int
    urgency: int
    because: str


class IncidentAcknowledged(Struct, frozen=True, gc=False, array_like=True, tag="acknowledged"):
    """A person took it."""

    at: datetime
    incident: str
    actor: str


class IncidentCommented(Struct, frozen=True, gc=False, array_like=True, tag="commented"):
    """A person wrote something down."""

    at: datetime
    incident: str
    actor: str
    text: str


class IncidentResolved(Struct, frozen=True, gc=False, array_like=True, tag="resolved"):
    """It is over, for now."""

    at: datetime
    incident: str
    reason: EndReason
    actor: str = ""
    text: str = ""


class IncidentReopened(Struct, frozen=True, gc=False, array_like=True, tag="reopened"):
    """It was not over."""

    at: datetime
    incident: str
    reason: EndReason
    actor: str = ""
    text: str = ""


class IncidentClosed(Struct, frozen=True, gc=False, array_like=True, tag="closed"):
    """Final."""

    at: datetime
    incident: str
    reason: EndReason
    actor: str = ""
    text: str = ""


class VerdictGiven(Struct, frozen=True, gc=False, array_like=True, tag="verdict_given"):
    """A person said whether there was something to hear of."""

    at: datetime
    incident: str
    verdict: bool  # False: it was a false alarm
    actor: str
    text: str = ""
    taught: tuple[tuple[str, int], ...] = ()  # rules that score, and how many streams of each


class SilenceAdded(Struct, frozen=True, array_like=True, tag="silence_added"):
    """In force from now."""

    at: datetime
    silence: Silence


class SilenceEnded(Struct, frozen=True, array_like=True, tag="silence_ended"):
    """No longer in force; `actor` is "" where its time ran out."""

    at: datetime
    silence: str
    actor: str = ""


class MaintenanceAnnounced(Struct, frozen=True, array_like=True, tag="maintenance"):
    """A window is known."""

    at: datetime
    maintenance: Maintenance


class MaintenanceEnded(Struct, frozen=True, array_like=True, tag="maintenance_ended"):
    """The window is over."""

    at: datetime
    maintenance: str


class RulesLoaded(Struct, frozen=True, array_like=True, tag="rules_loaded"):
    """The rule set that judges from now on."""

    at: datetime
    version: str
    rules: int
    kept: int  # of them unchanged, with their windows


class InventoryLoaded(Struct, frozen=True, array_like=True, tag="inventory_loaded"):
    """The inventory that holds from now on."""

    at: datetime
    version: str
    services: int
    cis: int
    dependencies: int


class RuleSwitchedOff(Struct, frozen=True, array_like=True, tag="rule_off"):
    """The rule raised: it is reset and asked no more until the next load."""

    at: datetime
    rule: str
    error: str


class TimerFailed(Struct, frozen=True, array_like=True, tag="timer_failed"):
    """What was due raised: it is left undone, and not tried again."""

    at: datetime
    kind: str
    key: str
    error: str


class CommandRejected(Struct, frozen=True, array_like=True, tag="command_rejected"):
    """A command that cannot be applied; nothing changed."""

    at: datetime
    missing: bool  # True: what it names is unknown; False: it is in the wrong state
    error: str


class CapHit(Struct, frozen=True, gc=False, array_like=True, tag="cap_hit"):
    """A table was full and its policy was applied: `table` is one of a closed set."""

    at: datetime
    table: str
    rule: str = ""  # whose table


Fact = (
    EventDuplicate
    | EventNoted
    | EventRefused
    | AccessDenied
    | AlertFired
    | AlertRepeated
    | AlertChanged
    | AlertCleared
    | AlertForgotten
    | AlertSuppressed
    | AlertUnsuppressed
    | AlertUnmatched
    | AlertJoined
    | AlertFlapping
    | AlertDetached
    | AlertAlone
    | IncidentMerged
    | IncidentSplit
    | IncidentRanked
    | RuleMissed
    | FindingNoted
    | IncidentOpened
    | IncidentUpdated
    | IncidentAcknowledged
    | IncidentCommented
    | IncidentResolved
    | IncidentReopened
    | IncidentClosed
    | AlertRaised
    | VerdictGiven
    | SilenceAdded
    | SilenceEnded
    | MaintenanceAnnounced
    | MaintenanceEnded
    | RulesLoaded
    | InventoryLoaded
    | RuleSwitchedOff
    | TimerFailed
    | CommandRejected
    | CapHit
)


# why an alert is where it is
Reason = (
    AlertJoined
    | AlertDetached
    | AlertAlone
    | AlertSuppressed
    | AlertUnsuppressed
    | AlertRaised
    | RuleMissed
)


def seconds(value: float) -> timedelta:
    """A timedelta of so many seconds."""
    return timedelta(seconds=value)
