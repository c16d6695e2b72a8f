"""The door over HTTP, a real server, with somebody who commits at once behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.acceptance.daemon import samples

from eventd.core.model import Delivery, SourcePolicy
from eventd.credentials import Credentials
from eventd.inbox import Inbox, Outcome
from eventd.metrics import Meter
from eventd.sources.decode import decode
from eventd.sources.webhook import Limits, Webhooks

Client = TestClient[web.Request, web.Application]
SOURCES = ("events", "shop", "ci")


class Desk:
    """`taken` are the deliveries that were let in."""

    def __init__(
        self, credentials: Credentials | None = None, own: Mapping[str, Credentials] | None = None
    ) -> None:
        self.meter = Meter()
        self.inbox = Inbox(1 << 26, self.meter.received)
        policies = {name: SourcePolicy(name=name, decoder="native") for name in SOURCES}
        self.webhooks = Webhooks(self.inbox, decode, policies, self.meter, Limits())
        self.webhooks.credentials = credentials or Credentials()
        self.webhooks.own = own or {}
        self.taken: list[Delivery] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Client]:
        """A client of it."""
        app = web.Application()
        app.add_routes(self.webhooks.routes())
        async with asyncio.TaskGroup() as group:
            clerk = group.create_task(self._commit())
            async with TestClient(TestServer(app)) as client:
                yield client
            clerk.cancel()

    def count(self, name: str, **labels: str) -> float:
        """A sample of the metrics, 0 where there is none."""
        shown = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        return samples(self.meter.page()).get(f"{name}{{{shown}}}", 0.0)

    async def _commit(self) -> None:
        while True:
            await self.inbox.wake.wait()
            self.inbox.wake.clear()
            while (item := self.inbox.take()) is not None:
                if item.delivery is not None:
                    self.taken.append(item.delivery)
                item.done(Outcome(len(item.inputs), 0, ()))
