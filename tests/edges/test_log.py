"""The log: one record a fact, whatever senders write into it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

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
from eventd.outlet import MAX_WAITING, Outlet

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
    capfd: pytest.CaptureFixture[str], style: str, text: str
) -> None:
    """D59: line ends, ANSI, and a record made up."""
    opened = only(IncidentOpened, facts_of([(at(0), event(service="s"))], group_rule()))
    titled = replace(opened, incident=replace(opened.incident, title=text))
    with closing(configure("info", style)):
        log_facts([titled, IncidentAcknowledged(opened.at, "INC-1", text)])
        logging.getLogger("library").warning("it said %s", text)

    said = capfd.readouterr().err.splitlines()
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
    capfd: pytest.CaptureFixture[str],
) -> None:
    with closing(configure("info", "json")):
        log_facts(
            [
                IncidentMerged(at(0), "INC-000002", "INC-000001", Ordered("ann", "one"), "ann"),
                IncidentSplit(at(0), "INC-000001", "INC-000003", "bob"),
            ]
        )

    merged, split = map(json.loads, capfd.readouterr().err.splitlines())
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


def test_a_reader_that_sleeps_costs_records_which_are_told_once_it_wakes() -> None:
    reads, writes = os.pipe()
    told: list[int] = []
    outlet, record, records = Outlet(writes, told.append), "x" * 999 + "\n", MAX_WAITING + 500
    for _ in range(records):  # a pipe holds some sixty of them
        outlet.write(record)

    came = 0
    while came // len(record) + sum(told) < records:
        came += len(os.read(reads, 1_000_000))
    outlet.close()
    os.close(writes)

    assert os.read(reads, 1) == b""
    assert told[0] > 0
    os.close(reads)


def test_a_reader_that_is_gone_costs_nothing_else() -> None:
    reads, writes = os.pipe()
    os.close(reads)

    with closing(Outlet(writes, lambda _: None)) as outlet:
        assert outlet.write("lost\n") == 5

    os.close(writes)


COLLECTED = """
import gc, os
from eventd.outlet import Outlet

class Cycle:
    def __init__(self):
        self.me = self

    def __del__(self):
        outlet.write("from the collector\\n")

outlet = Outlet(os.open(os.devnull, os.O_WRONLY), lambda _: None)
gc.set_threshold(1)
for _ in range(200_000):
    Cycle()
    outlet.write("a record\\n")
"""


def test_what_the_garbage_collector_logs_out_of_the_middle_of_a_record_stops_nothing() -> None:
    """As an exception does that nobody retrieved; a queue.Queue stands still within 70,000."""
    subprocess.run([sys.executable, "-c", COLLECTED], check=True, timeout=60)
