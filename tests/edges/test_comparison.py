"""Two rule sets over one stream: what differs, in incidents; nothing where they are the same."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import TICK, Feed, at, clear, event, group_rule, load, threshold_rule
from tests.properties.feeds import RULES, feeds

from eventd.backtest import Backtest
from eventd.cli import main
from eventd.cli.difference import text
from eventd.comparison import Comparison, Difference, Sides
from eventd.core.model import (
    Acknowledge,
    Comment,
    Detach,
    Input,
    LoadRules,
    Merge,
    Severity,
    Split,
)
from eventd.recording import Line

CI = group_rule("by-ci", by=["ci"], title="{ci}")
SERVICE = group_rule("by-service", title="{service}")
MANY = threshold_rule("by-service", title="{service}", count=2, within="10m")
TWO: Feed = [
    (at(0), event("disk", ci="a")),
    (at(60), event("cpu", ci="b")),
    (at(600), clear("disk", ci="a")),
    (at(600), clear("cpu", ci="b")),
    (at(900), TICK),
]


def compared(
    feed: Feed, before: LoadRules, after: LoadRules, *, forced: bool = False, warm_up: float = 0
) -> Comparison:
    """Both over the feed; the recording's own rules are `before` unless the feed loads others."""
    sides = Sides(lambda _: (), before, after, None, forced=forced)
    lines = (Line(now, None, item) for now, item in feed)
    return sides.play(lines, timedelta(seconds=warm_up))


def only(found: Comparison) -> Difference:
    (one,) = found.differences
    return one


@given(feeds())
def test_the_same_rules_against_themselves_differ_in_nothing(feed: Feed) -> None:
    rules = load(*RULES)

    found = compared(feed, rules, rules, forced=True)

    assert found.differences == ()
    assert found.before == found.after
    assert found.alike == found.before.incidents


def described(run: Backtest) -> Counter[tuple[object, ...]]:
    """Each incident by all that people see of it but its number, and by the alerts it has."""
    members = run.members()
    return Counter(
        (
            one.title,
            one.rule,
            one.priority,
            one.roots[:1] and one.roots[0].ci,
            one.opened_at,
            one.resolved_at,
            frozenset((m.alert.fingerprint, m.alert.last_seen_at) for m in members[one.id]),
        )
        for one in run.incidents()
        if not one.merged_into
    )


@given(feeds(), st.integers(0, len(RULES) - 1))
def test_exactly_what_changed_is_listed(feed: Feed, left_out: int) -> None:
    fewer = [one for n, one in enumerate(RULES) if n != left_out]
    sides = Sides(lambda _: (), load(*RULES), load(*fewer), None, forced=True)

    found = sides.play(Line(now, None, item) for now, item in feed)

    before, after = described(sides._before.run), described(sides._after.run)
    assert found.alike == (before & after).total()
    listed = [one for difference in found.differences for one in difference.before]
    assert len({one.id for one in listed}) == len(listed) == (before - after).total()
    assert sum(len(one.after) for one in found.differences) == (after - before).total()


def test_a_loosened_rule_lists_what_it_adds_and_nothing_else() -> None:
    other: Feed = [(at(1_000), event("disk", ci="y", service="hr"))]
    hr = group_rule("by-ci", 'service="hr"', by=["ci"])
    tight, loose = load(hr, MANY), load(hr, SERVICE)

    found = compared([*TWO, *other], tight, loose)

    assert (found.before.incidents, found.after.incidents, found.alike) == (2, 2, 1)
    one = only(found)
    assert (one.kind, one.opens_later, one.joined, one.left) == ("changed", -60.0, 0, 0)


def test_an_incident_is_new_or_gone() -> None:
    none, some = load(), load(SERVICE)
    alone: Feed = [(at(0), event("disk", severity=Severity.INFO))]

    new, gone = compared(alone, none, some), compared(alone, some, none)

    assert (only(new).kind, only(new).before, only(new).after[0].title) == ("new", (), "shop")
    assert (only(gone).kind, only(gone).after, only(gone).before[0].title) == ("gone", (), "shop")
    assert (new.before.calls, new.after.calls) == (0, 1)


def test_incidents_are_merged_or_split_or_regrouped() -> None:
    crossed: Feed = [
        (at(n), event("x", ci=ci, service=service))
        for n, (ci, service) in enumerate(
            [("a", "s"), ("a", "t"), ("b", "t"), ("b", "u"), ("b", "u")]
        )
    ]

    merged = only(compared(TWO, load(CI), load(SERVICE)))
    split = only(compared(TWO, load(SERVICE), load(CI)))
    found = compared(crossed, load(CI), load(SERVICE))

    assert (merged.kind, len(merged.before), len(merged.after)) == ("merged", 2, 1)
    assert (split.kind, len(split.before), len(split.after)) == ("split", 1, 2)
    kinds = {one.kind for one in found.differences}
    assert kinds == {"regrouped"}


def test_what_changes_of_one_is_told() -> None:
    plain = group_rule("r", title="{service}", impact=3, urgency=3)
    graver = group_rule("r", title="{service}!", impact=1, urgency=1, reopen_within="1s")
    narrower = group_rule("r", 'name="disk"', title="{service}", impact=3, urgency=3)

    graver_found = compared(TWO, load(plain), load(graver))
    info: Feed = [*TWO[:1], (at(60), event("cpu", ci="b", severity=Severity.INFO))]
    narrower_found = compared(info, load(plain), load(narrower))

    changed = only(graver_found)
    assert (changed.before[0].priority, changed.after[0].priority) == ("P5", "P1")
    assert "P5 becomes P1; title shop becomes shop!" in "\n".join(text(graver_found))
    assert (only(narrower_found).left, only(narrower_found).joined) == (1, 0)
    assert "1 not in it" in "\n".join(text(narrower_found))


def test_what_opens_in_the_warm_up_is_left_out() -> None:
    later: Feed = [(at(2_000), event("disk", ci="y", service="hr"))]

    found = compared([*TWO, *later], load(), load(CI), warm_up=1_000)

    assert [one.title for one in only(found).after] == ["y"]
    assert (found.after.incidents, found.after.calls) == (1, 1)
    assert "; what opened before 2026-03-02 09:16:40 is left out" in "\n".join(text(found))


def commands(*said: Input) -> Feed:
    """Two incidents by CI, INC-000001 and 2, and what people say of them."""
    return [*TWO[:2], *((at(100 + n), one) for n, one in enumerate(said))]


@pytest.mark.parametrize("kind", [Split, Detach])
def test_commands_follow_the_alerts_of_their_incident(kind: type[Split | Detach]) -> None:
    cpu = event("cpu", ci="b").fingerprint
    own = Split("INC-000002", (cpu,), "ann") if kind is Split else Detach("INC-000002", cpu, "ann")
    said = commands(Acknowledge("INC-000002", "ann"), Comment("INC-000002", "ann", "mine"), own)

    sides = Sides(lambda _: (), load(CI), load(SERVICE), None, forced=False)
    found = sides.play(Line(now, None, item) for now, item in said)

    # by service both alerts are in one incident until the one is taken out
    assert found.dropped == ()
    incidents = list(sides._after.run.incidents())
    assert (incidents[0].acknowledged_by, incidents[0].firing) == ("ann", 1)
    assert len(incidents) == 1 + (kind is Split)


def test_incidents_are_merged_where_they_are_two_there_whatever_their_numbers() -> None:
    odd: Feed = [(at(0), event("odd", ci="", service="", severity=Severity.INFO))]
    more = load(group_rule("odd", 'name="odd"', by=["name"]), CI)
    merge = Merge("INC-000002", "INC-000001", "ann")

    sides = Sides(lambda _: (), load(CI), more, None, forced=False)
    found = sides.play(Line(now, None, item) for now, item in [*odd, *commands(merge)])

    assert found.dropped == ()
    assert [one.merged_into for one in sides._after.run.incidents()] == ["", "", "INC-000002"]


@pytest.mark.parametrize(
    "said",
    [
        Acknowledge("INC-000009", "ann"),  # nobody knew it
        Merge("INC-000001", "INC-000002", "ann"),  # they are one there
        Merge("INC-000001", "INC-000009", "ann"),
    ],
)
def test_a_command_about_nothing_is_dropped_and_listed(said: Acknowledge | Merge) -> None:
    found = compared(commands(said), load(CI), load(SERVICE))

    (dropped,) = found.dropped
    assert (dropped.side, dropped.incident, dropped.actor) == ("after", said.incident, "ann")
    assert f"{dropped.command} {said.incident} by ann, after" in "\n".join(text(found))


def test_where_both_rule_sets_are_others_commands_follow_those_of_the_recording() -> None:
    feed = [(at(0), load(CI)), *commands(Acknowledge("INC-000002", "ann"))]

    found = compared(feed, load(SERVICE), load(SERVICE), forced=True)
    none = compared(feed, load(), load(SERVICE), forced=True)

    assert found.dropped == ()
    assert [one.side for one in none.dropped] == ["before"]


def test_two_who_raise_priorities_or_open_again_call_more_often() -> None:
    again: Feed = [*TWO[:1], (at(10), clear("disk", ci="a")), (at(100), event("disk", ci="a"))]
    worse: Feed = [*TWO[:1], (at(10), event("disk", ci="a", severity=Severity.CRITICAL))]

    assert compared(again, load(), load(CI)).after.calls == 2
    assert compared(worse, load(), load(CI)).after.calls == 2
    assert "0 before, 2 after: 2 added" in "\n".join(text(compared(again, load(), load(CI))))
    assert "2 before, 0 after: 2 saved" in "\n".join(text(compared(again, load(CI), load())))


def recorded(folder: Path) -> Path:
    """A day of native events."""
    file = folder / "day.jsonl"
    rows = [
        {"received_at": f"2026-01-05T10:0{n}:00Z", "name": "x", "ci": f"a{n}", "service": "shop"}
        for n in range(3)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def rules_file(folder: Path, *rules: dict[str, object]) -> str:
    file = folder / f"rules{len(list(folder.iterdir()))}.yaml"
    file.write_text(json.dumps({"rules": rules}))
    return str(file)


def test_the_command_compares_a_recording(tmp_path: Path) -> None:
    day, by_ci, by_service = (
        recorded(tmp_path),
        rules_file(tmp_path, CI),
        rules_file(tmp_path, SERVICE),
    )
    command = ["replay", str(day), "--rules", by_ci, "--against"]

    told = CliRunner().invoke(main, [*command, by_service, "--learn-from", str(day)])
    same = CliRunner().invoke(main, [*command, by_ci])
    data = json.loads(CliRunner().invoke(main, [*command, by_service, "--json"]).output)

    assert "3 incidents before, 1 after; 0 alike" in told.output
    assert "Several before, one after: 1\n" in told.output
    assert "+ INC-000001  P4  2026-01-05 10:00:00  shop  (3 alerts; by-service" in told.output
    assert "\nNo difference\n" in same.output
    assert data["differences"][0]["kind"] == "merged"
    assert [one["title"] for one in data["differences"][0]["before"]] == ["a0", "a1", "a2"]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["DAY", "--journal", "."],
        ["DAY", "--since", "7d"],
        ["DAY", "--warm-up", "1h"],
        ["DAY", "--against", "DAY", "--out", "x"],
        ["--journal", ".", "--since", "7 days"],
    ],
)
def test_options_that_make_no_sense_together_are_refused(
    tmp_path: Path, options: list[str]
) -> None:
    day = str(recorded(tmp_path))

    done = CliRunner().invoke(main, ["replay", *(day if one == "DAY" else one for one in options)])

    assert done.exit_code == 2
    assert "Error: " in done.output
