"""The one thread that touches the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

# s the loop stands still for at most, so that the writer can begin: it has to be woken, which takes
# 0.05, and would then wait for the interpreter lock until a busy loop has to let go of it, 2 ms. A
# writer that is at something else begins later.
HAND_OVER = 0.0003


class Done(NamedTuple, Generic[T]):
    """Work that was."""

    result: T


class WriterThread:
    """Does work in the order it was given.

    A queue and a thread of our own cost a third of an executor's round trip (10 against 30 µs of
    CPU). What work raises goes to whoever waits for it; where nobody does, to the next who waits.
    """

    def __init__(self) -> None:
        """Not started."""
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._failure: BaseException | None = None
        self._stopped = False

    def start(self) -> None:
        """A daemon thread: a crash elsewhere does not wait for it, crash-only means it may not."""
        Thread(target=self._run, name="store", daemon=True).start()

    def stop(self) -> None:
        """End once what was given is done; nothing more is taken."""
        self._stopped = True
        self._jobs.put(None)

    def post(self, work: Callable[[], None]) -> None:
        """Nobody waits for it."""

        def job() -> None:
            try:
                work()
            except BaseException as e:  # noqa: BLE001 - handed on to the next who waits
                self._failure = e

        self._jobs.put(job)

    async def run(self, work: Callable[[], T]) -> T:
        """Wait for it on the loop. Raise RuntimeError after `stop`: it would wait for ever."""
        if self._stopped:
            raise RuntimeError("the writer has stopped")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        begun = Lock()
        begun.acquire()
        self._jobs.put(partial(self._do, work, partial(_end_on, loop, future), begun.release))
        begun.acquire(timeout=HAND_OVER)
        try:
            return await future
        finally:
            del future  # an error knows this frame, and the two would keep each other and the work

    def wait(self, work: Callable[[], T]) -> T:
        """Wait for it in another thread."""
        future: Future[T] = Future()
        self._jobs.put(partial(self._do, work, partial(_end, future)))
        try:
            return future.result()
        finally:
            del future

    def _do(
        self,
        work: Callable[[], T],
        end: Callable[[Done[T] | BaseException], object],
        begun: Callable[[], object] = lambda: None,
    ) -> None:
        begun()
        try:
            came: Done[T] | BaseException = self._failure or Done(work())
        except BaseException as e:  # noqa: BLE001 - raised where it is waited for
            came = e
        end(came)
        del end, came

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _end_on(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], came: Done[T] | BaseException
) -> None:
    loop.call_soon_threadsafe(_end, future, came)


def _end(future: asyncio.Future[T] | Future[T], came: Done[T] | BaseException) -> None:
    if future.done():
        return
    if isinstance(came, Done):
        future.set_result(came.result)
    else:
        future.set_exception(came)
