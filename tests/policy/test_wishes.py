"""What an operator wants and what conf.d says, over reloads and restarts of the supervisor (R22)."""

import pytest

from supervisor.policy.actions import Terminate, Unwatch, Watch
from supervisor.policy.events import Exited, ShutdownAsked
from supervisor.policy.state import Blocked
from tests.policy.builders import (
    BROKEN,
    INF,
    NOW,
    STATES,
    Story,
    child,
    definition,
    fleet,
    new_supervisor,
    obstacle,
    reloaded,
    up,
)


def test_a_stop_is_remembered_over_restarts_of_the_supervisor() -> None:
    story = up("main")
    story.stop()
    story.exits(0)

    for first in (False, True, True):
        story = new_supervisor(story, first=first)
        assert (story.state(), story.spawns()) == ("stopped", [])

    story.start()
    assert new_supervisor(story).child().wanted


def test_a_stop_that_the_supervisor_did_not_live_to_see_through_is_remembered() -> None:
    story = up("main")
    story.stop()

    story = new_supervisor(story)
    story.tell(Exited("main", 1, 0, None))

    assert story.state() == "stopped"


def test_enabled_false_is_known_and_not_started() -> None:
    story = Story.of(definition(enabled=False))

    assert (story.state(), story.child().wanted, story.spawns()) == ("stopped", False, [])


def test_a_start_of_what_is_not_enabled_lasts_until_the_supervisor_ends() -> None:
    story = Story.of(definition(enabled=False))
    story.start()
    assert story.exits(1) == 1

    assert new_supervisor(story, first=False).child().wanted
    story.tell(ShutdownAsked())
    story.tell(Exited("main", 2, 0, None))
    after = new_supervisor(story)

    assert (after.state(), after.child().wanted) == ("stopped", False)


def test_a_start_of_what_is_not_enabled_ends_with_a_supervisor_that_was_killed() -> None:
    """It lives on without one; the next adopts it, and tells it to end (issue 2.9)."""
    story = Story.of(definition(enabled=False))
    story.start()
    story.up()

    assert Terminate("main", 1) in new_supervisor(story).told


def test_a_new_supervisor_starts_everything_anew_but_within_the_burst_limit() -> None:
    story = up("main", "other")
    for _ in range(2):
        story.exits(1)
    story.tell(Exited("main", 3, 1, None))
    story.tell(Exited("other", 1, 1, None))

    after = new_supervisor(story)

    assert after.spawns() == ["other"]
    assert after.until_spawn("main") > 300


def test_a_new_brain_leaves_every_wait_as_it_was() -> None:
    for state in ("backoff", "failed", "contested"):
        before = Story(fleet(child(STATES[state])))
        after = new_supervisor(before, first=False)

        assert after.child().state == before.child().state
        assert after.until_spawn() == 5


def test_a_new_brain_watches_what_the_old_one_watched() -> None:
    after = new_supervisor(Story(fleet(child(STATES["blocked-port"]))), first=False)

    assert after.told == [Watch("main", obstacle())]


def test_restarts_count_from_the_keepers_start() -> None:
    """INTERFACE.md §5."""
    story = up("main", "other")
    story.exits(1)
    assert story.child().spawns == 2

    assert new_supervisor(story, first=False).child().spawns == 2
    story.stop()
    story.exits(0)
    assert (new_supervisor(story).child("other").spawns, new_supervisor(story).child().spawns) == (1, 0)


def test_a_brain_that_dies_while_all_stops_leaves_no_child_that_never_starts_again() -> None:
    story = up("main")
    story.tell(ShutdownAsked())

    after = new_supervisor(story, first=False)

    assert after.exits(0) == 0
    assert after.exits(1) == 1


def test_a_reload_without_a_change_does_nothing() -> None:
    story = up("main")
    before = story.child()

    reloaded(story, definition())

    assert (story.child(), story.told) == (before, [])


@pytest.mark.parametrize("state", ["blocked-port", "blocked-config", "contested", "backoff", "failed"])
def test_a_changed_definition_wakes_what_waits(state: str) -> None:
    story = reloaded(Story(fleet(child(STATES[state]))), definition(port=20000))

    assert story.spawns() == ["main"]
    assert story.child().definition == definition(port=20000)


def test_a_changed_definition_does_not_lift_the_burst_limit() -> None:
    story = Story(fleet(child(STATES["backoff"], boots=(NOW - 3, NOW - 2, NOW - 1))))

    assert reloaded(story, definition(port=20000)).until_spawn() == 307


def test_a_broken_definition_keeps_a_running_gateway_on_its_last_good_one() -> None:
    story = reloaded(up("main"), broken=("main",))

    assert (story.state(), story.told, story.child().definition) == ("ready", [], definition())
    assert story.exits(1) == 1


def test_a_broken_definition_blocks_what_is_down_and_a_mended_one_frees_it() -> None:
    story = reloaded(Story(fleet(child(STATES["blocked-port"]))), broken=("main",))
    assert (story.child().state, story.told) == (Blocked(BROKEN), [Unwatch("main")])
    assert story.until_spawn() == INF

    assert reloaded(story, definition()).spawns() == ["main"]


def test_a_definition_that_never_could_be_read_is_shown_blocked_and_starts_when_mended() -> None:
    story = reloaded(Story.of(), broken=("main",))
    assert (story.child().definition, story.child().state) == (None, Blocked(BROKEN))

    assert reloaded(story, definition()).spawns() == ["main"]


def test_a_mended_definition_that_is_not_enabled_is_not_started() -> None:
    story = reloaded(Story.of(), broken=("main",))

    reloaded(story, definition(enabled=False))

    assert (story.state(), story.child().wanted, story.spawns()) == ("stopped", False, [])


def test_start_and_stop_of_a_broken_definition_lose_no_wish() -> None:
    story = reloaded(Story.of(), broken=("main",))
    story.stop()
    assert story.state() == "stopped"

    story.start()
    assert story.child().state == Blocked(BROKEN)
    assert reloaded(story, definition()).spawns() == ["main"]


def test_a_stopped_gateway_stays_stopped_whatever_becomes_of_its_definition() -> None:
    story = up("main")
    story.stop()
    story.exits(0)

    reloaded(story, broken=("main",))
    reloaded(story, definition(port=20000))

    assert (story.state(), story.spawns()) == ("stopped", [])


def test_enabling_starts_and_disabling_ends_a_gateway() -> None:
    story = Story.of(definition(enabled=False))
    assert reloaded(story, definition()).spawns() == ["main"]
    story.up()

    reloaded(story, definition(enabled=False))
    assert story.state() == "stopping"

    story = reloaded(Story(fleet(child(STATES["blocked-port"]))), definition(enabled=False))
    assert (story.state(), story.told) == ("stopped", [Unwatch("main")])


def test_a_removed_definition_leaves_its_gateway_running_and_says_so() -> None:
    story = reloaded(up("main", "other"), definition("other"))

    assert (story.child().orphaned, story.state(), story.told) == (True, "ready", [])
    assert not reloaded(story, definition(), definition("other")).child().orphaned


@pytest.mark.parametrize("state", ["stopped", "queued", "backoff", "failed", "blocked-port"])
def test_a_removed_definition_of_what_is_down_is_gone(state: str) -> None:
    story = reloaded(Story(fleet(child(STATES[state]))))

    assert story.fleet.children == {}
    assert story.told == ([Unwatch("main")] if state == "blocked-port" else [])


def test_an_orphan_that_was_stopped_is_gone_with_the_next_reload() -> None:
    story = reloaded(up("main"))
    story.stop()
    story.exits(0)

    assert reloaded(story).fleet.children == {}


def test_a_new_definition_starts() -> None:
    assert reloaded(up("main"), definition(), definition("new")).spawns() == ["new"]
