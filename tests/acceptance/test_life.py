"""Starting, reloading, stopping, being refused: the daemon as systemd and SREs run it."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from eventd.cli import main
from eventd.cli.client import Client
from eventd.store.database import DATABASE
from tests.acceptance.abuse import memory
from tests.acceptance.daemon import GROUPING, PATIENCE, Daemon, Mosquitto, get, post, until
from tests.acceptance.faults import Faults, Sender, check
from tests.acceptance.test_accounting import poisonable, taken

NOBODY, ME = 65534, os.geteuid()
ROOT = Path(__file__).parents[2]
RULE = "rules:\n  - {name: NAME, by: [service], within: 1m, group: {match: 'service!=\"\"'}}\n"


def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "eventd", *args],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, **env},
    )


def test_a_second_instance_on_the_same_state_is_refused(tmp_path: Path) -> None:
    """D12: the lock goes with kill -9."""
    first = Daemon(tmp_path, measured=True)
    first.start()

    second = run("run", "--state", str(first.state), "--listen", "127.0.0.1:0")

    assert second.returncode == 1
    assert "in use by another eventd" in second.stderr
    assert get(f"{first.url}/-/ready")[0] == 200
    first.kill()
    first.start()
    assert first.stop() == 0


@pytest.mark.parametrize(
    ("owner", "mode", "name", "why"),
    [
        (NOBODY, 0o500, "state", "Permission denied"),
        (ME, 0o777, "state", "Operation not permitted"),
        (ME, 0o755, "state/there/is/none", "Permission denied"),
    ],
    ids=["read-only", "somebody else's", "missing"],
)
def test_a_state_directory_that_cannot_be_used_is_told_at_once(
    owner: int, mode: int, name: str, why: str
) -> None:
    """D14: with its path and the reason, and without waiting for anything."""
    if os.geteuid():
        pytest.skip("takes root to be somebody else")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        state = Path(folder, "state")
        state.mkdir()
        os.chown(state, owner, owner)
        state.chmod(mode)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "eventd", "run", "--state", Path(folder, name)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            user=NOBODY,
            cwd=folder,
            env={"PYTHONDONTWRITEBYTECODE": "1"},
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert str(state) in line
    assert why in line
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 3.0


def test_what_was_seen_is_there_after_a_stop_and_a_kill(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, measured=True)
    daemon.start()
    post(f"{daemon.url}/v1/events", {"name": "a", "service": "s"})
    assert daemon.stop() == 0
    daemon.start()
    post(f"{daemon.url}/v1/events", {"name": "b", "service": "s"})
    daemon.kill()

    daemon.start()

    (incident,) = daemon.api("incidents")["items"]
    assert incident["alert_count"] == 2
    assert daemon.stop() == 0
    checked = CliRunner().invoke(main, ["check", "--store", str(daemon.state), "--json"])
    assert checked.exit_code == 0, checked.output
    acked = tmp_path / "acked"
    acked.write_text("never-sent\n")
    missing = CliRunner().invoke(
        main, ["check", "--store", str(daemon.state), "--acked", str(acked)]
    )
    assert missing.exit_code == 1
    assert "never-sent" in missing.output
    recorded = tmp_path / "r.jsonl"
    export = ["export", "--state", str(daemon.state), "--out", str(recorded)]
    assert CliRunner().invoke(main, [*export, "--since", "2020-01-01"]).exit_code == 0
    assert len(recorded.read_text().splitlines()) >= 4
    assert CliRunner().invoke(main, ["export", "--state", str(tmp_path / "x")]).exit_code == 2
    replay = CliRunner().invoke(main, ["replay", str(recorded), "--rules", str(GROUPING)])
    assert "INC-000001" in replay.output
    as_json = CliRunner().invoke(main, ["replay", str(recorded), "--json"])
    assert json.loads(as_json.output)["incidents"] == 1


def test_a_hangup_takes_up_new_rules_whole_or_not_at_all(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    file = rules / "r.yaml"
    file.write_text(RULE.replace("NAME", "one"))
    daemon = Daemon(tmp_path, config={"rules": str(rules)}, measured=True)
    daemon.start()

    def names() -> list[str]:
        return [str(rule["name"]) for rule in daemon.api("rules")["items"]]

    assert names() == ["one"]
    file.write_text(RULE.replace("NAME", "two"))
    os.kill(daemon.pid, signal.SIGHUP)
    until(lambda: names() == ["two"])
    file.write_text("rules: [")
    os.kill(daemon.pid, signal.SIGHUP)
    until(lambda: daemon.metrics()["eventd_rules_last_load_success"] == 0)

    assert names() == ["two"]
    assert daemon.stop() == 0
    assert "r.yaml:2: is no YAML" in daemon.log.read_text()


BOMB = "rules:\n  - &a [x, x]\n" + "".join(f"  - &a{n} [*a, *a]\n" for n in range(30))
NO_RULES = {
    "half written": RULE.partition("group")[0],
    "bomb": BOMB,
    "code": "rules: [!!python/object/apply:os.system [exit]]",
    "10 MB": "# " + "x" * (10 << 20),
    "pattern": RULE.replace('service!=""', 'service=~"(?=a)"'),
    "binary": "\0\1\2",
}


def test_what_is_no_rules_is_refused_soon_and_those_in_force_stay(tmp_path: Path) -> None:
    """D38, D51, D52: within a second on a machine that is idle."""
    rules = tmp_path / "r.yaml"
    rules.write_text(RULE.replace("NAME", "stays"))
    daemon = Daemon(tmp_path, config={"rules": str(rules)}, measured=True)
    daemon.start()

    for what, text in NO_RULES.items():
        rules.write_text(text)
        os.kill(daemon.pid, signal.SIGHUP)
        until(lambda: daemon.metrics()["eventd_rules_last_load_success"] == 0, 5.0, what)
        assert [rule["name"] for rule in daemon.api("rules")["items"]] == ["stays"], what
        rules.write_text(RULE.replace("NAME", "stays"))
        os.kill(daemon.pid, signal.SIGHUP)
        until(lambda: daemon.metrics()["eventd_rules_last_load_success"] == 1, 10.0, "good ones")

    assert memory(daemon, "VmHWM") < 200
    assert "Traceback" not in daemon.log.read_text()
    assert daemon.stop() == 0


def test_a_stop_under_load_takes_what_it_took_and_is_over_in_ten_seconds(tmp_path: Path) -> None:
    """D09."""
    daemon = Daemon(tmp_path, measured=True)
    daemon.start()
    senders = [Sender(daemon.port, f"s{n}") for n in range(4)]
    for one in senders:
        one.start()
    until(lambda: sum(len(one.answers) for one in senders) >= 100, 30.0, "load")

    code = daemon.stop(within=10.0)

    for one in senders:
        one.stopping.set()
    for one in senders:
        one.join(30)
    assert code == 0
    check(daemon, [answer.id for one in senders for answer in one.answers])
    assert "Traceback" not in daemon.log.read_text()


def test_a_door_to_other_machines_without_credentials_stays_shut(tmp_path: Path) -> None:
    refused = run("run", "--listen", "0.0.0.0:0", "--state", str(tmp_path))

    assert refused.returncode == 2
    assert "which needs token_file, metrics_token_file and tls or" in refused.stderr


def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    missing = run("run", "--config", str(tmp_path / "none.yaml"))
    file = tmp_path / "file"
    file.write_text("")
    no_state = run("run", "--state", str(file / "x"), "--listen", "127.0.0.1:0")

    assert (missing.returncode, "cannot be read" in missing.stderr) == (2, True)
    assert (no_state.returncode, "file" in no_state.stderr) == (1, True)


def test_a_token_opens_the_door_and_nothing_else_does(tmp_path: Path) -> None:
    """D54, I17: who was not let in is written down, and stays so."""
    token = "0123456789abcdef0123456789abcdef"
    (tmp_path / "token").write_text(token)
    (tmp_path / "token").chmod(0o600)
    daemon = Daemon(tmp_path, config={"token_file": "token"}, measured=True)
    daemon.start()
    good = {"Authorization": f"Bearer {token}"}

    def audit() -> list[tuple[str, int]]:
        rows = Client(daemon.url, token).call("GET", "/api/v1/audit")["items"]
        denied = [one for one in rows if one["kind"] == "access_denied"]
        assert {one["peer"] for one in denied} == {"127.0.0.1"}
        return [(one["subject"], one["count"]) for one in denied]

    answers = [
        post(f"{daemon.url}/v1/events", {"name": "a"})[0],
        post(f"{daemon.url}/v1/events", {"name": "a"}, {"Authorization": "Bearer wrong"})[0],
        post(f"{daemon.url}/v1/events", {"name": "a"}, good)[0],
        get(f"{daemon.url}/api/v1/incidents")[0],
        get(f"{daemon.url}/metrics")[0],
    ]
    listed = CliRunner().invoke(
        main, ["incidents", "--url", daemon.url, "--token-file", str(tmp_path / "token")]
    )

    at_once = audit()
    assert daemon.stop() == 0
    daemon.start()
    at_last = audit()

    assert answers == [401, 401, 202, 401, 401]
    assert listed.exit_code == 0
    assert at_once == [("metrics", 1), ("api", 1), ("events", 1)]
    assert at_last == [("events", 1), *at_once]
    assert daemon.stop() == 0
    assert token not in daemon.log.read_text()
    assert daemon.log.read_text().count('"access.denied"') == len(at_last)


def test_the_supervisor_is_told_and_the_watchdog_fed(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(PATIENCE)
        daemon = Daemon(tmp_path, measured=True)
        daemon.start(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"})
        said = [listener.recv(4096).decode() for _ in range(4)]
        os.kill(daemon.pid, signal.SIGHUP)
        while "RELOADING=1" not in said[-1]:
            said.append(listener.recv(4096).decode())
        assert daemon.stop() == 0
        listener.settimeout(0.2)
        while "STOPPING=1" not in said:
            said.append(listener.recv(4096).decode())

    assert said[0].startswith("EXTEND_TIMEOUT_USEC=")
    assert "READY=1" in said
    assert said.count("WATCHDOG=1") >= 1


SLOW = """
import time
from eventd import app
from eventd.cli import main
recover, app.START_WITHIN = app.recover, 0.4
def recover_slowly(journal):
    time.sleep(2)
    return recover(journal)
app.recover = recover_slowly
main()
"""


def test_a_supervisor_is_asked_for_time_as_long_as_recovery_takes(tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(PATIENCE)
        daemon = Daemon(tmp_path, program=(str(script),))
        daemon.launch(env={"NOTIFY_SOCKET": listener.getsockname()})
        said = [listener.recv(4096).decode()]
        while said[-1] != "READY=1":
            said.append(listener.recv(4096).decode())
    daemon.kill()

    assert said.count("EXTEND_TIMEOUT_USEC=400000") >= 4


def test_it_starts_serves_and_stops_where_its_supervisor_is_gone(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    nowhere = str(tmp_path / "nowhere")
    daemon.start(env={"NOTIFY_SOCKET": nowhere, "WATCHDOG_USEC": "200000"})
    os.kill(daemon.pid, signal.SIGHUP)
    until(lambda: "secrets.loaded" in daemon.log.read_text(), what="a reload")

    assert post(f"{daemon.url}/v1/events", {"name": "a"})[0] == 202
    assert daemon.stop() == 0
    (told,) = (line for line in daemon.log.read_text().splitlines() if "supervisor.lost" in line)
    assert nowhere in told


def test_the_unit_is_hardened() -> None:
    tool = shutil.which("systemd-analyze")
    assert tool is not None, "systemd is not installed"

    told = subprocess.run(
        [tool, "security", "--offline=true", "--no-pager", str(ROOT / "systemd/eventd.service")],
        capture_output=True,
        text=True,
        check=False,
    )

    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", told.stdout)
    assert found is not None, told.stdout + told.stderr
    assert float(found[1]) <= 1.5


def test_files_are_checked_from_the_command_line(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("listen: 127.0.0.1:1\n")
    bad.write_text("rules:\n  - {name: a}\n")

    fine = CliRunner().invoke(main, ["check", str(good), str(ROOT / "rules"), str(GROUPING)])
    wrong = CliRunner().invoke(main, ["check", str(bad), str(tmp_path / "none")])
    no_store = CliRunner().invoke(main, ["check", "--store", str(tmp_path / "none")])

    assert fine.exit_code == 0
    assert wrong.exit_code == 1
    assert "bad.yaml:2: rules[0]" in wrong.output
    assert no_store.exit_code == 2


@pytest.mark.parametrize(
    ("option", "good", "bad", "gauge"),
    [
        ("rules", GROUPING.read_text(), "rules: 1\n", "eventd_rules_last_load_success"),
        ("inventory", "cis: [{name: db1}]\n", "cis: 1\n", "eventd_inventory_last_load_success"),
    ],
)
def test_a_restart_in_place_goes_on_with_what_is_in_force_where_a_file_is_broken(
    tmp_path: Path, option: str, good: str, bad: str, gauge: str
) -> None:
    file = tmp_path / f"{option}.yaml"
    file.write_text(good)
    daemon = poisonable(tmp_path, config={option: str(file)})
    before = daemon.metrics()
    file.write_text(bad)

    until(taken(daemon, {"id": "a", "name": "poison"}), what="an answer after the restart")

    after = daemon.metrics()
    assert (before[gauge], after[gauge]) == (1, 0)
    assert after["eventd_rules_loaded"] == before["eventd_rules_loaded"]
    assert after["eventd_inventory_cis"] == before["eventd_inventory_cis"]
    assert f"{option}.rejected" in daemon.log.read_text()
    assert daemon.stop() == 0
    with pytest.raises(AssertionError, match="eventd left with 2"):
        daemon.start()


def test_a_restart_in_place_goes_on_with_the_secrets_in_force_where_a_file_is_broken(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x" * 64)
    secret.chmod(0o600)
    webhooks = {"guarded": {"credentials": {"bearer": str(secret)}}}
    daemon = poisonable(tmp_path, config={"sources": {"webhooks": webhooks}})
    before = daemon.metrics()
    secret.write_text("short")

    until(taken(daemon, {"id": "a", "name": "poison"}), what="an answer after the restart")

    gauge = "eventd_secrets_last_load_success"
    assert (before[gauge], daemon.metrics()[gauge]) == (1, 0)
    assert "secrets.rejected" in daemon.log.read_text()
    known = {"Authorization": "Bearer " + "x" * 64}
    assert post(f"{daemon.url}/v1/webhooks/guarded", {"name": "a"}, known)[0] == 202
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        ("rules", GROUPING.read_text(), "rules: 1\n"),
        ("inventory", "cis: [{name: db1}]\n", "cis: 1\n"),
    ],
)
def test_a_file_that_breaks_during_the_first_start_is_told_as_one_that_was_broken_before(
    tmp_path: Path, option: str, good: str, bad: str
) -> None:
    file = tmp_path / f"{option}.yaml"
    file.write_text(good)
    breaking = f"import eventd.app as app, pathlib\nfile = pathlib.Path({str(file)!r})\n"
    breaking += f"app.settle_allocator = lambda: file.write_text({bad!r})\n"

    for _ in range(2):  # it breaks, it is broken
        with pytest.raises(AssertionError, match="eventd left with 2"):
            poisonable(tmp_path, config={option: str(file)}, before=breaking)

    log = (tmp_path / "eventd.log").read_text()
    assert "Traceback" not in log
    during, before = (line for line in log.splitlines() if line.startswith("eventd: "))
    assert f"{file}:1: " in before
    assert during == before


def test_a_hangup_before_it_listens_for_one_does_not_end_it(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    faults = Faults(tmp_path, daemon.state)
    faults.build()
    faults.plan("fsync * 0 delay 300")  # so that it is long about its store
    daemon.launch(env=faults.env)
    until((daemon.state / "lock").exists, what="the lock of the state")

    os.kill(daemon.pid, signal.SIGHUP)
    daemon.wait_ready()

    assert daemon.stop() == 0


def test_brokers_that_cannot_be_reached_hold_up_neither_others_nor_a_reload(
    tmp_path: Path, broker: Mosquitto
) -> None:
    """More than there are threads by default; a try takes each of them five seconds."""
    topics = [{"filter": "events/#"}]
    with closing(socket.socket()) as deaf, closing(socket.socket()) as waits:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)  # one connection waits to be accepted, what else comes is not answered
        waits.connect(deaf.getsockname())
        ports = dict.fromkeys((f"dead{n}" for n in range(40)), deaf.getsockname()[1])
        mqtt = [
            {"name": name, "host": "127.0.0.1", "port": port, "topics": topics}
            for name, port in (ports | {"plant": broker.port}).items()
        ]
        daemon = Daemon(tmp_path, config={"sources": {"mqtt": mqtt}})
        daemon.start()

        os.kill(daemon.pid, signal.SIGHUP)
        until(lambda: "secrets.loaded" in daemon.log.read_text(), 4.0)
        until(daemon.subscribed, 4.0)

        assert daemon.stop() == 0


def test_metrics_are_shown_though_incidents_cannot_be_read(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.start()
    assert post(f"{daemon.url}/v1/events", {"name": "a"})[0] == 202
    with closing(sqlite3.connect(daemon.state / DATABASE)) as db:
        db.execute("ALTER TABLE incident RENAME TO hidden")

    status, page = get(f"{daemon.url}/metrics")

    assert status == 200
    assert b"eventd_events_received_total" in page
    assert b"eventd_incidents_open{" not in page
    daemon.kill()
    assert "Traceback" not in daemon.log.read_text()
