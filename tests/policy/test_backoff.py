"""INTERFACE.md §8 as arithmetic (R27)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.policy import backoff
from supervisor.policy.definition import Restart

RULE = Restart()
seconds = st.floats(min_value=0, max_value=1e7)


def crashes(count: int, *, every_ready_s: float, rule: Restart = RULE) -> list[float]:
    """The delays after so many crashes in a row, each of a life that had been ready for so long."""
    score, delays = 0.0, []
    for _ in range(count):
        score = backoff.rested(score, every_ready_s) + 1
        delays.append(backoff.delay(score, every_ready_s, rule))
    return delays


def test_a_crash_loop_doubles_its_delay_up_to_the_cap() -> None:
    assert crashes(12, every_ready_s=0) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]


def test_delay_and_cap_are_the_definitions() -> None:
    assert crashes(5, every_ready_s=0, rule=Restart(delay=0.25, cap=1.5)) == [0.25, 0.5, 1, 1.5, 1.5]


def test_an_hour_of_being_ready_halves_the_score() -> None:
    assert backoff.rested(6, 3600) == 3
    assert backoff.rested(6, 0) == 6


def test_a_crash_every_90_s_climbs_to_the_cap() -> None:
    assert max(crashes(60, every_ready_s=90)) == RULE.cap


def test_one_crash_a_day_costs_nothing() -> None:
    assert crashes(365, every_ready_s=86_400) == [0] * 365


def test_a_life_is_stable_from_exactly_its_stable_seconds_on() -> None:
    assert backoff.delay(3, RULE.stable, RULE) == 0
    assert backoff.delay(3, math.nextafter(RULE.stable, 0), RULE) == 4


@given(st.integers(0, 100_000), st.floats(1e-9, 1e9), st.floats(1e-9, 1e9))
def test_a_delay_is_never_over_the_cap_nor_infinite(failures: int, delay: float, cap: float) -> None:
    rule = Restart(delay=delay, cap=cap)

    assert 0 < backoff.delay(failures + 1.0, 0, rule) <= cap


@given(seconds, seconds)
def test_the_longer_a_life_was_ready_the_less_the_past_counts(short: float, more: float) -> None:
    assert backoff.rested(5, short + more) <= backoff.rested(5, short) <= 5


def test_three_unclean_boots_are_allowed_and_the_fourth_waits_for_the_first_to_leave_the_window() -> None:
    assert backoff.burst_over((0, 10), 20, RULE) == 20
    assert backoff.burst_over((0, 10, 20), 20, RULE) == 310
    assert backoff.burst_over((0, 10, 20, 30), 30, RULE) == 320


def test_boots_outside_the_window_are_forgotten() -> None:
    assert backoff.recent((0, 10, 20), 310, RULE) == (10, 20)
    assert backoff.burst_over((0, 10, 20), 310, RULE) == 310


def test_burst_0_is_no_limit() -> None:
    assert backoff.burst_over(tuple(range(100)), 100, Restart(burst=0)) == 100


@given(st.lists(seconds, max_size=20), st.integers(1, 5), st.floats(1e-3, 1e4))
def test_a_boot_at_the_instant_that_is_told_keeps_the_limit(boots: list[float], burst: int, window: float) -> None:
    rule = Restart(burst=burst, window=window)
    boots.sort()
    now = boots[-1] if boots else 0.0

    allowed = backoff.burst_over(boots, now, rule)

    assert allowed >= now
    assert len(backoff.recent(boots, allowed, rule)) < burst


@pytest.mark.parametrize("at", [0.1, 1 / 3, 2**40 / 7])
def test_the_edge_of_the_window_is_the_same_for_both_questions(at: float) -> None:
    """Were it not, a gateway would be told to wait for an instant that is already there."""
    rule = Restart(burst=1)

    assert backoff.recent((at,), at + rule.window, rule) == ()
