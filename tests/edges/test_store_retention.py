"""What is old or too much goes, what recovery needs stays."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from tests.builders import at, clear, event, group_rule, load, silence
from tests.edges.store_desk import Life, alive, query, wrong

from eventd.core.model import Close, EndSilence, GiveVerdict, Refused, Severity
from eventd.store.journal import iter_journal
from eventd.store.snapshots import position_of, snapshot_paths

DAY = 86_400


async def settled(life: Life) -> None:
    """Return when the writer has nothing left to tidy."""
    store = life.store
    await life.runtime.submit(())
    # asked in its own thread: while it bites it says that it is through
    while await store._writer.run(lambda: store._tidying):
        pass


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

    ((used,),) = query(
        tmp_path,
        """SELECT (page_count - freelist_count) * page_size
        FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()""",
    )
    assert isinstance(used, int)
    assert most * 0.8 <= used <= most


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
    assert query(tmp_path, "SELECT seq FROM audit") == []
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
