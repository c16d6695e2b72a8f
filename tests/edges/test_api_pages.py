"""Answers of many parts: one state of the tables, and never larger than there is room for."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from tests.builders import Feed, at, event, group_rule, inventory, load, maintenance, silence
from tests.edges.api_desk import api_desk

from eventd.core.model import Close, Comment, Detach, Fact, Merge, Service
from eventd.store.reader import State
from eventd.web import pages
from eventd.web.views import stream_id

INCIDENT = "INC-000001"
MEMBERS = [event(f"a{n:02}") for n in range(20)]
FEED: Feed = [(at(0), load(group_rule())), *((at(1 + n), one) for n, one in enumerate(MEMBERS))]


async def test_an_incident_is_shown_as_it_was_at_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, timeline = asyncio.get_running_loop(), State.timeline

    async with api_desk(tmp_path, FEED) as desk:

        def closed_meanwhile(state: State, incident: str) -> Iterator[tuple[int, Fact]]:
            closing = desk.life.submit(at(30), Close(INCIDENT, "bob"))
            asyncio.run_coroutine_threadsafe(closing, loop).result()
            return timeline(state, incident)

        monkeypatch.setattr(State, "timeline", closed_meanwhile)
        _, before = await desk.get(f"incidents/{INCIDENT}")
        monkeypatch.undo()
        _, after = await desk.get(f"incidents/{INCIDENT}")

    assert (before["state"], before["timeline"][-1]["kind"]) == ("open", "opened")
    assert (after["state"], after["timeline"][-1]["kind"]) == ("closed", "closed")


async def test_of_a_long_timeline_the_opening_and_the_newest_are_shown_and_how_many_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "TIMELINE_BYTES", 4_000)
    said = [f"{n:02} {'x' * 1_000}" for n in range(20)]

    async with api_desk(tmp_path, FEED) as desk:
        _, whole = await desk.get(f"incidents/{INCIDENT}")
        for text in said:
            await desk.life.submit(at(40), Comment(INCIDENT, "ann", text))
        _, part = await desk.get(f"incidents/{INCIDENT}")
        shown = await desk.shell("incidents", "show", INCIDENT)

    assert (len(whole["timeline"]), whole["timeline_left_out"]) == (1, 0)
    first, *newest = part["timeline"]
    assert first == whole["timeline"][0]
    assert [entry["text"] for entry in newest] == said[-4:]
    assert part["timeline_left_out"] == 16
    assert "16 more, too many to show" in shown.output.splitlines()[4]


async def test_of_many_alerts_the_newest_are_shown_and_how_many_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api_desk(tmp_path, FEED) as desk:
        _, whole = await desk.get(f"incidents/{INCIDENT}")
        await desk.life.submit(at(40), Detach(INCIDENT, MEMBERS[-2].fingerprint, "ann"))
        monkeypatch.setattr(pages, "DETAIL_BYTES", pages.TIMELINE_BYTES + 4_000)
        _, part = await desk.get(f"incidents/{INCIDENT}")
        shown = await desk.shell("incidents", "show", INCIDENT)

    names = [one["alert"]["name"] for one in whole["alerts"]]
    assert (names, whole["alerts_left_out"]) == ([one.name for one in MEMBERS], 0)
    newest = [one["alert"]["name"] for one in part["alerts"]]
    assert 2 < len(newest) < 9
    assert newest == [*names[:-2], names[-1]][-len(newest) :]
    assert part["alerts_left_out"] == 19 - len(newest)
    assert part["timeline"][-1]["text"] == "ann took a18 on db1 out"
    assert f"{part['alerts_left_out']} joined before, too many to show" in shown.output


async def test_alerts_that_came_with_a_merge_are_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "DETAIL_BYTES", pages.TIMELINE_BYTES + 1)
    others: Feed = [(at(30 + n), event(f"b{n}", service="bank")) for n in range(3)]

    async with api_desk(tmp_path, [*FEED, *others]) as desk:
        await desk.life.submit(at(40), Merge(INCIDENT, "INC-000002", "ann"))
        _, into = await desk.get("incidents/INC-000002")
        _, gone = await desk.get(f"incidents/{INCIDENT}")

    assert (len(into["alerts"]), into["alerts_left_out"]) == (1, 22)
    assert (len(gone["alerts"]), gone["alerts_left_out"]) == (1, 19)


LISTS = {
    "alerts?incident=INC-000001": "fingerprint",
    "incidents": "id",
    "silences": "id",
    "maintenance": "id",
    "audit": "id",
    "streams": "id",
    "inventory/gaps": "name",
    "rules": "name",
}
ODD: dict[str, object] = {"name": "odd", "anomaly": {"match": 'name="load"'}, "by": ["ci"]}
NONE = [group_rule(f"r{8 - n}", 'name="none"') for n in range(9)]
EVERYTHING: Feed = [
    (at(0), load(group_rule(), ODD, *NONE)),
    (at(0), inventory(Service("bank"))),
    *FEED[1:],
    *((at(30 + n), event("load", ci=f"h{n}", service=f"s{n}", value=1.0)) for n in range(9)),
    *((at(40 + n), silence(f'name="{n}"', at(9_000))) for n in range(9)),
    *((at(50 + n), maintenance(f"CHG{n}", starts=900, ends=990)) for n in range(9)),
]


@pytest.mark.parametrize("path", LISTS)
async def test_a_page_ends_where_it_is_full_and_the_pages_hold_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    joint = "&" if "?" in path else "?"
    async with api_desk(tmp_path, EVERYTHING) as desk:
        _, whole = await desk.get(path)
        _, description = await desk.get("openapi.json")
        monkeypatch.setattr(pages, "PAGE_BYTES", 200)
        found, sizes, after = [], [], ""
        while after is not None:
            _, part = await desk.get(f"{path}{joint}limit=7&after={after}")
            found += part["items"]
            sizes.append(len(part["items"]))
            after = part["next"]

    names = [one[LISTS[path]] for one in whole["items"]]
    assert len(names) == len(set(names)) >= 9
    assert [one[LISTS[path]] for one in found] == names
    assert min(sizes) >= 1
    assert any(size < 7 for size in sizes[:-1])
    operation = description["paths"][f"/api/v1/{path.partition('?')[0]}"]["get"]
    assert {"limit", "after"} <= {one["name"] for one in operation["parameters"]}


LONG = "\u65e5" * 1_000  # 9,000 bytes in a URL, and a line may have 8,190
NAMES = sorted(["a", "z", LONG, *(f"{LONG}{n}" for n in range(6)), f"{LONG[:99]}b", "\0" * 999])
LONG_NAMES: Feed = [
    (at(0), load({**ODD, "by": ["ci", "path"]})),
    (at(0), inventory(Service("bank"))),
    *(
        (at(1 + n), event("load", ci=ci, service="", value=1.0, labels={"path": f"{n}{LONG * 4}"}))
        for n, ci in enumerate(NAMES)
    ),
]


@pytest.mark.parametrize("path", ["streams", "inventory/gaps"])
async def test_after_a_name_however_long_a_list_goes_on(tmp_path: Path, path: str) -> None:
    async with api_desk(tmp_path, LONG_NAMES) as desk:
        _, whole = await desk.get(path)
        found, after = [], ""
        while after is not None:
            _, part = await desk.get(f"{path}?limit=1&after={quote(after)}")
            found += part["items"]
            after = part["next"]

    assert found == whole["items"]
    assert (
        sorted(one["group"]["ci"] if path == "streams" else one["name"] for one in found) == NAMES
    )


async def test_a_stream_of_a_long_name_is_drawn_and_where_it_is_gone_the_list_goes_on(
    tmp_path: Path,
) -> None:
    async with api_desk(tmp_path, LONG_NAMES) as desk:
        _, page = await desk.get("streams")
        drawn = [await desk.text(f"streams/{one['id']}/plot.svg") for one in page["items"]]
        gone = stream_id("odd", ("y" * 999, LONG))
        missing, _, _ = await desk.text(f"streams/{gone}/plot.svg")
        _, rest = await desk.get(f"streams?after={gone}")

    for one, (status, _, picture) in zip(page["items"], drawn, strict=True):
        assert (status, f", path {one['group']['path']}" in picture) == (200, True)
    assert missing == 404
    named = [one["group"]["ci"] for one in rest["items"]]
    assert named == [name for name in NAMES if name > "y"]


async def test_a_row_larger_than_a_page_is_shown_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES", 1)

    async with api_desk(tmp_path, FEED) as desk:
        _, page = await desk.get("alerts")
        listed = await desk.shell("alerts", "--json")

    assert [one["fingerprint"] for one in page["items"]] == [page["next"]]
    names = sorted(one["name"] for one in json.loads(listed.output)["items"])
    assert names == [one.name for one in MEMBERS]


@pytest.mark.parametrize("path", ["alerts", "incidents", f"incidents/{INCIDENT}", "audit"])
async def test_what_is_shown_is_encoded_off_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    encoding: set[threading.Thread] = set()

    def noted(value: object) -> bytes:
        encoding.add(threading.current_thread())
        return msgspec.json.encode(value)

    async with api_desk(tmp_path, FEED) as desk:
        monkeypatch.setattr(pages, "encode", noted)
        status, _ = await desk.get(path)

    assert (status, len(encoding)) == (200, 1)
    assert threading.current_thread() not in encoding
