"""A score may add weight to what rules say, and never takes any of it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bank import BANK
from tests.builders import T0, Feed, at, clear, engine_with, event, group_rule, run
from tests.core.test_anomaly import USUAL, orders

from eventd.core.model import AlertFired, AlertJoined, Fact

SCORES: dict[str, object] = {
    "name": "odd",
    "anomaly": {"match": ['status="info"', 'source!="eventd"'], "budget": "10000 per day"},
    "by": ["ci", "name"],
}
RULES = [
    group_rule("shop", 'source!="eventd", ci="shop"', by=["ci"], within="5m"),
    group_rule("down", 'source!="eventd", name="down"', by=["name"], within="10m"),
]
LEARNT: Feed = [(at(60.0 * n), orders(USUAL[n % len(USUAL)])) for n in range(150)]
CIS = ("shop", "db-a", "san-a")
acts = st.lists(
    st.tuples(
        st.sampled_from((0, 1, 30, 90, 400)),
        st.sampled_from(("odd", "usual", "alert", "clear", "down", "up")),
        st.sampled_from(CIS),
    ),
    min_size=1,
    max_size=25,
)


def feed_of(script: list[tuple[int, str, str]]) -> Feed:
    now, feed = 9000.0, list(LEARNT)
    for n, (after, what, ci) in enumerate(script):
        now += after
        items = {
            "odd": orders(1e6 + n),
            "usual": orders(USUAL[n % len(USUAL)]),
            "alert": event("full", ci=ci, value=float(n)),
            "clear": clear("full", ci=ci),
            "down": event("down", ci=ci),
            "up": clear("down", ci=ci),
        }
        feed.append((at(now), items[what]))
    return feed


def claimed(facts: list[Fact]) -> set[tuple[str, str, int]]:
    """Which episodes which rules have put into an incident of theirs."""
    return {
        (fact.because.rule, fact.fingerprint, fact.episode)
        for fact in facts
        if isinstance(fact, AlertJoined) and fact.because.rule in {"shop", "down"}
    }


@settings(max_examples=40, deadline=None)
@given(acts)
def test_what_rules_claim_they_claim_with_scores_too(
    script: list[tuple[int, str, str]],
) -> None:
    told: list[list[Fact]] = []
    for rules in (RULES, [*RULES, SCORES]):
        engine = engine_with(*rules)
        engine.step(BANK, T0)
        told.append(run(engine, feed_of(script)))

    without, scored = told

    assert claimed(without) <= claimed(scored)


def test_something_strange_is_told_of_in_such_a_script() -> None:
    engine = engine_with(*RULES, SCORES)
    engine.step(BANK, T0)

    facts = run(engine, feed_of([(1, "down", "shop"), (30, "odd", "shop")]))

    assert [one for one in facts if isinstance(one, AlertFired) and one.alert.source == "eventd"]
    assert claimed(facts)
