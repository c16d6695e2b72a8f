"""What the correlation keeps to, whatever happens; a trouble is raised in every example."""

from __future__ import annotations

from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.builders import TICK, Feed, at, engine_after, frames, revived, run
from tests.properties.beliefs import Beliefs
from tests.properties.recount import agrees, agrees_with_alerts, agrees_with_graph
from tests.properties.renaming import Renaming
from tests.properties.troubles import (
    QUIET,
    Timed,
    below,
    blips,
    calm_days,
    days,
    feed_of,
    troubles,
)

from eventd.core.engine import Engine
from eventd.core.model import (
    AlertJoined,
    Correlated,
    Fact,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    IncidentUpdated,
    Status,
)

TOLD = (IncidentUpdated, IncidentResolved, IncidentReopened, AlertJoined)


def opened(facts: list[Fact]) -> list[IncidentOpened]:
    """The incidents that were opened, in order."""
    return [fact for fact in facts if isinstance(fact, IncidentOpened)]


@given(calm_days())
def test_every_trouble_is_an_incident(feed: Feed) -> None:
    assert opened(run(Engine(), feed))


@given(days(), st.data())
def test_a_restored_engine_has_the_same_future(feed: Feed, data: st.DataObject) -> None:
    whole, restored = Engine(), Engine()
    expected = run(whole, feed)
    stops = data.draw(st.sets(st.integers(0, len(feed) - 1), min_size=1, max_size=8))

    facts: list[Fact] = []
    for position, (now, item) in enumerate(feed):
        if position in stops:
            restored = revived(restored)
        facts += restored.step(item, now)

    assert facts == expected
    assert frames(restored) == frames(whole)


@given(days(), st.data())
def test_extra_ticks_change_nothing(feed: Feed, data: st.DataObject) -> None:
    plain, busy = Engine(), Engine()
    expected = run(plain, feed)

    facts: list[Fact] = []
    for now, item in feed:
        while (due := busy.deadline()) is not None and due <= now and data.draw(st.booleans()):
            facts += busy.step(TICK, due)
        facts += busy.step(item, now)

    assert facts == expected


@given(days())
def test_a_reader_of_facts_alone_believes_what_the_engine_believes(feed: Feed) -> None:
    engine, beliefs = Engine(), Beliefs()

    for now, item in feed:
        for fact in engine.step(item, now):
            beliefs.take(fact)

        beliefs.agree_with(engine)


@given(days())
def test_clusters_count_and_index_exactly_their_members(feed: Feed) -> None:
    engine = Engine()

    for now, item in feed:
        engine.step(item, now)

        agrees(engine.correlation.table)
        agrees_with_alerts(engine)


@given(calm_days())
def test_what_is_below_a_ci_is_what_depends_on_it(feed: Feed) -> None:
    engine = Engine()

    for now, item in feed:
        engine.step(item, now)

        agrees_with_graph(engine.correlation.table)


@given(days())
def test_an_alert_that_fires_unsuppressed_belongs_to_one_incident_at_most(feed: Feed) -> None:
    engine = Engine()

    for now, item in feed:
        engine.step(item, now)

        for alert in engine.alerts():
            if alert.incident and alert.status is Status.FIRING:
                assert alert.suppressed_by == ""
                assert engine.find_incident(alert.incident) is None or alert.fingerprint in dict(
                    engine.incident_table.members(alert.incident)
                )


@given(calm_days(), st.data())
def test_cutting_the_stream_leaves_what_was_raised_before(feed: Feed, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(feed) - 1))
    before = opened(run(Engine(), feed[:cut]))

    for rest in (feed[cut:], [(at(QUIET), TICK)]):
        engine = Engine()
        facts = run(engine, [*feed[:cut], *rest])

        assert opened(facts)[: len(before)] == before
        for one in before:
            incident = engine.find_incident(one.incident.id)
            assert incident is None or incident.title == one.incident.title


@given(calm_days(), st.integers(0, 1_000))
def test_other_names_change_nothing_but_names(feed: Feed, seed: int) -> None:
    """They are in the same order, which breaks ties, and have the digits that make them alike."""
    renaming = Renaming(feed, Random(seed))
    renamed = renaming.feed(feed)

    facts = run(Engine(), feed)

    assert opened(facts)
    assert renaming.values(facts) == msgspec.to_builtins(run(Engine(), renamed))


@given(troubles(1), st.lists(blips(below(2), ("fan", "fuse")), max_size=5))
def test_noise_far_away_in_the_graph_changes_no_other_incident(
    trouble: list[Timed], noise: list[list[Timed]]
) -> None:
    facts = run(Engine(), feed_of(trouble))
    among_noise = run(Engine(), feed_of(trouble, *noise))

    assert about(facts, "1") == about(among_noise, "1") != []


def about(facts: list[Fact], stack: str) -> list[object]:
    """What was told of the incidents of one stack: cluster and incident numbers left out."""
    told: list[object] = []
    known: dict[str, int] = {}
    for fact in facts:
        if isinstance(fact, IncidentOpened) and stack in fact.incident.roots[0].ci:
            known[fact.incident.id] = len(known)
            told.append((fact.at, replace(fact.incident, id="", group={})))
        elif isinstance(fact, TOLD) and fact.incident in known:
            one = replace(fact, incident=f"{known[fact.incident]}")
            if isinstance(one, AlertJoined) and isinstance(one.because, Correlated):
                other = f"{known.get(one.because.other, '')}"
                one = replace(one, because=replace(one.because, other=other))
            told.append(one)
    return told


@given(
    troubles(1, linked=True),
    troubles(2, linked=True, names=("full", "late", "lost")),
    st.lists(st.integers(0, 300), min_size=28, max_size=28),
)
def test_late_deliveries_end_where_they_would_have_in_time(
    one: list[Timed], other: list[Timed], lags: list[int]
) -> None:
    """What holds: where what an alert depends on alerts as well, and 300 s late at most.

    A gap in the chain makes alerts weak members, which may stand alone in one order and not in
    another; and a firing that is later than its trouble's end is no part of it.
    """
    told = sorted(one + other, key=lambda row: row[0])
    late = [(second + lag, item) for (second, item), lag in zip(told, lags, strict=False)]

    in_time, in_disorder = groups(feed_of(told)), groups(feed_of(late))

    assert in_time == in_disorder
    assert len(in_time) == 2


def groups(feed: Feed) -> set[frozenset[str]]:
    """Which alerts are together when all is over."""
    together: dict[str, set[str]] = {}
    for alert in engine_after(feed).alerts():
        together.setdefault(alert.incident, set()).add(alert.fingerprint)
    return {frozenset(fingerprints) for fingerprints in together.values()}
