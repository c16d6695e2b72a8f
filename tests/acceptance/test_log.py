"""Who reads the log of a real daemon may be gone, or asleep."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.daemon import PATIENCE, Daemon, get, post
from tests.acceptance.faults import check


@pytest.mark.parametrize("reader", ["gone", "asleep"])
def test_a_log_that_nobody_reads_costs_nothing_but_the_log(tmp_path: Path, reader: str) -> None:
    reads, writes = os.pipe()
    daemon = Daemon(tmp_path)
    daemon.start(log=writes)
    os.close(writes)
    if reader == "gone":
        os.close(reads)

    for n in range(400):  # each opens an incident, a line of some 300 bytes: more than a pipe holds
        body = {"id": f"e{n}", "name": f"n{n}", "service": f"s{n}", "severity": "critical"}
        assert post(f"{daemon.url}/v1/events", body)[0] == 202

    assert get(f"{daemon.url}/-/ready")[0] == 200
    assert daemon.stop() == 0
    check(daemon, [f"e{n}" for n in range(400)])


def test_what_ends_it_needs_no_reader_of_the_log(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writes, b"x" * 4096)
    os.set_blocking(writes, True)
    (tmp_path / "file").touch()
    daemon = Daemon(tmp_path)

    daemon.launch("--state", str(tmp_path / "file" / "state"), log=writes)

    assert daemon.process is not None
    assert daemon.process.wait(PATIENCE) == 1
    os.close(reads)
    os.close(writes)


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_it_runs_without_a_log(tmp_path: Path, closed: str) -> None:
    program = ("-c", f'exec "$0" "$@" {closed}', sys.executable, "-m", "eventd")
    daemon = Daemon(tmp_path, python="/bin/sh", program=program)

    daemon.start()

    assert str(Path(f"/proc/{daemon.pid}/fd/2").readlink()) == os.devnull
    assert daemon.stop() == 0
    assert daemon.log.read_text() == ""
