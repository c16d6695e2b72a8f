"""One seed: a machine and its people, faults, then peace; and what must hold in both."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from eventd.replay import replayed
from eventd.runtime import Runtime
from eventd.store.verdicts import verdicts
from tests.simulation.faults import Faults, drawn
from tests.simulation.loop import Loop, World
from tests.simulation.machine import Machine
from tests.simulation.operators import Operator
from tests.simulation.oracle import Broken
from tests.simulation.people import (
    Agent,
    Alertmanager,
    Device,
    HttpSender,
    Logger,
    Person,
    Teller,
)
from tests.simulation.standins import simulated

MEMORY = Path("/dev/shm")  # a file system that syncs at once
MIN_STEPS, MAX_STEPS = 500, 1000  # of the time of faults
PEACE = 60_000  # steps in which everything must drain
QUIET = 3_600.0  # s as the correlation counts; what flapped is calm, what was correlated is over
QUIET_LEAST = 240.0  # s; every silence, window and reopening has ended


@contextmanager
def seeds() -> Iterator[None]:
    """Around playing some: coroutines of killed processes end in the garbage collector.

    What their last lines do is of no interest, nor what they raise.
    """
    hook, silenced = sys.unraisablehook, logging.root.manager.disable
    sys.unraisablehook = lambda _args: None
    logging.disable(logging.CRITICAL)
    gc.freeze()  # what is there already needs no looking at, seed after seed
    try:
        yield
    finally:
        gc.unfreeze()
        gc.collect()
        sys.unraisablehook = hook
        logging.disable(silenced)


class Ran(Struct, frozen=True):
    """How a seed went."""

    seed: int
    steps: int
    starts: int
    acked: int
    rows: int
    checks: int  # at rest
    problem: str  # "" where every invariant held
    step: int  # at which it did not
    seen: dict[str, int]  # kind of fact → how often


def run(seed: int, *, trace: Callable[[str], None] | None = None) -> Ran:
    """Play one seed to its end, or to the first invariant that does not hold."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        world = World(seed)
        world.trace = trace
        play = _Play(world, Path(folder))
        problem = ""
        try:
            with simulated(play.machine):
                play.run()
        except Broken as broken:
            problem = str(broken)
        finally:
            play.end()
        oracle = play.machine.oracle
        return Ran(
            seed,
            world.steps,
            play.machine.starts,
            len(oracle.acked),
            oracle.next_seq,
            oracle.checks,
            problem,
            world.steps if problem else 0,
            dict(oracle.shadow.seen),
        )


class _Play:
    def __init__(self, world: World, folder: Path) -> None:
        self.world, chance = world, world.random
        self.outside = Loop(world)
        self.machine = Machine(world, self.outside, folder)
        trouble = chance.choice((0.0, 0.02, 0.1))
        pause = chance.choice((0.5, 3.0, 8.0))
        self.senders = [
            HttpSender(self.machine, n, trouble=trouble, pause=pause)
            for n in range(chance.randint(1, 3))
        ]
        self.devices = [
            Device(self.machine, n, trouble=trouble, pause=pause)
            for n in range(chance.choice((0, 1, 2)))
        ]
        self.operators = [
            Operator(self.machine, n, trouble=trouble, pause=chance.choice((0.3, 1.0, 3.0)))
            for n in range(chance.choice((1, 1, 2)))
        ]
        self.agents: list[Teller] = [
            *(Agent(self.machine, pause=1.0) for _ in range(chance.choice((0, 1)))),
            *(Logger(self.machine, pause=pause) for _ in range(chance.choice((0, 0, 1)))),
        ]
        self.managers = [
            Alertmanager(self.machine, pause=pause) for _ in range(chance.choice((0, 1)))
        ]
        self.tellers: list[Teller] = [
            *self.senders,
            *self.devices,
            *self.managers,
            *self.agents,
        ]
        self.people: list[Person] = [*self.tellers, *self.operators]
        self.faults = Faults(self.machine)
        self.plan = drawn(chance, MAX_STEPS)
        self._checked = 0

    def run(self) -> None:
        machine, world = self.machine, self.world
        machine.start()
        for one in self.people:
            self.outside.create_task(one.run(), name=type(one).__name__)
        world.before = self._before
        last = world.random.randint(MIN_STEPS, MAX_STEPS)
        world.run(lambda: world.steps >= last or self._failed(), MAX_STEPS)
        self._check()
        self._make_peace()
        if not world.run(self._drained, PEACE):
            self._check()
            raise Broken(f"I15: after {PEACE} steps of peace: {self._what_waits()}")
        self._check()
        end = world.now + max(QUIET_LEAST, QUIET / self.machine.hurry)
        world.run(lambda: world.now >= end or self._failed(), PEACE)
        world.run(lambda: self._at_rest() or self._failed(), PEACE)
        self._check()
        self._quiescent()
        ready = machine.door.send("GET", "/-/ready", {}, b"")
        world.run(ready.done, PEACE)
        daemon = machine.daemon
        if daemon is None or not ready.done() or ready.result().status != 200:
            raise Broken("I15: it is not ready at the end")
        wanted = [token for one in self.tellers for token in one.wanted]
        machine.oracle.finished(daemon._runtime.engine, wanted)
        self._check()
        self._stop()

    def _before(self) -> None:
        """Between any two steps."""
        world, machine = self.world, self.machine
        while self.plan and self.plan[0].step <= world.steps:
            self.faults.do(self.plan.pop(0))
        self.faults.watch()
        machine.look_after()
        if machine.daemon is not None:
            machine.oracle.bounded(machine.daemon._inbox)
            if world.steps - self._checked > 400 and self._at_rest():
                self._checked = world.steps
                self._quiescent()

    # -- peace ------------------------------------------------------------------------------------

    def _make_peace(self) -> None:
        """Faults stop; everybody finishes."""
        self.plan.clear()
        self.faults.end()
        for one in self.people:
            one.stopping = True

    def _drained(self) -> bool:
        people = all(one.done for one in self.people)
        return self._failed() or (people and self.machine.broker.drained and self._at_rest())

    def _at_rest(self) -> bool:
        """Nothing that came in is under way."""
        daemon = self.machine.daemon
        if daemon is None or self.machine.main is None:
            return False
        runtime = daemon._runtime
        return not runtime.waiting and not len(runtime.inbox) and not self._under_way(runtime)

    def _under_way(self, runtime: Runtime) -> bool:
        """A commit, or one that waits for room on the disk (a rule load is no event)."""
        store = self.machine.store
        tables = store._tables if store is not None else None
        if tables is not None and tables.next_seq != runtime._seq:
            return True
        return store is None or bool(store._writer._turns._jobs)  # type: ignore[attr-defined] # it is a SimWriter

    def _what_waits(self) -> str:
        machine = self.machine
        queue, flying = machine.broker.session.queue, machine.broker.session.flying
        busy = [type(one).__name__ for one in self.people if not one.done]
        return f"{busy}, {len(queue)} at the broker and {len(flying)} in flight, {machine.daemon}"

    # -- checks -----------------------------------------------------------------------------------

    def _failed(self) -> bool:
        return bool(self.machine.oracle.problem)

    def _check(self) -> None:
        if self._failed():
            raise Broken(self.machine.oracle.problem)

    def _quiescent(self) -> None:
        daemon, store = self.machine.daemon, self.machine.store
        if daemon is None or store is None:
            return
        with store.journal() as reader:
            self.machine.oracle.quiescent(daemon._runtime, daemon._meter, reader)

    def _stop(self) -> None:
        """SIGTERM; then the store is looked at as `eventd check` does."""
        machine = self.machine
        machine.wanted = False
        state = machine.disk.state
        self.faults.terminate(None)

        def gone() -> bool:
            return self._failed() or machine.main is None or machine.main.done()

        self.world.before = lambda: None
        if not self.world.run(gone, PEACE):
            raise Broken("I15: it does not stop")
        if machine.main is not None and (error := machine.main.exception()) is not None:
            raise Broken(f"it did not stop cleanly: {error!r}")
        self._check()
        for one in verdicts(state, replayed):
            if not one.ok:
                raise Broken(f"{one.invariant}: {one.says}: {one.detail}")

    def end(self) -> None:
        """Let go of everything."""
        self.machine.wanted = False
        self.machine._bury()
        self.outside.alive = False
        self.world.bury(self.outside)
        self.world.close()


def commit() -> str:
    """Of the working tree."""
    with suppress(OSError):
        found = subprocess.run(
            ("git", "rev-parse", "--short", "HEAD"), capture_output=True, text=True, check=False
        )
        return found.stdout.strip() or "unknown"
    return "unknown"
