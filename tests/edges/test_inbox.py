"""Who gets into a full inbox."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.builders import at, event, group_rule, load
from tests.edges.store_desk import alive

from eventd.core.model import Delivery
from eventd.errors import Overloaded
from eventd.runtime import DELIVERY_OVERHEAD


async def test_what_is_eventds_own_has_room_in_a_full_inbox(tmp_path: Path) -> None:
    delivery = Delivery(transport="http", received_at=at(0), payload=b"{}", source="zabbix")
    async with alive(tmp_path) as life, asyncio.TaskGroup() as tasks:
        life.inbox.max_bytes = DELIVERY_OVERHEAD + len(delivery.payload)
        tasks.create_task(life.runtime.submit((event("a"),), delivery))
        await asyncio.sleep(0)

        with pytest.raises(Overloaded):
            await life.runtime.submit((event("b"),), delivery)
        probed = await life.runtime.submit(())
        loaded = await life.runtime.submit((load(group_rule()),))

    assert (probed.accepted, loaded.accepted) == (0, 1)
