"""A miss is excused when somebody else was to blame, and only then."""

import pytest

from supervisor.policy.discount import Excuse, Load, excuse

BEFORE = Load(at=100.0, asleep=5.0, ran=10.0, waited=1.0, pressed=50.0, state="S")


def after(took: float = 10.0, state: str = "S", **more: float) -> Load:
    grown = {"asleep": 5.0, "ran": 10.0, "waited": 1.0, "pressed": 50.0}
    return Load(at=100.0 + took, state=state, **{key: value + more.get(key, 0.0) for key, value in grown.items()})


@pytest.mark.parametrize(
    ("seen", "due", "why"),
    [
        (after(), 100.0, ""),
        (after(asleep=30.0), 100.0, "slept"),
        (after(took=13.0), 100.0, "stalled"),
        (after(), 80.0, "stalled"),
        (after(waited=6.0), 100.0, "starved"),
        (after(state="R"), 100.0, "starved"),
        (after(pressed=6.0), 100.0, "starved"),
        (after(pressed=9.0, ran=8.0), 100.0, ""),
        (after(state="T", asleep=30.0), 100.0, ""),
        (after(took=0.0), 100.0, ""),
    ],
)
def test_silence_is_excused_by_sleep_by_our_own_stall_and_by_a_starved_host(
    seen: Load, due: float, why: Excuse
) -> None:
    """RELIABILITY.md V12."""
    assert excuse(BEFORE, seen, due=due, timeout=10.0) == why


def test_a_kernel_that_tells_nothing_excuses_nothing() -> None:
    bare = Load(100.0, 0.0, 10.0)
    assert excuse(bare, Load(110.0, 0.0, 10.0, state="S"), due=100.0, timeout=10.0) == ""
