"""How the C library keeps memory, for a process that lives for months."""

from __future__ import annotations

import ctypes

# Left to itself, glibc learns from each large block that is given back to take such blocks, up to
# 32 MB, from the heap, where one small block behind them keeps them for good. And every thread
# gets a heap of its own.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
LARGE = 1 << 20  # bytes: blocks from here on are given back to the system at once
SPARE = 4 << 20  # bytes at the end of the heap that are kept for what comes next
HEAPS = 2  # the loop's and the writer's


_C = ctypes.CDLL(None)


def settle_allocator() -> None:
    """Bound what is kept without being used. Where the C library is another one, nothing."""
    mallopt = getattr(_C, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE)
        mallopt(_M_TRIM_THRESHOLD, SPARE)
        mallopt(_M_ARENA_MAX, HEAPS)


def give_back() -> None:
    """Return pages that nothing lies on, also between blocks: glibc looks at the end only.

    Takes half a millisecond, after a storm 20 for 100 MB. Where the C library is another one,
    nothing.
    """
    trim = getattr(_C, "malloc_trim", None)
    if trim is not None:
        trim(0)
