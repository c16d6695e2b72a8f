"""Time series in CSV files: columns `timestamp` and `value`, others are passed over.

A timestamp is ISO 8601, UTC unless it says otherwise, or seconds since 1970. A value that is empty,
NaN or infinite was not measured.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from typing import NamedTuple

from eventd.errors import ConfigError


class Row(NamedTuple):
    """One measurement: as it is written, and as `at` (s since 1970) and `value` (NaN: none)."""

    timestamp: str
    written: str
    at: float
    value: float


def read(file: Path) -> Iterator[Row]:
    """Its rows, in order. Raise ConfigError, with the line, at the first that cannot be read."""
    line = 1
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.reader(stream, strict=True)
            head = [name.strip() for name in next(rows, [])]
            if not {"timestamp", "value"} <= set(head):
                raise _wrong(file, 1, "a header with timestamp and value", ",".join(head))
            when, what = head.index("timestamp"), head.index("value")
            for row in rows:
                line = rows.line_num
                if not row:
                    continue
                if len(row) <= max(when, what):
                    raise _wrong(file, line, f"{len(head)} columns", ",".join(row))
                yield Row(
                    row[when], row[what], _at(file, line, row[when]), _value(file, line, row[what])
                )
    except csv.Error as error:
        raise ConfigError([f"{file}:{line + 1}: no CSV: {error}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            [f"{file}: expected UTF-8, got {error.object[error.start]:#x}"]
        ) from error
    except OSError as error:
        raise ConfigError([f"{file}: {error.strerror}"]) from error


def _at(file: Path, line: int, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError as error:
        expected = "timestamp: a time such as 2026-01-05T14:00:00Z"
        raise _wrong(file, line, expected, text) from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _value(file: Path, line: int, text: str) -> float:
    try:
        return float(text) if text.strip() else nan
    except ValueError as error:
        raise _wrong(file, line, "value: a number", text) from error


def _wrong(file: Path, line: int, expected: str, got: str) -> ConfigError:
    return ConfigError([f"{file}:{line}: expected {expected}, got {got[:80]!r}"])
