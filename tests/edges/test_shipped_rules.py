"""The rules that come with eventd: each with its cases, near misses among them, and a paragraph."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from eventd.cases import Row, read_cases
from eventd.cli import main
from eventd.files import default_rules, rule_files
from eventd.lint import rules_of
from eventd.ruletests import run

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
BANK = ROOT / "tests" / "rules" / "bank.yaml"  # what an operator of the generated bank would write
SHIPPED = [one for one in rule_files(default_rules()) if rules_of(one)]


def test_the_tests_of_the_default_set_pass() -> None:
    done = CliRunner().invoke(main, ["test"])

    assert done.exit_code == 0, done.output
    assert done.output.endswith(" 0 failed\n")


def acted(row: Row) -> str:
    """The rule that opened, noted or suppressed something."""
    if row.what == "suppressed":
        return row.said["by"].partition(":")[2]
    return row.said["rule"] if row.what in {"opened", "noted", "raised"} else ""


@pytest.mark.parametrize("file", SHIPPED, ids=lambda one: one.stem)
def test_every_rule_has_three_cases_and_a_near_miss(file: Path) -> None:
    rules = {one.rule.name for one in rules_of(file)}
    cases = list(read_cases(file))

    acting = {acted(row) for case in cases for row in run(case).happened}
    misses = [case for case in cases if "near miss" in case.name]

    assert rules <= acting
    assert len(cases) >= 3 * len(rules)
    assert len(misses) >= len(rules)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda one: one.stem)
def test_every_file_begins_with_a_paragraph_for_newcomers(file: Path) -> None:
    lines = file.read_text().splitlines()
    head = lines[: lines.index("rules:")]

    assert all(line.startswith("#") for line in head)
    assert len(" ".join(head).split()) > 40


def test_the_page_names_each_file_of_the_set() -> None:
    page = (ROOT / "docs" / "rules.md").read_text()

    assert [one.stem for one in SHIPPED] == sorted(re.findall(r"\(\.\./rules/(\w+)\.yaml\)", page))


@pytest.mark.parametrize("file", [*rule_files(EXAMPLES), BANK], ids=lambda one: one.stem)
def test_the_tests_of_the_examples_pass(file: Path) -> None:
    for case in read_cases(file):
        result = run(case)
        assert result.good, (case.name, *result.difference())
