"""What comes again changes nothing; what repeats without an id is counted each time."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from eventd import app, backtest
from eventd.core.model import Delivery
from eventd.decoding import inputs_of_line
from eventd.recording import Line
from tests.acceptance.abuse import HEAD, LAST
from tests.acceptance.daemon import PATIENCE, Daemon, Mosquitto, post, until

pytestmark = pytest.mark.xdist_group("redelivery")  # one daemon for all

T0 = datetime(2026, 1, 5, 14, 0, tzinfo=UTC)
OURS = "service=redelivered"


def delivery(n: int) -> dict[str, object]:
    return {
        "id": f"d{n}",
        "name": f"check-{n % 40}",
        "ci": f"host-{n % 200}",
        "service": "redelivered",
        "severity": ["major", "critical"][n % 2],
        "status": "cleared" if n % 10 == 9 else "firing",
        "occurred_at": (T0 + timedelta(seconds=n)).isoformat(),
    }


def publish(port: int, payloads: list[bytes]) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    sent = [client.publish("events/again", payload, qos=1) for payload in payloads]
    for one in sent:
        one.wait_for_publish(PATIENCE)
    client.disconnect()
    client.loop_stop()


def beliefs(daemon: Daemon) -> list[tuple[Any, ...]]:
    alerts = sorted(daemon.every(f"alerts?{OURS}"), key=lambda one: str(one["fingerprint"]))
    keys = ("fingerprint", "status", "severity", "count", "episode", "incident", "started_at")
    seen: list[tuple[Any, ...]] = [tuple(alert[key] for key in keys) for alert in alerts]
    of = ("id", "priority", "title", "alert_count", "firing_count", "opened_at")
    return seen + [tuple(one[key] for key in of) for one in daemon.every(f"incidents?{OURS}")]


def test_of_a_thousand_with_one_key_at_once_one_is_applied(daemon: Daemon) -> None:
    """D16."""
    before = daemon.accounts()

    said = asyncio.run(_at_once(daemon.port, 1_000))

    after = daemon.accounts()
    assert [status for status, _ in said] == [202] * 1_000
    assert sum(body["duplicates"] for _, body in said) == 999
    assert {part: after[part] - before[part] for part in ("applied", "duplicate", "received")} == {
        "applied": 1,
        "duplicate": 999,
        "received": 1_000,
    }
    (alert,) = daemon.api("alerts?name=once")["items"]
    assert alert["count"] == 1


async def _at_once(port: int, count: int) -> list[tuple[int, dict[str, Any]]]:
    """The same request over so many connections, all open before the first is answered."""
    body = b'{"name":"once"}'
    head = HEAD + LAST + b"Idempotency-Key: one\r\n"
    said: list[tuple[int, dict[str, Any]]] = []
    lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]

    async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        answer = await reader.read()
        said.append((int(answer[9:12]), json.loads(answer.partition(b"\r\n\r\n")[2])))
        writer.close()

    async with asyncio.TaskGroup() as group:
        for line in lines:
            group.create_task(call(*line))
    return said


def test_a_thousand_deliveries_with_ids_three_times_over_are_as_once(
    daemon: Daemon, broker: Mosquitto
) -> None:
    over_http = [delivery(n) for n in range(0, 1_000, 2)]
    over_mqtt = [json.dumps(delivery(n)).encode() for n in range(1, 1_000, 2)]
    rounds = []

    for number in range(1, 4):
        for one in over_http:
            assert post(f"{daemon.url}/v1/events", one)[0] == 202
        publish(broker.port, over_mqtt)
        until(partial(came, daemon, 500 * number), what="all of it")
        rounds.append(beliefs(daemon))

    assert rounds[0] == rounds[1] == rounds[2]
    assert len(rounds[0]) > 100


def came(daemon: Daemon, events: float) -> bool:
    return received(daemon) >= events


def received(daemon: Daemon) -> float:
    name = 'eventd_events_received_total{source="plant"}'
    samples = daemon.metrics()
    return samples.get(name, 0.0) if samples["eventd_events_waiting"] == 0 else 0.0


def test_repeats_without_ids_a_minute_apart_are_counted_each_time() -> None:
    payload = msgspec.json.encode({"name": "disk", "ci": "db1"})
    lines = []
    for minute in range(30):
        at = T0 + timedelta(minutes=minute)
        came = Delivery(
            transport="http", received_at=at, payload=payload, source="events",
            decoder="native", path="/v1/events",
        )  # fmt: skip
        lines += [Line(at, came), Line(at + timedelta(seconds=5), came)]
    run = backtest.Backtest(inputs_of_line, app.load_rules(None), forced=False)

    for _ in run.play(lines):
        pass

    (alert,) = run.engine.alerts()
    assert alert.count == 30
    assert alert.last_seen_at == T0 + timedelta(minutes=29, seconds=5)


def test_the_sums_agree_with_good_bad_and_repeated_events_over_mqtt(
    daemon: Daemon, broker: Mosquitto
) -> None:
    before = daemon.metrics().get('eventd_events_received_total{source="plant"}', 0.0)
    one = json.dumps({"name": "m", "id": "same"}).encode()
    payloads = [one, one, b"nonsense", b"", b'[{"name":"a"},{"nme":"b"}]', b"\xff\xfe"]

    publish(broker.port, payloads)
    until(lambda: received(daemon) >= before + 7, what="all of it to be counted")

    total = daemon.accounts()
    assert total["duplicate"] >= 1
    assert total["refused"] >= 4
