"""What `eventd check` doubts in rules: by themselves, and by what a journal says of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import alert, at, clear, event, group_rule, inventory, kind_rule, threshold_rule
from tests.edges.store_desk import alive

from eventd.cli import main
from eventd.core.model import Ci, Event, Input, Severity, Status
from eventd.core.rules.selectors import compile_matcher, parse_selector
from eventd.files import default_rules
from eventd.lint import _can_hold, _covers, examine, rules_of
from eventd.recording import Line
from eventd.usage import Usage

Rule = Mapping[str, object]


def written(folder: Path, *rules: Rule) -> Path:
    """One a line, from the second on."""
    file = folder / "rules.yaml"
    rows = ",\n".join(json.dumps(rule) for rule in rules)
    file.write_text(f'{{"rules": [\n{rows}\n]}}\n')
    return file


def doubts(folder: Path, *rules: Rule) -> list[str]:
    """The warnings, without the file's name."""
    return list(examine(rules_of(written(folder, *rules))))


def told_by(folder: Path, events: Iterable[Input], *rules: Rule) -> list[str]:
    """The warnings that these events give rise to, one a second."""
    lines = [Line(at(n), None, item) for n, item in enumerate(events)]
    usage = Usage(rules_of(written(folder, *rules)), at(len(lines) / 2))
    usage.see(lines)
    return [one.removeprefix(f"{folder}/rules.yaml:") for one in usage.warnings()]


IMPOSSIBLE = [
    ('name="a", name="b"', 'name="a", name="b"'),
    ('name="a", name!="a"', 'name="a", name!="a"'),
    ('alertname="a", alertname=~"b.*"', 'alertname="a", alertname=~"b.*"'),
    ('site=~"a|b", site!~"a.*|b"', 'site=~"a|b", site!~"a.*|b"'),
    ("severity>=major, severity<minor", 'severity>="major", severity<"minor"'),
    ('severity=~"bad.*"', 'severity=~"bad.*"'),
    ('status="fring"', 'status="fring"'),
    ("value>5, value<5", 'value>"5", value<"5"'),
]
POSSIBLE = [
    'name=~"a|b", name!="a"',
    "severity>=major, severity<critical",
    "value>=5, value<=5",
    'status!="info"',
    'site=~"a.*", site=~".*b"',
    'site=""',
    "",
]


@pytest.mark.parametrize(("match", "says"), IMPOSSIBLE)
def test_a_selector_that_excludes_everything_is_told_with_its_line(
    tmp_path: Path, match: str, says: str
) -> None:
    fine = group_rule("fine", 'name="z"')

    (told,) = doubts(tmp_path, fine, group_rule("it", [match, 'name="y"']))

    assert (
        told
        == f"{tmp_path}/rules.yaml:3: rules[1].group.match[0]: cannot match (nothing is {says})"
    )


@pytest.mark.parametrize("match", POSSIBLE)
def test_one_that_does_not_is_not(tmp_path: Path, match: str) -> None:
    assert doubts(tmp_path, group_rule("it", match)) == []


def test_what_has_no_key_or_one_value_cannot_hold(tmp_path: Path) -> None:
    users = {
        **threshold_rule("users"),
        "threshold": {"match": 'name="b"', "count": 2, "distinct": "user"},
    }

    told = doubts(
        tmp_path,
        group_rule("keyless", 'service="", name="a"'),
        {**users, "by": ["user"]},
        kind_rule("pair", {"opens": 'name="c", ci="x"', "closes": 'name=~"c|d"'}),
        kind_rule("pair", {"opens": 'name="e"', "closes": 'name="f"'}, "fine"),
    )

    assert [one.partition("yaml:")[2] for one in told] == [
        "2: rules[0].group.match: cannot match (what has no service has no key)",
        "3: rules[1].threshold.distinct: cannot hold: a key has one value of what it counts "
        "(user is in by)",
        "4: rules[2].pair: never holds anything: what opens ends at once "
        "(whatever opens matches closes too)",
    ]


SEVERE = group_rule("severe", "severity>=major")
SHADOWED = [
    group_rule("it", 'name="a", severity=critical'),
    threshold_rule("it", 'name=~"a.*", severity>=critical'),
    kind_rule("sequence", [{"match": "severity=major"}, {"match": 'name="a", severity=critical'}]),
]
FREE = [
    group_rule("it", "severity>=minor"),
    kind_rule("sequence", [{"match": 'name="a"'}, {"match": "severity=critical"}]),
    kind_rule("absence", {"match": "severity=critical"}),
    {"name": "it", "settle": {"match": "severity=critical"}, "within": "1m"},
]


@pytest.mark.parametrize("rule", SHADOWED)
def test_a_rule_that_never_has_an_alert_first_is_shadowed(tmp_path: Path, rule: Rule) -> None:
    (told,) = doubts(tmp_path, SEVERE, rule)

    file = f"{tmp_path}/rules.yaml"
    says = "is shadowed by rule severe, which has every alert of it first"
    assert told == f"{file}:3: rules[1]: {says} (see {file}:2)"
    assert doubts(tmp_path, rule, SEVERE) == []


@pytest.mark.parametrize("rule", FREE)
def test_one_that_has_some_is_not(tmp_path: Path, rule: Rule) -> None:
    assert doubts(tmp_path, SEVERE, rule) == []


def test_one_that_fires_an_alert_has_none(tmp_path: Path) -> None:
    fires = {key: value for key, value in SEVERE.items() if key != "incident"} | {"alert": {}}

    assert doubts(tmp_path, fires, {**SEVERE, "name": "it"}) == []
    assert doubts(tmp_path, SEVERE, {**fires, "name": "it"}) == []


def test_a_rule_of_which_another_has_part_overlaps(tmp_path: Path) -> None:
    rule = group_rule("it", "severity=critical", by=["ci"])
    always = group_rule("it", 'severity=critical, service=~"a.+"', by=["ci"])

    (part,), (whole,) = doubts(tmp_path, SEVERE, rule), doubts(tmp_path, SEVERE, always)

    says = "rules[1]: overlaps with rule severe (that has every alert with service first, see"
    assert says in part
    assert "is shadowed by rule severe" in whole


MATCHERS = st.sampled_from(
    [
        'name="a"', 'name!="a"', 'name=~"a|b"', 'name=~"a.*"', 'name!~"a.*"', 'name!=""', 'name=""',
        'x="a"', 'x!=""', 'x=~".+"', 'x=""', "severity>=major",
        "severity<minor", 'severity!="major"', "value>5", "value>=5", "value<5", "value<=6",
        'status="info"', 'status!="firing"',
    ]
)  # fmt: skip
SELECTORS = st.lists(MATCHERS, max_size=4).map(", ".join)
ALERTS = st.builds(
    lambda name, x, severity, value: alert(
        name=name, labels={"x": x} if x else {}, severity=severity, value=value
    ),
    st.sampled_from(["a", "b", "ab", "c"]),
    st.sampled_from(["", "a", "b"]),
    st.sampled_from([one for one in Severity if one]),
    st.sampled_from([None, 4.0, 5.0, 5.5, 6.0, 7.0]),
)


@given(SELECTORS, SELECTORS, ALERTS)
def test_what_is_said_to_cover_or_to_exclude_everything_does(
    outer: str, inner: str, one: object
) -> None:
    wide, narrow = parse_selector(outer), parse_selector(inner)

    holds = {
        text: all(compile_matcher(m)(one) for m in selector)  # type: ignore[arg-type] # an alert
        for text, selector in ((outer, wide), (inner, narrow))
    }

    if _covers([wide], narrow) and holds[inner]:
        assert holds[outer]
    for label in {m.label for m in narrow}:
        if not _can_hold(label, [m for m in narrow if m.label == label]):
            assert not holds[inner]


def test_a_label_that_nothing_had_is_told_wherever_it_stands(tmp_path: Path) -> None:
    events = [event("a", labels={"site": "fra"}), event("b", status=Status.INFO)]

    told = told_by(
        tmp_path,
        events,
        group_rule("it", 'sitte="fra"', by=["zone"], title="{region} {ci} {name}"),
        {
            **kind_rule("sequence", [{"as": "x", "match": 'name="a"'}, {"match": 'name="b"'}], "q"),
            "incident": {"title": "{x.rack} {x.site}"},
        },
        {
            **threshold_rule("u"),
            "threshold": {"match": "severity>=info", "count": 2, "distinct": "user"},
        },
    )

    assert told == [
        "2: rules[0].group.match: 'sitte' was never seen "
        "(none of 2 events has it; did you mean 'site'?)",
        "2: rules[0].by[0]: 'zone' was never seen (none of 2 events has it)",
        "2: rules[0].incident.title: 'region' was never seen (none of 2 events has it)",
        "3: rules[1].incident.title: 'rack' was never seen (none of 2 events has it)",
        "4: rules[2].threshold.distinct: 'user' was never seen (none of 2 events has it)",
    ]


def test_the_inventory_says_which_service_an_event_is_of(tmp_path: Path) -> None:
    rule = group_rule("it", 'service="shop"')
    nameless = event("a", ci="b", service="")
    stock = inventory(Ci("b", service="shop"))

    assert len(told_by(tmp_path, [nameless], rule)) == 2
    assert told_by(tmp_path, [stock, nameless], rule) == []


def test_a_pair_or_an_absence_whose_end_never_came_never_ends(tmp_path: Path) -> None:
    ups = kind_rule("pair", {"opens": 'name="down"', "closes": 'name="up"'}, "ups")
    job = kind_rule(
        "absence",
        {"after": 'name="begin", status="info"', "match": 'name="end", status="info"'},
        "job",
    )
    events = [event("down"), event("begin", status=Status.INFO), event("end")]

    told = told_by(tmp_path, events, ups, job)
    ended = told_by(tmp_path, [*events, event("up"), event("end", status=Status.INFO)], ups, job)

    assert told == [
        "2: rules[0].pair.closes: never ends (opens matches 1 events, closes none)",
        "3: rules[1].absence.match: never ends (after matches 1 events, match none)",
    ]
    assert ended == []


def test_alerts_that_no_source_clears_are_told(tmp_path: Path) -> None:
    events = [event("a", ci=f"c{n}") for n in range(12)]
    rule = group_rule("it", 'name="a"')

    (told,) = told_by(tmp_path, events, rule)

    assert told == (
        "2: rules[0]: may never end but by hand, or when alerts go stale "
        "(none of 12 alerts that it matches was cleared by its source)"
    )
    assert told_by(tmp_path, [*events, clear("a", ci="c3")], rule) == []
    assert told_by(tmp_path, events[:9], rule) == []
    own = {"match": 'name="a"', "count": 3, "ends": {"below": 1, "within": "1m"}}
    assert told_by(tmp_path, events, kind_rule("threshold", own)) == []


def test_keys_that_do_not_come_to_an_end_are_told(tmp_path: Path) -> None:
    def requests(keys: int) -> list[Event]:
        return [event("a", labels={"request": f"r{n % keys}"}) for n in range(200)]

    rule = group_rule("it", by=["request"])
    cleared = clear("a", labels={"request": "r1"})

    (told,) = told_by(tmp_path, [*requests(200), cleared], rule)

    assert told == (
        "2: rules[0].by: has no end of keys: by request "
        "(200 keys, 99 of them new in the later half of the journal)"
    )
    assert told_by(tmp_path, [*requests(99), cleared], rule) == []
    assert told_by(tmp_path, [*requests(110), cleared], rule) == []


def test_what_two_rules_match_is_told_of_the_later_one(tmp_path: Path) -> None:
    first, second = (
        group_rule("first", 'name=~"a.*"'),
        group_rule("second", 'name=~".*b"', by=["ci"]),
    )
    events = [event("ab", ci="c1"), event("ab", ci="c2"), event("b"), clear("ab", ci="c1")]

    told = told_by(tmp_path, events, first, second)

    assert told == [
        "3: rules[1]: overlaps with rule first, which has first what both match "
        "(2 events, such as ab on c1)"
    ]


async def test_check_warns_and_is_strict_where_it_is_told_to_be(tmp_path: Path) -> None:
    async with alive(tmp_path / "state") as life:
        await life.feed([(at(0), event("a"))])
    file = str(
        written(
            tmp_path, group_rule("it", 'name="a", rack="7"'), group_rule("no", 'name="a", name="b"')
        )
    )
    store = ["--store", str(tmp_path / "state")]

    plain = CliRunner().invoke(main, ["check", file])
    told = CliRunner().invoke(main, ["check", file, *store])
    strict = CliRunner().invoke(main, ["check", file, "--strict"])
    lost = CliRunner().invoke(main, ["check", file, "--store", str(tmp_path)])

    assert (plain.exit_code, told.exit_code, strict.exit_code, lost.exit_code) == (0, 0, 1, 2)
    assert plain.output.count("warning: ") == 1
    assert "warning: " in strict.output
    assert (
        f"warning: {file}:2: rules[0].group.match: 'rack' was never seen (none of 1 events"
        in told.output
    )


def test_the_shipped_rules_raise_no_doubt() -> None:
    assert list(examine(rules_of(default_rules()))) == []


def test_check_counts_in_words_that_fit(tmp_path: Path) -> None:
    one = written(tmp_path, group_rule())
    case = {"name": "c", "feed": [{"at": "0m", "name": "a"}], "want": []}
    both = tmp_path / "both.yaml"
    both.write_text(
        json.dumps({"rules": [group_rule("a"), group_rule("b", 'name="b"')], "tests": [case]})
    )

    done = CliRunner().invoke(main, ["check", str(one), str(both)])

    assert f"{one}: 1 rule, 0 tests, version " in done.output
    assert f"{both}: 2 rules, 1 test, version " in done.output
