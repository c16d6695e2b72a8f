"""`make bench`: one JSON line a figure, each with the work done to reach it.

CPU is user + system time of the whole daemon, durable commits on, counted until it is quiet
again; only ratios are comparable between machines, so each line carries `calib_ms`, the time of
a fixed piece of work just before it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import get_args

from msgspec.structs import replace
from tests.acceptance.daemon import Daemon, Mosquitto, until

from bench import load
from eventd.core.engine import Engine
from eventd.core.inventory import Inventory
from eventd.core.labels import canonical_ci
from eventd.core.model import Delivery, Event, LoadRules
from eventd.core.rules import KINDS, anomaly, text_of
from eventd.core.rules.streams import Row
from eventd.files import load_rules
from eventd.inventory import read_inventory
from eventd.sources.decoders import native

RULES = 100
ALERTS = 10_000
COUNTS = 10, 100, 1_000, 10_000  # rules
# what is asked of every alert comes first, so that ten rules have it too
_FIRST = ("inhibit", "dependency", "calendar", "change", "settle", "pair", "absence", "sequence")
ALL_KINDS = (*_FIRST, *(kind for kind in KINDS if kind not in _FIRST))
OF = get_args(anomaly.Of)  # what an anomaly is looked for in
BOMB = "a" * 200 + "!"  # a text for which (a+)+$ takes most engines for ever
STREAMS = 100_000
STARTS = 3  # of a daemon, of each sort
TURNS, TURN = 20, 1_000  # and events in each
T0 = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def of_kind(kind: str, n: int) -> dict[str, object]:
    """A rule that nothing in the load matches; a third of them go by a pattern."""
    name = f'name=~"Other{n}_.*"' if n % 3 == 0 else f'name="Other{n}"'
    match, other = f'{name}, site="s{n % 50}"', f'name="Another{n}"'
    parts = [{"as": "one", "match": match}, {"as": "other", "match": other}]
    keyed: dict[str, object] = {"within": "10m", "by": ["service"]}
    between = {"source": match, "target": other}
    own: dict[str, tuple[object, dict[str, object]]] = {
        "inhibit": ({**between, "equal": ["site"]}, {}),
        "dependency": (between, {}),
        "calendar": ({"match": match, "starts": f"{n % 60} 2 * * *", "lasts": "1h"}, {}),
        "change": ({"match": f'{match}, status="change"'}, keyed),
        "settle": ({"match": match}, {"within": "1m"}),
        "pair": ({"opens": match, "closes": other}, keyed),
        "absence": ({"after": match, "match": other}, keyed),
        "sequence": (parts, keyed),
        "all": (parts, keyed),
        "topology": ({"match": match}, {"within": "10m"}),
        "anomaly": (
            {"match": f'{match}, status="info"', "of": OF[n // len(ALL_KINDS) % len(OF)]},
            {},
        ),
        "similar": ({"match": match}, {"within": "10m"}),
        "threshold": ({"match": match, "count": 3, "of": "events"}, keyed),
        "group": ({"match": match}, keyed),
    }
    spec, rest = own[kind]
    return {"name": f"bench-{n}", kind: spec, **rest}


def rules(folder: Path, count: int, kinds: Sequence[str] = ("group",)) -> Path:
    """`count` rules of which every event of the load matches two, one grouping into 200.

    The others are of these kinds, in turn.
    """
    rows: list[dict[str, object]] = [
        {
            "name": "bench-groups",
            "group": {"match": 'cluster=~"cluster-.*"'},
            "by": ["name", "cluster"],
            "within": "1h",
        },
        {
            "name": "bench-counts",
            "threshold": {"match": 'team=~"[a-z]+"', "count": 10_000, "of": "alerts"},
            "by": ["ci"],
            "within": "1m",
        },
    ]
    rows += [of_kind(kinds[n % len(kinds)], n) for n in range(count - len(rows))]
    target = folder / f"rules-{count}"
    target.mkdir(exist_ok=True)
    for start in range(0, len(rows), 2_000):
        part = {"rules": rows[start : start + 2_000]}
        (target / f"{start:06d}.yaml").write_text(json.dumps(part, indent=0))
    return target


def calib() -> float:
    """Milliseconds of a fixed piece of Python work, the best of five."""
    best = 1e9
    value = {"labels": {f"k{i}": f"value-{i}" for i in range(8)}, "n": [1, 2.5, None, True]}
    for _ in range(5):
        began = time.thread_time()
        for _ in range(2_000):
            json.loads(json.dumps(value))
        best = min(best, time.thread_time() - began)
    return round(best * 1e3, 1)


class Bench:
    """A daemon under measurement."""

    def __init__(
        self,
        folder: Path,
        count: int = RULES,
        mqtt_port: int | None = None,
        kinds: Sequence[str] = ("group",),
        python: str = sys.executable,
    ) -> None:
        """Start it with `count` rules of these kinds, under this interpreter."""
        files = rules(folder, count, kinds)
        config: dict[str, object] = {"rules": str(files), "log": {"level": "error"}}
        config["incidents"] = {"resolve_after": "1h"}
        self.daemon = Daemon(
            folder / f"run-{count}", mqtt_port=mqtt_port, config=config, python=python
        )
        self.daemon.start()

    def done(self) -> dict[str, int]:
        """What stands in the store."""
        path = next(self.daemon.state.glob("*.db"), None) or next(
            self.daemon.state.glob("*.sqlite*")
        )
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            rows, events = db.execute(
                "SELECT count(*), coalesce(sum(inputs), 0) FROM journal"
            ).fetchone()
            incidents = db.execute("SELECT count(*) FROM incident").fetchone()[0]
        commits = self.daemon.metrics().get("eventd_commit_duration_seconds_count", 0)
        return {
            "journal_rows": rows,
            "inputs": events,
            "incidents": incidents,
            "commits": int(commits),
        }

    def measure(self, what: str, events: int, work: Callable[[], object], **more: object) -> None:
        """Run the work and print its line."""
        speed = calib()
        before, began, start = self.done(), time.perf_counter(), load.cpu(self.daemon.pid)
        work()
        wall = time.perf_counter() - began
        load.quiet(self.daemon.pid)
        spent = load.cpu(self.daemon.pid) - start
        after = self.done()
        made = {name: after[name] - before[name] for name in after}
        line = {
            "figure": what,
            "cpu_us_event": round(spent / events * 1e6, 2),
            "events": events,
            "events_s": round(events / wall),
            "calib_ms": speed,
            **made,
            **more,
        }
        print(json.dumps(line), flush=True)


def batches(prefix: str, count: int, size: int) -> list[bytes]:
    """Webhook requests with `count` alerts in all."""
    path = "/v1/webhooks/alertmanager"
    return [
        load.request(path, load.webhook([load.alert(k, prefix) for k in range(n, n + size)]))
        for n in range(0, count, size)
    ]


def http(folder: Path) -> None:
    """Repeats and new alerts in batches, single posts, memory."""
    bench = Bench(folder)
    port = bench.daemon.port
    known = batches("host", ALERTS, 100)
    load.post_all(port, known, 2)
    bench.measure(
        "http batch 100, repeats of 10,000 alerts",
        ALERTS * 10,
        partial(load.post_all, port, known * 10, 4),
    )
    fresh = batches("new", 50_000, 100)
    bench.measure("http batch 100, new alerts", 50_000, partial(load.post_all, port, fresh, 4))
    single = batches("host", ALERTS, 1)
    bench.measure(
        "http single post, 32 connections, repeats",
        ALERTS * 3,
        partial(load.post_all, port, single * 3, 32),
    )
    bench.daemon.stop()


def mqtt(folder: Path) -> None:
    """QoS 1, acknowledged after commit."""
    broker = Mosquitto(folder / "broker", saves=False)
    broker.start()
    bench = Bench(folder, mqtt_port=broker.port)
    publisher = load.Publisher(broker.port)
    until(bench.daemon.subscribed, 10.0, "the subscription")

    def work(count: int, first: int) -> None:
        target = bench.done()["inputs"] + count
        payloads = (load.native(k % ALERTS, "mq", id=f"m{first + k}") for k in range(count))
        publisher.publish("events/bench", payloads)
        until(lambda: bench.done()["inputs"] >= target, 120.0, "all to be journaled")

    work(ALERTS, 0)
    bench.measure("mqtt qos 1, repeats", 30_000, lambda: work(30_000, ALERTS))
    bench.daemon.stop()
    broker.stop()


def many_rules(folder: Path) -> None:
    """The same new alerts under 10 to 10,000 rules of all kinds."""
    for count in COUNTS:
        bench = Bench(folder, count, kinds=ALL_KINDS)
        fresh = batches("rules", 30_000, 100)
        bench.measure(
            f"http batch 100, new alerts, {count} rules",
            30_000,
            partial(load.post_all, bench.daemon.port, fresh, 4),
            rules=count,
        )
        bench.daemon.stop()


def kinds(folder: Path) -> None:
    """The engine alone, turn about: new alerts under 10 to 10,000 rules of all kinds; loading them.

    Beside it one rule whose pattern is exponential to most engines, and an alert made for it.
    """
    engines: dict[str, Engine] = {}
    for count in COUNTS:
        files, speed = rules(folder, count, ALL_KINDS), calib()
        began = time.process_time()
        load_of = load_rules(files)
        read = time.process_time()
        engine = engines[f"{count} rules"] = Engine()
        engine.step(load_of, T0)
        done = time.process_time()
        line = {
            "figure": f"load {count} rules of all kinds",
            "read_cpu_s": round(read - began, 3),
            "step_cpu_s": round(done - read, 3),
            "load_cpu_s": round(done - began, 3),
            "calib_ms": speed,
        }
        print(json.dumps(line), flush=True)
    _told("engine, new alerts, {}", _in_turn(engines))
    patterns = {name: Engine() for name in ("a+b?", "(a+)+$")}
    for pattern, engine in patterns.items():
        rule = {"name": "it", "group": {"match": f'summary=~"{pattern}"'}, "by": ["ci"]}
        engine.step(LoadRules(pattern, (text_of({**rule, "within": "5m"}),)), T0)
    _told("engine, new alerts, {} in a rule", _in_turn(patterns))


def _told(figure: str, spent: dict[str, float]) -> None:
    first = next(iter(spent.values()))
    for name, seconds in spent.items():
        line = {
            "figure": figure.format(name),
            "cpu_us_event": round(seconds / (TURNS * TURN) * 1e6, 2),
            "ratio": round(seconds / first, 3),
            "events": TURNS * TURN,
        }
        print(json.dumps(line), flush=True)


def _in_turn(engines: dict[str, Engine]) -> dict[str, float]:
    """CPU seconds that each took for the same events."""
    spent = dict.fromkeys(engines, 0.0)
    for first in range(0, TURNS * TURN, TURN):
        made = [load.native(k, "t", summary=f"{BOMB}{k}") for k in range(first, first + TURN)]
        payload = b"[" + b",".join(made) + b"]"
        delivery = Delivery(transport="http", received_at=T0, payload=payload, source="bench")
        feed = [
            (T0 + timedelta(milliseconds=first + n), one)
            for n, one in enumerate(native.decode(delivery).events)
        ]
        for name in list(engines) if first // TURN % 2 else reversed(engines):
            step, began = engines[name].step, time.process_time()
            for at, one in feed:
                step(one, at)
            spent[name] += time.process_time() - began
    return spent


def memory(folder: Path) -> None:
    """Resident bytes an active alert, at 100,000."""
    bench = Bench(folder)
    load.post_all(bench.daemon.port, batches("warm", 2_000, 100), 4)
    load.quiet(bench.daemon.pid)
    before, speed = load.rss(bench.daemon.pid), calib()
    load.post_all(bench.daemon.port, batches("mem", 100_000, 100), 4)
    load.quiet(bench.daemon.pid)
    grown = load.rss(bench.daemon.pid) - before
    print(
        json.dumps(
            {
                "figure": "memory per active alert at 100,000",
                "calib_ms": speed,
                "bytes_alert": round(grown / 100_000),
                **bench.done(),
            }
        ),
        flush=True,
    )
    bench.daemon.stop()


def restart(folder: Path) -> None:
    """1,000,000 journal rows, 100,000 beyond the snapshot, 10,000 open incidents."""
    state = [
        {"name": "each", "group": {"match": 'name="Open"'}, "by": ["ci"], "within": "1h"},
    ]
    only = folder / "restart-rules"
    only.mkdir()
    (only / "rules.yaml").write_text(json.dumps({"rules": state}))
    daemon = Daemon(folder / "restart", config={"rules": str(only), "log": {"level": "error"}})
    daemon.start()
    opening = [
        load.request("/v1/events", json.dumps({"name": "Open", "ci": f"ci{n}"}).encode())
        for n in range(10_000)
    ]
    load.post_all(daemon.port, opening, 64)
    every = [load.request("/v1/events", load.native(k, "row", id=f"r{k}")) for k in range(10_000)]
    rows = 10_000
    while rows < 1_000_000:
        fresh = [
            load.request("/v1/events", load.native(k % 10_000, "row", id=f"r{rows + k}"))
            for k in range(min(30_000, 1_000_000 - rows))
        ]
        load.post_all(daemon.port, fresh, 128)
        rows += len(fresh)
    del every
    until(lambda: True, 1.0)
    speed = calib()
    beyond = daemon.metrics().get("eventd_journal_beyond_snapshot_inputs", 0.0)
    while beyond < 95_000:
        fresh = [
            load.request("/v1/events", load.native(k, "row", id=f"r{rows + k}"))
            for k in range(5_000)
        ]
        load.post_all(daemon.port, fresh, 128)
        rows += len(fresh)
        beyond = daemon.metrics()["eventd_journal_beyond_snapshot_inputs"]
    daemon.kill()
    took = daemon.start()
    print(
        json.dumps(
            {
                "figure": "ready after kill -9",
                "seconds": round(took, 2),
                "rows": rows,
                "beyond_snapshot": beyond,
                "calib_ms": speed,
            }
        ),
        flush=True,
    )
    daemon.stop()
    took = daemon.start()
    print(
        json.dumps(
            {
                "figure": "ready after a clean stop",
                "seconds": round(took, 2),
                "rows": rows,
                "calib_ms": speed,
            }
        ),
        flush=True,
    )
    daemon.stop()


def inventory(folder: Path) -> None:
    """11,000 CIs, as many as a storm has: read, indexed, and what each depends on looked for."""
    rows = [
        "services:",
        "  - {name: shop, depends_on: [vm-0, {name: vm-1, redundant: true}]}",
        "cis:",
    ]
    for n in range(11_000):
        kind, above = ("rack", "") if n < 100 else ("vm", f"rack-{n % 100}")
        rows += [f"  - name: {kind}-{n}", f"    type: {kind}", "    site: dc1"]
        rows += ["    aliases:", f"      - 10.0.{n >> 8}.{n & 255}", f"      - {kind}-{n}.example"]
        rows += ["    depends_on:", f"      - {above}", "      - switch-1"] if above else []
    file = folder / "inventory.yaml"
    file.write_text("\n".join(rows))
    speed = calib()
    began = time.process_time()
    read = read_inventory(file).load
    indexing = time.process_time()
    found = Inventory(read.version, read.services, read.cis)
    looking = time.process_time()
    reached = sum(len(found.ancestors(canonical_ci(ci.name))) for ci in read.cis)
    done = time.process_time()
    line = {
        "figure": "inventory",
        "cis": len(read.cis),
        "dependencies": found.dependencies,
        "read_cpu_s": round(indexing - began, 2),
        "index_cpu_s": round(looking - indexing, 2),
        "ancestors_cpu_s": round(done - looking, 2),
        "ancestors": reached,
        "calib_ms": speed,
    }
    print(json.dumps(line), flush=True)


def streams(folder: Path) -> None:
    """100,000 streams that are scored: memory, cost of a value, how long a snapshot holds all up.

    And the start of a daemon, without such a rule and with one.
    """
    engines = {"no rule": Engine(), "a rule that scores": Engine()}
    scored = {"name": "it", "anomaly": {"match": 'status="info"'}}
    engines["a rule that scores"].step(LoadRules("1", (text_of(scored),)), T0)
    state = engines["a rule that scores"].rules.scoring["it"]
    for n in range(300):
        (item,) = _measured(1, 0)
        value = 100.0 + n * 7919 % 101 / 10
        engines["a rule that scores"].step(
            replace(item, value=value, key=n.to_bytes(16, "big")), T0 + timedelta(minutes=n)
        )
    gc.collect()
    head, row = state.dump()
    assert isinstance(row, Row)
    before, speed = load.rss(os.getpid()), calib()
    state.load([head, *(replace(row, key=(f"ci-{n}", "load")) for n in range(STREAMS))])
    grown = load.rss(os.getpid()) - before
    spent = dict.fromkeys(engines, 0.0)
    for turn in range(TURNS):
        now = T0 + timedelta(minutes=300 + turn)
        feed = _measured(TURN, turn * TURN)
        for name, engine in engines.items():
            began = time.process_time()
            for item in feed:
                engine.step(item, now)
            spent[name] += time.process_time() - began
    _told("engine, measurements of 100,000 streams, {}", spent)
    began = time.process_time()
    snapshot = engines["a rule that scores"].snapshot()
    held = time.process_time() - began
    bites, size, rest = [], 0, snapshot.frames()
    while True:
        began = time.process_time()
        frame = next(rest, None)
        bites.append(time.process_time() - began)
        if frame is None:
            break
        size += len(frame)
    line = {
        "figure": "100,000 streams",
        "bytes_stream": round(grown / STREAMS),
        "bytes_stream_snapshot": round(size / STREAMS),
        "snapshot_held_ms": round(held * 1e3, 1),
        "snapshot_longest_bite_ms": round(max(bites) * 1e3, 1),
        "snapshot_cpu_s": round(sum(bites), 2),
        "calib_ms": speed,
    }
    print(json.dumps(line), flush=True)
    starts: dict[str, list[float]] = {"without": [], "with": []}
    for n in range(2 * STARTS):
        name = ("without", "with")[(n + n // 2) % 2]
        kinds = ("anomaly", "group") if name == "with" else ("group",)
        own = folder / f"{name}-{n}"
        own.mkdir()
        bench = Bench(own, 10, kinds=kinds)
        starts[name].append(load.cpu(bench.daemon.pid))
        bench.daemon.stop()
    for name, took in starts.items():
        line = {"figure": f"start, {name} rules that score", "cpu_s": round(min(took), 2)}
        print(json.dumps(line), flush=True)


def _measured(count: int, first: int) -> list[Event]:
    """A value each of so many streams."""
    rows = ((n % STREAMS, 100.0 + n * 7919 % 101 / 10) for n in range(first, first + count))
    payload = json.dumps(
        [{"name": "load", "ci": f"ci-{n}", "status": "info", "value": value} for n, value in rows]
    )
    one = Delivery(transport="http", received_at=T0, payload=payload.encode(), source="bench")
    return list(native.decode(one).events)


FIGURES = {
    "http": http,
    "mqtt": mqtt,
    "rules": many_rules,
    "kinds": kinds,
    "memory": memory,
    "restart": restart,
    "inventory": inventory,
    "streams": streams,
}


def _chosen(names: list[str]) -> Iterator[Callable[[Path], None]]:
    for name in names or FIGURES:
        yield FIGURES[name]


def main() -> None:
    """Measure what is named, or everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="*", choices=[*FIGURES, []], help="default: all")
    given = parser.parse_args()
    for figure in _chosen(given.figures):
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
            figure(Path(folder))


if __name__ == "__main__":
    main()
