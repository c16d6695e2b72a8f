"""`eventd test`: what passes, what fails and is told, what cannot be run."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from eventd.cases import read_cases
from eventd.cli import main
from eventd.ruletests import run

RULES = """
rules:
  - name: disk
    sequence:
      - {as: disk, match: 'name="DiskFull"'}
      - {as: app, match: 'name="http_5xx"'}
    within: 10m
    by: [service]
    incident: {title: "{service}: disk full", impact: 1, urgency: 2, root: disk}
  - name: blips
    settle: {match: 'name="cpu"'}
    within: 3m
tests:
"""
FEED = """
    feed:
      - {at: 0m, name: DiskFull, ci: db1, service: shop}
      - {at: 9m, name: http_5xx, ci: web1, service: shop}
"""


def outcome(folder: Path, cases: str, *options: str) -> Result:
    """The command, on a file with those cases."""
    file = folder / "rules.yaml"
    file.write_text(RULES + cases)
    return CliRunner().invoke(main, ["test", str(file), *options])


def case(want: str, *, feed: str = FEED, more: str = "") -> str:
    """A case called `it`."""
    return f"  - name: it{feed}    want: [{want}]\n{more}"


def line(text: str) -> str:
    """A feed of one line."""
    return f"\n    feed: [{text}]\n"


GOOD = [
    '{at: 9m, opened: {title: "shop: disk full", priority: P2, root: db1, rule: disk}}',
    "{at: 9m, opened: {}}",
    "{at: 9m, opened: {}}, {at: 9m, joined: {ci: db1}}, {at: 9m, joined: {name: http_5xx}}",
]
BAD = [
    "",  # it opens, and nobody wants it
    "{at: 9m, opened: {priority: P1}}",
    '{at: 9m, opened: {title: "shop"}}',
    "{at: 9m, opened: {root: web1}}",
    "{at: 9m1s, opened: {}}",
    "{at: 9m, opened: {}}, {at: 9m, opened: {}}",
    "{at: 9m, opened: {}}, {at: 9m, joined: {ci: db1}}",  # the other joins too
    "{at: 9m, opened: {}}, {at: 11m, missed: disk}",
    "{at: 9m, opened: {}}, {at: 1h, resolved: INC-000001}",
]


@pytest.mark.parametrize("want", GOOD)
def test_a_case_passes_where_what_is_wanted_happens(tmp_path: Path, want: str) -> None:
    done = outcome(tmp_path, case(want))

    assert done.output == f"ok    {tmp_path}/rules.yaml:14  it\n1 passed, 0 failed\n"
    assert done.exit_code == 0


@pytest.mark.parametrize("want", BAD)
def test_a_case_fails_where_it_does_not_or_something_else_does(tmp_path: Path, want: str) -> None:
    done = outcome(tmp_path, case(want))

    assert f"FAIL  {tmp_path}/rules.yaml:14  it\n" in done.output
    assert done.output.endswith("0 passed, 1 failed\n")
    assert done.exit_code == 1


def test_a_failure_shows_what_was_wanted_and_what_happened_as_a_test_has_it(tmp_path: Path) -> None:
    wrong = "{at: 9m, opened: {priority: P3}}"
    done = outcome(tmp_path, case(wrong))

    lines = [one.strip() for one in done.output.splitlines()]
    happened = (
        '{at: 9m, opened: {title: "shop: disk full", priority: P2, root: db1, service: shop, '
        "rule: disk}}"
    )
    assert lines[1:3] == [f"- {wrong}", f"+ {happened}"]
    assert outcome(tmp_path, case(happened)).exit_code == 0


def test_a_failure_says_which_rule_nearly_held(tmp_path: Path) -> None:
    late = FEED.replace("9m", "10m11s")

    done = outcome(tmp_path, case("{at: 9m, opened: {}}", feed=late))

    near = "rule disk missed service shop: 1 of 2 within 600 s; app came 611 s after the first"
    assert done.output.count(f"near: {near}, at 11m\n") == 1


@pytest.mark.parametrize(
    ("feed", "want"),
    [
        ("{at: 1m, name: cpu}", "{at: 1m, suppressed: {by: 'settle:blips', name: cpu}}"),
        ("{at: 1m, name: cpu}", "{at: 1m, suppressed: 'settle:blips'}"),
        ("{at: 0s, name: cpu}, {at: 1m, name: cpu, status: cleared}", ""),
        # what no rule opens, the correlation may: it is looked at where a case asks for it
        ("{at: 0m, name: DiskFull, ci: db1, severity: critical}", ""),
        (
            "{at: 0m, name: DiskFull, ci: db1, severity: critical}",
            "{at: 3m20s, opened: {rule: correlation, title: DiskFull on db1}}",
        ),
        # a late event counts when it happened; two alike are two
        (
            "{at: 0m, name: http_5xx, service: shop}, "
            "{at: 30s, name: DiskFull, service: shop, occurred_at: 0m}",
            "{at: 30s, opened: {rule: disk}}",
        ),
        (
            "{at: 0m, name: chg, status: change, window: {starts_at: 0m, ends_at: 1h, cis: [a]}}, "
            "{at: 1m, name: cpu, ci: a}",
            "{at: 1m, suppressed: {by: MNT-000001, ci: a}}",
        ),
    ],
)
def test_a_feed_is_what_monitoring_can_say(tmp_path: Path, feed: str, want: str) -> None:
    done = outcome(tmp_path, case(want, feed=line(feed)))

    assert done.exit_code == 0, done.output


def test_a_line_can_be_said_again_and_again_with_values_in_turn(tmp_path: Path) -> None:
    said = "{at: 0m, name: y, every: 30s, times: 3, values: [5, 0]}, {at: 45s, name: z, value: 7}"
    (tmp_path / "rules.yaml").write_text(RULES + case("", feed=line(said)))

    (found,) = read_cases(tmp_path)

    told = [((at - found.starts_at).seconds, one.name, one.value) for at, one in found.feed]
    assert told == [(0, "y", 5.0), (30, "y", 0.0), (45, "z", 7.0), (60, "y", 5.0)]
    assert len({one.key for _, one in found.feed}) == len(told)


def test_what_a_rule_notes_on_an_incident_can_be_wanted(tmp_path: Path) -> None:
    first = (
        "rules:\n  - {name: first, by: [service], within: 1m, group: {match: 'service!=\"\"'}}\n"
    )
    rules = RULES.replace("rules:\n", first, 1)
    noted = "rule disk: disk, then app within 540 s for service shop"
    want = "{at: 0m, opened: {rule: first}}, {at: 9m, noted: disk}"
    (tmp_path / "rules.yaml").write_text(
        rules
        + case(want)
        + case(want.replace("noted: disk", f"noted: '{noted}'"))
        + case(want[:31])
    )

    results = [run(one) for one in read_cases(tmp_path)]

    assert [one.good for one in results] == [True, True, True], list(results[1].difference())


def test_an_alert_that_a_rule_fires_can_be_wanted(tmp_path: Path) -> None:
    fires = (
        "rules:\n  - {name: hot, by: [ci], within: 1m, group: {match: 'name=\"hot\"'},"
        " alert: {name: Hot, severity: minor}}\n"
    )
    feed, whole = line("{at: 1m, name: hot, ci: a}"), "{rule: hot, severity: minor, ci: a}"
    wants = [f"{{at: 1m, raised: {one}}}" for one in ("Hot", "{name: Hot}", whole, "hot")]
    cases = "".join(case(want, feed=feed) for want in wants)
    (tmp_path / "rules.yaml").write_text(RULES.replace("rules:\n", fires, 1) + cases)

    assert [run(one).good for one in read_cases(tmp_path)] == [True, True, True, False]


def test_a_case_can_have_an_inventory_a_start_and_an_end(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(
        RULES
        + case(
            "{at: 9m, opened: {}}, {at: 16m, resolved: INC-000002}",
            feed="""
    feed:
      - {at: 0m, name: DiskFull, ci: 10.0.0.1, service: shop}
      - {at: 9m, name: http_5xx, ci: 10.0.0.1, service: shop}
      - {at: 15m, name: DiskFull, ci: db1, service: shop, status: cleared}
      - {at: 15m, name: http_5xx, ci: db1, service: shop, status: cleared}
""",
            more="""    inventory: {cis: [{name: db1, aliases: [10.0.0.1]}]}
    starts_at: 2026-07-01T12:00:00+02:00
    until: 20m
""",
        )
    )

    (found,) = read_cases(tmp_path)

    assert found.feed[0][0].isoformat() == "2026-07-01T10:00:00+00:00"
    assert found.ends_at.isoformat() == "2026-07-01T10:20:00+00:00"
    assert run(found).good, list(run(found).difference())


WRONG = [
    ("{at: 5, name: y}", "", ".feed[0].at: expected a duration such as"),
    ("{at: 5m, name: y, severty: x}", "", ".feed[0].severty: unknown key 'severty' (did you mean"),
    ("{at: 5m, name: y, severity: x}", "", ".feed[0]: severity: expected ok, info, warning"),
    ("{at: 5m, name: y, labels: {port: 7}}", "", ".feed[0].labels.port: expected a text, got 7 ("),
    ("{at: 5m, name: y}, {at: 4m, name: y}", "", ".feed[1].at: is before the line above it (put"),
    ("", "", ".feed: expected a list that is not empty"),
    ("{at: 5m, name: y}", "{at: 5m}", ".want[0]: expected one thing a line, got none (opened, jo"),
    ("{at: 5m, name: y}", "{at: 5m, opened: {priority: P9}}", ".want[0].opened.priority: expected"),
    ("{at: 5m, name: y, status: bad}", "", ".feed[0].status: got "),
    ("{at: 5m, name: y, values: [1, 2]}", "", ".feed[0]: is said more than once (write every: 1m"),
    ("{at: 5m, name: y, every: 0s}", "", ".feed[0].every: expected a duration from 1ms"),
    ("{at: 5m, name: y, every: 1m, times: 0}", "", ".feed[0].times: expected"),
]  # fmt: skip


@pytest.mark.parametrize(("feed", "want", "says"), WRONG)
def test_a_case_that_cannot_be_run_is_answered_with_file_line_and_hint(
    tmp_path: Path, feed: str, want: str, says: str
) -> None:
    done = outcome(tmp_path, case(want, feed=line(feed)))

    assert done.exit_code == 2
    place, _, told = done.output.partition(": tests[0]")
    assert place in {f"{tmp_path}/rules.yaml:{number}" for number in (14, 15, 16)}
    assert told.startswith(says)
    assert told.rstrip().endswith(")")
    assert CliRunner().invoke(main, ["check", str(tmp_path)]).exit_code == 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("    until: 3m\n", ".until: is before the last line of the case (leave it out)"),
        ("    starts_at: 2026-01-05T09:00:00\n", ".starts_at: has no zone (such as 2026"),
    ],
)
def test_so_is_one_whose_times_make_no_sense(tmp_path: Path, more: str, says: str) -> None:
    done = outcome(tmp_path, case("", more=more))

    assert done.exit_code == 2
    assert f"rules.yaml:19: tests[0]{says}" in done.output


def test_tests_are_nothing_to_the_daemon_but_have_to_be_a_list(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES + case("{at: 5m}"))
    (tmp_path / "more.yaml").write_text("rules: []\ntests: {}\n")

    done = CliRunner().invoke(main, ["test", str(tmp_path)])

    assert done.exit_code == 2
    assert "more.yaml:2: tests: expected a list under 'tests' (a rules file is a" in done.output
    assert "rules.yaml:18: tests[0].want[0]: expected one thing a line" in done.output


def test_junit_and_json_have_the_same(tmp_path: Path) -> None:
    cases = case("") + case("{at: 9m, opened: {}}").replace("it", '"<a & b>"', 1)
    out = tmp_path / "junit.xml"

    done = outcome(tmp_path, cases, "--json", "--junit", str(out))

    told = [json.loads(one) for one in done.output.splitlines()]
    assert [(one["name"], one["line"], one["passed"]) for one in told] == [
        ("it", 14, False),
        ("<a & b>", 19, True),
    ]
    assert told[0]["extra"][0].startswith("{at: 9m, opened: ")
    (suite,) = ET.parse(out).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [one.get("name") for one in suite] == ["it", "<a & b>"]
    failure = suite[0][0].text
    assert failure is not None
    assert failure.startswith("+ {at: 9m, opened:")
    assert done.exit_code == 1


def test_a_directory_is_tested_file_by_file_each_by_its_own_rules(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(RULES + case("{at: 9m, opened: {rule: disk}}"))
    first = "rules: [{name: all, by: [service], within: 1m, group: {match: 'service!=\"\"'}}]\n"
    (tmp_path / "0.yaml").write_text(first)

    done = CliRunner().invoke(main, ["test", str(tmp_path)])

    assert done.output == f"ok    {tmp_path}/a.yaml:14  it\n1 passed, 0 failed\n"
