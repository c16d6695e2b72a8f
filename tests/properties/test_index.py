"""The index answers as if every selector were asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import T0

from eventd.core.model import Alert, Matcher, Severity, Status
from eventd.core.rules import index as index_module
from eventd.core.rules.index import SelectorIndex
from eventd.core.rules.selectors import READERS, compile_matcher

Selector = tuple[Matcher, ...]

WORDS = ("", "a", "b", "ab", "a b", "db-1", "firing", "major", "x\ny", "é")
LABELS = (*(name for name in READERS if name != "severity"), "mount", "site")
PATTERNS = (
    "", ".*", ".+", "a", "a|b", "a|", "|a", "[ab]+", "(?i)A", "a.b", "db-1|ab", "a b", "é",
    "(a|b)c?", "^a$", "(?s)x.y", "x.y", "\\d",
)  # fmt: skip

texts = st.sampled_from(WORDS)
matchers = st.one_of(
    st.builds(Matcher, st.sampled_from(LABELS), st.sampled_from(("=", "!=")), texts),
    st.builds(
        Matcher,
        st.sampled_from((*LABELS, "severity")),
        st.sampled_from(("=~", "!~")),
        st.sampled_from((*PATTERNS, "major|minor", "ma.*")),
    ),
    st.builds(
        Matcher,
        st.just("severity"),
        st.sampled_from(("=", "!=", "<", "<=", ">", ">=")),
        st.sampled_from(("minor", "major", "critical")),
    ),
    st.builds(
        Matcher,
        st.just("value"),
        st.sampled_from(("<", "<=", ">", ">=")),
        st.sampled_from(("0", "1.5")),
    ),
)
selectors = st.lists(st.lists(matchers, max_size=3).map(tuple), max_size=3)
alerts = st.builds(
    Alert,
    fingerprint=st.just("f" * 32),
    source=texts,
    name=texts,
    ci=texts,
    service=texts,
    summary=texts,
    status=st.sampled_from((Status.FIRING, Status.CLEARED)),
    severity=st.sampled_from(Severity),
    labels=st.dictionaries(
        st.sampled_from(("mount", "site", "name", "severity", "value", "other")), texts
    ),
    links=st.just(()),
    started_at=st.just(T0),
    last_seen_at=st.just(T0),
    cleared_at=st.none(),
    count=st.just(1),
    episode=st.just(1),
    suppressed_by=st.just(""),
    incident=st.just(""),
    value=st.one_of(st.none(), st.sampled_from((0.0, 1.5, 7.0))),
)


def asked(entries: list[list[Selector]], alert: Alert) -> list[int]:
    """Which keys match when every selector is asked."""
    return [
        key
        for key, group in enumerate(entries)
        if any(all(compile_matcher(m)(alert) for m in selector) for selector in group)
    ]


@given(st.lists(selectors, max_size=12), st.lists(alerts, min_size=1, max_size=5))
def test_the_index_answers_as_if_every_selector_were_asked(
    entries: list[list[Selector]], seen: list[Alert]
) -> None:
    index = SelectorIndex(enumerate(entries))

    for alert in seen:
        assert index.matching(alert) == asked(entries, alert)


def test_only_selectors_that_no_look_up_answers_are_asked_every_time() -> None:
    answered = [
        (Matcher("name", "=", "a"),),
        (Matcher("mount", "=~", "/.+"), Matcher("severity", ">=", "major")),
        (Matcher("service", "=~", ".*"),),
        (Matcher("site", "=~", "a|b"), Matcher("name", "!=", "x")),
    ]
    always = [
        (),
        (Matcher("severity", ">=", "major"),),
        (Matcher("name", "!=", "a"),),
        (Matcher("site", "=~", ".*"),),
        (Matcher("site", "=", ""),),
    ]

    index = SelectorIndex((key, [selector]) for key, selector in enumerate(answered + always))

    assert index.scanned == len(always)


def test_answers_are_forgotten_at_the_cap_and_stay_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "MAX_KNOWN", 16)
    index = SelectorIndex([("host", [(Matcher("host", "=~", "h.*1"),)])])

    for n in range(100):
        alert = seen_on(f"h{n}")
        assert index.matching(alert) == (["host"] if f"{n}".endswith("1") else [])
    assert len(index._answers) <= 16


def seen_on(host: str) -> Alert:
    return Alert(
        "f" * 32, "s", "n", "", "", "", Status.FIRING, Severity.MAJOR, {"host": host}, (),
        T0, T0, None, 1, 1, "", "",
    )  # fmt: skip
