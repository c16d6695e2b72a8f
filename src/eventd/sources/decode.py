"""From a delivery to events: which decoder reads what.

A decoder is a pure function. It raises DecodeError only where the whole delivery cannot be read;
one bad event is rejected alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from xxhash import xxh3_128_digest

from eventd.core.model import Delivery
from eventd.errors import DecodeError
from eventd.sources.decoded import Decoded
from eventd.sources.decoders import alertmanager, native

DECODERS: dict[str, Callable[[Delivery], Decoded]] = {
    "alertmanager": alertmanager.decode,
    "native": native.decode,
}

MEMO_BYTES = 8 << 20  # of payloads whose events are remembered
SEEN_ONCE = 10_000  # payloads seen once


def decode(delivery: Delivery, *, trusted: bool = False) -> Decoded:
    """Read it with the decoder its source names.

    `trusted` is for replays: the `source` of a native event counts as it stands.
    """
    if trusted and delivery.decoder == "native":
        return native.decode(delivery, trusted=True)
    decoder = DECODERS.get(delivery.decoder)
    if decoder is None:
        raise DecodeError("decoder", delivery.decoder, "one of " + ", ".join(DECODERS))
    return decoder(delivery)


class Memo:
    """Decodes, and remembers what came before: monitoring repeats itself to the byte.

    A payload is remembered from its second coming on, so that a storm of new ones does not push
    the repeated ones out; the longest unused go first.
    """

    def __init__(self, max_bytes: int = MEMO_BYTES) -> None:
        """`max_bytes` counts payloads; their events take about as much again."""
        self._max_bytes = max_bytes
        self._bytes = 0
        self._known: OrderedDict[tuple[object, ...], tuple[Decoded, int]] = OrderedDict()
        # hashes: where two keys share one, a payload is remembered a coming early
        self._once: set[int] = set()

    def __call__(self, delivery: Delivery) -> Decoded:
        """As `decode`."""
        key: tuple[object, ...] = (
            delivery.source,
            delivery.topic,
            delivery.retain,
            delivery.dup,
            xxh3_128_digest(delivery.payload),
        )
        if headers := delivery.headers:
            own = headers.get("idempotency-key") or headers.get("webhook-id")
            key = (*key, own, headers.get("content-type"))
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known[0]
        decoded = decode(delivery)
        size = len(delivery.payload)
        once = hash(key)
        if once in self._once and size <= self._max_bytes:
            self._once.remove(once)
            self._known[key] = (decoded, size)
            self._bytes += size
            while self._bytes > self._max_bytes:
                self._bytes -= self._known.popitem(last=False)[1][1]
        else:
            if len(self._once) >= SEEN_ONCE:
                self._once.clear()
            self._once.add(once)
        return decoded
