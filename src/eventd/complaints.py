"""What msgspec says of an operator's file or a sender's JSON, in their words."""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import Enum
from functools import lru_cache
from itertools import islice
from types import GenericAlias, UnionType
from typing import Annotated, Literal, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from eventd.errors import DecodeError

Hook = Callable[[type, object], object]
UTF8_STEP = 64 << 10  # bytes decoded at a time
SHOWN = 60  # characters of a wrong value
MAX_PATH = 200  # characters of a path that a sender wrote
MAX_LOOSE = 256 << 10  # bytes read without a type: as such, lists may take thirty times their bytes

# What was meant where msgspec says only that it is not.
_TIME = "a time such as 2026-01-05T14:00:00Z"
_SHAPES = {
    "Invalid RFC3339 encoded datetime": _TIME,
    "Number out of range": "a number smaller than 2^63",
}
_NOUNS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}
_IN_JSON = {**_NOUNS, "object": "an object", "null": "null"}
# msgspec's sentences (0.22); the first letter is small where a rule's error carries them.
_UNKNOWN = re.compile(r"[Oo]bject contains unknown field `([^`]*)`")
_MISSING = re.compile(r"[Oo]bject missing required field `([^`]*)`")
_ENUM = re.compile(r"[Ii]nvalid enum value ")
_BOUND = re.compile(r"[Ee]xpected `(int|float)` (<=|>=|<|>) (\S+)")
_LENGTH = re.compile(r"[Ee]xpected `(str|array)` of length (<=|>=) (\d+)")
_PATTERN = re.compile(r"[Ee]xpected `str` matching regex ")
_TYPE = re.compile(r"[Ee]xpected `([a-z |]+)`, got `([a-z]+)`")
_MALFORMED = re.compile(r"JSON is malformed: (.*) \(byte (\d+)\)")
_NUL = b"\\u0000"  # as JSON has to write it
_BACKSLASH = ord("\\")
_HALF = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")  # of a surrogate pair
_INDEX = re.compile(r"- at `\$\[(\d+)\]")
_STEP = re.compile(r"\[(?P<index>\d+|\.\.\.)\]|(?P<key>[^.\[\]]+)")


class Complaint(NamedTuple):
    """Where in the data, what was expected there, and what to do."""

    path: str
    message: str
    hint: str


class Shape(NamedTuple):
    """A type as files are read into it.

    `hook` reads the types that are our own, `hints` says what each of those looks like.
    """

    kind: object
    hook: Hook
    hints: Mapping[object, str] = {}


def complaint(sentence: str, where: str, data: object, shape: Shape) -> Complaint:
    """What is wrong with `data` at `where`, msgspec's path without its `$`."""
    in_key = where.startswith("key` in `")
    place = _follow(where.removeprefix("key` in `$").removeprefix("."), data, shape)
    if in_key:
        return _wrong_key(place, shape.hook)
    known = list(_fields(place.kind))
    if unknown := _UNKNOWN.fullmatch(sentence):
        names = [field.encode_name for field in known]
        path = f"{place.path}.{unknown[1]}" if place.path else unknown[1]
        return Complaint(path, f"unknown key {unknown[1]!r}", likely(unknown[1], names))
    if missing := _MISSING.fullmatch(sentence):
        needed = ", ".join(field.encode_name for field in known if field.required)
        return Complaint(place.path, f"the key {missing[1]!r} is missing", f"needed: {needed}")
    message, hint = _expected(sentence, place.data, place.kind)
    own = next((shape.hints[one] for one in _flat(place.kind) if one in shape.hints), "")
    return Complaint(place.path, message, hint or own)


def unreadable(error: BaseException, kind: object, payload: bytes, whole: str) -> DecodeError:
    """What is wrong with a sender's JSON that is no `kind`; `whole` says what to send instead."""
    value, offset = _no_json(payload)
    if value:
        return DecodeError("", value, whole, offset)
    sentence, _, where = str(error).partition(" - at `")
    where = where.rstrip("`").removeprefix("key` in `").removeprefix("$").removeprefix(".")
    data = _loose(payload) if "[...]" in where else None  # which entry, msgspec does not say
    place = _follow(where, data, Shape(kind, lambda _, value: value))
    where = place.path[:MAX_PATH]
    if unknown := _UNKNOWN.fullmatch(sentence):
        names = ", ".join(one.encode_name for one in _fields(place.kind))
        name = unknown[1][:MAX_PATH]
        return DecodeError(_joined(where, name), "another field", f"one of {names}")
    if missing := _MISSING.fullmatch(sentence):
        lacking = _into(place, missing[1]).kind
        expected = _wanted(lacking) if where else whole
        return DecodeError(_joined(where, missing[1]), "nothing", expected)
    value, expected = _instead(sentence, place.kind)
    return DecodeError(where, value, expected if where else whole)


def has_nul(payload: bytes) -> bool:
    """Whether a text in this JSON has NUL, which neither PostgreSQL nor C can keep in one."""
    # behind a backslash that is escaped itself these are the six characters; that there is none
    # is known four times as fast
    return _BACKSLASH in payload and _NUL in payload and _NUL in payload.replace(b"\\\\", b"  ")


def _loose(payload: bytes) -> object:
    """What it says; None where it is large, or of no use behind what was complained of."""
    try:
        return msgspec.json.decode(payload) if len(payload) <= MAX_LOOSE else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _wanted(kind: object) -> str:
    """What belongs where there is nothing."""
    words = {datetime: _TIME, str: "a text"}
    return next((words[one] for one in words if one in _flat(kind)), "a value")


def _instead(sentence: str, kind: object) -> tuple[str, str]:
    """What a value is, and what was expected."""
    if _ENUM.match(sentence):
        return _ENUM.sub("", sentence), f"one of {' '.join(_words(kind))}"
    if length := _LENGTH.match(sentence):
        noun, unit = _IN_JSON[length[1]], "characters" if length[1] == "str" else "entries"
        if length[2] == "<=":
            return "more", f"{noun} of at most {length[3]} {unit}"
        return "less", f"{noun} of at least {length[3]} {unit}"
    if other := _TYPE.fullmatch(sentence):
        nouns = " or ".join(_IN_JSON.get(name, name) for name in other[1].split(" | "))
        return _IN_JSON.get(other[2], other[2]), nouns
    return sentence[:1].lower() + sentence[1:], _SHAPES.get(sentence, "another value")


def _no_json(payload: bytes) -> tuple[str, int | None]:
    """What it is instead of JSON, and the byte from which on; "" where it is JSON."""
    try:
        _check_utf8(payload)
        msgspec.json.decode(payload, type=msgspec.Raw)
    except UnicodeDecodeError as error:
        return f"text that is not UTF-8 (byte {error.start})", error.start
    except RecursionError:
        return "JSON that is nested too deeply", None
    except msgspec.DecodeError as error:
        if malformed := _MALFORMED.fullmatch(str(error)):
            return f"malformed JSON: {malformed[1]} (byte {malformed[2]})", int(malformed[2])
        if half := _HALF.search(payload):
            return f"half of a surrogate pair (byte {half.start()})", half.start()
        end = len(payload.rstrip())
        return f"JSON that is cut short (byte {end})" if end else "nothing", end
    return "", None


def _check_utf8(payload: bytes) -> None:
    """Raise UnicodeDecodeError where it is not; the whole as text may be four times as large."""
    at = 0
    while at < len(payload):
        end = at + UTF8_STEP
        try:
            _, read = codecs.utf_8_decode(payload[at:end], "strict", end >= len(payload))
        except UnicodeDecodeError as error:
            error.start += at
            raise
        at += read


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _words(kind: object) -> Iterator[str]:
    """What may be said where there is a choice."""
    for one in _flat(kind):
        if get_origin(one) is Literal:
            yield from get_args(one)
        elif isinstance(one, type) and issubclass(one, Enum):
            yield from (str(word.value) for word in one)


def likely(word: str, known: list[str]) -> str:
    """The known word that was meant, else all of them."""
    near = difflib.get_close_matches(word, known, 1)
    return f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(known)


def shown(value: object) -> str:
    """A wrong value as the file has it, shortened."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list():
            return "a list" if value else "an empty list"
        case str():
            return '"' + (value if len(value) <= SHOWN else value[: SHOWN - 1] + "…") + '"'
        case _:
            return str(value)


class _Place(NamedTuple):
    path: str
    data: object
    kind: object


def _follow(where: str, data: object, shape: Shape) -> _Place:
    """Walk to `where`; the entry of a table that msgspec leaves unnamed is looked for."""
    place = _Place("", data, shape.kind)
    for step in _STEP.finditer(where):
        index, key = step["index"], step["key"]
        if index is None:
            place = _into(place, key)
        elif index == "...":
            place = _unnamed(place, shape.hook)
        else:
            items = place.data
            item = items[int(index)] if isinstance(items, list) else None
            place = _Place(f"{place.path}[{index}]", item, _entries(place.kind))
    return place


def _into(place: _Place, key: str) -> _Place:
    data = place.data.get(key) if isinstance(place.data, dict) else None
    kind = next((f.type for f in _fields(place.kind) if f.encode_name == key), object)
    return _Place(f"{place.path}.{key}" if place.path else key, data, kind)


def _unnamed(place: _Place, hook: Hook) -> _Place:
    kind = _entries(place.kind)
    table = place.data if isinstance(place.data, dict) else {}
    try:
        # of a list msgspec says which; one by one, a table of a sender's could hold up everything
        msgspec.convert(list(table.values()), GenericAlias(list, (kind,)), dec_hook=hook)
    except msgspec.ValidationError as error:
        if found := _INDEX.search(str(error)):
            key, value = next(islice(table.items(), int(found[1]), None))
            return _Place(f"{place.path}.{key}", value, kind)
    return place._replace(kind=kind)


def _wrong_key(place: _Place, hook: Hook) -> Complaint:
    names = next((get_args(one)[0] for one in _flat(place.kind) if get_origin(one) is dict), str)
    table = place.data if isinstance(place.data, dict) else {}
    wrong = next((key for key in table if not _reads(key, names, hook)), "")
    message, hint = _expected("expected `str` matching regex ", wrong, names)
    return Complaint(f"{place.path}.{wrong}", message, hint)


def _reads(value: object, kind: object, hook: Hook) -> bool:
    try:
        msgspec.convert(value, kind, dec_hook=hook)
    except msgspec.ValidationError:
        return False
    return True


def _expected(sentence: str, value: object, kind: object) -> tuple[str, str]:
    """What was expected instead of the value, and a hint."""
    words = [word for one in _flat(kind) if get_origin(one) is Literal for word in get_args(one)]
    if words and (_ENUM.match(sentence) or _TYPE.fullmatch(sentence)):
        near = difflib.get_close_matches(str(value), words, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"such as {words[0]}"
        if str(value) in words:
            hint = f'put it in quotes: "{value}"'
        return f"expected one of {', '.join(words)}, got {shown(value)}", hint
    if bound := _BOUND.match(sentence):
        least = "at least" if bound[2].startswith(">") else "at most"
        message = f"expected {_NOUNS[bound[1]]} of {least} {bound[3]}, got {shown(value)}"
        return message, _range(kind)
    if length := _LENGTH.match(sentence):
        noun, bound_is, size = _NOUNS[length[1]], length[2], length[3]
        if (bound_is, size) == (">=", "1"):
            hint = "add an entry" if length[1] == "array" else "write it out"
            return f"expected {noun} that is not empty, got {shown(value)}", hint
        least = "at least" if bound_is == ">=" else "at most"
        unit = "characters" if length[1] == "str" else "entries"
        found = len(value) if isinstance(value, str | list) else 0
        hint = "add some" if bound_is == ">=" else "shorten it"
        return f"expected {noun} of {least} {size} {unit}, got {found}", hint
    if _PATTERN.match(sentence):
        meta = next((one for one in _metas(kind) if one.pattern is not None), Meta())
        such = ", ".join(map(str, meta.examples or ()))
        return f"expected {meta.description}, got {shown(value)}", f"such as {such}"
    if other := _TYPE.fullmatch(sentence):
        nouns = " or ".join(_NOUNS.get(name, name) for name in other[1].split(" | "))
        hint = _mend(other[1], value, kind) or _range(kind) or f"write {nouns}"
        return f"expected {nouns}, got {shown(value)}", hint
    return sentence, ""


def _mend(expected: str, value: object, kind: object) -> str:
    """How a value of another type becomes one of the expected."""
    match value:
        case bool() | int() | float() if "str" in expected:
            return f'put it in quotes: "{shown(value)}"'
        case str() if "array" in expected:
            return f"write [{shown(value)}]"
        case str() if expected == "bool" or (expected in {"int", "float"} and value.isdigit()):
            return "without quotes"
        case dict() if "array" in expected:
            return "begin each entry with a dash"
        case dict() | list() if "str" in expected:
            return "put it in quotes"
        case _:
            names = [field.encode_name for field in _fields(kind)]
            return "keys: " + ", ".join(names) if "object" in expected and names else ""


def _range(kind: object) -> str:
    least = next((meta.ge for meta in _metas(kind) if meta.ge is not None), None)
    most = next((meta.le for meta in _metas(kind) if meta.le is not None), None)
    return f"{least} to {most}" if least is not None and most is not None else ""


def _flat(kind: object) -> Iterator[object]:
    """The types that a type is made of, its unions and annotations undone."""
    if get_origin(kind) is Annotated:
        yield from _flat(get_args(kind)[0])
    elif get_origin(kind) in {Union, UnionType}:
        for one in get_args(kind):
            yield from _flat(one)
    else:
        yield kind


def _metas(kind: object) -> Iterator[Meta]:
    if get_origin(kind) is Annotated:
        base, *notes = get_args(kind)
        yield from (note for note in notes if isinstance(note, Meta))
        yield from _metas(base)
    elif get_origin(kind) in {Union, UnionType}:
        for one in get_args(kind):
            yield from _metas(one)


def _fields(kind: object) -> Iterator[msgspec.structs.FieldInfo]:
    for one in _flat(kind):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            yield from _fields_of(one)


@lru_cache(
    maxsize=256
)  # reading the types anew takes 0.3 ms, and a delivery may be wrong 10,000 times
def _fields_of(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def _entries(kind: object) -> object:
    """The type of a list's or a table's entries."""
    for one in _flat(kind):
        if get_origin(one) is dict:
            return get_args(one)[1]
        if get_origin(one) in {tuple, list}:
            return get_args(one)[0]
    return object
