"""What a supervisor is told: nothing, once anything between the loop and the disk hangs."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.builders import at, event
from tests.edges.store_desk import Life, alive, query

from eventd import runtime
from eventd.core.model import Denied
from eventd.errors import EventdError, Stopping, StoreFull
from eventd.inbox import Outcome, Submission
from eventd.runtime import Batch
from eventd.store.journal import iter_journal
from eventd.systemd import Notifier, feed

EVERY = 0.02  # s; a unit's watchdog is fed each 15
HUNG = 0.15  # s a part hangs; a socket of systemd's takes ten messages unread


@contextmanager
def supervisor(folder: Path) -> Iterator[tuple[Notifier, socket.socket]]:
    """Listens where systemd would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / "notify"))
        listener.setblocking(False)
        yield Notifier(str(folder / "notify")), listener


def heard(listener: socket.socket) -> int:
    """How often the watchdog was fed since the last time."""
    count = 0
    while True:
        try:
            count += listener.recv(100) == b"WATCHDOG=1"
        except BlockingIOError:
            return count


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[tuple[Life, socket.socket]]:
    """A daemon's inside that feeds it, as the daemon does."""
    with supervisor(folder) as (notifier, listener):
        async with alive(folder / "state") as life, asyncio.TaskGroup() as group:
            feeder = group.create_task(feed(notifier, lambda: life.runtime.submit(()), EVERY))
            yield life, listener
            feeder.cancel()


async def fed(listener: socket.socket) -> None:
    async with asyncio.timeout(20):
        while not heard(listener):
            await asyncio.sleep(EVERY)


@pytest.mark.parametrize("part", ["loop", "writer"])
async def test_the_watchdog_is_not_fed_while_a_part_hangs(tmp_path: Path, part: str) -> None:
    """D69: and is again afterwards."""
    release = threading.Event()

    def hold() -> None:
        release.wait()

    async with watched(tmp_path) as (life, listener):
        await fed(listener)
        if part == "writer":
            life.store._writer.post(hold)
        await asyncio.sleep(2 * EVERY)  # a probe may be on its way
        heard(listener)
        if part == "writer":
            await asyncio.sleep(HUNG)
        else:
            time.sleep(HUNG)
        hungry = heard(listener)
        release.set()
        await fed(listener)

    assert hungry == 0


async def test_the_watchdog_is_fed_while_a_full_disk_is_tried_again_and_not_once_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "FULL_RETRY_EVERY", EVERY)
    room, hangs = asyncio.Event(), asyncio.Event()

    async with watched(tmp_path) as (life, listener):
        commit = life.store.commit

        async def full(batch: Batch) -> None:
            if hangs.is_set():
                await room.wait()
            if not room.is_set():
                raise StoreFull("full")
            await commit(batch)

        life.store.commit = full  # type: ignore[method-assign]
        await fed(listener)
        for _ in range(5):
            await fed(listener)
        assert life.runtime.blocked_since is not None
        hangs.set()
        await asyncio.sleep(2 * EVERY)
        heard(listener)
        await asyncio.sleep(HUNG)
        hungry = heard(listener)
        room.set()
        await fed(listener)

    assert hungry == 0


@pytest.mark.parametrize("flush", [False, True])
async def test_who_gives_up_waiting_for_a_probe_leaves_no_other_in_the_inbox(
    tmp_path: Path, *, flush: bool
) -> None:
    release = threading.Event()

    def hold() -> None:
        release.wait()

    async with alive(tmp_path) as life:
        life.store._writer.post(hold)
        for _ in range(100):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await life.runtime.submit((), flush=flush)
        waiting = len(life.inbox)
        release.set()
        await life.runtime.submit((), flush=flush)
        await life.submit(at(0), event())
        await life.runtime.submit((), flush=True)
        rows = query(tmp_path, "SELECT COUNT(*) FROM alert")

    assert waiting == 0  # the one is being committed
    assert rows == [(1,)]


async def test_a_probe_that_failed_is_not_the_answer_to_the_next(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        commit, room = life.store.commit, asyncio.Event()

        async def full(batch: Batch) -> None:
            if not room.is_set():
                raise StoreFull("full")
            await commit(batch)

        life.store.commit = full  # type: ignore[method-assign]
        for _ in range(3):
            with pytest.raises(StoreFull):
                await life.runtime.submit(())
        room.set()
        with pytest.raises(StoreFull, match="was full"):
            await life.runtime.submit(())

        assert await life.runtime.submit(()) == Outcome(0, 0, ())
        assert len(life.inbox) == 0


def test_a_supervisor_that_does_not_listen_is_not_waited_for_and_told_once(tmp_path: Path) -> None:
    with supervisor(tmp_path) as (notifier, listener), capture_logs() as logs:
        for _ in range(1_000):  # more than wait unread, however the system is set
            notifier.alive()
        notifier.ready()
        heard(listener)
        notifier.alive()
        said = listener.recv(100)
        (tmp_path / "notify").unlink()
        notifier.stopping()

    assert said == b"READY=1\nWATCHDOG=1"
    assert [(one["event"], one["socket"]) for one in logs] == [
        ("supervisor.lost", str(tmp_path / "notify"))
    ]


async def test_who_stops_does_not_wait_for_room(tmp_path: Path) -> None:
    answers: list[Outcome | EventdError] = []

    async def full(batch: Batch) -> None:
        raise StoreFull("full")

    async def stop() -> None:
        async with alive(tmp_path) as life:
            life.store.commit = full  # type: ignore[method-assign]
            for name in "ab":  # one is being committed, one waits
                life.inbox.put(Submission((Denied(name, "", 1),), answers.append))
                await asyncio.sleep(0.01)

    with pytest.raises(ExceptionGroup) as left:
        await stop()

    assert [str(one) for one in left.value.exceptions] == ["full"]
    assert [type(one) for one in answers] == [Stopping, Stopping]
    assert len(list(iter_journal(tmp_path))) == 0
