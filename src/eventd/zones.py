"""Time zones as tables: when their clocks were, and will be, set."""

from __future__ import annotations

from datetime import UTC, datetime
from difflib import get_close_matches
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from eventd.core.model import Shifts
from eventd.core.rules.rule import UTC as UTC_ZONE
from eventd.core.rules.rule import Rule
from eventd.errors import RuleError

# Rules are seldom older than this, and zones seldom known for longer than that.
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
STEP = 86_400  # s; no zone sets its clocks forth and back within a day


@lru_cache(maxsize=1_024)
def shifts_of(name: str, path: str) -> Shifts:
    """The table of an IANA zone. Raises RuleError with `path` where there is none of that name."""
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = sorted(available_timezones())
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else "such as Europe/Berlin"
        if not known:
            hint = "install the package tzdata"
        raise RuleError(path, f"{name!r} is no time zone", hint) from None

    def offset(at: int) -> int:
        shift = datetime.fromtimestamp(at, zone).utcoffset()
        return int(shift.total_seconds()) if shift is not None else 0

    first, last = int(FIRST.timestamp()), int(LAST.timestamp())
    found = [(first, offset(first))]
    for day in range(first, last, STEP):
        if offset(day + STEP) == found[-1][1]:
            continue
        low, high = day, day + STEP
        while high - low > 1:
            middle = (low + high) // 2
            if offset(middle) == found[-1][1]:
                low = middle
            else:
                high = middle
        found.append((high, offset(high)))
    return tuple(found)


def zones_of(rule: Rule) -> dict[str, Shifts]:
    """The table of the zone that a rule names. Raises RuleError with the path inside the rule."""
    if rule.during is None or rule.during.zone == UTC_ZONE:
        return {}
    path = "calendar.zone" if rule.kind == "calendar" else "during.zone"
    return {rule.during.zone: shifts_of(rule.during.zone, path)}
