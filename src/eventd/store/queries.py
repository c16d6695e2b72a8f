"""The named statements of queries.sql, and inserting many rows in one step."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import chain

SqlValue = str | bytes | int | None
SqlRow = tuple[SqlValue, ...]

# Rows a statement inserts at most. SQLite's step gives up the interpreter lock and may wait 5 ms
# to get it back from a busy loop, so rows travel together: 40 rows one by one took 275 ms
# beside a busy thread, together 35 ms.
MAX_ROWS = 128
# Up to here there is a prepared statement for every number of rows, above for powers of two.
EXACT_ROWS = 16
# Bytes of rows whose number has a statement of its own: each keeps what it was given last.
LIGHT = 256 << 10
HEAVY = 1 << 20  # and of rows that travel together where there are more

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def _load() -> dict[str, str]:
    """Name → statement. Raise ValueError where the file names one twice."""
    _, *parts = _NAME.split(files("eventd.store").joinpath("queries.sql").read_text("utf-8"))
    named = dict(zip(parts[::2], (text.strip() for text in parts[1::2]), strict=True))
    if len(named) * 2 != len(parts):
        raise ValueError("a query is named twice")
    return named


QUERIES = _load()


@lru_cache(maxsize=512)
def _repeated(name: str, rows: int) -> str:
    """The statement with its VALUES tuple repeated."""
    head, values, rest = QUERIES[name].partition("VALUES ")
    end = rest.index(")") + 1
    return head + values + ", ".join([rest[:end]] * rows) + rest[end:]


def _weigh(rows: Sequence[SqlRow]) -> int:
    return sum([len(body) for row in rows if type(body := row[-1]) is bytes])


def insert(db: sqlite3.Connection, name: str, rows: Sequence[SqlRow]) -> None:
    """Insert all rows, in order, in as few steps as there are prepared statements for.

    What may be large in a row is its last value.
    """
    start, left = 0, len(rows)
    exact = EXACT_ROWS if _weigh(rows) <= LIGHT else 0
    while left:
        size = left if left <= exact else min(MAX_ROWS, 1 << (left.bit_length() - 1))
        while size > 1 and not exact and _weigh(rows[start : start + size]) > HEAVY:
            size >>= 1
        values = list(chain.from_iterable(rows[start : start + size]))
        db.execute(_repeated(name, size), values)
        start, left = start + size, left - size
