"""Events over HTTP: read, decode, submit, and answer once they are committed."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import msgspec
from aiohttp import web
from msgspec.structs import replace
from multidict import istr

from eventd.answers import Problem, not_let_in, problem, unavailable, unreadable
from eventd.clock import monotonic, wall
from eventd.core.model import Delivery, Input, Refused, SourcePolicy
from eventd.credentials import Credentials, Guesses
from eventd.errors import DecodeError, EventdError, Overloaded, OverShare, Stopping, StoreBroken
from eventd.inbox import CRASHED, FAILED, Inbox, Outcome, Submission
from eventd.intake import body_of, check_text, held, unpacked
from eventd.sources.decoded import KEY_HEADERS, MAX_UNREADABLE, Decoded
from eventd.sources.lobby import LARGE, Guest, Lobby

KEPT_HEADERS = ("content-type", "user-agent", *KEY_HEADERS)
MAX_HEADER = 256  # characters kept of a header; a key may have one less
LOBBY = 4  # largest bodies that may be read at once, or as many bytes of smaller ones
MAX_QUERY = 1_024  # characters of a query: it is kept with the delivery
# s until a sender is told that there is no room: who comes again at once, whatever Retry-After
# says, costs the others less
REFUSED_AFTER = (2.0, 3.0)

# aiohttp folds the case of a plain name at each look
_KEPT = tuple((name, istr(name)) for name in KEPT_HEADERS)
_encode = msgspec.json.encode

Settled = Outcome | EventdError  # an error is handed on, not raised; see `_committed`


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
        self._lobby = Lobby(LOBBY * limits.max_body)
        # what is to be committed, in order, and until when
        self._waiting: deque[tuple[float, asyncio.Future[Settled]]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self.credentials = Credentials()  # of sources that have none of their own
        self.own: Mapping[str, Credentials] = {}
        self.guesses = Guesses(meter)

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
            if not self.credentials.allows(request.headers, wall()):
                return self._not_let_in(request, "other", self.credentials)
            self._meter.turned_away("other", "unknown_source")
            known = ", ".join(name for name in self._policies if name != "events")
            return problem(404, "no such webhook", f"configured are: {known}")
        return await self._take(request, policy)

    async def _take(self, request: web.Request, policy: SourcePolicy) -> web.Response:
        try:
            return await self._let_in(request, policy)
        except Problem as no:
            self._meter.turned_away(policy.name, no.reason)
            return problem(no.status, no.reason, no.detail, **no.more)
        except Overloaded as full:
            why = str(full)
        # what has come of the body is let go of by now
        with held(request):
            await asyncio.sleep(random.uniform(*REFUSED_AFTER))
        return unavailable(why)

    async def _let_in(self, request: web.Request, policy: SourcePolicy) -> web.Response:
        credentials = self.own.get(policy.name, self.credentials)
        guest = Guest(self._lobby, policy.name)
        try:
            known = credentials.opens or credentials.allows(request.headers, wall())
            if not known and not credentials.signs:
                return self._not_let_in(request, policy.name, credentials)
            try:
                raw = await body_of(request, self._limits.max_body, guest.take)
            except Overloaded:
                self._meter.turned_away(policy.name, "overload")
                raise
            if not known and not credentials.allows_signed(request.headers, raw, wall()):
                return self._not_let_in(request, policy.name, credentials)
            if len(raw) > LARGE:
                await self._lobby.turn(policy.name)
            payload = unpacked(request, raw, self._limits.max_body)
            submitted = self._submit(self._delivery(request, policy, payload), guest)
            del raw, payload  # what it does not keep is not held here while it commits
            return await submitted
        finally:
            guest.leave()

    def _not_let_in(
        self, request: web.Request, source: str, credentials: Credentials
    ) -> web.Response:
        peer = request.remote or ""
        return not_let_in(self.guesses.wrong(source, peer, credentials, monotonic()))

    @staticmethod
    def _delivery(request: web.Request, policy: SourcePolicy, payload: bytes) -> Delivery:
        given = request.headers
        path, query = request.path, request.query_string
        headers = {name: given[key][:MAX_HEADER] for name, key in _KEPT if key in given}
        check_text(path, query, *headers.values())
        if len(query) > MAX_QUERY:
            raise Problem(414, "query", f"a query may have {MAX_QUERY} characters")
        return Delivery(
            transport="http",
            received_at=wall(),
            payload=payload,
            source=policy.name,
            decoder=policy.decoder,
            method="POST",
            path=path,
            query=query,
            headers=headers,
            quiet_for=policy.quiet_for,
            repeats_every=policy.repeats_every,
            volatile=policy.volatile,
        )

    async def _submit(self, delivery: Delivery, guest: Guest) -> web.Response:
        meter, source = self._meter, delivery.source
        refusal: web.Response | None = None
        decoded = Decoded(())
        try:
            decoded = self._decode(delivery)
        except DecodeError as error:
            # made at once: an error kept here would keep this frame, which has the delivery
            refusal = unreadable("unreadable", error)
            inputs: tuple[Input, ...] = (Refused(source, "decode", str(error)),)
            if len(delivery.payload) > MAX_UNREADABLE:
                delivery = replace(delivery, payload=b"")
        else:
            inputs = decoded.events
            if decoded.rejected:
                bad = (Refused(source, "invalid", error, at) for at, error in decoded.rejected)
                inputs = (*inputs, *bad)
            if not inputs:
                self._left_out(source, decoded.truncated)
                return accepted(0, 0, ())
        future: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
        try:
            self._inbox.put(Submission(inputs, partial(_settle, future), delivery))
        except Stopping:
            return unavailable("eventd is stopping")
        except Overloaded as error:
            reason = "share" if isinstance(error, OverShare) else "overload"
            meter.refused(source, reason, len(inputs))
            raise
        guest.leave()  # the inbox accounts for it now
        outcome = await self._committed(future)
        if isinstance(outcome, EventdError):
            return unavailable(str(outcome) or "eventd is stopping")
        if refusal is not None:
            return refusal
        if outcome.duplicates < outcome.accepted:  # else it came before, and was counted
            self._left_out(source, decoded.truncated)
        return _told(decoded, outcome)

    def _left_out(self, source: str, alerts: int) -> None:
        if alerts:
            self._meter.truncated(source, alerts)

    async def _committed(self, future: asyncio.Future[Settled]) -> Settled:
        """Wait for the commit; a disk that is full is waited for only so long.

        What is given up here still waits, and may yet be committed: refused is not absent. An error
        is returned: raised, it would keep its frames with the delivery, and they, by the future,
        the error, until the collector comes, which is minutes.
        """
        waiting, loop = self._waiting, future.get_loop()
        while waiting and waiting[0][1].done():
            waiting.popleft()
        at = loop.time() + self._limits.commit_within
        waiting.append((at, future))
        if self._alarm is None:
            self._alarm = loop.call_at(at, self._give_up, loop)
        outcome = await future
        if self._inbox.failed() and isinstance(outcome, Outcome):
            return StoreBroken(FAILED)  # meanwhile, which makes this no less durable
        return outcome

    def _give_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell those that have waited long enough; one alarm for all costs less than one each."""
        waiting, now = self._waiting, loop.time()
        while waiting and (waiting[0][1].done() or waiting[0][0] <= now):
            _settle(waiting.popleft()[1], Overloaded())
        self._alarm = loop.call_at(waiting[0][0], self._give_up, loop) if waiting else None


def _settle(future: asyncio.Future[Settled], result: Settled) -> None:
    if not future.done():
        future.set_result(result)


def _told(decoded: Decoded, outcome: Outcome) -> web.Response:
    """What became of each event of a delivery that could be read."""
    rejected = decoded.rejected
    if outcome.crashed:
        places = tuple(decoded.places())
        crashed = [(places[one], CRASHED) for one in outcome.crashed]
        rejected = tuple(sorted((*rejected, *crashed)))
    good = outcome.accepted - len(rejected)
    if rejected and not good and not outcome.crashed:
        rows = [{"index": index, "error": error} for index, error in rejected]
        return problem(400, "no event could be read", rejected[0][1], rejected=rows)
    return accepted(good, outcome.duplicates, rejected)


def accepted(events: int, duplicates: int, rejected: tuple[tuple[int, str], ...]) -> web.Response:
    """202, after the commit."""
    if rejected:
        rows = [{"index": index, "error": error} for index, error in rejected]
        body = _encode({"accepted": events, "duplicates": duplicates, "rejected": rows})
    else:
        body = b'{"accepted":%d,"duplicates":%d,"rejected":[]}' % (events, duplicates)
    return web.Response(status=202, body=body, content_type="application/json")
