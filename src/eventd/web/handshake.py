"""The beginning of a TLS connection: it counts, ends in time, and gives way like any other."""

from __future__ import annotations

import asyncio
import random
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventd.web.door import Connection, Door

# s for a handshake, and for the peer's farewell at the end: with a request's header 15 in all
HANDSHAKE_WITHIN = 4.0
FAREWELL_WITHIN = 1.0


class Handshake(asyncio.Protocol):
    """A connection that is to agree on TLS: asyncio would tell of it only when that is done."""

    waits = unused = True
    receives = False

    def __init__(
        self,
        door: Door,
        connection: Connection,
        tls: ssl.SSLContext,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._door, self._connection, self._tls, self._loop = door, connection, tls, loop

    def give_way(self) -> None:
        """Close at once, for another."""
        self._door.leave(self, self._peer)
        self._bare.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # a listener's are streams
        """Let it begin, if there is room."""
        self._bare, self._peer = transport, peer_of(transport)
        if not self._door.enter(self, self._peer):
            transport.abort()
            return
        transport.set_write_buffer_limits(high=1)  # tells of all that waits
        # its first step is done here and not in a task, before which the first bytes could come
        self._steps = self._loop.start_tls(
            transport,
            self._connection,
            self._tls,
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_WITHIN * random.uniform(0.8, 1.0),
            ssl_shutdown_timeout=FAREWELL_WITHIN,
        ).__await__()
        next(self._steps).add_done_callback(self._end)

    def _end(self, _: asyncio.Future[None]) -> None:
        """Over to the connection, unless it came to nothing."""
        self._door.leave(self, self._peer)
        try:
            next(self._steps)
        except OSError:
            return
        except StopIteration as done:
            if not self._bare.is_closing():
                self._connection.bare = self._bare
                self._connection.connection_made(done.value)


def peer_of(transport: asyncio.BaseTransport) -> str:
    """Its address, as connections are counted by."""
    name = transport.get_extra_info("peername")
    return str(name[0]) if name else ""
