"""Builders: what a test does not name has a value that does not matter.

Times are seconds after T0. A feed is a list of (time, input) pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from eventd.core.engine import Engine
from eventd.core.labels import delivery_key, fingerprint_of, payload_key
from eventd.core.model import (
    AddSilence,
    Alert,
    Arrival,
    Ci,
    Event,
    Fact,
    Input,
    LoadInventory,
    LoadRules,
    Matcher,
    Service,
    Settings,
    Severity,
    Shifts,
    Started,
    Status,
    Tick,
    Window,
)
from eventd.core.rules import parse, text_of
from eventd.core.rules.rule import Rule
from eventd.core.rules.selectors import parse_selector
from eventd.core.snapshot import Restored
from eventd.zones import zones_of

T = TypeVar("T")
T0 = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
Feed = Sequence[tuple[datetime, Input]]


def at(seconds: float) -> datetime:
    """So many seconds after T0."""
    return T0 + timedelta(seconds=seconds)


def event(
    name: str = "disk",
    *,
    status: Status = Status.FIRING,
    severity: Severity = Severity.MAJOR,
    ci: str = "db1",
    service: str = "shop",
    source: str = "zabbix",
    summary: str = "",
    labels: dict[str, str] | None = None,
    value: float | None = None,
    id: str = "",  # noqa: A002 - the field's name
    payload: str = "",
    occurred_at: datetime | None = None,
    expires_at: datetime | None = None,
    repeats_within: float = 0.0,
    quiet_for: float = 0.0,
    arrival: Arrival = Arrival.LIVE,
    window: Window | None = None,
    volatile: tuple[str, ...] | None = (),
) -> Event:
    """An event whose key is strong exactly where it has an `id`."""
    words = {} if labels is None else labels
    said = payload or f"{name} {status.value} {severity.name} {value}"
    return Event(
        source=source,
        fingerprint=fingerprint_of(source, name, ci, service, words, volatile or ()),
        key=delivery_key(source, id) if id else payload_key(source, "", said.encode()),
        strong=bool(id),
        status=status,
        severity=severity,
        name=name,
        occurred_at=occurred_at,
        ci=ci,
        service=service,
        summary=summary,
        labels=words,
        value=value,
        id=id,
        expires_at=expires_at,
        repeats_within=repeats_within,
        quiet_for=quiet_for,
        arrival=arrival,
        window=window,
        volatile=volatile,
    )


def clear(name: str = "disk", **fields: object) -> Event:
    """The event that says that `event(name, …)` is over."""
    return event(name, status=Status.CLEARED, **fields)  # type: ignore[arg-type] # checked there


def alert(**fields: object) -> Alert:
    """The alert that `event(…)` fires."""
    fired = event(**fields)  # type: ignore[arg-type] # checked there
    return engine_after([(at(0), fired)]).alert(fired.fingerprint)


def group_rule(
    name: str = "by-service",
    match: str | list[str] = "",
    by: Sequence[str] = ("service",),
    within: str = "5m",
    **incident: object,
) -> dict[str, object]:
    """A `group` rule as plain data."""
    rule: dict[str, object] = {
        "name": name,
        "group": {"match": match},
        "by": list(by),
        "within": within,
    }
    return {**rule, "incident": incident} if incident else rule


def threshold_rule(
    name: str = "many",
    match: str | list[str] = "",
    *,
    count: int = 3,
    of: str = "alerts",
    by: Sequence[str] = ("service",),
    within: str = "60s",
    **incident: object,
) -> dict[str, object]:
    """A `threshold` rule as plain data."""
    rule: dict[str, object] = {
        "name": name,
        "threshold": {"match": match, "count": count, "of": of},
        "by": list(by),
        "within": within,
    }
    return {**rule, "incident": incident} if incident else rule


def kind_rule(
    kind: str,
    own: object,
    name: str = "it",
    *,
    by: Sequence[str] = ("service",),
    within: str = "60s",
    **incident: object,
) -> dict[str, object]:
    """A rule of any kind as plain data; `own` is the part of the kind."""
    rule: dict[str, object] = {"name": name, kind: own, "by": list(by), "within": within}
    return {**rule, "incident": incident} if incident else rule


def settle_rule(match: str = "", within: str = "1m", name: str = "blips") -> dict[str, object]:
    """A `settle` rule as plain data."""
    return {"name": name, "settle": {"match": match}, "within": within}


def inhibit_rule(
    source: str,
    target: str,
    equal: Sequence[str] = (),
    within: str = "5s",
    name: str = "explained",
) -> dict[str, object]:
    """An `inhibit` rule as plain data."""
    own = {"source": source, "target": target, "equal": list(equal)}
    return {"name": name, "inhibit": own, "within": within}


def dependency_rule(
    source: str, within: str = "5s", name: str = "below", **own: object
) -> dict[str, object]:
    """A `dependency` rule as plain data."""
    return {"name": name, "dependency": {"source": source, **own}, "within": within}


def calendar_rule(
    match: str = 'name="disk"',
    starts: str = "10 10 * * mon",
    lasts: str = "10m",
    zone: str = "Europe/Berlin",
    name: str = "known",
) -> dict[str, object]:
    """A `calendar` rule as plain data."""
    own = {"match": match, "starts": starts, "lasts": lasts, "zone": zone}
    return {"name": name, "calendar": own}


def steps(*names: str, **more: object) -> list[dict[str, object]]:
    """Steps, or parts, that match alerts by their names; the last one has `more`."""
    parts: list[dict[str, object]] = [{"as": one, "match": f'name="{one}"'} for one in names]
    return [*parts[:-1], {**parts[-1], **more}]


def rule(data: dict[str, object] | None = None) -> Rule:
    """The rule, parsed."""
    return parse(group_rule() if data is None else data)


def load(*rules: dict[str, object], version: str = "v1") -> LoadRules:
    """A set of rules."""
    zones: dict[str, Shifts] = {}
    for data in rules:
        if "calendar" in data or "during" in data:
            zones |= zones_of(parse(data))
    return LoadRules(version, tuple(text_of(data) for data in rules), zones)


def inventory(*rows: Service | Ci, version: str = "i1") -> LoadInventory:
    """An inventory of these rows."""
    services = tuple(row for row in rows if isinstance(row, Service))
    return LoadInventory(version, services, tuple(row for row in rows if isinstance(row, Ci)))


def started(**settings: float) -> Started:
    """The daemon starts with these settings."""
    return Started("1.0", Settings(**settings))  # type: ignore[arg-type] # max_* are ints


def silence(match: str, ends_at: datetime, *, actor: str = "ann", key: bytes = b"") -> AddSilence:
    """A command to silence what matches."""
    return AddSilence(matchers(match), ends_at, actor, "known", key)


def matchers(text: str) -> tuple[Matcher, ...]:
    """A selector, parsed."""
    return parse_selector(text)


def maintenance(
    name: str = "CHG1",
    *,
    starts: float = 0,
    ends: float = 600,
    cis: Iterable[str] = (),
    services: Iterable[str] = (),
    id: str = "",  # noqa: A002 - as the field is called
) -> Event:
    """A change that announces planned maintenance."""
    window = Window(at(starts), at(ends), tuple(cis), tuple(services))
    return event(name, status=Status.CHANGE, ci="", service="", window=window, id=id)


def run(engine: Engine, feed: Feed) -> list[Fact]:
    """Step everything; the facts in order."""
    return [fact for now, item in feed for fact in engine.step(item, now)]


def facts_of(feed: Feed, *rules: dict[str, object]) -> list[Fact]:
    """What the feed causes in an engine with these rules, their loading left out."""
    engine = engine_with(*rules)
    return run(engine, feed)


def last(feed: Feed, *rules: dict[str, object]) -> list[Fact]:
    """What the last input of the feed caused."""
    engine = engine_with(*rules)
    run(engine, feed[:-1])
    now, item = feed[-1]
    return list(engine.step(item, now))


def engine_with(*rules: dict[str, object]) -> Engine:
    """An engine in which these rules are loaded."""
    engine = Engine()
    if rules:
        engine.step(load(*rules), T0)
    return engine


def engine_after(feed: Feed, *rules: dict[str, object]) -> Engine:
    """An engine with these rules that has seen the feed."""
    engine = engine_with(*rules)
    run(engine, feed)
    return engine


def revived(engine: Engine) -> Engine:
    """The engine a snapshot of this one restores to."""
    return Engine.restore(Restored(engine.snapshot().frames()))


def frames(engine: Engine) -> list[bytes]:
    """Its whole state, comparable."""
    return list(engine.snapshot().frames())


TICK = Tick()


def only(kind: type[T], facts: Iterable[Fact]) -> T:
    """The one fact of this kind."""
    (found,) = [fact for fact in facts if isinstance(fact, kind)]
    return found
