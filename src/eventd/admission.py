"""What is let in: credentials, and requests that are commands."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from msgspec import Struct

from eventd.core.labels import delivery_key
from eventd.core.model import (
    Acknowledge,
    AddSilence,
    Close,
    Command,
    Comment,
    Delivery,
    EndSilence,
    Matcher,
    Reopen,
    Resolve,
    seconds,
)
from eventd.core.rules.rule import parse_span
from eventd.core.rules.selectors import check, parse_selector
from eventd.errors import DecodeError, RuleError

T = TypeVar("T")

MAX_TEXT = 10_000  # characters of a comment
ACTIONS = ("acknowledge", "comment", "resolve", "close", "reopen")


class Credentials:
    """The bearer tokens that open the door; none means that it stands open (on loopback)."""

    def __init__(self, tokens: tuple[str, ...] = ()) -> None:
        """Keep digests only: two tokens are for rotation."""
        self._digests = tuple(hashlib.sha256(token.encode()).digest() for token in tokens)

    def allows(self, header: str | None) -> bool:
        """Whether an Authorization header carries one of the tokens; in constant time."""
        if not self._digests:
            return True
        scheme, _, token = (header or "").partition(" ")
        given = hashlib.sha256(token.strip().encode()).digest()
        known = [hmac.compare_digest(given, digest) for digest in self._digests]
        return scheme.lower() == "bearer" and any(known)


class Act(Struct, forbid_unknown_fields=True):
    """The body of a request that does something to an incident."""

    actor: str = "api"
    text: str = ""


class MatcherBody(Struct, forbid_unknown_fields=True):
    """A matcher as JSON."""

    label: str
    op: str
    value: str


class Silencing(Struct, forbid_unknown_fields=True, rename={"for_": "for"}):
    """The body of a request for a silence: until `ends_at`, or `for` a duration such as "2h"."""

    matchers: str | tuple[MatcherBody, ...]
    comment: str
    ends_at: datetime | None = None
    for_: str = ""
    actor: str = "api"


def command_from(delivery: Delivery) -> Command:
    """The command an API request is. Raises DecodeError with the field and the expectation."""
    parts = delivery.path.removeprefix("/api/v1/").strip("/").split("/")
    value = delivery.headers.get("idempotency-key", "")
    key = delivery_key("api", delivery.path, value) if value else b""
    match delivery.method, parts:
        case "POST", ["incidents", incident, action] if action in ACTIONS:
            return _act(incident, action, _body(delivery, Act), key)
        case "POST", ["silences"]:
            return _silence(delivery, _body(delivery, Silencing), key)
        case "DELETE", ["silences", silence]:
            return EndSilence(silence, _body(delivery, Act).actor, key)
        case _:
            raise DecodeError("path", delivery.path, "a command of the API")


def _act(incident: str, action: str, body: Act, key: bytes) -> Command:
    if len(body.text) > MAX_TEXT:
        raise DecodeError("text", body.text, f"at most {MAX_TEXT} characters")
    if action == "comment" and not body.text.strip():
        raise DecodeError("text", "nothing", "what the comment says")
    if not body.actor or len(body.actor) > 128:  # noqa: PLR2004 - as long as a label's name
        raise DecodeError("actor", body.actor, "a name of 1 to 128 characters")
    match action:
        case "acknowledge":
            return Acknowledge(incident, body.actor, key)
        case "comment":
            return Comment(incident, body.actor, body.text, key)
        case "resolve":
            return Resolve(incident, body.actor, body.text, key)
        case "close":
            return Close(incident, body.actor, body.text, key)
        case _:
            return Reopen(incident, body.actor, body.text, key)


def _silence(delivery: Delivery, body: Silencing, key: bytes) -> AddSilence:
    try:
        if isinstance(body.matchers, str):
            matchers = parse_selector(body.matchers, "matchers")
        else:
            matchers = tuple(Matcher(one.label, one.op, one.value) for one in body.matchers)
            for matcher in matchers:
                check(matcher, "matchers")
    except RuleError as error:
        raise DecodeError("matchers", str(error), 'a selector such as service="shop"') from None
    if not matchers:
        raise DecodeError("matchers", "none", "at least one: a silence for everything is none")
    if body.ends_at is not None:
        if body.ends_at.tzinfo is None:
            raise DecodeError("ends_at", body.ends_at.isoformat(), "a time with its zone")
        ends_at = body.ends_at.astimezone(UTC)
    else:
        try:
            ends_at = delivery.received_at + seconds(parse_span(body.for_))
        except (ValueError, OverflowError):
            raise DecodeError("for", body.for_, 'a duration such as "2h", or ends_at') from None
    return AddSilence(matchers, ends_at, body.actor, body.comment, key)


def _body(delivery: Delivery, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(delivery.payload or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message, _, path = str(error).partition(" - at `$.")
        quoted = delivery.payload[:60].decode("utf-8", "replace")
        raise DecodeError(path.rstrip("`"), quoted, message) from None
