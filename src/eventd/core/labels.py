"""Labels, canonical names, fingerprints and delivery keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec
from xxhash import xxh3_128, xxh3_128_digest, xxh3_128_hexdigest

from eventd.core.model import Severity

_DIGITS = re.compile(r"[0-9]+")  # eventd's own patterns
_LAST_NUMBER = re.compile(r"(?<![0-9])[0-9]++(?=[^0-9]*$)")  # each digit is looked at once

# Label names that are no part of an alert's identity: severity is the source's changing opinion,
# `replica` tells one of two identical Prometheus servers from the other.
NOT_IDENTITY = frozenset({"severity", "replica"})

# What senders say in other words, from the conventions of Prometheus, Zabbix, syslog, PagerDuty
# and Nagios.
_SEVERITIES = {
    "ok": Severity.OK,
    "info": Severity.INFO,
    "informational": Severity.INFO,
    "information": Severity.INFO,
    "none": Severity.INFO,
    "debug": Severity.INFO,
    "notice": Severity.INFO,
    "low": Severity.WARNING,
    "warning": Severity.WARNING,
    "warn": Severity.WARNING,
    "minor": Severity.MINOR,
    "unknown": Severity.MINOR,
    "average": Severity.MINOR,
    "major": Severity.MAJOR,
    "error": Severity.MAJOR,
    "err": Severity.MAJOR,
    "high": Severity.MAJOR,
    "page": Severity.MAJOR,
    "critical": Severity.CRITICAL,
    "crit": Severity.CRITICAL,
    "fatal": Severity.CRITICAL,
    "emergency": Severity.CRITICAL,
    "disaster": Severity.CRITICAL,
}
SEVERITY_NAMES = {s: s.name.lower() for s in Severity}


MAX_COPIED = 64 << 10  # bytes of a payload that are sooner copied than hashed in two steps
T = TypeVar("T")
MAX_CACHED = 128  # characters of a name that is remembered
MAX_CACHE = 16_384  # names remembered of a sort; of the longest, with what is said, some 6 MB
MAX_TEXTS = 8_192  # values of a sort that are remembered, so that they are stored once


class _Once(dict[T, T]):
    """Values seen a moment ago, each by itself.

    At the cap all are forgotten: what is said again is soon known again, the rest does not stay.
    (`sys.intern` would keep an entry for every text that is said but once.)
    """

    def __missing__(self, value: T) -> T:
        if len(self) >= MAX_TEXTS:
            self.clear()
        self[value] = value
        return value


shared = _Once[str]().__getitem__  # the same text, stored once
shared_links = _Once[tuple[str, ...]]().__getitem__  # most lead to the rule, not to what it is on


class _Labels(dict[tuple[tuple[str, str], ...], dict[str, str]]):
    """Sets of labels seen a moment ago; at the cap all are forgotten, as with texts.

    Their names are read with msgspec, which keeps those of up to 32 characters itself.
    """

    def __missing__(self, items: tuple[tuple[str, str], ...]) -> dict[str, str]:
        if len(self) >= MAX_TEXTS:
            self.clear()
        found = self[items] = {name: shared(value) for name, value in items}
        return found


_labels = _Labels()


def shared_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The same labels, stored once: alerts share most of theirs, many all. Not to be changed."""
    return _labels[tuple(labels.items())]


def severity_of(word: str) -> Severity | None:
    """eventd's severity for a sender's word, case aside; None where it is no such word."""
    return _SEVERITIES.get(word) or _SEVERITIES.get(word.strip().lower())


class _Known(dict[str, str]):
    """What is said of short names; at the cap all are forgotten, as with texts."""

    def __init__(self, say: Callable[[str], str]) -> None:
        self._say = say

    def __missing__(self, name: str) -> str:
        said = self._say(name)
        if len(name) <= MAX_CACHED:
            if len(self) >= MAX_CACHE:
                self.clear()
            self[name] = said
        return said


def _remembered(say: Callable[[str], str]) -> Callable[[str], str]:
    """The function, asked once a name; a long name is asked for each time."""
    return _Known(say).__getitem__


# A plain host name, with or without domain and port: what nearly all names are.
_HOST = re.compile(r"([a-z][a-z0-9-]*)(?:\.[a-z0-9.-]*)?(?::[0-9]+)?")


@_remembered
def canonical_ci(name: str) -> str:
    """The name as the inventory compares it: lower case, without port and domain.

    Addresses keep their dots; names with ``://``, ``_`` or ``@`` are no host names and only lose
    their case.
    """
    folded = name.strip().lower()
    name = name if folded == name else folded  # the same text, where it is as it should be
    if plain := _HOST.fullmatch(name):
        return name if len(plain[1]) == len(name) else plain[1]
    if "://" in name or "_" in name or "@" in name or "/" in name or " " in name:
        return name
    if name.startswith("["):  # [v6]:port
        return name[1:].split("]", 1)[0]
    if name.count(":") == 1:
        host, port = name.split(":")
        if port.isdigit() and host:
            name = host
    head = name.split(".", 1)[0]
    return name if not head or head.isdigit() or ":" in name else head


_encode = msgspec.json.Encoder(order="deterministic").encode


def fingerprint_of(
    source: str,
    name: str,
    ci: str,
    service: str,
    labels: Mapping[str, str],
    volatile: tuple[str, ...] = (),
) -> str:
    """Identity of an alert whose sender gives no id of its own; `ci` is canonical.

    The order of labels does not matter; severity, `replica` and `volatile` ones do not count.
    """
    if volatile or not NOT_IDENTITY.isdisjoint(labels):
        labels = {k: v for k, v in labels.items() if k not in NOT_IDENTITY and k not in volatile}
    return xxh3_128_hexdigest(_encode((source, name, ci, service, labels)))


def fingerprint_from_id(source: str, own: str) -> str:
    """Identity of an alert by the sender's own stable id."""
    return xxh3_128_hexdigest(f"{source}\x1f{own}".encode())


def delivery_key(*parts: str) -> bytes:
    """16 bytes that recognise the same delivery again; the parts are told apart."""
    return xxh3_128_digest("\x1f".join(parts).encode())


def payload_key(source: str, topic: str, payload: bytes) -> bytes:
    """The weak key of a delivery whose sender gives none."""
    if len(payload) > MAX_COPIED:
        hashed = xxh3_128(f"{source}\x1f{topic}\x1f".encode())
        hashed.update(payload)
        return hashed.digest()
    return xxh3_128_digest(b"\x1f".join((source.encode(), topic.encode(), payload)))


def brief(text: str, most: int) -> str:
    """The text, or of one with more than `most` characters these and a digest: no two have one."""
    return text if len(text) <= most else text[:most] + xxh3_128_hexdigest(text.encode())


def event_key(delivery: bytes, index: int) -> bytes:
    """The key of one event of a delivery with a key of its own."""
    return delivery if index == 0 else xxh3_128_digest(delivery + index.to_bytes(4, "big"))


@_remembered
def shape(ci: str) -> str:
    """What names of its kind look like: digits are all alike."""
    return _DIGITS.sub("#", ci)


@_remembered
def stem(ci: str) -> str:
    """The name without its last number; "" where it has none."""
    without = _LAST_NUMBER.sub("#", ci, count=1)
    return without if without != ci else ""
