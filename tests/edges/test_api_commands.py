"""What operators ask for over HTTP: what of it cannot be taken is told, and harms nobody."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.builders import Feed, at, event, group_rule, load
from tests.edges.api_desk import api_desk

from eventd.errors import StoreFull
from eventd.runtime import Batch

COMMENT = b"POST /api/v1/incidents/INC-000001/comment HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
BODY = b'Content-Length: 12\r\n\r\n{"text":"a"}'


@pytest.mark.parametrize(
    "header", [b"Content-Type: application/json; x=\xff\r\n", b"Idempotency-Key: \xed\xa0\x80\r\n"]
)
async def test_a_header_that_is_no_utf8_is_refused_and_the_next_command_is_taken(
    tmp_path: Path, header: bytes
) -> None:
    async with api_desk(tmp_path, []) as desk:
        refused = await desk.say(COMMENT + header + BODY)
        taken = await desk.say(COMMENT + BODY)

    assert refused.startswith(b"HTTP/1.1 400 ")
    assert b"path, query or a header is not UTF-8" in refused
    assert taken.startswith(b"HTTP/1.1 404 ")  # there is no such incident


@pytest.mark.parametrize("now", [at(0), at(100 * 365 * 86_400)])
async def test_a_silence_lasts_as_long_as_it_says_wherever_the_wall_clock_stands(
    tmp_path: Path, now: datetime
) -> None:
    async with api_desk(tmp_path, []) as desk:
        desk.life.clock.at = now
        asked = {"matchers": 'name="x"', "comment": "c", "for": "30m"}
        status, made = await desk.post("silences", asked)

    assert (status, datetime.fromisoformat(made["ends_at"])) == (201, now + timedelta(minutes=30))


async def test_text_about_nul_is_no_nul(tmp_path: Path) -> None:
    async with api_desk(tmp_path, []) as desk:
        said = {"matchers": "a=1", "for": "30m"}
        taken = await desk.post("silences", {**said, "comment": "sends \\u0000 as text"})
        refused = await desk.post("silences", {**said, "comment": "\\\0"})

    assert (taken[0], taken[1]["comment"], refused[0]) == (201, "sends \\u0000 as text", 400)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("silences", {"matchers": 'name="x"', "comment": "c", "for": "30m"}),
        ("incidents/INC-000001/comment", {"text": "there is no such incident"}),
    ],
)
async def test_no_command_is_answered_as_one_that_was_taken_once_the_store_has_failed(
    tmp_path: Path, path: str, asked: dict[str, str]
) -> None:
    async with api_desk(tmp_path, []) as desk:
        desk.life.runtime.inbox.failed = lambda: True
        status, said = await desk.post(path, asked)

    assert (status, said["detail"]) == (503, "the store has failed; try again")


@pytest.mark.parametrize("lasting", ["3650d", "2 hours"])
async def test_a_silence_that_is_too_long_is_told_how_long_one_may_be(
    tmp_path: Path, lasting: str
) -> None:
    async with api_desk(tmp_path, []) as desk:
        said = await desk.shell("silence", "add", 'ci="x"', "--for", lasting, "--comment", "c")

    expected = 'expected a duration such as "2h", from 1ms to 366d'
    assert said.output == f"eventd: bad request: for: {expected}, got '{lasting}'\n"


async def test_a_parameter_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    async with api_desk(tmp_path, []) as desk:
        status, told = await desk.get("incidents?state=resolved&state=open")

    assert (status, told["detail"]) == (400, "expected one value, got several")
    assert told["field"] == "state"


@pytest.mark.parametrize("op", ["==", "~", "!", "", "=! "])
async def test_a_silence_with_an_unknown_operator_is_refused(tmp_path: Path, op: str) -> None:
    """It would be heard as its opposite."""
    matcher = {"label": "ci", "op": op, "value": "db1"}
    async with api_desk(tmp_path, []) as desk:
        wrong = {"matchers": [matcher], "comment": "c", "for": "30m"}
        status, told = await desk.post("silences", wrong)
        nameless = {**wrong, "matchers": [{**matcher, "op": "!=", "label": ""}]}
        refused, _ = await desk.post("silences", nameless)

    assert (status, told["field"]) == (400, "matchers[0].op")
    assert told["expected"] == "one of = != =~ !~ < <= > >="
    assert refused == 400


async def test_what_ends_a_silence_has_an_actor_and_no_text(tmp_path: Path) -> None:
    async with api_desk(tmp_path, []) as desk:
        _, document = await desk.get("openapi.json")

    body = document["paths"]["/api/v1/silences/{id}"]["delete"]["requestBody"]
    name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert set(document["components"]["schemas"][name]["properties"]) == {"actor"}


@pytest.mark.parametrize(("full", "why"), [(True, "the disk is full"), (False, "it is not done")])
async def test_a_command_that_waits_too_long_may_still_be_done_and_counts_once_with_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, full: bool, why: str
) -> None:
    monkeypatch.setattr("eventd.web.api.COMMIT_WITHIN", 0.05)
    there_is_room = asyncio.Event()
    async with api_desk(tmp_path, [(at(0), load(group_rule())), (at(1), event("a"))]) as desk:
        commit = desk.life.store.commit

        async def slow(batch: Batch) -> None:
            if full and not there_is_room.is_set():
                raise StoreFull("no space left")
            await there_is_room.wait()
            await commit(batch)

        monkeypatch.setattr(desk.life.store, "commit", slow)
        place, said = "incidents/INC-000001/comment", {"actor": "ann", "text": "once"}
        status, answer = await desk.post(place, said, "key")
        await desk.post(place, said, "key")
        there_is_room.set()
        await desk.life.submit(at(2), event("b"))
        _, shown = await desk.get("incidents/INC-000001")

    assert status == 503
    assert answer["detail"].startswith(why)
    assert answer["detail"].endswith("send it again with the same Idempotency-Key")
    assert [one["text"] for one in shown["timeline"] if one["kind"] == "commented"] == ["once"]


async def test_what_commands_take_and_what_they_are_answered_is_described(tmp_path: Path) -> None:
    feed: Feed = [(at(0), load(group_rule())), (at(1), event("a")), (at(1), event("b"))]
    async with api_desk(tmp_path, feed) as desk:
        _, description = await desk.get("openapi.json")
        silence = {"matchers": 'name="x"', "comment": "c", "for": "30m"}
        split = {"alerts": [event("a").fingerprint]}
        again = [
            await desk.post(path, body, "key")
            for path, body in (("silences", silence), ("incidents/INC-000001/split", split))
            for _ in range(2)
        ]
        wrong = [
            await desk.post("incidents/INC-000001/acknowledge", {"actor": "a", "text": "mine"}),
            await desk.post("incidents/INC-000001/comment", {"actor": "a"}),
        ]

    paths, schemas = description["paths"], description["components"]["schemas"]
    base = "/api/v1/incidents/{id}"
    assert [status for status, _ in again] == [201, 200, 201, 200]
    assert again[1][1] == {}
    for path in ("/api/v1/silences", f"{base}/split"):
        assert list(paths[path]["post"]["responses"]) == ["200", "201", "default"]
    taken = [
        paths[f"{base}/{action}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        for action in ("acknowledge", "comment", "resolve")
    ]
    assert taken == [{"$ref": f"#/components/schemas/{n}"} for n in ("Taking", "Commenting", "Act")]
    assert list(schemas["Taking"]["properties"]) == ["actor"]
    assert schemas["Commenting"]["required"] == ["text"]
    problem = schemas["Problem"]
    assert problem["required"] == ["type", "title", "status", "detail"]
    assert [status for status, _ in wrong] == [400, 400]
    assert all(set(said) <= set(problem["properties"]) for _, said in wrong)
    assert {"field", "expected", "offset"} <= set(problem["properties"])
