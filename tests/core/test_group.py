"""`group`: what has these labels in common belongs together, for a session."""

from __future__ import annotations

import pytest
from tests.builders import (
    T0,
    TICK,
    Feed,
    alert,
    at,
    clear,
    engine_after,
    event,
    facts_of,
    frames,
    group_rule,
    kind_rule,
    last,
    revived,
    rule,
    run,
    settle_rule,
    started,
)

from eventd.core.model import (
    AlertFired,
    AlertJoined,
    AlertUnmatched,
    Because,
    CapHit,
    EndReason,
    Event,
    Fact,
    Grouped,
    IncidentClosed,
    IncidentOpened,
    IncidentReopened,
    IncidentUpdated,
    Severity,
)
from eventd.core.rules import group, sliding
from eventd.core.rules.group import State
from eventd.core.rules.rule import Finding, Limits, Seen, Transition

BECAUSE = Grouped("by-service", {"service": "shop"})


def test_the_first_alert_of_a_group_opens_an_incident_and_joins_it() -> None:
    facts = facts_of([(at(5), event())], group_rule())

    assert isinstance(facts[0], AlertFired)
    assert isinstance(facts[1], IncidentOpened)
    assert facts[1].because == BECAUSE
    assert facts[2:] == [AlertJoined(at(5), "INC-000001", event().fingerprint, 1, BECAUSE)]


def test_the_next_alert_of_the_group_joins_the_same_incident() -> None:
    facts = last([(at(0), event()), (at(5), event("cpu"))], group_rule())

    assert facts[1:] == [AlertJoined(at(5), "INC-000001", event("cpu").fingerprint, 1, BECAUSE)]


def test_another_group_is_another_incident() -> None:
    engine = engine_after([(at(0), event()), (at(5), event(service="bank"))], group_rule())

    assert [(i.id, i.group) for i in engine.incidents()] == [
        ("INC-000001", {"service": "shop"}),
        ("INC-000002", {"service": "bank"}),
    ]


def test_an_alert_that_lacks_the_label_is_not_grouped() -> None:
    facts = last([(at(0), event(service=""))], group_rule())

    assert facts[1:] == [AlertUnmatched(at(0), event(service="").fingerprint, 1)]


def test_an_alert_the_selectors_do_not_match_is_not_grouped() -> None:
    rule = group_rule(match=['name="cpu"', 'name="net"'])

    assert isinstance(last([(at(0), event())], rule)[1], AlertUnmatched)
    assert isinstance(last([(at(0), event("net"))], rule)[1], IncidentOpened)


def test_an_alert_belongs_to_the_first_rule_that_wants_it() -> None:
    feed: Feed = [(at(0), event())]

    engine = engine_after(feed, group_rule("first", by=["ci"]), group_rule("second"))

    assert [(i.rule, i.group) for i in engine.incidents()] == [("first", {"ci": "db1"})]


def test_an_alert_that_becomes_bad_enough_is_grouped_then() -> None:
    feed: Feed = [
        (at(0), event(severity=Severity.MINOR)),
        (at(5), event(severity=Severity.CRITICAL)),
    ]

    facts = last(feed, group_rule(match="severity>=critical"))

    assert [type(fact) for fact in facts[1:]] == [IncidentOpened, AlertJoined]


def test_what_fires_within_the_session_reopens_the_incident() -> None:
    feed: Feed = [
        (at(0), event()),
        (at(10), clear()),
        (at(100), TICK),
        (at(10 + 60 + 299), event("cpu")),
    ]

    facts = last(feed, group_rule(within="5m"))

    assert facts[1:] == [
        IncidentReopened(at(369), "INC-000001", EndReason.FIRED),
        AlertJoined(at(369), "INC-000001", event("cpu").fingerprint, 1, BECAUSE),
    ]


def test_what_fires_after_the_session_is_another_incident() -> None:
    feed: Feed = [(at(0), event()), (at(10), clear()), (at(10 + 60 + 300), event())]

    facts = last(feed, group_rule(within="5m"))

    assert facts[1] == IncidentClosed(at(370), "INC-000001", EndReason.EXPIRED)
    assert isinstance(facts[3], IncidentOpened)
    assert facts[3].incident.id == "INC-000002"


def test_a_rule_may_say_how_long_its_incidents_can_reopen() -> None:
    feed: Feed = [(at(0), event()), (at(10), clear()), (at(10 + 60 + 30), TICK)]

    facts = last(feed, group_rule(within="5m", reopen_within="30s"))

    assert facts[1] == IncidentClosed(at(100), "INC-000001", EndReason.EXPIRED)


def test_a_reopened_incident_is_judged_anew() -> None:
    feed: Feed = [
        (at(0), event(severity=Severity.MINOR)),
        (at(10), clear()),
        (at(90), TICK),
        (at(100), event("cpu", severity=Severity.CRITICAL)),
    ]

    facts = last(feed, group_rule())

    assert [type(fact) for fact in facts] == [
        AlertFired,
        IncidentReopened,
        IncidentUpdated,
        AlertJoined,
    ]


def test_alerts_of_a_group_share_its_reason_within_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group, "MAX_REASONS", 8)
    state = State(rule(group_rule()), Limits(1))

    def reason(service: str = "shop") -> Because:
        (found,) = state.observe(Seen(alert(service=service), Transition.FIRED, at(0)), at(0))
        assert isinstance(found, Finding)
        return found.because

    first = reason()
    assert reason() is first
    for n in range(8):
        reason(f"s{n}")
    assert reason() == first
    assert reason() is not first


def windows(facts: list[Fact]) -> dict[str, list[str]]:
    """When each incident's window began, and the alerts that joined."""
    names = {f.incident.id: f.incident.group["window"] for f in facts if type(f) is IncidentOpened}
    joined: dict[str, list[str]] = {name: [] for name in names.values()}
    for fact in facts:
        if isinstance(fact, AlertJoined):
            joined[names[fact.incident]].append(fact.fingerprint)
    return joined


def own(*names: str) -> list[str]:
    """Fingerprints of alerts that no one else takes up."""
    return [info(name).fingerprint for name in names]


def info(name: str, **fields: object) -> Event:
    return event(name, severity=Severity.INFO, **fields)  # type: ignore[arg-type] # checked there


FIXED = kind_rule("group", {"match": "", "window": "fixed"}, "by-clock", within="1h")
SLIDING = kind_rule("group", {"match": "", "window": "sliding"}, "by-run", within="60s")


def test_a_fixed_window_is_so_much_of_the_clock() -> None:
    seen: Feed = [(at(n), info(name)) for n, name in ((0, "a"), (3_599, "b"), (3_600, "c"))]

    assert windows(facts_of(seen, FIXED)) == {
        "2026-03-02T09:00:00Z": own("a", "b"),
        "2026-03-02T10:00:00Z": own("c"),
    }


def test_what_is_late_joins_the_fixed_window_in_which_it_began() -> None:
    late = info("c", occurred_at=at(3_590))
    seen: Feed = [(at(0), info("a")), (at(3_600), info("b")), (at(3_610), late)]

    assert windows(facts_of(seen, FIXED))["2026-03-02T09:00:00Z"] == own("a", "c")


def test_a_label_called_window_stays_part_of_the_key() -> None:
    rule = {**FIXED, "by": ["window", "service"]}
    seen: Feed = [(at(n), info(f"a{n}", labels={"window": f"w{n}"})) for n in (0, 1)]

    assert list(windows(facts_of(seen, rule))) == [
        "w0 2026-03-02T09:00:00Z",
        "w1 2026-03-02T09:00:00Z",
    ]


def test_windows_of_milliseconds_have_names_of_their_own() -> None:
    rule = {**FIXED, "within": "10ms"}
    seen: Feed = [(at(n), info(f"a{n}")) for n in (0.25, 0.251, 0.26)]

    assert list(windows(facts_of(seen, rule))) == [
        "2026-03-02T09:00:00.250Z",
        "2026-03-02T09:00:00.260Z",
    ]


def test_a_run_lasts_while_each_begins_soon_after_the_one_before() -> None:
    seen: Feed = [
        (at(n), info(name)) for n, name in ((0, "a"), (59.9, "b"), (119, "c"), (239.1, "d"))
    ]

    assert windows(facts_of(seen, SLIDING)) == {
        "2026-03-02T09:00:00Z": own("a", "b", "c"),
        "2026-03-02T09:03:59.100Z": own("d"),
    }


def test_what_may_be_linked_to_the_run_before_waits_until_it_cannot() -> None:
    seen: Feed = [(at(0), info("a")), (at(61), info("b")), (at(119), TICK)]
    facts = facts_of([*seen, (at(120), TICK)], SLIDING)

    assert windows(facts_of(seen, SLIDING)) == {"2026-03-02T09:00:00Z": own("a")}
    assert windows(facts)["2026-03-02T09:01:01Z"] == own("b")
    assert [fact.at for fact in facts if isinstance(fact, IncidentOpened)] == [at(0), at(120)]


def test_what_is_late_makes_one_of_two_runs() -> None:
    late = info("c", occurred_at=at(40))
    seen: Feed = [(at(0), info("a")), (at(61), info("b")), (at(99), late), (at(900), TICK)]

    assert windows(facts_of(seen, SLIDING)) == {"2026-03-02T09:00:00Z": own("a", "b", "c")}


def test_what_is_late_and_alone_is_a_run_of_its_own() -> None:
    late = info("c", occurred_at=at(41))
    seen: Feed = [(at(100.5), info("a")), (at(100.9), late), (at(101), TICK), (at(900), TICK)]
    rule = {**SLIDING, "within": "30s"}

    assert windows(facts_of(seen[:3], rule)) == {"2026-03-02T09:01:40.500Z": own("a")}
    assert windows(facts_of(seen, rule))["2026-03-02T09:00:41Z"] == own("c")


def test_what_moves_in_a_run_does_not_prolong_it() -> None:
    worse = event("a", severity=Severity.CRITICAL)
    seen: Feed = [(at(0), info("a")), (at(50), worse), (at(121), info("b"))]

    assert len(windows(facts_of(seen, SLIDING))) == 2


def test_a_run_survives_a_snapshot() -> None:
    engine = revived(engine_after([(at(0), info("a")), (at(61), info("b"))], SLIDING))

    late = info("d", occurred_at=at(59))
    facts = run(engine, [(at(62), info("c")), (at(63), late), (at(900), TICK)])

    assert len([fact for fact in facts if isinstance(fact, AlertJoined)]) == 3
    assert not [fact for fact in facts if isinstance(fact, IncidentOpened)]
    assert frames(engine) == frames(revived(engine))


def test_beyond_the_cap_the_run_longest_known_makes_room() -> None:
    engine = engine_after([(T0, started(max_groups=1))], SLIDING)
    seen: Feed = [(at(n), info("a", service=f"s{n}")) for n in (0, 1)]

    facts = run(engine, seen)

    hits = [fact for fact in facts if isinstance(fact, CapHit)]
    assert hits == [CapHit(at(1), "groups", "by-run")]
    assert len([kind for (kind, _), _ in engine.timers.items() if kind == "rule"]) == 1


def test_beyond_the_cap_of_a_key_the_oldest_run_is_forgotten() -> None:
    rule = {**SLIDING, "within": "1ms"}
    seen: Feed = [(at(n / 10), info(f"a{n}")) for n in range(70)]

    facts = facts_of([*seen, (at(900), TICK)], rule)

    hits = [fact for fact in facts if isinstance(fact, CapHit)]
    assert len(hits) == 6
    assert {hit.table for hit in hits} == {"sightings"}


def test_so_many_do_not_wait_for_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sliding, "MAX_WAITING", 2)
    seen: Feed = [(at(n), info(f"a{n}")) for n in (0, 61, 62, 63)]

    assert len(windows(facts_of(seen, SLIDING))["2026-03-02T09:01:01Z"]) == 3


def test_two_runs_that_are_open_are_not_made_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sliding, "MAX_WAITING", 0)
    late = info("c", occurred_at=at(45))
    seen: Feed = [(at(0), info("a")), (at(90), info("b")), (at(91), late)]

    assert windows(facts_of(seen, SLIDING)) == {
        "2026-03-02T09:00:00Z": own("a", "c"),
        "2026-03-02T09:01:30Z": own("b"),
    }


def test_a_key_that_nobody_remembers_has_nothing_to_say() -> None:
    state = State(rule(SLIDING), Limits(9))

    with pytest.raises(TypeError, match="settle"):
        State(rule(settle_rule()), Limits(9))
    assert state.due('["shop"]', at(0)) == ()
