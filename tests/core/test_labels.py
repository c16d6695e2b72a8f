"""Canonical names, severities, fingerprints and keys."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from xxhash import xxh3_128_digest

from eventd.core.labels import (
    MAX_CACHE,
    MAX_CACHED,
    MAX_COPIED,
    MAX_TEXTS,
    canonical_ci,
    delivery_key,
    event_key,
    fingerprint_from_id,
    fingerprint_of,
    payload_key,
    severity_of,
    shape,
    shared_labels,
    stem,
)
from eventd.core.model import Severity


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        (" DB1 ", "db1"),
        ("db1:9100", "db1"),
        ("db1.example.org", "db1"),
        ("db1.example.org:9100", "db1"),
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1:9100", "10.0.0.1"),
        ("fe80::1", "fe80::1"),
        ("[FE80::1]:9100", "fe80::1"),
        ("db1:shard", "db1:shard"),
        (":9100", ":9100"),
        (".hidden", ".hidden"),
        ("https://Shop.example.org/a", "https://shop.example.org/a"),
        ("Pod_1.ns", "pod_1.ns"),
        ("root@db1.example.org", "root@db1.example.org"),
        ("vol/data.x", "vol/data.x"),
        ("Core Switch 1.2", "core switch 1.2"),
        ("", ""),
    ],
)
def test_a_ci_compares_without_case_port_and_domain(name: str, canonical: str) -> None:
    assert canonical_ci(name) == canonical


@pytest.mark.parametrize("of", [canonical_ci, shape, stem])
def test_what_is_said_of_names_is_remembered_of_short_ones_until_they_are_many(
    of: Callable[[str], str],
) -> None:
    long = "DB1" * MAX_CACHED

    assert of("DB1.") is (said := of("DB1."))
    assert (of(long), of(long) is of(long)) == (of(long), False)
    for n in range(MAX_CACHE):
        of(f"db{n}")
    assert (of("DB1."), of("DB1.") is said) == (said, False)


def test_the_stem_of_a_name_with_thousands_of_digits_is_found_at_once() -> None:
    digits = "1" * 100_000  # a look at each pair of them would take a minute

    assert stem(f"{digits}-1") == f"{digits}-#"


@pytest.mark.parametrize(
    ("word", "severity"),
    [
        ("ok", Severity.OK),
        (" OK ", Severity.OK),
        ("Critical", Severity.CRITICAL),
        ("disaster", Severity.CRITICAL),
        ("average", Severity.MINOR),
        ("sunny", None),
        ("", None),
    ],
)
def test_severities_are_known_by_many_words(word: str, severity: Severity | None) -> None:
    assert severity_of(word) is severity


def test_severity_replica_and_volatile_labels_are_no_part_of_identity() -> None:
    plain = fingerprint_of("s", "n", "c", "v", {"mount": "/"})
    more = {"severity": "major", "mount": "/", "replica": "b", "pid": "7"}

    assert fingerprint_of("s", "n", "c", "v", more, ("pid",)) == plain
    assert fingerprint_of("s", "n", "c", "v", more) != plain


def test_all_else_is_part_of_identity() -> None:
    fingerprints = {
        fingerprint_of("s", "n", "c", "v", {}),
        fingerprint_of("t", "n", "c", "v", {}),
        fingerprint_of("s", "m", "c", "v", {}),
        fingerprint_of("s", "n", "d", "v", {}),
        fingerprint_of("s", "n", "c", "w", {}),
        fingerprint_of("s", "n", "c", "v", {"a": "b"}),
        fingerprint_from_id("s", "n"),
        fingerprint_from_id("t", "n"),
    }

    assert {len(one) for one in fingerprints} == {32}
    assert len(fingerprints) == 8


def test_fingerprints_are_the_same_on_every_machine() -> None:
    assert fingerprint_of("s", "n", "c", "v", {"b": "2", "a": "1"}) == (
        "1f1949a6c63dddb4b209bf05d38fb026"
    )


def test_labels_and_their_texts_are_stored_once_and_forgotten_at_the_cap() -> None:
    once, again = ({"site": f"fra{n}"} for n in (1, 1))  # equal, and not the same text
    once, again = shared_labels(once), shared_labels(again)

    assert once is again
    assert shared_labels({"site": "fra1", "rack": "7"})["site"] is once["site"]
    for n in range(MAX_TEXTS):  # that no other test has said before
        assert shared_labels({"host": f"only-here-{n}"}) == {"host": f"only-here-{n}"}
    assert shared_labels({"site": "fra1"})["site"] is not once["site"]


def test_keys_tell_their_parts_apart() -> None:
    keys = {
        delivery_key("ab", "c"),
        delivery_key("a", "bc"),
        payload_key("s", "t", b"x"),
        payload_key("s", "", b"tx"),
    }

    assert {len(key) for key in keys} == {16}
    assert len(keys) == 4


def test_each_event_of_a_delivery_has_a_key_of_its_own() -> None:
    delivery = delivery_key("s", "1")

    keys = [event_key(delivery, index) for index in range(3)]

    assert keys[0] == delivery
    assert len(set(keys)) == 3


def test_a_large_payload_has_the_key_it_would_have_in_one_piece() -> None:
    payload = b"x" * (MAX_COPIED + 1)

    assert payload_key("s", "t", payload) == xxh3_128_digest(b"s\x1ft\x1f" + payload)
    assert payload_key("s", "t", b"x") == xxh3_128_digest(b"s\x1ft\x1fx")
