"""Who may come in: what a request has to show, and who has shown the wrong thing too often.

Secrets are compared by `hmac.compare_digest` only, and every live one is tried, so that an answer
takes as long whichever it was.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from eventd.core.model import Denied

TOLERANCE = 300.0  # s a signature may be old or early: Standard Webhooks' own libraries
MAX_SIGNATURES = 16  # of one request; two are for rotation
MAX_GUESSES = 20  # wrong ones a peer may make in GUESSES_WITHIN before it is told to stop
GUESSES_WITHIN = 60.0  # s
MAX_PEERS = 4_096  # whose guesses are counted; beyond, the longest known is forgotten
MAX_TOLD = 60  # rows of the audit in GUESSES_WITHIN, and one a source for all OTHERS: one a second
OTHERS = "others"


class Check(Protocol):
    """One way to show who one is."""

    signs: bool  # it is over the body, which has to be read first
    challenge: str  # for WWW-Authenticate

    def holds(self, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
        """Whether the request shows it; `headers` are looked up without case."""
        ...


class Bearer:
    """`Authorization: Bearer TOKEN`; kept as SHA-256."""

    signs = False
    challenge = "Bearer"

    def __init__(self, digests: tuple[bytes, ...]) -> None:
        """SHA-256 of each live token."""
        self._digests = digests

    def holds(self, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
        """See Check."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        return _is_one_of(digest_of(token.strip()), self._digests) and scheme.lower() == "bearer"


class Basic:
    """`Authorization: Basic` of a name and a password; kept as SHA-256 of both."""

    signs = False
    challenge = 'Basic realm="eventd"'

    def __init__(self, username: str, digests: tuple[bytes, ...]) -> None:
        """SHA-256 of each live password."""
        self._username, self._digests = digest_of(username), digests

    def holds(self, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
        """See Check."""
        scheme, _, given = headers.get("Authorization", "").partition(" ")
        try:
            pair = base64.b64decode(given.strip(), validate=True).decode()
        except ValueError:
            return False
        username, _, password = pair.partition(":")
        known = _is_one_of(digest_of(password), self._digests)
        named = hmac.compare_digest(digest_of(username), self._username)
        return known and named and scheme.lower() == "basic"


class StandardWebhooks:
    """An HMAC-SHA256 of id, time and body, as standardwebhooks.com has it."""

    signs = True
    challenge = "Webhook-Signature"

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        """Each live key, as bytes."""
        self._keys = keys

    def holds(self, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
        """See Check; a time more than TOLERANCE from `now` does not hold."""
        at = headers.get("webhook-timestamp", "")
        if not at.isascii() or not at.isdigit() or len(at) > 12:  # noqa: PLR2004 - year 33658
            return False
        if abs(int(at) - now.timestamp()) > TOLERANCE:
            return False
        name = headers.get("webhook-id", "").encode(errors="surrogateescape")
        if not name:  # nothing would tell a call that is made again
            return False
        signed = b"%b.%b.%b" % (name, at.encode(), body)
        good = tuple(base64.b64encode(_hmac(key, signed)) for key in self._keys)
        given = headers.get("webhook-signature", "").split(" ")[:MAX_SIGNATURES]
        parts = [one.partition(",") for one in given]
        found = [_is_one_of(_bytes(sig), good) for version, _, sig in parts if version == "v1"]
        return any(found)


class GitHub:
    """An HMAC-SHA256 of the body, as GitHub's webhooks have it: it says nothing of when."""

    signs = True
    challenge = "X-Hub-Signature-256"

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        """Each live secret, as bytes."""
        self._keys = keys

    def holds(self, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
        """See Check."""
        scheme, _, given = headers.get("X-Hub-Signature-256", "").partition("=")
        good = tuple(_hmac(key, body).hex().encode() for key in self._keys)
        return _is_one_of(_bytes(given), good) and scheme == "sha256"


class Credentials:
    """What opens a door: any of its checks. Without one it stands open, which is for loopback."""

    def __init__(self, checks: tuple[Check, ...] = ()) -> None:
        """Several at once are for a source that changes from one way to another."""
        self._of_headers = tuple(one for one in checks if not one.signs)
        self._of_body = tuple(one for one in checks if one.signs)
        self.challenge = ", ".join(one.challenge for one in checks)

    def become(self, other: Credentials) -> None:
        """Ask for what the other does, from the next request on."""
        self._of_headers, self._of_body = other._of_headers, other._of_body
        self.challenge = other.challenge

    @property
    def opens(self) -> bool:
        """Nothing has to be shown."""
        return not self._of_headers and not self._of_body

    @property
    def signs(self) -> bool:
        """The body may show what headers do not."""
        return bool(self._of_body)

    def allows(self, headers: Mapping[str, str], now: datetime) -> bool:
        """Whether the headers show it."""
        shown = [one.holds(headers, b"", now) for one in self._of_headers]
        return self.opens or any(shown)

    def allows_signed(self, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
        """Whether the body, as it came, is signed."""
        shown = [one.holds(headers, body, now) for one in self._of_body]
        return any(shown)


class Wrong(Struct, frozen=True):
    """Why somebody is not let in."""

    status: int
    reason: str  # for the metric
    detail: str
    headers: dict[str, str]


class Meter(Protocol):
    """What is counted of guesses."""

    def turned_away(self, source: str, reason: str) -> None:
        """A request was refused before it was read."""
        ...


class Guesses:
    """Counts wrong guesses by peer, an IPv6 network of 64 bits being one, and says when to stop.

    What is right is let in all the same: a secret of 256 bits is not guessed, and a peer may be a
    proxy with many behind it. The table is bounded; the longest known peer makes room.

    For the audit they are counted by source and peer: the first is told at once, what follows
    once in GUESSES_WITHIN. The counts told sum up to all there were.
    """

    def __init__(self, meter: Meter, tell: Callable[[Denied], None] = lambda _: None) -> None:
        """Nobody has guessed yet."""
        self._meter, self._tell = meter, tell
        self._peers: dict[str, tuple[int, float]] = {}  # how many, and since when
        self._untold: dict[tuple[str, str], tuple[int, float]] = {}  # how many, and when last told

    def __len__(self) -> int:
        return len(self._peers)

    def settle(self, now: float) -> None:
        """Tell what has waited for long enough; what has been told is forgotten."""
        for key, (count, told) in list(self._untold.items()):
            if now - told < GUESSES_WITHIN:
                continue
            if count:
                self._tell(Denied(*key, count))
                self._untold[key] = (0, now)
            else:
                del self._untold[key]

    def wrong(self, source: str, peer: str, credentials: Credentials, now: float) -> Wrong:
        """Note one at the door of `source`, at a monotonic time; what to answer."""
        peer = _network(peer)
        self._note(source, peer, now)
        answer = self._answer(peer, credentials, now)
        self._meter.turned_away(source, answer.reason)
        return answer

    def _note(self, source: str, peer: str, now: float) -> None:
        key = (source, peer)
        if key not in self._untold and len(self._untold) >= MAX_TOLD:
            key = (source, OTHERS)
        if key in self._untold:
            count, told = self._untold[key]
            self._untold[key] = (count + 1, told)
        else:
            self._tell(Denied(*key, 1))
            self._untold[key] = (0, now)

    def _answer(self, peer: str, credentials: Credentials, now: float) -> Wrong:
        count, since = self._peers.get(peer, (0, now))
        if now - since >= GUESSES_WITHIN:
            count, since = 0, now
        if peer not in self._peers and len(self._peers) >= MAX_PEERS:
            del self._peers[next(iter(self._peers))]
        self._peers[peer] = (count + 1, since)
        if count < MAX_GUESSES:
            headers = {"WWW-Authenticate": credentials.challenge}
            return Wrong(401, "unauthorized", "the right credentials are needed", headers)
        wait = max(1, round(since + GUESSES_WITHIN - now))
        why = f"{MAX_GUESSES} wrong guesses in {GUESSES_WITHIN:g} s are enough"
        return Wrong(429, "guessing", why, {"Retry-After": str(wait)})


def digest_of(secret: str) -> bytes:
    """What is kept of a token or password."""
    return hashlib.sha256(_bytes(secret)).digest()


def key_of(secret: str) -> bytes:
    """The key in a secret of Standard Webhooks: base64 behind `whsec_`. Raises ValueError."""
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _is_one_of(given: bytes, known: tuple[bytes, ...]) -> bool:
    same = [hmac.compare_digest(given, one) for one in known]
    return any(same)


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def _bytes(text: str) -> bytes:
    """As it came: what is no UTF-8 in a header is kept by aiohttp as lone surrogates."""
    return text.encode(errors="surrogateescape")


def _network(peer: str) -> str:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if address.version == 6 and address.ipv4_mapped is None:  # noqa: PLR2004 - IPv6
        return str(ipaddress.ip_network((address, 64), strict=False))
    return peer
