"""`dependency`: what depends on something that is down says nothing new."""

from __future__ import annotations

import pytest
from tests.builders import (
    TICK,
    Feed,
    at,
    clear,
    dependency_rule,
    engine_after,
    event,
    facts_of,
    frames,
    group_rule,
    inventory,
    last,
    only,
    revived,
    run,
)
from tests.core.test_inhibit import freed, opened, suppressed

from eventd.core.model import (
    AlertJoined,
    AlertSuppressed,
    Ci,
    Dependency,
    Event,
    RuleMissed,
    Severity,
)
from eventd.core.rules import parse
from eventd.core.rules.dependency import State
from eventd.core.rules.rule import Limits
from eventd.core.sentences import near_miss
from eventd.errors import RuleError

TREE = inventory(
    Ci("sw1"),
    Ci("sw2"),
    Ci("host1", depends_on=("sw1",)),
    Ci("db", depends_on=("host1",)),
    Ci("shop", depends_on=("db",)),
    Ci("far", depends_on=("shop",)),
    Ci("web", depends_on=(Dependency("sw1", redundant=True), Dependency("sw2", redundant=True))),
    Ci("ring1", depends_on=("ring2",)),
    Ci("ring2", depends_on=("ring1",)),
)
RULE = dependency_rule('name="down"')
BY_CI = group_rule("by-ci", by=["ci"])


def down(ci: str, **fields: object) -> Event:
    return event("down", ci=ci, **fields)  # type: ignore[arg-type] # checked there


def slow(ci: str, **fields: object) -> Event:
    return event("slow", ci=ci, **fields)  # type: ignore[arg-type] # checked there


def explained(*seen: Event, rule: dict[str, object] = RULE) -> list[tuple[str, str]]:
    """Which alert of which CI by which other one's, in an engine that knows the tree."""
    feed: Feed = [(at(0), TREE), *((at(n), one) for n, one in enumerate(seen, 1))]
    names = {one.fingerprint: one.ci for one in seen}
    return [
        (names[fact.fingerprint], names[fact.source])
        for fact in facts_of(feed, rule)
        if isinstance(fact, AlertSuppressed) and fact.source
    ]


def test_what_depends_on_what_is_down_is_explained_so_many_hops_below() -> None:
    below = [slow(ci) for ci in ("host1", "db", "shop", "far", "sw2", "")]
    nearer = dependency_rule('name="down"', hops=1)

    assert explained(down("sw1"), *below) == [(ci, "sw1") for ci in ("host1", "db", "shop")]
    assert explained(down("sw1"), *below, rule=nearer) == [("host1", "sw1")]


def test_what_something_can_stand_in_for_explains_only_where_the_rule_says_so() -> None:
    too = dependency_rule('name="down"', redundant=True)

    assert explained(down("sw1"), slow("web")) == []
    assert explained(down("sw1"), slow("web"), rule=too) == [("web", "sw1")]


def test_what_is_down_below_what_is_down_is_explained_and_the_nearest_explains() -> None:
    seen = (down("sw1"), down("host1"), slow("db"))

    assert explained(*seen) == [("host1", "sw1"), ("db", "host1")]


def test_a_source_that_comes_late_explains_what_waits_for_it_and_what_is_loose() -> None:
    info = Severity.INFO
    loose: Feed = [(at(0), TREE), (at(1), slow("db", severity=info)), (at(60), down("sw1"))]

    assert explained(slow("host1"), slow("db"), down("sw1")) == [("host1", "sw1"), ("db", "sw1")]
    assert suppressed(last(loose, RULE))[0][1:] == (slow("db").fingerprint, down("sw1").fingerprint)


def test_in_a_circle_what_came_first_explains() -> None:
    assert explained(down("ring1"), down("ring2")) == [("ring2", "ring1")]


def test_it_joins_the_incident_and_is_judged_again_when_that_is_up() -> None:
    seen: Feed = [
        (at(0), TREE),
        (at(1), down("sw1")),
        (at(30), slow("db")),
        (at(60), clear("down", ci="sw1")),
    ]

    facts = facts_of([*seen, (at(61), TICK)], BY_CI, RULE)

    assert opened(facts) == [(6, "down on sw1")]
    assert [f.fingerprint for f in facts if isinstance(f, AlertJoined)] == [
        down("sw1").fingerprint,
        slow("db").fingerprint,
    ]
    assert freed(facts)[-1] == (60, slow("db").fingerprint)
    assert suppressed(facts)[-1][0] == 30
    assert [f.by for f in facts if isinstance(f, AlertSuppressed)] == ["dependency:below"] * 2


def test_another_source_in_between_goes_on_explaining() -> None:
    seen: Feed = [
        (at(0), TREE),
        (at(1), down("sw1")),
        (at(2), down("host1")),
        (at(3), slow("db")),
        (at(60), clear("down", ci="host1")),
    ]

    assert suppressed(last(seen, RULE)) == [(60, slow("db").fingerprint, down("sw1").fingerprint)]


def test_another_inventory_is_looked_at_for_all_that_fires() -> None:
    info = Severity.INFO
    seen: Feed = [(at(1), down("sw1", severity=info)), (at(2), slow("db", severity=info))]
    engine = engine_after([*seen, (at(20), TICK)], RULE)

    assert suppressed(run(engine, [(at(30), TREE)]))[0][1] == slow("db").fingerprint
    again = revived(engine)
    assert frames(again) == frames(engine)
    flat = inventory(Ci("sw1"), Ci("db"), version="i2")
    assert freed(run(again, [(at(40), flat)])) == [(40, slow("db").fingerprint)]


def test_the_state_is_for_dependency_rules() -> None:
    with pytest.raises(TypeError, match="group"):
        State(parse(BY_CI), Limits(1))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hops": 4}, "dependency.hops: expected `int` <= 3"),
        ({"source": 5}, "dependency.source: expected `str | array`, got `int`"),
        ({"equal": ["ci"]}, "dependency: object contains unknown field `equal`"),
    ],
)
def test_a_mistake_is_answered_with_its_path(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(RuleError) as raised:
        parse({"name": "x", "dependency": {"source": "", **wrong}})

    assert str(raised.value) == message


def test_what_is_down_a_little_too_late_missed_what_is_below_it() -> None:
    seen: Feed = [(at(0), TREE), (at(0), slow("db")), (at(13), down("sw1"))]

    missed = only(RuleMissed, facts_of(seen, BY_CI, RULE))

    assert missed.fingerprint == slow("db").fingerprint
    assert near_miss(missed) == (
        "rule below missed it: down on sw1 would explain it, but came 13 s after it; "
        "the rule waits 5 s"
    )
