"""`inhibit`: what another alert explains says nothing new."""

from __future__ import annotations

import pytest
from tests.builders import (
    T0,
    TICK,
    Feed,
    at,
    clear,
    engine_after,
    engine_with,
    event,
    facts_of,
    frames,
    group_rule,
    inhibit_rule,
    kind_rule,
    last,
    load,
    only,
    revived,
    rule,
    run,
    settle_rule,
    silence,
    started,
    threshold_rule,
)

from eventd.core import explained, explaining
from eventd.core.engine import Engine
from eventd.core.model import (
    AlertCleared,
    AlertForgotten,
    AlertJoined,
    AlertSuppressed,
    AlertUnsuppressed,
    CapHit,
    Detach,
    Event,
    Fact,
    FindingNoted,
    IncidentOpened,
    IncidentResolved,
    IncidentUpdated,
    Inhibited,
    Merge,
    Resolve,
    RuleMissed,
    Severity,
    TimerFailed,
)
from eventd.core.rules import parse
from eventd.core.rules.inhibit import Role, State
from eventd.core.rules.own import own_fingerprint
from eventd.core.rules.rule import Limits, Seen, Transition
from eventd.core.sentences import near_miss, sentence
from eventd.errors import RuleError

BY = "inhibit:explained"
RULE = inhibit_rule('name="site"', 'name=~"host.*", severity<critical', ("service",))
BY_CI = group_rule("by-ci", by=["ci"])


def site(**fields: object) -> Event:
    return event("site", ci="edge", **fields)  # type: ignore[arg-type] # checked there


def host(n: int = 0, **fields: object) -> Event:
    return event(f"host{n}", ci=f"web{n}", **fields)  # type: ignore[arg-type] # checked there


def suppressed(facts: list[Fact]) -> list[tuple[float, str, str]]:
    """When which alert, and by which source."""
    return [
        ((fact.at - T0).total_seconds(), fact.fingerprint, fact.source)
        for fact in facts
        if isinstance(fact, AlertSuppressed)
    ]


def freed(facts: list[Fact]) -> list[tuple[float, str]]:
    """When which alert was judged again."""
    return [
        ((fact.at - T0).total_seconds(), fact.fingerprint)
        for fact in facts
        if isinstance(fact, AlertUnsuppressed)
    ]


def opened(facts: list[Fact]) -> list[tuple[float, str]]:
    """When which incident was opened, by its title."""
    return [
        ((fact.at - T0).total_seconds(), fact.incident.title)
        for fact in facts
        if isinstance(fact, IncidentOpened)
    ]


def test_a_target_is_suppressed_while_its_source_fires_and_joins_its_incident() -> None:
    feed: Feed = [(at(0), site()), (at(5), host())]
    engine, facts = engine_after(feed, BY_CI, RULE), last(feed, BY_CI, RULE)

    assert engine.explained_by(host().fingerprint) == engine.alert(site().fingerprint)
    assert engine.explained_by(site().fingerprint) is None
    because = Inhibited("explained", {}, site().fingerprint, "site", "edge")
    assert facts[1:] == [
        AlertSuppressed(at(5), host().fingerprint, 1, BY, site().fingerprint),
        AlertJoined(at(5), "INC-000001", host().fingerprint, 1, because),
    ]
    assert sentence(because) == "rule explained: site on edge explains it"
    assert sentence(Inhibited("explained", {}, "f", "site", "")) == (
        "rule explained: site explains it"
    )


def test_a_target_that_comes_first_waits_for_its_source() -> None:
    facts = facts_of([(at(0), host()), (at(4.9), site()), (at(60), TICK)], BY_CI, RULE)

    assert suppressed(facts) == [
        (0, host().fingerprint, ""),
        (4.9, host().fingerprint, site().fingerprint),
    ]
    assert opened(facts) == [(4.9, "site on edge")]
    assert [fact.fingerprint for fact in facts if isinstance(fact, AlertJoined)] == [
        site().fingerprint,
        host().fingerprint,
    ]


def test_a_target_whose_source_does_not_come_is_judged_as_if_it_began_now() -> None:
    facts = facts_of([(at(0), host()), (at(60), TICK)], BY_CI, RULE)

    assert opened(facts) == [(5, "host0 on web0")]


def test_what_waited_for_its_source_waits_whether_it_clears_after_that() -> None:
    settle = settle_rule('name="host0"', "20s")

    assert opened(facts_of([(at(0), host()), (at(60), TICK)], settle, BY_CI, RULE)) == [
        (25, "host0 on web0")
    ]


def test_a_source_that_comes_late_suppresses_what_belongs_to_no_incident() -> None:
    seen: Feed = [(at(0), host(severity=Severity.MINOR)), (at(100), site())]

    facts = last(seen, RULE)

    assert suppressed(facts) == [(100, host().fingerprint, site().fingerprint)]
    assert suppressed(last(seen, BY_CI, RULE)) == []


def test_other_values_of_the_equal_labels_are_strangers() -> None:
    bank: Feed = [(at(0), site(service="bank")), (at(5), host()), (at(60), TICK)]
    none: Feed = [(at(0), site(service="")), (at(5), host(service="")), (at(60), TICK)]

    assert opened(facts_of(bank, BY_CI, RULE))[1:] == [(10, "host0 on web0")]
    assert [source for *_, source in suppressed(facts_of(none, BY_CI, RULE))] != [""]


def test_what_matches_both_sides_is_inhibited_by_nothing_that_does_too() -> None:
    rule = inhibit_rule('name=~"site|host.*"', 'name=~"host.*"')
    seen: Feed = [(at(0), host()), (at(10), host(1)), (at(60), TICK)]

    assert all(source == "" for *_, source in suppressed(facts_of(seen, rule)))
    assert suppressed(last([*seen[:2], (at(20), site())], rule)) == [
        (20, one.fingerprint, site().fingerprint) for one in (host(), host(1))
    ]


def test_it_keeps_the_incident_from_resolving_but_weighs_nothing_until_it_is_judged() -> None:
    rule = inhibit_rule('name="site"', 'name=~"host.*"')
    minor = site(severity=Severity.MINOR)
    seen: Feed = [(at(0), minor), (at(5), host()), (at(6), host(severity=Severity.CRITICAL))]

    facts = facts_of([*seen, (at(100), clear("site", ci="edge")), (at(900), TICK)], BY_CI, rule)

    updated = only(IncidentUpdated, facts)
    assert (updated.at, updated.urgency) == (at(100), 1)
    assert freed(facts) == [(100, host().fingerprint)]
    assert not [fact for fact in facts if isinstance(fact, IncidentResolved)]
    assert opened(facts) == [(0, "site on edge")]


def test_what_is_judged_again_in_an_incident_is_seen_by_rules_that_count() -> None:
    counting = threshold_rule(count=2)
    seen: Feed = [(at(0), site()), (at(5), host()), (at(20), clear("site", ci="edge"))]

    facts = last(seen, BY_CI, counting, inhibit_rule('name="site"', 'name=~"host.*"'))

    assert only(FindingNoted, facts).because.rule == "many"


def test_where_its_source_has_no_incident_it_is_judged_like_any_other() -> None:
    quiet = site(severity=Severity.INFO)
    seen: Feed = [(at(0), quiet), (at(5), host()), (at(50), clear("site", ci="edge"))]

    facts = facts_of([*seen, (at(60), TICK)], group_rule("hosts", 'name=~"host.*"'), RULE)

    assert freed(facts) == [(50, host().fingerprint)]
    assert opened(facts) == [(50, "host0 on web0")]


def test_it_joins_when_the_correlation_raises_its_source() -> None:
    seen: Feed = [(at(0), site(severity=Severity.CRITICAL)), (at(5), host())]

    facts = facts_of([*seen, (at(900), TICK)], RULE)

    assert opened(facts) == [(200, "site on edge")]
    joined = [fact for fact in facts if isinstance(fact, AlertJoined)]
    assert [(fact.at, fact.fingerprint) for fact in joined] == [
        (at(200), site().fingerprint),
        (at(200), host().fingerprint),
    ]


def test_another_source_goes_on_explaining_it() -> None:
    other = event("site", ci="edge2")
    seen: Feed = [
        (at(0), site()),
        (at(1), other),
        (at(5), host()),
        (at(10), clear("site", ci="edge")),
        (at(20), clear("site", ci="edge2")),
    ]

    facts = facts_of(seen, RULE)

    assert [one[::2] for one in suppressed(facts)] == [
        (5, site().fingerprint),
        (10, other.fingerprint),
    ]
    assert freed(facts) == [(20, host().fingerprint)]


def test_a_target_that_clears_is_over() -> None:
    seen: Feed = [(at(0), site()), (at(5), host()), (at(6), clear("host0", ci="web0"))]
    waiting: Feed = [(at(0), host()), (at(2), clear("host0", ci="web0"))]

    for feed in (seen, waiting):
        engine = engine_after([*feed, (at(20), TICK)], RULE)
        assert engine.alert(host().fingerprint).suppressed_by == ""
        assert [kind for (kind, _), _ in engine.timers.items() if kind == "settle"] == []


def test_what_worsens_beyond_the_rule_is_judged_at_once() -> None:
    worse = host(severity=Severity.CRITICAL)
    waits: Feed = [(at(0), host()), (at(2), worse)]
    held: Feed = [(at(0), site(severity=Severity.INFO)), (at(1), host()), (at(2), worse)]
    joined: Feed = [(at(0), site()), (at(1), host()), (at(2), worse)]
    hosts = group_rule("hosts", 'name=~"host.*"')

    assert opened(last(waits, hosts, RULE)) == [(2, "host0 on web0")]
    assert opened(last(held, hosts, RULE)) == [(2, "host0 on web0")]
    assert only(IncidentUpdated, last(joined, BY_CI, RULE)).urgency == 1


def test_a_source_that_is_one_no_more_lets_go() -> None:
    rule = inhibit_rule('name="site", severity>=major', 'name=~"host.*"')
    seen: Feed = [(at(0), site()), (at(5), host()), (at(9), site(severity=Severity.MINOR))]

    assert freed(last(seen, rule)) == [(9, host().fingerprint)]
    again: Feed = [*seen, (at(20), site(severity=Severity.MAJOR))]
    assert suppressed(last(again, rule)) == [(20, host().fingerprint, site().fingerprint)]


def test_a_change_of_the_target_that_the_rule_still_matches_changes_nothing() -> None:
    seen: Feed = [(at(0), site()), (at(5), host()), (at(9), host(severity=Severity.MINOR))]

    assert len(last(seen, RULE)) == 1
    assert len(last([seen[1], (at(6), seen[2][1])], RULE)) == 1


def test_what_explains_another_is_not_explained_by_it() -> None:
    rules = (RULE, inhibit_rule('name=~"host.*"', 'name="site"', name="back"))
    seen: Feed = [(at(0), site()), (at(2), host()), (at(60), TICK)]

    facts = facts_of(seen, BY_CI, *rules)

    assert suppressed(facts)[1:] == [(2, host().fingerprint, site().fingerprint)]
    assert opened(facts) == [(5, "site on edge")]


def test_nor_over_another_however_long_the_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [
        inhibit_rule(f'name="host{n}"', f'name="host{(n + 1) % 3}"', name=f"r{n}") for n in range(3)
    ]
    seen: Feed = [(at(n), host(n)) for n in range(3)]

    assert [source for *_, source in suppressed(facts_of(seen, *rules)) if source] == [
        host().fingerprint,
        host(1).fingerprint,
    ]
    monkeypatch.setattr(explained, "MAX_CHAIN", 1)
    assert [source for *_, source in suppressed(facts_of(seen, *rules)) if source] == [
        host().fingerprint,
        host(2).fingerprint,
    ]


def test_what_is_explained_takes_along_what_it_explains() -> None:
    rules = (BY_CI, inhibit_rule('name="host0"', 'name="host1"', name="next"), RULE)
    seen: Feed = [(at(0), site(severity=Severity.INFO)), (at(1), host()), (at(2), host(1))]
    late = (at(3), site(severity=Severity.CRITICAL))

    facts = last([*seen, late], group_rule("sites", 'name="site", severity>info'), *rules[1:])

    assert [fact.fingerprint for fact in facts if isinstance(fact, AlertJoined)] == [
        site().fingerprint,
        host().fingerprint,
        host(1).fingerprint,
    ]


def test_a_silenced_source_explains_and_a_silenced_target_is_silenced() -> None:
    quiet: Feed = [(at(0), silence('name="site"', at(500))), (at(1), site()), (at(5), host())]
    both: Feed = [
        (at(0), silence('name="host0"', at(30))),
        (at(1), site()),
        (at(5), host()),
        (at(30), TICK),
    ]

    assert suppressed(last(quiet, RULE)) == [(5, host().fingerprint, site().fingerprint)]
    assert [fact.by for fact in facts_of(both, RULE) if isinstance(fact, AlertSuppressed)] == [
        "SIL-000001",
        BY,
    ]
    gone = last([*both[:3], (at(6), clear("site", ci="edge"))], RULE)
    assert freed(gone) == []


def test_a_source_that_fires_while_its_target_settles_explains_it_when_that_ends() -> None:
    settle = settle_rule('name="host0"', "20s")
    seen: Feed = [(at(0), host()), (at(10), site()), (at(60), TICK)]

    facts = facts_of(seen, settle, BY_CI, RULE)

    assert suppressed(facts)[-1] == (25, host().fingerprint, site().fingerprint)


def test_what_is_resolved_by_hand_is_joined_by_nothing() -> None:
    seen: Feed = [(at(0), site()), (at(1), Resolve("INC-000001", "ann")), (at(5), host())]

    facts = last(seen, BY_CI, RULE)

    assert len(suppressed(facts)) == 1
    assert not [fact for fact in facts if isinstance(fact, AlertJoined)]


def test_what_was_detached_does_not_come_back() -> None:
    seen: Feed = [(at(0), site()), (at(1), host()), (at(2), host(1))]
    away: Feed = [(at(3), Detach("INC-000001", host().fingerprint, "ann"))]
    engine = engine_after([*seen, *away], BY_CI, RULE)

    assert engine.alert(host().fingerprint).incident == ""
    facts = run(engine, [(at(9), clear("site", ci="edge"))])
    assert len(freed(facts)) == 2
    assert opened(facts) == []
    facts = run(engine, [(at(20), site(payload="again"))])
    assert suppressed(facts) == []


def test_what_was_detached_does_not_follow_its_source_either() -> None:
    feed: Feed = [
        (at(0), site()),
        (at(1), host()),
        (at(2), event("other", ci="x")),
        (at(3), Detach("INC-000001", host().fingerprint, "ann")),
        (at(4), Merge("INC-000001", "INC-000002", "ann")),
    ]

    assert engine_after(feed, BY_CI, RULE).alert(host().fingerprint).incident == ""


def test_other_rules_are_asked_about_all_that_fires() -> None:
    quiet = Severity.INFO
    seen: Feed = [
        (at(0), site(severity=quiet)),
        (at(1), host(severity=quiet)),
        (at(2), host(1, service="bank", severity=quiet)),
    ]
    engine = engine_after(seen)

    facts = run(engine, [(at(100), load(RULE, version="v2"))])
    assert suppressed(facts) == [(100, host().fingerprint, site().fingerprint)]
    facts = run(engine, [(at(101), load(RULE, BY_CI, version="v3"))])
    assert (suppressed(facts), freed(facts)) == ([], [])
    facts = run(engine, [(at(102), load(BY_CI, version="v4"))])
    assert freed(facts) == [(102, host().fingerprint)]


def test_a_rule_of_another_name_takes_over() -> None:
    engine = engine_after([(at(0), site()), (at(1), host())], RULE)

    facts = run(engine, [(at(2), load({**RULE, "name": "other"}, version="v2"))])

    assert only(AlertSuppressed, facts).by == "inhibit:other"
    assert freed(run(engine, [(at(3), clear("site", ci="edge"))])) == [(3, host().fingerprint)]


ABSENT = kind_rule("absence", {"match": 'name="net"', "after": 'name="disk"'}, "unanswered")
OTHER = inhibit_rule('name="x"', 'name="y"', name="other")


def test_what_ends_with_its_rule_explains_nothing_when_others_come() -> None:
    by_absence = inhibit_rule('name="unanswered"', 'name="odd"', ("service",))
    engine = engine_after([(at(1), event("disk")), (at(130), TICK)], ABSENT, by_absence)
    run(engine, [(at(200), load(BY_CI, version="v2")), (at(300), load(by_absence, version="v3"))])

    facts = run(engine, [(at(400), event("odd")), (at(500), TICK)])

    assert freed(facts) == [(405, event("odd").fingerprint)]


def test_what_ends_with_its_rule_is_waited_with_no_more() -> None:
    waiting = inhibit_rule('name="core"', 'name="unanswered"', within="9m")
    engine = engine_after([(at(1), event("disk")), (at(130), TICK)], ABSENT, waiting)
    assert [one.suppressed_by for one in engine.alerts()] == ["", BY]

    facts = run(engine, [(at(140), load(BY_CI, version="v2")), (at(1_000), TICK)])

    assert [fact for fact in facts if isinstance(fact, TimerFailed)] == []


def test_what_ends_with_its_rule_frees_what_a_rule_that_is_gone_let_it_explain() -> None:
    two = inhibit_rule('name=~"unanswered|core"', 'name="odd"')
    seen: Feed = [
        (at(1), event("disk")),
        (at(130), TICK),
        (at(131), event("core")),
        (at(132), event("odd")),
    ]
    engine = engine_after(seen, ABSENT, two, OTHER)
    assert engine.alert(event("odd").fingerprint).suppressed_by == BY

    facts = run(engine, [(at(200), load(OTHER, version="v2"))])

    assert freed(facts) == [(200, event("odd").fingerprint)]


APPS: dict[str, object] = {
    **kind_rule("group", {"match": 'name="app"'}, "apps", by=["name"]),
    "alert": {},
}
BY_APPS = inhibit_rule('name="apps"', 'name="app"')


APP = {"name": "app"}


def app(n: int = 0, **fields: object) -> Event:
    return event("app", ci=f"web{n}", **fields)  # type: ignore[arg-type] # checked there


def test_what_has_just_cleared_is_not_explained_by_what_that_brings_about() -> None:
    """A rule's alert ends with what made it, and fires anew for what it explained."""
    engine = engine_after([(at(0), app()), (at(10), app(1))], APPS, BY_APPS)
    assert [alert.suppressed_by for alert in engine.alerts()] == [BY, "", BY]

    facts = run(engine, [(at(20), clear("app", ci="web0"))])

    assert suppressed(facts) == [(20, app(1).fingerprint, own_fingerprint(rule(APPS), APP))]
    run(engine, [(at(90_000), TICK)])
    over = run(engine, [(at(90_001), clear("app", ci="web1"))])
    assert [fact.fingerprint for fact in over if isinstance(fact, AlertCleared)] == [
        app(1).fingerprint,
        own_fingerprint(rule(APPS), APP),
    ]


def test_what_worsens_and_is_explained_by_what_a_rule_makes_of_that_raises_nothing() -> None:
    grave = kind_rule("group", {"match": "severity>=critical"}, "apps", by=["name"])
    rules = {**grave, "alert": {}}, BY_APPS
    engine = engine_after([(at(0), app()), (at(10), TICK)], *rules)

    facts = run(engine, [(at(20), app(severity=Severity.CRITICAL)), (at(1_000), TICK)])

    assert suppressed(facts) == [(20, app().fingerprint, own_fingerprint(rule(rules[0]), APP))]
    assert opened(facts) == []


def test_at_the_cap_other_rules_may_free_what_another_has_made_room_of() -> None:
    """What is freed first ends another, which frees the third: the alert made of that evicts it."""
    closes = kind_rule("pair", {"opens": 'name="app"', "closes": 'name="up"'}, within="1h")
    waits = inhibit_rule('name="app"', 'name="x"', within="1h", name="waits")
    made = {**kind_rule("group", {"match": 'name="x"'}, "made", by=["name"]), "alert": {}}
    rules = closes, waits, made
    engine = engine_with(inhibit_rule('name="core"', 'name="up"'), *rules)
    full = (event("core"), event("up"), event("x"), event("app"))
    run(engine, [(at(0), started(max_alerts=4)), *((at(1), one) for one in full)])

    facts = run(engine, [(at(10), load(*rules, version="v2"))])

    assert [fact.fingerprint for fact in facts if isinstance(fact, AlertForgotten)] == [
        full[3].fingerprint
    ]
    assert freed(facts) == [(10, full[1].fingerprint), (10, full[2].fingerprint)]


def test_a_role_that_outlived_its_alert_in_a_snapshot_is_dropped() -> None:
    engine = engine_after([(at(0), site()), (at(1), host()), (at(2), clear("site", ci="edge"))])
    roles = (Role("explained", ("shop",), explains=True, explained=False),)
    engine._state.explained.take(site().fingerprint, roles)
    engine._state.explained.explain("forgotten", host().fingerprint)
    engine._state.explained.explain(host().fingerprint, site().fingerprint)

    again = revived(engine)

    assert again._state.explained.dump() == []
    over = run(again, [(at(3), clear("host0", ci="web0"))])
    assert only(AlertCleared, over).fingerprint == host().fingerprint


def test_a_restart_inhibits_as_before() -> None:
    engine = engine_after([(at(0), site()), (at(1), host()), (at(2), host(1, service="x"))], RULE)
    again = revived(engine)

    facts = run(again, [(at(3), started()), (at(4), host(2)), (at(100), TICK)])

    assert frames(revived(engine)) == frames(engine)
    assert freed(facts) == [(7, host(1, service="x").fingerprint)]
    assert suppressed(facts)[0] == (4, host(2).fingerprint, site().fingerprint)
    assert freed(run(again, [(at(200), clear("site", ci="edge"))]))[0][0] == 200


def test_from_the_tables_alone_it_is_known_again_with_the_rules() -> None:
    before = engine_after([(at(0), site()), (at(1), host()), (at(2), host(1, service="x"))], RULE)

    engine = Engine.rebuild(before.alerts(), (), (), (), ())
    facts = run(engine, [(at(3), started()), (at(4), load(RULE))])

    assert freed(facts) == [(4, host(1, service="x").fingerprint)]
    assert suppressed(facts) == [(4, host().fingerprint, site().fingerprint)]


def test_in_a_storm_nothing_is_waited_with_but_explained_it_is() -> None:
    seen: Feed = [
        (at(0), started(storm_above=1)),
        (at(1), site()),
        *((at(2 + n), host(n)) for n in range(2)),
        (at(5), host(9, service="x")),
    ]

    assert [one[0] for one in suppressed(facts_of(seen, RULE))] == [2, 3]


def test_of_so_many_rules_an_alert_has_a_role(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explained, "MAX_ROLES", 1)
    rules = (RULE, {**RULE, "name": "second"})

    facts = facts_of([(at(0), site()), (at(1), site(severity=Severity.MINOR))], *rules)

    assert [fact for fact in facts if isinstance(fact, CapHit)] == [CapHit(at(0), "roles")]


def test_the_rule_finds_nothing_itself() -> None:
    state = State(parse(RULE), Limits(1))
    alert = engine_after([(at(0), site())]).alert(site().fingerprint)

    state.load(state.dump())

    assert state.observe(Seen(alert, Transition.FIRED, at(0)), at(0)) == ()
    assert state.due("key", at(0)) == ()
    with pytest.raises(TypeError, match="group"):
        State(parse(BY_CI), Limits(1))


def test_how_long_a_target_waits_can_be_left_out() -> None:
    rule = {"name": "x", "inhibit": {"source": 'name="a"', "target": 'name="b"'}}

    assert parse(rule).within == 10


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"by": ["ci"]}, ": object contains unknown field `by`"),
        ({"inhibit": {"source": ""}}, "inhibit: object missing required field `target`"),
        (
            {"inhibit": {"source": "x", "target": ""}},
            "inhibit.source: expected label, operator, quoted value at character 1 of 'x' "
            "(operators are =~ !~ != <= >= = < >)",
        ),
    ],
)
def test_a_mistake_is_answered_with_its_path(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(RuleError) as raised:
        parse({**RULE, **wrong})

    assert str(raised.value) == message


def missed(facts: list[Fact]) -> list[tuple[float, str]]:
    """When which near misses were told."""
    return [
        ((fact.at - T0).total_seconds(), near_miss(fact))
        for fact in facts
        if isinstance(fact, RuleMissed)
    ]


def test_a_source_that_comes_a_little_too_late_is_a_near_miss() -> None:
    def late(second: float) -> list[tuple[float, str]]:
        return missed(facts_of([(at(0), host()), (at(second), site())], BY_CI, RULE))

    text = "rule explained missed it: site on edge would explain it, but came 13 s after it"
    assert late(13) == [(13, f"{text}; the rule waits 5 s")]
    assert len(late(64.9)) == 1
    assert late(4) == late(65) == []


def test_only_the_rule_that_would_have_explained_it_missed_it() -> None:
    other = inhibit_rule('name="site"', 'name="cpu"', within="1h", name="longer")
    near = facts_of([(at(0), host()), (at(100), site())], BY_CI, RULE, other)
    both = inhibit_rule('name=~"site|host.*"', 'name=~"site|host.*"', ("service",))
    circle = facts_of([(at(0), host()), (at(13), site())], BY_CI, both)

    assert missed(near) == missed(circle) == []


def test_many_that_a_source_missed_are_told_up_to_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "MAX_TOLD", 2)
    hosts: Feed = [(at(n), host(n)) for n in range(4)]

    facts = facts_of([*hosts, (at(20), site())], BY_CI, RULE)

    assert [fact.fingerprint for fact in facts if isinstance(fact, RuleMissed)] == [
        host(0).fingerprint,
        host(1).fingerprint,
    ]


def test_what_comes_after_another_that_missed_it_says_nothing_new() -> None:
    other = inhibit_rule('name="region"', 'name=~"host.*"', ("service",), name="wider")
    seen: Feed = [(at(0), host()), (at(13), site()), (at(15), event("region", ci="r"))]

    assert [second for second, _ in missed(facts_of(seen, BY_CI, RULE, other))] == [13]
