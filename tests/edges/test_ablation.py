"""The ablation replays a stream with one idea off, and puts it on again."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import pytest
from bench import ablation

INVENTORY = """\
cis:
  - {name: san}
  - {name: web, depends_on: [san]}
"""
SAYS = [  # a blip, and two that belong together
    ("10:00:00", "hr", "firing"),
    ("10:01:00", "hr", "cleared"),
    ("11:00:00", "san", "firing"),
    ("11:02:30", "web", "firing"),
    ("11:30:00", "hr", "heartbeat"),
]


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "inventory.yaml").write_text(INVENTORY)
    rows = [
        {
            "id": f"{ci} {status}", "name": "down", "ci": ci, "status": status,
            "severity": "critical", "received_at": f"2026-03-02T{time}Z",
        }
        for time, ci, status in SAYS
    ]  # fmt: skip
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "events.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    return folder


def test_every_idea_that_is_off_is_something_else_than_on() -> None:
    for idea, offs in ablation.IDEAS.items():
        on = [getattr(module, name) for module, name, _ in offs]

        with ablation.without(idea):
            off = [getattr(module, name) for module, name, _ in offs]

        assert all(one != other for one, other in zip(on, off, strict=True)), idea
        assert [getattr(module, name) for module, name, _ in offs] == on


def test_what_is_off_is_missed(
    stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ideas = ["all", "hold", "topology", "flapping"]
    command = ["ablation", str(stream), "--out", str(tmp_path / "out"), "--ideas", *ideas]
    monkeypatch.setattr(sys, "argv", command)

    ablation.main()

    found = {}
    for idea in ideas:
        lines = (tmp_path / "out" / idea / "tiny.jsonl").read_text().splitlines()
        found[idea] = [one["entities"] for one in map(json.loads, lines) if "entities" in one]
    assert found == {
        "all": [["san", "web"]],
        "hold": [["hr"], ["san", "web"]],
        "topology": [["san"], ["web"]],
        "flapping": [["san", "web"]],
    }
