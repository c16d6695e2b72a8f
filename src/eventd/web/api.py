"""The HTTP API: parse, then query and show, or submit and answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from itertools import starmap
from typing import TypeVar

import msgspec
from aiohttp import web

from eventd.admission import (
    ACTIONS,
    KEY_HEADER,
    MAX_COMMAND,
    Detaching,
    Ending,
    Judging,
    Merging,
    Silencing,
    Splitting,
    command_from,
)
from eventd.answers import Problem, not_let_in, problem, unavailable, unreadable
from eventd.clock import monotonic, wall
from eventd.core.labels import brief, severity_of
from eventd.core.model import (
    Alert,
    AlertSuppressed,
    CommandRejected,
    Delivery,
    Fact,
    IncidentSplit,
    IncidentState,
    Reason,
    SilenceAdded,
    Status,
)
from eventd.core.rules.streams import VALUES, Hearing
from eventd.credentials import Credentials, Guesses
from eventd.errors import DecodeError, EventdError, StoreBroken, StoreFull
from eventd.inbox import FAILED
from eventd.intake import body_of, check_text, unpacked
from eventd.runtime import Runtime
from eventd.web import views
from eventd.web.openapi import Route, document
from eventd.web.pages import detail, encode, page
from eventd.web.questions import Reader, State

V = TypeVar("V", bound=msgspec.Struct)
MAX_LIMIT, DEFAULT_LIMIT = 1_000, 100
COMMIT_WITHIN = 10.0  # s a command is waited for
FRESH_WITHIN = 5.0  # s rows are waited for; below the 10 s of most clients

_NUMBER = re.compile(r"[0-9]{1,4}")  # str.isdigit also takes what int does not
# What a page may begin after: the id of the last item of the one before, in the order of the list.
_FINGERPRINT = re.compile(r"[0-9a-f]{32}")
_INCIDENT = re.compile(r"INC-[0-9]{1,18}")
_SILENCE = re.compile(r"SIL-[0-9]{1,18}")
_WINDOW = re.compile(r"MNT-[0-9]{1,18}")
_ROW = re.compile(r"[0-9]{1,18}")
_GAP = re.compile(r"([0-9]{1,18}):(ci|service):(.*)", re.DOTALL)
_NEWEST = 1 << 62  # beyond any id
MAX_GAP = 256  # characters of a name in `after`: in a URL up to 3 KiB, of the 8 a line may have
# What waits is still committed once that can be, though nobody waits for the answer any more.
_LATER = "it may still be: look, or send it again with the same Idempotency-Key"
# The parameters that take one of few words.
CHOICES = {
    "state": tuple(one.value for one in IncidentState),
    "status": (Status.FIRING.value, Status.CLEARED.value),
    "kind": ("ci", "service"),
}


class BadRequest(Exception):
    """What is wrong with a query."""

    def __init__(self, field: str, detail: str) -> None:
        """Name the parameter."""
        super().__init__(detail)
        self.field = field


class Api:
    """Handlers under /api/v1."""

    def __init__(
        self, runtime: Runtime, reader: Reader, credentials: Credentials, guesses: Guesses
    ) -> None:
        """Reads come from `reader`, commands go through `runtime`."""
        self._runtime, self._reader = runtime, reader
        self._credentials, self._guesses = credentials, guesses
        self._plotting = asyncio.Lock()
        self.table = self._table()
        self._document = encode(document(self.table, CHOICES))

    def routes(self) -> list[web.RouteDef]:
        """For the application; the OpenAPI document is made of the same table."""
        return [
            web.route(one.method, one.path, self._guarded(one.handler)) for one in self.table
        ] + [web.get("/api/v1/openapi.json", self._guarded(self._openapi))]

    def _table(self) -> tuple[Route, ...]:
        paging = ("limit", "after")
        incident_filters = ("state", "priority", "service", "rule", *paging)
        alert_filters = (
            "status", "severity", "service", "ci", "name", "source", "incident", *paging,
        )  # fmt: skip
        base = "/api/v1"
        # of an incident that is gone: a verdict, and any command that comes again with its key
        gone = (200, views.JudgedView)
        return (
            Route("GET", f"{base}/incidents", "Incidents, newest first", self.incidents,
                  views.IncidentView, incident_filters, many=True),
            Route("GET", f"{base}/incidents/{{id}}", "One incident: timeline, alerts, reasons",
                  self.incident, views.IncidentDetail),
            *(
                Route("POST", f"{base}/incidents/{{id}}/{action}", f"{action} an incident".title(),
                      self.act, views.IncidentView, body=body, also=(gone,))
                for action, body in ACTIONS.items()
            ),
            Route("POST", f"{base}/incidents/{{id}}/merge", "Merge an incident into another",
                  self.act, views.IncidentView, body=Merging, also=(gone,)),
            Route("POST", f"{base}/incidents/{{id}}/split", "Make some of its alerts their own one",
                  self.split, views.IncidentView, body=Splitting, status=201,
                  also=((200, views.IncidentView), gone)),
            Route("POST", f"{base}/incidents/{{id}}/detach", "Take an alert out of an incident",
                  self.act, views.IncidentView, body=Detaching, also=(gone,)),
            Route("POST", f"{base}/incidents/{{id}}/verdict", "Say whether it was a false alarm",
                  self.act, views.IncidentView, body=Judging, also=(gone,)),
            Route("GET", f"{base}/alerts", "Alerts by fingerprint", self.alerts,
                  views.AlertView, alert_filters, many=True),
            Route("GET", f"{base}/alerts/{{fingerprint}}", "One alert, and why it is where it is",
                  self.alert, views.AlertDetail),
            Route("GET", f"{base}/streams", "What `anomaly` rules score, by rule and key",
                  self.streams,
                  views.ScoreView, ("rule", *paging), many=True),
            Route("GET", f"{base}/streams/{{id}}/plot.svg", "Its latest values and scores, drawn",
                  self.plot, None, content="image/svg+xml"),
            Route("GET", f"{base}/silences", "Silences, newest first", self.silences,
                  views.SilenceView, paging, many=True),
            Route("POST", f"{base}/silences", "Silence what matches", self.silence,
                  views.SilenceView, body=Silencing, status=201, also=((200, views.AgainView),)),
            Route("DELETE", f"{base}/silences/{{id}}", "End a silence", self.end_silence, None,
                  body=Ending, status=204),
            Route("GET", f"{base}/maintenance", "Maintenance windows, newest first",
                  self.maintenance, views.MaintenanceView, paging, many=True),
            Route("GET", f"{base}/audit", "Who did what, and who was not let in, newest first",
                  self.audit, views.ActView, paging, many=True),
            Route("GET", f"{base}/rules", "Rules in force, in order", self.rules,
                  views.RuleView, paging, many=True),
            Route("GET", f"{base}/inventory/gaps", "Names the inventory lacks, most frequent first",
                  self.gaps, views.GapView, ("kind", *paging), many=True),
        )  # fmt: skip

    # -- reads --------------------------------------------------------------------------------

    async def incidents(self, request: web.Request) -> web.Response:
        """GET /incidents."""
        filters, after, limit = _query(request, ("state", "priority", "service", "rule"), _INCIDENT)
        if "priority" in filters:
            filters["priority"] = _priority(str(filters["priority"]))
        await self._fresh()
        return await self._page(
            lambda state: starmap(views.incident_view, state.incidents(filters, after, limit + 1)),
            limit,
            lambda one: one.id,
        )

    async def incident(self, request: web.Request) -> web.Response:
        """GET /incidents/{id}."""
        name = request.match_info["id"]
        await self._fresh()
        found = await self._reader.look(lambda state: detail(state, name))
        return _missing(f"no incident {name}") if found is None else _answer(200, found)

    async def alerts(self, request: web.Request) -> web.Response:
        """GET /alerts."""
        names = ("status", "severity", "service", "ci", "name", "source", "incident")
        filters, after, limit = _query(request, names, _FINGERPRINT)
        if "severity" in filters:
            severity = severity_of(str(filters["severity"]))
            if severity is None:
                raise BadRequest("severity", f"{filters['severity']!r} is no severity")
            filters["severity"] = int(severity)
        await self._fresh()
        return await self._page(
            lambda state: map(views.alert_view, state.alerts(filters, after, limit + 1)),
            limit,
            lambda one: one.fingerprint,
        )

    async def alert(self, request: web.Request) -> web.Response:
        """GET /alerts/{fingerprint}."""
        name = request.match_info["fingerprint"]
        await self._fresh()
        found = await self._reader.look(lambda state: _explained(state, name))
        if found is None:
            return _missing(f"no alert {name}")
        return _json(200, views.alert_detail(*found, self._standing(found[0])))

    def _standing(self, alert: Alert) -> views.Standing:
        """What the engine has of it now."""
        engine = self._runtime.engine
        covers = engine.suppressions
        return views.Standing(
            alert.fingerprint in engine.correlating.flapping,
            engine.explained_by(alert.fingerprint),
            covers.silences.get(alert.suppressed_by) or covers.windows.get(alert.suppressed_by),
            tuple(engine.rules.looking_at(alert)) if engine.rules.states else None,
            tuple(engine.rules.scores(alert, self._runtime.time)),
        )

    async def streams(self, request: web.Request) -> web.Response:
        """GET /streams."""
        filters, after, limit = _query(request, ("rule",))
        last = views.stream_of(after) if after else None
        if after and last is None:
            raise _no_page(after)
        scoring, found = self._runtime.engine.rules.budgeted, list[views.ScoreView]()
        now = self._runtime.time.timestamp()
        for name in sorted(scoring):
            if filters.get("rule") not in {None, name} or (last is not None and name < last[0]):
                continue
            state, from_key = scoring[name], None
            if last is not None and name == last[0]:
                from_key = state.named(last[1]) or last[1]  # the latter where it is gone
            for key in state.after(from_key, limit + 1 - len(found)):
                one = state.scored(key, now)
                if one is not None:
                    found.append(views.score_view(one))
        return _answer(200, page(iter(found), limit, lambda one: one.id))

    async def plot(self, request: web.Request) -> web.Response:
        """GET /streams/{id}/plot.svg: one at a time, as each reads much of the journal."""
        name, engine = views.stream_of(request.match_info["id"]), self._runtime.engine
        state = engine.rules.budgeted.get(name[0]) if name is not None else None
        key = state.named(name[1]) if state is not None and name is not None else None
        now = self._runtime.time.timestamp()
        scored = state.scored(key, now) if state is not None and key is not None else None
        if state is None or scored is None:
            return _missing("no such stream is scored")
        if scored.of != VALUES:
            return _missing(f"only values are drawn, and rule {scored.rule} looks at {scored.of}")
        settings, inventory = engine.settings, engine.inventory
        hearing = Hearing(state.rule, state.limits, scored.key, inventory, settings)
        async with self._plotting:
            await self._fresh()
            points = await self._reader.lately(hearing)
            picture = await asyncio.to_thread(views.picture, scored, points)
        return web.Response(text=picture, content_type="image/svg+xml")

    async def silences(self, request: web.Request) -> web.Response:
        """GET /silences."""
        _, after, limit = _query(request, (), _SILENCE)
        return await self._page(
            lambda state: starmap(views.silence_view, state.silences(after, limit + 1)),
            limit,
            lambda one: one.id,
        )

    async def maintenance(self, request: web.Request) -> web.Response:
        """GET /maintenance."""
        _, after, limit = _query(request, (), _WINDOW)
        return await self._page(
            lambda state: starmap(views.maintenance_view, state.maintenance(after, limit + 1)),
            limit,
            lambda one: one.id,
        )

    async def audit(self, request: web.Request) -> web.Response:
        """GET /audit."""
        _, after, limit = _query(request, (), _ROW)
        before = int(after) if after else _NEWEST
        return await self._page(
            lambda state: starmap(views.act_view, state.audit(before, limit + 1)),
            limit,
            lambda one: str(one.id),
        )

    async def rules(self, request: web.Request) -> web.Response:
        """GET /rules."""
        _, after, limit = _query(request, ())
        rules = self._runtime.engine.rules
        names = list(rules.states)
        if after and after not in rules.states:
            raise _no_page(after)
        rest = names[names.index(after) + 1 :] if after else names
        found = (views.rule_view(rules.states[name].rule, rules.off.get(name)) for name in rest)
        return _answer(200, page(found, limit, lambda one: one.name))

    async def gaps(self, request: web.Request) -> web.Response:
        """GET /inventory/gaps."""
        filters, after, limit = _query(request, ("kind",), _GAP)
        engine = self._runtime.engine
        if not engine.inventory.version:
            return _missing("no inventory is loaded")
        unknown = engine.enrichment.unknown
        kind = filters.get("kind")
        rows = sorted(
            (-count, of, brief(name, MAX_GAP), name)
            for (of, name), count in unknown.items()
            if kind in {None, of}
        )
        last = _gap(after) if after else None
        found = (
            views.GapView(of, name, -count)
            for count, of, short, name in rows
            if last is None or (count, of, short) > last
        )
        body = page(found, limit, lambda gap: f"{gap.count}:{gap.kind}:{brief(gap.name, MAX_GAP)}")
        return _answer(200, body)

    # -- commands -----------------------------------------------------------------------------

    async def act(self, request: web.Request) -> web.Response:
        """POST /incidents/{id}/ACTION."""
        await self._command(request)
        return await self._shown(request.match_info["id"], 200)

    async def split(self, request: web.Request) -> web.Response:
        """POST /incidents/{id}/split: answers with the new one."""
        facts = await self._command(request)
        apart = next((fact.apart for fact in facts if isinstance(fact, IncidentSplit)), "")
        if not apart:  # the same key again: it stands already
            return await self._shown(request.match_info["id"], 200)
        return await self._shown(apart, 201)

    async def _shown(self, incident: str, status: int) -> web.Response:
        found, verdict = await self._reader.look(
            lambda state: (state.incident(incident), state.verdict(incident))
        )
        if found is None and verdict is not None:
            return _json(status, views.JudgedView(incident, verdict))
        if found is None:
            return _missing("the incident is gone")
        return _json(status, views.incident_view(*found))

    async def silence(self, request: web.Request) -> web.Response:
        """POST /silences."""
        facts = await self._command(request)
        added = next((fact for fact in facts if isinstance(fact, SilenceAdded)), None)
        if added is None:  # the same key again: it stands already
            return _json(200, views.AgainView())
        return _json(201, views.silence_view(added.silence, active=True))

    async def end_silence(self, request: web.Request) -> web.Response:
        """DELETE /silences/{id}."""
        await self._command(request)
        return web.Response(status=204)

    async def _command(self, request: web.Request) -> Sequence[Fact]:
        given, path, query = request.headers, request.path, request.query_string
        headers = {name: given[name] for name in ("content-type", KEY_HEADER) if name in given}
        check_text(path, query, *headers.values())
        delivery = Delivery(
            transport="http",
            received_at=self._runtime.time,  # a silence is to last as long as the engine counts
            payload=unpacked(request, await body_of(request, MAX_COMMAND), MAX_COMMAND),
            source="api",
            method=request.method,
            path=path,
            query=query,
            headers=headers,
        )
        command = command_from(delivery)
        async with asyncio.timeout(COMMIT_WITHIN):
            outcome = await self._runtime.submit((command,), delivery)
        rejected = next((f for f in outcome.facts if isinstance(f, CommandRejected)), None)
        if rejected is not None:
            raise _Rejected(rejected)
        return outcome.facts

    async def _page(
        self,
        items: Callable[[State], Iterator[V]],
        limit: int,
        cursor: Callable[[V], str],
    ) -> web.Response:
        body = await self._reader.look(lambda state: page(items(state), limit, cursor))
        return _answer(200, body)

    async def _fresh(self) -> None:
        """Bring the rows up to date. On a disk that is full or hangs they are shown as they are."""
        if self._runtime.blocked_since is not None:
            return
        with suppress(TimeoutError, StoreFull):
            async with asyncio.timeout(FRESH_WITHIN):
                await self._runtime.submit((), flush=True)

    # -- the frame ------------------------------------------------------------------------------

    async def _openapi(self, request: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type="application/json")

    def _guarded(
        self, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def guarded(request: web.Request) -> web.Response:
            if not self._credentials.allows(request.headers, wall()):
                peer = request.remote or ""
                wrong = self._guesses.wrong("api", peer, self._credentials, monotonic())
                return not_let_in(wrong)
            try:
                return await self._committed(handler, request)
            except Problem as no:
                return problem(no.status, no.reason, no.detail, **no.more)
            except BadRequest as error:
                return problem(400, "bad query", str(error), field=error.field)
            except DecodeError as error:
                return unreadable("bad request", error)
            except TimeoutError:
                full = self._runtime.blocked_since is not None
                why = "the disk is full" if full else f"it is not done after {COMMIT_WITHIN:g} s"
                return unavailable(f"{why}; {_LATER}")
            except EventdError as error:
                return unavailable(str(error) or "eventd is stopping")

        return guarded

    async def _committed(
        self, handler: Callable[[web.Request], Awaitable[web.Response]], request: web.Request
    ) -> web.Response:
        """Its answer. Raise StoreBroken where the store failed while a command was done.

        What cannot be applied is committed as well, and that answer an acknowledgement.
        """
        try:
            answer = await handler(request)
        except _Rejected as error:
            status = 404 if error.fact.missing else 409
            answer = problem(status, "cannot be applied", error.fact.error)
        if request.method != "GET" and self._runtime.inbox.failed():
            raise StoreBroken(FAILED)
        return answer


class _Rejected(Exception):
    def __init__(self, fact: CommandRejected) -> None:
        self.fact = fact
        super().__init__(fact.error)


def _query(
    request: web.Request, names: tuple[str, ...], cursor: re.Pattern[str] | None = None
) -> tuple[dict[str, object], str, int]:
    """Filters, the item a page begins after, its length. Raises BadRequest."""
    known = (*names, "limit", "after")
    for name in request.query:
        if name not in known:
            raise BadRequest(name, f"unknown parameter {name!r}; known: {', '.join(known)}")
        if len(request.query.getall(name)) > 1:
            raise BadRequest(name, "expected one value, got several")
    text = request.query.get("limit", str(DEFAULT_LIMIT))
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MAX_LIMIT:
        raise BadRequest("limit", f"expected 1 to {MAX_LIMIT}, got {text[:40]!r}")
    after = request.query.get("after", "")
    if after and cursor is not None and not cursor.fullmatch(after):
        raise _no_page(after)
    filters: dict[str, object] = {n: request.query[n] for n in names if n in request.query}
    for name, words in CHOICES.items():
        if name in filters and filters[name] not in words:
            got = repr(request.query[name][:40])
            raise BadRequest(name, f"expected one of {', '.join(words)}, got {got}")
    return filters, after, int(text)


def _no_page(after: str) -> BadRequest:
    return BadRequest("after", f"expected the `next` of another page, got {after[:40]!r}")


def _priority(text: str) -> int:
    digits = text.upper().removeprefix("P")
    if digits not in {"1", "2", "3", "4", "5"}:
        raise BadRequest("priority", f"expected P1 to P5, got {text!r}")
    return int(digits)


def _gap(cursor: str) -> tuple[int, str, str]:
    """Where a page of gaps ended, as they are sorted."""
    count, kind, name = cursor.split(":", 2)
    return -int(count), kind, name


def _explained(state: State, name: str) -> tuple[Alert, list[Reason], dict[str, Alert]] | None:
    """An alert, why it is where it is, and those of which that says that they explain it."""
    found = state.alert(name)
    if found is None:
        return None
    reasons = state.reasons(found)
    names = {one.source: None for one in reasons if isinstance(one, AlertSuppressed)}
    sources = {name: state.alert(name) for name in names}
    return found, reasons, {name: one for name, one in sources.items() if one is not None}


def _json(status: int, value: object) -> web.Response:
    return _answer(status, encode(value))


def _answer(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")


def _missing(detail: str) -> web.Response:
    return problem(404, "not found", detail)
