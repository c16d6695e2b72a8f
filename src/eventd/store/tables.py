"""Writing batches into the tables. Used by the writer thread only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from operator import itemgetter

import msgspec
from msgspec import structs

from eventd.clock import monotonic
from eventd.core.model import Alert, Delivery, Incident, LoadRules
from eventd.runtime import Batch, Quarantined
from eventd.store.database import transaction
from eventd.store.payloads import RecentPayloads
from eventd.store.projection import Projection, project
from eventd.store.queries import QUERIES, SqlRow, insert
from eventd.store.rows import (
    alert_row,
    decode_entries,
    digest_of,
    encode,
    incident_row,
    json_array,
    micros,
)

# Ledger rows that are not filed by incident: readers look through so many, 1 ms.
FILE_EVERY = 4_000

_decode_heads = msgspec.json.Decoder(dict[str, int]).decode


class Tables:
    """The writer's connection. Every method is one transaction, or raises and changes nothing.

    Invariant: the journal's rows follow one another without gaps, and every other table but
    `alert` is what the journal's facts say.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        """`db` is open and migrated; `load` must follow."""
        self.db = db
        self.next_seq = 0
        self.now = 0  # microseconds; of the last row
        self.sync_took = 0.0  # s; the end of the last batch's transaction
        self.payloads = RecentPayloads(int.from_bytes(os.urandom(8), "little"))
        self._rules = ""
        self._ledger_end = 0  # the last id given
        self._ledger_filed = 0  # up to this one they are filed by incident

    def load(self) -> None:
        """Find out where the journal ends."""
        last = self.db.execute(QUERIES["journal_span"]).fetchone()
        if last is not None:
            _, self.next_seq, self.now, self._rules = last
        self._find_ledger()

    def write(self, batch: Batch) -> int:
        """Write a batch; the bytes it brought, roughly."""
        steps, rules = batch.steps, self._rules
        ledger = self._ledger_end, self._ledger_filed
        journal: list[SqlRow] = []
        deliveries: list[SqlRow] = []
        written = 0
        for step in steps:
            now = micros(step.now)
            body = encode(step.inputs)
            received_at, source = now, ""
            if (delivery := step.delivery) is not None:
                received_at, source = micros(delivery.received_at), delivery.source
                row = self._delivery_row(step.seq, now, delivery)
                deliveries.append(row)
                written += 0 if row[3] is None else len(delivery.payload)
            elif type(first := step.inputs[0]) is LoadRules:
                rules = first.version
            digest = digest_of(step.facts)
            inputs = len(step.inputs)
            journal.append((step.seq, inputs, now, received_at, source, rules, digest, body))
            written += len(body)
        try:
            with transaction(self.db):
                insert(self.db, "add_journal", journal)
                insert(self.db, "add_delivery", deliveries)
                self._project(project(steps), batch.incidents)
                self._put_alerts(batch.alerts, batch.forgotten)
                if batch.quarantined is not None:
                    self._add_quarantine(batch.quarantined, None)
                written_at = monotonic()
        except BaseException:
            self.payloads.rolled_back()
            self._ledger_end, self._ledger_filed = ledger
            raise
        self.sync_took = monotonic() - written_at
        self.payloads.committed()
        if steps:
            last = steps[-1]
            self.next_seq = last.seq + len(last.inputs)
            self.now, self._rules = micros(last.now), rules
        return written

    def file_ledger(self) -> None:
        """File all ledger rows by incident."""
        if self._ledger_filed < self._ledger_end:
            with transaction(self.db):
                self._file_ledger()
            self._ledger_filed = self._ledger_end

    def quarantine(self, seq: int, poison: Quarantined) -> None:
        """Never step the journaled input at `seq` again."""
        with transaction(self.db):
            self._add_quarantine(poison, seq)

    def rewrite(self, seq: int, batches: Iterable[Batch], everything: Iterable[Batch]) -> None:
        """Make the tables follow a replay that went another way from `seq` on.

        `batches` are the steps from there, `everything` yields, once those are used up, batches
        with every incident and every alert the engine holds then.
        """
        with transaction(self.db):
            self._unwrite(seq)
            for batch in batches:
                digests = [(digest_of(step.facts), step.seq) for step in batch.steps]
                self.db.executemany(QUERIES["put_digest"], digests)
                self._project(project(batch.steps), batch.incidents)
            for batch in everything:
                self._project(Projection(), batch.incidents)
                self._put_alerts(batch.alerts, ())

    def _delivery_row(self, seq: int, now: int, delivery: Delivery) -> SqlRow:
        payload = delivery.payload
        same_as = self.payloads.place(delivery.source, payload, seq, now)
        meta = encode(structs.replace(delivery, payload=b""))
        return (seq, same_as, meta, payload if same_as is None else None)

    def _project(self, rows: Projection, incidents: Sequence[Incident]) -> None:
        db = self.db
        if rows.timeline:
            names = json_array(rows.incidents())
            (heads,) = db.execute(QUERIES["timeline_heads"], (names,)).fetchone()
            insert(db, "add_timeline", rows.timeline_rows(_decode_heads(heads)))
        if rows.forgotten:  # at once, and first: one of them may have fired again since
            db.execute(QUERIES["forget_alone"], (json_array(rows.forgotten),))
        if rows.ledger:
            self._add_ledger(rows)
        insert(db, "add_silence", rows.silences)
        insert(db, "add_maintenance", rows.maintenance)
        if rows.ended_silences:
            db.executemany(QUERIES["end_silence"], rows.ended_silences)
        if rows.ended_maintenance:
            db.executemany(QUERIES["end_maintenance"], rows.ended_maintenance)
        insert(db, "add_audit", rows.audit)
        insert(db, "put_incident", [incident_row(one) for one in incidents])

    def _find_ledger(self) -> None:
        end, self._ledger_filed = self.db.execute(QUERIES["ledger_span"]).fetchone()
        self._ledger_end = max(end, self._ledger_filed)

    def _add_ledger(self, rows: Projection) -> None:
        """Add the rows; file them when there are enough for it to be cheap."""
        insert(self.db, "add_ledger", rows.ledger_rows(self._ledger_end + 1))
        insert(self.db, "put_alone", rows.alone_rows(self._ledger_end + 1))
        self._ledger_end += len(rows.ledger)
        if self._ledger_end - self._ledger_filed >= FILE_EVERY:
            self._file_ledger()
            self._ledger_filed = self._ledger_end

    def _file_ledger(self) -> None:
        self.db.execute(QUERIES["file_ledger"])
        self.db.execute(QUERIES["ledger_filed"], (self._ledger_end,))

    def _put_alerts(self, alerts: Sequence[Alert], forgotten: Sequence[str]) -> None:
        """Forgotten ones first: an alert may have fired again since.

        The rest by fingerprint: SQLite finds its place in the index twice as fast in order.
        """
        if forgotten:
            gone = json_array(forgotten)
            self.db.execute(QUERIES["forget_alerts"], (gone,))
        rows = [alert_row(alert) for alert in alerts]
        rows.sort(key=itemgetter(0))
        insert(self.db, "put_alert", rows)

    def _add_quarantine(self, poison: Quarantined, seq: int | None) -> None:
        item, delivery = poison.input, poison.delivery
        row: SqlRow = (
            poison.key,
            seq,
            micros(poison.now),
            poison.traceback,
            encode(item),
            None if delivery is None else encode(delivery),
        )
        self.db.execute(QUERIES["add_quarantine"], row)

    def _unwrite(self, seq: int) -> None:
        db = self.db
        for name in (
            "unwrite_incidents",
            "unwrite_timeline",
            "unwrite_silences",
            "unend_silences",
            "unwrite_maintenance",
            "unend_maintenance",
            "unwrite_audit",
        ):
            db.execute(QUERIES[name], (seq,))
        for row, body in db.execute(QUERIES["straddling_ledger"], (seq,)).fetchall():
            kept = [entry for entry in decode_entries(body) if entry[0] < seq]
            db.execute(QUERIES["cut_ledger"], (kept[-1][0], encode(kept), row))
        db.execute(QUERIES["unwrite_ledger"], (seq,))
        db.execute(QUERIES["unfile_ledger"])
        db.execute(QUERIES["unfile_alone"])
        db.execute(QUERIES["unfiled_ledger"])
        self._find_ledger()
        db.execute(QUERIES["unwrite_alerts"])
