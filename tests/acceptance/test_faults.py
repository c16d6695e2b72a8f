"""A disk that is slow, fails, or is full, under the real process."""

from __future__ import annotations

import os
import socket
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from eventd.store.snapshots import snapshot_paths
from tests.acceptance.daemon import PATIENCE, Daemon, get, post, until
from tests.acceptance.faults import Faults, Sender, check, fail_each

NTH = (1, 3, 8, 40)  # the first dozens are of the start
SOON = """
import eventd.runtime as runtime
from eventd.cli import main
runtime.SNAPSHOT_EVERY, runtime.SNAPSHOT_RETRY = 5, 0.0
main()
"""


def test_nothing_is_acknowledged_before_its_fsync_returns(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    faults = Faults(tmp_path, daemon.state)
    faults.build()
    daemon.start(env=faults.env)
    faults.plan("fsync -wal 1 delay 2000")
    sender = Sender(daemon.port, "slow")

    sender.start()
    until(lambda: sender.answers, what="an answer")
    sender.stopping.set()
    sender.join(PATIENCE)

    (returned,) = faults.hits()
    first = sender.answers[0]
    assert first.came >= returned.at
    assert first.came - first.sent >= 2.0
    assert daemon.stop() == 0
    check(daemon, [one.id for one in sender.answers])


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_a_failed_call_is_the_last_of_the_process_and_loses_nothing(
    tmp_path: Path, call: str
) -> None:
    report = fail_each(tmp_path, [(call, nth) for nth in NTH])

    assert report.acknowledged > 0
    print(report)


def test_a_disk_that_fails_the_last_snapshot_is_told(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    faults = Faults(tmp_path, daemon.state)
    faults.build()
    daemon.start(env=faults.env)
    assert post(f"{daemon.url}/v1/events", {"id": "a", "name": "a"})[0] == 202
    faults.plan("write snapshot.tmp 0 EIO")

    assert daemon.stop() == 1
    assert daemon.log.read_text().splitlines()[-1].startswith(f"eventd: {daemon.state}: ")
    check(daemon, ["a"])


def test_a_last_snapshot_that_finds_no_room_is_told(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    faults = Faults(tmp_path, daemon.state)
    faults.build()
    daemon.start(env=faults.env)
    # so many that it is written when nobody waits for the last commit any more
    many = [{"id": f"e{n}", "name": f"n{n}"} for n in range(2_000)]
    assert post(f"{daemon.url}/v1/events", many)[0] == 202
    faults.plan("fsync snapshot.tmp 0 ENOSPC")

    assert daemon.stop() == 0
    assert "snapshot.failed" in daemon.log.read_text().splitlines()[-1]
    check(daemon, [one["id"] for one in many])


def test_a_disk_that_fails_while_nobody_sends_ends_the_daemon(tmp_path: Path) -> None:
    script = tmp_path / "soon.py"
    script.write_text(SOON)
    daemon = Daemon(tmp_path, program=(str(script),))
    faults = Faults(tmp_path, daemon.state)
    faults.build()
    daemon.start(env=faults.env)
    faults.plan("write snapshot.tmp 0 EIO")
    with suppress(OSError):  # it may leave before it answers
        post(f"{daemon.url}/v1/events", [{"id": name, "name": name} for name in "abcde"])

    assert daemon.process is not None
    assert daemon.process.wait(PATIENCE) == 1
    last = daemon.tail().splitlines()[-1]
    assert last == f"eventd: {daemon.state}: [Errno 5] Input/output error"
    check(daemon, list("abcde"))


def test_a_full_disk_is_waited_out(small_disk: Path) -> None:
    daemon = Daemon(
        small_disk.parent,
        config={"state": str(small_disk / "state"), "limits": {"commit_within": "1s"}},
    )
    daemon.state = small_disk / "state"
    daemon.start()
    until(lambda: post(f"{daemon.url}/v1/events", {"id": "a", "name": "a"})[0] == 202)
    daemon.api("alerts")  # which brings the rows up to date
    ballast = small_disk / "ballast"
    _fill(ballast)

    refused = _refusal(f"{daemon.url}/v1/events", b'{"id": "a", "name": "a"}')
    ready, _ = get(f"{daemon.url}/-/ready")
    alerts = [one["name"] for one in daemon.api("alerts")["items"]]
    alive, _ = get(f"{daemon.url}/-/healthy")
    ballast.unlink()
    until(lambda: post(f"{daemon.url}/v1/events", {"id": "b", "name": "b"})[0] == 202, what="room")

    assert (refused.status, int(refused.headers["Retry-After"]) > 0) == (503, True)
    assert (ready, alive, alerts) == (503, 200, ["a"])
    assert get(f"{daemon.url}/-/ready")[0] == 200
    assert daemon.stop() == 0
    check(daemon, ["a", "b"])
    assert "Traceback" not in daemon.log.read_text()


def test_a_daemon_on_a_full_disk_lives_can_be_stopped_and_starts_again(small_disk: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(small_disk.parent / "notify"))
        supervisor.settimeout(PATIENCE)
        daemon = Daemon(
            small_disk.parent,
            config={"state": str(small_disk / "state"), "limits": {"commit_within": "1s"}},
        )
        daemon.state = small_disk / "state"
        daemon.env |= {"NOTIFY_SOCKET": supervisor.getsockname(), "WATCHDOG_USEC": "200000"}
        daemon.start()
        assert post(f"{daemon.url}/v1/events", {"id": "a", "name": "a"})[0] == 202
        daemon.api("alerts")  # which brings the rows up to date
        ballast = small_disk / "ballast"
        _fill(ballast)
        _refusal(f"{daemon.url}/v1/events", b'{"id": "a", "name": "a"}')
        for _ in range(20):  # more than can have waited unread
            until(lambda: supervisor.recv(100) == b"WATCHDOG=1", what="a sign of life")
        daemon.kill()
        _fill(ballast)

        daemon.launch()
        until(lambda: supervisor.recv(100) == b"READY=1", what="a start")
        refused = _refusal(f"{daemon.url}/v1/events", b'{"id": "a", "name": "a"}')
        ready, _ = get(f"{daemon.url}/-/ready")
        alerts = [one["name"] for one in daemon.api("alerts")["items"]]
        code = daemon.stop()
        last = daemon.tail().splitlines()[-1]
        ballast.unlink()
        daemon.start()
        again, _ = post(f"{daemon.url}/v1/events", {"id": "b", "name": "b"})
        end = daemon.stop()

    assert (refused.status, ready, alerts) == (503, 503, ["a"])
    assert (code, last) == (1, f"eventd: {daemon.state}: no space left (SQLITE_FULL)")
    assert (again, end) == (202, 0)
    check(daemon, ["a", "b"])
    assert "Traceback" not in daemon.log.read_text()


@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT"])
def test_a_quota_that_is_used_up_is_a_full_disk_and_a_start_needs_no_room_for_its_number(
    tmp_path: Path, error: str
) -> None:
    daemon = Daemon(tmp_path, config={"limits": {"commit_within": "1s"}})
    faults = Faults(tmp_path, daemon.state)
    faults.build()
    daemon.start(env=faults.env)
    assert post(f"{daemon.url}/v1/events", {"id": "a", "name": "a"})[0] == 202
    faults.plan(f"write * 0 {error}")

    refused = _refusal(f"{daemon.url}/v1/events", b'{"id": "a", "name": "a"}')
    ready, _ = get(f"{daemon.url}/-/ready")
    faults.off()
    until(lambda: post(f"{daemon.url}/v1/events", {"id": "b", "name": "b"})[0] == 202, what="room")
    daemon.kill()
    faults.plan(f"write lock 0 {error}")
    daemon.start(env=faults.env)

    assert (refused.status, ready) == (503, 503)
    assert faults.hits()[-1].name == "lock"
    assert daemon.stop() == 0
    check(daemon, ["a", "b"])
    assert "Traceback" not in daemon.log.read_text()


def test_a_snapshot_counts_once_it_is_durable_and_a_failed_one_is_told(tmp_path: Path) -> None:
    script = tmp_path / "soon.py"
    script.write_text(SOON)
    daemon = Daemon(tmp_path, program=(str(script),))
    faults = Faults(tmp_path, daemon.state)
    faults.build()
    faults.plan("write snapshot.tmp 0 ENOSPC")
    daemon.start(env=faults.env)

    def beyond() -> float:
        assert post(f"{daemon.url}/v1/events", {"name": "a"})[0] == 202
        return daemon.metrics()["eventd_journal_beyond_snapshot_inputs"]

    until(lambda: "snapshot.failed" in daemon.log.read_text() or not beyond(), what="a warning")
    lost = beyond(), daemon.metrics()["eventd_snapshots_total"]
    faults.off()
    until(lambda: beyond() < 5, what="a snapshot")

    assert lost[0] > 5
    assert lost[1] == 0
    assert daemon.metrics()["eventd_snapshots_total"] > 0
    assert daemon.stop() == 0


@pytest.mark.parametrize("damage", [b"", b"\0" * 4096])
def test_a_damaged_newest_snapshot_gives_way_to_the_older(tmp_path: Path, damage: bytes) -> None:
    daemon = Daemon(tmp_path)
    before: list[dict[str, Any]] = []
    for name in ("a", "b"):
        daemon.start()
        assert post(f"{daemon.url}/v1/events", {"id": name, "name": name})[0] == 202
        before = daemon.api("alerts")["items"]
        assert daemon.stop() == 0
    newest, _ = snapshot_paths(daemon.state)
    newest.write_bytes(damage)

    daemon.start()

    assert daemon.api("alerts")["items"] == before
    assert f"{newest.name}" in daemon.tail()
    assert daemon.stop() == 0
    check(daemon, ["a", "b"])


def _fill(ballast: Path) -> None:
    """Leave no byte."""
    fd = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        while os.write(fd, b"\0" * 4096):
            pass
    except OSError:
        os.close(fd)


def _refusal(url: str, body: bytes) -> urllib.error.HTTPError:
    """What is said once the log has no room either."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
    while True:
        try:
            urllib.request.urlopen(request, timeout=PATIENCE).close()
        except urllib.error.HTTPError as refused:
            refused.close()
            return refused
