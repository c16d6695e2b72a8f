"""Rules that fire an alert, which other rules are asked about, and open no incident."""

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
    only,
    revived,
    run,
    settle_rule,
    silence,
    started,
    threshold_rule,
)
from tests.properties.recount import agrees_with_alerts

from eventd.core import raised
from eventd.core.model import (
    Alert,
    AlertCleared,
    AlertFired,
    AlertForgotten,
    AlertJoined,
    AlertRaised,
    AlertRepeated,
    CapHit,
    ClearReason,
    Counted,
    Event,
    EventDuplicate,
    Fact,
    Grouped,
    IncidentOpened,
    Severity,
    Status,
)
from eventd.core.rules import parse
from eventd.core.rules.loops import MAX_CHAIN, chains
from eventd.core.sentences import alert_said
from eventd.errors import RuleError

Data = dict[str, object]


def info(name: str, **fields: object) -> Event:
    """An alert that no one else takes up."""
    return event(name, severity=Severity.INFO, **fields)  # type: ignore[arg-type] # checked there


def over(name: str, **fields: object) -> Event:
    """It clears."""
    return info(name, status=Status.CLEARED, **fields)


def fires(rule: Data, **own: object) -> Data:
    """The rule, with an alert in place of the incident."""
    return {**{key: value for key, value in rule.items() if key != "incident"}, "alert": own}


MANY = fires(kind_rule("threshold", {"match": 'name=~"[abc]"', "count": 2}, "many"))
SEES = group_rule("sees", 'name="many"')


def fired(facts: list[Fact]) -> list[Alert]:
    """Alerts of rules that began to."""
    alerts = [fact.alert for fact in facts if isinstance(fact, AlertFired)]
    return [alert for alert in alerts if alert.source == "eventd"]


def test_a_rule_that_says_the_same_twice_at_one_time_makes_no_duplicate_of_what_was_sent() -> None:
    """Else the event is told to have come before, and counts as such."""
    often = kind_rule("threshold", {"match": 'name="a"', "count": 2, "of": "events"}, "often")
    engine = engine_with(fires(often))

    sent = [engine.step(event("a", id=f"a{n}"), at(1)) for n in range(6)]
    again = engine.step(event("a", id="a5"), at(1))

    assert [type(one) for one in again] == [EventDuplicate]
    assert [fact for one in sent for fact in one if isinstance(fact, EventDuplicate)] == []
    assert [one.name for one in fired([fact for one in sent for fact in one])] == ["often"]
    assert engine.alert(event("a").fingerprint).count == 6


def ended(facts: list[Fact], fingerprint: str) -> list[tuple[float, ClearReason]]:
    """When the alert cleared, and why."""
    return [
        ((fact.at - T0).total_seconds(), fact.reason)
        for fact in facts
        if isinstance(fact, AlertCleared) and fact.fingerprint == fingerprint
    ]


def test_a_rule_fires_an_alert_with_the_labels_of_its_group_and_opens_nothing() -> None:
    rule = {**fires(MANY, name="TooMany", severity="minor"), "description": "Too many at once"}

    facts = facts_of([(at(0), info("a")), (at(1), info("b"))], {**rule, "by": ["service", "rack"]})
    assert fired(facts) == []

    labels = {"rack": "r1"}
    feed: Feed = [(at(0), info("a", labels=labels)), (at(1), info("b", labels=labels))]
    facts = facts_of(feed, {**rule, "by": ["service", "rack"]})

    (alert,) = fired(facts)
    assert (alert.name, alert.severity, alert.summary) == (
        "TooMany",
        Severity.MINOR,
        "Too many at once",
    )
    assert (alert.service, alert.labels) == ("shop", {"rack": "r1"})
    assert not [fact for fact in facts if isinstance(fact, IncidentOpened)]


def test_other_rules_are_asked_about_it() -> None:
    facts = facts_of([(at(0), info("a")), (at(1), info("b"))], MANY, SEES)

    opened = only(IncidentOpened, facts)
    (alert,) = fired(facts)
    assert opened.because == Grouped("sees", {"service": "shop"})
    assert only(AlertJoined, facts).fingerprint == alert.fingerprint
    assert (alert.name, alert.severity) == ("many", Severity.INFO)


def test_it_tells_the_alert_and_those_that_made_it() -> None:
    a, b, c = info("a"), info("b"), info("c", ci="")
    facts = facts_of([(at(0), a), (at(1), b), (at(2), c), (at(3), c)], MANY)

    (alert,) = fired(facts)
    own = alert.fingerprint
    two, three = (Counted("many", {"service": "shop"}, n, 2, 60.0) for n in (2, 3))
    told = [fact for fact in facts if isinstance(fact, AlertRaised)]
    behind = (a.fingerprint, "a on db1"), (b.fingerprint, "b on db1"), (c.fingerprint, "c")
    assert told == [
        AlertRaised(at(1), own, 1, own, "many", two, 2, behind[:2], begins=True),
        AlertRaised(at(1), a.fingerprint, 1, own, "many", two, 2),
        AlertRaised(at(1), b.fingerprint, 1, own, "many", two, 2),
        AlertRaised(at(2), own, 1, own, "many", three, 3, behind),
        AlertRaised(at(2), c.fingerprint, 1, own, "many", three, 3),
    ]
    held = "rule many: 2 within 60 s for service shop"
    assert alert_said(told[0]) == (
        f"fired by {held}; made by a on db1 ({a.fingerprint}), b on db1 ({b.fingerprint})"
    )
    assert alert_said(told[1]) == f"behind many ({own}): {held}"


def test_of_many_only_the_first_are_named() -> None:
    rule = fires(kind_rule("threshold", {"match": 'name=~"n.*"', "count": 10}, "many"))
    feed: Feed = [(at(n), info(f"n{n}")) for n in range(10)]

    told = next(fact for fact in facts_of(feed, rule) if isinstance(fact, AlertRaised))

    assert (told.count, len(told.alerts)) == (10, 8)
    assert alert_said(told).endswith(" and 2 others")


def test_it_fires_while_any_of_those_does_that_made_it() -> None:
    feed: Feed = [(at(0), info("a")), (at(1), info("b")), (at(5), over("a"))]
    engine = engine_with(MANY)
    (alert,) = fired(run(engine, feed))

    assert engine.alert(alert.fingerprint).status is Status.FIRING
    facts = run(engine, [(at(9), over("b"))])
    assert ended(facts, alert.fingerprint) == [(9, ClearReason.PAIRED)]

    again = run(engine, [(at(10), info("a")), (at(11), info("c"))])
    assert [one.episode for one in fired(again)] == [2]


def test_each_time_that_the_rule_holds_is_seen() -> None:
    feed: Feed = [(at(0), info("a")), (at(1), info("b")), (at(2), info("c"))]

    facts = facts_of(feed, MANY)

    own = fired(facts)[0].fingerprint
    assert [f.at for f in facts if isinstance(f, AlertRepeated) and f.fingerprint == own] == [at(2)]


def test_it_ends_where_the_rule_says_that_it_holds_no_more() -> None:
    own = {"match": 'name="a"', "count": 2, "of": "events", "ends": {"below": 2, "within": "30s"}}
    rule = fires(kind_rule("threshold", own, "many"))
    feed: Feed = [(at(20 * n), info("a")) for n in range(3)]

    alone = facts_of([*feed, (at(200), TICK)], rule)
    facts = facts_of([*feed, (at(200), TICK)], rule, fires(group_rule("any", 'name="a"')))

    ends = {alert.name: ended(facts, alert.fingerprint) for alert in fired(facts)}
    assert ends == {"many": [(110, ClearReason.FEWER)], "any": []}
    assert ended(alone, fired(alone)[0].fingerprint) == ends["many"]
    told = [fact for fact in facts if isinstance(fact, AlertRaised) and fact.name == "many"]
    assert len(told) == 2  # seen again, it is not told again


def test_what_is_suppressed_or_fires_no_more_makes_nothing() -> None:
    one: Feed = [(at(0), silence('name="a"', at(900))), (at(1), info("a")), (at(2), info("b"))]
    both: Feed = [(at(0), silence('name=~"[ab]"', at(900))), *one[1:]]
    steps = [{"match": 'name="a"'}, {"match": 'status="info"'}]
    after = fires(kind_rule("sequence", steps, "after"))
    gone: Feed = [(at(0), info("a")), (at(1), over("a")), (at(2), info("x", status=Status.INFO))]

    facts = facts_of([*one, (at(3), info("c"))], MANY)

    first = next(fact for fact in facts if isinstance(fact, AlertRaised))
    assert [called for _, called in first.alerts] == ["b on db1", "c on db1"]
    assert fired(facts_of(both, MANY)) == []
    assert len(fired(facts_of([gone[0], gone[2]], after))) == 1
    assert fired(facts_of(gone, after)) == []


def test_the_alert_of_one_rule_may_make_that_of_another_and_ends_it() -> None:
    second = fires(kind_rule("group", {"match": 'name="many"'}, "second"))
    third = fires(kind_rule("group", {"match": 'name="second"'}, "third"))
    engine = engine_with(MANY, second, third)

    facts = run(engine, [(at(0), info("a")), (at(1), info("b"))])
    assert [alert.name for alert in fired(facts)] == ["many", "second", "third"]

    facts = run(engine, [(at(2), over("a")), (at(3), over("b"))])
    assert [fact.at for fact in facts if isinstance(fact, AlertCleared)] == [at(2), *[at(3)] * 4]


def test_an_alert_that_ends_what_made_it_is_over_with_that() -> None:
    first = fires(kind_rule("group", {"match": 'name="a"'}, "first"))
    ends = kind_rule("pair", {"opens": 'name="a"', "closes": 'name="first"'}, "ends", within="1h")

    engine = engine_with(ends, first)
    facts = run(engine, [(at(0), info("a"))])

    assert [alert.status for alert in engine.alerts()] == [Status.CLEARED, Status.CLEARED]
    assert len(fired(facts)) == 1


def test_its_alert_made_room_for_is_forgotten_with_its_links() -> None:
    engine = engine_after([(at(0), started(max_alerts=2))], fires(group_rule("own", 'name="a"')))

    facts = run(engine, [(at(0), info("a")), (at(1), info("x")), (at(2), info("y"))])

    assert [fact for fact in facts if isinstance(fact, AlertForgotten)]
    assert engine.snapshot() is not None
    assert revived(engine).step(TICK, at(3)) == engine.step(TICK, at(3))


def test_at_the_cap_it_may_need_the_room_that_is_just_made_and_then_more_is() -> None:
    """What made room explained an alert, of which a rule makes one of its own as it is freed."""
    rules = inhibit_rule('name="src"', 'name="odd"'), fires(group_rule("own", 'name="odd"'))
    seen: Feed = [(at(n), info(name)) for n, name in enumerate(("src", "odd", "z"))]
    engine = engine_after([(at(0), started(max_alerts=3)), *seen], *rules)

    facts = run(engine, [(at(3), info("new"))])

    assert [alert.name for alert in fired(facts)] == ["own"]
    assert {fact.fingerprint for fact in facts if isinstance(fact, AlertForgotten)} == {
        info("src").fingerprint,
        info("odd").fingerprint,
    }
    assert len(list(engine.alerts())) == 3


def test_at_the_cap_it_may_be_fired_by_the_room_that_is_made_for_it() -> None:
    """What made room explained an alert, and the rule holds of that one, too."""
    own = fires(kind_rule("group", {"match": 'name="odd"'}, "own", by=["name"]), severity="major")
    rules = (
        own,
        inhibit_rule('name="src"', 'name="odd"', ("service",)),
        group_rule("o", 'name="own"', by=["name"]),
    )
    seen: Feed = [(at(0), info("src")), (at(1), info("odd")), (at(2), info("odd", service="bank"))]
    engine = engine_after([(at(0), started(max_alerts=3)), *seen], *rules)

    facts = run(engine, [(at(9), TICK)])  # the other is waited with no more

    (alert,) = fired(facts)
    assert engine.alert(alert.fingerprint).count == 2
    assert [one.firing for one in engine.incidents()] == [1]
    run(engine, [(at(20), over("odd", service="bank"))])
    assert [one.firing for one in engine.incidents()] == [0]


def test_at_the_cap_it_may_fire_anew_as_it_makes_room_and_another_is_forgotten() -> None:
    """What it explained fires it, and a rule waits with it; what was made of it is over."""
    own = fires(kind_rule("group", {"match": 'name="a"'}, "own", by=["name"]), severity="major")
    more = fires(kind_rule("group", {"match": 'name="own"'}, "more", by=["name"]))
    explains, waits = inhibit_rule('name="own"', 'name="a"'), settle_rule('name="own"', "5s")
    engine = engine_with(own, more, explains, waits)
    begin: Feed = [(at(0), started(max_alerts=4)), (at(0), event("a")), (at(11), info("a", ci="x"))]
    run(engine, [*begin, (at(20), clear("a")), (at(30), info("z"))])

    facts = run(engine, [(at(40), info("y"))])

    (alert,) = fired(facts)
    assert ended(facts, alert.fingerprint) == [(40, ClearReason.EVICTED)]
    assert only(AlertForgotten, facts).fingerprint != alert.fingerprint
    assert engine.alert(alert.fingerprint).suppressed_by == "settle:blips"
    agrees_with_alerts(engine)  # its last episode is no evidence any more


BY_NAME = fires(kind_rule("group", {"match": 'name="a"'}, "own", by=["name"]))
EXPLAINS = inhibit_rule('name="own"', 'name="a"')


def test_it_may_end_and_fire_anew_twice_at_one_time() -> None:
    """Each time by the next of those that it explained."""
    begin: Feed = [(at(n * 10), info("a", ci=f"n{n}")) for n in range(3)]
    engine = engine_after(begin, BY_NAME, EXPLAINS)

    facts = run(engine, [(at(40), over("a", ci="n0")), (at(40), over("a", ci="n1"))])

    (first, again) = fired(facts)
    assert first.fingerprint == again.fingerprint
    assert ended(facts, first.fingerprint) == [(40, ClearReason.PAIRED)] * 2
    assert engine.alert(first.fingerprint).status is Status.FIRING
    assert engine.alert(info("a", ci="n2").fingerprint).suppressed_by == "inhibit:explained"


def test_at_the_cap_it_fires_anew_but_once_as_it_makes_room() -> None:
    begin: Feed = [(at(0), started(max_alerts=4)), (at(0), info("a")), (at(11), info("a", ci="x"))]
    engine = engine_after(begin, BY_NAME, EXPLAINS)
    run(engine, [(at(20), over("a")), (at(30), info("z")), (at(31), info("y"))])

    facts = run(engine, [(at(40), info("b"))])

    (alert,) = fired(facts)
    assert ended(facts, alert.fingerprint) == [(40, ClearReason.EVICTED)] * 2
    assert only(AlertForgotten, facts).fingerprint == alert.fingerprint
    assert engine._state.raised.dump() == []  # nobody is behind what fires no more


def test_a_rule_that_is_gone_leaves_its_alert_until_those_that_made_it_clear() -> None:
    engine = engine_with(MANY)
    (alert,) = fired(run(engine, [(at(0), info("a")), (at(1), info("b"))]))

    facts = run(engine, [(at(2), over("a")), (at(3), over("b"))])

    assert ended(facts, alert.fingerprint) == [(3, ClearReason.PAIRED)]


def test_a_restart_knows_who_is_behind_an_alert() -> None:
    engine = engine_after([(at(0), info("a")), (at(1), info("b"))], MANY)
    restored = revived(engine)

    feed: Feed = [(at(2), over("a")), (at(3), info("c")), (at(4), over("b")), (at(5), over("c"))]

    assert run(restored, feed) == run(engine, feed)
    assert frames(restored) == frames(engine)


def test_beyond_the_cap_nothing_more_is_linked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raised, "MAX_LINKS", 1)
    own = fires(group_rule("own", ""), name="Own")
    feed: Feed = [(at(0), info("a")), (at(1), info("b", service="bank")), (at(2), over("a"))]
    rule = {**own, "group": {"match": 'source!="eventd"'}}

    facts = facts_of([*feed, (at(3), info("c", service="bank"))], rule)

    assert [alert.service for alert in fired(facts)] == ["shop", "bank"]
    assert [fact for fact in facts if isinstance(fact, CapHit)] == [CapHit(at(1), "raised")]


def test_a_loop_or_a_chain_that_was_not_refused_comes_to_an_end() -> None:
    loop = fires(group_rule("loop", ""))
    facts = facts_of([(at(0), info("r"))], loop, fires(group_rule("pong", "")))

    assert {alert.name for alert in fired(facts)} == {"loop", "pong"}

    row = [on(f"r{n}", f'name="r{n - 1}"') for n in range(MAX_CHAIN + 1)]
    facts = facts_of([(at(0), info("r-1"))], *row)

    assert [alert.name for alert in fired(facts)] == [f"r{n}" for n in range(MAX_CHAIN)]
    assert CapHit(at(0), "chain", f"r{MAX_CHAIN}") in facts


def test_a_rule_opens_an_incident_or_fires_an_alert() -> None:
    absence = {**kind_rule("absence", {"match": 'name="a"'}), "alert": {}}
    for wrong, expected in (
        ({**MANY, "incident": {"title": "x"}}, "alert: a rule opens an incident or fires an alert"),
        (absence, "alert: absence fires an alert of its own anyway"),
        (fires(MANY, severity="ok"), "alert.severity: invalid enum value 'ok'"),
    ):
        with pytest.raises(RuleError) as error:
            parse(wrong)
        assert str(error.value).startswith(expected)


# -- loops ----------------------------------------------------------------------------------------


def loops(*rules: Data) -> list[tuple[str, ...]]:
    """Chains, by name."""
    parsed = [parse(one) for one in rules]
    return [tuple(parsed[n].name for n in chain) for chain in chains(parsed)]


def on(name: str, match: str, /, *by: str, **own: object) -> Data:
    """A rule that fires for what it matches."""
    return fires(kind_rule("group", {"match": match}, name, by=by or ["service"]), **own)


def test_alerts_that_come_back_are_a_loop() -> None:
    assert loops(on("a", 'name="x"'), on("b", 'name="a"')) == []
    assert loops(on("a", 'name="a"')) == [("a", "a")]
    assert loops(on("a", 'name="c"'), on("b", 'name="a"'), on("c", 'name="b"')) == [
        ("a", "b", "c", "a")
    ]
    assert loops(on("a", 'name="x"', name="y"), on("b", 'name="y"', name="x")) == [("a", "b", "a")]
    assert loops(on("a", 'name="b"'), on("b", 'name="a"'), on("c", "")) == [
        ("a", "b", "a"),
        ("c", "c"),
    ]
    assert loops(on("a", 'name="b"'), threshold_rule("b", 'name="a"')) == []


def test_what_is_known_of_an_alert_tells_loops_apart_and_what_is_not_is_taken_to_hold() -> None:
    assert loops(on("a", "")) == [("a", "a")]
    assert loops(on("a", 'source!="eventd"')) == []
    assert loops(on("a", 'name=~"b.*"'), on("bc", 'name=~"a.*"')) == [("a", "bc", "a")]
    assert loops(on("a", 'name!~"a|b"')) == []
    assert loops(on("a", "severity>=major")) == []
    assert loops(on("a", "severity>=major", severity="critical")) == [("a", "a")]
    assert loops(on("a", "value>5")) == []
    assert loops(on("a", 'status="info"')) == []
    assert loops(on("a", 'status="cleared"')) == [("a", "a")]
    assert loops(on("a", 'ci="db1"')) == []
    assert loops(on("a", 'ci="db1"', "ci")) == [("a", "a")]
    assert loops(on("a", 'service="shop"', "ci")) == []
    assert loops(on("a", 'rack="r1"')) == []
    assert loops(on("a", 'rack="r1"', "rack")) == [("a", "a")]
    assert loops(on("a", 'rack=~"r.*"', "rack")) == [("a", "a")]
    assert loops(on("a", 'rack="", name="a"', "rack")) == []
    assert loops(on("a", 'name="b"', "name")) == []  # the label, and not what it is called


def test_a_chain_may_not_be_too_long() -> None:
    row = [on(f"r{n}", f'name="r{n - 1}"') for n in range(MAX_CHAIN + 1)]

    assert loops(*row[:-1]) == []
    assert loops(*row) == [tuple(f"r{n}" for n in range(MAX_CHAIN + 1))]
