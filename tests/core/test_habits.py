"""Sources known by what they do: those that never clear, and those that look once a period."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec.structs import replace
from tests.builders import TICK, Feed, at, engine_after, event, inventory, revived, run

from eventd.core.engine import Engine
from eventd.core.model import (
    AlertAlone,
    AlertCleared,
    AlertJoined,
    Ci,
    ClearReason,
    Correlated,
    Detach,
    Event,
    Fact,
    IncidentOpened,
    Input,
    Severity,
    Status,
    Tie,
    Why,
)

HOUR = 3_600.0


def said(second: float, name: str, ci: str = "host", source: str = "ids") -> tuple[datetime, Event]:
    """A word of a source that never clears."""
    return at(second), event(name, ci=ci, source=source, payload=f"{second}")


def chatter(hours: float, every: float = 200) -> Feed:
    """What it always says, for hours, of two hosts."""
    count = int(hours * HOUR // every)
    return [said(every * n, f"scan{n % 2}", f"host{n % 4 // 2}") for n in range(count)]


def mixed(*feeds: Iterable[tuple[datetime, Input]]) -> Feed:
    """In order of time."""
    return sorted((one for feed in feeds for one in feed), key=lambda one: one[0])


def names(facts: Iterable[Fact]) -> list[str]:
    """The titles of the incidents that were opened."""
    return [fact.incident.title for fact in facts if isinstance(fact, IncidentOpened)]


def test_what_a_source_that_never_clears_says_is_over_when_it_is_quiet() -> None:
    engine = engine_after(chatter(8))

    facts = run(engine, [said(8 * HOUR + 1_000, "attack"), (at(9 * HOUR), TICK)])

    (cleared,) = [f for f in facts if isinstance(f, AlertCleared) and f.at > at(8 * HOUR + 1_000)]
    assert cleared.reason is ClearReason.QUIET
    assert cleared.at <= at(8 * HOUR + 1_300)


def test_what_it_seldom_says_is_raised_and_what_it_always_says_is_not() -> None:
    engine = engine_after(chatter(20))

    facts = run(
        engine,
        [
            said(20 * HOUR + 1_000, "scan0", "host0"),
            said(20 * HOUR + 2_000, "attack", "host7"),
            (at(21 * HOUR), TICK),
        ],
    )

    assert names(facts) == ["attack on host7"]
    assert {fact.why for fact in facts if isinstance(fact, AlertAlone)} == {Why.COMMON}


def test_a_burst_that_swells_is_raised_though_it_is_common() -> None:
    engine = engine_after(chatter(20))
    start = 20 * HOUR + 1_000

    facts = run(engine, [said(start + 2 * n, "scan0", "host0") for n in range(40)])
    facts += run(engine, [(at(start + 500), TICK)])

    assert names(facts) == ["scan0 on host0"]


def test_a_burst_that_a_person_has_detached_may_swell() -> None:
    engine = engine_after(chatter(20))
    start, swelling = 20 * HOUR + 1_000, said(0, "scan0", "host0")[1].fingerprint
    run(engine, [said(start, "attack", "host0"), said(start + 3, "scan0", "host0")])
    engine.step(TICK, at(start + 40))
    engine.step(Detach(engine.alert(swelling).incident, swelling, "ann"), at(start + 41))

    facts = run(engine, [said(start + 42 + 2 * n, "scan0", "host0") for n in range(40)])

    assert [fact for fact in facts if isinstance(fact, AlertJoined)] == []


def test_what_follows_at_the_pace_of_the_burst_belongs_to_it() -> None:
    engine = engine_after(chatter(8))
    start = 8 * HOUR + 5_000

    facts = run(
        engine,
        [
            said(start, "attack", "host7"),
            said(start + 2, "breach", "host7"),
            said(start + 4, "theft", "host7"),
            (at(start + 100), TICK),
        ],
    )

    joined = [fact for fact in facts if isinstance(fact, AlertJoined)]
    assert len(joined) == 3
    assert len(names(facts)) == 1


def test_a_burst_that_a_larger_cluster_takes_up_is_listed_no_more() -> None:
    engine = engine_after(chatter(8))
    start, minor = 8 * HOUR + 5_000, Severity.WARNING
    beside = [event(f"m{n}", ci="host7", service="", severity=minor) for n in range(4)]
    first = [(at(start + n), one) for n, one in enumerate(beside[:3])]

    run(engine, [*first, said(start + 5, "attack", "host7"), (at(start + 10), beside[3])])

    (cluster,) = engine.correlation.table.clusters.values()
    assert len(cluster.members) == 5
    assert engine.correlation.bursts == {}


def test_a_burst_of_which_a_person_takes_everything_out_is_listed_no_more() -> None:
    engine = engine_after(
        [(at(0), inventory(Ci("db"), Ci("app", depends_on=("db",)))), *chatter(8)]
    )
    start, attack = 8 * HOUR + 5_000, said(0, "attack", "db")[1].fingerprint
    run(engine, [said(start, "attack", "db"), (at(start + 5), event("slow", ci="app"))])
    engine.step(TICK, at(start + 60))
    assert list(engine.correlation.bursts) == ["db"]

    engine.step(Detach(engine.alert(attack).incident, attack, "ann"), at(start + 70))

    assert engine.correlation.bursts == {}


def test_a_source_that_turns_out_never_to_clear_leaves_nothing_firing() -> None:
    engine = engine_after([*chatter(12), (at(13 * HOUR), TICK)])

    assert [alert for alert in engine.alerts() if alert.cleared_at is None] == []


def test_one_clear_is_enough_to_be_like_any_other() -> None:
    gone = event("scan0", ci="host0", source="ids")
    feed = mixed(chatter(12), [(at(50), event_cleared(gone))])
    engine = engine_after([*feed, (at(13 * HOUR), TICK)])

    assert [alert.name for alert in engine.alerts() if alert.cleared_at is None]


def event_cleared(one: Event) -> Event:
    """The event that clears it."""
    return event(one.name, ci=one.ci, source=one.source, status=Status.CLEARED)


# -- sources that look once a period ----------------------------------------------------------


def looks(until: int, *, start: int = 0, period: int = 60) -> Feed:
    """A source that looks on the minute, and sees something now and then."""
    return [
        (
            at(start + period * n),
            event(
                "slow",
                ci=f"svc{n % 5}",
                source="probe",
                occurred_at=at(start + period * n),
                payload=f"{n}",
                labels={"look": f"{n}"},
            ),
        )
        for n in range((until - start) // period)
        if n % 7 == 0
    ]


def test_what_is_seen_in_the_same_looks_belongs_together() -> None:
    engine = engine_after(looks(20 * 3_600))
    start = 20 * 3_600

    facts = run(
        engine,
        [
            *(
                (
                    at(start + 60 * (n // 2)),
                    event(
                        f"n{n}", ci=f"new{n}", source="probe", occurred_at=at(start + 60 * (n // 2))
                    ),
                )
                for n in range(4)
            ),
            (at(start + 400), TICK),
        ],
    )

    ties = {
        fact.because.tie
        for fact in facts
        if isinstance(fact, AlertJoined) and isinstance(fact.because, Correlated)
    }
    assert Tie.POLLED in ties
    assert len(names(facts)) == 1


def test_a_clock_that_is_wrong_makes_no_other_period_of_what_is_seen_again() -> None:
    def session(ahead: float) -> tuple[float, float]:
        known = event("known", ci="base", source="probe")
        again = [
            (second, replace(known, occurred_at=second + timedelta(seconds=ahead)))
            for second, _ in looks(3 * 3_600)
        ]
        return engine_after(mixed(looks(3 * 3_600), again)).habits.sources["probe"].session()

    assert session(7_200) == session(0)


def test_habits_outlast_a_restart() -> None:
    feed = [*chatter(20), said(20 * HOUR + 2_000, "attack", "host7"), (at(21 * HOUR), TICK)]
    whole, restored = Engine(), Engine()

    expected = run(whole, feed)
    facts = run(restored, feed[:-2])
    facts += run(revived(restored), feed[-2:])

    assert facts == expected
