"""What every decoder returns, and the limits all of them keep."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from eventd.core.model import Event

MAX_EVENTS = 10_000  # a delivery; RELIABILITY §6
MAX_LABELS = 64
MAX_NAME = 128  # characters of a label's name
MAX_VALUE = 4_096  # characters of a label's value, and of any other text
# Where a sender puts its own key for a whole delivery, its name in lower case; the first counts.
KEY_HEADERS = ("idempotency-key", "webhook-id", "x-github-delivery")
MISSED_REPEATS = 2.5  # intervals without a repeat before a promise is broken: two may be lost


LabelName = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
LabelValue = Annotated[str, Meta(max_length=MAX_VALUE)]


class Decoded(Struct, frozen=True, gc=False):
    """What a delivery holds. `rejected`: position in the delivery, and why."""

    events: tuple[Event, ...]
    rejected: tuple[tuple[int, str], ...] = ()
    truncated: int = 0  # alerts the sender left out and said so
