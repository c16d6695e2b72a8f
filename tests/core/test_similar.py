"""`similar`: the same on things that are named alike."""

from __future__ import annotations

import pytest
from tests.builders import (
    Feed,
    at,
    engine_after,
    event,
    frames,
    group_rule,
    kind_rule,
    last,
    revived,
    run,
)
from tests.core.test_threshold import joined, missed

from eventd.core.model import Counted, Event, IncidentOpened, Severity
from eventd.core.rules import parse
from eventd.core.rules.rule import Limits
from eventd.core.rules.similar import State
from eventd.errors import RuleError

RULE: dict[str, object] = {"name": "fleet", "similar": {"match": ""}, "within": "60s"}


def on(ci: str, name: str = "down", **fields: object) -> Event:
    """An alert that no one else takes up."""
    return event(name, ci=ci, severity=Severity.INFO, **fields)  # type: ignore[arg-type] # checked there


def opens(*seen: Event, rule: dict[str, object] = RULE) -> list[str]:
    """The fingerprints that join with the last one."""
    return joined(last([(at(n), one) for n, one in enumerate(seen)], rule))


def test_so_many_things_of_one_shape_open_an_incident() -> None:
    seen = [on("web-07"), on("web-12"), on("web-31")]
    feed: Feed = [(at(n), one) for n, one in enumerate(seen)]

    assert opens(*seen) == [one.fingerprint for one in seen]
    opened = next(f for f in last(feed, RULE) if isinstance(f, IncidentOpened))
    assert opened.because == Counted("fleet", {"name": "down", "alike": "web-#"}, 3, 3, 60.0)
    assert opened.incident.because == "rule fleet: 3 within 60 s for name down, alike web-#"


def test_another_shape_another_name_and_the_same_thing_again_count_not() -> None:
    two = on("web-1"), on("web-2")

    assert opens(*two, on("db-3")) == []
    assert opens(*two, on("web-3a")) == []
    assert opens(*two, on("web-3", "slow")) == []
    assert opens(*two, on("web-2", service="bank")) == []
    assert opens(*two, on("")) == []
    assert len(opens(*two, on("web-3", service="bank"))) == 3


def test_labels_may_be_added_to_what_is_alike() -> None:
    rule = kind_rule("similar", {"match": "", "count": 2}, "fleet")

    assert opens(on("web-1"), on("web-2", service="bank"), rule=rule) == []
    assert opens(on("web-1", service=""), on("web-2", service=""), rule=rule) == []
    assert len(opens(on("web-1"), on("web-2"), rule=rule)) == 2


def test_it_survives_a_snapshot_and_tells_a_near_miss() -> None:
    engine = engine_after([(at(0), on("web-1")), (at(1), on("web-2"))], RULE)

    facts = run(revived(engine), [(at(200), on("x"))])

    assert frames(revived(engine)) == frames(engine)
    assert [when for when, *_ in missed(facts)] == [120, 120]


def test_the_state_is_for_such_rules_and_a_mistake_has_its_path() -> None:
    with pytest.raises(TypeError, match="group"):
        State(parse(group_rule()), Limits(1))
    with pytest.raises(RuleError) as raised:
        parse({**RULE, "similar": {"match": "", "count": 1}})
    assert str(raised.value) == "similar.count: expected `int` >= 2"
