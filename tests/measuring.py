"""Coverage, paused: it takes as long again, where other tests reach the same lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import coverage


@contextmanager
def paused() -> Iterator[None]:
    """Nothing is measured meanwhile."""
    measuring = coverage.Coverage.current()
    if measuring is not None:
        measuring.stop()
    try:
        yield
    finally:
        if measuring is not None:
            measuring.start()
