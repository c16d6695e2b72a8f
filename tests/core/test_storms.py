"""Storms: what a source says beyond all reading gets one incident."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from msgspec.structs import replace
from tests.builders import (
    Feed,
    at,
    clear,
    engine_after,
    event,
    facts_of,
    group_rule,
    last,
    only,
    revived,
    silence,
    started,
)

from eventd.core.model import (
    AlertJoined,
    AlertSuppressed,
    Close,
    Event,
    Fact,
    FindingNoted,
    Grouped,
    IncidentOpened,
    Severity,
    Stormed,
    Tick,
)

LIMIT = 10
T = TypeVar("T")


def those(kind: type[T], facts: Iterable[Fact]) -> list[T]:
    return [fact for fact in facts if isinstance(fact, kind)]


def storm(count: int, first: int = 0, *, second: float = 0.0, source: str = "zabbix") -> Feed:
    """So many new alerts, each on a CI of its own, a service each."""
    return [(at(second + n / 1000), new(n, source=source)) for n in range(first, first + count)]


def new(n: int, *, source: str = "zabbix", name: str = "") -> Event:
    return event(name or f"check-{n % 3}", ci=f"ci{n}", service=f"s{n}", source=source)


def begun(*rules: dict[str, object]) -> Feed:
    """A storm is on: the limit was passed by one."""
    return [(at(0), started(storm_above=LIMIT)), *storm(LIMIT + 1)]


def test_what_comes_beyond_the_limit_joins_one_incident_of_its_source() -> None:
    feed = [*begun(), *storm(5, LIMIT + 1)]

    facts = facts_of(feed, group_rule())

    opened = those(IncidentOpened, facts)
    (own,) = [one for one in opened if isinstance(one.because, Stormed)]
    assert len(opened) == LIMIT + 1
    assert own.incident.title == "Storm of new alerts from zabbix"
    assert own.because == Stormed(
        "storm", {"source": "zabbix"}, 1, LIMIT, (("check-1", 1),), (("ci10", 1),)
    )
    joined = [one for one in those(AlertJoined, facts) if one.incident == own.incident.id]
    assert [one.because for one in joined[1:]] == [Grouped("storm", {"source": "zabbix"})] * 5


def test_a_source_that_keeps_quiet_is_judged_as_always_while_another_storms() -> None:
    facts = last([*begun(), (at(1), new(50, source="grafana"))], group_rule())

    opened = only(IncidentOpened, facts)
    assert opened.incident.rule == "by-service"


def test_a_rule_that_makes_a_p1_is_asked_in_a_storm_too() -> None:
    urgent = group_rule("vital", 'name="Vital"', impact=1, urgency=1)
    feed = [*begun(), (at(1), new(99, name="Vital"))]

    facts = last(feed, urgent, group_rule())

    opened = only(IncidentOpened, facts)
    assert (opened.incident.rule, opened.incident.priority) == ("vital", 1)


def test_a_silence_covers_what_comes_in_a_storm() -> None:
    feed = [*begun(), (at(1), silence('name="Known"', at(99))), (at(2), new(99, name="Known"))]

    facts = last(feed, group_rule())

    assert [type(fact) for fact in facts[1:]] == [AlertSuppressed]


def test_alerts_known_before_are_no_storm() -> None:
    first = [(at(0), started(storm_above=LIMIT)), *storm(LIMIT)]
    cleared: Feed = [
        (at(100), clear(f"check-{n % 3}", ci=f"ci{n}", service=f"s{n}")) for n in range(LIMIT)
    ]

    facts = facts_of([*first, *cleared, *storm(LIMIT, second=101)], group_rule())

    assert not [one for one in those(IncidentOpened, facts) if one.incident.rule == "storm"]


def test_the_timeline_says_whenever_it_has_doubled_and_when_it_is_over() -> None:
    feed = [
        *begun(),
        *storm(20, 100, second=20),
        *storm(12, 200, second=100),
        (at(600), Tick()),
    ]

    noted = those(FindingNoted, facts_of(feed, group_rule()))

    told = [(one.at, one.because.count) for one in noted if isinstance(one.because, Stormed)]
    assert told == [(at(60.01), 21), (at(180.01), 33)]
    most = noted[-1].because
    assert isinstance(most, Stormed)
    assert sum(count for _, count in most.names) == 33
    assert len(most.cis) == 5


def test_after_a_storm_rules_are_asked_again_and_another_reopens_its_incident() -> None:
    feed = [*begun(), (at(300), Tick()), *storm(1, 500, second=301)]

    facts = last(feed, group_rule())

    opened = only(IncidentOpened, facts)
    assert opened.incident.rule == "by-service"


def test_a_storm_goes_on_after_a_restart() -> None:
    rules = (group_rule(),)
    engine = revived(engine_after([*begun(), *storm(7, 100, second=5)], *rules))
    whole = engine_after([*begun(), *storm(7, 100, second=5)], *rules)

    for now, item in [*storm(9, 300, second=30), (at(500), Tick())]:
        assert engine.step(item, now) == whole.step(item, now)


def test_names_are_counted_up_to_a_cap() -> None:
    feed: Feed = [(at(0), started(storm_above=1))]
    feed = [*feed, *((at(n / 1000), new(n, name=f"n{n}")) for n in range(1_200)), (at(300), Tick())]

    noted = those(FindingNoted, facts_of(feed))

    because = noted[-1].because
    assert isinstance(because, Stormed)
    assert because.count == 1_199
    assert because.names == tuple((f"n{n}", 1) for n in range(1, 6))


def test_nothing_more_is_written_down_where_the_incident_was_closed() -> None:
    opened = only(IncidentOpened, last(begun(), group_rule()))
    feed = [*begun(), (at(1), Close(opened.incident.id, "ann")), (at(300), Tick())]

    assert those(FindingNoted, facts_of(feed, group_rule())) == []


def test_what_gets_worse_in_a_storm_is_the_storms_alone() -> None:
    said = new(LIMIT + 2)
    feed = [
        *begun(),
        (at(1), replace(said, severity=Severity.WARNING)),
        (at(2), replace(said, severity=Severity.CRITICAL, key=b"worse")),
    ]

    engine = engine_after(feed)

    assert said.fingerprint not in engine.correlation.table.where
    assert [one.rule for one in engine.incidents()] == ["storm"]
