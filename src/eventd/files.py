"""Operators' files, read strictly: every complaint with file, line and path."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from eventd.complaints import Shape, complaint
from eventd.core.model import LoadRules, Shifts
from eventd.core.rules import (
    KINDS,
    Head,
    Keyed,
    head_of,
    parse,
    written_as,
)
from eventd.core.rules.loops import MAX_CHAIN, chains
from eventd.core.rules.rule import OWN_SOURCE, Rule, Span, decode_hook
from eventd.document import Document, read, regular
from eventd.errors import ConfigError, RuleError
from eventd.zones import zones_of

MAX_RULES_FILE = 1 << 20  # bytes; RELIABILITY §6
MAX_SECRET = 64 << 10  # bytes; the largest are keys of TLS, of some 3 kB
FILE_KEYS = ("rules", "tests")
SPAN_HINT = "number and unit: ms s m h d w"

T = TypeVar("T")


def _shape(head: type[Head], kinds: list[str]) -> Shape:
    """A rule as it is written: the head, and one of the kinds."""
    fields = [(kind, written_as(kind), None) for kind in kinds]
    rule = msgspec.defstruct("_RULE", fields, bases=(head,), kw_only=True)
    return Shape(rule, decode_hook, {Span: SPAN_HINT})


_HEADS: tuple[type[Head], ...] = (Keyed, *map(head_of, KINDS))  # what names no kind is Keyed
_SHAPES: dict[type[Head], Shape] = {
    head: _shape(head, [kind for kind in KINDS if head is Keyed or head_of(kind) is head])
    for head in _HEADS
}


class Secret:
    """Text that is never shown."""

    def __init__(self, text: str) -> None:
        """Hold it."""
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def convert(document: Document, shape: Shape, kind: type[T]) -> T:
    """The document as `kind`, which is `shape`'s.

    Raises ConfigError with file, line, path, what was expected and a hint.
    """
    data = {} if document.data is None else document.data
    try:
        return msgspec.convert(data, kind, dec_hook=shape.hook)
    except msgspec.ValidationError as error:
        sentence, _, where = str(error).partition(" - at `")
        where = where.rstrip("`").removeprefix("$").removeprefix(".")
        raise ConfigError([document.complain(*complaint(sentence, where, data, shape))]) from None


def secret(path: Path) -> Secret:
    """A secret from a file of its own. Raises ConfigError, also where others may read it."""
    with regular(path) as file:
        if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError([f"{path}: others may read this secret (chmod 600 {path})"])
        data = file.read(MAX_SECRET + 1)
    if len(data) > MAX_SECRET:
        raise ConfigError([f"{path}: expected at most {MAX_SECRET} bytes, got more"])
    try:
        return Secret(data.decode().strip())
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8 (write the secret as text)"]) from None


def default_rules() -> Path:
    """The packaged rule set; in a clone, the project's own."""
    packaged = Path(__file__).parent / "default_rules"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "rules"


def rule_files(path: Path) -> list[Path]:
    """The file, or a directory's YAML files in order of name."""
    try:
        if not path.is_dir():
            return [path]
        return sorted(one for one in path.iterdir() if one.suffix in {".yaml", ".yml"})
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None


def load_rules(path: Path) -> LoadRules:
    """Every rule of a file, or of a directory's YAML files in order of name.

    The tests beside them are not looked at. Raises ConfigError with every problem of every file,
    one line each.
    """
    files = rule_files(path)
    problems: list[str] = []
    placed: list[tuple[Rule, Document, str]] = []
    places: dict[str, str] = {}
    zones: dict[str, Shifts] = {}
    if not files:
        problems.append(f"{path}: holds no rules (expected *.yaml)")
    for file in files:
        try:
            _rules_of(read(file, MAX_RULES_FILE), placed, places, zones, problems)
        except ConfigError as error:
            problems += error.problems
    if not problems:
        problems += _chains(placed)
    if problems:
        raise ConfigError(problems)
    texts = [rule.text for rule, _, _ in placed]
    said = "\n".join([*texts, *(f"{zone} {table}" for zone, table in sorted(zones.items()))])
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    return LoadRules(digest, tuple(texts), zones)


def _rules_of(
    document: Document,
    placed: list[tuple[Rule, Document, str]],
    places: dict[str, str],
    zones: dict[str, Shifts],
    problems: list[str],
) -> None:
    data = document.data
    table = data if isinstance(data, dict) else {}
    stray = [key for key in table if key not in FILE_KEYS]
    lists = [key for key in FILE_KEYS if isinstance(table.get(key, []), list)]
    if stray or "rules" not in table or len(lists) < len(FILE_KEYS):
        wrong = next((key for key in FILE_KEYS if key not in lists), "rules")
        path = stray[0] if stray else wrong if wrong in table else ""
        message = f"unknown key {path!r}" if stray else f"expected a list under {wrong!r}"
        hint = "a rules file is a list, and may have a second: rules: [...], tests: [...]"
        problems.append(document.complain(path, message, hint))
        return
    for index, one in enumerate(table["rules"]):
        path = f"rules[{index}]"
        try:
            rule = parse(one)
            zones |= zones_of(rule)
        except RuleError as error:
            inner, message, hint = error.path, error.message, error.hint
            if not hint:  # msgspec's own sentence
                kind = (
                    next((key for key in one if key in KINDS), "") if isinstance(one, dict) else ""
                )
                shape = _SHAPES[head_of(kind) if kind else Keyed]
                inner, message, hint = complaint(message, inner, one, shape)
            joint = "" if not inner or inner.startswith("[") else "."
            problems.append(document.complain(f"{path}{joint}{inner}", message, hint))
            continue
        here = f"{document.file}:{document.line_of(path)}"
        if rule.name in places:
            message = f"rule {rule.name!r} stands at {places[rule.name]} already"
            problems.append(document.complain(f"{path}.name", message, "rename one"))
            continue
        places[rule.name] = here
        placed.append((rule, document, path))


def _chains(placed: list[tuple[Rule, Document, str]]) -> Iterator[str]:
    """Alerts of rules that come back to them, or are handed on and on."""
    for chain in chains([rule for rule, _, _ in placed]):
        _, document, path = placed[chain[0]]
        way = " -> ".join([placed[chain[0]][0].name, *(_at(*placed[n]) for n in chain[1:])])
        if chain[0] == chain[-1]:
            message = f"its alert comes back to it: {way}"
            hint = f'match source!="{OWN_SOURCE}" too, or give the alert another name'
        else:
            message = f"more than {MAX_CHAIN} alerts of rules that make one another: {way}"
            hint = "match what made them instead"
        yield document.complain(f"{path}.alert", message, hint)


def _at(rule: Rule, document: Document, path: str) -> str:
    return f"{rule.name} ({document.file}:{document.line_of(path)})"
