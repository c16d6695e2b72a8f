"""What clients get wrong: refused with the reason, at a small cost, and nobody else notices.

After every case the daemon is ready, no line in its log has a traceback, and none is an error.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest

from eventd.app import verdicts
from tests.acceptance.abuse import (
    GOOD,
    HEAD,
    LAST,
    Answer,
    forget_most,
    lines,
    memory,
    request,
    start,
    talk,
)
from tests.acceptance.daemon import Daemon, get, post, until

pytestmark = pytest.mark.xdist_group("abuse")  # the last test looks at what the others did

GROWTH = 16.0  # MiB a request may cost
MEBI, HALF = 1 << 20, 1 << 19
ALERTS = HEAD.replace(b"/v1/events", b"/v1/webhooks/alertmanager")
CHUNKED = b"Transfer-Encoding: chunked\r\n"
PACKED = b"Transfer-Encoding: gzip, chunked\r\n"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with its defaults."""
    running = Daemon(tmp_path_factory.mktemp("target"))
    start(running)
    yield running
    assert running.stop() == 0


@pytest.fixture(autouse=True)
def unharmed(target: Daemon) -> Iterator[None]:
    """Before and after each case."""
    before = len(lines(target))
    yield
    assert get(f"{target.url}/-/ready")[0] == 200
    assert lines(target)[before:] == []


def refused(answer: Answer) -> dict[str, object]:
    """The problem that it was answered with."""
    assert len(answer.statuses) == 1, answer
    head, _, body = answer.text.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b"Server: eventd\r\n" in head
    problem: dict[str, object] = json.loads(body)
    assert problem["status"] == answer.statuses[0]
    assert problem["detail"]
    return problem


def heard(target: Daemon, *parts: bytes) -> Answer:
    """The answer; asked again where the sender was cut off first: LINGER is short for 100 MB."""

    def tried() -> list[Answer]:
        return [one for one in (talk(target, *parts),) if one.statuses]

    return until(tried, what="an answer")[0]


def test_a_body_of_100_mb_is_refused_whether_it_is_declared_or_comes_in_chunks(
    target: Daemon,
) -> None:
    """D34."""
    talk(target, request(GOOD))
    before = memory(target)
    forget_most(target)

    declared = heard(target, HEAD, b"Content-Length: %d\r\n\r\n" % (100 * MEBI), bytes(100 * MEBI))
    chunk = b"100000\r\n" + b"x" * MEBI + b"\r\n"
    chunked = heard(target, HEAD + CHUNKED + b"\r\n", *[chunk] * 100, b"0\r\n\r\n")

    assert refused(declared)["title"] == "too_large"
    assert refused(chunked)["title"] == "too_large"
    assert memory(target, "VmHWM") - before <= GROWTH


def test_a_list_of_the_largest_alerts_there_may_be_costs_as_much_as_a_page(
    target: Daemon,
) -> None:
    labels = {f"label{n}": "v" * 4096 for n in range(64)}
    wide = {"ci": "wide", "severity": "info", "labels": labels}
    for n in range(0, 100, 25):
        body = json.dumps([{"name": f"w{n + k}", **wide} for k in range(25)]).encode()
        assert post(f"{target.url}/v1/events", body)[0] == 202
    target.api("alerts?limit=1")
    before = memory(target)
    forget_most(target)

    page = target.api("alerts?ci=wide&limit=1000")

    assert memory(target, "VmHWM") - before <= GROWTH
    assert 1 < len(page["items"]) < 100
    names = {one["name"] for one in target.every("alerts?ci=wide")}
    assert names == {f"w{n}" for n in range(100)}


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """200 KB that are 200 MB when inflated."""
    return gzip.compress(bytes(200 * MEBI))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip"])
def test_a_bomb_is_refused_before_it_is_inflated(
    target: Daemon, bomb: bytes, encoding: str
) -> None:
    """D35."""
    before = memory(target)
    forget_most(target)

    answer = talk(target, request(bomb, f"Content-Encoding: {encoding}\r\n".encode()))

    assert answer.statuses[0] in {413, 415}
    assert refused(answer)
    assert memory(target, "VmHWM") - before <= GROWTH


def test_a_gzip_body_is_read_to_its_last_member_and_nothing_may_come_behind(
    target: Daemon,
) -> None:
    """D35 and D41: RFC 1952, 2.2; members are bounded together, and in number."""
    lines = [gzip.compress(b'{"name":"member%d","service":"members"}\n' % n) for n in range(3)]
    large = gzip.compress(bytes(5 * MEBI))
    before = memory(target)
    forget_most(target)

    statuses = [
        talk(target, request(body, b"Content-Encoding: gzip\r\n")).statuses
        for body in (
            b"".join(lines),
            b"".join(lines) + GOOD,
            lines[0] + bytes(8),
            b"".join(lines)[:-1],
            large + large,
            gzip.compress(b"") * 100_000,
        )
    ]

    assert statuses == [[202], [400], [400], [400], [413], [413]]
    found = target.api("alerts?service=members")["items"]
    assert sorted(one["name"] for one in found) == ["member0", "member1", "member2"]
    assert memory(target, "VmHWM") - before <= GROWTH


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"X: " + b"a" * (64 << 10) + b"\r\n", 431),
        (b"X: " + b"a" * (2 << 20) + b"\r\n", 431),
        (b"x" * (64 << 10) + b": a\r\n", 431),
        (b"".join(b"X%d: a\r\n" % n for n in range(10_000)), 400),
        (b"X: " + b"a" * 8_000 + b"\r\n", 202),
    ],
)
def test_a_header_of_too_many_bytes_or_fields_is_refused_and_ends_the_connection(
    target: Daemon, header: bytes, status: int
) -> None:
    """D36."""
    answer = talk(target, request(GOOD, header))

    assert answer.statuses == [status]


# What is no JSON, after the files n_*.json of JSONTestSuite (Nicolas Seriot).
NO_JSON = {
    "structure": [
        b"", b" ", b"[", b"]", b"{", b"}", b"[1", b"[1]x", b"[1]]", b"[][]", b"{}}", b"{]", b"[}",
        b"[,", b"{,", b"nul", b"tru", b"fals", b"nulll", b"TRUE", b"True", b"undefined", b"1]",
        b"[\x0c]", b"[\x00]", b"123\x00", b"\xef\xbb\xbf", b'\xef\xbb\xbf{"name":"a"}',
        b"a\xc3\xa5", b"\xc3\xa5", b"[\xe2\x81\xa0]", b"\xe2\x81\xa0", b"<.>", b"[<null>]", b"*",
        b"2@", b"[\\n]", b"'", b'"', b'{"a":"b"}#{}', b'{"a":"b"}#', b'{"a":', b'{"a":true} "x"',
        b"{}[]", b"[1]\n,", b"{}/", b"{}//",
        '{"name":"a"}'.encode("utf-16"), '{"name":"a"}'.encode("utf-32"),
    ],
    "array": [
        b"[1 true]", b"[a\xe5]", b'["": 1]', b'[""],', b"[,1]", b"[1,,2]", b'["x",,]', b'["x"]]',
        b"[1,]", b'["x"', b"[x", b"[3[4]]", b"[\xff]", b"[1:2]", b"[,]", b"[-]", b'[   , ""]',
        b'["a",\n4\n,1,', b"[1,\n1\n,1", b'["a\\f"\x0c]', b"[*]", b'["', b"[1,,]", b"[{}",
        b"[false, nul", b'["a" "b"]',
    ],
    "number": [
        b"[-01]", b"[-1.0.]", b"[-2.]", b"[-NaN]", b"[.-1]", b"[.2e-3]", b"[0.1.2]", b"[0.3e+]",
        b"[0.3e]", b"[0.e1]", b"[0E+]", b"[0e]", b"[1.0e-]", b"[1 000.0]", b"[1eE2]", b"[2.e+3]",
        b"[9.e+]", b"[Inf]", b"[NaN]", b"[\xef\xbc\x91]", b"[1+2]", b"[0x1]", b"[Infinity]",
        b"[-Infinity]", b"[++1234]", b"[+1]", b"[- 1]", b"[-012]", b"[-foo]", b"[1ea]",
        b"[1e\xe5]", b"[1.]", b"[.123]", b"[012]", b"[1_000]", b"--1", b'{"name":01}',
        b'{"value":1.2.3}', b'{"value":0x1F}', b'{"value":1e}',
    ],
    "object": [
        b'["x", truth]', b'{"x", null}', b'{"x"::"b"}', b'{"a":"a" 123}', b"{key: 'value'}",
        b'{"a" b}', b'{:"b"}', b'{"a" "b"}', b'{"a":"b":"c"}', b"{1:1}", b"{9999E9999:1}",
        b"{null:null,null:null}", b'{"id":0,,,,,}', b"{'a':0}", b'{"id":0,}', b'{"a":"b"}/**/',
        b'{"a":"b"}/**//', b'{"a":/**/"b"}', b'{"a":"b",,"c":"d"}', b'{a: "b"}', b'{"a":"a',
        b'{ "foo" : "bar", "a" }', b'{"a":"b"}x', b'{"\xb9":"0",}', b'{"name":"a",\n}',
        b'{\n"name":"a"', b'{[: "x"}\n', b'{"\\x":1}',
    ],
    "string": [
        b'["\\uD800\\"]', b'["\\uD800\\u"]', b'["\\uD800\\u1"]', b'["\\uD800\\u1x"]',
        b'["\\u00A"]', b'["\\x00"]', b'["\\\\\\"]', b'["\\\t"]', b'["\\\xf0\x9f\x8c\x80"]',
        b'["\\"]', b'["\\a"]', b'["\\uqqqq"]', b'["\\\xe5"]', b'[\\u0020"asd"]', b"[\\n]",
        b'"\\"', b"['single']", b"abc", b'["a\x00a"]', b'["new\nline"]', b'["\t"]', b'"\\UA66D"',
        b'""x', b'{"name":"\t"}', b'{"name":"\x00"}', b'{"name":"\\ud800"}',
        b'{"name":"\\udc00"}', b'{"name":"\xff"}', b'{"name":"\xed\xa0\x80"}',
    ],
}  # fmt: skip
DOORS = [
    (HEAD, "an event such as"),
    (ALERTS, "an Alertmanager webhook"),
    (HEAD.replace(b"/v1/events", b"/api/v1/silences"), "a JSON object with matchers"),
]


@pytest.mark.parametrize("kind", NO_JSON)
@pytest.mark.parametrize(("head", "expected"), DOORS, ids=["events", "alertmanager", "api"])
def test_what_is_no_json_is_answered_400_with_the_place_and_what_to_send(
    target: Daemon, kind: str, head: bytes, expected: str
) -> None:
    """D41."""
    wrong = []
    for body in NO_JSON[kind]:
        answer = talk(target, request(body, head=head))
        problem = refused(answer)
        told = f"{problem['detail']}"
        good = (
            answer.statuses == [400]
            and f"{problem['expected']}".startswith(expected)
            and isinstance(problem.get("offset"), int)
            and told.startswith(f"expected {problem['expected']}, got ")
            and (f"(byte {problem['offset']})" in told or problem["offset"] == 0)
        )
        if not good:
            wrong.append((body, problem))

    assert wrong == []


@pytest.mark.parametrize("body", [b'"a"', b"1", b"true", b"null", b"[1]", b"[[]]", b'["a"]', b"{}"])
def test_json_that_is_no_event_is_answered_400_with_what_to_send(
    target: Daemon, body: bytes
) -> None:
    """D41."""
    for head, expected in DOORS:
        problem = refused(talk(target, request(body, head=head)))

        assert problem["status"] == 400
        assert "rejected" in problem or "field" in problem or expected in str(problem["expected"])


@pytest.mark.parametrize("depth", [1_000, 10_000, 1_000_000])
@pytest.mark.parametrize(
    ("head", "begin", "opening", "middle", "closing", "end"),
    [
        (HEAD, b"", b"[", b"", b"", b""),
        (HEAD, b"", b'{"a":', b"", b"", b""),
        (HEAD, b'{"name":"a","labels":{"x":', b"[", b"", b"]", b"}}"),
        (HEAD, b'[{"name":"a"},', b"[", b"", b"]", b"]"),
        (HEAD, b'{"name":"a","window":', b'{"a":', b"1", b"}", b"}"),
        (ALERTS, b'{"alerts":[],"x":', b"[", b"", b"]", b"}"),
        (ALERTS, b'{"alerts":[{"status":"firing","labels":{"alertname":"x"},"x":', b'{"a":', b"1",
         b"}", b"}]}"),
    ],
)  # fmt: skip
def test_whatever_is_nested_too_deeply_is_answered_400_at_once(
    target: Daemon,
    head: bytes,
    begin: bytes,
    opening: bytes,
    middle: bytes,
    closing: bytes,
    end: bytes,
    depth: int,
) -> None:
    """D42."""
    body = begin + opening * depth + middle + closing * depth + end
    talk(target, request(GOOD))
    before = memory(target)
    forget_most(target)

    answer = talk(target, request(body, head=head))

    assert answer.statuses == [400]
    assert memory(target, "VmHWM") - before <= GROWTH


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("NaN", None), ("Infinity", None), ("-Infinity", None), ("1e999", None), ("-1e999", None),
        (str(2**63), None), (str(-(2**63)), None), (str(2**70), None), ("1" * 5_000, None),
        ("-0", 0.0), ("-0.0", 0.0), ("1e308", 1e308), ("1e-999", 0.0), ("0.1", 0.1),
        (str(2**53), 2.0**53), (str(2**53 + 1), None), (str(2**53 + 2), 2.0**53 + 2),
        ("true", None), ('"1"', None), ("01", None), ("0x1", None),
    ],
)  # fmt: skip
def test_a_number_is_kept_as_it_stands_or_refused(
    target: Daemon, value: str, stored: float | None
) -> None:
    """D43."""
    service = f"number {value[:30]}"
    body = f'{{"name":"n","service":{json.dumps(service)},"value":{value}}}'.encode()

    answer = talk(target, request(body))

    assert answer.statuses == [400 if stored is None else 202]
    found = target.every("alerts")
    assert [one["value"] for one in found if one["service"] == service] == (
        [] if stored is None else [stored]
    )


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"\xff", 400), (b"\xc0\xaf", 400), (b"\xed\xa0\x80", 400), (b"\\ud800", 400),
        (b"\\udc00\\ud800", 400), (b"\\u0000", 400), (b"\x00", 400), (b"\\\\u0000", 202),
        ("\U0001f525 \u202e \ufeff \u2028".encode(), 202), (b"\\ud83d\\udd25", 202),
    ],
)  # fmt: skip
def test_text_that_is_none_is_refused_and_every_other_comes_back_as_it_was(
    target: Daemon, text: bytes, status: int
) -> None:
    """D44: NUL is refused, for not every database can keep it."""
    body = b'{"name":"text","service":"t%b","labels":{"x":"%b"}}' % (text, text)

    answer = talk(target, request(body))

    assert answer.statuses == [status]
    if status == 202:
        wanted = json.loads(body)
        (found,) = [one for one in target.every("alerts") if one["service"] == wanted["service"]]
        assert found["labels"] == wanted["labels"]


def test_of_two_equal_keys_the_last_one_counts(target: Daemon) -> None:
    """D45."""
    body = b'{"name":"a","name":"b","service":"twice","labels":{"x":"1","x":"2"}}'

    answer = talk(target, request(body))

    assert answer.statuses == [202]
    (found,) = target.api("alerts?service=twice")["items"]
    assert (found["name"], found["labels"]) == ("b", {"x": "2"})


HOUR = {"starts_at": "2026-01-05T14:00:00Z", "ends_at": "2026-01-05T15:00:00Z"}


@pytest.mark.parametrize(
    ("event", "limit"),
    [
        ({"name": "a", "labels": {f"l{n}": "" for n in range(10_000)}}, "64"),
        ({"name": "a", "labels": {"x": "y" * MEBI}}, "4096"),
        ({"name": "a", "labels": {"x" * MEBI: "y"}}, "128"),
        ({"name": "n" * MEBI}, "1024"),
        ({"name": "a", "summary": "s" * MEBI}, "4096"),
        ({"name": "a", "links": ["l"] * 17}, "16"),
        ([{"name": "a"}] * 10_001, "10000"),
        ({"name": "a", "status": "change", "window": {**HOUR, "cis": ["c"] * 1_001}}, "1000"),
        ({"name": "a", "status": "change", "window": {**HOUR, "cis": ["c" * MEBI]}}, "1024"),
        ({"name": "a", "links": ["l"] * MEBI}, "150000"),
    ],
)
def test_what_goes_beyond_a_limit_is_answered_400_naming_it(
    target: Daemon, event: object, limit: str
) -> None:
    """D46."""
    answer = talk(target, request(json.dumps(event).encode()))

    assert answer.statuses == [400]
    assert limit in str(refused(answer))


@pytest.mark.parametrize(
    ("at", "status"),
    [
        ("9999-12-31T23:59:59Z", 202), ("1970-01-01T00:00:00Z", 202), ("0001-01-01T00:00:00Z", 202),
        ("9999-12-31T23:59:59-14:00", 400), ("0001-01-01T00:00:00+14:00", 400),
        (1767625200000, 400), ("2026-01-05T14:00:00", 400), ("yesterday", 400), ("", 400),
        ("2026-02-30T00:00:00Z", 400),
    ],
)  # fmt: skip
def test_a_time_that_cannot_be_is_refused_and_one_far_off_decides_nothing(
    target: Daemon, at: object, status: int
) -> None:
    """D47: what fired in the year 9999 clears when its source says so."""
    service = f"time {at}"
    firing = {"name": "t", "service": service, "occurred_at": at}
    cleared = {"name": "t", "service": service, "status": "cleared"}

    answer = talk(target, request(json.dumps(firing).encode()))
    after = talk(target, request(json.dumps(cleared).encode()))

    assert (answer.statuses, after.statuses) == ([status], [202])
    found = [one for one in target.every("alerts") if one["service"] == service]
    assert [one["status"] for one in found] == ["cleared"] * (status == 202)
    assert all(one["started_at"] < "3000" for one in found)


PLAIN = HEAD.replace(b"application/json", b"text/plain")
FORM = HEAD.replace(b"application/json", b"application/x-www-form-urlencoded")
BARE = HEAD.replace(b"Content-Type: application/json\r\n", b"")
OLD = HEAD.replace(b"HTTP/1.1", b"HTTP/1.0")


@pytest.mark.parametrize(
    ("said", "statuses"),
    [
        (request(GOOD, head=PLAIN), [415]),
        (request(GOOD, head=FORM), [415]),
        (request(GOOD, head=BARE), [202]),
        (HEAD + LAST + b"\r\n", [400]),
        (HEAD + LAST + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n", [400]),
        (HEAD + LAST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n", [400]),
        (HEAD + LAST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", [400]),
        (HEAD + LAST + b"Content-Length: +2\r\n\r\n{}", [400]),
        (HEAD + LAST + b"Content-Length: -2\r\n\r\n{}", [400]),
        (HEAD + LAST + b"Content-Length: 99999999999999999999\r\n\r\n{}", [400]),
        (HEAD + LAST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", [400]),
        (HEAD + LAST + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", [400]),
        (HEAD + LAST + PACKED + b"\r\n21\r\n" + GOOD + b"\r\n0\r\n\r\n", [400]),
        (request(GOOD, b"Content-Encoding: identity\r\nContent-Encoding: br\r\n"), [415]),
        (HEAD + LAST + CHUNKED + b"\r\nzz\r\n{}\r\n0\r\n\r\n", [400]),
        (HEAD + LAST + CHUNKED + b"\r\n2;a\nb\r\n{}\r\n0\r\n\r\n", [400]),
        (HEAD + b"X : y\r\n" + LAST + b"\r\n", [400]),
        (HEAD + b"X: y\r\n z\r\n" + LAST + b"\r\n", [400]),
        (b"POST /v1/events HTTP/1.1\nHost: x\n\n", [400]),
        (b"POST /v1/events HTTP/1.1\r\n\r\n", [400]),
        (b"POST /v1/events HTTP/9.9\r\nHost: x\r\n\r\n", [400]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), [400]),
        (b"\x00\xff\xfe\r\n\r\n", [400]),
        (request(GOOD, head=OLD), [202]),
        (OLD + CHUNKED + b"\r\n21\r\n" + GOOD + b"\r\n0\r\n\r\n", [400]),
        (request(GOOD).replace(LAST, b"") * 3 + request(GOOD), [202] * 4),
        (request(b"{").replace(LAST, b"") + request(GOOD), [400, 202]),
        (request(GOOD, b"Expect: 200-maybe\r\n"), [417]),
        (request(GOOD, b"Expect: \xff\r\n"), [417]),
        (request(GOOD, b"Idempotency-Key: \xff\r\n"), [400]),
        (request(GOOD, b"User-Agent: \xed\xa0\x80\r\n"), [400]),
        (request(GOOD, b"Idempotency-Key: " + b"k" * 300 + b"\r\n"), [400]),
        (request(GOOD, head=HEAD.replace(b"/v1/events", b"/v1/events?\xff")), [400]),
        (request(GOOD, head=HEAD.replace(b"/v1/events", b"/v1/events?" + b"q" * 2_000)), [414]),
        (request(GOOD, head=HEAD.replace(b"/v1/events", b"/v1/events?a=%ff%00%ed%a0%80")), [202]),
    ],
)  # fmt: skip
def test_what_two_readers_could_read_differently_is_refused_and_the_rest_is_in_step(
    target: Daemon, said: bytes, statuses: list[int]
) -> None:
    """D49: wrong type, no length, both lengths, HTTP/1.0, pipelined."""
    before = target.metrics().get('eventd_events_received_total{source="events"}', 0.0)

    answer = talk(target, said)

    assert answer.statuses == statuses
    after = target.metrics().get('eventd_events_received_total{source="events"}', 0.0)
    assert after - before <= len(statuses)  # nothing was read out of what was refused


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"foo"])
def test_what_came_with_a_wish_for_another_protocol_is_left_to_be_sent_again(
    target: Daemon, protocol: bytes
) -> None:
    """D49: no later answer is taken for that of what was not read."""
    wish = b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n"
    first = request(GOOD, wish).replace(LAST, b"")

    answer = talk(
        target, first + request(GOOD), b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n", every=0.5
    )

    assert answer.statuses == [202]
    assert b"Connection: close" in answer.text


def test_a_body_that_is_cut_short_leaves_no_trace(target: Daemon) -> None:
    """D49."""
    before = target.accounts()
    for cut in (HEAD + b"Content-Length: 100\r\n\r\n{", HEAD + CHUNKED + b"\r\n100\r\n{"):
        _send_and_leave(target, cut)

    assert post(f"{target.url}/v1/events", {"name": "after", "service": "abuse"})[0] == 202
    assert target.accounts()["received"] == before["received"] + 1


@pytest.mark.parametrize(
    ("said", "waits"),
    [
        (b"x" * HALF, True),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + b"x" * HALF, True),
        (request(GOOD).replace(LAST, b"") + b"x" * HALF, True),
        (HEAD + CHUNKED + b"\r\n%x\r\n" % HALF + b"x" * HALF + b"\r\nzz\r\n", False),
        (HEAD + b"Content-Length: %d\r\n\r\n" % MEBI + b"x" * HALF, False),
        (HEAD + CHUNKED + b"\r\n%x\r\n" % MEBI + b"x" * HALF, False),
        (request(b"x" * HALF, head=HEAD.replace(b"/v1/events", b"/api/v1/silences")), True),
        (request(b"x" * HALF, head=HEAD.replace(b"/v1/events", b"/api/v1/incidents")), True),
        (request(b"x" * HALF, head=HEAD.replace(b"/json", b"/csv")), True),
    ],
    ids=["junk", "smuggled", "behind", "chunk", "cut", "cut chunk", "command", "405", "415"],
)
def test_what_is_refused_or_cut_short_is_not_kept_until_the_collector_comes(
    target: Daemon, said: bytes, waits: bool
) -> None:
    """D34, D49: exceptions keep their frames, and those what they were reading."""

    def say() -> None:
        if waits:
            talk(target, said)
        else:
            _send_and_leave(target, said, after=0.02)

    say()
    forget_most(target)
    before = memory(target)

    for _ in range(60):
        say()
    assert get(f"{target.url}/-/ready")[0] == 200  # it has looked at all of them

    assert memory(target, "VmHWM") - before <= GROWTH


def test_what_a_crowd_sends_at_once_is_read_by_turns(tmp_path: Path) -> None:
    """D31: each of 1,000 connections has 100 kB or more ready when the daemon looks."""
    body = b" " * 200_000
    head = request(body)[: -len(body)]
    daemon = Daemon(tmp_path)
    daemon.start()
    with ExitStack() as stack:
        crowd = [
            stack.enter_context(socket.create_connection(("127.0.0.1", daemon.port), 30.0))
            for _ in range(1_000)
        ]
        for one in crowd:
            one.sendall(head)
        until(lambda: get(f"{daemon.url}/-/ready")[0] == 200, what="all to be known")
        before = memory(daemon)
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            for one in crowd:
                one.sendall(body)
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
        told = {one.recv(1 << 16).split()[1] for one in crowd}
    peak = memory(daemon, "VmHWM")
    assert daemon.stop() == 0

    assert told <= {b"400", b"503"}
    assert peak - before <= 64.0  # a source may have 32 MB that are read and not decoded yet


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
        "/v1/webhooks/../../etc", "/v1/webhooks/..%2f..%2fetc%2fpasswd", "/v1/webhooks/%00",
        "/api/v1/incidents/..%2f..%2f..%2fetc%2fpasswd", "/api/v1/incidents/%00",
        "/api/v1/alerts/%2e%2e", "/api/v1/../../state/eventd.db", "/static/..%5c..%5cetc",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_path_leads_out(target: Daemon, method: str, path: str) -> None:
    """D66: nothing is served from files; what is asked for is not there."""
    answer = talk(
        target, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + LAST + b"\r\n"
    )

    assert answer.statuses[0] in {400, 404, 405}
    assert b"root:" not in answer.text


SQL = ["'", "' or '1'='1", "x'; drop table alerts; --", '"', "\\", "%", "_", "%00", "%27%22%ff"]


def test_what_sql_would_read_is_a_text_like_any_other(target: Daemon) -> None:
    """D64: in every filter, cursor and name of the API."""
    talk(target, request(b'{"name":"kept","service":"' + b"' or '1'='1" + b'"}'))
    kept = len(target.every("alerts"))
    asked = {
        "incidents": ("state", "priority", "service", "rule", "after", "limit", "x'--"),
        "alerts": ("status", "severity", "service", "ci", "name", "source", "incident", "after"),
        "silences": ("after", "limit"),
        "audit": ("after", "limit"),
        "maintenance": ("after", "limit"),
        "rules": ("limit",),
    }

    answers = []
    for value in (*SQL, "\u00b2", "9" * 5_000, "-1", "P\u00b2"):
        quoted = value if value.startswith("%") else _quoted(value)
        for what, names in asked.items():
            answers += [get(f"{target.url}/api/v1/{what}?{_quoted(n)}={quoted}")[0] for n in names]
        answers += [get(f"{target.url}/api/v1/{what}/{quoted}")[0] for what in asked]

    assert set(answers) <= {200, 400, 404, 405}
    assert len(target.every("alerts")) == kept
    assert len(target.api(f"alerts?service={_quoted(SQL[1])}")["items"]) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("silences", {"matchers": 'a="b"', "comment": "x", "for": "999999999w"}, 400),
        ("silences", {"matchers": 'a="b"', "comment": "x",
                      "ends_at": "9999-12-31T23:59:59-14:00"}, 400),
        ("silences", {"matchers": 'a="b"', "comment": "x", "for": "1h", "actor": "a\nb"}, 400),
        ("silences", {"matchers": 'a="b"', "comment": "\0", "for": "1h"}, 400),
        ("silences", {"matchers": 'a="b"', "comment": "\\u0000", "for": "1h"}, 201),
        ("silences", {"matchers": 'a=~"(a+)+$"', "comment": "x", "for": "1h"}, 201),
        ("silences", {"matchers": 'a=~"(a)\\\\1"', "comment": "x", "for": "1h"}, 400),
        ("silences", [], 400),
        ("silences", "x" * (300 << 10), 413),
        ("incidents/INC-000001/comment", {"text": "x" * 10_001}, 400),
    ],
)  # fmt: skip
def test_a_command_that_cannot_be_is_answered_in_the_400s(
    target: Daemon, path: str, body: object, status: int
) -> None:
    """D41 to D47 for the API."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = HEAD.replace(b"/v1/events", f"/api/v1/{path}".encode())

    answer = talk(target, request(data, head=head))

    assert answer.statuses == [status]


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _send_and_leave(daemon: Daemon, data: bytes, after: float = 0.0) -> None:
    with socket.create_connection(("127.0.0.1", daemon.port)) as sock:
        sock.sendall(data)
        time.sleep(after)


def test_nothing_of_it_harms_the_store(target: Daemon) -> None:
    """After everything above: the sums agree, and every invariant holds on disk."""
    target.accounts()
    bad = [one for one in verdicts(target.state, []) if not one.ok]

    assert bad == []
