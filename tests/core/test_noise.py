"""What experience says of checks, and of clocks."""

from __future__ import annotations

from eventd.core.correlation.noise import Noise
from eventd.core.correlation.onset import Onsets


def test_a_check_is_noisy_after_three_blips_and_until_it_was_right_as_often() -> None:
    noise = Noise([])
    verdicts = []
    for _ in range(3):
        noise.blip("cpu")
        verdicts.append(noise.of("cpu").noisy)
    for _ in range(2):
        noise.real("cpu")
        verdicts.append(noise.of("cpu").noisy)

    assert verdicts == [False, False, True, True, False]
    assert len(noise) == 1


def test_a_check_is_proven_when_it_was_right_twice_and_seldom_wrong() -> None:
    noise = Noise([])
    noise.real("cpu")
    once = noise.of("cpu").proven
    noise.real("cpu")

    assert (once, noise.of("cpu").proven, noise.of("unknown").proven) == (False, True, False)


def test_a_lag_is_lateness_until_it_is_known_to_be_the_clock() -> None:
    onsets = Onsets([])

    began = [onsets.of("db", 1_000.0 * n, 1_000.0 * n + 400) for n in range(5)]

    # three times it is believed to be late; then that is how its clock goes
    assert began == [0, 1_000, 2_000, 3_400, 4_400]
    assert len(onsets) == 1


def test_what_is_later_than_the_clock_is_wrong_is_late() -> None:
    onsets = Onsets([])
    for n in range(5):
        onsets.of("db", 1_000.0 * n, 1_000.0 * n + 400)

    assert onsets.of("db", 9_000, 9_700) == 9_400


def test_a_clock_that_is_ahead_or_absurd_is_wrong_at_once() -> None:
    onsets = Onsets([])

    assert onsets.of("ahead", 1_100, 1_000) == 1_000
    assert onsets.of("absurd", 1_000, 9_000) == 9_000
    assert onsets.of("silent", None, 5_000) == 5_000


def test_an_onset_is_put_back_half_an_hour_at_most() -> None:
    onsets = Onsets([])

    assert onsets.of("queue", 1_000, 2_850) == 1_050
