"""Live equals replay: what a daemon decided, its export decides again, to the byte."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from eventd import app, backtest, recording
from eventd.comparison import Comparison, Sides
from eventd.core.engine import Engine
from eventd.core.model import Incident
from eventd.core.snapshot import Restored
from eventd.decoding import inputs_of_line
from eventd.store.rows import decode_incident
from eventd.store.snapshots import SnapshotFile, read_snapshot, snapshot_paths
from tests.acceptance.daemon import PATIENCE, Daemon, Mosquitto, post, until
from tests.builders import load
from tests.edges.test_comparison import described
from tests.measuring import paused

LIVE_FOR = 4.0  # s; `python -m tests.acceptance.test_replay` takes ten minutes
SHARED = Path(__file__).parents[3] / "shared" / "bench" / "correlation"


def live(folder: Path, seconds: float) -> tuple[Daemon, int]:
    """A daemon under load with commands, silences, a window and nonsense; events sent."""
    broker = Mosquitto(folder / "broker")
    broker.start()
    config = {"incidents": {"resolve_after": "1s", "reopen_within": "2s"}}
    _take_stock(folder, 20)
    daemon = Daemon(folder, mqtt_port=broker.port, config={**config, "log": {"level": "error"}})
    daemon.start()
    sent = [0]
    stop = threading.Event()

    def over_http() -> None:
        chance = random.Random(1)
        while not stop.is_set():
            events = [_event(chance) for _ in range(chance.choice([1, 5, 20]))]
            if chance.random() < 0.05:
                events.append({"nonsense": 1})
            post(f"{daemon.url}/v1/events", events)
            sent[0] += len(events)
            if chance.random() < 0.05:
                _operate(daemon, chance)

    def over_mqtt() -> None:
        chance = random.Random(2)
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        while not stop.is_set():
            payload = b"nonsense" if chance.random() < 0.02 else json.dumps(_event(chance))
            client.publish("events/x", payload, qos=1).wait_for_publish(PATIENCE)
            sent[0] += 1
            time.sleep(0.002)
        client.disconnect()
        client.loop_stop()

    threads = [threading.Thread(target=work) for work in (over_http, over_mqtt)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 2)
    _take_stock(folder, 30)
    os.kill(daemon.pid, signal.SIGHUP)
    time.sleep(seconds / 2)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    until(lambda: daemon.metrics()["eventd_events_waiting"] == 0)
    assert daemon.stop() == 0
    broker.stop()
    return daemon, sent[0]


def _take_stock(folder: Path, hosts: int) -> None:
    """An inventory of so many of the hosts, beside the configuration."""
    cis = [
        {"name": f"host-{n}", "service": f"service-{n % 6}", "aliases": [f"10.0.0.{n}"]}
        for n in range(hosts)
    ]
    services = [{"name": f"service-{n}", "impact": 1 + n % 3} for n in range(6)]
    (folder / "inventory.yaml").write_text(json.dumps({"services": services, "cis": cis}))


def _event(chance: random.Random) -> dict[str, object]:
    event: dict[str, object] = {
        "name": f"check-{chance.randrange(8)}",
        "service": f"service-{chance.randrange(6)}",
        "ci": chance.choice(["host-{}.bank.example", "10.0.0.{}"]).format(chance.randrange(40)),
        "severity": chance.choice(["info", "warning", "minor", "major", "critical"]),
        "status": chance.choice(["firing"] * 3 + ["cleared"] * 2 + ["info", "heartbeat"]),
    }
    if chance.random() < 0.3:
        del event["service"]
    if chance.random() < 0.5:
        event["id"] = f"id-{chance.randrange(100_000)}"
    if chance.random() < 0.01:
        window = {"starts_at": "2020-01-01T00:00:00Z", "ends_at": "2100-01-01T00:00:00Z"}
        event |= {"status": "change", "window": {**window, "cis": [event["ci"]]}}
    return event


def _operate(daemon: Daemon, chance: random.Random) -> None:
    found = daemon.api("incidents?limit=5")["items"]
    name = chance.choice(found)["id"] if found else "INC-000001"
    action = chance.choice(["acknowledge", "comment", "resolve", "reopen", "close"])
    post(f"{daemon.url}/api/v1/incidents/{name}/{action}", {"text": "by hand"})
    if chance.random() < 0.2:
        matchers = f'service="service-{chance.randrange(6)}", severity<major'
        body = {"matchers": matchers, "for": chance.choice(["1s", "3s"]), "comment": "known"}
        post(f"{daemon.url}/api/v1/silences", body)


def replayed(path: Path) -> backtest.Backtest:
    run = backtest.Backtest(inputs_of_line, app.load_rules(None), forced=False)
    for _ in run.play(recording.read(path)):
        pass
    return run


def same_incidents(daemon: Daemon, folder: Path) -> int:
    """Export, replay, compare with the live tables; how many incidents there were."""
    out = folder / "export.jsonl"
    command = [sys.executable, "-m", "eventd", "export", "--state", str(daemon.state)]
    subprocess.run([*command, "--out", str(out)], check=True)
    with sqlite3.connect(daemon.state / "eventd.db") as db:
        rows = db.execute("SELECT body FROM incident ORDER BY id").fetchall()
    db.close()

    told = sorted(replayed(out).incidents(), key=lambda one: one.id)

    assert [decode_incident(body) for (body,) in rows] == told
    assert [body for (body,) in rows] == [msgspec.msgpack.encode(one) for one in told]
    return len(rows)


def test_the_export_of_a_live_run_replays_to_byte_identical_incidents(tmp_path: Path) -> None:
    daemon, sent = live(tmp_path, LIVE_FOR)

    incidents = same_incidents(daemon, tmp_path)

    assert incidents >= 6
    print(f"{sent} events, {incidents} incidents")


class Day(NamedTuple):
    """A generated day and the inventory of what it happens to."""

    events: Path
    inventory: Path

    def backtest(self) -> backtest.Backtest:
        """Nothing is played yet. The default rules claim nothing."""
        known = app.load_inventory(self.inventory)
        return backtest.Backtest(inputs_of_line, app.load_rules(None), known, forced=False)


class Whole(NamedTuple):
    """The day played in one go."""

    run: backtest.Backtest
    lines: list[recording.Line]
    facts: list[bytes]  # of each input


def played(run: backtest.Backtest, lines: Iterable[recording.Line]) -> list[bytes]:
    """What each input caused, to the byte."""
    return [msgspec.msgpack.encode(facts) for _, _, facts in run.play(lines)]


def restarted(engine: Engine, folder: Path, now: datetime) -> Engine:
    """The engine that comes back from a snapshot on disk."""
    file = SnapshotFile(folder, engine.snapshot(), 0, now)
    while file.advance():
        pass
    (path,) = snapshot_paths(folder)
    return Engine.restore(Restored(read_snapshot(path)[1]))


def raised(incidents: Iterable[Incident]) -> list[tuple[str, datetime, str]]:
    return [(one.id, one.opened_at, one.title) for one in incidents]


def many_of(count: int) -> dict[str, object]:
    return {
        "name": "many",
        "threshold": {"match": "severity>=major", "count": count, "of": "alerts"},
        "by": ["service"],
        "within": "10m",
    }


if SHARED.is_dir():

    @pytest.fixture(scope="session")  # a module's are made again where tests of others come between
    def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
        folder = tmp_path_factory.mktemp("day")
        raw, out = folder / "raw", folder / "native"
        make = [sys.executable, str(SHARED / "gen.py"), "--suite", "day", "--seed", "accept-1"]
        subprocess.run([*make, "--out", str(raw)], check=True, capture_output=True)
        turn = [sys.executable, str(SHARED / "to_native.py"), str(raw), "--out", str(out)]
        subprocess.run(turn, check=True, capture_output=True)
        return Day(out / "events.jsonl.gz", out / "inventory.yaml")

    @pytest.fixture(scope="session")  # a module's are made again where tests of others come between
    def whole(day: Day) -> Whole:
        with paused():
            run, lines = day.backtest(), list(recording.read(day.events))
            return Whole(run, lines, played(run, lines))

    @pytest.mark.xdist_group("day")
    @pytest.mark.usefixtures("unmeasured")
    def test_a_day_replays_alike_under_two_hash_seeds(day: Day, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "eventd", "replay", str(day.events)]
        command += ["--inventory", str(day.inventory), "--out"]
        texts = []
        for seed in ("0", "1"):
            out = tmp_path / seed
            environment = {"PYTHONHASHSEED": seed}
            subprocess.run([*command, str(out)], check=True, capture_output=True, env=environment)
            texts.append(out.read_bytes())

        assert texts[0] == texts[1]
        assert len(texts[0].splitlines()) > 10_000

    @pytest.mark.xdist_group("day")
    @pytest.mark.usefixtures("unmeasured")
    def test_a_day_replays_alike_across_fifty_restarts(
        day: Day, whole: Whole, tmp_path: Path
    ) -> None:
        broken, facts = day.backtest(), []
        cuts = set(random.Random(50).sample(range(1, len(whole.lines)), 50))

        for number, line in enumerate(whole.lines):
            if number in cuts:
                broken.engine = restarted(broken.engine, tmp_path, line.at)
            facts += played(broken, [line])

        assert facts == whole.facts
        assert b"".join(backtest.write(broken)) == b"".join(backtest.write(whole.run))

    @pytest.mark.xdist_group("day")
    @pytest.mark.usefixtures("unmeasured")
    def test_what_a_day_raised_before_a_cut_does_not_depend_on_what_follows(
        day: Day, whole: Whole
    ) -> None:
        at_the_end = raised(whole.run.incidents())
        chance = random.Random(4)

        for _ in range(4):
            cut = chance.randrange(len(whole.lines) // 10, len(whole.lines))
            run = day.backtest()
            facts = played(run, whole.lines[:cut])

            now = whole.lines[cut - 1].at
            assert facts == whole.facts[: len(facts)]
            assert raised(run.incidents()) == [one for one in at_the_end if one[1] <= now] != []

    def compared(day: Day, *counts: int) -> Sides:
        """With one rule, that asks for so many alerts before and after."""
        before, after = [load(many_of(count), version=str(count)) for count in counts]
        known = app.load_inventory(day.inventory)
        return Sides(inputs_of_line, before, after, known, forced=True)

    @pytest.mark.xdist_group("day")
    @pytest.mark.usefixtures("unmeasured")
    def test_of_a_day_exactly_what_a_loosened_rule_changes_is_listed(
        day: Day, whole: Whole
    ) -> None:
        sides, alike = compared(day, 6, 5), compared(day, 6, 6)

        found, same = sides.play(whole.lines), alike.play(whole.lines)

        before, after = described(sides._before.run), described(sides._after.run)
        assert (same.differences, same.before) == ((), same.after)
        assert found.alike == (before & after).total() > 40
        olds = [one.id for listed in found.differences for one in listed.before]
        news = [one.id for listed in found.differences for one in listed.after]
        assert len({*olds}) == len(olds) == (before - after).total() > 0
        assert len({*news}) == len(news) == (after - before).total() > 0

    @pytest.mark.xdist_group("day")
    @pytest.mark.usefixtures("unmeasured")
    def test_from_what_was_known_at_noon_the_same_rules_change_nothing(
        day: Day, whole: Whole
    ) -> None:
        noon = len(whole.lines) // 2
        morning = backtest.Backtest(
            inputs_of_line, load(many_of(6)), app.load_inventory(day.inventory), forced=False
        )
        played(morning, whole.lines[:noon])
        frames = list(morning.engine.snapshot().frames())

        def from_noon(*counts: int) -> Comparison:
            sides = compared(day, *counts)
            sides.begin_with(frames, morning.now)
            return sides.play(whole.lines[noon:])

        same, loosened = from_noon(6, 6), from_noon(6, 3)

        assert (same.differences, same.before) == ((), same.after)
        assert loosened.before == same.before
        assert loosened.differences != ()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        ran, count = live(Path(scratch), float(sys.argv[1]) if len(sys.argv) > 1 else 600.0)
        print({"events": count, "incidents": same_incidents(ran, Path(scratch)), "equal": True})
