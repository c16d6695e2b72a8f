"""Cases that stand beside the rules of a file, read strictly."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct, structs

from eventd.complaints import Shape, complaint
from eventd.core.model import Ci, Delivery, Event, LoadInventory, LoadRules, Service
from eventd.core.rules.rule import Span, parse_span
from eventd.document import Document, read
from eventd.errors import ConfigError, DecodeError
from eventd.files import MAX_RULES_FILE, load_rules, rule_files
from eventd.sources.decode import decode

STARTS = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday; what 0m is where a case does not say
AFTER = timedelta(days=2)  # in which nothing more comes: long enough for whatever is waited for
MOMENT_HINT = "since the case began, such as 0s, 90s or 9m"
MAX_TIMES = 10_000  # that a line may be said
OF_FEED = ("at", "every", "times", "values")  # keys of a line that no event has
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


class Moment(float):
    """Seconds since the case began, written as a duration; zero too."""

    __slots__ = ()


class Opened(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An incident opens. What is left out is not looked at."""

    title: str | None = None
    priority: Literal["P1", "P2", "P3", "P4", "P5"] | None = None
    root: str | None = None  # the likeliest one's CI
    service: str | None = None
    rule: str | None = None


class Joined(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An alert joins an incident, the one it opens included."""

    incident: str | None = None
    rule: str | None = None  # that opened it
    name: str | None = None
    ci: str | None = None


class Suppressed(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An alert is known, but opens nothing."""

    by: str | None = None
    name: str | None = None
    ci: str | None = None
    source: str | None = None  # name of the alert that explains it


class Raised(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A rule fires an alert of its own."""

    name: str | None = None
    rule: str | None = None
    severity: str | None = None
    ci: str | None = None
    service: str | None = None


class Want(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What has to happen, and when; one thing a line."""

    at: Moment
    opened: Opened | None = None
    joined: Joined | None = None
    suppressed: Suppressed | str | None = None  # a text is what suppresses it
    resolved: str | None = None
    reopened: str | None = None
    missed: str | None = None  # a rule nearly holds: its name, or the whole sentence
    raised: Raised | str | None = None  # a rule fires an alert; a text is what that is called
    noted: str | None = None  # a rule holds too, on an incident: its name, or the whole sentence


class LineWindow(Struct, frozen=True, forbid_unknown_fields=True):
    """Maintenance that a `change` announces."""

    starts_at: Moment
    ends_at: Moment
    cis: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


class Line(Struct, frozen=True, forbid_unknown_fields=True):
    """One event of a feed: a native event with a time; its own times are moments of the case.

    With `every` it is said again and again: once for each of `values`, or `times`, in turn.
    """

    at: Moment
    name: str
    status: str = "firing"
    severity: str = ""
    summary: str = ""
    ci: str = ""
    service: str = ""
    value: float | int | None = None
    labels: dict[str, str] = {}
    occurred_at: Moment | None = None
    id: str = ""
    fingerprint: str = ""
    source: str = ""
    expires_at: Moment | None = None
    window: LineWindow | None = None
    every: Span | None = None
    times: Annotated[int, Meta(ge=1, le=MAX_TIMES)] | None = None
    values: Annotated[tuple[float, ...], Meta(max_length=MAX_TIMES)] = ()


class Known(Struct, frozen=True, forbid_unknown_fields=True):
    """The inventory of a case."""

    services: tuple[Service, ...] = ()
    cis: tuple[Ci, ...] = ()


class Written(Struct, frozen=True, forbid_unknown_fields=True):
    """A case as it stands in the file."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    feed: Annotated[tuple[Line, ...], Meta(min_length=1)]
    want: tuple[Want, ...]
    description: str = ""
    starts_at: datetime = STARTS
    until: Moment | None = None  # the case ends then
    inventory: Known = Known()


class Case(NamedTuple):
    """A case that can be run."""

    file: str
    line: int
    name: str
    rules: LoadRules
    inventory: LoadInventory
    feed: tuple[tuple[datetime, Event], ...]
    want: tuple[Row, ...]
    starts_at: datetime
    ends_at: datetime


class Row(NamedTuple):
    """Something that happened, or should have: when, what, and what is said of it."""

    at: float  # s since the case began
    what: str  # the key of a wanted line
    said: dict[str, str]

    def __str__(self) -> str:
        """As a line of a test."""
        inner = self.said.get("", "")
        told = _plain(inner) if inner else _flow(self.said)
        return f"{{at: {moment(self.at)}, {self.what}: {told}}}"


def read_cases(path: Path) -> Iterator[Case]:
    """The cases of a rules file or a directory of them, in order; each with its file's rules.

    Raises ConfigError with every problem of every file, those of the rules included.
    """
    problems: list[str] = []
    cases: list[Case] = []
    for file in rule_files(path):
        try:
            cases += _cases_of(read(file, MAX_RULES_FILE), load_rules(file), problems)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    yield from cases


def _hook(kind: type, value: object) -> object:
    """For msgspec: moments."""
    if kind is Moment:
        if isinstance(value, str) and value.strip().rstrip("smhd") == "0":
            return Moment(0.0)
        return Moment(parse_span(value))
    if kind is Span:
        return parse_span(value)
    raise TypeError(kind)


_SHAPE = Shape(Written, _hook, {Moment: MOMENT_HINT, Span: "such as 30s or 5m"})


def _cases_of(document: Document, rules: LoadRules, problems: list[str]) -> Iterator[Case]:
    data = document.data
    written = data.get("tests") if isinstance(data, dict) else None
    for index, one in enumerate(written if isinstance(written, list) else ()):
        path = f"tests[{index}]"
        try:
            case = msgspec.convert(one, Written, dec_hook=_hook)
            yield _case(case, document.file, document.line_of(path), rules)
        except msgspec.ValidationError as error:
            sentence, _, where = str(error).partition(" - at `")
            where = where.rstrip("`").removeprefix("$").removeprefix(".")
            inner, message, hint = complaint(sentence, where, one, _SHAPE)
        except _Wrong as error:
            inner, message, hint = error.path, error.message, error.hint
        else:
            continue
        joint = "" if not inner or inner.startswith("[") else "."
        problems.append(document.complain(f"{path}{joint}{inner}", message, hint))


def _case(case: Written, file: str, line: int, rules: LoadRules) -> Case:
    """Raises _Wrong."""
    starts = case.starts_at
    if starts.tzinfo is None:
        raise _Wrong("starts_at", "has no zone", "such as 2026-01-05T09:00:00Z")
    feed, want = tuple(_feed(case)), tuple(_wants(case))
    last = max(feed[-1][0], *(_at(case, row.at) for row in want), starts)
    ends = last + AFTER if case.until is None else _at(case, case.until)
    if ends < last:
        raise _Wrong("until", "is before the last line of the case", "leave it out")
    inventory = _inventory(case.inventory)
    return Case(file, line, case.name, rules, inventory, feed, want, starts, ends)


class _Wrong(Exception):
    """A case cannot be run; `path` points into it."""

    def __init__(self, path: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.path, self.message, self.hint = path, message, hint


def _at(case: Written, moment: float) -> datetime:
    return case.starts_at.astimezone(UTC) + timedelta(seconds=moment)


def _feed(case: Written) -> Iterator[tuple[datetime, Event]]:
    """The lines as a decoder reads them, in order of time; each is a delivery of its own."""
    before = -math.inf
    fed: list[tuple[datetime, Event]] = []
    for number, line in enumerate(case.feed):
        path = f"feed[{number}]"
        if line.at < before:
            raise _Wrong(f"{path}.at", "is before the line above it", "put the lines in order")
        before = line.at
        if line.every is None and (line.values or line.times):
            raise _Wrong(path, "is said more than once", "write every: 1m beside it")
        fed += [
            (_at(case, one.at), _event(case, one, f"line {number + 1}{again}", path))
            for again, one in _again(line)
        ]
    yield from sorted(fed, key=itemgetter(0))


def _again(line: Line) -> Iterator[tuple[str, Line]]:
    """Each time that it is said, and what tells it from the first."""
    times = line.times or max(1, len(line.values))
    for n in range(times):
        at = Moment(line.at + n * (line.every or 0.0))
        value = line.values[n % len(line.values)] if line.values else line.value
        yield (f".{n + 1}" if n else ""), structs.replace(line, at=at, value=value)


def _event(case: Written, line: Line, called: str, path: str) -> Event:
    """Raises _Wrong."""
    at = _at(case, line.at)
    said = msgspec.json.encode(_native(case, line, called))
    delivery = Delivery(
        transport="http",
        received_at=at,
        payload=said,
        path="/v1/events",
        source="events",
        decoder="native",
    )
    try:
        decoded = decode(delivery, trusted=True)
    except DecodeError as error:
        inner = f"{path}.{error.field}" if error.field else path
        raise _Wrong(inner, f"got {error.value}", f"expected {error.expected}") from None
    if decoded.rejected:
        raise _Wrong(path, decoded.rejected[0][1], "a line is a native event, and `at`")
    return decoded.events[0]


def _native(case: Written, line: Line, called: str) -> dict[str, object]:
    """The native event that a line stands for."""
    told = structs.asdict(line).items()
    said = {key: value for key, value in told if value and key not in OF_FEED}
    said.setdefault("id", called)
    if line.value is not None:
        said["value"] = line.value
    if line.status == "firing":
        said.setdefault("severity", "major")
    for key, moment in (("occurred_at", line.occurred_at), ("expires_at", line.expires_at)):
        if moment is not None:
            said[key] = _at(case, moment)
    if line.window is not None:
        window = structs.asdict(line.window)
        starts, ends = _at(case, line.window.starts_at), _at(case, line.window.ends_at)
        said["window"] = {**window, "starts_at": starts, "ends_at": ends}
    return said


_TEXTS = {"suppressed": "by", "raised": "name"}  # what a text under a key is, where it is one


def _wants(case: Written) -> Iterator[Row]:
    for number, one in enumerate(case.want):
        told = {key: value for key, value in _said(one).items() if key != "at"}
        if len(told) != 1:
            found = " and ".join(told) or "none"
            known = ", ".join(name for name in Want.__struct_fields__ if name != "at")
            raise _Wrong(f"want[{number}]", f"expected one thing a line, got {found}", known)
        ((what, said),) = told.items()
        if isinstance(said, str):
            yield Row(float(one.at), what, {_TEXTS.get(what, ""): said})
        else:
            yield Row(float(one.at), what, _said(said))


def _said(one: Struct) -> dict[str, Any]:
    """What stands in the file."""
    return {key: value for key, value in structs.asdict(one).items() if value is not None}


def _inventory(known: Known) -> LoadInventory:
    if not known.services and not known.cis:
        return LoadInventory("")
    return LoadInventory("of the case", known.services, known.cis)


def _flow(said: dict[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {_plain(value)}" for key, value in said.items() if value) + "}"


def _plain(text: str) -> str:
    """As YAML has it."""
    if text and PLAIN.issuperset(text) and not text[0].isdigit() and text[0] not in "-.":
        return text
    return json.dumps(text, ensure_ascii=False)


def moment(at: float) -> str:
    """Seconds as a case writes them."""
    if at < 60 or not at.is_integer():  # noqa: PLR2004 - a minute
        return f"{at:g}s"
    minutes, seconds = divmod(int(at), 60)
    return f"{minutes}m{seconds}s" if seconds else f"{minutes}m"
