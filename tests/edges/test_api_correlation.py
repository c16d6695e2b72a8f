"""What API and command line say of the correlation's incidents, and what operators do to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.builders import TICK, Feed, at, event, group_rule, inventory, load
from tests.edges.api_desk import api_desk
from tests.edges.store_desk import wrong

from eventd.core.model import Ci, Severity

SWITCH = event("down", ci="sw", severity=Severity.CRITICAL, service="")
APPS = [event("timeout", ci=f"app{n}", service="") for n in range(3)]
INFO = event("backup", ci="lone", severity=Severity.INFO, service="")
ODD = event("fan", ci="lone", service="")
FEED: Feed = [
    (at(0), inventory(Ci("sw"), *(Ci(f"app{n}", depends_on=("sw",)) for n in range(3)))),
    (at(1), SWITCH),
    *((at(3 + n), app) for n, app in enumerate(APPS)),
    (at(7), INFO),
    (at(60), TICK),
    (at(3600), ODD),
    (at(4000), TICK),
]
OUTAGE, FAN = "INC-000001", "INC-000002"


async def test_an_incident_shows_its_root_with_the_evidence(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FEED) as desk:
        _, detail = await desk.get(f"incidents/{OUTAGE}")
        _, listed = await desk.get("incidents")

    (root, *_) = detail["roots"]
    assert (root["ci"], root["explains"], root["of"], root["lag"]) == ("sw", 4, 4, -2.0)
    assert root["text"] == (
        "3 of 3 CIs depend on sw; it alerted 2 s before the first of them; it depends on nothing"
    )
    assert (detail["merged_into"], detail["recurs"]) == (None, None)
    assert listed["items"][1]["roots"] == detail["roots"]


async def test_a_member_shows_what_connects_it_and_how_strongly(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FEED) as desk:
        _, alert = await desk.get(f"alerts/{APPS[1].fingerprint}")

    (why,) = alert["reasons"]
    because = why["because"]
    assert (why["kind"], why["incident"], alert["flapping"]) == ("joined", OUTAGE, False)
    assert (because["tie"], because["via"], because["hops"]) == ("depends", "sw", 1)
    assert because["score"] > because["needed"] == 0.3
    assert why["text"].startswith(f"in {OUTAGE}: depends on sw, which alerts, over 1 hop (0.85")


async def test_what_stands_alone_says_why(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FEED) as desk:
        _, alert = await desk.get(f"alerts/{INFO.fingerprint}")

    (why,) = alert["reasons"]
    assert (why["kind"], why["alone"], why["incident"]) == ("alone", "info", None)
    assert why["text"] == "alone: its source calls it information, which raises nothing"


async def test_a_merged_incident_answers_with_where_it_went(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FEED) as desk:
        body = {"into": OUTAGE, "actor": "ann", "text": "one outage"}
        status, said = await desk.post(f"incidents/{FAN}/merge", body, key="k")
        again, _ = await desk.post(f"incidents/{FAN}/merge", body, key="k")
        found, gone = await desk.get(f"incidents/{FAN}")
        _, into = await desk.get(f"incidents/{OUTAGE}")

    assert (status, again, found) == (200, 200, 200)
    assert (said["state"], said["merged_into"]) == ("closed", OUTAGE)
    assert [entry["kind"] for entry in gone["timeline"]] == ["opened", "merged", "closed"]
    assert into["timeline"][-1]["text"] == (f"{FAN} is one with it: ann merged them (one outage)")
    assert into["alerts"][-1]["because"]["text"] == "ann put it there (one outage)"
    assert wrong(tmp_path) == []


async def test_what_is_split_off_answers_with_its_incident(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FEED) as desk:
        body = {"alerts": [APPS[0].fingerprint], "actor": "ann", "text": "a deploy"}
        status, apart = await desk.post(f"incidents/{OUTAGE}/split", body, key="k")
        again, whole = await desk.post(f"incidents/{OUTAGE}/split", body, key="k")
        _, detail = await desk.get(f"incidents/{apart['id']}")
        _, rest = await desk.get(f"incidents/{OUTAGE}")

    assert (status, again, whole["id"]) == (201, 200, OUTAGE)
    assert (apart["title"], apart["rule"]) == ("timeout on app0", "operator")
    assert detail["timeline"][-1]["text"] == f"was part of {OUTAGE}: ann split it (a deploy)"
    assert APPS[0].fingerprint not in [one["fingerprint"] for one in rest["alerts"]]
    assert wrong(tmp_path) == []


async def test_what_is_detached_is_in_no_incident_and_says_who_did_it(tmp_path: Path) -> None:
    fingerprint = APPS[0].fingerprint
    async with api_desk(tmp_path, FEED) as desk:
        body = {"alert": fingerprint, "actor": "ann", "text": "a test"}
        status, _ = await desk.post(f"incidents/{OUTAGE}/detach", body)
        _, detail = await desk.get(f"incidents/{OUTAGE}")
        _, alert = await desk.get(f"alerts/{fingerprint}")

    assert status == 200
    assert detail["timeline"][-1]["kind"] == "detached"
    assert detail["timeline"][-1]["text"] == "ann took timeout on app0 out (a test)"
    assert fingerprint not in [one["fingerprint"] for one in detail["alerts"]]
    (why,) = alert["reasons"]
    assert (why["kind"], why["actor"], alert["incident"]) == ("detached", "ann", None)
    assert wrong(tmp_path) == []


async def test_orders_that_make_no_sense_are_answered_with_the_field(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FEED) as desk:
        answers = [
            await desk.post(f"incidents/{OUTAGE}/merge", {}),
            await desk.post(f"incidents/{OUTAGE}/merge", {"into": "INC-000009"}),
            await desk.post(f"incidents/{OUTAGE}/merge", {"into": OUTAGE}),
            await desk.post(f"incidents/{OUTAGE}/split", {"alerts": []}),
            await desk.post(f"incidents/{OUTAGE}/detach", {"alert": "f", "actor": ""}),
            await desk.post(f"incidents/{OUTAGE}/detach", {"alert": "f"}),
        ]

    assert [status for status, _ in answers] == [400, 404, 409, 400, 400, 404]
    assert answers[3][1]["field"] == "alerts"


async def test_the_shell_shows_an_incident_with_its_reasons(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FEED) as desk:
        shown = await desk.shell("incidents", "show", OUTAGE, "--why")
        same = await desk.shell("why", OUTAGE)
        listed = await desk.shell("incidents", "--json")

    assert shown.output == same.output
    assert "root 1: sw (" in shown.output
    assert "3 of 3 CIs depend on sw" in shown.output
    assert (
        "timeout on app0: depends on sw, which alerts, over 1 hop (0.85, needed 0.30)"
        in shown.output
    )
    assert [one["id"] for one in json.loads(listed.output)["items"]] == [FAN, OUTAGE]


async def test_the_shell_says_why_of_an_alert_and_of_a_ci(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FEED) as desk:
        alert = await desk.shell("why", APPS[0].fingerprint)
        ci = await desk.shell("why", "sw")
        lone = await desk.shell("why", "lone")
        as_json = await desk.shell("why", "sw", "--json")
        unknown = await desk.shell("why", "nowhere")

    assert alert.output.splitlines()[1].endswith(
        f"in {OUTAGE}: depends on sw, which alerts, over 1 hop (0.85, needed 0.30)"
    )
    assert f"sw is root 1 of {OUTAGE}: 3 of 3 CIs depend on sw" in ci.output
    assert "alone: its source calls it information" in lone.output
    assert json.loads(as_json.output)["roots"][0]["incident"] == OUTAGE
    assert (unknown.exit_code, unknown.output) == (1, "eventd: no alert is known on nowhere\n")


async def test_what_is_not_decided_yet_says_so(tmp_path: Path) -> None:
    young = event("young", ci="db7", service="")
    async with api_desk(tmp_path, [*FEED, (at(9000), young)]) as desk:
        said = await desk.shell("why", "db7")

    assert "in no incident: not enough speaks for one yet" in said.output


async def test_the_shell_merges_splits_and_detaches(tmp_path: Path) -> None:
    first, second = APPS[0].fingerprint, APPS[1].fingerprint
    async with api_desk(tmp_path, FEED) as desk:
        split = await desk.shell("incidents", "split", OUTAGE, first, "--text", "a deploy")
        detached = await desk.shell("incidents", "detach", OUTAGE, second)
        merged = await desk.shell("incidents", "merge", FAN, OUTAGE, "--actor", "ann")
        wrong_words = [
            await desk.shell("incidents", "merge", FAN),
            await desk.shell("incidents", "split", FAN),
            await desk.shell("incidents", "show"),
            await desk.shell("incidents", "ack"),
        ]

    assert split.output.startswith("INC-000003")
    assert detached.output.startswith(OUTAGE)
    assert f"merged into {OUTAGE}" in merged.output
    assert [one.exit_code for one in wrong_words] == [2, 2, 2, 2]
    assert wrong(tmp_path) == []


async def test_incidents_of_rules_are_listed_without_a_root(tmp_path: Path) -> None:
    feed: Feed = [(at(0), load(group_rule())), (at(1), event("disk"))]
    async with api_desk(tmp_path, feed) as desk:
        listed = await desk.shell("incidents")
        one = await desk.shell("incidents", "INC-000001")

    assert "INC-000001" in listed.output
    assert "root" not in one.output


@pytest.mark.parametrize(
    ("query", "field", "expected"),
    [
        ("incidents?state=opened", "state", "one of open, resolved, closed, got 'opened'"),
        ("incidents?priority=9", "priority", "P1 to P5"),
        ("alerts?status=fireing", "status", "one of firing, cleared, got 'fireing'"),
        ("alerts?status=heartbeat", "status", "one of firing, cleared"),
        ("inventory/gaps?kind=foo", "kind", "one of ci, service, got 'foo'"),
        *(
            (f"{path}?after=zzz", "after", "the `next` of another page, got 'zzz'")
            for path in (
                "incidents", "alerts", "silences", "maintenance", "audit", "streams", "rules",
            )
        ),
        ("inventory/gaps?after=1:foo:a", "after", "the `next` of another page"),
    ],
)  # fmt: skip
async def test_a_mistyped_filter_is_told_what_is_expected(
    tmp_path: Path, query: str, field: str, expected: str
) -> None:
    async with api_desk(tmp_path, FEED) as desk:
        status, problem = await desk.get(query)

    assert (status, problem["field"]) == (400, field)
    assert f"expected {expected}" in problem["detail"]


async def test_without_an_inventory_nothing_is_said_to_be_in_it(tmp_path: Path) -> None:
    async with api_desk(tmp_path, FEED[1:]) as desk:
        status, problem = await desk.get("inventory/gaps")
        said = await desk.shell("inventory", "gaps")

    assert (status, problem["detail"]) == (404, "no inventory is loaded")
    assert (said.exit_code, said.output) == (1, "eventd: not found: no inventory is loaded\n")


async def test_every_word_a_filter_takes_is_in_the_description_and_answered(
    tmp_path: Path,
) -> None:
    async with api_desk(tmp_path, FEED) as desk:
        _, description = await desk.get("openapi.json")
        asked = [
            (path.removeprefix("/api/v1/"), one["name"], word)
            for path, methods in description["paths"].items()
            for one in methods.get("get", {}).get("parameters", ())
            for word in one["schema"].get("enum", ())
        ]
        answers = [(await desk.get(f"{path}?{name}={word}"))[0] for path, name, word in asked]

    assert {(path, name) for path, name, _ in asked} == {
        ("incidents", "state"), ("alerts", "status"), ("inventory/gaps", "kind"),
    }  # fmt: skip
    assert answers == [200] * 7
