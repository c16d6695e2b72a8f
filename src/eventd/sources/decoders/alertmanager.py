"""Alertmanager's webhook, version 4.

A group stays `firing` while one member is resolved, so only an alert's own status counts. The
delivery key is fingerprint + status + startsAt + endsAt: a repeat of the same state is the same
delivery.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    arrival_of,
    check_labels,
)
from eventd.sources.elements import check_texts, elements_of, has_texts, without_halves

# In order: which label names the thing, and which the service.
CI_LABELS = ("instance", "host", "hostname", "node", "pod", "device")
SERVICE_LABELS = ("service", "app", "application", "job")
SUMMARIES = ("summary", "title", "message", "description")
MAX_TIME = 64  # characters read of a time; RFC 3339 with nanoseconds has 35
WHOLE = 'an Alertmanager webhook, version 4: {"alerts": [...]}'
ABSENT = "0001-01-01"  # Go's zero time


Count = Annotated[int, Meta(ge=0, le=1_000_000)]
NONE = msgspec.Raw(b"0")


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
    truncatedAlerts: msgspec.Raw = NONE  # noqa: N815 - the sender's name


class _Lenient(Struct, gc=False):
    alerts: msgspec.Raw
    truncatedAlerts: msgspec.Raw = NONE  # noqa: N815 - the sender's name


_whole = msgspec.json.Decoder(_Webhook)
_lenient = msgspec.json.Decoder(_Lenient)
_one = msgspec.json.Decoder(_Alert)
_count = msgspec.json.Decoder(Count)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def decode(delivery: Delivery) -> Decoded:
    """Its alerts. Raises DecodeError where it is no webhook of Alertmanager's."""
    rejected: list[tuple[int, str]] = []
    alerts, truncated = _parsed(delivery.payload, rejected)
    events = []
    for index, alert in alerts:
        try:
            events.append(_event(delivery, alert))
        except DecodeError as error:
            rejected.append((index, str(error)))
    return Decoded(tuple(events), tuple(sorted(rejected)), _counted(truncated))


def _parsed(
    payload: bytes, rejected: list[tuple[int, str]]
) -> tuple[Iterable[tuple[int, _Alert]], msgspec.Raw]:
    if not has_texts(payload):
        try:
            body = _whole.decode(payload)
        except _UNREADABLE:
            pass
        else:
            if len(body.alerts) > MAX_EVENTS:
                raise DecodeError("alerts", str(len(body.alerts)), f"at most {MAX_EVENTS} alerts")
            return enumerate(body.alerts), body.truncatedAlerts
    try:
        parts, truncated = _parts(payload)
    except _UNREADABLE as error:
        raise unreadable(error, _Lenient, payload, WHOLE) from None
    return _apart(parts, rejected), truncated


def _counted(truncated: msgspec.Raw) -> int:
    """A remark beside the alerts: one that cannot be is none, and costs them nothing."""
    try:
        return _count.decode(truncated)
    except _UNREADABLE:
        return 0


def _parts(payload: bytes) -> tuple[list[bytes], msgspec.Raw]:
    """Its alerts as they stand, and what it says of those left out."""
    try:
        body = _lenient.decode(payload)
        alerts = _array(body.alerts)
    except msgspec.DecodeError:
        whole = without_halves(payload)  # to find them, and have them as they came
        body = _lenient.decode(whole)
        alerts = _array(body.alerts)
        at = whole.rfind(alerts)
        alerts = payload[at : at + len(alerts)]
    return elements_of(alerts), body.truncatedAlerts


def _apart(parts: list[bytes], rejected: list[tuple[int, str]]) -> Iterator[tuple[int, _Alert]]:
    """The slow way, taken when one is bad or they are much: each alert by itself."""
    for index, part in enumerate(parts):
        try:
            check_texts(part)
            one = _one.decode(part)
        except DecodeError as error:
            rejected.append((index, f"alerts[{index}]: {error}"))
        except _UNREADABLE as error:
            wrong = unreadable(error, _Alert, part, "an alert with status and labels")
            rejected.append((index, f"alerts[{index}]: {wrong}"))
        else:
            yield index, one


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
        arrival=arrival_of(delivery),
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
