"""Whether it lives, whether it can take events, and its numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from eventd.answers import not_let_in, unavailable
from eventd.clock import monotonic, wall
from eventd.credentials import Credentials, Guesses
from eventd.errors import EventdError, Stopping
from eventd.runtime import Runtime

PROBE_WITHIN = 5.0  # s a probe may take to travel inbox → runtime → writer → back


class Health:
    """`/-/healthy`, `/-/ready` and `/metrics`."""

    def __init__(
        self,
        runtime: Runtime,
        page: Callable[[], Awaitable[bytes]],
        credentials: Credentials,
        guesses: Guesses,
    ) -> None:
        """`page` makes the metrics' text."""
        self._runtime, self._page = runtime, page
        self._credentials, self._guesses = credentials, guesses

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        return [
            web.get("/-/healthy", self.healthy),
            web.get("/-/ready", self.ready),
            web.get("/metrics", self.metrics),
        ]

    async def healthy(self, request: web.Request) -> web.Response:
        """The loop turns."""
        return web.Response(text="healthy\n")

    async def ready(self, request: web.Request) -> web.Response:
        """The store can be written and rules are loaded; a dead broker alone does not matter."""
        checks = {
            "store": await self._writable(),
            "rules": bool(self._runtime.engine.rules_version),
            "accepting": not self._runtime.inbox.closed,
        }
        return web.Response(
            status=200 if all(checks.values()) else 503,
            body=msgspec.json.encode({"ready": all(checks.values()), "checks": checks}),
            content_type="application/json",
        )

    async def metrics(self, request: web.Request) -> web.Response:
        """The text page."""
        if not self._credentials.allows(request.headers, wall()):
            peer = request.remote or ""
            wrong = self._guesses.wrong("metrics", peer, self._credentials, monotonic())
            return not_let_in(wrong)
        try:
            page = await self._page()
        except Stopping:
            return unavailable("eventd is stopping")
        return web.Response(
            body=page,
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def _writable(self) -> bool:
        if self._runtime.blocked_since is not None:
            return False
        try:
            async with asyncio.timeout(PROBE_WITHIN):
                await self._runtime.submit(())
        except (TimeoutError, EventdError):
            return False
        return True
