"""Alertmanager's webhook, version 4.

A group stays `firing` while one member is resolved, so only an alert's own status counts. The
delivery key is fingerprint + status + startsAt + endsAt: a repeat of the same state is the same
delivery.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from eventd.complaints import unreadable
from eventd.core.labels import (
    canonical_ci,
    delivery_key,
    fingerprint_from_id,
    fingerprint_of,
    severity_of,
)
from eventd.core.model import Delivery, Event, Severity, Status
from eventd.errors import DecodeError
from eventd.sources.decoded import (
    MAX_EVENTS,
    MAX_VALUE,
    MISSED_REPEATS,
    Decoded,
    Labels,
    check_labels,
)
from eventd.sources.elements import elements_of

# In order: which label names the thing, and which the service.
CI_LABELS = ("instance", "host", "hostname", "node", "pod", "device")
SERVICE_LABELS = ("service", "app", "application", "job")
SUMMARIES = ("summary", "title", "message", "description")
MAX_TIME = 64  # characters read of a time; RFC 3339 with nanoseconds has 35
WHOLE = 'an Alertmanager webhook, version 4: {"alerts": [...]}'
ABSENT = "0001-01-01"  # Go's zero time


Count = Annotated[int, Meta(ge=0, le=1_000_000)]


class _Alert(Struct, gc=False):
    status: Literal["firing", "resolved"]
    labels: Labels
    annotations: dict[str, str] = {}
    startsAt: str = ""  # noqa: N815 - the sender's names
    endsAt: str = ""  # noqa: N815 - as above
    generatorURL: str = ""  # noqa: N815 - as above
    fingerprint: str = ""


class _Webhook(Struct, gc=False):
    alerts: list[_Alert]
    version: str = "4"
    truncatedAlerts: Count = 0  # noqa: N815 - the sender's name


class _Lenient(Struct, gc=False):
    alerts: msgspec.Raw
    truncatedAlerts: Count = 0  # noqa: N815 - the sender's name


_whole = msgspec.json.Decoder(_Webhook)
_lenient = msgspec.json.Decoder(_Lenient)
_one = msgspec.json.Decoder(_Alert)


def decode(delivery: Delivery) -> Decoded:
    """Its alerts. Raises DecodeError where it is no webhook of Alertmanager's."""
    rejected: list[tuple[int, str]] = []
    try:
        body = _whole.decode(delivery.payload)
        alerts: list[tuple[int, _Alert]] = list(enumerate(body.alerts))
        truncated = body.truncatedAlerts
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        alerts, truncated = _apart(delivery.payload, rejected)
    if len(alerts) > MAX_EVENTS:
        raise DecodeError("alerts", str(len(alerts)), f"at most {MAX_EVENTS} alerts")
    events = []
    for index, alert in alerts:
        try:
            events.append(_event(delivery, alert))
        except DecodeError as error:
            rejected.append((index, str(error)))
    return Decoded(tuple(events), tuple(sorted(rejected)), truncated)


def _apart(payload: bytes, rejected: list[tuple[int, str]]) -> tuple[list[tuple[int, _Alert]], int]:
    """The slow way, taken when one is bad: each alert by itself."""
    try:
        body = _lenient.decode(payload)
        parts = elements_of(_array(body.alerts))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(error, _Lenient, payload, WHOLE) from None
    good: list[tuple[int, _Alert]] = []
    for index, raw in enumerate(parts):
        try:
            good.append((index, _one.decode(raw)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            wrong = unreadable(error, _Alert, raw, "an alert with status and labels")
            rejected.append((index, f"alerts[{index}]: {wrong}"))
    return good, body.truncatedAlerts


def _array(raw: msgspec.Raw) -> bytes:
    alerts = bytes(raw).strip()
    if not alerts.startswith(b"["):
        raise DecodeError("alerts", alerts[:40].decode("utf-8", "replace"), "a list of alerts")
    return alerts


def _event(delivery: Delivery, alert: _Alert) -> Event:
    labels = alert.labels
    name = labels.pop("alertname", "")
    if not name:
        raise DecodeError("labels.alertname", "nothing", "the alert's name")
    check_labels(labels)
    word = labels.pop("severity", "")
    source = delivery.source
    ci = ""
    for label in CI_LABELS:
        if label in labels:
            named = labels[label]
            ci = canonical_ci(named)
            if named == ci:
                del labels[label]
            break
    service = ""
    for label in SERVICE_LABELS:
        if label in labels:
            service = labels.pop(label)
            break
    annotations = alert.annotations
    summary = ""
    for label in SUMMARIES:
        if label in annotations:
            summary = annotations[label][:MAX_VALUE]
            break
    runbook = annotations.get("runbook_url", "")
    firing = alert.status == "firing"
    own = alert.fingerprint
    volatile: tuple[str, ...] | None = None
    if own:
        fingerprint = fingerprint_from_id(source, own)
    else:
        volatile = delivery.volatile
        fingerprint = fingerprint_of(source, name, ci, service, labels, volatile)
    ends_at = _time(alert.endsAt)
    return Event(
        source=source,
        fingerprint=fingerprint,
        key=delivery_key(source, own or fingerprint, alert.status, alert.startsAt, alert.endsAt),
        strong=True,
        status=Status.FIRING if firing else Status.CLEARED,
        severity=_severity(word),
        name=name[:MAX_VALUE],
        occurred_at=_time(alert.startsAt) if firing else ends_at,
        ci=ci,
        service=service,
        summary=summary,
        labels=labels,
        links=_links(alert.generatorURL[: MAX_VALUE + 1], runbook[: MAX_VALUE + 1]),
        expires_at=ends_at if firing else None,
        repeats_within=delivery.repeats_every * MISSED_REPEATS,
        quiet_for=delivery.quiet_for,
        volatile=volatile,
    )


@lru_cache(maxsize=1_024)
def _severity(word: str) -> Severity:
    """Prometheus' habit where there is none, or none that is known: a warning."""
    found = severity_of(word) if word else None
    return Severity.WARNING if found is None else found


@lru_cache(maxsize=1_024)
def _links(generator: str, runbook: str) -> tuple[str, ...]:
    """Those there are: all alerts of one rule share them.

    A link cut short leads nowhere, so a long one is left out.
    """
    return tuple(link for link in (generator, runbook) if 0 < len(link) <= MAX_VALUE)


@lru_cache(maxsize=16_384)
def _time(text: str) -> datetime | None:
    if not text or text.startswith(ABSENT):
        return None
    if len(text) > MAX_TIME:  # what is raised is not remembered
        raise DecodeError("startsAt or endsAt", text, "a time as RFC 3339 writes it")
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise DecodeError("startsAt or endsAt", text, "a time as RFC 3339 writes it") from None
    if at.tzinfo is None:
        raise DecodeError("startsAt or endsAt", text, "a time with its zone")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        years = "a time between the years 1 and 9999"
        raise DecodeError("startsAt or endsAt", text, years) from None
