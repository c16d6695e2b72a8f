"""What is old or too much goes, what recovery needs stays."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.builders import at, clear, event, group_rule, load, silence
from tests.edges.store_desk import Life, alive, batch, query, step, wrong

from eventd.core.model import (
    AlertJoined,
    Close,
    Comment,
    Delivery,
    EndSilence,
    GiveVerdict,
    Refused,
    Settings,
    Severity,
    Started,
)
from eventd.runtime import Batch, Quarantined
from eventd.store import sqlite
from eventd.store.database import DATABASE, open_reader, open_writer
from eventd.store.journal import iter_journal
from eventd.store.queries import QUERIES
from eventd.store.retention import Limits, Retention
from eventd.store.rows import decode_entries
from eventd.store.snapshots import position_of, snapshot_paths
from eventd.store.sqlite import SqliteStore
from eventd.store.tables import Tables

DAY = 86_400


async def settled(life: Life) -> None:
    """Return when the writer has nothing left to tidy."""
    store = life.store
    await life.runtime.submit(())
    # asked in its own thread: while it bites it says that it is through
    while await store._writer.run(lambda: store._tidying):
        pass


async def poisoned(life: Life, now: datetime, name: str, size: int) -> None:
    """What the runtime commits of an input that raised; the life goes on."""
    payload = os.urandom(size)
    delivery = Delivery(transport="http", received_at=now, payload=payload, source="zabbix")
    poison = Quarantined(event(name), now, delivery, "Traceback")
    await life.store.commit(Batch(quarantined=poison, next_seq=life.recovered.next_seq))


async def test_raw_deliveries_go_before_their_rows(tmp_path: Path) -> None:
    async with alive(tmp_path, raw_for=timedelta(days=1)) as life:
        for day in range(4):
            await life.submit(at(day * DAY), event("a", severity=Severity.INFO))
        await settled(life)

    rows = list(iter_journal(tmp_path))
    assert [row.seq for row in rows if row.delivery is None] == [0, 1]
    assert len(rows) == 4


async def test_the_journal_always_reaches_back_to_the_older_snapshot(tmp_path: Path) -> None:
    for life_no in range(4):
        async with alive(tmp_path, journal_for=timedelta(days=1)) as life:
            for n in range(3):
                await life.submit(
                    at((life_no * 3 + n) * DAY), event(f"e{n}", severity=Severity.INFO)
                )
            await settled(life)
        older = position_of(snapshot_paths(tmp_path)[-1])
        assert next(iter_journal(tmp_path)).seq <= older
        assert wrong(tmp_path) == []

    # while the last life ran, the snapshots at 9 and 6 were kept
    assert next(iter_journal(tmp_path)).seq == 6


async def test_the_last_row_stays_however_old(tmp_path: Path) -> None:
    for n in range(3):
        async with alive(tmp_path, journal_for=timedelta(), raw_for=timedelta()) as life:
            await life.submit(at(n * DAY), event("a", severity=Severity.INFO))
            await settled(life)
    async with alive(tmp_path, journal_for=timedelta(), raw_for=timedelta()) as life:
        assert life.recovered.next_seq == 3
        await settled(life)
    assert [row.seq for row in iter_journal(tmp_path)][-1] == 2


async def test_what_is_too_much_goes_oldest_first(tmp_path: Path) -> None:
    async with alive(tmp_path, max_bytes=8 << 20) as life:
        for n in range(40):
            await life.submit(at(n), event("a"), payload=os.urandom(1 << 20))
        await settled(life)

    rows = list(iter_journal(tmp_path))
    kept = [row.seq for row in rows if row.delivery is not None]
    assert len(rows) == 40
    assert 6 <= len(kept) <= 8  # as many as fit, less what a bite may take too much
    assert kept == list(range(40 - len(kept), 40))


async def test_what_is_quarantined_gives_way_to_the_journal(tmp_path: Path) -> None:
    async with alive(tmp_path, max_bytes=8 << 20) as life:
        for n in range(4):
            await life.submit(at(n), event("a"), payload=os.urandom(1 << 20))
        for n in range(12):
            await poisoned(life, at(4), f"p{n}", 1 << 20)
        for n in range(5, 8):
            await life.submit(at(n), event("a"), payload=os.urandom(1 << 20))
        await life.submit(at(70), event("a"))
        await settled(life)

    rows = list(iter_journal(tmp_path))
    assert [row.now for row in rows] == [at(n) for n in (0, 1, 2, 3, 5, 6, 7, 70)]
    assert [row.seq for row in rows if row.delivery is not None] == [4, 5, 6, 7]
    raw = query(tmp_path, "SELECT id FROM quarantine WHERE delivery IS NOT NULL ORDER BY id")
    assert 3 <= len(raw) < 5  # as many as fit, less what a bite may take too much
    assert raw == [(n,) for n in range(13 - len(raw), 13)]
    assert query(tmp_path, "SELECT COUNT(*) FROM quarantine WHERE input <> x''") == [(12,)]


async def test_of_what_is_quarantined_long_ago_the_key_is_kept(tmp_path: Path) -> None:
    keep: dict[str, object] = {"raw_for": timedelta(days=1), "journal_for": timedelta(days=3)}
    left = "SELECT delivery IS NOT NULL, input <> x'' FROM quarantine"
    async with alive(tmp_path, **keep) as life:
        await poisoned(life, at(0), "p", 100)
        await life.submit(at(DAY), event("a"))
        await settled(life)
        assert query(tmp_path, left) == [(1, 1)]
        await life.submit(at(2 * DAY), event("a"))
        await settled(life)
        assert query(tmp_path, left) == [(0, 1)]
        await life.submit(at(4 * DAY), event("a"))
        await settled(life)
        assert query(tmp_path, left) == [(0, 0)]

    async with alive(tmp_path) as life:
        assert life.recovered.quarantine == (event("p").key,)
    assert wrong(tmp_path) == []


async def test_as_many_are_kept_in_quarantine_as_are_answered_or_skipped(tmp_path: Path) -> None:
    many = """INSERT INTO quarantine (key, seq, now, traceback, input)
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10200)
        SELECT CAST(n AS BLOB), CASE n WHEN 9 THEN 5 WHEN 10 THEN 7 END, 0, '', x'90' FROM n"""
    for n in range(3):  # the older snapshot is at 6 from then on
        async with alive(tmp_path) as life:
            calm = [event(name, severity=Severity.INFO) for name in "abc"]
            await life.submit(at(n * DAY), *calm)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db, db:
        db.execute(many)
        db.execute("UPDATE quarantine SET seq = 2, key = NULL WHERE id = 10100")

    async with alive(tmp_path, journal_for=timedelta(hours=1)) as life:
        await life.submit(at(3 * DAY), event("a", severity=Severity.INFO))
        await settled(life)

    assert next(iter_journal(tmp_path)).seq == 6
    kept = query(tmp_path, "SELECT id FROM quarantine ORDER BY id")
    assert kept == [(10,), *((n,) for n in range(200, 10201) if n != 10100)]
    async with alive(tmp_path) as life:
        assert len(life.recovered.quarantine) == 10_000


async def test_rows_of_many_inputs_go_few_at_a_time(tmp_path: Path) -> None:
    """What is too much goes, and no more than that."""
    most = 1 << 20
    async with alive(tmp_path) as life:
        for n in range(100):
            events = [event(f"a{n % 50}", id=f"{n}-{k}", summary="x" * 40) for k in range(300)]
            await life.submit(at(n), *events)
    async with alive(tmp_path) as life:  # the older snapshot, up to which rows may go, is then here
        await life.submit(at(500), event("b"))
    async with alive(tmp_path, max_bytes=most) as life:
        await life.submit(at(1_000), event("b"))
        await settled(life)

    assert most * 0.8 <= used(tmp_path) <= most


class Load(NamedTuple):
    """Commits of one kind."""

    deliveries: int
    events: int  # each of them has
    size: int  # bytes of a payload
    every: float  # s

    def batch(self, seq: int, now: float) -> Batch:
        """The next of them, of different bytes."""
        steps = []
        for n in range(seq, seq + self.deliveries * self.events, self.events):
            items = tuple(event("disk", id=f"{n}-{k}") for k in range(self.events))
            steps.append(step(n, at(now), *items, payload=os.urandom(self.size)))
        return batch(*steps)


loads = st.builds(
    Load,
    st.sampled_from([1, 20, 300]),
    st.sampled_from([1, 10, 200]),
    st.sampled_from([10, 1_000, 50_000]),
    st.sampled_from([0.0, 0.1, 10.0]),
).filter(lambda one: one.deliveries * max(one.events * 200, one.size) < 2_000_000)


@settings(max_examples=12)
@given(st.lists(loads, min_size=1, max_size=3))
@example([Load(300, 1, 10, 0.0), Load(20, 1, 50_000, 0.0)])  # small ones go first
@example([Load(20, 1, 10, 1.0), Load(20, 1, 50_000, 1.0)])  # some are too old at every commit
def test_under_any_load_one_bite_a_commit_is_enough(some: list[Load]) -> None:
    """A load without a pause leaves room for no more."""
    most, now = 2 << 20, 0.0
    with TemporaryDirectory() as name, closing(open_writer(Path(name))) as db:
        db.execute("PRAGMA synchronous = OFF")  # for speed
        for far_ahead in (1 << 40, 1 << 41):
            (Path(name) / f"snapshot-{far_ahead:020}").touch()
        tables = Tables(db)
        tables.load()
        ages = {"journal_for": timedelta(seconds=30), "raw_for": timedelta(seconds=20)}
        keeper = Retention(tables, Path(name), Limits(**ages, max_bytes=most))
        for load_ in some:
            written = count = 0
            while written < 2 * most and count < 60:
                before = tables.next_seq
                written += tables.write(load_.batch(before, now))
                keeper.bite(tables.next_seq - before)
                assert used(Path(name)) <= most
                now += load_.every
                count += 1


async def test_commits_that_each_make_a_checkpoint_due_leave_time_to_forget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, checkpoint = 8 << 20, SqliteStore._checkpoint

    def slowly(store: SqliteStore, tables: Tables) -> None:
        checkpoint(store, tables)
        time.sleep(0.02)  # the next commit waits by then

    monkeypatch.setattr(SqliteStore, "_checkpoint", slowly)
    async with SqliteStore.open(tmp_path, max_bytes=most) as store:
        for n in range(30):
            await store.commit(batch(step(n, at(n), event("a"), payload=os.urandom(3 << 20))))
        assert used(tmp_path) <= most + (9 << 20)


async def test_reasons_that_could_not_be_filed_are_filed_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they would stay when their incident goes."""
    unfiled = "SELECT id FROM ledger WHERE id NOT IN (SELECT id FROM ledger_of)"
    async with alive(tmp_path) as life:
        await life.submit(at(0), load(group_rule()))
        await settled(life)
        await life.submit(at(1), event("a"), event("b", service="bank"))
    assert len(query(tmp_path, unfiled)) == 2
    with closing(open_writer(tmp_path)) as db:
        tables = Tables(db)
        tables.load()
        keeper = Retention(tables, tmp_path, Limits())
        with monkeypatch.context() as patch:
            patch.setitem(QUERIES, "ledger_filed", "INSERT INTO nowhere VALUES (?)")
            with pytest.raises(sqlite3.Error):
                keeper.bite(1)
        assert len(query(tmp_path, unfiled)) == 2
        keeper.bite(1)

    assert query(tmp_path, unfiled) == []


def used(state: Path) -> int:
    """Bytes of the database that hold something."""
    ((size,),) = query(
        state,
        """SELECT (page_count - freelist_count) * page_size
        FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()""",
    )
    assert isinstance(size, int)
    return size


def test_a_bite_waits_for_no_sync_and_the_next_commit_does(tmp_path: Path) -> None:
    tables = Tables(open_writer(tmp_path))
    tables.load()
    keeper = Retention(tables, tmp_path, Limits(raw_for=timedelta()))
    said: list[str] = []

    def levels() -> list[int]:
        """At which each transaction ended (SQLite: 1 is NORMAL, 2 FULL); the last is now's."""
        levels, now = [], 2
        for one in said:
            now = {"PRAGMA synchronous = NORMAL": 1, "PRAGMA synchronous = 2": 2}.get(one, now)
            if one in ("COMMIT", "ROLLBACK"):
                levels.append(now)
        said.clear()
        return [*levels, *tables.db.execute("PRAGMA synchronous").fetchone()]

    with closing(tables.db):
        tables.write(batch(step(0, at(0), event("a"))))
        tables.db.set_trace_callback(said.append)
        tables.write(batch(step(1, at(DAY), event("a"))))
        assert levels() == [2, 2]
        assert keeper.bite(1)
        assert levels() == [1, 2]
        tables.db.execute("DROP TABLE delivery")
        said.clear()
        with pytest.raises(sqlite3.Error):
            keeper.bite(1)
        assert levels() == [1, 2]


async def test_what_is_too_much_does_not_wait_for_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with alive(tmp_path, max_bytes=8 << 20) as life:
        with monkeypatch.context() as patch:
            patch.setattr(SqliteStore, "_advance", lambda *_: None)  # it never ends
            await life.store.commit(Batch(snapshot=life.runtime.engine.snapshot()))
            async with asyncio.timeout(20):
                for n in range(40):
                    await life.submit(at(n), event("a"), payload=os.urandom(1 << 20))
                while used(tmp_path) > 8 << 20:
                    await asyncio.sleep(0.01)


async def test_what_is_forgotten_of_a_large_store_does_not_fill_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever lowers `max_size` lacks room already."""
    monkeypatch.setattr(sqlite, "SLOW_SYNC", 1e9)  # however busy this disk is
    async with alive(tmp_path) as life:
        for n in range(40):
            await life.submit(at(n), event("a"), payload=os.urandom(1 << 20))
        last = life.recovered.next_seq + 40
    for far_ahead in (last, last + 1):
        (tmp_path / f"snapshot-{far_ahead:020}").touch()
    async with SqliteStore.open(tmp_path, max_bytes=4 << 20) as store:
        await store.commit(batch(step(last, at(90), event("a"))))
        while await store._writer.run(lambda: store._tidying):
            pass
        assert used(tmp_path) <= 4 << 20
        assert (tmp_path / f"{DATABASE}-wal").stat().st_size < 8 << 20


async def test_short_lives_look_for_what_is_too_much(tmp_path: Path) -> None:
    for n in range(8):
        async with alive(tmp_path, max_bytes=2 << 20) as life:
            await life.submit(at(n), event("a"), payload=os.urandom(1 << 19))
            await settled(life)

    assert used(tmp_path) <= 2 << 20


@pytest.mark.parametrize(("most", "looks"), [(8 << 20, range(6, 12)), (8 << 30, range(1, 3))])
async def test_who_has_room_is_seldom_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, looks: range
) -> None:
    """The first look is after a mebibyte; each holds up a commit."""
    seen: list[int] = []
    bite = Retention.bite

    def looked(keeper: Retention, inputs: int) -> bool:
        seen.append(inputs)
        return bite(keeper, inputs)

    monkeypatch.setattr(Retention, "bite", looked)
    async with alive(tmp_path, max_bytes=most) as life:
        for n in range(28):
            await life.submit(at(n), event("a"), payload=os.urandom(1 << 18))
            await settled(life)

    assert len(seen) in looks
    assert sum(seen) <= 28


async def test_closed_incidents_go_with_their_reasons_open_ones_stay(tmp_path: Path) -> None:
    keep = timedelta(days=1)
    async with alive(tmp_path, journal_for=keep) as life:
        await life.submit(at(0), load(group_rule()), event("a"), event("b", service="bank"))
        await life.submit(at(1), silence('name="x"', at(900)), EndSilence("SIL-000001", "ann"))
        await life.submit(at(1), silence('name="x"', at(DAY)), event("x"), clear("x"))
        await life.submit(at(2), Close("INC-000001", "ann"))
    async with alive(tmp_path, journal_for=keep) as life:
        await life.submit(at(3), event("c", service="lab"))
    assert len(query(tmp_path, "SELECT * FROM incident")) == 3
    async with alive(tmp_path, journal_for=keep) as life:
        await life.submit(at(3 * DAY), event("d", service="lab"))
        await settled(life)

    assert query(tmp_path, "SELECT id FROM incident") == [("INC-000002",), ("INC-000003",)]
    for table in ("timeline", "ledger"):
        named = query(tmp_path, f"SELECT DISTINCT incident FROM {table} ORDER BY incident")
        assert named == [("INC-000002",), ("INC-000003",)]
    assert query(tmp_path, "SELECT id FROM silence") == [("SIL-000002",)]
    ((last,),) = query(tmp_path, "SELECT id FROM audit")  # ids go on after it
    assert isinstance(last, int)
    async with alive(tmp_path, journal_for=keep) as life:
        await life.submit(at(3 * DAY), silence('name="y"', at(9 * DAY)))
        await settled(life)
    assert query(tmp_path, "SELECT id FROM audit") == [(last + 1,)]  # the other was too old
    assert wrong(tmp_path) == []


async def test_a_closed_incident_that_retention_took_does_not_come_back(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await life.submit(at(0), load(group_rule()))
        await life.submit(at(1), event("a", severity=Severity.INFO))
        await life.submit(at(2), Close("INC-000001", "ann"))
        await life.submit(at(2), event("b", service="bank"))  # the last one is kept for its id
    for n in (3, 4):
        async with alive(tmp_path, journal_for=timedelta(seconds=10)) as life:
            await life.submit(at(n), Refused("zabbix", "decode", "bad"))
    async with alive(tmp_path, journal_for=timedelta(seconds=10)) as life:
        await life.submit(at(100), Refused("zabbix", "decode", "bad"))
        await settled(life)
    async with alive(tmp_path) as life:  # the engine still remembers it
        await life.submit(at(101), Refused("zabbix", "decode", "bad"), flush=True)
        await life.submit(at(102), GiveVerdict("INC-000001", False, "ann"))
        await life.submit(at(103), clear("a"), flush=True)

    assert query(tmp_path, "SELECT id FROM incident") == [("INC-000002",)]
    assert wrong(tmp_path) == []


async def test_verdicts_on_incidents_that_are_no_more_go_when_all_are_old(tmp_path: Path) -> None:
    keep = timedelta(days=1)
    said = "SELECT n FROM timeline WHERE incident = 'INC-000001'"
    calm = Refused("zabbix", "decode", "bad")
    async with alive(tmp_path, journal_for=keep) as life:
        await life.submit(at(0), load(group_rule()), event("a"), event("b", service="bank"))
        await life.submit(at(2), Close("INC-000001", "ann"))
    for n in (3, 3 * DAY):
        async with alive(tmp_path, journal_for=keep) as life:
            await life.submit(at(n), calm)
            await settled(life)
    async with alive(tmp_path, journal_for=keep) as life:
        await life.submit(at(3 * DAY), GiveVerdict("INC-000001", False, "ann"))
        await life.submit(at(4.5 * DAY), GiveVerdict("INC-000001", True, "ann"))
    assert query(tmp_path, "SELECT id FROM incident") == [("INC-000002",)]
    async with alive(tmp_path, journal_for=keep) as life:
        await life.submit(at(4.5 * DAY), calm)
    async with alive(tmp_path, journal_for=keep) as life:
        await life.submit(at(5 * DAY), calm)
        await settled(life)
        assert query(tmp_path, said) == [(1,), (2,)]  # the second is not old yet
        assert wrong(tmp_path) == []
        await life.submit(at(6 * DAY), Comment("INC-000002", "ann", "the last of the audit"))
        await settled(life)

    assert query(tmp_path, said) == []
    assert wrong(tmp_path) == []


async def one_incident(state: Path, remembered: int) -> None:
    """For all alerts that come, of which so many are remembered."""
    async with alive(state) as life:
        await life.submit(at(0), Started("1", Settings(max_alerts=remembered)))
        await life.submit(at(0), load(group_rule()))


async def stormy(state: Path, start: int, count: int, most: int) -> Life:
    """A life in which so many new alerts come; its store may have `most` bytes."""
    async with alive(state, max_bytes=most) as life:
        for n in range(start, start + count, 200):
            seen = [event(ci=f"host{n + one}") for one in range(200)]
            await life.submit(at(n / 100), *seen, flush=True)
        await settled(life)
    return life


async def test_of_an_incident_that_grows_without_end_the_reasons_of_alerts_in_memory_are_kept(
    tmp_path: Path,
) -> None:
    """A storm may be open for days, and no incident that is goes as a whole."""
    most, remembered = 1 << 20, 500
    await one_incident(tmp_path, remembered)
    life = await stormy(tmp_path, 0, 10_000, most)
    for start in range(10_000, 40_000, 10_000):  # a snapshot each
        life = await stormy(tmp_path, start, 10_000, most)
    (incident,) = life.runtime.engine.incidents()

    with closing(open_reader(tmp_path)) as db:
        rows = db.execute("SELECT body FROM ledger WHERE incident = ?", (incident.id,)).fetchall()
    facts = [fact for (body,) in rows for _, fact in decode_entries(body)]
    joined = {fact.fingerprint for fact in facts if isinstance(fact, AlertJoined)}
    known = {name for (name,) in query(tmp_path, "SELECT fingerprint FROM alert")}
    filed = query(tmp_path, "SELECT id FROM ledger_of WHERE incident = ? ORDER BY id", incident.id)
    there = query(tmp_path, "SELECT id FROM ledger WHERE incident = ? ORDER BY id", incident.id)
    assert incident.alerts == 40_000
    assert len(known) == remembered
    assert known <= joined
    assert len(joined) <= 20_000  # what came since the older snapshot, with its journal and all
    assert used(tmp_path) < 6 * most
    assert set(filed) <= set(there)
    assert wrong(tmp_path) == []


async def test_a_damaged_ledger_row_is_passed_over_where_reasons_are_forgotten(
    tmp_path: Path,
) -> None:
    await one_incident(tmp_path, 100)
    await stormy(tmp_path, 0, 3_000, 1 << 30)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db, db:
        (damaged,) = db.execute("SELECT id FROM ledger ORDER BY id LIMIT 1 OFFSET 1").fetchone()
        db.execute("UPDATE ledger SET body = x'ff' WHERE id = ?", (damaged,))
        (last,) = db.execute("SELECT MAX(id) FROM ledger").fetchone()
    for start in range(3_000, 9_000, 3_000):  # beyond the older of two snapshots
        await stormy(tmp_path, start, 3_000, 1 << 20)

    left = [row for (row,) in query(tmp_path, "SELECT id FROM ledger ORDER BY id")]
    assert left[0] == damaged
    assert left[1] > last
