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

VALUES = "values"  # what a rule looks at, of which alone there is a picture
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


class Scored(Struct, frozen=True, kw_only=True):
    """A stream as it stands, for people. Times are seconds since 1970."""

    rule: str
    of: str  # values, rates, silences or new
    key: Key
    group: dict[str, str]
    at: float  # of its last value or event; of rates, when that one's window began
    since: float | None = None  # from when on it is known; None of values
    count: int  # values, or events
    value: float | None = None  # the last; events of the window that runs; s since the last event
    usual: float | None = None  # at most, at this hour; None of values, and where it is not known
    surprise: float | None = None  # None: it knows too little for a score, or is only new or not
    needed: float  # of what is to be an alert
    said: tuple[str, ...]  # of values why the last one is strange, where it is; else what is usual
    fires: bool
    cries: tuple[float, ...] = ()  # of values: when its last alerts began


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
