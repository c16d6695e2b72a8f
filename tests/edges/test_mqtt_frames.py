"""PUBLISH packets cut from a stream, against packets written by the standard."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventd.sources.frames import (
    HEAD,
    MAX_PROPERTIES,
    MAX_PROPERTY_COUNT,
    Assembly,
    Malformed,
    Publish,
    cut,
    is_publish,
    parse,
    released,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
publishes = st.builds(
    Publish,
    topic=texts,
    payload=st.binary(max_size=300),
    qos=st.integers(1, 2),
    retain=st.booleans(),
    dup=st.booleans(),
    mid=st.integers(1, 65_535),
    properties=st.dictionaries(texts.filter(lambda t: t != "content-type"), texts, max_size=4),
) | st.builds(
    Publish,
    topic=texts,
    payload=st.binary(max_size=300),
    qos=st.just(0),
    retain=st.booleans(),
    dup=st.just(False),
    mid=st.just(0),
    properties=st.fixed_dictionaries({"content-type": texts.filter(bool)}),
)


def varint(value: int) -> bytes:
    """MQTT 5.0, 1.5.5."""
    if value < 128:
        return bytes([value])
    return bytes([value % 128 | 128]) + varint(value // 128)


def text(value: str) -> bytes:
    """MQTT 5.0, 1.5.4."""
    encoded = value.encode()
    return struct.pack("!H", len(encoded)) + encoded


def written(publish: Publish, *, v5: bool) -> bytes:
    """MQTT 5.0 and 3.1.1, 3.3, with properties of every kind before those that count."""
    body = text(publish.topic)
    if publish.qos:
        body += struct.pack("!H", publish.mid)
    if v5:
        properties = b""
        if publish.properties:
            properties += b"\x01\x01\x02\x00\x00\x00\x3c" + b"\x08" + text("reply")
            properties += b"\x09\x00\x02ab" + b"\x0b\xff\x01" + b"\x23\x00\x07"
        for key, value in publish.properties.items():
            if key == "content-type":
                properties += b"\x03" + text(value)
            else:
                properties += b"\x26" + text(key) + text(value)
        body += varint(len(properties)) + properties
    body += publish.payload
    head = 0x30 | publish.dup << 3 | publish.qos << 1 | publish.retain
    return bytes([head]) + varint(len(body)) + body


@given(st.lists(publishes, min_size=1, max_size=5), st.booleans())
def test_packets_read_one_after_the_other_are_those_that_were_written(
    sent: list[Publish], v5: bool
) -> None:
    data = b"".join(written(p, v5=v5) for p in sent)
    got, at = [], 0
    while (found := cut(data, at, v5=v5)) is not None:
        publish, at = found
        got.append(publish)

    assert at == len(data)
    without = [Publish(p.topic, p.payload, p.qos, p.retain, p.dup, p.mid) for p in sent]
    assert got == (sent if v5 else without)


@given(publishes, st.booleans(), st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_a_packet_in_pieces_is_the_packet(sent: Publish, v5: bool, pieces: list[int]) -> None:
    data = written(sent, v5=v5)
    assembly, at = Assembly(10_000), 0
    while assembly.missing:
        size = min(assembly.missing, pieces[at % len(pieces)])
        assembly.add(data[at : at + size])
        at += size

    assert at == len(data)
    assert assembly.publish(v5=v5) == parse(data, 0, len(data), v5=v5)


@given(publishes, st.booleans())
def test_of_a_packet_that_is_too_large_the_envelope_is_kept(sent: Publish, v5: bool) -> None:
    large = Publish(
        sent.topic, bytes(2 * HEAD), sent.qos, sent.retain, sent.dup, sent.mid, sent.properties
    )
    data = written(large, v5=v5)
    assembly = Assembly(HEAD)
    for at in range(0, len(data), 50_000):
        assembly.add(data[at : at + 50_000])

    assert not assembly.missing
    assert assembly.publish(v5=v5) == Publish(
        sent.topic, b"", sent.qos, sent.retain, sent.dup, sent.mid, too_large=True
    )


@pytest.mark.parametrize("length", [127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_a_packet_is_cut_once_it_is_whole(length: int) -> None:
    sent = Publish("t", bytes(length - 6), 1, retain=False, dup=False, mid=7)
    data = written(sent, v5=True)

    assert cut(b"before" + data + b"after", 6, v5=True) == (sent, 6 + len(data))
    for size in (*range(8), len(data) - 1):
        assert cut(data[:size], 0, v5=True) is None


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_a_message_or_malformed(data: bytes, v5: bool) -> None:
    packet = b"\x32" + varint(len(data)) + data
    try:
        found = cut(packet + b"\0\0", 0, v5=v5)
    except Malformed:
        return
    assert found is not None
    publish, end = found
    assert end == len(packet)
    assert len(publish.payload) <= len(data)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\x00\x09ab", "inside a string"),
        (b"\x00\x01a\x00", "before its packet identifier"),
        (b"\x00\x01a\x00\x07\x80", "inside a number"),
        (b"\x00\x01a\x00\x07\x05\x01", "inside its properties"),
        (b"\x00\x01a\x00\x07\x01\x7f", "unknown property 127"),
    ],
)
def test_what_is_wrong_with_a_packet_is_said(body: bytes, why: str) -> None:
    packet = b"\x32" + varint(len(body)) + body
    with pytest.raises(Malformed, match=why):
        cut(packet, 0, v5=True)


@pytest.mark.parametrize(
    ("head", "ours"), [(0x30, True), (0x3D, True), (0x34, True), (0x20, False), (0xD0, False)]
)
def test_publish_is_cut_and_all_else_left(head: int, ours: bool) -> None:
    packet = bytes([head]) + b"\x05\x00\x01a\x00\x07"

    assert is_publish(head) is ours
    assert (cut(packet, 0, v5=False) is not None) is ours


def test_of_user_properties_so_many_bytes_are_kept() -> None:
    many = {f"{n:03}": "x" * 97 for n in range(30)}
    packet = written(Publish("a", b"", 0, False, False, 0, many), v5=True)

    found = cut(packet, 0, v5=True)

    assert found is not None
    assert found[0].properties == dict(list(many.items())[: MAX_PROPERTIES // 100])


def test_of_short_user_properties_so_many_are_kept() -> None:
    many = {f"{n:02}": "" for n in range(100)}

    found = cut(written(Publish("a", b"", 0, False, False, 0, many), v5=True), 0, v5=True)

    assert found is not None
    assert found[0].properties == dict(list(many.items())[:MAX_PROPERTY_COUNT])


def test_there_is_no_qos_3() -> None:
    with pytest.raises(Malformed, match="QoS 3"):
        cut(b"\x36\x05\x00\x01a\x00\x07", 0, v5=False)


@pytest.mark.parametrize(
    ("packet", "mid"),
    [
        (b"\x62\x02\x01\x07", 263),
        (b"\x62\x84\x01\x01\x07\x00\x80\x01" + bytes(128), 263),  # with properties
        (b"\x62\x00", 0),
        (b"\x50\x02\x01\x07", 0),
    ],
)
def test_a_message_is_released_by_a_pubrel(packet: bytes, mid: int) -> None:
    assert released(packet) == mid


def test_a_topic_that_is_no_utf_8_is_taken_all_the_same() -> None:
    found = cut(b"\x30\x04\x00\x01\xff\x00", 0, v5=True)

    assert found is not None
    assert found[0].topic == "\N{REPLACEMENT CHARACTER}"
