"""What an alert is in the end, however its events come: out of order, late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.builders import at, engine_after, event

from eventd.core.engine import Engine
from eventd.core.model import Alert, Severity, Status


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

    newest = said[-1]
    alert = believed(engine)
    assert alert.status is newest.status
    if newest.status is Status.FIRING:
        assert alert.severity is newest.severity


def believed(engine: Engine) -> Alert:
    """The one alert, also where it never fired."""
    (record,) = engine.table.records.values()
    return record.value()
