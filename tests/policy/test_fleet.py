"""Whose turn it is to start or to stop: the rescue, its gate, the cores, the shutdown (R25, R26, R28)."""

from dataclasses import replace
from typing import Any

import pytest

from supervisor.policy.actions import Finish, Kill, Report, Spawn, Terminate
from supervisor.policy.definition import Definition
from supervisor.policy.events import (
    Exited,
    ObstacleChanged,
    Probed,
    Reloaded,
    RestartAsked,
    ShutdownAsked,
    SpawnFailed,
    SpawnRefused,
    StartAsked,
    StopAsked,
    Ticked,
)
from supervisor.policy.facts import Cause, Roster
from supervisor.policy.fleet import Fleet, decide, in_order
from supervisor.policy.state import Blocked, Child, Stopped, life_of
from tests.policy.builders import (
    NOW,
    STARTED,
    STATES,
    Story,
    child,
    definition,
    fleet,
    new_supervisor,
    obstacle,
    only,
    reloaded,
    up,
)

NAMES = ("alpha", "main", "rescue", "zeta")


def trio(**fields: Any) -> Story:
    """A rescue, a main and an extra that have just been told to start."""
    return Story.of(definition("main"), definition("extra"), definition("rescue"), **fields)


def test_nothing_starts_before_the_boot() -> None:
    story = Story(Fleet())
    story.tell(Reloaded(Roster((definition(), definition("rescue")))))

    assert story.spawns() == []


def test_the_order_is_rescue_then_main_then_the_rest_by_name() -> None:
    story = Story.of(*(definition(name) for name in NAMES))

    assert story.spawns() == ["rescue"]
    story.up("rescue")
    assert story.spawns() == ["rescue", "main", "alpha", "zeta"]


def test_the_others_wait_until_the_rescue_is_started_not_until_it_is_ready() -> None:
    story = trio()
    story.spawned("rescue")
    story.wait(10)
    assert story.spawns() == ["rescue"]

    story.probed(replace(STARTED, ready=False), "rescue")

    assert story.spawns() == ["rescue", "main", "extra"]


def test_the_others_wait_at_most_60_s() -> None:
    story = trio()
    story.spawned("rescue")

    story.wait(59.9)
    assert story.spawns() == ["rescue"]
    story.wait(0.1)

    assert story.spawns() == ["rescue", "main", "extra"]


def test_the_others_do_not_wait_for_a_blocked_rescue() -> None:
    story = trio()

    story.tell(SpawnRefused("rescue", 1, obstacle()))

    assert story.spawns() == ["rescue", "main", "extra"]


def test_a_rescue_that_falls_while_it_starts_is_still_waited_for() -> None:
    """Issue 2: the others wait until it is started, at most 60 s, or is blocked; backoff is neither."""
    story = trio()
    story.spawned("rescue")

    story.exits(1, "rescue")
    assert story.spawns() == ["rescue", "rescue"]
    story.tell(SpawnFailed("rescue", 2, "no memory"))
    assert story.spawns() == ["rescue", "rescue"]
    story.wait(60)

    assert story.spawns()[-2:] == ["main", "extra"]


@pytest.mark.parametrize("rescue", [None, definition("rescue", enabled=False)])
def test_without_a_rescue_nobody_waits(rescue: Definition | None) -> None:
    story = Story.of(definition(), *([rescue] if rescue else []))

    assert story.spawns() == ["main"]


def test_a_rescue_that_falls_later_keeps_nobody_waiting() -> None:
    story = up("rescue", "main")
    story.tell(Exited("rescue", 1, None, 9))

    assert story.exits(None, "main", signal=9) == 1


def test_no_more_cold_starts_at_once_than_the_machine_has_cores() -> None:
    story = Story.of(*(definition(name) for name in ("a", "b", "c", "d")), cores=2)
    assert story.spawns() == ["a", "b"]

    story.up("b")
    assert story.spawns() == ["a", "b", "c"]
    story.tell(SpawnRefused("a", 1, obstacle()))

    assert story.spawns() == ["a", "b", "c", "d"]


def test_a_start_of_more_than_a_minute_keeps_its_core_no_longer() -> None:
    story = Story.of(definition("a"), definition("b"), cores=1)
    story.spawned("a")

    story.wait(59.9)
    assert story.spawns() == ["a"]
    story.wait(0.1)

    assert story.spawns() == ["a", "b"]


def test_the_rescue_waits_for_nobody() -> None:
    story = up("rescue", "a", "b", cores=1)
    assert story.exits(1, "a") == 1
    assert story.life("a") == 2

    assert story.exits(1, "rescue") == 1
    assert story.exits(1, "b") > 50


def test_a_machine_without_cores_starts_one_at_a_time() -> None:
    story = Story.of(definition("a"), definition("b"), cores=0)

    assert story.spawns() == ["a"]


def test_an_operators_start_does_not_wait_for_the_rescue() -> None:
    story = trio()

    assert story.start("extra") == (Spawn("extra", 1),)


def test_an_operators_start_still_waits_for_a_core() -> None:
    story = Story.of(definition("a"), definition("b"), cores=1)

    assert story.start("b") == ()


def test_all_stop_at_once_and_the_rescue_when_the_others_are_down() -> None:
    """R25."""
    story = up("rescue", "main", "extra")

    assert sorted(story.tell(ShutdownAsked()), key=str) == [Terminate("extra", 1), Terminate("main", 1)]
    assert Terminate("rescue", 1) not in story.tell(Exited("main", 1, 0, None))
    assert Terminate("rescue", 1) in story.tell(Exited("extra", 1, 0, None))
    assert not story.fleet.finished
    assert story.tell(Exited("rescue", 1, 0, None))[-1] == Finish()
    assert story.fleet.finished


def test_the_rescue_waits_for_a_gateway_that_must_be_killed() -> None:
    story = up("rescue", "main")
    story.tell(ShutdownAsked())

    actions = story.wait(340)

    assert only(Kill, actions)[0] == Kill("main", 1)
    assert only(Terminate, actions) == []


def test_a_second_call_to_shut_down_at_once_kills_everybody() -> None:
    story = up("rescue", "main")
    story.tell(ShutdownAsked())

    assert set(story.tell(ShutdownAsked(at_once=True))) == {Kill("main", 1), Kill("rescue", 1)}


def test_an_idle_supervisor_finishes_at_once_and_once() -> None:
    story = Story(fleet(child(STATES["backoff"])))

    assert story.tell(ShutdownAsked()) == (Finish(),)
    assert story.tell(ShutdownAsked()) == ()


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_a_shutdown_in_every_state_ends_and_nothing_starts_in_it(state: Any) -> None:
    story = Story(fleet(child(state), child(STATES["ready"], "rescue")))
    story.tell(ShutdownAsked())
    for one in ("main", "rescue"):
        story.start(one)
        story.tell(RestartAsked(one))
        story.wait(2000)
        if life_of(story.child(one).state) is not None:
            story.tell(Exited(one, 3, None, 9))

    assert story.fleet.finished
    assert story.spawns() == []


def test_a_restart_during_the_shutdown_does_not_bring_the_rescue_down_before_its_turn() -> None:
    story = up("rescue", "main")
    story.tell(ShutdownAsked())

    assert story.tell(RestartAsked("rescue")) == ()


def test_a_shutdown_forgets_no_wish() -> None:
    """What was running runs again under the next supervisor, and what was stopped does not."""
    story = up("main", "other")
    story.stop("other")
    story.tell(ShutdownAsked())
    for name in ("main", "other"):
        story.tell(Exited(name, 1, 0, None))
    assert (story.state(), story.child().wanted) == ("stopped", True)

    assert new_supervisor(story).spawns() == ["main"]


def test_a_broken_definition_during_a_shutdown_changes_nothing() -> None:
    story = up("rescue", "main")
    story.tell(ShutdownAsked())
    story.tell(Exited("main", 1, 0, None))

    assert reloaded(story, definition("rescue"), broken=("main",)).state() == "stopped"


def test_an_event_about_nobody_is_reported() -> None:
    before = fleet(child(STATES["ready"]))

    for event in (StartAsked("x"), StopAsked("x"), Probed("x", 1, STARTED), ObstacleChanged("x", None)):
        after, actions = decide(before, event, NOW)
        assert after == before
        assert [type(action) for action in actions] == [Report]


def test_a_gateway_of_no_readable_definition_comes_last() -> None:
    unreadable = Child("a", None, Stopped(), NOW)

    assert [one.name for one in in_order([unreadable, child(STATES["ready"])])] == ["main", "a"]


def test_time_alone_changes_nothing_before_a_deadline() -> None:
    for state in STATES.values():
        before = fleet(child(state), cores=0, rescue_by=NOW + 9) if state.kind == "queued" else fleet(child(state))
        if state.kind != "queued":
            assert decide(before, Ticked(), NOW) == (before, ())


def test_a_config_that_changes_wakes_its_gateway_at_once_though_the_burst_is_spent() -> None:
    """DESIGN.md: blocked until the file changes, then at once; whoever edits the file is an operator."""
    blocked = child(Blocked(obstacle("config", Cause.CONFIG)), boots=(NOW - 3, NOW - 2, NOW - 1))

    assert only(Spawn, decide(fleet(blocked), ObstacleChanged("main", None), NOW)[1]) == [Spawn("main", 4)]
