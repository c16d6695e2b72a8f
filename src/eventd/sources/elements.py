"""A delivery taken apart, where one bad event must not cost the good ones beside it.

What has far too many parts is refused before they are made: an array of two million zeros fits
into 4 MB and would take 350 MB as two million texts.
"""

from __future__ import annotations

import re

import msgspec

from eventd.errors import DecodeError
from eventd.sources.decoded import MAX_EVENTS

# An event may have on average: an alert of Alertmanager's has three pairs, a native event six.
BRACKETS_AN_EVENT = 16
_STRINGS = rb'"(?:[^"\\]++|\\.)*+"'
_OUTER = re.compile(rb'(?:[^"\[\]{},]++|' + _STRINGS + rb")*+([\[\]{},])", re.DOTALL)
_INNER = re.compile(rb'(?:[^"\[\]{}]++|' + _STRINGS + rb")*+([\[\]{}])", re.DOTALL)
_LINE = re.compile(rb"[^\r\n]+")
_whole = msgspec.json.Decoder(msgspec.Raw)


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
    _whole.decode(payload)  # it is well-formed: from here on brackets and strings match
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
