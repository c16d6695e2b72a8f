"""YAML as plain data, read strictly, and the line each path of it begins at."""

from __future__ import annotations

import gc
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import yaml
from yaml.constructor import SafeConstructor
from yaml.events import (
    CollectionStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml.nodes import ScalarNode
from yaml.reader import ReaderError

from eventd.complaints import shown
from eventd.errors import ConfigError

MAX_DEPTH = 32  # of nesting; the deepest file we read has five

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_make = SafeConstructor()
_SCALARS = {
    "tag:yaml.org,2002:bool": _make.construct_yaml_bool,
    "tag:yaml.org,2002:int": _make.construct_yaml_int,
    "tag:yaml.org,2002:float": _make.construct_yaml_float,
    "tag:yaml.org,2002:null": _make.construct_yaml_null,
}
_MAP, _SEQ = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
_STR = "tag:yaml.org,2002:str"
_TEXTS = frozenset({_STR, "tag:yaml.org,2002:timestamp"})
_UNTAGGED = frozenset({None, "!"})


class Document:
    """Plain data of a file."""

    def __init__(self, file: str, text: str, data: object) -> None:
        """`data` is what `text` says."""
        self.file, self.data = file, data
        self._text = text
        self._lines: dict[str, int] = {}

    def complain(self, path: str, message: str, hint: str = "") -> str:
        """The printable line: file, line, path, what is wrong, what to do."""
        shown = f" {path}:" if path else ""
        end = f" ({hint})" if hint else ""
        return f"{self.file}:{self.line_of(path)}:{shown} {message}{end}"

    def line_of(self, path: str) -> int:
        """The line it begins at, or what it is in.

        Looked up in the text when the first one is asked for: a good file need not remember them.
        """
        if not self._lines:
            self._lines[""] = 1
            _Reading(self.file, self._text, self._lines).data()
        where = path
        while where not in self._lines:
            where = where[: max(where.rfind("."), where.rfind("["), 0)]
        return self._lines[where]


def read(path: Path, max_bytes: int) -> Document:
    """A YAML file as plain data. Raises ConfigError."""
    name = str(path)
    with regular(path) as file:
        data = file.read(max_bytes + 1)
        size = max(len(data), os.fstat(file.fileno()).st_size)
    if size > max_bytes:
        message = f"{name}: expected at most {max_bytes} bytes, got {size} (split it)"
        raise ConfigError([message])
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{name}:{line}: is not UTF-8 (save it as UTF-8)"]) from None
    return parse_yaml(name, text)


@contextmanager
def regular(path: Path) -> Iterator[BinaryIO]:
    """A file that an operator names. Raises ConfigError, also where it is a FIFO or a device.

    They may have nothing to say, or no end, and what waits for them cannot be stopped.
    """
    try:
        _refuse_irregular(path, path.stat())
        # in case it has become one since
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            _refuse_irregular(path, os.fstat(fd))
            yield file
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None


def _refuse_irregular(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError([f"{path}: is no regular file"])


def first_key(path: Path) -> str:
    """The first key of a YAML file that is a mapping, "" of any other, good or not."""
    try:
        with regular(path) as file:
            for event in yaml.parse(file, Loader=_Loader):
                if isinstance(event, yaml.ScalarEvent):
                    return str(event.value)
                if isinstance(event, yaml.SequenceStartEvent):
                    break
    except (ConfigError, UnicodeDecodeError, yaml.YAMLError):
        pass
    return ""


def parse_yaml(name: str, text: str) -> Document:
    """YAML text as plain data. Raises ConfigError."""
    collects = gc.isenabled()
    gc.disable()  # all that is made is kept: to look through it takes longer than the reading
    try:
        return Document(name, text, _Reading(name, text, {}).data())
    finally:
        if collects:
            gc.enable()


class _Reading:
    """One pass over the text: makes the data, and notes lines where there is a table for them."""

    def __init__(self, name: str, text: str, lines: dict[str, int]) -> None:
        self._name, self._text, self._lines = name, text, lines
        self._notes = bool(lines)
        self._events: Iterator[Event] = yaml.parse(text, Loader=_Loader)
        self._keys: dict[str, str] = {}  # each once: rows have the same

    def data(self) -> object:
        """What the text says; None where it says nothing. Raises ConfigError."""
        try:
            next(self._events)  # the stream's start
            if isinstance(next(self._events), StreamEndEvent):
                return None
            found = self._value(next(self._events), "", 0)
            next(self._events)  # the document's end
            after = next(self._events)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise self._no_yaml(line, str(error.problem), self._advice(line)) from None
        except ReaderError as error:
            line = self._text.encode()[: error.position].count(b"\n") + 1
            raise self._no_yaml(line, error.reason, "remove it") from None
        if not isinstance(after, StreamEndEvent):
            raise self._no_yaml(_line(after), "a second document begins", "make two files of it")
        return found

    def _value(self, event: Event, path: str, depth: int) -> object:
        line = _line(event)
        if self._notes:
            self._lines.setdefault(path, line)
        if not isinstance(event, ScalarEvent | CollectionStartEvent) or event.anchor is not None:
            raise self._refused(line, "anchors and aliases are refused (write it out)")
        if depth > MAX_DEPTH:
            message = f"is nested more than {MAX_DEPTH} deep (write it flatter)"
            raise self._refused(line, message)
        if isinstance(event, ScalarEvent):
            return self._scalar(event, path)
        tag = event.tag
        if isinstance(event, MappingStartEvent) and (tag in _UNTAGGED or tag == _MAP):
            return self._mapping(path, depth)
        if isinstance(event, SequenceStartEvent) and (tag in _UNTAGGED or tag == _SEQ):
            return self._sequence(path, depth)
        raise self._refused(line, f"{path}: the tag {tag} is refused (leave it out)")

    def _scalar(self, event: ScalarEvent, path: str) -> object:
        tag, text = _tag(event), event.value
        if tag in _TEXTS:
            return text
        if tag not in _SCALARS:
            message = f"{path}: the tag {tag} is refused (leave it out)"
            raise self._refused(_line(event), message)
        try:
            return _SCALARS[tag](ScalarNode(tag, text))
        except (ValueError, LookupError):  # "0x_" looks like a number to YAML
            message = f"{path}: cannot read {shown(text)} (put it in quotes)"
            raise self._refused(_line(event), message) from None

    def _sequence(self, path: str, depth: int) -> list[object]:
        found: list[object] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            found.append(self._value(event, f"{path}[{len(found)}]", depth + 1))
        return found

    def _mapping(self, path: str, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            line = _line(event)
            if not isinstance(event, ScalarEvent) or _tag(event) not in _TEXTS:
                where = f"{path}: " if path else ""
                raise self._refused(line, f"{where}expected a text as key (put it in quotes)")
            key = self._keys.setdefault(event.value, event.value)
            inner = f"{path}.{key}" if path else key
            if key in found:
                raise self._refused(line, f"{inner}: stands twice (remove one)")
            if self._notes:
                self._lines[inner] = line
            found[key] = self._value(next(self._events), inner, depth + 1)
        return found

    def _refused(self, line: int, message: str) -> ConfigError:
        return ConfigError([f"{self._name}:{line}: {message}"])

    def _no_yaml(self, line: int, problem: str, hint: str) -> ConfigError:
        return self._refused(line, f"is no YAML: {problem} ({hint})")

    def _advice(self, line: int) -> str:
        tabbed = any(re.match(" *\t", one) for one in self._text.splitlines()[line - 1 : line])
        return "indent with spaces, not tabs" if tabbed else "look at what is before it"


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _tag(event: ScalarEvent) -> str:
    """The scalar's tag: its own, else what it looks like unless it is in quotes."""
    if event.tag not in _UNTAGGED:
        return str(event.tag)
    return _look(event.value) if event.implicit[0] else _STR


@lru_cache(maxsize=4_096)
def _look(text: str) -> str:
    """What a plain scalar is to YAML 1.1."""
    for tag, pattern in yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], ()):
        if pattern.match(text):
            return str(tag)
    return _STR
