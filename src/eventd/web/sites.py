"""Which web pages may ask: none but our own, though a browser asks for all of them.

A browser is on the operator's machine, and so is let in where loopback is all that guards us.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Container, Iterable
from functools import lru_cache
from typing import Protocol

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from multidict import CIMultiDictProxy, istr

from eventd.answers import problem
from eventd.credentials import Credentials

OWN = frozenset({"same-origin", "none"})  # our own page, or a person: Fetch Metadata, 2.3
MAX_HOSTS = 64  # names by which we were called, and what was found of each
REASON = "cross_site"

_SITE = istr("Sec-Fetch-Site")
_HOST = re.compile(r"(?:\[(.+)\]|([^:\[\]]+))(?::[0-9]*)?")
_USUAL_PORTS = {"http": ":80", "https": ":443"}  # that browsers leave out, and some proxies do not


class Meter(Protocol):
    """What is counted of pages."""

    def turned_away(self, source: str, reason: str) -> None:
        """A request was refused before it was read."""
        ...


def only_own(
    routes: Iterable[web.RouteDef], api: Credentials, sources: Container[str], meter: Meter
) -> list[web.RouteDef]:
    """The routes, each with 403 for what another site's page asks.

    `api` says whether a token guards us; `sources` are those that are counted by name.
    """

    # no middleware: aiohttp keeps those for good, with the engine of before a restart in place
    def guarded(handler: Handler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            why = _foreign(request.headers, open_to_all=api.opens)
            if not why:
                return await handler(request)
            meter.turned_away(_door_of(request, sources), REASON)
            return problem(403, REASON, why)

        return answer

    return [web.RouteDef(one.method, one.path, guarded(one.handler), one.kwargs) for one in routes]


def _foreign(headers: CIMultiDictProxy[str], *, open_to_all: bool) -> str:
    """Why it is none of ours, "" where it may well be: senders are no browsers, and say nothing."""
    host = headers.get(hdrs.HOST, "")
    if headers.get(_SITE, "none") not in OWN:
        return "a page of another site asks: ask from a page of this address, or without a browser"
    origin = headers.get(hdrs.ORIGIN)
    if origin is not None and not _is_of(origin, host):
        return (
            f"a page of {origin[:80]!r} asks {host[:80]!r}: ask from a page of this address; "
            "a proxy has to pass Host on"
        )
    if open_to_all and host and not _stands_fast(host):
        return (
            f"{host[:80]!r} may be another site's name for this address: configure token_file, "
            "or have the proxy name the address"
        )
    return ""


def _is_of(origin: str, host: str) -> bool:
    scheme, _, site = origin.lower().partition("://")
    return site != "" and site == host.lower().removesuffix(_USUAL_PORTS.get(scheme, ""))


@lru_cache(MAX_HOSTS)
def _stands_fast(host: str) -> bool:
    """Whether no other site can have the name lead to us (DNS rebinding).

    An address is in no DNS, nor is a name without a dot: of the machine itself, or a container's.
    """
    found = _HOST.fullmatch(host.lower())
    if found is None:
        return False
    name = found[1] or found[2]
    if ("." not in name and ":" not in name) or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _door_of(request: web.Request, sources: Container[str]) -> str:
    """By which name it is counted."""
    match request.path.split("/", 3)[1:]:
        case ["api" | "metrics" as area, *_]:
            return area
        case ["v1", "events"]:
            return "events"
        case ["v1", "webhooks", name] if name in sources:
            return name
        case _:
            return "other"
