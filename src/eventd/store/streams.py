"""What a scored stream was told of late: from a snapshot and the journal, so that no event pays."""

from __future__ import annotations

import sqlite3
from collections import deque
from datetime import datetime
from pathlib import Path

import msgspec

from eventd.core.asking import as_alert
from eventd.core.dedup import said_at
from eventd.core.enrich import Enrichment
from eventd.core.model import Event, Status
from eventd.core.rules.budget import tempered
from eventd.core.rules.rule import Grouping, Parts, happened_at
from eventd.core.rules.streams import Hearing, Row
from eventd.core.scoring.scorer import Score
from eventd.core.scoring.values import ValueScorer
from eventd.errors import StoreError
from eventd.plot import Point
from eventd.store.journal import JournalReader
from eventd.store.snapshots import frames_of, position_of, snapshot_paths

# Inputs that are read at most: as many as come between the older snapshot and now, about a second.
MAX_INPUTS = 200_000
MAX_POINTS = 2_000  # the latest
SECTION = "rule_states"
_Head = tuple[str, msgspec.Raw]
_decode_head = msgspec.msgpack.Decoder(_Head).decode
_decode_row = msgspec.msgpack.Decoder(Row).decode


def lately(directory: Path, db: sqlite3.Connection, hearing: Hearing) -> list[Point]:
    """The latest values of the stream, in order, scored from the older snapshot on as it was live.

    What came before that, and where the rule is younger than it, has no score until enough is
    known. The rule and the inventory are taken to have been as they are now. Raises StoreError.
    """
    reader = JournalReader(directory, db)
    span = reader.span()
    start = max(span.first, span.next_seq - MAX_INPUTS)
    known, scorer = _known(directory, start, hearing)
    heard, points = _Heard(hearing), deque[Point](maxlen=MAX_POINTS)
    for row in reader.tail(start):
        scores = row.seq >= known
        for item in row.inputs:
            if not isinstance(item, Event) or item.value is None:
                continue
            at = heard.at(item, row.now)
            if at is None:
                continue
            score = scorer.score_then_learn(at, item.value) if scores else None
            points.append(Point(at, item.value, _tempered(score)))
    return list(points)


def _known(directory: Path, start: int, hearing: Hearing) -> tuple[int, ValueScorer]:
    """What the oldest snapshot from `start` on has learned of the stream, and its position."""
    for path in reversed(snapshot_paths(directory)):
        position = position_of(path)
        if position < start:
            continue
        try:
            row = _row_of(path, hearing)
        except (StoreError, OSError, msgspec.MsgspecError):
            continue  # it is no good, or a newer one has taken its place
        return position, ValueScorer() if row is None else ValueScorer.load(row.learned)
    return start, ValueScorer()


def _row_of(path: Path, hearing: Hearing) -> Row | None:
    part = hearing.key[-1].encode() if hearing.key else b""
    for section, items in frames_of(path):
        if section != SECTION:
            continue
        for raw in items:
            name, state = _decode_head(raw)
            if name == hearing.rule.name and part in bytes(state):
                try:
                    row = _decode_row(state)
                except msgspec.MsgspecError:
                    continue  # what comes before the streams
                if row.key == hearing.key:
                    return row
    return None


class _Heard:
    """Which events the stream was told of."""

    def __init__(self, hearing: Hearing) -> None:
        self._hearing = hearing
        self._parts, self._grouping = Parts(hearing.rule.parts), Grouping(hearing.rule.by)
        self._enrichment = Enrichment()
        self._enrichment.load(hearing.inventory)
        self._keys: dict[bytes, None] = {}  # what came before is not asked about
        self._weak: dict[str, tuple[bytes, datetime]] = {}  # by alert, the last and when

    def at(self, event: Event, now: datetime) -> float | None:
        """When, s since 1970; None: it is for others, or was heard already."""
        hearing, place = self._hearing, self._enrichment.place(event)
        alert = as_alert(event, now)
        if (place.ci, place.service) != (event.ci, event.service):
            alert = msgspec.structs.replace(alert, ci=place.ci, service=place.service)
        if self._grouping.of(alert) != hearing.key or not self._parts.of(alert):
            return None
        when = happened_at(said_at(event, now, hearing.settings), now, hearing.limits.late_within)
        during = hearing.limits.during
        if during is not None and not during.covers(when):
            return None
        return when.timestamp() if self._is_new(event, now) else None

    def _is_new(self, event: Event, now: datetime) -> bool:
        if event.strong:
            if event.key in self._keys:
                return False
            self._keys[event.key] = None
        elif event.status is Status.FIRING:
            key, at = self._weak.get(event.fingerprint, (b"", now))
            within = self._hearing.settings.weak_key_within
            if key == event.key and (now - at).total_seconds() <= within:
                return False
            self._weak[event.fingerprint] = event.key, now
        return event.status is not Status.CLEARED


def _tempered(score: Score | None) -> Score | None:
    """As what an alert takes is told."""
    if score is None:
        return None
    return msgspec.structs.replace(score, surprise=tempered(score.surprise))
