"""Asking a daemon over HTTP, for commands."""

from __future__ import annotations

import json
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import click

from eventd.cli.lines import say, say_json
from eventd.cli.options import FILE
from eventd.config import is_loopback

F = TypeVar("F", bound=Callable[..., object])
TIMEOUT = 30.0  # s


def place(*parts: str, **filters: str | None) -> str:
    """The path of a part of the API, with the filters that are given; both in any letters.

    An empty one is asked for as it is: what has none.
    """
    path = "/".join(quote(part, safe="") for part in ("", "api", "v1", *parts))
    given = {name: value for name, value in filters.items() if value is not None}
    query = urlencode(given, quote_via=quote)
    return f"{path}?{query}" if query else path


class _Nowhere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token would go with it, and no daemon sends one."""

    def redirect_request(self, *_: object) -> None:
        """Leave it an error."""


class Client:
    """A daemon's API. Errors end the command with the daemon's own sentence."""

    def __init__(self, url: str, token: str) -> None:
        """`token` is "" where none is needed."""
        self.url, self._token = url.rstrip("/"), token
        here = is_loopback(urlsplit(url).hostname or "")  # where no proxy would find the same
        proxies = urllib.request.ProxyHandler({} if here else None)
        self._opener = urllib.request.build_opener(proxies, _Nowhere)

    def call(self, method: str, path: str, body: object = None, raw: bytes | None = None) -> Any:  # noqa: ANN401 - JSON of the daemon's, shown as it is
        """The decoded answer, {} where it has no body."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)  # noqa: S310 - the operator's own URL
        request.add_header("Content-Type", "application/json")
        if method != "GET" and raw is None:  # a command counts once, whoever on the way repeats it
            request.add_header("Idempotency-Key", secrets.token_hex(16))
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=TIMEOUT) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                say(f"eventd: {_sentence(error)}", err=True)
            sys.exit(1)
        except (OSError, HTTPException) as error:
            self._give_up(str(getattr(error, "reason", error)))
        try:
            return json.loads(text) if text else {}
        except ValueError:
            self._give_up("what answers is another program")

    def every(self, path: str, limit: int) -> Iterator[dict[str, Any]]:
        """Items of a list, page by page, at most `limit`."""
        after = ""
        joint = "&" if "?" in path else "?"
        while limit > 0:
            page = self.call("GET", f"{path}{joint}limit={min(limit, 500)}{after}")
            if "items" not in page:
                self._give_up("what answers is another program")
            yield from page["items"]
            limit -= len(page["items"])
            if page["next"] is None:
                return
            after = f"&after={quote(page['next'], safe='')}"

    def _give_up(self, reason: str) -> NoReturn:
        say(f"eventd: no daemon answers at {self.url}: {reason}", err=True)
        sys.exit(1)


def _sentence(error: urllib.error.HTTPError) -> str:
    if elsewhere := error.headers["Location"]:
        return f"{error.url} points to {elsewhere}: give --url what answers by itself"
    try:
        problem = json.loads(error.read())
        return f"{problem['title']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"


def _url(_: click.Context, __: click.Parameter, value: str) -> str:
    """Raise BadParameter where nobody could be asked there."""
    try:
        parts = urlsplit(value)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # of the port
        good = False
    if not good or not value.isascii() or not value.isprintable() or " " in value:
        raise click.BadParameter(f"expected such as http://127.0.0.1:9095, got {value!r}")
    return value


def connected(command: F) -> F:
    """Give a command --url and --token-file, and hand it a Client."""
    for option in (
        click.option("--token-file", type=FILE, help="Bearer token."),
        click.option(
            "--url",
            default="http://127.0.0.1:9095",
            show_default=True,
            callback=_url,
            help="The daemon.",
        ),
    ):
        command = option(command)
    return command


def client_of(url: str, token_file: Path | None) -> Client:
    """For the options of `connected`."""
    if token_file is None:
        return Client(url, "")
    words = token_file.read_text("utf-8", "replace").split()
    if not words or not words[0].isascii():
        raise click.UsageError(f"{token_file}: expected a token, got none")
    return Client(url, words[0])


def show(value: object) -> None:
    """JSON for programs."""
    say_json(json.dumps(value, ensure_ascii=False))
