"""`settle`: nothing is raised that clears within so long."""

from __future__ import annotations

import pytest
from tests.builders import (
    TICK,
    Feed,
    at,
    clear,
    engine_after,
    event,
    facts_of,
    group_rule,
    kind_rule,
    last,
    load,
    only,
    revived,
    run,
    settle_rule,
    silence,
    started,
    steps,
    threshold_rule,
)

from eventd.core.engine import Engine
from eventd.core.model import (
    AlertFired,
    AlertJoined,
    AlertSuppressed,
    AlertUnmatched,
    AlertUnsuppressed,
    Fact,
    IncidentOpened,
    IncidentReopened,
    Severity,
)
from eventd.core.rules import parse
from eventd.errors import RuleError

DISK = event().fingerprint
BY = "settle:blips"


def opened(facts: list[Fact]) -> list[tuple[float, str]]:
    """When incidents were opened, in seconds, and by which rule."""
    return [
        ((fact.at - at(0)).total_seconds(), fact.incident.rule)
        for fact in facts
        if isinstance(fact, IncidentOpened)
    ]


def test_an_alert_that_begins_to_fire_opens_nothing_yet() -> None:
    facts = last([(at(0), event())], group_rule(), settle_rule())

    assert [type(fact) for fact in facts] == [AlertFired, AlertSuppressed]
    assert facts[1] == AlertSuppressed(at(0), DISK, 1, BY)


def test_what_clears_in_time_was_nothing() -> None:
    facts = facts_of(
        [(at(0), event()), (at(59), clear()), (at(9_000), TICK)], group_rule(), settle_rule()
    )

    assert opened(facts) == []
    assert not [fact for fact in facts if isinstance(fact, AlertUnsuppressed)]


def test_what_does_not_clear_meets_what_it_would_have_met() -> None:
    facts = facts_of([(at(0), event()), (at(60), TICK)], settle_rule(), group_rule())

    assert [type(fact) for fact in facts[2:]] == [AlertUnsuppressed, IncidentOpened, AlertJoined]
    assert opened(facts) == [(60, "by-service")]


def test_the_correlation_judges_it_as_ever_after_the_wait() -> None:
    critical = event(severity=Severity.CRITICAL)

    assert opened(facts_of([(at(0), critical), (at(900), TICK)], settle_rule())) == [
        (260, "correlation")
    ]


def test_it_is_waited_with_once_an_episode() -> None:
    seen: Feed = [
        (at(0), event()),
        (at(70), event(payload="again")),
        (at(80), event(severity=Severity.CRITICAL)),
        (at(90), clear()),
        (at(100), event(payload="anew")),
    ]

    facts = facts_of(seen, settle_rule())

    assert [fact.at for fact in facts if isinstance(fact, AlertSuppressed)] == [at(0), at(100)]


def test_repeats_while_it_waits_change_nothing() -> None:
    counting = threshold_rule(count=2, of="events")
    seen: Feed = [(at(0), event()), (at(30), event(payload="again"))]

    assert opened(facts_of(seen, settle_rule(), counting)) == []


def test_what_worsens_beyond_the_rule_is_judged_at_once() -> None:
    seen: Feed = [
        (at(0), event(severity=Severity.MINOR)),
        (at(20), event(severity=Severity.MAJOR)),
        (at(30), event(severity=Severity.CRITICAL)),
    ]

    facts = facts_of(seen, settle_rule("severity<=major"), group_rule())

    assert opened(facts) == [(30, "by-service")]


def test_what_is_silenced_when_the_wait_ends_stays_suppressed() -> None:
    seen: Feed = [(at(0), event()), (at(10), silence("", at(500))), (at(60), TICK)]

    facts = facts_of(seen, settle_rule(), group_rule())

    assert [fact.by for fact in facts if isinstance(fact, AlertSuppressed)] == [BY, "SIL-000001"]
    assert opened(facts_of([*seen, (at(500), TICK)], settle_rule(), group_rule())) == [
        (500, "by-service")
    ]


def test_what_began_again_reopens_its_incident_after_the_wait() -> None:
    seen: Feed = [
        (at(0), event()),
        (at(70), clear()),
        (at(200), event(payload="anew")),
        (at(260), TICK),
    ]

    assert only(IncidentReopened, last(seen, settle_rule(), group_rule())).incident == "INC-000001"


def test_rules_see_it_when_it_happened_as_far_as_that_may_be_late() -> None:
    rule = kind_rule("sequence", steps("a", "b"))
    info = {"severity": Severity.INFO}
    seen: Feed = [(at(0), event("a", **info)), (at(10), event("b", **info)), (at(900), TICK)]  # type: ignore[arg-type] # a severity

    assert opened(facts_of(seen, settle_rule('name="a"', "30s"), rule)) == [(30, "it")]
    assert opened(facts_of(seen, settle_rule('name="a"', "61s"), rule)) == []


def test_a_wait_survives_a_snapshot_and_a_changed_set_of_rules() -> None:
    engine = revived(engine_after([(at(0), event())], settle_rule(), group_rule()))
    engine.step(load(group_rule()), at(10))

    assert opened(list(engine.step(TICK, at(60)))) == [(60, "by-service")]


def test_from_the_tables_alone_a_wait_is_over_at_once() -> None:
    before = engine_after([(at(0), event())], settle_rule())

    engine = Engine.rebuild(before.alerts(), (), (), (), ())

    assert only(AlertUnsuppressed, run(engine, [(at(1), started())])).by == BY


def test_in_a_storm_nothing_is_waited_with() -> None:
    seen: Feed = [
        (at(0), started(storm_above=1)),
        *((at(n), event(f"a{n}", severity=Severity.INFO)) for n in range(3)),
    ]

    facts = facts_of(seen, settle_rule())

    assert len([fact for fact in facts if isinstance(fact, AlertSuppressed)]) == 1
    assert not [fact for fact in facts if isinstance(fact, AlertUnmatched)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"by": ["ci"]}, ": object contains unknown field `by`"),
        ({"incident": {}}, ": object contains unknown field `incident`"),
        ({"settle": {}}, "settle: object missing required field `match`"),
        ({"within": 5}, 'within: expected a duration such as "5m", got 5'),
    ],
)
def test_a_mistake_is_answered_with_its_path(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(RuleError) as raised:
        parse({**settle_rule(), **wrong})

    assert str(raised.value) == message
