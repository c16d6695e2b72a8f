"""Events over HTTP: read, decode, submit, and answer once they are committed."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import msgspec
from aiohttp import web

from eventd.admission import Credentials
from eventd.clock import wall
from eventd.core.model import Delivery, Input, Refused, SourcePolicy
from eventd.errors import DecodeError, EventdError, Overloaded, OverShare, Stopping
from eventd.inbox import Inbox, Outcome, Submission
from eventd.sources.decoded import Decoded

KEPT_HEADERS = ("content-type", "idempotency-key", "webhook-id", "user-agent")
BODY_WITHIN = 15.0  # s for a body to arrive
RETRY_AFTER = (1, 5)  # s, jittered: refused senders must not come back together
INFLATE_STEP = 64 << 10  # bytes inflated at a time, so that a bomb is met early

_encode = msgspec.json.encode


class Meter(Protocol):
    """What is counted at the door."""

    def refused(self, source: str, reason: str, events: int) -> None:
        """Read, and not let in."""
        ...

    def turned_away(self, source: str, reason: str) -> None:
        """Refused before it was read."""
        ...

    def truncated(self, source: str, alerts: int) -> None:
        """The sender left alerts out."""
        ...


class Limits(msgspec.Struct, frozen=True):
    """What a request may ask for."""

    max_body: int = 8 << 20  # bytes, before and after inflating
    commit_within: float = 10.0  # s until a sender is told to come back


class Problem(Exception):
    """An answer of application/problem+json."""

    def __init__(self, status: int, reason: str, detail: str, **more: object) -> None:
        """`reason` is the closed set of the metrics' label."""
        super().__init__(detail)
        self.status, self.reason, self.detail, self.more = status, reason, detail, more


class Webhooks:
    """The handlers of `/v1/events` and `/v1/webhooks/{source}`."""

    def __init__(
        self,
        inbox: Inbox,
        decode: Callable[[Delivery], Decoded],
        policies: Mapping[str, SourcePolicy],
        meter: Meter,
        limits: Limits,
    ) -> None:
        """`policies` by name of the source; `events` is that of /v1/events."""
        self._inbox, self._decode, self._policies = inbox, decode, policies
        self._meter, self._limits = meter, limits
        self.credentials = Credentials()

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        return [
            web.post("/v1/events", self.events),
            web.post("/v1/webhooks/{source}", self.webhook),
        ]

    async def events(self, request: web.Request) -> web.Response:
        """POST /v1/events: native events."""
        return await self._take(request, self._policies["events"])

    async def webhook(self, request: web.Request) -> web.Response:
        """POST /v1/webhooks/{source}: whatever the source's decoder reads."""
        policy = self._policies.get(request.match_info["source"])
        if policy is None or policy.name == "events":
            self._meter.turned_away("other", "unknown_source")
            known = ", ".join(name for name in self._policies if name != "events")
            return problem(404, "no such webhook", f"configured are: {known}")
        return await self._take(request, policy)

    async def _take(self, request: web.Request, policy: SourcePolicy) -> web.Response:
        try:
            if not self.credentials.allows(request.headers.get("Authorization")):
                raise Problem(401, "unauthorized", "a bearer token is needed")  # noqa: TRY301
            payload = await self._body(request)
            return await self._submit(self._delivery(request, policy, payload))
        except Problem as no:
            self._meter.turned_away(policy.name, no.reason)
            return problem(no.status, no.reason, no.detail, **no.more)

    @staticmethod
    def _delivery(request: web.Request, policy: SourcePolicy, payload: bytes) -> Delivery:
        given = request.headers
        return Delivery(
            transport="http",
            received_at=wall(),
            payload=payload,
            source=policy.name,
            decoder=policy.decoder,
            method="POST",
            path=request.path,
            query=request.query_string,
            headers={name: given[name] for name in KEPT_HEADERS if name in given},
            quiet_for=policy.quiet_for,
            repeats_every=policy.repeats_every,
            volatile=policy.volatile,
        )

    async def _submit(self, delivery: Delivery) -> web.Response:
        meter, source = self._meter, delivery.source
        unreadable: DecodeError | None = None
        rejected: tuple[tuple[int, str], ...] = ()
        try:
            decoded = self._decode(delivery)
        except DecodeError as error:
            unreadable = error
            inputs: tuple[Input, ...] = (Refused(source, "decode", str(error)),)
        else:
            inputs, rejected = decoded.events, decoded.rejected
            if rejected:
                inputs = (*inputs, *(Refused(source, "invalid", e, i) for i, e in rejected))
            if decoded.truncated:
                meter.truncated(source, decoded.truncated)
            if not inputs:
                return accepted(0, 0, ())
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        try:
            self._inbox.put(Submission(inputs, partial(_settle, future), delivery))
        except Stopping:
            return unavailable("eventd is stopping")
        except Overloaded as error:
            reason = "share" if isinstance(error, OverShare) else "overload"
            meter.refused(source, reason, len(inputs))
            return unavailable(str(error))
        try:
            outcome = await self._committed(future)
        except EventdError as error:
            return unavailable(str(error) or "eventd is stopping")
        if unreadable is not None:
            where = {"field": unreadable.field} if unreadable.field else {}
            return problem(
                400, "unreadable", str(unreadable), expected=unreadable.expected, **where
            )
        good = outcome.accepted - len(rejected)
        if rejected and not good:
            rows = [{"index": index, "error": error} for index, error in rejected]
            return problem(400, "no event could be read", rejected[0][1], rejected=rows)
        return accepted(good, outcome.duplicates, rejected)

    async def _committed(self, future: asyncio.Future[Outcome]) -> Outcome:
        """Wait for the commit; a disk that is full is waited for only so long.

        What is given up here still waits, and may yet be committed: refused is not absent.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(self._limits.commit_within, _settle, future, Overloaded())
        try:
            return await future
        finally:
            deadline.cancel()

    async def _body(self, request: web.Request) -> bytes:
        limit = self._limits.max_body
        if (request.content_length or 0) > limit:
            raise Problem(413, "too_large", f"a body may have {limit} bytes")
        encoding = request.headers.get("Content-Encoding", "").lower()
        if encoding not in {"", "identity", "gzip", "deflate"}:
            raise Problem(415, "encoding", f"expected gzip or deflate, got {encoding[:40]!r}")
        try:
            if request.content.is_eof():
                body = request.content.read_nowait(-1)
            else:
                async with asyncio.timeout(BODY_WITHIN):
                    body = await _read(request, limit)
        except TimeoutError:
            raise Problem(408, "timeout", f"the body took over {BODY_WITHIN:g} s") from None
        if len(body) > limit:
            raise Problem(413, "too_large", f"a body may have {limit} bytes")
        return inflated(body, limit) if encoding in {"gzip", "deflate"} else body


def _settle(future: asyncio.Future[Outcome], result: Outcome | EventdError) -> None:
    if future.done():
        return
    if isinstance(result, EventdError):
        future.set_exception(result)
    else:
        future.set_result(result)


async def _read(request: web.Request, limit: int) -> bytes:
    parts = []
    size = 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > limit:
            raise Problem(413, "too_large", f"a body may have {limit} bytes")
        parts.append(part)
    return b"".join(parts)


def inflated(body: bytes, limit: int) -> bytes:
    """The body, gzip or zlib undone; Problem where it is neither or grows past the limit."""
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    parts: list[bytes] = []
    size = 0
    rest = body
    try:
        while rest and not inflater.eof:
            part = inflater.decompress(rest, INFLATE_STEP)
            rest = inflater.unconsumed_tail
            size += len(part)
            if size > limit:
                raise Problem(413, "too_large", f"inflated, a body may have {limit} bytes")
            parts.append(part)
    except zlib.error as error:
        raise Problem(400, "encoding", f"the body cannot be inflated: {error}") from None
    if not inflater.eof:
        raise Problem(400, "encoding", "the compressed body is cut short")
    return b"".join(parts)


def accepted(events: int, duplicates: int, rejected: tuple[tuple[int, str], ...]) -> web.Response:
    """202, after the commit."""
    if rejected:
        rows = [{"index": index, "error": error} for index, error in rejected]
        body = _encode({"accepted": events, "duplicates": duplicates, "rejected": rows})
    else:
        body = b'{"accepted":%d,"duplicates":%d,"rejected":[]}' % (events, duplicates)
    return web.Response(status=202, body=body, content_type="application/json")


def problem(status: int, title: str, detail: str, **more: object) -> web.Response:
    """An error as RFC 9457 has it."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return web.Response(status=status, body=_encode(body), content_type="application/problem+json")


def unavailable(detail: str) -> web.Response:
    """503: senders that retry only on 5xx lose nothing."""
    answer = problem(503, "try again", detail)
    answer.headers["Retry-After"] = str(random.randint(*RETRY_AFTER))
    return answer
