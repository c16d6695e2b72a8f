"""Hours of mixed load with a fault every few minutes: nothing leaks, nothing acknowledged is lost.

    python -m tests.acceptance.soak --hours 2 --share 0.5

The state is bounded by its own caps, all reached before the load begins or soon after: as many
delivery keys as are remembered, 40 alerts that never clear, 200 services whose incidents open,
close and are forgotten, the deliveries that came twice, and a store of `MAX_SIZE`. What still grows
then is a leak.

Capacity is what one core of eventd takes of the same mixture, measured at first: deliveries for
each second of its CPU. So it does not depend on who else uses the machine; the load is a share.
The first fault is a kill; the process after it lives to the end, as leaks want time to show.

What was acknowledged over HTTP is counted, each once. Over MQTT it is the broker that acknowledges,
and mosquitto 2.0.11 does so before it has saved: of its messages, one may be missing each time that
it is killed (with it saving on every change: 21 in 25 kills).
Prints a line of JSON every ten seconds, and a verdict; leaves with 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sqlite3
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from bench.load import cpu

from eventd.core.model import Settings
from eventd.store.database import DATABASE
from tests.acceptance.abuse import HEAD, memory, stored
from tests.acceptance.daemon import BY_SERVICE, Daemon, Mosquitto, until
from tests.acceptance.faults import Faults, check
from tests.acceptance.traffic import HTTP, MQTT, Books, Http, Mqtt, Operator, Sender

MAX_SIZE = 256 << 20  # bytes of the store
CONFIG: dict[str, Any] = {
    "rules": str(BY_SERVICE),
    "log": {"level": "warning"},
    "retention": {"max_size": f"{MAX_SIZE}B"},
    "incidents": {"resolve_after": "5s", "reopen_within": "5s"},
}
FILL = 1_000  # events of a delivery that fills the table of keys
HTTP_SENDERS, MQTT_SHARE, ACTS_EVERY = 4, 0.1, 2.0
PACE = 2.0  # s in which the pace of HTTP is measured
# s after a start: closed incidents are remembered for 600, and at 200 deliveries a second those
# that came twice have filled their 48 MB in 1,300
SETTLES_FOR = 1_800.0
ENTRY = 60.0  # s a fault lasts at most
RSS_SLOPE = 1.0  # MB/h; RELIABILITY B13
STORE_WITHIN = 0.1
REMEMBERED_FOR = 1_500.0  # s of acknowledged ids: longer than the journal reaches
# s between looks: a table that doubles and shrinks again each minute makes memory a band of 2 MB,
# of which one look a minute sees any part
LOOK_EVERY = 10.0
DRIFT = 5.0  # s between the clock of senders and the one eventd writes into its journal
CUTS = 200


class Sample(NamedTuple):
    """A look at the daemon."""

    at: float  # s since the load began
    life: int  # which process
    age: float  # s since it started, or since the load began
    rss_mb: float
    descriptors: int
    store_mb: float  # pages in use
    files_mb: float  # of the whole state directory
    acked: int
    refused: int
    no_good: int
    core: float  # share of one core, since the sample before


class Soak:
    """A daemon, its broker, its senders, and what is done to them."""

    def __init__(self, folder: Path, scale: float) -> None:
        """`scale` shortens what a fault lasts."""
        self._scale = scale
        self.broker = Mosquitto(folder / "broker")
        self.broker.start()
        self.daemon = Daemon(folder, mqtt_port=self.broker.port, config=CONFIG)
        self.faults = Faults(folder, self.daemon.state)
        self.faults.build()
        self.books = Books(REMEMBERED_FOR)
        self.senders: list[Sender] = []
        self.samples: list[Sample] = []
        self.life, self._born, self._spent = -1, 0.0, 0.0
        self._seen = self._began = time.monotonic()
        self.checks = self.broker_kills = self.lost_by_broker = 0

    def start(self) -> None:
        """Also after a kill."""
        self.daemon.start(env=self.faults.env)
        self.life, self._born, self._spent = self.life + 1, time.monotonic(), 0.0

    def fill(self) -> None:
        """Have it remember as many delivery keys as it ever will."""
        sender = Http(self.books, 0, self.daemon.port)
        for _ in range(Settings().max_keys // FILL + 1):
            sender.numbered(FILL)
        sender.close()

    def measure(self, seconds: float) -> float:
        """Deliveries for a second of CPU, at full load.

        The broker takes messages faster than eventd takes deliveries, and they cost less: at their
        own pace they would be most of what is measured, and what is left with it would count.
        """
        port = self.daemon.port
        self.senders += [Http(self.books, seed, port) for seed in range(HTTP_SENDERS)]
        self.senders.append(Operator(self.books, 91, port))
        self.senders[-1].every = ACTS_EVERY
        before = self.books.deliveries
        for sender in self.senders:
            sender.start()
        time.sleep(PACE)
        rate = (self.books.deliveries - before) / PACE
        self.senders.append(Mqtt(self.books, 90, self.broker.port))
        self.senders[-1].every = (1 - MQTT_SHARE) / (rate * MQTT_SHARE)
        self.senders[-1].start()
        before, spent = self.books.deliveries, cpu(self.daemon.pid)
        time.sleep(seconds)
        return (self.books.deliveries - before) / (cpu(self.daemon.pid) - spent)

    def load(self, rate: float) -> None:
        """So many deliveries a second from now on."""
        for sender in self.senders:
            if isinstance(sender, Mqtt):
                sender.every = 1 / (rate * MQTT_SHARE)
            elif not isinstance(sender, Operator):
                sender.every = HTTP_SENDERS / (rate * (1 - MQTT_SHARE))
        self._seen = self._began = self._born = time.monotonic()
        self._spent = cpu(self.daemon.pid)

    def sample(self) -> Sample:
        """Take it and keep it."""
        now, spent, pid = time.monotonic(), cpu(self.daemon.pid), self.daemon.pid
        one = Sample(
            at=round(now - self._began, 1),
            life=self.life,
            age=round(now - self._born, 1),
            rss_mb=round(memory(self.daemon), 2),
            descriptors=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
            store_mb=round(stored(self.daemon), 1),
            files_mb=round(_size(self.daemon.state) / (1 << 20), 1),
            acked=self.books.acknowledged,
            refused=self.books.refused,
            no_good=self.books.no_good,
            core=round((spent - self._spent) / max(now - self._seen, 0.1), 3),
        )
        self._seen, self._spent = now, spent
        self.samples.append(one)
        return one

    def _read(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.daemon.state / DATABASE}?mode=ro", uri=True)

    def check(self) -> None:
        """What the store of a daemon that is down promises, and what was acknowledged lately."""
        with closing(self._read()) as db:
            ((oldest,),) = db.execute("SELECT received_at FROM journal ORDER BY seq LIMIT 1")
        ids = self.books.ids(since=oldest / 1e6 + DRIFT)
        check(self.daemon, ids)
        self.checks += len(ids)

    # -- faults -----------------------------------------------------------------------------------

    def pause(self) -> None:
        """SIGSTOP, SIGCONT."""
        os.kill(self.daemon.pid, signal.SIGSTOP)
        self._wait(20)
        os.kill(self.daemon.pid, signal.SIGCONT)

    def kill_broker(self) -> None:
        """kill -9, and away for a while."""
        assert self.broker.process is not None
        self.broker.process.kill()
        self.broker.process.wait(10)
        self.broker_kills += 1
        self._wait(20)
        self.broker.start()

    def slow_disk(self) -> None:
        """Every fsync takes 300 ms longer."""
        self.faults.plan("fsync * 0 delay 300")
        self._wait(60)
        self.faults.off()

    def cut(self) -> None:
        """Connections reset in the middle of a body."""
        for _ in range(CUTS):
            with socket.create_connection(("127.0.0.1", self.daemon.port)) as sock:
                sock.sendall(HEAD + b'Content-Length: 1000\r\n\r\n{"name":')
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def full_disk(self) -> None:
        """No write finds room."""
        self.faults.plan("write * 0 ENOSPC")
        self._wait(30)
        self.faults.off()

    def kill(self) -> None:
        """kill -9, a look at what it left, and a new start."""
        self.daemon.kill()
        self.check()
        self.start()

    def _wait(self, seconds: float) -> None:
        time.sleep(seconds * self._scale)

    # -- the end ----------------------------------------------------------------------------------

    def finish(self) -> None:
        """Let all drain and stop; raise AssertionError where a promise is broken."""
        for sender in self.senders:
            sender.ending.set()
        for sender in self.senders:
            sender.join(120)
        want = {kind: self.books.expected(kind) for kind in (HTTP, MQTT)}
        named = want[HTTP] | want[MQTT]

        def counted() -> dict[str, int]:
            counts = dict.fromkeys(named, 0)  # each source has an alert of its own
            for alert in self.daemon.every("alerts?status=firing"):
                if alert["name"] in counts:
                    counts[alert["name"]] += int(alert["count"])
            return counts

        with suppress(AssertionError):
            until(lambda: sum(counted().values()) >= sum(named.values()))
        have = counted()
        off = {name: (have[name], number) for name, number in named.items() if have[name] != number}
        missing = [number - have[name] for name, number in want[MQTT].items()]
        self.lost_by_broker = sum(missing)
        assert not off.keys() & want[HTTP].keys(), f"counted, expected: {off}"
        assert min(missing) >= 0, f"counted, expected: {off}"
        assert self.lost_by_broker <= self.broker_kills, f"counted, expected: {off}"
        assert self.daemon.stop() == 0
        self.check()
        assert not self.books.wrong, self.books.wrong[:5]
        assert "Traceback" not in self.daemon.log.read_text(errors="replace"), self.daemon.tail()


def verdict(samples: list[Sample], settles_for: float) -> dict[str, Any]:
    """What the samples say, and whether it is as it should be.

    One slope for all processes, each with a level of its own, from the time on when it had
    settled. The store counts from when it had reached its size.
    """
    settled = [one for one in samples if one.age >= settles_for]
    rss = slope((one.life, one.at, one.rss_mb) for one in settled)
    descriptors = slope((one.life, one.at, one.descriptors) for one in settled)
    least = MAX_SIZE / (1 << 20) * (1 - STORE_WITHIN)
    full = [one.store_mb for one in samples]
    full = full[next((n for n, size in enumerate(full) if size >= least), len(full)) :]
    spread = max((abs(size / (MAX_SIZE >> 20) - 1) for size in full), default=1.0)
    return {
        "settled_samples": len(settled),
        "rss_mb_per_h": round(rss, 2),
        "descriptors_per_h": round(descriptors, 2),
        "store_samples": len(full),
        "store_off_by": round(spread, 3),
        "core": round(statistics.fmean(one.core for one in samples), 3),
        "good": rss <= RSS_SLOPE and abs(descriptors) <= 1.0 and spread <= STORE_WITHIN,
    }


def slope(points: Iterable[tuple[int, float, float]]) -> float:
    """Per hour, by least squares: of (group, seconds, value), each group with its own level."""
    groups: dict[int, list[tuple[float, float]]] = {}
    for group, at, value in points:
        groups.setdefault(group, []).append((at / 3600, value))
    above = below = 0.0
    for members in groups.values():
        middle = statistics.fmean(x for x, _ in members)
        level = statistics.fmean(y for _, y in members)
        above += sum((x - middle) * (y - level) for x, y in members)
        below += sum((x - middle) ** 2 for x, _ in members)
    return above / below if below else 0.0


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def run(folder: Path, hours: float, share: float, every: float) -> bool:
    """All of it; whether every promise was kept."""
    soak = Soak(folder, min(1.0, every / 300))
    done: list[str] = []
    try:
        soak.start()
        until(soak.daemon.subscribed, 10.0, "the subscription")
        soak.fill()
        capacity = soak.measure(min(60.0, every))
        soak.load(share * capacity)
        print(json.dumps({"capacity_deliveries_s": round(capacity), "share": share}), flush=True)
        faults = _in_turn(soak)
        until_end, next_fault, next_look = hours * 3600, every, LOOK_EVERY
        began = time.monotonic()
        while (at := time.monotonic() - began) < until_end:
            if at >= next_fault and until_end - at > ENTRY * 2:
                fault = next(faults)
                done.append(fault.__name__)
                fault()
                next_fault += every
            if at >= next_look:
                look = soak.sample()._asdict()
                print(json.dumps({**look, "fault": done[-1] if done else ""}), flush=True)
                next_look = time.monotonic() - began + LOOK_EVERY
            time.sleep(0.2)
        soak.finish()
    finally:
        if soak.daemon.process is not None:
            soak.daemon.process.kill()
        soak.broker.stop()
    said = verdict(soak.samples, SETTLES_FOR * min(1.0, every / 300))
    counts = {
        "acked": soak.books.acknowledged,
        "ids_looked_for": soak.checks,
        "missing": 0,
        "broker_kills": soak.broker_kills,
        "lost_by_broker": soak.lost_by_broker,
    }
    print(json.dumps({"hours": hours, "faults": len(done), **counts, **said}), flush=True)
    return bool(said["good"])


def _in_turn(soak: Soak) -> Iterator[Callable[[], None]]:
    yield soak.kill
    while True:
        yield from (soak.pause, soak.kill_broker, soak.slow_disk, soak.cut, soak.full_disk)


def main() -> None:
    """Print a line of JSON every ten seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--every", type=float, default=300.0, help="seconds between faults")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(0 if run(Path(folder), given.hours, given.share, given.every) else 1)


if __name__ == "__main__":
    main()
