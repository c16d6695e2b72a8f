"""What all rules that watch rates, silences or what is new show of their budget."""

from __future__ import annotations

import pytest
from tests.builders import at, engine_with, event, run
from tests.core import test_novelty, test_rates, test_silences

from eventd.core.engine import Engine
from eventd.core.model import Status
from eventd.core.rules.budget import Share


def share(engine: Engine) -> Share:
    (state,) = engine.rules.budgeted.values()
    return state.share()


@pytest.mark.parametrize("of", ["rates", "silences", "new"])
def test_what_was_hardly_heard_is_young(of: str) -> None:
    rule: dict[str, object] = {
        "name": "it",
        "anomaly": {"match": 'status="info"', "of": of},
        "by": ["ci"],
    }
    engine = engine_with(rule)

    run(engine, [(at(n), event(ci=f"c{n % 2}", status=Status.INFO)) for n in range(9)])

    assert share(engine)[2:] == (2, 2, 0)


@pytest.mark.parametrize("kind", [test_novelty, test_rates, test_silences])
def test_what_was_heard_for_two_weeks_is_not(kind: object) -> None:
    found = share(kind.two_weeks())  # type: ignore[attr-defined]

    assert found.rate == pytest.approx(2 / (7 * 86_400))
    assert found.young < found.streams
