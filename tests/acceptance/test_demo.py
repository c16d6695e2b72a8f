"""The demo is the real thing, and tells the same story each time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.acceptance.daemon import PATIENCE, free_port, get

COMMAND = [sys.executable, "-m", "eventd", "demo"]


def played(**env: str) -> dict[str, Any]:
    done = subprocess.run(
        [*COMMAND, "--exit", "--json", "--speed", "40", "--listen", f"127.0.0.1:{free_port()}"],
        capture_output=True,
        check=True,
        timeout=2 * PATIENCE,
        env={**os.environ, **env},
    )
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def story(summary: dict[str, Any]) -> list[tuple[str, str, list[list[str]]]]:
    return [(one["title"], one["priority"], one["members"]) for one in summary["incidents"]]


def test_the_demo_folds_hundreds_of_events_into_a_few_incidents_alike_each_time() -> None:
    first, second = played(), played()

    assert story(first) == story(second)
    assert first["events"] > 500
    assert len(first["incidents"]) < 10
    assert {"P1"} <= {one["priority"] for one in first["incidents"]}
    assert all(one["because"] for one in first["incidents"])


def test_without_a_broker_it_plays_over_http_and_tells_the_same(tmp_path: Path) -> None:
    with_broker = played()

    without = played(PATH=str(tmp_path), EVENTD="")

    assert story(without) == story(with_broker)


def test_it_stays_up_until_ctrl_c_and_everything_is_still_there(tmp_path: Path) -> None:
    state = tmp_path / "state"
    for _ in range(2):
        port = free_port()
        process = subprocess.Popen(
            [*COMMAND, "--speed", "60", "--state", str(state), "--listen", f"127.0.0.1:{port}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if "Ctrl-C" in line:
                break
        status, body = get(f"http://127.0.0.1:{port}/api/v1/incidents?service=payments")
        assert (status, len(json.loads(body)["items"])) == (200, 1)
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
        assert "is kept in" in said
