"""The journal of a daemon, replayed from its own store: also beside it, and from some time on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.builders import T0, at, clear, event, group_rule, inventory, load, started
from tests.edges.store_desk import Life, alive

from eventd import history
from eventd.backtest import Backtest
from eventd.cli import main
from eventd.comparison import Comparison, Sides
from eventd.core.model import (
    Acknowledge,
    Ci,
    Close,
    Detach,
    Event,
    Incident,
    Input,
    LoadRules,
    Merge,
    Started,
)
from eventd.errors import StoreBroken

CI = group_rule("by-ci", by=["ci"])
SERVICE = group_rule("by-service")
BEGUN: tuple[Input, ...] = (started(resolve_after=30), load(CI), inventory(Ci("a", aliases=("b",))))


async def say(life: Life, seconds: float, item: Input) -> None:
    """What comes through no door is journaled so."""
    life.clock.at = at(seconds)
    if isinstance(item, Event):
        await life.submit(at(seconds), item)
    else:
        await life.runtime.submit((item,))


async def lived(life: Life) -> None:
    """A start, loads, an incident acknowledged and over, other rules, another incident."""
    for item in BEGUN:
        await say(life, 0, item)
    await say(life, 10, event("disk", ci="b"))
    await say(life, 20, Acknowledge("INC-000001", "ann"))
    await say(life, 30, clear("disk", ci="b"))
    await say(life, 200, load(SERVICE, version="v2"))
    await say(life, 3_600, event("cpu", ci="c"))
    await life.runtime.submit(())


def replayed(state: Path, since: timedelta | None = None) -> list[Incident]:
    run = Backtest(lambda _: (), LoadRules("", ()), forced=False)
    for _ in run.play(history.lines(state, since)):
        pass
    return list(run.incidents())


async def test_a_journal_replays_to_the_incidents_there_are_beside_the_daemon(
    tmp_path: Path,
) -> None:
    async with alive(tmp_path) as life:
        await lived(life)

        told = replayed(tmp_path)

        now = list(life.runtime.engine.incidents())
    assert [one.acknowledged_by for one in told] == ["ann", ""]
    assert told[1:] == now[-1:]
    assert replayed(tmp_path) == told


async def test_a_part_of_it_begins_with_what_was_in_force_then(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await lived(life)

    last = list(history.lines(tmp_path, timedelta(minutes=1)))
    early = list(history.lines(tmp_path, timedelta(seconds=3_595)))

    assert [type(one.own).__name__ for one in last] == [
        "Started",
        "LoadRules",
        "LoadInventory",
        "Tick",
        "Event",
    ]
    assert [one.own for one in early[:3]] == [*BEGUN]
    assert last[1].own == load(SERVICE, version="v2")
    assert {one.at for one in last} == {at(3_600)}
    assert [one.rule for one in replayed(tmp_path, timedelta(minutes=1))] == ["by-service"]


async def test_what_retention_has_taken_is_in_the_snapshot(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await lived(life)
    with closing(sqlite3.connect(tmp_path / "eventd.db", isolation_level=None)) as db:
        db.execute("DELETE FROM journal WHERE seq < 7")

    first, rules, known, *_ = history.lines(tmp_path, timedelta(days=1))

    assert isinstance(first.own, Started)
    assert first.own.settings.resolve_after == 30
    assert rules.own == load(SERVICE, version="v2")
    assert known.own == BEGUN[2]


async def test_an_empty_journal_has_nothing_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    async with alive(tmp_path / "state"):
        pass

    nothing = CliRunner().invoke(main, ["replay", "--journal", str(tmp_path / "state")])
    missing = CliRunner().invoke(main, ["replay", "--journal", str(tmp_path)])

    assert nothing.output.startswith("0 events\n")
    assert missing.exit_code == 2
    assert "there is none; name the state directory of a daemon" in missing.output


async def test_a_position_is_found_by_its_time(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await lived(life)
    shares: list[float] = []

    whole = list(history.lines(tmp_path, None, shares.append))
    period = history.period(tmp_path)

    assert shares == [0.0]
    assert period == (T0, at(3_600))
    for line in whole:
        since = at(3_600) - line.at
        own = [one for one in history.lines(tmp_path, since) if one.own not in BEGUN]
        assert own[0].at == line.at or since == timedelta(hours=1)


async def test_the_command_tries_rules_on_a_journal(tmp_path: Path) -> None:
    async with alive(tmp_path / "state") as life:
        await lived(life)
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{name: all, by: [source], within: 1m, group: {match: ''}}]\n")
    command = ["replay", "--journal", str(tmp_path / "state")]

    done = CliRunner().invoke(main, [*command, "--against", str(rules)])
    late = CliRunner().invoke(
        main, [*command, "--since", "10m", "--warm-up", "1h", "--against", str(rules)]
    )

    assert "2 incidents before, 2 after; 0 alike" in done.output
    assert "dropped" not in done.output
    assert "1 incident before, 1 after; 0 alike" in late.output


async def test_commands_take_a_time_or_how_long_ago_and_one_name_of_a_state(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await lived(life)
    said: dict[str, list[str]] = {"replay": [], "export": []}

    for since in ("10m", "2026-03-02T09:50Z", "2026-03-02T10:50:00+01:00", "2026-03-02 09:50"):
        for command, outputs in said.items():
            words = [command, "--state", str(tmp_path), "--since", since]
            outputs.append(CliRunner().invoke(main, words).stdout)
    verified = CliRunner().invoke(main, ["check", "--state", str(tmp_path)])
    traced = CliRunner().invoke(main, ["why", "c", "--state", str(tmp_path)])
    wrong = CliRunner().invoke(main, ["export", "--state", str(tmp_path), "--until", "yesterday"])

    assert said["replay"][0].startswith("1 event, 2026-03-02 10:00:00 to ")
    assert 0 < said["export"][0].count("\n") < len(list(history.lines(tmp_path, None)))
    assert all(len(set(outputs)) == 1 for outputs in said.values())
    assert verified.output.startswith("good  I1 ")
    assert (traced.exit_code, wrong.exit_code) == (0, 2)
    assert "expected a time such as 2026-03-01T09:00Z, or a duration" in wrong.output


async def lived_on(state: Path) -> None:
    """Two lives, and so a snapshot between them: what fires in the second is open since the first.

    In it a detached alert, a closed incident, and one that is merged into another.
    """
    async with alive(state) as life:
        for item in BEGUN[:2]:
            await say(life, 0, item)
        for n in range(4):
            await say(life, n, event("disk", ci=f"c{n}"))
        await say(life, 5, clear("disk", ci="c3"))
        await say(life, 50, Close("INC-000003", "ann"))
    async with alive(state) as life:
        await say(life, 3_600, event("disk", ci="c4"))
        await say(life, 3_601, Merge("INC-000001", "INC-000002", "ann"))
        await say(life, 3_602, Detach("INC-000002", event("disk", ci="c1").fingerprint, "ann"))
        await say(life, 3_603, event("disk", ci="c5"))
        await life.runtime.submit(())


def compared(state: Path, against: LoadRules, since: float) -> Comparison:
    span = timedelta(seconds=since)
    saved = history.saved(state, span)
    assert saved is not None
    sides = Sides(lambda _: (), load(CI), against, None, forced=False)
    sides.begin_with(saved.frames, saved.now)
    return sides.play(history.lines(state, saved), since=history.moment(state, span))


async def test_both_sides_begin_with_what_was_known_then(tmp_path: Path) -> None:
    await lived_on(tmp_path)

    same = compared(tmp_path, load(CI), 10)
    other = compared(tmp_path, load(SERVICE, version="v2"), 10)

    assert (same.differences, same.known, same.since) == ((), at(50), at(3_593))
    assert same.dropped == other.dropped == ()
    assert same.before.incidents == same.after.incidents == 2
    kinds = [(one.kind, len(one.before), len(one.after)) for one in other.differences]
    assert kinds == [("merged", 2, 1)]
    assert [one.opened_at for one in other.differences[0].after] == [at(3_600)]


async def test_a_snapshot_that_is_too_late_or_no_good_is_none_to_begin_with(tmp_path: Path) -> None:
    await lived_on(tmp_path)
    late = history.saved(tmp_path, timedelta(hours=2))
    for snapshot in tmp_path.glob("snapshot-*"):
        snapshot.write_bytes(b"?")

    assert late is None
    assert history.saved(tmp_path, timedelta(seconds=10)) is None


async def test_a_snapshot_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    await lived_on(tmp_path)
    for snapshot in tmp_path.glob("snapshot-*"):
        snapshot.unlink()
        snapshot.mkdir()
    with closing(sqlite3.connect(tmp_path / "eventd.db")) as db, db:
        db.execute("DELETE FROM journal WHERE seq < 5")

    with pytest.raises(StoreBroken, match=r"snapshot-\d+: cannot be read: Is a directory"):
        history.saved(tmp_path, timedelta(seconds=10))
    with pytest.raises(StoreBroken, match=r"snapshot-\d+: cannot be read: Is a directory"):
        list(history.lines(tmp_path, timedelta(seconds=10)))


async def test_the_command_says_what_both_sides_begin_with(tmp_path: Path) -> None:
    await lived_on(tmp_path / "state")
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{name: all, by: [source], within: 1m, group: {match: ''}}]\n")
    command = ["replay", "--journal", str(tmp_path / "state"), "--against", str(rules), "--since"]

    near = CliRunner().invoke(main, [*command, "10s"])
    far = CliRunner().invoke(main, [*command, "1h", "--warm-up", "1h"])

    assert (
        "Both begin with what a daemon knew at 2026-03-02 09:00:50; "
        "what opened before 2026-03-02 09:59:53 is left out"
    ) in near.output
    assert (
        "Both begin with nothing known; what opened before 2026-03-02 09:00:03 is left out"
    ) in far.output
