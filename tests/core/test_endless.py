"""New alerts without an end: what is forgotten of them leaves nothing behind but its count."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice

import pytest
from msgspec.msgpack import encode
from msgspec.structs import replace
from tests.bank import MAJOR
from tests.builders import (
    TICK,
    Feed,
    at,
    clear,
    engine_after,
    event,
    facts_of,
    frames,
    group_rule,
    only,
    revived,
    run,
    silence,
    started,
)

from eventd.core import incidents
from eventd.core.correlation import parameters
from eventd.core.engine import Engine
from eventd.core.incidents import OVERFLOW
from eventd.core.model import (
    Acknowledge,
    AlertJoined,
    CapHit,
    Close,
    CommandRejected,
    EndReason,
    Event,
    Fact,
    Incident,
    IncidentClosed,
    IncidentOpened,
    IncidentResolved,
    IncidentState,
    Input,
    Ordered,
    Severity,
    Split,
)
from eventd.core.sentences import sentence

KEPT, ALERTS, LIMIT = 8, 20, 3


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incidents, "KEPT", KEPT)
    monkeypatch.setattr(parameters, "KEPT", KEPT)
    monkeypatch.setattr(parameters, "MAX_STEMS", KEPT)


def endless(names: int = 3, every: float = 2.0) -> Iterator[tuple[float, Event]]:
    """Each on a CI of its own, whose name tells nothing of another's."""
    n = 0
    while True:
        yield n * every, event(f"down{n % names}", ci=f"h{n:x}-{'abcdefgh'[n % 8]}", severity=MAJOR)
        n += 1


def flow(count: int, *rules: dict[str, object], **settings: float) -> tuple[Engine, list[Fact]]:
    """The engine after so many, and what came of them."""
    engine = engine_after([(at(0), started(max_alerts=ALERTS, **settings))], *rules)
    return engine, run(engine, [(at(second), item) for second, item in islice(endless(), count)])


def ways() -> list[dict[str, object]]:
    return [group_rule(by=["service"])]


@pytest.mark.parametrize("rules", [[], ways()], ids=["correlation", "rule"])
def test_an_incident_counts_all_and_holds_those_of_its_alerts_that_are_remembered(
    rules: list[dict[str, object]],
) -> None:
    engine, _ = flow(300, *rules)

    (incident,) = [one for one in engine.incidents() if one.state is IncidentState.OPEN]
    assert (incident.alerts, incident.cis) == (300, 300)
    held = engine.incident_table.records[incident.id]
    assert len(held.members) <= ALERTS + KEPT
    assert len(held.cis) <= ALERTS + KEPT


@pytest.mark.parametrize("rules", [[], ways()], ids=["correlation", "rule"])
def test_what_is_remembered_grows_no_more(rules: list[dict[str, object]]) -> None:
    engine, _ = flow(200, *rules)
    before = taken(engine)

    run(engine, [(at(n), item) for n, item in islice(endless(), 200, 800)])

    assert taken(engine) < 2 * before  # incidents end, and others begin
    for cluster in engine.correlation.table.clusters.values():
        for held in (cluster.members, cluster.all_cis, cluster.cis, cluster.pairs, cluster.shapes):
            assert len(held) <= ALERTS + KEPT
        assert len(cluster.stems) <= KEPT


def taken(engine: Engine) -> int:
    """Bytes of a snapshot's sections that speak of alerts; what is learned has caps of its own."""
    sections = engine.snapshot().sections
    return sum(len(encode(list(sections[name]))) for name in ("alerts", "incidents", "clusters"))


def test_what_a_cluster_of_many_is_told_of_is_what_its_members_say() -> None:
    engine, _ = flow(100)
    table = engine.correlation.table
    (cluster,) = table.clusters.values()

    said = {(one.ci, one.name) for one in cluster.members.values()}
    assert set(cluster.pairs) == {"\x1f".join(pair) for pair in said}
    assert set(cluster.all_cis) == set(cluster.cis) == {ci for ci, _ in said}
    assert {ci: list(rows) for ci, rows in table.on.items()} == {ci: [cluster.id] for ci, _ in said}
    assert sum(cluster.evidence) == len(said)
    assert sum(cluster.shapes.values()) == len(said)


def test_two_that_say_the_same_of_a_ci_leave_it_one_after_the_other() -> None:
    """And a third says something else of it."""
    many = [event("down", ci=f"h{n}", severity=MAJOR) for n in range(KEPT + 4)]
    nas = event("down", ci="nas", severity=MAJOR)
    of_it = [
        nas,
        replace(nas, fingerprint="f" * 32, key=b"another"),
        event("slow", ci="nas", severity=MAJOR),
    ]
    full: Feed = [
        (at(0), started(max_alerts=len(many) + 3)),
        *((at(1), one) for one in (*of_it, *many)),
    ]
    engine = engine_after(full)
    (cluster,) = engine.correlation.table.clusters.values()
    there = []

    for n in range(3):  # each puts out the longest known
        run(engine, [(at(2 + n), event("else", ci=f"h{n}", severity=Severity.INFO))])
        there.append([f"nas\x1f{name}" in cluster.pairs for name in ("down", "slow")])

    assert there == [[True, True], [False, True], [False, False]]
    assert "nas" not in cluster.cis
    assert "nas" not in cluster.all_cis


def test_an_earlier_incident_of_it_forgets_the_alert_too() -> None:
    both = [group_rule(name="first", match='severity="major"', by=["service"])]
    both.append(group_rule(name="second", match='severity="critical"', by=["service"]))
    feed: list[tuple[datetime, Input]] = [(at(0), started(max_alerts=KEPT + 4))]
    feed += [(at(0), event("stays", severity=MAJOR))]
    for n in range(40):
        feed += [
            (at(10 * n + 1), event("down", ci=f"h{n}", severity=MAJOR)),
            (at(10 * n + 2), clear("down", ci=f"h{n}")),
            (at(10 * n + 3), event("down", ci=f"h{n}", severity=Severity.CRITICAL)),
            (at(10 * n + 4), clear("down", ci=f"h{n}")),
        ]

    engine = engine_after(feed, *both)

    held = [one for one in engine.incident_table.records.values() if one.rule == "first"]
    assert [len(one.members) <= 2 * KEPT + 4 for one in held] == [True]
    assert held[0].value().alerts == 41


def test_who_comes_again_is_counted_again_in_an_incident_of_many() -> None:
    engine, _ = flow(100, *ways())

    run(engine, [(at(300), next(endless())[1])])

    (incident,) = engine.incidents()
    assert incident.alerts == 101


def test_a_start_from_a_snapshot_goes_on_alike() -> None:
    for rules in ([], ways()):
        engine, _ = flow(60, *rules)
        other = revived(engine)
        more: Feed = [(at(second), item) for second, item in islice(endless(), 60, 120)]

        assert run(other, more) == run(engine, more)
        assert frames(other) == frames(engine)


def test_a_cluster_of_an_older_snapshot_counts_what_its_members_say() -> None:
    engine, _ = flow(30)
    (cluster,) = engine.correlation.table.clusters.values()
    held = {ci: span.members for ci, span in cluster.cis.items()}
    cluster.all_cis = dict.fromkeys(cluster.all_cis)
    for span in cluster.cis.values():
        span.members = 0
    for pair in cluster.pairs.values():
        pair.members = 0

    (again,) = revived(engine).correlation.table.clusters.values()

    assert {ci: span.members for ci, span in again.cis.items()} == held
    assert set(held.values()) == {1}


def test_a_noisy_check_leaves_its_ci_too() -> None:
    engine, _ = flow(30)
    table = engine.correlation.table
    (cluster,) = table.clusters.values()
    first, *rest = cluster.members.values()
    also = [one.fingerprint for one in rest if one.name == first.name][:1]
    table.drop(cluster, first)
    first.noisy = True
    table.add(cluster, first)

    gone = [table.forget(cluster, first)]
    table.storms[cluster.id] = None
    gone += [table.forget(cluster, cluster.members[one]) for one in also]

    assert gone == [True, True]  # with what it said before it was noisy
    assert first.ci not in cluster.cis
    assert cluster.id not in table.storms


def test_a_storm_is_one_until_it_is_narrower(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, _ = flow(30)
    table = engine.correlation.table
    cluster = max(table.clusters.values(), key=lambda one: len(one.cis))
    table.storms[cluster.id] = None
    monkeypatch.setattr(parameters, "STORM_CIS", len(cluster.cis) - 1)
    wide = []

    for member in list(cluster.members.values())[:2]:
        table.forget(cluster, member)
        wide.append(cluster.id in table.storms)

    assert wide == [True, False]


# -- more incidents than there is room for --------------------------------------------------------


def opened(facts: list[Fact]) -> list[Incident]:
    return [one.incident for one in facts if isinstance(one, IncidentOpened)]


def by_ci(match: str = "") -> dict[str, object]:
    return group_rule(by=["ci"], match=match)


def apart(count: int, start: int = 0) -> Feed:
    """Each opens an incident of its own."""
    return [(at(n), event(ci=f"h{n}")) for n in range(start, start + count)]


def test_beyond_the_limit_one_incident_takes_what_would_open_another() -> None:
    facts = facts_of([(at(0), started(max_incidents=LIMIT)), *apart(LIMIT + 3)], by_ci())

    *own, last = opened(facts)
    assert len(own) == LIMIT
    assert last.rule == OVERFLOW
    assert last.title == "More incidents than there is room for"
    joined = [one for one in facts if isinstance(one, AlertJoined) and one.incident == last.id]
    assert len(joined) == 3
    assert {sentence(one.because) for one in joined} == {
        f"eventd put it there (there is room for {LIMIT} incidents)"
    }
    assert [one.table for one in facts if isinstance(one, CapHit)] == ["incidents"] * 3


def test_the_longest_closed_makes_room_and_the_store_alone_remembers_it() -> None:
    engine = engine_after([(at(0), started(max_incidents=LIMIT)), *apart(LIMIT)], by_ci())
    run(engine, [(at(5), Close("INC-000002", "ann")), (at(6), Close("INC-000001", "ann"))])

    facts = run(engine, [*apart(2, 7), (at(9), TICK), *apart(1, 10)])

    assert [one.rule for one in opened(facts)][-1] == OVERFLOW
    assert len(opened(facts)) == 3
    assert set(engine.incident_table.records) == {f"INC-{n:06d}" for n in (3, 4, 5, 6)}
    (told,) = run(engine, [(at(11), Acknowledge("INC-000002", "ann"))])
    assert isinstance(told, CommandRejected)
    assert told.missing


def test_what_was_closed_just_now_makes_no_room_yet() -> None:
    """Its row is written after the step."""
    engine = engine_after([(at(0), started(max_incidents=LIMIT)), *apart(LIMIT)], by_ci())

    facts = run(engine, [(at(5), Close("INC-000001", "ann")), (at(5.5), event(ci="more"))])

    assert engine.incident("INC-000001").state is IncidentState.CLOSED
    assert len(opened(facts)) == 1
    run(engine, [(at(6), Close("INC-000002", "ann")), (at(7), event(ci="another")), (at(8), TICK)])
    assert "INC-000001" not in engine.incident_table.records


def test_what_resolved_is_not_reopened_by_what_fires_already() -> None:
    """As no incident is."""
    full: Feed = [(at(0), started(max_incidents=2)), (at(0), event(ci="a")), (at(0), event(ci="b"))]
    engine = engine_after([*full, (at(1), event(ci="c")), (at(2), clear(ci="c"))], by_ci())
    run(engine, [(at(70), TICK), (at(71), silence('ci="d"', at(80))), (at(72), event(ci="d"))])

    facts = run(engine, [(at(90), TICK)])

    (closed,) = [one for one in facts if isinstance(one, IncidentClosed)]
    assert (closed.incident, closed.reason) == ("INC-000003", EndReason.SUPERSEDED)
    (again,) = opened(facts)
    assert (again.id, again.rule) == ("INC-000004", OVERFLOW)


def test_nor_by_what_the_correlation_raises() -> None:
    full: Feed = [(at(0), started(max_incidents=1)), (at(0), event(ci="a"))]
    engine = engine_after(full, by_ci(match='ci=~"[ab]"'))
    run(engine, [(at(1), event(ci="b")), (at(2), event("down", ci="c", severity=MAJOR))])
    run(engine, [(at(20), clear(ci="b")), (at(100), TICK)])

    facts = run(engine, [(at(400), TICK)])

    (closed,) = [one for one in facts if isinstance(one, IncidentClosed)]
    assert (closed.incident, closed.reason) == ("INC-000002", EndReason.SUPERSEDED)
    assert [one.rule for one in opened(facts)] == [OVERFLOW]


def test_what_went_in_its_own_time_makes_no_room() -> None:
    engine = engine_after([(at(0), started(max_incidents=LIMIT)), *apart(LIMIT)], by_ci())
    run(engine, [(at(5), Close("INC-000001", "ann")), (at(6), Close("INC-000002", "ann"))])

    run(engine, [(at(700), TICK)])
    facts = run(engine, [(at(n), one) for n, (_, one) in enumerate(apart(4, 10), start=701)])

    assert [one.rule == OVERFLOW for one in opened(facts)] == [False, False, True]


def test_what_the_correlation_raises_finds_no_room_either() -> None:
    full: Feed = [(at(0), started(max_incidents=1)), (at(0), event(ci="a"))]
    engine = engine_after(full, by_ci(match='ci="a"'))

    facts = run(engine, [(at(1), event("down", ci="b", severity=MAJOR)), (at(400), TICK)])

    (incident,) = opened(facts)
    assert incident.rule == OVERFLOW
    assert isinstance(only(AlertJoined, facts).because, Ordered)
    assert not engine.correlation.table.clusters
    told = run(engine, [(at(410), clear("down", ci="b")), (at(800), TICK)])
    assert only(IncidentResolved, told).incident == incident.id


def test_what_is_over_by_the_time_finds_its_end_there() -> None:
    """An episode of before among it."""
    full: Feed = [(at(0), started(max_incidents=1)), (at(0), event(ci="a"))]
    engine = engine_after(full, by_ci(match='ci="a"'))
    seen: Feed = [(at(n), event("down", ci=f"nas{n}", severity=MAJOR)) for n in (1, 2, 3)]
    again: Feed = [(at(4), clear("down", ci="nas1")), (at(5), event("down", ci="nas1"))]
    over: Feed = [(at(40), clear("down", ci=f"nas{n}")) for n in (1, 2, 3)]

    facts = run(engine, [*seen, *again, (at(30), TICK), *over, (at(800), TICK)])

    (incident,) = opened(facts)
    assert (incident.rule, engine.incident(incident.id).alerts) == (OVERFLOW, 3)
    assert only(IncidentResolved, facts).incident == incident.id


def test_a_person_may_split_an_incident_all_the_same() -> None:
    feed: Feed = [(at(0), started(max_incidents=1)), (at(0), event("a")), (at(1), event("b"))]
    engine = engine_after(feed, group_rule(by=["service"]))

    facts = run(engine, [(at(2), Split("INC-000001", (event("b").fingerprint,), "ann"))])

    assert opened(facts)[0].rule == "operator"


def test_the_limit_is_the_same_after_a_start_from_a_snapshot() -> None:
    feed: Feed = [(at(0), started(max_incidents=LIMIT)), *apart(LIMIT + 1)]
    engine = engine_after(feed, by_ci())
    run(engine, [(at(20 + n), Close(f"INC-{n:06d}", "ann")) for n in (2, 1)])
    other = revived(engine)
    more = [*apart(4, 30), (at(40), TICK)]

    assert run(other, more) == run(engine, more)
    assert frames(other) == frames(engine)
