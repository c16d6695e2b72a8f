"""Real processes for acceptance tests: eventd, and a mosquitto of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "config" / "mosquitto" / "eventd.conf"
GROUPING = ROOT / "docs" / "examples" / "grouping.yaml"
BY_SERVICE = Path(__file__).parent / "by_service.yaml"  # leaves the rest to the correlation
PATIENCE = 60.0  # s for whatever is waited for: a loaded machine fails no test, speed is for bench/
POLL = 0.02  # s between looks at a process's state
_HELD: list[socket.socket] = []  # one for each free port that was asked for


def free_port() -> int:
    """A TCP port nobody listens on.

    It stays bound here, so that the system gives it to nobody else, also not while the process
    that listens there is started again; who names it can have it beside (socket(7), SO_REUSEADDR).
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _HELD.append(held)
    return int(held.getsockname()[1])


def unmeasured() -> dict[str, str]:
    """The environment without coverage, which costs half of a start and dies with a kill -9."""
    return {name: value for name, value in os.environ.items() if "COVERAGE" not in name}


def get(url: str, timeout: float = PATIENCE) -> tuple[int, bytes]:
    """Status and body, also of an error."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def post(url: str, body: object, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """POST JSON; status and body, also of an error."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        url, data, {"Content-Type": "application/json", **(headers or {})}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def until(condition: Callable[[], T], within: float = PATIENCE, what: str = "the condition") -> T:
    """The condition's first true value; AssertionError when time is up."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(POLL)
    raise AssertionError(f"{what} did not hold within {within} s")


class Mosquitto:
    """A broker with the shipped profile, its persistence in `folder`.

    The profile saves with every message, some 900 a second: a benchmark of eventd leaves that out.
    """

    def __init__(self, folder: Path, *, saves: bool = True) -> None:
        self.folder, self.port, self.saves = folder, free_port(), saves
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o777)  # mosquitto drops root to its own user
        text = [
            f"listener {self.port} 127.0.0.1" if line.startswith("listener ") else line
            for line in PROFILE.read_text().splitlines()
            if not line.startswith("persistence_location")
            and (self.saves or not line.startswith("autosave"))
        ]
        conf = self.folder / "mosquitto.conf"
        conf.write_text("\n".join([*text, f"persistence_location {self.folder}/", "user root", ""]))
        with (self.folder / "mosquitto.log").open("ab") as log:
            self.process = subprocess.Popen([binary, "-c", str(conf)], stdout=log, stderr=log)
        until(self._answers, what="mosquitto listening")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Daemon:
    """`eventd run` on `folder`; started, killed and started again on the same state.

    Its rules group by labels unless `config` says otherwise: incidents open at once. Coverage is
    `measured` where a test is about the process itself: it takes as long again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        mqtt_port: int | None = None,
        config: dict[str, Any] | None = None,
        program: tuple[str, ...] = ("-m", "eventd"),
        measured: bool = False,
        python: str = sys.executable,
    ) -> None:
        self.folder, self.port = folder, free_port()
        self.program = (python, *program)
        self.env = dict(os.environ) if measured else unmeasured()
        self.state = folder / "state"
        self.url = f"http://127.0.0.1:{self.port}"
        settings: dict[str, Any] = {
            "listen": f"127.0.0.1:{self.port}",
            "state": str(self.state),
            "rules": str(GROUPING),
        }
        if mqtt_port is not None:
            settings["sources"] = {
                "mqtt": [
                    {
                        "name": "plant",
                        "host": "127.0.0.1",
                        "port": mqtt_port,
                        "topics": [{"filter": "events/#", "decoder": "native"}],
                    }
                ]
            }
        settings.update(config or {})
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "eventd.yaml"
        self.config.write_text(json.dumps(settings))
        self.log = folder / "eventd.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *args: str, env: dict[str, str] | None = None, log: int = -1) -> float:
        """Start and wait until ready; seconds it took. `log` is a descriptor, a file else."""
        began = time.monotonic()
        self.launch(*args, env=env, log=log)
        self.wait_ready()
        return time.monotonic() - began

    def wait_ready(self) -> None:
        """Once it was launched."""
        until(self._ready, PATIENCE, "eventd ready")

    def launch(self, *args: str, env: dict[str, str] | None = None, log: int = -1) -> None:
        """Start."""
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [*self.program, "run", "--config", str(self.config), *args],
                stdout=file if log < 0 else log,
                stderr=subprocess.STDOUT,
                env={**self.env, **(env or {})},
            )

    def kill(self) -> None:
        """kill -9, at once."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self, within: float = PATIENCE) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(within)

    def frozen_in_commit(self) -> bool:
        """Stop the process and say whether a thread of it is writing or syncing a file."""
        os.kill(self.pid, signal.SIGSTOP)
        until(lambda: "\nState:\tT" in Path(f"/proc/{self.pid}/status").read_text(), what="a stop")
        return any(_in_commit(task) for task in sorted(Path(f"/proc/{self.pid}/task").iterdir()))

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def api(self, path: str) -> dict[str, Any]:
        """GET under /api/v1, decoded."""
        status, body = get(f"{self.url}/api/v1/{path}")
        assert status == 200, (status, body)
        return json.loads(body)

    def every(self, path: str) -> list[dict[str, Any]]:
        """All items of a list, page by page."""
        items: list[dict[str, Any]] = []
        after = ""
        joint = "&" if "?" in path else "?"
        while True:
            page = self.api(f"{path}{joint}limit=500{after}")
            items += page["items"]
            if page["next"] is None:
                return items
            after = f"&after={page['next']}"

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by name and labels as they stand."""
        _, body = get(f"{self.url}/metrics")
        return samples(body)

    def subscribed(self) -> bool:
        """Whether the broker keeps messages for it: readiness does not wait for that."""
        return self.metrics().get('eventd_mqtt_connected{source="plant"}') == 1.0

    def accounts(self) -> dict[str, float]:
        """What became of the events that were received."""
        return accounts(self.metrics())

    def _ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"eventd left with {self.process.returncode}:\n{self.tail()}")
        try:
            return get(f"{self.url}/-/ready", 2.0)[0] == 200
        except OSError:
            return False

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-4000:]


def samples(page: bytes) -> dict[str, float]:
    """Every sample of a page of metrics."""
    rows = [line for line in page.decode().splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (row.rpartition(" ") for row in rows)}


def accounts(found: dict[str, float]) -> dict[str, float]:
    """Events by what became of them, of all sources; AssertionError where the sums differ."""
    parts = ("received", "applied", "duplicate", "refused", "quarantined", "waiting")
    total = {
        part: sum(value for name, value in found.items() if _is_of(name, part)) for part in parts
    }
    assert total["received"] == sum(total[part] for part in parts[1:]), total
    return total


def _is_of(name: str, part: str) -> bool:
    suffix = "" if part == "waiting" else "_total"
    return name.partition("{")[0] == f"eventd_events_{part}{suffix}"


# x86-64 and arm64 numbers of pwrite64, fsync, fdatasync
_FILE_CALLS = {"18", "74", "75", "68", "82", "83"}


def _in_commit(task: Path) -> bool:
    try:
        return (task / "syscall").read_text().split()[0] in _FILE_CALLS
    except (OSError, IndexError):
        return False
