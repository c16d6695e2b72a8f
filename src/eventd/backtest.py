"""Recorded inputs through the engine in virtual time: no network, no state left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from eventd.core.engine import Engine
from eventd.core.incidents import DROP_AFTER
from eventd.core.model import (
    Alert,
    AlertAlone,
    AlertDetached,
    AlertFired,
    AlertJoined,
    AlertSuppressed,
    AlertUnsuppressed,
    Because,
    Event,
    EventDuplicate,
    EventNoted,
    Fact,
    Grouped,
    Incident,
    IncidentClosed,
    IncidentOpened,
    IncidentState,
    Input,
    LoadInventory,
    LoadRules,
    Refused,
    Started,
    Status,
    Tick,
    sort_of,
)
from eventd.core.sentences import alone
from eventd.core.snapshot import Restored
from eventd.recording import Line

PAUSE = timedelta(seconds=DROP_AFTER / 2)
NAMED = 10  # CIs told as root candidates where the engine ranked none; refusals
SPEAKS_OF_ALERTS = (Status.FIRING, Status.CLEARED)


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


# By the sort of what suppresses it.
STANDINGS = {
    "silence": "silenced",
    "maintenance": "maintenance",
    "settle": "waited for",
    "inhibit": "explained",
    "dependency": "explained",
    "calendar": "known",
}


class Episode(Struct, gc=False):
    """One firing-to-clear span of an alert, and what became of it."""

    alert: Alert  # as it fired
    joined: AlertJoined | None = None
    alone: AlertAlone | None = None
    suppressed_by: str = ""

    @property
    def standing(self) -> str:
        """Why it is in no incident, in a word; "" where it is in one."""
        if self.joined is not None:
            return ""
        if self.suppressed_by:
            return STANDINGS[sort_of(self.suppressed_by)]
        return self.alone.why.value if self.alone is not None else "undecided"

    @property
    def because(self) -> Because | str | None:
        """Why it is where it is."""
        if self.joined is not None:
            return self.joined.because
        if self.suppressed_by:
            return f"suppressed by {self.suppressed_by}"
        return alone(self.alone) if self.alone is not None else None


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
        self.events = self.facts = 0
        self.refused = 0  # events, or whole deliveries
        self.refusals: list[str] = []  # where the first of them stand, and why
        self.kinds: dict[str, int] = {}  # events that move no alert, by what they are
        self.episodes: dict[tuple[str, int], Episode] = {}  # by fingerprint and number
        self.began: datetime | None = None
        self.now: datetime | None = None
        self._inputs_of, self._rules, self._forced = inputs_of, rules, forced
        self._inventory = inventory
        self._loaded = False  # what has to be, before anything can be judged
        self._spoken: list[tuple[str, Episode | None]] = []  # events and what they speak of
        self._latest: dict[str, Episode] = {}  # by fingerprint
        self._members: dict[str, dict[tuple[str, int], None]] = {}  # in order of joining
        self._closed: dict[str, Incident] = {}

    def begin_with(self, engine: Engine, now: datetime | None) -> None:
        """Begin with all that another engine knew then, before anything is played.

        Why its alerts were where they were is not told again.
        """
        self.engine, self.now = engine, now
        for alert in engine.alerts():
            episode = Episode(alert, suppressed_by=alert.suppressed_by)
            self.episodes[alert.fingerprint, alert.episode] = episode
            self._latest[alert.fingerprint] = episode
        for incident in engine.incidents():
            of_it = self._members[incident.id] = {}
            if incident.state is IncidentState.CLOSED:
                self._closed[incident.id] = incident
            because = Grouped(incident.rule, incident.group)
            for key in engine.incident_table.members(incident.id):
                if (found := self.episodes.get(key)) is not None:
                    found.joined = AlertJoined(incident.opened_at, incident.id, *key, because)
                    of_it[key] = None

    def learn_from(self, lines: Iterable[Line]) -> None:
        """Begin with what an engine learns from other lines, and nothing else of them."""
        other = Backtest(self._inputs_of, self._rules, self._inventory, forced=self._forced)
        for _ in other.play(lines):
            pass
        self.engine.learn(Restored(other.engine.learned().frames()))

    def play(self, lines: Iterable[Line]) -> Iterator[tuple[datetime, Input, tuple[Fact, ...]]]:
        """Step every input; yields what each caused."""
        for line in lines:
            own = line.own
            if own is None:
                inputs = self._inputs_of(line)
            elif self._replaced(own):
                continue
            else:
                inputs = (own,)
            if self.now is None and not isinstance(own, Started):
                yield self._step(Started("replay"), line.at)
            if not self._loaded and not isinstance(own, Started | LoadRules | LoadInventory):
                self._loaded = True
                for load in self._missing():
                    yield self._step(load, line.at)
            if self.now is not None and line.at - self.now >= PAUSE:
                yield from self._pass(line.at)
            for item in inputs:
                if isinstance(item, Refused):
                    self._refuse(line, item)
                yield self._step(item, line.at)

    def _refuse(self, line: Line, refused: Refused) -> None:
        self.refused += 1
        if self.refused <= NAMED:
            part = "" if line.native or refused.index is None else f" event {refused.index}:"
            self.refusals.append(f"{line.where}:{part} {refused.error}")

    def _pass(self, until: datetime) -> Iterator[tuple[datetime, Input, tuple[Fact, ...]]]:
        """Ticks through a long pause: no step sees an incident close and be forgotten."""
        while (due := self.engine.deadline()) is not None and until - due >= PAUSE:
            yield self._step(Tick(), due)

    def _replaced(self, own: Input) -> bool:
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
        version = self.engine.rules_version
        if not version or (self._forced and version != self._rules.version):
            yield self._rules
        inventory = self._inventory
        if inventory is not None and self.engine.inventory.version != inventory.version:
            yield inventory

    def spans(self) -> Iterator[Span]:
        """One for each event, in order."""
        merged = self._merged()
        for event, episode in self._spoken:
            if episode is None:
                yield Span(event, None, None)
                continue
            joined = episode.joined
            incident = None if joined is None else merged.get(joined.incident, joined.incident)
            yield Span(event, incident, episode.because)

    def incidents(self) -> Iterator[Incident]:
        """Every incident that was opened, as it stands at the end, in order of opening."""
        for incident in self._members:
            yield self.engine.find_incident(incident) or self._closed[incident]

    def members(self) -> dict[str, list[Episode]]:
        """The episodes of each incident that was not merged into another, in order of joining."""
        merged = self._merged()
        found: dict[str, list[Episode]] = {one: [] for one in self._members if one not in merged}
        for incident, keys in self._members.items():
            found[merged.get(incident, incident)] += [self.episodes[key] for key in keys]
        return found

    def alerts_of(self, incident: str) -> Iterator[str]:
        """Fingerprints of the alerts that the incident has now; none where it is unknown."""
        return (fingerprint for fingerprint, _ in self._members.get(incident, ()))

    def incident_of(self, fingerprint: str) -> str:
        """The incident that the alert belongs to now, "" where to none."""
        return next((one.incident for one in self.engine.known_alerts((fingerprint,))), "")

    def outcomes(self) -> Iterator[Outcome]:
        """One for each incident that was not merged into another, in order of opening."""
        members = self.members()
        for incident in self.incidents():
            if incident.merged_into:
                continue
            named = (one.alert.ci for one in members[incident.id] if one.alert.ci)
            cis = tuple(dict.fromkeys(named))
            ranked = tuple(root.ci for root in incident.roots) or cis[:NAMED]
            yield Outcome(
                incident.id,
                incident.opened_at,
                incident.resolved_at,
                ranked[0] if ranked else None,
                ranked,
                cis,
                f"P{incident.priority}",
                incident.title,
            )

    def _merged(self) -> dict[str, str]:
        """Where each incident that was merged into another finally went."""
        into = {one.id: one.merged_into for one in self.incidents() if one.merged_into}
        for incident, target in into.items():
            while target in into:
                target = into[target]  # noqa: PLW2901 - the last of the chain is meant
            into[incident] = target
        return into

    def _step(self, item: Input, at: datetime) -> tuple[datetime, Input, tuple[Fact, ...]]:
        now = self.now
        if now is None or at > now:
            now = self.now = at
        engine = self.engine
        fingerprint = ""
        if isinstance(item, Event) and item.status in SPEAKS_OF_ALERTS:
            fingerprint = engine.identify(item)
        facts = engine.step(item, now)
        self.facts += len(facts)
        for fact in facts:
            self._note(item, fact)
        if isinstance(item, Event):
            self.events += 1
            if self.began is None:
                self.began = now
            name = item.id or str(self.events)
            self._spoken.append((name, self._latest.get(fingerprint)))
        return now, item, facts

    def _note(self, item: Input, fact: Fact) -> None:
        match fact:
            case EventNoted():
                self._count(fact.status.value)
            case EventDuplicate() if isinstance(item, Event):
                self._count("duplicate")
            case AlertFired(_, alert):
                episode = Episode(alert)
                self.episodes[alert.fingerprint, alert.episode] = episode
                self._latest[alert.fingerprint] = episode
            case AlertJoined() | AlertDetached():
                about = self.episodes.get((fact.fingerprint, fact.episode))
                if about is not None:  # else it was over before this run began
                    self._belong(about, fact)
            case AlertAlone() | AlertSuppressed() | AlertUnsuppressed():
                self._stand(self.episodes[fact.fingerprint, fact.episode], fact)
            case IncidentOpened():
                self._members[fact.incident.id] = {}
            case IncidentClosed():
                self._closed[fact.incident] = self.engine.incident(fact.incident)
            case _:
                pass

    def _belong(self, episode: Episode, fact: AlertJoined | AlertDetached) -> None:
        key, joined = (fact.fingerprint, fact.episode), episode.joined
        if isinstance(fact, AlertJoined):
            if joined is not None:
                self._members[joined.incident].pop(key, None)
            episode.joined = fact
            self._members[fact.incident][key] = None
        else:
            self._members[fact.incident].pop(key, None)
            if joined is not None and joined.incident == fact.incident:
                episode.joined = None

    def _stand(
        self, episode: Episode, fact: AlertAlone | AlertSuppressed | AlertUnsuppressed
    ) -> None:
        match fact:
            case AlertAlone():
                episode.alone = fact
            case AlertSuppressed():
                episode.suppressed_by = fact.by
            case AlertUnsuppressed():
                episode.suppressed_by = ""

    def _count(self, kind: str) -> None:
        self.kinds[kind] = self.kinds.get(kind, 0) + 1


def write(backtest: Backtest) -> Iterator[bytes]:
    """The lines of `--out`: events first, then incidents. Two runs are byte-identical."""
    encode = msgspec.json.Encoder(order="deterministic").encode
    for span in backtest.spans():
        yield encode(span) + b"\n"
    for outcome in backtest.outcomes():
        yield encode(outcome) + b"\n"
