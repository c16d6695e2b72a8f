"""Half-open connections, from a process of their own, and who else is answered meanwhile."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import time

from tests.acceptance.abuse import HEAD
from tests.acceptance.daemon import ROOT, Daemon, get

KINDS = {
    "silent": [b""],
    "headers": [b"GET /-/ready HTTP/1.1\r\nHost"],
    "bodies": [HEAD + b"Content-Length: 100\r\n\r\n{"],
}
KINDS["all"] = [begun for kind in KINDS.values() for begun in kind]


async def besiege(port: int, kind: str, count: int) -> list[float]:
    """Open all at once, drip a byte a second into those that have begun, wait for the end."""
    closed: list[float] = []

    async def hold(begun: bytes) -> None:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(begun)
            while await _stays_open(reader):
                writer.write(b"x" if begun else b"")
        except ConnectionError:
            pass
        closed.append(time.monotonic() - began)
        writer.close()

    async with asyncio.TaskGroup() as group:
        for n in range(count):
            group.create_task(hold(KINDS[kind][n % len(KINDS[kind])]))
    return closed


async def _stays_open(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(1.0):
            while await reader.read(1 << 16):
                pass
    except TimeoutError:
        return True
    return False


def lay_siege(daemon: Daemon, kind: str, count: int) -> tuple[list[float], list[float]]:
    """Seconds until each connection was closed, and those `/-/ready` took meanwhile."""
    command = [sys.executable, "-m", "tests.acceptance.siege", str(daemon.port), kind, str(count)]
    answered = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as siege:
        while siege.poll() is None:
            began = time.monotonic()
            assert get(f"{daemon.url}/-/ready")[0] == 200
            answered.append(time.monotonic() - began)
            time.sleep(0.02)
        assert siege.stdout is not None
        return json.loads(siege.stdout.read()), answered


def of_99(times: list[float]) -> float:
    """Of 100, 99 took no longer."""
    return sorted(times)[math.ceil(len(times) * 0.99) - 1]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(besiege(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))))
