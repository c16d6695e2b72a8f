"""What came to a daemon, straight from its own store, also beside it while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from eventd.core.engine import Engine
from eventd.core.model import Input, LoadInventory, LoadRules, Started
from eventd.core.snapshot import Restored
from eventd.errors import EventdError, StoreBroken, StoreError
from eventd.recording import Line
from eventd.store.database import reading
from eventd.store.journal import JournalReader, Span, iter_journal
from eventd.store.rows import decode_alert

TOLD_EVERY = 200  # rows
Begun = Started | LoadRules | LoadInventory


class Saved(NamedTuple):
    """What a daemon knew at some time, and where its journal goes on."""

    now: datetime | None
    position: int
    frames: tuple[bytes, ...]


class Period(NamedTuple):
    """From the first entry of a journal to the last."""

    began: datetime
    ended: datetime


def period(state: Path) -> Period | None:
    """None where the journal is empty. Raises StoreError."""
    with reading(state) as db:
        reader = JournalReader(state, db)
        span = reader.span()
        first = next(reader.tail(span.first), None)
        return Period(first.now, span.now) if first is not None and span.now is not None else None


def cut(state: Path) -> bool:
    """Whether retention has taken the beginning of the journal. Raises StoreError."""
    with reading(state) as db:
        return JournalReader(state, db).span().first > 0


def moment(state: Path, since: timedelta) -> datetime | None:
    """That long before the last entry; None where the journal is empty. Raises StoreError."""
    found = period(state)
    return found.ended - since if found is not None else None


def began(state: Path, what: str) -> datetime | None:
    """When the first of that fingerprint, or on that CI, last began to fire.

    None where none of them was known at the last snapshot. Raises StoreError.
    """
    text = "SELECT body FROM alert WHERE fingerprint = ?1 OR ci = ?1"
    with reading(state) as db:
        rows = db.execute(text, (what,))
        return min((decode_alert(body).started_at for (body,) in rows), default=None)


def saved(state: Path, since: timedelta) -> Saved | None:
    """The last snapshot from before that long before the journal's last entry; None: there is none.

    Raises StoreError.
    """
    with reading(state) as db:
        reader = JournalReader(state, db)
        span = reader.span()
        start = reader.position_at(span.now - since) if span.now is not None else 0
        for name in reader.snapshots():
            try:
                one = reader.load(name)
                Engine.restore(Restored(one.frames))
            except StoreBroken:
                raise
            except (StoreError, msgspec.MsgspecError, EventdError, LookupError, ValueError):
                continue  # it is no good, or the daemon has made a newer one meanwhile
            if span.first <= one.next_seq <= start:
                return Saved(one.now, one.next_seq, tuple(one.frames))
    return None


def lines(
    state: Path,
    since: timedelta | Saved | None,
    told: Callable[[float], None] | None = None,
) -> Iterator[Line]:
    """The inputs of the journal in order, as they were stepped; nothing where it is empty.

    With `since` those of that long before its last entry: they begin with the settings, rules and
    inventory that were in force then; or those that came after a snapshot. `told` is given the
    share that was read. Raises StoreError.
    """
    with reading(state) as db:
        reader = JournalReader(state, db)
        span = reader.span()
        if span.now is None:
            return
        begun: list[Input] = []
        if isinstance(since, Saved):
            start = since.position
        else:
            start = span.first if since is None else reader.position_at(span.now - since)
            begun = list(_begun(reader, span, start)) if start else []
    for number, row in enumerate(iter_journal(state, start)):
        for own in begun:
            yield Line(row.now, None, own)
        begun.clear()
        for item in row.inputs:
            yield Line(row.now, None, item)
        if told is not None and number % TOLD_EVERY == 0:
            told((row.seq - start) / (span.next_seq - start))


def _begun(reader: JournalReader, span: Span, start: int) -> Iterator[Input]:
    """What was in force at a position.

    Where retention has taken the row that says so, what the oldest snapshot has: it may have been
    loaded later than at the position.
    """
    kinds: tuple[type[Begun], ...] = (Started, LoadRules, LoadInventory)
    found: dict[type[Begun], Input] = {}
    for one in reader.own_before(start):
        if isinstance(one, Begun):
            found.setdefault(type(one), one)
            if len(found) == len(kinds):
                break
    if len(found) < len(kinds) and span.first:
        found = {**_saved(reader), **found}
    yield from (found[kind] for kind in kinds if kind in found)


def _saved(reader: JournalReader) -> dict[type[Begun], Input]:
    for name in reversed(reader.snapshots()):
        try:
            engine = Engine.restore(Restored(reader.load(name).frames))
        except StoreBroken:
            raise
        except StoreError:
            continue  # the daemon has made a newer one meanwhile
        rules, inventory = engine.rules, engine.inventory
        return {
            Started: Started("replay", engine.settings),
            LoadRules: LoadRules(rules.version, tuple(rules.texts()), rules.zones),
            LoadInventory: LoadInventory(inventory.version, inventory.services, inventory.cis),
        }
    return {}
