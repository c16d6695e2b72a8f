"""The streams of an `anomaly` rule, in memory, in a snapshot and for people."""

from __future__ import annotations

from msgspec import Struct

from eventd.core.inventory import Inventory
from eventd.core.model import Settings
from eventd.core.rules.budget import Trust
from eventd.core.rules.keys import Key
from eventd.core.rules.rule import Limits, Rule
from eventd.core.scoring.scorer import Reason
from eventd.core.scoring.scorer import State as Learned
from eventd.core.scoring.values import ValueScorer

MAX_CRIES = 8  # times of a stream's alerts that are remembered


class Stream(Struct, gc=False):
    """The values of one key."""

    scorer: ValueScorer
    trust: Trust | None = None  # None: it never cried
    at: float = 0.0  # s since 1970; of the last value
    fires: bool = False
    calm: int = 0  # values in a row, while it fires
    young: bool = True  # it knows too little for a score
    count: int = 0  # values
    value: float = 0.0  # the last one
    surprise: float = 0.0  # of that
    because: tuple[Reason, ...] = ()  # what said so, where it was strange
    cries: tuple[float, ...] = ()  # s since 1970; when its last alerts began


class Scored(Struct, frozen=True):
    """A stream as it stands, for people."""

    rule: str
    key: Key
    group: dict[str, str]
    at: float  # s since 1970; of the last value
    value: float
    surprise: float | None  # None: it knows too little for a score
    needed: float  # of the next value that is to be an alert
    said: tuple[str, ...]  # why the last one is strange, where it is
    count: int  # values
    fires: bool
    cries: tuple[float, ...]  # s since 1970; when its last alerts began


class Hearing(Struct, frozen=True):
    """What tells which events a stream hears, as it is now."""

    rule: Rule
    limits: Limits
    key: Key
    inventory: Inventory
    settings: Settings


class Row(Struct, frozen=True, array_like=True):
    """A stream in a snapshot."""

    key: Key
    learned: Learned
    cried: float
    at: float
    fires: bool
    calm: int
    doubt: float | None = None  # None: it never cried
    young: bool = True
    count: int = 0
    value: float = 0.0
    surprise: float = 0.0
    because: tuple[Reason, ...] = ()
    cries: tuple[float, ...] = ()


def row_of(key: Key, stream: Stream, trust: Trust | None) -> Row:
    """The stream made plain; `trust` as it was then."""
    return Row(
        key,
        stream.scorer.dump(),
        trust.cried if trust is not None else 0.0,
        stream.at,
        stream.fires,
        stream.calm,
        trust.doubt if trust is not None else None,
        stream.young,
        stream.count,
        stream.value,
        stream.surprise,
        stream.because,
        stream.cries,
    )


def stream_of(row: Row) -> Stream:
    """The other way round."""
    trusted = row.cried or row.doubt is not None
    return Stream(
        ValueScorer.load(row.learned),
        Trust(row.cried, row.doubt or 0.0) if trusted else None,
        row.at,
        row.fires,
        row.calm,
        row.young,
        row.count,
        row.value,
        row.surprise,
        row.because,
        row.cries,
    )
