"""MQTT PUBLISH packets, cut from the bytes of a connection.

The client library gives every packet three system calls and a turn of the event loop, 30 to 70 µs
a message. PUBLISH is the one packet that comes by the thousand, so these are cut here, many a
turn; all others stay with the library. Layout: MQTT 3.1.1 and 5.0, section 3.3.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from eventd.errors import EventdError

# Bytes kept of a packet that is too large: its topic (2 + 65,535) and packet id lie within.
HEAD = 65_544
MAX_PROPERTIES = 2_048  # bytes of user properties that are kept; what comes after them is not
MAX_PROPERTY_COUNT = 32  # as each takes some 150 bytes, however short
MAX_CONTENT_TYPE = 256  # bytes kept
_PUBLISH = 0x30
_PUBREL = 0x62
_MAX_QOS = 2
_MORE = 0x80  # in a variable byte integer: another byte follows
_MAX_LENGTH_BYTES = 4
_LEAST = 4  # bytes of a PUBLISH: a topic has a length
_TWO_BYTES = 1 << 14  # from here on a length takes more
# Bytes of a property's value, by its identifier; 0 = a length and as many. MQTT 5.0, 2.2.2.2
_PROPERTY_SIZES = {1: 1, 2: 4, 8: 0, 9: 0, 35: 2}
_CONTENT_TYPE = 3
_SUBSCRIPTION_IDENTIFIER = 11
_USER_PROPERTY = 38


class Malformed(EventdError):
    """These bytes are no MQTT: nothing after them can be read, the connection is dropped."""


class Publish(Struct, frozen=True, gc=False):
    """One message as the broker sent it; `mid` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    mid: int
    properties: dict[str, str] = {}  # user properties, and `content-type` where given
    too_large: bool = False  # payload and properties were thrown away


def is_publish(head: int) -> bool:
    """Whether a packet that begins with this byte is cut here: PUBLISH."""
    return head & 0xF0 == _PUBLISH


def released(packet: bytes) -> int:
    """The id of the QoS 2 message whose PUBREL is at the front; 0 where another packet is."""
    if packet[0] != _PUBREL:
        return 0
    _, at = _varint(packet, 1, len(packet))
    return int.from_bytes(packet[at : at + 2])


def packet_end(data: bytes | bytearray, at: int) -> int:
    """Where the packet that starts at `at` ends; 0 while the bytes that say so are missing."""
    length = shift = 0
    for i in range(at + 1, min(at + 1 + _MAX_LENGTH_BYTES, len(data))):
        byte = data[i]
        length |= (byte & ~_MORE) << shift
        if byte < _MORE:
            return i + 1 + length
        shift += 7
    if len(data) - at > _MAX_LENGTH_BYTES:
        raise Malformed("a packet's length takes more than four bytes")
    return 0


def cut(data: bytes, at: int, *, v5: bool) -> tuple[Publish, int] | None:
    """Read the PUBLISH packet that starts at `at`, and tell where it ends.

    None where another packet starts there, or not the whole of one is there. Raise Malformed.
    """
    size = len(data)
    if at + _LEAST > size or not is_publish(data[at]):
        return None
    start = at + 2
    length = data[at + 1]
    if length >= _MORE:
        length += (data[at + 2] - 1) << 7
        start = at + 3
    if length < _TWO_BYTES:
        end = start + length
    else:
        end = packet_end(data, at)
        start = at + (4 if data[at + 3] < _MORE else 5)
    if not 0 < end <= size:
        return None
    return _publish(data, data[at], start, end, v5=v5), end


def parse(data: bytes | bytearray, at: int, end: int, *, v5: bool) -> Publish:
    """Read the PUBLISH packet that is ``data[at:end]``; Malformed if it is none."""
    start = at + 2
    while data[start - 1] >= _MORE:
        start += 1
    return _publish(data, data[at], start, end, v5=v5)


def _publish(data: bytes | bytearray, head: int, at: int, end: int, *, v5: bool) -> Publish:
    """Read what comes after the packet's first byte and its length."""
    topic, at = _bytes(data, at, end)
    qos = head >> 1 & 3
    mid = 0
    if qos > _MAX_QOS:
        raise Malformed("a PUBLISH at QoS 3")
    if qos:
        if at + 2 > end:
            raise Malformed("a PUBLISH ends before its packet identifier")
        mid = data[at] << 8 | data[at + 1]
        at += 2
    properties: dict[str, str] = {}
    if v5 and at < end and not data[at]:
        at += 1  # no properties
    elif v5:
        size, at = _varint(data, at, end)
        if size:
            if at + size > end:
                raise Malformed("a PUBLISH ends inside its properties")
            properties = _properties(data, at, at + size)
            at += size
    return Publish(
        # brokers must refuse a topic that is not UTF-8; from one that does not, take it anyway
        topic.decode(errors="replace"),
        bytes(data[at:end]),
        qos,
        bool(head & 1),
        bool(head & 8),
        mid,
        properties,
    )


class Assembly:
    """One PUBLISH packet that comes in pieces; of one larger than `max_bytes` only the HEAD."""

    def __init__(self, max_bytes: int) -> None:
        """Starts empty."""
        self._max_bytes = max_bytes
        self._data = bytearray()
        self._taken = 0
        self._end = 0

    @property
    def missing(self) -> int:
        """How many bytes may be read next without reading past the packet; 0 when it is whole."""
        return self._end - self._taken if self._end else 1

    @property
    def too_large(self) -> bool:
        """The payload is thrown away as it comes in."""
        return self._end > self._max_bytes

    def add(self, data: bytes) -> None:
        """Take the next bytes of the packet."""
        self._taken += len(data)
        self._data += data
        if not self._end:
            self._end = packet_end(self._data, 0)
            if 0 < self._end < _LEAST:
                raise Malformed("a PUBLISH ends before its topic")
        if self.too_large:
            del self._data[HEAD:]

    def publish(self, *, v5: bool) -> Publish:
        """Give the whole packet; one that is `too_large` without payload and properties."""
        if self.too_large:
            head = parse(self._data, 0, len(self._data), v5=False)
            return replace(head, payload=b"", too_large=True)
        return parse(self._data, 0, self._end, v5=v5)


def _properties(data: bytes | bytearray, at: int, end: int) -> dict[str, str]:
    found: dict[str, str] = {}
    content_type: bytes | bytearray = b""
    kept = 0
    while at < end:
        kind = data[at]
        at += 1
        if kind == _USER_PROPERTY:
            key, at = _bytes(data, at, end)
            value, at = _bytes(data, at, end)
            kept += len(key) + len(value)
            if kept <= MAX_PROPERTIES and len(found) < MAX_PROPERTY_COUNT:
                found[key.decode(errors="replace")] = value.decode(errors="replace")
        elif kind == _CONTENT_TYPE:
            content_type, at = _bytes(data, at, end)
        elif kind == _SUBSCRIPTION_IDENTIFIER:
            _, at = _varint(data, at, end)
        elif kind in _PROPERTY_SIZES:
            at += _PROPERTY_SIZES[kind] or _bytes(data, at, end)[1] - at
        else:
            raise Malformed(f"a PUBLISH has the unknown property {kind}")
    if content_type:
        found["content-type"] = content_type[:MAX_CONTENT_TYPE].decode(errors="replace")
    return found


def _bytes(data: bytes | bytearray, at: int, end: int) -> tuple[bytes | bytearray, int]:
    """The string or binary at `at`, and where it ends."""
    if at + 2 <= end:
        start = at + 2
        stop = start + (data[at] << 8 | data[at + 1])
        if stop <= end:
            return data[start:stop], stop
    raise Malformed("a PUBLISH ends inside a string")


def _varint(data: bytes | bytearray, at: int, end: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & ~_MORE) << shift
        if byte < _MORE:
            return value, at
        shift += 7
    raise Malformed("a PUBLISH ends inside a number")
