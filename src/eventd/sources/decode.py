"""From a delivery to events: which decoder reads what.

A decoder is a pure function. It raises DecodeError only where the whole delivery cannot be read;
one bad event is rejected alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from sys import getsizeof

import msgspec
from xxhash import xxh3_128_digest

from eventd.complaints import has_nul
from eventd.core.model import Delivery
from eventd.errors import DecodeError
from eventd.sources.decoded import KEY_HEADERS, Decoded
from eventd.sources.decoders import alertmanager, native

DECODERS: dict[str, Callable[[Delivery], Decoded]] = {
    "alertmanager": alertmanager.decode,
    "native": native.decode,
}

MEMO_BYTES = 48 << 20  # of what is remembered; of usual payloads some 30,000
# Bytes that what is remembered takes besides its texts, measured on CPython 3.11
ENTRY_BYTES = 200
EVENT_BYTES = 512  # without labels
LABEL_BYTES = 112
REJECTED_BYTES = 64
SEEN_ONCE = 50_000  # payloads seen once, 80 bytes each


def decode(delivery: Delivery, *, trusted: bool = False) -> Decoded:
    """Read it with the decoder its source names.

    `trusted` is for replays: the `source` of a native event counts as it stands.
    """
    if trusted and delivery.decoder == "native":
        decoded = native.decode(delivery, trusted=True)
    else:
        decoder = DECODERS.get(delivery.decoder)
        if decoder is None:
            raise DecodeError("decoder", delivery.decoder, "one of " + ", ".join(DECODERS))
        decoded = decoder(delivery)
    return _without_nul(decoded) if has_nul(delivery.payload) else decoded


def _without_nul(decoded: Decoded) -> Decoded:
    """Reject events with NUL."""
    good, rejected = [], list(decoded.rejected)
    for place, event in zip(decoded.places(), decoded.events, strict=True):
        if has_nul(msgspec.json.encode(event)):
            rejected.append((place, "expected text without NUL, got one with it"))
        else:
            good.append(event)
    return Decoded(tuple(good), tuple(sorted(rejected)), decoded.truncated)


class Memo:
    """Decodes, and remembers what came before: monitoring repeats itself to the byte.

    A payload is remembered from its second coming on, so that a storm of new ones does not push
    the repeated ones out; the longest unused go first.
    """

    def __init__(self, max_bytes: int = MEMO_BYTES) -> None:
        """`max_bytes` counts all that is kept, with flat sizes for what is no text."""
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
            # sources may share a name, and not what else was said of them
            delivery.decoder,
            delivery.quiet_for,
            delivery.repeats_every,
            delivery.volatile,
            xxh3_128_digest(delivery.payload),
        )
        if headers := delivery.headers:
            key = (*key, *map(headers.get, KEY_HEADERS), headers.get("content-type"))
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known[0]
        decoded = decode(delivery)
        once = hash(key)
        if once not in self._once:
            if len(self._once) >= SEEN_ONCE:
                self._once.clear()
            self._once.add(once)
        elif (size := _size(key, delivery.payload, decoded)) <= self._max_bytes:
            self._once.remove(once)
            self._known[key] = (decoded, size)
            self._bytes += size
            while self._bytes > self._max_bytes:
                self._bytes -= self._known.popitem(last=False)[1][1]
        return decoded


def _size(key: tuple[object, ...], payload: bytes, decoded: Decoded) -> int:
    """Bytes it takes to remember: the payload stands for the texts of its events."""
    size = ENTRY_BYTES + sum(map(getsizeof, key)) + len(payload)
    size += sum(EVENT_BYTES + LABEL_BYTES * len(event.labels) for event in decoded.events)
    return size + sum(REJECTED_BYTES + getsizeof(error) for _, error in decoded.rejected)
