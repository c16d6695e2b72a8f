"""Who is let in, by what they show; and who has shown the wrong thing too often."""

from __future__ import annotations

import ast
import base64
import hmac
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.edges.http_desk import Desk

from eventd import credentials
from eventd.clock import wall
from eventd.core.model import Denied
from eventd.credentials import (
    GUESSES_WITHIN,
    MAX_GUESSES,
    MAX_PEERS,
    MAX_TOLD,
    OTHERS,
    Basic,
    Bearer,
    Credentials,
    GitHub,
    Guesses,
    StandardWebhooks,
    digest_of,
    key_of,
)
from eventd.metrics import Meter

T0 = datetime(2026, 1, 5, 14, 0, tzinfo=UTC)
TOKEN, OTHER = "a" * 43, "b" * 43
OLD, NEW = b"o" * 32, b"n" * 32
BODY = b'{"name":"DiskFull"}'
EVENT = {"name": "DiskFull"}
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def of_basic(username: str, password: str) -> dict[str, str]:
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def signed(key: bytes, body: bytes = BODY, at: datetime = T0, name: str = "m1") -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    mac = hmac.digest(key, f"{name}.{stamp}.".encode() + body, "sha256")
    return {
        "webhook-id": name,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(mac).decode(),
    }


def hub(key: bytes, body: bytes = BODY) -> dict[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + hmac.digest(key, body, "sha256").hex()}


def test_signatures_are_those_of_the_senders_own_documents() -> None:
    """D56: examples of Svix' and GitHub's documentation."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    standard = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    github = {
        "X-Hub-Signature-256": "sha256="
        "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    }

    at = datetime.fromtimestamp(1614265330, UTC)
    assert StandardWebhooks((key,)).holds(standard, b'{"test": 2432232314}', at)
    assert GitHub((b"It's a Secret to Everybody",)).holds(github, b"Hello, World!", at)


@pytest.mark.parametrize(
    ("headers", "body", "holds"),
    [
        (signed(NEW), BODY, True),
        (signed(OLD), BODY, True),
        (signed(b"x" * 32), BODY, False),
        (signed(NEW), BODY + b" ", False),
        (signed(NEW, at=T0 + timedelta(minutes=5)), BODY, True),
        (signed(NEW, at=T0 - timedelta(minutes=5)), BODY, True),
        (signed(NEW, at=T0 + timedelta(minutes=10)), BODY, False),
        (signed(NEW, at=T0 - timedelta(minutes=10)), BODY, False),
        ({**signed(NEW), "webhook-id": "m2"}, BODY, False),
        (signed(NEW, name=""), BODY, False),
        ({**signed(NEW), "webhook-timestamp": "now"}, BODY, False),
        ({**signed(NEW), "webhook-timestamp": "9" * 400}, BODY, False),
        ({**signed(NEW), "webhook-timestamp": "\u0661\u0662"}, BODY, False),
        ({**signed(NEW), "webhook-signature": ""}, BODY, False),
        ({**signed(NEW), "webhook-signature": "v1,\udcff v1a,x v1"}, BODY, False),
        ({**signed(NEW), "webhook-signature": "v1,x " + signed(NEW)["webhook-signature"]},
         BODY, True),
        ({**signed(NEW), "webhook-signature": "v1,x " * 16 + signed(NEW)["webhook-signature"]},
         BODY, False),
        ({**signed(NEW), "webhook-signature": signed(NEW)["webhook-signature"].replace("v1", "v2")},
         BODY, False),
        ({}, BODY, False),
    ],
)  # fmt: skip
def test_a_standard_webhook_is_let_in_by_a_live_key_over_this_body_in_time(
    headers: dict[str, str], body: bytes, holds: bool
) -> None:
    """D56, D57: good, bad, the body and a byte, ten minutes off, the second secret."""
    assert StandardWebhooks((OLD, NEW)).holds(headers, body, T0) is holds


@pytest.mark.parametrize(
    ("headers", "body", "holds"),
    [
        (hub(NEW), BODY, True),
        (hub(OLD), BODY, True),
        (hub(b"x"), BODY, False),
        (hub(NEW), BODY + b" ", False),
        ({"X-Hub-Signature-256": hub(NEW)["X-Hub-Signature-256"].replace("256", "1")}, BODY, False),
        ({"X-Hub-Signature-256": "sha256=\udcff"}, BODY, False),
        ({}, BODY, False),
    ],
)
def test_a_github_webhook_is_let_in_by_a_live_secret_over_this_body(
    headers: dict[str, str], body: bytes, holds: bool
) -> None:
    """D56."""
    assert GitHub((OLD, NEW)).holds(headers, body, T0) is holds


@pytest.mark.parametrize(
    ("headers", "holds"),
    [
        (of_basic("am", TOKEN), True),
        (of_basic("am", OTHER), True),
        (of_basic("am", "c"), False),
        (of_basic("ma", TOKEN), False),
        ({"Authorization": of_basic("am", TOKEN)["Authorization"].replace("Basic", "Odd")}, False),
        ({"Authorization": "Basic !"}, False),
        ({"Authorization": "Basic \udcff"}, False),
        ({"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()}, False),
        ({}, False),
    ],
)
def test_a_name_and_a_live_password_are_let_in_together(
    headers: dict[str, str], holds: bool
) -> None:
    """D54."""
    digests = (digest_of(TOKEN), digest_of(OTHER))
    assert Basic("am", digests).holds(headers, b"", T0) is holds


async def test_a_source_with_credentials_of_its_own_takes_those_and_no_others() -> None:
    """D54: missing, wrong, another source's, and the daemon's own token."""
    own = {
        "shop": Credentials((Bearer((digest_of(OTHER),)),)),
        "ci": Credentials((GitHub((NEW,)), StandardWebhooks((NEW,)))),
    }
    desk = Desk(Credentials((Bearer((digest_of(TOKEN),)),)), own)
    other = {"Authorization": f"bearer {OTHER}"}
    json = {"Content-Type": "application/json"}
    calls: list[tuple[str, dict[str, str], int]] = [
        ("/v1/events", {}, 401),
        ("/v1/events", {"Authorization": f"Bearer {TOKEN}x"}, 401),
        ("/v1/events", {"Authorization": f"Basic {TOKEN}"}, 401),
        ("/v1/events", other, 401),
        ("/v1/events", BEARER, 202),
        ("/v1/webhooks/shop", BEARER, 401),
        ("/v1/webhooks/shop", other, 202),
        ("/v1/webhooks/ci", BEARER, 401),
        ("/v1/webhooks/ci", hub(OLD), 401),
        ("/v1/webhooks/ci", hub(NEW), 202),
        ("/v1/webhooks/ci", signed(NEW, at=wall()), 202),
        ("/v1/webhooks/absent", {}, 401),
        ("/v1/webhooks/absent", BEARER, 404),
    ]
    said = []

    async with desk.open() as client:
        for path, headers, _ in calls:
            async with client.post(path, data=BODY, headers={**json, **headers}) as answer:
                text = await answer.text()
                said.append(answer.status)
                assert not any(secret in text for secret in (TOKEN, OTHER, NEW.decode()))
                assert (answer.status == 401) is ("WWW-Authenticate" in answer.headers)

    assert said == [status for _, _, status in calls]
    assert [one.source for one in desk.taken] == ["events", "shop", "ci", "ci"]
    refused = desk.count("eventd_deliveries_refused_total", source="events", reason="unauthorized")
    assert refused == 4
    page = desk.meter.page().decode()
    assert not any(secret in page for secret in (TOKEN, OTHER, NEW.decode()))


async def test_a_thousand_guesses_are_told_to_stop_and_the_right_token_is_let_in() -> None:
    """D54."""
    desk = Desk(Credentials((Bearer((digest_of(TOKEN),)),)))
    said: list[int] = []
    waits = ""

    async with desk.open() as client:
        for n in range(1_000):
            wrong = {"Authorization": f"Bearer {n}"}
            async with client.post("/v1/events", json=EVENT, headers=wrong) as answer:
                said.append(answer.status)
                waits = answer.headers.get("Retry-After", "0")
        async with client.post("/v1/events", json=EVENT, headers=BEARER) as answer:
            good = answer.status

    assert said[:MAX_GUESSES] == [401] * MAX_GUESSES
    assert set(said[MAX_GUESSES : MAX_GUESSES + 100]) == {429}
    assert 1 <= int(waits) <= GUESSES_WITHIN
    assert good == 202
    counted = desk.count("eventd_deliveries_refused_total", source="events", reason="guessing")
    assert counted == said.count(429)


def test_who_guesses_is_forgotten_after_a_while_and_the_table_is_bounded() -> None:
    """D54: counted by peer, an IPv6 network being one, in a table of fixed size."""
    guesses, door = Guesses(Meter()), Credentials((Bearer(()),))

    def statuses(peer: str, at: float = 0.0, times: int = 1) -> list[int]:
        return [guesses.wrong("api", peer, door, at).status for _ in range(times)]

    one = statuses("192.0.2.1", times=MAX_GUESSES + 1)
    beside = statuses("192.0.2.2")
    later = statuses("192.0.2.1", GUESSES_WITHIN)
    v6 = [status for n in range(MAX_GUESSES + 1) for status in statuses(f"2001:db8::{n}")]
    for n in range(MAX_PEERS + 10):
        statuses(f"peer {n}")

    assert (one[-2:], beside, later, v6[-1]) == ([401, 429], [401], [401], 429)
    assert len(guesses) == MAX_PEERS


def test_the_audit_has_the_first_wrong_guess_at_once_and_the_rest_once_a_window() -> None:
    """D54: every one is in a count; their rows are bounded, also where peers are many."""
    told: list[Denied] = []
    guesses, door = Guesses(Meter(), told.append), Credentials((Bearer(()),))

    for n in range(10_000):
        guesses.wrong("api", "192.0.2.1", door, n / 1_000)
    at_once = list(told)
    guesses.settle(GUESSES_WITHIN - 1.0)
    too_early = list(told)
    guesses.settle(GUESSES_WITHIN)
    guesses.wrong("api", "192.0.2.1", door, GUESSES_WITHIN + 1.0)
    settled = list(told)
    for n in range(10_000):
        guesses.wrong("shop", f"192.0.{n >> 8}.{n & 255}", door, GUESSES_WITHIN + 1.0)
    guesses.settle(math.inf)
    guesses.settle(math.inf)

    first, rest = Denied("api", "192.0.2.1", 1), Denied("api", "192.0.2.1", 9_999)
    assert (at_once, too_early, settled) == ([first], [first], [first, rest])
    assert sum(one.count for one in told) == 20_001
    assert len(told) <= 2 + MAX_TOLD + 3
    assert {one.peer for one in told if one.count > 1} == {"192.0.2.1", OTHERS}


def test_secrets_are_compared_in_constant_time_only() -> None:
    """D54: in the module that has secrets, nothing that is derived from one meets == or `in`."""
    tree = ast.parse(Path(credentials.__file__).read_text())
    compared = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and any(isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops)
    ]

    assert sorted(compared) == [
        "address.version == 6",
        "key in self._untold",
        "key not in self._untold",
        "peer not in self._peers",
        "scheme == 'sha256'",
        "scheme.lower() == 'basic'",
        "scheme.lower() == 'bearer'",
        "version == 'v1'",
    ]
