"""`sequence`: one after the other, within so long, and nothing unwanted in between."""

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
    engine_with,
    event,
    facts_of,
    group_rule,
    kind_rule,
    last,
    load,
    only,
    revived,
    rule,
    run,
    silence,
    started,
    steps,
)

from eventd.core.model import (
    AlertJoined,
    CapHit,
    Event,
    Fact,
    FindingNoted,
    IncidentOpened,
    IncidentReopened,
    RuleMissed,
    RuleSwitchedOff,
    Sequenced,
    Severity,
    Status,
)
from eventd.core.rules import parse
from eventd.core.rules.rule import Limits
from eventd.core.rules.sequence import State
from eventd.core.rules.sightings import LEAST_ROWS
from eventd.errors import RuleError

A_THEN_B = kind_rule("sequence", steps("a", "b"))
SHOP = {"service": "shop"}


def says(name: str, when: float, **fields: object) -> Event:
    """An alert that its source says began then; information, so that nothing else raises it."""
    told: dict[str, object] = {"occurred_at": at(when), "payload": f"{name} {when}", **fields}
    return event(name, severity=Severity.INFO, **told)  # type: ignore[arg-type] # checked there


def feed(*said: tuple[float, str]) -> Feed:
    """What comes as soon as it happened."""
    return [(at(when), says(name, when)) for when, name in said]


def joined(facts: list[Fact]) -> list[str]:
    """The names of `says(name, …)` that joined, in order."""
    names = {says(name, 0).fingerprint: name for name in "abcdx"}
    return [names[fact.fingerprint] for fact in facts if isinstance(fact, AlertJoined)]


def opened(facts: list[Fact]) -> list[str]:
    """Titles."""
    return [fact.incident.title for fact in facts if isinstance(fact, IncidentOpened)]


def test_what_follows_in_time_opens_an_incident_with_both() -> None:
    facts = last(feed((0, "a"), (9, "b")), A_THEN_B)

    assert joined(facts) == ["a", "b"]
    found = only(IncidentOpened, facts)
    assert found.because == Sequenced("it", SHOP, (("a", 1), ("b", 1)), 9.0, 60.0)
    assert found.incident.because == "rule it: a, then b within 9 s for service shop"


@pytest.mark.parametrize(
    "said",
    [
        ((0, "b"), (9, "a")),  # the other way round
        ((0, "a"), (60, "b")),  # exactly the window later
        ((0, "a"), (1, "a")),
        ((0, "b"), (1, "b")),
    ],
)
def test_what_does_not_follow_in_time_opens_nothing(said: tuple[tuple[float, str], ...]) -> None:
    assert joined(facts_of(feed(*said), A_THEN_B)) == []


def test_what_happened_at_the_same_time_is_in_order() -> None:
    assert joined(facts_of(feed((5, "b"), (5, "a")), A_THEN_B)) == ["a", "b"]


def test_a_late_event_counts_when_it_happened() -> None:
    late: Feed = [(at(10), says("b", 10)), (at(50), says("a", 5))]

    assert joined(facts_of(late, A_THEN_B)) == ["a", "b"]


def test_what_comes_later_than_is_allowed_counts_when_it_came() -> None:
    late: Feed = [(at(10), says("b", 10)), (at(65), says("a", 5)), (at(70), says("c", 70))]

    assert joined(facts_of(late, A_THEN_B)) == []
    assert joined(facts_of([*late, (at(80), clear("b")), (at(90), says("b", 90))], A_THEN_B)) == [
        "a",
        "b",
    ]


def test_how_late_is_allowed_is_a_setting() -> None:
    late: Feed = [(T0, started(late_within=5.0)), (at(10), says("b", 10)), (at(15), says("a", 10))]

    assert joined(facts_of(late, A_THEN_B)) == []


def test_keys_are_kept_apart_and_what_lacks_one_is_none() -> None:
    assert (
        joined(facts_of([(at(0), says("a", 0)), (at(1), says("b", 1, service="x"))], A_THEN_B))
        == []
    )
    lacks: Feed = [(at(0), says("a", 0, service="")), (at(1), says("b", 1, service=""))]
    assert joined(facts_of(lacks, A_THEN_B)) == []


def test_each_that_follows_later_in_the_window_joins() -> None:
    rule = kind_rule("sequence", [{"match": 'name="a"'}, {"match": 'name=~"b|c"'}])

    facts = facts_of(feed((0, "a"), (9, "b"), (59, "c")), rule)

    assert joined(facts) == ["a", "b", "c"]
    assert len(opened(facts)) == 1


def test_a_step_may_ask_for_several_alerts() -> None:
    rule = kind_rule("sequence", [{"match": 'name=~"a|b"', "count": 2}, *steps("c", "d")[:1]])

    assert joined(facts_of(feed((0, "a"), (5, "a"), (9, "c")), rule)) == []
    assert joined(facts_of(feed((0, "a"), (5, "b"), (9, "c")), rule)) == ["a", "b", "c"]


def test_a_step_may_count_every_event() -> None:
    failed: dict[str, object] = {"as": "failed", "match": 'name="a"', "count": 3, "of": "events"}
    rule = kind_rule("sequence", [failed, {"match": 'name="b"'}])
    seen = feed((0, "a"), (1, "a"), (2, "a"), (3, "b"))

    assert joined(facts_of(seen[1:], rule)) == []
    found = facts_of(seen, rule)
    assert joined(found) == ["a", "b"]
    assert only(IncidentOpened, found).incident.because == (
        'rule it: 3 times failed, then name="b" within 3 s for service shop'
    )


def test_a_repeat_is_no_new_alert() -> None:
    failed: dict[str, object] = {"match": ['name="a"', 'name="x"'], "count": 2}
    rule = kind_rule("sequence", [{**failed, "of": "events"}, {"match": 'name="b"', "count": 2}])

    assert joined(facts_of(feed((0, "a"), (1, "a"), (2, "b"), (3, "b")), rule)) == []


def test_three_steps_come_in_their_order() -> None:
    rule = kind_rule("sequence", steps("a", "b", "c"))

    assert joined(facts_of(feed((0, "a"), (1, "c"), (2, "b")), rule)) == []
    begun: Feed = [(at(0), says("b", 0, ci="web1"))]
    facts = facts_of([*begun, *feed((1, "a"), (2, "b"), (3, "c"))], rule)
    assert joined(facts) == ["a", "b", "c"]


def test_an_alert_that_fired_before_does_not_follow_by_being_repeated() -> None:
    assert joined(facts_of(feed((0, "b"), (1, "a"), (2, "b")), A_THEN_B)) == []


def test_an_alert_that_worsens_takes_the_next_step() -> None:
    rule = kind_rule(
        "sequence", [{"match": "severity<=minor"}, {"match": "severity>=critical"}], by=["ci"]
    )
    worsens: Feed = [
        (at(0), event(severity=Severity.MINOR)),
        (at(9), event(severity=Severity.CRITICAL)),
    ]

    assert only(IncidentOpened, last(worsens, rule)).because.rule == "it"


def test_what_changes_is_seen_once_by_a_step_that_counts_alerts() -> None:
    rule = kind_rule("sequence", [{"match": "severity>=minor", "count": 2}, *steps("b", "c")[:1]])
    worsens: Feed = [
        (at(0), event(severity=Severity.MINOR)),
        (at(1), event(severity=Severity.MAJOR)),
        (at(9), event("b")),
    ]

    assert not opened(facts_of(worsens, rule))


def without(unwanted: str | list[str] = 'name="x"') -> dict[str, object]:
    return kind_rule("sequence", steps("a", "b", without=unwanted))


def test_with_something_unwanted_it_waits_for_what_is_late() -> None:
    engine = engine_after(feed((0, "a"), (9, "b")), without())

    assert engine.deadline() == at(69)
    assert joined(list(engine.step(TICK, at(69)))) == ["a", "b"]


def test_where_nothing_may_be_late_it_does_not_wait() -> None:
    facts = facts_of([(T0, started(late_within=0.0)), *feed((0, "a"), (9, "b"))], without())

    assert joined(facts) == ["a", "b"]


@pytest.mark.parametrize("came", [5, 68])
def test_what_is_unwanted_in_between_breaks_it_also_when_it_is_late(came: float) -> None:
    seen = sorted(
        [*feed((0, "a"), (9, "b")), (at(came), says("x", 5 if came == 5 else 8.5))],
        key=lambda one: one[0],
    )

    facts = facts_of([*seen, (at(900), TICK)], without())

    assert joined(facts) == []
    assert not [fact for fact in facts if isinstance(fact, RuleMissed | RuleSwitchedOff)]


@pytest.mark.parametrize("came", [0, 9, 10])
def test_what_is_unwanted_elsewhere_breaks_nothing(came: float) -> None:
    seen = [*feed((0, "a")), *feed((came, "x"), (9, "b"))]

    facts = facts_of([*sorted(seen, key=lambda one: one[0]), (at(900), TICK)], without())

    assert joined(facts) == ["a", "b"]


def test_only_what_came_after_the_unwanted_joins() -> None:
    first = {"as": "a", "match": 'name=~"a|c"'}
    rule = kind_rule("sequence", [first, *steps("a", "b", without='name="x"')[1:]])

    facts = facts_of([*feed((0, "c"), (5, "x"), (6, "a"), (9, "b")), (at(900), TICK)], rule)

    assert joined(facts) == ["a", "b"]


def test_of_a_step_with_several_only_the_last_must_come_after_the_unwanted() -> None:
    first = {"match": 'name=~"a|c"', "count": 2}
    rule = kind_rule("sequence", [first, *steps("a", "b", without='name="x"')[1:]])
    seen = feed((0, "c"), (5, "x"), (6, "a"), (9, "b"))

    assert joined(facts_of([*seen, (at(900), TICK)], rule)) == ["c", "a", "b"]


def test_what_is_unwanted_after_the_last_of_several_breaks_it() -> None:
    first = {"match": 'name=~"a|c"', "count": 2}
    rule = kind_rule("sequence", [first, *steps("a", "b", without='name="x"')[1:]])
    seen = feed((0, "c"), (5, "a"), (6, "x"), (9, "b"))

    assert joined(facts_of([*seen, (at(900), TICK)], rule)) == []


def test_what_cleared_meanwhile_counts_and_does_not_join() -> None:
    seen: Feed = [*feed((0, "a")), (at(5), clear("a")), *feed((9, "b"))]

    assert joined(facts_of(seen, A_THEN_B)) == ["b"]


def test_where_all_has_cleared_nothing_opens() -> None:
    seen: Feed = [*feed((0, "a"), (9, "b")), (at(10), clear("a")), (at(11), clear("b"))]

    assert joined(facts_of([*seen, (at(900), TICK)], without())) == []


def test_what_is_no_alert_is_seen_where_its_status_is_named() -> None:
    deploy = event("deploy", status=Status.CHANGE, ci="")
    named = [{"match": 'name="deploy", status="change"'}, {"match": 'name="b"'}]
    unnamed = [{"match": 'name="deploy"'}, {"match": 'name="b"'}]
    seen: Feed = [(at(0), deploy), *feed((9, "b"))]

    assert joined(facts_of(seen, kind_rule("sequence", named))) == ["b"]
    assert joined(facts_of(seen, kind_rule("sequence", unnamed))) == []


def test_where_only_what_is_no_alert_was_seen_nothing_opens() -> None:
    notes = [{"as": "a", "match": 'name="a", status="info"'}, {"match": 'name="b", status="info"'}]
    seen: Feed = [(at(n), event(name, status=Status.INFO)) for n, name in enumerate("ab")]

    assert not opened(facts_of(seen, kind_rule("sequence", notes, title="{a.name}")))


def test_a_title_names_alerts_of_steps_and_the_rule_the_root() -> None:
    rule = kind_rule(
        "sequence",
        steps("a", "b"),
        title="{service}: {a.name} on {a.ci} breaks {b.ci} {x.ci}",
        root="a",
    )
    seen: Feed = [(at(0), says("a", 0, ci="db1")), (at(9), says("b", 9, ci="web1"))]

    incident = only(IncidentOpened, facts_of(seen, rule)).incident

    assert incident.title == "shop: a on db1 breaks web1 ?"
    assert [(root.ci, root.rule) for root in incident.roots] == [("db1", "it")]


def test_what_a_rule_calls_the_root_stays_it() -> None:
    rule = kind_rule("sequence", steps("a", "b"), root="a")
    seen: Feed = [
        (at(0), event("a", ci="db1")),
        (at(9), event("b", ci="db1")),
        *((at(20 + n), event(f"c{n}", ci="db1", severity=Severity.CRITICAL)) for n in range(3)),
        (at(900), TICK),
    ]

    engine = engine_after(seen, rule)

    assert [root.rule for root in engine.incident("INC-000001").roots] == ["it"]


def test_without_a_ci_there_is_no_root() -> None:
    seen: Feed = [(at(0), says("a", 0, ci="")), (at(9), says("b", 9))]
    rule = kind_rule("sequence", steps("a", "b"), root="a")

    assert only(IncidentOpened, facts_of(seen, rule)).incident.roots == ()


def test_alerts_that_all_belong_elsewhere_are_noted_there() -> None:
    facts = last(feed((0, "a"), (9, "b")), group_rule(), kind_rule("sequence", steps("a", "b")))

    assert isinstance(only(FindingNoted, facts).because, Sequenced)
    assert only(FindingNoted, facts).because == Sequenced(
        "it", SHOP, (("a", 1), ("b", 1)), 9.0, 60.0, ("INC-000001",)
    )


def test_alerts_of_another_incident_stay_there_after_a_wait_too() -> None:
    seen: Feed = [*feed((0, "a"), (9, "b")), (at(900), TICK)]

    facts = facts_of(seen, group_rule("g", 'name=~"a|b"'), without())

    assert only(FindingNoted, facts).incident == "INC-000001"


def test_an_alert_of_its_own_incident_that_is_seen_again_is_not_told() -> None:
    rule = kind_rule("sequence", steps("a", "b", of="events"))

    facts = facts_of(feed((0, "a"), (9, "b"), (10, "b"), (11, "b")), rule)

    assert joined(facts) == ["a", "b"]
    assert not [fact for fact in facts if isinstance(fact, FindingNoted)]


def test_what_was_silenced_counts_when_it_is_judged_again_and_once() -> None:
    seen: Feed = [
        (at(0), silence('name="a"', at(30))),
        *feed((1, "a"), (31, "b")),
    ]

    assert joined(facts_of(seen, A_THEN_B)) == ["a", "b"]


def test_a_silence_that_began_meanwhile_keeps_an_alert_out() -> None:
    seen: Feed = [*feed((0, "a")), (at(3), silence('name="a"', at(500))), *feed((9, "b"))]

    assert joined(facts_of(seen, A_THEN_B)) == ["b"]


def test_a_new_sequence_reopens_the_resolved_incident() -> None:
    seen: Feed = [
        *feed((0, "a"), (9, "b")),
        (at(20), clear("a")),
        (at(20), clear("b")),
        *feed((200, "a"), (209, "b")),
    ]

    assert only(IncidentReopened, last(seen, A_THEN_B)).incident == "INC-000001"


def missed(facts: list[Fact]) -> list[tuple[str, float]]:
    """What was missing, and how late it came."""
    return [(fact.missing, fact.late) for fact in facts if isinstance(fact, RuleMissed)]


def test_what_comes_seconds_too_late_is_a_near_miss_of_both() -> None:
    facts = facts_of([*feed((0, "a"), (71, "b")), (at(900), TICK)], A_THEN_B)

    told = [fact for fact in facts if isinstance(fact, RuleMissed)]
    assert told == [
        RuleMissed(at(120), says(name, 0).fingerprint, 1, "it", SHOP, "b", 1, 2, 60.0, 71.0)
        for name in "ab"
    ]


def test_one_of_two_that_stays_alone_is_none() -> None:
    assert missed(facts_of([*feed((0, "a")), (at(900), TICK)], A_THEN_B)) == []


def test_all_but_one_of_many_is_a_near_miss() -> None:
    rule = kind_rule("sequence", steps("a", "b", "c", count=2))

    assert (
        missed(facts_of([*feed((0, "a"), (1, "b"), (2, "c")), (at(900), TICK)], rule))
        == [("c", 0.0)] * 2
    )
    assert missed(facts_of([*feed((0, "a"), (1, "b")), (at(900), TICK)], rule)) == []


def test_a_near_miss_is_told_once_a_window() -> None:
    first = {"match": 'name="a"', "of": "events"}
    rule = kind_rule("sequence", [first, {"as": "b", "match": 'name="b"'}])

    facts = facts_of([*feed((0, "a"), (1, "a"), (2, "a"), (71, "b")), (at(900), TICK)], rule)

    assert missed(facts) == [("b", 71.0)] * 2


def test_where_the_rule_held_nothing_was_missed() -> None:
    first = {"match": 'name="a"', "of": "events"}
    rule = kind_rule("sequence", [first, {"as": "b", "match": 'name="b"'}])

    facts = facts_of([*feed((0, "a"), (1, "a"), (60.5, "b")), (at(900), TICK)], rule)

    assert joined(facts) == ["a", "b"]
    assert missed(facts) == []


def test_what_is_no_alert_or_fired_anew_is_not_told_of_a_near_miss() -> None:
    rule = kind_rule("sequence", [{"match": 'status="change"'}, *steps("a", "b")[1:]])
    deploy = event("deploy", status=Status.CHANGE)
    seen: Feed = [(at(0), deploy), *feed((71, "b")), (at(80), clear("b")), *feed((90, "b"))]

    assert missed(facts_of([*seen, (at(900), TICK)], rule)) == []


def test_a_window_survives_a_snapshot() -> None:
    engine = engine_after(feed((0, "a")), A_THEN_B)

    assert joined(run(revived(engine), feed((9, "b")))) == ["a", "b"]


def test_the_key_that_has_seen_least_makes_room() -> None:
    rule = kind_rule("sequence", steps("a", "b", "c"))
    engine = engine_after([(T0, started(max_groups=2))], rule)
    seen: Feed = [
        (at(n), says(name, n, service=service))
        for n, (name, service) in enumerate(
            (("a", "s1"), ("b", "s1"), ("a", "s2"), ("a", "s3"), ("b", "s3"), ("c", "s1"))
        )
    ]

    facts = run(engine, seen)

    assert [fact for fact in facts if isinstance(fact, CapHit)] == [CapHit(at(3), "groups", "it")]
    assert len([one for one in facts if isinstance(one, IncidentOpened)]) == 1
    state = engine.rules.states["it"]
    assert isinstance(state, State)
    assert list(state._seen.tracks) == [("s1",), ("s3",)]
    assert len([kind for (kind, _), _ in engine.timers.items() if kind == "rule"]) == 2


def test_a_key_lets_go_the_oldest_sighting_of_what_it_saw_most() -> None:
    rule = kind_rule("sequence", steps("a", "b", of="events"))
    engine = engine_with(rule)

    facts = run(engine, [*feed((0, "a")), *feed(*((1 + n / 10, "b") for n in range(LEAST_ROWS)))])

    assert [(one.table, one.rule) for one in facts if isinstance(one, CapHit)] == [
        ("sightings", "it")
    ]
    state = engine.rules.states["it"]
    assert isinstance(state, State)
    assert state._seen.tracks[("shop",)].rows[0].parts == (0,)


@pytest.mark.parametrize("kind", ["sequence", "all"])
@pytest.mark.parametrize("before", [0, 2], ids=["of one moment", "late"])
def test_of_more_than_are_kept_the_one_that_came_now_is_judged_all_the_same(
    kind: str, before: float
) -> None:
    """It may be the oldest, by time or, at one time, by name: the rule was off then."""
    engine = engine_with(kind_rule(kind, steps("a", "b")))
    crowd = [says("a", 5, ci=f"web{n}") for n in range(3 * LEAST_ROWS)]
    late = [says("a", 5 - before, ci=f"app{n}") for n in range(LEAST_ROWS)]
    facts = run(engine, [(at(6), one) for one in (*crowd, *late)])

    facts += run(engine, [(at(7), says("b", 5, ci="db"))])

    assert [fact for fact in facts if isinstance(fact, RuleSwitchedOff)] == []
    assert [fact.incident.rule for fact in facts if isinstance(fact, IncidentOpened)] == ["it"]


def test_nothing_is_remembered_longer_than_it_can_count() -> None:
    engine = engine_after([*feed((0, "a"), (50, "a")), (at(120), TICK)], A_THEN_B)
    state = engine.rules.states["it"]
    assert isinstance(state, State)

    assert state.dump() == []
    assert [kind for (kind, _), _ in engine.timers.items() if kind == "rule"] == []


def test_what_is_left_of_a_window_is_looked_at_later() -> None:
    engine = engine_after([*feed((0, "a"), (50, "b")), (at(120), TICK)], A_THEN_B)
    state = engine.rules.states["it"]
    assert isinstance(state, State)

    assert [row.at for row in state._seen.tracks[("shop",)].rows] == [at(50)]
    assert state.due('["nobody"]', at(130)) == ()


def test_a_changed_rule_starts_empty_and_waits_for_nothing() -> None:
    engine = engine_after(feed((0, "a")), A_THEN_B, kind_rule("sequence", steps("a", "c"), "kept"))

    engine.step(load(without(), kind_rule("sequence", steps("a", "c"), "kept")), at(5))

    assert [key.split("\x1f")[0] for (kind, key), _ in engine.timers.items() if kind == "rule"] == [
        "kept"
    ]
    assert joined(run(engine, [*feed((9, "b")), (at(900), TICK)])) == []


def test_a_rule_that_raises_when_it_is_due_is_switched_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = engine_after(feed((0, "a")), A_THEN_B)
    monkeypatch.setattr(State, "due", lambda *_: 1 / 0)

    facts = engine.step(TICK, at(900))

    assert only(RuleSwitchedOff, facts).rule == "it"
    assert [kind for (kind, _), _ in engine.timers.items() if kind == "rule"] == []


def test_it_is_for_its_own_kind() -> None:
    with pytest.raises(TypeError, match="group"):
        State(rule(), Limits(10))
    assert alert().fingerprint


@pytest.mark.parametrize(
    ("own", "incident", "message"),
    [
        ("x", {}, "sequence: expected `array`, got `str`"),
        ([], {}, "sequence: expected `array` of length >= 2"),
        (steps("a"), {}, "sequence: expected `array` of length >= 2"),
        (
            [{"as": "a"}, *steps("b", "c")],
            {},
            "sequence[0]: object missing required field `match`",
        ),
        (
            [*steps("a"), {"match": "severity=bad"}],
            {},
            "sequence[1].match: 'bad' is no severity (one of ok info warning minor major critical)",
        ),
        (
            steps("a", "b", without=["name=b", ""][:0]),
            {},
            "sequence[1].without: expected at least one selector, got none "
            "(such as 'service!=\"\"')",
        ),
        (steps("a", "b", count=0), {}, "sequence[1].count: expected `int` >= 1"),
        (steps("a", "b", within="5m"), {}, "sequence[1]: object contains unknown field `within`"),
        (
            steps("a", "b", **{"as": "a"}),
            {},
            "sequence[0].as: two are called 'a' (rename one)",
        ),
        (
            [{"match": "", "without": ""}, *steps("a")],
            {},
            "sequence[0].without: nothing comes before the first step "
            "(write it at the step it must not precede)",
        ),
        (
            steps("a", "b"),
            {"root": "c"},
            "incident.root: nothing in the rule is called 'c' (one of: a, b)",
        ),
    ],
)
def test_a_mistake_is_answered_with_its_path(
    own: object, incident: dict[str, object], message: str
) -> None:
    with pytest.raises(RuleError) as raised:
        parse({**kind_rule("sequence", own), "incident": incident})

    assert str(raised.value) == message


def test_a_root_is_for_kinds_that_name_alerts() -> None:
    with pytest.raises(RuleError, match=r"'a' [(]leave it out"):
        parse(group_rule(root="a"))
