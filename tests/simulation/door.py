"""HTTP without sockets: the daemon's own handlers, and a network that loses and repeats.

`Web` stands in for aiohttp's `web` where the daemon builds its server: routes are the daemon's,
requests are handed to their handlers, and answers go back through the network.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from typing import Any

from aiohttp import web
from msgspec import Struct
from multidict import CIMultiDict

from tests.simulation.loop import Loop, World

Handler = Callable[[Any], Awaitable[web.StreamResponse]]


class Answer(Struct, frozen=True):
    """What a client sees."""

    status: int
    body: bytes


class Lost(Exception):
    """The connection broke before an answer came: nobody knows what became of the request."""


class Body:
    """A request's body that has come whole."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def is_eof(self) -> bool:
        return True

    def read_nowait(self, _size: int = -1) -> bytes:
        return self._data


class Connection:
    """What a request came over: it has come whole, so there is nothing more to read."""

    def hold(self) -> None:
        """Nothing."""

    def release(self) -> None:
        """Nothing."""


class Request:
    """As much of aiohttp's request as handlers read."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method, self.path, self.query_string = method, path, ""
        self.query: dict[str, str] = {}
        self.headers = CIMultiDict(headers)
        self.content, self.content_length, self.remote = Body(body), len(body), "10.0.0.1"
        self.match_info: dict[str, str] = {}
        self.protocol = Connection()
        self._body = body

    async def read(self) -> bytes:
        return self._body


class Application:
    """Routes."""

    def __init__(self, **_options: object) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []

    def add_routes(self, routes: Iterable[web.AbstractRouteDef]) -> None:
        for one in routes:
            if isinstance(one, web.RouteDef):
                handler: Any = one.handler
                self._routes.append((one.method, _pattern(one.path), handler))

    def find(self, request: Request) -> Handler:
        """Whose it is; raises LookupError."""
        for method, pattern, handler in self._routes:
            if method == request.method and (found := pattern.fullmatch(request.path)):
                request.match_info = found.groupdict()
                return handler
        raise LookupError(request.path)


class AppRunner:
    """One process's server: takes requests from start to clean-up."""

    def __init__(self, app: Application, *, shutdown_timeout: float = 60.0, **_: object) -> None:
        self.app, self._within = app, shutdown_timeout
        self.listening = False
        self.under_way: dict[asyncio.Task[None], asyncio.Future[Answer]] = {}

    async def setup(self) -> None:
        """Nothing to do."""

    async def cleanup(self) -> None:
        """Take nothing more; wait for what is under way, then give it up."""
        self.listening = False
        if self.under_way:
            await asyncio.wait(list(self.under_way), timeout=self._within)
        for task in list(self.under_way):
            task.cancel()


class Web:
    """The names the daemon takes from `aiohttp.web`."""

    Application = Application
    AppRunner = AppRunner


class Listener:
    """Where a server listens, in place of eventd's own door: the network has bounds enough."""

    def __init__(self, door: Door, runner: AppRunner, *_: object) -> None:
        self._door, self._runner = door, runner

    def __len__(self) -> int:
        return len(self._runner.under_way)

    async def close(self) -> None:
        await self._runner.cleanup()

    async def listen(self, *_: object) -> None:
        self._runner.listening = True
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        self._door.runner, self._door.inside = self._runner, loop


class Door:
    """The network between HTTP clients and whichever process listens now."""

    def __init__(self, world: World, outside: Loop) -> None:
        self.world, self._outside = world, outside
        self.runner: AppRunner | None = None
        self.inside: Loop | None = None
        self.lossy = 0.0  # share of requests, and of answers, that are lost
        self.doubling = 0.0  # share of requests that a proxy sends twice
        self.answered: Callable[[Request, Answer], None] = lambda _request, _answer: None

    def send(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> asyncio.Future[Answer]:
        """Ask; the future fails with Lost."""
        future: asyncio.Future[Answer] = self._outside.create_future()
        chance = self.world.random.random
        if chance() < self.lossy:
            self._later(future, Lost())
            return future
        for _ in range(2 if chance() < self.doubling else 1):
            request = Request(method, path, headers, body)
            self._outside.call_later(chance() * 0.02, self._arrive, request, future)
        return future

    def cut(self) -> None:
        """The process is dead: every client sees its connection break."""
        runner, self.runner, self.inside = self.runner, None, None
        if runner is not None:
            for future in runner.under_way.values():
                self._later(future, Lost())

    def _arrive(self, request: Request, future: asyncio.Future[Answer]) -> None:
        runner, inside = self.runner, self.inside
        if runner is None or inside is None or not runner.listening:
            self._later(future, Lost())
            return
        task = inside.create_task(self._handle(runner, request, future), name="request")
        runner.under_way[task] = future
        task.add_done_callback(lambda done: self._over(runner, done))

    async def _handle(
        self, runner: AppRunner, request: Request, future: asyncio.Future[Answer]
    ) -> None:
        response = await runner.app.find(request)(request)
        body = response.body if isinstance(response, web.Response) else b""
        answer = Answer(response.status, body if isinstance(body, bytes) else b"")
        self.answered(request, answer)
        lost = self.world.random.random() < self.lossy
        self._later(future, Lost() if lost else answer)

    def _over(self, runner: AppRunner, task: asyncio.Task[None]) -> None:
        future = runner.under_way.pop(task)
        if task.cancelled():
            self._later(future, Lost())
        elif (error := task.exception()) is not None:
            task.get_loop().call_exception_handler({"message": "a handler", "exception": error})
            self._later(future, Lost())

    def _later(self, future: asyncio.Future[Answer], result: Answer | Lost) -> None:
        self._outside.call_later(self.world.random.random() * 0.02, _tell, future, result)


def _tell(future: asyncio.Future[Answer], result: Answer | Lost) -> None:
    """The first of two answers counts."""
    if future.done():
        return
    if isinstance(result, Lost):
        future.set_exception(result)
    else:
        future.set_result(result)


@lru_cache(maxsize=256)
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))
