"""Who holds the daemon up, and who is let in: at the real process."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from click.testing import CliRunner
from paho.mqtt.enums import CallbackAPIVersion

from eventd.cli import main
from tests.acceptance.abuse import lines, memory, request, start, talk
from tests.acceptance.daemon import PATIENCE, Daemon, Mosquitto, free_port, get, post, until
from tests.acceptance.siege import lay_siege, of_99

FEW_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from eventd.cli import main
main()
"""
KEY = b"k" * 32


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon with its defaults, not slowed down by being measured.

    Afterwards it is ready, and its log has nothing to say.
    """
    running = Daemon(tmp_path, measured=False)
    start(running)
    before = len(lines(running))
    yield running
    assert get(f"{running.url}/-/ready")[0] == 200
    assert lines(running)[before:] == []
    assert running.stop() == 0


@pytest.mark.parametrize("kind", ["bodies", "all"])
def test_2000_half_open_connections_are_closed_in_time_and_nobody_notices(
    plain: Daemon, kind: str
) -> None:
    """D32: nothing comes, a header drips, a body drips."""
    closed, answered = lay_siege(plain, kind, 2_000)

    print(f"{kind}: closed within {max(closed):.1f} s, ready within {max(answered) * 1e3:.0f} ms,")
    print(
        f"of 100 probes 99 within {of_99(answered) * 1e3:.0f} ms, {memory(plain, 'VmHWM'):.0f} MiB"
    )
    assert len(closed) == 2_000
    assert of_99(answered) < max(closed) / 2  # nobody waits for its end
    until(lambda: plain.metrics()["eventd_http_connections"] <= 1, what="all connections gone")


def test_a_thousand_connections_to_a_process_that_may_have_256_files(tmp_path: Path) -> None:
    """D33."""
    script = tmp_path / "few_files.py"
    script.write_text(FEW_FILES)
    daemon = Daemon(tmp_path, program=(str(script),))
    daemon.start()
    before = len(lines(daemon))

    with ExitStack() as stack:
        _crowd(stack, daemon.port, 1_000)
        began, spent = time.monotonic(), _processor_time(daemon)
        time.sleep(3.0)
        share = (_processor_time(daemon) - spent) / (time.monotonic() - began)
        during = len(lines(daemon)) - before
    until(lambda: get(f"{daemon.url}/-/ready")[0] == 200, what="ready again")

    assert share < 0.2
    assert during <= 4
    assert post(f"{daemon.url}/v1/events", {"name": "after"})[0] == 202
    assert "Traceback" not in daemon.log.read_text()
    assert daemon.stop() == 0


def _crowd(stack: ExitStack, port: int, count: int) -> None:
    for _ in range(count):
        sock = stack.enter_context(socket.socket())
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", port))


def _processor_time(daemon: Daemon) -> float:
    fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


FOREIGN = [
    b"Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
    b"Host: localhost\r\nOrigin: null\r\n",
    b"Host: evil.example\r\nSec-Fetch-Site: same-origin\r\n",
]


def test_a_page_of_another_site_neither_commands_nor_reads(plain: Daemon) -> None:
    """D65: also as text/plain or without a type, which a browser sends without asking first."""
    assert post(f"{plain.url}/v1/events", {"name": "kept", "service": "shop"})[0] == 202
    (incident,) = plain.every("incidents")
    silence = b'{"matchers":"severity>=ok","for":"2h","comment":""}'
    asked = [
        (b"POST /v1/events", b'{"name":"forged"}'),
        (b"POST /v1/webhooks/shop", b'{"name":"forged"}'),
        (b"POST /api/v1/silences", silence),
        (b"POST /api/v1/silences", b"Content-Type: text/plain\r\n", silence),
        (b"POST /api/v1/incidents/%b/close" % incident["id"].encode(), b""),
        (b"DELETE /api/v1/silences/SIL-000001", b""),
        *((b"GET " + path, b"") for path in (b"/api/v1/alerts", b"/metrics", b"/-/ready")),
    ]
    nowhere = [(b"PUT /api/v1/silences/SIL-000001", b""), (b"OPTIONS /api/v1/silences", b"")]

    said = [
        talk(plain, request(body, *more, head=line + b" HTTP/1.1\r\n" + headers))
        for headers in FOREIGN
        for line, *more, body in asked + nowhere
    ]

    statuses = [[403]] * len(asked) + [[405]] * len(nowhere)  # nor is a browser let ask for more
    assert [one.statuses for one in said] == statuses * len(FOREIGN)
    assert all(b"application/problem+json" in one.text for one in said)
    assert all(b"Access-Control" not in one.text for one in said)
    assert plain.every("incidents") == [incident]
    assert plain.every("silences") == []
    refused = 'eventd_deliveries_refused_total{reason="cross_site",source="%s"}'
    assert [plain.metrics()[refused % name] for name in ("events", "api")] == [3, 15]


@pytest.mark.parametrize(
    ("configured", "missing"),
    [
        ({}, "token_file, metrics_token_file and tls or behind_proxy: true"),
        ({"behind_proxy": True}, "token_file and metrics_token_file"),
        ({"behind_proxy": True, "sources": {"events": {"credentials": {"github": "key"}}}},
         "token_file and metrics_token_file"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_a_door_to_other_machines_without_credentials_is_not_opened(
    tmp_path: Path, configured: dict[str, Any], missing: str, host: str
) -> None:
    """D53: a source's own credentials do not make up for the API's.

    The state is below a file: were the door opened, it would not be for long.
    """
    (tmp_path / "key").write_text("k" * 32)
    (tmp_path / "key").chmod(0o600)
    file = tmp_path / "eventd.yaml"
    file.write_text(json.dumps({"listen": f"{host}:{free_port()}", **configured}))

    done = CliRunner().invoke(main, ["run", "--config", str(file), "--state", str(file / "state")])

    assert done.exit_code == 2
    assert f"which needs {missing} (" in done.output


def test_a_signed_call_made_again_is_a_duplicate_and_later_it_is_refused(tmp_path: Path) -> None:
    """D57, D54: replayed inside and outside the window; nothing of the key is to be seen."""
    secret = "whsec_" + base64.b64encode(KEY).decode()
    (tmp_path / "key").write_text(secret)
    (tmp_path / "key").chmod(0o600)
    source = {"credentials": {"standard_webhooks": "key"}}
    daemon = Daemon(tmp_path, config={"sources": {"webhooks": {"shop": source}}})
    daemon.start()
    url = f"{daemon.url}/v1/webhooks/shop"
    body = json.dumps({"name": "paid", "service": "shop"}).encode()
    now = int(time.time())

    said = [
        post(url, body, _signed(body, now)),
        post(url, body, _signed(body, now)),
        post(url, body, {**_signed(body, now), "Idempotency-Key": "another"}),
        post(url, body, _signed(body, now - 600)),
        post(url, body + b" ", _signed(body, now)),
        post(url, body),
    ]

    assert [status for status, _ in said] == [202, 202, 202, 401, 401, 401]
    assert [json.loads(text)["duplicates"] for _, text in said[:3]] == [0, 1, 1]
    (alert,) = daemon.api("alerts")["items"]
    assert alert["count"] == 1
    everything = daemon.log.read_text() + get(f"{daemon.url}/metrics")[1].decode() + str(said)
    assert secret not in everything
    assert KEY.decode() not in everything
    assert daemon.stop() == 0


def _signed(body: bytes, at: int) -> dict[str, str]:
    mac = hmac.digest(KEY, f"m1.{at}.".encode() + body, "sha256")
    signature = "v1," + base64.b64encode(mac).decode()
    return {"webhook-id": "m1", "webhook-timestamp": str(at), "webhook-signature": signature}


ODD: list[tuple[str, bytes, bool]] = [
    ("events/empty", b"", False),
    ("events/binary", bytes(range(256)), False),
    ("events/text", b"no event", False),
    ("events/" + "t" * 65_000, b'{"name":"long topic"}', False),
    ("events/\u00e9\u6f22 /\U0001f525//", b'{"name":"odd topic"}', False),
    ("events/retained", b'{"name":"retained"}', True),
    ("events/nul", b'{"name":"\\u0000"}', False),
    ("events/deep", b"[" * 1_000_000, False),
    ("events/large", b'"' + b"x" * (7 << 20) + b'"', False),
    ("events/last", b'{"name":"last"}', False),
]


def test_whatever_comes_over_mqtt_is_acknowledged_and_counted(
    tmp_path: Path, broker: Mosquitto
) -> None:
    """D48."""
    daemon = Daemon(tmp_path, mqtt_port=broker.port)
    daemon.start()
    until(lambda: daemon.metrics().get('eventd_mqtt_connected{source="plant"}') == 1)
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()

    for topic, payload, retain in ODD:
        client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(PATIENCE)
    until(lambda: any(a["name"] == "last" for a in daemon.every("alerts")), what="the last one")
    client.publish("events/retained", b"", qos=1, retain=True).wait_for_publish(PATIENCE)
    until(lambda: daemon.accounts()["received"] == len(ODD) + 1, what="all counted")
    client.disconnect()
    client.loop_stop()

    names = {"last", "long topic", "odd topic", "retained"}
    assert {alert["name"] for alert in daemon.every("alerts")} == names
    total = daemon.accounts()
    assert (total["applied"], total["refused"], total["waiting"]) == (4, 7, 0)
    assert "Traceback" not in daemon.log.read_text()
    assert daemon.stop() == 0


def test_a_flood_is_told_503_and_a_quiet_source_beside_it_is_let_in(tmp_path: Path) -> None:
    """I12, B9: while the engine stands still, as on a slow disk, and after it goes on."""
    sources: dict[str, dict[str, object]] = {"webhooks": {"flood": {}, "quiet": {}}}
    limits = {"inbox": "256KiB", "commit_within": "1m"}
    daemon = Daemon(tmp_path, config={"sources": sources, "limits": limits})
    daemon.start()

    said = asyncio.run(_flood(daemon))

    assert {status for _, status in said} == {202, 503}
    assert {status for name, status in said if name == "quiet"} == {202}
    refused = daemon.metrics()['eventd_events_refused_total{reason="share",source="flood"}']
    assert refused > 0
    assert memory(daemon, "VmHWM") < 200
    daemon.accounts()
    assert daemon.stop() == 0


async def _flood(daemon: Daemon) -> list[tuple[str, int]]:
    said: list[tuple[str, int]] = []
    over = asyncio.Event()
    batch = json.dumps([{"name": f"n{n}", "labels": {"a": "b"}} for n in range(30)]).encode()

    async def send(name: str, body: bytes) -> None:
        head = (
            f"POST /v1/webhooks/{name} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        while not over.is_set():
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            size = int(answer.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(size)
            said.append((name, int(answer[9:12])))
            if name == "quiet":
                await asyncio.sleep(0.02)
        writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(send("flood", batch))
        group.create_task(send("quiet", b'{"name":"q"}'))
        await asyncio.sleep(3.0)
        over.set()
    return said
