"""How many alerts are wanted, and what one takes by that."""

from __future__ import annotations

import pytest
from bench.budget import measure
from hypothesis import given
from hypothesis import strategies as st

from eventd.core.rules.budget import BEGINS, FEW, PLAIN, STEP, Budget, tempered
from eventd.core.scoring.scorer import HALF

surprises = st.floats(0.0, 1e6)


@given(surprises, surprises)
def test_what_is_stranger_stays_so_but_never_by_much(one: float, other: float) -> None:
    low, high = sorted((one, other))

    assert tempered(low) <= tempered(high) <= PLAIN + 7
    assert tempered(min(low, PLAIN)) == min(low, PLAIN)


def test_ten_times_as_many_streams_ask_a_decade_more_at_first() -> None:
    budget, few = Budget(1e-6), HALF + BEGINS * STEP

    for streams in range(1, 101):
        budget.share(streams)
        assert streams > FEW or budget.needed == few

    assert budget.needed == pytest.approx(few + 1.0)


def test_over_a_month_no_more_false_alarms_come_than_the_budget_and_a_quarter() -> None:
    """And a larger budget finds more; bench/budget.py does so with 500 streams and ten seeds."""
    found = measure(0, count=21, days=17, budgets=("2 per week", "8 per week"))

    assert 0.4 <= found["of budget, 2 per week"] <= 1.25
    assert found["of budget, 8 per week"] <= 1.25
    assert found["found, 8 per week"] > found["found, 2 per week"]
