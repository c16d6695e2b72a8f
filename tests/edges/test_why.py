"""`eventd why` prints what docs/why.md shows, with rules that docs/rules.md has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import yaml
from tests.builders import T0, TICK, Feed, at, event, inventory, load, silence
from tests.edges.api_desk import api_desk

from eventd.core.model import Ci, Event, Input, Severity, Status, Window

DOCS = Path(__file__).parents[2] / "docs"
RULES = (
    "nightly-backup",
    "cpu-peaks",
    "site-is-down",
    "below-what-is-down",
    "deploys",
    "disk-then-errors",
    "hosts",
    "errors",
    "databases",
    "logins-fail",
    "got-in",
)


def rules() -> list[dict[str, object]]:
    """Those of the page, in this order."""
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / "rules.md").read_text(), re.DOTALL)
    known = {one["name"]: one for block in blocks for one in yaml.safe_load(block)["rules"]}
    return [known[name] for name in RULES]


def says(name: str, ci: str, service: str = "", **fields: object) -> Event:
    return event(name, ci=ci, service=service, **fields)  # type: ignore[arg-type] # checked there


def deploy(service: str, summary: str) -> Event:
    return says("deploy", f"{service}-1", service, status=Status.CHANGE, summary=summary)


def morning() -> Iterator[tuple[float, Input]]:
    """What is said, and how many minutes after nine."""
    window = Window(T0, T0 + timedelta(hours=2), ("nas1",), ())
    yield 0, load(*rules())
    yield 0, inventory(Ci("sw1"), Ci("host1", depends_on=("sw1",)))
    yield 0, says("NewFirmware", "", source="planner", status=Status.CHANGE, window=window)
    yield 0, silence('name="FanFailed"', at(7_200))
    yield 1, deploy("bank", "bank 7.0")
    yield 2, says("FanFailed", "rack7")
    yield 3, says("RaidDegraded", "nas1")
    yield 4, says("SiteDown", "edge1", labels={"site": "fra1"})
    yield 5, says("HostDown", "web21", labels={"site": "fra1"})
    yield 6, says("LinkDown", "sw1")
    yield 7, says("Timeout", "host1")
    yield 8, says("DiskFull", "disk3", "mail", severity=Severity.INFO)
    yield 8 + 611 / 60, says("http_5xx", "mail1", "mail")
    yield 20, says("HostDown", "web31", labels={"site": "ber1"})
    yield 20 + 13 / 60, says("SiteDown", "edge2", labels={"site": "ber1"})
    yield 22, deploy("shop", "shop 4.2")
    yield 26, says("SlowQueries", "db2")
    yield 29, says("http_5xx", "web1", "shop")
    yield 35, says("SlowQueries", "db1")
    yield 40, says("CpuHigh", "web2")
    yield 41, says("CpuHigh", "web2", status=Status.CLEARED)
    yield 42, says("CpuHigh", "web3")
    yield 48, says("http_5xx", "bank1", "bank")
    yield 50, says("ToastBurnt", "kitchen", source="toaster")
    yield 58, says("CpuHigh", "web4")
    for n in range(3):
        labels = {"user": "ann"}
        yield 59 + n / 6, says("LoginFailed", f"app{n}", severity=Severity.INFO, labels=labels)
    yield 59.5, says("MuchTraffic", "nas2", labels={"user": "ann"})


async def test_it_prints_what_the_page_shows(tmp_path: Path) -> None:
    feed: Feed = [(at(round(60 * minute, 3)), item) for minute, item in morning()]
    page = (DOCS / "why.md").read_text()
    examples = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    asked: list[str] = []

    async with api_desk(tmp_path, [*feed, (at(3_600), TICK)]) as desk:
        for example in examples:
            for command, shown in re.findall(r"\$ eventd (.*)\n((?:(?!\$ ).*\n)*)", example):
                printed = await desk.shell(*command.replace("STATE", str(tmp_path)).split())
                print(f"$ eventd {command}\n{printed.output}")
                asked.append(command.split()[1])
                assert printed.output == shown

    about = {one.ci for _, one in feed if isinstance(one, Event) and one.status is Status.FIRING}
    assert about - {*asked} == {"edge1", "sw1", "disk3", "edge2", "web3", "app2", "nas2"}
