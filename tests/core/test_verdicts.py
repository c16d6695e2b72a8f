"""Verdicts of operators: whether there was something to hear of, and whom that teaches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bank import opened
from tests.builders import (
    TICK,
    Feed,
    at,
    engine_after,
    engine_with,
    event,
    frames,
    group_rule,
    only,
    revived,
    rule,
    run,
)
from tests.core.test_anomaly import (
    ANOMALY,
    LOW,
    STARTS,
    UNBOUNDED,
    USUAL,
    bank,
    feed_of,
    measured,
    streams,
)

from eventd.core.engine import Engine
from eventd.core.model import (
    AlertRaised,
    Close,
    CommandRejected,
    GiveVerdict,
    Incident,
    Merge,
    Strange,
    VerdictGiven,
)
from eventd.core.rules.anomaly import State
from eventd.core.rules.budget import MOST_DOUBT, MOST_TRUST, STEP, Budget
from eventd.core.rules.rule import Limits
from eventd.core.scoring.scorer import HALF
from eventd.core.sentences import happened
from eventd.core.verdicts import MAX_JUDGED

JUDGED = STARTS + 300  # when somebody says so: the incident is open
LONG_AFTER = STARTS + 100_000  # and when the store alone remembers it
AGAIN = STARTS + 200_000


def fallen() -> tuple[Engine, Incident]:
    """Sales fell for a while, and that was an incident."""
    engine = bank()
    facts = run(engine, feed_of(measured(LOW, 3, STARTS)))
    facts += run(engine, feed_of(measured(USUAL, 60, STARTS + 180)))
    (incident,) = opened(facts)
    return engine, incident


def told(incident: str, verdict: bool, when: float, engine: Engine) -> VerdictGiven:
    return only(VerdictGiven, engine.step(GiveVerdict(incident, verdict, "ann", "x"), at(when)))


def needed(engine: Engine) -> float:
    """What the next alert of the same stream takes."""
    run(engine, feed_of(measured(USUAL, 20, AGAIN)))
    facts = run(engine, feed_of(measured((1e6,), 1, AGAIN + 1200)))
    because = only(AlertRaised, facts).because
    assert isinstance(because, Strange)
    return because.needed


@pytest.mark.parametrize("when", [JUDGED, LONG_AFTER])
def test_what_cried_wolf_asks_for_more_and_what_was_right_is_trusted(when: float) -> None:
    silent, _ = fallen()
    wrong, incident = fallen()
    right, _ = fallen()

    said = told(incident.id, False, when, wrong)

    assert said == VerdictGiven(at(when), incident.id, False, "ann", "x", (("odd", 1),))
    assert happened(said, incident.id) == (
        "ann says it was a false alarm (x); 1 stream of rule odd asks for more"
    )
    said = told(incident.id, True, when, right)
    assert happened(said, incident.id) == (
        "ann says it was right to tell of it (x); 1 stream of rule odd is trusted more"
    )
    usual = needed(silent)
    assert needed(wrong) == pytest.approx(usual + STEP, abs=0.02)
    assert HALF <= needed(right) < usual


@pytest.mark.parametrize("when", [JUDGED, LONG_AFTER])
@pytest.mark.parametrize("verdict", [True, False])
def test_a_verdict_given_anew_takes_back_the_one_before(*, when: float, verdict: bool) -> None:
    straight, incident = fallen()
    changed, _ = fallen()
    told(incident.id, verdict, when, straight)

    told(incident.id, not verdict, when, changed)
    told(incident.id, verdict, when, changed)

    assert frames(changed) == frames(straight)


@pytest.mark.parametrize("when", [JUDGED, LONG_AFTER])
def test_the_same_verdict_again_is_refused(when: float) -> None:
    engine, incident = fallen()
    told(incident.id, False, when, engine)

    again = engine.step(GiveVerdict(incident.id, False, "bob"), at(when + 1))

    error = f"{incident.id} has that verdict already"
    assert again == (CommandRejected(at(when + 1), missing=False, error=error),)


def test_a_verdict_on_an_incident_without_scores_is_told_and_teaches_nobody() -> None:
    engine = engine_after([(at(0), event("a"))], group_rule("by-service"), ANOMALY)
    engine.step(Close("INC-000001", "ann"), at(1))
    closed = engine.incident("INC-000001")

    assert told("INC-000001", True, 2, engine).taught == ()
    assert engine.incident("INC-000001") == closed
    assert told("INC-000001", False, 10_000, engine).taught == ()


@pytest.mark.parametrize("name", ["INC-000002", "INC-1", "INC-", "INC-000000", "x", "INC-²"])
def test_of_an_incident_that_never_was_there_is_no_verdict(name: str) -> None:
    engine = engine_after([(at(0), event("a"))], group_rule("by-service"))

    (said,) = engine.step(GiveVerdict(name, True, "ann"), at(1))

    assert said == CommandRejected(at(1), missing=True, error=f"no incident {name}")


def test_a_merged_incident_says_which_one_to_judge() -> None:
    feed: Feed = [(at(0), event("a")), (at(1), event("b", service="bank"))]
    engine = engine_after(feed, group_rule("by-service"))
    engine.step(Merge("INC-000002", "INC-000001", "ann"), at(2))

    (said,) = engine.step(GiveVerdict("INC-000002", True, "ann"), at(3))

    assert isinstance(said, CommandRejected)
    assert said.error == "INC-000002 is one with INC-000001; say it of that one"
    assert told("INC-000002", True, 10_000, engine).taught == ()  # nobody remembers where it went


def test_a_stream_that_was_let_go_learns_nothing() -> None:
    state = State(rule(UNBOUNDED), Limits(1))
    values = [("a", USUAL[n % len(USUAL)]) for n in range(200)]
    streams(state, [*values, ("a", 1e6)])
    (alert,) = state.budget.criers

    streams(state, [("b", 1.0)])

    assert state.budget.criers == {}
    assert not state.budget.judge(alert, None, verdict=True)


def test_the_oldest_closed_incidents_teach_no_more() -> None:
    engine, incident = fallen()
    engine.step(TICK, at(LONG_AFTER))
    judged = engine._state.judged
    assert list(judged) == [incident.id]

    judged |= {f"INC-{n}": (None, ["f"]) for n in range(MAX_JUDGED)}
    told(incident.id, True, LONG_AFTER, engine)

    assert len(judged) == MAX_JUDGED
    assert next(iter(judged)) == "INC-0"


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_trust_and_doubt_are_bounded_whatever_is_said(said: list[tuple[bool, bool]]) -> None:
    budget = Budget(1e-6)
    trust, was = budget.spend("f", None), None

    for verdict, again in said:
        budget.judge("f", was, verdict)
        assert -MOST_TRUST <= trust.doubt <= MOST_DOUBT
        assert budget.of(trust) >= HALF
        was = verdict if again else None


@pytest.mark.parametrize("when", [JUDGED, LONG_AFTER])
def test_a_restart_keeps_what_was_said(when: float) -> None:
    engine, incident = fallen()
    told(incident.id, True, when, engine)

    twin = revived(engine)

    assert needed(twin) == needed(engine)
    order = GiveVerdict(incident.id, True, "bob")
    assert twin.step(order, at(AGAIN + 9000)) == engine.step(order, at(AGAIN + 9000))
    assert frames(twin) == frames(engine)


def test_without_a_rule_that_scores_nothing_is_kept() -> None:
    engine = engine_with(group_rule("by-service"))
    run(engine, [(at(0), event("a")), (at(1), Close("INC-000001", "ann")), (at(9000), TICK)])

    assert engine._state.judged == {}
