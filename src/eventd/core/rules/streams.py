"""The streams of an `anomaly` rule, and how a snapshot gets them without holding up who scores."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from weakref import ref

from msgspec import Struct

from eventd.core.inventory import Inventory
from eventd.core.model import Settings
from eventd.core.rules.budget import Trust
from eventd.core.rules.rule import Limits, Rule
from eventd.core.scoring.scorer import Reason
from eventd.core.scoring.scorer import State as Learned
from eventd.core.scoring.trends import Bounds
from eventd.core.scoring.values import ValueScorer

MAX_CRIES = 8  # times of a stream's alerts that are remembered
Key = tuple[str, ...]


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
    kept_for: int = 0  # the last snapshot that has it as it was then


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


class Streams:
    """By key, the longest unheard first.

    A stream is about to change where it was asked for by `get` or `add`, and so made plain before
    that for each snapshot which has not come to it yet.
    """

    def __init__(self) -> None:
        """None."""
        self.by_key: OrderedDict[Key, Stream] = OrderedDict()
        self._snapshots = 0
        self._frozen: list[ref[Frozen]] = []  # those that may still be read

    def __len__(self) -> int:
        return len(self.by_key)

    def get(self, key: Key) -> Stream | None:
        """To change it; None where there is none."""
        stream = self.by_key.get(key)
        if stream is not None and stream.kept_for < self._snapshots:
            for frozen in filter(None, [one() for one in self._frozen]):
                if stream.kept_for < frozen.number:
                    frozen.early[key] = frozen.row(key, stream)
            stream.kept_for = self._snapshots
        return stream

    def add(self, key: Key, bounds: Bounds) -> Stream:
        """A new one, whose values must not be beyond the bounds."""
        stream = self.by_key[key] = Stream(ValueScorer(bounds), kept_for=self._snapshots)
        return stream

    def freeze(self, budget: tuple[float, float]) -> Frozen:
        """All as they are now, and the budget before them."""
        self._snapshots += 1
        frozen = Frozen(self._snapshots, budget, list(self.by_key.items()))
        self._frozen = [one for one in self._frozen if one() is not None]
        self._frozen.append(ref(frozen))
        return frozen

    def load(self, row: Row) -> Stream:
        """Take up one of a snapshot, in order."""
        trusted = row.cried or row.doubt is not None
        stream = self.by_key[row.key] = Stream(
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
            self._snapshots,
        )
        return stream


class Frozen:
    """The streams as they were at one moment: each is made plain when it is its turn.

    That costs some 15 us, too much for all of them at once. It may be in another thread: a stream
    that changes meanwhile is in `early` as it was, before `kept_for` says so and before it changes,
    and what was read of it in between is thrown away.
    """

    def __init__(
        self, number: int, budget: tuple[float, float], streams: list[tuple[Key, Stream]]
    ) -> None:
        """`number` of the snapshot."""
        self.number, self._budget, self._streams = number, budget, streams
        self.early: dict[Key, Row] = {}
        # what operators say changes these alone, and they are few
        self._trusts = {
            id(one.trust): (one.trust.cried, one.trust.doubt)
            for _, one in streams
            if one.trust is not None
        }

    def __iter__(self) -> Iterator[object]:
        """The budget, then the streams, in order."""
        yield self._budget
        for key, stream in self._streams:
            row = self.row(key, stream) if stream.kept_for < self.number else None
            yield row if row and stream.kept_for < self.number else self.early[key]

    def row(self, key: Key, stream: Stream) -> Row:
        """The stream made plain, if it has not changed."""
        cried, doubt = self._trusts.get(id(stream.trust), (0.0, None))
        return Row(
            key,
            stream.scorer.dump(),
            cried,
            stream.at,
            stream.fires,
            stream.calm,
            doubt,
            stream.young,
            stream.count,
            stream.value,
            stream.surprise,
            stream.because,
            stream.cries,
        )
