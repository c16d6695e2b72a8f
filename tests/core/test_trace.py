"""What rules were asked about an alert, and which condition of the others fails."""

from __future__ import annotations

from collections import deque

from tests.builders import (
    TICK,
    Feed,
    alert,
    at,
    clear,
    engine_with,
    event,
    group_rule,
    inventory,
    kind_rule,
    rule,
    run,
    settle_rule,
    started,
    steps,
    threshold_rule,
)

from eventd.core.model import Ci, Matcher, Severity
from eventd.core.rules import trace as tracing
from eventd.core.rules.rule import Finding, Window
from eventd.core.rules.trace import Asked, nearest


def asked(feed: Feed, what: str, *rules: dict[str, object]) -> deque[Asked]:
    """All that rules were asked about it."""
    engine = engine_with(*rules)
    trace = engine.trace(what)
    run(engine, feed)
    (found,) = trace.asked.values()
    return found


def window(feed: Feed, what: str, one: dict[str, object]) -> Window:
    """What the rule has seen with it, when it was asked last."""
    found = asked(feed, what, one)[-1].window
    assert found is not None
    return found


def test_a_threshold_tells_what_it_has_counted() -> None:
    feed: Feed = [(at(10 * n), event(f"disk{n}", ci=f"c{n}")) for n in range(3)]

    second = window(feed[:2], "c1", threshold_rule())
    third = window(feed, "c2", threshold_rule())
    first = window(
        feed[:1], "c0", kind_rule("threshold", {"match": "", "count": 2, "of": "events"})
    )
    values = {"match": "", "count": 2, "distinct": "ci"}
    distinct = window(feed[:1], "c0", kind_rule("threshold", values))

    assert (second.lacks, second.group) == ("2 of 3 alerts", {"service": "shop"})
    assert [when for when, _, _ in second.seen] == [at(0), at(10)]
    assert third.lacks == ""
    assert (first.lacks, distinct.lacks) == ("1 of 2 events", "1 of 2 ci")


def test_what_is_in_no_window_any_more_is_not_told() -> None:
    feed: Feed = [(at(0), event("a")), (at(61), event("b", ci="c1"))]

    found = window(feed, "c1", threshold_rule())

    assert [when for when, _, _ in found.seen] == [at(61)]


def test_a_sequence_tells_its_steps_and_the_first_that_lacks() -> None:
    one = kind_rule("sequence", steps("a", "b", "c"))
    b = (at(5), event("b", ci="c1"))

    first = window([b], "c1", one)
    second = window([(at(0), event("a")), b], "c1", one)
    turned = window([(at(0), event("c")), (at(2), event("a")), b], "c1", one)
    held = window([(at(0), event("a")), b, (at(9), event("c", ci="c2"))], "c2", one)

    assert first.lacks.startswith("0 of 1 ")
    assert second.lacks.startswith("0 of 1 ")
    assert [what for _, what, _ in second.seen] == ["a", "b"]
    assert (
        turned.lacks
        == "enough of all, but not in that order, or something unwanted came in between"
    )
    assert held.lacks == ""


def test_what_must_not_be_in_between_is_told_as_unwanted() -> None:
    one = kind_rule("sequence", [*steps("a"), *steps("b", without='name="x"')])

    found = window([(at(0), event("a")), (at(1), event("x", ci="c1"))], "c1", one)

    assert [what for _, what, _ in found.seen] == ["a", "unwanted"]


def test_an_absence_tells_until_when_it_waits() -> None:
    one = kind_rule("absence", {"after": 'name="a"', "match": 'name="b"'})
    a, b = (at(0), event("a")), (at(5), event("b", ci="c1"))
    alone = kind_rule("absence", {"match": 'name="b"'}, within="5m")

    assert window([a], "db1", one).lacks == f"nothing yet, it waits until {at(60):%H:%M:%S}"
    assert [what for _, what, _ in window([a, b], "c1", one).seen] == ["waits", "came"]
    assert [what for _, what, _ in window([b], "c1", alone).seen] == ["came"]


def test_a_topology_tells_the_cis_that_are_tied() -> None:
    one = kind_rule("topology", {"match": "", "count": 3}, by=())
    tied = inventory(Ci("san"), Ci("db1", depends_on=("san",)), Ci("db2", depends_on=("san",)))
    feed: Feed = [(at(0), tied), (at(1), event(ci="san")), (at(2), event(ci="db1"))]

    engine = engine_with(one)
    run(engine, [(at(0), started(late_within=0)), *feed, (at(120), event(ci="db2"))])
    (state,) = engine.rules.states.values()
    assert state.recall(alert(ci="db1")) is None  # type: ignore[attr-defined]

    at_once = window([(at(0), started()), *feed], "db1", one)
    two = window([(at(0), started(late_within=0)), *feed], "db1", one)
    three = window([(at(0), started(late_within=0)), *feed, (at(3), event(ci="db2"))], "db2", one)

    assert at_once.lacks.startswith("nothing yet, it looks at ")
    assert (two.lacks, three.lacks) == ("2 of 3 CIs that are tied", "")
    assert [when for when, _, _ in two.seen] == [at(1), at(2)]


def test_a_rule_that_was_asked_about_another_alert_has_seen_nothing_with_this_one() -> None:
    engine = engine_with(threshold_rule(), kind_rule("sequence", steps("a", "b"), name="two"))
    kinds = (
        *engine.rules.states.values(),
        *engine_with(kind_rule("absence", {"match": ""}, name="none")).rules.states.values(),
        *engine_with(kind_rule("topology", {"match": ""}, name="tied")).rules.states.values(),
    )

    assert all(state.recall(alert()) is None for state in kinds)  # type: ignore[attr-defined]


def test_a_rule_of_one_alert_tells_what_it_found() -> None:
    (said,) = asked([(at(0), event())], "db1", group_rule())

    assert said.window is None
    assert isinstance(said.answers[0], Finding)


def test_a_key_that_lacks_and_times_that_do_not_hold_are_told() -> None:
    later = {**group_rule("at-night"), "during": {"starts": "0 22 * * *", "lasts": "1h"}}

    off, lacking = asked([(at(0), event(service=""))], "db1", later, group_rule())

    assert not off.during
    assert lacking.lacks == ("service",)


def test_others_are_left_out() -> None:
    engine = engine_with(
        group_rule(), {**group_rule("n"), "during": {"starts": "0 22 * * *", "lasts": "1h"}}
    )
    trace = engine.trace("db2")

    run(engine, [(at(0), event())])

    assert not trace.asked


def test_the_latest_are_kept() -> None:
    engine = engine_with(threshold_rule(of="events"))
    trace = engine.trace("db1")

    run(engine, [(at(n), event(id=str(n))) for n in range(tracing.MAX_ASKED + 5)])

    ((fingerprint, times),) = trace.asked.items()
    assert len(times) == tracing.MAX_ASKED
    assert trace.left_out == {fingerprint: 5}
    assert times[-1].at == at(tracing.MAX_ASKED + 4)


def test_a_trace_changes_nothing() -> None:
    rules = (threshold_rule(), settle_rule('name="b"'), kind_rule("sequence", steps("a", "b")))
    feed: Feed = [
        (at(0), event("a")),
        (at(3), event("b", ci="c1")),
        (at(9), clear("b", ci="c1")),
        (at(500), TICK),
    ]
    traced, plain = engine_with(*rules), engine_with(*rules)
    traced.trace("db1")

    assert run(traced, feed) == run(plain, feed)


def test_the_first_condition_that_fails_is_that_of_the_selector_that_lacks_least() -> None:
    one = rule(
        group_rule(match=['name="cpu", service="bank"', 'name="disk", severity>="critical"'])
    )

    found = nearest(one, alert(severity=Severity.MAJOR))

    assert found is not None
    assert found.path == "match[1]"
    assert found.held == (Matcher("name", "=", "disk"),)
    assert (found.failed, found.has, found.others) == (
        Matcher("severity", ">=", "critical"),
        "major",
        0,
    )


def test_one_that_matches_lacks_nothing_and_a_value_is_told_as_a_number() -> None:
    hot = rule(group_rule(match='value>"90"'))

    assert nearest(rule(group_rule(match='name="disk"')), alert()) is None
    cold, none = nearest(hot, alert(value=12.5)), nearest(hot, alert())
    assert cold is not None
    assert none is not None
    assert (cold.has, none.has) == ("12.5", "")
