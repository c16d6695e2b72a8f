"""A seeded event loop: virtual time, and whatever is ready runs in any order.

One world holds the loops of all processes. A step runs one callback of one of them; time passes
when nothing is ready, and now and then before. Between any two steps a process can be killed.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import Context
from functools import partial
from random import Random
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STEP_SECONDS = 0.000_05  # virtual time a callback takes
HURRY = 1 / 64  # share of steps before which time passes although something is ready,
HURRY_SECONDS = 0.05  # and how much at most


class Killed(BaseException):
    """Raised inside a process to stop it at this very instruction."""


class SimTask(asyncio.Task[T]):
    """A task whose place in a set does not depend on its address."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class World:
    """The seed's clock and its choices."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 1_000.0  # s, monotonic
        self.steps = 0
        self.ready: list[asyncio.Handle] = []
        self.trace: Callable[[str], None] | None = None
        self.before: Callable[[], None] = lambda: None  # called before every step
        self.dead: list[asyncio.Task[Any]] = []  # tasks of killed processes, kept from finalising
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = 0

    def number(self) -> int:
        """The next of a series: ids that no address goes into."""
        self._numbers += 1
        return self._numbers

    def at(self, handle: asyncio.TimerHandle) -> None:
        """Have it run at its time."""
        heapq.heappush(self._timers, (handle.when(), self.number(), handle))

    def run(self, stopped: Callable[[], bool], max_steps: int) -> bool:
        """Step until `stopped`; False where that takes more than `max_steps` more steps."""
        chance, ready, timers = self.random.random, self.ready, self._timers
        end = self.steps + max_steps
        outer = events._get_running_loop()
        try:
            while not stopped():
                if self.steps >= end:
                    return False
                if chance() < HURRY:
                    self.now += chance() * HURRY_SECONDS
                if timers and (not ready or timers[0][0] <= self.now):
                    self._pass_time()
                if not ready:
                    if not timers:
                        return False
                    continue
                self.steps += 1
                self.now += STEP_SECONDS
                self.before()
                if not ready:
                    continue
                at = int(chance() * len(ready))
                handle = ready[at]
                ready[at] = ready[-1]
                ready.pop()
                if handle.cancelled():
                    continue
                if self.trace is not None:
                    self.trace(f"{self.now:.4f} {_name(handle)}")
                events._set_running_loop(handle._loop)  # type: ignore[attr-defined] # a handle's own
                handle._run()
        finally:
            events._set_running_loop(outer)
        return True

    def _pass_time(self) -> None:
        timers = self._timers
        self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            _, _, handle = heapq.heappop(timers)
            if not handle.cancelled():
                self.ready.append(handle)

    def bury(self, loop: Loop) -> None:
        """Nothing of this loop happens any more."""
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined] # or each complains
            self.dead.append(task)
        self.ready[:] = [one for one in self.ready if one._loop is not loop]  # type: ignore[attr-defined]
        self._timers[:] = [one for one in self._timers if one[2]._loop is not loop]  # type: ignore[attr-defined]
        heapq.heapify(self._timers)

    def close(self) -> None:
        """Let the tasks of dead processes go; what their last lines do is of no interest."""
        for task in self.dead:
            coro: Any = task.get_coro()
            while coro.cr_frame is not None:  # some wait once more when told to end
                with suppress(BaseException):
                    coro.close()
        self.dead.clear()


class Loop(asyncio.BaseEventLoop):
    """One process's event loop."""

    def __init__(self, world: World) -> None:
        self.alive = False
        super().__init__()
        self.world = world
        self.errors: list[str] = []  # what nobody caught
        self.alive = True
        self._lane: deque[asyncio.Handle] = deque()
        self._wires: dict[int, Any] = {}

    # -- what asyncio asks of a loop --------------------------------------------------------------

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self.alive

    def is_closed(self) -> bool:
        return not self.alive

    def time(self) -> float:
        return self.world.now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if self.alive:
            self.world.ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """What other threads hand in comes in the order it was handed in."""
        handle = asyncio.Handle(callback, args, self, context)
        self._lane.append(handle)
        self.call_soon(self._next_in_lane)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.world.now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if self.alive:
            self.world.at(handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override] # the stubs differ between releases
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        task = SimTask.__new__(SimTask)
        task.number = self.world.number()
        task.__init__(coro, loop=self, name=name or "task", context=context)  # type: ignore[misc] # its number comes first: it is put into a set
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.errors.append(f"{context.get('message')}: {error!r}")

    def run_in_executor(  # type: ignore[override] # a thread's work is done at once, told later
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future = self.create_future()

        def work() -> None:
            try:
                result = func(*args)
            except Killed:
                return
            except Exception as error:  # noqa: BLE001 - raised where it is awaited
                self.call_soon_threadsafe(_settle, future, error)
            else:
                self.call_soon_threadsafe(_settle, future, result)

        self.call_later(self.world.random.random() * 0.01, work)
        return future

    # -- sockets ----------------------------------------------------------------------------------

    def add_wire(self, fd: int, wire: Any) -> None:
        """A socket by its descriptor."""
        self._wires[fd] = wire

    def add_reader(self, fd: Any, callback: Callable[[*Ts], Any], *args: *Ts) -> None:
        self._wires[_number(fd)].watch_read(partial(callback, *args))

    def remove_reader(self, fd: Any) -> bool:
        if wire := self._wires.get(_number(fd)):
            wire.watch_read(None)
        return True

    def add_writer(self, fd: Any, callback: Callable[[*Ts], Any], *args: *Ts) -> None:
        self._wires[_number(fd)].watch_write(partial(callback, *args))

    def remove_writer(self, fd: Any) -> bool:
        if wire := self._wires.get(_number(fd)):
            wire.watch_write(None)
        return True

    def _next_in_lane(self) -> None:
        handle = self._lane.popleft()
        if not handle.cancelled():
            handle._run()


def _number(fd: Any) -> int:
    return fd if isinstance(fd, int) else int(fd.fileno())


def _settle(future: asyncio.Future[Any], result: object) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _name(handle: asyncio.Handle) -> str:
    """What runs, without an address."""
    callback: Any = handle._callback  # type: ignore[attr-defined] # a handle's own
    while isinstance(callback, partial):
        callback = callback.func
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return f"{owner.get_name()}:{owner.get_coro().__qualname__}"  # type: ignore[union-attr]
    return str(getattr(callback, "__qualname__", type(callback).__name__))
