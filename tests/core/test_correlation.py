"""Correlation without rules: what is one incident, when it is raised, and when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
from tests.bank import MAJOR, WARNING, bank, down, facts, later, members, opened
from tests.builders import (
    T0,
    TICK,
    at,
    clear,
    event,
    group_rule,
    inventory,
    only,
    revived,
    run,
    silence,
    started,
    threshold_rule,
)
from tests.properties.recount import agrees

from eventd.core.correlation import parameters
from eventd.core.correlation.affinity import Link
from eventd.core.engine import Engine
from eventd.core.model import (
    AlertAlone,
    AlertCleared,
    AlertDetached,
    AlertFlapping,
    AlertJoined,
    Ci,
    ClearReason,
    Close,
    Correlated,
    EndReason,
    Event,
    IncidentClosed,
    IncidentMerged,
    IncidentReopened,
    IncidentResolved,
    IncidentSplit,
    IncidentState,
    Severity,
    Split,
    Status,
    Tie,
    Why,
)

CASCADE = ((0, down("web")), (5, down("shop")), (12, down("db-a")), (15, down("san-a")))


# -- what is one incident --------------------------------------------------------------------


def test_a_cascade_is_one_incident_with_the_right_root_first() -> None:
    engine = bank(*CASCADE, until=20)

    assert members(engine) == {"INC-000001": ["db-a", "san-a", "shop", "web"]}
    incident = engine.incident("INC-000001")
    assert incident.title == "down on san-a and 3 more CIs"
    assert incident.roots[0].ci == "san-a"
    assert incident.opened_at == at(20)


def test_what_comes_after_the_raise_joins_with_its_reason() -> None:
    engine = bank(*CASCADE, until=20)

    joined = only(AlertJoined, later(engine, (60, down("pay"))))

    assert joined.incident == "INC-000001"
    assert reason(joined) == (Tie.DEPENDS, "san-a", 2)


def reason(joined: AlertJoined) -> tuple[Tie, str, int]:
    """What ties the alert to its incident, through what, over how many hops."""
    assert isinstance(joined.because, Correlated)
    return joined.because.tie, joined.because.via, joined.because.hops


def test_two_incidents_with_a_shared_victim_stay_two() -> None:
    two = ((0, down("shop")), (1, down("web")), (2, down("mail")), (3, down("hr")))
    engine = bank(*two, until=250)

    told = later(engine, (251, down("portal")), until=2_000)

    assert not [fact for fact in told if isinstance(fact, IncidentMerged)]
    assert members(engine) == {
        "INC-000001": ["shop", "web"],
        "INC-000002": ["hr", "mail", "portal"],
    }


def test_a_victim_with_a_cause_that_alerts_proves_no_silent_one() -> None:
    """Nor a likeness, nor an island; what it causes itself is another matter."""
    correlation = bank((0, down("shop")), (5, down("portal"))).correlation
    (cluster,) = correlation.table.clusters.values()
    other = {tie: Link(0.6, tie, "nas") for tie in Tie}

    refused = [
        tie for tie, link in other.items() if correlation._has_other_cause(cluster, "portal", link)
    ]

    assert refused == [Tie.DEPENDS, Tie.COMMON, Tie.ALIKE, Tie.ISLAND]
    assert not any(correlation._has_other_cause(cluster, "shop", other[tie]) for tie in refused)


def test_alerts_on_what_has_nothing_in_common_are_two() -> None:
    engine = bank((0, down("shop")), (1, down("web")), (2, down("mail")), (3, down("hr")), until=60)

    assert members(engine) == {"INC-000001": ["shop", "web"], "INC-000002": ["hr", "mail"]}


def test_a_root_that_comes_late_makes_one_cluster_of_two() -> None:
    engine = bank((0, down("shop")), (1, down("pay")), (8, down("san-a")), until=30)

    assert members(engine) == {"INC-000001": ["pay", "san-a", "shop"]}


def test_a_root_makes_one_of_two_raised_incidents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "COVER", 0.0)  # what says nothing makes them one too soon
    engine = bank(
        (0, down("shop")), (1, down("web")), (2, down("db-b")), (3, down("pay")), until=50
    )
    assert len(members(engine)) == 2

    told = later(engine, (55, down("san-a")))

    merged = only(IncidentMerged, told)
    assert (merged.incident, merged.into) == ("INC-000002", "INC-000001")
    assert only(IncidentClosed, told).reason is EndReason.MERGED
    assert engine.incident("INC-000002").merged_into == "INC-000001"
    assert members(engine) == {"INC-000001": ["db-b", "pay", "san-a", "shop", "web"]}


def test_a_lone_victim_is_absorbed_by_what_explains_it_before_it_is_raised() -> None:
    engine = bank((0, down("web", severity=MAJOR)), (150, down("san-a")), (151, down("db-a")))
    later(engine, (152, down("shop")), until=400)

    assert members(engine) == {"INC-000001": ["db-a", "san-a", "shop", "web"]}


def test_what_hangs_together_by_one_silent_cause_is_one_and_names_it() -> None:
    engine = beside_hub("uvwxyz")
    run(engine, [(at(n), down(ci, ci)) for n, ci in enumerate("uvwxyz")])

    (incident,) = opened(later(engine, until=100))

    assert incident.title == "hub is silent, 6 CIs depend on it: u on u"
    assert (incident.roots[0].ci, incident.roots[0].silent) == ("hub", True)


def test_a_hub_is_no_explanation_for_two_of_many() -> None:
    engine = beside_hub("klmnopqrst")
    run(engine, [(at(1), down("k", "one")), (at(2), down("l", "other"))])

    told = later(engine, until=300)

    assert len(opened(told)) == 2


def beside_hub(names: str) -> Engine:
    """An inventory of things that depend on one hub."""
    engine = Engine()
    run(engine, [(T0, inventory(Ci("hub"), *(Ci(name, depends_on=("hub",)) for name in names)))])
    return engine


def test_a_change_makes_a_suspect_and_is_told() -> None:
    change = event("deploy", ci="shop", status=Status.CHANGE)
    engine = bank((0, change), (60, down("shop")), (65, down("web")), until=120)

    (root, *_) = engine.incident("INC-000001").roots
    assert (root.ci, root.changed) == ("shop", 60.0)


def test_what_was_changed_a_moment_ago_is_less_likely_a_consequence() -> None:
    def because(*before: tuple[float, Event]) -> float:
        engine = bank((0, down("db-a")), *before, until=299)
        joined = only(AlertJoined, later(engine, (300, down("shop"))))
        assert isinstance(joined.because, Correlated)
        return joined.because.score

    change = event("deploy", ci="shop", status=Status.CHANGE)
    assert because((200, change)) == because() / 2


def test_what_was_changed_is_no_root_of_what_began_before() -> None:
    before = ((0, down("web")), (1, down("portal")), (300, down("shop")))
    change = event("deploy", ci="shop", status=Status.CHANGE)

    assert members(bank(*before, until=900)) == {"INC-000001": ["portal", "shop", "web"]}
    assert members(bank(*before, (200, change), until=900)) == {
        "INC-000001": ["portal", "web"],
        "INC-000002": ["shop"],
    }


def test_what_follows_from_a_change_is_not_taken_up_by_what_went_on_before() -> None:
    correlation = bank((0, down("mail")), (300, down("shop")), until=320).correlation
    first, second = correlation.table.clusters.values()

    assert not correlation._was_changed("shop", second, first)
    correlation.changes["shop"] = second.born - 100
    assert correlation._was_changed("shop", second, first)
    assert not correlation._was_changed("shop", first, second)


def test_a_storm_of_alike_names_without_edges_is_one() -> None:
    unrelated = inventory(*(Ci(f"atm-{n}") for n in range(1, 30)))
    engine = bank()
    run(engine, [(at(0), unrelated), *((at(n), down(f"atm-{n}")) for n in range(1, 30))])
    later(engine, until=400)

    assert {len(cis) for cis in members(engine).values()} == {29}


def test_islands_near_in_time_are_one_and_far_in_time_are_two() -> None:
    near = bank((0, down("x")), (10, down("y", "lost")), until=100)
    far = bank((0, down("x")), (400, down("y", "lost")), until=1_000)

    assert members(near) == {"INC-000001": ["x", "y"]}
    assert members(far) == {"INC-000001": ["x"], "INC-000002": ["y"]}


def test_nothing_is_known_of_an_alert_without_a_ci_but_that_it_is_alone() -> None:
    engine = bank((0, event("login", ci="", service="", severity=MAJOR)), until=300)

    assert engine.incident("INC-000001").title == "login on somewhere"


# -- when it is raised -------------------------------------------------------------------------


def test_much_evidence_is_raised_soon_and_little_late() -> None:
    much = facts((0, down("shop")), (1, down("web")), (2, down("db-a")), until=900)
    fair = facts((0, down("shop")), (1, down("web")), until=900)
    grave = facts((0, down("shop")), until=900)
    slight = facts((0, down("shop", severity=WARNING)), until=900)

    assert [opened(told)[0].opened_at for told in (much, fair, grave, slight)] == [
        at(20), at(40), at(200), at(280),
    ]  # fmt: skip


def test_a_blip_raises_nothing_and_is_told_to_stand_alone() -> None:
    told = facts((0, down("shop")), (60, clear("down", ci="shop")), until=3_000)

    assert opened(told) == []
    alone = only(AlertAlone, told)
    assert (alone.at, alone.why) == (at(660), Why.BLIP)


def test_what_stands_alone_says_what_it_was_nearest_to_and_what_would_have_tied_it() -> None:
    told = facts(
        (0, down("nas")), (100, down("spare")), (150, clear("down", ci="spare")), until=3_000
    )

    near = only(AlertAlone, told).near
    assert near is not None
    assert near.tie is Tie.OPENS
    assert (near.other_tie, near.other_via, near.other_hops) == (Tie.DEPENDS, "nas", 1)
    assert 0 < near.other_score < near.needed


def test_information_is_not_correlated() -> None:
    told = facts((0, down("shop", severity=Severity.INFO)), until=3_000)

    assert only(AlertAlone, told).why is Why.INFO
    assert opened(told) == []


def test_an_alert_that_worsens_counts_as_what_it_has_become() -> None:
    told = facts(
        (0, down("shop", severity=WARNING)),
        (1, down("web", severity=WARNING)),
        (50, down("shop")),
        (52, down("web")),
        until=300,
    )

    (incident,) = opened(told)
    assert incident.opened_at == at(52)


# -- checks that cry wolf ----------------------------------------------------------------------


# The check of the CPU cries wolf, an hour apart.
WOLF = tuple(
    told
    for n in range(4)
    for told in (
        (3_600 * n - 20_000, down("fax", "cpu", MAJOR)),
        (3_600 * n - 19_940, clear("cpu", ci="fax")),
    )
)


def test_a_check_that_cries_wolf_is_not_raised_by_itself() -> None:
    engine = bank(*WOLF, (0, down("shop", "cpu", MAJOR)), until=5_000)

    assert members(engine) == {}


def test_it_joins_what_explains_it_and_leaves_when_it_clears_at_once() -> None:
    engine = bank(*WOLF, *CASCADE, (30, down("web", "cpu", MAJOR)), until=31)
    assert members(engine)["INC-000001"].count("web") == 2

    told = later(engine, (90, clear("cpu", ci="web")))

    detached = only(AlertDetached, told)
    assert (detached.incident, detached.fires, detached.into) == ("INC-000001", False, "")
    alone = only(AlertAlone, told)
    assert (alone.why, alone.blips, alone.reals) == (Why.NOISY, 4, 0)
    assert members(engine)["INC-000001"].count("web") == 1


def again(ci: str, times: int, since: float, every: float) -> Iterator[tuple[float, Event]]:
    """It clears and fires anew."""
    for n in range(times):
        yield since + every * n, clear("cpu", ci=ci, payload=f"c{n}")
        yield since + every * n + every / 2, down(ci, "cpu", MAJOR, payload=f"f{n}")


def episodes_kept(engine: Engine) -> int:
    """The most of any member."""
    clusters = engine.correlation.table.clusters.values()
    return max(len(one.episodes) for cluster in clusters for one in cluster.members.values())


def test_episodes_that_an_incident_was_told_of_are_not_kept() -> None:
    """A service that comes and goes for weeks would fill the memory."""
    engine = bank(*CASCADE, (30, down("web", "cpu", MAJOR)), until=400)

    told = later(engine, *again("web", 50, since=400, every=100))

    joined = [one.episode for one in told if isinstance(one, AlertJoined)]
    assert joined == list(range(2, 52))
    assert episodes_kept(engine) == 1


def test_of_more_episodes_than_are_kept_until_it_is_raised_the_oldest_stand_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parameters, "MAX_EPISODES", 3)
    engine = bank((0, down("hr", "cpu", MAJOR)), until=1)

    told = later(engine, *again("hr", 5, since=2, every=4))

    alone = [(one.episode, one.why) for one in told if isinstance(one, AlertAlone)]
    assert alone == [(1, Why.BLIP), (2, Why.BLIP)]
    assert [one.episode for one in told if isinstance(one, AlertJoined)] == [3, 4, 5, 6]
    assert episodes_kept(engine) == 1


def test_it_stays_where_it_lasts() -> None:
    engine = bank(*WOLF, *CASCADE, (30, down("web", "cpu", MAJOR)), (500, clear("cpu", ci="web")))

    assert members(engine)["INC-000001"].count("web") == 2


def test_what_flaps_is_raised_though_it_cries_wolf() -> None:
    told = facts(
        *WOLF,
        *((100.0 * n, down("fax", "cpu", MAJOR)) for n in range(8)),
        *((100.0 * n + 50, clear("cpu", ci="fax")) for n in range(8)),
        until=8_000,
    )

    assert [fact.on for fact in told if isinstance(fact, AlertFlapping)] == [True, False]
    assert len(opened(told)) == 1


def test_a_check_that_was_right_before_is_believed_sooner() -> None:
    earlier = [(-20_000 + n, down(ci)) for n, ci in enumerate(("web", "shop", "db-a", "san-a"))]
    over = [
        (-19_000 + n, clear("down", ci=ci)) for n, ci in enumerate(("web", "shop", "db-a", "san-a"))
    ]
    engine = bank(*earlier, *over, (0, down("hr")), until=31)

    assert "INC-000002" in members(engine)


# -- when it is over ---------------------------------------------------------------------------

ENDS = tuple((600 + n, clear("down", ci=ci)) for n, ci in enumerate(("web", "shop", "db-a")))


def test_it_resolves_when_most_is_clear_and_takes_the_rest_for_lost() -> None:
    told = facts(*CASCADE, *ENDS, until=2_000)

    resolved = only(IncidentResolved, told)
    assert (resolved.at, resolved.reason) == (at(902), EndReason.SUBSIDED)
    lost = [f for f in told if isinstance(f, AlertCleared) and f.reason is ClearReason.LOST]
    assert [(fact.at, fact.incident) for fact in lost] == [(at(902), "INC-000001")]


def test_it_resolves_as_cleared_when_all_is_clear() -> None:
    told = facts(*CASCADE, *ENDS, (700, clear("down", ci="san-a")), until=2_000)

    assert only(IncidentResolved, told).reason is EndReason.CLEARED


def test_what_is_still_repeated_keeps_it_open() -> None:
    told = facts(*CASCADE, *ENDS, (800, down("san-a", payload="again")), until=1_150)

    assert not [fact for fact in told if isinstance(fact, IncidentResolved)]


def test_a_new_firing_within_ten_minutes_reopens_it_and_after_that_is_another() -> None:
    over = (*CASCADE, *((60 + n, clear("down", ci=one.ci)) for n, (_, one) in enumerate(CASCADE)))
    soon, late = bank(*over, until=400), bank(*over, until=400)
    assert soon.incident("INC-000001").state is IncidentState.RESOLVED

    reopened = later(soon, (410, down("shop")))
    another = later(late, (1_600, down("shop")), until=1_900)

    assert only(IncidentReopened, reopened).incident == "INC-000001"
    assert [incident.id for incident in opened(another)] == ["INC-000002"]


def test_what_was_closed_by_hand_is_final() -> None:
    engine = bank(*CASCADE, until=30)
    run(engine, [(at(60), Close("INC-000001", "ann"))])

    told = later(engine, (90, down("pay")), *ENDS, until=4_000)

    assert [incident.id for incident in opened(told)] == ["INC-000002"]
    assert engine.incident("INC-000002").alerts == 1
    assert list(engine.correlation.table.clusters) == [2]


# -- rules come first ----------------------------------------------------------------------------


def test_where_a_rule_claims_one_the_rest_of_the_cluster_joins_its_incident() -> None:
    rule = group_rule("stores", 'name="full"', by=["ci"])
    engine = bank((0, down("web")), (1, down("shop")), rules=[rule])

    told = later(engine, (5, down("db-a", "full")), (9, down("web", "slow")), until=400)

    assert [incident.rule for incident in opened(told)] == ["stores"]
    assert members(engine) == {"INC-000001": ["db-a", "shop", "web", "web"]}


def test_an_incident_that_was_raised_goes_into_the_rules() -> None:
    rule = group_rule("stores", 'name="full"', by=["ci"])
    engine = bank((0, down("web")), (1, down("shop")), until=50, rules=[rule])

    told = later(engine, (60, down("db-a", "full")))

    assert only(IncidentMerged, told).into == "INC-000002"
    assert members(engine) == {"INC-000002": ["db-a", "shop", "web"]}


def test_what_a_count_takes_later_is_in_no_other_incident() -> None:
    rule = threshold_rule("many", 'name="down"', count=3, by=["name"])
    engine = bank((0, down("web")), (5, down("shop")), (9, down("pay")), until=600, rules=[rule])

    assert members(engine) == {"INC-000001": ["pay", "shop", "web"]}


# -- splitting -----------------------------------------------------------------------------------


def test_what_has_another_root_is_split_off_at_the_review_and_stays_apart() -> None:
    alike = inventory(
        *(
            ci
            for n in (1, 2)
            for ci in (
                Ci(f"core{n}"),
                Ci(f"edge{n}a", depends_on=(f"core{n}",)),
                Ci(f"edge{n}b", depends_on=(f"core{n}",)),
            )
        )
    )
    names = ("core1", "edge1a", "edge1b", "core2", "edge2a", "edge2b")
    engine = bank()
    told = run(
        engine,
        [
            (at(0), alike),
            *((at(n), down(name)) for n, name in enumerate(names)),
            (at(600), TICK),
        ],
    )

    split = only(IncidentSplit, told)
    assert (split.incident, split.apart) == ("INC-000001", "INC-000002")
    assert members(engine) == {
        "INC-000001": ["core1", "edge1a", "edge1b"],
        "INC-000002": ["core2", "edge2a", "edge2b"],
    } or members(engine) == {
        "INC-000001": ["core2", "edge2a", "edge2b"],
        "INC-000002": ["core1", "edge1a", "edge1b"],
    }
    detached = [fact for fact in told if isinstance(fact, AlertDetached)]
    assert {fact.into for fact in detached} == {"INC-000002"}


def test_what_a_review_has_split_no_review_absorbs_again() -> None:
    sites = inventory(
        *(
            ci
            for n in (1, 2)
            for ci in (Ci(f"sw{n}"), *(Ci(f"host{n}{m}", depends_on=(f"sw{n}",)) for m in range(7)))
        )
    )
    names = ("sw1", "sw2", *(f"host{n}{m}" for m in range(7) for n in (1, 2)))
    engine = bank()
    told = run(
        engine,
        [(at(0), sites), *((at(n), down(name)) for n, name in enumerate(names)), (at(5_000), TICK)],
    )

    assert only(IncidentSplit, told).apart == "INC-000002"
    assert [fact for fact in told if isinstance(fact, IncidentMerged)] == []
    assert sorted(map(len, members(engine).values())) == [8, 8]


# -- time ------------------------------------------------------------------------------------------


def test_a_late_delivery_belongs_to_when_it_began() -> None:
    late = down("web", "slow", occurred_at=at(10))
    engine = bank(*CASCADE, (900, late), until=901)

    joined = members(engine)["INC-000001"]

    assert joined.count("web") == 2


def test_a_clock_that_is_off_all_the_time_is_not_a_late_delivery() -> None:
    skew = -1_500.0  # s
    before = [
        (-9_000 + 1_000 * n, down("fax", f"n{n}", occurred_at=at(-9_000 + 1_000 * n + skew)))
        for n in range(4)
    ]
    engine = bank(*before, until=-1)

    onset = engine.correlation.onsets.of("fax", at(skew).timestamp(), at(0).timestamp())

    assert onset == at(0).timestamp()


def test_another_inventory_changes_nothing_of_what_was_gathered_before() -> None:
    cut = inventory(Ci("web"), Ci("shop"), Ci("san-a"), version="i2")
    engine = bank((0, down("web")), (1, down("shop")))
    run(engine, [(at(2), cut), (at(3), down("san-a", severity=MAJOR))])

    later(engine, (4, down("db-a")), until=300)

    assert members(engine) == {"INC-000001": ["db-a", "san-a", "shop", "web"]}


# -- finer points ----------------------------------------------------------------------------------


def test_a_consequence_that_is_seen_before_its_cause_fades_sooner() -> None:
    def score(second: float) -> float:
        effect = down("shop", "slow", occurred_at=at(500 + second))
        engine = bank((500, down("db-a")), until=800)
        joined = only(AlertJoined, later(engine, (810, effect)))
        assert isinstance(joined.because, Correlated)
        return joined.because.score

    assert score(-60) < score(60)


def test_two_alerts_of_one_name_on_one_ci_are_one_piece_of_evidence() -> None:
    engine = bank(
        (0, down("shop", severity=MAJOR)),
        (1, down("shop", source="nagios")),
        (2, down("shop", severity=WARNING, source="icinga")),
    )
    (cluster,) = engine.correlation.table.clusters.values()
    assert cluster.weight() == 1.0

    for source in ("zabbix", "nagios", "icinga"):
        later(engine, (5, clear("down", ci="shop", source=source)))

    assert cluster.weight() == 0.0


def test_what_is_suppressed_while_it_waits_is_not_raised() -> None:
    engine = bank((0, down("shop")))
    run(engine, [(at(10), silence('name="down"', at(5_000)))])

    told = later(engine, (20, down("shop", payload="again")), until=3_000)

    assert opened(told) == []


def test_where_room_is_made_for_others_nothing_speaks_for_what_is_forgotten() -> None:
    engine = bank()
    run(engine, [(at(0), started(max_alerts=2))])

    names = ("web", "shop", "db-a", "san-a", "pay", "db-b")
    told = later(engine, *((float(n), down(ci)) for n, ci in enumerate(names)), until=900)

    assert len(opened(told)) == 1


def test_a_flapping_alert_that_is_noisy_is_believed_from_then_on() -> None:
    flips = [
        (60.0 * n, clear("cpu", ci="hr", payload=f"{n}"))
        if n % 2
        else (60.0 * n, down("hr", "cpu", MAJOR, payload=f"{n}"))
        for n in range(9)
    ]
    engine = bank(*WOLF, *flips, until=500)

    assert list(members(engine).values()) == [["hr"]]


def test_what_was_noisy_and_is_information_by_now_is_nothing_to_hear_of_when_it_flaps() -> None:
    engine = bank(*WOLF, (0, down("hr", "cpu", MAJOR)), (2_000, clear("cpu", ci="hr")))
    flips = [
        (2_100.0 + 60 * n, clear("cpu", ci="hr", payload=f"{n}"))
        if n % 2
        else (2_100.0 + 60 * n, down("hr", "cpu", Severity.INFO, payload=f"{n}"))
        for n in range(10)
    ]

    told = later(engine, *flips)

    begun = [fact.at for fact in told if isinstance(fact, AlertFlapping) and fact.on]
    assert begun == [at(2_400)]  # as it clears
    assert opened(told) == []
    agrees(engine.correlation.table)


def test_noise_alone_is_no_root_but_no_silence_either() -> None:
    engine = bank(*WOLF, (0, down("mail", "cpu", MAJOR)), (2, down("hr")), (3, down("hr", "slow")))
    later(engine, (4, down("mail", "disk")), (5, down("fax", "cpu", MAJOR)), until=60)

    (incident,) = engine.incidents()
    assert incident.roots[0].ci == "mail"


def test_among_very_many_those_are_ranked_on_which_most_depends() -> None:
    wide = inventory(Ci("top"), *(Ci(f"leaf-{n}", depends_on=("top",)) for n in range(320)))
    engine = Engine()
    run(engine, [(T0, wide), (at(0), down("top"))])

    later(engine, *((1 + n / 100, down(f"leaf-{n}")) for n in range(320)), until=1_000)

    (incident,) = engine.incidents()
    assert (incident.roots[0].ci, incident.roots[0].of) == ("top", 321)


def test_beside_a_storm_an_island_stays_alone() -> None:
    wide = inventory(Ci("top"), *(Ci(f"leaf-{n}", depends_on=("top",)) for n in range(120)))
    engine = Engine()
    run(engine, [(T0, wide), (at(0), down("top"))])
    later(engine, *((1 + n / 100, down(f"leaf-{n}")) for n in range(120)))

    later(engine, (10, down("island", "odd")), until=300)

    assert ["island"] in members(engine).values()


def test_among_many_clusters_an_island_stays_alone() -> None:
    engine = bank((0, down("web")), (1, down("hr")), (2, down("branch-01", "odd")))

    later(engine, (3, down("island", "strange")), until=300)

    assert ["island"] in members(engine).values()


def test_a_lone_victim_of_a_raised_incident_is_absorbed_when_it_would_be_raised() -> None:
    feed = ((0, down("web", severity=MAJOR)), (190, down("db-a", "slow")), (191, down("shop")))
    engine = bank(*feed, (192, down("san-a")), until=600)

    assert members(engine) == {"INC-000001": ["db-a", "san-a", "shop", "web"]}


def test_of_two_alerting_dependencies_one_may_depend_on_the_other() -> None:
    chain = inventory(
        Ci("base"),
        Ci("mid", depends_on=("base",)),
        Ci("top", depends_on=("mid", "base")),
        version="i3",
    )
    engine = Engine()
    run(engine, [(T0, chain), (at(0), down("base", "old"))])
    later(engine, (450, down("mid", "new")), (460, down("top")), until=900)

    assert list(members(engine).values())[-1:] == [["base", "mid", "top"]]


def test_hubs_that_have_cooled_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "MAX_CIS", 3)
    engine = bank((0, down("web")), (1, down("hr")))
    assert {"san-a", "nas"} <= set(engine.correlation.table.hubs)

    later(engine, (5_000, down("pay")))

    assert set(engine.correlation.table.hubs) == {"db-b", "san-a"}
    assert revived(engine).correlation.table.hubs == engine.correlation.table.hubs


def test_what_warms_a_hub_counts_though_it_is_delivered_late() -> None:
    engine = bank((100, down("fax")), (110, down("mail", "slow", occurred_at=at(60))))

    strength, when = engine.correlation.table.hubs["nas"]
    assert strength > 1.6
    assert when == at(100).timestamp()


def test_a_storm_is_one_after_a_restart() -> None:
    wide = inventory(Ci("top"), *(Ci(f"leaf-{n}", depends_on=("top",)) for n in range(120)))
    engine = Engine()
    run(engine, [(T0, wide), (at(0), down("top"))])
    later(engine, *((1 + n / 100, down(f"leaf-{n}")) for n in range(120)))

    assert revived(engine).correlation.table.storms == engine.correlation.table.storms != {}


def test_what_two_clusters_have_in_common_is_in_the_same_order_after_a_restart() -> None:
    engine = bank((0, down("shop")), (1, down("shop", "slow")), until=600)
    (incident,) = engine.incidents()
    slow = down("shop", "slow").fingerprint
    run(engine, [(at(700), Split(incident.id, (slow,), "ann"))])
    table = engine.correlation.table
    assert len(table.on["shop"]) == 2

    again = revived(engine).correlation.table

    assert [list(rows) for rows in again.on.values()] == [list(rows) for rows in table.on.values()]
    assert list(again.on["shop"]) == list(table.on["shop"])


def test_what_was_suppressed_is_doubted_until_it_is_seen_again() -> None:
    engine = bank()
    run(engine, [(at(0), silence('name="down"', at(60))), (at(5), down("shop"))])
    assert opened(later(engine, until=900)) == []

    told = later(engine, (1_000, down("shop", payload="again")), until=1_300)

    assert [incident.title for incident in opened(told)] == ["down on shop"]


def test_what_is_doubted_and_clears_says_that_it_was_held_back() -> None:
    engine = bank()
    run(engine, [(at(0), silence('name="down"', at(60))), (at(5), down("shop"))])

    told = later(engine, (500, clear("down", ci="shop")), until=3_000)

    assert only(AlertAlone, told).why is Why.DOUBTED


def test_what_was_doubted_and_cleared_is_not_when_it_fires_anew() -> None:
    def raised(*repeats: float) -> list[datetime]:
        engine = bank()
        run(engine, [(at(0), silence('name="down"', at(60))), (at(5), down("shop"))])
        later(engine, (500, clear("down", ci="shop")))
        fires = ((when, down("shop", payload=f"at {when}")) for when in (3_000, *repeats))
        return [one.opened_at for one in opened(later(engine, *fires, until=4_000))]

    assert raised(3_100) == raised() != []


def test_information_that_worsens_is_an_alert_from_then_on() -> None:
    engine = bank((0, down("shop")), (100, clear("down", ci="shop")))
    later(engine, (200, down("shop", severity=Severity.INFO)))

    told = later(engine, (300, down("shop", payload="worse")), until=900)

    assert [incident.opened_at for incident in opened(told)] == [at(500)]
    (cluster,) = engine.correlation.table.clusters.values()
    assert cluster.firing == 1
