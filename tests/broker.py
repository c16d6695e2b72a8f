"""A real mosquitto for the tests, with the profile that eventd ships."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from paho.mqtt import publish

from tests.acceptance.daemon import PATIENCE, free_port

PROFILE = Path(__file__).parents[1] / "config" / "mosquitto" / "eventd.conf"
_OURS = ("listener", "persistence_location", "log_dest", "pid_file", "user")


def mosquitto_or_skip() -> str:
    """Where mosquitto is; without one the test fails in CI and is skipped elsewhere."""
    found = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent("mosquitto is not installed: apt-get install mosquitto")
    return found


class Mosquitto:
    """One broker on one port; killed and started again, it remembers what it has on disk."""

    def __init__(self, folder: Path, *extra: str, durable: bool = True) -> None:
        """`extra` are lines of configuration, for the listener too.

        One that is not `durable` writes its memory when it is stopped, and is much faster.
        """
        self.port = free_port()
        self._binary = mosquitto_or_skip()
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[str] | None = None
        left_out = _OURS if durable else (*_OURS, "autosave")
        shipped = [x for x in PROFILE.read_text().splitlines() if not x.startswith(left_out)]
        ours = [
            f"persistence_location {folder}/",
            f"user {getpass.getuser()}",
            "log_dest stderr",
            "connection_messages false",
            f"listener {self.port} 127.0.0.1",
        ]
        self._config.write_text("\n".join([*shipped, *ours, *extra, ""]))

    @contextmanager
    def running(self) -> Iterator[Mosquitto]:
        """Started at first and stopped at the end, unless the test did."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def start(self) -> None:
        """Return when it listens."""
        self._process = subprocess.Popen(
            [self._binary, "-c", str(self._config)], stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if line.rstrip().endswith("running"):
                return
        pytest.fail("mosquitto did not start:\n" + "".join(said))

    def kill(self) -> None:
        """As a power cut would, but for the page cache."""
        self._end("kill")

    def stop(self) -> None:
        """Let it write down everything."""
        self._end("terminate")

    def publish(self, topic: str, *payloads: str, qos: int = 1, retain: bool = False) -> None:
        """Send, and return when the broker has taken all of them."""
        publish.multiple([(topic, p, qos, retain) for p in payloads], "127.0.0.1", self.port)

    def _end(self, how: str) -> None:
        if self._process is not None:
            getattr(self._process, how)()
            self._process.communicate(timeout=PATIENCE)
            self._process = None
