"""Secrets from files and systemd credentials, made into what opens a door, or shows whose it is."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from eventd.credentials import (
    Basic,
    Bearer,
    Check,
    Credentials,
    GitHub,
    StandardWebhooks,
    digest_of,
    key_of,
)
from eventd.document import regular
from eventd.errors import ConfigError
from eventd.files import Secret, secret

MAX_LIVE = 2  # secrets of one kind: the old and the new one of a rotation
MIN_TOKEN = 32  # characters
MIN_256 = 43  # characters of 256 bits in base64; 64 in hexadecimal
MIN_KEY = 24  # bytes; Standard Webhooks, "Signature scheme"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")

T = TypeVar("T")


class BasicFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A name, and the file with its password."""

    username: str
    password_file: str


class CredentialFiles(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a source's secrets are; any of them opens its door."""

    bearer: str = ""
    basic: BasicFile | None = None
    standard_webhooks: str = ""
    github: str = ""


class Secrets(Struct, frozen=True):
    """What files of secrets say; read again at a SIGHUP, all of them or none."""

    api: Credentials  # and sources that have none of their own
    metrics: Credentials
    sources: dict[str, Credentials]  # those that have their own, by name
    passwords: dict[str, Secret]  # at brokers, by their name; "" where there is none
    tls: ssl.SSLContext | None  # to listen with


class Keyring:
    """Reads secrets; what is wrong with one is noted in `problems`."""

    def __init__(self, folder: Path, credentials: str, problems: list[str]) -> None:
        """Relative names are systemd credentials where there are any, else in `folder`."""
        self._folder, self._credentials, self._problems = folder, credentials, problems

    def read(self, name: str) -> Secret:
        """A secret, "" where it cannot be read."""
        try:
            return secret(self._path(name))
        except ConfigError as error:
            self._problems += error.problems
            return Secret("")

    def tokens(self, name: str) -> Credentials:
        """What asks for a token of the file; "" asks for nothing."""
        if not name:
            return Credentials()
        what = f"token, or two while rotating, of at least {MIN_TOKEN} characters, one a line"
        return Credentials((Bearer(self._each(name, _token, f"expected one {what}")),))

    def tls(self, certificate: str, key: str) -> ssl.SSLContext | None:
        """What listens with a certificate chain and its key, both PEM; None where they will not do.

        TLS 1.2 and 1.3, ciphers with forward secrecy and authenticated encryption only.
        """
        before = len(self._problems)
        self.read(key)
        if len(self._problems) > before:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        try:
            with regular(self._path(certificate)):  # else OpenSSL would wait for a FIFO
                pass
            # with a password OpenSSL does not ask for one at the terminal
            context.load_cert_chain(self._path(certificate), self._path(key), password="")
        except ConfigError as error:
            self._problems += error.problems
            return None
        except OSError as error:
            why = error.strerror or str(error)
            expected = f"expected a certificate chain in PEM that goes with {key}"
            self._problems.append(f"{certificate}: {expected}: {why}")
            return None
        return context

    def credentials(self, files: CredentialFiles) -> Credentials:
        """What a source asks for."""
        checks: list[Check] = []
        if files.bearer:
            checks.append(Bearer(self._digests(files.bearer)))
        if files.basic is not None:
            password = self._digests(files.basic.password_file)
            checks.append(Basic(files.basic.username, password))
        if files.standard_webhooks:
            what = f"whsec_ and base64 of at least {MIN_KEY} bytes"
            keys = self._each(files.standard_webhooks, _webhook_key, _expected(what))
            checks.append(StandardWebhooks(keys))
        if files.github:
            what = f"a secret of at least {MIN_TOKEN} characters"
            checks.append(GitHub(self._each(files.github, _github_key, _expected(what))))
        return Credentials(tuple(checks))

    def _digests(self, name: str) -> tuple[bytes, ...]:
        what = "a secret of 256 bits (openssl rand -base64 32), or sha256: and its digest in hex"
        return self._each(name, _digest, _expected(what))

    def _each(self, name: str, read: Callable[[str], T], expected: str) -> tuple[T, ...]:
        """One of each line; none of them is ever quoted."""
        before = len(self._problems)
        lines = self.read(name).reveal().split()
        if len(self._problems) > before:
            return ()
        try:
            found = tuple(map(read, lines))
        except ValueError:
            found = ()
        if not 1 <= len(found) <= MAX_LIVE:
            self._problems.append(f"{name}: {expected}")
            return ()
        return found

    def _path(self, name: str) -> Path:
        if self._credentials and "/" not in name:
            credential = Path(self._credentials, name)
            if credential.exists():
                return credential
        return self._folder / name


def _expected(what: str) -> str:
    return f"expected {what}, one a line, two while rotating"


def _token(text: str) -> bytes:
    if len(text) < MIN_TOKEN:
        raise ValueError(text)
    return digest_of(text)


def _digest(text: str) -> bytes:
    if digest := _DIGEST.fullmatch(text):
        return bytes.fromhex(digest[1])
    if len(text) < MIN_256:
        raise ValueError(text)
    return digest_of(text)


def _webhook_key(text: str) -> bytes:
    key = key_of(text)
    if len(key) < MIN_KEY:
        raise ValueError(text)
    return key


def _github_key(text: str) -> bytes:
    if len(text) < MIN_TOKEN:
        raise ValueError(text)
    return text.encode()
