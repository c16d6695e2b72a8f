"""The API over HTTP, a real server, on a daemon's inside whose clock is set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner, Result
from tests.builders import Feed
from tests.edges.store_desk import Life, alive

from eventd.cli import main
from eventd.credentials import Credentials, Guesses
from eventd.metrics import Meter
from eventd.store.reader import Reader
from eventd.web.api import Api

Client = TestClient[web.Request, web.Application]


class ApiDesk:
    """Somebody with an HTTP client, and with a shell."""

    def __init__(self, life: Life, client: Client) -> None:
        self.life, self._client = life, client

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and body of an answer."""
        async with self._client.get(f"/api/v1/{path}") as answer:
            return answer.status, await answer.json()

    async def text(self, path: str) -> tuple[int, str, str]:
        """Status, content type and body of an answer."""
        async with self._client.get(f"/api/v1/{path}") as answer:
            return answer.status, answer.content_type, await answer.text()

    async def post(self, path: str, body: object, key: str = "") -> tuple[int, dict[str, Any]]:
        """Status and body of an answer."""
        headers = {"Idempotency-Key": key} if key else {}
        async with self._client.post(f"/api/v1/{path}", json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def say(self, request: bytes) -> bytes:
        """What comes back for bytes that no client would send, to the end of the connection."""
        url = self._client.make_url("")
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer

    async def shell(self, *words: str) -> Result:
        """`eventd WORDS`, asking this daemon."""
        url = str(self._client.make_url("")).rstrip("/")
        return await asyncio.to_thread(CliRunner().invoke, main, [*words, "--url", url])


@asynccontextmanager
async def api_desk(state: Path, feed: Feed) -> AsyncIterator[ApiDesk]:
    """A daemon that has seen the feed, and whose clock stands where that ended."""
    async with alive(state) as life, Reader(state) as reader:
        await life.feed(feed)
        app = web.Application()
        app.add_routes(Api(life.runtime, reader, Credentials(), Guesses(Meter())).routes())
        async with TestClient(TestServer(app)) as client:
            yield ApiDesk(life, client)
