"""Starting again: from snapshot and journal, from the tables, and past what cannot be stepped."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.acceptance.daemon import unmeasured
from tests.builders import at, clear, event, group_rule, load, silence, started
from tests.edges.store_desk import Life, alive, killed, query, saved, wrong

from eventd.core.engine import Engine
from eventd.core.model import (
    Close,
    CommandRejected,
    Comment,
    EndSilence,
    Event,
    Fact,
    Input,
    Refused,
    Resolve,
    Severity,
    Started,
    Status,
    Window,
)
from eventd.errors import Poisoned, Stopping, StoreBroken
from eventd.recording import line_of
from eventd.replay import recover
from eventd.store.database import DATABASE
from eventd.store.journal import iter_journal
from eventd.store.rows import encode
from eventd.store.snapshots import snapshot_paths
from eventd.store.sqlite import SqliteStore

WRITE = """
import asyncio, sys
from pathlib import Path
from tests.builders import at, event, group_rule, load
from tests.edges.store_desk import alive

async def write(state, first):
    async with alive(state) as life:
        start = life.recovered.next_seq
        await life.submit(at(start), load(group_rule()))
        async with asyncio.TaskGroup() as tasks:
            for sender in range(4):
                tasks.create_task(send(life, f"{start}-{sender}"))

async def send(life, sender):
    n = 0
    while True:
        n += 1
        names = [f"{sender}-{n}-{k}" for k in range(n % 5 + 1)]
        events = [event(f"e{n % 50}", id=name) for name in names]
        await life.submit(life.clock.at, *events, flush=n % 7 == 0)
        print(*names, sep="\\n", flush=True)

asyncio.run(write(Path(sys.argv[1]), 0))
"""


def tamper(state: Path, sql: str, *values: object) -> None:
    """Change a stopped store behind its back."""
    with closing(sqlite3.connect(state / DATABASE)) as db, db:
        db.execute(sql, values)


def without_snapshots(state: Path) -> None:
    for path in snapshot_paths(state):
        path.unlink()


async def busy(state: Path) -> None:
    """Three alerts in two incidents, a silence and a maintenance window that ended."""
    async with alive(state) as life:
        await life.submit(at(0), load(group_rule()))
        await life.submit(at(1), event("a"), event("b"), event("c", service="bank"))
        await life.submit(at(2), silence('name="x"', at(900)))
        await life.submit(at(3), EndSilence("SIL-000001", "ann"))
        await life.submit(at(4), Comment("INC-000001", "ann", "looking"))
        await life.submit(at(5), Resolve("INC-000002", "ann"))


def tables(state: Path) -> dict[str, list[tuple[object, ...]]]:
    names = ("incident", "timeline", "ledger", "alert", "silence", "maintenance", "audit")
    orders = ("id", "incident, n", "incident, seq", "fingerprint", "id", "id", "id")
    return {
        name: query(state, f"SELECT * FROM {name} ORDER BY {order}")
        for name, order in zip(names, orders, strict=True)
    }


@pytest.mark.parametrize("seed", range(4))
async def test_kill_9_in_the_middle_loses_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    acked: list[str] = []
    chance = random.Random(seed)
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE, tmp_path / "state"],
            env=unmeasured(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        acked += [writer.stdout.readline().strip() for _ in range(chance.randrange(50, 400))]
        writer.send_signal(signal.SIGKILL)
        acked += [line.strip() for line in writer.stdout if line.endswith("\n")]
        writer.stdout.close()
        writer.wait()
        assert wrong(tmp_path / "state", acked) == []

    async with alive(tmp_path / "state") as life:
        assert life.recovered.diverged == 0
        counted = sum(one.count for one in life.runtime.engine.alerts())
        journaled = {
            i.id
            for row in iter_journal(tmp_path / "state")
            for i in row.inputs
            if isinstance(i, Event)
        }
        assert counted == len(journaled)
    assert wrong(tmp_path / "state", acked) == []


async def test_alert_rows_that_lagged_are_brought_up_to_date(tmp_path: Path) -> None:
    async with alive(tmp_path / "state") as life:
        await life.submit(at(0), event("a"), flush=True)
        await life.submit(at(100), event("a"), event("b"))
        grave = killed(tmp_path / "state", tmp_path / "grave")
    assert query(grave, "SELECT COUNT(*) FROM alert") == [(1,)]

    async with alive(grave) as life:
        assert set(life.recovered.dirty) == {event("a").fingerprint, event("b").fingerprint}

    assert tables(grave)["alert"] == tables(tmp_path / "state")["alert"]


async def test_an_alert_forgotten_in_the_tail_has_no_row_afterwards(tmp_path: Path) -> None:
    async with alive(tmp_path / "state") as life:
        await life.submit(at(0), event("a"), clear("a"), flush=True)
        await life.submit(at(100_000), event("b"))
        grave = killed(tmp_path / "state", tmp_path / "grave")

    async with alive(grave) as life:
        assert life.recovered.dirty == (event("b").fingerprint,)
    assert query(grave, "SELECT name FROM alert") == [("b",)]
    assert wrong(grave) == []


async def test_a_digest_that_differs_is_counted_once_and_the_tables_stay(tmp_path: Path) -> None:
    await busy(tmp_path)
    before = tables(tmp_path)
    without_snapshots(tmp_path)
    tamper(tmp_path, "UPDATE journal SET digest = digest + 1 WHERE seq = 1")

    async with alive(tmp_path) as life:
        assert (life.recovered.start, life.recovered.diverged) == ("journal", 1)
    assert tables(tmp_path) == before
    assert wrong(tmp_path) == []

    without_snapshots(tmp_path)
    async with alive(tmp_path) as life:
        assert life.recovered.diverged == 0


async def test_the_tables_follow_a_replay_that_goes_another_way(tmp_path: Path) -> None:
    await busy(tmp_path)
    without_snapshots(tmp_path)
    # as if other code had loaded the rules: one incident for everything
    body = encode((load(group_rule("by-source", by=["source"]), version="v1"),))
    tamper(tmp_path, "UPDATE journal SET body = ? WHERE seq = 0", body)

    async with alive(tmp_path) as life:
        # the alerts join elsewhere, and there is no second incident to resolve
        assert life.recovered.diverged == 2

    kinds = query(tmp_path, "SELECT incident, n, kind FROM timeline")
    assert kinds == [("INC-000001", 1, "opened"), ("INC-000001", 2, "commented")]
    assert query(tmp_path, "SELECT id, rule FROM incident") == [("INC-000001", "by-source")]
    assert query(tmp_path, "SELECT DISTINCT incident FROM alert") == [("INC-000001",)]
    assert query(tmp_path, "SELECT id, ended_by FROM silence") == [("SIL-000001", "ann")]
    assert query(tmp_path, "SELECT seq FROM audit") == [(0,), (4,), (5,), (6,)]
    assert wrong(tmp_path) == []


async def test_only_what_follows_the_first_difference_is_written_anew(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await life.submit(at(0), load(group_rule()))
        # one batch: one ledger row for all three
        async with asyncio.TaskGroup() as tasks:
            for name in ("a", "b", "c"):
                tasks.create_task(life.submit(at(1), event(name)))
    assert len(query(tmp_path, "SELECT * FROM ledger")) == 1
    without_snapshots(tmp_path)
    tamper(tmp_path, "UPDATE journal SET digest = 0 WHERE seq = 3")

    async with alive(tmp_path) as life:
        assert life.recovered.diverged == 1
    assert query(tmp_path, "SELECT seq, last_seq FROM ledger") == [(1, 2), (3, 3)]
    assert wrong(tmp_path) == []


class Poisonous(Engine):
    """Raises on one word."""

    def step(self, item: Input, now: datetime) -> tuple[Fact, ...]:
        if "poison" in (getattr(item, one, "") for one in ("name", "text", "version")):
            raise ZeroDivisionError("the event was poisonous")
        return super().step(item, now)


async def test_an_input_that_raises_in_replay_is_quarantined_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = event("poison", service="pit")
    async with alive(tmp_path) as life:
        await life.submit(at(0), load(group_rule()))
        await life.submit(at(1), event("a"), poison, event("b"), event("poison", ci="x"))
    without_snapshots(tmp_path)
    monkeypatch.setattr("eventd.replay.Engine", Poisonous)

    async with alive(tmp_path) as life:
        assert (life.recovered.poisoned, life.recovered.diverged) == (2, 1)
        assert set(life.recovered.quarantine) == {poison.key, event("poison", ci="x").key}
        names = [one.name for one in life.runtime.engine.alerts()]
        assert names == ["a", "b"]
    assert query(tmp_path, "SELECT seq FROM quarantine ORDER BY seq") == [(2,), (4,)]
    assert "the event was poisonous" in str(query(tmp_path, "SELECT traceback FROM quarantine"))
    assert query(tmp_path, "SELECT id FROM incident") == [("INC-000001",)]
    assert wrong(tmp_path) == []
    *_, exported = iter_journal(tmp_path)
    assert [isinstance(one, Refused) for one in exported.inputs] == [False, True, False, True]
    (line,) = line_of(exported.now, exported.delivery, exported.inputs)
    assert b'"quarantined":[1,3]' in line

    async with alive(tmp_path) as life:
        assert life.recovered.poisoned == 0


async def test_an_input_that_raises_live_is_quarantined_and_what_came_before_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventd.replay.Engine", Poisonous)
    async with alive(tmp_path) as life:
        await life.submit(at(0), load(group_rule()))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(life.submit(at(1), event("a")))
            refused = tasks.create_task(_poisoned(life.submit(at(1), event("poison"))))
        assert refused.result()

    async with alive(tmp_path) as life:
        assert life.recovered.quarantine == (event("poison").key,)
        await life.submit(at(2), event("poison"))
    assert query(tmp_path, "SELECT name, incident FROM alert") == [("a", "INC-000001")]
    assert wrong(tmp_path) == []


class Starved(Engine):
    """Has no memory for one word."""

    def step(self, item: Input, now: datetime) -> tuple[Fact, ...]:
        if getattr(item, "name", "") == "last straw":
            raise MemoryError
        return super().step(item, now)


async def test_want_of_memory_ends_the_process_and_is_no_fault_of_an_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(*events: Event) -> list[str]:
        async with alive(tmp_path) as life:
            if events:
                await life.submit(at(1), *events)
            return [one.name for one in life.runtime.engine.alerts()]

    with monkeypatch.context() as starved:
        starved.setattr("eventd.replay.Engine", Starved)
        with pytest.raises(ExceptionGroup) as live:
            await start(event("a"), event("last straw"))
    await start(event("a"), event("last straw"))
    without_snapshots(tmp_path)
    with monkeypatch.context() as starved:
        starved.setattr("eventd.replay.Engine", Starved)
        with pytest.raises(MemoryError):
            await start()

    assert [type(one) for one in live.value.exceptions] == [MemoryError]
    assert await start() == ["a", "last straw"]
    assert query(tmp_path, "SELECT COUNT(*) FROM quarantine") == [(0,)]
    assert wrong(tmp_path) == []


@pytest.mark.parametrize(
    ("first", "again", "other"),
    [
        # a client that makes a new key for every try
        (
            Comment("INC-000001", "ann", "poison", b"a" * 16),
            Comment("INC-000001", "ann", "poison", b"b" * 16),
            Comment("INC-000001", "ann", "better"),
        ),
        (load(version="poison"), load(version="poison"), load(version="better")),
        (Started("poison"), Started("poison"), Started("better")),
    ],
)
async def test_what_is_no_event_crashes_the_daemon_once(
    first: Input, again: Input, other: Input, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventd.replay.Engine", Poisonous)

    async def sent(life: Life, item: Input) -> tuple[Fact, ...]:
        if not isinstance(item, Comment):
            return (await life.runtime.submit((item,))).facts
        return (await life.submit(at(2), item, payload=item.text.encode())).facts

    async with alive(tmp_path) as life:
        assert await _poisoned(sent(life, first))

    async with alive(tmp_path) as life:
        refused = await sent(life, again)
        taken = await sent(life, other)
    assert refused == (CommandRejected(life.clock.at, False, "it crashed the daemon before"),)
    assert refused != taken
    assert len(query(tmp_path, "SELECT key FROM quarantine")) == 1
    assert wrong(tmp_path) == []


async def test_events_that_a_restart_in_place_leaves_behind_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventd.replay.Engine", Poisonous)
    monkeypatch.setattr("eventd.runtime.MAX_BATCH_INPUTS", 6)
    close = Close("INC-000001", "ann")
    batches: list[tuple[Input, ...]] = [
        (event("a"),),
        (event("b"), event("poison"), event("c")),
        (close,),
        (event("d"), Refused("zabbix", "invalid", "no")),
        (event("e"),),  # waits for the next batch
    ]

    async with alive(tmp_path) as life, asyncio.TaskGroup() as tasks:
        sent = [tasks.create_task(_poisoned(life.submit(at(1), *one))) for one in batches]

    assert [one.result() for one in sent] == [False, True, True, True, True]
    assert life.listener.given_up == [("zabbix", 2), ("zabbix", 2), ("zabbix", 1)]
    assert (len(life.inbox), life.runtime.waiting) == (0, 0)
    with pytest.raises(Stopping):
        await life.submit(at(2), event("f"))


async def _poisoned(submission: Awaitable[object]) -> bool:
    try:
        await submission
    except Poisoned:
        return True
    return False


async def test_without_snapshots_and_the_oldest_rows_the_tables_must_do(tmp_path: Path) -> None:
    await busy(tmp_path)
    before = tables(tmp_path)
    without_snapshots(tmp_path)
    tamper(tmp_path, "DELETE FROM journal WHERE seq < 4")

    async with alive(tmp_path) as life:
        assert life.recovered.start == "tables"
        assert "does not reach back to its beginning" in life.recovered.rejected[-1]
        engine = life.runtime.engine
        assert [(one.id, one.alerts) for one in engine.incidents()] == [
            ("INC-000001", 2),
            ("INC-000002", 1),
        ]
        await life.submit(at(6), Started("1.0"))
        assert list(engine.silences()) == []
        await life.submit(at(7), load(group_rule()))
        # ids go on where they were
        await life.submit(at(8), event("d", service="lab"), silence('name="x"', at(900)))

    after = tables(tmp_path)
    assert [row[0] for row in after["incident"]] == ["INC-000001", "INC-000002", "INC-000003"]
    assert [row[0] for row in after["silence"]] == ["SIL-000001", "SIL-000002"]
    assert after["silence"][0] == before["silence"][0]
    # a snapshot was taken at once: the next start needs no tables
    async with alive(tmp_path) as life:
        assert life.recovered.start.startswith("snapshot-")


async def test_without_snapshots_what_the_journal_has_is_known_when_it_comes_again(
    tmp_path: Path,
) -> None:
    async with alive(tmp_path / "state") as life:
        for n in range(4):
            await life.submit(at(n), event("a", id=str(n)))
    without_snapshots(tmp_path / "state")
    tamper(tmp_path / "state", "DELETE FROM journal WHERE seq < 1")
    damaged = shutil.copytree(tmp_path / "state", tmp_path / "damaged")
    tamper(damaged, "UPDATE journal SET body = x'92ff' WHERE seq = 3")

    known: dict[str, list[int]] = {}
    told: list[str] = []
    for state in (tmp_path / "state", damaged):
        async with alive(state) as life:
            assert life.recovered.start == "tables"
            again = [await life.submit(at(5), event("a", id=str(n))) for n in range(4)]
            known[state.name] = [one.duplicates for one in again]
            told.append(life.recovered.rejected[-1])

    assert known == {"state": [0, 1, 1, 1], "damaged": [0, 1, 1, 0]}
    assert told[1].startswith("what came last may count again: the journal cannot be read: ")
    assert wrong(tmp_path / "state") == []


async def test_a_start_after_many_new_alerts_takes_a_snapshot_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventd.runtime.SNAPSHOT_FIRED", 10)
    state, grave = tmp_path / "state", tmp_path / "grave"
    async with alive(state) as life:
        await life.feed([(at(0), load(group_rule()))])
        await life.feed([(at(1), event(f"e{n}")) for n in range(5)])
        await life.feed([(at(2), event("e1")) for _ in range(20)])  # no new ones
        killed(state, grave)

    # five before, as the restart finds, and five after
    async with alive(grave) as life:
        assert (life.recovered.start, life.recovered.fired) == ("journal", 5)
        await life.feed([(at(3), event(f"f{n}")) for n in range(4)], flush=True)
        assert not snapshot_paths(grave)
        await life.feed([(at(4), event("f4")), (at(5), event("e1"))], flush=True)
        await saved(life)
        assert life.runtime.beyond_snapshot <= 1


async def test_few_events_of_many_bytes_take_a_snapshot_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal is kept back to the older one: it would outgrow what may be kept."""
    monkeypatch.setattr("eventd.store.sqlite.SNAPSHOT_LEAST", 1 << 20)
    async with alive(tmp_path, max_bytes=16 << 20) as life:
        for n in range(60):
            await life.submit(at(n), event("a"), payload=b"%d" % n * (1 << 18))
            await life.runtime.submit(())
        async with asyncio.timeout(10):  # one may be under way
            while life.runtime.beyond_snapshot > 10:
                await asyncio.sleep(0.001)
        assert 5 <= life.store.snapshots <= 20


async def test_a_start_that_stepped_long_need_not_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventd.runtime.LONG_START", 10)
    lives = [tmp_path / str(n) for n in range(3)]
    async with alive(lives[0]) as life:
        await life.feed([(at(n), event(f"e{n}")) for n in range(9)])
        killed(lives[0], lives[1])

    async with alive(lives[1]) as life:
        assert life.recovered.replayed == 9
        await life.feed([(at(9), event("e9"))], flush=True)
        assert life.runtime.beyond_snapshot == 10
        killed(lives[1], lives[2])

    async with alive(lives[2]) as life:
        assert life.recovered.replayed == 10
        await life.feed([(at(10), event("e10"))], flush=True)
        await saved(life)
        assert life.runtime.beyond_snapshot <= 1


async def test_maintenance_windows_come_back_from_the_tables(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        for name, begin, end in (("db", 10, 20), ("web", 30, 2_000)):
            window = Window(at(begin), at(end), (name,))
            change = event(f"patch {name}", status=Status.CHANGE, window=window)
            await life.submit(at(begin - 5), change)
        await life.submit(at(930), event("a", ci="web"))
    windows = "SELECT id, ended_at IS NULL FROM maintenance"
    assert query(tmp_path, windows) == [("MNT-000001", 0), ("MNT-000002", 1)]
    without_snapshots(tmp_path)
    tamper(tmp_path, "DELETE FROM journal WHERE seq = 0")

    async with alive(tmp_path) as life:
        assert life.recovered.start == "tables"
        info = event("c", ci="db", severity=Severity.INFO)
        await life.submit(at(940), event("b", ci="web"), info)
        suppressed = {one.name: one.suppressed_by for one in life.runtime.engine.alerts()}
        await life.submit(at(2_901), event("b", ci="web"))
    assert suppressed == {"a": "MNT-000002", "b": "MNT-000002", "c": ""}
    assert query(tmp_path, windows) == [("MNT-000001", 0), ("MNT-000002", 0)]

    without_snapshots(tmp_path)
    tamper(tmp_path, "DELETE FROM journal WHERE seq < 3")
    async with alive(tmp_path) as life:
        window = Window(at(2_910), at(2_920), ("lab",))
        change = event("patch lab", status=Status.CHANGE, window=window)
        await life.submit(at(2_905), change)
    assert query(tmp_path, windows)[2:] == [("MNT-000003", 1)]


async def test_thousands_of_alerts_are_written_anew(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await life.submit(at(0), *(event(f"e{n}") for n in range(2_500)))
    without_snapshots(tmp_path)
    tamper(tmp_path, "UPDATE journal SET digest = 0")
    tamper(tmp_path, "DELETE FROM alert WHERE name < 'e2'")

    async with alive(tmp_path) as life:
        assert life.recovered.diverged == 1
    assert query(tmp_path, "SELECT COUNT(*) FROM alert") == [(2_500,)]


async def test_ids_go_on_after_closed_incidents_too(tmp_path: Path) -> None:
    await busy(tmp_path)
    async with alive(tmp_path) as life:
        await life.submit(at(6), Close("INC-000002", "ann"))
    without_snapshots(tmp_path)
    tamper(tmp_path, "DELETE FROM journal WHERE seq < 4")

    async with alive(tmp_path) as life:
        await life.submit(at(7), load(group_rule()))
        await life.submit(at(8), event("d", service="lab"))
    assert query(tmp_path, "SELECT id, state FROM incident ORDER BY id") == [
        ("INC-000001", "open"),
        ("INC-000002", "closed"),
        ("INC-000003", "open"),
    ]


async def test_a_gap_behind_the_newest_snapshot_means_the_next_one(tmp_path: Path) -> None:
    await busy(tmp_path)
    async with alive(tmp_path) as life:
        await life.submit(at(6), event("d"))
        await life.submit(at(7), event("e"))
        older = killed(tmp_path, tmp_path / "killed")
    tamper(older, "DELETE FROM journal WHERE seq = 8")

    async with alive(older) as life:
        assert life.recovered.start == "journal"
        assert life.recovered.rejected == (
            f"snapshot-{8:020d}: ends at 8, the journal goes on at 9",
        )


async def test_a_start_comes_before_what_fell_due_while_nobody_was_there(tmp_path: Path) -> None:
    promised = event("disk", repeats_within=60)
    async with alive(tmp_path / "state") as life:
        await life.submit(at(0), promised)
        grave = killed(tmp_path / "state", tmp_path / "killed")

    async with alive(grave) as life:
        life.clock.at = at(1_000)
        await life.runtime.submit((started(start_grace=300.0),))
        assert life.runtime.engine.alert(promised.fingerprint).status is Status.FIRING

    assert wrong(grave) == []


LAST = "WHERE seq = (SELECT MAX(seq) FROM journal)"


@pytest.mark.parametrize(
    "sql",
    [f"UPDATE journal SET body = x'92ff' {LAST}", f"UPDATE journal SET now = {9 * 10**18} {LAST}"],
)
@pytest.mark.parametrize("rows", [1, 2])
async def test_a_damaged_row_ends_the_start_with_a_sentence(
    tmp_path: Path, rows: int, sql: str
) -> None:
    """Also while the tables follow what is before it; the snapshots are good."""
    await busy(tmp_path / "state")
    async with alive(tmp_path / "state") as life:
        for n in range(rows):
            await life.submit(at(6 + n), event(f"e{n}"))
        grave = killed(tmp_path / "state", tmp_path / "killed")
    tamper(grave, "UPDATE journal SET digest = 0 WHERE seq >= 8")
    tamper(grave, sql)
    snapshots = snapshot_paths(grave)
    assert snapshots

    with capture_logs() as logs, pytest.raises(StoreBroken, match=r"eventd\.db: cannot be read: "):
        async with alive(grave):
            pass

    assert logs == []
    assert snapshot_paths(grave) == snapshots


async def test_a_store_that_fails_a_read_of_recovery_says_so(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await life.submit(at(0), event("a"))
    async with SqliteStore.open(tmp_path) as store:
        with closing(sqlite3.connect(tmp_path / DATABASE)) as db:
            db.execute("DROP TABLE journal")
        with pytest.raises(StoreBroken, match="no such table: journal"), store.journal() as reader:
            recover(reader)
