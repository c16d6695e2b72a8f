"""What decoders make of deliveries, good and bad."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventd.core.labels import fingerprint_of
from eventd.core.model import Arrival, Delivery, Severity, Status
from eventd.errors import DecodeError
from eventd.sources.decode import DECODERS, Memo, decode
from eventd.sources.elements import elements_of, has_texts, lines_of

T0 = datetime(2026, 1, 5, 14, 0, tzinfo=UTC)
ONE = 'an event such as {"name": "DiskFull"}'
EVENT = f"{ONE}, an array of them, or one a line"
ALERTS = "alertmanager"


def delivery(payload: object, decoder: str = "native", **more: object) -> Delivery:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    base = Delivery(
        transport="http", received_at=T0, payload=raw, source="s", decoder=decoder, path="/v1/x"
    )
    return msgspec.structs.replace(base, **more)


def webhook(*alerts: dict[str, object], **more: object) -> dict[str, object]:
    return {"version": "4", "status": "firing", "alerts": list(alerts), **more}


def alert(**more: object) -> dict[str, object]:
    return {
        "status": "firing",
        "labels": {"alertname": "TargetDown", "instance": "Web-1.bank.example:9100", "job": "app",
                   "severity": "critical", "zone": "zürich"},
        "annotations": {"summary": "web-1 is down", "runbook_url": "https://runbooks/x"},
        "startsAt": "2026-01-05T13:59:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prom/graph",
        "fingerprint": "45cf52ef85764992",
        **more,
    }  # fmt: skip


def window(**more: object) -> dict[str, object]:
    span = {"starts_at": "2026-01-05T14:00:00Z", "ends_at": "2026-01-05T15:00:00Z"}
    return {"name": "a", "status": "change", "window": {**span, **more}}


@pytest.mark.parametrize("decoder", DECODERS)
@given(payload=st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_whatever_comes_raises_nothing_but_a_decode_error(decoder: str, payload: bytes) -> None:
    try:
        decoded = decode(delivery(payload, decoder))
    except DecodeError:
        return
    assert all(one.fingerprint for one in decoded.events)


@pytest.mark.parametrize(
    "payload",
    [b"", b" ", b"[", b"{", b"[1,", b'{"name":"a"', b'{"name":"a"}}', b"\xef\xbb\xbf{}", b"nul",
     b'{"name":NaN}', b"[" * 100_000, b'{"name":"\\ud800"}', b'{"name":"\xff"}', b'"text"', b"1"],
)  # fmt: skip
def test_what_is_no_event_is_refused_whole(payload: bytes) -> None:
    with pytest.raises(DecodeError, match="expected"):
        decode(delivery(payload))


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"nme": "a"}, "nme: expected one of name, status, severity, summary"),
        ({}, f"name: expected {ONE}, got nothing"),
        ({"name": ""}, "name: expected a text of at least 1 characters, got less"),
        ({"name": "a", "severity": "loud"}, "severity: expected ok, info, warning"),
        ({"name": "a", "value": 2**70}, "value: expected a number smaller than 2^63"),
        ({"name": "a", "occurred_at": "2026-01-05T14:00:00"}, "a time with its zone"),
        ({"name": "a", "occurred_at": "yesterday"}, "RFC3339"),
        ({"name": "a", "labels": {"x": 1}}, "labels.x: expected a text, got a whole number"),
        ({"name": "a", "labels": {f"l{n}": "" for n in range(65)}}, "labels: expected at most 64"),
        ({"name": "a", "labels": {"x": "y" * 5000}}, "labels.x: expected a text of at most 4096"),
        ({"name": "a", "labels": {"x" * 129: "y"}}, "labels: expected a name of 1 to 128"),
        ({"name": "a", "labels": {"": "y"}}, "labels: expected a name of 1 to 128"),
        ({"name": "a", "links": ["x"] * 17}, "links: expected at most 16"),
        ({"name": "a", "window": {"starts_at": "2026-01-05T14:00:00Z",
                                  "ends_at": "2026-01-05T15:00:00Z"}}, "status change"),
        ({"name": "a", "status": "change", "window": {"starts_at": "2026-01-05T15:00:00Z",
                                                      "ends_at": "2026-01-05T14:00:00Z"}},
         "a time after starts_at"),
        ({"name": "a", "status": "change", "window": {"starts_at": "0001-01-01T00:00:00Z",
                                                      "ends_at": "2026-01-05T14:00:00Z"}},
         "window.starts_at: expected the years 2 to 9998"),
        ({"name": "a", "status": "change", "window": {"starts_at": "2026-01-05T14:00:00Z",
                                                      "ends_at": "9999-12-31T23:59:59Z"}},
         "window.ends_at: expected the years 2 to 9998"),
        (window(cis=["db1", ""]), "window.cis[1]: expected a text of at least 1 characters"),
        (window(services=[""]), "window.services[0]: expected a text of at least 1 characters"),
        (window(cis=["db1", " "]), "window.cis[1]: expected a name, got ' '"),
        (window(cis=["x" * 1_025]), "window.cis[0]: expected a text of at most 1024 characters"),
        (window(services=["x"] * 1_001),
         "window.services: expected a list of at most 1000 entries, got more"),
        ({"name": "a", "value": 2**53 + 1}, "value: expected a number that 64 bits hold exactly, "
         "as up to 2^53, got 9007199254740993"),
        ({"name": "a", "summary": "cut \ud83d"}, "got half of a surrogate pair (byte 30)"),
        ({"name": "a", "summary": "\udc00"}, "invalid utf-16 surrogate pair"),
        ({"name": "a", "links": ["x"] * 150_000}, "at most 150000 an event, got over 150000 texts"),
    ],
)  # fmt: skip
def test_one_bad_event_never_costs_the_good_ones(event: dict[str, object], says: str) -> None:
    decoded = decode(delivery([{"name": "before"}, event, {"name": "after"}]))

    assert [one.name for one in decoded.events] == ["before", "after"]
    ((index, error),) = decoded.rejected
    assert index == 1
    assert says in error
    alone = delivery(event)
    try:
        (told,) = decode(alone).rejected
    except DecodeError as whole:
        told = (0, str(whole))
    lines = [b'{"name":"before"}', alone.payload]
    assert decode(delivery(b"\n".join(lines))).rejected == ((1, error),)
    assert told[1].replace(EVENT, ONE) == error


def test_a_native_event_says_everything_it_can() -> None:
    (one,) = decode(
        delivery(
            {
                "name": "Disk",
                "severity": "High",
                "ci": "DB1.bank.example:9100",
                "service": "pay",
                "summary": "full",
                "value": 99,
                "labels": {"b": "2", "a": "1"},
                "id": "x1",
                "links": {"run": "http://r"},
                "occurred_at": "2026-01-05T15:00:00+01:00",
                "expires_at": "2026-01-05T14:10:00Z",
                "source": "cron",
            },
            retain=True,
            repeats_every=60.0,
            quiet_for=5.0,
        )
    ).events

    assert (one.ci, one.severity, one.value) == ("db1", Severity.MAJOR, 99.0)
    assert one.occurred_at == T0
    assert one.labels == {"a": "1", "b": "2", "origin": "cron"}
    assert one.links == ("http://r",)
    assert one.strong
    assert (one.arrival, one.repeats_within, one.quiet_for) == (Arrival.RETAINED, 150.0, 5.0)


@pytest.mark.parametrize("decoder", DECODERS)
def test_what_a_broker_tells_again_is_marked_so(decoder: str) -> None:
    payload = {"native": {"name": "a"}, ALERTS: webhook(alert())}[decoder]

    ways = [{}, {"retain": True}, {"dup": True}, {"retain": True, "dup": True}]
    found = [decode(delivery(payload, decoder, **way)).events[0].arrival for way in ways]

    again = Arrival.RETAINED
    assert found == [Arrival.LIVE, again, Arrival.REDELIVERED, again]


def test_lines_arrays_and_single_objects_are_read_alike() -> None:
    one, two = {"name": "a"}, {"name": "b", "status": "cleared"}
    lines = json.dumps(one).encode() + b"\n\n" + json.dumps(two).encode() + b"\nbad"

    decoded = decode(delivery(lines))

    assert [event.status for event in decoded.events] == [Status.FIRING, Status.CLEARED]
    assert [index for index, _ in decoded.rejected] == [2]
    pretty = json.dumps(one, indent=1).encode()
    assert [event.name for event in decode(delivery(pretty)).events] == ["a"]
    ndjson = delivery(b'{"name":"a"}\n{"name":"b"}', headers={"content-type": "x-ndjson"})
    assert len(decode(ndjson).events) == 2
    assert decode(delivery([])).events == ()


GOOD_LINE = b'{"name":"good"}'
BAD_LINES = [b'{"name":"\xff"}', b'{"name":"cut \\ud83d"}', b'{"name":"', b'{"nme":"x"}', b'"text"',
             b'{"x":[[],[]]}', b"bad"]  # fmt: skip


@given(st.lists(st.sampled_from([GOOD_LINE, *BAD_LINES]), min_size=1), st.randoms())
def test_a_bad_line_costs_itself_wherever_it_stands(lines: list[bytes], chance: Random) -> None:
    lines.insert(chance.randrange(len(lines) + 1), GOOD_LINE)

    decoded = decode(delivery(b"\n".join(lines), headers={"content-type": "application/json"}))

    bad = [index for index, line in enumerate(lines) if line != GOOD_LINE]
    assert [index for index, _ in decoded.rejected] == bad
    assert len(decoded.events) == len(lines) - len(bad)


def test_an_object_on_lines_of_its_own_is_one_event_and_no_other() -> None:
    (one,) = decode(delivery(b'{"name":"a",\n"labels":\n{"name":"b"}\n}')).events

    assert (one.name, one.labels) == ("a", {"name": "b"})


def test_the_key_that_a_signature_is_over_comes_first() -> None:
    """D57."""
    signed = {"webhook-id": "m1"}
    keys = {
        decode(delivery({"name": "a"}, headers={**signed, **more})).events[0].key
        for more in ({}, {"idempotency-key": "k"}, {"x-github-delivery": "d"})
    }

    assert len(keys) == 1


def test_the_senders_own_key_for_a_delivery_is_strong() -> None:
    keyed = delivery([{"name": "a"}, {"name": "b"}], headers={"idempotency-key": "k"})

    first, second = decode(keyed).events

    assert first.strong
    assert second.strong
    assert first.key != second.key
    with pytest.raises(DecodeError, match="at most 255"):
        decode(delivery([{"name": "a"}], headers={"webhook-id": "k" * 256}))


WEBHOOK = 'an Alertmanager webhook, version 4: {"alerts": [...]}'


@pytest.mark.parametrize(
    ("decoder", "payload", "says", "offset"),
    [
        ("native", b' \n{"name":"a",}',
         f"expected {EVENT}, got malformed JSON: trailing comma in object (byte 14)", 14),
        ("native", b'{"name":"a"', f"expected {EVENT}, got JSON that is cut short (byte 11)", 11),
        ("native", b'{"name":"\xc3\xa4\xff"}',
         f"expected {EVENT}, got text that is not UTF-8 (byte 11)", 11),
        ("native", b'{"name":"' + b"\xc3\xa4" * 40_000 + b'\xc3"}',
         f"expected {EVENT}, got text that is not UTF-8 (byte 80009)", 80_009),
        ("native", b'{"name":"\\ud800"}',
         f"expected {EVENT}, got half of a surrogate pair (byte 9)", 9),
        ("native", b"[" * 100_000, f"expected {EVENT}, got JSON that is nested too deeply", None),
        ("native", b"", f"expected {EVENT}, got nothing", 0),
        ("native", b"1", f"expected {EVENT}, got a whole number", None),
        ("native", b"{}", f"name: expected {EVENT}, got nothing", None),
        ("native", b'{"name":1}', "name: expected a text, got a whole number", None),
        ("native", b'{"name":""}', "name: expected a text of at least 1 characters, got less",
         None),
        ("native", b'{"name":"a","links":1}',
         "links: expected an object or a list, got a whole number", None),
        ("native", b'{"name":"a","status":"x"}',
         "status: expected one of firing cleared info heartbeat change, got 'x'", None),
        ("native", b'{"name":"a","window":{"x":1}}',
         "window.x: expected one of starts_at, ends_at, cis, services, got another field", None),
        ("native", b'{"name":"a","window":{}}', "window.starts_at: expected a time such as "
         "2026-01-05T14:00:00Z, got nothing", None),
        ("native", b'{"name":"a","labels":{"b":"' + b"c" * 5_000 + b'"}}',
         "labels.b: expected a text of at most 4096 characters, got more", None),
        ("native", b'{"name":"a","labels":{"a":"b","c":1},"x":1e999}',
         "labels: expected a text, got a whole number", None),
        ("native", b'{"name":"a","labels":{"c":1},"summary":"' + b"d" * (256 << 10) + b'"}',
         "labels: expected a text, got a whole number", None),
        ("native", b'{"name":"a","' + b"n" * 300 + b'":1}', f"{'n' * 200}: expected one of name, "
         "status, severity, summary, ci, service, value, labels, occurred_at, id, fingerprint, "
         "links, source, received_at, expires_at, window, got another field", None),
        ("native", b'{"name":"a","occurred_at":"now"}', "occurred_at: expected a time such as "
         "2026-01-05T14:00:00Z, got invalid RFC3339 encoded datetime", None),
        ("alertmanager", b'{"alerts":[}',
         f"expected {WEBHOOK}, got malformed JSON: invalid character (byte 11)", 11),
        ("alertmanager", b"{}", f"alerts: expected {WEBHOOK}, got nothing", None),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_place_and_what_to_send_instead(
    decoder: str, payload: bytes, says: str, offset: int | None
) -> None:
    """D41."""
    with pytest.raises(DecodeError) as caught:
        decode(delivery(payload, decoder))

    assert (str(caught.value), caught.value.offset) == (says, offset)


def test_a_delivery_of_too_many_events_is_refused() -> None:
    with pytest.raises(DecodeError, match="at most 10000"):
        decode(delivery([{"name": "a"}] * 10_001))
    with pytest.raises(DecodeError, match="at most 10000"):
        decode(delivery(webhook(*[alert()] * 10_001), "alertmanager"))


def test_in_a_replay_the_source_of_a_native_event_counts() -> None:
    (one,) = decode(delivery({"name": "a", "source": "zbx"}), trusted=True).events

    assert one.source == "zbx"
    assert one.labels == {}


def test_an_unknown_decoder_is_named() -> None:
    with pytest.raises(DecodeError, match="one of alertmanager, native"):
        decode(delivery({}, "grafana"))


def test_alertmanagers_webhook_is_read_alert_by_alert() -> None:
    resolved = alert(status="resolved", endsAt="2026-01-05T14:00:00Z", fingerprint="")
    body = webhook(alert(), resolved, truncatedAlerts=3)

    decoded = decode(delivery(body, "alertmanager"))

    firing, cleared = decoded.events
    assert decoded.truncated == 3
    assert (firing.status, cleared.status) == (Status.FIRING, Status.CLEARED)
    assert (firing.name, firing.ci, firing.service) == ("TargetDown", "web-1", "app")
    assert firing.severity is Severity.CRITICAL
    assert firing.labels == {"instance": "Web-1.bank.example:9100", "zone": "zürich"}
    assert firing.links == ("http://prom/graph", "https://runbooks/x")
    assert firing.occurred_at == datetime(2026, 1, 5, 13, 59, 0, 123456, tzinfo=UTC)
    assert cleared.occurred_at == T0
    assert firing.strong
    assert firing.key != cleared.key


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (alert(labels={"instance": "x"}), "labels.alertname"),
        (alert(status="odd"), "odd"),
        (alert(startsAt="soon"), "a time as RFC 3339"),
        (alert(startsAt="2026-01-05T14:00:00"), "a time with its zone"),
        (alert(labels={"alertname": "x", **{f"l{n}": "" for n in range(65)}}), "at most 64"),
        ({"labels": 1}, "alerts[1]: labels: expected an object, got a whole number"),
        (alert(annotations={"a": "b", "c": 1}), "alerts[1]: annotations.c: expected a text, got"),
        ({}, "alerts[1]: status: expected an alert with status and labels, got nothing"),
        (alert(status="odd"), "alerts[1]: status: expected one of firing resolved, got 'odd'"),
        (alert(annotations={"summary": "\ud83d"}), "alerts[1]: expected an alert with status and "
         "labels, got malformed JSON: unexpected end of hex escape"),
        (alert(annotations={f"{n}": "" for n in range(75_000)}),
         "alerts[1]: expected at most 150000 an event"),
    ],
)  # fmt: skip
def test_one_bad_alert_never_costs_its_group(bad: dict[str, object], says: str) -> None:
    decoded = decode(delivery(webhook(alert(), bad, alert(fingerprint="b")), "alertmanager"))

    assert len(decoded.events) == 2
    ((index, error),) = decoded.rejected
    assert index == 1
    assert says in error


def test_half_a_surrogate_pair_beside_the_alerts_costs_none() -> None:
    body = webhook(alert(), alert(fingerprint="b"), commonAnnotations={"summary": "\ud83d"})

    assert len(decode(delivery(body, ALERTS)).events) == 2


@pytest.mark.parametrize("truncated", [-1, 1 << 62, None, "3", 1.5, [[]]])
def test_a_count_of_alerts_left_out_that_cannot_be_costs_none(truncated: object) -> None:
    decoded = decode(delivery(webhook(alert(), truncatedAlerts=truncated), ALERTS))

    assert (len(decoded.events), decoded.rejected, decoded.truncated) == (1, (), 0)


def test_what_is_no_webhook_is_refused_whole() -> None:
    with pytest.raises(DecodeError, match="an Alertmanager webhook, version 4"):
        decode(delivery({"name": "a"}, "alertmanager"))


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=6))
def test_the_order_of_labels_does_not_change_a_fingerprint(labels: dict[str, str]) -> None:
    turned = dict(reversed(labels.items()))

    assert fingerprint_of("s", "n", "c", "v", labels) == fingerprint_of("s", "n", "c", "v", turned)


def test_the_memo_answers_as_the_decoder_does_and_stays_within_its_bytes() -> None:
    memo = Memo(max_bytes=1_100)
    small, other = delivery({"name": "a"}), delivery({"name": "b" * 60})
    large = delivery({"name": "c" * 200})

    for _ in range(4):
        for one in (small, other, large):
            assert memo(one) == decode(one)

    assert memo._bytes <= 1_100
    assert memo(small) is memo(small)


@pytest.mark.parametrize(
    "other",
    [{"volatile": ("b",)}, {"quiet_for": 9.0}, {"repeats_every": 9.0}, {"decoder": ALERTS}],
)
def test_the_memo_keeps_sources_of_one_name_apart(other: dict[str, Any]) -> None:
    memo, first = Memo(), delivery({"name": "a", "labels": {"b": "c"}}, transport="mqtt")
    second = msgspec.structs.replace(first, **other)

    for _ in range(3):
        assert memo(first) == decode(first)
        if "decoder" in other:
            with pytest.raises(DecodeError):
                memo(second)
        else:
            assert memo(second) == decode(second)


def _bad(n: int) -> dict[str, str]:
    return {"name": "n", "severity": f"x{n}"}


@pytest.mark.parametrize(
    "sent",
    [
        lambda n: delivery({"name": f"n{n}"}),
        lambda n: delivery({"name": "n", "labels": {f"{n}-{k}": f"v{k}" for k in range(64)}}),
        lambda n: delivery([{"name": f"n{n}-{k}", "value": k} for k in range(100)]),
        lambda n: delivery(webhook(*[alert(fingerprint=f"{n}-{k}") for k in range(10)]), ALERTS),
        lambda n: delivery(_bad(n)),
        lambda n: delivery([{"nme": n}] * 100),
        lambda n: delivery(_bad(n), headers={"idempotency-key": f"{n:0200}"}),
        lambda n: delivery(_bad(n), transport="mqtt", topic=f"{'t' * 2_000}\U0001f600{n}"),
    ],
)
def test_the_memo_accounts_for_what_it_takes(sent: Callable[[int], Delivery]) -> None:
    memo = Memo()
    for n in range(100):
        memo(sent(n))

    tracemalloc.start()
    try:
        for n in range(100):
            memo(sent(n))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(memo._known) == 100
    assert taken < 1.1 * memo._bytes


def test_the_memo_forgets_what_it_saw_once_when_that_is_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eventd.sources.decode.SEEN_ONCE", 100)
    memo = Memo()

    for n in range(1_001):
        memo(delivery(b'{"name":"n%d"}' % n))

    assert len(memo._once) <= 100


@pytest.mark.parametrize(
    "payload",
    [
        b"[" + b"0," * 2_000_000 + b"0]",
        b"[" + b'"a,b",' * 20_000 + b"0]",
        b"[[" + b"[]," * 1_000_000 + b"[]]]",
        b'{"name":"a"}\n' + b"1\n" * 2_000_000,
        b'{"alerts":[' + b"0," * 2_000_000 + b"0]}",
    ],
)
def test_far_too_many_parts_are_refused_before_they_are_made(payload: bytes) -> None:
    decoder = "alertmanager" if payload.startswith(b'{"alerts"') else "native"
    tracemalloc.start()

    with pytest.raises(DecodeError, match="at most 10000"):
        decode(delivery(payload, decoder))

    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


LABELS = b'{"name":"a","labels":{%b}}'
LINKS = b'{"name":"a","links":[%b]}'
CIS = b'{"name":"a","status":"change","window":{"starts_at":"%s","ends_at":"%s","cis":[%%b]}}' % (
    b"2026-01-05T14:00:00Z", b"2026-01-05T15:00:00Z")  # fmt: skip
ANNOTATED = b'{"alerts":[{"status":"firing","labels":{"alertname":"a"},"annotations":{%b}}]}'


@pytest.mark.parametrize(
    ("body", "item"),
    [
        (LABELS, b'"%x":""'),
        (LINKS, b'"%x"'),
        (CIS, b'"%x"'),
        (ANNOTATED, b'"%x":""'),
        (b'[{"name":"good"},' + LABELS + b"]", b'"%x":""'),
        (b'[{"name":"good"},' + LABELS + b"]", b'"\\\\%x":""'),
        (b'{"name":"good"}\n' + LABELS, b'"%x" : ""'),
        (b'{"x":[%b]}\n{"name":"good"}', b"[]"),
    ],
)
def test_far_too_many_texts_of_one_event_are_refused_before_they_are_made(
    body: bytes, item: bytes
) -> None:
    sent = delivery(
        body % b",".join(item % n if b"%" in item else item for n in range(300_000)),
        ALERTS if body is ANNOTATED else "native",
    )
    tracemalloc.start()
    try:
        names = [one.name for one in decode(sent).events]
    except DecodeError:
        names = []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert names == (["good"] if b"good" in body else [])
    assert peak < 3 * len(sent.payload)


@given(st.recursive(st.none() | st.text(max_size=5),
                    lambda x: st.lists(x, max_size=3)
                    | st.dictionaries(st.text(max_size=3), x, max_size=3)),
       st.integers(0, 9))  # fmt: skip
def test_texts_are_counted_without_being_made(value: Any, over: int) -> None:
    def count(one: Any) -> int:
        match one:
            case dict():
                return len(one) + sum(map(count, one.values()))
            case list():
                return sum(map(count, one))
            case _:
                return isinstance(one, str)

    assert has_texts(json.dumps(value).encode(), over) is (count(value) > over)


@given(st.lists(st.recursive(st.none() | st.integers() | st.text(max_size=5),
                             lambda x: st.lists(x, max_size=3)
                             | st.dictionaries(st.text(max_size=3), x, max_size=3)), max_size=6),
       st.sampled_from([None, 1]))  # fmt: skip
def test_an_array_is_taken_apart_where_json_says(items: list[Any], indent: int | None) -> None:
    text = json.dumps(items, indent=indent, ensure_ascii=False).encode()

    assert [json.loads(one) for one in elements_of(text)] == items


def test_lines_are_those_that_are_not_empty() -> None:
    assert lines_of(b"a\n\n \r\nb\rc\n" + b"\n" * 20_000) == [b"a", b"b", b"c"]


def test_text_with_nul_is_rejected_alone_and_text_about_it_is_not() -> None:
    """D44."""
    events = [{"name": "a"}, {"bad": 1}, {"name": "b", "labels": {"x": "\0"}}, {"name": "\\u0000"}]

    decoded = decode(delivery(events))
    alerts = decode(delivery(webhook(alert(labels={"alertname": "\0"}), alert()), "alertmanager"))

    assert [one.name for one in decoded.events] == ["a", "\\u0000"]
    assert [(index, "NUL" in why) for index, why in decoded.rejected] == [(1, False), (2, True)]
    assert [index for index, _ in alerts.rejected] == [0]
    assert len(alerts.events) == 1


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_no_zone_can_hold_is_rejected(at: str) -> None:
    """D47."""
    early = at.replace("0001", "0002")  # Go's zero time means none
    native = decode(delivery([{"name": "a", "occurred_at": at}, {"name": "b", "expires_at": at}]))
    alerts = decode(delivery(webhook(alert(startsAt=at), alert(endsAt=early)), "alertmanager"))

    assert [index for index, _ in native.rejected] == [0, 1]
    assert len(alerts.events) + len(alerts.rejected) == 2


def test_what_alertmanager_says_at_length_is_bounded() -> None:
    long = "x" * 5_000
    (one,) = decode(
        delivery(
            webhook(alert(generatorURL=long, annotations={"runbook_url": "r", "summary": long})),
            "alertmanager",
        )
    ).events
    said = decode(delivery(webhook(alert(startsAt="2026-01-05T14:00:00." + "0" * 99)),
                           "alertmanager"))  # fmt: skip

    assert (one.links, len(one.summary)) == (("r",), 4_096)
    assert len(said.rejected) == 1
