"""A storm: memory stays bounded, nothing is lost, one incident says what it is (D28)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.acceptance.daemon import Daemon, post

ABOVE, BATCH = 1_000, 500


def test_a_storm_is_one_incident_and_loses_nothing(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, config={"alerts": {"storm_above": ABOVE}})
    daemon.start()

    sent = 0
    for start in range(0, 4 * ABOVE, BATCH):
        events = [
            {"name": f"Check{n % 3}", "ci": f"host{n}", "severity": "major", "id": f"s{n}"}
            for n in range(start, start + BATCH)
        ]
        status, _ = post(f"{daemon.url}/v1/events", events)
        assert status == 202
        sent += BATCH
    post(f"{daemon.url}/v1/events", [{"name": "Other", "ci": "calm", "source": "x", "id": "o"}])

    (storm,) = daemon.api("incidents?rule=storm")["items"]
    assert storm["title"] == "Storm of new alerts from events"
    assert storm["alert_count"] == sent + 1 - ABOVE
    assert storm["priority"] == "P2"
    assert "Check" in storm["because"]
    (last,) = daemon.api("alerts?ci=host3999")["items"]
    assert last["incident"] == storm["id"]
    first = daemon.api(f"incidents/{storm['id']}")["alerts"][0]
    assert first["because"]["above"] == ABOVE
    assert daemon.metrics()["eventd_alerts_remembered"] == sent + 1
    daemon.kill()
    acked = tmp_path / "acked"
    acked.write_text("".join(f"s{n}\n" for n in range(sent)))
    command = ["check", "--store", str(daemon.state), "--acked", str(acked)]
    done = subprocess.run(
        [sys.executable, "-m", "eventd", *command], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
