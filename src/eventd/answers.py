"""Answers that say no: problems as RFC 9457 has them."""

from __future__ import annotations

import json
import random

import msgspec
from aiohttp import web

from eventd.credentials import Wrong
from eventd.errors import DecodeError

RETRY_AFTER = (1, 5)  # s, jittered: refused senders must not come back together


class Problem(Exception):
    """An answer of application/problem+json."""

    def __init__(self, status: int, reason: str, detail: str, **more: object) -> None:
        """`reason` is the closed set of the metrics' label."""
        super().__init__(detail)
        self.status, self.reason, self.detail, self.more = status, reason, detail, more


def problem(status: int, title: str, detail: str, **more: object) -> web.Response:
    """An error as RFC 9457 has it."""
    said = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    try:
        body = msgspec.json.encode(said)
    except UnicodeEncodeError:  # it quotes what is no UTF-8
        body = json.dumps(said).encode()
    return web.Response(status=status, body=body, content_type="application/problem+json")


def unreadable(title: str, error: DecodeError) -> web.Response:
    """400 for what cannot be read: where, what is wrong there, and what to send instead."""
    more: dict[str, object] = {"field": error.field} if error.field else {}
    if error.offset is not None:
        more["offset"] = error.offset
    return problem(400, title, str(error), expected=error.expected, **more)


def unavailable(detail: str) -> web.Response:
    """503: senders that retry only on 5xx lose nothing."""
    answer = problem(503, "try again", detail)
    answer.headers["Retry-After"] = str(random.randint(*RETRY_AFTER))
    return answer


def not_let_in(why: Wrong) -> web.Response:
    """401 or 429."""
    answer = problem(why.status, why.reason, why.detail)
    answer.headers.update(why.headers)
    return answer
