"""The ways of one life, from its spawn to its end (R24, R27)."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.policy.actions import Kill, Probe, Spawn, Terminate, Unwatch, Watch
from supervisor.policy.definition import Definition
from supervisor.policy.events import (
    Adopted,
    Booted,
    Event,
    Exited,
    ObstacleChanged,
    Probed,
    Reloaded,
    RestartAsked,
    SpawnFailed,
    SpawnRefused,
    StopAsked,
    Ticked,
)
from supervisor.policy.facts import Roster
from supervisor.policy.fleet import Fleet, decide, wake_at
from supervisor.policy.state import Life, Starting, State, Stopping, life_of
from tests.policy.builders import (
    NOW,
    SILENT,
    STARTED,
    STATES,
    Story,
    answer,
    begun,
    child,
    definition,
    fleet,
    obstacle,
    only,
)
from tests.policy.invariants import never_busy


def test_a_hung_gateway_is_killed_after_ten_seconds_and_again_until_it_is_gone() -> None:
    story = begun(start={"timeout": 5})
    story.wait(5)

    assert story.wait(9.9) == ()
    assert story.wait(0.1) == (Kill("main", 1),)
    assert story.wait(10) == (Kill("main", 1),) * 2
    assert story.exits(None, signal=9) == 1.0


def test_a_stop_terminates_then_kills_at_its_deadline_and_again() -> None:
    story = begun(stop={"timeout": 30})
    story.probed(STARTED)

    assert story.stop() == (Terminate("main", 1),)
    assert story.wait(29.9) == ()
    assert story.wait(0.1) == (Kill("main", 1),)
    assert story.wait(5) == (Kill("main", 1),)


def test_a_stop_at_once_skips_the_grace_also_of_a_stop_under_way() -> None:
    story = begun()
    story.stop()

    assert story.stop(at_once=True) == (Kill("main", 1),)
    assert story.state() == "stopping"


def test_a_stop_that_is_asked_twice_is_one_stop() -> None:
    story = begun()
    story.stop()
    before = story.child()

    assert story.stop() == ()
    assert story.child() == before


def test_a_stop_of_a_hung_gateway_does_not_put_off_its_kill() -> None:
    story = begun(start={"timeout": 5})
    story.wait(5)
    assert story.state() == "hung"

    story.stop()

    assert story.wait(10) == (Kill("main", 1),)


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_stop_in_every_state_ends_in_stopped_and_stays_there(state: State) -> None:
    story = Story(fleet(child(state), cores=0 if state.kind == "queued" else 2))

    story.stop()
    if life_of(story.child().state) is not None:
        assert story.state() == "stopping"
        story.tell(Exited("main", 3, 0, None))

    assert story.state() == "stopped"
    assert story.until_spawn() == float("inf")
    assert story.child().held


def test_a_start_during_stopping_begins_a_new_life_after_the_end() -> None:
    story = begun()
    story.stop()

    assert story.start() == ()
    assert story.exits(0) == 0
    assert story.life() == 2


def test_a_restart_is_a_stop_and_then_at_once_a_new_life() -> None:
    story = begun()
    story.probed(STARTED)

    assert story.tell(RestartAsked("main")) == (Terminate("main", 1),)
    assert story.exits(0) == 0
    assert story.child().score == 0


def test_a_restart_of_what_is_down_is_a_start() -> None:
    story = begun()
    story.stop()
    story.exits(0)

    assert Spawn("main", 2) in story.tell(RestartAsked("main"))


@pytest.mark.parametrize("state", ["backoff", "failed", "contested", "blocked-port", "stopped"])
def test_an_operators_start_ignores_backoff_and_burst(state: str) -> None:
    story = Story(fleet(child(STATES[state], boots=(NOW - 2, NOW - 1, NOW))))

    assert only(Spawn, story.start()) == [Spawn("main", 4)]


def test_a_stop_before_the_process_is_there_ends_it_when_it_is() -> None:
    story = Story.of(definition())
    story.stop()

    assert story.spawned() == (Terminate("main", 1),)
    assert story.exits(None, signal=15) == float("inf")
    assert story.state() == "stopped"


@pytest.mark.parametrize("event", [SpawnRefused("main", 1, obstacle()), SpawnFailed("main", 1, "no memory")])
def test_a_stop_before_a_spawn_that_fails_is_done(event: Event) -> None:
    story = Story.of(definition())
    story.stop()

    assert story.tell(event) == ()
    assert story.state() == "stopped"


def test_a_process_that_comes_after_its_start_was_given_up_is_told_to_end() -> None:
    story = Story.of(definition(start={"timeout": 5}))
    story.wait(5)

    assert story.spawned() == (Terminate("main", 1),)
    assert story.state() == "hung"
    assert life_of(story.child().state) == Life(1, NOW, 301, 1)


def test_a_refused_spawn_is_blocked_and_watched_and_costs_nothing() -> None:
    story = Story.of(definition())
    taken = obstacle()

    assert story.tell(SpawnRefused("main", 1, taken)) == (Watch("main", taken),)
    assert (story.state(), story.child().spawns, story.child().score) == ("blocked", 0, 0)
    assert story.until_spawn() == float("inf")
    assert story.tell(ObstacleChanged("main", None)) == (Unwatch("main"), Spawn("main", 2))


def test_another_obstacle_is_watched_instead() -> None:
    story = Story.of(definition())
    story.tell(SpawnRefused("main", 1, obstacle()))
    other = obstacle("lock", key="l")

    assert story.tell(ObstacleChanged("main", other)) == (Watch("main", other),)
    assert story.tell(ObstacleChanged("main", other)) == ()


def test_a_machine_that_cannot_spawn_is_asked_again_and_nobody_is_blamed() -> None:
    story = Story.of(definition())

    story.tell(SpawnFailed("main", 1, "no process slot"))

    assert story.state() == "backoff"
    assert story.until_spawn() == 5
    assert (story.child().score, story.child().boots, story.child().spawns) == (0, (), 1)


def test_a_start_that_a_dying_brain_cut_short_is_made_up_for_at_once() -> None:
    """R27: the death of a brain costs no gateway its turn."""
    story = Story.of(definition())

    story.tell(SpawnFailed("main", 1, "the supervisor died while it started it", cut_short=True))

    assert story.until_spawn() == 0
    assert (story.child().score, story.child().boots, story.child().spawns) == (0, (), 1)


@pytest.mark.parametrize("state", ["blocked-definition", "contested"])
def test_late_news_of_an_earlier_obstacle_wakes_nobody(state: str) -> None:
    before = fleet(child(STATES[state]))

    assert decide(before, ObstacleChanged("main", None), NOW) == (before, ())


LIVING: Mapping[str, type[Probe | Terminate]] = {
    "unborn": Probe,
    "starting": Probe,
    "ready": Probe,
    "degraded": Probe,
    "hung": Terminate,
    "stopping": Terminate,
}


@pytest.mark.parametrize(("state", "next_step"), LIVING.items())
def test_an_adopted_life_goes_on_where_the_last_brain_left_it(state: str, next_step: type[Probe | Terminate]) -> None:
    """R27: what the dead brain may have decided without doing it is done again."""
    for wanted in (True, False):
        before = fleet(child(STATES[state], wanted=wanted))
        after, actions = decide(before, Adopted("main", 3, 303, 1), NOW)

        adopted = life_of(after.children["main"].state)
        assert adopted is not None
        assert (adopted.pid, adopted.adopted) == (303, True)
        assert [type(action) for action in actions] == [next_step if wanted else Terminate]


def test_a_life_without_a_record_is_adopted_as_one_that_starts() -> None:
    after, actions = decide(fleet(child(STATES["backoff"], lives=0)), Adopted("main", 8, 308, 1), NOW)

    assert isinstance(after.children["main"].state, Starting)
    assert after.children["main"].lives == 8
    assert [type(action) for action in actions] == [Probe]


def test_a_start_whose_time_ran_out_while_nobody_asked_is_asked_before_it_is_judged() -> None:
    """R27: brains that die one after the other are no reason to kill a gateway that has long been up."""
    late = NOW + 10_000
    after, actions = decide(fleet(child(STATES["starting"])), Adopted("main", 3, 303, 1), late)
    assert [type(action) for action in actions] == [Probe]

    after, actions = decide(after, Ticked(), late)
    assert (after.children["main"].state.kind, actions) == ("starting", ())
    after, _ = decide(after, Probed("main", 3, STARTED), late + 1)
    assert after.children["main"].state.kind == "ready"


def test_misses_survive_the_brain() -> None:
    """A hung gateway is not forgiven by each death of a brain."""
    after, _ = decide(fleet(child(STATES["missed"])), Adopted("main", 3, 303, 1), NOW)
    after, _ = decide(after, Probed("main", 3, SILENT), NOW)

    assert after.children["main"].state.kind == "hung"


@given(st.integers(6, 30), st.floats(0.5, 60))
def test_no_start_deadline_ever_stands_still(exponent: int, before: float) -> None:
    """Sums are rounded where they cross a power of two: no deadline may come out as the instant it was made at."""
    story = Story(Fleet(cores=1), 2.0**exponent - before)
    story.tell(Reloaded(Roster((definition(start={"timeout": 60.0}), definition("other")))))
    story.tell(Booted(first=True))
    story.spawned()
    story.now += 0.3
    story.probed(answer(started=False, progress=1))

    while (due := wake_at(story.fleet, story.now)) is not None and story.state() == "starting":
        story.now = due
        never_busy(story.fleet, story.now)
        story.tell(Ticked())

    assert story.state() == "hung"
    assert story.spawns() == ["main", "other"]


def test_a_definition_that_never_could_be_read_has_defaults() -> None:
    unreadable: Definition | None = None
    after, _ = decide(fleet(child(STATES["ready"], definition=unreadable)), StopAsked("main"), NOW)

    assert after.children["main"].state == Stopping(replace_ready(), NOW + 330)


def replace_ready() -> Life:
    """The ready life of STATES after its 490 s."""
    present = life_of(STATES["ready"])
    assert present is not None
    return replace(present, ready_s=490.0)
