"""`topology`: so many CIs that are tied by dependencies."""

from __future__ import annotations

import pytest
from tests.builders import (
    TICK,
    Feed,
    at,
    engine_after,
    event,
    frames,
    group_rule,
    inventory,
    kind_rule,
    load,
    revived,
    run,
    started,
)
from tests.core.test_threshold import joined, missed

from eventd.core.model import (
    AlertJoined,
    CapHit,
    Ci,
    Connected,
    Correlated,
    Dependency,
    Event,
    Fact,
    FindingNoted,
    IncidentMerged,
    IncidentOpened,
    Severity,
    Status,
    Tie,
)
from eventd.core.rules import parse
from eventd.core.rules.rule import Limits
from eventd.core.rules.topology import State
from eventd.core.sentences import alert_said
from eventd.errors import RuleError

# web1 → app1 → db1 → san; web2 → san; each of the two lbs can stand in for the other
STACK = inventory(
    Ci("san", site="ams"),
    Ci("db1", depends_on=("san",), site="ams"),
    Ci("app1", depends_on=("db1",)),
    Ci("web1", depends_on=("app1", Dependency("lb1", redundant=True))),
    Ci("web2", depends_on=("san", Dependency("lb1", redundant=True))),
    Ci("lb1", site="ams"),
)
LATE = 60  # s; how long a sighting is waited with
Seen = tuple[float, Event]


def rule(name: str = "tied", /, **own: object) -> dict[str, object]:
    """On whatever alerts."""
    return {"name": name, "topology": {"match": "", **own}, "within": "100s"}


def on(ci: str, name: str = "down", **fields: object) -> Event:
    """An alert that no one else takes up."""
    return event(name, ci=ci, severity=Severity.INFO, **fields)  # type: ignore[arg-type] # checked there


def tied(facts: list[Fact]) -> list[str]:
    """The fingerprints that joined as the rule holds."""
    joins = [fact for fact in facts if isinstance(fact, AlertJoined)]
    return [fact.fingerprint for fact in joins if isinstance(fact.because, Connected)]


def facts(*seen: Seen, **own: object) -> list[Fact]:
    """What the rule says of them, each seen as it happened, in whatever order they happened."""
    engine = engine_after([(at(0), STACK)], rule(**own))
    feed: Feed = [(at(when), one) for when, one in sorted(seen, key=lambda one: one[0])]
    return run(engine, [*feed, (at(1_000), TICK)])


def incidents(*seen: Seen, **own: object) -> list[tuple[str, ...]]:
    """The CIs of each incident."""
    of = {one.fingerprint: one.ci for _, one in seen}
    members: dict[str, list[str]] = {}
    for fact in facts(*seen, **own):
        if isinstance(fact, AlertJoined):
            members.setdefault(fact.incident, []).append(of[fact.fingerprint])
    return [tuple(cis) for cis in members.values()]


def test_what_is_tied_opens_an_incident_when_nothing_late_can_come_before_it() -> None:
    db, web, san = on("db1"), on("web1"), on("san")

    found = facts((10, web), (20, db), (30, san), count=3)

    opened = next(fact for fact in found if isinstance(fact, IncidentOpened))
    assert opened.at == at(30 + LATE)
    assert joined(found) == [one.fingerprint for one in (web, db, san)]
    assert opened.incident.group == {"top": "san"}
    assert [fact.because for fact in found if isinstance(fact, AlertJoined)] == [
        Connected("tied", {"top": "san"}, 3, 100.0),
        Connected("tied", {"top": "san"}, 3, 100.0, "web1", -2),
        Connected("tied", {"top": "san"}, 3, 100.0, "db1", -1),
    ]


def test_it_says_of_each_alert_what_ties_it() -> None:
    found = facts((0, on("san")), (5, on("web1")), (6, on("web1", "slow")), (7, on("db1")))

    assert [alert_said(fact) for fact in found if isinstance(fact, AlertJoined)] == [
        "in INC-000001: rule tied: 2 CIs tied within 100 s for top san",
        "in INC-000001: rule tied: depends on san over 3 hops; 2 CIs tied within 100 s for top san",
        "in INC-000001: rule tied: web1 alerted already; 2 CIs tied within 100 s for top san",
        "in INC-000001: rule tied: depends on san over 1 hop; 3 CIs tied within 100 s for top san",
    ]
    down = facts((0, on("db1")), (5, on("san")))
    last = [alert_said(fact) for fact in down if isinstance(fact, AlertJoined)][-1]
    assert "rule tied: db1 depends on it over 1 hop; " in last


def test_what_is_not_tied_stays_apart() -> None:
    assert incidents((0, on("db1")), (5, on("web2"))) == []  # both depend on what is quiet
    assert incidents((0, on("db1")), (5, on("lb1"))) == []  # at one site
    assert incidents((0, on("db1")), (5, on("other"))) == []  # nobody knows it
    assert incidents((0, on("db1")), (5, on(""))) == []
    assert incidents((0, on("db1")), (5, on("db1", "slow"))) == []  # one CI
    assert incidents((0, on("db1")), (100, on("san"))) == []  # half-open
    assert incidents((0, on("db1")), (99, on("san"))) == [("db1", "san")]


def test_hops_are_counted_and_redundant_dependencies_tie_where_the_rule_says_so() -> None:
    far = (0, on("san")), (5, on("web1"))
    spare = (0, on("lb1")), (5, on("web1"))

    assert incidents(*far, hops=2) == []
    assert incidents(*far) == [("san", "web1")]
    assert incidents(*spare) == []
    assert incidents(*spare, redundant=True) == [("lb1", "web1")]


def test_what_ties_two_groups_makes_them_one_unless_the_rule_holds_for_both() -> None:
    app, web, other, san = on("app1"), on("web1"), on("web2"), on("san")

    assert incidents((0, app), (1, other), (2, san), count=3) == [("app1", "web2", "san")]
    assert incidents(
        (0, app), (1, web), (2, other), (3, on("lb1")), (4, san), redundant=True, hops=2
    ) == [("app1", "web1", "web2", "lb1", "san")]  # lb1 ties them before san does
    two = ((0, on("app1")), (1, on("web1")), (2, on("san")), (3, on("web2")), (4, on("db1")))
    assert incidents(*two, hops=1) == [("app1", "web1", "db1"), ("san", "web2")]


def test_a_ci_that_alerts_again_is_where_the_eldest_it_is_tied_to_is() -> None:
    again = on("app1", "slow"), on("web1", "slow"), on("web1", "late")
    seen = ("san", "web2", "app1", "web1", "db1")
    feed = [(float(n), on(ci)) for n, ci in enumerate(seen)]
    more = [(float(n), one) for n, one in enumerate(again, 5)]

    assert incidents(*feed, *more, hops=1) == [
        ("san", "web2", "db1", "app1", "web1", "web1"),
        ("app1", "web1"),
    ]


def test_a_quiet_thing_may_tie_others_to_a_group_that_is_not_the_alerts_own() -> None:
    # the first two groups are open, web2 waits; then app1 makes enough of what depends on san
    seen = ("san2", "db2", "web1", "app1", "web2", "lb1", "db1")
    rows = (
        Ci("san", depends_on=("core",)),
        Ci("db1", depends_on=("san",)),
        Ci("web2", depends_on=("san",)),
        Ci("db2", depends_on=("san", "san2")),
        Ci("web1", depends_on=("app1",)),
        Ci("db1", depends_on=("app1",)),
        Ci("app1", depends_on=("x",)),
    )
    engine = engine_after([(at(0), inventory(*rows))], rule(silent=0.9, hops=1))
    feed: Feed = [(at(n), on(ci)) for n, ci in enumerate(seen)]

    found = run(engine, [*feed, (at(999), TICK)])

    of = {on(ci).fingerprint: ci for ci in seen}
    joins = [(f.incident, of[f.fingerprint]) for f in found if isinstance(f, AlertJoined)]
    assert joins == [
        ("INC-000001", "san2"),
        ("INC-000001", "db2"),
        ("INC-000002", "web1"),
        ("INC-000002", "app1"),
        ("INC-000002", "db1"),
        ("INC-000001", "web2"),
    ]


def test_a_quiet_thing_ties_what_depends_on_it_once_enough_of_that_alerts() -> None:
    two = (0, on("db1")), (5, on("web2"))
    three = (*two, (9, on("app1")))

    assert incidents(*two, silent=0.5) == [("db1", "web2")]  # of four
    assert incidents(*two, silent=0.51) == []
    assert incidents(*three, silent=0.51) == [("db1", "web2", "app1")]
    # it stands for something, but is not counted
    assert incidents(*two, silent=0.5, count=3) == []
    assert incidents((0, on("db1")), silent=0.1) == []


def test_a_quiet_thing_goes_on_tying_and_may_alert_later() -> None:
    seen = (
        (0, on("db1")),
        (5, on("web2")),
        (50, on("web2", "slow")),
        (120, on("app1")),
        (121, on("san")),
    )

    (cis,) = incidents(*seen, silent=0.5)

    assert cis == ("db1", "web2", "web2", "app1", "san")
    opened = next(f for f in facts(*seen, silent=0.5) if isinstance(f, IncidentOpened))
    assert opened.incident.group == {"top": "san"}


def test_titles_and_roots_call_the_top() -> None:
    titled = {**rule(silent=0.5), "incident": {"title": "{top.ci}: {top.name}", "root": "top"}}
    engine = engine_after([(at(0), STACK)], titled)

    loud = run(revived(engine), [(at(0), on("web2")), (at(1), on("san")), (at(99), TICK)])
    quiet = run(revived(engine), [(at(0), on("web2")), (at(1), on("db1")), (at(99), TICK)])

    incident = next(f.incident for f in loud if isinstance(f, IncidentOpened))
    assert (incident.title, incident.roots[0].ci) == ("san: down", "san")
    incident = next(f.incident for f in quiet if isinstance(f, IncidentOpened))
    assert (incident.title, incident.roots[0].ci) == ("san: ?", "san")


def test_labels_may_be_added_to_the_key() -> None:
    by = kind_rule("topology", {"match": ""}, "tied", within="100s")
    engine = engine_after([(at(0), STACK)], by)
    feed: Feed = [
        (at(0), on("san", service="shop")),
        (at(1), on("db1", service="bank")),
        (at(2), on("app1", service="")),
        (at(3), on("web1", service="shop")),
        (at(99), TICK),
    ]

    found = run(engine, feed)

    assert joined(found) == [on(ci, service="shop").fingerprint for ci in ("san", "web1")]
    opened = next(fact for fact in found if isinstance(fact, IncidentOpened))
    assert opened.incident.group == {"service": "shop", "top": "san"}


def test_what_happened_counts_and_not_the_order_of_arrival() -> None:
    engine = engine_after([(at(0), STACK)], rule(count=3))
    feed: Feed = [
        (at(100), on("web1", occurred_at=at(100))),
        (at(101), on("san", occurred_at=at(60))),
        (at(102), on("db1", occurred_at=at(50))),
        (at(999), TICK),
    ]

    found = run(engine, feed)

    assert joined(found) == [on(ci).fingerprint for ci in ("db1", "san", "web1")]


def test_an_alert_that_changes_counts_once() -> None:
    engine = engine_after(
        [(at(0), STACK)],
        {"name": "tied", "topology": {"match": "severity<=warning"}, "within": "100s"},
    )
    worse = event("down", ci="san", severity=Severity.WARNING)
    feed: Feed = [
        (at(0), event("down", ci="db1", severity=Severity.MAJOR)),
        (at(10), on("san")),
        (at(95), worse),  # it was seen, and does not last longer for that
        (at(120), event("down", ci="db1", severity=Severity.WARNING)),
        (at(999), TICK),
    ]
    other = event("slow", ci="san", severity=Severity.MAJOR)
    changed = event("slow", ci="san", severity=Severity.WARNING)

    earlier: Feed = [*feed[:2], (at(105), feed[3][1]), (at(999), TICK)]

    assert tied(run(revived(engine), feed)) == []
    assert len(tied(run(revived(engine), earlier))) == 2
    # what was not seen before is seen when it changes
    assert tied(run(engine, [(at(0), other), *feed[:2], (at(95), changed), *feed[3:]])) != []


def test_a_near_miss_is_told_once_and_of_two_only_where_the_other_came_too_late() -> None:
    san, db, app = on("san"), on("db1"), on("app1")
    a, b, c = (one.fingerprint for one in (san, db, app))

    assert missed(facts((0, san), (10, db), count=3)) == [(160, a, 2, 0), (160, b, 2, 0)]
    assert missed(facts((0, san), (10, db), (130, app), count=3)) == [
        (160, a, 2, 130),
        (160, b, 2, 130),
        (160, c, 2, 130),
    ]
    assert missed(facts((0, san), (10, db), (130, on("x")), count=3)) == [
        (160, a, 2, 0),
        (160, b, 2, 0),
    ]
    assert missed(facts((0, san), (10, db), count=4)) == []
    assert missed(facts((0, san), count=2)) == []
    assert missed(facts((0, san), (110, db), count=2)) == [(160, a, 1, 110), (160, b, 1, 110)]
    assert missed(facts((0, db), (110, san), count=2))[0][3] == 110
    assert missed(facts((0, db), (110, on("db1", "slow")), count=2)) == []
    assert missed(facts((0, san), (10, db), count=2)) == []


def test_a_group_with_nothing_in_the_window_is_forgotten() -> None:
    engine = engine_after([(at(0), STACK)], rule())
    empty = frames(engine)

    run(engine, [(at(0), on("x", status=Status.FIRING)), (at(400), TICK)])

    assert engine.rules.states["tied"].dump() == []
    assert frames(engine) != empty  # the alert is known


def test_another_inventory_counts_for_what_comes_after() -> None:
    engine = engine_after([(at(0), STACK)], rule())
    other = inventory(Ci("x", depends_on=("web2",)), Ci("lb1", depends_on=("web2",)), version="i2")
    feed: Feed = [(at(0), on("lb1")), (at(90), other), (at(91), on("web2")), (at(999), TICK)]

    assert len(joined(run(revived(engine), feed))) == 2
    assert joined(run(engine, [feed[0], feed[2], feed[3]])) == []


def test_it_survives_a_snapshot_at_any_point() -> None:
    seen = [on("db1"), on("web2"), on("x"), on("app1"), on("san"), on("web1"), on("san", "slow")]
    feed: Feed = [(at(20 * n), one) for n, one in enumerate(seen)]
    feed = [*feed, (at(130), TICK), (at(170), TICK), (at(1_000), TICK)]
    whole = engine_after([(at(0), STACK)], rule(silent=0.5))
    restored = revived(whole)

    for now, item in feed:
        restored = revived(restored)
        assert restored.step(item, now) == whole.step(item, now)
        assert frames(restored) == frames(whole)


def test_beyond_the_cap_the_key_longest_quiet_goes_or_the_ci() -> None:
    keyed = kind_rule("topology", {"match": ""}, "tied", within="100s")
    engine = engine_after([(at(0), STACK), (at(0), started(max_groups=2))], keyed)
    feed: Feed = [(at(n), on("san", service=f"s{n}")) for n in range(3)]

    facts = run(engine, feed)

    assert [fact for fact in facts if isinstance(fact, CapHit)] == [CapHit(at(2), "groups", "tied")]
    assert joined(run(engine, [(at(3), on("db1", service="s0")), (at(999), TICK)])) == []


def test_of_one_key_the_ci_longest_quiet_goes_and_else_what_waits_longest() -> None:
    engine = engine_after([(at(0), STACK), (at(0), started(max_groups=2))], rule())
    waiting: Feed = [(at(n), on(ci)) for n, ci in enumerate(("san", "x", "db1"))]
    standing: Feed = [(at(70 * n), on(ci)) for n, ci in enumerate(("san", "x", "db1"))]

    for feed in (waiting, standing):
        facts = run(revived(engine), [*feed, (at(999), TICK)])

        assert [fact.table for fact in facts if isinstance(fact, CapHit)] == ["sightings"]
        assert joined(facts) == []


def test_a_ci_with_very_many_alerts_keeps_the_latest() -> None:
    engine = engine_after([(at(0), STACK)], rule())
    seen: Feed = [(at(0), on("san", f"n{n:02}")) for n in range(66)]

    facts = run(engine, [*seen, (at(1), on("db1")), (at(999), TICK)])

    assert len(joined(facts)) == 65
    assert [fact.table for fact in facts if isinstance(fact, CapHit)] == ["sightings"]


def test_it_is_noted_where_the_alerts_belong_already() -> None:
    engine = engine_after([(at(0), STACK)], group_rule(by=["ci"]), rule())
    feed: Feed = [(at(0), on("san")), (at(1), on("db1")), (at(99), TICK)]

    facts = run(engine, feed)

    noted = [fact for fact in facts if isinstance(fact, FindingNoted)]
    assert [fact.incident for fact in noted] == ["INC-000002"]
    assert isinstance(noted[0].because, Connected)
    assert noted[0].because.elsewhere == ("INC-000001", "INC-000002")


def test_what_the_correlation_raised_while_the_rule_waited_is_the_rules() -> None:
    engine = engine_after([(at(0), STACK)], rule())
    grave = [event("down", ci=ci, severity=Severity.CRITICAL) for ci in ("san", "db1", "web2")]
    feed: Feed = [*((at(n), one) for n, one in enumerate(grave)), (at(30), event("slow", ci="san"))]

    facts = run(engine, [*feed, (at(200), TICK)])

    merged = [(f.incident, f.into) for f in facts if isinstance(f, IncidentMerged)]
    assert merged == [("INC-000001", "INC-000002")]
    assert engine.incident("INC-000001").merged_into == "INC-000002"
    assert engine.incident("INC-000002").rule == "tied"
    assert {engine.alert(one.fingerprint).incident for one in grave} == {"INC-000002"}
    whys = [fact.because for fact in facts if isinstance(fact, AlertJoined)][-4:]
    assert whys[:2] == [
        Connected("tied", {"top": "san"}, 2, 100.0),
        Connected("tied", {"top": "san"}, 2, 100.0, "san", 1),
    ]
    assert whys[2:] == [Correlated(Tie.CLAIMED, 1.0, 0.0)] * 2


def test_a_reload_keeps_what_an_unchanged_rule_remembers() -> None:
    engine = engine_after([(at(0), STACK), (at(0), on("san"))], rule())

    facts = run(engine, [(at(1), load(rule())), (at(2), on("db1")), (at(99), TICK)])

    assert len(joined(facts)) == 2


def test_the_state_is_for_such_rules_and_mistakes_have_their_path() -> None:
    with pytest.raises(TypeError, match="group"):
        State(parse(group_rule()), Limits(1))
    assert State(parse(rule()), Limits(1)).due("[]", at(0)) == ()  # the key made room
    for own, expected in (
        ({"count": 1}, "topology.count: expected `int` >= 2"),
        ({"hops": 4}, "topology.hops: expected `int` <= 3"),
        ({"silent": 0}, "topology.silent: expected `float` > 0.0"),
    ):
        with pytest.raises(RuleError) as raised:
            parse(rule(**own))
        assert str(raised.value) == expected
