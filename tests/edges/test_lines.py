"""What senders wrote stands on a terminal as text, whichever command shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.builders import Feed, at, event, group_rule, inventory, load
from tests.edges.api_desk import api_desk

from eventd.cli import COMMANDS, main
from eventd.core.model import AddSilence, Ci, Comment, Matcher, Service, Severity

FORGED = "INC-000777  P1  open"
HOSTILE = f"a\x1b]0;t\x07\x1b[2K\r\n{FORGED}\x9b2J\u202e\u2028\x7fb"
ALERT = event(
    HOSTILE, ci=HOSTILE, service=HOSTILE, summary=HOSTILE, labels={"l": HOSTILE}, payload="1"
)
MINOR = event(HOSTILE, ci="b", service=HOSTILE, severity=Severity.INFO, payload="2")
RULE = group_rule(
    match="severity>=major", title="{name} on {ci}", workaround=HOSTILE, assign=HOSTILE
)
INCIDENT = "INC-000001"
SELECTOR = json.dumps(HOSTILE, ensure_ascii=False)

FEED: Feed = [
    (at(0), load(RULE)),
    (at(0), inventory(Service(HOSTILE, owner=HOSTILE), Ci(HOSTILE, service=HOSTILE))),
    (at(1), ALERT),
    (at(2), MINOR),
    (at(3), Comment(INCIDENT, "ann", HOSTILE)),
    (at(4), AddSilence((Matcher("ci", "=", HOSTILE),), at(9_000), "ann", HOSTILE)),
]

ASKED = (
    ("incidents",),
    ("incidents", "--json"),
    ("incidents", INCIDENT),
    ("incidents", "show", INCIDENT, "--why"),
    ("incidents", "ack", INCIDENT),
    ("incidents", "ack", INCIDENT, "--actor", HOSTILE),
    ("incidents", "verdict", INCIDENT, "true", "--text", HOSTILE),
    ("incidents", HOSTILE),
    ("incidents", HOSTILE, INCIDENT),
    ("incidents", "--priority", HOSTILE),
    ("alerts",),
    ("alerts", "--json"),
    ("alerts", "--severity", HOSTILE),
    ("why", ALERT.fingerprint),
    ("why", MINOR.fingerprint),
    ("why", HOSTILE),
    ("why", f"{HOSTILE}?"),
    ("why", INCIDENT),
    ("silence", "add", 'ci="x"', "--for", HOSTILE, "--comment", HOSTILE),
    ("silence", "list"),
    ("silence", "end", HOSTILE),
    ("inventory", "gaps"),
    ("send", "--name", HOSTILE),
)  # fmt: skip
TESTS = [{"name": HOSTILE, "feed": [{"at": "0m", "name": HOSTILE, "ci": HOSTILE}], "want": []}]
FILES = {
    f"{HOSTILE}.yaml": json.dumps({"rules": [RULE], "tests": TESTS}),
    "other.yaml": json.dumps({"rules": [RULE | {"incident": {"title": "{ci}"}}]}),
    "wrong.yaml": json.dumps({"rules": [{"name": HOSTILE, HOSTILE: 1}, {"name": HOSTILE}]}),
    "inventory.yaml": json.dumps({"cis": [{"name": HOSTILE, "depends_on": [HOSTILE, "x"]}]}),
    f"{HOSTILE}.csv": f"timestamp,value\n2026-01-05T14:00:00Z,1\n{HOSTILE},2\n",
    "a.jsonl": "\n".join(
        json.dumps({"received_at": "2026-03-02T09:00:00Z", "name": HOSTILE, "ci": HOSTILE} | own)
        for own in ({}, {"service": HOSTILE}, {HOSTILE: 1})
    ),
}  # fmt: skip
RULES = f"{HOSTILE}.yaml"
OFFLINE = (
    ("test", RULES),
    ("test", RULES, "--json"),
    ("test", "wrong.yaml"),
    ("check", RULES),
    ("check", "--strict", RULES, "--store", "state"),
    ("check", "wrong.yaml"),
    ("check", "inventory.yaml"),
    ("check", "--store", "state"),
    ("check", "--store", HOSTILE),
    ("replay", "a.jsonl", "--rules", RULES),
    ("replay", "a.jsonl", "--rules", RULES, "--json"),
    ("replay", "--journal", "state", "--since", "7d", "--against", "other.yaml"),
    ("replay", f"--{HOSTILE}"),
    ("replay", f"{HOSTILE}.csv"),
    ("replay", HOSTILE),
    ("replay", "a.jsonl", "--since", HOSTILE),
    ("score", f"{HOSTILE}.csv"),
    ("score", f"{HOSTILE}.csv", "--explain", "9"),
    ("why", HOSTILE, "--journal", "state"),
    ("why", HOSTILE, "--journal", "state", "--json"),
    ("why", HOSTILE, "--journal", "state", "--rule", HOSTILE),
    ("export", "--state", HOSTILE),
    ("run", "--config", f"{HOSTILE}.csv"),
    ("demo", "--listen", HOSTILE),
    (HOSTILE,),
)  # fmt: skip


def seen(words: tuple[str, ...], output: str) -> None:
    """Fail where a terminal would do more than show lines, or one is not eventd's own."""
    assert "Traceback" not in output, words
    assert all(line.isprintable() for line in output.split("\n")), (words, output)
    assert not any(line.strip().startswith(FORGED) for line in output.split("\n")), (words, output)


async def test_what_a_daemon_tells_is_text(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FEED) as desk:
        told = {words: (await desk.shell(*words)).output for words in ASKED}

    for words, output in told.items():
        seen(words, output)
    assert sum("a\\x1b]0;t\\x07" in output for output in told.values()) >= 12
    (listed,) = json.loads(told["incidents", "--json"])["items"]
    assert listed["title"] == f"{HOSTILE} on {HOSTILE}"


async def test_so_is_what_files_and_arguments_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with api_desk(tmp_path / "state", FEED):
        pass
    for name, text in FILES.items():
        Path(name).write_text(text, encoding="utf-8")

    for words in OFFLINE:
        seen(words, CliRunner().invoke(main, words).output)
    assert CliRunner().invoke(main, ["silence"]).output.count("\n") > 9  # help stays as it is
    assert {words[0] for words in (*ASKED, *OFFLINE)} >= {*COMMANDS}
