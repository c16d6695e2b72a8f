#!/usr/bin/env python3
"""Make the demo's recording, a bank's bad afternoon of about three minutes, and its inventory.

    tools/make-demo-recording.py src/eventd/cli/recordings

Deterministic: the same bytes each time. Times are those of the story; the player moves them to
the present.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2026, 1, 5, 14, 0, tzinfo=UTC)
NEVER = "0001-01-01T00:00:00Z"


def stamp(second: float) -> str:
    """A time of the story."""
    at = START + timedelta(seconds=round(second, 3))
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Afternoon:
    """Deliveries by the second they come at."""

    def __init__(self) -> None:
        self.chance = random.Random(1405)
        self.rows: list[tuple[float, int, dict[str, object]]] = []

    def add(self, second: float, row: dict[str, object]) -> None:
        self.rows.append((second, len(self.rows), {"deliver_at": stamp(second), **row}))

    def prometheus(self, second: float, alerts: list[dict[str, object]]) -> None:
        """One webhook of Alertmanager's."""
        firing = any(one["status"] == "firing" for one in alerts)
        body = {
            "version": "4",
            "receiver": "eventd",
            "status": "firing" if firing else "resolved",
            "groupKey": "{}",
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager.bank.example",
            "truncatedAlerts": 0,
            "alerts": alerts,
        }
        self.add(
            second,
            {
                "transport": "http",
                "method": "POST",
                "path": "/v1/webhooks/alertmanager",
                "query": "",
                "headers": {"content-type": "application/json"},
                "payload": body,
            },
        )

    def native(self, second: float, events: list[dict[str, object]]) -> None:
        """Events of a synthetic monitor or a script, over HTTP."""
        for event in events:
            event.setdefault("occurred_at", stamp(second))
        self.add(
            second,
            {
                "transport": "http",
                "method": "POST",
                "path": "/v1/events",
                "query": "",
                "headers": {"content-type": "application/json"},
                "payload": events,
            },
        )

    def mqtt(self, second: float, topic: str, event: dict[str, object]) -> None:
        """A gateway's or sensor's message."""
        event.setdefault("occurred_at", stamp(second))
        self.add(
            second,
            {
                "transport": "mqtt",
                "topic": f"bank/{topic}",
                "qos": 1,
                "retain": False,
                "properties": {},
                "payload": event,
            },
        )


def alert(
    name: str,
    instance: str,
    service: str,
    severity: str,
    started: float,
    summary: str,
    ended: float | None = None,
) -> dict[str, object]:
    """One alert inside a webhook."""
    labels = {
        "alertname": name,
        "instance": instance,
        "service": service,
        "severity": severity,
        "site": "dc1",
    }
    return {
        "status": "firing" if ended is None else "resolved",
        "labels": labels,
        "annotations": {"summary": summary},
        "startsAt": stamp(started),
        "endsAt": NEVER if ended is None else stamp(ended),
        "generatorURL": "http://prometheus.bank.example/graph",
        "fingerprint": hashlib.sha256(json.dumps(labels).encode()).hexdigest()[:16],
    }


def storage_fills_and_payments_fail(day: Afternoon) -> None:
    """The cascade: array, volumes, database, pods, gateways, synthetic checks."""
    day.mqtt(
        20,
        "storage/san-dc1-1",
        {
            "name": "ArrayPoolFull",
            "ci": "san-dc1-1",
            "service": "storage",
            "severity": "critical",
            "value": 99.2,
            "summary": "pool gold-1 on san-dc1-1 is 99.2 % full",
        },
    )
    for n in range(1, 7):
        volume = f"vol-pay-{n:02d}"
        day.mqtt(
            22 + n * 0.6,
            f"storage/{volume}",
            {
                "name": "VolumeLatencyHigh",
                "ci": volume,
                "service": "storage",
                "severity": "major",
                "value": 80 + n * 11,
                "summary": f"write latency of {volume} is {80 + n * 11} ms, threshold 20 ms",
            },
        )
    first = [
        alert(
            "PostgresSlowCommits",
            f"db-pay-{n}:9187",
            "payments",
            "major",
            30,
            f"commit latency p95 on db-pay-{n} is 2.4 s",
        )
        for n in (1, 2)
    ]
    day.prometheus(31, first)
    pods = [
        alert(
            "HighErrorRate",
            f"payments-api-{n}:8080",
            "payments",
            "critical" if n > 4 else "major",
            36 + n * 0.3,
            f"payments-api-{n} answers {12 + n * 3} % of requests with 5xx",
        )
        for n in range(1, 13)
    ]
    for start in range(0, 12, 4):
        day.prometheus(38 + start * 0.7, pods[start : start + 4])
    for n in range(1, 7):
        day.native(
            46 + n * 0.5,
            [
                {
                    "name": "GatewayTimeouts",
                    "ci": f"gw-pay-{n}.bank.example",
                    "service": "payments",
                    "severity": "major",
                    "id": f"gw-{n}-down",
                    "summary": f"upstream timeouts on gw-pay-{n}: {40 + n * 7} a second",
                }
            ],
        )
    for n, step in enumerate(("login", "balance", "transfer", "card", "standing-order", "export")):
        day.native(
            52 + n,
            [
                {
                    "name": "SyntheticCheckFailed",
                    "ci": f"probe-{step}",
                    "service": "payments",
                    "severity": "critical",
                    "fingerprint": f"probe-{step}",
                    "summary": f"journey '{step}' failed from 3 of 3 places",
                }
            ],
        )
    for round_ in range(4):  # Alertmanager repeats itself to the byte
        for start in range(0, 12, 4):
            day.prometheus(70 + round_ * 18 + start * 0.2, pods[start : start + 4])
        day.prometheus(72 + round_ * 18, first)
        for step in ("login", "balance", "transfer"):
            day.native(
                74 + round_ * 18,
                [
                    {
                        "name": "SyntheticCheckFailed",
                        "ci": f"probe-{step}",
                        "service": "payments",
                        "severity": "critical",
                        "fingerprint": f"probe-{step}",
                        "summary": f"journey '{step}' still fails, round {round_ + 1}",
                    }
                ],
            )


def a_branch_network_goes_dark(day: Afternoon) -> None:
    """The storm: a router dies, and everything behind it is unreachable."""
    day.mqtt(
        90,
        "network/rtr-br-north",
        {
            "name": "RouterDown",
            "ci": "rtr-br-north",
            "service": "branches",
            "severity": "critical",
            "summary": "rtr-br-north does not answer, both uplinks are down",
        },
    )
    kinds = [
        ("AtmOffline", "atm", "critical", "cash machine {h} is offline"),
        ("TillOffline", "till", "major", "till {h} lost the core"),
        ("PhoneGatewayDown", "voip", "minor", "voice gateway {h} is unregistered"),
    ]
    number = 0
    for branch in range(1, 41):
        for name, prefix, severity, text in kinds:
            for slot in range(1, 4 if prefix == "atm" else 3):
                host = f"{prefix}-n{branch:03d}-{slot}"
                when = 91 + number * 0.07 + day.chance.random() * 0.4
                number += 1
                day.mqtt(
                    when,
                    f"branch/{branch}/{host}",
                    {
                        "name": name,
                        "ci": host,
                        "service": "branches",
                        "severity": severity,
                        "summary": text.format(h=host),
                    },
                )
    for branch in range(1, 41, 3):  # gateways without an id repeat what still is
        host = f"atm-n{branch:03d}-1"
        day.mqtt(
            125 + branch * 0.1,
            f"branch/{branch}/{host}",
            {
                "name": "AtmOffline",
                "ci": host,
                "service": "branches",
                "severity": "critical",
                "summary": f"cash machine {host} is offline, second report",
            },
        )


def a_check_flaps(day: Afternoon) -> None:
    """Up and down, twelve times."""
    for n in range(12):
        base = {
            "name": "IntranetSlow",
            "ci": "intranet-web-1",
            "service": "intranet",
            "severity": "warning",
            "fingerprint": "intranet-slow",
        }
        day.native(15 + n * 12, [{**base, "summary": "front page takes over 4 s"}])
        day.native(21 + n * 12, [{**base, "status": "cleared", "summary": "front page is quick"}])


def hypervisors_are_patched(day: Afternoon) -> None:
    """A planned change, announced; what it breaks opens nothing."""
    hosts = [f"esx-dc1-01{n:02d}" for n in range(1, 9)]
    day.native(
        5,
        [
            {
                "name": "CHG-4711",
                "status": "change",
                "summary": "ESX patch round, row 1",
                "window": {"starts_at": stamp(0), "ends_at": stamp(3600), "cis": hosts},
            }
        ],
    )
    for n, host in enumerate(hosts):
        down, up = 40 + n * 9, 47 + n * 9
        name, service = f"{host}.dc1.bank.example:9100", "virtualisation"
        text = f"{host} lost its connection to vCenter"
        day.prometheus(
            down, [alert("HypervisorDisconnected", name, service, "critical", down - 1, text)]
        )
        day.prometheus(
            up, [alert("HypervisorDisconnected", name, service, "critical", down - 1, text, up)]
        )


def two_things_of_their_own(day: Afternoon) -> None:
    """Neither has to do with anything else."""
    day.prometheus(
        58,
        [
            alert(
                "CertificateExpiresSoon",
                "mail.bank.example:443",
                "mail",
                "warning",
                57,
                "the certificate of mail.bank.example has 6 days",
            )
        ],
    )
    for n in range(6):
        day.mqtt(
            100 + n * 5,
            "dc2/cooling/crac-3",
            {
                "name": "CoolingDegraded",
                "ci": "crac-3",
                "service": "dc2-facility",
                "severity": "major",
                "value": 27.5 + n * 0.4,
                "summary": f"supply air of crac-3 is {27.5 + n * 0.4:.1f} °C",
            },
        )
    day.mqtt(
        150,
        "dc2/cooling/crac-3",
        {
            "name": "CoolingDegraded",
            "ci": "crac-3",
            "service": "dc2-facility",
            "severity": "major",
            "status": "cleared",
            "value": 22.1,
            "summary": "supply air of crac-3 is back at 22.1 °C",
        },
    )


def a_gateway_falls_silent(day: Afternoon) -> None:
    """Two of them beat; the first does so for three quarters of a minute."""
    for second in range(0, 180, 5):
        for gateway in ("gw-plant-1", "gw-plant-2"):
            if gateway == "gw-plant-2" or second <= 45:
                day.mqtt(
                    second + 0.5,
                    f"heartbeat/{gateway}",
                    {"name": "gateway", "status": "heartbeat", "ci": gateway},
                )


def the_background(day: Afternoon) -> None:
    """What a quiet day says: measurements, which end with the story."""
    for second in range(2, 178, 2):
        host = f"vm-{day.chance.randrange(1, 60):04d}"
        day.native(
            second,
            [
                {
                    "name": "cpu_busy",
                    "status": "info",
                    "ci": host,
                    "value": round(day.chance.uniform(5, 60), 1),
                }
            ],
        )


SERVICES = """\
# What the bank of the demo has, and what depends on what. Written by tools/make-demo-recording.py.
services:
  - {name: payments, owner: team-payments, impact: 1, hours: 24x7, depends_on: [db-pay-1, db-pay-2]}
  - {name: branches, owner: team-network, impact: 1, hours: 08-18, depends_on: [rtr-br-north]}
  - {name: storage, owner: team-storage, impact: 2, hours: 24x7, depends_on: [san-dc1-1]}
  - {name: virtualisation, owner: team-compute, impact: 2, hours: 24x7}
  - {name: intranet, owner: team-workplace, impact: 3, depends_on: [intranet-web-1]}
  - {name: mail, owner: team-workplace, impact: 2, depends_on: [esx-dc1-0103]}
  - {name: dc2-facility, owner: team-facility, impact: 2, depends_on: [crac-3]}
"""
Row = tuple[str, str, str, tuple[str, ...]]  # name, type, service, what it depends on


def inventory() -> str:
    """The CIs of the story, a line each."""
    steps = ("login", "balance", "transfer", "card", "standing-order", "export")
    ends = (("atm", 3), ("till", 2), ("voip", 2))
    rows: list[Row] = [
        ("san-dc1-1", "storage array", "storage", ()),
        *((f"vol-pay-{n:02d}", "volume", "storage", ("san-dc1-1",)) for n in range(1, 7)),
        ("db-pay-1", "database", "payments", ("vol-pay-01", "vol-pay-02", "vol-pay-03")),
        ("db-pay-2", "database", "payments", ("vol-pay-04", "vol-pay-05", "vol-pay-06")),
    ]
    for n in range(1, 13):
        rows += [(f"payments-api-{n}", "pod", "payments", (f"db-pay-{2 - n % 2}",))]
    for n, step in enumerate(steps, 1):
        pods = (f"payments-api-{n}", f"payments-api-{n + 6}")
        rows += [(f"gw-pay-{n}", "gateway", "payments", pods)]
        rows += [(f"probe-{step}", "synthetic check", "payments", (f"gw-pay-{n}",))]
    rows += [("rtr-br-north", "router", "branches", ())]
    rows += [
        (f"{kind}-n{branch:03d}-{slot}", kind, "branches", ("rtr-br-north",))
        for branch in range(1, 41)
        for kind, slots in ends
        for slot in range(1, slots + 1)
    ]
    hosts = [f"esx-dc1-01{n:02d}" for n in range(1, 9)]
    rows += [(host, "hypervisor", "virtualisation", ()) for host in hosts]
    for n in range(1, 60):
        rows += [(f"vm-{n:04d}", "vm", "virtualisation", (hosts[n % len(hosts)],))]
    rows += [
        ("intranet-web-1", "vm", "intranet", ()),
        ("crac-3", "air conditioner", "dc2-facility", ()),
        ("gw-plant-1", "gateway", "dc2-facility", ()),
        ("gw-plant-2", "gateway", "dc2-facility", ()),
    ]
    return SERVICES + "cis:\n" + "".join(map(_ci, rows))


def _ci(row: Row) -> str:
    name, kind, service, needs = row
    depends = f", depends_on: [{', '.join(needs)}]" if needs else ""
    return f"  - {{name: {name}, type: {kind}, service: {service}{depends}}}\n"


def main() -> None:
    """Write both files."""
    folder = Path(sys.argv[1])
    (folder / "bank-inventory.yaml").write_text(inventory())
    day = Afternoon()
    for part in (
        storage_fills_and_payments_fail,
        a_branch_network_goes_dark,
        a_check_flaps,
        hypervisors_are_patched,
        two_things_of_their_own,
        a_gateway_falls_silent,
        the_background,
    ):
        part(day)
    text = "".join(
        json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"
        for _, _, row in sorted(day.rows, key=lambda one: one[:2])
    )
    with gzip.GzipFile(folder / "bank-afternoon.jsonl.gz", "wb", mtime=0) as stream:
        stream.write(text.encode())


if __name__ == "__main__":
    main()
