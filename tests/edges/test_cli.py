"""The command line with what people give it: any name, wrong files, daemons that are none."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from click import unstyle
from click.testing import CliRunner, Result
from tests.builders import at, event
from tests.edges.store_desk import alive

from eventd.cli import main


class Fake(ThreadingHTTPServer):
    """Answers every request alike, and remembers it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = json.dumps({"items": [], "next": None}).encode()
        self.asked: list[str] = []
        self.keys: list[str | None] = []
        self.elsewhere = ""  # where it sends whoever asks

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Fake

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.keys.append(self.headers["Idempotency-Key"])
        self.send_response(302 if self.server.elsewhere else 200)
        if self.server.elsewhere:
            self.send_header("Location", self.server.elsewhere)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Fake]:
    with Fake() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def fake() -> Iterator[Fake]:
    with serving() as server:
        yield server


@pytest.fixture
def other() -> Iterator[Fake]:
    with serving() as server:
        yield server


INCIDENT = {
    "id": "INC-000001", "priority": "P2", "state": "resolved", "opened_at": "2026-03-02T09:00:20Z",
    "alert_count": 41, "firing_count": 12, "roots": [{"ci": "san1"}],
    "title": "[/b] LatencyHigh on san-dc1-2 and 40 more CIs", "because": "40 of 41 CIs " * 12,
}  # fmt: skip
ALERT = {
    "status": "cleared", "severity": "critical", "name": "gateway silent", "ci": "gw-1.bank",
    "service": "payments", "count": 12, "last_seen_at": "2026-03-02T09:00:20Z",
    "incident": None, "suppressed_by": None, "fingerprint": "f" * 32,
}  # fmt: skip


def cli(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.mark.parametrize(
    ("command", "path", "filters"),
    [
        ("alerts|--name|gateway silent", "alerts", {"name": "gateway silent"}),
        ("alerts|--ci|münchen", "alerts", {"ci": "münchen"}),
        ("alerts|--service|a&status=cleared+#", "alerts", {"service": "a&status=cleared+#"}),
        ("incidents|--service|card payments", "incidents", {"service": "card payments"}),
        ("alerts|--service||--ci|", "alerts", {"service": "", "ci": ""}),
        ("incidents|--service|", "incidents", {"service": ""}),
        ("why|web 1", "alerts", {"ci": "web 1"}),
        ("silence|end|SIL 1/x?", "silences/SIL 1/x?", {}),
    ],
)
def test_any_name_reaches_the_daemon_as_it_is(
    fake: Fake, command: str, path: str, filters: dict[str, str]
) -> None:
    cli(*command.split("|"), "--url", fake.url)

    asked = urlsplit(fake.asked[0])
    assert unquote(asked.path) == f"/api/v1/{path}"
    query = parse_qs(asked.query, keep_blank_values=True)
    found = {name: value for name, (value,) in query.items() if name != "limit"}
    assert found == filters


def test_every_command_has_a_key_of_its_own_and_what_is_asked_has_none(fake: Fake) -> None:
    for words in (("end", "SIL-000001"), ("end", "SIL-000001"), ("list",)):
        cli("silence", *words, "--url", fake.url)

    one, other, none = fake.keys
    assert len(one or "") == len(other or "") == 32
    assert one != other
    assert none is None


@pytest.mark.parametrize("command", [("list",), ("end", "SIL-000001")])
def test_a_redirect_is_told_and_the_token_goes_nowhere(
    fake: Fake, other: Fake, tmp_path: Path, command: tuple[str, ...]
) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    fake.elsewhere = f"{other.url}/login"

    done = cli("silence", *command, "--url", fake.url, "--token-file", token)

    assert (done.exit_code, len(fake.asked), other.asked) == (1, 1, [])
    assert f"points to {other.url}/login: give --url what answers by itself\n" in done.output


def test_a_proxy_is_not_asked_for_what_is_on_this_machine(
    fake: Fake, other: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", other.url)

    for url in (fake.url, fake.url.replace("127.0.0.1", "localhost"), "http://eventd.example"):
        cli("alerts", "--url", url)

    assert len(fake.asked) == 2
    assert [urlsplit(asked).hostname for asked in other.asked] == ["eventd.example"]


@pytest.mark.parametrize("charset", ["latin-1", "iso8859-5"])
def test_what_a_terminal_cannot_show_is_escaped_and_json_is_utf8(fake: Fake, charset: str) -> None:
    named = ALERT | {"name": "磁盘 ü 😀"}
    fake.answer = json.dumps({"items": [named], "next": None}).encode()
    shell = CliRunner(charset=charset)

    listed, ended, as_json = (
        shell.invoke(main, [*words, "--url", fake.url])
        for words in (["alerts"], ["silence", "end", "磁盘"], ["alerts", "--json"])
    )

    assert (listed.exit_code, ended.exit_code, as_json.exit_code) == (0, 0, 0)
    assert "\\u78c1\\u76d8" in listed.output
    assert ended.output == "\\u78c1\\u76d8 ended\n"
    assert json.loads(as_json.stdout_bytes)["items"] == [named]


@pytest.mark.parametrize("answer", ["<html>", '{"status": "success"}', "[]"])
def test_what_is_no_daemon_is_told_as_that(fake: Fake, answer: str) -> None:
    fake.answer = answer.encode()

    done = cli("alerts", "--url", fake.url)

    assert (done.exit_code, done.output) == (
        1,
        f"eventd: no daemon answers at {fake.url}: what answers is another program\n",
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("alerts|--url|http://127.0.0.1:abc", "expected such as http://127.0.0.1:9095"),
        ("alerts|--url|127.0.0.1:9095", "expected such as http://127.0.0.1:9095"),
        ("alerts|--url|http://a b", "expected such as http://127.0.0.1:9095"),
        ("alerts|--token-file|empty", "expected a token, got none"),
        ("alerts|--token-file|folder", "is a directory"),
        ("alerts|--status|fireing", "is not one of 'firing', 'cleared'"),
        ("incidents|--state|opened", "is not one of 'open', 'resolved', 'closed'"),
        ("incidents|--limit|0", "is not in the range x>=1"),
        ("alerts|--limit|-3", "is not in the range x>=1"),
        ("incidents|acknowledge|INC-1", "no action is called 'acknowledge' (did you mean 'ack'?)"),
        ("incidents|frob|INC-1", "no action is called 'frob' (known: show, ack, comment, "),
        ("replay|no.jsonl.gz", "no.jsonl.gz: cannot be read: Not a gzipped file"),
        ("replay|half.jsonl.gz", "half.jsonl.gz: cannot be read: Compressed file"),
        ("replay|a.jsonl|--learn-from|no.jsonl.gz", "no.jsonl.gz: cannot be read"),
        ("replay|early.jsonl", "early.jsonl:1: 0001-01-01T00:00:00+10:00 is no time between"),
        ("replay|late.jsonl", "late.jsonl:2: 9999-12-31T23:59:59+00:00 is no time between"),
        ("replay|folder", "is a directory"),
        ("replay|bad.jsonl|--out|none/x", "none/x: nothing can be written in none"),
        ("replay|bad.jsonl|--html|empty/x", "empty/x: nothing can be written in empty"),
        ("replay|a.jsonl|--out|a.jsonl", "a.jsonl would be written over"),
        ("replay|--journal|a.jsonl", "eventd replay: "),
        ("test|--junit|none/x", "none/x: nothing can be written in none"),
        ("check|--store|folder|--acked|folder", "is a directory"),
        ("check", "give FILES, or --store"),
        ("test|folder", "eventd test: no test stands in folder"),
        ("demo|--listen|foo", 'expected HOST:PORT, got "foo"'),
        ("run|--listen|foo", '--listen: expected HOST:PORT, got "foo"'),
        ("run|--listen|0.0.0.0:1|--config|c.yaml", "--listen: 0.0.0.0 can be reached"),
        ("run|--config|open.yaml", "open.yaml:2: listen: 0.0.0.0 can be reached"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    line = (json.dumps({"name": "a", "received_at": "2026-03-01T09:00:00Z"}) + "\n").encode()
    files = {
        "empty": b"",
        "a.jsonl": line,
        "no.jsonl.gz": line,
        "early.jsonl": line.replace(b"2026-03-01T09:00:00Z", b"0001-01-01T00:00:00+10:00"),
        "late.jsonl": line + line.replace(b"2026-03-01T09:00:00Z", b"9999-12-31T23:59:59Z"),
        "half.jsonl.gz": gzip.compress(line)[:-9],
    }
    files |= {
        "bad.jsonl": b"{",
        "c.yaml": b"state: x\n",
        "open.yaml": b"state: x\nlisten: 0.0.0.0:1",
    }
    for name, body in files.items():
        Path(name).write_bytes(body)
    Path("folder").mkdir()

    done = cli(*command.split("|"))

    assert (done.exit_code, "Traceback" in done.output) == (2, False)
    assert said in done.output


@pytest.mark.parametrize(
    "command",
    [
        "export --state . > /dev/full",
        "export --state . >&-",
        "export --state . --out /dev/full",
        "check --store . > /dev/full",
        "check --store . --json >&-",
        "replay --journal . > /dev/full",
        "replay --journal . --out /dev/full",
        "replay --journal . --html /dev/full",
    ],
)
async def test_what_finds_no_room_for_what_it_writes_says_so_and_judges_nothing(
    tmp_path: Path, command: str
) -> None:
    async with alive(tmp_path) as life:
        await life.submit(at(0), event())

    done = subprocess.run(
        f"{sys.executable} -m eventd {command}",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    why = "Bad file descriptor" if command.endswith("-") else "No space left on device"
    assert done.stderr == f"eventd {command.split(maxsplit=1)[0]}: what is written: {why}\n"
    assert done.returncode == 2


@pytest.mark.parametrize("command", ["export --state .", "check --store ."])
async def test_who_closes_the_pipe_is_told_nothing_and_that_is_no_judgement(
    tmp_path: Path, command: str
) -> None:
    async with alive(tmp_path) as life:
        await life.submit(at(0), event())
    read, write = os.pipe()
    os.close(read)

    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "eventd", *command.split()],
            stdout=pipe,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            check=False,
        )

    assert (done.returncode, done.stderr) == (2, b"")


def test_want_of_memory_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(*_: object) -> list[object]:
        raise MemoryError

    monkeypatch.setattr("eventd.app.verdicts", starved)

    done = cli("check", "--store", ".")

    assert (done.exit_code, done.output) == (2, "eventd check: out of memory\n")


def test_a_configuration_is_as_good_as_the_files_it_names(tmp_path: Path) -> None:
    config, rules, inventory = (tmp_path / name for name in ("c.yaml", "r.yaml", "i.yaml"))
    config.write_text("rules: r.yaml\ninventory: i.yaml")
    rules.write_text("rules: []")
    inventory.write_text("cis: []")

    good = cli("check", config)
    rules.write_text("rules: [{}]")
    bad_rules = cli("check", config)
    rules.write_text("rules: []")
    inventory.write_text("cis: [{}]")
    bad_inventory = cli("check", config)

    assert (good.exit_code, good.output) == (0, f"{config}: good\n")
    assert (bad_rules.exit_code, bad_rules.output.startswith(f"{rules}:1: rules[0]")) == (1, True)
    assert bad_inventory.output.startswith(f"{inventory}:1: cis[0]")


@pytest.mark.parametrize("item", [INCIDENT, ALERT], ids=["incidents", "alerts"])
@pytest.mark.parametrize("width", [80, 120, None])
def test_a_table_fits_its_terminal_and_is_not_folded_where_there_is_none(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, item: dict[str, object], width: int | None
) -> None:
    fake.answer = json.dumps({"items": [item], "next": None}).encode()
    for name in ("FORCE_COLOR", "COLUMNS", "NO_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    if width is not None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(width))

    done = cli("incidents" if item is INCIDENT else "alerts", "--url", fake.url)

    head, *rows = unstyle(done.output).splitlines()
    assert done.exit_code == 0
    assert "…" not in done.output
    assert ("03-02 09:00 " in rows[0], "2026-03-02T09:00:20Z" in rows[0]) == (
        (False, True) if width is None else (True, False)
    )
    assert len(rows) <= {80: 3, 120: 9, None: 1}[width]
    assert max(map(len, [head, *rows])) <= (width or 1_000)
    assert {"why", "fingerprint"}.isdisjoint(head.split()) == (width == 80)
    assert ("f" * 32 in rows[0]) == (item is ALERT and width != 80)
