"""Readiness, reload and watchdog, told to whoever supervises the process."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from eventd.clock import monotonic
from eventd.errors import StoreFull

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Notifier:
    """sd_notify(3) without a library; silent where there is nobody to tell.

    It neither waits nor raises: whoever does not hear us is no reason to go down.
    """

    def __init__(self, address: str) -> None:
        """`address` is NOTIFY_SOCKET; "" where there is none, `@` names an abstract one."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._untold = ""  # the state, which finds its way with the next message
        self._lost = False  # and that was said

    def ready(self) -> None:
        """Started, or reloaded."""
        self._change("READY=1")

    def reloading(self) -> None:
        """Taking up changed files."""
        self._change(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic() * 1e6)}")

    def stopping(self) -> None:
        """Going down."""
        self._change("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send("STATUS=" + text.replace("\n", " "))

    def extend(self, seconds: float) -> None:
        """Start or stop needs so much longer."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _change(self, state: str) -> None:
        self._untold = state
        self._send("")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        said = "\n".join(filter(None, (self._untold, text))).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(said, self._address)
        except OSError as error:
            if not self._lost:
                self._lost = True
                _log.warning("supervisor.lost", socket=self._address, why=str(error))
        else:
            self._untold = ""


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
