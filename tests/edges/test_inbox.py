"""Who gets into a full inbox, and what is left of one."""

from __future__ import annotations

import asyncio
import gc
import weakref
from functools import partial
from pathlib import Path

import pytest
from tests.builders import at, event, group_rule, load
from tests.edges.store_desk import alive

from eventd.core.model import Delivery
from eventd.errors import Overloaded
from eventd.runtime import DELIVERY_OVERHEAD, Inbox, Submission


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


def test_an_inbox_left_with_what_waited_in_it_is_forgotten() -> None:
    inbox = Inbox(1_000)
    gone = weakref.ref(inbox)

    # as a source does, whose sessions know their inbox
    inbox.put(Submission((), partial(lambda _inbox, _result: None, inbox)))
    del inbox
    gc.collect()

    assert gone() is None
