"""Pages of other sites ask by way of an operator's browser."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.acceptance.daemon import samples

from eventd.credentials import Bearer, Credentials, digest_of
from eventd.metrics import Meter
from eventd.web.sites import only_own

TOKEN = Credentials((Bearer((digest_of("t"),)),))
OURS = "127.0.0.1:9095"


async def answer(
    headers: dict[str, str], api: Credentials, path: str = "/", meter: Meter | None = None
) -> tuple[int, str]:
    """Status and body."""

    async def come_in(_: web.Request) -> web.Response:
        return web.Response(text="come in")

    app = web.Application()
    app.add_routes(
        only_own([web.get("/{tail:.*}", come_in)], api, {"events", "shop"}, meter or Meter())
    )
    async with TestClient(TestServer(app)) as client, client.get(path, headers=headers) as said:
        return said.status, await said.text()


@pytest.mark.parametrize("api", [Credentials(), TOKEN], ids=["open", "guarded"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": f"http://{OURS}"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": ""}, 403),
        ({"Origin": f"http://{OURS}"}, 200),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:9096"}, 403),  # another program of this machine's
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "http://localhost:443", "Host": "localhost"}, 403),
        ({"Origin": "HTTP://LocalHost", "Host": "localhost:80"}, 200),
        ({"Origin": "https://localhost", "Host": "localhost:443"}, 200),
    ],
)
async def test_only_pages_of_our_own_address_are_let_in(
    headers: dict[str, str], status: int, api: Credentials
) -> None:
    said, text = await answer({"Host": OURS, **headers}, api)

    assert said == status
    assert ("come in" in text) == (status == 200)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (OURS, 200), ("127.0.0.1", 200), ("[::1]:9095", 200), ("[FE80::1]", 200),
        ("10.0.0.7:80", 200), ("localhost", 200), ("LOCALHOST:9095", 200),
        ("eventd.localhost:9095", 200), ("", 200), ("eventd:9095", 200), ("web1", 200),
        ("evil.example:9095", 403), ("127.0.0.1.evil.example", 403), ("not.local", 403),
        ("localhost.evil.example", 403), ("::1", 403), ("[::1].evil.example", 403),
        ("[localhost.evil]", 403), ("localhost:9095:evil", 403), ("[", 403), (":9095", 403),
        ("a." * 2_000, 403), ("eventd.", 403),
    ],
)  # fmt: skip
async def test_without_a_token_a_name_that_others_may_give_us_is_refused(
    host: str, status: int
) -> None:
    """DNS rebinding: to the browser it is the page's own address."""
    headers = {"Host": host, "Sec-Fetch-Site": "same-origin"}

    said, text = await answer(headers, Credentials())

    assert said == status
    assert ("configure token_file, or have the proxy name the address" in text) == (status == 403)
    assert (await answer(headers, TOKEN))[0] == 200


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/v1/events", "events"), ("/v1/webhooks/shop", "shop"), ("/v1/webhooks/made-up", "other"),
        ("/api/v1/alerts", "api"), ("/metrics", "metrics"), ("/-/ready", "other"), ("/", "other"),
    ],
)  # fmt: skip
async def test_refused_pages_are_counted_at_the_door_they_came_to(path: str, source: str) -> None:
    meter = Meter()

    await answer({"Origin": "null"}, Credentials(), path, meter)

    name = f'eventd_deliveries_refused_total{{reason="cross_site",source="{source}"}}'
    assert samples(meter.page())[name] == 1
