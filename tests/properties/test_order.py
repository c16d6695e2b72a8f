"""What an alert is in the end, however its events come: out of order, late, again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.builders import at, engine_after, event

from eventd.core.engine import Engine
from eventd.core.model import Arrival, Event, Severity, Status

pytestmark = pytest.mark.usefixtures("unmeasured")


@given(st.data(), st.integers(-250, 1_000_000))
def test_timed_events_in_any_order_end_as_the_newest_says(data: st.DataObject, ahead: int) -> None:
    """`ahead`: seconds the engine's clock is before the source's."""
    said = [
        event(
            status=data.draw(st.sampled_from((Status.FIRING, Status.CLEARED))),
            severity=data.draw(st.sampled_from(Severity)),
            id=f"id{second}",
            occurred_at=at(second),
        )
        for second in range(data.draw(st.integers(1, 6)))
    ]
    untimed = [event(payload=f"{n}") for n in range(data.draw(st.integers(0, 2)))]

    engine = engine_after(
        [(at(ahead), one) for one in (*untimed, *data.draw(st.permutations(said)))]
    )

    agrees(engine, said[-1])


@given(st.data())
def test_a_stream_that_the_broker_repeats_ends_as_its_last_event_says(data: st.DataObject) -> None:
    stream = [one(data, number) for number in range(data.draw(st.integers(1, 5)))]
    engine = Engine()
    first = reached = sent = 0

    for _ in range(data.draw(st.integers(0, 3))):
        # it goes on where it was acknowledged, as far as the connection holds
        first = data.draw(st.integers(first, reached))
        reached = data.draw(st.integers(first, len(stream)))
        deliver(engine, stream[first:reached], sent - first)
        sent = max(sent, data.draw(st.integers(reached, len(stream))))
    deliver(engine, stream[first:], sent - first)

    agrees(engine, stream[-1])


def deliver(engine: Engine, events: list[Event], again: int) -> None:
    """The first `again` of them were sent before."""
    for number, one in enumerate(events):
        arrival = Arrival.REDELIVERED if number < again else Arrival.LIVE
        engine.step(replace(one, arrival=arrival), at(0))


def one(data: st.DataObject, number: int) -> Event:
    """A firing or a clear, with a key of its own or a weak one."""
    return event(
        status=data.draw(st.sampled_from((Status.FIRING, Status.CLEARED))),
        severity=data.draw(st.sampled_from((Severity.MINOR, Severity.MAJOR))),
        id=data.draw(st.sampled_from(("", f"id{number}"))),
        payload=f"{number}",
    )


def agrees(engine: Engine, newest: Event) -> None:
    """Assert that the one alert is as the event says, also where it never fired."""
    (record,) = engine.table.records.values()
    assert record.status is newest.status
    if newest.status is Status.FIRING:
        assert record.severity is newest.severity
