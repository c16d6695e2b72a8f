"""A delivery taken apart, where one bad event must not cost the good ones beside it.

What has far too many parts is refused before they are made: an array of two million zeros fits
into 4 MB and would take 350 MB as two million texts.
"""

from __future__ import annotations

import re
from itertools import islice

import msgspec

from eventd.errors import DecodeError
from eventd.sources.decoded import MAX_EVENTS

# An event may have on average: an alert of Alertmanager's has three pairs, a native event six.
BRACKETS_AN_EVENT = 16
# Keys and values an event may have, to be read at all: its limits come to some 2,200, and short
# texts take thirty times their bytes. A delivery with more is read one event after the other.
MAX_TEXTS = 150_000
# Loops are unrolled, for a tenth of a second of 8 MiB: text, then strings with text behind each.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_OUTER = re.compile(rb'[^"\[\]{},]*+(?:' + _STRING + rb'[^"\[\]{},]*+)*+([\[\]{},])', re.DOTALL)
_INNER = re.compile(rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+([\[\]{}])', re.DOTALL)
_LINE = re.compile(rb"[^\r\n]+")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_whole = msgspec.json.Decoder(msgspec.Raw)


def check_texts(payload: bytes) -> None:
    """Raise DecodeError where one event has too many, before they are made."""
    if has_texts(payload):
        raise DecodeError("", f"over {MAX_TEXTS} texts", f"at most {MAX_TEXTS} an event")


def has_texts(payload: bytes, over: int = MAX_TEXTS) -> bool:
    """Whether it has more texts than `over`, keys among them. Milliseconds, whatever its size."""
    if len(payload) < 2 * over or payload.count(b'"') <= 2 * over:
        return False
    plain = payload.replace(b"\\\\", b"") if b"\\\\" in payload else payload
    return plain.count(b'"') - plain.count(b'\\"') > 2 * over


def without_halves(payload: bytes) -> bytes:
    """As long, with all at its place; what may be half a surrogate pair is another character."""
    return _SURROGATE.sub(rb"\\u00", payload)


def is_json(payload: bytes) -> bool:
    """Whether it is one value; of its texts only the escapes are looked at."""
    try:
        _whole.decode(payload)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def is_lines(payload: bytes) -> bool:
    """Whether one of its lines is an object by itself, while the whole is not."""
    lines = islice(_LINE.finditer(payload), MAX_EVENTS)
    return not is_json(payload) and any(
        line[0].lstrip().startswith(b"{") and is_json(line[0]) for line in lines
    )


def lines_of(payload: bytes) -> list[bytes]:
    """Those that are not empty. Raises DecodeError where they are too many."""
    found = []
    for line in _LINE.finditer(payload):
        if line[0].strip():
            found.append(line[0])
            _check(len(found))
    return found


def elements_of(payload: bytes) -> list[bytes]:
    """Those of a JSON array, as they stand; the payload begins with its bracket.

    Raises DecodeError where they are too many, and what msgspec raises where it is no JSON.
    """
    try:
        _whole.decode(payload)
    except msgspec.DecodeError:
        _whole.decode(without_halves(payload))  # which are for the event they are in to answer
    # it is well-formed: from here on brackets and strings match
    found: list[bytes] = []
    start = at = 1
    depth = 0
    for _ in range(MAX_EVENTS * BRACKETS_AN_EVENT):
        token = (_INNER if depth else _OUTER).match(payload, at)
        if token is None:
            break
        at = token.end()
        if token[1] in b"[{":
            depth += 1
        elif token[1] == b"," or not depth:
            part = payload[start : at - 1].strip()
            if part:
                found.append(part)
                _check(len(found))
            if token[1] != b",":
                return found
            start = at
        else:
            depth -= 1
    raise DecodeError("", "more brackets than events have", f"at most {MAX_EVENTS} events")


def _check(parts: int) -> None:
    if parts > MAX_EVENTS:
        raise DecodeError("", f"over {MAX_EVENTS} events", f"at most {MAX_EVENTS} a delivery")
