"""What every decoder returns, and the limits all of them keep."""

from __future__ import annotations

from msgspec import Struct

from eventd.core.model import Event

MAX_EVENTS = 10_000  # a delivery; RELIABILITY §6
MAX_LABELS = 64
MAX_NAME = 128  # characters of a label's name
MAX_VALUE = 4_096  # characters of a label's value, and of any other text
MISSED_REPEATS = 2.5  # intervals without a repeat before a promise is broken: two may be lost


class Decoded(Struct, frozen=True, gc=False):
    """What a delivery holds. `rejected`: position in the delivery, and why."""

    events: tuple[Event, ...]
    rejected: tuple[tuple[int, str], ...] = ()
    truncated: int = 0  # alerts the sender left out and said so


def check_labels(labels: dict[str, str]) -> str:
    """What is wrong with them, or ""."""
    if len(labels) > MAX_LABELS:
        return f"labels: expected at most {MAX_LABELS}, got {len(labels)}"
    for name, value in labels.items():
        if not name or len(name) > MAX_NAME:
            return f"labels: expected names of 1 to {MAX_NAME} characters, got {name[:40]!r}"
        if len(value) > MAX_VALUE:
            return f"labels.{name}: expected at most {MAX_VALUE} characters, got {len(value)}"
    return ""
