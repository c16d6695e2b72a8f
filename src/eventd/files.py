"""Operators' files: YAML read strictly, every complaint with file, line and path."""

from __future__ import annotations

import gc
import hashlib
import re
import stat
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from eventd.complaints import Shape, complaint, shown
from eventd.core.model import LoadRules
from eventd.core.rules import KINDS, Head, parse, text_of
from eventd.core.rules.rule import Span, decode_hook
from eventd.errors import ConfigError, RuleError

MAX_RULES_FILE = 1 << 20  # bytes; RELIABILITY §6
MAX_DEPTH = 32  # of nesting; the deepest file we read has five
SPAN_HINT = "number and unit: ms s m h d w"

T = TypeVar("T")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_make = SafeConstructor()
_SCALARS = {
    "tag:yaml.org,2002:bool": _make.construct_yaml_bool,
    "tag:yaml.org,2002:int": _make.construct_yaml_int,
    "tag:yaml.org,2002:float": _make.construct_yaml_float,
    "tag:yaml.org,2002:null": _make.construct_yaml_null,
}
_MAP, _SEQ = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
_TEXTS = frozenset({"tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp"})
# A rule as it is written: the head, and one of the kinds.
_RULE = msgspec.defstruct(
    "_RULE", [(name, spec, None) for name, (spec, _) in KINDS.items()], bases=(Head,)
)
_RULE_SHAPE = Shape(_RULE, decode_hook, {Span: SPAN_HINT})


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


class Document(NamedTuple):
    """Plain data, and the line each path of it begins at."""

    file: str
    data: object
    lines: dict[str, int]

    def complain(self, path: str, message: str, hint: str = "") -> str:
        """The printable line: file, line, path, what is wrong, what to do."""
        shown = f" {path}:" if path else ""
        end = f" ({hint})" if hint else ""
        return f"{self.file}:{self.line_of(path)}:{shown} {message}{end}"

    def line_of(self, path: str) -> int:
        """The line it begins at, or what it is in."""
        where = path
        while where not in self.lines:  # "" is there
            where = where[: max(where.rfind("."), where.rfind("["), 0)]
        return self.lines[where]


def read(path: Path, max_bytes: int) -> Document:
    """A YAML file as plain data. Raises ConfigError."""
    name = str(path)
    try:
        size = path.stat().st_size
        if size > max_bytes:
            message = f"{name}: expected at most {max_bytes} bytes, got {size} (split it)"
            raise ConfigError([message])
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{name}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{name}:{line}: is not UTF-8 (save it as UTF-8)"]) from None
    return parse_yaml(name, text)


def first_key(path: Path) -> str:
    """The first key of a YAML file that is a mapping, "" of any other, good or not."""
    try:
        with path.open(encoding="utf-8") as stream:
            for event in yaml.parse(stream, Loader=_Loader):
                if isinstance(event, yaml.ScalarEvent):
                    return str(event.value)
                if isinstance(event, yaml.SequenceStartEvent):
                    break
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        pass
    return ""


def parse_yaml(name: str, text: str) -> Document:
    """YAML text as plain data. Raises ConfigError."""
    collects = gc.isenabled()
    gc.disable()  # all that is made is kept: to look through it takes longer than the reading
    try:
        return _parse_yaml(name, text)
    finally:
        if collects:
            gc.enable()


def _parse_yaml(name: str, text: str) -> Document:
    lines: dict[str, int] = {"": 1}
    try:
        if "&" in text or "*" in text:
            _refuse_anchors(name, text)
        node = yaml.compose(text, Loader=_Loader)
        data = None if node is None else _plain(name, node, "", lines, 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        tabbed = any(re.match(" *\t", found) for found in text.splitlines()[line - 1 : line])
        what = "indent with spaces, not tabs" if tabbed else "look at what is before it"
        raise ConfigError([f"{name}:{line}: is no YAML: {error.problem} ({what})"]) from None
    except ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        raise ConfigError([f"{name}:{line}: is no YAML: {error.reason} (remove it)"]) from None
    return Document(name, data, lines)


def _refuse_anchors(name: str, text: str) -> None:
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            line = event.start_mark.line + 1 if event.start_mark else 1
            message = f"{name}:{line}: anchors and aliases are refused (write it out)"
            raise ConfigError([message])


def _plain(name: str, node: Node, path: str, lines: dict[str, int], depth: int) -> object:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if depth > MAX_DEPTH:
        raise ConfigError(
            [f"{name}:{line}: is nested more than {MAX_DEPTH} deep (write it flatter)"]
        )
    if isinstance(node, MappingNode) and node.tag == _MAP:
        return _mapping(name, node, path, lines, depth)
    if isinstance(node, SequenceNode) and node.tag == _SEQ:
        return [
            _plain(name, item, f"{path}[{i}]", lines, depth + 1)
            for i, item in enumerate(node.value)
        ]
    if isinstance(node, ScalarNode):
        if node.tag in _TEXTS:
            return node.value
        if node.tag in _SCALARS:
            try:
                return _SCALARS[node.tag](node)
            except (ValueError, LookupError):  # "0x_" looks like a number to YAML
                message = f"{path}: cannot read {shown(node.value)} (put it in quotes)"
                raise ConfigError([f"{name}:{line}: {message}"]) from None
    raise ConfigError([f"{name}:{line}: {path}: the tag {node.tag} is refused (leave it out)"])


def _mapping(
    name: str, node: MappingNode, path: str, lines: dict[str, int], depth: int
) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, ScalarNode) or key.tag not in _TEXTS:
            at = f"{name}:{line}: {path}:" if path else f"{name}:{line}:"
            raise ConfigError([f"{at} expected a text as key (put it in quotes)"])
        inner = f"{path}.{key.value}" if path else key.value
        if key.value in found:
            raise ConfigError([f"{name}:{line}: {inner}: stands twice (remove one)"])
        lines[inner] = line
        found[key.value] = _plain(name, value, inner, lines, depth + 1)
    return found


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
    try:
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError([f"{path}: others may read this secret (chmod 600 {path})"])
        return Secret(path.read_text(encoding="utf-8").strip())
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8 (write the secret as text)"]) from None


def load_rules(path: Path) -> LoadRules:
    """Every rule of a file, or of a directory's YAML files in order of name.

    Raises ConfigError with every problem of every file, one line each.
    """
    files = (
        sorted(one for one in path.iterdir() if one.suffix in {".yaml", ".yml"})
        if path.is_dir()
        else [path]
    )
    problems: list[str] = []
    texts: list[str] = []
    places: dict[str, str] = {}
    if not files:
        problems.append(f"{path}: holds no rules (expected *.yaml)")
    for file in files:
        try:
            _rules_of(read(file, MAX_RULES_FILE), texts, places, problems)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    return LoadRules(digest, tuple(texts))


def _rules_of(
    document: Document, texts: list[str], places: dict[str, str], problems: list[str]
) -> None:
    data = document.data
    if not isinstance(data, dict) or list(data) != ["rules"] or not isinstance(data["rules"], list):
        stray = [key for key in data if key != "rules"] if isinstance(data, dict) else []
        path = stray[0] if stray else ""
        message = f"unknown key {path!r}" if stray else "expected a list under 'rules'"
        hint = "a rules file is one list: rules: [...]"
        problems.append(document.complain(path, message, hint))
        return
    for index, one in enumerate(data["rules"]):
        path = f"rules[{index}]"
        try:
            rule = parse(one)
        except RuleError as error:
            inner, message, hint = error.path, error.message, error.hint
            if not hint:  # msgspec's own sentence
                inner, message, hint = complaint(message, inner, one, _RULE_SHAPE)
            joint = "" if not inner or inner.startswith("[") else "."
            problems.append(document.complain(f"{path}{joint}{inner}", message, hint))
            continue
        here = f"{document.file}:{document.lines.get(path, 1)}"
        if rule.name in places:
            message = f"rule {rule.name!r} stands at {places[rule.name]} already"
            problems.append(document.complain(f"{path}.name", message, "rename one"))
            continue
        places[rule.name] = here
        texts.append(text_of(one))
