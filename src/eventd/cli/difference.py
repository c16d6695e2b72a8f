"""What two rule sets differ in, as text."""

from __future__ import annotations

from collections.abc import Iterator

from eventd.cli.report import when
from eventd.comparison import Comparison, Difference, Dropped, Told
from eventd.core.sentences import many, span

_MEANS = {
    "new": "Only after",
    "gone": "Only before",
    "merged": "Several before, one after",
    "split": "One before, several after",
    "regrouped": "Several before, several others after",
    "changed": "The same, but",
}


def text(found: Comparison) -> Iterator[str]:
    """Its lines, of foreign words: for `say`."""
    before, after = found.before, found.after
    period = f", {when(found.began)} to {when(found.ended)} UTC" if found.began else ""
    yield f"{many(found.events, 'event')}{period}"
    yield f"Rules {before.rules} before, {after.rules} after"
    known = f"what a daemon knew at {when(found.known)}" if found.known else "nothing known"
    since, began = found.since, found.began
    late = since is not None and (found.known is not None or (began or since) < since)
    left_out = f"what opened before {when(since)}" if late and since else "nothing"
    yield f"Both begin with {known}; {left_out} is left out"
    incidents = many(before.incidents, "incident")
    yield f"{incidents} before, {after.incidents:,} after; {found.alike:,} alike"
    more = after.calls - before.calls
    calls = f"{before.calls:,} before, {after.calls:,} after"
    moved = f": {abs(more):,} {'added' if more > 0 else 'saved'}" if more else ""
    yield f"Times that somebody would hear of it: {calls}{moved}"
    if not found.differences:
        yield "No difference"
    for kind, means in _MEANS.items():
        own = [one for one in found.differences if one.kind == kind]
        if own:
            yield ""
            yield f"{means}: {len(own)}"
        for one in own:
            yield from _one(one)
    if found.dropped:
        yield ""
        yield f"Commands about nothing there, and dropped: {len(found.dropped)}"
    for command in found.dropped:
        yield _dropped(command)


def _one(one: Difference) -> Iterator[str]:
    if one.kind == "changed":
        yield f"  {_told(one.before[0])}"
        yield f"    {'; '.join(_changes(one))}"
        return
    for told in one.before:
        yield f"  - {_told(told)}"
    for told in one.after:
        yield f"  + {_told(told)}"


def _told(one: Told) -> str:
    alerts = many(one.alerts, "alert")
    why = f"{one.rule}, root {one.root}" if one.root else one.rule
    opened = when(one.opened_at)
    return f"{one.id}  {one.priority}  {opened}  {one.title}  ({alerts}; {why})"


def _changes(one: Difference) -> Iterator[str]:
    old, new = one.before[0], one.after[0]
    if one.opens_later:
        yield f"opens {_shift(one.opens_later)}"
    for what, was, now in (
        ("", old.priority, new.priority),
        ("root ", old.root or "none", new.root or "none"),
        ("rule ", old.rule, new.rule),
        ("title ", old.title, new.title),
    ):
        if was != now:
            yield f"{what}{was} becomes {now}"
    if one.joined:
        yield f"{one.joined} more in it"
    if one.left:
        yield f"{one.left} not in it"
    if one.resolves_later:
        yield f"resolves {_shift(one.resolves_later)}"
    elif old.resolved_at != new.resolved_at:
        yield "stays open" if new.resolved_at is None else "resolves"
    if old.alerts != new.alerts and not one.joined and not one.left:
        yield f"{old.alerts} alerts become {new.alerts}"


def _shift(seconds: float) -> str:
    return f"{span(abs(seconds))} {'later' if seconds > 0 else 'earlier'}"


def _dropped(one: Dropped) -> str:
    actor = f" by {one.actor}" if one.actor else ""
    return f"  {when(one.at)}  {one.command} {one.incident}{actor}, {one.side}"
