"""The summary of a replay, as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from eventd.core.sentences import many, span
from eventd.summary import Raised, Summary

REASONS = {
    "info": "its source calls it information",
    "noisy": "its check cries wolf, and nothing explains it",
    "common": "its source never clears, and what it says is common",
    "doubted": "it was held back, and when that ended nothing said that it still fired",
    "blip": "it cleared before there was enough for an incident",
    "silenced": "an operator silenced it",
    "maintenance": "announced maintenance covers it",
    "undecided": "it still fires, and was waited for when the recording ended",
}
KINDS = {
    "alerts": "of alerts",
    "change": "of changes",
    "cleared": "that clear what is unknown",
    "duplicate": "duplicates",
    "heartbeat": "heartbeats",
    "info": "measurements and occurrences",
}


def text(summary: Summary) -> Iterator[str]:
    """Its lines, of foreign words: for `say`."""
    period = f", {when(summary.began)} to {when(summary.ended)} UTC" if summary.began else ""
    told = f": {kinds(summary)}" if summary.events else ""
    yield f"{many(summary.events, 'event')}{period}{told}"
    if summary.refused:
        yield f"{summary.refused:,} refused"
        yield from (f"  {one}" for one in summary.refusals)
        if (more := summary.refused - len(summary.refusals)) > 0:
            yield f"  and {more:,} more"
    yield (
        f"{summary.alerts:,} alerts fired {summary.fired:,} times: {summary.joined:,} in incidents,"
        f" {summary.fired - summary.joined:,} in none"
    )
    for reason, count in summary.noise.items():
        yield f"  {count:7,}  {REASONS.get(reason, reason)}"
    yield from _incidents(summary)
    if summary.noisiest:
        yield ""
        yield "The noisiest checks: in no incident, fired, name"
        for check in summary.noisiest:
            yield f"  {check.alone:7,}  {check.fired:7,}  {check.name}"
    if summary.longest:
        yield ""
        yield "The longest incidents"
        for one in summary.longest:
            yield f"  {span(one.lasted):>7}  {one.id}  {one.priority}  {one.title}"
    if summary.raised:
        yield ""
        yield "All incidents"
        yield from _each(summary.raised)


def _incidents(summary: Summary) -> Iterator[str]:
    count = summary.incidents
    priorities = "  ".join(f"{name} {number}" for name, number in summary.priorities.items())
    merged = f", and {summary.merged} merged into them" if summary.merged else ""
    yield (
        f"{count:,} incident{'' if count == 1 else 's'}{merged}; {summary.open:,} still open"
        f"{f':  {priorities}' if priorities else ''}"
    )
    if summary.within is not None:
        half, nearly_all = span(summary.within.p50), span(summary.within.p95)
        yield f"From the first alert to the incident: half within {half}, 95 % within {nearly_all}"


def _each(raised: Iterable[Raised]) -> Iterator[str]:
    for one in raised:
        yield (
            f"  {one.id}  {one.priority}  {when(one.opened_at)[:16]} for {lasted(one)}  "
            f"{one.title}  ({one.alerts} alert{'' if one.alerts == 1 else 's'}; "
            f"{reason(one)})"
        )


def kinds(summary: Summary) -> str:
    """What the events are, the most first."""
    counts = dict(summary.others)
    counts["alerts"] = summary.events - sum(counts.values())
    most_first = sorted(counts.items(), key=lambda one: -one[1])
    return ", ".join(f"{count:,} {KINDS.get(kind, kind)}" for kind, count in most_first if count)


def lasted(one: Raised) -> str:
    """How long the incident lasted."""
    return f"{span(one.lasted)}{'' if one.resolved_at else ', and on'}"


def reason(one: Raised) -> str:
    """What speaks for its likeliest root, else why it was opened."""
    return f"likeliest root: {one.because}" if one.root else one.because


def when(at: datetime | None) -> str:
    """A time in UTC, to the second."""
    return at.strftime("%Y-%m-%d %H:%M:%S") if at is not None else ""
