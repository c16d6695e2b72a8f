"""Operators merge, split and detach, and what they decided is left alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.builders import (
    TICK,
    Feed,
    at,
    clear,
    engine_after,
    event,
    frames,
    group_rule,
    inventory,
    load,
    only,
    revived,
    run,
    silence,
    started,
    threshold_rule,
)

from eventd.core.correlation.parameters import RANKED, STORM_CIS
from eventd.core.engine import Engine
from eventd.core.model import (
    AlertCleared,
    AlertDetached,
    AlertJoined,
    Ci,
    Close,
    CommandRejected,
    Detach,
    EndReason,
    Event,
    Fact,
    IncidentClosed,
    IncidentMerged,
    IncidentOpened,
    IncidentRanked,
    IncidentReopened,
    IncidentResolved,
    IncidentSplit,
    IncidentState,
    IncidentUpdated,
    Input,
    Merge,
    Ordered,
    Reopen,
    Resolve,
    RootCandidate,
    Severity,
    Split,
)

# two switches with two applications each, of which the correlation makes two incidents
CIS = [
    *(Ci(f"sw-{site}") for site in ("ams", "fra")),
    *(Ci(f"{site}-app{n}", depends_on=(f"sw-{site}",)) for site in ("ams", "fra") for n in "ab"),
]
AMS, FRA = "INC-000001", "INC-000002"


def down(site: str) -> Event:
    return event("down", ci=f"sw-{site}", severity=Severity.CRITICAL, service="")


def slow(site: str, n: str = "a") -> Event:
    return event("slow", ci=f"{site}-app{n}", service="")


def over(one: Event) -> Event:
    return clear(one.name, ci=one.ci, severity=one.severity, service=one.service)


TWO: Feed = [
    (at(0), inventory(*CIS)),
    (at(1), down("ams")),
    (at(2), slow("ams")),
    (at(30), TICK),
    (at(601), down("fra")),
    (at(602), slow("fra")),
    (at(700), TICK),
]


def two() -> Engine:
    """One incident a site, open; AMS is older."""
    engine = engine_after(TWO)
    assert [one.id for one in engine.incidents()] == [AMS, FRA]
    return engine


def rejected(engine: Engine, command: Input, now: float = 1000) -> CommandRejected:
    engine.step(TICK, at(now))
    before = frames(engine)
    said = only(CommandRejected, engine.step(command, at(now)))
    assert frames(engine) == before
    return said


# -- merge --------------------------------------------------------------------------------------


def test_a_merged_incident_closes_and_its_alerts_belong_to_the_other() -> None:
    engine = two()

    facts = engine.step(Merge(FRA, AMS, "ann", "one outage"), at(800))

    why = Ordered("ann", "one outage")
    assert facts == (
        IncidentMerged(at(800), FRA, AMS, why, "ann"),
        IncidentUpdated(at(800), AMS, 2, 1, "3 or more CIs affected"),
        AlertJoined(at(800), AMS, down("fra").fingerprint, 1, why),
        AlertJoined(at(800), AMS, slow("fra").fingerprint, 1, why),
        IncidentClosed(at(800), FRA, EndReason.MERGED, "ann", "one outage"),
    )
    assert engine.incident(FRA).merged_into == AMS
    assert engine.alert(slow("fra").fingerprint).incident == AMS
    assert (engine.incident(AMS).alerts, engine.incident(AMS).firing) == (4, 4)


def test_what_the_correlation_would_add_to_a_merged_incident_goes_where_it_went() -> None:
    engine = engine_after([*TWO, (at(800), Merge(FRA, AMS, "ann"))])

    joined = only(AlertJoined, engine.step(slow("fra", "b"), at(810)))

    assert joined.incident == AMS


def test_a_merged_incident_resolves_when_the_last_of_all_alerts_has_cleared() -> None:
    engine = engine_after([*TWO, (at(800), Merge(FRA, AMS, "ann"))])
    alerts = [down("ams"), slow("ams"), down("fra"), slow("fra")]

    most = run(engine, [*((at(900), over(one)) for one in alerts[:3]), (at(1800), TICK)])
    rest = run(engine, [(at(1900), over(alerts[3])), (at(1960), TICK)])

    assert not [fact for fact in most if isinstance(fact, IncidentResolved)]
    assert only(IncidentResolved, rest) == IncidentResolved(at(1960), AMS, EndReason.CLEARED)


def test_merging_what_fires_into_what_is_resolved_reopens_it() -> None:
    engine = engine_after([*TWO, (at(790), Resolve(AMS, "bob"))])

    facts = engine.step(Merge(FRA, AMS, "ann", "not over"), at(800))

    reopened = IncidentReopened(at(800), AMS, EndReason.OPERATOR, "ann", "not over")
    assert only(IncidentReopened, facts) == reopened


def test_what_has_cleared_is_merged_and_what_is_forgotten_is_not() -> None:
    engine = engine_after([*TWO, (at(790), over(slow("fra")))])
    engine.step(Merge(FRA, AMS, "ann"), at(800))
    assert (engine.incident(AMS).alerts, engine.incident(AMS).firing) == (4, 3)

    engine = engine_after([*TWO, (at(790), over(slow("fra")))])
    engine.step(TICK, at(90_000))
    joined = only(AlertJoined, engine.step(Merge(FRA, AMS, "ann"), at(90_001)))
    assert joined.fingerprint == down("fra").fingerprint


RULES = [group_rule("by-service", within="1h")]
SHOP, BANK = event("a"), event("b", service="bank")
OF_RULES: Feed = [(at(1), SHOP), (at(2), BANK)]


@pytest.mark.parametrize("restored", [False, True])
def test_what_a_rule_finds_for_a_merged_incident_goes_where_it_went(*, restored: bool) -> None:
    engine = engine_after([*OF_RULES, (at(3), Merge("INC-000002", "INC-000001", "ann"))], *RULES)
    engine = revived(engine) if restored else engine

    facts = engine.step(event("c", service="bank"), at(4))

    assert only(AlertJoined, facts).incident == "INC-000001"


def test_that_lasts_through_another_merge_and_until_the_incident_closes() -> None:
    feed: Feed = [
        *OF_RULES,
        (at(3), event("c", service="mail")),
        (at(4), Merge("INC-000003", "INC-000002", "ann")),
        (at(5), Merge("INC-000002", "INC-000001", "ann")),
    ]
    engine = engine_after(feed, *RULES)
    joined = only(AlertJoined, engine.step(event("d", service="mail"), at(6)))
    assert joined.incident == "INC-000001"

    engine.step(Close("INC-000001", "ann"), at(7))
    opened = only(IncidentOpened, engine.step(event("e", service="mail"), at(8)))
    assert opened.incident.id == "INC-000004"


@pytest.mark.parametrize(
    ("command", "missing", "error"),
    [
        (Merge(AMS, AMS, "ann"), False, f"{AMS} cannot be merged into itself"),
        (Merge(AMS, "INC-000009", "ann"), True, "no open incident INC-000009"),
        (Merge("INC-000009", AMS, "ann"), True, "no open incident INC-000009"),
        (Split(AMS, ("f",), "ann"), True, f"{AMS} has no alert f"),
        (Detach(AMS, "f", "ann"), True, f"{AMS} has no alert f"),
        (
            Split(AMS, (down("ams").fingerprint, slow("ams").fingerprint), "ann"),
            False,
            f"{AMS} would have no alert left",
        ),
    ],
)
def test_what_cannot_be_done_changes_nothing(command: Input, *, missing: bool, error: str) -> None:
    assert rejected(two(), command) == CommandRejected(at(1000), missing, error)


def test_a_merged_incident_takes_no_orders_and_says_which_does() -> None:
    engine = engine_after([*TWO, (at(800), Merge(FRA, AMS, "ann"))])

    said = rejected(engine, Reopen(FRA, "ann"))

    assert said.error == f"{FRA} is one with {AMS}; say it of that one"


# -- split --------------------------------------------------------------------------------------


def test_alerts_that_are_split_off_are_an_incident_of_their_own() -> None:
    engine = two()
    fingerprint = slow("ams").fingerprint

    facts = engine.step(Split(AMS, (fingerprint,), "ann", "a deploy"), at(800))

    why = Ordered("ann", "a deploy")
    apart = "INC-000003"
    assert facts == (
        IncidentOpened(at(800), engine.incident(apart), why),
        AlertJoined(at(800), apart, fingerprint, 1, why),
        IncidentSplit(at(800), AMS, apart, "ann", "a deploy"),
        AlertDetached(at(800), AMS, fingerprint, 1, True, apart, "ann", "a deploy"),
    )
    assert engine.incident(apart).title == "slow on ams-appa"
    assert engine.incident(AMS).firing == engine.incident(apart).firing == 1
    assert engine.alert(fingerprint).incident == apart


@pytest.mark.parametrize(
    ("order", "whole"),
    [
        (lambda text: Merge(FRA, AMS, "ann", text), IncidentMerged),
        (lambda text: Split(AMS, (slow("ams").fingerprint,), "ann", text), IncidentSplit),
    ],
)
def test_a_long_text_is_not_told_to_each_of_many_alerts(
    order: Callable[[str], Input], whole: type[Fact]
) -> None:
    """They may be 100,000; the timeline has all of it."""
    long = "0123456789" * 1_000

    facts = two().step(order(long), at(800))

    because = [one.because for one in facts if isinstance(one, AlertJoined)]
    told = {one.text for one in because if isinstance(one, Ordered)}
    left = {one.text for one in facts if isinstance(one, AlertDetached)}
    assert told == {f"{long[:200]}…"}
    assert left == (set() if whole is IncidentMerged else told)
    assert long in str(only(whole, facts))


def test_later_alerts_follow_what_was_split_off() -> None:
    engine = engine_after([*TWO, (at(800), Split(AMS, (slow("ams").fingerprint,), "ann"))])

    engine.step(over(slow("ams")), at(810))
    joined = only(AlertJoined, engine.step(slow("ams"), at(820)))

    assert joined.incident == "INC-000003"


def test_what_was_split_off_resolves_when_all_of_it_has_cleared() -> None:
    fingerprint = slow("ams").fingerprint
    clears: Feed = [(at(790), over(slow("ams"))), (at(795), Split(AMS, (fingerprint,), "ann"))]
    engine = engine_after([*TWO, *clears])

    facts = run(engine, [(at(855), TICK)])

    assert only(IncidentResolved, facts) == IncidentResolved(
        at(855), "INC-000003", EndReason.CLEARED
    )


def test_what_fires_on_where_it_was_split_off_takes_up_what_else_happens_there() -> None:
    split: Feed = [(at(710), Split(FRA, (down("fra").fingerprint,), "ann"))]
    engine = engine_after([*TWO, *split])
    fan = event("fan", ci="sw-fra", service="")

    run(engine, [(at(1600), fan), (at(2100), TICK)])

    assert engine.alert(fan.fingerprint).incident == "INC-000003"


def test_alerts_of_a_rule_are_split_off_too() -> None:
    feed: Feed = [(at(1), SHOP), (at(2), event("b")), (at(3), event("c"))]
    engine = engine_after(feed, *RULES)
    leaving = (event("b").fingerprint, event("c").fingerprint)

    facts = engine.step(Split("INC-000001", leaving, "ann"), at(4))

    assert only(IncidentOpened, facts).incident.title == "b on db1 and 1 more alert"
    assert (engine.incident("INC-000001").alerts, engine.incident("INC-000002").alerts) == (1, 2)


def test_a_resolved_incident_is_not_split() -> None:
    engine = engine_after([*TWO, (at(800), Resolve(AMS, "ann"))])

    said = rejected(engine, Split(AMS, (slow("ams").fingerprint,), "ann"))

    assert said.error == f"{AMS} is resolved; reopen it first"


@pytest.mark.parametrize(
    ("order", "left"),
    [
        (Merge(AMS, FRA, "ann"), FRA),
        (Split(AMS, (slow("ams").fingerprint,), "ann"), "INC-000003"),
        (Detach(AMS, slow("ams").fingerprint, "ann"), ""),
    ],
)
def test_what_fired_twice_before_it_was_raised_moves_with_its_alert(
    order: Input, left: str
) -> None:
    again: Feed = [(at(4 + n), one) for n, one in enumerate((slow("ams"), over(slow("ams"))))]
    engine = engine_after([*TWO[:3], (at(3), over(slow("ams"))), *again, *TWO[3:]])
    alert = engine.alert(slow("ams").fingerprint)
    assert (alert.episode, alert.incident) == (2, AMS)

    engine.step(order, at(800))

    assert engine.alert(alert.fingerprint).incident == left


def test_what_is_forgotten_is_not_split_off() -> None:
    engine = engine_after([*TWO, (at(790), over(slow("ams"))), (at(90_000), TICK)])

    said = rejected(engine, Split(AMS, (slow("ams").fingerprint,), "ann"), 90_000)

    assert (said.missing, said.error) == (True, "eventd remembers none of these alerts")


# -- detach -------------------------------------------------------------------------------------


def test_a_detached_alert_belongs_to_no_incident() -> None:
    engine = two()
    fingerprint = slow("ams").fingerprint

    facts = engine.step(Detach(AMS, fingerprint, "ann", "a test"), at(800))

    assert facts == (AlertDetached(at(800), AMS, fingerprint, 1, True, "", "ann", "a test"),)
    assert [(root.ci, root.explains, root.of) for root in engine.incident(AMS).roots] == [
        ("sw-ams", 1, 1)
    ]
    assert engine.alert(fingerprint).incident == ""
    assert engine.incident(AMS).firing == 1


def test_a_root_that_is_detached_is_none_any_more() -> None:
    engine = engine_after([*TWO[:3], (at(3), slow("ams", "b")), (at(700), TICK)])

    facts = engine.step(Detach(AMS, down("ams").fingerprint, "ann", "a test"), at(800))

    assert [root.ci for root in only(IncidentRanked, facts).roots] == [
        "ams-appa",
        "ams-appb",
        "sw-ams",  # which says nothing that belongs here
    ]
    assert not engine.correlation.table.on.get("sw-ams")


def test_a_storm_is_ranked_anew_only_where_a_root_is_detached() -> None:
    wide = inventory(Ci("sw"), *(Ci(f"app{n}", depends_on=("sw",)) for n in range(RANKED + 1)))
    apps = [event("slow", ci=f"app{n}", service="") for n in range(RANKED + 1)]
    root = event("down", ci="sw", severity=Severity.CRITICAL, service="")
    engine = engine_after([(at(0), wide), *((at(1), one) for one in (root, *apps)), (at(99), TICK)])
    before = engine.incident(AMS).roots

    engine.step(Detach(AMS, apps[-1].fingerprint, "ann"), at(100))
    assert engine.incident(AMS).roots == before
    engine.step(Detach(AMS, root.fingerprint, "ann"), at(101))

    assert (before[0].ci, before[0].silent) == ("sw", False)
    assert all(one.ci != "sw" or one.silent for one in engine.incident(AMS).roots)


def test_what_an_older_inventory_counted_goes_with_the_last_that_says_anything() -> None:
    """Only noisy members may be left: no CI of the cluster alerts then."""
    engine = engine_after([*TWO[:3], (at(40), inventory(*(Ci(one.name) for one in CIS)))])
    table = engine.correlation.table
    (cluster,) = table.clusters.values()

    table.take_out(cluster, list(cluster.members.values()))

    assert (cluster.cis, cluster.below, table.under) == ({}, {}, {})


def test_what_a_newer_inventory_adds_counts_from_the_next_ci_on() -> None:
    newer = inventory(Ci("new"), Ci("sw-ams"), Ci("ams-appa", depends_on=("sw-ams", "new")))
    hot = event("hot", ci="ams-appa", service="")
    engine = engine_after([*TWO[:3], (at(40), newer), (at(41), hot)])

    (cluster,) = engine.correlation.table.clusters.values()

    assert hot.fingerprint in cluster.members
    assert list(cluster.below) == ["sw-ams"]


def test_a_root_that_a_rule_names_stays_the_first() -> None:
    table = two().incident_table
    named = (RootCandidate("sw-ams", 1.0, 2, 2, rule="down"),)
    table.records[AMS].roots = named

    assert table.ranked(AMS, (RootCandidate("ams-appa", 2.0, 2, 2),), at(900)) == []
    assert table.records[AMS].roots == named


def test_a_storm_that_is_split_is_none_after_a_restart_either() -> None:
    wide = inventory(Ci("sw"), *(Ci(f"app{n}", depends_on=("sw",)) for n in range(STORM_CIS)))
    apps = [event("slow", ci=f"app{n}", service="") for n in range(STORM_CIS)]
    engine = engine_after([(at(0), wide), *((at(1), one) for one in apps), (at(99), TICK)])
    assert engine.correlation.table.storms

    engine.step(Detach(AMS, apps[0].fingerprint, "ann"), at(100))

    assert engine.correlation.table.storms == revived(engine).correlation.table.storms == {}


def test_what_another_alert_says_of_the_ci_stays() -> None:
    twice = event("slow", ci="ams-appa", service="", source="nagios")
    engine = engine_after([*TWO[:3], (at(3), twice), (at(700), TICK)])

    engine.step(Detach(AMS, twice.fingerprint, "ann"), at(800))

    (cluster,) = engine.correlation.table.clusters.values()
    assert list(cluster.cis) == ["sw-ams", "ams-appa"]
    assert cluster.names["slow"].firing == 1


def test_what_is_detached_may_have_joined_under_another_inventory() -> None:
    engine = engine_after(
        [*TWO[:4], (at(50), inventory(Ci("rack"), Ci("ams-appa", depends_on=("rack",))))]
    )

    engine.step(Detach(AMS, slow("ams").fingerprint, "ann"), at(60))

    (cluster,) = engine.correlation.table.clusters.values()
    assert list(cluster.cis) == ["sw-ams"]


@pytest.mark.parametrize("rules", [[], RULES])
def test_nothing_takes_a_detached_alert_up_until_it_fires_anew(
    rules: list[dict[str, object]],
) -> None:
    feed: Feed = [
        (at(1), event("a", severity=Severity.CRITICAL)),
        (at(2), event("b", severity=Severity.CRITICAL)),
        (at(100), TICK),
        (at(300), Detach("INC-000001", event("b").fingerprint, "ann")),
    ]
    engine = engine_after(feed, *rules)
    later: Feed = [
        (at(310), event("b", severity=Severity.CRITICAL)),
        (at(311), event("b", severity=Severity.WARNING)),
        (at(312), event("b", severity=Severity.CRITICAL)),
        (at(313), clear("b")),
    ]

    facts = run(engine, later)
    again = engine.step(event("b", severity=Severity.CRITICAL), at(320))

    assert not [fact for fact in facts if isinstance(fact, (AlertJoined, IncidentOpened))]
    assert only(AlertJoined, again).incident == "INC-000001"


def test_a_finding_over_several_alerts_leaves_a_detached_one_out() -> None:
    many = threshold_rule("many", count=2, by=["ci"], within="10m")
    feed: Feed = [
        (at(1), SHOP),
        (at(2), event("b")),
        (at(3), Detach("INC-000001", event("b").fingerprint, "ann")),
        (at(4), Close("INC-000001", "ann")),
    ]
    engine = engine_after(feed, many)

    facts = engine.step(event("c"), at(5))

    joined = {fact.fingerprint for fact in facts if isinstance(fact, AlertJoined)}
    assert event("b").fingerprint not in joined


def test_with_its_last_firing_alert_detached_an_incident_starts_to_resolve() -> None:
    feed: Feed = [
        (at(1), SHOP),
        (at(2), event("b")),
        (at(3), clear("a")),
        (at(4), Detach("INC-000001", event("b").fingerprint, "ann")),
    ]

    facts = run(engine_after(feed, *RULES), [(at(64), TICK)])

    assert only(IncidentResolved, facts).reason is EndReason.CLEARED


def test_a_cleared_alert_is_detached_and_may_come_back() -> None:
    feed: Feed = [
        (at(1), SHOP),
        (at(2), event("b")),
        (at(3), clear("b")),
        (at(4), Detach("INC-000001", event("b").fingerprint, "ann")),
    ]

    facts = engine_after(feed, *RULES).step(event("b"), at(5))

    assert only(AlertJoined, facts).incident == "INC-000001"


def test_an_episode_that_is_elsewhere_now_moves_without_its_alert() -> None:
    feed: Feed = [
        *OF_RULES,
        (at(3), event("c")),
        (at(4), clear("c")),
        (at(5), silence('name="c"', at(3600))),
        (at(6), event("c")),
        (at(7), Merge("INC-000001", "INC-000002", "ann")),
    ]

    engine = engine_after(feed, *RULES)

    assert engine.alert(event("c").fingerprint).incident == ""
    assert (engine.incident("INC-000002").alerts, engine.incident("INC-000002").firing) == (3, 2)


# -- resolve, close, reopen of what the correlation raised -------------------------------------


def test_what_was_resolved_by_hand_is_not_resolved_again_but_reopened_by_a_new_alert() -> None:
    engine = engine_after([*TWO, (at(800), Resolve(AMS, "ann"))])

    quiet = run(engine, [(at(810), over(slow("ams"))), (at(1300), TICK)])
    facts = engine.step(slow("ams"), at(1310))

    assert not [f for f in quiet if isinstance(f, IncidentResolved) and f.incident == AMS]
    assert only(IncidentReopened, facts) == IncidentReopened(at(1310), AMS, EndReason.FIRED)


def test_what_gets_worse_does_not_reopen_what_was_resolved_by_hand() -> None:
    minor = event("slow", service="", severity=Severity.MINOR)
    feed: Feed = [
        (at(0), minor),
        (at(1900), TICK),
        (at(1990), event("fan", service="", severity=Severity.MINOR)),  # it waits
        (at(2000), Resolve(AMS, "ann")),
        (at(2050), event("slow", service="", severity=Severity.MAJOR)),
    ]

    engine = engine_after(feed)

    assert engine.incident(AMS).state is IncidentState.RESOLVED
    assert engine.incident(AMS).alerts == 1


def test_nor_where_another_was_merged_into_it_since() -> None:
    feed: Feed = [
        (at(0), event("down", ci="far", service="")),
        (at(601), event("slow", service="", severity=Severity.MINOR)),
        (at(2550), clear("down", ci="far", service="")),
        (at(2590), event("fan", service="")),  # it waits
        (at(2600), Resolve("INC-000002", "ann")),
        (at(2610), Merge("INC-000001", "INC-000002", "ann")),
        (at(2650), event("slow", service="", severity=Severity.MAJOR)),
        (at(2900), TICK),
    ]

    engine = engine_after(feed)

    assert engine.incident("INC-000002").state is IncidentState.RESOLVED
    assert engine.alert(event("fan", service="").fingerprint).incident == "INC-000003"


def test_what_was_closed_by_hand_is_forgotten() -> None:
    engine = engine_after([*TWO, (at(800), Close(AMS, "ann"))])

    facts = run(engine, [(at(810), slow("ams", "b")), (at(1100), TICK)])

    assert only(IncidentOpened, facts).incident.id == "INC-000003"
    assert engine.incident(AMS).alerts == 2


def test_what_was_reopened_by_hand_stays_open_until_all_its_alerts_clear() -> None:
    feed: Feed = [(at(800), Resolve(AMS, "ann")), (at(801), Reopen(AMS, "ann"))]
    engine = engine_after([*TWO, *feed])

    run(engine, [(at(810), over(slow("ams"))), (at(2000), TICK)])
    assert engine.incident(AMS).state is IncidentState.OPEN

    facts = run(engine, [(at(2010), over(down("ams"))), (at(2070), TICK)])
    assert only(IncidentResolved, facts) == IncidentResolved(at(2070), AMS, EndReason.CLEARED)
    assert only(AlertCleared, facts).incident == AMS


@pytest.mark.parametrize(
    "command",
    [
        Merge(FRA, AMS, "ann"),
        Split(AMS, (slow("ams").fingerprint,), "ann"),
        Detach(AMS, slow("ams").fingerprint, "ann"),
    ],
)
def test_an_order_survives_a_restart(command: Input) -> None:
    engine = engine_after([*TWO, (at(800), command)])
    twin = revived(engine)
    feed: Feed = [
        (at(810), slow("ams", "b")),
        (at(811), over(slow("ams"))),
        (at(812), slow("ams")),
        (at(1500), TICK),
    ]

    assert run(engine, feed) == run(twin, feed)
    assert frames(engine) == frames(twin)


def _reborn() -> Engine:
    """`a` is a member of one incident, was forgotten since, and fires in the other."""
    feed: Feed = [
        (at(0), started(forget_after=100.0)),
        *((at(1), event(name)) for name in "abc"),
        (at(2), clear("a")),
        (at(200), load(group_rule("by-name", by=["name"]), version="v2")),
        (at(201), event("a")),
    ]
    engine = engine_after(feed, group_rule())
    assert [(one.alerts, one.firing) for one in engine.incidents()] == [(3, 2), (1, 1)]
    return engine


@pytest.mark.parametrize("order", [Detach, Merge, Split])
def test_an_alert_that_was_forgotten_and_fires_elsewhere_stays_there(order: type) -> None:
    engine, again = _reborn(), event("a").fingerprint
    orders: dict[type, Input] = {
        Detach: Detach("INC-000001", again, "ann"),
        Merge: Merge("INC-000001", "INC-000003", "ann"),
        Split: Split("INC-000001", (again, event("b").fingerprint), "ann"),
    }
    run(engine, [(at(210), event("z"))])

    told = run(engine, [(at(220), orders[order])])

    assert [one for one in told if isinstance(one, CommandRejected)] == []
    assert engine.alert(again).incident == "INC-000002"
    firing = {one.id: one.firing for one in engine.incidents()}
    assert firing["INC-000002"] == 1
    assert sum(firing.values()) == 4
    assert run(engine, [(at(221), clear("a"))]) != []
    assert engine.incident("INC-000002").firing == 0


def test_of_alerts_that_were_forgotten_no_incident_is_made() -> None:
    split = Split("INC-000001", (event("a").fingerprint,), "ann")

    assert only(CommandRejected, run(_reborn(), [(at(220), split)])).missing


def test_a_detached_alert_whose_clear_may_be_lost_does_not_come_back_when_it_is_repeated() -> None:
    one = slow("ams", "b")
    engine = engine_after([*TWO, (at(740), silence('ci="ams-appb"', at(750))), (at(741), one)])
    joined = run(engine, [(at(751), TICK)])
    assert only(AlertJoined, joined).incident == AMS

    told = run(engine, [(at(752), Detach(AMS, one.fingerprint, "ann")), (at(780), one)])

    assert [fact for fact in told if isinstance(fact, AlertJoined)] == []
