"""`absence`: what should have come, after something else or at all, and did not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.builders import (
    T0,
    TICK,
    Feed,
    at,
    calendar_rule,
    clear,
    dependency_rule,
    engine_after,
    engine_with,
    event,
    facts_of,
    group_rule,
    inhibit_rule,
    kind_rule,
    load,
    maintenance,
    only,
    revived,
    rule,
    run,
    settle_rule,
    silence,
    started,
)
from tests.core.test_sequence import feed, says

from eventd.core.engine import Engine
from eventd.core.model import (
    Absent,
    AlertCleared,
    AlertFired,
    AlertJoined,
    AlertSuppressed,
    CapHit,
    Fact,
    FindingNoted,
    IncidentOpened,
    Input,
    Severity,
    Status,
)
from eventd.core.rules import parse
from eventd.core.rules.absence import State
from eventd.core.rules.rule import Limits
from eventd.errors import RuleError

AFTER_A = kind_rule("absence", {"match": 'name="b"', "after": 'name="a"'})
NO_B = kind_rule("absence", {"match": 'name="b"'})
SHOP = {"service": "shop"}


def said(facts: list[Fact]) -> list[tuple[str, float]]:
    """When the rule's own alert fired and cleared, in seconds."""
    told: list[tuple[str, float]] = []
    own = ""
    for fact in facts:
        if isinstance(fact, AlertFired) and fact.alert.source == "eventd":
            own = fact.alert.fingerprint
            told.append(("fires", (fact.at - T0).total_seconds()))
        elif isinstance(fact, AlertCleared) and fact.fingerprint == own:
            told.append(("clears", (fact.at - T0).total_seconds()))
    return told


def later(seen: Feed, seconds: float = 900) -> Feed:
    """And then nothing."""
    return [*seen, (at(seconds), TICK)]


def test_what_does_not_follow_in_time_is_an_alert_of_its_own_with_what_waited() -> None:
    facts = facts_of(later(feed((0, "a"))), AFTER_A)

    assert said(facts) == [("fires", 120)]
    opened = only(IncidentOpened, facts)
    assert (opened.incident.title, opened.incident.service) == ("it", "shop")
    assert opened.because == Absent("it", SHOP, 'name="b"', 'name="a"', 60.0)
    assert opened.incident.because == (
        'rule it: no name="b" within 60 s after name="a" for service shop'
    )
    assert [fact.fingerprint for fact in facts if isinstance(fact, AlertJoined)][1] == (
        says("a", 0).fingerprint
    )


@pytest.mark.parametrize("second", [0, 1, 59.999])
def test_what_follows_in_time_is_none(second: float) -> None:
    assert said(facts_of(later(feed((0, "a"), (second, "b"))), AFTER_A)) == []


def test_what_came_before_does_not_count() -> None:
    assert said(facts_of(later(feed((0, "b"), (1, "a"))), AFTER_A)) == [("fires", 121)]


def test_what_is_late_counts_when_it_happened() -> None:
    late: Feed = [*feed((0, "a")), (at(110), says("b", 59))]
    before: Feed = [(at(9), says("b", 9)), (at(50), says("a", 5))]

    assert said(facts_of(later(late), AFTER_A)) == []
    assert said(facts_of(later(before), AFTER_A)) == []


def test_it_ends_when_what_was_missed_comes_after_all() -> None:
    facts = facts_of(later(feed((0, "a"), (300, "b"))), AFTER_A)

    assert said(facts) == [("fires", 120), ("clears", 300)]


def test_what_came_too_late_before_it_was_concluded_opens_and_ends_at_once() -> None:
    facts = facts_of(later(feed((0, "a"), (60, "b"))), AFTER_A)

    assert said(facts) == [("fires", 120), ("clears", 120)]


def test_without_anything_before_it_has_to_come_again_and_again() -> None:
    beats: Feed = [(at(50 * n), says("b", 50 * n)) for n in range(5)]

    facts = facts_of(later(beats), NO_B)

    assert said(facts) == [("fires", 200 + 120)]
    assert only(IncidentOpened, facts).incident.because == (
        'rule it: no name="b" within 60 s for service shop'
    )
    assert said(facts_of(later([*beats, (at(500), says("b", 500))], 501), NO_B)) == [
        ("fires", 320),
        ("clears", 500),
    ]


def test_nothing_is_missed_that_never_came() -> None:
    assert said(facts_of(later([]), NO_B)) == []


def test_heartbeats_and_informations_are_waited_for_where_their_status_is_named() -> None:
    no_beat = kind_rule("absence", {"match": 'name="up", status="heartbeat"'}, by=["ci"])
    beats: Feed = [(at(50 * n), event("up", status=Status.HEARTBEAT)) for n in range(3)]

    facts = facts_of(later(beats), no_beat)

    assert said(facts) == [("fires", 220)]
    assert only(IncidentOpened, facts).incident.title == "it on db1"


@pytest.mark.parametrize("other", [None, settle_rule('name="b"', "10m")])
def test_what_is_suppressed_comes_all_the_same(other: dict[str, object] | None) -> None:
    """A watchdog that always fires is silenced first of all, and is still one."""
    rules = [NO_B, *([other] if other is not None else [])]
    covered: Feed = [(at(0), silence('name="b"', at(10_000)))] if other is None else []
    beats = feed(*((second, "b") for second in range(1, 300, 50)))

    facts = facts_of(later([*covered, *beats]), *rules)

    assert any(isinstance(fact, AlertSuppressed) for fact in facts)
    assert said(facts) == [("fires", 371)]


def test_nobody_is_missed_in_the_first_minutes_after_a_start() -> None:
    away: Feed = [*feed((0, "a")), (at(1_000), started(start_grace=300.0))]

    assert said(facts_of(later(away, 1_359), AFTER_A)) == []
    assert said(facts_of(later(away, 1_360), AFTER_A)) == [("fires", 1_360)]
    assert said(facts_of(later([*away, *feed((1_299, "b"))], 9_000), AFTER_A)) == []
    assert said(facts_of(later([*away, *feed((1_301, "a"))], 9_000), AFTER_A))[1:] == []


def test_a_start_is_remembered_across_a_snapshot() -> None:
    engine = engine_after([*feed((0, "a")), (at(30), started(start_grace=300.0))], AFTER_A)

    assert said(run(revived(engine), [(at(389), TICK)])) == []
    assert said(run(revived(engine), [(at(390), TICK)])) == [("fires", 390)]


def test_what_fires_is_remembered_across_a_snapshot() -> None:
    engine: Engine = revived(engine_after(later(feed((0, "a"))), AFTER_A))

    facts = run(engine, feed((901, "b")))

    assert [fact for fact in facts if isinstance(fact, AlertCleared)]


def test_what_waits_again_while_it_fires_keeps_it_firing() -> None:
    first = {"match": 'name="b"', "after": 'name=~"a|c"'}
    seen = later(feed((0, "a"), (200, "c"), (900, "b")), 2_000)

    facts = facts_of(seen, kind_rule("absence", first))

    assert said(facts) == [("fires", 120), ("clears", 900)]


def test_where_nothing_may_be_late_it_is_concluded_at_once() -> None:
    none_late: Feed = [(T0, started(late_within=0.0, start_grace=0.0))]

    assert said(facts_of(later([*none_late, *feed((0, "b"), (1, "a"))]), AFTER_A)) == [
        ("fires", 61)
    ]
    assert said(facts_of(later([*none_late, *feed((1, "a"), (1, "b"))]), AFTER_A)) == []
    state = engine_after([*none_late, *feed((0, "b"))], AFTER_A).rules.states["it"]
    assert state.dump() == [[]]


def test_nothing_is_told_of_the_past_where_less_is_late_since_a_restart() -> None:
    seen: Feed = [
        (T0, started(late_within=3_600.0, start_grace=0.0)),
        (at(1), says("b", 1)),
        (at(1_800), started(late_within=1.0, start_grace=0.0)),
        (at(1_801), says("c", 1_801)),
        (at(1_802), says("b", 1_802)),
    ]

    told = said(facts_of([*seen, (at(1_803), TICK)], NO_B))

    assert told == [("fires", 1_802), ("clears", 1_802)]


def test_nothing_is_remembered_longer_than_it_counts() -> None:
    engine = engine_after(later(feed((0, "a"), (9, "b"), (100, "b"))), AFTER_A)

    assert engine.rules.states["it"].dump() == [[]]
    assert [kind for (kind, _), _ in engine.timers.items() if kind == "rule"] == []
    assert engine.rules.states["it"].due('["shop"]', at(901)) == ()


def test_a_silenced_alert_of_the_rule_opens_nothing() -> None:
    seen: Feed = [(at(0), silence('source="eventd"', at(5_000))), *feed((1, "a"))]

    facts = facts_of(later(seen), AFTER_A)

    assert said(facts) == [("fires", 121)]
    assert [fact.fingerprint for fact in facts if isinstance(fact, AlertJoined)] == [
        says("a", 0).fingerprint
    ]


OWN = 'source="eventd"'


@pytest.mark.parametrize("revive", [False, True])
@pytest.mark.parametrize(
    ("first", "others"),
    [
        (silence(OWN, at(600)), []),
        (maintenance(ends=600, services=["shop"]), []),
        (TICK, [calendar_rule(OWN, "0 10 * * mon")]),
        (TICK, [settle_rule(OWN)]),
        (TICK, [inhibit_rule('name="x"', OWN, within="30s")]),
        (TICK, [dependency_rule('name="x"', within="30s", target=OWN)]),
    ],
)
def test_once_nothing_holds_its_alert_back_the_incident_is_the_rules(
    first: Input, others: list[dict[str, object]], *, revive: bool
) -> None:
    engine = engine_with(AFTER_A, *others)
    before = run(engine, [*feed((1, "a")), (at(2), first), (at(122), TICK)])
    own = next(f.alert for f in before if isinstance(f, AlertFired) and f.alert.name == "it")
    assert engine.alert(own.fingerprint).suppressed_by

    after = run(revived(engine) if revive else engine, [(at(1_700), TICK)])

    joined = [f for f in after if isinstance(f, AlertJoined) and f.fingerprint == own.fingerprint]
    assert [f.because for f in joined] == [Absent("it", SHOP, 'name="b"', 'name="a"', 60.0)]


def test_another_rule_may_claim_its_alert_once_nothing_holds_it_back() -> None:
    seen: Feed = [(at(0), silence(OWN, at(600))), (at(1), says("b", 1)), (at(1_700), TICK)]

    facts = facts_of(seen, group_rule("g", 'name="it"'), NO_B)

    assert only(IncidentOpened, facts).incident.rule == "g"
    assert only(FindingNoted, facts).because == Absent(
        "it", SHOP, 'name="b"', "", 60.0, ("INC-000001",)
    )


def test_its_alert_is_in_no_incident_where_another_rule_ends_it_as_it_fires() -> None:
    ends = kind_rule("pair", {"opens": 'name="x"', "closes": OWN}, name="ends")

    engine = engine_after(later(feed((0, "x"), (1, "b"))), NO_B, ends)

    own = [(one.status, one.incident) for one in engine.alerts() if one.name == "it"]
    assert own == [(Status.CLEARED, "")]


def test_what_fires_is_read_from_a_snapshot_of_old() -> None:
    state = State(rule(NO_B), Limits(10))

    state.load([[["shop"]]])

    assert state.dump() == [[("shop", "")]]


def test_its_alert_is_told_from_one_of_another_rule_with_its_name() -> None:
    engine = engine_after(later(feed((0, "b"))), NO_B)
    own = next(one for one in engine.alerts() if one.name == "it")

    assert engine.rules.claims(own) is not None
    assert engine.rules.claims(replace(own, fingerprint="another")) is None
    assert engine.rules.claims(replace(own, service="bank")) is None
    assert engine.rules.claims(replace(own, name="b")) is None


def test_other_rules_are_asked_about_it_first() -> None:
    facts = facts_of(later(feed((0, "a"))), group_rule("g", 'name=~"it|a"'), AFTER_A)

    assert only(IncidentOpened, facts).incident.rule == "g"
    assert only(FindingNoted, facts).because == Absent(
        "it", SHOP, 'name="b"', 'name="a"', 60.0, ("INC-000001",)
    )


def test_what_is_missed_of_two_keys_is_two_incidents() -> None:
    seen: Feed = [(at(0), says("b", 0)), (at(60), says("b", 60, service="bank"))]

    facts = facts_of(later(seen), NO_B)

    assert [f.incident.group["service"] for f in facts if isinstance(f, IncidentOpened)] == [
        "shop",
        "bank",
    ]


def test_its_own_alert_is_nothing_that_came() -> None:
    anything = kind_rule("absence", {"match": 'service="shop"'})

    assert said(facts_of(later(feed((0, "c"))), anything)) == [("fires", 120)]


def test_keys_are_kept_apart_and_what_lacks_one_is_none() -> None:
    seen: Feed = [
        (at(0), says("a", 0)),
        (at(1), says("b", 1, service="x")),
        (at(1), says("a", 1, service="")),
        (at(1), says("c", 1)),
    ]

    assert said(facts_of(later(seen), AFTER_A)) == [("fires", 120)]


def test_its_labels_and_severity_are_the_rules() -> None:
    late = kind_rule(
        "absence",
        {"match": 'name="b"', "after": ['name="a"', 'name="c"'], "severity": "critical"},
        by=["ci", "site"],
        title="{site}: nothing after {after.name}",
        root="after",
    )
    seen: Feed = [(at(0), says("a", 0, labels={"site": "fra"}))]

    facts = facts_of(later(seen), late)

    (own,) = (f.alert for f in facts if isinstance(f, AlertFired) and f.alert.source == "eventd")
    assert (own.name, own.ci, own.labels) == ("it", "db1", {"site": "fra"})
    assert own.severity is Severity.CRITICAL
    incident = only(IncidentOpened, facts).incident
    assert (incident.title, incident.roots[0].ci) == ("fra: nothing after a", "db1")
    assert 'after name="a" or name="c"' in incident.because


def test_what_waited_and_is_no_alert_is_in_no_incident() -> None:
    begun = kind_rule("absence", {"match": 'name="b"', "after": 'name="a", status="info"'})

    facts = facts_of(later([(at(0), event("a", status=Status.INFO))]), begun)

    assert len([fact for fact in facts if isinstance(fact, AlertJoined)]) == 1


def test_at_the_cap_a_new_key_is_not_remembered() -> None:
    engine = engine_with(AFTER_A)
    seen: Feed = [
        (T0, started(max_groups=1, start_grace=0.0)),
        (at(0), says("a", 0)),
        (at(1), says("a", 1, service="bank")),
        (at(2), says("a", 2, service="shop", ci="other")),
    ]

    facts = run(engine, later(seen))

    assert [fact for fact in facts if isinstance(fact, CapHit)] == [CapHit(at(1), "groups", "it")]
    assert said(facts) == [("fires", 120)]


def test_beyond_a_cap_that_was_lowered_a_new_key_is_not_remembered() -> None:
    engine = engine_with(NO_B)
    many: Feed = [(at(n), says("b", n, service=f"s{n}")) for n in range(3)]
    fewer: Feed = [(at(10), started(max_groups=1, start_grace=0.0)), (at(11), says("b", 11))]

    facts = run(engine, later([*many, *fewer]))

    assert CapHit(at(11), "groups", "it") in facts
    assert engine.rules.off == {}
    assert [kind for kind, _ in said(facts)] == ["fires"] * 3


def test_at_the_cap_the_alert_that_fires_longest_is_left_to_people() -> None:
    engine = engine_with(AFTER_A)
    seen: Feed = [
        (T0, started(max_groups=1, start_grace=0.0)),
        (at(0), says("a", 0)),
        (at(200), says("a", 200, service="bank")),
        (at(400), TICK),
        (at(401), says("b", 401, service="bank")),
        (at(402), says("b", 402)),
    ]

    facts = run(engine, seen)

    assert [f.at for f in facts if isinstance(f, AlertCleared)] == [at(401)]
    assert [f.at for f in facts if isinstance(f, CapHit)] == [at(320), at(402)]
    assert engine.rules.states["it"].dropped == {"groups": 2}


def test_a_clear_says_nothing() -> None:
    seen: Feed = [*feed((0, "a")), (at(5), clear("b"))]

    assert said(facts_of(later(seen), AFTER_A)) == [("fires", 120)]


def test_it_is_for_its_own_kind() -> None:
    with pytest.raises(TypeError, match="group"):
        State(rule(), Limits(10))


@pytest.mark.parametrize(
    ("own", "incident", "message"),
    [
        ({}, {}, "absence: object missing required field `match`"),
        (
            {"match": "", "severity": "bad"},
            {},
            "absence.severity: invalid enum value 'bad'",
        ),
        (
            {"match": "", "after": "x"},
            {},
            "absence.after: expected label, operator, quoted value at character 1 of 'x' "
            "(operators are =~ !~ != <= >= = < >)",
        ),
        (
            {"match": ""},
            {"root": "after"},
            "incident.root: nothing in the rule is called 'after' (leave it out)",
        ),
    ],
)
def test_a_mistake_is_answered_with_its_path(
    own: object, incident: dict[str, object], message: str
) -> None:
    with pytest.raises(RuleError) as raised:
        parse({**kind_rule("absence", own), "incident": incident})

    assert str(raised.value) == message


def test_what_the_rule_says_itself_teaches_nothing_of_a_source_and_its_rhythm() -> None:
    seen: Feed = [(at(n), event("b", ci="", severity=Severity.INFO, id=f"{n}")) for n in (0, 500)]

    engine = engine_after([*seen, (at(9_000), TICK)], NO_B)

    assert list(engine.habits.sources) == ["zabbix"]


def missed_then(*rules: dict[str, object]) -> list[tuple[str, float]]:
    """What is missed from 180 s on, a reload at 300 s, and what was missing at 400 s."""
    engine = engine_with(NO_B)
    facts = run(engine, later(feed((0, "b")), 299))
    facts += engine.step(load(*rules), at(300))
    return said([*facts, *run(engine, feed((400, "b")))])


def test_a_rule_that_is_changed_goes_on_missing_what_it_missed() -> None:
    assert missed_then({**NO_B, "description": "better said"})[1:] == [("clears", 400)]


def test_nobody_misses_anything_where_the_rule_is_gone_or_of_another_key() -> None:
    assert missed_then()[1:] == [("clears", 300)]
    assert missed_then({**NO_B, "by": ["ci"]})[1:] == [("clears", 300)]
