"""The examples of docs/rules.md do what they say, and every kind has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from eventd.cases import read_cases
from eventd.core.rules import KINDS
from eventd.lint import rules_of
from eventd.ruletests import run

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "rules.md").read_text()
SEC = DOCS / "examples" / "sec.yaml"
SEC_TYPES = (
    "Single", "SingleWithScript", "SingleWithSuppress", "Pair", "PairWithWindow",
    "SingleWithThreshold", "SingleWith2Thresholds", "EventGroup", "Suppress", "Calendar", "Jump",
    "contexts",
)  # fmt: skip
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
TESTED = [one for one in BLOCKS if "\ntests:\n" in one]


@pytest.mark.parametrize("block", TESTED, ids=lambda one: re.findall(r"name: (\S+)", one)[0])
def test_an_example_does_what_it_says(tmp_path: Path, block: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(block)

    results = [run(case) for case in read_cases(file)]

    assert results
    for result in results:
        assert result.good, (result.case.name, *result.difference())


def test_every_kind_has_a_section_and_an_example() -> None:
    rules = [one for block in BLOCKS for one in yaml.safe_load(block)["rules"]]
    shown = {kind for one in rules for kind in KINDS if kind in one}

    assert shown == set(KINDS)
    assert set(re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)) >= set(KINDS)


def test_each_rule_type_of_sec_has_a_rule_of_the_kind_that_is_linked_and_a_passing_test() -> None:
    rows = re.findall(
        r"^\| (\w+) \| [^|]+ \| ([^|]+) \| \[(\w+)\]\(examples/sec\.yaml\) \|", PAGE, re.MULTILINE
    )
    kinds = {one.rule.name: one.rule.kind for one in rules_of(SEC)}
    passed = {case.name for case in read_cases(SEC) if run(case).good}

    assert tuple(name for name, _, _ in rows) == SEC_TYPES
    for name, linked, test in rows:
        assert test == name
        assert name in passed
        assert f"[`{kinds[name]}`](#{kinds[name]})" in linked
