"""What the API and the shell say of scored measurements, and what operators say of them."""

from __future__ import annotations

from pathlib import Path

from tests.bank import BANK
from tests.builders import TICK, Feed, at, load
from tests.core.test_anomaly import ANOMALY, LOW, MINUTES, STARTS, USUAL, feed_of, measured
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
