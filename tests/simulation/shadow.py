"""An engine that never dies beside the daemon, and what a reader of its facts believes.

It is stepped with what was committed and with nothing else: it is the replay from the beginning.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator

from eventd.core.engine import Engine
from eventd.core.model import (
    AlertChanged,
    AlertCleared,
    AlertDetached,
    AlertFired,
    AlertForgotten,
    AlertJoined,
    AlertRepeated,
    AlertUnsuppressed,
    EndReason,
    Fact,
    Incident,
    IncidentMerged,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    IncidentSplit,
    IncidentState,
    Ordered,
    RuleSwitchedOff,
    Status,
    TimerFailed,
)
from eventd.store.journal import Row
from eventd.store.rows import digest_of
from tests.properties.beliefs import Beliefs
from tests.properties.recount import agrees
from tests.simulation.kinds import kinds

CROOKED = "crooked"  # the name of alerts on which a rule raises
OWN = ("correlation", "operator")  # rules that find nothing

Key = tuple[str, tuple[str, ...]]  # a rule and its group


class Shadow:
    """What was decided, folded fact by fact, and what people were promised of it."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.beliefs = Beliefs()
        self.seen: Counter[str] = Counter()  # kinds of facts
        self.carried_out: dict[str, None] = {}  # what operators said as they merged, split, …
        self.merged: dict[str, str] = {}  # incident → the one it went into
        self.by_hand: dict[str, None] = {}  # reopened by a person: open until one resolves it
        self.forgotten: dict[str, None] = {}  # fingerprints of alerts that were, once
        self._fired: dict[str, int] = {}  # fingerprint → in which row it fired last
        self._resolved: dict[str, int] = {}  # incident → in which row it was
        self._apart: dict[str, int] = {}  # fingerprint → episode that an operator took out
        self._goes_to: dict[Key, str] = {}  # what a rule finds → where an operator put it
        self._keys: dict[str, list[Key]] = {}  # incident → what rules find for it

    def take(self, row: Row) -> Iterator[str]:
        """Step a row; what does not hold, after the id of the invariant."""
        try:
            answers = [self.engine.step(item, row.now) for item in row.inputs]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            yield f"I3: row {row.seq} raises when it is stepped beside: {error!r}"
            return
        facts = tuple(fact for answer in answers for fact in answer)
        if digest_of(facts) != row.digest:
            yield f"I3: row {row.seq} is decided otherwise from the beginning"
        fired, doubted = False, dict[str, None]()
        for fact in facts:
            fired = fired or _is_news(fact)
            match fact:
                case AlertFired():
                    self._fired[fact.alert.fingerprint] = row.seq
                case IncidentResolved():
                    self._resolved[fact.incident] = row.seq
                case IncidentReopened() if fact.reason is EndReason.FIRED and not fired:
                    doubted[fact.incident] = None
                case AlertJoined() if fact.incident in doubted:
                    # it was waited for: what fired after the end may be raised into it later
                    if self._fired.get(fact.fingerprint, -1) >= self._resolved[fact.incident]:
                        del doubted[fact.incident]
                case _:
                    pass
            yield from self._promised(fact)
            try:
                self.beliefs.take(fact)
            except (AssertionError, KeyError) as error:
                yield f"I7: {type(fact).__name__} in row {row.seq}: {_line(error)}"
            self._note(fact)
        for incident in doubted:
            yield f"I8: {incident} reopened and nothing fired"

    def _promised(self, fact: Fact) -> Iterator[str]:
        """What must not be, given what was before."""
        match fact:
            case TimerFailed():
                yield f"the core raised: timer {fact.kind} of {fact.key}: {fact.error}"
            case RuleSwitchedOff() if CROOKED not in fact.error:
                yield f"rule {fact.rule} raised: {fact.error}"
            case IncidentOpened(_, new):
                if new.id in self.beliefs.incidents:
                    yield f"I6: {new.id} was opened twice"
                where = self._goes_to.get(_key(new), "")
                if where and self.beliefs.incidents[where].state is not IncidentState.CLOSED:
                    yield f"I6: {new.id} opened, and {where} is to have what {new.rule} finds"
            case AlertJoined() if self._apart.get(fact.fingerprint) == fact.episode:
                yield f"{fact.fingerprint} is in {fact.incident}, an operator took it out"
            case _:
                pass

    def _note(self, fact: Fact) -> None:
        self.seen.update(kinds(fact))
        match fact:
            case IncidentOpened(_, new):
                self._keys[new.id] = [] if new.rule in OWN else [_key(new)]
            case IncidentMerged():
                self.merged[fact.incident] = fact.into
                self.by_hand.pop(fact.into, None)
                if isinstance(fact.because, Ordered):
                    self.carried_out[fact.because.text] = None
                    keys = self._keys[fact.incident]
                    self._keys[fact.into] += keys
                    self._goes_to.update(dict.fromkeys(keys, fact.into))
            case IncidentSplit():
                self.carried_out[fact.text] = None
                self.by_hand.pop(fact.incident, None)
            case AlertDetached():
                self.by_hand.pop(fact.incident, None)
                if fact.actor and not fact.into:
                    self.carried_out[fact.text] = None
                    if fact.fires:
                        self._apart[fact.fingerprint] = fact.episode
            case AlertForgotten():
                self.forgotten[fact.fingerprint] = None
                self._apart.pop(fact.fingerprint, None)
            case IncidentReopened(reason=EndReason.OPERATOR):
                self.by_hand[fact.incident] = None
            case IncidentResolved() | AlertCleared():
                self.by_hand.pop(fact.incident, None)
            case _:
                pass

    def at_rest(self) -> Iterator[str]:
        """What its tables do not say, of what its facts do."""
        engine = self.engine
        try:
            self.beliefs.agree_with(engine)
            agrees(engine.correlation.table)
        except (AssertionError, KeyError) as error:
            yield f"I7: {_line(error)}"
        fires = Counter(one.incident for one in engine.alerts() if one.status is Status.FIRING)
        for one in engine.incidents():
            if one.state is not IncidentState.CLOSED and one.firing != fires[one.id]:
                yield f"I7: {one.id} says {one.firing} fire, {fires[one.id]} do"
            if one.merged_into != self.merged.get(one.id, ""):
                yield f"I6: {one.id} answers with {one.merged_into!r}"
            if one.merged_into and one.state is not IncidentState.CLOSED:
                yield f"I7: {one.id} was merged and is {one.state.value}"


def _key(incident: Incident) -> Key:
    return incident.rule, tuple(incident.group.values())


def _is_news(fact: Fact) -> bool:
    """Something fires, and not because of an old event."""
    if isinstance(fact, AlertRepeated):
        return not fact.late
    return isinstance(fact, AlertFired | AlertChanged | AlertUnsuppressed)


def _line(error: BaseException) -> str:
    """Where it was raised, as it stands there."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.name}:{last.lineno}: {last.line} {error}"
