"""What a scorer's parts saw, for people: one sentence each."""

from __future__ import annotations

from datetime import UTC, datetime

from eventd.core.scoring.counts import Burst
from eventd.core.scoring.scorer import Reason
from eventd.core.sentences import many, span

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
THURSDAY = 3  # 1970 began on one
RAREST = 9.0  # decades: rarer is not told apart
WHOLE = range(100_000, 1_000_000_000)  # numbers that are written without fraction or exponent


def sentence(reason: Reason) -> str:
    """Such as "310; usual for Monday 09:00 is 40 to 60 (once in 2,000 values)"."""
    seen = _number(reason.observed)
    usual = f"{_number(reason.low)} to {_number(reason.high)}"
    often = f"once in {_rounded(10.0 ** min(reason.surprise, RAREST)):,} values"
    match reason.part:
        case "hour of the week":
            day, hour = divmod(reason.hour, 24)
            text = f"{seen}; usual for {_DAYS[day]} {hour:02}:00 is {usual}"
        case "hour of the day":
            text = f"{seen}; usual for {reason.hour % 24:02}:00 is {usual}"
        case "record" if reason.observed > reason.high:
            text = f"{seen}; the highest seen was {_number(reason.high)}"
        case "record":
            text = f"{seen}; the lowest seen was {_number(reason.low)}"
        case "stuck":
            times = _number(reason.observed)
            text = f"the same {times} times in a row; usual is up to {_number(reason.high)}"
        case "slope":
            return _slope(reason)
        case "median":
            text = f"median of the last 5 is {seen}; usual after those before is {usual}"
        case scale:
            text = f"{scale} values is {seen}; usual beside the slower one is {usual}"
    return f"{text} ({often})"


def silent(surprise: float, passed: float, usual: float, hour: int) -> str:
    """Such as "nothing for 66 s; usual for Monday 12:00 is at most 30 s (once in 2,000 hours)"."""
    told = f"nothing for {span(passed)}; usual for {_hour(hour)} is at most {span(usual)}"
    return f"{told} ({_hours(surprise)})"


def awaited(usual: float, hour: int, until: float) -> str:
    """Such as "usual for Monday 12:00 is at most 30 s; silent from 2026-01-19 12:01:06 UTC on…"."""
    when = f"silent from {datetime.fromtimestamp(until, UTC):%F %T} UTC on, if its source talks"
    return f"usual for {_hour(hour)} is at most {span(usual)}; {when}"


def burst(found: Burst, length: float) -> str:
    """Such as "310 in 60 s; usual for Monday 09:00 is 40 to 60; the highest seen was 88 (…)"."""
    when = f"for {_hour(found.hour)}" if found.hour >= 0 else "lately"
    usual = f"usual {when} is {found.low:.0f} to {found.high:.0f}"
    told = f"{found.events} in {span(length)}; {usual}; the highest seen was {found.highest}"
    return f"{told} ({_hours(found.surprise)})" if found.surprise > 0.0 else told


def newly(passed: float, text: str, *, again: bool) -> str:
    """Such as "never seen in the 34 days that were listened to: I/O error on sda3"."""
    days = f"{passed / 86_400.0:.0f} days"
    told = f"not seen for {days}" if again else f"never seen in the {days} that were listened to"
    return f"{told}: {text}" if text else told


def known_since(count: int, since: float) -> str:
    """Such as "seen 12 times since 2026-01-05 09:00 UTC"."""
    return f"seen {many(count, 'time')} since {datetime.fromtimestamp(since, UTC):%F %R} UTC"


def _hour(hour: int) -> str:
    day, hour = divmod(hour, 24)
    return f"{_DAYS[day]} {hour:02}:00"


def _hours(surprise: float) -> str:
    return f"once in {_rounded(10.0 ** min(surprise, RAREST)):,} hours"


def _slope(reason: Reason) -> str:
    """Such as "rises by 1.2 an hour, steadily, for 3 h; reaches 100 at about Monday 14:20"."""
    up = reason.observed > 0.0
    far = _number(abs(reason.observed))
    text = f"{'rises' if up else 'falls'} by {far} an hour, steadily, for {span(reason.lasts)}"
    if reason.bound is None:
        return f"{text}, and was never so {'high' if up else 'low'}"
    days, minutes = divmod(round(reason.due / 60.0), 1440)
    day = _DAYS[(days + THURSDAY) % 7]
    when = f"{day} {minutes // 60:02}:{minutes % 60:02}"
    return f"{text}; reaches {_number(reason.bound)} at about {when}"


def _number(value: float) -> str:
    return f"{value:.0f}" if WHOLE.start <= abs(value) < WHOLE.stop else f"{value:.4g}"


def _rounded(value: float) -> int:
    return int(float(f"{value:.2g}"))
