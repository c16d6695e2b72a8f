"""Much of one kind, at a real process: it gets cheaper or stays bounded, all else goes on."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from eventd.store.database import open_reader
from tests.acceptance.abuse import memory
from tests.acceptance.daemon import Daemon, Mosquitto, get, post, until
from tests.acceptance.faults import Faults

SERIES = 500  # of a page of metrics, however much came in


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    running = Daemon(tmp_path_factory.mktemp("plain"))
    running.start()
    yield running
    assert running.stop() == 0


def rows(daemon: Daemon, sql: str) -> int:
    with closing(open_reader(daemon.state)) as db:
        return int(db.execute(sql).fetchone()[0])


def test_a_hundred_thousand_repeats_are_counted_in_a_row_a_delivery(plain: Daemon) -> None:
    """D29."""
    before = rows(plain, "SELECT count(*) FROM journal")

    for delivery in range(100):
        repeats = [{"name": "again", "id": f"{delivery}-{n}"} for n in range(1_000)]
        assert post(f"{plain.url}/v1/events", repeats)[0] == 202

    (alert,) = plain.api("alerts?name=again")["items"]
    assert alert["count"] == 100_000
    assert rows(plain, "SELECT count(*) FROM journal") - before == 100
    assert rows(plain, "SELECT count(*) FROM alert WHERE name = 'again'") == 1


def test_thousands_of_labels_and_values_make_no_series(plain: Daemon) -> None:
    """D37: nor do a thousand names of labels, nor those of sources that are not there."""
    post(f"{plain.url}/v1/events", {"name": "first"})
    for start in range(0, 20_000, 5_000):
        events = [
            {"name": "many", "labels": {f"name{n % 1_000}": f"value{n}"}, "ci": f"host{n % 100}"}
            for n in range(start, start + 5_000)
        ]
        assert post(f"{plain.url}/v1/events", events)[0] == 202
    for n in range(50):
        assert post(f"{plain.url}/v1/webhooks/unknown{n}", {"name": "x"})[0] == 404

    _, page = get(f"{plain.url}/metrics")

    assert len([line for line in page.splitlines() if not line.startswith(b"#")]) <= SERIES
    assert b"value1" not in page
    refused = 'eventd_deliveries_refused_total{reason="unknown_source",source="other"}'
    assert plain.metrics()[refused] == 50


def test_what_is_critical_is_applied_in_a_flood_of_news(tmp_path: Path) -> None:
    """D30: each has opened its incident when it is answered, within 5 s, on a slow disk."""
    limits = {"inbox": "64KiB", "commit_within": "2s"}
    sources: dict[str, object] = {"webhooks": {"chatter": {}, "vital": {}}}
    daemon = Daemon(tmp_path, config={"limits": limits, "sources": sources})
    faults = Faults(tmp_path, daemon.state)
    faults.build()
    daemon.start(env=faults.env)
    faults.plan("fsync -wal 0 delay 200")
    news = json.dumps(
        [{"name": f"news{n}", "status": "info", "severity": "info"} for n in range(10)]
    ).encode()
    over, told = threading.Event(), Counter[int]()

    def chatter(body: bytes) -> None:
        while not over.is_set():
            told[post(f"{daemon.url}/v1/webhooks/chatter", body)[0]] += 1

    # the short ones take whatever room is left between the long ones
    bodies = [news, b'{"name":"n","status":"info"}'] * 12
    crowd = [threading.Thread(target=chatter, args=(one,), daemon=True) for one in bodies]
    for one in crowd:
        one.start()
    answered = []
    for n in range(10):
        full = told[503] + 5
        until(partial(_reached, told, full), 20.0, "more than it takes")
        began = time.monotonic()
        down = {"name": "down", "service": f"s{n}", "severity": "critical"}
        assert post(f"{daemon.url}/v1/webhooks/vital", down)[0] == 202
        answered.append(time.monotonic() - began)
    over.set()
    faults.off()
    for one in crowd:
        one.join(30)

    assert set(told) == {202, 503}
    assert max(answered) <= 5.0
    opened = {one["service"] for one in daemon.every("incidents")}
    assert opened == {f"s{n}" for n in range(10)}
    daemon.accounts()
    assert daemon.stop() == 0


def _reached(told: Counter[int], refusals: int) -> bool:
    return told[503] >= refusals


def test_a_flood_at_qos_0_is_bounded_and_costs_qos_1_nothing(
    tmp_path: Path, broker: Mosquitto
) -> None:
    """D39."""
    limits = {"inbox": "1MiB"}
    daemon = Daemon(tmp_path, mqtt_port=broker.port, config={"limits": limits})
    daemon.start()
    until(daemon.subscribed, 10.0, "the subscription")
    flood, good = mqtt.Client(CallbackAPIVersion.VERSION2), mqtt.Client(CallbackAPIVersion.VERSION2)
    for client in (flood, good):
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
    before = memory(daemon)

    sent = []
    for n in range(50_000):
        flood.publish("events/flood", b'{"name":"flood","value":%d}' % n, qos=0)
        if n % 500 == 0:
            sent.append(good.publish("events/good", json.dumps({"name": "good", "id": f"q{n}"}), 1))
    for one in sent:
        one.wait_for_publish(30.0)
    until(
        lambda: [a["count"] for a in daemon.api("alerts?name=good")["items"]] == [len(sent)],
        60.0,
        "all at QoS 1",
    )
    for client in (flood, good):
        client.disconnect()
        client.loop_stop()

    total = daemon.accounts()
    dropped = daemon.metrics().get('eventd_mqtt_dropped_total{source="plant"}', 0.0)
    print(f"{total}, {dropped} dropped, {before:.0f} to {memory(daemon, 'VmHWM'):.0f} MiB")
    assert total["received"] + dropped <= 50_000 + len(sent)
    assert memory(daemon, "VmHWM") - before <= 32
    assert daemon.stop() == 0
