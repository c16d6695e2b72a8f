"""What the correlation and operators say of alerts and incidents is stored, found, and proven."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import (
    TICK,
    Feed,
    at,
    clear,
    event,
    group_rule,
    inventory,
    kind_rule,
    load,
    steps,
)
from tests.edges.store_desk import alive, killed, query, wrong

from eventd.core.model import (
    Alert,
    AlertAlone,
    AlertJoined,
    AlertRaised,
    Ci,
    Correlated,
    Detach,
    IncidentOpened,
    Merge,
    RuleMissed,
    Severity,
    Split,
    Tie,
    Why,
)
from eventd.store.database import DATABASE
from eventd.store.projection import names_of
from eventd.store.queries import QUERIES
from eventd.store.reader import Reader
from eventd.store.rows import json_array

SWITCH = event("down", ci="sw", severity=Severity.CRITICAL)
APPS = [event("timeout", ci=f"app{n}") for n in range(3)]
INFO = event("backup", ci="lone", severity=Severity.INFO)
FEED: Feed = [
    (at(0), inventory(Ci("sw"), *(Ci(f"app{n}", depends_on=("sw",)) for n in range(3)))),
    (at(1), SWITCH),
    *((at(3 + n), app) for n, app in enumerate(APPS)),
    (at(7), INFO),
    (at(60), TICK),
]


async def test_an_alert_is_found_with_what_ties_it_to_its_incident(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await life.feed(FEED)

    async with Reader(tmp_path) as reader:
        alert = await reader.look(lambda state: state.alert(APPS[0].fingerprint))
        assert alert is not None
        (joined,) = await reader.look(lambda state: state.reasons(alert))
        opened = await reader.look(lambda state: state.opening("INC-000001"))
    assert isinstance(joined, AlertJoined)
    assert isinstance(joined.because, Correlated)
    assert (joined.because.tie, joined.because.via) == (Tie.DEPENDS, "sw")
    assert isinstance(opened, IncidentOpened)
    assert opened.incident.roots[0].ci == "sw"
    assert wrong(tmp_path) == []


async def test_an_alert_that_stands_alone_is_found_with_the_reason(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await life.feed(FEED)

    async with Reader(tmp_path) as reader:
        alert = await reader.look(lambda state: state.alert(INFO.fingerprint))
        assert alert is not None
        reasons = await reader.look(lambda state: state.reasons(alert))
    assert reasons == [AlertAlone(at(7), INFO.fingerprint, 1, Why.INFO)]


async def test_of_an_alert_that_fired_again_only_the_new_reason_is_told(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await life.feed(FEED)
        await life.feed(
            [(at(90), clear("backup", ci="lone", severity=Severity.INFO)), (at(99), INFO)]
        )

    async with Reader(tmp_path) as reader:
        alert = await reader.look(lambda state: state.alert(INFO.fingerprint))
        assert alert is not None
        reasons = await reader.look(lambda state: state.reasons(alert))
    assert reasons == [AlertAlone(at(99), INFO.fingerprint, 2, Why.INFO)]


async def test_root_candidates_may_lag_behind_and_the_store_still_proves_itself(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    async with alive(state) as life:
        await life.feed(FEED)
        await life.submit(at(300), event("slow", ci="app1"))  # reviews have ranked it anew
        grave = killed(state, tmp_path / "grave")

    assert wrong(grave) == []
    assert wrong(state) == []


async def test_what_is_forgotten_leaves_no_reason_behind(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await life.feed(FEED)
        await life.submit(at(99), clear("backup", ci="lone", severity=Severity.INFO))
        alert = life.runtime.engine.alert(INFO.fingerprint)
        await life.submit(at(2 * 86_400), TICK, flush=True)

    async with Reader(tmp_path) as reader:
        assert await reader.look(lambda state: state.alert(INFO.fingerprint)) is None
        assert await reader.look(lambda state: state.reasons(alert)) == []
    assert wrong(tmp_path) == []


async def test_what_a_rule_fired_and_what_is_behind_it_say_so_and_are_forgotten(
    tmp_path: Path,
) -> None:
    rule = {**group_rule("many", 'name="backup"', by=["ci"]), "alert": {}}
    over = clear("backup", ci="lone", severity=Severity.INFO)
    async with alive(tmp_path) as life:
        await life.feed([(at(0), load(rule)), *FEED, (at(99), over)])
        (own,) = [one for one in life.runtime.engine.alerts() if one.source == "eventd"]

    async with Reader(tmp_path) as reader:
        told = await reader.look(
            lambda state: [
                {type(reason) for reason in state.reasons(one)}
                for one in state.alerts({}, "", 99)
                if one.fingerprint in {own.fingerprint, INFO.fingerprint}
            ]
        )
    assert [AlertRaised in kinds for kinds in told] == [True, True]
    assert wrong(tmp_path) == []

    async with alive(tmp_path) as life:
        await life.submit(at(2 * 86_400), TICK)
        await life.submit(at(2 * 86_400 + 1), TICK, flush=True)
    rows = query(tmp_path, "SELECT fingerprint FROM alone")
    assert [one for (one,) in rows if str(one).endswith("raised")] == []


async def test_a_near_miss_is_found_beside_what_else_is_known_and_forgotten_with_the_alert(
    tmp_path: Path,
) -> None:
    rule = kind_rule("sequence", steps("backup", "restore"), by=["ci"])
    restore = event("restore", ci="lone", severity=Severity.INFO)
    async with alive(tmp_path) as life:
        await life.feed([(at(0), load(rule)), *FEED, (at(68), restore), (at(200), TICK)])

    async with Reader(tmp_path) as reader:
        alert = await reader.look(lambda state: state.alert(INFO.fingerprint))
        assert alert is not None
        reasons = await reader.look(lambda state: state.reasons(alert))
    assert [type(one) for one in reasons] == [AlertAlone, RuleMissed]
    assert wrong(tmp_path) == []

    over = clear("backup", ci="lone", severity=Severity.INFO)
    async with alive(tmp_path) as life:
        await life.feed([(at(900), over), (at(2 * 86_400), TICK)])
        await life.submit(at(2 * 86_400 + 1), TICK, flush=True)
    rows = query(tmp_path, "SELECT fingerprint FROM alone")
    assert [name for (name,) in rows if str(name).startswith(INFO.fingerprint)] == []


FAN = event("fan", ci="lone")
ORDERS: Feed = [
    (at(3_600), FAN),
    (at(4_000), TICK),
    (at(4_001), Split("INC-000001", (APPS[0].fingerprint,), "ann", "a deploy")),
    (at(4_002), Detach("INC-000001", APPS[1].fingerprint, "ann", "a test")),
    (at(4_003), Merge("INC-000002", "INC-000001", "ann", "one outage")),
]


async def test_orders_stand_on_the_timelines_of_all_they_concern(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await life.feed([*FEED, *ORDERS])

    kinds = "SELECT kind, actor FROM timeline WHERE incident = ? AND kind NOT IN (?, ?) ORDER BY n"
    told = {
        name: query(tmp_path, kinds, name, "updated", "ranked")
        for name in ("INC-000001", "INC-000002", "INC-000003")
    }
    assert told == {
        "INC-000001": [("opened", ""), ("split", "ann"), ("detached", "ann"), ("merged", "ann")],
        "INC-000002": [("opened", ""), ("merged", "ann"), ("closed", "ann")],
        "INC-000003": [("opened", ""), ("split", "ann")],
    }
    assert wrong(tmp_path) == []


@pytest.mark.parametrize("kept", range(1, len(ORDERS) + 1))
async def test_orders_survive_a_crash_right_after_them(tmp_path: Path, kept: int) -> None:
    state = tmp_path / "state"
    async with alive(state) as life:
        await life.feed([*FEED, *ORDERS[:kept]])
        before = list(life.runtime.engine.alerts())
        grave = killed(state, tmp_path / "grave")

    assert wrong(grave) == []
    async with alive(grave) as again:
        assert list(again.runtime.engine.alerts()) == before
        await again.feed(ORDERS[kept:])
        await again.submit(at(4_010), TICK, flush=True)
    assert wrong(grave) == []


async def test_from_the_tables_alone_what_was_detached_is_no_member(tmp_path: Path) -> None:
    async with alive(tmp_path) as life:
        await life.feed([*FEED, *ORDERS])
        before = {one.fingerprint: one for one in life.runtime.engine.alerts()}
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db:
        db.execute("DELETE FROM delivery")
        db.execute("DELETE FROM journal WHERE seq < (SELECT MAX(seq) FROM journal)")
        db.commit()
    for path in tmp_path.glob("snapshot*"):
        path.unlink()

    async with alive(tmp_path) as again:
        assert again.recovered.start == "tables"
        engine = again.runtime.engine
        after: dict[str, Alert] = {one.fingerprint: one for one in engine.alerts()}
        assert after == before
        assert engine.incident("INC-000001").alerts == 3  # switch, application, fan
        assert engine.incident("INC-000003").alerts == 1


@given(st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), min_size=2, unique=True))
def test_of_forgotten_alerts_all_names_go_and_no_other(fingerprints: list[str]) -> None:
    gone, kept = fingerprints[::2], fingerprints[1::2]
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE alone (fingerprint TEXT PRIMARY KEY, id INTEGER) WITHOUT ROWID")
        names = [name for one in fingerprints for name in names_of(one)]
        db.executemany("INSERT INTO alone VALUES (?, 1)", [(name,) for name in names])

        db.execute(QUERIES["forget_alone"], (json_array(gone),))

        left = {name for (name,) in db.execute("SELECT fingerprint FROM alone")}
    assert left == {name for one in kept for name in names_of(one)}
