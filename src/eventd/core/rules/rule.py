"""What every rule has, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta, Struct

from eventd.core.model import Alert, Because, Matcher
from eventd.core.rules.selectors import field_of
from eventd.errors import RuleError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


class Span(float):
    """Seconds, written as a duration such as "90s", "5m", "1h30m"."""

    __slots__ = ()


def parse_span(text: object) -> Span:
    """Read "1h30m"; raise ValueError with what was expected."""
    expected = f'expected a duration such as "5m", got {text!r}'
    if not isinstance(text, str):
        raise ValueError(expected)  # noqa: TRY004 - msgspec turns ValueError into its own error
    total, number, rest = 0.0, "", text.strip()
    position = 0
    while position < len(rest):
        if rest[position].isdigit() or rest[position] == ".":
            number += rest[position]
            position += 1
            continue
        unit = next((u for u in ("ms", "s", "m", "h", "d", "w") if rest.startswith(u, position)), "")
        if not number or not unit or number.count(".") > 1 or number == ".":
            raise ValueError(expected)
        total += float(number) * _UNITS[unit]
        number, position = "", position + len(unit)
    if number or not rest or total <= 0:
        raise ValueError(expected)
    return Span(total)


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


class Rule(Struct, frozen=True):
    """An operator's statement, compiled. `kind` names the module, `spec` is its own part."""

    name: str
    description: str
    kind: str
    spec: Struct
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
    """What a rule remembers. `repeats` says whether a repeat can change its mind."""

    rule: Rule
    repeats: bool

    def observe(self, seen: Seen, now: datetime) -> Iterator[Finding]:
        """Whether the rule holds now. Asked only for alerts its selectors match."""
        ...

    def dump(self) -> list[object]:
        """Plain data from which `load` makes the same future."""
        ...

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        ...


def group_of(rule: Rule, alert: Alert) -> dict[str, str] | None:
    """The alert's values of the rule's `by` labels; None where it lacks one of them."""
    group = {}
    for label in rule.by:
        value = field_of(alert, label)
        if not value:
            return None
        group[label] = value
    return group


def decode_hook(kind: type, value: object) -> object:
    """For msgspec: durations."""
    if kind is Span:
        return parse_span(value)
    raise RuleError("", f"cannot read {kind}")


def convert(data: object, kind: type[msgspec.Struct], path: str) -> msgspec.Struct:
    """`data` as `kind`; RuleError with the path where it is not."""
    try:
        return msgspec.convert(data, kind, dec_hook=decode_hook)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `")
        inner = where.rstrip("`").removeprefix("$").removeprefix(".")
        full = ".".join(part for part in (path, inner) if part)
        raise RuleError(full, message[:1].lower() + message[1:]) from None
