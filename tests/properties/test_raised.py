"""Alerts of rules that explain, end and make room of what made them: facts and tables agree."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from msgspec.structs import replace
from tests.builders import (
    TICK,
    at,
    engine_with,
    event,
    frames,
    group_rule,
    inhibit_rule,
    inventory,
    kind_rule,
    load,
    revived,
    settle_rule,
    silence,
    started,
)
from tests.properties.beliefs import Beliefs
from tests.properties.recount import agrees, agrees_with_rules

from eventd.core.engine import Engine
from eventd.core.model import (
    Ci,
    EndSilence,
    IncidentState,
    Input,
    RuleSwitchedOff,
    Severity,
    Status,
    TimerFailed,
)

pytestmark = pytest.mark.usefixtures("unmeasured")

Data = dict[str, object]


def fires(name: str, match: str, by: str, severity: str) -> Data:
    """A rule that fires an alert of that name."""
    rule = kind_rule("group", {"match": match}, name, by=[by])
    return {**rule, "alert": {"severity": severity}}


RULES: tuple[Data, ...] = (
    fires("apps", 'name="app"', "name", "major"),
    inhibit_rule('name=~"apps|core"', 'name=~"app|up"'),
    kind_rule("pair", {"opens": 'name="app"', "closes": 'name="up"'}, "ends", by=["ci"]),
    fires("grave", "severity>=critical", "ci", "minor"),
    fires("more", 'name="apps"', "name", "major"),
    group_rule("outage", 'name=~"apps|grave"', by=["name"]),
    inhibit_rule('name="grave"', 'name=~"core|app"', name="by-grave"),
    inhibit_rule('name="odd"', 'name=~"up|more"', within="20s", name="by-odd"),
    settle_rule('name=~"apps|odd"', "5s"),
)
# the last one under an alias
ALERTS = (("app", "a"), ("app", "b"), ("app", "c"), ("up", "a"), ("core", "d"), ("odd", "e"))
ALIASES = inventory(Ci("c", aliases=("e",)))
COVERED = ('name=~"apps|up|odd"', 'source="eventd"', 'name=~"up|app"')
KINDS = (*["fire"] * 7, *["clear"] * 4, *["worsen"] * 2, *["silence"] * 2, "tick", "end", "load")
STEPS = ((0, 1, 5), (0, 1, 5, 30, 301), (0, 5, 301, 90_000))  # s between two inputs
CAPS = (1, 2, 3, 4, 5, 6, *[100_000] * 4)
SEEDS = 60


def chosen(random: Random, rules: list[Data], now: float) -> Input:
    """The next input."""
    name, ci = random.choice(ALERTS)
    said = event(name, ci=ci, service="", payload=f"{random.random()}")
    match random.choice(KINDS):
        case "fire":
            return said
        case "worsen":
            return replace(said, severity=Severity.CRITICAL)
        case "clear":
            return replace(said, status=Status.CLEARED)
        case "silence":
            return silence(random.choice(COVERED), at(now + 30))
        case "end":
            return EndSilence(f"SIL-{random.randint(1, 9):06d}", "ann")
        case "load":
            others = random.sample(rules, len(rules) - random.randint(0, 2))
            return load(*others, version=str(now))
        case _:
            return TICK


@pytest.mark.parametrize("seed", range(SEEDS))
def test_facts_and_tables_agree_and_a_restart_changes_nothing(seed: int) -> None:
    random = Random(seed)
    rules = random.sample(RULES, random.randint(6, len(RULES)))
    engine, beliefs, now = engine_with(*rules), Beliefs(), 0.0
    engine.step(started(max_alerts=random.choice(CAPS)), at(0))
    engine.step(ALIASES, at(0))
    twin, steps = revived(engine), random.choice(STEPS)

    for _ in range(100):
        now += random.choice(steps)
        item = chosen(random, rules, now)
        facts = engine.step(item, at(now))
        assert twin.step(item, at(now)) == facts
        for fact in facts:
            assert not isinstance(fact, TimerFailed | RuleSwitchedOff)
            beliefs.take(fact)

        beliefs.agree_with(engine)
        agrees(engine.correlation.table)
        agrees_with_rules(engine)
        counts_its_alerts(engine)
        if random.random() < 0.05:
            twin = revived(engine)
    assert frames(twin) == frames(engine)


def counts_its_alerts(engine: Engine) -> None:
    """Assert that an incident that is not closed counts exactly those that fire in it."""
    fire = Counter(a.incident for a in engine.alerts() if a.status is Status.FIRING)
    for one in engine.incidents():
        if one.state is not IncidentState.CLOSED:
            assert one.firing == fire[one.id]
