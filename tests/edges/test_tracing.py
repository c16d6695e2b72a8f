"""`eventd why --journal`: a journal stepped again, from a snapshot and to its present end."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
from click.testing import CliRunner, Result
from tests.builders import (
    at,
    calendar_rule,
    event,
    group_rule,
    inhibit_rule,
    load,
    started,
    threshold_rule,
)
from tests.edges.store_desk import alive
from tests.edges.test_history import say

from eventd import history, tracing
from eventd.cli import main

RULES = (
    threshold_rule(within="2h"),
    inhibit_rule(source='name="site"', target='name="host"'),
    calendar_rule(name="nights", starts="0 22 * * *", zone="UTC"),
    group_rule("critical", match='name="disk", severity>="critical"'),
)


def shell(state: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["why", *words, "--journal", str(state)])


async def lived(state: Path) -> None:
    """Two lives: the third alert of three begins in the second."""
    async with alive(state) as life:
        for item in (started(), load(*RULES)):
            await say(life, 0, item)
        await say(life, 10, event(ci="c0"))
        await say(life, 20, event(ci="c1"))
    async with alive(state) as life:
        await say(life, 3_600, event(ci="c2"))
        await say(life, 3_601, event("host", ci="h", service=""))
        await say(life, 3_602, event(ci="c3", service=""))
        await life.runtime.submit(())


async def test_it_begins_with_what_was_known_before_the_alert(tmp_path: Path) -> None:
    await lived(tmp_path)

    run = tracing.trace(tmp_path, "c2", "many", lambda _: None)
    early = tracing.trace(tmp_path, "c0", "many", lambda _: None)

    saved = history.saved(tmp_path, at(3_602) - at(3_600))
    assert saved is not None
    assert (run.since, run.whole) == (saved.now, True)
    assert early.since == at(0)
    (told,) = run.alerts[0].told[-1:]
    assert told.rule == "many"
    assert told.text.count(" disk on ") == 3


async def test_what_retention_has_taken_is_told(tmp_path: Path) -> None:
    await lived(tmp_path)
    with closing(sqlite3.connect(tmp_path / "eventd.db", isolation_level=None)) as db:
        db.execute("DELETE FROM journal WHERE seq < 2")

    said = shell(tmp_path, "c0", "--rule", "many")

    assert said.output.startswith("The journal begins at 2026-03-02T09:00:10Z: "), said.output


async def test_rules_that_hold_alerts_back_tell_why_they_did_not(tmp_path: Path) -> None:
    await lived(tmp_path)

    disk, host = shell(tmp_path, "c0").output, shell(tmp_path, "h").output
    lacking = shell(tmp_path, "c3").output

    assert "rule nights matches it, outside its times" in disk
    assert '"disk" holds, severity>="critical" fails: it is "major"' in disk
    assert "rule many matches it, and was not asked: it was held back" in host
    assert "rule many goes by service, which it lacks" in lacking


async def test_it_can_be_read_by_programs_and_says_what_is_unknown(tmp_path: Path) -> None:
    await lived(tmp_path)

    read = msgspec.json.decode(shell(tmp_path, "c1", "--json").output, type=tracing.Run)
    nobody, nowhere = shell(tmp_path, "nobody"), shell(tmp_path / "state", "c1")
    ruled = CliRunner().invoke(main, ["why", "c1", "--rule", "many"])
    mistyped = shell(tmp_path, "c1", "--rule", "manny")

    assert [(one.name, one.ci) for one in read.alerts] == [("disk", "c1")]
    assert (nobody.exit_code, nowhere.exit_code, ruled.exit_code) == (1, 2, 2)
    assert "no alert is known of 'nobody'" in nobody.output
    assert "--rule is for --journal" in ruled.output
    told = "eventd why: no rule is called 'manny' (did you mean 'many'?)\n"
    assert (mistyped.exit_code, mistyped.output) == (2, told)


async def test_an_empty_journal_knows_nobody_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    empty, bare = tmp_path / "empty", tmp_path / "bare"
    async with alive(empty):
        pass
    bare.mkdir()

    assert shell(empty, "c1").exit_code == 1
    assert shell(bare, "c1").exit_code == 2
