"""Rules: parsed from plain data, filed in an index, asked only about what they match.

A kind is one module with a `Spec` (its own part of the rule) and a `State` (see
`rule.RuleState`), named in KINDS.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from eventd.core.rules import (
    absence,
    anomaly,
    calendar,
    change,
    dependency,
    group,
    inhibit,
    novelty,
    pair,
    rates,
    sequence,
    settle,
    silences,
    similar,
    threshold,
    together,
    topology,
)
from eventd.core.rules.recurrence import parse_cron
from eventd.core.rules.rule import (
    STORM,
    AlertSpec,
    IncidentSpec,
    Kind,
    Limits,
    Name,
    Rule,
    RuleState,
    Selectors,
    Span,
    Times,
    Written,
    convert,
)
from eventd.core.rules.selectors import parse_selector
from eventd.core.rules.titles import check_title
from eventd.errors import RuleError

# kind → the module's Spec and State
KINDS: dict[str, tuple[type[Kind], type[RuleState]]] = {
    "group": (group.Spec, group.State),
    "threshold": (threshold.Spec, threshold.State),
    "similar": (similar.Spec, similar.State),
    "topology": (topology.Spec, topology.State),
    "sequence": (sequence.Spec, sequence.State),
    "all": (together.Spec, together.State),
    "absence": (absence.Spec, absence.State),
    "pair": (pair.Spec, pair.State),
    "settle": (settle.Spec, settle.State),
    "inhibit": (inhibit.Spec, inhibit.State),
    "dependency": (dependency.Spec, dependency.State),
    "calendar": (calendar.Spec, calendar.State),
    "change": (change.Spec, change.State),
    "anomaly": (anomaly.Spec, anomaly.State),
}
# what an anomaly is looked for in → the State of its module
SCORED: dict[anomaly.Of, type[RuleState]] = {
    "values": anomaly.State,
    "rates": rates.State,
    "silences": silences.State,
    "new": novelty.State,
}
LISTS = {"sequence": "steps", "all": "parts"}  # kinds written as a list, and the field that it is

_to_json = msgspec.json.Encoder(order="deterministic").encode


class Head(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every rule has beside its kind, as it is written."""

    name: Name
    description: Annotated[str, Meta(max_length=1000)] = ""


class Waiting(Head, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What rules have that wait so long, but need not say it."""

    within: Span | None = None


class Timed(Head, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What rules have that mean nothing without a time."""

    within: Span
    during: Times | None = None


class Filed(Timed, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What rules have that tell one from the other by labels."""

    by: Annotated[tuple[str, ...], Meta(max_length=8)]  # of none: all that it matches is one


class Keyed(Filed, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What rules have that open something, or fire an alert instead."""

    incident: IncidentSpec = IncidentSpec()
    alert: AlertSpec | None = None


class Alike(Timed, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What rules have that know by themselves what belongs together."""

    by: Annotated[tuple[str, ...], Meta(max_length=8)] = ()
    incident: IncidentSpec = IncidentSpec()
    alert: AlertSpec | None = None


class Streamed(Head, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What rules have that listen to streams."""

    by: Annotated[tuple[str, ...], Meta(max_length=8)] = ("ci", "name")
    during: Times | None = None


_KEYS = {name for head in (Keyed, Alike, Streamed) for name in head.__struct_encode_fields__}


def parse(data: object) -> Rule:
    """The rule that plain data (as YAML or JSON gives it) stands for.

    Raises RuleError with the path inside the rule.
    """
    rule = _parse(data)
    check_title(rule.incident.title, "incident.title", rule.spec.names())
    return rule


def _parse(data: object) -> Rule:
    """The same, its title as it may be."""
    if not isinstance(data, dict):
        raise RuleError("", f"expected a rule, got {data!r}", "a mapping with name, by, within, …")
    kinds = [key for key in data if key in KINDS]
    if len(kinds) != 1:
        stray = next((key for key in data if key not in _KEYS), "")
        if not kinds and stray:  # as msgspec says it: the kind is what was mistyped
            raise RuleError("", f"object contains unknown field `{stray}`")
        found = " and ".join(kinds) or "none"
        raise RuleError(
            "", f"expected exactly one kind, got {found}", "one of: " + ", ".join(KINDS)
        )
    kind = kinds[0]
    rest = {key: value for key, value in data.items() if key != kind}
    head = convert(rest, head_of(kind), "")
    within = head.within if isinstance(head, Timed | Waiting) else None
    during = head.during if isinstance(head, Timed | Streamed) else None
    if during is not None:
        parse_cron(during.starts, "during.starts")
    by = head.by if isinstance(head, Filed | Alike | Streamed) else ()
    incident = head.incident if isinstance(head, Keyed | Alike) else IncidentSpec()
    alert = head.alert if isinstance(head, Keyed | Alike) else None
    if alert is not None and KINDS[kind][0].alerts:
        raise RuleError("alert", f"{kind} fires an alert of its own anyway", "leave it out")
    if alert is not None and "incident" in data:
        raise RuleError("alert", "a rule opens an incident or fires an alert", "leave out one")
    if head.name == STORM:
        raise RuleError("name", f'"{STORM}" is a rule of eventd\'s own', "choose another name")
    spec, parts = _own_part(kind, data[kind])
    root = incident.root
    if root and root not in spec.names():
        called = "one of: " + ", ".join(spec.names()) if spec.names() else "leave it out"
        raise RuleError("incident.root", f"nothing in the rule is called {root!r}", called)
    return Rule(
        name=head.name,
        description=head.description,
        kind=kind,
        spec=spec,
        parts=parts,
        by=by,
        within=float(within or spec.default_within or 0.0),
        incident=incident,
        text=text_of(data),
        during=during or spec.times(),
        alert=alert,
    )


def head_of(kind: str) -> type[Head]:
    """What a rule of that kind has beside it."""
    spec = KINDS[kind][0]
    if spec.streams:
        return Streamed
    if spec.by_itself:
        return Alike
    if not spec.keyless:
        return Filed if spec.incidentless else Keyed
    if spec.timeless:
        return Head
    return Timed if spec.default_within is None else Waiting


def _own_part(kind: str, data: object) -> tuple[Kind, tuple[Selectors, ...]]:
    """What is written under the rule's kind. Raises RuleError with the path inside the rule."""
    try:
        if kind not in LISTS:
            spec = convert(data, KINDS[kind][0], "")
        else:
            spec = convert({LISTS[kind]: data}, KINDS[kind][0], "")
        spec.check()
        return spec, tuple(_selectors(written, path) for path, written in spec.written())
    except RuleError as error:
        inner = error.path.removeprefix(LISTS.get(kind, ""))
        joint = "" if not inner or inner.startswith("[") else "."
        raise RuleError(f"{kind}{joint}{inner}", error.message, error.hint) from None


def _selectors(written: Written, path: str) -> Selectors:
    if isinstance(written, str):
        return (parse_selector(written, path),)
    if not written:
        message = "expected at least one selector, got none"
        raise RuleError(path, message, """such as 'service!=""'""")
    return tuple(parse_selector(one, f"{path}[{i}]") for i, one in enumerate(written))


def written_as(kind: str) -> object:
    """The type that a rule has under the key of its kind."""
    spec = KINDS[kind][0]
    return msgspec.structs.fields(spec)[0].type if kind in LISTS else spec


def text_of(data: object) -> str:
    """The rule as JSON text: what a `LoadRules` input carries, and what makes two rules equal."""
    return _to_json(data).decode()


def from_text(text: str) -> Rule:
    """The rule of a `LoadRules` input: what was good when it was loaded has to be so for ever."""
    return _parse(msgspec.json.decode(text))


def state_of(rule: Rule, limits: Limits) -> RuleState:
    """A fresh state for the rule."""
    if isinstance(rule.spec, anomaly.Spec):
        return SCORED[rule.spec.of](rule, limits)
    return KINDS[rule.kind][1](rule, limits)
