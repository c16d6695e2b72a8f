"""What an operator asks for by a signal while the daemon starts, starts anew or goes down."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance.daemon import PATIENCE, Daemon, post, until
from tests.acceptance.faults import check
from tests.acceptance.test_accounting import poisonable, taken

# The daemon gets the signal at a place of its own that takes but a moment.
RAISE = """
import os, signal
from eventd import app
from eventd.store.reader import Reader
def ask():
    os.kill(os.getpid(), signal.SIGTERM)
"""
TORN_DOWN = """
leave = Reader.__aexit__
async def leave_and_ask(self, *error):
    ask()
    await leave(self, *error)
Reader.__aexit__ = leave_and_ask
"""
RECOVERING = """
recover, starts = app.recover, []
def recover_and_ask(journal):
    starts.append(1)
    if len(starts) == NTH:
        ask()
    return recover(journal)
app.recover = recover_and_ask
"""
HELD = """
import asyncio, os
from eventd.store.sqlite import SqliteStore
commit = SqliteStore.commit
async def held(self, batch):
    while os.path.exists(FILE):
        await asyncio.sleep(0.01)
    await commit(self, batch)
SqliteStore.commit = held
"""


@pytest.mark.parametrize(
    "place", [TORN_DOWN, RECOVERING.replace("NTH", "2")], ids=["torn down", "recovering"]
)
def test_a_stop_that_is_asked_for_around_a_restart_in_place_is_heeded(
    tmp_path: Path, place: str
) -> None:
    daemon = poisonable(tmp_path, before=RAISE + place)
    assert post(f"{daemon.url}/v1/events", {"id": "a", "name": "a"})[0] == 202

    taken(daemon, {"id": "b", "name": "poison"})()

    assert daemon.process is not None
    assert daemon.process.wait(PATIENCE) == 0
    check(daemon, ["a"])


def test_a_stop_that_is_asked_for_in_the_first_recovery_is_one_like_any_other(
    tmp_path: Path,
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        RAISE + RECOVERING.replace("NTH", "1") + "from eventd.cli import main\nmain()"
    )
    daemon = Daemon(tmp_path, program=(str(script),))

    daemon.launch()

    assert daemon.process is not None
    assert daemon.process.wait(PATIENCE) == 0


def test_a_poisonous_event_among_the_last_ones_does_not_undo_a_stop(tmp_path: Path) -> None:
    held = tmp_path / "held"
    daemon = poisonable(tmp_path, before=HELD.replace("FILE", repr(str(held))))
    held.touch()
    with ThreadPoolExecutor() as threads:
        threads.submit(taken(daemon, {"id": "a", "name": "a"}))
        until(lambda: daemon.accounts()["waiting"] == 1, what="an event in the commit")
        threads.submit(taken(daemon, {"id": "b", "name": "poison"}))
        until(lambda: daemon.accounts()["waiting"] == 2, what="the poison behind it")
        assert daemon.process is not None
        daemon.process.terminate()
        until(lambda: "eventd.stopping" in daemon.log.read_text(), what="the stop")

        held.unlink()

        assert daemon.process.wait(PATIENCE) == 0
    assert "input.quarantined" in daemon.log.read_text()
    check(daemon, ["a"])
