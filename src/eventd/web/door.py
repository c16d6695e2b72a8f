"""The listening socket: who may hold a connection, for how long, and what the unreadable get."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Coroutine
from itertools import chain
from typing import Any, Protocol, TypeVar

import structlog
from aiohttp import EMPTY_PAYLOAD, StreamReader, hdrs, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import _ErrInfo
from msgspec import Struct

from eventd.answers import RETRY_AFTER, problem
from eventd.clock import monotonic
from eventd.intake import Spoilt
from eventd.web.handshake import Handshake, peer_of

HEADER_WITHIN = 10.0  # s; also how long a connection may be idle between requests
LINGER = 1.0  # s the rest of a refused body is read and dropped, so that its sender sees the answer
# bytes of a header, or of what follows a body, until it has to end: aiohttp would hold 128 fields
# of 8,190 bytes, and twice
MAX_HEADER = 32 << 10
# Bytes that may come in large pieces in a round of the loop: each of a crowd's connections may have
# a quarter of a megabyte ready, which all would be read before anybody looks at any of it.
ROUND = 8 << 20
LARGE = 16 << 10  # bytes
TURN = 32  # connections that are read again in a round
READ_WITHIN = 30.0  # s a client may not read its answer
MAX_WORDS = 160  # characters of what is wrong with a request
BACKLOG = 1_024
# s until connections are looked through again of which none could give way: a look takes 0.7 ms
# where there are 3,072, and whoever is refused may come again at once
LOOK_AGAIN = 0.05
SERVER = "eventd"  # without a version, and without the library's

_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\nContent-Length: 0\r\n\r\n"

_LINE_TOO_LONG = HttpProcessingError(code=400, message="line too long")
_TOO_LARGE = HttpProcessingError(code=431, message=f"a header may have {MAX_HEADER} bytes")

T = TypeVar("T")

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Meter(Protocol):
    """What is counted of connections."""

    def turned_away(self, source: str, reason: str) -> None:
        """A request was refused before it was read."""
        ...

    def cut_off(self, reason: str) -> None:
        """A connection was closed on its peer."""
        ...


class Bounds(Struct, frozen=True):
    """How many connections there may be."""

    connections: int = 4_096
    per_peer: int = 3_072


class Door:
    """Listens, and keeps the connections within bounds, from before they agree on TLS.

    Where a peer has its number, or all together have theirs, the longest known connection that
    waits for its client gives way: one that never said a request, else one between requests, else
    one whose body is still to come. So half-open ones do not lock out the others. Where all wait
    for us, the new one is told 503, or over TLS closed: a handshake costs more than an answer.

    Where much comes at once, connections are read by turns; who said little so far never waits.
    """

    def __init__(self, runner: web.AppRunner, bounds: Bounds, meter: Meter) -> None:
        """`runner` is set up."""
        self._runner, self._bounds, self.meter = runner, bounds, meter
        # the longest known first
        self._all: dict[Guest, None] = {}
        self._peers: dict[str, dict[Guest, None]] = {}
        # of a peer, or "" for all: a look before then would find nobody
        self._busy_until: dict[str, float] = {}
        self._listener: asyncio.AbstractServer | None = None
        self._came = 0  # bytes in large pieces, in this round of the loop
        self._counting = False
        self._held: deque[Connection] = deque()  # not read for now

    def __len__(self) -> int:
        return len(self._all)

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Take connections."""
        loop = asyncio.get_running_loop()
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner is not set up")

        def come() -> asyncio.Protocol:
            connection = Connection(self, server, loop)
            return connection if tls is None else Handshake(self, connection, tls, loop)

        self._listener = await loop.create_server(come, host, port, backlog=BACKLOG)

    async def close(self) -> None:
        """Take no more; let the requests under way finish."""
        if self._listener is not None:
            self._listener.close()
        for one in list(self._all):
            if isinstance(one, Handshake):
                one.give_way()
        await self._runner.cleanup()

    def enter(self, connection: Guest, peer: str) -> bool:
        """Whether there is room for it, made where it has to be."""
        mine = self._peers.get(peer, {})
        if len(mine) >= self._bounds.per_peer and not self._make_room(mine, peer):
            return False
        if len(self._all) >= self._bounds.connections and not self._make_room(self._all, ""):
            return False
        self._peers.setdefault(peer, {})[connection] = None
        self._all[connection] = None
        return True

    def leave(self, connection: Guest, peer: str) -> None:
        """It is closed."""
        if connection in self._all:
            del self._all[connection]
            mine = self._peers[peer]
            del mine[connection]
            if not mine:
                del self._peers[peer]
                self._busy_until.pop(peer, None)

    def came(self, size: int, loop: asyncio.AbstractEventLoop) -> None:
        """A large piece of so many bytes: where it is one too many, the others wait."""
        if not self._counting:
            self._counting = True
            loop.call_soon(self._next_round, loop)
        before, self._came = self._came, self._came + size
        if before <= ROUND < self._came:
            for one in self._all:
                if isinstance(one, Connection) and one.can_wait:
                    one.hold()
                    self._held.append(one)

    def _next_round(self, loop: asyncio.AbstractEventLoop) -> None:
        self._came = 0
        for _ in range(min(TURN, len(self._held))):
            self._held.popleft().release()
        self._counting = bool(self._held)
        if self._counting:
            loop.call_soon(self._next_round, loop)

    def _make_room(self, connections: dict[Guest, None], whose: str) -> bool:
        now = monotonic()
        if now >= self._busy_until.get(whose, 0.0):
            unused = (one for one in connections if one.unused)
            idle = (one for one in connections if one.waits)
            slow = (one for one in connections if one.receives)
            chosen = next(chain(unused, idle, slow), None)
            if chosen is not None:
                self.meter.cut_off("crowded")
                chosen.give_way()
                return True
            self._busy_until[whose] = now + LOOK_AGAIN
        self.meter.cut_off("refused")
        return False


_receive = web.RequestHandler.data_received  # for every piece of a request that comes


class Connection(web.RequestHandler):
    """One client's connection.

    aiohttp's own timer closes it where the header of a request does not come in time, be it that
    nothing comes or that it drips; a request under way has deadlines of its own.
    """

    __slots__ = (
        "_body",
        "_brief",
        "_door",
        "_holds",
        "_large",
        "_peer",
        "_spoilt",
        "_unended",
        "_unread",
        "bare",
    )

    def __init__(self, door: Door, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            # what came together must not end together: 2,000 at once hold up the loop
            keepalive_timeout=HEADER_WITHIN * random.uniform(0.8, 1.0),
            lingering_time=LINGER,
            access_log=None,  # type: ignore[arg-type] # as AppRunner does it
            auto_decompress=False,  # webhooks inflate within their limit
        )
        self._door, self._peer = door, ""
        self._unread: asyncio.TimerHandle | None = None
        self.bare: asyncio.Transport | None = None  # that TLS goes over
        self._body: StreamReader = EMPTY_PAYLOAD  # of the last request
        self._spoilt: StreamReader | None = None  # the body that cannot be read on
        self._unended = 0  # bytes since anything came of them
        self._large = True  # a piece of the last request was, or there was none yet
        self._brief = False  # it says little at a time
        self._holds = 0  # reasons not to read it for now

    @property
    def waits(self) -> bool:
        """No request is under way."""
        return self._current_request is None and not self._messages

    @property
    def receives(self) -> bool:
        """The body of a request is still to come."""
        return self._current_request is not None and not self._current_request.content.is_eof()

    @property
    def unused(self) -> bool:
        """It never had a request, and has none under way."""
        return not self._request_count

    def give_way(self) -> None:
        """Close at once, for another."""
        self._door.leave(self, self._peer)
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()  # over TLS it would wait for a farewell

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, or tell it that there is no room."""
        self._peer = peer_of(transport)
        if self._door.enter(self, self._peer):
            super().connection_made(transport)
            if self.transport is not None:
                # an answer is done when the system has all of it: the rest could wait for ever
                self.transport.set_write_buffer_limits(high=1)
            return
        self._force_close = True
        BaseProtocol.connection_made(self, transport)
        if self.transport is not None:
            self.transport.write(_FULL % random.randint(*RETRY_AFTER))
            self.transport.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """It makes room."""
        self._door.leave(self, self._peer)
        self._be_patient()
        super().connection_lost(exc)
        # which know this: the collector would have to come for it
        self._body, self._spoilt = EMPTY_PAYLOAD, None

    def data_received(self, data: bytes) -> None:
        """Read on, unless that is a header without an end."""
        if len(data) > LARGE:
            self._large, self._brief = True, False
            self._door.came(len(data), self._loop)
        if len(data) <= MAX_HEADER:
            self._read_on(data)
            return
        # in pieces: in one that ends a message nobody knows how much of the next there is
        for start in range(0, len(data), MAX_HEADER):
            self._read_on(data[start : start + MAX_HEADER])

    def _read_on(self, piece: bytes) -> None:
        if self._unended > MAX_HEADER:
            return
        requests, taken = self._request_count, self._body.total_bytes
        _receive(self, piece)
        if self._request_count > requests:
            message, body = self._messages[-1]
            self._unended = 0
            if isinstance(message, _ErrInfo):
                self._unended = MAX_HEADER + 1  # nobody knows what comes behind it
                exc = _bare(message)
                self._messages[-1] = _ErrInfo(message.status, exc, ""), body
                self._spoil(exc)
            self._body = body
            self._brief, self._large = not self._large, len(piece) > LARGE
        elif self._body.total_bytes > taken or self._buffer_paused:
            self._unended = 0
        else:
            self._unended += len(piece)
            if self._unended > MAX_HEADER:
                self._refuse()

    def _refuse(self) -> None:
        """As aiohttp does what it cannot read: in its turn."""
        self._spoil(_TOO_LARGE)
        self._request_count += 1
        self._messages.append((_ErrInfo(_TOO_LARGE.code, _TOO_LARGE, ""), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _spoil(self, exc: HttpProcessingError) -> None:
        """Tell who reads the body under way, or will, that nothing more comes of it."""
        body, request = self._body, self._current_request
        read = request is not None and request.content is body
        if not body.is_eof() and (read or any(one is body for _, one in self._messages)):
            status, _, detail = _malformed(exc)
            self._spoilt = body
            body.set_exception(Spoilt(status, "malformed", detail))

    @property
    def can_wait(self) -> bool:
        """It is read, and may have much to say."""
        return not self._holds and not self._brief

    def hold(self) -> None:
        """Do not read it, until as many releases."""
        self._holds += 1
        self._pause_transport_reading()

    def release(self) -> None:
        """Read it again, unless its buffer is full."""
        self._holds -= 1
        if not self._reading_paused and not self._buffer_paused:
            self._resume_transport_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """As aiohttp does; it asks so after each body, nearly always of who was not paused."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def _resume_transport_reading(self) -> None:
        if not self._holds:
            super()._resume_transport_reading()

    def pause_writing(self) -> None:
        """The client does not read its answer: not for ever."""
        super().pause_writing()
        self._unread = self._loop.call_later(READ_WITHIN, self._give_up)

    def resume_writing(self) -> None:
        """It does."""
        self._be_patient()
        super().resume_writing()

    def _be_patient(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _give_up(self) -> None:
        self._door.meter.cut_off("unread")
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What cannot be read is its sender's fault and no line in the log; the rest is ours."""
        if isinstance(exc, HttpProcessingError):
            self._door.meter.turned_away("other", "malformed")
            answer = problem(*_malformed(exc))
        elif isinstance(exc, ConnectionError | web.RequestPayloadError):
            answer = problem(400, "cut short", "the request was cut short")
        elif not request.headers.get("Expect", "").isascii():
            # aiohttp quotes it, and cannot write what is no UTF-8
            answer = problem(417, "expectation failed", "only 100-continue may be expected")
        else:
            _log.error("http.failed", path=request.path, exc_info=exc)
            if request.writer.output_size > 0:
                raise ConnectionError("an answer has begun already")
            answer = problem(500, "internal error", "eventd has written down what it was")
        answer.force_close()
        return answer

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Answer in our words, also where aiohttp found nothing to ask."""
        if isinstance(resp, web.HTTPException):
            resp.__traceback__ = None  # whose frames know it, and what there is of the body
            plain = problem(resp.status, resp.reason.lower(), resp.text or resp.reason)
            if "Allow" in resp.headers:
                plain.headers["Allow"] = resp.headers["Allow"]
            resp = plain
        resp.headers[hdrs.SERVER] = SERVER
        if self._spoilt is not None and request.content is self._spoilt:
            self._spoilt.feed_eof()  # or aiohttp would read on
            resp.force_close()
        if hdrs.UPGRADE in request.headers:
            resp.force_close()  # aiohttp dropped what came behind it: to be sent again
        finish = super().finish_response(request, resp, start_time)
        return finish if self.bare is None else self._be_taken(finish, self.bare)

    async def _be_taken(self, finish: Coroutine[Any, Any, T], bare: asyncio.Transport) -> T:
        """TLS does not wait for what it passed on, and its farewell would cut that off."""
        told = await finish
        secure = self.transport
        if secure is None:
            return told
        while self.connected and bare.get_write_buffer_size():
            secure.set_write_buffer_limits(high=0)  # pauses us until all is passed on
            await self._drain_helper()
            if self.connected:
                secure.set_write_buffer_limits(high=1)
        return told


Guest = Connection | Handshake


def _bare(error: _ErrInfo) -> HttpProcessingError:
    """Its exception without what that keeps of the request, until the collector comes."""
    exc = error.exc
    exc.__traceback__ = exc.__context__ = exc.__cause__ = None
    if isinstance(exc, LineTooLong):
        return _LINE_TOO_LONG
    return HttpProcessingError(code=error.status, message=error.message[:MAX_WORDS])


def _malformed(exc: HttpProcessingError) -> tuple[int, str, str]:
    """Status, title and detail."""
    if exc is _LINE_TOO_LONG:
        return 431, "header too large", "a line of the header may have 8190 bytes"
    if exc is _TOO_LARGE:
        return 431, "header too large", exc.message
    words = exc.message.partition("\n")[0].rstrip(": ")
    return 400, "malformed", f"this is no HTTP: {words[:MAX_WORDS]}"
