"""What a scorer answers with, and the one shape all of them have."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

State = tuple[int, bytes, bytes, bytes, bytes]  # layout, and what only its scorer reads


class Reason(Struct, frozen=True, gc=False):
    """What one part of a scorer saw: `observed` beside what is usual, `low` to `high`.

    `part` names it; `surprise` is -log10 of how often it sees as much; `hour` is the hour of the
    week that is compared with, 0 is Monday 00:00 UTC, -1 is none. Of a slope, which is an hour's,
    `lasts` is for how long it has gone on (s) and `due` (s since 1970) when it reaches `bound`, if
    there is one ahead.
    """

    part: str
    surprise: float
    observed: float
    low: float
    high: float
    hour: int = -1
    lasts: float = 0.0
    bound: float | None = None
    due: float = 0.0


class Score(Struct, frozen=True, gc=False):
    """How strange, in [0, 1].

    `raw_score` says it of every value, with what came just before it: strange values add up.
    `anomaly_score` says it of the value alone, from its `surprise`, and is 0 while one anomaly that
    has alarmed may last. It alarms from `scorer.THRESHOLD` on. `low` to `high` is what was usual
    just then; `because` has the parts that say so, the one that says most first, at most two.
    """

    raw_score: float
    anomaly_score: float
    low: float
    high: float
    because: tuple[Reason, ...]
    surprise: float

    @property
    def alarm(self) -> bool:
        """It is strange enough for somebody to hear of it."""
        return self.anomaly_score >= THRESHOLD


HALF = 5.0  # surprise of two parts together that scores 0.5: each once in about 300 values
THRESHOLD = 0.5  # of `anomaly_score`, for every stream


def score_of(surprise: float) -> float:
    """In [0, 1); it never reaches 1, so that of two the stranger one can be told."""
    return surprise / (surprise + HALF)


class Scorer(Protocol):
    """Scores a value by what it has learned, then learns it: never the reverse.

    Deterministic and bounded. `dump` is plain data; what `load` makes of it goes on to the last
    digit as the one that was dumped.
    """

    def score_then_learn(self, at: float, value: float) -> Score | None:
        """None until it knows enough, and for what is not finite, which is not learned either.

        `at` is seconds since 1970, UTC; it may stand still, jump and go backwards.
        """
        ...

    def dump(self) -> State:
        """All it knows."""
        ...
