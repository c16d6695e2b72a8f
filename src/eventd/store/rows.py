"""How values become columns and bodies, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec
from msgspec import msgpack
from xxhash import xxh3_64_intdigest

from eventd.core.model import Alert, Delivery, Fact, Incident, Input, Maintenance, Silence
from eventd.store.queries import SqlRow

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_SIGN, _WRAP = 1 << 63, 1 << 64

encode = msgpack.Encoder().encode
decode_inputs = msgpack.Decoder(tuple[Input, ...]).decode
decode_delivery = msgpack.Decoder(Delivery).decode
decode_alert = msgpack.Decoder(Alert).decode
decode_incident = msgpack.Decoder(Incident).decode
decode_silence = msgpack.Decoder(Silence).decode
decode_maintenance = msgpack.Decoder(Maintenance).decode
decode_entries = msgpack.Decoder(list[tuple[int, Fact]]).decode
decode_fact: Callable[[bytes], Fact] = msgpack.Decoder(Fact).decode
encode_json = msgspec.json.Encoder().encode


@lru_cache(maxsize=1_024)
def micros(at: datetime) -> int:
    """Microseconds since 1970; exact, unlike `timestamp()`."""
    return (at - EPOCH) // MICROSECOND


def moment(at: int) -> datetime:
    """The time so many microseconds after 1970. Raises MsgspecError, as every decoder here."""
    try:
        return EPOCH + timedelta(microseconds=at)
    except OverflowError as e:
        raise msgspec.ValidationError(f"{at} is no time") from e


def digest_of(facts: Sequence[Fact]) -> int:
    """Equal exactly when the facts are, for all that matters; a signed 64-bit integer."""
    digest = xxh3_64_intdigest(encode(facts))
    return digest if digest < _SIGN else digest - _WRAP


def json_array(texts: Sequence[str]) -> str:
    """For `json_each`, which makes one step of many values."""
    return encode_json(texts).decode()


def incident_row(incident: Incident) -> SqlRow:
    """For `put_incident`."""
    return (
        incident.id,
        incident.state.value,
        incident.priority,
        incident.service,
        incident.rule,
        micros(incident.opened_at),
        micros(incident.updated_at),
        None if incident.closed_at is None else micros(incident.closed_at),
        encode(incident),
    )


def alert_row(alert: Alert) -> SqlRow:
    """For `put_alert`."""
    return (
        alert.fingerprint,
        alert.status.value,
        int(alert.severity),
        alert.service,
        alert.ci,
        alert.name,
        alert.source,
        alert.incident,
        micros(alert.last_seen_at),
        encode(alert),
    )
