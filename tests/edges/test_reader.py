"""What the API shows comes from the tables, page by page."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.builders import at, event, group_rule, load, maintenance, silence
from tests.edges.store_desk import alive

from eventd.core.model import Alert
from eventd.errors import Stopping, StoreError
from eventd.store import rows
from eventd.store.database import DATABASE
from eventd.store.reader import Reader, State


async def lived(state: Path, services: int) -> None:
    async with alive(state) as life:
        await life.submit(at(0), load(group_rule()))
        for n in range(services):
            await life.submit(at(n + 1), event(f"a{n}", service=f"s{n}"))


async def test_incidents_are_paged_in_order_of_opening_also_beyond_a_million(
    tmp_path: Path,
) -> None:
    await lived(tmp_path, 3)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db:  # only ids as texts matter here
        db.execute("UPDATE incident SET id = 'INC-999999' WHERE id = 'INC-000002'")
        db.execute("UPDATE incident SET id = 'INC-1000000' WHERE id = 'INC-000003'")
        db.execute("UPDATE timeline SET incident = 'INC-1000000' WHERE incident = 'INC-000003'")
        db.commit()

    async with Reader(tmp_path) as reader:
        first = await reader.look(lambda state: list(state.incidents({}, "", 1)))
        second = await reader.look(lambda state: list(state.incidents({}, "INC-1000000", 1)))
        rest = await reader.look(lambda state: list(state.incidents({}, "INC-999999", 9)))

    services = [one.service for one, _ in [*first, *second, *rest]]
    assert services == ["s2", "s1", "s0"]


async def test_a_page_goes_on_where_the_last_incident_was_though_retention_took_it(
    tmp_path: Path,
) -> None:
    await lived(tmp_path, 4)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db, db:
        db.execute("DELETE FROM incident WHERE id = 'INC-000003'")

    async with Reader(tmp_path) as reader:
        found = await reader.look(lambda state: list(state.incidents({}, "INC-000003", 9)))
        none = await reader.look(lambda state: list(state.incidents({}, "INC-000001", 9)))

    assert [one.id for one, _ in found] == ["INC-000002", "INC-000001"]
    assert none == []


async def test_silences_and_maintenance_stand_in_order_also_beyond_a_million(
    tmp_path: Path,
) -> None:
    async with alive(tmp_path) as life:
        for n in range(3):
            await life.submit(at(n), silence(f'name="{n}"', at(9_000)))
            await life.submit(at(n), maintenance(f"{n}", ends=9_000, id=f"{n}"))
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db, db:
        for table, sort in (("silence", "SIL"), ("maintenance", "MNT")):
            for number, was in ((1_000_000, 3), (999_999, 2)):
                ids = f"{sort}-{number}", f"{sort}-{was:06d}"
                db.execute(f"UPDATE {table} SET id = ? WHERE id = ?", ids)

    async with Reader(tmp_path) as reader:
        found = await reader.look(lambda state: list(state.silences("", 9)))
        after = await reader.look(lambda state: list(state.silences("SIL-1000000", 9)))
        windows = await reader.look(lambda state: list(state.maintenance("", 9)))
        rest = await reader.look(lambda state: list(state.maintenance("MNT-1000000", 9)))

    assert [one.matchers[0].value for one, _ in found] == ["2", "1", "0"]
    assert [one.matchers[0].value for one, _ in after] == ["1", "0"]
    assert rest == windows[1:]


@pytest.mark.parametrize("asked", ["joined", "timeline", "reasons", "alerts"])
async def test_what_may_be_much_is_decoded_off_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    await lived(tmp_path, 1)
    decoding: set[threading.Thread] = set()

    def noted(decode: Callable[[bytes], object]) -> Callable[[bytes], object]:
        def note(body: bytes) -> object:
            decoding.add(threading.current_thread())
            return decode(body)

        return note

    def found(state: State) -> list[object]:
        (alert,) = state.alerts({}, "", 2)
        match asked:
            case "alerts":
                return [alert]
            case "reasons":
                return [*state.reasons(alert)]
            case _:
                return [*getattr(state, asked)(alert.incident)]

    async with Reader(tmp_path) as reader:
        for name in ("decode_entries", "decode_fact", "decode_alert"):
            monkeypatch.setattr(f"eventd.store.reader.{name}", noted(getattr(rows, name)))
        assert await reader.look(found)

    assert decoding
    assert threading.current_thread() not in decoding


async def test_what_cannot_be_read_is_told_as_the_store_s_error(tmp_path: Path) -> None:
    await lived(tmp_path, 1)
    async with Reader(tmp_path) as reader:
        assert await reader.look(lambda state: state.incident("INC-000001"))
        with closing(sqlite3.connect(tmp_path / DATABASE)) as db:
            db.execute("DROP TABLE incident")
        with pytest.raises(StoreError, match=r"eventd\.db: cannot be read: no such table"):
            await reader.look(lambda state: state.incident("INC-000001"))


async def test_who_stops_early_does_not_read_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lived(tmp_path, 5)
    decoded: list[bytes] = []

    def note(body: bytes) -> Alert:
        decoded.append(body)
        return rows.decode_alert(body)

    async with Reader(tmp_path) as reader:
        monkeypatch.setattr("eventd.store.reader.decode_alert", note)
        await reader.look(lambda state: next(state.alerts({}, "", 5)))

    assert len(decoded) == 1


async def test_a_look_that_fails_harms_no_other(tmp_path: Path) -> None:
    await lived(tmp_path, 1)

    async with Reader(tmp_path) as reader:
        for _ in range(9):
            with pytest.raises(ZeroDivisionError):
                await reader.look(lambda state: (next(state.alerts({}, "", 2)), 1 // 0))
        found = await reader.look(lambda state: list(state.alerts({}, "", 2)))

    assert len(found) == 1


async def test_once_it_is_closed_it_says_that_eventd_stops(tmp_path: Path) -> None:
    await lived(tmp_path, 1)
    async with Reader(tmp_path) as reader:
        assert await reader.open_by_priority() == {4: 1}

    with pytest.raises(Stopping):
        await reader.open_by_priority()


async def test_a_body_that_is_none_is_told_in_a_sentence(tmp_path: Path) -> None:
    await lived(tmp_path, 1)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db, db:
        db.execute("UPDATE alert SET body = x'00'")

    async with Reader(tmp_path) as reader:
        with pytest.raises(StoreError, match=r"eventd\.db: cannot be read: "):
            await reader.look(lambda state: list(state.alerts({}, "", 9)))
