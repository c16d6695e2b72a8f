"""What the API and the shell say of scored measurements, and what operators say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.bank import BANK
from tests.builders import TICK, Feed, at, event, load
from tests.core.test_anomaly import ANOMALY, LOW, MINUTES, STARTS, USUAL, feed_of, measured, orders
from tests.edges.api_desk import api_desk
from tests.edges.store_desk import wrong

INC = "INC-000001"
FALLEN: Feed = [
    (at(0), BANK),
    (at(0), load(ANOMALY)),
    *feed_of(measured(USUAL, MINUTES)),
    *feed_of(measured(LOW, 3, STARTS)),
    (at(STARTS + 160), TICK),
]
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
