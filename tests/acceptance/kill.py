"""kill -9 under mixed load: nothing acknowledged is lost, nothing with a key is doubled.

    python -m tests.acceptance.kill --rounds 200

One state directory and one broker live through LIFE rounds. Each round starts eventd, loads it
over HTTP and MQTT until at least 100 events are acknowledged, stops it at a random instant, looks
whether a commit was in flight, and kills it. Senders repeat a delivery until it is acknowledged.
Rules of every kind are loaded, and leave something to the automatic correlation.
At the end everything drains and every promise is checked.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.acceptance.daemon import PATIENCE, Daemon, Mosquitto, until

EACH_ROUND = 100  # acknowledged events before a kill
ALERTS = 40  # fingerprints that events with an id share
SENDERS = 3
LOOKING, LOOKS = 0.7, 300  # share of kills that look for a commit in flight, and how often
IN_FLIGHT_SHARE = 0.3  # of the kills must hit a commit
LIFE = 200  # rounds on one state: no alert without an id ever clears
HOSTS = 7
ALL_KINDS = Path(__file__).parent / "all_kinds.yaml"
CONFIG = {"log": {"level": "warning"}, "rules": str(ALL_KINDS)}
INVENTORY = {
    "services": [{"name": "kill"}],
    "cis": [{"name": "host-0"}]
    + [{"name": f"host-{n}", "depends_on": ["host-0"]} for n in range(1, HOSTS)],
}


class Ledger:
    """What senders saw acknowledged; ids of events that have one, names of those that have none."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ids: list[str] = []
        self.names: list[str] = []
        self.next = 0

    def batch(self, size: int) -> list[dict[str, Any]]:
        """New events, every second one with an id of its own."""
        with self.lock:
            first, self.next = self.next, self.next + size
        return [event(n) for n in range(first, first + size)]

    def acknowledged(self, events: list[dict[str, Any]]) -> None:
        with self.lock:
            for one in events:
                (self.ids if "id" in one else self.names).append(str(one.get("id", one["name"])))

    @property
    def total(self) -> int:
        return len(self.ids) + len(self.names)


def event(n: int) -> dict[str, Any]:
    """Even: an id, one of ALERTS fingerprints, a rule's. Odd: no id, an alert no rule claims."""
    if n % 2 == 0:
        return {"id": f"k{n}", "name": f"keyed-{n // 2 % ALERTS}", "service": "kill"}
    return {"name": f"plain-{n}", "ci": f"host-{n % HOSTS}", "severity": "critical"}


def beside(chance: random.Random) -> dict[str, Any]:
    """What only rules are there for; nobody counts it."""
    ci = f"host-{chance.randrange(HOSTS)}"
    kinds: list[dict[str, Any]] = [
        {"name": "deploy", "status": "change", "service": "kill"},
        {"name": "fan", "ci": ci, "status": chance.choice(["firing", "cleared"])},
        {"name": "door", "ci": ci, "labels": {"state": chance.choice(["open", "shut"])}},
        {"name": "temperature", "ci": ci, "status": "info", "value": chance.gauss(20, 1) ** 2},
    ]
    return chance.choice(kinds)


class HttpSender(threading.Thread):
    """Posts small batches and repeats each until a 202 came back."""

    def __init__(self, port: int, ledger: Ledger, seed: int) -> None:
        super().__init__(daemon=True)
        self.port, self.ledger = port, ledger
        self.random = random.Random(seed)
        self.stopping = threading.Event()

    def run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self.stopping.is_set():
            events = self.ledger.batch(self.random.choice([1, 2, 10]))
            body = json.dumps([*events, beside(self.random)])
            while True:
                try:
                    connection = connection or http.client.HTTPConnection(
                        "127.0.0.1", self.port, timeout=PATIENCE
                    )
                    connection.request("POST", "/v1/events", body)
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status == 202:
                        break
                except (OSError, http.client.HTTPException):
                    if connection is not None:
                        connection.close()
                    connection = None
                time.sleep(0.01)
            self.ledger.acknowledged(events)
        if connection is not None:
            connection.close()


class MqttSender(threading.Thread):
    """Publishes at QoS 1; acknowledged means that the broker has it."""

    def __init__(self, port: int, ledger: Ledger) -> None:
        super().__init__(daemon=True)
        self.ledger = ledger
        self.stopping = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="kill-sender")
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def run(self) -> None:
        while not self.stopping.is_set():
            (one,) = self.ledger.batch(1)
            sent = self.client.publish("events/kill", json.dumps(one), qos=1)
            sent.wait_for_publish()
            self.ledger.acknowledged([one])
            time.sleep(0.001)
        self.client.disconnect()
        self.client.loop_stop()


def run(rounds: int, seed: int, folder: Path) -> dict[str, Any]:
    """All rounds; the report. Raises AssertionError where a promise is broken."""
    chance = random.Random(seed)
    broker = Mosquitto(folder / "broker")
    broker.start()
    (folder / "inventory.yaml").write_text(json.dumps(INVENTORY))
    daemon = Daemon(folder, mqtt_port=broker.port, config=CONFIG)
    ledger = Ledger()
    senders: list[HttpSender | MqttSender] = [
        HttpSender(daemon.port, ledger, seed + n) for n in range(SENDERS)
    ]
    in_flight, acknowledged, starts = 0, [], []
    try:
        starts.append(daemon.start())
        until(daemon.subscribed, what="the subscription")
        senders.append(MqttSender(broker.port, ledger))
        for sender in senders:
            sender.start()
        for _ in range(rounds):
            before = ledger.total
            _load(ledger, before + EACH_ROUND)
            in_flight += _kill_in_commit(daemon, chance)
            acknowledged.append(ledger.total - before)
            starts.append(daemon.start())
        for sender in senders:
            sender.stopping.set()
        for sender in senders:
            sender.join(PATIENCE)
        report = check(daemon, ledger, folder)
        daemon.stop()
        report |= _verdicts(daemon, ledger, folder)
    finally:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.process.kill()
        broker.stop()
    report |= {
        "rounds": rounds,
        "seed": seed,
        "commit_in_flight": in_flight,
        "least_acknowledged_a_round": min(acknowledged),
        "slowest_start_s": round(max(starts), 2),
    }
    assert in_flight >= rounds * IN_FLIGHT_SHARE, report
    return report


def _load(ledger: Ledger, total: int) -> None:
    until(lambda: ledger.total >= total, what="load")


def _kill_in_commit(daemon: Daemon, chance: random.Random) -> bool:
    """Kill at a random instant; most look for one inside a commit."""
    time.sleep(chance.random() * 0.05)
    tries = LOOKS if chance.random() < LOOKING else 1
    for _ in range(tries):
        if daemon.frozen_in_commit():
            daemon.kill()
            return True
        daemon.thaw()
        time.sleep(chance.random() * 0.003)
    daemon.frozen_in_commit()
    daemon.kill()
    return False


def check(daemon: Daemon, ledger: Ledger, folder: Path) -> dict[str, Any]:
    """Everything acknowledged is there; what has a key is counted once."""
    names = set(ledger.names)
    want = {f"keyed-{n}": 0 for n in range(ALERTS)}
    for known in ledger.ids:
        want[f"keyed-{int(known[1:]) // 2 % ALERTS}"] += 1

    def drained() -> list[dict[str, Any]]:
        alerts = daemon.every("alerts")
        have = {str(a["name"]) for a in alerts}
        total = sum(int(a["count"]) for a in alerts if str(a["name"]).startswith("keyed-"))
        return alerts if names <= have and total >= len(ledger.ids) else []

    alerts = until(drained, what="everything acknowledged to arrive")
    have: dict[str, int] = {}
    for one in alerts:
        if str(one["name"]).startswith("keyed-"):
            have[one["name"]] = have.get(one["name"], 0) + int(one["count"])
    doubled = {n: (have.get(n, 0), c) for n, c in want.items() if have.get(n, 0) != c}
    assert not doubled, f"counted, expected: {doubled}"
    incidents = Counter(str(incident["rule"]) for incident in daemon.every("incidents"))
    suppressed = Counter(str(one["suppressed_by"]) for one in alerts if one["suppressed_by"])
    fired = Counter(str(one["name"]) for one in alerts if one["source"] == "eventd")
    return {
        "acknowledged": ledger.total,
        "with_key": len(ledger.ids),
        "missing": 0,
        "doubled": 0,
        "incidents": incidents,
        "suppressed": suppressed,
        "fired_by_rules": fired,
    }


def _verdicts(daemon: Daemon, ledger: Ledger, folder: Path) -> dict[str, Any]:
    acked = folder / "acked.txt"
    acked.write_text("".join(f"{one}\n" for one in ledger.ids))
    done = subprocess.run(
        [sys.executable, "-m", "eventd", "check", "--store", daemon.state, "--acked", acked],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {"check": "good"}


def main() -> None:
    """Print the report of each life as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for life, before in enumerate(range(0, given.rounds, LIFE)):
        with tempfile.TemporaryDirectory() as folder:
            rounds = min(LIFE, given.rounds - before)
            print(json.dumps(run(rounds, given.seed + life, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
