"""`eventd why` at a daemon after a bad night prints what docs/correlation.md shows."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from eventd import app
from eventd.cli import main
from eventd.core.model import Event, Severity, Status
from tests.acceptance.daemon import ROOT, Daemon
from tests.builders import TICK, Feed, event
from tests.edges.store_desk import alive

INVENTORY = """\
services:
  - {name: orders, owner: team-orders, impact: 1}
cis:
  - {name: san-dc1-2, type: storage array}
  - {name: cache-1, type: cache, service: orders}
  - {name: db-orders, service: orders, depends_on: [san-dc1-2]}
  - {name: db-stock, service: orders, depends_on: [san-dc1-2]}
  - {name: api-1, service: orders, depends_on: [db-orders, {name: cache-1, redundant: true}]}
  - {name: mail-2, depends_on: [{name: san-dc1-2, redundant: true}]}
"""
NIGHT = timedelta(seconds=16_500)
MAJOR, MINOR, WARNING = Severity.MAJOR, Severity.MINOR, Severity.WARNING


def said(name: str, ci: str, severity: Severity, status: Status = Status.FIRING) -> Event:
    return event(name, ci=ci, severity=severity, status=status, service="", source="events")


def night() -> Iterator[tuple[float, Event]]:
    """What is said, and how many seconds after nightfall."""
    for second in range(200, 16_000, 3_000):  # a check cries wolf
        yield second, said("BackupSlow", "bk-01", WARNING)
        yield second + 90, said("BackupSlow", "bk-01", WARNING, Status.CLEARED)
    for second in range(0, 16_500, 30):  # one of two gateways falls silent
        yield second, said("gateway", "gw-2", Severity.INFO, Status.HEARTBEAT)
        if second < 12_000:
            yield second, said("gateway", "gw-1", Severity.INFO, Status.HEARTBEAT)
    yield 13_300, said("MemoryHigh", "cache-1", MINOR)
    yield 13_600, said("LatencyHigh", "san-dc1-2", Severity.CRITICAL)
    yield 13_640, said("SlowCommits", "db-stock", MAJOR)
    yield 13_660, said("HighErrorRate", "api-1", MAJOR)
    yield 13_800, said("QueueLong", "mail-2", WARNING)
    yield 13_890, said("QueueLong", "mail-2", WARNING, Status.CLEARED)
    yield 14_600, said("TemperatureHigh", "rack-11", MAJOR)
    yield 14_630, said("TemperatureHigh", "rack-12", MAJOR)


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """Of a daemon that takes up what was stored until a moment ago."""
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text(INVENTORY)
    daemon = Daemon(tmp_path, config={"rules": "", "inventory": inventory.name})
    nightfall = datetime.now(UTC) - NIGHT
    told = sorted(night(), key=lambda one: one[0])
    feed: Feed = [(nightfall + timedelta(seconds=second), item) for second, item in told]
    async with alive(daemon.state) as life:
        await life.submit(nightfall, app.load_inventory(inventory))
        await life.feed([*feed, (nightfall + NIGHT, TICK)])
    daemon.start()
    yield daemon.url
    assert daemon.stop() == 0


def timeless(text: str) -> str:
    return re.sub(r"\d{4}-\d\d-\d\dT", "", re.sub(r"\d\d:\d\d:\d\d", "TIME", text))


async def test_it_prints_what_the_page_shows(url: str) -> None:
    page = (ROOT / "docs" / "correlation.md").read_text()
    examples = re.findall(r"```text\n\$ eventd (why (\S+))\n(.*?)```", page, re.DOTALL)

    for command, _, shown in examples:
        printed = CliRunner().invoke(main, [*command.split(), "--url", url])

        assert timeless(printed.output) == timeless(shown), printed.output
    asked = [what for _, what, _ in examples]
    assert asked == ["api-1", "rack-12", "san-dc1-2", "mail-2", "bk-01", "gw-1"]
