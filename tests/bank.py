"""A small bank in which things depend on things: what tests of the correlation happen in."""

from __future__ import annotations

from collections.abc import Iterable

from eventd.core.engine import Engine
from eventd.core.model import (
    Ci,
    Dependency,
    Event,
    Fact,
    Incident,
    IncidentOpened,
    Severity,
)
from tests.builders import T0, TICK, Feed, at, engine_with, event, inventory, load, run

# Two stores that have nothing to do with each other, and what stands on them. The portal stands
# on both; the printers are known, and depend on nothing.
BANK = inventory(
    Ci("san-a"),
    Ci("db-a", depends_on=("san-a",)),
    Ci("db-b", depends_on=("san-a",)),
    Ci("shop", depends_on=("db-a",)),
    Ci("pay", depends_on=("db-b",)),
    Ci("web", depends_on=("shop",)),
    Ci("nas", depends_on=()),
    Ci("mail", depends_on=("nas",)),
    Ci("fax", depends_on=("nas",)),
    Ci("hr", depends_on=("mail",)),
    Ci("portal", depends_on=("shop", "mail")),
    Ci("spare", depends_on=(Dependency("nas", redundant=True),)),
    *(Ci(f"branch-{n:02d}", site="north") for n in range(1, 9)),
)
MAJOR, CRITICAL, WARNING = Severity.MAJOR, Severity.CRITICAL, Severity.WARNING


def down(ci: str, name: str = "down", severity: Severity = CRITICAL, **fields: object) -> Event:
    """Something is down."""
    return event(name, ci=ci, severity=severity, **fields)  # type: ignore[arg-type]


def feed_of(*told: tuple[float, Event], until: float = 0) -> Feed:
    """In order, in the bank; then time passes."""
    in_order = sorted(told, key=lambda one: one[0])
    start = min(T0, at(in_order[0][0])) if told else T0
    feed: Feed = [(start, BANK), *((at(second), item) for second, item in in_order)]
    return [*feed, (at(until), TICK)] if until else feed


def bank(
    *told: tuple[float, Event], until: float = 0, rules: Iterable[dict[str, object]] = ()
) -> Engine:
    """The engine after that."""
    engine = engine_with()
    if rules:
        engine.step(load(*rules), T0)
    run(engine, feed_of(*told, until=until))
    return engine


def facts(*told: tuple[float, Event], until: float = 0) -> list[Fact]:
    """All that was told of it."""
    return run(engine_with(), feed_of(*told, until=until))


def later(engine: Engine, *told: tuple[float, Event], until: float = 0) -> list[Fact]:
    """What follows from what happens then."""
    more: Feed = [(at(second), item) for second, item in told]
    return run(engine, [*more, (at(until), TICK)] if until else more)


def opened(told: Iterable[Fact]) -> list[Incident]:
    """The incidents as they were opened."""
    return [fact.incident for fact in told if isinstance(fact, IncidentOpened)]


def members(engine: Engine) -> dict[str, list[str]]:
    """The CIs of the alerts of each incident, sorted."""
    found: dict[str, list[str]] = {}
    for alert in engine.alerts():
        if alert.incident:
            found.setdefault(alert.incident, []).append(alert.ci)
    return {incident: sorted(cis) for incident, cis in sorted(found.items())}
