"""What must hold, whatever breaks: RELIABILITY §3 as far as it can be seen from outside.

The oracle reads what was committed, hears what was acknowledged, and says so at once where the
two do not fit.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from eventd.admission import KEY_HEADER
from eventd.core.engine import Engine
from eventd.core.heartbeats import SILENT
from eventd.core.labels import delivery_key
from eventd.core.model import Arrival, Event, IncidentState, Status
from eventd.core.rules.rule import OWN_SOURCE
from eventd.core.snapshot import Restored
from eventd.inbox import OVERHEAD, Inbox
from eventd.replay import Recovered, replayed
from eventd.runtime import Runtime
from eventd.store.journal import JournalReader, Row
from eventd.store.queries import QUERIES
from eventd.store.rows import decode_inputs, moment
from eventd.store.snapshots import KEPT
from tests.simulation.broker import Message
from tests.simulation.disk import Disk
from tests.simulation.door import Answer, Request
from tests.simulation.shadow import Shadow

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
POISON = "poison"  # what the core raises on: an event's name, a comment, a rule set's version
REGROUPS = ("/merge", "/split", "/detach")
OWN = 4 * OVERHEAD  # bytes that eventd's own inputs may take besides: a reload, a probe, the audit


class Broken(AssertionError):
    """An invariant does not hold."""


class Oracle:
    """The journal as it was committed, and what was promised."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.acked: dict[str, str] = {}  # token → how
        self.present: dict[str, int] = {}  # token → position, of all that was ever committed
        self.commands: dict[bytes, int] = {}
        self.keys: dict[bytes, str] = {}  # strong key → fingerprint, firing and live
        self.next_seq = self.first = 0
        self.now = 0
        self.shadow = Shadow()
        self.damaged: tuple[str, ...] = ("-",)  # snapshots that are not to be good
        self.checks = 0
        self.problem = ""  # raised inside the process, where it might be caught

    # -- told by the disk -------------------------------------------------------------------------

    def committed(self, db: sqlite3.Connection) -> None:
        """A transaction is through: read the new rows."""
        self._require(not self.disk.failed, "I20", "a commit after a failed sync")
        self._read_on(db)

    def _read_on(self, db: sqlite3.Connection) -> None:
        for row in db.execute(
            "SELECT seq, inputs, now, digest, body FROM journal WHERE seq >= ? ORDER BY seq",
            (self.next_seq,),
        ).fetchall():
            self._row(*row)

    def _row(self, seq: int, inputs: int, now: int, digest: int, body: bytes) -> None:
        self._require(seq == self.next_seq, "I2", f"row {seq} follows {self.next_seq}")
        self._require(now >= self.now, "I13", f"engine time went back in row {seq}")
        self.next_seq, self.now = seq + inputs, now
        items = decode_inputs(body)
        self._require(len(items) == inputs, "I2", f"row {seq} holds {len(items)}, not {inputs}")
        for at, item in enumerate(items, seq):
            if isinstance(item, Event):
                if item.summary:
                    self.present.setdefault(item.summary, at)
                firing = item.status is Status.FIRING and item.arrival is not Arrival.RETAINED
                if item.strong and firing:
                    self.keys.setdefault(item.key, item.fingerprint)
            elif key := getattr(item, "key", b""):
                self.commands.setdefault(key, at)
        for problem in self.shadow.take(Row(seq, moment(now), digest, items)):
            self._require(False, *problem.partition(": ")[::2])

    # -- told by the outside world ----------------------------------------------------------------

    def answered(self, request: Request, answer: Answer) -> None:
        """An answer leaves the process."""
        if request.method == "GET" or answer.status >= 500 or answer.status == 400:
            return
        what = f"{request.method} {request.path} {answer.status}"
        self._require(not self.disk.failed, "I20", f"{what} after a failed sync")
        if POISON.encode() in request._body and answer.status == 409:
            return  # it is in quarantine
        if request.path.startswith("/api/"):
            given = request.headers.get(KEY_HEADER, "")
            key = delivery_key("api", request.path, given)
            self._require(key in self.commands, "I1", f"{what} before the command was committed")
            if request.path.endswith(REGROUPS) and answer.status < 400:
                said = json.loads(request._body)["text"]
                done = said in self.shadow.carried_out
                self._require(done, "I17", f"{what}, and no verdict says so: {said}")
            return
        for token in tokens(request._body):
            self._acknowledged(token, what)

    def asked(self, incident: str, said: dict[str, Any]) -> None:
        """The API showed an incident that was merged."""
        into = self.shadow.merged[incident]
        went = said["merged_into"] == into and said["state"] == "closed"
        self._require(went, "I6", f"{incident} is in {into}, and answers {said}")

    def acknowledging(self, message: Message) -> None:
        """A PUBACK leaves the process."""
        what = f"PUBACK of {message.topic}"
        self._require(not self.disk.failed, "I20", f"{what} after a failed sync")
        for token in tokens(message.payload):
            self._acknowledged(token, what)

    def _acknowledged(self, token: str, how: str) -> None:
        self._require(token in self.present, "I1", f"{how}: {token} is not in the journal")
        self.acked[token] = how

    # -- told by the process ----------------------------------------------------------------------

    def started(self, recovered: Recovered, reader: JournalReader) -> None:
        """A process has recovered: what was acknowledged is there, and nothing came out anew."""
        rejected = [why for why in recovered.rejected if not why.startswith(self.damaged)]
        self._require(not rejected, "I3", "; ".join(rejected))
        self._require(not recovered.diverged, "I3", f"{recovered.diverged} rows diverged")
        span = reader.span()
        self.first = span.first
        found: set[str] = set()
        commands: set[bytes] = set()
        last = span.first
        for seq, inputs, _, body in reader.db.execute(QUERIES["whole_journal"]):
            self._require(seq == last, "I2", f"row {seq} stands where {last} was due")
            last = seq + inputs
            for item in decode_inputs(body):
                if isinstance(item, Event):
                    found.add(item.summary)
                elif key := getattr(item, "key", b""):
                    commands.add(key)
        for token, how in self.acked.items():
            at = self.present[token]
            self._require(
                token in found or at < span.first, "I1", f"{how}: {token} is gone from {at}"
            )
        for key, at in self.commands.items():
            self._require(key in commands or at < span.first, "I1", f"a command at {at} is gone")
        self._require(recovered.next_seq >= self.next_seq, "I1", "the journal ends before its end")
        # a batch whose sync failed may be there all the same
        self._read_on(reader.db)
        self.poisoned(reader.db)

    def poisoned(self, db: sqlite3.Connection) -> None:
        """What was quarantined is never stepped again, and was meant to raise."""
        again = db.execute(
            "SELECT COUNT(*) FROM quarantine WHERE key IS NOT NULL GROUP BY key HAVING COUNT(*) > 1"
        ).fetchall()
        self._require(not again, "I2", "a quarantined input was stepped again")
        for (why,) in db.execute("SELECT traceback FROM quarantine ORDER BY id"):
            said = why.strip().splitlines()
            self._require(said[-1].endswith(f": {POISON}"), "the core raised", "; ".join(said[-3:]))

    # -- at rest ----------------------------------------------------------------------------------

    def quiescent(self, runtime: Runtime, meter: Any, reader: JournalReader) -> None:
        """Nothing is under way: accounts, counts, incidents, replays."""
        if runtime.inbox.closed:
            return  # on its way out, after poison with its memory in doubt
        self.checks += 1
        self._accounts(runtime, meter)
        self._counts(runtime.engine)
        self._groups(runtime.engine)
        for problem in self.shadow.at_rest():
            self._require(False, *problem.partition(": ")[::2])
        self._replays(runtime, reader)
        self.poisoned(reader.db)

    def _accounts(self, runtime: Runtime, meter: Any) -> None:
        meter.settle()
        said = {
            name: total(getattr(meter, f"_{name}"))
            for name in ("received", "applied", "duplicate", "refused", "quarantined")
        }
        right = said["received"] == sum(said.values()) - said["received"] + runtime.waiting
        self._require(right, "I12", f"{said}, waiting {runtime.waiting}")

    def _counts(self, engine: Engine) -> None:
        """For alerts that only ever come with keys of their own."""
        wanted: dict[str, int] = {}
        for fingerprint in self.keys.values():
            wanted[fingerprint] = wanted.get(fingerprint, 0) + 1
        for alert in engine.alerts():
            if alert.name.startswith("keyed") and alert.fingerprint not in self.shadow.forgotten:
                want = wanted.get(alert.fingerprint, 0)
                self._require(
                    alert.count == want, "I2", f"{alert.name} counts {alert.count}, not {want}"
                )

    def _groups(self, engine: Engine) -> None:
        seen: dict[tuple[str, tuple[tuple[str, str], ...]], str] = {}
        for one in engine.incidents():
            if one.state is not IncidentState.CLOSED:
                other = seen.setdefault((one.rule, tuple(one.group.items())), one.id)
                self._require(other == one.id, "I6", f"{other} and {one.id} are twins")

    def _replays(self, runtime: Runtime, reader: JournalReader) -> None:
        live = _state(runtime.engine)
        # a kill between the rename and the removal leaves a third, to which nothing has to reach
        starts = [(name, reader.load(name)) for name in reader.snapshots()[:KEPT]]
        same = _state(self.shadow.engine) == live
        self._require(same, "I3", "replay from the beginning is not the live state")
        for name, saved in starts:
            restored = Engine.restore(Restored(saved.frames))
            self._replay(name, restored, saved.next_seq, reader, live)

    def _replay(
        self,
        name: str,
        engine: Engine,
        seq: int,
        reader: JournalReader,
        live: list[bytes],
    ) -> None:
        first = next(reader.tail(seq), None)
        reaches = first is None or first.seq == seq
        self._require(reaches, "I3", f"the journal does not reach back to {name}")
        for row, answers in replayed(engine, reader.tail(seq), reader.skipped()):
            facts = [fact for answer in answers for fact in answer]
            same = reader.digest(facts) == row.digest
            self._require(same, "I3", f"from {name}, row {row.seq} is decided otherwise")
        self._require(_state(engine) == live, "I3", f"replay from {name} is not the live state")

    def finished(self, engine: Engine, wanted: Iterable[str]) -> None:
        """Everything was cleared, and time enough has passed."""
        for token in wanted:
            self._require(token in self.present, "I15", f"{token} never came in")
        firing = [one for one in engine.alerts() if one.status is Status.FIRING]
        # what beat does so no more
        silent = {f"{one.name}{SILENT}" for one in engine.heartbeats.beats.values() if one.silent}
        said = [one for one in firing if one.source != OWN_SOURCE]  # and not what a rule misses
        wrong = [one.name for one in said if one.name not in silent]
        self._require(not wrong, "I9", f"still firing: {wrong}")
        excused = {*self.shadow.by_hand, *(one.incident for one in firing)}
        still = [
            one.id
            for one in engine.incidents()
            if one.state is IncidentState.OPEN and one.id not in excused
        ]
        self._require(not still, "I9", f"still open: {still}")

    def bounded(self, inbox: Inbox) -> None:
        """What waits: the first of a holder may be as large as it likes, where it found nothing.

        MQTT may bring the message that the socket was at, after one that nobody acknowledges.
        """
        brought = sum([size for _, size, _ in inbox._brokers.items][-2:])
        may = max([inbox.max_bytes, *(line.items[0][1] for line in inbox._turns)]) + OWN
        waits = inbox.bytes - brought
        self._require(waits <= may, "I11", f"{waits} bytes wait, {may} may")

    def _require(self, holds: bool, invariant: str, why: str) -> None:
        if not holds and not self.problem:
            self.problem = f"{invariant}: {why}"


def _state(engine: Engine) -> list[bytes]:
    return list(engine.snapshot().frames())


def tokens(payload: bytes) -> list[str]:
    """What marks the events of a payload, poisonous and unreadable ones left out."""
    try:
        found = json.loads(payload)
    except ValueError:
        return []
    if "alerts" in found:
        return [one["annotations"]["summary"] for one in found["alerts"]]
    events = found if isinstance(found, list) else [found]
    return [
        one["summary"]
        for one in events
        if "summary" in one and "bad" not in one and one["name"] != POISON
    ]


def total(counter: Any) -> int:
    """A counter over all its labels."""
    samples = (s for metric in counter.collect() for s in metric.samples)
    return int(sum(s.value for s in samples if s.name.endswith("_total")))
