"""kill -9 at named places, from outside: the last file call of a process is of our choice.

    python -m tests.acceptance.crashpoints --rounds 100

A place is named by the file call there. Between decoding and the first write of a transaction
there is none, and nothing on disk differs: "before anything is written" stands for both places.
Senders repeat a delivery until it is acknowledged; at the end every promise is checked.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from eventd.store.database import DATABASE
from tests.acceptance import kill
from tests.acceptance.daemon import PATIENCE, Daemon, post, until
from tests.acceptance.faults import Faults, check
from tests.acceptance.test_accounting import POISON

WARM = 30  # acknowledged events before a kill
BALLAST = "x" * 200_000  # of a delivery: some hundred make a checkpoint
SENDERS = 2


class Point(NamedTuple):
    """Where the process ends, and what brings it there besides load."""

    plan: str  # see faults.c; N is a number from 1 to `upto`
    upto: int = 1
    by: str = "load"


POINTS = {
    "before anything is written": Point("write -wal 1 kill"),
    "inside the transaction": Point("write -wal N kill", 12),
    "after commit, before acknowledgement": Point("fsync -wal 1 killed"),
    "after acknowledgement": Point("off", by="acknowledged"),
    "snapshot write": Point("write snapshot.tmp N kill", 8, by="stop"),
    "snapshot, before its fsync": Point("fsync snapshot.tmp 1 kill", by="stop"),
    "snapshot, before rename": Point("rename snapshot.tmp 1 kill", by="stop"),
    "snapshot, before directory fsync": Point("fsync state 1 kill", by="stop"),
    "checkpoint": Point("write eventd.db N kill", 20, by="bulk"),
    "retention delete": Point("write -wal N kill 0 fsync eventd.db", 40, by="bulk"),
    "quarantine write": Point("write -wal N kill", 6, by="poison"),
    "quarantine, after commit": Point("fsync -wal 1 killed", by="poison"),
}


class Crashes:
    """One state directory and its senders through all rounds."""

    def __init__(self, folder: Path, seed: int, names: tuple[str, ...]) -> None:
        script = folder / "poisonable.py"
        script.write_text(POISON)
        config: dict[str, Any] = dict(kill.CONFIG)
        if any(POINTS[name].by == "bulk" for name in names):
            # there is something to delete. Elsewhere snapshots become durable, and what was
            # acknowledged before the older one could go with it before it is asked for
            config["retention"] = {"max_size": "64KiB"}
        self.daemon = Daemon(folder, config=config, program=(str(script),))
        self.faults = Faults(folder, self.daemon.state)
        self.faults.build()
        self.chance = random.Random(seed)
        self.ledger = kill.Ledger()
        self.rounds = 0
        self.starts: list[float] = []

    def run(self, name: str, rounds: int) -> None:
        """Crash there so often, and start again after each."""
        for _ in range(rounds):
            self.rounds += 1
            self._crash(name, POINTS[name])

    def finish(self) -> None:
        """Stop; raise AssertionError where a promise is broken."""
        kill.check(self.daemon, self.ledger, self.daemon.folder)
        assert self.daemon.stop() == 0
        check(self.daemon, self.ledger.ids)

    def _crash(self, name: str, point: Point) -> None:
        daemon, before = self.daemon, len(self.faults.hits())
        assert daemon.process is not None
        load = point.by in {"load", "acknowledged", "stop"}
        senders = [
            kill.HttpSender(daemon.port, self.ledger, self.chance.getrandbits(32))
            for _ in range(SENDERS)
        ]
        total = self.ledger.total + WARM
        for sender in senders:
            sender.start()
        until(lambda: self.ledger.total >= total, what="load")
        if not load:
            self._rest(senders)
        self.faults.plan(point.plan.replace("N", str(self.chance.randint(1, point.upto))))
        self._provoke(point.by)
        try:
            code = daemon.process.wait(PATIENCE)
        finally:
            daemon.process.kill()
        assert code == -signal.SIGKILL, (name, code, daemon.tail())
        assert point.by == "acknowledged" or len(self.faults.hits()) == before + 1, name
        self.faults.off()
        self.starts.append(daemon.start(env=self.faults.env))
        self._rest(senders)  # what was under way is repeated until it is acknowledged

    def _rest(self, senders: list[kill.HttpSender]) -> None:
        for sender in senders:
            sender.stopping.set()
        for sender in senders:
            sender.join(PATIENCE)

    def _provoke(self, by: str) -> None:
        assert self.daemon.process is not None
        provoke: Callable[[], None] | None = None
        if by == "acknowledged":
            seen = self.ledger.total
            while self.ledger.total == seen:
                time.sleep(0)
            self.daemon.process.kill()
        elif by == "stop":
            self.daemon.process.terminate()
        elif by == "poison":
            provoke = self._poison
        elif by == "bulk":
            provoke = self._bulk
        if provoke is not None:
            threading.Thread(target=provoke, daemon=True).start()

    def _poison(self) -> None:
        self._post({"id": f"poison-{self.rounds}", "name": "poison"})

    def _bulk(self) -> None:
        """Enough for checkpoints, and all the time there is something to forget."""
        for number in range(200):
            noise = f"{self.rounds}-{number}-{self.chance.random()}"
            event = {"id": noise, "name": "bulk", "summary": noise}
            if not self._post(event, json.dumps(event) + " " * len(BALLAST)):
                return
            time.sleep(0.002)

    def _post(self, event: object, body: str = "") -> bool:
        try:
            post(f"{self.daemon.url}/v1/events", body.encode() if body else event)
        except OSError:
            return False
        except Exception:  # noqa: BLE001 - half an answer of a process that died
            return False
        return True


def crash(folder: Path, rounds: int, seed: int, names: tuple[str, ...] = tuple(POINTS)) -> Crashes:
    """Crash at each place so often; check everything at the end."""
    crashes = Crashes(folder, seed, names)
    try:
        crashes.daemon.start(env=crashes.faults.env)
        for name in names:
            crashes.run(name, rounds)
        crashes.finish()
    finally:
        if crashes.daemon.process is not None:
            crashes.daemon.process.kill()
    return crashes


def crash_migrations(folder: Path, rounds: int, seed: int) -> int:
    """Kill where a store of the first schema is brought up to date; in how many it came to that.

    Whatever was done of it, the next start does the rest.
    """
    chance, killed = random.Random(seed), 0
    first = files("eventd.store").joinpath("schema", "001.sql").read_text("utf-8")
    for number in range(rounds):
        daemon = Daemon(folder / str(number))
        faults = Faults(daemon.folder, daemon.state)
        faults.build()
        if number % 2:
            daemon.state.mkdir(mode=0o700)
            with closing(sqlite3.connect(daemon.state / DATABASE)) as db:
                db.executescript(f"BEGIN;{first};PRAGMA user_version = 1;COMMIT;")
        call, last = chance.choice([("write", 40), ("fsync", 8)])
        end = chance.choice(["kill", "killed"])
        faults.plan(f"{call} * {chance.randint(1, last)} {end}")
        try:
            with suppress(AssertionError):
                daemon.start(env=faults.env)
            killed += daemon.process is not None and daemon.process.poll() == -signal.SIGKILL
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()
            faults.off()
            daemon.start(env=faults.env)
            assert post(f"{daemon.url}/v1/events", {"id": "a", "name": "a"})[0] == 202
            assert daemon.stop() == 0
            check(daemon, ["a"])
        finally:
            if daemon.process is not None:
                daemon.process.kill()
    return killed


def main() -> None:
    """Print a line of JSON for each place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for name in POINTS:
        with tempfile.TemporaryDirectory() as folder:
            done = crash(Path(folder), given.rounds, given.seed, (name,))
            report = {"rounds": done.rounds, "acknowledged": done.ledger.total}
            slowest = round(max(done.starts), 2)
            print(json.dumps({"at": name, **report, "slowest_start_s": slowest}), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        killed = crash_migrations(Path(folder), given.rounds, given.seed)
        print(json.dumps({"at": "migration", "rounds": given.rounds, "killed": killed}))


if __name__ == "__main__":
    main()
