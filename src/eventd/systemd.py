"""Readiness, reload and watchdog, told to whoever supervises the process."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

from eventd.clock import monotonic
from eventd.errors import StoreFull


class Notifier:
    """sd_notify(3) without a library; silent where nobody listens."""

    def __init__(self, address: str) -> None:
        """`address` is NOTIFY_SOCKET; "" where there is none, `@` names an abstract one."""
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self) -> None:
        """Started, or reloaded."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Taking up changed files."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic() * 1e6)}")

    def stopping(self) -> None:
        """Going down."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send("STATUS=" + text.replace("\n", " "))

    def extend(self, seconds: float) -> None:
        """Start or stop needs so much longer."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect(self._address)
            sock.sendall(text.encode())


def descriptors() -> int:
    """How many files and connections the process may have, after asking for all that it can get."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most if most != resource.RLIM_INFINITY else 1 << 20


async def feed(notifier: Notifier, probe: Callable[[], Awaitable[object]], every: float) -> None:
    """Feed the watchdog each time a probe has come all the way round, every so many seconds.

    A probe that hangs or raises feeds nothing: the supervisor restarts us. One that found the disk
    full was there: a restart makes no room.
    """
    while True:
        with suppress(StoreFull):
            await probe()
        notifier.alive()
        await asyncio.sleep(every)
