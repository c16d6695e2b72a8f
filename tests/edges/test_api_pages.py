"""Answers of many parts: one state of the tables, and never larger than there is room for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.builders import Feed, at, event, group_rule, load
from tests.edges.api_desk import api_desk

from eventd.core.model import Close, Comment, Detach, Fact, Merge
from eventd.store.reader import State
from eventd.web import pages

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
        monkeypatch.setattr(pages, "PAGE_BYTES", pages.TIMELINE_BYTES + 4_000)
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
    monkeypatch.setattr(pages, "PAGE_BYTES", pages.TIMELINE_BYTES + 1)
    others: Feed = [(at(30 + n), event(f"b{n}", service="bank")) for n in range(3)]

    async with api_desk(tmp_path, [*FEED, *others]) as desk:
        await desk.life.submit(at(40), Merge(INCIDENT, "INC-000002", "ann"))
        _, into = await desk.get("incidents/INC-000002")
        _, gone = await desk.get(f"incidents/{INCIDENT}")

    assert (len(into["alerts"]), into["alerts_left_out"]) == (1, 22)
    assert (len(gone["alerts"]), gone["alerts_left_out"]) == (1, 19)
