"""What operators ask for over HTTP: what of it cannot be taken is told, and harms nobody."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.builders import at
from tests.edges.api_desk import api_desk

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


async def test_a_parameter_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    async with api_desk(tmp_path, []) as desk:
        status, told = await desk.get("incidents?state=resolved&state=open")

    assert (status, told["detail"]) == (400, "expected one value, got several")
    assert told["field"] == "state"


async def test_what_ends_a_silence_has_an_actor_and_no_text(tmp_path: Path) -> None:
    async with api_desk(tmp_path, []) as desk:
        _, document = await desk.get("openapi.json")

    body = document["paths"]["/api/v1/silences/{id}"]["delete"]["requestBody"]
    name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert set(document["components"]["schemas"][name]["properties"]) == {"actor"}
