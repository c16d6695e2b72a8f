"""A real Alertmanager with eventd as its webhook receiver."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.daemon import PATIENCE, Daemon, free_port, get, post, until

CONFIG = """
route:
  receiver: eventd
  group_by: [service]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 2s
receivers:
  - name: eventd
    webhook_configs:
      - url: {url}/v1/webhooks/alertmanager
        send_resolved: true
"""


@pytest.fixture
def alertmanager(tmp_path: Path, eventd: Daemon) -> Iterator[str]:
    binary = shutil.which("prometheus-alertmanager")
    assert binary is not None, "install prometheus-alertmanager"
    port = free_port()
    config = tmp_path / "alertmanager.yml"
    config.write_text(CONFIG.format(url=eventd.url))
    process = subprocess.Popen(
        [binary, f"--config.file={config}", f"--storage.path={tmp_path}/am",
         f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        try:
            return get(f"{url}/-/ready")[0] == 200
        except OSError:
            return False

    until(is_ready)
    yield url
    process.terminate()
    process.wait(PATIENCE)


@pytest.fixture
def eventd(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "eventd", config={"incidents": {"resolve_after": "1s"}})
    daemon.start()
    yield daemon
    assert daemon.stop() == 0


def fire(url: str, *instances: str, ends_in: float = 300.0) -> None:
    now = datetime.now(UTC)
    alerts = [
        {
            "labels": {"alertname": "TargetDown", "service": "shop", "instance": instance,
                       "severity": "critical"},
            "annotations": {"summary": f"{instance} is down"},
            "startsAt": (now - timedelta(minutes=5)).isoformat(),
            "endsAt": (now + timedelta(seconds=ends_in)).isoformat(),
        }
        for instance in instances
    ]  # fmt: skip
    status, body = post(f"{url}/api/v2/alerts", alerts)
    assert status == 200, body


def the_incident(eventd: Daemon) -> dict[str, Any]:
    found = eventd.api("incidents")["items"]
    assert len(found) <= 1
    return dict(found[0]) if found else {"alert_count": 0, "state": ""}


def test_it_fires_groups_repeats_and_resolves(alertmanager: str, eventd: Daemon) -> None:
    fire(alertmanager, "web1:9100", "web2:9100")

    until(lambda: the_incident(eventd)["alert_count"] == 2, what="both in one incident")
    opened = the_incident(eventd)
    until(lambda: eventd.metrics().get(DUPLICATES, 0) >= 2, what="repeats")
    fire(alertmanager, "web1:9100", "web2:9100", ends_in=-1.0)
    until(lambda: the_incident(eventd)["state"] == "resolved", what="the incident to resolve")
    resolved = the_incident(eventd)

    assert (opened["state"], opened["title"]) == ("open", "shop: TargetDown on web1")
    assert resolved["id"] == opened["id"]
    assert {alert["count"] for alert in eventd.api("alerts")["items"]} == {1}


DUPLICATES = 'eventd_events_duplicate_total{source="alertmanager"}'
