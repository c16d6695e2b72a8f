"""More than it can take: bounded memory, every refusal told and counted, neighbours let in.

    python -m tests.acceptance.overload --minutes 10 --limit 512

Six parts, a line of JSON each; leaves with 1 where a promise is broken.

- a flood, as much as can be sent, inside a limit on memory (a control group where this user may
  make one; the peak is looked at in any case);
- the same of alerts that are new each time;
- the same of those as Alertmanager sends them, some ten times as large;
- a quiet source, alone and beside a flooding one;
- 1,000 events a second of two sources on a disk whose fsync takes 300 ms;
- 2,000 half-open connections of each kind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench import load

from tests.acceptance.abuse import memory, stored
from tests.acceptance.daemon import Daemon, until
from tests.acceptance.faults import Faults
from tests.acceptance.siege import lay_siege, of_99

PARTS = ["flood", "fresh", "large", "beside", "slow", "half_open"]
TIMES = 10  # more than is taken
MAX_SIZE = 256  # MiB of the store, which fills in half a minute
BESIDE = (400, 100)  # the same of a flood that has a neighbour: more than its share of the inbox
ALERTS = 2_000  # that they speak of
PLACE = "@@@@@@@@@"  # of a number of nine digits
CELLS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))  # control groups, version 1 and 2
SLOW_FSYNC, RATE = 300, 1_000  # ms; events a second
HALF_OPEN, CLOSED_WITHIN, READY_WITHIN = 2_000, 15.0, 200  # connections; s; ms
QUIET_EVERY = 0.05  # s between deliveries of a quiet source
TURNS = 6  # of it alone, and beside a flood
LEAD = 2.0  # s a flood begins before its neighbour is looked at


class Told:
    """What senders of one source were told."""

    def __init__(self) -> None:
        self.events: Counter[int] = Counter()  # by status
        self.mute = 0  # refusals that do not say when to come again
        self.took: list[float] = []  # s from the delivery to its answer

    def note(self, status: int, events: int, head: bytes, took: float) -> None:
        self.events[status] += events
        self.mute += status != 202 and b"\r\nretry-after:" not in head.lower()
        self.took.append(took)

    def add(self, more: Told) -> None:
        """What others were told, too."""
        self.events += more.events
        self.mute += more.mute
        self.took += more.took

    def of_99(self) -> float:
        """Of 100 answers, 99 came within so many seconds."""
        return of_99(self.took)


class Numbers:
    """Deliveries of so many new events each, made without much work."""

    def __init__(self, text: bytes, size: int) -> None:
        """`text` is one of them, with PLACE where its number belongs."""
        self.size, self._text, self._next = size, text, 0

    def draw(self) -> bytes:
        """The next one."""
        self._next += 1
        return self._text.replace(PLACE.encode(), b"%09d" % self._next)


def known(prefix: str, size: int) -> Numbers:
    """About the same alerts, again and again."""
    return _native(prefix, [f"host{(n * 7919) % ALERTS}" for n in range(size)])


def fresh(prefix: str, size: int) -> Numbers:
    """Each about a CI of its own."""
    return _native(prefix, [f"{prefix}-{PLACE}-{n}" for n in range(size)])


def _native(prefix: str, cis: list[str]) -> Numbers:
    events = [
        {
            "name": f"Check{n % 20}",
            "ci": ci,
            "severity": "minor",
            "id": f"{prefix}-{PLACE}-{n}",
        }
        for n, ci in enumerate(cis)
    ]
    return Numbers(json.dumps(events).encode(), len(cis))


def large(prefix: str, size: int) -> Numbers:
    """The same, as Alertmanager tells of them."""
    alerts = [load.alert(n, f"{prefix}-{PLACE}") for n in range(size)]
    for n, one in enumerate(alerts):
        one["fingerprint"] = f"{prefix}-{PLACE}-{n}"
    return Numbers(load.webhook(alerts), size)


class Flood(NamedTuple):
    """What is sent."""

    numbers: Callable[[str, int], Numbers]
    crowd: int  # connections
    batch: int  # events a delivery
    decoder: str
    forgotten: bool  # most of its alerts are, by its end


FLOODS = {
    "flood": Flood(known, 2_000, 1_000, "native", forgotten=False),
    "fresh": Flood(fresh, 2_000, 1_000, "native", forgotten=True),
    "large": Flood(large, 2_000, 200, "alertmanager", forgotten=True),
}


async def call(port: int, path: str, numbers: Numbers, told: Told, over: asyncio.Event,
               every: float = 0.0) -> None:  # fmt: skip
    """One connection, one delivery in flight; a refusal is not waited out."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    due = time.monotonic()
    while not over.is_set():
        body = numbers.draw()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        began = time.monotonic()
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        size = int(answer.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(size)
        told.note(int(answer[9:12]), numbers.size, answer, time.monotonic() - began)
        due += every
        if every:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
    writer.close()


@contextmanager
def cell(limit: int) -> Iterator[Callable[[int], bool]]:
    """A control group of so many bytes; puts a process in, and says whether it could."""
    made: list[Path] = []

    def put(pid: int) -> bool:
        for root in CELLS:
            folder = root / f"eventd-overload-{pid}"
            with suppress(OSError):
                folder.mkdir()
                made.append(folder)
                for name in ("memory.limit_in_bytes", "memory.max"):
                    if (folder / name).exists():
                        (folder / name).write_text(str(limit))
                        (folder / "cgroup.procs").write_text(str(pid))
                        return True
        return False

    yield put
    for folder in made:
        with suppress(OSError):
            folder.rmdir()


def flood(part: str, seconds: float, limit_mb: int, folder: Path) -> dict[str, Any]:
    """More than it takes, and what became of it.

    Who has waited ten seconds for the commit is told 503 and may be in all the same: refused is
    not absent.
    """
    config: dict[str, Any] = {
        "log": {"level": "warning"},
        "retention": {"max_size": f"{MAX_SIZE}MiB"},
    }
    what = FLOODS[part]
    config["sources"] = {"webhooks": {"flood": {"decoder": what.decoder}}}
    daemon = Daemon(folder, config=config)
    told = Told()
    with cell(limit_mb << 20) as put:
        daemon.start()
        limited = put(daemon.pid)
        try:
            kept = asyncio.run(_flood(daemon, told, seconds, what))
            until(lambda: daemon.accounts()["waiting"] == 0, 60.0, "the inbox to drain")
            total, refused = daemon.accounts(), _refused(daemon)
            unread = what.batch * _turned_away(daemon)
            counts = sum(int(one["count"]) for one in daemon.every("alerts"))
            peak = memory(daemon, "VmHWM")
            assert daemon.stop() == 0  # not killed, and able to stop
        finally:
            if daemon.process is not None:
                daemon.process.kill()
                daemon.process.wait(10)
    sent, taken = sum(told.events.values()), told.events[202]
    late = told.events[503] - refused - unread
    good = (
        set(told.events) <= {202, 503}
        and told.mute == 0
        and sent >= TIMES * taken
        and total["received"] + unread == sent
        and total["applied"] + total["duplicate"] == taken + late
        and (counts == taken + late or what.forgotten)
        and total["refused"] == refused > 0 <= late
        and peak <= limit_mb
        and kept <= 1.1 * MAX_SIZE
    )
    return {
        "part": part,
        "seconds": seconds,
        "limit_mb": limit_mb,
        "in_control_group": limited,
        "peak_mb": round(peak, 1),
        "stored_mb": round(kept),
        "sent": sent,
        "times_taken": round(sent / taken, 1),
        "told_202": taken,
        "told_503": told.events[503],
        "told_503_late": int(late),
        "without_retry_after": told.mute,
        "counted_refused": int(refused),
        "counted_unread": int(unread),
        "counted_in_alerts": counts,
        "good": good,
    }


async def _flood(daemon: Daemon, told: Told, seconds: float, what: Flood) -> float:
    """What the store held at the end of it, MiB."""
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for n in range(what.crowd):
            numbers = what.numbers(f"f{n}", what.batch)
            group.create_task(call(daemon.port, "/v1/webhooks/flood", numbers, told, over))
        await asyncio.sleep(seconds)
        kept = await asyncio.to_thread(stored, daemon)
        over.set()
    return kept


def _turned_away(daemon: Daemon) -> float:
    """Deliveries for which there was no room before they were read."""
    name = 'eventd_deliveries_refused_total{reason="overload",source="flood"}'
    return daemon.metrics().get(name, 0.0)


def _refused(daemon: Daemon) -> float:
    """Events for want of room."""
    reasons = ("overload", "share")
    found = daemon.metrics()
    name = 'eventd_events_refused_total{{reason="{}",source="flood"}}'
    return sum(found.get(name.format(reason), 0.0) for reason in reasons)


def beside(folder: Path, seconds: float) -> dict[str, Any]:
    """A quiet source alone, and beside a flood: by turns, as the machine is not always as fast."""
    config = {"sources": {"webhooks": {"flood": {}, "quiet": {}}}, "log": {"level": "warning"}}
    daemon = Daemon(folder, config=config)
    alone, crowded, flooded = Told(), Told(), Told()
    daemon.start()
    try:
        asyncio.run(_beside(daemon, seconds, alone, crowded, flooded))
        assert daemon.stop() == 0
    finally:
        if daemon.process is not None:
            daemon.process.kill()
    return {
        "part": "beside",
        "quiet_p99_ms": round(alone.of_99() * 1e3, 1),
        "beside_p99_ms": round(crowded.of_99() * 1e3, 1),
        "quiet_median_ms": round(statistics.median(alone.took) * 1e3, 1),
        "beside_median_ms": round(statistics.median(crowded.took) * 1e3, 1),
        "deliveries": len(crowded.took),
        "flood_told_202": flooded.events[202],
        "flood_told_503": flooded.events[503],
        "refused": sum(crowded.events.values()) - crowded.events[202],
        "good": set(crowded.events) == {202}
        and flooded.events[503] > 0  # else it was none
        and crowded.of_99() <= 2 * alone.of_99(),
    }


async def _beside(
    daemon: Daemon, seconds: float, alone: Told, crowded: Told, flooded: Told
) -> None:
    """Note what the quiet source was told in so many seconds of each, and the flood.

    Each sends from a process of its own. The flood's gives way to all others: on a machine of its
    own it would not take processors from the daemon, nor keep its neighbour from its clock. By
    niceness alone it does not: whoever wakes may still wait some ms for the end of its slice.
    """
    loop, spawn = asyncio.get_running_loop(), multiprocessing.get_context("spawn")
    port, part = daemon.port, seconds / TURNS
    with (
        ProcessPoolExecutor(1, spawn) as quiet,
        ProcessPoolExecutor(1, spawn, initializer=_give_way) as flood,
    ):
        for turn in range(TURNS):
            calm = loop.run_in_executor(quiet, _quietly, port, f"alone{turn}", part)
            alone.add(await calm)
            flooding = loop.run_in_executor(flood, _flooding, port, turn, part + LEAD)
            await asyncio.sleep(LEAD)
            calm = loop.run_in_executor(quiet, _quietly, port, f"beside{turn}", part)
            crowded.add(await calm)
            flooded.add(await flooding)


def _give_way() -> None:
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _quietly(port: int, prefix: str, seconds: float) -> Told:
    quiet, numbers = Told(), known(prefix, 1)
    one = ("/v1/webhooks/quiet", numbers, quiet)
    asyncio.run(_send(port, [one], seconds, QUIET_EVERY))
    return quiet


def _flooding(port: int, turn: int, seconds: float) -> Told:
    told, (crowd, size) = Told(), BESIDE
    all_of_it = [("/v1/webhooks/flood", known(f"f{turn}-{n}", size), told) for n in range(crowd)]
    asyncio.run(_send(port, all_of_it, seconds, 0.0))
    return told


async def _send(
    port: int, senders: list[tuple[str, Numbers, Told]], seconds: float, every: float
) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    async with asyncio.TaskGroup() as group:
        for path, numbers, told in senders:
            group.create_task(call(port, path, numbers, told, over, every))


def slow(folder: Path, seconds: float, connections: int = 1_000) -> dict[str, Any]:
    """1,000 events a second, each a delivery of its own, where an fsync takes 300 ms.

    Of two sources by turns: what one may have beside others is not what it may have alone.

    The store may hold nothing, so that as much is forgotten as comes in: as after some months.
    """
    config: dict[str, Any] = {"log": {"level": "warning"}, "retention": {"max_size": "1MiB"}}
    config["sources"] = {"webhooks": {"other": {}}}
    daemon = Daemon(folder, config=config)
    faults = Faults(folder, daemon.state)
    faults.build()
    daemon.start(env=faults.env)
    faults.plan(f"fsync * 0 delay {SLOW_FSYNC}")
    told = Told()
    try:
        asyncio.run(_steady(daemon, told, seconds, connections))
        faults.off()
        assert daemon.stop() == 0
    finally:
        if daemon.process is not None:
            daemon.process.kill()
    rate = len(told.took) / seconds
    return {
        "part": "slow",
        "fsync_ms": SLOW_FSYNC,
        "events_s": round(rate),
        "p99_ms": round(told.of_99() * 1e3),
        "good": set(told.events) == {202} and told.of_99() <= 1.0 and rate >= RATE * 0.95,
    }


async def _steady(daemon: Daemon, told: Told, seconds: float, connections: int) -> None:
    over, every = asyncio.Event(), connections / RATE
    async with asyncio.TaskGroup() as group:
        for n in range(connections):
            numbers = known(f"s{n}", 1)
            path = ("/v1/events", "/v1/webhooks/other")[n % 2]
            group.create_task(call(daemon.port, path, numbers, told, over, every))
            await asyncio.sleep(every / connections)
        await asyncio.sleep(seconds - every)
        over.set()


def half_open(folder: Path) -> dict[str, Any]:
    """Connections that say nothing, or drip a header, or a body."""
    daemon = Daemon(folder, config={"log": {"level": "warning"}})
    daemon.start()
    try:
        found = {
            kind: lay_siege(daemon, kind, HALF_OPEN) for kind in ("silent", "headers", "bodies")
        }
        assert daemon.stop() == 0
    finally:
        if daemon.process is not None:
            daemon.process.kill()
    closed = {kind: round(max(closed), 1) for kind, (closed, _) in found.items()}
    ready = {kind: round(of_99(answered) * 1e3) for kind, (_, answered) in found.items()}
    return {
        "part": "half_open",
        "connections": HALF_OPEN,
        "closed_within_s": closed,
        "ready_p99_ms": ready,
        "good": max(closed.values()) <= CLOSED_WITHIN and max(ready.values()) <= READY_WITHIN,
    }


def main() -> None:
    """Print a line of JSON for each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each flood")
    parser.add_argument("--limit", type=int, default=512, help="MB of memory")
    parser.add_argument("parts", nargs="*", default=PARTS)
    given = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as name:
        parts: dict[str, Callable[[Path], dict[str, Any]]] = {
            **{part: partial(flood, part, given.minutes * 60, given.limit) for part in FLOODS},
            "beside": lambda folder: beside(folder, 60.0),
            "slow": lambda folder: slow(folder, 240.0),
            "half_open": half_open,
        }
        for part in given.parts:
            said = parts[part](Path(name, part))
            print(json.dumps(said), flush=True)
            good = good and said["good"]
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
