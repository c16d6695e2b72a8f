"""What eventd believes now about every fingerprint: new, repeat, duplicate; episodes."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from itertools import islice
from math import ceil

from msgspec import Struct

from eventd.core.labels import shared, shared_labels, shared_links
from eventd.core.model import Alert, Arrival, Event, Settings, Severity, Status

HOUR = 3600  # s
KEY_BYTES = 16
ELDERS = 1_000  # looked for at once
KEYS_A_ROW = 1_000  # of the snapshot
# CPython makes a set anew when about a third of it was replaced, with four places a key where it
# has fewer than 50,000, with two from there on. Blocks of 1 MiB and more go back to the system at
# once (`allocator`); smaller ones leave holes in the heap, and what settles there keeps them.
SETS = 16
OF_ALERTS = frozenset({Status.FIRING, Status.CLEARED})
_number = int.from_bytes  # looked up once: it is called with every event


class Outcome(Enum):
    """What an event means for its alert."""

    FIRED = "fired"
    REPEATED = "repeated"
    CHANGED = "changed"  # repeated, with another severity
    LATE = "late"  # older than what is already known: changes nothing but the count
    CLEARED = "cleared"


class Record(Struct, gc=False, array_like=True):
    """An alert as the table keeps it: mutable and private to it; `value` is what leaves."""

    fingerprint: str
    source: str
    name: str
    ci: str
    service: str
    summary: str
    status: Status
    severity: Severity
    labels: dict[str, str]
    links: tuple[str, ...]
    started_at: datetime
    last_seen_at: datetime
    said_at: datetime | None = None  # the newest time its source has given; None: it gave none
    cleared_at: datetime | None = None
    count: int = 0
    episode: int = 0
    suppressed_by: str = ""
    incident: str = ""
    measured: float | None = None
    weak_key: bytes = b""  # of the latest event
    weak_at: datetime | None = None
    occurrence: bool = False  # clears itself when quiet
    doubted: bool = False  # moved by what the broker sent again, nobody knows whether anew
    detached: bool = False  # by an operator: no rule and no cluster takes it up in this episode
    before: str = ""  # the last incident of an earlier episode

    def value(self) -> Alert:
        """The alert as a value."""
        return Alert(
            self.fingerprint,
            self.source,
            self.name,
            self.ci,
            self.service,
            self.summary,
            self.status,
            self.severity,
            self.labels,
            self.links,
            self.started_at,
            self.last_seen_at,
            self.cleared_at,
            self.count,
            self.episode,
            self.suppressed_by,
            self.incident,
            self.measured,
        )


class DeliveryKeys:
    """Strong delivery keys already applied, kept for a time and within a cap, oldest out first.

    A few sets and not one, which would hold up the loop each time that it is made anew; and rows as
    they stand in a snapshot, which need not be copied.
    """

    def __init__(self) -> None:
        """None yet."""
        # by a key's first byte; as numbers, which take a fourth less than bytes
        self._known = tuple(set[int]() for _ in range(SETS))
        # the hour they were added in, and keys side by side; the oldest first
        self._rows: deque[tuple[int, bytes]] = deque()
        self._row: list[bytes] = []  # the last one, as long as it has room
        self._left = 0  # keys for which it has
        self._count = 0
        self._turn(0)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: bytes) -> bool:
        return _number(key) in self._known[key[0] % SETS]

    def add(self, key: bytes, now: datetime, settings: Settings) -> bool:
        """Remember it. True where the cap pushed younger keys out than time would have."""
        capped = (self._left == 0 or now >= self._hour_ends) and self._open_row(now, settings)
        self._known[key[0] % SETS].add(_number(key))
        self._row.append(key)
        self._left -= 1
        self._count += 1
        return capped

    def limit(self) -> None:
        """The cap may be another one now: it holds from the next key on."""
        self._left = 0

    def _open_row(self, now: datetime, settings: Settings) -> bool:
        """Have room in the last row, and under the cap for all of it; True where that took keys."""
        rows = self._rows
        rows.extend(self._last())
        self._row = []
        if now >= self._hour_ends:
            self._turn(int(now.timestamp()) // HOUR)
            self._expire(self._hour - ceil(settings.strong_key_for / HOUR))
        # short enough that little is forgotten at once
        longest = min(KEYS_A_ROW, max(1, settings.max_keys // 100))
        # after a restart the last one goes on
        if rows and rows[-1][0] == self._hour and len(rows[-1][1]) < longest * KEY_BYTES:
            self._row = list(_cut(rows.pop()[1]))
        self._left = longest - len(self._row)
        over = len(self) + self._left - settings.max_keys
        capped = over > 0
        while over > 0:
            over -= self._forget_row()
        return capped

    def _last(self) -> list[tuple[int, bytes]]:
        """The row that has room, if there is anything in it."""
        return [(self._hour, b"".join(self._row))] if self._row else []

    def _turn(self, hour: int) -> None:
        self._hour = hour
        self._hour_ends = datetime.fromtimestamp((hour + 1) * HOUR, UTC)

    def _expire(self, oldest: int) -> None:
        while self._rows and self._rows[0][0] < oldest:
            self._forget_row()

    def _forget_row(self) -> int:
        """The oldest; how many keys it had."""
        _, keys = self._rows.popleft()
        for key in _cut(keys):
            self._known[key[0] % SETS].discard(_number(key))
        forgotten = len(keys) // KEY_BYTES
        self._count -= forgotten
        return forgotten

    def dump(self) -> list[object]:
        """Keys of one hour side by side, in order."""
        return [*self._rows, *self._last()]

    def load(self, rows: Iterator[tuple[int, bytes]]) -> None:
        """Take up what `dump` gave."""
        for hour, keys in rows:
            self._rows.append((hour, keys))
            self._count += len(keys) // KEY_BYTES
            for key in _cut(keys):
                self._known[key[0] % SETS].add(_number(key))


def _cut(keys: bytes) -> Iterator[bytes]:
    for start in range(0, len(keys), KEY_BYTES):
        yield keys[start : start + KEY_BYTES]


class AlertTable:
    """Every alert eventd remembers, firing or cleared.

    Invariants: a fingerprint stands here once; `cleared` holds exactly the cleared ones, the
    longest cleared first; said_at never goes back.

    What the broker sends again comes in order. Once a weak key of it was not recognised, its
    alert is in doubt: what follows moves it too, duplicates among it. The last one decides, as it
    did the first time.
    """

    def __init__(self) -> None:
        """No alerts."""
        self.records: dict[str, Record] = {}
        self.cleared: OrderedDict[str, None] = OrderedDict()
        # The first of `records`, looked for together: who looks passes over all that went before.
        self._elders: OrderedDict[str, None] = OrderedDict()
        self.keys = DeliveryKeys()

    def is_duplicate(
        self, event: Event, record: Record | None, now: datetime, within: float
    ) -> bool:
        """Whether the event's delivery key was already applied. Remembers nothing."""
        if event.status is Status.HEARTBEAT:
            return False
        if event.strong:
            if event.key in self.keys:
                return True
        elif record is not None and record.weak_key == event.key and record.weak_at is not None:
            if event.arrival is not Arrival.LIVE:
                return True
            if (now - record.weak_at).total_seconds() <= within:
                return True
        return (
            event.arrival is Arrival.RETAINED
            and record is not None
            and event.status is record.status
            and event.severity is record.severity
        )

    def apply(self, event: Event, record: Record, now: datetime, settings: Settings) -> Outcome:
        """Move a known alert by an event that is no duplicate.

        It is late where its source has given a later time already. The engine's time says nothing
        about that: a source's clock may be behind it, and either may have been set.
        """
        said = said_at(event, now, settings)
        late = said is not None and record.said_at is not None and said < record.said_at
        if said is not None and not late:
            record.said_at = said
        firing = event.status is Status.FIRING
        again = event.arrival is Arrival.REDELIVERED
        if not event.strong:
            record.weak_key, record.weak_at, record.doubted = event.key, now, again
        elif record.doubted:
            record.weak_key, record.doubted = b"", again
        if late or firing is (record.status is Status.FIRING):
            return self._repeat(event, record, now, late=late)
        record.last_seen_at = now
        if firing:
            self._fire(event, record, now, said or now)
            return Outcome.FIRED
        self.clear(record, now)
        return Outcome.CLEARED

    @staticmethod
    def sets_right(event: Event, record: Record) -> bool:
        """Whether a duplicate says something else of an alert in doubt."""
        if not event.strong or event.arrival is not Arrival.REDELIVERED:
            return False
        if event.status is Status.FIRING is record.status:
            return event.severity is not record.severity
        return event.status is not record.status and event.status in OF_ALERTS

    def apply_again(
        self, event: Event, record: Record, now: datetime, settings: Settings
    ) -> Outcome:
        """Move a known alert by a duplicate, which has been counted before."""
        count = record.count
        outcome = self.apply(event, record, now, settings)
        record.count = count or record.count
        return outcome

    def add(self, event: Event, now: datetime, settings: Settings) -> Record:
        """Remember a fingerprint never seen: in its first episode where the event fires.

        A clear is kept so that its late firing is known.
        """
        said = said_at(event, now, settings)
        firing = event.status is Status.FIRING
        record = Record(
            event.fingerprint,
            shared(event.source),
            shared(event.name),
            event.ci,
            shared(event.service),
            event.summary,
            event.status,
            event.severity,
            shared_labels(event.labels),
            shared_links(event.links),
            min(said or now, now) if firing else now,
            now,
            said,
            None if firing else now,
        )
        if firing:
            record.count = record.episode = 1
            record.measured = event.value
            record.occurrence = event.quiet_for > 0
        else:
            self.cleared[event.fingerprint] = None
        if not event.strong:
            record.weak_key, record.weak_at = event.key, now
            record.doubted = event.arrival is Arrival.REDELIVERED
        self.records[event.fingerprint] = record
        return record

    def clear(self, record: Record, now: datetime) -> None:
        """End the episode."""
        record.status = Status.CLEARED
        record.cleared_at = now
        self.cleared[record.fingerprint] = None

    def forget(self, record: Record) -> None:
        """Drop a cleared alert."""
        del self.records[record.fingerprint]
        self.cleared.pop(record.fingerprint, None)
        self._elders.pop(record.fingerprint, None)

    def oldest(self) -> Record:
        """Who makes room: the longest cleared, else the longest known."""
        if not self.cleared and not self._elders:
            self._elders.update(dict.fromkeys(islice(self.records, ELDERS)))
        return self.records[next(iter(self.cleared or self._elders))]

    def _fire(self, event: Event, record: Record, now: datetime, said: datetime) -> None:
        self.cleared.pop(record.fingerprint, None)
        record.status = Status.FIRING
        record.ci, record.service = event.ci, shared(event.service)
        record.severity = event.severity
        record.summary = event.summary or record.summary
        record.started_at = min(said, now)
        record.cleared_at = None
        record.last_seen_at = now
        record.count += counts(event) or not record.count
        record.episode += 1
        record.before = record.incident or record.before
        record.incident = record.suppressed_by = ""
        record.measured = event.value
        record.occurrence = event.quiet_for > 0
        record.detached = False
        record.labels = shared_labels(event.labels)
        record.links = shared_links(event.links)

    @staticmethod
    def _repeat(event: Event, record: Record, now: datetime, *, late: bool) -> Outcome:
        record.count += counts(event)
        if late:
            return Outcome.LATE
        record.last_seen_at = now
        if event.status is Status.FIRING:
            record.measured = event.value
            if event.summary:
                record.summary = event.summary
            if event.severity is not record.severity:
                record.severity = event.severity
                return Outcome.CHANGED
        return Outcome.REPEATED


def counts(event: Event) -> bool:
    """Whether it is an occurrence: a clear is none, and a retained message tells of an old one."""
    return event.status is Status.FIRING and event.arrival is not Arrival.RETAINED


def said_at(event: Event, now: datetime, settings: Settings) -> datetime | None:
    """The source's time where it is credible; without it the order of arrival counts."""
    said = event.occurred_at
    if said is None:
        return None
    ahead = (said - now).total_seconds()
    if -settings.past_tolerance <= ahead <= settings.future_tolerance:
        return said
    return None
