"""Selectors: what can be written, what it matches, what is said of mistakes."""

from __future__ import annotations

import pytest
from tests.builders import alert

from eventd.core.model import Matcher, Severity
from eventd.core.rules import index as index_module
from eventd.core.rules.index import SelectorIndex
from eventd.core.rules.selectors import check, compile_matcher, parse_selector
from eventd.errors import RuleError

WRONG = 'name="a", nonsense'
OPS = "operators are =~ !~ != <= >= = < >"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("{}", ()),
        ('name="DiskFull"', (Matcher("name", "=", "DiskFull"),)),
        ('{name="a"}', (Matcher("name", "=", "a"),)),
        (
            ' name = "a" ,severity>=minor, ',
            (Matcher("name", "=", "a"), Matcher("severity", ">=", "minor")),
        ),
        ('a!="b"', (Matcher("a", "!=", "b"),)),
        ('a=~"b|c"', (Matcher("a", "=~", "b|c"),)),
        ('a!~"b.*"', (Matcher("a", "!~", "b.*"),)),
        ("value<9.5", (Matcher("value", "<", "9.5"),)),
        ("value<=-1e3", (Matcher("value", "<=", "-1e3"),)),
        ("value>9", (Matcher("value", ">", "9"),)),
        (r'a="x\"\\\n\t\d"', (Matcher("a", "=", 'x"\\\n\t\\d'),)),
        ('a="x,y}"', (Matcher("a", "=", "x,y}"),)),
        ('k8s.io-app:x="y"', (Matcher("k8s.io-app:x", "=", "y"),)),
    ],
)
def test_a_selector_reads_as_its_matchers(text: str, expected: tuple[Matcher, ...]) -> None:
    assert parse_selector(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{name="a"', 'unbalanced braces in \'{name="a"\' (write name="x", service="y")'),
        ("}", 'unbalanced braces in \'}\' (write name="x", service="y")'),
        (
            'name="a" or x="b"',
            'expected a comma at character 10 of \'name="a" or x="b"\' '
            '(write name="x", service="y")',
        ),
        (
            WRONG,
            f"expected label, operator, quoted value at character 10 of {WRONG!r} ({OPS})",
        ),
        ("severity=bad", "'bad' is no severity (one of ok info warning minor major critical)"),
        ("severity>9", "'9' is no severity (one of ok info warning minor major critical)"),
        ("value>high", "value>'high': no number (such as value>\"90\")"),
        ("value>nan", "value>'nan': no number (such as value>\"90\")"),
        ('value="90"', "value='90' compares text (use < <= > >= with value)"),
        ("name<b", "< is for severity and value, not for 'name' (use = != =~ !~)"),
    ],
)
def test_a_mistake_is_answered_with_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(RuleError) as raised:
        parse_selector(text, "group.match")

    assert str(raised.value) == f"group.match: {message}"


@pytest.mark.parametrize("pattern", ["(?=look)", r"(a)\\1", "(", "(?:a{1000}){1000}"])
def test_a_pattern_that_is_not_re2_is_refused(pattern: str) -> None:
    with pytest.raises(RuleError) as raised:
        parse_selector(f'name=~"{pattern}"')

    assert "is no RE2 pattern" in raised.value.message
    assert raised.value.hint == "RE2 has no look-around and no back-reference"


def test_a_selector_holds_at_most_64_matchers() -> None:
    many = ",".join(f'l{i}="x"' for i in range(64))

    assert len(parse_selector(many)) == 64
    with pytest.raises(RuleError, match="more than 64 matchers in one selector"):
        parse_selector(many + ',one="more"')


def test_a_single_matcher_can_be_checked() -> None:
    check(Matcher("name", "=", "x"))

    with pytest.raises(RuleError, match="matchers: 'x' is no severity"):
        check(Matcher("severity", "=", "x"), "matchers")


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('name="disk"', True),
        ('alertname="disk"', True),
        ('ci="db1"', True),
        ('service="shop"', True),
        ('source="zabbix"', True),
        ('summary="full"', True),
        ('status="firing"', True),
        ('mount="/"', True),
        ('mount=""', False),
        ('absent=""', True),
        ('absent!="x"', True),
        ('name!="disk"', False),
        ('name=~"d.*"', True),
        ('name=~"d"', False),
        ('name!~"d.*"', False),
        ('name!~"d"', True),
        ('severity="MAJOR"', True),
        ('severity="error"', True),
        ('severity!="major"', False),
        ('severity=~"ma.*"', True),
        ("severity>=major", True),
        ("severity>major", False),
        ("severity<=major", True),
        ("severity<critical", True),
        ("value>89.9", True),
        ("value>=90", True),
        ("value<90", False),
        ("value<=90", True),
    ],
)
def test_a_matcher_looks_at_fields_and_labels(text: str, holds: bool) -> None:
    seen = alert(summary="full", value=90.0, severity=Severity.MAJOR, labels={"mount": "/"})
    (matcher,) = parse_selector(text)

    assert compile_matcher(matcher)(seen) is holds


@pytest.mark.parametrize("text", ["value<1", "value<=1", "value>1", "value>=1"])
def test_an_alert_without_a_value_is_neither_above_nor_below(text: str) -> None:
    (matcher,) = parse_selector(text)

    assert not compile_matcher(matcher)(alert(value=None))


def test_what_patterns_said_of_a_value_is_remembered_within_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index_module, "MAX_KNOWN", 8)
    index = SelectorIndex([("hosts", [parse_selector('ci=~"host-.*"')])])

    found = [index.matching(alert(ci=f"host-{n}")) for n in range(9)]

    assert found == [["hosts"]] * 9
    assert index.matching(alert(ci="other")) == []
