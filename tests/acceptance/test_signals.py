"""What an operator asks for by a signal while the daemon starts, starts anew or goes down."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance.daemon import PATIENCE, Daemon, post, until
from tests.acceptance.faults import check
from tests.acceptance.test_accounting import poisonable, taken

# The daemon gets the signal at a place of its own that takes but a moment.
STOP = """
import os, signal
from eventd import app
from eventd.store.reader import Reader
def ask():
    os.kill(os.getpid(), signal.SIGTERM)
"""
RENEW = """
import os, pathlib, signal
from eventd import app
def ask():
    pathlib.Path(FILE).write_text(TEXT)
    os.kill(os.getpid(), signal.SIGHUP)
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


def asking(folder: Path, ask: str, **config: str) -> Daemon:
    """A daemon that asks something of itself in its first recovery."""
    script = folder / "asking.py"
    script.write_text(
        ask + RECOVERING.replace("NTH", "1") + "from eventd.cli import main\nmain()\n"
    )
    return Daemon(folder, program=(str(script),), config=dict(config))


@pytest.mark.parametrize(
    "place", [TORN_DOWN, RECOVERING.replace("NTH", "2")], ids=["torn down", "recovering"]
)
def test_a_stop_that_is_asked_for_around_a_restart_in_place_is_heeded(
    tmp_path: Path, place: str
) -> None:
    daemon = poisonable(tmp_path, before=STOP + place)
    assert post(f"{daemon.url}/v1/events", {"id": "a", "name": "a"})[0] == 202

    taken(daemon, {"id": "b", "name": "poison"})()

    assert daemon.process is not None
    assert daemon.process.wait(PATIENCE) == 0
    check(daemon, ["a"])


def test_a_stop_that_is_asked_for_in_the_first_recovery_is_one_like_any_other(
    tmp_path: Path,
) -> None:
    daemon = asking(tmp_path, STOP)

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


def test_secrets_that_change_while_it_starts_are_taken_up_by_a_hangup(tmp_path: Path) -> None:
    old, new = "0123456789abcdef" * 2, "fedcba9876543210" * 2
    token = tmp_path / "token"
    token.write_text(old)
    token.chmod(0o600)
    renew = RENEW.replace("FILE", repr(str(token))).replace("TEXT", repr(new))
    daemon = asking(tmp_path, renew, token_file="token")

    def answered(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return post(f"{daemon.url}/v1/events", {"name": "a"}, headers)[0]

    daemon.start()

    until(lambda: answered(new) == 202, what="the new token")
    assert answered(old) == 401
    assert daemon.stop() == 0
