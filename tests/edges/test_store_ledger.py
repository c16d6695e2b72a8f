"""The ledger is found by incident, filed or not, and in stores that are older than the filing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.builders import at, event, group_rule, load
from tests.edges.store_desk import alive, query, wrong

from eventd.core.model import AlertAlone, Settings, Severity, Started
from eventd.store import tables
from eventd.store.database import DATABASE, SCHEMA
from eventd.store.reader import Reader
from eventd.store.sqlite import SqliteStore


@pytest.mark.parametrize("every", [1, 3, 1_000])
async def test_reasons_are_found_filed_or_not(
    tmp_path: Path, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "FILE_EVERY", every)
    async with alive(tmp_path) as life:
        await life.submit(at(0), load(group_rule()))
        for n in range(8):
            service = f"s{n % 2}"
            await life.submit(
                at(n + 1), event(f"a{n}", service=service), event(f"b{n}", service="s2")
            )

    async with Reader(tmp_path) as reader:
        joined = await reader.look(lambda state: list(state.joined("INC-000001")))

    newest_first = [event(f"a{n}", service="s0").fingerprint for n in (6, 4, 2, 0)]
    assert [fact.fingerprint for fact in joined] == newest_first
    assert wrong(tmp_path) == []


async def test_an_alert_that_is_forgotten_and_fires_at_once_keeps_the_reasons_of_now(
    tmp_path: Path,
) -> None:
    """Its row is written late, by when it has a second life."""
    first, again = (event("a", severity=Severity.INFO, payload=text) for text in "12")
    others = [event(name, severity=Severity.INFO) for name in "bc"]
    async with alive(tmp_path) as life:
        await life.submit(at(0), Started("1", Settings(max_alerts=2)))
        await life.submit(at(1), first, flush=True)
        await life.submit(at(2), *others, again)

    async with Reader(tmp_path) as reader:
        alert = await reader.look(lambda state: state.alert(first.fingerprint))
        assert alert is not None
        reasons = await reader.look(lambda state: state.reasons(alert))
    assert [type(one) for one in reasons] == [AlertAlone]
    assert wrong(tmp_path) == []


async def test_a_store_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    await _one_incident(tmp_path)
    _back_to_schema_1(tmp_path)

    async with SqliteStore.open(tmp_path):
        pass

    async with Reader(tmp_path) as reader:
        (fact,) = await reader.look(lambda state: list(state.joined("INC-000001")))
    assert fact.fingerprint == event("a").fingerprint
    assert query(tmp_path, "PRAGMA user_version") == [(SCHEMA,)]
    assert query(tmp_path, "SELECT * FROM audit") == []  # it begins here
    assert wrong(tmp_path) == []


async def _one_incident(state: Path) -> None:
    async with alive(state) as life:
        await life.submit(at(0), load(group_rule()))
        await life.submit(at(1), event("a"))


async def test_a_store_without_an_audit_is_checked_as_it_is(tmp_path: Path) -> None:
    await _one_incident(tmp_path)
    _back_to_schema_2(tmp_path)

    assert wrong(tmp_path) == []


def _back_to_schema_3(state: Path) -> None:
    """Undo schema/004.sql: what a daemon of that age would have left."""
    with closing(sqlite3.connect(state / DATABASE)) as db:
        db.executescript("DROP TABLE alone; PRAGMA user_version = 3;")


def _back_to_schema_2(state: Path) -> None:
    """And schema/003.sql."""
    _back_to_schema_3(state)
    with closing(sqlite3.connect(state / DATABASE)) as db:
        db.executescript(
            "DROP TABLE audit; DELETE FROM meta WHERE key = 'audited_from';PRAGMA user_version = 2;"
        )


def _back_to_schema_1(state: Path) -> None:
    """And schema/002.sql."""
    _back_to_schema_2(state)
    with closing(sqlite3.connect(state / DATABASE)) as db:
        db.executescript(
            "DROP TABLE ledger_of; DROP TABLE ledger_filed;"
            "CREATE INDEX ledger_by_incident ON ledger (incident, id);"
            "PRAGMA user_version = 1;"
        )
