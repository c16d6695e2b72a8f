"""Whatever operators merge, split and detach: facts and tables agree, a restart changes nothing."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import (
    Feed,
    at,
    clear,
    engine_with,
    event,
    frames,
    group_rule,
    inventory,
    revived,
    run,
    silence,
)
from tests.properties.beliefs import Beliefs
from tests.properties.recount import agrees, agrees_with_alerts

from eventd.core.engine import Engine
from eventd.core.model import (
    Ci,
    Close,
    CommandRejected,
    Detach,
    Event,
    GiveVerdict,
    IncidentState,
    Input,
    Merge,
    Reopen,
    Resolve,
    Severity,
    Split,
    Status,
    Tick,
)

pytestmark = pytest.mark.usefixtures("unmeasured")

SITES = ("ams", "fra")
CIS = [
    *(Ci(f"sw-{site}") for site in SITES),
    *(Ci(f"{site}-app{n}", depends_on=(f"sw-{site}",)) for site in SITES for n in "abc"),
]
EVENTS = [
    *(event("down", ci=f"sw-{s}", severity=Severity.CRITICAL, service="") for s in SITES),
    *(event("slow", ci=f"{s}-app{n}", service="") for s in SITES for n in "abc"),
    *(event(name, service="shop") for name in ("disk", "cpu")),
]
RULES = [group_rule("shop", 'service="shop"')]
# what every example begins with: incidents of two sites, and of a rule
BEGIN: Feed = [
    (at(0), inventory(*CIS)),
    *((at(1 + n), one) for n, one in enumerate(EVENTS[:5])),
    (at(300), EVENTS[1]),
    (at(301), EVENTS[8]),
    (at(600), Tick()),
]


class Act(NamedTuple):
    """What to do after so many seconds; the numbers choose among what there is."""

    after: int
    kind: str
    one: int
    other: int


KINDS = (
    "fire",
    "fire",
    "clear",
    "tick",
    "merge",
    "split",
    "detach",
    "resolve",
    "close",
    "reopen",
    "verdict",
)
acts = st.lists(
    st.builds(
        Act,
        st.sampled_from((0, 1, 5, 60, 200, 301, 700)),
        st.sampled_from((*KINDS, "silence")),
        st.integers(0, 7),
        st.integers(0, 7),
    ),
    min_size=1,
    max_size=25,
)


def chosen(engine: Engine, act: Act, now: float) -> Input:
    """The input an act is, in the state the engine is in."""
    said: Event = EVENTS[(act.one + act.other) % len(EVENTS)]
    live = [one.id for one in engine.incidents() if one.state is not IncidentState.CLOSED] or ["?"]
    one, other = live[act.one % len(live)], live[act.other % len(live)]
    inside = [alert.fingerprint for alert in engine.alerts() if alert.incident == one] or ["?"]
    member = inside[act.other % len(inside)]
    orders: dict[str, Input] = {
        "fire": said,
        "clear": clear(said.name, ci=said.ci, severity=said.severity, service=said.service),
        "tick": Tick(),
        "merge": Merge(one, other, "ann"),
        "split": Split(one, tuple(dict.fromkeys((member, inside[0]))), "ann"),
        "detach": Detach(one, member, "ann"),
        "resolve": Resolve(one, "ann"),
        "close": Close(one, "ann"),
        "reopen": Reopen(one, "ann"),
        "verdict": GiveVerdict(one, bool(act.other % 2), "ann"),
        "silence": silence(f'ci="{said.ci}"', at(now + 100)),
    }
    return orders[act.kind]


@given(acts)
def test_facts_and_tables_agree_and_a_restart_changes_nothing(script: list[Act]) -> None:
    engine, beliefs, now = engine_with(*RULES), Beliefs(), 600.0
    for fact in run(engine, BEGIN):
        beliefs.take(fact)
    assert len(list(engine.incidents())) == 3

    for act in script:
        now += act.after
        twin = revived(engine)
        item = chosen(engine, act, now)
        facts = engine.step(item, at(now))
        assert twin.step(item, at(now)) == facts
        assert frames(twin) == frames(engine)
        for fact in facts:
            beliefs.take(fact)

        beliefs.agree_with(engine)
        agrees(engine.correlation.table)
        agrees_with_alerts(engine)
        fires = Counter(a.incident for a in engine.alerts() if a.status is Status.FIRING)
        for one in engine.incidents():
            if one.state is not IncidentState.CLOSED:
                assert one.firing == fires[one.id]


def test_most_orders_of_such_a_script_are_carried_out() -> None:
    engine = engine_with(*RULES)
    run(engine, BEGIN)
    script = [Act(1, kind, 0, 1) for kind in ("merge", "split", "detach")]

    facts = [engine.step(chosen(engine, act, 600), at(601)) for act in script]

    assert not [one for step in facts for one in step if isinstance(one, CommandRejected)]
