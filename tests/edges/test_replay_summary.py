"""What a replay is told as: its figures, its lines, its page."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from xml.dom.minidom import Document, parseString

import pytest
from click.testing import CliRunner
from tests.builders import T0, at, clear, event, group_rule, inventory, load, maintenance, silence

from eventd.backtest import Backtest, Outcome, Span, write
from eventd.cli import main
from eventd.cli.page import LISTED, SHOWN, html
from eventd.cli.report import text
from eventd.core.model import Ci, Correlated, Dependency, Input, Merge, Severity, Status, Tie
from eventd.recording import Line
from eventd.summary import Check, Within, summary

CRITICAL = Severity.CRITICAL
SHOP = inventory(
    Ci("san1"),
    *(Ci(f"db{n}", depends_on=(Dependency("san1"),)) for n in range(1, 4)),
)


def played(*feed: tuple[float, Input], rules: tuple[dict[str, object], ...] = ()) -> Backtest:
    """A run over these inputs, each at so many seconds."""
    run = Backtest(lambda _: (), load(*rules), SHOP, forced=False)
    for _ in run.play([Line(at(seconds), None, item) for seconds, item in feed]):
        pass
    return run


def bad_hour() -> Backtest:
    """A full array takes three databases with it; beside it there is noise of each kind."""
    return played(
        (0, maintenance("CHG-1", ends=3_000, cis=["esx1"], id="c1")),
        (1, silence('name="backup"', at(3_000))),
        (2, event("backup", ci="bk1", service="")),
        (3, event("down", ci="esx1", service="")),
        (4, event("login", ci="vm1", service="", severity=Severity.INFO)),
        (5, event("alive", ci="vm2", service="", status=Status.HEARTBEAT)),
        (10, event("full", ci="san1", service="", severity=CRITICAL)),
        (15, event("slow", ci="db1", service="", severity=CRITICAL)),
        (16, event("slow", ci="db2", service="", severity=CRITICAL)),
        (17, event("slow", ci="db3", service="", severity=CRITICAL, id="last")),
        (60, event("slow", ci="db3", service="", severity=CRITICAL, id="last")),
        (600, event("cpu", ci="vm9", service="", severity=Severity.WARNING)),
        (630, clear("cpu", ci="vm9", service="")),
        (1_800, event("alive", ci="vm2", service="", status=Status.HEARTBEAT)),
        (1_900, event("cpu", ci="vm8", service="", severity=Severity.WARNING)),
    )


def test_every_firing_is_in_an_incident_or_has_its_reason_to_be_in_none() -> None:
    told = summary(bad_hour())

    assert (told.events, told.alerts, told.fired, told.joined) == (14, 9, 9, 4)
    assert told.others == {"heartbeat": 2, "change": 1, "duplicate": 1}
    assert told.noise == {"blip": 1, "info": 1, "maintenance": 1, "silenced": 1, "undecided": 1}
    assert told.noisiest[0] == Check("cpu", 2, 2)
    assert (told.began, told.ended) == (T0, at(1_900))


def test_an_incident_is_told_with_its_root_and_how_long_it_took_to_raise() -> None:
    told = summary(bad_hour())

    (one,) = told.raised
    assert (told.incidents, told.open, told.merged, told.priorities) == (1, 1, 0, {"P2": 1})
    assert told.within == Within(20.0, 20.0)
    assert (one.root, one.alerts, one.cis) == ("san1", 4, 4)
    assert one.because.startswith("3 of 3 CIs depend on san1")
    assert one.lasted == 1_870.0
    assert told.longest == (one,)


def test_the_text_has_the_figures_and_a_line_for_each_incident() -> None:
    lines = "\n".join(text(summary(bad_hour())))

    assert "14 events, 2026-03-02 09:00:00 to 2026-03-02 09:31:40 UTC" in lines
    assert "9 alerts fired 9 times: 4 in incidents, 5 in none" in lines
    assert "1 incident; 1 still open:  P2 1" in lines
    assert "From the first alert to the incident: half within 20 s, 95 % within 20 s" in lines
    assert "INC-000001  P2  2026-03-02 09:00 for 31 min, and on" in lines
    assert "likeliest root: 3 of 3 CIs depend on san1" in lines


def test_nothing_at_all_is_told_as_that() -> None:
    run = played()

    told = summary(run)

    assert "\n".join(text(told)) == (
        "0 events\n0 alerts fired 0 times: 0 in incidents, 0 in none\n0 incidents; 0 still open"
    )
    assert "<svg" not in html(told, run)


def test_what_was_refused_is_counted_apart_and_told_with_its_line(tmp_path: Path) -> None:
    recording = tmp_path / "a.jsonl"
    head = b'{"received_at": "2026-03-02T09:00:00Z", '
    both = b'{"deliver_at": "2026-03-02T09:00:00Z", "transport": "http", "path": "/v1/events", '
    lines = [
        head + b'"name": "a"}',
        head + b'"name": "a", "\\u001b": 1}',
        both + b'"payload": [{"name": "b"}, {"nam": "b"}]}',
        *[head + b'"name": "\xff"}'] * 10,
    ]
    recording.write_bytes(b"\n".join(lines))

    done = CliRunner().invoke(main, ["replay", str(recording)])

    first, second, *refused = done.output.splitlines()[:15]
    assert first.startswith("2 events, ")
    assert first.endswith(" UTC: 2 of alerts")
    assert second == "12 refused"
    assert refused[0].startswith(f"  {recording}:2: \\x1b: expected ")
    assert refused[1].startswith(f"  {recording}:3: event 1: ")
    assert refused[9].startswith(f"  {recording}:11: expected ")
    assert refused[10] == "  and 2 more"


def test_what_senders_write_is_text_on_the_page() -> None:
    run = played(
        (0, event("<script>alert(1)</script>&", ci="a\x1b[2Jb", service='"x"', severity=CRITICAL)),
        (1, event("b", service="c")),
        rules=(group_rule(title="{service} {name} on {ci}"),),
    )

    document = page(run)

    assert document.getElementsByTagName("script") == []
    assert '"x" <script>alert(1)</script>& on a\\x1b[2Jb' in words(document)


def test_the_page_shows_alerts_above_and_incidents_below_along_the_day() -> None:
    document = page(bad_hour())

    (picture,) = document.getElementsByTagName("svg")
    rects = picture.getElementsByTagName("rect")
    (incident,) = [one for one in rects if one.getAttribute("class") == "P2"]
    assert {one.getAttribute("class") for one in rects} == {"joined", "noise", "P2"}
    assert 130 < float(incident.getAttribute("x")) < 150
    assert float(incident.getAttribute("width")) > 1_000
    assert all(f"09:{minute}" in words(document) for minute in ("05", "10", "30"))
    tags = {one.tagName for one in document.getElementsByTagName("*")}
    assert tags.isdisjoint({"script", "link", "img", "iframe"})


def test_a_page_of_thousands_of_incidents_says_what_it_leaves_out() -> None:
    count = LISTED + 5
    feed = [(n * 1.0, event("down", service=f"s{n}")) for n in range(count)]
    run = played(*feed, rules=(group_rule(),))

    document = page(run)

    assert f"{count - SHOWN:,} more of less priority" in words(document)
    assert "5 later ones are left out" in words(document)


@pytest.mark.parametrize("days", [0, 5, 400])
def test_an_axis_has_some_ticks_however_long_the_recording_is(days: int) -> None:
    last = timedelta(days=days).total_seconds()
    run = played((0, event()), (last, event("other")), rules=(group_rule(),))

    (picture,) = page(run).getElementsByTagName("svg")

    assert 1 <= len(picture.getElementsByTagName("line")) <= 14


def test_what_was_merged_is_left_out_and_its_events_point_to_where_it_went() -> None:
    run = played(
        (0, event("a", service="a", id="1")),
        (1, clear("a", service="a", id="2")),
        (2, event("a", service="a", id="3")),
        (3, event("b", service="b", id="4")),
        (4, Merge("INC-000001", "INC-000002", "ann")),
        (5, Merge("INC-000002", "INC-000003", "ann")),
        (6, event("c", service="c", id="5")),
        (7, Merge("INC-000002", "INC-000003", "ann")),
        rules=(group_rule(),),
    )

    rows = [json.loads(line) for line in write(run)]

    assert [row["incident"] for row in rows if "event" in row] == ["INC-000003"] * 5
    (outcome,) = [row for row in rows if "entities" in row]
    assert (outcome["incident"], outcome["entities"]) == ("INC-000003", ["db1"])
    assert summary(run).merged == 2


def test_an_incident_that_closed_in_a_long_pause_is_told_as_it_closed() -> None:
    run = played(
        (0, event("disk")),
        (10, clear("disk")),
        (90_000, event("other", service="else")),
        rules=(group_rule(),),
    )

    first, _ = run.incidents()

    assert (first.state.value, first.resolved_at) == ("closed", at(70))


def test_out_says_where_each_event_belongs_and_why() -> None:
    spans, outcomes = list(bad_hour().spans()), list(bad_hour().outcomes())

    assert spans[0] == Span("c1", None, None)
    assert spans[1] == Span("2", None, "suppressed by SIL-000001")
    assert spans[3].because == "its source calls it information, which raises nothing"
    assert isinstance(spans[6].because, Correlated)
    assert spans[6].because.tie is Tie.DEPENDS
    assert outcomes == [
        Outcome(
            "INC-000001",
            at(30),
            None,
            "san1",
            outcomes[0].root_ranked,
            ("san1", "db1", "db2", "db3"),
            "P2",
            "full on san1 and 3 more CIs",
        )
    ]
    assert outcomes[0].root_ranked[0] == "san1"


def test_replay_writes_the_same_bytes_twice_and_learns_from_a_recording_first(
    tmp_path: Path,
) -> None:
    recording = tmp_path / "day.jsonl"
    recording.write_text("".join(map(said, range(400))))
    command = ["replay", str(recording), "--learn-from", str(recording)]
    outs = []
    for name in ("a", "b"):
        out, shown = tmp_path / name, tmp_path / f"{name}.html"
        done = CliRunner().invoke(main, [*command, "--out", str(out), "--html", str(shown)])
        assert done.exit_code == 0, done.output
        outs.append((out.read_bytes(), shown.read_bytes(), done.output))

    cold = json.loads(CliRunner().invoke(main, ["replay", str(recording), "--json"]).output)
    warm = json.loads(CliRunner().invoke(main, [*command, "--json"]).output)

    assert outs[0] == outs[1]
    assert cold["events"] == warm["events"] == 400
    assert (cold["noise"], warm["noise"]) == ({"noisy": 197, "blip": 3}, {"noisy": 200})


def said(number: int) -> str:
    """One line of a check that cries wolf: up for a minute, down for five and some."""
    up = number % 2 == 0
    at_ = T0 + timedelta(seconds=373 * (number // 2) + (0 if up else 61))
    told = {"name": "load", "ci": f"vm{number // 2 % 7}", "status": "firing" if up else "cleared"}
    return json.dumps({**told, "received_at": at_.isoformat()}) + "\n"


def page(run: Backtest) -> Document:
    """The page of a run, parsed: it is well-formed XML besides."""
    return parseString(html(summary(run), run).removeprefix("<!DOCTYPE html>\n"))


def words(document: Document) -> str:
    """All text of a page."""
    nodes = document.getElementsByTagName("*")
    return " ".join(c.data for n in nodes for c in n.childNodes if c.nodeType == c.TEXT_NODE)
