"""The door over HTTP where nothing is let in, or nothing answered for."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from tests.acceptance.daemon import accounts, samples
from tests.edges.http_desk import Client, Desk

from eventd.core.model import SourcePolicy
from eventd.errors import EventdError
from eventd.inbox import Inbox, Outcome, Submission
from eventd.metrics import Meter
from eventd.sources.decode import decode
from eventd.sources.webhook import Limits, Webhooks


async def test_what_is_not_taken_when_full_or_stopping_is_told_and_leaves_the_sums_right() -> None:
    meter = Meter()
    inbox = Inbox(300, meter.received)
    inbox.put(Submission((), lambda _: None))
    policies = {"events": SourcePolicy(name="events", decoder="native")}
    app = web.Application()
    app.add_routes(Webhooks(inbox, decode, policies, meter, Limits()).routes())
    said = []

    async with TestClient(TestServer(app)) as client:
        for name in ("x" * 100, "y"):
            answer = await client.post("/v1/events", json={"name": name})
            said.append((answer.status, (await answer.json())["detail"]))
            inbox.close()

    assert said == [(503, "the inbox is full; try again"), (503, "eventd is stopping")]
    found = accounts(samples(meter.page()))
    assert (found["received"], found["refused"]) == (1, 1)


async def test_alerts_that_a_sender_left_out_are_counted_once_they_are_in() -> None:
    meter = Meter()
    inbox = Inbox(1 << 20)
    policies = {"prom": SourcePolicy(name="prom", decoder="alertmanager")}
    app = web.Application()
    app.add_routes(Webhooks(inbox, decode, policies, meter, Limits(commit_within=0.2)).routes())
    alert = {"labels": {"alertname": "x"}, "startsAt": "2026-01-01T00:00:00Z", "status": "firing"}
    counted = []

    async with TestClient(TestServer(app)) as client:
        for alerts, outcome in (
            ([alert], None),
            ([alert], Outcome(1, 0, ())),
            ([alert], Outcome(1, 1, ())),
            ([], None),
        ):
            body = {"version": "4", "alerts": alerts, "truncatedAlerts": 7}
            async with asyncio.TaskGroup() as group:
                sent = group.create_task(client.post("/v1/webhooks/prom", json=body))
                if outcome is not None:
                    while (item := inbox.take()) is None:
                        await asyncio.sleep(0.01)
                    item.done(outcome)
            inbox.take()
            shown = samples(meter.page()).get('eventd_alerts_truncated_total{source="prom"}', 0.0)
            counted.append((sent.result().status, shown))

    assert counted == [(503, 0), (202, 7), (202, 7), (202, 14)]


async def test_no_202_goes_out_once_the_store_has_failed() -> None:
    desk = Desk()
    desk.inbox.failed = lambda: True

    async with desk.open() as client:
        answer = await client.post("/v1/events", json={"name": "x"})
        said = (await answer.json())["detail"]

    assert (answer.status, said) == (503, "the store has failed; try again")
    assert len(desk.taken) == 1


async def test_bodies_that_are_read_at_once_are_bounded_and_a_flood_leaves_room() -> None:
    meter, inbox = Meter(), Inbox(1 << 20)
    policies = {name: SourcePolicy(name=name, decoder="native") for name in ("flood", "quiet")}
    webhooks = Webhooks(inbox, decode, policies, meter, Limits(max_body=1_000))  # 4,000 at once
    app = web.Application()
    app.add_routes(webhooks.routes())
    rest = asyncio.Event()

    async def slowly(sent: asyncio.Event) -> AsyncIterator[bytes]:
        yield b" " * 999
        sent.set()
        await rest.wait()
        yield b"!"

    async with TestClient(TestServer(app)) as client, asyncio.TaskGroup() as group:
        for _ in range(2):
            sent = asyncio.Event()
            group.create_task(client.post("/v1/webhooks/flood", data=slowly(sent)))
            await sent.wait()
        while webhooks._lobby._held["flood"] < 2 * 999:
            await asyncio.sleep(0.01)
        refused = await client.post("/v1/webhooks/flood", data=b" " * 999)
        said = await refused.json()
        quiet = group.create_task(client.post("/v1/webhooks/quiet", data=b" " * 999))
        while len(inbox) == 0:
            await asyncio.sleep(0.01)
        for _ in range(3):
            rest.set()
            while (item := inbox.take()) is None:
                await asyncio.sleep(0.01)
            item.done(Outcome(1, 0, ()))

    assert (refused.status, said["detail"]) == (503, "flood has its share of the inbox; try again")
    assert int(refused.headers["Retry-After"]) > 0
    assert quiet.result().status == 400  # it was read
    counted = samples(meter.page())
    assert counted['eventd_deliveries_refused_total{reason="overload",source="flood"}'] == 1
    assert set(webhooks._lobby._held.values()) == {0}


async def test_what_cannot_be_read_is_let_go_of_as_soon_as_it_is_answered() -> None:
    desk = Desk()

    async with desk.open() as client:
        answer, kept = await _sent_twice(client, b"[" * 100_000, desk.inbox)

    assert (answer.status, kept) == (400, [])


async def test_what_cannot_be_read_is_not_held_while_its_refusal_is_committed() -> None:
    policies = {"events": SourcePolicy(name="events", decoder="native")}
    inbox = Inbox(1 << 20)
    app = web.Application()
    app.add_routes(Webhooks(inbox, decode, policies, Meter(), Limits()).routes())
    body = b"[" * 1_000_000

    async with TestClient(TestServer(app)) as client, asyncio.TaskGroup() as group:
        tracemalloc.start()
        try:
            for n in range(4):
                group.create_task(client.post("/v1/events", data=body))
                while inbox.events <= n:
                    await asyncio.sleep(0.01)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        while (item := inbox.take()) is not None:
            item.done(Outcome(1, 0, ()))

    assert held < 1_000_000


async def test_what_is_not_committed_in_time_is_let_go_of_as_soon_as_it_is_answered() -> None:
    policies = {"events": SourcePolicy(name="events", decoder="native")}
    inbox, limits = Inbox(1 << 20), Limits(commit_within=0.01)
    app = web.Application()
    app.add_routes(Webhooks(inbox, decode, policies, Meter(), limits).routes())

    async with TestClient(TestServer(app)) as client:
        answer, kept = await _sent_twice(client, b'{"name": "x"}', inbox)

    assert (answer.status, kept) == (503, [])


async def _sent_twice(
    client: Client, body: bytes, inbox: Inbox
) -> tuple[ClientResponse, list[EventdError]]:
    """The answer, and the errors that are left without the collector: it may be minutes away."""
    await client.post("/v1/events", data=body)
    gc.collect()
    gc.disable()
    try:
        answer = await client.post("/v1/events", data=body)
        while inbox.take() is not None:
            pass  # what waits there is to be told, also of what was given up
        return answer, [one for one in gc.get_objects() if isinstance(one, EventdError)]
    finally:
        gc.enable()
