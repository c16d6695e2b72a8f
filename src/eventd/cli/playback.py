"""Playing a recording at a live daemon, over the transports it came by."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any

import aiohttp
import aiomqtt
from msgspec.structs import replace

from eventd.clock import monotonic, wall
from eventd.core.model import Delivery, SourcePolicy
from eventd.recording import Line, parse

BANK = "bank-afternoon.jsonl.gz"
INVENTORY = "bank-inventory.yaml"
SOURCES = {
    "events": SourcePolicy(name="events", decoder="native"),
    "bank": SourcePolicy(name="bank", decoder="native"),
}
ROUND = timedelta(seconds=5)  # of heartbeats in the story
SETTLE = 0.05  # s between looks whether everything is applied
SETTLE_WITHIN = 60.0  # s
_TIME = re.compile(rb"2026-01-05T\d\d:\d\d:\d\d(?:\.\d+)?Z")  # of the story


def recording() -> list[Line]:
    """The story, in order."""
    data = _packaged(BANK)
    return [parse(text, SOURCES) for text in gzip.decompress(data).splitlines()]


def inventory() -> bytes:
    """What the bank of the story has, and what depends on what."""
    return _packaged(INVENTORY)


def beats(lines: list[Line], seconds: float) -> list[Line]:
    """What beats at the end of the lines, going on to do so for so many seconds of the story."""
    end = lines[-1].at
    last = [one for one in lines if one.at > end - ROUND and _is_heartbeat(one)]
    rounds = range(1, int(seconds / ROUND.total_seconds()) + 1)
    return [replace(one, at=one.at + n * ROUND) for n in rounds for one in last]


def _is_heartbeat(line: Line) -> bool:
    return line.delivery is not None and b'"heartbeat"' in line.delivery.payload


def _packaged(name: str) -> bytes:
    return files("eventd.cli").joinpath("recordings", name).read_bytes()


class Player:
    """Sends deliveries in recorded order, each after the one before it is acknowledged."""

    def __init__(self, url: str, mqtt_port: int | None, speed: float) -> None:
        """Without `mqtt_port` messages travel as native events over HTTP."""
        self._url, self._mqtt_port, self._speed = url, mqtt_port, speed
        self._sent_by_mqtt = 0

    async def play(self, lines: list[Line], step: Callable[[], None]) -> None:
        """Play all; `step` after each. Returns when everything is committed."""
        start, began, present = lines[0].at, monotonic(), wall()
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession())
            broker = None
            if self._mqtt_port is not None:
                broker = await stack.enter_async_context(
                    aiomqtt.Client("127.0.0.1", self._mqtt_port, identifier="eventd-demo-player")
                )
            over_mqtt = False
            for line in lines:
                delivery = line.delivery
                if delivery is None:
                    continue
                due = began + (line.at - start).total_seconds() / self._speed
                await asyncio.sleep(max(0.0, due - monotonic()))
                payload = _moved(delivery.payload, start, present, self._speed)
                by_mqtt = delivery.transport == "mqtt" and broker is not None
                if over_mqtt and not by_mqtt:
                    await self._settled(http)
                over_mqtt = by_mqtt
                if by_mqtt and broker is not None:
                    await broker.publish(delivery.topic, payload, qos=1)
                    self._sent_by_mqtt += 1
                else:
                    await self._post(http, delivery, payload)
                step()
            await self._settled(http)

    async def _post(self, http: aiohttp.ClientSession, delivery: Delivery, payload: bytes) -> None:
        path = delivery.path or "/v1/events"
        async with http.post(self._url + path, data=payload, headers=delivery.headers) as answer:
            if answer.status != 202:  # noqa: PLR2004 - the one good answer
                raise RuntimeError(await answer.text())

    async def _settled(self, http: aiohttp.ClientSession) -> None:
        """Wait until what was published is committed: a broker's answer says less."""
        async with asyncio.timeout(SETTLE_WITHIN):
            while await self._received(http) < self._sent_by_mqtt:  # noqa: ASYNC110 - not our process
                await asyncio.sleep(SETTLE)

    async def _received(self, http: aiohttp.ClientSession) -> float:
        async with http.get(self._url + "/metrics") as answer:
            page = await answer.text()
        done = 0.0
        for name in ("applied", "duplicate"):
            found = re.search(rf'eventd_events_{name}_total{{source="bank"}} (\S+)', page)
            done += float(found[1]) if found else 0.0
        return done


def _moved(payload: bytes, start: datetime, present: datetime, speed: float) -> bytes:
    """The payload with the story's times brought to the present."""

    def shift(found: re.Match[bytes]) -> bytes:
        then = datetime.fromisoformat(found[0].decode())
        at = present + timedelta(seconds=(then - start).total_seconds() / speed)
        return at.isoformat().replace("+00:00", "Z").encode()

    return _TIME.sub(shift, payload)


async def pages(http: aiohttp.ClientSession, url: str) -> AsyncIterator[dict[str, Any]]:
    """Items of a list, page by page."""
    after = ""
    while True:
        async with http.get(f"{url}?limit=500{after}") as answer:
            page = await answer.json()
        for item in page["items"]:
            yield item
        if page["next"] is None:
            return
        after = f"&after={page['next']}"
