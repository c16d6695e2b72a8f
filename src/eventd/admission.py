"""Requests that are commands: what of them is let in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import fields

from eventd.complaints import has_nul, unreadable
from eventd.core.labels import delivery_key
from eventd.core.model import (
    Acknowledge,
    AddSilence,
    Close,
    Command,
    Comment,
    Delivery,
    Detach,
    EndSilence,
    GiveVerdict,
    Matcher,
    Merge,
    Reopen,
    Resolve,
    Split,
    seconds,
)
from eventd.core.rules.rule import parse_span
from eventd.core.rules.selectors import MAX_MATCHERS, check, parse_selector
from eventd.errors import DecodeError, RuleError

T = TypeVar("T", bound=Struct)

API = "/api/v1"
KEY_HEADER = "idempotency-key"
MAX_COMMAND = 256 << 10  # bytes of a body: the longest comment, every character escaped, is 120 kB
MAX_TEXT = 10_000  # characters of a comment
MAX_ACTOR = 128  # characters; as long as a label's name may be
MAX_KEY = 255  # characters of an idempotency key

_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Act(Struct, frozen=True, forbid_unknown_fields=True):
    """Something done to an incident: who did it, and what they say."""

    actor: str = "api"
    text: str = ""


class Taking(Struct, frozen=True, forbid_unknown_fields=True):
    """Who takes an incident."""

    actor: str = "api"


class Commenting(Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody says of an incident, and who does."""

    text: Annotated[str, Meta(min_length=1)]
    actor: str = "api"


# What each takes, as it is described: all are read as an Act, which tells better what is wrong.
ACTIONS: dict[str, type[Struct]] = {
    "acknowledge": Taking,
    "comment": Commenting,
    "resolve": Act,
    "close": Act,
    "reopen": Act,
}


class Merging(Struct, frozen=True, forbid_unknown_fields=True):
    """Which incident has the alerts from now on; who says so, and why."""

    into: str
    actor: str = "api"
    text: str = ""


class Splitting(Struct, frozen=True, forbid_unknown_fields=True):
    """Fingerprints of the alerts that are an incident of their own; who says so, and why."""

    alerts: tuple[str, ...]
    actor: str = "api"
    text: str = ""


class Detaching(Struct, frozen=True, forbid_unknown_fields=True):
    """Fingerprint of the alert that has nothing to do with it; who says so, and why."""

    alert: str
    actor: str = "api"
    text: str = ""


class Judging(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether there was something to hear of (false: a false alarm); who says so, and why."""

    verdict: bool
    actor: str = "api"
    text: str = ""


class Ending(Struct, frozen=True, forbid_unknown_fields=True):
    """Who ends a silence."""

    actor: str = "api"


class MatcherBody(Struct, frozen=True, forbid_unknown_fields=True):
    """One test on a label or field."""

    label: Annotated[str, Meta(min_length=1)]
    op: Literal["=", "!=", "=~", "!~", "<", "<=", ">", ">="]
    value: str


class Silencing(Struct, frozen=True, forbid_unknown_fields=True, rename={"for_": "for"}):
    """A silence asked for: until `ends_at` (RFC 3339), or `for` a duration such as "2h".

    `matchers` is a selector such as ``service="shop", severity<major``, or a list.
    """

    matchers: str | tuple[MatcherBody, ...]
    comment: str
    ends_at: datetime | None = None
    for_: str = ""
    actor: str = "api"


def command_from(delivery: Delivery) -> Command:
    """The command an API request is: the same one whenever the delivery is read.

    Raises DecodeError with the field and the expectation.
    """
    parts = delivery.path.removeprefix(f"{API}/").split("/")
    key = _key(delivery)
    match delivery.method, parts:
        case "POST", ["incidents", incident, action] if action in ACTIONS:
            return _act(incident, action, body_of(delivery.payload, Act), key)
        case "POST", ["incidents", incident, "merge" | "split" | "detach" as action]:
            return _regroup(incident, action, delivery.payload, key)
        case "POST", ["incidents", incident, "verdict"]:
            judging = body_of(delivery.payload, Judging)
            who = _actor(judging.actor), _text("text", judging.text)
            return GiveVerdict(incident, judging.verdict, *who, key)
        case "POST", ["silences"]:
            return _silence(delivery, body_of(delivery.payload, Silencing), key)
        case "DELETE", ["silences", silence]:
            actor = body_of(delivery.payload, Ending).actor
            return EndSilence(silence, _actor(actor), key)
        case _:
            raise DecodeError("path", delivery.path, "a command of the API")


def body_of(payload: bytes, kind: type[T]) -> T:
    """A request's body; an empty one is an empty object. Raises DecodeError."""
    if has_nul(payload):
        raise DecodeError("", "one with it", "text without NUL")
    try:
        return msgspec.json.decode(payload.strip() or b"{}", type=kind)
    except _UNREADABLE as error:
        names = " and ".join(one.encode_name for one in fields(kind))
        raise unreadable(error, kind, payload, f"a JSON object with {names}") from None


def _key(delivery: Delivery) -> bytes:
    value = delivery.headers.get(KEY_HEADER, "")
    if len(value) > MAX_KEY:
        raise DecodeError(KEY_HEADER, value, f"at most {MAX_KEY} characters")
    return delivery_key("api", delivery.path, value) if value else b""


def _actor(actor: str) -> str:
    if not actor.strip() or len(actor) > MAX_ACTOR or not actor.isprintable():
        raise DecodeError("actor", repr(actor), f"a name of 1 to {MAX_ACTOR} characters")
    return actor


def _text(field: str, text: str) -> str:
    if len(text) > MAX_TEXT:
        raise DecodeError(field, f"{len(text)}", f"at most {MAX_TEXT} characters")
    return text


def _act(incident: str, action: str, body: Act, key: bytes) -> Command:
    actor, text = _actor(body.actor), _text("text", body.text)
    match action:
        case "acknowledge":
            if text:
                raise DecodeError("text", text, "none; say it in a comment")
            return Acknowledge(incident, actor, key)
        case "comment":
            if not text.strip():
                raise DecodeError("text", repr(text), "what the comment says")
            return Comment(incident, actor, text, key)
        case "resolve":
            return Resolve(incident, actor, text, key)
        case "close":
            return Close(incident, actor, text, key)
        case _:
            return Reopen(incident, actor, text, key)


def _regroup(incident: str, action: str, payload: bytes, key: bytes) -> Command:
    body: Merging | Splitting | Detaching
    match action:
        case "merge":
            body = body_of(payload, Merging)
            who = _actor(body.actor), _text("text", body.text)
            return Merge(incident, body.into, *who, key)
        case "split":
            body = body_of(payload, Splitting)
            who = _actor(body.actor), _text("text", body.text)
            if not body.alerts:
                raise DecodeError("alerts", "none", "fingerprints of alerts, at least one")
            return Split(incident, body.alerts, *who, key)
        case _:
            body = body_of(payload, Detaching)
            who = _actor(body.actor), _text("text", body.text)
            return Detach(incident, body.alert, *who, key)


def _silence(delivery: Delivery, body: Silencing, key: bytes) -> AddSilence:
    actor, comment = _actor(body.actor), _text("comment", body.comment)
    return AddSilence(_matchers(body), _end(delivery, body), actor, comment, key)


def _matchers(body: Silencing) -> tuple[Matcher, ...]:
    try:
        if isinstance(body.matchers, str):
            matchers = parse_selector(body.matchers, "matchers")
        else:
            matchers = tuple(Matcher(one.label, one.op, one.value) for one in body.matchers)
            for index, matcher in enumerate(matchers):
                check(matcher, f"matchers[{index}]")
    except RuleError as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise DecodeError(error.path, error.message, f"a selector{hint}") from None
    if not matchers:
        raise DecodeError("matchers", "none", "at least one: a silence for everything is none")
    if len(matchers) > MAX_MATCHERS:
        raise DecodeError("matchers", str(len(matchers)), f"at most {MAX_MATCHERS}")
    return matchers


def _end(delivery: Delivery, body: Silencing) -> datetime:
    if (body.ends_at is None) == (not body.for_):
        given = "both" if body.for_ else "neither"
        raise DecodeError("ends_at", given, 'ends_at, or for with a duration such as "2h"')
    if body.ends_at is not None:
        if body.ends_at.tzinfo is None:
            raise DecodeError("ends_at", body.ends_at.isoformat(), "a time with its zone")
        try:
            return body.ends_at.astimezone(UTC)
        except OverflowError:
            year = "a time between the years 1 and 9999"
            raise DecodeError("ends_at", body.ends_at.isoformat(), year) from None
    try:
        return delivery.received_at + seconds(parse_span(body.for_))
    except (ValueError, OverflowError):
        within = 'a duration such as "2h", from 1ms to 366d'
        raise DecodeError("for", repr(body.for_), within) from None
