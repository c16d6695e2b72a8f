"""What every rule has, whatever its kind."""

from __future__ import annotations

import re
from datetime import datetime
from enum import Enum
from itertools import repeat
from operator import call
from typing import Annotated, Protocol, TypeVar

import msgspec
from msgspec import Meta, Struct

from eventd.core.model import Alert, Because, Matcher
from eventd.core.rules.selectors import reader_of
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


STORM = "storm"  # eventd's own rule, of core/storms.py: no operator's is called so

Level = Annotated[int, Meta(ge=1, le=3)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]


class IncidentSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """What an incident of this rule looks like; what is left out, eventd judges."""

    title: Annotated[str, Meta(min_length=1, max_length=256)] = ""
    impact: Level | None = None
    urgency: Level | None = None
    assign: str = ""
    workaround: str = ""
    reopen_within: Span | None = None


class Kind(Struct, frozen=True, forbid_unknown_fields=True):
    """What every kind's own part has: one selector, or several of which any may match."""

    match: str | tuple[str, ...]


class Rule(Struct, frozen=True):
    """An operator's statement, compiled. `kind` names the module, `spec` is its own part."""

    name: str
    description: str
    kind: str
    spec: Kind
    match: tuple[tuple[Matcher, ...], ...]  # any of them
    by: tuple[str, ...]
    within: float  # s
    incident: IncidentSpec
    text: str  # the JSON it came as: equal text, equal rule


class Transition(Enum):
    """Why a rule is asked."""

    FIRED = "fired"
    CHANGED = "changed"
    REPEATED = "repeated"
    JUDGED = "judged"  # what suppressed it ended


class Seen(Struct, frozen=True, gc=False):
    """What a rule is asked about."""

    alert: Alert
    transition: Transition


class Finding(Struct, frozen=True, gc=False):
    """A rule holds for a group because of these alerts: a candidate incident."""

    rule: Rule
    group: dict[str, str]
    alerts: tuple[str, ...]  # fingerprints
    because: Because


class RuleState(Protocol):
    """What a rule remembers."""

    rule: Rule
    repeats: bool  # whether a repeat can change its mind
    max_groups: int  # remembered at once
    dropped: int  # groups dropped for want of room; grows

    def __init__(self, rule: Rule, max_groups: int) -> None:
        """Nothing seen yet; at most `max_groups` groups are remembered."""
        ...

    def observe(self, seen: Seen, now: datetime) -> tuple[Finding, ...]:
        """Whether the rule holds now. Asked only for alerts its selectors match.

        Asked about repeats only where `repeats` says so.
        """
        ...

    def dump(self) -> list[object]:
        """Plain data from which `load` makes the same future."""
        ...

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        ...


class Grouping:
    """What tells a rule's groups apart: the values of its `by` labels."""

    def __init__(self, by: tuple[str, ...]) -> None:
        """In the order the rule names them."""
        self._by = by
        self._readers = tuple(map(reader_of, by))

    def of(self, alert: Alert) -> tuple[str, ...] | None:
        """The alert's values; None where it lacks one of them."""
        values = tuple(map(call, self._readers, repeat(alert)))
        return values if all(values) else None

    def named(self, values: tuple[str, ...]) -> dict[str, str]:
        """The values by their labels."""
        return dict(zip(self._by, values, strict=True))


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
