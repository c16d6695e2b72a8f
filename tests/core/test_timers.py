"""Timers: one a key, in a fixed order, bounded."""

from __future__ import annotations

from tests.builders import at

from eventd.core.timers import Timers


def test_timers_are_popped_in_the_order_of_their_time_then_of_their_setting() -> None:
    timers = Timers[str]()
    for key, second in (("late", 3), ("b", 2), ("a", 2), ("later", 9)):
        timers.set(key, at(second))

    assert list(timers.pop_due(at(3))) == [(at(2), "b"), (at(2), "a"), (at(3), "late")]
    assert timers.next() == at(9)


def test_a_timer_set_again_is_moved() -> None:
    timers = Timers[str]()
    timers.set("x", at(5))

    timers.set("x", at(9))
    assert (timers.next(), timers.get("x"), len(timers)) == (at(9), at(9), 1)
    timers.set("x", at(1))
    assert (timers.next(), timers.get("x"), len(timers)) == (at(1), at(1), 1)


def test_a_cancelled_timer_does_not_fire() -> None:
    timers = Timers[str]()
    timers.set("x", at(1))

    timers.cancel("x")
    timers.cancel("never set")

    assert (timers.next(), timers.get("x")) == (None, None)
    assert list(timers.pop_due(at(9))) == []


def test_timers_set_anew_in_the_order_of_items_fire_the_same() -> None:
    timers, twin = Timers[str](), Timers[str]()
    for key, second in (("b", 2), ("c", 1), ("a", 2), ("b", 2)):
        timers.set(key, at(second))

    for key, due in timers.items():
        twin.set(key, due)

    assert list(twin.pop_due(at(9))) == list(timers.pop_due(at(9)))


def test_moving_and_cancelling_without_end_takes_bounded_room() -> None:
    timers = Timers[int]()

    for number in range(10_000):
        timers.set(number, at(number))
        timers.cancel(number)
    timers.set(-1, at(5))

    assert len(timers._heap) < 100
    assert list(timers.pop_due(at(99_999))) == [(at(5), -1)]
