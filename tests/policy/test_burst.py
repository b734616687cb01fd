"""The burst limit (INTERFACE.md §8): what OpenClaw counts as an unclean boot, and who waits for it."""

import pytest

from supervisor.policy.actions import Spawn
from supervisor.policy.events import Exited, ObstacleChanged
from supervisor.policy.facts import Answer, Cause
from supervisor.policy.state import Backoff
from tests.policy.builders import (
    NOT_YET,
    SILENT,
    Story,
    cause,
    definition,
    obstacle,
    only,
)


def test_a_fourth_unclean_boot_waits_exactly_until_the_first_leaves_the_window() -> None:
    story = Story.of(definition())
    first = story.now
    assert [story.exits(None, signal=9) for _ in range(2)] == [1, 2]

    wait = story.exits(None, signal=9)

    assert story.now == first + 310
    assert wait == 307
    assert story.exits(None, signal=9) == 8  # The second boot has left the window by then, the score counts again.


def test_the_burst_limit_is_named_as_the_reason() -> None:
    story = Story.of(definition())
    for _ in range(2):
        story.exits()

    story.tell(Exited("main", 3, 1, None))

    state = story.child().state
    assert isinstance(state, Backoff)
    assert "one more unclean boot than 3 in 310 s" in state.why


def test_stable_lives_are_held_to_the_burst_limit_too() -> None:
    story = Story.of(definition(restart={"stable": 5}))
    for _ in range(2):
        story.up(ready_s=5)
        assert story.exits() == 0
    story.up(ready_s=5)

    assert story.exits() == 300


def test_a_hang_is_an_unclean_boot() -> None:
    story = Story.of(definition(probe={"failures": 1}))
    story.up()
    story.probed(SILENT)

    assert story.exits(None, signal=9) == 1
    assert (cause(story), len(story.child().boots)) == (Cause.HUNG, 1)


def test_a_stop_that_ended_in_a_kill_is_an_unclean_boot_but_no_failure() -> None:
    """OpenClaw cannot tell who pulled the plug."""
    story = Story.of(definition())
    for _ in range(2):
        story.up()
        story.stop(at_once=True)
        story.exits(None, signal=9)
        story.start()
    story.up()

    assert story.child().score == 0
    assert story.exits() == 310
    assert story.child().score == 1


@pytest.mark.parametrize(("said", "boots"), [(SILENT, 0), (NOT_YET, 1)])
def test_a_78_is_an_unclean_boot_only_once_the_port_was_bound(said: Answer, boots: int) -> None:
    """INTERFACE §8, to the letter: whether it had *started* by then does not matter."""
    story = Story.of(definition())
    story.spawned()
    story.probed(said)
    story.exits(78, config_key="k")

    assert len(story.child().boots) == boots


def test_an_operators_start_ignores_the_burst_limit_once() -> None:
    story = Story.of(definition())
    for _ in range(2):
        story.exits()
    story.tell(Exited("main", 3, 1, None))

    assert only(Spawn, story.start()) == [Spawn("main", 4)]
    assert story.exits() > 300


def test_a_freed_port_does_not_lift_the_burst_limit() -> None:
    """A gateway that failed to bind is an unclean boot to OpenClaw like any other."""
    story = Story.of(definition())
    for life in range(1, 4):
        story.spawned()
        story.tell(Exited("main", life, 1, None, obstacle=obstacle()))
        story.tell(ObstacleChanged("main", None))

    assert story.state() == "backoff"
    assert story.until_spawn() == 310
