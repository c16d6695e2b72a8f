"""What runs beside everything while the daemon serves."""

from __future__ import annotations

import asyncio
import gc
import weakref

from eventd.app import sweep


class Knot:
    """Names itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.itself = self


async def test_what_only_the_collector_can_free_does_not_wait_until_there_is_much_of_it() -> None:
    gc.collect()
    gc.disable()
    try:
        knot = weakref.ref(Knot())
        async with asyncio.TaskGroup() as group:
            sweeping = group.create_task(sweep(0.001))
            async with asyncio.timeout(10):
                while knot() is not None:
                    await asyncio.sleep(0.001)
            sweeping.cancel()
    finally:
        gc.enable()
