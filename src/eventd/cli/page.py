"""The summary of a replay as one page: no script, nothing loaded, all text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from html import escape

from eventd.backtest import Backtest
from eventd.cli.report import REASONS, kinds, lasted, reason, when
from eventd.core.sentences import inert, span
from eventd.summary import Raised, Summary

WIDTH, LEFT, RIGHT = 1200, 130, 10  # px of the picture, and beside its plot
BARS = 144  # moments a recording is cut into: ten minutes of a day
BARS_HIGH, ROW_HIGH = 110, 14  # px
SHOWN = 150  # incidents in the picture; the ones of least priority and length are left out
LISTED = 1_000  # incidents in the table
TICKS = 12  # at most, on the axis
STEPS = (1, 5, 15, 60, 120, 360, 1_440, 10_080, 43_200)  # minutes between them
LEAST = 2  # px of a bar that lasted a moment

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 1200px; color: #1f2933 }
h1 { font-size: 22px } h2 { font-size: 17px; margin-top: 1.6em }
table { border-collapse: collapse } td, th { padding: 2px 12px 2px 0; text-align: left;
vertical-align: top } td.n, th.n { text-align: right } th { border-bottom: 1px solid #9aa5b1 }
svg { width: 100%; height: auto } svg text { font: 10px system-ui, sans-serif; fill: #52606d }
.P1 { fill: #ab091e } .P2 { fill: #de6e0b } .P3 { fill: #d9a400 } .P4 { fill: #5a8fc4 }
.P5 { fill: #9aa5b1 } .joined { fill: #ab091e } .noise { fill: #cbd2d9 } .grid { stroke: #e4e7eb }
"""


def html(summary: Summary, run: Backtest) -> str:
    """The page, in UTF-8 once encoded."""
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>',
            f"<title>eventd replay</title><style>{_STYLE}</style></head><body>",
            *_figures(summary),
            *_picture(summary, run),
            *_noise(summary),
            *_incidents(summary.raised),
            "</body></html>\n",
        ]
    )


def _figures(summary: Summary) -> Iterator[str]:
    yield f"<h1>{summary.events:,} events, {summary.incidents:,} incidents</h1>"
    began, ended = when(summary.began), when(summary.ended)
    refused = f" {summary.refused:,} more were refused." if summary.refused else ""
    yield f"<p>{began} to {ended} UTC. {_text(kinds(summary))}.{refused}</p>"
    yield (
        f"<p>{summary.alerts:,} alerts fired {summary.fired:,} times, {summary.joined:,} times in "
        f"an incident. {summary.open:,} incidents are still open, {summary.merged:,} more were "
        "merged into others.</p>"
    )
    if summary.within is not None:
        half, nearly_all = span(summary.within.p50), span(summary.within.p95)
        yield (
            f"<p>From the first alert to the incident: half within {half}, "
            f"95 % within {nearly_all}.</p>"
        )
    yield from _table(("priority", "#incidents"), summary.priorities.items())


def _picture(summary: Summary, run: Backtest) -> Iterator[str]:
    """Alerts above, in incidents and not; below, a line for each incident."""
    if summary.began is None or summary.ended is None:
        return
    start, length = summary.began, max(summary.ended - summary.began, timedelta(minutes=1))

    def x(at: datetime) -> float:
        share = min(max((at - start) / length, 0.0), 1.0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    shown = sorted(summary.raised, key=lambda one: (one.priority, -one.lasted, one.id))[:SHOWN]
    shown.sort(key=lambda one: (one.opened_at, one.id))
    height = BARS_HIGH + 30 + ROW_HIGH * len(shown)
    yield "<h2>The day</h2>"
    yield f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="alerts and incidents">'
    for at in _ticks(start, length):
        yield f'<line class="grid" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="0" y2="{height}"/>'
        label = f"{at:%H:%M}" if length < timedelta(days=3) else f"{at:%d %b}"
        yield f'<text x="{x(at) + 2:.1f}" y="{BARS_HIGH + 14}">{label}</text>'
    yield from _bars(run, start, length)
    for row, one in enumerate(shown):
        left = x(one.opened_at)
        wide = max(x(one.opened_at + timedelta(seconds=one.lasted)) - left, LEAST)
        top = BARS_HIGH + 22 + row * ROW_HIGH
        yield (
            f"<g><title>{_text(f'{one.id} {one.priority}: {one.title}')}</title>"
            f'<text x="0" y="{top + 9}">{_text(one.id)} {_text(one.priority)}</text>'
            f'<rect class="{_text(one.priority)}" x="{left:.1f}" y="{top}" width="{wide:.1f}" '
            f'height="{ROW_HIGH - 4}" rx="2"/></g>'
        )
    yield "</svg>"
    left_out = len(summary.raised) - len(shown)
    more = f" {left_out:,} more of less priority are in the table alone." if left_out else ""
    yield (
        "<p>Above: how often alerts began to fire; red in an incident, grey in none. Below: the "
        f"incidents from their opening until they resolved.{more}</p>"
    )


def _bars(run: Backtest, start: datetime, length: timedelta) -> Iterator[str]:
    joined, noise = [0] * BARS, [0] * BARS
    for episode in run.episodes.values():
        share = (episode.alert.last_seen_at - start) / length
        place = min(max(int(share * BARS), 0), BARS - 1)
        (noise if episode.standing else joined)[place] += 1
    most = max(map(sum, zip(joined, noise, strict=True)))
    if not most:
        return
    wide = (WIDTH - LEFT - RIGHT) / BARS
    yield f'<text x="0" y="10">up to {most:,} in {span(length.total_seconds() / BARS)}</text>'
    for place in range(BARS):
        foot = float(BARS_HIGH)
        for name, counts in (("joined", joined), ("noise", noise)):
            high = counts[place] / most * BARS_HIGH
            foot -= high
            if high:
                yield (
                    f'<rect class="{name}" x="{LEFT + place * wide:.1f}" y="{foot:.1f}" '
                    f'width="{wide - 1:.1f}" height="{high:.1f}"/>'
                )


def _ticks(start: datetime, length: timedelta) -> Iterator[datetime]:
    minutes = length.total_seconds() / 60
    step = next((one for one in STEPS if minutes / one <= TICKS), STEPS[-1])
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    first = -int(-((start - midnight).total_seconds() / 60) // step)
    at = midnight + timedelta(minutes=first * step)
    while at <= start + length:
        yield at
        at += timedelta(minutes=step)


def _noise(summary: Summary) -> Iterator[str]:
    yield "<h2>Alerts in no incident</h2>"
    rows = ((REASONS.get(reason, reason), count) for reason, count in summary.noise.items())
    yield from _table(("because", "#times"), rows)
    yield "<h2>The noisiest checks</h2>"
    checks = ((one.name, one.alone, one.fired) for one in summary.noisiest)
    yield from _table(("check", "#in no incident", "#fired"), checks)
    yield "<h2>The longest incidents</h2>"
    longest = ((lasted(one), one.id, one.priority, one.title) for one in summary.longest)
    yield from _table(("lasted", "id", "priority", "title"), longest)


def _incidents(raised: Sequence[Raised]) -> Iterator[str]:
    yield "<h2>All incidents</h2>"
    rows = (
        (one.id, one.priority, when(one.opened_at), lasted(one), one.alerts, one.title, reason(one))
        for one in raised[:LISTED]
    )
    heads = ("id", "priority", "opened", "lasted", "#alerts", "title", "because")
    yield from _table(heads, rows)
    if len(raised) > LISTED:
        yield f"<p>{len(raised) - LISTED:,} later ones are left out.</p>"


def _table(heads: Sequence[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Columns whose head begins with # hold numbers."""
    kinds_ = [' class="n"' if head.startswith("#") else "" for head in heads]
    cells = zip(heads, kinds_, strict=True)
    yield "<table><tr>" + "".join(f"<th{k}>{_text(h.lstrip('#'))}</th>" for h, k in cells) + "</tr>"
    for row in rows:
        cells = zip(map(_shown, row), kinds_, strict=True)
        yield "<tr>" + "".join(f"<td{k}>{cell}</td>" for cell, k in cells) + "</tr>"
    yield "</table>"


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else _text(str(value))


def _text(text: str) -> str:
    return escape(inert(text))
