"""A TCP connection without the kernel: a socket that the real MQTT client reads and writes."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from tests.simulation.loop import Loop, World

FIRST_DESCRIPTOR = 1_000_000  # beyond any real one
MSG_PEEK = socket.MSG_PEEK


class Wire:
    """Both directions of one connection; bytes arrive in order, in pieces, after a while."""

    def __init__(self, world: World, inside: Loop, outside: Loop) -> None:
        """`inside` is the loop of the process that connected."""
        self.world, self._inside, self._outside = world, inside, outside
        self.up = True
        self.torn = 0.0  # share of writes that the kernel takes a part of
        self.sock = SimSocket(self, FIRST_DESCRIPTOR + world.number())
        inside.add_wire(self.sock.fileno(), self.sock)
        self.taken: Callable[[bytes], None] = lambda _data: None  # the broker's
        self.closed: Callable[[], None] = lambda: None
        self._coming: list[bytes] = []  # towards the client

    def to_client(self, data: bytes) -> None:
        """The broker writes."""
        if self.up:
            self._coming.append(data)
            self._outside.call_later(self.world.random.random() * 0.01, self._deliver)

    def _deliver(self) -> None:
        if not self.up or not self._coming:
            return
        data = self._coming.pop(0)
        if len(data) > 1 and self.world.random.random() < 0.1:  # in two pieces
            cut = self.world.random.randrange(1, len(data))
            self._coming.insert(0, data[cut:])
            data = data[:cut]
            self._outside.call_later(self.world.random.random() * 0.02, self._deliver)
        self.sock.arrive(data)

    def to_broker(self, data: bytes) -> None:
        """The client wrote: the kernel has it, also when the process dies now."""
        self._outside.call_later(self.world.random.random() * 0.01, self._take)
        self._sent.append(data)

    def cut(self) -> None:
        """The connection is gone for both, bytes under way with it."""
        if not self.up:
            return
        self.up = False
        self._coming.clear()
        self._sent.clear()
        self.sock.end()
        self.closed()

    def close(self) -> None:
        """The client says goodbye: what it sent still arrives."""
        self._outside.call_later(0.05, self.cut)

    @property
    def _sent(self) -> list[bytes]:
        return self.sock.sent

    def _take(self) -> None:
        if self.up and self._sent:
            self.taken(self._sent.pop(0))


class SimSocket(socket.socket):
    """The client's end. It has no descriptor of the kernel's."""

    def __init__(self, wire: Wire, number: int) -> None:
        # the base class would open one
        self.wire, self.number = wire, number
        self.sent: list[bytes] = []
        self._buffer = bytearray()
        self._ended = self._shut = False
        self._reader: Callable[[], object] | None = None
        self._writer: Callable[[], object] | None = None
        self._called = False
        self.watch_sent: Callable[[bytes], None] = lambda _data: None

    def __repr__(self) -> str:
        return f"SimSocket({self.number})"

    # -- what the library calls -------------------------------------------------------------------

    def fileno(self) -> int:
        return -1 if self._shut else self.number

    def setblocking(self, flag: bool) -> None:
        pass

    def setsockopt(self, *_: Any) -> None:
        pass

    def recv(self, size: int, flags: int = 0) -> bytes:
        if self._shut:
            raise OSError("closed")
        if not self._buffer:
            if self._ended:
                return b""
            raise BlockingIOError
        data = bytes(self._buffer[:size])
        if not flags & MSG_PEEK:
            del self._buffer[: len(data)]
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        data = self.recv(nbytes or len(buffer), flags)
        buffer[: len(data)] = data
        return len(data)

    def send(self, data: Any, flags: int = 0) -> int:
        if self._shut or self._ended:
            raise ConnectionResetError("the other end is gone")
        if self.wire.torn and len(data) > 1 and self.wire.world.random.random() < self.wire.torn:
            data = data[: self.wire.world.random.randrange(1, len(data))]
        self.watch_sent(bytes(data))
        self.wire.to_broker(bytes(data))
        return len(data)

    def close(self) -> None:
        if not self._shut:
            self._shut = True
            self._reader = self._writer = None
            self.wire.close()

    # -- what the network and the loop do ---------------------------------------------------------

    def arrive(self, data: bytes) -> None:
        self._buffer += data
        self._poll()

    def end(self) -> None:
        self._ended = True
        self._poll()

    def watch_read(self, reader: Callable[[], object] | None) -> None:
        self._must_be_open(reader)
        self._reader = reader
        self._poll()

    def watch_write(self, writer: Callable[[], object] | None) -> None:
        self._must_be_open(writer)
        self._writer = writer
        self._poll()

    def _must_be_open(self, callback: object) -> None:
        if self._shut and callback is not None:
            raise OSError(errno.EBADF, "Bad file descriptor")

    def _poll(self) -> None:
        """Readiness as select tells it: again and again for as long as it lasts."""
        readable = self._reader is not None and (self._buffer or self._ended)
        if (readable or self._writer is not None) and not self._called:
            self._called = True
            self.wire._inside.call_soon(self._ready)

    def _ready(self) -> None:
        self._called = False
        if self._writer is not None:
            self._writer()
        if self._reader is not None and (self._buffer or self._ended):
            self._reader()
        self._poll()
