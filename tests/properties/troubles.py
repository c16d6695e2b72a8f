"""Random troubles in a small bank: every one of them is an incident when it is over.

A trouble is a root that alerts and some of what depends on it, each for long enough to be raised.
Around it happens what happens anywhere: blips, heartbeats, changes, escalations, operators.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from hypothesis import strategies as st
from tests.builders import (
    T0,
    TICK,
    Feed,
    at,
    clear,
    event,
    group_rule,
    inventory,
    kind_rule,
    load,
    maintenance,
    silence,
    started,
    steps,
    threshold_rule,
)

from eventd.core.model import (
    Acknowledge,
    Ci,
    Close,
    Dependency,
    Detach,
    Event,
    Input,
    LoadInventory,
    Merge,
    Reopen,
    Resolve,
    Severity,
    Split,
    Status,
)

Timed = tuple[float, Input]
STACKS = (1, 2)
NAMES = ("down", "errors", "slow")
OTHERS = ("cpu", "errors", "ping")
QUIET = 30_000.0  # s; by then every cluster is forgotten
RULES = (
    group_rule("errors", 'name="errors"', by=["ci"], within="5m"),
    threshold_rule("many", 'name="slow"', count=2, of="alerts", by=["name"], within="5m"),
    kind_rule("sequence", steps("down", "errors", without='name="ping"'), by=["service"]),
)


def stack(number: int) -> tuple[Ci, ...]:
    """A store, two databases on it, applications on those, web servers on those."""
    n = number
    return (
        Ci(f"san{n}"),
        Ci(f"db{n}a", depends_on=(f"san{n}",)),
        Ci(f"db{n}b", depends_on=(f"san{n}",)),
        Ci(f"app{n}a", depends_on=(f"db{n}a", Dependency(f"db{n}b", redundant=True))),
        Ci(f"app{n}b", depends_on=(f"db{n}b",)),
        Ci(f"web{n}a", depends_on=(f"app{n}a",), site=f"site{n}"),
        Ci(f"web{n}b", depends_on=(f"app{n}b",), site=f"site{n}"),
    )


def below(number: int) -> tuple[str, ...]:
    """What depends on the store."""
    return tuple(ci.name for ci in stack(number)[1:])


BANK = inventory(*(ci for number in STACKS for ci in stack(number)))
CHAINED = inventory(  # the second store on the first
    *stack(1), Ci("san2", depends_on=("san1",)), *stack(2)[1:], version="i2"
)
EMPTY = LoadInventory("")
EVERYWHERE = (*(ci.name for number in STACKS for ci in stack(number)), "odd1", "odd2")
SETTINGS: tuple[dict[str, float], ...] = (
    {},
    {"forget_after": 400.0},
    {"max_alerts": 4},
    {"storm_above": 3},
    {"max_incidents": 2},
    {"resolve_after": 0.0},
)


@st.composite
def troubles(
    draw: st.DrawFn,
    number: int,
    *,
    names: tuple[str, ...] = NAMES,
    linked: bool = False,
    ends: bool = True,
) -> list[Timed]:
    """A store goes, and takes at least two things with it.

    `linked`: where something alerts, so does what it depends on. `ends`: some of it does.
    """
    start = draw(st.integers(0, 900))
    victims = draw(st.lists(st.sampled_from(below(number)), min_size=2, max_size=6, unique=True))
    if linked:
        every = {name for victim in victims for name in (victim, *_hard(number, victim))}
        victims = [name for name in below(number) if name in every]
    told: list[Timed] = []
    for ci in (f"san{number}", *victims):
        name = draw(st.sampled_from(names))
        severity = draw(st.sampled_from((Severity.MAJOR, Severity.CRITICAL)))
        began = start + draw(st.integers(0, 90))
        fired = event(name, ci=ci, severity=severity, id=f"f{ci}{name}", occurred_at=at(began))
        told.append((began, fired))
        if ends and draw(st.booleans()):
            over = began + draw(st.integers(400, 2_500))
            ended = clear(name, ci=ci, id=f"c{ci}{name}", occurred_at=at(over))
            told.append((over, ended))
    return told


def _hard(number: int, name: str) -> list[str]:
    """What something depends on, directly or not, and the store is not it."""
    needs = {ci.name: ci.depends_on for ci in stack(number)}
    found: list[str] = []
    for needed in needs[name]:
        if isinstance(needed, str) and needed != f"san{number}":
            found += [needed, *_hard(number, needed)]
    return found


@st.composite
def blips(draw: st.DrawFn, cis: tuple[str, ...], names: tuple[str, ...] = OTHERS) -> list[Timed]:
    """A check cries wolf some times."""
    ci, name = draw(st.sampled_from(cis)), draw(st.sampled_from(names))
    severity = draw(st.sampled_from(list(Severity)))
    told: list[Timed] = []
    start = float(draw(st.integers(0, 3_000)))
    for _ in range(draw(st.integers(1, 5))):
        lasts = draw(st.integers(1, 200))
        told.append((start, event(name, ci=ci, severity=severity)))
        told.append((start + lasts, clear(name, ci=ci)))
        start += lasts + draw(st.integers(20, 900))
    return told


@st.composite
def worsenings(draw: st.DrawFn) -> list[Timed]:
    """An alert of several severities, and of two sources."""
    ci, name = draw(st.sampled_from(EVERYWHERE)), draw(st.sampled_from(OTHERS))
    start = draw(st.integers(0, 2_000))
    return [
        (
            start + 40 * step,
            event(
                name,
                ci=ci,
                source=draw(st.sampled_from(("zabbix", "nagios"))),
                severity=draw(st.sampled_from(list(Severity))),
                status=draw(st.sampled_from((Status.FIRING, Status.FIRING, Status.CLEARED))),
                payload=f"{step}",
            ),
        )
        for step in range(draw(st.integers(1, 8)))
    ]


@st.composite
def beats(draw: st.DrawFn) -> list[Timed]:
    """Two things beat; one falls silent for a while, or for ever."""
    period = draw(st.integers(20, 60))
    stops = draw(st.integers(6, 12))
    back = draw(st.integers(stops, 40))
    return [
        (
            float(period * beat),
            event("alive", ci=ci, status=Status.HEARTBEAT, payload=f"{beat}", source="agent"),
        )
        for beat in range(30)
        for ci in ("web1a", "db2a")
        if ci == "db2a" or not stops <= beat < back
    ]


@st.composite
def others(draw: st.DrawFn) -> list[Timed]:
    """One thing that happens besides."""
    when = float(draw(st.integers(0, 4_000)))
    ci = draw(st.sampled_from(EVERYWHERE))
    incident = f"INC-{draw(st.integers(1, 3)):06d}"
    settings = draw(st.sampled_from(SETTINGS))
    fingerprints = [
        event(draw(st.sampled_from(NAMES)), ci=draw(st.sampled_from(EVERYWHERE))).fingerprint
        for _ in range(2)
    ]
    items: tuple[Input, ...] = (
        Merge(incident, f"INC-{draw(st.integers(1, 3)):06d}", "ann"),
        Split(incident, tuple(fingerprints), "ann"),
        Split(incident, (fingerprints[0],), "ann"),
        Detach(incident, fingerprints[0], "ann"),
        event("deploy", ci=ci, status=Status.CHANGE),
        event("note", ci=ci, status=Status.INFO),
        event("cpu", ci=ci, repeats_within=90.0),
        event("login", ci=ci, quiet_for=100.0),
        event("door", ci="", service=""),
        event("errors", ci=ci, occurred_at=at(when - 700)),
        Acknowledge(incident, "ann"),
        Resolve(incident, "ann"),
        Reopen(incident, "ann"),
        Close(incident, "ann"),
        silence('name=~"errors|cpu"', at(when + 500)),
        maintenance(starts=when - 100, ends=when + 100, cis=[ci]),
        load(*RULES, version=f"{when}"),
        started(**settings),
        draw(st.sampled_from((BANK, CHAINED, EMPTY))),
        TICK,
    )
    return [(when, draw(st.sampled_from(items)))]


def feed_of(*parts: Iterable[Timed], loaded: LoadInventory = BANK) -> Feed:
    """All parts in order of time, after the inventory and until all is over."""
    told = sorted((one for part in parts for one in part), key=lambda one: one[0])
    feed: list[tuple[datetime, Input]] = [(T0, loaded)]
    feed += [(at(second), item) for second, item in told]
    return [*feed, (at(QUIET), TICK)]


@st.composite
def days(draw: st.DrawFn) -> Feed:
    """One or two troubles, and everything else that may happen."""
    parts = [draw(troubles(draw(st.sampled_from(STACKS))))]
    besides = st.one_of(
        troubles(1), troubles(2), blips(EVERYWHERE), worsenings(), beats(), others()
    )
    parts += draw(st.lists(besides, max_size=8))
    return feed_of(*parts)


@st.composite
def calm_days(draw: st.DrawFn) -> Feed:
    """One or two troubles, blips and worsenings: nobody does anything."""
    parts = [draw(troubles(draw(st.sampled_from(STACKS))))]
    besides = st.one_of(troubles(1), troubles(2), blips(EVERYWHERE), worsenings())
    parts += draw(st.lists(besides, max_size=5))
    return feed_of(*parts)


def events_of(feed: Feed) -> list[Event]:
    """The events in a feed."""
    return [item for _, item in feed if isinstance(item, Event)]
