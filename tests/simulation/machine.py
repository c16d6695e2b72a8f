"""The daemon as a process of the simulation: `eventd.app` whole, on a loop that can be killed.

What asks the system for something is given the simulation's: time, threads, sockets, the disk.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from eventd import app
from eventd.config import (
    Alerts,
    Config,
    Environment,
    File,
    Incidents,
    Limits,
    Mqtt,
    Retention,
    Size,
    Sources,
    Topic,
)
from eventd.core.rules.rule import Span
from eventd.credentials import Credentials
from eventd.errors import Poisoned, StoreError
from eventd.files import Secret
from eventd.keyring import Secrets
from eventd.metrics import Meter
from eventd.signals import Signals
from eventd.store.sqlite import SqliteStore
from tests.builders import (
    calendar_rule,
    dependency_rule,
    group_rule,
    inhibit_rule,
    kind_rule,
    load,
    settle_rule,
    threshold_rule,
)
from tests.simulation.broker import Broker
from tests.simulation.disk import Disk
from tests.simulation.door import Door
from tests.simulation.inventories import INVENTORIES
from tests.simulation.loop import Loop, World
from tests.simulation.oracle import POISON, START, Oracle
from tests.simulation.shadow import CROOKED
from tests.simulation.sizes import HURRIES

FRAIL = group_rule("frail", f'name="{CROOKED}"', by=["ci"])
MANY = threshold_rule("many", 'name="plain-0"', count=2, by=["ci"], within="120s")
PAIRS = [{"match": 'name="plain-0"', "of": "events"}, {"match": 'name="plain-1"'}]
BUSY = {
    "match": 'service="bank"',
    "count": 4,
    "of": "events",
    "ends": {"below": 2, "within": "2m"},
}
HOURLY = {"starts": "*/10 * * * *", "lasts": "4m", "zone": "Europe/Berlin"}
KINDS: tuple[dict[str, object], ...] = (
    dependency_rule('name="plain-1"', target='name=~"plain-[03]"', within="3s"),
    kind_rule("similar", {"match": 'name="plain-3"', "count": 2}, "alike"),
    kind_rule("topology", {"match": 'name="plain-4"', "silent": 0.4}, "tied", by=()),
    {**kind_rule("group", {"match": 'name="plain-3"'}, "fires", by=["ci"]), "alert": {}},
    kind_rule("sequence", [{"match": 'name="fires"'}, {"match": 'name="plain-4"'}], "fired"),
    kind_rule("change", {"match": 'status="change"'}, "changes", within="10m"),
    {"name": "odd", "anomaly": {"match": 'status="info"', "budget": "9 per day"}},
    {"name": "much", "anomaly": {"match": "", "of": "rates", "window": "5s"}, "by": ["name"]},
    {"name": "fresh", "anomaly": {"match": "", "of": "new"}, "by": ["name", "template"]},
    {"name": "mute", "anomaly": {"match": "", "of": "silences"}, "by": ["source"]},
    calendar_rule('name="plain-4"', "*/10 * * * *", "4m", name="hourly"),
    {**kind_rule("all", PAIRS, "sometimes", within="5m"), "during": HOURLY},
    settle_rule('name="plain-2"', "5s"),
    kind_rule("sequence", PAIRS, "in-order", by=["ci"]),
    kind_rule("sequence", [PAIRS[0], {**PAIRS[1], "without": 'name="plain-2"'}], "bare", by=["ci"]),
    kind_rule("absence", {"match": 'name="plain-1"', "after": 'name="plain-0"'}, "vain", by=["ci"]),
    kind_rule("pair", {"opens": 'name="plain-2"', "closes": 'name="plain-1"'}, "over", by=["ci"]),
    kind_rule("all", PAIRS, "both", within="5m"),
    kind_rule("group", {"match": 'name="plain-2"', "window": "sliding"}, "runs", by=["name"]),
    inhibit_rule('name="plain-1"', 'name=~"plain-[34]"', ("service",), name="known"),
)
RULES = (
    load(FRAIL, version="v0"),
    load(
        FRAIL,
        *KINDS,
        group_rule("by-service", 'service="bank"', within="15m"),
        MANY,
        kind_rule("threshold", BUSY, "busy", within="90s"),
    ),
    load(FRAIL, group_rule("by-ci", 'ci=~"db.*"', by=["ci"], within="1m"), MANY, version="v2"),
    load(version=POISON),
)
BROKER = "plant"
# What aiomqtt says where a connection ends before anybody waits for its end, or in the turn
# before its socket was to be watched.
NOISE = ("MqttCodeError", "_ready(): CancelledError", "Bad file descriptor")


class Machine:
    """The host: its clock, its disk, and the one process on it."""

    def __init__(self, world: World, outside: Loop, folder: Path) -> None:
        self.world, self.outside = world, outside
        self.disk = Disk(folder, world.random)
        self.oracle = Oracle(self.disk)
        self.disk.committed = self.oracle.committed
        self.door = Door(world, outside)
        self.door.answered = self.oracle.answered
        self.broker = Broker(world, outside)
        self.broker.acknowledging = self.oracle.acknowledging
        self.skew = timedelta()  # by which the wall clock is wrong
        self.loop: Loop | None = None
        self.main: asyncio.Task[None] | None = None
        self.store: SqliteStore | None = None
        self.daemon: app._Daemon | None = None
        self.meter = Meter()  # outlives a restart in place
        self.starts = 0
        self.hurry = world.random.choice(HURRIES)
        self.pace = 1.0  # of the people: the smaller, the more they say
        self.rules = world.random.choice(RULES[:3])
        self.inventory = world.random.choice(INVENTORIES[:4])
        self.config = _config(world.random)
        self.environment = Environment(watchdog_usec=world.random.choice((0, 20_000_000)))
        self.wanted = True  # a supervisor starts it again

    # -- the process ------------------------------------------------------------------------------

    def start(self) -> None:
        """As systemd does."""
        self.starts += 1
        self.loop = Loop(self.world)
        config = Config(
            file=self.config,
            host="127.0.0.1",
            port=9095,
            state=self.disk.state,
            rules=Path(),
            secrets=Secrets(
                Credentials(),
                Credentials(),
                sources={},
                passwords={one.name: Secret("") for one in self.config.sources.mqtt},
                tls=None,
            ),
        )
        self.main = self.loop.create_task(
            app._serve(config, self.environment, self.meter, Signals()), name="main"
        )

    def kill(self, *, power_cut: bool = False) -> None:
        """At this very step; what it wrote is there, what it knew is gone."""
        if self.trace:
            self.trace("** power cut" if power_cut else "** killed")
        self.meter = Meter()
        self._bury()
        self.disk.restart(power_cut=power_cut)
        self._later()

    def look_after(self) -> None:
        """Before every step: see whether it has died, or ended."""
        if self.loop is None or self.main is None:
            return
        if self.disk.doomed:
            self.kill()
        elif self.main.done():
            self._ended(self.main)

    def _ended(self, main: asyncio.Task[None]) -> None:
        error = None if main.cancelled() else main.exception()
        causes = list(_leaves(error))
        unknown = [one for one in causes if not isinstance(one, Poisoned | StoreError)]
        if unknown and not self.oracle.problem:
            self.oracle.problem = f"it crashed: {unknown[0]!r}"
        if self.trace:
            self.trace(f"** ended: {[type(one).__name__ for one in causes]}")
        if not causes or not all(isinstance(one, Poisoned) for one in causes):
            self.meter = Meter()
        self._bury()
        self.disk.restart(power_cut=False)
        self._later()

    def _bury(self) -> None:
        loop, store = self.loop, self.store
        if loop is None:
            return
        errors = [one for one in loop.errors if not any(word in one for word in NOISE)]
        if errors and not self.oracle.problem:
            self.oracle.problem = f"nobody caught: {errors[0]}"
        loop.alive = False
        self.world.bury(loop)
        self.door.cut()
        self.broker.cut()
        if store is not None:
            if store._tables is not None:
                store._tables.db.close()
            if store._lock >= 0 and not store._closing:
                os.close(store._lock)
        self.loop = self.main = self.store = self.daemon = None

    def _later(self) -> None:
        if self.wanted:
            self.outside.call_later(0.2 + self.world.random.random(), self.start)

    # -- what the process is given ----------------------------------------------------------------

    @property
    def trace(self) -> Callable[[str], None] | None:
        return self.world.trace

    def wall(self) -> datetime:
        """What the system says the time is."""
        return START + timedelta(seconds=self.world.now) + self.skew

    def connect(self) -> object:
        """A socket to the broker, for the process that runs now."""
        if self.loop is None:
            raise ConnectionRefusedError
        return self.broker.accept(self.loop).sock


def _leaves(error: BaseException | None) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    elif error is not None:
        yield error


def _config(chance: random.Random) -> File:
    """Small limits, so that they are met."""
    topics = (Topic("events/#"), Topic("state/#", source="state"))
    mqtt = Mqtt(
        name=BROKER,
        host="broker",
        topics=topics,
        version=chance.choice(("5", "3.1.1")),
        keepalive=Span(60),
        status_topic=chance.choice(("", "eventd/status")),
    )
    return File(
        limits=Limits(inbox=Size(chance.choice((4_000, 60_000, 1 << 20)))),
        retention=Retention(
            journal_for=Span(chance.choice((20, 60, 600))),
            raw_for=Span(chance.choice((10, 60))),
            max_size=Size(chance.choice((300_000, 8 << 30))),
        ),
        alerts=Alerts(
            start_grace=Span(chance.choice((0, 1, 30))),
            forget_after=Span(chance.choice((3, 86_400, 86_400))),
            storm_above=chance.choice((15, 60_000, 60_000, 60_000)),
        ),
        incidents=Incidents(
            resolve_after=Span(10), reopen_within=Span(chance.choice((5, 20, 120)))
        ),
        sources=Sources(mqtt=(mqtt,)),
    )
