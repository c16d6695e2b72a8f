"""A daemon that other machines can reach, with every secret there is: who is told what.

Its TLS, tokens, sources' credentials and broker have secrets of their own. They are canaries.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import signal
import ssl
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt import publish

from eventd import __version__
from tests.acceptance.abuse import lines
from tests.acceptance.daemon import PATIENCE, Daemon, free_port, samples, until
from tests.broker import Mosquitto
from tests.certificates import certificate

pytestmark = pytest.mark.xdist_group("secrets")  # one daemon for all, the last test stops it


def canary(name: str) -> str:
    """64 characters that stand nowhere else."""
    return hashlib.sha256(name.encode()).hexdigest()


NAMES = ("api", "metrics", "bearer", "password", "github", "mqtt")
API, METRICS, BEARER, PASSWORD, GITHUB, MQTT = map(canary, NAMES)
WEBHOOK = base64.b64encode(hashlib.sha256(b"webhook").digest()).decode()
SOURCES = {
    "bearer": {"bearer": "bearer"},
    "basic": {"basic": {"username": "am", "password_file": "password"}},
    "standard": {"standard_webhooks": "webhook"},
    "github": {"github": "github"},
}


def write(folder: Path, name: str, text: str, mode: int = 0o600) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(mode)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the secrets as they are at first."""
    made = tmp_path_factory.mktemp("secrets")
    for name in NAMES:
        write(made, name, canary(name))
    write(made, "webhook", f"whsec_{WEBHOOK}")
    certificate(made)
    certificate(made, "next-")
    certificate(made, "broker-")
    known = (made / "cert.pem").read_text() + (made / "next-cert.pem").read_text()
    (made / "known.pem").write_text(known)
    return made


@pytest.fixture(scope="module")
def tls_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def broker(folder: Path, tls_port: int) -> Iterator[Mosquitto]:
    """Speaks TLS, and asks for the password."""
    passwords = folder / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "eventd", MQTT], check=True)
    listener = (
        f"listener {tls_port} 127.0.0.1",
        f"certfile {folder}/broker-cert.pem",
        f"keyfile {folder}/broker-key.pem",
    )
    asks = ("allow_anonymous false", f"password_file {passwords}")
    with Mosquitto(folder, *listener, *asks, durable=False).running() as mosquitto:
        yield mosquitto


@pytest.fixture(scope="module")
def daemon(folder: Path, broker: Mosquitto, tls_port: int) -> Iterator[Daemon]:
    """Started by somebody whose files everybody may write."""
    (folder / "ca.pem").write_bytes((folder / "broker-cert.pem").read_bytes())
    plant = {
        "name": "plant", "host": "127.0.0.1", "port": tls_port, "tls": True,
        "ca_file": "ca.pem", "username": "eventd", "password_file": "mqtt",
        "topics": [{"filter": "plant/#"}],
    }  # fmt: skip
    webhooks = {name: {"credentials": credentials} for name, credentials in SOURCES.items()}
    port = free_port()
    config = {
        "listen": f"0.0.0.0:{port}",
        "state": "made/state",
        "tls": {"certificate": "cert.pem", "key": "key.pem"},
        "token_file": "api",
        "metrics_token_file": "metrics",
        "sources": {"webhooks": webhooks, "mqtt": [plant]},
    }
    running = Daemon(folder, config=config)
    running.port, running.state = port, folder / "made" / "state"
    running.url = f"https://127.0.0.1:{port}"
    umask = os.umask(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(folder / "known.pem"))
        try:
            running.start()
            os.umask(umask)
            until(lambda: connected(running), what="the subscription")
            yield running
        finally:
            running.kill()  # the last test has stopped it


def ask(
    daemon: Daemon, path: str, token: str = "", body: object = None, **headers: str
) -> tuple[int, str]:
    """Status, and everything that was said."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(daemon.url + path, data, headers)
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, f"{answer.headers}\n{answer.read().decode()}"
    except urllib.error.HTTPError as error:
        return error.code, f"{error.headers}\n{error.read().decode()}"


def metric(daemon: Daemon, name: str) -> float:
    _, said = ask(daemon, "/metrics", METRICS)
    return samples(said.partition("\n\n")[2].encode()).get(name, 0.0)


def connected(daemon: Daemon) -> bool:
    return metric(daemon, 'eventd_mqtt_connected{source="plant"}') == 1.0


def hang_up(daemon: Daemon) -> None:
    os.kill(daemon.pid, signal.SIGHUP)


def shown(daemon: Daemon) -> set[str]:
    """The certificate, to a client that says no host's name and to one that does."""
    hosts = ("127.0.0.1", "localhost")
    return {ssl.get_server_certificate((host, daemon.port)).strip() for host in hosts}


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/metrics", "", 401), ("/metrics", API, 401), ("/metrics", METRICS, 200),
        ("/api/v1/incidents", "", 401), ("/api/v1/incidents", METRICS, 401),
        ("/api/v1/incidents", API, 200), ("/api/v1/openapi.json", "", 401),
        ("/api/v1/openapi.json", API, 200), ("/-/healthy", "", 200), ("/-/ready", "", 200),
        ("/v1/events", "", 405), ("/", "", 404),
    ],
    ids={API: "api", METRICS: "metrics"}.get,  # pytest puts it in environments
)  # fmt: skip
def test_metrics_have_a_token_of_their_own_and_strangers_learn_no_version(
    daemon: Daemon, path: str, token: str, status: int
) -> None:
    """RELIABILITY 6."""
    answer, said = ask(daemon, path, token)

    assert answer == status
    assert "Server: eventd\n" in said
    assert token or __version__ not in said


@pytest.mark.parametrize(
    ("low", "high", "ciphers", "good"),
    [
        (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1, "ALL:@SECLEVEL=0", False),
        (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", False),
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA256", False),
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256", True),
        (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3, "ALL", True),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_and_weak_suites_are_refused(
    daemon: Daemon, low: ssl.TLSVersion, high: ssl.TLSVersion, ciphers: str, good: bool
) -> None:
    """D70."""
    context = ssl.create_default_context()
    context.minimum_version, context.maximum_version = low, high
    context.set_ciphers(ciphers)
    connection = http.client.HTTPSConnection("127.0.0.1", daemon.port, context=context)

    try:
        connection.request("GET", "/-/healthy")
        assert (connection.getresponse().status, good) == (200, True)
    except ssl.SSLError:
        assert not good
    finally:
        connection.close()


def test_a_hangup_takes_up_all_new_secrets_and_the_certificate_or_none(
    daemon: Daemon, folder: Path
) -> None:
    """D70: connections that stand are not cut off; one bad file keeps the whole old set."""
    fresh, never = canary("fresh"), canary("never")
    kept = http.client.HTTPSConnection("127.0.0.1", daemon.port)
    first = (folder / "cert.pem").read_text().strip()
    assert shown(daemon) == {first}
    kept.request("GET", "/-/healthy")
    kept.getresponse().read()

    write(folder, "api", fresh)
    write(folder, "bearer", fresh)
    for name in ("cert.pem", "key.pem"):
        (folder / name).write_bytes((folder / f"next-{name}").read_bytes())
    hang_up(daemon)
    until(lambda: ask(daemon, "/api/v1/rules", fresh)[0] == 200, 10.0, "the new token")
    kept.request("GET", "/-/healthy")

    assert kept.getresponse().status == 200
    assert ask(daemon, "/api/v1/rules", API)[0] == 401
    assert ask(daemon, "/v1/webhooks/bearer", BEARER, {"name": "a"})[0] == 401
    assert ask(daemon, "/v1/webhooks/bearer", fresh, {"name": "a"})[0] == 202
    assert shown(daemon) == {(folder / "next-cert.pem").read_text().strip()}

    before = len(lines(daemon))
    write(folder, "api", never)
    write(folder, "bearer", BEARER, mode=0o644)
    (folder / "cert.pem").write_text(first)
    hang_up(daemon)
    until(lambda: not metric(daemon, "eventd_secrets_last_load_success"), 10.0, "the refusal")

    assert ask(daemon, "/api/v1/rules", never)[0] == 401
    assert ask(daemon, "/api/v1/rules", fresh)[0] == 200
    assert ask(daemon, "/v1/webhooks/bearer", fresh, {"name": "a"})[0] == 202
    assert shown(daemon) == {(folder / "next-cert.pem").read_text().strip()}
    told = "\n".join(lines(daemon)[before:])
    assert "bearer: others may read this secret (chmod 600" in told
    assert "cert.pem: expected a certificate chain in PEM that goes with key.pem" in told

    write(folder, "api", API)
    write(folder, "bearer", BEARER)
    (folder / "cert.pem").write_bytes((folder / "next-cert.pem").read_bytes())
    hang_up(daemon)
    until(lambda: metric(daemon, "eventd_secrets_last_load_success"), 10.0, "the old secrets")
    assert ask(daemon, "/api/v1/rules", API)[0] == 200
    kept.close()


def test_a_broker_is_met_over_tls_with_a_password_and_what_is_wrong_with_either_is_told(
    daemon: Daemon, folder: Path, broker: Mosquitto
) -> None:
    """Also where it is changed while the daemon runs: it goes on, and comes back by itself."""
    right = (folder / "ca.pem").read_bytes()

    def says(why: str) -> bool:
        return any(why in line for line in lines(daemon)[before:] if "mqtt.lost" in line)

    before = len(lines(daemon))
    (folder / "ca.pem").write_bytes((folder / "cert.pem").read_bytes())
    broker.stop()
    broker.start()
    until(lambda: says("certificate verify failed"), 20.0, "a wrong CA told")
    write(folder, "mqtt", "wrong")
    hang_up(daemon)
    (folder / "ca.pem").write_bytes(right)
    until(lambda: says("Not authorized"), 40.0, "a wrong password told")
    assert ask(daemon, "/-/ready")[0] == 200
    write(folder, "mqtt", MQTT)
    hang_up(daemon)
    until(lambda: connected(daemon), 40.0, "connected again")

    login: publish.AuthParameter = {"username": "eventd", "password": MQTT}
    publish.single("plant/a", '{"name":"m"}', 1, port=broker.port, hostname="127.0.0.1", auth=login)
    until(lambda: '"name":"m"' in ask(daemon, "/api/v1/alerts", API)[1], 10.0, "its event")


def test_no_secret_is_to_be_seen_anywhere_and_what_is_kept_is_for_its_owner(
    daemon: Daemon, folder: Path
) -> None:
    """D63, I19, D67: shown at the right door and at wrong ones, under umask 000."""
    pair = base64.b64encode(f"am:{PASSWORD}".encode()).decode()
    canaries = [API, METRICS, BEARER, PASSWORD, GITHUB, MQTT, WEBHOOK, pair]
    canaries.append((folder / "key.pem").read_text().splitlines()[1])
    heard = []
    for secret in (*canaries, "wrong"):
        for name in ("bearer", "basic", "standard", "github", "absent"):
            for scheme in ("Bearer", "Basic"):
                path, shown = f"/v1/webhooks/{name}", {"Authorization": f"{scheme} {secret}"}
                heard.append(ask(daemon, path, body={"name": "a"}, **shown))
                heard.append(ask(daemon, path, body={"nonsense": 1}, **shown))
    resources = ("alerts", "incidents", "audit", "rules", "silences", "openapi.json")
    heard += [ask(daemon, f"/api/v1/{name}", API) for name in resources]
    heard += [ask(daemon, path, BEARER) for path in ("/api/v1/alerts", "/metrics")]
    heard.append(ask(daemon, "/metrics", METRICS))
    process = [Path(f"/proc/{daemon.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in daemon.state.iterdir()}

    assert {status for status, _ in heard} >= {200, 202, 400, 401, 404, 429}
    refused = re.findall(r'refused_total{reason="(?:un|guess)\w+",source="(\w+)"}', heard[-1][1])
    assert set(refused) == {"api", "metrics", "bearer", "basic", "standard", "github", "other"}
    assert daemon.stop() == 0

    modes |= {one.name: stat.S_IMODE(one.stat().st_mode) for one in daemon.state.iterdir()}
    assert {"eventd.db", "eventd.db-wal", "eventd.db-shm", "lock"} < set(modes)
    assert any(name.startswith("snapshot-") for name in modes)
    assert set(modes.values()) == {0o600}
    for directory in (daemon.state, daemon.state.parent):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    everything = [said.encode() for _, said in heard] + process + [daemon.log.read_bytes()]
    everything += [one.read_bytes() for one in daemon.state.iterdir()]
    seen = [canary for canary in canaries if any(canary.encode() in one for one in everything)]
    assert seen == []
