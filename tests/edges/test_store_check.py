"""`eventd check --store` finds what is broken, and names it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct, structs
from tests.builders import (
    at,
    clear,
    event,
    group_rule,
    inventory,
    load,
    maintenance,
    silence,
)
from tests.edges.store_desk import alive, killed, query, wrong

from eventd import history
from eventd.core.dedup import DeliveryKeys
from eventd.core.model import (
    Ci,
    Close,
    Comment,
    Fact,
    Refused,
    Resolve,
    Settings,
    Severity,
    Started,
)
from eventd.core.snapshot import Frame, Snapshot
from eventd.errors import Poisoned, StoreError
from eventd.replay import replayed
from eventd.store.database import DATABASE, PAGE_SIZE
from eventd.store.journal import JournalReader, Row, Saved, iter_journal
from eventd.store.rows import decode_alert, decode_incident, encode
from eventd.store.snapshots import SnapshotFile, read_snapshot, snapshot_paths
from eventd.store.verdicts import verdicts


async def lived(state: Path) -> Path:
    """A start after a clean stop, killed with rows in the tail."""
    async with alive(state / "alive") as life:
        await life.submit(at(0), load(group_rule()))
        await life.submit(at(1), event("a", id="1"), event("b", id="2"))
    async with alive(state / "alive") as life:
        await life.submit(at(2), event("c", id="3", service="bank"))
        await life.submit(at(3), Comment("INC-000001", "ann", "looking"))
        await life.submit(at(4), Resolve("INC-000002", "ann"))
        await life.submit(at(5), event("a", id="1"))
        return killed(state / "alive", state / "killed")


class Cut(Snapshot, frozen=True):
    """Frames as they are given."""

    parts: list[bytes]

    def frames(self) -> Iterator[bytes]:
        return iter(self.parts)


def tamper(state: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(state / DATABASE)) as db, db:
        db.execute(sql, values)


def change(
    state: Path, table: str, where: str, decode: Callable[[bytes], Struct], **fields: object
) -> None:
    """Change a field of the value in the row that `where` names."""
    ((body,),) = query(state, f"SELECT body FROM {table} WHERE {where}")
    assert isinstance(body, bytes)
    value = structs.replace(decode(body), **fields)
    tamper(state, f"UPDATE {table} SET body = ? WHERE {where}", encode(value))


async def test_a_good_store_has_every_promise_kept_and_figures_beside(tmp_path: Path) -> None:
    state = await lived(tmp_path)

    found = verdicts(state, replayed, ["1", "2", "3"])

    assert all(one.ok for one in found)
    assert [one.invariant for one in found] == [
        "I1", "I2", "I13", "I3", "I2", "I3", "I3", "I3", "I3", "I3", "I17", "I3", "I6", "I7", "I7",
        "I15",
    ]  # fmt: skip
    assert found[0].detail == "6 rows, 7 inputs, 3 ids asked for"
    assert found[3].detail == "6 rows from the beginning"


async def test_the_older_snapshot_is_where_the_replay_starts(tmp_path: Path) -> None:
    await lived(tmp_path)
    state = tmp_path / "alive"

    assert verdicts(state, replayed)[3].detail == "4 rows from snapshot-00000000000000000003"
    assert wrong(state) == []


@pytest.mark.parametrize(
    ("sql", "invariant", "detail"),
    [
        ("DELETE FROM journal WHERE seq = 3", "I2", "4 follows where 3 was due"),
        ("UPDATE journal SET inputs = 3 WHERE seq = 1", "I2", "row 1 says 3 inputs and holds 2"),
        ("UPDATE journal SET now = 1 WHERE seq = 4", "I13", "row 4"),
        ("UPDATE journal SET digest = 1 WHERE seq = 4", "I3", "row 4 was decided otherwise"),
        ("DELETE FROM incident WHERE id = 'INC-000002'", "I3", "INC-000002: is missing"),
        ("DELETE FROM timeline WHERE kind = 'commented'", "I3", "INC-000001"),
        ("DELETE FROM audit WHERE id = 1", "I17", "row 0"),
        ("INSERT INTO audit SELECT 99, seq, at, body FROM audit WHERE id = 1", "I17", "row 0"),
        ("UPDATE timeline SET actor = 'bob' WHERE kind = 'commented'", "I3", "INC-000001"),
        ("DELETE FROM timeline WHERE kind = 'opened'", "I7", "2 stands where 1 was due"),
        ("UPDATE timeline SET kind = 'reopened' WHERE n = 2", "I7", "reopened while open"),
        ("DELETE FROM ledger WHERE incident = 'INC-000002'", "I3", "INC-000002"),
        ("INSERT INTO ledger_of VALUES ('INC-000001', 98)", "I3", "INC-000001: is misfiled"),
        ("UPDATE incident SET state = 'closed' WHERE id = 'INC-000001'", "I3", "INC-000001: a c"),
        ("UPDATE incident SET priority = 1", "I3", "INC-000001: a column differs; INC-000002: a"),
        ("UPDATE alert SET incident = 'INC-000009'", "I3", "a column differs"),
        ("UPDATE alert SET severity = 0 WHERE name = 'a'", "I3",
         f"{event('a').fingerprint}: a column differs"),
        ("INSERT INTO ledger SELECT 99, incident, seq, last_seq, at, body FROM ledger LIMIT 1",
         "I3", "INC-000001"),
    ],
)  # fmt: skip
async def test_a_table_that_was_changed_is_named(
    tmp_path: Path, sql: str, invariant: str, detail: str
) -> None:
    state = await lived(tmp_path)
    tamper(state, sql)

    broken = wrong(state)

    assert any(one.invariant == invariant and detail in one.detail for one in broken), broken


async def covered(state: Path) -> None:
    """What suppresses: some are over, the last silence too, one goes by another name by now."""
    async with alive(state) as life:
        await life.submit(at(0), silence('name="x"', at(9_000)), silence('name="y"', at(10)))
        await life.submit(at(0), maintenance("A", ends=9_000, cis=["web"]))
        await life.submit(at(0), maintenance("B", starts=8_000, ends=9_000, services=["shop"]))
        await life.submit(at(0), maintenance("C", ends=10, cis=["db"]))
        await life.submit(at(1), inventory(Ci("web1", aliases=("web",))))
        await life.submit(at(2_000), event("z", severity=Severity.INFO))


@pytest.mark.parametrize(
    ("sql", "detail"),
    [
        ("DELETE FROM silence", "SIL-000001: is missing"),
        ("UPDATE silence SET ended_at = 1 WHERE id = 'SIL-000001'", "SIL-000001: is missing"),
        ("UPDATE silence SET ended_at = NULL", "SIL-000002: the replay does not know it"),
        ("UPDATE silence SET ends_at = 1", "SIL-000001: differs"),
        ("DELETE FROM maintenance WHERE id = 'MNT-000002'", "MNT-000002: is missing"),
        ("UPDATE maintenance SET body = (SELECT body FROM maintenance LIMIT 1)",
         "MNT-000002: differs"),
    ],
)  # fmt: skip
async def test_what_suppresses_is_compared_with_the_replay(
    tmp_path: Path, sql: str, detail: str
) -> None:
    await covered(tmp_path)
    assert wrong(tmp_path) == []
    tamper(tmp_path, sql)

    (broken,) = wrong(tmp_path)

    assert broken.says == "silences and maintenance in force are what the replay says"
    assert broken.detail == detail


async def test_after_a_rebuild_what_suppresses_is_as_good(tmp_path: Path) -> None:
    await covered(tmp_path)
    for path in snapshot_paths(tmp_path):
        path.unlink()
    tamper(tmp_path, "DELETE FROM journal WHERE seq < 4")
    async with alive(tmp_path) as life:
        assert life.recovered.start == "tables"
        await life.submit(at(1_500), event("z", severity=Severity.INFO))

    assert wrong(tmp_path) == []


async def test_an_acknowledged_event_that_is_missing_is_named(tmp_path: Path) -> None:
    state = await lived(tmp_path)

    (broken,) = wrong(state, ["1", "2", "gone"])

    assert (broken.invariant, broken.detail) == ("I1", "gone")


async def test_incidents_are_compared_as_a_whole(tmp_path: Path) -> None:
    state = await lived(tmp_path)
    change(state, "incident", "id = 'INC-000001'", decode_incident, firing=7)

    assert [(one.says, one.detail) for one in wrong(state)] == [
        ("incidents are what the replay says", "INC-000001: differs"),
    ]


async def test_an_alert_row_may_lag_but_not_lead(tmp_path: Path) -> None:
    state = await lived(tmp_path)
    async with alive(state):
        pass
    assert query(state, "SELECT COUNT(*) FROM alert") == [(3,)]
    change(state, "alert", "name = 'a'", decode_alert, count=0)
    assert wrong(state) == []

    change(state, "alert", "name = 'a'", decode_alert, count=2)

    (broken,) = wrong(state)
    assert broken.detail == f"{event('a').fingerprint}: is ahead of the replay"


async def test_two_open_incidents_of_one_group_are_named(tmp_path: Path) -> None:
    state = await lived(tmp_path)
    ((body,),) = query(state, "SELECT body FROM incident WHERE id = 'INC-000001'")
    assert isinstance(body, bytes)
    twin = structs.replace(decode_incident(body), id="INC-000009")
    tamper(
        state,
        "INSERT INTO incident SELECT 'INC-000009', state, priority, service, rule, opened_at,"
        " updated_at, closed_at, ? FROM incident WHERE id = 'INC-000001'",
        encode(twin),
    )

    broken = {one.invariant: one.detail for one in wrong(state)}

    assert broken["I6"] == "INC-000001 and INC-000009"


async def test_a_key_that_counts_twice_is_named(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await life.submit(at(0), event("a", id="1"), event("b", id="2"), clear("b", id="9"))
    # as if the key had not been known: the snapshot forgets it, the redelivery is applied
    async with alive(tmp_path) as life:
        life.runtime.engine.table.keys = DeliveryKeys()
        await life.submit(at(1), event("a", id="1", severity=Severity.CRITICAL))

    broken = wrong(tmp_path)

    # the replay decides otherwise, and that is said; what it says itself is not compared then
    assert [one.detail for one in broken] == [
        "row 3 was decided otherwise; the state at snapshot-00000000000000000004 is another one"
    ]


async def test_damaged_snapshots_are_named(tmp_path: Path) -> None:
    await lived(tmp_path)
    state = tmp_path / "alive"
    for path in snapshot_paths(state):
        path.write_bytes(b"")

    details = [one.detail for one in wrong(state)]

    assert details == [
        "snapshot-00000000000000000007 is no snapshot; snapshot-00000000000000000003 is no snapshot"
    ]
    tamper(state, "DELETE FROM journal WHERE seq < 2")
    assert "does not reach back to its beginning" in wrong(state)[0].detail


async def test_what_a_daemon_replaces_while_it_is_looked_at_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, oldest, newest = tmp_path / "state", tmp_path / "oldest", tmp_path / "newest"
    for n in range(3):
        if n == 2:
            shutil.copy(snapshot_paths(state)[-1], oldest)
        async with alive(state) as life:
            await life.submit(at(n), event(f"e{n}"))
    path = snapshot_paths(state)[0]
    gone = path.with_name(f"snapshot-{1:020d}")
    path.rename(newest)
    oldest.rename(gone)
    loaded: list[str] = []
    load = JournalReader.load

    def beside(reader: JournalReader, name: str) -> Saved:
        loaded.append(name[-1])
        found = load(reader, name)
        if newest.exists():
            newest.rename(path)
            gone.unlink()
        return found

    monkeypatch.setattr(JournalReader, "load", beside)

    assert wrong(state) == []
    assert loaded == ["2", "1", "3", "2"]


async def test_a_store_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is none; name the state directory"):
        verdicts(tmp_path, replayed)


async def test_a_snapshot_that_cannot_be_restored_is_named(tmp_path: Path) -> None:
    state = await lived(tmp_path)
    path = snapshot_paths(state)[0]
    file = SnapshotFile(state, Snapshot({"meta": ["no meta"]}), 1, None)
    while file.advance():
        pass
    tamper(state, "DELETE FROM journal WHERE seq < 1")

    assert any("cannot be restored" in one.detail for one in wrong(state))
    assert path.exists()


@pytest.mark.parametrize(
    ("rows", "broken"),
    [
        ([], []),  # each value in a frame of its own, as another version may have cut them
        ([b"\x92\xa5alien\x91\x01"], ["the state at snapshot-00000000000000000003 is another one"]),
        ([b"no frame"], ["the state at snapshot-00000000000000000003 is another one"]),
    ],
)
async def test_states_are_compared_whatever_their_frames_are(
    tmp_path: Path, rows: list[bytes], broken: list[str]
) -> None:
    state = await lived(tmp_path)
    path = snapshot_paths(state)[0]
    header, frames = read_snapshot(path)
    alone = [
        msgspec.msgpack.encode((frame.section, [item]))
        for frame in map(msgspec.msgpack.Decoder(Frame).decode, frames)
        for item in frame.items
    ]
    assert len(alone) > len(frames)

    rewritten = SnapshotFile(state, Cut({}, [*alone, *rows]), header.next_seq, header.now)
    while rewritten.advance():
        pass

    assert [one.detail for one in wrong(state)] == broken


async def test_a_snapshot_the_journal_never_reaches_is_named(tmp_path: Path) -> None:
    state = await lived(tmp_path)
    path = snapshot_paths(state)[0]
    path.rename(path.with_name(f"snapshot-{2:020d}"))
    file = SnapshotFile(state, Snapshot({}), 2, None)
    while file.advance():
        pass

    (broken,) = wrong(state)

    assert broken.detail == f"the journal never reaches snapshot-{2:020d}"


async def test_an_input_that_raises_is_named(tmp_path: Path) -> None:
    state = await lived(tmp_path)

    def raising(*_: object) -> Iterator[tuple[Row, list[tuple[Fact, ...]]]]:
        raise Poisoned("Traceback\nZeroDivisionError: no")
        yield

    broken = [one for one in verdicts(state, raising) if not one.ok]

    assert broken[0].detail.startswith("an input raises: ZeroDivisionError: no")


async def test_an_incident_only_the_tables_know_is_named(tmp_path: Path) -> None:
    state = await lived(tmp_path)
    ((body,),) = query(state, "SELECT body FROM incident WHERE id = 'INC-000001'")
    assert isinstance(body, bytes)
    ghost = structs.replace(decode_incident(body), id="INC-000009", service="ghost")
    tamper(
        state,
        "INSERT INTO incident SELECT 'INC-000009', state, priority, service, rule, opened_at,"
        " updated_at, closed_at, ? FROM incident WHERE id = 'INC-000001'",
        encode(ghost),
    )

    assert "INC-000009: the replay does not know it" in [one.detail for one in wrong(state)]


async def test_a_forgotten_key_may_count_again(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await life.submit(at(0), Started("1.0", Settings(max_keys=2)))
        await life.submit(at(1), *(event("a", id=str(n)) for n in range(4)))
    for n in range(2):
        async with alive(tmp_path) as life:
            await life.submit(at(2 + n), event("a", id="0"), event("a", id="1"))

    assert wrong(tmp_path) == []


async def test_an_incident_that_was_dropped_unseen_has_a_row_before_the_snapshot(
    tmp_path: Path,
) -> None:
    async with alive(tmp_path) as life:
        await life.submit(at(0), load(group_rule()))
        await life.submit(at(1), event("a"))
        await life.submit(at(2), Close("INC-000001", "ann"))
    async with alive(tmp_path) as life:
        await life.submit(at(3), Refused("zabbix", "decode", "bad"))
        life.clock.at = at(700)
        await life.runtime.submit(())  # the tick that drops it has no facts

    assert [path.name[-2:] for path in snapshot_paths(tmp_path)] == ["05", "03"]
    assert wrong(tmp_path) == []


async def test_what_a_crash_left_beside_the_two_newest_snapshots_is_no_place_to_start(
    tmp_path: Path,
) -> None:
    """Nor is what a backup has that was copied before retention went on."""
    days = [at(n * 86_400) for n in range(9)]
    for n in (0, 3):
        async with alive(tmp_path) as life:
            for now in days[n : n + 3]:
                await life.submit(now, event(f"{now}", severity=Severity.INFO))
    oldest = snapshot_paths(tmp_path)[-1]
    data = oldest.read_bytes()
    async with alive(tmp_path) as life:
        for now in days[6:]:
            await life.submit(now, event(f"{now}", severity=Severity.INFO))
    oldest.write_bytes(data)
    assert wrong(tmp_path) == []

    async with alive(tmp_path, journal_for=timedelta(days=1)) as life:
        await life.submit(at(20 * 86_400), event("late", severity=Severity.INFO))
        while query(tmp_path, "SELECT MIN(seq) FROM journal") == [(0,)]:
            await life.runtime.submit(())
        grave = killed(tmp_path, tmp_path / "killed")

    assert oldest.name in {path.name for path in snapshot_paths(grave)}
    assert wrong(grave) == []


async def test_a_key_that_the_cap_pushed_out_before_the_snapshots_may_count_again(
    tmp_path: Path,
) -> None:
    async with alive(tmp_path) as life:
        await life.submit(at(0), Started("1.0", Settings(max_keys=1_000)))
        await life.submit(at(1), *(event("a", id=str(n)) for n in range(2_005)))
    async with alive(tmp_path) as life:
        await life.submit(at(2), event("b", id="other"))
    async with alive(tmp_path) as life:
        again = await life.submit(at(3), event("a", id="0"))

    assert again.duplicates == 0
    assert wrong(tmp_path) == []


@pytest.mark.parametrize(
    "sql",
    [
        *(f"UPDATE {table} SET body = x'00'" for table in ("alert", "incident", "ledger")),
        "UPDATE journal SET now = 9000000000000000000 WHERE seq = 6",
    ],
)
async def test_a_body_that_is_none_is_told_in_a_sentence(tmp_path: Path, sql: str) -> None:
    state = await lived(tmp_path)
    tamper(state, sql)

    with pytest.raises(StoreError, match=r"eventd\.db: cannot be read: "):
        verdicts(state, replayed)


def damage(state: Path, table: str) -> None:
    """Fill its first page with noise."""
    with closing(sqlite3.connect(state / DATABASE)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        sql = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        ((root,),) = db.execute(sql, (table,)).fetchall()
    with (state / DATABASE).open("r+b") as file:
        file.seek((root - 1) * PAGE_SIZE)
        file.write(b"\xa5" * PAGE_SIZE)


async def test_a_page_that_no_replay_reads_is_found_damaged(tmp_path: Path) -> None:
    state = await lived(tmp_path)
    damage(state, "delivery")

    (broken,) = wrong(state)

    assert (broken.invariant, broken.says) == ("I15", "the database is whole")
    assert "btreeInitPage() returns error code 11" in broken.detail


@pytest.mark.parametrize(
    ("sql", "row"),
    [
        ("UPDATE timeline SET body = x'00' WHERE n = 1", "timeline INC-000001 1"),
        ("UPDATE ledger SET body = x'00' WHERE id = 1", "ledger 1"),
        ("UPDATE delivery SET meta = x'00' WHERE seq = 1", "delivery 1"),
        ("UPDATE audit SET body = x'00' WHERE id = 1", "audit 1"),
    ],
)
async def test_a_body_that_no_replay_reads_is_found_unreadable(
    tmp_path: Path, sql: str, row: str
) -> None:
    async with alive(tmp_path) as life:
        await life.submit(at(0), load(group_rule()))
        await life.submit(at(1), event("a"))
    for second in (2, 3):  # nothing of before is stepped again
        async with alive(tmp_path) as life:
            await life.submit(at(second), event("a", id=str(second)))
    assert wrong(tmp_path) == []
    tamper(tmp_path, sql)

    (broken,) = wrong(tmp_path)

    assert (broken.invariant, broken.says) == ("I15", "the database is whole")
    assert broken.detail.startswith(f"{row} cannot be read: ")


async def test_a_ledger_that_lost_how_far_it_is_filed_is_named(tmp_path: Path) -> None:
    state = await lived(tmp_path)
    tamper(state, "DELETE FROM ledger_filed")

    assert [one.detail for one in wrong(state)] == ["ledger_filed has 0 rows where 1 is due"]


async def test_a_page_that_is_noise_is_told_in_a_sentence(tmp_path: Path) -> None:
    state = await lived(tmp_path)
    damage(state, "journal")

    for read in (
        lambda: verdicts(state, replayed),
        lambda: list(iter_journal(state)),
        lambda: history.period(state),
        lambda: list(history.lines(state, None)),
    ):
        with pytest.raises(StoreError, match=r"eventd\.db: cannot be read: .*malformed"):
            read()
