"""Recordings: JSON lines, one delivery each, as `eventd export` writes and `eventd replay` reads.

``{"deliver_at", "transport": "mqtt", "topic", "qos", "retain", "properties", "payload"}`` or
``{…, "transport": "http", "method", "path", "query", "headers", "payload"}``; a payload is text,
JSON, or base64 under `payload_b64`. An export adds what makes it replay to the same incidents:
`received_at`, the `source`'s policy, the places of `quarantined` events, and lines of transport
``eventd`` for the inputs that were no delivery (starts, loads, ticks with facts). A line that
is a native event with `received_at` is read as well.
"""

from __future__ import annotations

import base64
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Raw, Struct

from eventd.core.model import QUARANTINED, Delivery, Input, Refused, SourcePolicy
from eventd.errors import ConfigError

READ_AHEAD = 1 << 18  # bytes; a GzipFile's own lines cost three times as much
TOLD_EVERY = 1_000  # lines
# The engine adds durations of a year at most to the time it is, some of them repeatedly.
FIRST_YEAR, LAST_YEAR = 10, 9989
OWN = "eventd"  # the transport of eventd's own inputs
DEFAULT_SOURCES = {
    "events": SourcePolicy(name="events", decoder="native"),
    "mqtt": SourcePolicy(name="mqtt", decoder="native"),
}


class Line(Struct, frozen=True, gc=False):
    """One line read: what came, when; either a delivery or an input of eventd's own."""

    at: datetime
    delivery: Delivery | None
    own: Input | None = None
    native: bool = False  # the line was a native event: its `source` and `received_at` count
    quarantined: tuple[int, ...] = ()  # positions of its inputs that were not stepped
    place: tuple[str, int] | None = None  # file and line; None: it is a daemon's own

    @property
    def where(self) -> str:
        """Its place, else its time."""
        return "{}:{}".format(*self.place) if self.place else _stamp(self.at)


class _Source(Struct, omit_defaults=True):
    name: str
    decoder: str
    quiet_for: float = 0.0
    repeats_every: float = 0.0
    volatile: tuple[str, ...] = ()


class _Head(Struct, gc=False):
    """What tells a delivery from a native event: a third of the cost of the whole."""

    deliver_at: datetime | None = None
    received_at: datetime | None = None


class _Row(_Head, omit_defaults=True):
    transport: str = ""
    source: _Source | str | None = None
    method: str = ""
    path: str = ""
    query: str = ""
    headers: dict[str, str] = {}
    topic: str = ""
    qos: int = 0
    retain: bool = False
    dup: bool = False
    properties: dict[str, str] = {}
    payload: Raw = Raw()
    payload_b64: str | None = None
    input: Input | None = None
    quarantined: tuple[int, ...] = ()


_head = msgspec.json.Decoder(_Head)
_decoder = msgspec.json.Decoder(_Row)
_text = msgspec.json.Decoder(str)


def read(
    path: Path,
    sources: dict[str, SourcePolicy] | None = None,
    told: Callable[[int], None] | None = None,
) -> Iterator[Line]:
    """The file's lines in order, `.gz` inflated.

    `sources` are policies by name for lines that carry none; `told` is given the bytes of the file
    that are read. Raises ConfigError naming the line.
    """
    known = {**DEFAULT_SOURCES, **(sources or {})}
    name, number = str(path), 0
    try:
        with path.open("rb", 0) as file:
            raw = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
            stream = io.BufferedReader(raw, READ_AHEAD)
            for number, line in enumerate(stream, 1):
                if told is not None and number % TOLD_EVERY == 0:
                    told(file.tell())
                if text := line.strip():
                    yield parse(text, known, (name, number))
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigError([f"{path}:{number}: {error}"]) from None
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError([f"{path}: cannot be read: {why}"]) from None


def parse(
    text: bytes, sources: dict[str, SourcePolicy], place: tuple[str, int] | None = None
) -> Line:
    """One line, and where it stands. Raises MsgspecError or ValueError with what is wrong."""
    head = _head.decode(text)
    if head.deliver_at is None and head.received_at is not None:
        at = _aware(head.received_at)
        policy = sources["events"]
        delivery = Delivery(
            transport="http",
            received_at=at,
            payload=text,
            path="/v1/events",
            source=policy.name,
            decoder=policy.decoder,
        )
        return Line(at, delivery, native=True, place=place)
    if head.deliver_at is None:
        raise ValueError("expected `deliver_at` (a delivery) or `received_at` (a native event)")
    at, row = _aware(head.deliver_at), _decoder.decode(text)
    if row.transport == OWN:
        if row.input is None:
            raise ValueError("a line of transport eventd needs `input`")
        return Line(at, None, row.input, place=place)
    if row.transport not in {"http", "mqtt"}:
        raise ValueError(f"transport: expected http, mqtt or eventd, got {row.transport!r}")
    delivery = Delivery(
        transport=row.transport,
        received_at=_aware(row.received_at) if row.received_at else at,
        payload=_payload(row),
        topic=row.topic,
        qos=row.qos,
        retain=row.retain,
        dup=row.dup,
        properties=row.properties,
        method=row.method,
        path=row.path,
        query=row.query,
        headers={name.lower(): value for name, value in row.headers.items()},
    )
    stamped = _stamped(delivery, _source_of(row, sources))
    return Line(at, stamped, quarantined=row.quarantined, place=place)


def line_of(now: datetime, delivery: Delivery | None, inputs: tuple[Input, ...]) -> Iterator[bytes]:
    """The line or lines that replay one journal row."""
    if delivery is None:
        for one in inputs:
            yield _encode({"deliver_at": _stamp(now), "transport": OWN, "input": one})
        return
    row: dict[str, object] = {"deliver_at": _stamp(now), "transport": delivery.transport}
    if delivery.transport == "mqtt":
        row |= {"topic": delivery.topic, "qos": delivery.qos, "retain": delivery.retain}
        row["properties"] = delivery.properties
        if delivery.dup:
            row["dup"] = True
    else:
        row |= {"method": delivery.method, "path": delivery.path, "query": delivery.query}
        row["headers"] = delivery.headers
    try:
        row["payload"] = delivery.payload.decode()
    except UnicodeDecodeError:
        row["payload_b64"] = base64.b64encode(delivery.payload).decode()
    poison = tuple(
        i for i, one in enumerate(inputs) if isinstance(one, Refused) and one.reason == QUARANTINED
    )
    if poison:
        row["quarantined"] = poison
    row["received_at"] = _stamp(delivery.received_at)
    row["source"] = _Source(
        delivery.source,
        delivery.decoder,
        delivery.quiet_for,
        delivery.repeats_every,
        delivery.volatile,
    )
    yield _encode(row)


def _source_of(row: _Row, sources: dict[str, SourcePolicy]) -> _Source:
    if isinstance(row.source, _Source):
        return row.source
    if row.transport == "mqtt":
        name = row.source or "mqtt"
    elif row.path.startswith("/v1/webhooks/"):
        name = row.path.removeprefix("/v1/webhooks/").split("/")[0]
    elif row.path.startswith("/api/"):
        return _Source("api", "")
    else:
        name = "events"
    policy = sources.get(name)
    if policy is None:
        return _Source(name, name)
    return _Source(
        policy.name, policy.decoder, policy.quiet_for, policy.repeats_every, policy.volatile
    )


def _stamped(delivery: Delivery, source: _Source) -> Delivery:
    return msgspec.structs.replace(
        delivery,
        source=source.name,
        decoder=source.decoder,
        quiet_for=source.quiet_for,
        repeats_every=source.repeats_every,
        volatile=source.volatile,
    )


def _payload(row: _Row) -> bytes:
    if row.payload_b64 is not None:
        return base64.b64decode(row.payload_b64, validate=True)
    raw = bytes(row.payload)
    return _text.decode(raw).encode() if raw.startswith(b'"') else raw


def _aware(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no zone; write it as RFC 3339")
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        years = f"the years {FIRST_YEAR} and {LAST_YEAR}"
        raise ValueError(f"{at.isoformat()} is no time between {years}")
    return at if at.tzinfo is UTC else at.astimezone(UTC)


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _encode(row: dict[str, object]) -> bytes:
    return msgspec.json.encode(row) + b"\n"
