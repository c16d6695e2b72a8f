"""The door over HTTP where nothing is let in, or nothing answered for."""

from __future__ import annotations

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.acceptance.daemon import accounts, samples
from tests.edges.http_desk import Desk

from eventd.core.model import SourcePolicy
from eventd.inbox import Inbox, Submission
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


async def test_no_202_goes_out_once_the_store_has_failed() -> None:
    desk = Desk()
    desk.inbox.failed = lambda: True

    async with desk.open() as client:
        answer = await client.post("/v1/events", json={"name": "x"})
        said = (await answer.json())["detail"]

    assert (answer.status, said) == (503, "the store has failed; try again")
    assert len(desk.taken) == 1
