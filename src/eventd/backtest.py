"""Recorded inputs through the engine in virtual time: no network, no state left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

import msgspec
from msgspec import Struct

from eventd.core.engine import Engine
from eventd.core.model import (
    AlertCleared,
    AlertFired,
    AlertJoined,
    AlertSuppressed,
    Because,
    Event,
    Fact,
    FindingNoted,
    Incident,
    IncidentAcknowledged,
    IncidentClosed,
    IncidentCommented,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    IncidentUpdated,
    Input,
    LoadInventory,
    LoadRules,
    Started,
)
from eventd.recording import Line

Episode = tuple[str, int]  # fingerprint and episode


class Span(Struct, frozen=True, omit_defaults=True):
    """One event of a replay: where its alert's episode finally belongs, and why."""

    event: str
    incident: str | None
    because: Because | str | None


class Outcome(Struct, frozen=True):
    """One incident of a replay."""

    incident: str
    opened_at: datetime
    closed_at: datetime | None  # when it resolved
    root_entity: str | None
    root_ranked: tuple[str, ...]
    entities: tuple[str, ...]
    priority: str
    title: str


class Backtest:
    """Plays lines and remembers what became of every event.

    A recording that carries its own starts and loads is played with them, unless `rules` or
    `inventory` say otherwise; else it starts with those and default settings.
    """

    def __init__(
        self,
        inputs_of: Callable[[Line], tuple[Input, ...]],
        rules: LoadRules,
        inventory: LoadInventory | None = None,
        *,
        forced: bool,
    ) -> None:
        """`forced`: `rules` replace those of the recording, as an `inventory` does."""
        self.engine = Engine()
        self.events = self.refused = 0
        self._inputs_of, self._rules, self._forced = inputs_of, rules, forced
        self._inventory = inventory
        self._now: datetime | None = None
        self._seen: list[tuple[str, Episode]] = []
        self._episodes: dict[str, int] = {}
        self._joined: dict[Episode, AlertJoined] = {}
        self._suppressed: dict[Episode, str] = {}
        self._incidents: dict[str, Incident] = {}
        self._members: dict[str, dict[str, None]] = {}
        self._cis: dict[str, str] = {}

    def play(self, lines: Iterable[Line]) -> Iterator[tuple[datetime, Input, tuple[Fact, ...]]]:
        """Step every input; yields what each caused."""
        for line in lines:
            own = line.own
            if self._now is None and not isinstance(own, Started):
                yield from self._step(Started("replay"), line.at)
            if self._replaced(own):
                continue
            if not isinstance(own, Started | LoadRules | LoadInventory):
                for load in self._missing():
                    yield from self._step(load, line.at)
            for one in (own,) if own is not None else self._inputs_of(line):
                yield from self._step(one, line.at)

    def _replaced(self, own: Input | None) -> bool:
        """Whether the operator gave another one to play with."""
        match own:
            case LoadRules():
                return self._forced
            case LoadInventory():
                return self._inventory is not None
            case _:
                return False

    def _missing(self) -> Iterator[LoadRules | LoadInventory]:
        """What has to be loaded before anything can be judged."""
        if not self.engine.rules_version:
            yield self._rules
        if self._inventory is not None and not self.engine.inventory.version:
            yield self._inventory

    def spans(self) -> Iterator[Span]:
        """One for each event, in order."""
        for event, episode in self._seen:
            joined = self._joined.get(episode)
            if joined is not None:
                yield Span(event, joined.incident, joined.because)
            else:
                by = self._suppressed.get(episode)
                yield Span(event, None, f"suppressed by {by}" if by else None)

    def incidents(self) -> Iterator[Incident]:
        """Every incident that was opened, as it stands at the end."""
        return iter(self._incidents.values())

    def outcomes(self) -> Iterator[Outcome]:
        """One for each incident, in order of opening."""
        for incident in self._incidents.values():
            members = self._members.get(incident.id, {})
            cis = tuple(dict.fromkeys(c for f in members if (c := self._cis.get(f, ""))))
            yield Outcome(
                incident.id,
                incident.opened_at,
                incident.resolved_at,
                cis[0] if cis else None,
                cis[:10],
                cis,
                f"P{incident.priority}",
                incident.title,
            )

    def _step(
        self, item: Input, at: datetime
    ) -> Iterator[tuple[datetime, Input, tuple[Fact, ...]]]:
        now = at if self._now is None or at > self._now else self._now
        self._now = now
        fingerprint = self.engine.identify(item) if isinstance(item, Event) else ""
        facts = self.engine.step(item, now)
        touched: dict[str, None] = {}
        for fact in facts:
            self._note(fact, touched)
        if isinstance(item, Event):
            self.events += 1
            name = item.id or str(self.events)
            self._seen.append((name, (fingerprint, self._episodes.get(fingerprint, 0))))
        for incident in touched:
            self._incidents[incident] = self.engine.incident(incident)
        yield now, item, facts

    def _note(self, fact: Fact, touched: dict[str, None]) -> None:
        match fact:
            case AlertFired(_, alert):
                self._episodes[alert.fingerprint] = alert.episode
                self._cis[alert.fingerprint] = alert.ci
            case AlertJoined():
                self._joined[fact.fingerprint, fact.episode] = fact
                self._members.setdefault(fact.incident, {})[fact.fingerprint] = None
                touched[fact.incident] = None
            case AlertSuppressed():
                self._suppressed[fact.fingerprint, fact.episode] = fact.by
            case AlertCleared() if fact.incident:
                touched[fact.incident] = None
            case IncidentOpened():
                touched[fact.incident.id] = None
            case (
                IncidentUpdated()
                | IncidentAcknowledged()
                | IncidentCommented()
                | IncidentResolved()
                | IncidentReopened()
                | IncidentClosed()
                | FindingNoted()
            ):
                touched[fact.incident] = None
            case _:
                pass


def write(backtest: Backtest) -> Iterator[bytes]:
    """The lines of `--out`: events first, then incidents. Two runs are byte-identical."""
    encode = msgspec.json.Encoder(order="deterministic").encode
    for span in backtest.spans():
        yield encode(span) + b"\n"
    for outcome in backtest.outcomes():
        yield encode(outcome) + b"\n"
