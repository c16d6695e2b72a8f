"""A request's body, within its limits; whatever is wrong with it is its sender's to know."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Protocol, runtime_checkable

from aiohttp import HttpVersion11, hdrs, web

from eventd.answers import Problem

BODY_WITHIN = 10.0  # s for a body to arrive: a dripping one must not hold its connection
INFLATE_STEP = 64 << 10  # bytes inflated at a time, so that a bomb is met early
MAX_MEMBERS = 10_000  # of a gzip body: as many as events; each costs a copy of up to a step
PACKED = frozenset({"gzip", "deflate"})
# Said by senders that do not say what they send.
UNTYPED = frozenset({"", "application/octet-stream"})


class Spoilt(Exception):
    """What comes of a body cannot be read on: with the status, the reason and the detail."""


async def body_of(
    request: web.Request, limit: int, take: Callable[[int], None] = lambda _size: None
) -> bytes:
    """The body as it came, at most `limit` bytes of it. Raises Problem.

    `take` is told of the bytes as they come, and may raise where there is no room for them.
    """
    _check_size(request.content_length or 0, limit)
    headers = request.headers
    given = headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    if given not in UNTYPED and "json" not in given.partition("/")[2]:
        raise Problem(415, "type", f"expected application/json, got {given[:80]!r}")
    if hdrs.TRANSFER_ENCODING in headers:
        if request.version < HttpVersion11:
            # RFC 9112, 6.1: the framing is faulty; somebody before us may have read another body
            raise Problem(400, "framing", "HTTP/1.0 knows no Transfer-Encoding")
        if (coding := _listed(request, hdrs.TRANSFER_ENCODING)) not in {"", "chunked"}:
            # not the 501 of RFC 9112: it would be sent again and again
            raise Problem(400, "framing", f"expected chunked, got {coding[:40]!r}")
    encoding = _encoding(request)
    if encoding not in PACKED and encoding not in {"", "identity"}:
        raise Problem(415, "encoding", f"expected gzip or deflate, got {encoding[:40]!r}")
    try:
        if request.content.is_eof():
            body = request.content.read_nowait(-1)
            _check_size(len(body), limit)
            take(len(body))
        else:
            # what came together must not end together: 2,000 at once hold up the loop
            async with asyncio.timeout(BODY_WITHIN * random.uniform(0.8, 1.0)):
                body = await _read(request, limit, take)
    except Spoilt as why:
        why.__traceback__ = None  # as below
        raise Problem(*why.args) from None
    except TimeoutError:
        raise Problem(408, "timeout", f"the body took over {BODY_WITHIN:g} s") from None
    except (ConnectionError, web.RequestPayloadError) as error:
        error.__traceback__ = None  # the stream keeps it, and it what has come of the body
        raise Problem(400, "cut_short", "the body was cut short") from None
    return body


@runtime_checkable
class Holdable(Protocol):
    """A connection that need not be read for a while, as `web.door` makes them."""

    def hold(self) -> None:
        """Do not read it, until as many releases."""
        ...

    def release(self) -> None:
        """Read it again."""
        ...


@contextmanager
def held(request: web.Request) -> Iterator[None]:
    """Meanwhile nothing more of its body is taken in."""
    connection: object = request.protocol
    if not isinstance(connection, Holdable):
        yield
        return
    connection.hold()
    try:
        yield
    finally:
        connection.release()


def check_text(*texts: str) -> None:
    """Raise Problem for bytes that are no UTF-8: they would be kept with the delivery, as text."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise Problem(400, "not_utf8", "path, query or a header is not UTF-8") from None


def unpacked(request: web.Request, body: bytes, limit: int) -> bytes:
    """What `body_of` gave, the request's gzip or deflate undone. Raises Problem."""
    return inflated(body, limit) if _encoding(request) in PACKED else body


def inflated(body: bytes, limit: int) -> bytes:
    """The body, zlib or each member of its gzip undone; Problem where it grows past the limit.

    Also where it is neither, or has anything behind its end.
    """
    whole = BytesIO()
    rest = memoryview(body)
    try:
        for _ in range(MAX_MEMBERS):
            inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
            while not inflater.eof:
                if not rest:
                    raise Problem(400, "encoding", "the compressed body is cut short")
                step = rest[:INFLATE_STEP]
                part = inflater.decompress(step, INFLATE_STEP)
                left = inflater.unused_data or inflater.unconsumed_tail
                rest = rest[len(step) - len(left) :]
                if whole.tell() + len(part) > limit:
                    raise Problem(413, "too_large", f"inflated, a body may have {limit} bytes")
                whole.write(part)
            if not rest:
                return whole.getvalue()
    except zlib.error as error:
        raise Problem(400, "encoding", f"the body cannot be inflated: {error}") from None
    raise Problem(413, "too_large", f"a gzip body may have {MAX_MEMBERS} members")


def _encoding(request: web.Request) -> str:
    encoded = hdrs.CONTENT_ENCODING in request.headers  # most are not
    return _listed(request, hdrs.CONTENT_ENCODING) if encoded else ""


def _listed(request: web.Request, header: str) -> str:
    """What stands in all lines of a list, as one."""
    return ", ".join(request.headers.getall(header, ())).lower()


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise Problem(413, "too_large", f"a body may have {limit} bytes")


async def _read(request: web.Request, limit: int, take: Callable[[int], None]) -> bytes:
    parts: list[bytes] = []  # what is refused is never joined, nor copied as it grows
    size = 0
    async for part in request.content.iter_any():
        size += len(part)
        _check_size(size, limit)
        take(len(part))
        parts.append(part)
    return b"".join(parts)
