"""What a sender can get wrong, over bare sockets, and what it costs the daemon."""

from __future__ import annotations

import re
import socket
import time
from contextlib import closing, suppress
from pathlib import Path

from msgspec import Struct

from eventd.store.database import open_reader
from tests.acceptance.daemon import Daemon, until

HEAD = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
LAST = b"Connection: close\r\n"
GOOD = b'{"name":"good","service":"abuse"}'


class Answer(Struct, frozen=True):
    """What came back before the connection ended, and when it did."""

    text: bytes
    seconds: float

    @property
    def statuses(self) -> list[int]:
        """Of every answer."""
        return [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3})", self.text)]


def talk(daemon: Daemon, *parts: bytes, every: float = 0.0, within: float = 25.0) -> Answer:
    """Say it, part by part, and hear the answer to its end."""
    began = time.monotonic()
    text = b""
    with socket.create_connection(("127.0.0.1", daemon.port)) as sock:
        sock.settimeout(within)
        with suppress(ConnectionError):  # it has heard enough; the answer is there all the same
            for part in parts:
                sock.sendall(part)
                time.sleep(every)
        with suppress(ConnectionError):
            while data := sock.recv(1 << 16):
                text += data
    return Answer(text, time.monotonic() - began)


def request(body: bytes, *more: bytes, head: bytes = HEAD) -> bytes:
    """A whole request that is the last one of its connection."""
    return b"".join([head, LAST, *more, b"Content-Length: %d\r\n\r\n" % len(body), body])


def memory(daemon: Daemon, kind: str = "VmRSS") -> float:
    """MiB; VmHWM is the most it ever had."""
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    return int(status.partition(f"{kind}:")[2].split()[0]) / 1024


def stored(daemon: Daemon) -> float:
    """MiB of its database that hold something."""
    with closing(open_reader(daemon.state)) as db:
        pages, free, size = (
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size / (1 << 20)


def forget_most(daemon: Daemon) -> None:
    """Let VmHWM begin anew (proc(5), clear_refs)."""
    Path(f"/proc/{daemon.pid}/clear_refs").write_text("5")


def start(daemon: Daemon) -> None:
    """And wait until its log says so too, which is a moment later."""
    daemon.start()
    until(lambda: '"eventd.ready"' in daemon.log.read_text(), what="the log to say so")


def lines(daemon: Daemon) -> list[str]:
    """Of its log: what is no news of incidents and silences."""
    news = ('"incident.', '"silence.')
    text = daemon.log.read_text().splitlines()
    return [one for one in text if not any(name in one for name in news)]
