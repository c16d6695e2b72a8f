"""The documents are true: commands run, rules parse, links lead somewhere, no metric lacks."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import yaml
from click.testing import CliRunner
from tests.acceptance.daemon import Daemon, post, unmeasured, until
from tests.builders import T0

from eventd.admission import ACTIONS, command_from
from eventd.cli import COMMANDS, main
from eventd.config import Environment, load
from eventd.core.model import Delivery
from eventd.core.rules import parse
from eventd.files import default_rules, load_rules
from eventd.inventory import examine, read_inventory
from eventd.metrics import Meter

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", page.read_text(), re.DOTALL)


def test_the_commands_of_the_readme_and_of_sources_run(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, config={"rules": ""})
    daemon.start()
    ran = Counter[str]()

    for block in [*blocks(ROOT / "README.md", "sh"), *blocks(ROOT / "docs" / "sources.md", "sh")]:
        if "INC-000001" in block:
            until(lambda: daemon.api("incidents")["items"], what="an incident")
        for line in block.splitlines():
            program, *args = shlex.split(line)
            if program == "curl":
                told = [word.replace("http://127.0.0.1:9095", daemon.url) for word in args]
                curl = ["curl", "--silent", "--fail-with-body", *told]
                answer = subprocess.run(curl, check=True, capture_output=True).stdout
                assert not json.loads(answer).get("rejected"), (line, answer)
            else:
                done = CliRunner().invoke(main, [*args, "--url", daemon.url])
                assert done.exit_code == 0, (line, done.output)
            ran[program] += 1

    assert ran["eventd"] >= 8
    assert ran["curl"] >= 3
    assert daemon.stop() == 0


def test_a_backup_made_and_restored_as_operations_says_has_everything(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "live")
    daemon.start()
    assert post(f"{daemon.url}/v1/events", {"name": "before", "id": "1"})[0] == 202
    assert daemon.stop() == 0  # with a snapshot
    daemon.start()
    assert post(f"{daemon.url}/v1/events", {"name": "beyond it", "id": "2"})[0] == 202
    program = tmp_path / "bin" / "eventd"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m eventd "$@"\n')
    program.chmod(0o755)
    where = f"STATE={daemon.state} BACKUP={tmp_path}/backup"
    env = {**unmeasured(), "PATH": f"{program.parent}:{os.environ['PATH']}"}

    def run(block: str) -> str:
        text, told = re.subn("^STATE=.*$", where, block, flags=re.MULTILINE)
        assert told == 1
        shell = ["bash", "-euo", "pipefail", "-c", text]
        return subprocess.run(shell, env=env, check=True, capture_output=True, text=True).stdout

    backup, restore = blocks(ROOT / "docs" / "operations.md", "sh")
    made = run(backup)
    assert post(f"{daemon.url}/v1/events", {"name": "after it", "id": "3"})[0] == 202
    daemon.kill()
    restored = run(restore)
    daemon.start()

    assert {line.split()[0] for line in (made + restored).splitlines()} == {"good"}
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o700
    assert {one["name"] for one in daemon.api("alerts")["items"]} == {"before", "beyond it"}
    assert daemon.stop() == 0


BODY: dict[str, object] = {
    "actor": "ann",
    "text": "why",
    "into": "INC-000002",
    "alerts": ["a"],
    "alert": "a",
    "verdict": False,
}


def test_what_is_done_to_incidents_takes_the_fields_that_the_page_says() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    base = "/api/v1/incidents/{id}"
    done = []

    for actions, body in re.findall(
        rf"^\| `POST {base}/(.*)` \| `\{{(.*?)\}}`", page, re.MULTILINE
    ):
        payload = json.dumps({name: BODY[name] for name in body.split(", ")}).encode()
        for action in actions.split("`, `"):
            delivery = Delivery(
                transport="http", received_at=T0, payload=payload, method="POST",
                path=f"{base}/{action}",
            )  # fmt: skip
            done.append(type(command_from(delivery)))

    assert len(set(done)) == len(done) == len(ACTIONS) + 4


def test_make_targets_and_commands_that_pages_name_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        text = page.read_text()
        assert set(re.findall(r"\bmake (run|test|lint|bench|kill)\b", text)) <= targets
        assert set(re.findall(r"`eventd (\w+)", text)) <= set(COMMANDS), page


def test_rules_and_configurations_in_the_pages_are_good(tmp_path: Path) -> None:
    rules = 0
    for page in PAGES:
        for block in blocks(page, "yaml"):
            data = yaml.safe_load(block)
            if "cis" in data:
                file = tmp_path / "inventory.yaml"
                file.write_text(block)
                assert list(examine(read_inventory(file))) == []
            elif "rules" in data:
                rules += sum(parse(one).name != "" for one in data["rules"])
            elif "receivers" not in data:
                for name, text in (("am-password", "p" * 43), ("shop-key", "whsec_" + "k" * 32)):
                    (tmp_path / name).write_text(text)
                    (tmp_path / name).chmod(0o600)
                file = tmp_path / "eventd.yaml"
                file.write_text(block)
                load(file, Environment())
    assert rules >= 2


def test_the_default_file_claims_nothing_and_the_example_in_it_is_good() -> None:
    text = (default_rules() / "default.yaml").read_text()
    example = text.replace("#   ", "  ").replace("rules: []\n", "")
    commented = "rules:\n" + "".join(
        f"{line}\n" for line in example.splitlines() if not line.startswith("#")
    )

    (rule,) = (parse(one) for one in yaml.safe_load(commented)["rules"])

    assert load_rules(default_rules() / "default.yaml").rules == ()
    assert rule.name == "backups"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), (page, target)


def test_decisions_are_numbered_as_they_are_shown_and_refer_to_one_another() -> None:
    page = (ROOT / "docs" / "decisions" / "README.md").read_text()
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", page, re.MULTILINE)]
    referred = re.findall(r"(?:by|of|see) (\d+)[.,;]", page)

    assert numbers == list(range(1, len(numbers) + 1))
    assert {int(number) for number in referred} <= set(numbers)


def test_the_table_of_metrics_is_the_registry() -> None:
    shown = re.findall(r"^\| `(eventd_\w+)` \| (\w+) \| (.*) \|$", _metrics(), re.MULTILINE)

    told = [
        (one.name + ("_total" if one.type == "counter" else ""), one.type, one.documentation)
        for one in Meter().registry.collect()
        if one.name.startswith("eventd")
    ]

    assert shown == told


# The rows that must always hold, of those that concern what there is.
ALWAYS = {
    1,
    2,
    3,
    4,
    5,
    6,
    12,
    13,
    16,
    26,
    28,
    30,
    31,
    34,
    35,
    38,
    42,
    43,
    51,
    53,
    54,
    60,
    62,
    63,
    69,
}


def test_the_table_of_proof_names_tests_there_are_and_leaves_no_row_out() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    page = (ROOT / "docs" / "proof.md").read_text()
    rows = re.findall(r"^\| D(\d\d)(✱?) \| .*? \| (.*?) ?\| (.*) \|$", page, re.MULTILINE)

    assert [int(number) for number, *_ in rows] == list(range(1, 72))
    for number, always, tests, verdict in rows:
        named = re.findall(r"`(\w+/\w+)` `(\w+)`", tests)
        commands = re.findall(r"`make (\w+)`", tests)
        assert named or commands or verdict.startswith("not built yet"), number
        assert set(commands) <= targets, number
        assert bool(always) or int(number) not in ALWAYS, number
        assert not (int(number) in ALWAYS and verdict.startswith("not built yet")), number
    for file, name in re.findall(r"`(\w+/test_\w+)` `(\w+)`", page):
        text = (ROOT / "tests" / f"{file}.py").read_text()
        assert re.search(rf"^ *(?:async )?def test_{name}\(", text, re.MULTILINE), (file, name)


def _metrics() -> str:
    return (ROOT / "docs" / "metrics.md").read_text()
