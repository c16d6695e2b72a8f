"""The composition root: Config → objects → one TaskGroup; the order of start and stop."""

from __future__ import annotations

import asyncio
import gc
import math
import ssl
import sys
from collections.abc import Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

import structlog
import uvloop
from aiohttp import web
from msgspec.structs import replace

from eventd import __version__, metrics
from eventd.allocator import give_back, settle_allocator
from eventd.clock import SystemClock, monotonic
from eventd.config import Config, Environment, Mqtt, policy_of
from eventd.core.correlation import parameters
from eventd.core.habits import MAX_SEEN
from eventd.core.habits import MAX_SOURCES as MAX_STREAMS
from eventd.core.heartbeats import MAX_BEATING, MAX_SOURCES
from eventd.core.model import (
    CommandRejected,
    Event,
    Fact,
    Input,
    LoadInventory,
    LoadRules,
    Refused,
    Started,
)
from eventd.credentials import GUESSES_WITHIN, Guesses
from eventd.document import read as read_yaml
from eventd.errors import ConfigError, Poisoned, Stopping, StoreError, StoreFull
from eventd.files import MAX_RULES_FILE, default_rules
from eventd.files import load_rules as read_rules
from eventd.inbox import Inbox, Submission
from eventd.inventory import read_inventory
from eventd.keyring import Secrets
from eventd.log import LOGGED, log_facts
from eventd.replay import Recovered, recover, replayed
from eventd.runtime import Batch, Runtime
from eventd.signals import Signals
from eventd.sources.decode import Memo
from eventd.sources.mqtt import Broker, MqttSource
from eventd.sources.webhook import Limits, Webhooks
from eventd.store.database import unusable
from eventd.store.journal import JournalRow, iter_journal
from eventd.store.reader import Reader
from eventd.store.sqlite import SqliteStore
from eventd.store.verdicts import Verdict
from eventd.store.verdicts import verdicts as store_verdicts
from eventd.systemd import Notifier, descriptors, feed
from eventd.web.api import Api
from eventd.web.door import Bounds, Door
from eventd.web.health import Health
from eventd.web.sites import only_own

HTTP_STOP_WITHIN = 10.0  # s for requests under way when eventd is told to stop
MIN_CONNECTIONS = 8  # that are let in however few files the process may have open
OWN_DESCRIPTORS = 64  # of files, brokers and whatever else is no connection of a client's
OWN_THREADS = 4  # for what waits for files and the like
START_WITHIN = 120.0  # s a supervisor is asked to wait, again and again until recovery is done
# Values are made without cycles, so the collector finds next to nothing in the young: look
# seldom, and never at what was there when the daemon was ready.
GC_THRESHOLDS = (50_000, 20, 100)
# s between looks at the young, however few they are: 2 ms of a core. A connection that is cut
# leaves some forty objects to the collector, which else would come once an hour.
SWEEP_EVERY = 60.0
# How long the writer waits for a busy loop to let it run, several times a commit; by default 5 ms.
# With 0.5 a new alert costs a sixth more, and a sender beside a flood waits as long.
SWITCH_EVERY = 0.002  # s

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


def run(config: Config, environment: Environment) -> None:
    """Serve until SIGTERM or SIGINT. After a poisonous input everything starts anew from disk."""
    settle_allocator()
    meter = metrics.Meter()  # outlives a restart in place: what was quarantined is to be seen
    meter.unlocked.set(1)
    signals = Signals()
    signals.listen()
    while not signals.stop:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_serve(config, environment, meter, signals))
        except* Poisoned as group:
            for error in group.exceptions:
                _log.error("input.quarantined", traceback=str(error))
            gc.unfreeze()  # else the collector never looks at the old engine
            try:
                config = replace(config, secrets=config.secrets_now())
                meter.unlocked.set(1)
            except ConfigError as error:  # those in force until then are as good
                _reject_secrets(meter, error)


def load_rules(path: Path | None) -> LoadRules:
    """The rules in a file or directory, or the default set. Raises ConfigError."""
    return read_rules(path or default_rules())


def load_inventory(path: Path | None) -> LoadInventory:
    """The inventory of a file, or none. Raises ConfigError."""
    return LoadInventory("") if path is None else read_inventory(path).load


def journal(state: Path) -> Iterator[JournalRow]:
    """What came in, in order, beside a live daemon. Raises StoreError."""
    return iter_journal(state)


def verdicts(state: Path, acked: list[str]) -> list[Verdict]:
    """What a store promises, and whether it holds. Raises StoreError."""
    return store_verdicts(state, replayed, acked)


def is_rules_file(path: Path) -> bool:
    """Whether a YAML file holds rules. Raises ConfigError where it cannot be read."""
    data = read_yaml(path, MAX_RULES_FILE).data
    return isinstance(data, dict) and "rules" in data and not isinstance(data["rules"], str)


async def sweep(every: float) -> None:
    """Free what is young and only the collector can, each time so many seconds have gone by.

    And have the system take what was freed: in holes of the heap it would count as ours for good.
    """
    while True:
        await asyncio.sleep(every)
        gc.collect(1)
        give_back()


async def _serve(
    config: Config, environment: Environment, meter: metrics.Meter, signals: Signals
) -> None:
    notifier = Notifier(environment.notify_socket)
    # brokers that cannot be reached take a thread each, seconds at a time; the rest is for reloads
    threads = ThreadPoolExecutor(len(config.file.sources.mqtt) + OWN_THREADS, "eventd")
    asyncio.get_running_loop().set_default_executor(threads)
    keep = config.file.retention
    store = SqliteStore.open(
        config.state,
        journal_for=timedelta(seconds=keep.journal_for),
        raw_for=timedelta(seconds=keep.raw_for),
        max_bytes=keep.max_size,
    )
    try:
        config.state.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unusable(config.state, error) from error
    async with AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as group:
            patience = group.create_task(_ask_for_time(notifier), name="patience")
            await asyncio.sleep(0)  # asked first
            await stack.enter_async_context(store)
            with store.journal() as reader:
                recovered = await asyncio.to_thread(recover, reader)
            patience.cancel()
        _tell(recovered, meter)
        if signals.stop:
            return
        async with Reader(config.state) as reading:
            daemon = _Daemon(config, recovered, store, reading, meter)
            await daemon.serve(notifier, environment, signals)
        await stack.aclose()
        daemon.tell_snapshots()  # the last one is written as the store closes


async def _ask_for_time(notifier: Notifier) -> None:
    while True:
        notifier.extend(START_WITHIN)
        await asyncio.sleep(START_WITHIN / 4)


def _tell(recovered: Recovered, meter: metrics.Meter) -> None:
    meter.diverged.inc(recovered.diverged)
    for problem in recovered.rejected:
        _log.error("recovery.rejected", problem=problem)
    if recovered.diverged:
        _log.error("recovery.diverged", rows=recovered.diverged)
    _log.info(
        "recovery.done",
        start=recovered.start,
        replayed=recovered.replayed,
        position=recovered.next_seq,
        poisoned=recovered.poisoned,
    )


def _reject_secrets(meter: metrics.Meter, error: ConfigError) -> None:
    meter.unlocked.set(0)
    for problem in error.problems:
        _log.error("secrets.rejected", problem=problem)


class _Daemon:
    """Everything that runs while eventd serves."""

    def __init__(
        self,
        config: Config,
        recovered: Recovered,
        store: SqliteStore,
        reader: Reader,
        meter: metrics.Meter,
    ) -> None:
        self._config, self._reader, self._meter = config, reader, meter
        self._secrets = config.secrets
        self._tls = config.secrets.tls
        self._store = store
        self._clock = SystemClock(recovered.now)
        self._inbox = Inbox(
            config.file.limits.inbox, meter.received, lambda: store.broken is not None
        )
        self._runtime = Runtime(recovered.engine, store, self._clock, self._inbox, self)
        self._runtime.resume(
            recovered.next_seq,
            recovered.snapshot_seq,
            recovered.now,
            recovered.dirty,
            recovered.gone,
            recovered.moved,
            recovered.quarantine,
            recovered.fired,
        )
        # a quiet daemon would not hear of it for hours: a probe does
        store.breaks = partial(asyncio.get_running_loop().call_soon_threadsafe, self._queue)
        self._committed = recovered.next_seq
        self._snapshots = self._snapshot_failures = 0  # that were told of
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._decode = Memo()
        self._guesses = Guesses(meter, self._queue)
        self._brokers = [
            MqttSource(_broker(config, one), self._inbox, self._decode, meter)
            for one in config.file.sources.mqtt
        ]
        self._watch()

    async def serve(self, notifier: Notifier, environment: Environment, signals: Signals) -> None:
        """Start, serve until told to stop, drain, stop."""
        loop = asyncio.get_running_loop()
        signals.tell(partial(loop.call_soon_threadsafe, self._heed, signals))
        engine, config = self._runtime.engine, self._config
        # a restart in place may come while files are being written: what is in force is as good
        rules: LoadRules | None = None
        inventory: LoadInventory | None = None
        try:
            rules = load_rules(config.rules)
        except ConfigError as error:
            if not engine.rules_version:
                raise
            self._reject_rules(error)
        try:
            inventory = load_inventory(config.inventory)
        except ConfigError as error:
            if not engine.inventory.version:
                raise
            self._reject_inventory(error)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._runtime.run(), name="runtime")
            start = group.create_task(self._start(rules, inventory), name="start")
            await asyncio.sleep(0)  # so that it is the first in the inbox
            # on a full disk it waits for room, and meanwhile what is there is shown; what ends the
            # daemon is told by who ends it
            with suppress(StoreFull, Stopping):
                while not start.done():
                    await self._runtime.submit(())
            door = await self._http()
            mqtt = [group.create_task(one.run(), name="mqtt") for one in self._brokers]
            reloads = group.create_task(self._reloads(notifier), name="reload")
            audit = group.create_task(self._settle(), name="audit")
            watchdog = group.create_task(self._feed(notifier, environment), name="watchdog")
            sweeping = group.create_task(sweep(SWEEP_EVERY), name="sweep")
            gc.collect()
            give_back()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            sys.setswitchinterval(SWITCH_EVERY)
            notifier.ready()
            _log.info("eventd.ready", listen=f"{self._config.host}:{self._config.port}")
            await self._stop.wait()
            notifier.stopping()
            _log.info("eventd.stopping")
            await door.close()
            for broker in self._brokers:
                broker.stop()
            if mqtt:
                await asyncio.wait(mqtt)
            reloads.cancel()
            watchdog.cancel()
            audit.cancel()
            sweeping.cancel()
            self._guesses.settle(math.inf)
            self._inbox.close()

    def _heed(self, signals: Signals) -> None:
        """A reload waits for the start to end, which may have read before what it is about."""
        if signals.stop:
            self._stop.set()
        if signals.reload:
            signals.reload = False
            self._reload.set()

    async def _start(self, rules: LoadRules | None, inventory: LoadInventory | None) -> None:
        """Where there are none, those in force stay."""
        if rules is not None:
            self._meter.rules.set(len(rules.rules))
            self._meter.reloaded.set(1)
        with suppress(Stopping):  # on a disk that was full to the end
            await self._runtime.submit((Started(__version__, self._config.settings()),))
            if rules is not None and rules.version != self._runtime.engine.rules_version:
                await self._load(rules)
            if inventory is not None:
                await self._take(inventory)

    def observe(self, batch: Batch) -> None:
        """Told of every committed batch: metrics and log."""
        meter = self._meter
        meter.applied(batch.steps)
        if not LOGGED.isdisjoint({type(fact) for step in batch.steps for fact in step.facts}):
            for step in batch.steps:
                log_facts(fact for fact in step.facts if type(fact) in LOGGED)
        if batch.quarantined is not None and isinstance(batch.quarantined.input, Event | Refused):
            meter.quarantined()
        if batch.steps:
            meter.commits.observe(self._runtime.commit_seconds)
            meter.batches.observe(batch.next_seq - self._committed)
        self._committed = batch.next_seq
        self.tell_snapshots()

    def tell_snapshots(self) -> None:
        """What became of those that were written since."""
        done, failures = self._store.snapshots, self._store.snapshot_failures
        self._meter.snapshots.inc(done - self._snapshots)
        if failures > self._snapshot_failures:
            why = "no space, or no descriptor"
            _log.warning("snapshot.failed", why=why, beyond=self._runtime.beyond_snapshot)
        self._snapshots, self._snapshot_failures = done, failures

    def abandoned(self, source: str, events: int) -> None:
        """Told of events that were taken before a restart in place, and have to come again."""
        self._meter.refused(source, "restart", events)

    def _queue(self, *inputs: Input) -> None:
        """Have it written down, nobody waits for that; without inputs it is a probe."""
        with suppress(Stopping):  # in a restart in place
            self._inbox.put(Submission(inputs, lambda _: None))

    async def _settle(self) -> None:
        while True:
            await asyncio.sleep(GUESSES_WITHIN)
            self._guesses.settle(monotonic())

    async def _http(self) -> Door:
        file = self._config.file
        secrets = self._secrets
        limits = Limits(file.limits.max_body, float(file.limits.commit_within))
        policies = self._config.policies()
        webhooks = Webhooks(self._inbox, self._decode, policies, self._meter, limits)
        webhooks.credentials, webhooks.own = secrets.api, secrets.sources
        webhooks.guesses = guesses = self._guesses
        api = Api(self._runtime, self._reader, secrets.api, guesses)
        health = Health(self._runtime, self._page, secrets.metrics, guesses)
        routes = [*webhooks.routes(), *api.routes(), *health.routes()]
        app = web.Application(client_max_size=file.limits.max_body)
        app.add_routes(only_own(routes, secrets.api, policies, self._meter))
        runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=HTTP_STOP_WITHIN)
        await runner.setup()
        room = max(MIN_CONNECTIONS, descriptors() - OWN_DESCRIPTORS)
        most = min(file.limits.connections, room)
        door = Door(runner, Bounds(most, min(file.limits.connections_per_peer, most)), self._meter)
        self._meter.watch(self._meter.connections, lambda: len(door))
        self._meter.connections_limit.set(most)
        if secrets.tls is not None:
            secrets.tls.sni_callback = self._present
        await door.listen(self._config.host, self._config.port, secrets.tls)
        return door

    def _present(self, tls: ssl.SSLObject, _name: str, _first: ssl.SSLContext) -> None:
        """Show the newest certificate: asked for every connection, also one that names no host."""
        if self._tls is not None:
            tls.context = self._tls

    async def _page(self) -> bytes:
        self.tell_snapshots()
        try:
            found = await self._reader.open_by_priority()
        except StoreError:  # the rest of the page is what is wanted then
            self._meter.open.clear()
        else:
            for priority in range(1, 6):
                self._meter.open.labels(f"P{priority}").set(found.get(priority, 0))
        budgeted = self._runtime.engine.rules.budgeted
        self._meter.shares({name: state.share() for name, state in budgeted.items()})
        return self._meter.page()

    def _watch(self) -> None:
        meter, runtime, inbox = self._meter, self._runtime, self._inbox
        table = runtime.engine.table
        meter.watch(meter.waiting, lambda: runtime.waiting)
        meter.watch(meter.inbox, lambda: inbox.bytes)
        meter.inbox_limit.set(inbox.max_bytes)
        meter.inbox_reserve.set(inbox.reserve)
        meter.watch(meter.alerts, lambda: len(table.records))
        meter.watch(meter.keys, lambda: len(table.keys))
        engine = runtime.engine
        meter.watch(meter.services, lambda: len(engine.inventory.services))
        meter.watch(meter.cis, lambda: len(engine.inventory.cis))
        meter.watch(meter.dependencies, lambda: engine.inventory.dependencies)
        meter.watch(meter.unknown, lambda: len(engine.enrichment.unknown))
        self._watch_correlation()
        meter.watch(meter.beyond, lambda: runtime.beyond_snapshot)
        meter.watch(meter.blocked, lambda: runtime.blocked_since is not None)
        meter.watch(meter.drift, self._clock.drift)

    def _watch_correlation(self) -> None:
        meter, engine = self._meter, self._runtime.engine
        correlation, heartbeats, habits = engine.correlation, engine.heartbeats, engine.habits
        clusters, beats = correlation.table.clusters, heartbeats.beats
        meter.watch(meter.flapping, lambda: len(engine.correlating.flapping))
        meter.watch(meter.clusters, lambda: len(clusters))
        meter.watch(meter.raised, lambda: sum(one.raised for one in clusters.values()))
        meter.watch(meter.heartbeats, lambda: len(beats))
        meter.watch(meter.silent, lambda: sum(one.silent for one in beats.values()))
        meter.clusters_limit.set(parameters.MAX_CLUSTERS)
        learned: dict[str, tuple[Sized, int]] = {
            "checks": (correlation.noise, parameters.MAX_CHECKS),
            "clocks": (correlation.onsets, parameters.MAX_CIS),
            "changes": (correlation.changes, parameters.MAX_CHANGES),
            "past": (correlation.past, parameters.MAX_PAST),
            "heartbeats": (beats, MAX_BEATING),
            "heartbeat_sources": (heartbeats.pulses, MAX_SOURCES),
            "sources": (habits.sources, MAX_STREAMS),
            "paces": (habits.paces, MAX_SEEN),
            "hours": (habits.hours, MAX_SEEN),
        }
        for kind, (table, limit) in learned.items():
            meter.watch_learned(kind, table, limit)

    async def _reloads(self, notifier: Notifier) -> None:
        """SIGHUP: all new secrets, or the old ones; and so the rule set, and the inventory."""
        while True:
            await self._reload.wait()
            self._reload.clear()
            notifier.reloading()
            try:
                self._take_up(await asyncio.to_thread(self._config.secrets_now))
            except ConfigError as error:
                _reject_secrets(self._meter, error)
            with suppress(Stopping):  # what ends the daemon is told by who ends it
                await self._reload_rules()
                await self._reload_inventory()
            notifier.ready()

    async def _reload_rules(self) -> None:
        try:
            rules = await asyncio.to_thread(load_rules, self._config.rules)
        except ConfigError as error:
            self._reject_rules(error)
        else:
            await self._load(rules)

    async def _reload_inventory(self) -> None:
        try:
            inventory = await asyncio.to_thread(load_inventory, self._config.inventory)
        except ConfigError as error:
            self._reject_inventory(error)
        else:
            await self._take(inventory)

    def _reject_rules(self, error: ConfigError) -> None:
        self._meter.reloaded.set(0)
        for problem in error.problems:
            _log.error("rules.rejected", problem=problem)

    def _reject_inventory(self, error: ConfigError) -> None:
        self._meter.inventory_read(good=False)
        for problem in error.problems:
            _log.error("inventory.rejected", problem=problem)

    async def _take(self, inventory: LoadInventory) -> None:
        """An unchanged one need not be journaled again; one that crashed the daemon stays out."""
        facts: tuple[Fact, ...] = ()
        if inventory.version != self._runtime.engine.inventory.version:
            facts = (await self._runtime.submit((inventory,))).facts
        problems = [fact.error for fact in facts if isinstance(fact, CommandRejected)]
        self._meter.inventory_read(good=not problems)
        for problem in problems:
            _log.error("inventory.rejected", problem=problem)

    async def _load(self, rules: LoadRules) -> None:
        """Judge by them; by the old set where these crashed the daemon before."""
        for fact in (await self._runtime.submit((rules,))).facts:
            if isinstance(fact, CommandRejected):
                self._meter.reloaded.set(0)
                _log.error("rules.rejected", problem=fact.error)

    def _take_up(self, new: Secrets) -> None:
        """What is asked for and shown from now on, all at once: nothing here waits."""
        old = self._secrets
        old.api.become(new.api)
        old.metrics.become(new.metrics)
        for name, credentials in old.sources.items():
            credentials.become(new.sources[name])
        for broker, file in zip(self._brokers, self._config.file.sources.mqtt, strict=True):
            broker.renew(new.passwords[file.name].reveal())
        self._tls = new.tls
        self._meter.unlocked.set(1)
        _log.info("secrets.loaded")

    async def _feed(self, notifier: Notifier, environment: Environment) -> None:
        """Twice as often as asked for; a probe that does not come back feeds nothing."""
        if not environment.watchdog_usec:
            return
        with suppress(Stopping):
            await feed(notifier, lambda: self._runtime.submit(()), environment.watchdog_usec / 2e6)


def _broker(config: Config, file: Mqtt) -> Broker:
    return Broker(
        name=file.name,
        host=file.host,
        port=file.port,
        version=5 if file.version == "5" else 4,
        client_id=file.client_id or f"eventd-{file.name}",
        username=file.username,
        password=config.secrets.passwords[file.name].reveal(),
        tls=file.tls,
        ca_file=str(config.folder / file.ca_file) if file.ca_file else "",
        keepalive=int(file.keepalive),
        session_expiry=int(file.session_expiry),
        topics=tuple((t.filter, policy_of(t.source or file.name, t)) for t in file.topics),
        will_topic=file.status_topic,
    )
