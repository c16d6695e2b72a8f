"""Whatever happens in a life: after kill -9 and after a clean stop the state is the same."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from tests.builders import Feed
from tests.edges.store_desk import alive, killed, wrong
from tests.properties.feeds import feeds


def frames(engine: object) -> list[bytes]:
    return list(engine.snapshot().frames())  # type: ignore[attr-defined]


@settings(max_examples=60)
@given(feeds(), feeds())
def test_a_kill_and_a_clean_stop_lead_to_the_state_that_was(first: Feed, second: Feed) -> None:
    async def live(folder: Path) -> None:
        state = folder / "state"
        async with alive(state) as life:
            await life.feed(first)
            await life.runtime.submit(())  # what was due at once is decided, and committed
            before = frames(life.runtime.engine)
            grave = killed(state, folder / "killed")
        assert wrong(state) == []
        assert wrong(grave) == []

        async with alive(grave) as revived:
            assert revived.recovered.diverged == 0
            assert frames(revived.runtime.engine) == before
        async with alive(state) as restarted:
            assert restarted.recovered.replayed == 0
            assert frames(restarted.runtime.engine) == before
            later = restarted.clock.at
            await restarted.feed([(max(now, later), item) for now, item in second], flush=True)
        assert wrong(state) == []
        assert wrong(grave) == []

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(live(Path(name)))
