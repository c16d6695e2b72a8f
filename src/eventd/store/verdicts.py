"""`eventd check --store`: whether what is on disk keeps its promises.

The older snapshot is restored and the journal's tail stepped again; what that says is compared
with the tables. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from eventd.core.engine import Engine
from eventd.core.model import Fact
from eventd.core.snapshot import Restored
from eventd.errors import EventdError, Poisoned, StoreBroken, StoreError
from eventd.store.audit import Audit, Scan, Told, acts, compare, lifecycles, unread
from eventd.store.database import reading
from eventd.store.journal import JournalReader, Row, Saved
from eventd.store.queries import QUERIES

# `replay.replayed`: steps rows again, the facts of each input.
Replayed = Callable[
    [Engine, Iterable[Row], frozenset[int]], Iterator[tuple[Row, list[tuple[Fact, ...]]]]
]


SHOWN = 5  # offenders


class Verdict(Struct, frozen=True):
    """One invariant of RELIABILITY and whether it holds."""

    invariant: str
    says: str
    ok: bool
    detail: str  # figures where it holds, the first offenders where it does not


def verdicts(directory: Path, replayed: Replayed, acked: Iterable[str] = ()) -> list[Verdict]:
    """Look at a store, best one that is stopped; `acked` are event ids that must be in it.

    Raises StoreError where it cannot be read at all.
    """
    with reading(directory) as db:
        db.execute("BEGIN")  # one state of the tables, also beside a live daemon
        reader = JournalReader(directory, db)
        base = _base(reader)
        scan = Scan(reader, set(acked), base.next_seq)
        found = [
            _verdict("I1", "every acknowledged event is in the journal", scan.lost(), scan.size()),
            _verdict("I2", "sequence numbers have no gaps", scan.gaps, scan.size()),
            _verdict("I13", "engine time never goes back", scan.backwards, scan.size()),
        ]
        told = Told(scan.keys, capped=_capped(scan.keys, base))
        went = [] if base.engine is None else _replay(reader, base, base.engine, replayed, told)
        says = "the replay decides what was decided"
        found.append(_verdict("I3", says, base.problems + went, told.size(base.name)))
        if base.engine is not None and not went:
            audit = Audit(reader, told, base.engine, base.next_seq)
            found += [
                _verdict("I2", "a strong key counts once", told.twice, told.size(base.name)),
                *(_verdict("I3", says, wrong, good) for says, wrong, good in compare(audit)),
                _verdict("I17", *acts(audit)),
            ]
        found += [_verdict(*one) for one in lifecycles(reader)]
        found.append(_verdict("I15", "the database is whole", *_damage(reader)))
        return found


def _damage(reader: JournalReader) -> tuple[list[str], str]:
    """What would end a daemon again and again, also where no replay looks."""
    ((text,),) = reader.db.execute(QUERIES["damage"])
    wrong = [text.splitlines()[-1]] if text != "ok" else list(unread(reader))
    ((filed,),) = reader.db.execute(QUERIES["filed_rows"])
    if filed != 1:
        wrong.append(f"ledger_filed has {filed} rows where 1 is due")
    ((pages,),) = reader.db.execute("PRAGMA page_count")
    return wrong, f"{pages} pages"


def _capped(keys: Mapping[bytes, datetime], base: _Base) -> bool:
    """Whether the cap may have pushed out keys of before, a row at a time: they count again."""
    most = base.engine.settings.max_keys if base.engine is not None else 0
    return len(keys) >= most - max(1, most // 100)


class _Base(Struct):
    """Where the replay starts."""

    name: str
    engine: Engine | None  # None: there is nowhere to start
    next_seq: int
    problems: list[str]
    newer: Saved | None = None  # a younger snapshot to meet on the way


def _saved(reader: JournalReader) -> tuple[list[Saved], list[str]]:
    """The good snapshots, newest first, and what is wrong with others."""
    names: list[str] = []
    good: list[Saved] = []
    problems: list[str] = []
    while names != (names := reader.snapshots()):  # a daemon that lives replaces them meanwhile
        good.clear()
        problems.clear()
        for name in names:
            try:
                good.append(reader.load(name))
            except StoreBroken as e:
                problems.append(str(e))
            except StoreError as e:
                problems.append(f"{name} {e}")
    return good, problems


def _base(reader: JournalReader) -> _Base:
    """The oldest snapshot, or the beginning where the journal reaches back to it."""
    good, problems = _saved(reader)
    if len(good) < 2 and reader.span().first == 0:  # noqa: PLR2004 - the older of two
        newer = good[0] if good else None
        return _Base("the beginning", Engine(), 0, problems, newer)
    first = reader.span().first
    # a third may have been left by a crash, a backup be older than what its database still needs
    good = [one for one in good if one.next_seq >= first] or good
    if not good:
        problems.append("no snapshot is good, and the journal does not reach back to its beginning")
        return _Base("nothing", None, 0, problems)
    saved = good[-1]
    try:
        engine = Engine.restore(Restored(saved.frames))
    except (msgspec.MsgspecError, EventdError, LookupError, ValueError) as e:
        problems.append(f"{saved.name} cannot be restored: {e}")
        return _Base(saved.name, None, saved.next_seq, problems)
    newer = good[0] if len(good) > 1 else None
    return _Base(saved.name, engine, saved.next_seq, problems, newer)


def _replay(
    reader: JournalReader, base: _Base, engine: Engine, replayed: Replayed, told: Told
) -> list[str]:
    """Step the tail into `told`; what went another way."""
    problems: list[str] = []
    newer, met = base.newer, base.newer is None
    skipped = reader.skipped()
    try:
        for row, answers in replayed(engine, reader.tail(base.next_seq), skipped):
            facts = tuple(fact for answer in answers for fact in answer)
            told.add(row, answers, engine)
            if reader.digest(facts) != row.digest:
                problems.append(f"row {row.seq} was decided otherwise")
            if newer is not None and row.seq + len(row.inputs) == newer.next_seq:
                met = True
                if not _reached(engine, newer):
                    problems.append(f"the state at {newer.name} is another one")
    except Poisoned as e:
        problems.append(f"an input raises: {str(e).strip().splitlines()[-1]}")
    if not met and newer is not None and newer.next_seq != base.next_seq:
        problems.append(f"the journal never reaches {newer.name}")
    return problems


def _reached(engine: Engine, newer: Saved) -> bool:
    """Whether its state is the one that was saved, perhaps by another eventd."""
    try:
        saved = Restored(newer.frames)
    except msgspec.MsgspecError:
        return False
    return Restored(engine.snapshot().frames()).holds_the_same(saved)


def _verdict(invariant: str, says: str, wrong: list[str], good: str) -> Verdict:
    more = len(wrong) - SHOWN
    shown = "; ".join(wrong[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
    return Verdict(invariant, says, not wrong, shown if wrong else good)
