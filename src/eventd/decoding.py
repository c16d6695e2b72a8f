"""What recorded deliveries decode to, exactly as live."""

from __future__ import annotations

from eventd.admission import command_from
from eventd.core.model import QUARANTINED, Delivery, Input, Refused
from eventd.errors import DecodeError
from eventd.recording import Line
from eventd.sources.decode import decode


def inputs_of_line(line: Line) -> tuple[Input, ...]:
    """What the line's delivery decodes to: what was quarantined is so again."""
    if line.delivery is None:
        return ()
    inputs = _decoded(line.delivery, native=line.native)
    if not line.quarantined:
        return inputs
    source = line.delivery.source
    return tuple(
        Refused(source, QUARANTINED, "it is quarantined where it was recorded", index)
        if index in line.quarantined
        else one
        for index, one in enumerate(inputs)
    )


def _decoded(delivery: Delivery, *, native: bool) -> tuple[Input, ...]:
    if delivery.path.startswith("/api/"):
        try:
            return (command_from(delivery),)
        except DecodeError:
            return ()
    try:
        decoded = decode(delivery, trusted=native)
    except DecodeError as error:
        return (Refused(delivery.source, "decode", str(error)),)
    if not decoded.rejected:
        return decoded.events
    refused = (Refused(delivery.source, "invalid", e, i) for i, e in decoded.rejected)
    return (*decoded.events, *refused)
