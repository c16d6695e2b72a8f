"""What the API and the shell say of scored measurements, and what operators say of them."""

from __future__ import annotations

import secrets
import sqlite3
import xml.etree.ElementTree as ET
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.bank import BANK
from tests.builders import TICK, Feed, at, clear, event, inventory, load
from tests.core import test_silences
from tests.core.test_anomaly import ANOMALY, LOW, MINUTES, STARTS, USUAL, feed_of, measured, orders
from tests.edges.api_desk import ApiDesk, api_desk
from tests.edges.store_desk import wrong

from eventd.admission import ACTIONS
from eventd.core.model import Ci
from eventd.store.database import DATABASE
from eventd.store.snapshots import snapshot_paths
from eventd.web.views import stream_id

INC = "INC-000001"
FALLEN: Feed = [
    (at(0), BANK),
    (at(0), load(ANOMALY)),
    *feed_of(measured(USUAL, MINUTES)),
    *feed_of(measured(LOW, 3, STARTS)),
    (at(STARTS + 160), TICK),
]
EVERY = timedelta(minutes=30)
SILENT = test_silences.NOON - EVERY + timedelta(hours=5)
OVER: Feed = [*FALLEN, *feed_of(measured(USUAL, 60, STARTS + 180)), (at(STARTS + 9000), TICK)]


async def test_a_verdict_is_on_the_timeline_in_the_audit_and_in_lists(tmp_path: Path) -> None:
    async with api_desk(tmp_path, OVER) as desk:
        _, before = await desk.get(f"incidents/{INC}")
        body = {"verdict": False, "actor": "ann", "text": "a sale ended"}
        status, said = await desk.post(f"incidents/{INC}/verdict", body, key="k")
        again, _ = await desk.post(f"incidents/{INC}/verdict", body, key="k")
        refused, _ = await desk.post(f"incidents/{INC}/verdict", body)
        _, detail = await desk.get(f"incidents/{INC}")
        _, listed = await desk.get("incidents")
        _, audit = await desk.get("audit?limit=1")

    text = "ann says it was a false alarm (a sale ended); 1 stream of rule odd asks for more"
    assert (before["state"], before["verdict"]) == ("closed", None)
    assert (status, again, refused) == (200, 200, 409)
    assert (said["state"], said["verdict"]) == ("closed", False)
    entry = detail["timeline"][-1]
    assert (entry["kind"], entry["actor"], entry["text"]) == ("verdict", "ann", text)
    assert [one["verdict"] for one in (detail, *listed["items"])] == [False, False]
    (act,) = audit["items"]
    assert (act["kind"], act["subject"], act["text"]) == ("verdict", INC, text)
    assert wrong(tmp_path) == []


async def test_of_an_incident_that_retention_took_the_verdict_is_told(tmp_path: Path) -> None:
    async with api_desk(tmp_path, OVER) as desk:
        with closing(sqlite3.connect(tmp_path / DATABASE)) as db, db:
            db.executescript("DELETE FROM incident; DELETE FROM timeline; DELETE FROM ledger")
        status, said = await desk.post(f"incidents/{INC}/verdict", {"verdict": False})
        missing, _ = await desk.get(f"incidents/{INC}")
        shell = await desk.shell("incidents", "verdict", INC, "true")
        _, description = await desk.get("openapi.json")

    assert (status, said, missing) == (200, {"id": INC, "verdict": False}, 404)
    assert (shell.exit_code, shell.output) == (0, f"{INC}  verdict true; it is kept no more\n")
    described = description["paths"]["/api/v1/incidents/{id}/verdict"]["post"]["responses"]["200"]
    assert described["content"]["application/json"]["schema"] == {
        "anyOf": [{"$ref": f"#/components/schemas/{one}"} for one in ("IncidentView", "JudgedView")]
    }


async def test_a_command_that_comes_again_where_its_incident_is_gone_is_told_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comment = {"actor": "ann", "text": "looking"}
    async with api_desk(tmp_path, FALLEN) as desk:
        await desk.post(f"incidents/{INC}/comment", comment, key="k")
        await desk.post(f"incidents/{INC}/verdict", {"verdict": False})
        with closing(sqlite3.connect(tmp_path / DATABASE)) as db, db:
            db.executescript("DELETE FROM incident; DELETE FROM ledger")
        again = await desk.post(f"incidents/{INC}/comment", comment, key="k")
        monkeypatch.setattr(secrets, "token_hex", lambda _: "k")
        shell = await desk.shell("incidents", "comment", INC, "--text", "looking", "--actor", "ann")
        _, description = await desk.get("openapi.json")

    assert again == (200, {"id": INC, "verdict": False})
    assert (shell.exit_code, shell.output) == (0, f"{INC}  verdict false; it is kept no more\n")
    both = [{"$ref": f"#/components/schemas/{one}"} for one in ("IncidentView", "JudgedView")]
    for name in (*ACTIONS, "merge", "split", "detach"):
        operation = description["paths"][f"/api/v1/incidents/{{id}}/{name}"]["post"]
        (kept,) = operation["responses"]["200"]["content"].values()
        assert (name, kept["schema"]) == (name, {"anyOf": both})


async def test_a_verdict_that_says_nothing_is_answered_with_the_field(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FALLEN) as desk:
        nothing, said = await desk.post(f"incidents/{INC}/verdict", {"actor": "ann"})
        nowhere, _ = await desk.post("incidents/INC-000009/verdict", {"verdict": True})

    assert (nothing, nowhere) == (400, 404)
    assert "verdict" in said["detail"]


async def test_the_shell_gives_a_verdict_and_shows_it(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FALLEN) as desk:
        true = await desk.shell("incidents", "verdict", INC, "true", "--actor", "ann")
        shown = await desk.shell("incidents", "show", INC)
        wrong_words = [
            await desk.shell("incidents", "verdict", INC),
            await desk.shell("incidents", "verdict", INC, "perhaps"),
        ]

    assert true.output.startswith(INC)
    assert "  verdict: true\n" in shown.output
    assert "ann says it was right to tell of it; 1 stream of rule odd is trusted" in shown.output
    assert [(one.exit_code, "false|true" in one.output) for one in wrong_words] == [(2, True)] * 2
    assert wrong(tmp_path) == []


async def test_an_alert_shows_how_its_values_score_now(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FALLEN) as desk:
        _, found = await desk.get("alerts?source=eventd")
        (own,) = found["items"]
        _, alert = await desk.get(f"alerts/{own['fingerprint']}")
        said = await desk.shell("why", own["fingerprint"])

    (score,) = alert["scores"]
    assert (score["rule"], score["group"]) == ("odd", {"ci": "shop", "name": "orders"})
    assert (score["value"], score["values"], score["fires"]) == (110.0, MINUTES + 3, True)
    assert score["score"] == score["surprise"] / (score["surprise"] + 5)
    assert score["needed"] > 8
    assert score["alerts"] == ["2026-03-02T14:00:00Z"]
    assert "usual" in score["text"]
    shown = f"rule odd scores it: 110 of ci shop, name orders scores {score['score']:.2f} (surprise"
    assert shown in said.output


async def test_the_value_of_any_alert_is_scored_where_a_rule_matches_it(tmp_path: Path) -> None:
    every: dict[str, object] = {"name": "odd", "anomaly": {"match": 'name="full"'}, "by": ["ci"]}
    full, other = event("full", ci="db-a", value=99.5), event("slow", ci="db-a")
    feed: Feed = [(at(0), load(every)), (at(1), full), (at(2), other)]
    async with api_desk(tmp_path, feed) as desk:
        _, alert = await desk.get(f"alerts/{full.fingerprint}")
        _, without = await desk.get(f"alerts/{other.fingerprint}")
        said = await desk.shell("why", full.fingerprint)

    (score,) = alert["scores"]
    assert (score["value"], score["values"], score["score"]) == (99.5, 1, None)
    assert without["scores"] == []
    assert "rule odd scores it: 99.5 of ci db-a; 1 values are too few" in said.output


async def test_an_alert_of_a_rule_that_is_gone_has_no_score(tmp_path: Path) -> None:
    async with api_desk(tmp_path, [*FALLEN, (at(STARTS + 170), load(version="v2"))]) as desk:
        _, found = await desk.get("alerts?source=eventd")
        _, alert = await desk.get(f"alerts/{found['items'][0]['fingerprint']}")

    assert alert["scores"] == []


async def test_streams_are_listed_page_by_page(tmp_path: Path) -> None:
    second = {**ANOMALY, "name": "also", "by": ["ci"]}
    told = [(at(n + 1), orders(1.0, ci)) for n, ci in enumerate(("c", "a", "b"))]
    feed: Feed = [(at(0), load(ANOMALY, second)), *told]
    async with api_desk(tmp_path, feed) as desk:
        whole = (await desk.get("streams"))[1]
        pages, after = list[dict[str, Any]](), ""
        while after is not None:
            _, page = await desk.get(f"streams?limit=2{after and f'&after={after}'}")
            pages, after = [*pages, *page["items"]], page["next"]
        _, odd = await desk.get("streams?rule=odd")
        wrong_cursor, _ = await desk.get("streams?after=%21")

    named = [(one["rule"], one["group"]["ci"]) for one in whole["items"]]
    assert named == [(name, ci) for name in ("also", "odd") for ci in ("a", "b", "c")]
    assert pages == whole["items"]
    assert [one["rule"] for one in odd["items"]] == ["odd"] * 3
    assert wrong_cursor == 400


WATCHED: tuple[dict[str, object], ...] = (
    {"name": "a", "anomaly": {"match": "", "of": "rates"}},
    {"name": "b", "anomaly": {"match": "", "of": "silences"}},
    {"name": "c", "anomaly": {"match": "", "of": "new"}},
    {"name": "d", "anomaly": {"match": ""}},
)


async def test_what_is_watched_is_listed_beside_values(tmp_path: Path) -> None:
    firing = [event("full", ci=ci, value=9.0) for ci in ("db-a", "db-b")]
    feed: Feed = [(at(0), load(*WATCHED)), *((at(1), one) for one in firing), (at(5), TICK)]
    async with api_desk(tmp_path, feed) as desk:
        _, page = await desk.get("streams")
        _, first = await desk.get("streams?limit=3")
        _, rest = await desk.get(f"streams?limit=9&after={first['next']}")
        plots = [await desk.text(f"streams/{one['id']}/plot.svg") for one in page["items"]]
        _, alert = await desk.get(f"alerts/{firing[0].fingerprint}")
        said = await desk.shell("why", firing[0].fingerprint)

    listed = [(one["rule"], one["of"], one["group"]["ci"]) for one in page["items"]]
    kinds = (("a", "rates"), ("b", "silences"), ("c", "new"), ("d", "values"))
    assert listed == [(*kind, ci) for kind in kinds for ci in ("db-a", "db-b")]
    assert [*first["items"], *rest["items"]] == page["items"]
    assert [one["value"] for one in page["items"][::2]] == [1.0, 4.0, None, 9.0]
    since = "2026-03-02T09:00:01Z"
    assert [one["since"] for one in page["items"][::2]] == [since, since, since, None]
    assert [status for status, _, _ in plots] == [404] * 6 + [200] * 2
    assert "only values are drawn, and rule b looks at silences" in plots[2][2]
    assert {one["of"] for one in alert["scores"]} == {"rates", "silences", "new", "values"}
    group = "of ci db-a, name full:"
    unknown = "what is usual at this hour is not known; 1 were seen (an alert takes 7.0)"
    assert f"rule a scores it: rates {group} {unknown}" in said.output
    assert f"rule c scores it: new {group} seen 1 time since 2026-03-02 09:00 UTC (" in said.output


async def test_an_alert_of_silence_shows_for_how_long(tmp_path: Path) -> None:
    feed = [*test_silences.polls(test_silences.MONDAY, test_silences.NOON, every=EVERY)]
    told: Feed = [(test_silences.MONDAY, load(test_silences.RULE)), *feed, (SILENT, TICK)]
    async with api_desk(tmp_path, told) as desk:
        _, found = await desk.get("alerts?source=eventd")
        (own,) = found["items"]
        _, alert = await desk.get(f"alerts/{own['fingerprint']}")
        said = await desk.shell("why", own["fingerprint"])

    (score,) = alert["scores"]
    assert (score["rule"], score["of"], score["fires"]) == ("quiet", "silences", True)
    assert score["score"] == score["surprise"] / (score["surprise"] + 5)
    assert score["text"].startswith("nothing for 5 h; usual for Monday 11:00 is at most 30 min")
    assert (
        f"rule quiet scores it: silences of ci web1, name poll: {score['text']} (surp"
        in said.output
    )


async def plot_of(desk: ApiDesk, stream: str = "") -> tuple[int, str, list[ET.Element]]:
    """Status, kind and the lines of the picture of a stream, of the only one if none is named."""
    if not stream:
        (one,) = (await desk.get("streams"))[1]["items"]
        stream = one["id"]
    status, kind, text = await desk.text(f"streams/{stream}/plot.svg")
    drawn = ET.fromstring(text) if kind == "image/svg+xml" else None
    return status, kind, list(drawn.iter()) if drawn is not None else []


def alarms(drawn: list[ET.Element]) -> list[str]:
    """What is told where an alert began."""
    return [one[0].text or "" for one in drawn if one.get("class") == "a"]


async def test_a_live_stream_is_drawn_with_its_alerts(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FALLEN) as desk:
        status, kind, drawn = await plot_of(desk)

    assert (status, kind) == (200, "image/svg+xml")
    texts = [one.text or "" for one in drawn]
    assert "rule odd: ci shop, name orders" in texts
    assert "alarm 0.64" in texts  # an alert takes more now, as one was made
    (alarm,) = alarms(drawn)
    assert alarm.startswith("2026-03-02 14:00: ")
    assert "usual beside the slower one" in alarm
    (values,) = [one.get("points", "") for one in drawn if one.get("class") == "v"]
    assert len(values.split()) == MINUTES + 3
    assert [one for one in drawn if one.get("class") == "b"]


async def test_whatever_a_stream_is_called_its_picture_is_one(tmp_path: Path) -> None:
    feed = [(at(0), load(ANOMALY)), *feed_of(measured(USUAL, 9, ci="a\x1b<\x00"))]
    async with api_desk(tmp_path, feed) as desk:
        _, _, drawn = await plot_of(desk)

    assert drawn[1].text == r"rule odd: ci a\x1b<\x00, name orders"


async def test_after_a_restart_the_picture_goes_on_from_the_snapshot(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FALLEN[:-5]) as desk:
        await plot_of(desk)
    async with api_desk(tmp_path, FALLEN[-5:]) as desk:
        _, _, drawn = await plot_of(desk)
        _, page = await desk.get("streams")

    (alarm,) = alarms(drawn)
    assert page["items"][0]["values"] == MINUTES + 3
    assert "usual beside the slower one" in alarm  # 4 values alone would tell nothing
    (values,) = [one.get("points", "") for one in drawn if one.get("class") == "v"]
    assert len(values.split()) == MINUTES + 3


async def test_a_damaged_snapshot_costs_scores_and_no_picture(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FALLEN[:-5]):
        pass
    async with api_desk(tmp_path, FALLEN[-5:]) as desk:
        for path in snapshot_paths(tmp_path):
            path.write_bytes(path.read_bytes()[:300] + b"x" * 1000)
        status, _, drawn = await plot_of(desk)

    assert status == 200
    (values,) = [one.get("points", "") for one in drawn if one.get("class") == "v"]
    assert len(values.split()) == MINUTES + 3


async def test_only_a_stream_that_is_scored_has_a_picture(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FALLEN) as desk:
        for rule, key in (("odd", ("shop", "logins")), ("gone", ("shop", "orders"))):
            assert (await plot_of(desk, stream_id(rule, key)))[0] == 404
        assert (await plot_of(desk, "x"))[0] == 404


async def test_a_picture_has_what_the_rule_heard_and_nothing_else(tmp_path: Path) -> None:
    """Each once, at its place in the inventory, in the rule's times, also where nothing fires."""
    every: dict[str, object] = {
        "name": "odd",
        "anomaly": {"match": ['status="info"', 'name="orders"']},
        "during": {"starts": "0 9 * * *", "lasts": "1h"},
    }
    known = inventory(Ci("shop", aliases=("till",)))
    twice = structs.replace(orders(2.0), key=b"k" * 16, strong=True)
    firing = event("orders", ci="shop", value=4.0)
    told = [
        orders(1.0), twice, twice, orders(3.0, "till"), orders(9.0, "other"), event("orders"),
        firing, firing, clear("orders", ci="shop", value=5.0),
    ]  # fmt: skip
    feed: Feed = [(at(0), known), (at(0), load(every))]
    feed = [*feed, *((at(n + 1.0), one) for n, one in enumerate(told)), (at(4000), orders(8.0))]
    async with api_desk(tmp_path, feed) as desk:
        _, page = await desk.get("streams")
        (own,) = [one for one in page["items"] if one["group"]["ci"] == "shop"]
        found = await drawn_values(desk, own["id"])

    assert found == own["values"] == 4


async def drawn_values(desk: ApiDesk, stream: str) -> int:
    """How many values a picture has."""
    _, _, drawn = await plot_of(desk, stream)
    (values,) = [one.get("points", "") for one in drawn if one.get("class") == "v"]
    return len(values.split())
