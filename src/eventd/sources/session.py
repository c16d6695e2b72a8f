"""One connection to an MQTT broker: messages in, acknowledgements back after the commit."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import Callable
from datetime import datetime
from functools import partial

from aiomqtt import MqttError
from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTProtocolVersion

from eventd.clock import wall
from eventd.core.model import Delivery, Input
from eventd.errors import EventdError, Stopping
from eventd.inbox import Inbox, Outcome, Submission
from eventd.sources.frames import (
    Assembly,
    Malformed,
    Publish,
    cut,
    is_publish,
    packet_end,
    released,
)

MAX_PACKET = 8 * 1024 * 1024 + 128 * 1024  # a payload as large as an HTTP body, and its envelope
_CHUNK = 65_536  # bytes looked at in one turn of the loop: some 300 messages, a few ms
_LOOK_AGAIN = 0.01  # s in which the rest of a control packet should have come, or room to write
_HEARD_AFTER = 4_096  # bytes of a message after which the broker lives; a slower one is silent
_ACK = struct.Struct("!BBH")
_ACKS = {1: 0x40, 2: 0x50}  # PUBACK and PUBREC, by QoS

Admit = Callable[[Publish, datetime], tuple[Delivery, tuple[Input, ...]]]


class Congested(MqttError):
    """The inbox stayed full for a whole keep-alive: let the broker keep the rest for a while."""


class Session:
    """Takes messages of one connection and acknowledges them there, in the order they came.

    Invariant: what was taken at QoS 1 or 2 is acknowledged after its commit, on this connection or
    not at all; then the broker sends it again. While the inbox is crowded and acknowledgements
    are owed, the socket is not read. QoS 0 fills half of the inbox at most; the rest is dropped.
    We subscribe at QoS 1; QoS 2 comes from a filter that an earlier user of the session left.
    """

    def __init__(
        self, library: Client, inbox: Inbox, admit: Admit, dropped: Callable[[], None]
    ) -> None:
        """`admit` turns a message into inputs; `dropped` is told of each QoS 0 message lost."""
        self._library, self._inbox, self._admit, self._dropped = library, inbox, admit, dropped
        self._v5 = library.protocol == MQTTProtocolVersion.MQTTv5
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = None
        self._reads = False
        self._again: asyncio.Handle | None = None
        self._assembly: Assembly | None = None
        self._unheard = 0  # bytes of it since the library was told that the broker lives
        self._acks: list[bytes] = []  # of what was committed
        self._owed = 0  # acknowledgements
        self._none_owed = asyncio.Event()
        self._trouble = asyncio.Event()  # crowded, or failed
        self._failure = ""
        self._holding = False
        self._ended = False

    def attach(self, sock: socket.socket) -> None:
        """Take over reading; to be called before a byte has come in."""
        if self._ended:
            self._library.on_disconnect = None
            self._library.disconnect()  # connected after everybody gave up waiting for it
            return
        self._sock = sock
        self._resume()

    async def watch(self) -> None:
        """Pause and resume; raise MqttError when the connection has to be given up."""
        while True:
            await self._trouble.wait()
            self._trouble.clear()
            if self._failure:
                raise MqttError(self._failure)
            try:
                async with asyncio.timeout(self._library.keepalive):
                    await self._inbox.room()
            except TimeoutError:
                raise Congested("the inbox stayed full") from None
            self._resume()

    def hold(self) -> None:
        """Take nothing more; what still comes is for the next connection."""
        self._holding = True

    async def settled(self) -> None:
        """Return when everything taken has been acknowledged."""
        while self._owed:
            self._none_owed.clear()
            await self._none_owed.wait()

    def end(self) -> None:
        """Acknowledge nothing from now on: the connection is gone."""
        self._ended = True

    # -- reading --------------------------------------------------------------------------

    def _resume(self) -> None:
        sock = self._sock
        if sock is None or sock.fileno() < 0 or self._ended:
            return
        self._reads = True
        self._loop.add_reader(sock.fileno(), self._read)
        self._read_on(sock)

    def _read_on(self, sock: socket.socket) -> None:
        """Come again for what TLS has decrypted, which does not make the socket readable."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._reads and isinstance(sock, ssl.SSLSocket) and sock.pending():
            self._again = self._loop.call_soon(self._read)

    def _pause(self) -> None:
        self._reads = False
        if self._sock is not None and self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())

    def _paused_if_crowded(self) -> bool:
        if not self._owed or not self._inbox.crowded:
            return False
        self._pause()
        self._trouble.set()
        return True

    def _read(self) -> None:
        sock, assembly = self._sock, self._assembly
        if sock is None:
            return
        try:
            if assembly is None:
                data = sock.recv(_CHUNK, socket.MSG_PEEK)
            else:
                data = sock.recv(min(assembly.missing, _CHUNK))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            if not data:
                self._library.loop_read()  # it meets the same end, and tells everyone
            elif assembly is not None:
                self._assemble(assembly, data)
            elif is_publish(data[0]):
                self._cut(sock, data)
            else:
                self._give_way(data)
        except Malformed as e:
            self._fail(str(e))
        self._heed_error(sock)
        self._read_on(sock)

    def _heed_error(self, sock: socket.socket) -> None:
        """Give up a connection that is reset, also where there is more of it to read.

        uvloop calls once for an error, and never again for that socket.
        """
        if sock.fileno() >= 0 and (code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            self._fail(f"cut off: {os.strerror(code)}")

    def _cut(self, sock: socket.socket, peeked: bytes) -> None:
        """Take the whole messages at the front, and no byte more from the socket."""
        now = wall()
        at = 0
        try:
            while (found := cut(peeked, at, v5=self._v5)) is not None:
                publish, at = found
                self._take(publish, now)
                if self._paused_if_crowded():
                    break
        finally:
            if at:
                sock.recv(at)
                self._hear()
        if not at:
            self._assembly = Assembly(MAX_PACKET)
            self._assembly.add(sock.recv(len(peeked)))

    def _assemble(self, assembly: Assembly, data: bytes) -> None:
        assembly.add(data)
        self._unheard += len(data)
        if assembly.missing:
            if self._unheard >= _HEARD_AFTER:  # a slow line must not begin it again and again
                self._hear()
        else:
            self._assembly = None
            self._hear()
            self._take(assembly.publish(v5=self._v5), wall())
            self._paused_if_crowded()

    def _hear(self) -> None:
        """The broker lives, which the library knows of what it reads itself alone.

        One that saves with every message is long about a ping behind our acknowledgements; given
        up it would send again all that was on its way, and be longer still.
        """
        self._library._ping_t = 0.0  # noqa: SLF001 - it waits for no answer
        self._unheard = 0

    def _give_way(self, peeked: bytes) -> None:
        """Let the library read the packet at the front, once it is whole.

        Of a half it would keep the place, and the bytes that we meet next could be anything.
        """
        if 0 < packet_end(peeked, 0) <= len(peeked):
            self._library.loop_read()
            if mid := released(peeked):
                self._library.ack(mid, 2)  # PUBCOMP
        elif len(peeked) < _CHUNK:
            self._pause()
            self._loop.call_later(_LOOK_AGAIN, self._resume)
        else:
            raise Malformed("a control packet is larger than 64 kB")

    def _take(self, publish: Publish, received_at: datetime) -> None:
        if self._holding:
            return
        if not publish.qos and self._inbox.crowded:
            self._dropped()
            return
        delivery, inputs = self._admit(publish, received_at)
        done = partial(self._settle, publish.mid, publish.qos) if publish.qos else _owe_nothing
        try:
            self._inbox.put(Submission(inputs, done, delivery), force=True)
        except Stopping:
            self.hold()
            return
        if publish.qos:
            self._owed += 1

    def want_write(self, sock: socket.socket) -> None:
        """Let the library write as soon as the socket takes it."""
        if sock.fileno() < 0:
            return  # closed in the same turn; its number may be another's by now
        try:
            self._loop.add_writer(sock.fileno(), self._library.loop_write)
        except RuntimeError:  # uvloop watches no socket on which there was an error
            self._library.loop_write()  # it meets the same error, and tells everyone

    # -- acknowledging --------------------------------------------------------------------

    def _settle(self, mid: int, qos: int, result: Outcome | EventdError) -> None:
        if self._ended:
            return
        if isinstance(result, EventdError):
            # a later acknowledgement would be out of order, and this one must never be sent
            self._fail(str(result))
            return
        if not self._acks:
            self._loop.call_soon(self._acknowledge)
        self._acks.append(_ACK.pack(_ACKS[qos], 2, mid))

    def _acknowledge(self) -> None:
        """Send what the last commit has settled, in one go; what finds no room waits."""
        if self._ended or self._inbox.failed() or self._sock is None:
            return
        sent = 0 if self._library.want_write() else self._send(self._sock, b"".join(self._acks))
        del self._acks[:sent]
        self._owed -= sent
        if self._acks:
            self._loop.call_later(_LOOK_AGAIN, self._acknowledge)
        elif not self._owed:
            self._none_owed.set()

    def _send(self, sock: socket.socket, acks: bytes) -> int:
        """How many went out whole."""
        try:
            whole, torn = divmod(sock.send(acks), _ACK.size)
        except BlockingIOError:
            return 0
        except ssl.SSLWantWriteError:
            whole, torn = 0, 1  # TLS has begun, and the library may not write before it ends
        except OSError as error:
            self._fail(f"cut off: {error.strerror}")
            return 0
        if torn:
            self._fail("an acknowledgement was torn: the broker does not read")
        return whole

    def _fail(self, why: str) -> None:
        self._ended = True
        self._failure = why
        self._pause()
        self._trouble.set()


def _owe_nothing(_result: Outcome | EventdError) -> None:
    """QoS 0 is not acknowledged."""
