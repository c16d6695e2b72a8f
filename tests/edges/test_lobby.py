"""Bodies that are read and wait to be decoded: how many bytes of them, and who comes when."""

from __future__ import annotations

import asyncio

import pytest

from eventd.errors import Overloaded, OverShare
from eventd.sources.lobby import Guest, Lobby


def test_a_source_finds_room_while_it_holds_no_more_than_is_free() -> None:
    lobby = Lobby(1_000)
    flood, quiet = Guest(lobby, "flood"), Guest(lobby, "quiet")
    flood.take(500)

    with pytest.raises(OverShare):
        flood.take(1)
    quiet.take(250)
    with pytest.raises(OverShare):
        quiet.take(1)
    with pytest.raises(Overloaded, match="the inbox is full"):
        quiet.take(300)
    flood.leave()
    flood.leave()
    quiet.take(250)

    quiet.leave()
    flood.take(500)


async def test_one_of_each_source_has_its_turn_in_a_round() -> None:
    lobby, told = Lobby(1_000), list[str]()

    async def decode(source: str) -> None:
        await lobby.turn(source)
        told.append(source)

    async with asyncio.TaskGroup() as group:
        for source in ["flood"] * 9 + ["quiet"] * 2:
            group.create_task(decode(source))

    assert told[:2] == ["flood", "quiet"]
    assert told.index("quiet", 2) <= 4
    assert told.count("flood") == 9


async def test_who_has_gone_is_passed_over_and_nothing_is_left() -> None:
    lobby = Lobby(1_000)

    async def leave(task: asyncio.Task[None]) -> None:
        task.cancel()

    async with asyncio.TaskGroup() as group:
        _, gone, _ = (group.create_task(lobby.turn("a")) for _ in range(3))
        group.create_task(leave(gone))

    assert gone.cancelled()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert lobby._next == {}
