"""How often a gateway's agent may change something (R9)."""

import re

import pytest

from supervisor.control.pace import MOST, WINDOW_S, Pace


def test_a_caller_that_goes_in_circles_is_refused_with_the_time_to_wait() -> None:
    pace = Pace()
    assert [pace.refusal("rescue", now) for now in range(MOST)] == [""] * MOST
    refused = pace.refusal("rescue", MOST)
    assert "the limit" in refused
    assert re.findall(r"wait (\d+) s", refused) == [f"{WINDOW_S - MOST:.0f}"]


def test_after_that_time_it_may_and_only_once() -> None:
    """A refusal is not counted: asking again and again does not make the wait longer."""
    pace = Pace()
    for now in range(MOST):
        pace.refusal("rescue", now)
    for now in range(MOST, 100):
        assert pace.refusal("rescue", now)
    assert pace.refusal("rescue", WINDOW_S) == ""
    assert pace.refusal("rescue", WINDOW_S)


def test_one_callers_haste_does_not_slow_another() -> None:
    pace = Pace()
    for now in range(MOST + 1):
        pace.refusal("rescue", now)
    assert pace.refusal("main", MOST) == ""


def test_the_next_brain_goes_on_counting() -> None:
    kept: list[bytes] = []
    first = Pace(None, kept.append)
    for now in range(MOST):
        first.refusal("rescue", now)
    second = Pace(kept[-1], kept.append)
    assert "the limit" in second.refusal("rescue", MOST)
    assert second.refusal("main", MOST) == ""
    assert second.refusal("rescue", WINDOW_S) == ""


@pytest.mark.parametrize("kept", [b"", b"[]", b"{", b'{"rescue": "x"}', b"\xff"])
def test_what_makes_no_sense_counts_for_nothing(kept: bytes) -> None:
    assert Pace(kept).refusal("rescue", 1.0) == ""


def test_what_is_still_to_come_counts_for_nothing() -> None:
    """Of another clock, it could lock an agent out for days."""
    kept = f'{{"rescue": {[1e9] * MOST}}}'.encode()
    assert Pace(kept).refusal("rescue", 1.0) == ""
