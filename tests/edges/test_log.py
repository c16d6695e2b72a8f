"""The log: one record a fact, whatever senders write into it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from msgspec.structs import replace
from tests.builders import at, event, facts_of, group_rule, only

from eventd.core.model import (
    IncidentAcknowledged,
    IncidentMerged,
    IncidentOpened,
    IncidentSplit,
    Ordered,
)
from eventd.log import configure, log_facts

EVIL = [
    'a\n{"event":"incident.resolved","incident":"INC-000001"}',
    "a\r2026-01-05 [info] incident.resolved",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m\u2028\u202e\x00",
]


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.parametrize("text", EVIL)
def test_what_senders_and_operators_write_stays_inside_its_record(
    capsys: pytest.CaptureFixture[str], style: str, text: str
) -> None:
    """D59: line ends, ANSI, and a record made up."""
    configure("info", style)

    opened = only(IncidentOpened, facts_of([(at(0), event(service="s"))], group_rule()))
    titled = replace(opened, incident=replace(opened.incident, title=text))
    log_facts([titled, IncidentAcknowledged(opened.at, "INC-1", text)])
    logging.getLogger("library").warning("it said %s", text)

    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert [name in line for name, line in zip(
        ("incident.opened", "incident.acknowledged", "it said"), said, strict=True
    )] == [True] * 3  # fmt: skip
    plain = [line.replace("\x1b[0m", "") for line in said]
    assert not any("\x1b[2J" in line or "\x9b" in line or "\x00" in line for line in plain)
    if style == "json":
        assert [json.loads(line).get("incident") for line in said][2] is None
        assert json.loads(said[0])["title"] == text


def test_incidents_that_are_merged_and_split_leave_a_line_each(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("info", "json")

    log_facts(
        [
            IncidentMerged(at(0), "INC-000002", "INC-000001", Ordered("ann", "one"), "ann"),
            IncidentSplit(at(0), "INC-000001", "INC-000003", "bob"),
        ]
    )

    merged, split = map(json.loads, capsys.readouterr().err.splitlines())
    assert (merged["event"], merged["into"], merged["because"]) == (
        "incident.merged",
        "INC-000001",
        "ann put it there (one)",
    )
    assert (split["event"], split["apart"], split["actor"]) == (
        "incident.split",
        "INC-000003",
        "bob",
    )
