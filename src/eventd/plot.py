"""A scored stream as a picture: its values, what was usual, the scores, the alarms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from math import isfinite
from typing import NamedTuple

from eventd.core.scoring.reasons import sentence
from eventd.core.scoring.scorer import THRESHOLD, Score, score_of
from eventd.core.sentences import inert

WIDTH, LEFT, RIGHT = 1200, 80, 10  # px
VALUES, SCORES, GAP, FOOT = 300, 90, 14, 22  # px high
TICKS, TIME_WIDE = 8, 95  # times written, and how wide one is in px
QUIET = 0.005  # of the values, at either end, may lie outside what the picture is scaled to show

_STYLE = (
    "text{font:10px system-ui,sans-serif;fill:#52606d}.v{fill:none;stroke:#243b53}"
    ".b{fill:#bcdcf5;stroke:none}.s{fill:#de6e0b;stroke:none}.a{stroke:#ab091e;stroke-width:2}"
    ".g{stroke:#cbd2d9}"
)


class Point(NamedTuple):
    """One value and its score."""

    at: float
    value: float
    score: Score | None
    alarms: bool = False


def svg(title: str, points: Sequence[Point], needed: float = THRESHOLD) -> str:
    """The picture, a file of its own. A column of pixels shows the least and most in it.

    `needed` is the score from which a value alarms.
    """
    high = VALUES + GAP + SCORES + FOOT
    known = [point for point in points if isfinite(point.value) and isfinite(point.at)]
    body = "\n".join(_parts(known, needed)) if known else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {high}" role="img">\n'
        f"<title>{escape(inert(title))}</title><style>{_STYLE}</style>\n{body}\n</svg>\n"
    )


class _Column(NamedTuple):
    """The points that share a column of pixels."""

    x: int
    points: list[Point]


def _parts(points: list[Point], needed: float) -> Iterator[str]:
    wide = WIDTH - LEFT - RIGHT
    columns: list[_Column] = []
    for index, point in enumerate(points):
        x = LEFT + index * wide // len(points)
        if not columns or columns[-1].x != x:
            columns.append(_Column(x, []))
        columns[-1].points.append(point)
    low, high = _range([point.value for point in points])

    def y(value: float) -> float:
        return round(VALUES * (1.0 - (min(max(value, low), high) - low) / (high - low)), 1)

    upper, lower = [], []
    for x, own in columns:
        scores = [point.score for point in own if point.score is not None]
        if scores:
            upper.append(f"{x},{y(max(score.high for score in scores))}")
            lower.append(f"{x},{y(min(score.low for score in scores))}")
    yield f'<polygon class="b" points="{" ".join(upper + lower[::-1])}"/>'
    line = []
    for x, own in columns:
        values = [point.value for point in own]
        line += [f"{x},{y(least)}" for least in dict.fromkeys((min(values), max(values)))]
    yield f'<polyline class="v" points="{" ".join(line)}"/>'
    yield from _scores(columns, needed)
    yield from _axes(columns, low, high)


def _range(values: list[float]) -> tuple[float, float]:
    """What nearly all values lie in, never empty: one absurd value flattens no picture."""
    ordered = sorted(values)
    cut = int(QUIET * len(ordered))
    low, high = ordered[cut], ordered[-1 - cut]
    room = 0.1 * (high - low) or max(1.0, 0.1 * abs(low))
    return max(min(low, 1e300) - room, -1e300), min(max(high, -1e300) + room, 1e300)


def _scores(columns: list[_Column], needed: float) -> Iterator[str]:
    base = VALUES + GAP + SCORES
    for x, own in columns:
        scores = [point.score for point in own if point.score is not None]
        most = max((score_of(score.surprise) for score in scores), default=0.0)
        if most > 0.0:
            high = round(SCORES * most, 1)
            yield f'<rect class="s" x="{x}" y="{base - high:.1f}" width="1" height="{high}"/>'
        for point in own:
            if point.alarms:
                because = point.score.because if point.score is not None else ()
                told = "; ".join(sentence(reason) for reason in because)
                line = f'<line class="a" x1="{x}" y1="0" x2="{x}" y2="{base}">'
                yield f"{line}<title>{_time(point.at)}: {escape(told)}</title></line>"
    edge = round(base - SCORES * needed, 1)
    yield f'<line class="g" x1="{LEFT}" y1="{edge}" x2="{WIDTH - RIGHT}" y2="{edge}"/>'
    yield f'<text x="4" y="{edge + 3}">alarm {needed:.2g}</text>'


def _axes(columns: list[_Column], low: float, high: float) -> Iterator[str]:
    for share in (0.0, 0.5, 1.0):
        text = f"{low + share * (high - low):.4g}"
        yield f'<text x="4" y="{max(10.0, VALUES * (1.0 - share)):.0f}">{text}</text>'
    foot = VALUES + GAP + SCORES + 14
    for x, own in columns[:: max(1, len(columns) // TICKS)]:
        if x > LEFT and x + TIME_WIDE > WIDTH:
            break
        yield f'<text x="{x}" y="{foot}">{_time(own[0].at)}</text>'


def _time(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return f"{at:g}"
