"""From a delivery to events: which decoder reads what.

A decoder is a pure function. It raises DecodeError only where the whole delivery cannot be read;
one bad event is rejected alone.
"""

from __future__ import annotations

from collections.abc import Callable

from eventd.core.model import Delivery
from eventd.errors import DecodeError
from eventd.sources.decoded import Decoded
from eventd.sources.decoders import alertmanager, native

DECODERS: dict[str, Callable[[Delivery], Decoded]] = {
    "alertmanager": alertmanager.decode,
    "native": native.decode,
}


def decode(delivery: Delivery, *, trusted: bool = False) -> Decoded:
    """Read it with the decoder its source names.

    `trusted` is for replays: `source` and `received_at` of a native event count as they stand.
    """
    if trusted and delivery.decoder == "native":
        return native.decode(delivery, trusted=True)
    decoder = DECODERS.get(delivery.decoder)
    if decoder is None:
        raise DecodeError("decoder", delivery.decoder, "one of " + ", ".join(DECODERS))
    return decoder(delivery)
