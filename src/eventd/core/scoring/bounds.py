"""Where a quantity must not be, as far as its name and its unit say so."""

from __future__ import annotations

import re

from eventd.core.scoring.trends import ANYWHERE, Bounds

PERCENT = {"percent", "pct", "percentage", "pcent"}
RATIO = {"ratio"}  # Prometheus' word for a part of one
# What there is less and less of; at nothing it is used up.
LEFT = {"free", "available", "avail", "remaining", "left", "idle", "battery"}
# What had better be high, or is finished when it is whole.
BETTER = {"availability", "complete", "completed", "done", "health", "hit", "hits", "progress"}
BETTER |= {"quality", "ready", "success", "synced", "uptime"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|%")


def bounds_of(name: str, unit: str) -> Bounds:
    """Such as 100 above for `mem_used_percent`, 0 below for `disk_free_bytes`; mostly none."""
    words = {word.lower() for word in _WORD.findall(f"{name} {unit}")}
    if words & BETTER:
        return ANYWHERE
    if words & LEFT:
        return Bounds(low=0.0)
    if words & PERCENT or "%" in words:
        return Bounds(high=100.0)
    return Bounds(high=1.0) if words & RATIO else ANYWHERE
