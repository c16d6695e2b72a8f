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

from eventd.errors import Stopping, StoreError
from eventd.store import rows
from eventd.store.database import DATABASE
from eventd.store.reader import Reader


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
        first = await reader.incidents({}, "", 1)
        services = [first[0].service]
        services += [one.service for one in await reader.incidents({}, "INC-1000000", 1)]
        services += [one.service for one in await reader.incidents({}, "INC-999999", 9)]

    assert services == ["s2", "s1", "s0"]


async def test_a_page_goes_on_where_the_last_incident_was_though_retention_took_it(
    tmp_path: Path,
) -> None:
    await lived(tmp_path, 4)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db, db:
        db.execute("DELETE FROM incident WHERE id = 'INC-000003'")

    async with Reader(tmp_path) as reader:
        assert [one.id for one in await reader.incidents({}, "INC-000003", 9)] == [
            "INC-000002",
            "INC-000001",
        ]
        assert await reader.incidents({}, "INC-000001", 9) == []


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
        silences = [one for one, _ in await reader.silences("", 9)]
        assert [one.matchers[0].value for one in silences] == ["2", "1", "0"]
        silences = [one for one, _ in await reader.silences("SIL-1000000", 9)]
        assert [one.matchers[0].value for one in silences] == ["1", "0"]
        assert len(await reader.maintenance("", 9)) == 3
        assert len(await reader.maintenance("MNT-1000000", 9)) == 2


async def test_many_alerts_are_looked_up_at_once(tmp_path: Path) -> None:
    await lived(tmp_path, 5)
    wanted = [event(f"a{n}", service=f"s{n}").fingerprint for n in (4, 0)]

    async with Reader(tmp_path) as reader:
        found = await reader.known([*wanted, "0" * 32])

    assert {name: alert.name for name, alert in found.items()} == dict(
        zip(wanted, ["a4", "a0"], strict=True)
    )


@pytest.mark.parametrize("asked", ["joined", "timeline", "reasons", "known"])
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

    async with Reader(tmp_path) as reader:
        (alert,) = await reader.alerts({}, "", 2)
        for name in ("decode_entries", "decode_fact", "decode_alert"):
            monkeypatch.setattr(f"eventd.store.reader.{name}", noted(getattr(rows, name)))
        match asked:
            case "reasons":
                found = len(await reader.reasons(alert))
            case "known":
                found = len(await reader.known([alert.fingerprint]))
            case _:
                found = len(await getattr(reader, asked)(alert.incident))

    assert found > 0
    assert decoding
    assert threading.current_thread() not in decoding


async def test_what_cannot_be_read_is_told_as_the_store_s_error(tmp_path: Path) -> None:
    await lived(tmp_path, 1)
    async with Reader(tmp_path) as reader:
        assert await reader.incident("INC-000001")
        with closing(sqlite3.connect(tmp_path / DATABASE)) as db:
            db.execute("DROP TABLE incident")
        with pytest.raises(StoreError, match=r"eventd\.db: cannot be read: no such table"):
            await reader.incident("INC-000001")


async def test_once_it_is_closed_it_says_that_eventd_stops(tmp_path: Path) -> None:
    await lived(tmp_path, 1)
    async with Reader(tmp_path) as reader:
        assert await reader.open_by_priority() == {4: 1}

    with pytest.raises(Stopping):
        await reader.open_by_priority()
