"""The daemon as its users see it: HTTP in, API, command line, metrics."""

from __future__ import annotations

import gzip
import http.client
import json
import shutil
import subprocess
import urllib.request
import zlib
from typing import Any

import pytest
from click.testing import CliRunner

from eventd.cli import main
from tests.acceptance.daemon import Daemon, get, post, until

pytestmark = pytest.mark.xdist_group("api")  # one daemon for all


def event(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "severity": "critical", "service": "shop", "ci": "web1", **more}


def send(daemon: Daemon, *events: dict[str, object]) -> dict[str, Any]:
    status, body = post(f"{daemon.url}/v1/events", list(events))
    assert status == 202, body
    return json.loads(body)


def incident_of(daemon: Daemon, service: str) -> dict[str, Any]:
    (found,) = daemon.api(f"incidents?service={service}")["items"]
    return found


def test_an_event_becomes_an_incident_that_says_why(daemon: Daemon) -> None:
    send(daemon, event("DiskFull", service="why", summary="full"))

    found = incident_of(daemon, "why")
    detail = daemon.api(f"incidents/{found['id']}")

    assert (found["state"], found["priority"]) == ("open", "P3")
    assert found["because"] == "rule by-service: same service why"
    assert [entry["kind"] for entry in detail["timeline"]] == ["opened"]
    (member,) = detail["alerts"]
    assert member["alert"]["name"] == "DiskFull"
    assert member["because"]["group"] == {"service": "why"}
    fingerprint = member["fingerprint"]
    assert daemon.api(f"alerts/{fingerprint}")["incident"] == found["id"]


@pytest.mark.parametrize("header", ["Idempotency-Key", "webhook-id", "X-GitHub-Delivery"])
def test_a_senders_own_key_makes_a_delivery_count_once(daemon: Daemon, header: str) -> None:
    """DESIGN 7, strong keys: also of equal payloads, which are decoded once."""
    url, body = f"{daemon.url}/v1/events", event("Keyed", service=header)
    keys = ("k1", "k1", "k2", "k2", "k1", "k3")

    said = [json.loads(post(url, body, {header: f"{header} {key}"})[1]) for key in keys]

    assert [one["duplicates"] for one in said] == [0, 1, 0, 1, 1, 0]
    (alert,) = daemon.api(f"alerts?service={header}")["items"]
    assert alert["count"] == 3


def test_an_incident_resolves_when_its_alerts_stay_clear(daemon: Daemon) -> None:
    send(daemon, event("Down", service="heals"))
    send(daemon, event("Down", service="heals", status="cleared"))

    until(lambda: incident_of(daemon, "heals")["state"] == "resolved")

    send(daemon, event("Down", service="heals", severity="major"))
    assert incident_of(daemon, "heals")["state"] == "open"


def test_operators_act_over_the_api(daemon: Daemon) -> None:
    """I17: one row of the audit for each act, none for what was refused or came again."""
    send(daemon, event("Down", service="acted"))
    base = f"{daemon.url}/api/v1/incidents/{incident_of(daemon, 'acted')['id']}"

    acts = [
        post(f"{base}/acknowledge", {"actor": "ann"}, {"Idempotency-Key": "k1"}),
        post(f"{base}/acknowledge", {"actor": "ann"}, {"Idempotency-Key": "k1"}),
        post(f"{base}/acknowledge", {"actor": "bob"}),
        post(f"{base}/comment", {"actor": "bob", "text": "looking"}),
        post(f"{base}/comment", {"actor": "bob"}),
        post(f"{base}/resolve", {"text": "restarted"}),
        post(f"{base}/resolve", {}),
        post(f"{base}/reopen", {}),
        post(f"{base}/reopen", {}),
        post(f"{base}/close", {}),
        post(f"{base}/comment", {"text": "too late"}),
        post(f"{base}/comment", {"txt": "x"}),
        post(f"{daemon.url}/api/v1/incidents/INC-999999/close", {}),
    ]

    assert [status for status, _ in acts] == [
        200, 200, 409, 200, 400, 200, 409, 200, 409, 200, 409, 400, 404,
    ]  # fmt: skip
    detail = daemon.api(base.removeprefix(f"{daemon.url}/api/v1/"))
    kinds = [entry["kind"] for entry in detail["timeline"]]
    assert kinds == ["opened", "acknowledged", "commented", "resolved", "reopened", "closed"]
    did = [one for one in daemon.every("audit") if one["subject"] == detail["id"]]
    assert [(one["kind"], one["actor"]) for one in reversed(did)] == [
        ("acknowledged", "ann"), ("commented", "bob"), ("resolved", "api"), ("reopened", "api"),
        ("closed", "api"),
    ]  # fmt: skip


def test_a_silence_keeps_its_alerts_from_opening_anything(daemon: Daemon) -> None:
    url = f"{daemon.url}/api/v1/silences"
    body = {"matchers": 'service="hushed"', "for": "1h", "comment": "known", "actor": "ann"}
    status, answer = post(url, body)
    silence = json.loads(answer)
    send(daemon, event("Down", service="hushed"))

    (alert,) = daemon.api("alerts?service=hushed")["items"]
    assert status == 201
    assert (alert["suppressed_by"], alert["incident"]) == (silence["id"], None)
    assert daemon.api("silences?limit=1")["items"][0]["active"]
    request = urllib.request.Request(f"{url}/{silence['id']}", method="DELETE")
    with urllib.request.urlopen(request) as done:
        assert done.status == 204
    assert incident_of(daemon, "hushed")["state"] == "open"
    did = [one for one in daemon.every("audit") if one["subject"] == silence["id"]]
    assert [(one["kind"], one["text"]) for one in did] == [
        ("silence_ended", ""), ("silence_added", "known"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {"matchers": "service", "for": "1h", "comment": "x"},
        {"matchers": "", "for": "1h", "comment": "x"},
        {"matchers": 'a="b"', "for": "soon", "comment": "x"},
        {"matchers": 'a="b"', "for": "1h"},
        {"matchers": 'a="b"', "ends_at": "2020-01-01T00:00:00Z", "comment": "x"},
        {"matchers": 'a="b"', "ends_at": "2020-01-01T00:00:00", "comment": "x"},
    ],
)
def test_a_wrong_silence_is_refused_with_its_reason(daemon: Daemon, body: object) -> None:
    status, answer = post(f"{daemon.url}/api/v1/silences", body)

    assert status in {400, 409}
    assert json.loads(answer)["detail"]


def test_a_maintenance_window_is_announced_by_an_event(daemon: Daemon) -> None:
    window = {"starts_at": "2020-01-01T00:00:00Z", "ends_at": "2100-01-01T00:00:00Z"}
    change: dict[str, object] = {
        "name": "CHG-1",
        "status": "change",
        "window": {**window, "cis": ["esx1"]},
    }

    send(daemon, change, event("Down", ci="ESX1.bank.example", service="planned"))

    (alert,) = daemon.api("alerts?service=planned")["items"]
    assert alert["suppressed_by"] == daemon.api("maintenance")["items"][0]["id"]


def test_lists_have_filters_and_pages(daemon: Daemon) -> None:
    send(daemon, *(event("Paged", service=f"page{n}", ci=f"c{n}") for n in range(5)))

    first = daemon.api("alerts?name=Paged&status=firing&severity=critical&limit=3")
    rest = daemon.api(f"alerts?name=Paged&limit=3&after={first['next']}")

    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (3, 2, None)
    assert daemon.api("incidents?state=open&priority=P3&limit=2")["next"] is not None
    for text in ("one", "two"):
        said = {"matchers": f'name="{text}"', "for": "5m", "comment": text}
        assert post(f"{daemon.url}/api/v1/silences", said)[0] == 201
    newest = daemon.api("audit?limit=1")
    assert newest["items"] + daemon.api(f"audit?after={newest['next']}")["items"] == daemon.every(
        "audit"
    )
    assert daemon.api("rules")["items"][0]["name"] == "by-service"
    for query in (
        "alerts?severity=loud",
        "alerts?limit=0",
        "alerts?x=1",
        "incidents?priority=9",
        "audit?after=x",
    ):
        status, body = get(f"{daemon.url}/api/v1/{query}")
        assert (status, "field" in json.loads(body)) == (400, True)
    assert get(f"{daemon.url}/api/v1/incidents/nope")[0] == 404
    assert get(f"{daemon.url}/api/v1/alerts/nope")[0] == 404


def test_the_openapi_document_names_every_route(daemon: Daemon) -> None:
    document = daemon.api("openapi.json")

    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(document["components"]["schemas"])
    assert {"/api/v1/incidents", "/api/v1/alerts", "/api/v1/silences"} <= set(document["paths"])


def test_a_command_may_be_compressed(daemon: Daemon) -> None:
    url = f"{daemon.url}/api/v1/silences"
    packed = {"Content-Encoding": "gzip"}
    asked = b'{"matchers":"name=none","comment":"c","for":"30m"}'

    said = [
        post(url, gzip.compress(asked), packed),
        post(url, asked, packed),
        post(url, gzip.compress(asked + b" " * (256 << 10)), packed),
    ]

    assert [status for status, _ in said] == [201, 400, 413]


def test_bodies_may_be_compressed_and_are_bounded(daemon: Daemon) -> None:
    url, body = f"{daemon.url}/v1/events", json.dumps(event("Packed", service="packed")).encode()
    bomb = gzip.compress(b"[" + b" " * (1 << 20) + b"]")

    answers = [
        post(url, gzip.compress(body), {"Content-Encoding": "gzip"}),
        post(url, zlib.compress(body), {"Content-Encoding": "deflate"}),
        post(url, body, {"Content-Encoding": "br"}),
        post(url, b"no gzip", {"Content-Encoding": "gzip"}),
        post(url, gzip.compress(body)[:-9], {"Content-Encoding": "gzip"}),
        post(url, bomb, {"Content-Encoding": "gzip"}),
        post(url, b"[" + b" " * (1 << 17) + b"]"),
        post(url, b"nonsense"),
        post(url, [{"nme": "x"}]),
        post(url, []),
        post(f"{daemon.url}/v1/webhooks/grafana", {}),
        post(f"{daemon.url}/v1/webhooks/alertmanager", {"alerts": []}),
    ]

    assert [status for status, _ in answers] == [
        202, 202, 415, 400, 400, 413, 413, 400, 400, 202, 404, 202,
    ]  # fmt: skip


def test_a_chunked_body_is_bounded_too(daemon: Daemon) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port)
    parts = iter([b"[", *[b" " * 30_000] * 10, b"]"])

    connection.request("POST", "/v1/events", parts, encode_chunked=True)

    assert connection.getresponse().status == 413
    connection.close()


def test_the_metrics_page_passes_promtool_and_its_sums_agree(daemon: Daemon) -> None:
    send(daemon, event("Counted", id="c1"), event("Counted", id="c1"))
    post(f"{daemon.url}/v1/events", [event("Good"), {"bad": 1}])
    promtool = shutil.which("promtool")
    assert promtool is not None, "install prometheus"

    _, page = get(f"{daemon.url}/metrics")
    told = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, check=False
    )

    assert told.returncode == 0, told.stdout + told.stderr
    total = daemon.accounts()
    assert total["duplicate"] >= 1
    assert total["refused"] >= 1


def test_health_says_what_it_checked(daemon: Daemon) -> None:
    assert get(f"{daemon.url}/-/healthy")[0] == 200
    status, body = get(f"{daemon.url}/-/ready")
    assert (status, json.loads(body)["ready"]) == (200, True)


def cli(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(args))
    return done.exit_code, done.output


def test_the_command_line_sends_lists_and_acts(daemon: Daemon) -> None:
    url = ("--url", daemon.url)

    sent = cli("send", "--name", "Cli", "--service", "cli", "--ci", "c", "--label", "a=b", *url)
    again = cli("send", "--name", "Cli", "--service", "cli", "--ci", "c", "--json", *url)
    name = incident_of(daemon, "cli")["id"]
    listed = cli("incidents", "--service", "cli", *url)
    as_json = cli("incidents", "--json", "--limit", "1", *url)
    shown = cli("incidents", name, *url)
    taken = cli("incidents", "ack", name, "--actor", "ann", *url)
    closed = cli("incidents", "close", name, "--json", *url)
    alerts = cli("alerts", "--service", "cli", *url)
    alerts_json = cli("alerts", "--service", "cli", "--json", *url)
    added = cli("silence", "add", 'service="cli2"', "--for", "1h", "--comment", "x", *url)
    silences = cli("silence", "list", *url)
    silences_json = cli("silence", "list", "--json", *url)
    ended = cli("silence", "end", added[1].split()[0], *url)

    every = [sent, again, listed, as_json, shown, taken, closed, alerts, alerts_json, added,
             silences, silences_json, ended]  # fmt: skip
    assert [code for code, _ in every] == [0] * len(every), every
    assert sent[1] == "accepted 1, of them duplicates 0\n"
    assert "ann has it" in taken[1]
    assert "opened" in shown[1]


def test_the_command_line_says_what_went_wrong(daemon: Daemon) -> None:
    url = ("--url", daemon.url)

    assert cli("send", *url)[0] == 2
    assert cli("send", "--name", "x", "--label", "ab", *url)[0] == 2
    assert cli("incidents", "ack", *url)[0] == 2
    assert cli("incidents", "INC-999999", *url) == (
        1,
        "eventd: not found: no incident INC-999999\n",
    )
    assert cli("alerts", "--url", "http://127.0.0.1:1")[0] == 1
    assert cli("nonsense")[0] == 2
    assert cli("--help")[0] == 0
