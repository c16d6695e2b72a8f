"""eventd's own event: a JSON object, an array of them, or one a line.

`name` is required; unknown keys are errors that name them. Of two equal keys in one object the
last wins.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from eventd.complaints import unreadable
from eventd.core.labels import (
    canonical_ci,
    delivery_key,
    event_key,
    fingerprint_from_id,
    fingerprint_of,
    payload_key,
    severity_of,
)
from eventd.core.model import Delivery, Event, Severity, Status, Window
from eventd.errors import DecodeError
from eventd.sources.decoded import (
    KEY_HEADERS,
    MAX_EVENTS,
    MAX_VALUE,
    MISSED_REPEATS,
    Decoded,
    Labels,
    arrival_of,
    check_labels,
)
from eventd.sources.elements import check_texts, elements_of, has_texts, is_lines, lines_of

ONE = 'an event such as {"name": "DiskFull"}'
WHOLE = f"{ONE}, an array of them, or one a line"
MAX_KEY = 255  # characters of a delivery's own key
MAX_INT = 1 << 63
MAX_LINKS = 16
MAX_NAMES = 1_000  # CIs of a window, and services
FIRST_YEAR, LAST_YEAR = 2, 9998  # of a window: the engine looks a little before and after it

Text = Annotated[str, Meta(max_length=MAX_VALUE)]
Short = Annotated[str, Meta(max_length=1_024)]
Name = Annotated[str, Meta(min_length=1, max_length=1_024)]
Names = Annotated[tuple[Name, ...], Meta(max_length=MAX_NAMES)]


class _Window(Struct, gc=False, forbid_unknown_fields=True):
    starts_at: datetime
    ends_at: datetime
    cis: Names = ()
    services: Names = ()


class _Native(Struct, gc=False, forbid_unknown_fields=True):
    name: Name
    status: Status = Status.FIRING
    severity: Short = ""
    summary: Text = ""
    ci: Short = ""
    service: Short = ""
    value: float | int | None = None
    labels: Labels = {}
    occurred_at: datetime | None = None
    id: Short = ""
    fingerprint: Short = ""
    links: tuple[Text, ...] | dict[str, Text] = ()
    source: Short = ""
    received_at: datetime | None = None
    expires_at: datetime | None = None
    window: _Window | None = None


_one = msgspec.json.Decoder(_Native)
_many = msgspec.json.Decoder(list[_Native])
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def decode(delivery: Delivery, *, trusted: bool = False) -> Decoded:
    """Its events. Raises DecodeError where it holds none that could be told apart.

    `trusted`: `source` counts as it stands.
    """
    payload = delivery.payload
    if payload.startswith(b"{") and b"\n" not in payload:
        return _decode_one(delivery, trusted=trusted)
    base = _base_key(delivery)
    rejected: list[tuple[int, str]] = []
    events = []
    # one by one, where they are read so: what is refused is let go of before the next is made
    for index, one in _parsed(payload, delivery.headers.get("content-type", ""), rejected):
        try:
            events.append(_event(delivery, one, base, index, trusted=trusted))
        except DecodeError as error:
            rejected.append((index, str(error)))
    return Decoded(tuple(events), tuple(sorted(rejected)))


def _decode_one(delivery: Delivery, *, trusted: bool) -> Decoded:
    """A payload that is one object, as most are that come over MQTT."""
    # else there is only the weak key, which an event with an id of its own needs not
    headers = delivery.headers
    base = _base_key(delivery) if headers and not headers.keys().isdisjoint(KEY_HEADERS) else None
    one = _read(delivery.payload)
    try:
        return Decoded((_event(delivery, one, base, 0, trusted=trusted),))
    except DecodeError as error:
        return Decoded((), ((0, str(error)),))


def _read(payload: bytes) -> _Native:
    check_texts(payload)
    try:
        return _one.decode(payload)
    except _UNREADABLE as error:
        raise unreadable(error, _Native, payload, WHOLE) from None


def _parsed(
    payload: bytes, content_type: str, rejected: list[tuple[int, str]]
) -> Iterable[tuple[int, _Native]]:
    stripped = payload.strip(b" \t\r\n")
    if not stripped:
        raise DecodeError("", "nothing", WHOLE, 0)
    if stripped.startswith(b"\xef\xbb\xbf"):
        raise DecodeError("", "a byte order mark", f"{WHOLE}, without one", 0)
    if stripped.startswith(b"["):
        if has_texts(stripped):
            return _apart(_split_array(payload), rejected)
        try:
            found = _many.decode(stripped)
        except _UNREADABLE:
            return _apart(_split_array(payload), rejected)
        if len(found) > MAX_EVENTS:
            raise DecodeError("", f"{len(found)} events", f"at most {MAX_EVENTS} a delivery")
        return enumerate(found)
    if b"\n" in stripped and ("ndjson" in content_type or is_lines(stripped)):
        return _apart(lines_of(stripped), rejected)
    return [(0, _read(payload))]


def _split_array(payload: bytes) -> list[bytes]:
    try:
        return elements_of(payload.strip())
    except _UNREADABLE as error:
        raise unreadable(error, list[_Native], payload, WHOLE) from None


def _apart(parts: list[bytes], rejected: list[tuple[int, str]]) -> Iterator[tuple[int, _Native]]:
    """The slow way, taken when one is bad or they are much: each by itself."""
    for index, part in enumerate(parts):
        try:
            check_texts(part)
            one = _one.decode(part)
        except DecodeError as error:
            rejected.append((index, str(error)))
        except _UNREADABLE as error:
            rejected.append((index, str(unreadable(error, _Native, part, ONE))))
        else:
            yield index, one


def _base_key(delivery: Delivery) -> tuple[bytes, bool]:
    """The delivery's own key, and whether its sender gave it."""
    for header in KEY_HEADERS:
        value = delivery.headers.get(header, "")
        if value:
            if len(value) > MAX_KEY:
                raise DecodeError(header, value, f"at most {MAX_KEY} characters")
            return delivery_key(delivery.source, header, value), True
    where = delivery.topic or delivery.path
    return payload_key(delivery.source, where, delivery.payload), False


def _event(
    delivery: Delivery, one: _Native, base: tuple[bytes, bool] | None, index: int, *, trusted: bool
) -> Event:
    """`base` is the delivery's key, looked up only where it is needed if None."""
    labels = one.labels
    source = delivery.source
    if trusted:
        source = one.source or source
    elif one.source:
        labels["origin"] = one.source
    if labels:
        check_labels(labels)
    ci = canonical_ci(one.ci) if one.ci else ""
    volatile: tuple[str, ...] | None = None
    if one.fingerprint:
        fingerprint = fingerprint_from_id(source, one.fingerprint)
    else:
        volatile = delivery.volatile
        fingerprint = fingerprint_of(source, one.name, ci, one.service, labels, volatile)
    if one.id:
        key, strong = delivery_key(source, "id", one.id), True
    else:
        key, strong = base or _base_key(delivery)
        key = event_key(key, index)
    event = Event(
        source=source,
        fingerprint=fingerprint,
        key=key,
        strong=strong,
        status=one.status,
        severity=_severity(one),
        name=one.name,
        occurred_at=None if one.occurred_at is None else _aware("occurred_at", one.occurred_at),
        ci=ci,
        service=one.service,
        summary=one.summary,
        labels=labels,
        value=None if one.value is None else _value(one.value),
        id=one.id,
        volatile=volatile,
    )
    return event if _is_plain(delivery, one) else _with_rest(event, delivery, one)


def _is_plain(delivery: Delivery, one: _Native) -> bool:
    """Whether there is nothing for `_with_rest`: naming every field doubles an event's cost."""
    return not (
        one.links
        or one.expires_at
        or one.window
        or delivery.retain
        or delivery.dup
        or delivery.repeats_every
        or delivery.quiet_for
    )


def _with_rest(event: Event, delivery: Delivery, one: _Native) -> Event:
    return replace(
        event,
        links=_links(one),
        expires_at=None if one.expires_at is None else _aware("expires_at", one.expires_at),
        repeats_within=delivery.repeats_every * MISSED_REPEATS,
        quiet_for=delivery.quiet_for,
        arrival=arrival_of(delivery),
        window=_window(one),
    )


def _severity(one: _Native) -> Severity:
    if not one.severity:
        return Severity.INFO if one.status is Status.INFO else Severity.WARNING
    found = severity_of(one.severity)
    if found is None:
        raise DecodeError("severity", one.severity, "ok, info, warning, minor, major or critical")
    return found


def _aware(field: str, at: datetime) -> datetime:
    if at.tzinfo is UTC:
        return at
    if at.tzinfo is None:
        raise DecodeError(field, at.isoformat(), "a time with its zone, such as …T06:00:00Z")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise DecodeError(field, at.isoformat(), "a time between the years 1 and 9999") from None


def _value(value: float) -> float:
    if isinstance(value, int) and abs(value) >= MAX_INT:
        raise DecodeError("value", str(value)[:40], "a number smaller than 2^63")
    if not math.isfinite(value):
        raise DecodeError("value", str(value), "a finite number")
    if float(value) != value:
        raise DecodeError("value", str(value), "a number that 64 bits hold exactly, as up to 2^53")
    return float(value)


def _links(one: _Native) -> tuple[str, ...]:
    links = tuple(one.links.values()) if isinstance(one.links, dict) else one.links
    if len(links) > MAX_LINKS:
        raise DecodeError("links", str(len(links)), f"at most {MAX_LINKS}")
    return links


def _window(one: _Native) -> Window | None:
    window = one.window
    if window is None:
        return None
    if one.status is not Status.CHANGE:
        raise DecodeError("window", one.status.value, "status change beside a window")
    starts = _aware("window.starts_at", window.starts_at)
    ends = _aware("window.ends_at", window.ends_at)
    if ends <= starts:
        raise DecodeError("window.ends_at", str(window.ends_at), "a time after starts_at")
    for field, at in (("window.starts_at", starts), ("window.ends_at", ends)):
        if not FIRST_YEAR <= at.year <= LAST_YEAR:
            raise DecodeError(field, at.isoformat(), f"the years {FIRST_YEAR} to {LAST_YEAR}")
    cis = tuple(canonical_ci(ci) for ci in window.cis)
    if "" in cis:  # [], or spaces
        at_fault = cis.index("")
        raise DecodeError(f"window.cis[{at_fault}]", repr(window.cis[at_fault]), "a name")
    return Window(starts, ends, cis, window.services)
