"""Secrets in files: what is read from them, and what is refused without being repeated."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.edges.test_credentials import BEARER, BODY, NEW, OTHER, TOKEN, hub, of_basic, signed

from eventd.config import Config, Environment, load
from eventd.credentials import digest_of
from eventd.errors import ConfigError

T0 = datetime(2026, 1, 5, 14, 0, tzinfo=UTC)
KEY = "whsec_" + base64.b64encode(NEW).decode()


def configured(folder: Path, credentials: str, *secrets: str, mode: int = 0o600) -> Config:
    """A source `shop` with these credentials, and the file `s` with these lines."""
    (folder / "s").write_text("\n".join(secrets))
    (folder / "s").chmod(mode)
    file = folder / "eventd.yaml"
    file.write_text(f"sources:\n  webhooks:\n    shop:\n      credentials: {credentials}\n")
    return load(file, Environment())


@pytest.mark.parametrize(
    ("credentials", "secrets", "headers"),
    [
        ("{bearer: s}", (OTHER, TOKEN), BEARER),
        ("{bearer: s}", (f"sha256:{digest_of(TOKEN).hex()}",), BEARER),
        ("{basic: {username: am, password_file: s}}", (OTHER, TOKEN), of_basic("am", TOKEN)),
        ("{standard_webhooks: s}", (KEY,), signed(NEW)),
        ("{github: s}", ("n" * 32, "o" * 32), hub(NEW)),
        ("{bearer: s, github: s}", ("n" * 43,), hub(b"n" * 43)),
    ],
)  # fmt: skip
def test_each_way_in_is_read_from_a_file_of_one_or_two_lines(
    tmp_path: Path, credentials: str, secrets: tuple[str, ...], headers: dict[str, str]
) -> None:
    """D56: rotation has two live secrets."""
    door = configured(tmp_path, credentials, *secrets).secrets.sources["shop"]

    assert door.allows(headers, T0) or door.allows_signed(headers, BODY, T0)
    assert not door.allows({}, T0)
    assert not door.allows_signed({}, BODY, T0)


@pytest.mark.parametrize(
    ("credentials", "secrets", "says"),
    [
        ("{bearer: s}", ("hunter2",), "expected a secret of 256 bits (openssl rand -base64 32)"),
        ("{bearer: s}", (TOKEN, TOKEN, TOKEN), "one a line, two while rotating"),
        ("{bearer: s}", (), "one a line, two while rotating"),
        ("{basic: {username: am, password_file: s}}", ("hunter2",), "a secret of 256 bits"),
        ("{standard_webhooks: s}", ("hunter2",), "whsec_ and base64 of at least 24 bytes"),
        ("{standard_webhooks: s}", ("whsec_aGk=",), "whsec_ and base64 of at least 24 bytes"),
        ("{github: s}", ("hunter2",), "a secret of at least 32 characters"),
        ("{}", (), "expected a way to show who one is, got none"),
        ("{github: absent}", (), "No such file or directory"),
        ("{token: s}", (), "unknown key 'token'"),
    ],
)
def test_a_secret_that_will_not_do_is_told_without_being_repeated(
    tmp_path: Path, credentials: str, secrets: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(tmp_path, credentials, *secrets)

    (problem,) = caught.value.problems
    assert says in problem
    assert "hunter2" not in problem


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="others may read this secret"):
        configured(tmp_path, "{github: s}", "n" * 32, mode=0o640)


def test_a_secret_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"\xff\xfe")
    (tmp_path / "t").chmod(0o600)

    with pytest.raises(ConfigError, match="is not UTF-8"):
        configured(tmp_path, "{github: t}")


def test_no_secret_stands_in_what_is_printed_of_credentials(tmp_path: Path) -> None:
    config = configured(tmp_path, "{bearer: s, github: s}", TOKEN)

    assert TOKEN not in f"{config} {config!r} {config.secrets.sources['shop'].__dict__}"
