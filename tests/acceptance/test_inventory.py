"""The inventory of a running daemon: loaded, reloaded, lacking, and there after a kill."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from eventd.cli import main
from tests.acceptance.daemon import Daemon, get, post, until

BANK = """\
services:
  - {name: payments, owner: team-payments, impact: 1}
cis:
  - {name: web1, service: payments, aliases: [10.0.0.1], depends_on: [san]}
"""


def started(folder: Path, text: str = BANK) -> Daemon:
    """A daemon with this inventory beside its configuration."""
    daemon = Daemon(folder)
    (folder / "inventory.yaml").write_text(text)
    daemon.start()
    return daemon


def send(daemon: Daemon, *cis: str) -> None:
    status, body = post(f"{daemon.url}/v1/events", [{"name": "Down", "ci": ci} for ci in cis])
    assert status == 202, body


def alerts(daemon: Daemon) -> list[tuple[str, str, int]]:
    return sorted(
        (one["ci"], one["service"], one["count"]) for one in daemon.api("alerts")["items"]
    )


def test_events_and_incidents_are_seen_through_the_inventory(tmp_path: Path) -> None:
    daemon = started(tmp_path)

    send(daemon, "10.0.0.1:9100", "WEB1.bank.example", "nas7")

    assert alerts(daemon) == [("nas7", "", 1), ("web1", "payments", 2)]
    (incident,) = daemon.api("incidents?service=payments")["items"]
    assert (incident["owner"], incident["impact"]) == ("team-payments", 1)
    assert incident["impact_because"] == "service payments has impact 1"
    shown = CliRunner().invoke(main, ["incidents", incident["id"], "--url", daemon.url])
    assert "  owner: team-payments\n" in shown.output
    assert daemon.stop() == 0


def test_a_hangup_takes_up_a_new_inventory_whole_or_not_at_all(tmp_path: Path) -> None:
    daemon = started(tmp_path)
    file = tmp_path / "inventory.yaml"

    def sizes() -> list[float]:
        told = daemon.metrics()
        nouns = ("services", "cis", "dependencies")
        return [told[f"eventd_inventory_{noun}"] for noun in nouns]

    assert sizes() == [1, 1, 1]
    file.write_text(BANK + "  - {name: san}\n")
    os.kill(daemon.pid, signal.SIGHUP)
    until(lambda: sizes() == [1, 2, 1])
    file.write_text(BANK + "  - {nmae: san}\n")
    os.kill(daemon.pid, signal.SIGHUP)
    until(lambda: daemon.metrics()["eventd_inventory_last_load_success"] == 0)

    assert sizes() == [1, 2, 1]
    loads = [one["text"] for one in daemon.every("audit") if one["kind"] == "inventory_loaded"]
    assert loads == [f"1 services, {cis} CIs, 1 dependencies" for cis in (2, 1)]
    assert daemon.metrics()['eventd_inventory_reads_total{kind="rejected"}'] == 1
    assert daemon.stop() == 0
    assert "inventory.yaml:5: cis[1].nmae: unknown key 'nmae'" in daemon.log.read_text()


def test_an_inventory_that_cannot_be_read_keeps_eventd_from_starting(tmp_path: Path) -> None:
    file = tmp_path / "i.yaml"
    file.write_text("cis: 5")

    done = CliRunner().invoke(main, ["run", "--inventory", str(file), "--state", str(tmp_path)])

    assert done.exit_code == 2
    assert "i.yaml:1: cis: expected a list, got 5" in done.output


def test_gaps_are_counted_paged_and_there_after_a_kill(tmp_path: Path) -> None:
    daemon = started(tmp_path)
    send(daemon, "nas7", "nas8", "nas9")
    send(daemon, "nas9", "web1")
    gaps = [("nas9", 2), ("nas7", 1), ("nas8", 1)]

    def told(path: str = "inventory/gaps") -> list[tuple[str, int]]:
        return [(one["name"], one["count"]) for one in daemon.every(path)]

    first = daemon.api("inventory/gaps?limit=2")
    rest = daemon.api(f"inventory/gaps?limit=2&after={first['next']}")
    listed = CliRunner().invoke(main, ["inventory", "gaps", "--url", daemon.url])
    as_json = CliRunner().invoke(
        main, ["inventory", "gaps", "--kind", "ci", "--json", "--url", daemon.url]
    )
    assert told() == gaps
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)
    assert told("inventory/gaps?kind=service") == []
    assert get(f"{daemon.url}/api/v1/inventory/gaps?after=x")[0] == 400
    assert "nas9" in listed.output
    assert json.loads(as_json.output)["items"][0] == {"kind": "ci", "name": "nas9", "count": 2}
    assert daemon.metrics()["eventd_inventory_unknown_names"] == 3

    daemon.kill()
    daemon.start()

    assert told() == gaps
    assert daemon.stop() == 0


@pytest.mark.parametrize("ending", [Daemon.kill, Daemon.stop])
def test_a_restart_goes_on_with_the_inventory_it_had(tmp_path: Path, ending: object) -> None:
    daemon = started(tmp_path)
    send(daemon, "10.0.0.1")
    ending(daemon)  # type: ignore[operator] # one of the two
    daemon.start()
    send(daemon, "10.0.0.1:80")

    assert alerts(daemon) == [("web1", "payments", 2)]
    assert daemon.stop() == 0
    checked = CliRunner().invoke(main, ["check", "--store", str(daemon.state)])
    assert checked.exit_code == 0, checked.output
    rows = [line for line in daemon.log.read_text().splitlines() if "inventory.loaded" in line]
    assert len(rows) == 1


def test_without_its_file_the_inventory_is_gone_after_a_restart(tmp_path: Path) -> None:
    daemon = started(tmp_path)
    assert daemon.stop() == 0
    (tmp_path / "inventory.yaml").unlink()
    daemon.start()

    assert daemon.metrics()["eventd_inventory_cis"] == 0
    assert daemon.stop() == 0
