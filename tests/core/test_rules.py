"""Rules are read strictly, with the path to what is wrong."""

from __future__ import annotations

import pytest
from tests.builders import alert, at, group_rule, kind_rule, rule, settle_rule, threshold_rule

from eventd.core.model import Matcher, Status
from eventd.core.rules import KINDS, from_text, group, parse, state_of, text_of
from eventd.core.rules.rule import IncidentSpec, Kind, Limits, Rule, Span, parse_span
from eventd.core.rules.ruleset import RuleSet
from eventd.core.rules.threshold import Spec, State
from eventd.core.rules.titles import MAX_TITLE, check_title, render
from eventd.errors import RuleError


def test_a_rule_reads_as_its_value() -> None:
    data = {
        "name": "full",
        "description": "A full disk.",
        "group": {"match": ['name="DiskFull"', 'name="Inodes"']},
        "by": ["service", "site"],
        "within": "1h30m",
        "incident": {
            "title": "{service}: full",
            "impact": 1,
            "urgency": 2,
            "assign": "storage",
            "workaround": "Extend it",
            "reopen_within": "10m",
        },
    }

    read = parse(data)

    assert read == Rule(
        name="full",
        description="A full disk.",
        kind="group",
        spec=group.Spec(('name="DiskFull"', 'name="Inodes"')),
        parts=(((Matcher("name", "=", "DiskFull"),), (Matcher("name", "=", "Inodes"),)),),
        by=("service", "site"),
        within=5_400.0,
        incident=IncidentSpec(
            title="{service}: full",
            impact=1,
            urgency=2,
            assign="storage",
            workaround="Extend it",
            reopen_within=Span(600.0),
        ),
        text=read.text,
    )
    assert from_text(read.text) == read


def test_a_threshold_reads_as_its_value() -> None:
    read = parse(threshold_rule('name="x"', "severity>=major", count=5, of="events"))

    assert read.spec == Spec("severity>=major", count=5, of="events")


def test_the_order_of_keys_does_not_make_another_rule() -> None:
    data = group_rule()

    assert parse(dict(reversed(data.items()))).text == parse(data).text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("text", ": expected a rule, got 'text' (a mapping with name, by, within, …)"),
        (
            {"name": "x"},
            ": expected exactly one kind, got none (one of: " + ", ".join(KINDS) + ")",
        ),
        (
            {**group_rule(), **threshold_rule()},
            ": expected exactly one kind, got group and threshold (one of: "
            + ", ".join(KINDS)
            + ")",
        ),
        (
            {"group": {"match": ""}, "by": ["ci"], "within": "5m"},
            ": object missing required field `name`",
        ),
        ({**group_rule(), "nmae": "x"}, ": object contains unknown field `nmae`"),
        ({**group_rule(), "by": ["a"] * 9}, "by: expected `array` of length <= 8"),
        ({**group_rule(), "by": [7]}, "by[0]: expected `str`, got `int`"),
        ({**group_rule(), "name": ""}, "name: expected `str` of length >= 1"),
        ({**group_rule(), "within": 5}, 'within: expected a duration such as "5m", got 5'),
        ({**group_rule(), "within": "5"}, "within: expected a duration such as \"5m\", got '5'"),
        ({**group_rule(), "group": {"match": 5}}, "group.match: expected `str | array`, got `int`"),
        ({**group_rule(), "group": {}}, "group: object missing required field `match`"),
        (
            {**group_rule(), "group": {"match": []}},
            "group.match: expected at least one selector, got none (such as 'service!=\"\"')",
        ),
        (
            group_rule(match=['name="x"', "severity=bad"]),
            "group.match[1]: 'bad' is no severity (one of ok info warning minor major critical)",
        ),
        (threshold_rule(count=1), "threshold.count: expected `int` >= 2"),
        (threshold_rule(of="hosts"), "threshold.of: invalid enum value 'hosts'"),
        (group_rule(impact=4), "incident.impact: expected `int` <= 3"),
        (
            group_rule(title="{service"),
            "incident.title: unbalanced braces in '{service' (write {service})",
        ),
        (
            group_rule(title="{ci()}"),
            "incident.title: {ci()} is no label (write {service}; nothing else is evaluated)",
        ),
        (
            group_rule(reopen_within="400d"),
            "incident.reopen_within: expected a duration from 1ms to 366d, got '400d'",
        ),
    ],
)
def test_a_mistake_is_answered_with_its_path(wrong: object, message: str) -> None:
    with pytest.raises(RuleError) as raised:
        parse(wrong)

    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5_400),
        (" 1.5h ", 5_400),
        ("250ms", 0.25),
        ("2w", 1_209_600),
        ("1d", 86_400),
        ("1ms", 0.001),
        ("366d", 366 * 86_400),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "m",
        "5 m",
        "-5m",
        "0s",
        "0.0001ms",
        "5m3",
        "1.2.3s",
        ".5s",
        "5x",
        "²s",
        "367d",
        "9" * 400 + "s",
        None,
        5,
        True,
    ],
)
def test_anything_else_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_span(text)


def test_a_title_shows_the_alert_and_runs_nothing() -> None:
    seen = alert(labels={"site": "{ci}"}, summary="x")

    assert render("{service}/{site}: {severity} {missing}", seen) == "shop/{ci}: major ?"


def test_without_a_title_the_alert_and_its_ci_are_named() -> None:
    assert render("", alert()) == "disk on db1"
    assert render("", alert(ci="")) == "disk"


def test_a_long_title_is_cut() -> None:
    shown = render("{summary}", alert(summary="x" * 1_000))

    assert len(shown) == MAX_TITLE
    assert shown.endswith("x…")


def test_text_without_places_is_a_title() -> None:
    check_title("all is lost", "incident.title")


def test_a_threshold_state_is_for_threshold_rules() -> None:
    with pytest.raises(TypeError, match="group"):
        State(rule(), Limits(10))


def test_every_kind_starts_with_a_fresh_state() -> None:
    assert isinstance(state_of(rule(threshold_rule()), Limits(10)), State)
    assert state_of(rule(), Limits(10)).dump() == []


def test_kinds_that_wait_for_nothing_say_nothing_when_it_is_time() -> None:
    for data in (group_rule(), threshold_rule(), settle_rule()):
        assert state_of(rule(data), Limits(10)).due("[]", at(0)) == ()


def test_what_is_no_operators_rule_looks_at_nothing() -> None:
    assert Kind().written() == ()


@pytest.mark.parametrize(
    ("match", "heard"),
    [
        ('name="x"', []),
        ('name="x", status="change"', ["change"]),
        ('status=~"info|change"', ["info", "change"]),
        ('status!="firing", status!~"c.*"', ["info", "heartbeat"]),
        ('status!="firing", status="firing"', []),
    ],
)
def test_what_is_no_alert_is_asked_about_where_a_rule_names_its_status(
    match: str, heard: list[str]
) -> None:
    rules = RuleSet()

    steps = [{"match": match}, {"match": 'name="y"'}]
    rules.load("v1", (text_of(kind_rule("sequence", steps)),), Limits(10))

    assert sorted(rules.heard, key=list(Status).index) == [Status(one) for one in heard]
