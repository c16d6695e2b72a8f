"""Selectors: conjunctions of matchers in the syntax SREs know from Prometheus."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from operator import attrgetter
from typing import Protocol

import re2

from eventd.core.labels import SEVERITY_NAMES, severity_of
from eventd.core.model import Alert, Matcher, Severity, Status
from eventd.errors import RuleError

ORDERED = ("severity", "value")  # `<` and its like are for these
OPS = ("=~", "!~", "!=", "<=", ">=", "=", "<", ">")
MAX_MATCHERS = 64

# eventd's own text, never an operator's pattern, so `re` is safe here.
_TOKEN = re.compile(
    r"""\s*(?P<label>[A-Za-z_][A-Za-z0-9_.:-]*)\s*
        (?P<op>=~|!~|!=|<=|>=|=|<|>)\s*
        (?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[A-Za-z0-9_.+-]+))\s*""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}

Test = Callable[[Alert], bool]


# What reads each field; `alertname` is what Prometheus calls the name.
class Labelled(Protocol):
    """What has labels as alerts have them: these, or the alert table's own records."""

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def service(self) -> str: ...
    @property
    def ci(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def status(self) -> Status: ...
    @property
    def severity(self) -> Severity: ...
    @property
    def labels(self) -> Mapping[str, str]: ...


READERS: dict[str, Callable[[Labelled], str]] = {
    "name": attrgetter("name"),
    "alertname": attrgetter("name"),
    "source": attrgetter("source"),
    "service": attrgetter("service"),
    "ci": attrgetter("ci"),
    "summary": attrgetter("summary"),
    "status": lambda alert: alert.status.value,
    "severity": lambda alert: SEVERITY_NAMES[alert.severity],
}


def parse_selector(text: str, path: str = "match") -> tuple[Matcher, ...]:
    """Read ``name="DiskFull", severity>=minor``; braces around it are allowed.

    Raises RuleError with `path` where the text is no selector or a pattern is not RE2.
    """
    body = text.strip()
    if body.startswith("{") != body.endswith("}"):
        raise RuleError(path, f"unbalanced braces in {text!r}", 'write name="x", service="y"')
    if body.startswith("{"):
        body = body[1:-1].strip()
    matchers: list[Matcher] = []
    position = 0
    while position < len(body):
        token = _TOKEN.match(body, position)
        if token is None:
            raise RuleError(
                path,
                f"expected label, operator, quoted value at character {position + 1} of {text!r}",
                f"operators are {' '.join(OPS)}",
            )
        value = token["bare"] if token["quoted"] is None else _unescape(token["quoted"])
        matchers.append(Matcher(token["label"], token["op"], value))
        position = token.end()
        if position < len(body):
            if body[position] != ",":
                message = f"expected a comma at character {position + 1} of {text!r}"
                raise RuleError(path, message, 'write name="x", service="y"')
            position += 1
    if len(matchers) > MAX_MATCHERS:
        raise RuleError(path, f"more than {MAX_MATCHERS} matchers in one selector", "split it")
    for matcher in matchers:
        check(matcher, path)
    return tuple(matchers)


def allows_status(selector: tuple[Matcher, ...], status: Status) -> bool:
    """Whether what has that status may match."""
    return all(_holds(one, status.value) for one in selector if one.label == "status")


def _holds(matcher: Matcher, text: str) -> bool:
    if matcher.op in {"=", "!="}:
        return (matcher.value == text) is (matcher.op == "=")
    matches = pattern_of(matcher.value).fullmatch(text) is not None
    return matches is (matcher.op == "=~")


def check(matcher: Matcher, path: str = "match") -> None:
    """Raise RuleError where the matcher can never be asked."""
    compile_matcher(matcher, path)


def _unescape(quoted: str) -> str:
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], "\\" + m[1]), quoted)


def reader_of(label: str) -> Callable[[Labelled], str]:
    """What reads the text a matcher on `label` looks at; "" where the alert has no such label."""
    return READERS.get(label) or (lambda alert: alert.labels.get(label, ""))


def field_of(alert: Alert, label: str) -> str:
    """That text. Where the same label is asked for again and again, keep its reader."""
    return reader_of(label)(alert)


def compile_matcher(matcher: Matcher, path: str = "match") -> Test:
    """The matcher as a function of an alert."""
    label, op, value = matcher.label, matcher.op, matcher.value
    if op in {"<", "<=", ">", ">="}:
        return _ordered(label, op, value, path)
    if label == "severity" and op in {"=", "!="}:
        value = SEVERITY_NAMES[_severity(value, path)]
    if label == "value":
        raise RuleError(path, f"value{op}{value!r} compares text", "use < <= > >= with value")
    read = reader_of(label)
    if op == "=":
        return lambda alert: read(alert) == value
    if op == "!=":
        return lambda alert: read(alert) != value
    pattern = pattern_of(value, path)
    if op == "=~":
        return lambda alert: pattern.fullmatch(read(alert)) is not None
    return lambda alert: pattern.fullmatch(read(alert)) is None


@lru_cache(maxsize=65_536)
def pattern_of(text: str, path: str = "match") -> re2._Regexp:
    """The compiled RE2 pattern; it must match the whole text, as in Prometheus."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20  # bytes a pattern may compile to
    try:
        return re2.compile(text, options)
    except re2.error as error:
        why = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        hint = "RE2 has no look-around and no back-reference"
        raise RuleError(path, f"{text!r} is no RE2 pattern: {why}", hint) from None


def _severity(word: str, path: str) -> Severity:
    severity = severity_of(word)
    if severity is None:
        raise RuleError(
            path, f"{word!r} is no severity", "one of " + " ".join(SEVERITY_NAMES.values())
        )
    return severity


def _ordered(label: str, op: str, value: str, path: str) -> Test:
    bound = math.nan
    if label == "severity":
        bound = _severity(value, path)
    elif label == "value":
        with suppress(ValueError):
            bound = float(value)
        if math.isnan(bound):  # with which nothing compares
            raise RuleError(path, f"value{op}{value!r}: no number", 'such as value>"90"')
    else:
        raise RuleError(
            path, f"{op} is for {' and '.join(ORDERED)}, not for {label!r}", "use = != =~ !~"
        )

    def measure(alert: Alert) -> float | None:
        return alert.severity if label == "severity" else alert.value

    match op:
        case "<":
            return lambda alert: (x := measure(alert)) is not None and x < bound
        case "<=":
            return lambda alert: (x := measure(alert)) is not None and x <= bound
        case ">":
            return lambda alert: (x := measure(alert)) is not None and x > bound
        case _:
            return lambda alert: (x := measure(alert)) is not None and x >= bound
