"""What the daemon asks for, given by the simulation: time, threads, sockets, the disk.

Nothing of the daemon's own is replaced but two places at which it is made to raise.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

import aiomqtt
import structlog
from paho.mqtt import client as paho

from eventd import app, clock
from eventd.core.engine import Engine
from eventd.core.model import Event
from eventd.core.rules import group
from eventd.core.rules.rule import Seen
from eventd.store import snapshots, sqlite
from eventd.store.sqlite import SqliteStore
from eventd.web import api
from tests.simulation.disk import Disk, SimOs, SimWriter
from tests.simulation.door import Listener, Web
from tests.simulation.loop import Loop
from tests.simulation.machine import Machine
from tests.simulation.oracle import POISON
from tests.simulation.shadow import CROOKED
from tests.simulation.sizes import StandIn, sizes

MISC_EVERY = 15.0  # s; one in the library, and most steps would be these


@contextmanager
def simulated(machine: Machine) -> Iterator[None]:
    """The daemon asks this machine for everything."""
    with ExitStack() as stack:
        stack.callback(structlog.configure, **structlog.get_config())
        stack.callback(random.setstate, random.getstate())
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
            processors=[],
            logger_factory=structlog.ReturnLoggerFactory(),
            cache_logger_on_first_use=False,
        )
        random.seed(machine.world.random.random())
        replace(stack, _all(machine))
        yield


def replace(stack: ExitStack, stand_ins: Iterable[StandIn]) -> None:
    """Until the stack unwinds."""
    for owner, name, value in stand_ins:
        stack.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)


def _all(machine: Machine) -> Iterator[StandIn]:
    yield from _system(machine)
    yield from sizes(machine.world.random, machine.hurry)
    yield from on(machine.disk)
    yield from _traps()
    yield app, "SqliteStore", _store(machine)
    yield app, "_Daemon", _daemon(machine)
    yield app, "load_rules", lambda _path: machine.rules
    yield app, "load_inventory", lambda _path: machine.inventory
    yield api, "document", lambda *_: {}  # slow to make, and nobody asks for it


def _system(machine: Machine) -> Iterator[StandIn]:
    world = machine.world
    nothing = SimpleNamespace(collect=int, freeze=int, unfreeze=int, set_threshold=lambda *_: None)
    yield app, "gc", nothing
    yield app, "web", Web
    yield app, "Door", partial(Listener, machine.door)
    yield clock, "time", SimpleNamespace(monotonic=lambda: world.now)
    yield clock, "datetime", SimpleNamespace(now=lambda _zone: machine.wall())
    yield paho, "time_func", lambda: world.now
    yield paho.Client, "_create_socket_connection", machine.connect
    yield aiomqtt.Client, "_misc_loop", _misc
    yield Loop, "run_in_executor", _blocking(machine.disk)


def on(disk: Disk) -> Iterator[StandIn]:
    """What the store needs to run on such a disk, in turns of whichever loop."""
    yield sqlite, "WriterThread", partial(SimWriter, disk)
    yield sqlite, "open_writer", disk.open_writer
    yield snapshots, "os", SimOs(disk)
    yield snapshots, "sync_directory", disk.sync_directory


def _traps() -> Iterator[StandIn]:
    """Inputs on which the core raises, an alert on which a rule does."""
    step, other, observe = Engine._event, Engine._other, group.State.observe

    def stepped(engine: Engine, event: Event, *args: Any) -> Any:
        if event.name == POISON:
            raise ZeroDivisionError(POISON)
        return step(engine, event, *args)

    def handled(engine: Engine, item: Any, *args: Any) -> None:
        if POISON in (getattr(item, "text", ""), getattr(item, "version", "")):
            raise ZeroDivisionError(POISON)
        other(engine, item, *args)

    def observed(state: group.State, seen: Seen, now: datetime) -> Any:
        if seen.alert.name == CROOKED:
            raise ZeroDivisionError(CROOKED)
        return observe(state, seen, now)

    yield Engine, "_event", stepped
    yield Engine, "_other", handled
    yield group.State, "observe", observed


def _store(machine: Machine) -> type[SqliteStore]:
    class Store(SqliteStore):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            machine.store = self

    return Store


def _daemon(machine: Machine) -> type[app._Daemon]:
    class Daemon(app._Daemon):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            machine.daemon = self
            recovered, store = args[1], args[2]
            with store.journal() as reader:
                machine.oracle.started(recovered, reader)

    return Daemon


def _blocking(disk: Disk) -> Callable[..., Any]:
    """Work for another thread: the writer's turns that it waits for come at once."""
    plain = Loop.run_in_executor

    def run_in_executor(loop: Loop, executor: object, func: Callable[..., Any], *args: Any) -> Any:
        def work() -> Any:
            disk.threaded = True
            try:
                return func(*args)
            finally:
                disk.threaded = False

        return plain(loop, None, work)

    return run_in_executor


async def _misc(client: aiomqtt.Client) -> None:
    while client._client.loop_misc() == paho.MQTT_ERR_SUCCESS:
        await asyncio.sleep(MISC_EVERY)
