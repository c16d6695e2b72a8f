"""What every rule has, whatever its kind."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from enum import Enum
from itertools import repeat
from operator import call
from typing import Annotated, ClassVar, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec
from msgspec import Meta, Struct

from eventd.core.inventory import Inventory
from eventd.core.model import Alert, Because, Change, Event, Matcher, Status
from eventd.core.rules.recurrence import Calendar
from eventd.core.rules.selectors import Labelled, Test, compile_matcher, reader_of
from eventd.errors import RuleError

T = TypeVar("T")

_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(ms|[smhdw])")  # eventd's own pattern
_SPAN = re.compile(rf"(?:{_PART.pattern})+")
# s; far longer ones would leave the calendar when they are added to a time
SHORTEST, LONGEST = 0.001, 366 * 86_400.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


class Span(float):
    """Seconds, written as a duration such as "90s", "5m", "1h30m"."""

    __slots__ = ()


def parse_span(text: object) -> Span:
    """Read "1h30m"; raise ValueError with what was expected."""
    if not isinstance(text, str) or not _SPAN.fullmatch(text.strip()):
        raise ValueError(f'expected a duration such as "5m", got {text!r}')
    total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if not SHORTEST <= total <= LONGEST:
        raise ValueError(f"expected a duration from 1ms to 366d, got {text!r}")
    return Span(total)


UTC = "UTC"  # the one zone of which no table is needed
OWN_SOURCE = "eventd"  # of the events of rules
STORM = "storm"  # eventd's own rule, of core/storms.py: no operator's is called so

Level = Annotated[int, Meta(ge=1, le=3)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Grade = Literal["info", "warning", "minor", "major", "critical"]  # of alerts that rules fire


class IncidentSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """What an incident of this rule looks like; what is left out, eventd judges."""

    title: Annotated[str, Meta(min_length=1, max_length=256)] = ""
    impact: Level | None = None
    urgency: Level | None = None
    assign: str = ""
    workaround: str = ""
    reopen_within: Span | None = None
    root: str = ""  # what the rule calls the alert whose CI the others follow from


class AlertSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule fires where it opens nothing: an alert that other rules are asked about."""

    name: Annotated[str, Meta(max_length=128)] = ""  # the rule's own where left out
    severity: Grade = "info"


class Times(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When something begins (cron's five fields), in which zone, and how long it lasts."""

    starts: Annotated[str, Meta(max_length=256)]
    lasts: Span
    zone: Annotated[str, Meta(max_length=64)] = UTC


Written = str | tuple[str, ...]  # one selector, or several of which any may match
Selectors = tuple[tuple[Matcher, ...], ...]  # any of them


class Kind(Struct, frozen=True, forbid_unknown_fields=True):
    """What the own part of every kind can tell."""

    keyless: ClassVar[bool] = False  # it has neither a key nor an incident
    default_within: ClassVar[float | None] = None  # s; None: a rule has to say it
    incidentless: ClassVar[bool] = False  # it has no incident, but a key
    by_itself: ClassVar[bool] = False  # it has a key of its own, to which labels may be added
    timeless: ClassVar[bool] = False  # it has no window either
    streams: ClassVar[bool] = False  # its key tells streams apart, for which it fires alerts
    alerts: ClassVar[bool] = False  # it fires an alert of its own anyway

    def written(self) -> tuple[tuple[str, Written], ...]:
        """Path and selectors of each of its parts, in the order the kind numbers them."""
        return ()

    def names(self) -> dict[str, int]:
        """What titles call its parts, and their numbers."""
        return {}

    def times(self) -> Times | None:
        """When it holds, where that is its own matter."""
        return None

    def check(self) -> None:
        """Raise RuleError, with a path inside the part, where its keys contradict each other."""


class Matching(Kind, frozen=True, forbid_unknown_fields=True):
    """The part of a kind that looks at one sort of alert."""

    match: Written

    def written(self) -> tuple[tuple[str, Written], ...]:
        return (("match", self.match),)


class Rule(Struct, frozen=True):
    """An operator's statement, compiled. `kind` names the module, `spec` is its own part."""

    name: str
    description: str
    kind: str
    spec: Kind
    parts: tuple[Selectors, ...]  # as the kind numbers them
    by: tuple[str, ...]
    within: float  # s
    incident: IncidentSpec
    text: str  # the JSON it came as: equal text, equal rule
    during: Times | None = None  # when it holds; None: always
    alert: AlertSpec | None = None  # what it fires; None: it opens an incident

    @property
    def match(self) -> Selectors:
        """The selectors of all parts."""
        return tuple(selector for part in self.parts for selector in part)


class Transition(Enum):
    """Why a rule is asked."""

    FIRED = "fired"
    CHANGED = "changed"
    REPEATED = "repeated"
    JUDGED = "judged"  # what suppressed it ended
    WAITED = "waited"  # it began to fire a moment ago, and nothing came that explains it
    SETTLED = "settled"  # it began to fire a while ago, and did not clear
    NOTED = "noted"  # no alert: an info, a heartbeat or a change
    CLEARED = "cleared"
    HEARD = "heard"  # an event of an alert came, whatever becomes of it


class Seen(Struct, frozen=True, gc=False):
    """What a rule is asked about."""

    alert: Alert
    transition: Transition
    at: datetime  # when it happened: see `happened_at`


class Finding(Struct, frozen=True, gc=False):
    """A rule holds for a group because of these alerts: a candidate incident."""

    rule: Rule
    group: dict[str, str]
    alerts: tuple[str, ...]  # fingerprints
    because: Because
    names: dict[str, str] = {}  # what the rule calls some of them → fingerprint
    named: dict[str, Alert] = {}  # the same as they stand, as far as they are remembered
    own: dict[str, Because] = {}  # why some of them are in it, where that is not the same for all


class Missed(Struct, frozen=True, gc=False):
    """A window ended in which nearly enough was seen."""

    group: dict[str, str]
    alerts: tuple[tuple[str, int], ...]  # fingerprint and episode of those to be told
    missing: str  # what
    count: int
    at_least: int
    within: float  # s
    late: float = 0.0  # s; after the first, what was missing came; 0: it never did


class Wake(Struct, frozen=True, gc=False):
    """The rule wants to be asked about a key at that time; None: no more."""

    key: str
    at: datetime | None


class Raise(Struct, frozen=True, gc=False):
    """An event of the rule's own, and what it holds for once that is taken in.

    `because` is told of the alert that it fires, where the rule leaves that to others.
    """

    event: Event
    finding: Finding | None = None
    because: Because | None = None


class End(Struct, frozen=True, gc=False):
    """These alerts are over, by fingerprint and episode: the rule has seen what ends them."""

    alerts: tuple[tuple[str, int], ...]


class Over(Struct, frozen=True, gc=False):
    """The rule holds no more for the group, and its alerts are over with that."""

    group: dict[str, str]


class Hold(Struct, frozen=True, gc=False):
    """The alert opens nothing until then."""

    fingerprint: str
    until: datetime


class Noted(Struct, frozen=True, gc=False):
    """A change was made, which may explain what begins in so long after it."""

    by: tuple[str, ...]  # labels that an alert has in common with it
    values: tuple[str, ...]
    change: Change


Answer = Noted | Finding | Missed | Wake | Raise | End | Over | Hold


class Limits(NamedTuple):
    """What a rule is held to."""

    max_groups: int  # keys remembered at once
    late_within: timedelta = timedelta()  # an event may come that late and count when it happened
    started: datetime | None = None  # when the daemon did; None: it never has
    start_grace: timedelta = timedelta()  # after it, in which nobody is missed
    during: Calendar | None = None  # when the rule holds; None: always
    inventory: Inventory = Inventory()  # what there is; it never changes, a reload makes another


class Window(NamedTuple):
    """What a rule has seen that counts together with an alert, and what it lacks to hold."""

    group: dict[str, str]
    seen: tuple[tuple[datetime, str, str], ...]  # when, what the rule calls it, fingerprint
    lacks: str  # in words; "" where it holds


class RuleState(Protocol):
    """What a rule remembers."""

    rule: Rule
    repeats: bool  # whether a repeat can change its mind
    hears: bool  # whether it is asked about what is no alert
    ends: bool  # whether it is asked about alerts that clear
    holds: bool  # whether it says what opens nothing: asked before those that open something
    always: bool  # whether it is asked outside its times too, and looks at them itself
    limits: Limits
    dropped: dict[str, int]  # what was let go for want of room: table → how many; they grow

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """Nothing seen yet."""
        ...

    def observe(self, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        """What the rule says now. Asked only for alerts its selectors match.

        Asked about repeats only where `repeats` says so.
        """
        ...

    def due(self, key: str, now: datetime) -> tuple[Answer, ...]:
        """What it says at a time that it wanted to be asked about a key; that may be gone."""
        ...

    def dump(self) -> list[object]:
        """Plain data from which `load` makes the same future."""
        ...

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        ...


@runtime_checkable
class Recalling(Protocol):
    """A rule that holds because of several alerts."""

    def recall(self, alert: Alert) -> Window | None:
        """What it has seen with the alert, the oldest first; None where it has not seen that."""
        ...


@runtime_checkable
class Ending(Protocol):
    """A rule that fires alerts which nothing else ends."""

    def end(self, now: datetime) -> tuple[Answer, ...]:
        """The rule is no more, and its alerts are over with that."""
        ...


class Forgetful:
    """The state of a rule that remembers nothing and waits for nothing."""

    repeats = hears = ends = holds = always = False

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """`limits` are for kinds that remember."""
        self.rule, self.limits = rule, limits
        self.dropped: dict[str, int] = {}

    def observe(self, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        """Nothing."""
        return ()

    def due(self, key: str, now: datetime) -> tuple[Answer, ...]:
        """Nothing."""
        return ()

    def dump(self) -> list[object]:
        """Nothing."""
        return []

    def load(self, data: list[object]) -> None:
        """Nothing."""


class Grouping:
    """What tells a rule's groups apart: the values of its `by` labels."""

    def __init__(self, by: tuple[str, ...]) -> None:
        """In the order the rule names them."""
        self._by = by
        self._readers = tuple(map(reader_of, by))

    def of(self, alert: Labelled) -> tuple[str, ...] | None:
        """The alert's values; None where it lacks one of them."""
        values = tuple(map(call, self._readers, repeat(alert)))
        return values if all(values) else None

    def named(self, values: tuple[str, ...]) -> dict[str, str]:
        """The values by their labels."""
        return dict(zip(self._by, values, strict=True))

    def key(self, values: tuple[str, ...]) -> str:
        """The values as one text, of which no two are the same."""
        return _to_json(values).decode()

    def values(self, key: str) -> tuple[str, ...]:
        """The other way round."""
        return _from_json(key)


_to_json = msgspec.json.Encoder().encode
_from_json = msgspec.json.Decoder(tuple[str, ...]).decode


class Parts:
    """Which parts of a rule an alert is for.

    What is no alert is only for selectors that name a `status`.
    """

    def __init__(self, parts: tuple[Selectors, ...]) -> None:
        """As the rule numbers them."""
        self._parts = [[_Compiled.of(selector) for selector in part] for part in parts]
        self.hears = any(one.hears for part in self._parts for one in part)

    def of(self, alert: Alert) -> tuple[int, ...]:
        """Their numbers, in order."""
        noted = alert.status is not Status.FIRING and alert.status is not Status.CLEARED
        return tuple(
            number
            for number, part in enumerate(self._parts)
            if any((one.hears or not noted) and one.holds(alert) for one in part)
        )


class _Compiled(NamedTuple):
    tests: tuple[Test, ...]
    hears: bool

    @classmethod
    def of(cls, selector: tuple[Matcher, ...]) -> _Compiled:
        hears = any(matcher.label == "status" for matcher in selector)
        return cls(tuple(map(compile_matcher, selector)), hears)

    def holds(self, alert: Alert) -> bool:
        return all(test(alert) for test in self.tests)


def happened_at(said: datetime | None, now: datetime, late_within: timedelta) -> datetime:
    """When rules take something to have happened.

    The source's word where it is less than `late_within` old; else the time it arrived, so that a
    source whose clock is wrong is not left out.
    """
    return said if said is not None and now - late_within < said < now else now


def decode_hook(kind: type, value: object) -> object:  # noqa: ARG001 - Span alone is not msgspec's
    """For msgspec: durations."""
    return parse_span(value)


def convert(data: object, kind: type[T], path: str) -> T:
    """`data` as `kind`; RuleError with the path where it is not."""
    try:
        return msgspec.convert(data, kind, dec_hook=decode_hook)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `")
        inner = where.rstrip("`").removeprefix("$").removeprefix(".")
        full = ".".join(part for part in (path, inner) if part)
        raise RuleError(full, message[:1].lower() + message[1:]) from None
