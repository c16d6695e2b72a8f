"""The demo is the real thing, and tells the same story each time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.acceptance.daemon import free_port, get

COMMAND = [sys.executable, "-m", "eventd", "demo"]
README = Path(__file__).parents[2] / "README.md"


def playing(**env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, "--exit", "--json", "--speed", "40", "--listen", f"127.0.0.1:{free_port()}"],
        stdout=subprocess.PIPE,
        env={**os.environ, **env},
    )


def told(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    said, _ = process.communicate(timeout=180)
    assert process.returncode == 0
    summary: dict[str, Any] = json.loads(said)
    return summary


def story(summary: dict[str, Any]) -> list[tuple[str, str, str, list[list[str]]]]:
    return [
        (one["title"], one["priority"], one["roots"][0]["ci"], one["members"])
        for one in summary["incidents"]
    ]


def test_it_folds_hundreds_of_events_into_a_few_incidents_alike_without_a_broker(
    tmp_path: Path,
) -> None:
    with_broker, without = playing(), playing(PATH=str(tmp_path), EVENTD="")

    first, second = told(with_broker), told(without)

    assert story(first) == story(second)
    assert first["events"] > 500
    assert len(first["incidents"]) < 10
    roots = {one["roots"][0]["ci"] for one in first["incidents"] if one["priority"] == "P1"}
    assert roots == {"san-dc1-1", "rtr-br-north"}
    assert [one["title"] for one in first["incidents"]][-1] == "gateway silent on gw-plant-1"
    assert all(one["because"] for one in first["incidents"])


def test_it_stays_up_until_ctrl_c_and_everything_is_still_there(tmp_path: Path) -> None:
    state = tmp_path / "state"
    printed = []
    for _ in range(2):
        port = free_port()
        process = subprocess.Popen(
            [*COMMAND, "--speed", "60", "--state", str(state), "--listen", f"127.0.0.1:{port}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            printed.append(line)
            if "Ctrl-C" in line:
                break
        status, body = get(f"http://127.0.0.1:{port}/api/v1/incidents?priority=P1")
        assert (status, len(json.loads(body)["items"])) == (200, 2)
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
        process.stdout.close()
        assert process.wait(30) == 0
        assert "is kept in" in said

    assert timeless(shown()) in timeless("".join(printed))


def shown() -> str:
    """The incident of the README."""
    (block,) = re.findall(r"```text\n(INC-.*?)```", README.read_text(), re.DOTALL)
    return str(block)


def timeless(text: str) -> str:
    """The text without what differs from one playing to the next: times, and the order of ids."""
    text = re.sub(r"INC-[0-9]+", "INC", text)
    text = re.sub(r"since [-0-9T:]+Z", "since", text)
    return re.sub(r"(under )?[0-9]+ s (before|after)", r"\2", text)
