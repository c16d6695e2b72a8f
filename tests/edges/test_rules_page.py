"""The examples of docs/rules.md do what they say, and every kind has one."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from tests.builders import TICK, Feed, at, engine_with, event, run

from eventd.core.labels import severity_of
from eventd.core.model import (
    Event,
    Fact,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    RuleMissed,
    Severity,
    Status,
)
from eventd.core.rules import KINDS
from eventd.core.rules.rule import parse_span
from eventd.core.sentences import near_miss

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
BLOCKS = [yaml.safe_load(one) for one in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
CASES = [(block["rules"], case) for block in BLOCKS for case in block.get("tests", ())]
SETTLED = timedelta(days=2)


def said(line: dict[str, object], number: int) -> Event:
    """A line of a test's feed."""
    fields = {key: value for key, value in line.items() if key != "at"}
    severity = severity_of(str(fields.pop("severity", "major")))
    status = Status(fields.pop("status", "firing"))
    told = {"ci": "", "service": "", "id": f"{number}", **fields}
    return event(status=status, severity=severity or Severity.MAJOR, **told)  # type: ignore[arg-type] # checked there


def what(fact: Fact) -> dict[str, object] | None:
    """A fact as a test wants it, if it is one of those."""
    match fact:
        case IncidentOpened(incident=new) if new.rule != "correlation":
            root = {"root": new.roots[0].ci} if new.roots else {}
            return {"opened": {"title": new.title, "priority": f"P{new.priority}", **root}}
        case IncidentResolved():
            return {"resolved": fact.incident}
        case IncidentReopened():
            return {"reopened": fact.incident}
        case RuleMissed():
            return {"missed": near_miss(fact)}
        case _:
            return None


@pytest.mark.parametrize(("rules", "case"), CASES, ids=[case["name"] for _, case in CASES])
def test_an_example_does_what_it_says(
    rules: list[dict[str, object]], case: dict[str, list[dict[str, object]]]
) -> None:
    feed: Feed = [
        (at(parse_seconds(line["at"])), said(line, n)) for n, line in enumerate(case["feed"])
    ]

    facts = run(engine_with(*rules), [*feed, (feed[-1][0] + SETTLED, TICK)])

    told = [(fact.at, one) for fact in facts if (one := what(fact)) is not None]
    wanted = [(at(parse_seconds(line.pop("at"))), line) for line in map(dict, case["want"])]
    if not any("resolved" in one for _, one in wanted):
        told = [(when, one) for when, one in told if "resolved" not in one]
    assert told == wanted


def parse_seconds(text: object) -> float:
    """A time of a test."""
    return 0.0 if text in {"0s", "0m"} else parse_span(text)


def test_every_kind_has_a_section_and_an_example() -> None:
    shown = {kind for block in BLOCKS for one in block["rules"] for kind in KINDS if kind in one}

    assert shown == set(KINDS)
    assert set(re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)) >= set(KINDS)
