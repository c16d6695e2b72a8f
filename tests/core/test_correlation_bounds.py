"""What the correlation does at its bounds, and what it says of things that come again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import chain, islice, product
from string import ascii_lowercase
from types import FrameType
from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec.structs import replace
from tests.bank import MAJOR, bank, down, later, members, opened
from tests.builders import (
    TICK,
    Feed,
    at,
    clear,
    engine_after,
    event,
    group_rule,
    inventory,
    revived,
    run,
    threshold_rule,
)

from eventd.core.correlation import parameters
from eventd.core.correlation.correlation import Correlation
from eventd.core.correlation.firing import Firing, Session
from eventd.core.correlation.table import Table
from eventd.core.engine import Engine
from eventd.core.model import (
    Alert,
    AlertAlone,
    CapHit,
    Ci,
    Event,
    IncidentResolved,
    IncidentState,
    Input,
    Resolve,
    Severity,
    Split,
    Status,
)
from eventd.core.timers import Timers

if TYPE_CHECKING:
    from _typeshed import TraceFunction

DAY = 86_400
MINOR = Severity.MINOR


def alone() -> Correlation:
    return Correlation(Timers(), [])


def alert(name: str, ci: str, severity: Severity = MAJOR) -> Alert:
    """One that fires."""
    seen = event(name, ci=ci)
    return Alert(
        f"{name} {ci}",
        "zabbix",
        name,
        ci,
        "",
        "",
        Status.FIRING,
        severity,
        {},
        (),
        at(0),
        at(0),
        None,
        1,
        1,
        "",
        "",
        seen.value,
    )


def test_what_comes_again_after_ten_minutes_is_a_recurrence() -> None:
    engine = bank((0, down("nas")), (600, clear("down", ci="nas")), until=2_000)

    (again,) = opened(later(engine, (5_000, down("nas")), until=5_300))

    assert (again.id, again.recurs) == ("INC-000002", "INC-000001")


@pytest.mark.parametrize(
    "told",
    [
        [(300, Resolve("INC-000001", "ann")), (400, clear("down", ci="nas"))],
        [(300, clear("down", ci="nas")), (301, Resolve("INC-000001", "ann"))],
    ],
)
def test_also_where_a_person_has_resolved_it(told: list[tuple[float, Input]]) -> None:
    engine = bank((0, down("nas")), until=250)
    run(engine, [(at(second), item) for second, item in told])

    (again,) = opened(later(engine, (5_000, down("nas")), until=5_300))

    assert (again.id, again.recurs) == ("INC-000002", "INC-000001")


def test_also_where_it_took_up_more_than_it_was() -> None:
    apps = [Ci(f"app-{n}", depends_on=("core",)) for n in range(8)]
    power, fan = down("app-0", "power"), down("app-0", "fan")
    slow = [event("slow", ci=one.name, severity=Severity.WARNING) for one in apps[1:]]
    fired = [(0, power), (1, fan), *((150, one) for one in slow), (152, down("core"))]
    over = [event(one.name, ci=one.ci, status=Status.CLEARED) for _, one in fired]
    feed: Feed = [
        (at(0), inventory(Ci("core"), *apps)),
        *((at(second), one) for second, one in fired),
    ]
    engine = engine_after([*feed, *((at(900), one) for one in over), (at(4_000), TICK)])

    (again,) = opened(later(engine, (5_000, power), (5_001, fan), until=5_300))

    assert (again.id, again.recurs) == ("INC-000002", "INC-000001")


def test_only_so_many_incidents_are_remembered_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "MAX_PAST", 1)
    engine = bank((0, down("nas")), (600, clear("down", ci="nas")), until=2_000)
    told = later(engine, (3_000, down("san-a")), (3_600, clear("down", ci="san-a")), until=6_000)

    assert [fact.table for fact in told if isinstance(fact, CapHit)] == ["past"]
    (again,) = opened(later(engine, (7_000, down("nas")), until=7_300))
    assert again.recurs == ""


def test_at_the_cap_the_cluster_longest_unjoined_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "MAX_CLUSTERS", 2)
    engine = bank((0, down("nas")), until=250)  # raised
    told = later(engine, (300, down("san-a")), (301, down("branch-01")), (302, down("fax")))

    assert [fact.table for fact in told if isinstance(fact, CapHit)] == ["clusters", "clusters"]
    assert [fact.fingerprint for fact in told if isinstance(fact, AlertAlone)] == [
        down("san-a").fingerprint
    ]
    assert len(engine.correlation.table.clusters) == 2
    # its incident goes on without a cluster
    assert engine.incident("INC-000001").state is IncidentState.OPEN
    over = later(engine, (400, clear("down", ci="nas")), until=1_000)
    assert any(isinstance(f, IncidentResolved) and f.incident == "INC-000001" for f in over)


def test_an_incident_that_loses_its_cluster_while_nothing_fires_resolves_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = bank((0, down("nas")), (400, clear("down", ci="nas")), until=410)
    monkeypatch.setattr(parameters, "MAX_CLUSTERS", 1)
    told = later(engine, (420, down("san-a")), until=1_000)

    assert any(isinstance(f, IncidentResolved) and f.incident == "INC-000001" for f in told)


def test_a_session_of_looks_ends_when_a_look_finds_nothing() -> None:
    correlation = alone()
    first = Session("cloud", 300.0, 1_200.0, 1.0)
    correlation.fired(Firing(alert("slow", "a"), 0.0, 0.0, session=first))
    correlation.fired(Firing(alert("slow", "b"), 10.0, 10.0, session=first))
    assert len(correlation.table.clusters) == 1
    correlation.cleared("slow a", 60.0)
    correlation.cleared("slow b", 60.0)

    correlation.fired(Firing(alert("slow", "c"), 400.0, 400.0, session=first))

    assert len(correlation.table.clusters) == 2


def test_a_session_of_which_everything_is_silenced_is_not_raised() -> None:
    correlation = alone()
    telling = Session("cloud", 300.0, 1_200.0, parameters.SESSION_TELLS)
    correlation.fired(Firing(alert("slow", "a"), 0.0, 0.0, session=telling))
    correlation.withdrawn("slow a", 1.0)

    assert correlation.due("1", at(parameters.STRONG_AFTER + 1)) == []


def test_a_session_lasts_only_so_long() -> None:
    correlation = alone()
    first = Session("cloud", 300.0, 1_200.0, 1.0)
    correlation.fired(Firing(alert("slow", "a"), 0.0, 0.0, session=first))

    correlation.fired(Firing(alert("slow", "b"), 1_300.0, 1_300.0, session=first))

    assert len(correlation.table.clusters) == 2


def test_a_session_is_forgotten_with_its_cluster() -> None:
    correlation = alone()
    looks = Session("cloud", 300.0, 1_200.0, 1.0)
    correlation.fired(Firing(alert("slow", "a"), 0.0, 0.0, session=looks))
    correlation.cleared("slow a", 60.0)

    correlation.due("1", at(DAY))

    assert not correlation.sessions
    assert not correlation.table.clusters


def test_a_doubted_alert_that_gets_worse_is_still_no_evidence() -> None:
    correlation = alone()
    correlation.fired(Firing(alert("down", "a"), 0.0, 0.0, doubted=True))

    assert correlation.worsened(alert("down", "a", Severity.CRITICAL), "", 10.0) == []

    (cluster,) = correlation.table.clusters.values()
    assert cluster.cis == {}


def test_two_alerts_of_one_check_are_one_piece_of_evidence() -> None:
    correlation = alone()
    for source in ("zabbix", "icinga"):
        twin = replace(alert("down", "a"), fingerprint=f"{source} a", source=source)
        correlation.fired(Firing(twin, 0.0, 0.0))
    (cluster,) = correlation.table.clusters.values()
    assert sum(cluster.evidence) == 1

    correlation.cleared("zabbix a", 400.0)
    assert sum(cluster.evidence) == 1

    correlation.cleared("icinga a", 400.0)
    assert sum(cluster.evidence) == 0


def test_a_cluster_whose_alerts_a_rule_took_meanwhile_raises_nothing() -> None:
    engine = bank(rules=(group_rule(),))
    told = later(engine, (10, down("desk-1", service="shop")))
    (incident,) = opened(told)
    # the inventory knows nothing of the desk: the correlation was not told
    taken = engine.alert(down("desk-1", service="shop").fingerprint)
    engine.correlation.fired(Firing(taken, at(20).timestamp(), at(20).timestamp()))

    assert opened(later(engine, until=600)) == []
    assert members(engine) == {incident.id: ["desk-1"]}
    assert not engine.correlation.table.clusters


def lines_run(what: Callable[[], object]) -> int:
    """How many lines of Python it takes: the same on every machine."""
    count = 0

    def trace(_frame: FrameType, kind: str, _arg: object) -> TraceFunction:
        nonlocal count
        count += kind == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        what()
    finally:
        sys.settrace(before)
    return count


def one_more(firing: int) -> int:
    """What it costs, in lines, that one alert more fires and the first clears, beside so many."""
    labels = [{"request": str(number)} for number in range(firing + 1)]
    fired = [event("slow", ci="app", severity=Severity.WARNING, labels=one) for one in labels]
    engine = engine_after([(at(0), one) for one in fired[:-1]])
    over = clear("slow", ci="app", labels=labels[0])
    return lines_run(lambda: (engine.step(over, at(1)), engine.step(fired[-1], at(2))))


def test_an_alert_costs_the_same_in_a_small_cluster_and_a_large_one() -> None:
    assert one_more(1_000) < 1.2 * one_more(50)


def test_what_a_rule_claims_waits_to_be_raised_no_more() -> None:
    engine = engine_after(
        [(at(0), inventory(Ci("a"), Ci("b"))), (at(1), event("slow", ci="a"))],
        threshold_rule("many", 'name="slow"', count=2, of="alerts", by=["name"], within="5m"),
    )
    waits = engine.correlation.table.waits
    assert list(waits) == [1]

    engine.step(event("slow", ci="b"), at(2))

    assert not waits


def test_what_takes_up_an_incident_waits_to_be_raised_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parameters, "COVER", 0.0)  # what says nothing makes them one too soon
    slight = [(30, down("db-b", severity=MINOR)), (31, down("pay", severity=MINOR))]
    raised = [(0, down("shop")), (1, down("web"))]
    engine = bank(*raised, *slight, (32, down("pay", "slow", MINOR)), until=50)
    table = engine.correlation.table
    assert list(table.waits) == [2]

    later(engine, (55, down("san-a")))

    assert [(number, one.incident) for number, one in table.clusters.items()] == [(2, "INC-000001")]
    assert not table.waits


def clearing(fired: int) -> int:
    """What the last clears cost, in lines, of a hub's dependants that all fired."""
    names = [f"branch-{number}" for number in range(fired)]
    start = [(at(0), event("down", ci=name, severity=MAJOR)) for name in names]
    most = [(at(300), clear("down", ci=name)) for name in names[20:]]
    engine = engine_after([*start, *most])
    last = [clear("down", ci=name) for name in names[:20]]
    return lines_run(lambda: list(chain(*(engine.step(one, at(301)) for one in last))))


def test_a_clear_costs_the_same_in_a_small_incident_and_a_large_one() -> None:
    assert clearing(1_000) < 1.2 * clearing(100)


def splitting(fired: int, cis: int) -> int:
    """What it costs, in lines, to split half of so many alerts off, on so many CIs."""
    names = [(f"down {n // cis}", f"branch-{n % cis}") for n in range(fired)]
    seen = [event(name, ci=ci, severity=MAJOR) for name, ci in names]
    engine = engine_after([*((at(0), one) for one in seen), (at(300), TICK)])
    assert [one.alerts for one in engine.incidents()] == [fired]
    half = Split("INC-000001", tuple(one.fingerprint for one in seen[::2]), "ann")
    return lines_run(lambda: engine.step(half, at(301)))


@pytest.mark.parametrize("cis", [1, 200])
def test_to_split_costs_as_much_for_each_alert_of_a_large_incident_as_of_a_small_one(
    cis: int,
) -> None:
    assert splitting(400, cis) < 2.2 * splitting(200, cis)


def unrelated(fired: int) -> tuple[Engine, list[Event]]:
    """A rule's incident of so many alerts that have nothing to do with each other, as it stands."""
    names = ["".join(letters) for letters in islice(product(ascii_lowercase, repeat=3), fired)]
    seen = [event(f"{name}-down", ci=f"host-{name}", service="shop") for name in names]
    known = inventory(*(Ci(one.ci) for one in seen))
    feed: Feed = [(at(0), known), *((at(1), one) for one in seen)]
    engine = engine_after(feed, group_rule("all", "", by=["service"]))
    assert len(engine.correlation.table.clusters) > fired - parameters.STORM_CIS
    return engine, seen


def subsiding(fired: int) -> int:
    """What it costs, in lines, to find that an incident of which half fires has not subsided."""
    engine, seen = unrelated(fired)
    over = [clear(one.name, ci=one.ci, service="shop") for one in seen[::2]]
    run(engine, [(at(1_000), one) for one in over])
    return lines_run(lambda: engine.step(TICK, at(1_000 + parameters.OVER_AFTER)))


def test_that_an_incident_has_not_subsided_is_found_without_a_look_at_each_of_its_alerts() -> None:
    assert subsiding(600) < 3 * subsiding(300)  # the first hundred are one cluster


def test_to_split_half_off_looks_for_each_alert_in_its_own_cluster_alone() -> None:
    def splits(fired: int) -> int:
        engine, seen = unrelated(fired)
        half = Split("INC-000001", tuple(one.fingerprint for one in seen[::2]), "ann")
        return lines_run(lambda: engine.step(half, at(2)))

    assert splits(600) < 2.5 * splits(300)


def test_a_restored_incident_counts_its_alerts_as_before() -> None:
    engine, seen = unrelated(200)
    run(engine, [(at(2), clear(one.name, ci=one.ci, service="shop")) for one in seen[::2]])

    counted = engine.correlation.table.raised

    assert counted["INC-000001"].firing == 100
    assert revived(engine).correlation.table.raised == counted


@pytest.mark.parametrize("until", [2, 60])
def test_a_snapshot_without_later_counters_is_counted_again(until: float) -> None:
    """Gathering, and raised: as it was written before `steady` and what follows were counted."""
    engine = bank((0, down("sw-ams")), (1, down("ams-app1", "slow")), until=until)
    table = engine.correlation.table
    dumped = msgspec.msgpack.encode(table.dump())
    rows = msgspec.msgpack.decode(dumped, type=list[tuple[str, str, msgspec.Raw]])
    older = [
        (kind, key, _without_counters(raw) if kind == "cluster" else raw) for kind, key, raw in rows
    ]

    other = Table(table.inventory)
    other.load(iter(older))

    assert len(table.clusters) == 1
    assert other.clusters == table.clusters


def _without_counters(raw: msgspec.Raw) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(msgspec.msgpack.decode(raw)[:-3]))
