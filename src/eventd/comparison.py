"""Two rule sets over the same stream, and what differs in their incidents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from eventd.backtest import Backtest
from eventd.core.engine import Engine
from eventd.core.model import (
    Acknowledge,
    Close,
    Comment,
    Detach,
    Fact,
    GiveVerdict,
    IncidentOpened,
    IncidentReopened,
    IncidentUpdated,
    Input,
    LoadInventory,
    LoadRules,
    Merge,
    Reopen,
    Resolve,
    Split,
)
from eventd.core.snapshot import Restored
from eventd.recording import Line

OfIncident = Acknowledge | Comment | Resolve | Close | Reopen | Merge | Split | Detach | GiveVerdict
Fired = tuple[str, datetime]  # an alert's fingerprint, and when it began to fire
InputsOf = Callable[[Line], tuple[Input, ...]]


class Told(Struct, frozen=True):
    """One incident of one side, as it stands at the end."""

    id: str
    priority: str
    title: str
    rule: str
    root: str | None
    opened_at: datetime
    resolved_at: datetime | None
    alerts: int


class Difference(Struct, frozen=True, omit_defaults=True):
    """What became of incidents that have alerts in common, or of one that the other side lacks."""

    kind: str  # "new", "gone", "merged", "split", "regrouped", "changed"
    before: tuple[Told, ...]
    after: tuple[Told, ...]
    # where one is the other:
    opens_later: float = 0.0  # s; negative: earlier
    resolves_later: float = 0.0  # s; where both resolve
    joined: int = 0  # times that alerts fired and are in it only after
    left: int = 0  # only before


class Dropped(Struct, frozen=True):
    """An operator's command that is about nothing on one side."""

    side: str
    at: datetime
    command: str
    incident: str  # as it was recorded
    actor: str


class Total(Struct, frozen=True):
    """What one rule set comes to, the warm-up left out."""

    rules: str  # version
    incidents: int
    calls: int  # times that one opened, opened again, or rose in priority


class Comparison(Struct, frozen=True):
    """All of it. What opened before `since` is left out, on both sides."""

    known: datetime | None  # when both sides knew the same; None: they begin with nothing known
    since: datetime | None
    began: datetime | None
    ended: datetime | None
    events: int
    before: Total
    after: Total
    alike: int  # incidents that are the same on both sides
    differences: tuple[Difference, ...]
    dropped: tuple[Dropped, ...]


class Sides:
    """Both rule sets, stepped together line by line; both begin with the same known, or nothing.

    `before` goes by the recording's own rules unless `forced`, `after` by `against`. A command
    that names an incident of the recording goes to the one that has most of the alerts which that
    one had then; where there is none, it is dropped.
    """

    def __init__(
        self,
        inputs_of: InputsOf,
        rules: LoadRules,
        against: LoadRules,
        inventory: LoadInventory | None,
        *,
        forced: bool,
    ) -> None:
        """`forced`: `rules` replace those of the recording."""
        self._inputs_of = inputs_of
        self._inputs: tuple[Input, ...] = ()  # of the line that is being played
        self._recorded = Backtest(lambda _: self._inputs, rules, inventory, forced=False)
        self._after = _Side("after", self._recorded, self._given, against, inventory)
        self._before = _Side("before", self._recorded, self._given, rules, inventory)
        if not forced:
            self._before.run = self._recorded
        self._rules, self._inventory, self._forced = rules, inventory, forced
        self._known: datetime | None = None

    def begin_with(self, frames: Sequence[bytes], now: datetime | None) -> None:
        """Begin, on both sides, with what a daemon knew then, as its snapshot has it."""
        self._known = now
        for run in dict.fromkeys((self._after.run, self._before.run, self._recorded)):
            run.begin_with(Engine.restore(Restored(frames)), now)
        for side in self._after, self._before:
            side.begin()

    def learn_from(self, lines: Iterable[Line]) -> None:
        """Begin, on both sides, with what an engine learns from other lines."""
        pupil = Backtest(self._inputs_of, self._rules, self._inventory, forced=self._forced)
        pupil.learn_from(lines)
        learned = list(pupil.engine.learned().frames())
        for run in dict.fromkeys((self._after.run, self._before.run, self._recorded)):
            run.engine.learn(Restored(learned))

    def play(
        self, lines: Iterable[Line], warm_up: timedelta = timedelta(), since: datetime | None = None
    ) -> Comparison:
        """Step every line on both sides, and compare.

        What opens before `since` is left out, or within `warm_up` of the first line.
        """
        sides = self._after, self._before
        for line in lines:
            if since is None:
                since = line.at + warm_up
            followed = line
            if isinstance(line.own, OfIncident):
                self._inputs, followed = (line.own,), replace(line, own=None)
            elif line.own is None:
                self._inputs = self._inputs_of(line)
            # what is said of an incident is asked of the recording before it is done there
            for side in sides:
                if side.run is not self._recorded:
                    side.play(followed, since)
            if self._before.run is self._recorded:
                self._before.play(line, since)
            else:
                for _ in self._recorded.play((line,)):
                    pass
        return self._compared(since)

    def _given(self) -> tuple[Input, ...]:
        return self._inputs

    def _compared(self, since: datetime | None) -> Comparison:
        before, after = self._before.incidents(), self._after.incidents()
        differences: list[Difference] = []
        alike = 0
        for olds, news in _together(before, after):
            old, new = [before[one] for one in olds], [after[one] for one in news]
            if all(since is None or one.told.opened_at < since for one in (*old, *new)):
                continue
            difference = _difference(old, new)
            if difference is None:
                alike += 1
            else:
                differences.append(difference)
        run = self._after.run
        return Comparison(
            self._known,
            since,
            run.began,
            run.now,
            run.events,
            self._before.total(since),
            self._after.total(since),
            alike,
            tuple(differences),
            tuple(sorted(self._after.dropped + self._before.dropped, key=lambda one: one.at)),
        )


class _Side:
    """One rule set's run."""

    def __init__(
        self,
        name: str,
        recorded: Backtest,
        given: Callable[[], tuple[Input, ...]],
        rules: LoadRules,
        inventory: LoadInventory | None,
    ) -> None:
        self.run = Backtest(self._inputs_of, rules, inventory, forced=True)
        self.dropped: list[Dropped] = []
        self._name, self._recorded, self._given = name, recorded, given
        self._priorities: dict[str, int] = {}
        self._calls = 0

    def begin(self) -> None:
        """Take up what the run knows already."""
        self._priorities = {one.id: one.priority for one in self.run.incidents()}

    def play(self, line: Line, since: datetime) -> None:
        """Step it, and count what calls for somebody."""
        for at, _, facts in self.run.play((line,)):
            for fact in facts:
                if self._calls_for_somebody(fact) and at >= since:
                    self._calls += 1

    def total(self, since: datetime | None) -> Total:
        """What it comes to."""
        opened = [one for one in self.run.incidents() if not one.merged_into]
        late = sum(since is None or one.opened_at >= since for one in opened)
        return Total(self.run.engine.rules_version, late, self._calls)

    def incidents(self) -> dict[str, _Incident]:
        """Those that were not merged into another, in order of opening."""
        found: dict[str, _Incident] = {}
        members = self.run.members()
        for one in self.run.incidents():
            if one.merged_into:
                continue
            own = members[one.id]
            fired = {(m.alert.fingerprint, m.alert.last_seen_at): None for m in own}
            told = Told(
                one.id,
                f"P{one.priority}",
                one.title,
                one.rule,
                one.roots[0].ci if one.roots else None,
                one.opened_at,
                one.resolved_at,
                len({m.alert.fingerprint for m in own}),
            )
            # one that lost all its alerts is known again by its title
            found[one.id] = _Incident(told, fired or {(one.title, one.opened_at): None})
        return found

    def _calls_for_somebody(self, fact: Fact) -> bool:
        match fact:
            case IncidentOpened():
                self._priorities[fact.incident.id] = fact.incident.priority
                return True
            case IncidentUpdated():
                now = fact.impact + fact.urgency - 1
                was = self._priorities.get(fact.incident, now)
                self._priorities[fact.incident] = now
                return now < was
            case IncidentReopened():
                return True
            case _:
                return False

    def _inputs_of(self, line: Line) -> tuple[Input, ...]:
        found: list[Input] = []
        for one in self._given():
            if not isinstance(one, OfIncident):
                found.append(one)
            elif (moved := self._moved(one)) is not None:
                found.append(moved)
            else:
                word = type(one).__name__.lower()
                self.dropped.append(Dropped(self._name, line.at, word, one.incident, one.actor))
        return tuple(found)

    def _moved(self, said: OfIncident) -> OfIncident | None:
        """The command as it is meant here; None where it is about nothing here."""
        match said:
            case Detach():
                incident = self._that_has([said.fingerprint])
                return replace(said, incident=incident) if incident else None
            case Split():
                incident = self._that_has(said.alerts)
                own = tuple(one for one in said.alerts if self.run.incident_of(one) == incident)
                return replace(said, incident=incident, alerts=own) if incident else None
            case Merge():
                incident = self._that_has(self._recorded.alerts_of(said.incident))
                into = self._that_has(self._recorded.alerts_of(said.into))
                if not incident or not into or incident == into:
                    return None
                return replace(said, incident=incident, into=into)
            case _:
                incident = self._that_has(self._recorded.alerts_of(said.incident))
                return replace(said, incident=incident) if incident else None

    def _that_has(self, alerts: Iterable[str]) -> str:
        """The incident with most of them, "" where none has any."""
        has: dict[str, int] = {}
        for one in filter(None, map(self.run.incident_of, alerts)):
            has[one] = has.get(one, 0) + 1
        return max(has, key=has.__getitem__, default="")


class _Incident(Struct, frozen=True):
    """What is told of it, and the alerts it has."""

    told: Told
    fired: dict[Fired, None]


_Name = tuple[str, str]  # "before" or "after", and an incident's id


def _together(
    before: Mapping[str, _Incident], after: Mapping[str, _Incident]
) -> Iterator[tuple[list[str], list[str]]]:
    """Incidents of both sides that belong together, in order of opening."""
    ties = _ties(before, after)
    order = {one: n for n, one in enumerate(ties)}
    done: dict[_Name, None] = {}
    for start in ties:
        if start in done:
            continue
        done[start] = None
        waiting, found = [start], [start]
        while waiting:
            new = [one for one in ties[waiting.pop()] if one not in done]
            done.update(dict.fromkeys(new))
            waiting += new
            found += new
        found.sort(key=order.__getitem__)
        yield (
            [incident for side, incident in found if side == "before"],
            [incident for side, incident in found if side == "after"],
        )


def _ties(
    before: Mapping[str, _Incident], after: Mapping[str, _Incident]
) -> dict[_Name, dict[_Name, None]]:
    """Each is tied to the one of the other side that has most of its alerts.

    A few alerts that moved from one to another make no merge of two.
    """
    ties: dict[_Name, dict[_Name, None]] = {("before", one): {} for one in before}
    ties |= {("after", one): {} for one in after}
    for own, others, side, other in (
        (before, after, "before", "after"),
        (after, before, "after", "before"),
    ):
        where = {fired: id_ for id_, one in others.items() for fired in one.fired}
        for id_, one in own.items():
            has: dict[str, int] = {}
            for found in filter(None, map(where.get, one.fired)):
                has[found] = has.get(found, 0) + 1
            if has:
                most = other, max(has, key=has.__getitem__)
                ties[side, id_][most] = None
                ties[most][side, id_] = None
    return ties


def _difference(old: Sequence[_Incident], new: Sequence[_Incident]) -> Difference | None:
    """What differs between what belongs together; None where nothing does."""
    before, after = tuple(one.told for one in old), tuple(one.told for one in new)
    if len(old) != 1 or len(new) != 1:
        return Difference(_kind(len(old), len(new)), before, after)
    (one,), (other,) = old, new
    ends = one.told.resolved_at, other.told.resolved_at
    difference = Difference(
        "changed",
        before,
        after,
        (other.told.opened_at - one.told.opened_at).total_seconds(),
        (ends[1] - ends[0]).total_seconds() if ends[0] and ends[1] else 0.0,
        len(other.fired.keys() - one.fired.keys()),
        len(one.fired.keys() - other.fired.keys()),
    )
    same = replace(other.told, id=one.told.id) == one.told
    return None if same and not difference.joined and not difference.left else difference


def _kind(before: int, after: int) -> str:
    if not before:
        return "new"
    if not after:
        return "gone"
    if after == 1:
        return "merged"
    return "split" if before == 1 else "regrouped"
