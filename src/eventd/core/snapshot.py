"""The engine's state as plain data: named sections of values, cut into frames of bytes.

A frame holds at most FRAME_ITEMS values and some FRAME_BYTES, so that whoever encodes and writes it
never holds the interpreter or the disk for long; what is larger than FRAME_MOST is one value.
Sections a newer eventd does not know are an error; sections it misses are empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

import msgspec
from msgspec import Struct

FRAME_ITEMS = 1_000
FRAME_BYTES = 256 << 10
FRAME_MOST = 4 * FRAME_BYTES  # where values are far larger than those before them
FIRST_ITEMS = 10  # of a section, whose size is not known yet
PROBED = 64  # of so many values one is weighed first: to weigh each takes a third longer
T = TypeVar("T")

_encode = msgspec.msgpack.Encoder().encode


class Frame(Struct, frozen=True, array_like=True):
    """Some values of one section."""

    section: str
    items: list[msgspec.Raw]


class Snapshot(Struct, frozen=True):
    """The engine's state at one journal position; `frames` may run in another thread."""

    sections: dict[str, Iterable[object]]  # some of the values are made as they are asked for

    def frames(self) -> Iterator[bytes]:
        """Encode piece by piece, in order, and let go of what is encoded: it can be done once.

        In a storm most alerts of a snapshot are forgotten before it is written, and would be held
        by it alone.
        """
        while self.sections:
            name = next(iter(self.sections))
            take, size = _taken(self.sections.pop(name)), FIRST_ITEMS
            while values := take(size):
                length = 0
                for frame in _cut(name, values):
                    length += len(frame)
                    yield frame
                # as many as would fill one, were they like those before
                size = min(FRAME_ITEMS, max(1, len(values) * FRAME_BYTES // length))


def _taken(items: Iterable[object]) -> Callable[[int], list[object]]:
    """Gives the next so many of them; what it gave of a list it does not hold."""
    if isinstance(items, list):
        return partial(_last, items[::-1])
    rest = iter(items)
    return lambda size: list(islice(rest, size))


def _last(items: list[object], size: int) -> list[object]:
    last = items[: -size - 1 : -1]
    del items[-size:]
    return last


def _cut(section: str, values: list[object]) -> Iterator[bytes]:
    """In one frame, or in as many as they take where they are unlike those before."""
    probed = sum(len(_encode(one)) for one in values[PROBED // 2 :: PROBED])
    if probed * PROBED <= FRAME_MOST:
        frame = _encode((section, values))
        if len(frame) <= FRAME_MOST or len(values) == 1:
            yield frame
            return
        del frame  # which may be large
    half = len(values) // 2
    yield from _cut(section, values[:half])
    yield from _cut(section, values[half:])


class Restored:
    """A snapshot read back: sections of undecoded values, decoded as their owner asks."""

    def __init__(self, frames: Iterable[bytes]) -> None:
        """Raise msgspec.DecodeError where a frame is not one."""
        decoder = msgspec.msgpack.Decoder(Frame)
        self._sections: dict[str, list[msgspec.Raw]] = {}
        for data in frames:
            frame = decoder.decode(data)
            self._sections.setdefault(frame.section, []).extend(frame.items)

    def holds_the_same(self, other: Restored) -> bool:
        """Whether both have the same values, however those were cut into frames."""
        return self._sections == other._sections

    def read(self, section: str, kind: type[T]) -> Iterator[T]:
        """The section's values, in order."""
        decoder = msgspec.msgpack.Decoder(kind)
        for raw in self._sections.get(section, ()):
            yield decoder.decode(raw)
