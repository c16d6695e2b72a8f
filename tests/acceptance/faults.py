"""Failing disks: the Nth fsync, then the Nth write of a real process ends in EIO.

    python -m tests.acceptance.faults --upto 200

One state directory lives through all rounds. Each starts eventd on a disk of which one call will
fail, loads it until it leaves, starts it again on a good disk, and goes on. What was acknowledged
in any round must be there at the end.

At the start SQLite may get over two kinds of failure without a word. Where the sync of the
directory fails in which it made or deleted a file, eventd syncs it once more itself. Where the
index of the log cannot be stretched, it is tried again; it is made anew from the log anyhow.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from eventd.store.database import DATABASE
from tests.acceptance.daemon import PATIENCE, Daemon

SOURCE = Path(__file__).with_name("faults.c")
LEAVES_WITHIN = 5.0  # s after the fault; RELIABILITY D05, where nothing else is running
SENDERS = 3


class Hit(NamedTuple):
    """When a call failed, had waited or killed, on the monotonic clock; the file's name."""

    at: float
    name: str


class Faults:
    """A library to preload that makes file calls under `root` fail, wait or be the last."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._plan, self._log = folder / "fault.plan", folder / "fault.log"
        self.env = {
            "LD_PRELOAD": str(folder / "faults.so"),
            "FAULT_PLAN": str(self._plan),
            "FAULT_LOG": str(self._log),
            "FAULT_ROOT": str(root),
        }

    def build(self) -> None:
        """Compile it; that takes a C compiler."""
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", self.env["LD_PRELOAD"], str(SOURCE)]
        subprocess.run([*command, "-ldl", "-lpthread"], check=True)
        self.off()

    def plan(self, line: str) -> None:
        """What to do from the next call on; the words are explained in `faults.c`."""
        new = self._plan.with_suffix(".new")
        new.write_text(line + "\n")
        new.replace(self._plan)

    def off(self) -> None:
        """Leave every call alone."""
        self.plan("off")

    def hits(self) -> list[Hit]:
        """Every call that was hit."""
        if not self._log.exists():
            return []
        lines = (line.split(" ", 1) for line in self._log.read_text().splitlines())
        return [Hit(float(at), Path(path).name) for at, path in lines]


class Answer(NamedTuple):
    """A 202, and when its delivery went out and it came."""

    id: str
    sent: float
    came: float


class Sender(threading.Thread):
    """Posts one event after the other and notes the 202s; what fails goes out once more."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(daemon=True)
        self.port, self.prefix = port, name
        self.answers: list[Answer] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        number = 0
        while not self.stopping.is_set():
            event = {"id": f"{self.prefix}-{number}", "name": f"alert-{number % 20}"}
            sent = time.monotonic()
            try:
                connection.request("POST", "/v1/events", json.dumps(event))
                answer = connection.getresponse()
                came = time.monotonic()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                time.sleep(0.01)
                continue
            if answer.status == 202:
                self.answers.append(Answer(event["id"], sent, came))
                number += 1
        connection.close()


class Report(NamedTuple):
    """What a run of failing calls showed."""

    rounds: int
    at_start: int  # rounds in which eventd did not get ready
    unnoticed: int  # rounds in which SQLite got over it, see above
    acknowledged: int
    crossed: int  # answers on their way when the fault came, all for what was durable before
    latest_answer: float  # s after the fault
    slowest_exit: float  # s after the fault


def fail_each(folder: Path, calls: Iterable[tuple[str, int]], senders: int = SENDERS) -> Report:
    """Fail the Nth of each kind of call. Raise AssertionError where a promise is broken."""
    daemon = Daemon(folder, config={"log": {"level": "warning"}})
    faults = Faults(folder, daemon.state)
    faults.build()
    rounds: list[_Round] = []
    try:
        for call, nth in calls:
            faults.plan(f"{call} * {nth} EIO")
            rounds.append(_round(daemon, faults, f"{call}-{nth}", senders))
            faults.off()
            daemon.start(env=faults.env)
            daemon.kill()
        daemon.start(env=faults.env)
        assert daemon.stop() == 0
        check(daemon, [one.id for each in rounds for one in each.answers])
    finally:
        if daemon.process is not None:
            daemon.process.kill()
    assert "Traceback" not in daemon.log.read_text(), daemon.tail()
    crossed = [one.came - each.fault for each in rounds for one in each.late()]
    return Report(
        rounds=len(rounds),
        at_start=sum(not each.ready for each in rounds),
        unnoticed=sum(each.unnoticed for each in rounds),
        acknowledged=sum(len(each.answers) for each in rounds),
        crossed=len(crossed),
        latest_answer=round(max(crossed, default=0.0), 4),
        slowest_exit=round(max(each.left - each.fault for each in rounds), 2),
    )


class _Round(NamedTuple):
    ready: bool
    unnoticed: bool
    fault: float
    left: float
    answers: list[Answer]

    def late(self) -> list[Answer]:
        """That came after the fault."""
        return [] if self.unnoticed else [one for one in self.answers if one.came > self.fault]


def _round(daemon: Daemon, faults: Faults, name: str, senders: int) -> _Round:
    """Until it leaves, as it must."""
    before = len(faults.hits())
    posting = [Sender(daemon.port, f"{name}-{n}") for n in range(senders)]
    ready = _starts(daemon, faults)
    assert daemon.process is not None
    hits = {hit.name for hit in faults.hits()[before:]}
    if unnoticed := ready and hits in ({daemon.state.name}, {f"{DATABASE}-shm"}):
        daemon.kill()
        code = 1
    else:
        for one in posting if ready else ():
            one.start()
        code = daemon.process.wait(PATIENCE)
    left = time.monotonic()
    for one in posting:
        one.stopping.set()
        if one.is_alive():
            one.join(PATIENCE)
    fault = left if unnoticed else faults.hits()[before].at
    answers = [answer for one in posting for answer in one.answers]
    found = _Round(ready, unnoticed, fault, left, answers)
    assert code == 1, (name, code, daemon.tail())
    assert not [one for one in found.late() if one.sent > fault], (name, found.late())
    return found


def _starts(daemon: Daemon, faults: Faults) -> bool:
    """Whether it gets ready."""
    try:
        daemon.start(env=faults.env)
    except AssertionError:
        return False
    return True


def check(daemon: Daemon, acked: list[str]) -> None:
    """The store of a stopped daemon keeps every promise, and holds all these."""
    file = daemon.folder / "acked.txt"
    file.write_text("".join(f"{one}\n" for one in acked))
    done = subprocess.run(
        [sys.executable, "-m", "eventd", "check", "--store", daemon.state, "--acked", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def main() -> None:
    """Print a line of JSON for each kind of call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upto", type=int, default=200)
    given = parser.parse_args()
    for call in ("fsync", "write"):
        with tempfile.TemporaryDirectory() as folder:
            rounds = ((call, nth) for nth in range(1, given.upto + 1))
            report = fail_each(Path(folder), rounds)
            print(json.dumps({"call": call, "error": "EIO", **report._asdict()}), flush=True)
            assert report.slowest_exit <= LEAVES_WITHIN


if __name__ == "__main__":
    main()
