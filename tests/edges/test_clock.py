"""The clock of the program, while the one of the machine is set (D20)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from eventd import clock
from eventd.clock import SystemClock

HOUR, YEAR = timedelta(hours=1), timedelta(days=365)


class Machine:
    """What it says, in place of the modules that are asked; `elapsed` seconds since its start."""

    def __init__(self) -> None:
        self.start = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
        self.elapsed, self.set_by = 0.0, timedelta()

    def now(self, zone: object) -> datetime:
        return self.start + timedelta(seconds=self.elapsed) + self.set_by

    def monotonic(self) -> float:
        return self.elapsed


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(clock, "datetime", made)
    monkeypatch.setattr(clock, "time", made)
    return made


@pytest.mark.parametrize("jump", [-HOUR, HOUR, YEAR, -YEAR])
def test_a_clock_that_is_set_moves_time_by_no_more_than_half_a_percent(
    machine: Machine, jump: timedelta
) -> None:
    ours, told = SystemClock(), []

    for second in range(600):
        machine.elapsed = float(second)
        machine.set_by = jump if second >= 60 else timedelta()
        told.append(ours.now())

    steps = [(after - before).total_seconds() for before, after in pairwise(told)]
    assert min(steps) >= 0.995
    assert max(steps) <= 1.005
    assert ours.drift() == pytest.approx(jump.total_seconds(), abs=3.0)


def test_a_small_difference_is_made_up_for(machine: Machine) -> None:
    ours = SystemClock()
    machine.set_by = timedelta(seconds=1)

    for second in range(1, 300):
        machine.elapsed = float(second)
        ours.now()

    assert ours.drift() == pytest.approx(0.0, abs=0.001)


def test_a_start_before_the_last_time_known_goes_on_from_there(machine: Machine) -> None:
    last = machine.start + HOUR

    ours = SystemClock(not_before=last)
    machine.elapsed = 10.0

    assert timedelta(seconds=9.9) <= ours.now() - last <= timedelta(seconds=10)


def test_the_real_one_is_the_systems() -> None:
    ours = SystemClock()
    before = time.monotonic()

    first, second = ours.now(), ours.now()

    assert second >= first
    assert abs(ours.drift()) <= 0.1 + time.monotonic() - before
