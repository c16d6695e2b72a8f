"""What every decoder returns, and the limits all of them keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from msgspec import Meta, Struct

from eventd.core.model import Arrival, Delivery, Event
from eventd.errors import DecodeError

MAX_EVENTS = 10_000  # a delivery; RELIABILITY §6
MAX_LABELS = 64
MAX_NAME = 128  # characters of a label's name
MAX_UNREADABLE = 64 << 10  # bytes kept of what cannot be read: junk shall not fill the disk
MAX_VALUE = 4_096  # characters of a label's value, and of any other text
# Where a sender puts its own key for a whole delivery, its name in lower case. The first counts,
# and is the one that a signature may be over: whoever sends a signed call again cannot change it.
KEY_HEADERS = ("webhook-id", "idempotency-key", "x-github-delivery")
MISSED_REPEATS = 2.5  # intervals without a repeat before a promise is broken: two may be lost


LabelValue = Annotated[str, Meta(max_length=MAX_VALUE)]
# The type has no limits for names: msgspec keeps plain ones in a cache, and stores them once.
Labels = dict[str, LabelValue]


class Decoded(Struct, frozen=True, gc=False):
    """What a delivery holds. `rejected`: position in the delivery, and why."""

    events: tuple[Event, ...]
    rejected: tuple[tuple[int, str], ...] = ()
    truncated: int = 0  # alerts the sender left out and said so

    def places(self) -> Iterator[int]:
        """The events' positions in the delivery."""
        bad = {place for place, _ in self.rejected}
        return (place for place in range(len(bad) + len(self.events)) if place not in bad)


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise DecodeError where there are too many, or one of their names is empty or too long."""
    if len(labels) > MAX_LABELS:
        raise DecodeError("labels", str(len(labels)), f"at most {MAX_LABELS} labels")
    # what is short enough all together need not be looked at one by one
    if "" in labels or len("".join(labels)) > MAX_NAME:
        for name in labels:
            if not 1 <= len(name) <= MAX_NAME:
                raise DecodeError("labels", name, f"a name of 1 to {MAX_NAME} characters")


def arrival_of(delivery: Delivery) -> Arrival:
    """Whether it happened now, or is told again by a broker that kept or never saw it taken."""
    if delivery.retain:
        return Arrival.RETAINED
    return Arrival.REDELIVERED if delivery.dup else Arrival.LIVE
