"""A reload is taken by one gateway at a time, and ends with the first that does not come up."""

from dataclasses import replace

import pytest

from supervisor.policy.actions import Action, CancelRepair, RepairEnd, Report, Spawn, Terminate
from supervisor.policy.definition import Definition, Probe
from supervisor.policy.events import Adopted, Booted, Exited, Reloaded
from supervisor.policy.facts import Guarded, Roster
from supervisor.policy.plan import plan
from tests.policy.builders import Story, answer, definition, up


def reload(story: Story, *definitions: Definition, prune: bool = False) -> tuple[Action, ...]:
    return story.tell(Reloaded(Roster(definitions), prune=prune))


def ended(actions: tuple[Action, ...]) -> list[str]:
    return [action.name for action in actions if isinstance(action, Terminate)]


def moved(name: str) -> Definition:
    return definition(name, port=20_000)


def test_an_unchanged_roster_sends_not_one_signal() -> None:
    story = up("main", "rescue")

    assert reload(story, definition("main"), definition("rescue")) == ()


def test_a_live_key_is_taken_at_once_by_the_life_that_runs() -> None:
    story = up("main")
    quick = definition(probe=Probe(interval=5))

    assert reload(story, quick) == ()
    assert story.child().definition == quick
    assert story.child().pending is None


def test_a_change_takes_one_gateway_after_the_other_and_the_rescue_last() -> None:
    story = up("main", "rescue", "other")
    assert ended(reload(story, moved("main"), moved("rescue"), moved("other"))) == ["other"]

    for name, following in [("other", ["main"]), ("main", ["rescue"]), ("rescue", [])]:
        story.exits(0, name)
        assert story.child(name).definition == moved(name)
        story.spawned(name)
        assert ended(story.probed(answer(started=True, ready=True), name)) == following

    assert story.fleet.rolling == ()


def test_the_next_one_waits_until_the_one_before_is_started() -> None:
    story = up("main", "other")
    reload(story, moved("main"), moved("other"))
    story.exits(0, "other")
    story.spawned("other")

    assert ended(story.probed(answer(started=False), "other")) == []
    assert story.state("main") == "ready"


def test_a_reload_stops_at_the_first_gateway_that_does_not_come_up() -> None:
    story = up("main", "other")
    reload(story, moved("main"), moved("other"))
    story.exits(0, "other")
    story.spawned("other")
    story.forget()

    story.exits(1, "other")

    assert Report("other", "did not come up with its new definition; not reloaded: main") in story.told
    assert story.state("main") == "ready"
    assert story.child("main").definition == definition("main")


def test_a_change_of_identity_ends_the_gateway_under_the_old_one_and_begins_the_new() -> None:
    story = up("main")
    elsewhere = definition(state_dir="/elsewhere")

    assert ended(reload(story, elsewhere)) == ["main"]
    assert story.child().definition == definition()
    story.exits(0)

    assert story.child().definition == elsewhere


def test_a_change_that_is_taken_back_before_its_turn_is_no_change() -> None:
    story = up("main", "other")
    reload(story, moved("main"), moved("other"))

    reload(story, definition("main"), moved("other"))
    story.exits(0, "other")
    story.up("other")

    assert story.child("main").pending is None
    assert story.state("main") == "ready"


def test_an_operator_who_stops_a_gateway_takes_it_out_of_the_turn() -> None:
    story = up("main", "other")
    reload(story, moved("main"), moved("other"))

    story.stop("other")
    story.exits(0, "other")

    assert story.state("other") == "stopped"
    assert story.state("main") == "stopping"


def test_a_gateway_whose_definition_is_gone_is_stopped_only_when_pruned() -> None:
    story = up("main", "other")

    assert reload(story, definition("main")) == ()
    assert story.child("other").orphaned
    assert ended(reload(story, definition("main"), prune=True)) == ["other"]
    story.exits(0, "other")
    assert story.state("other") == "stopped"


def test_a_crash_before_its_turn_takes_the_new_definition_along() -> None:
    story = up("main", "other")
    reload(story, moved("main"), moved("other"))

    story.exits(1, "main")

    assert isinstance(story.told[-1], Spawn)
    assert story.child("main").definition == moved("main")


def test_what_would_not_start_again_keeps_its_life_and_the_others_take_their_turn() -> None:
    """A planned restart onto a bad config is refused, and said; the definition waits for the next life."""
    story = up("main", "other")
    actions = story.tell(Reloaded(Roster((moved("main"), moved("other"))), unfit=("main",)))

    assert ended(actions) == ["other"]
    (report,) = [action for action in actions if isinstance(action, Report)]
    assert (report.name, "its config is invalid" in report.text) == ("main", True)
    story.exits(0, "other")
    story.spawned("other")
    assert ended(story.probed(answer(started=True, ready=True), "other")) == []
    assert (story.state("main"), story.child("main").pending) == ("ready", moved("main"))


@pytest.mark.parametrize("ended_before", [True, False])
def test_a_pruned_definition_that_comes_back_is_wanted_again(ended_before: bool) -> None:
    """R24: taken away by mistake and put back as it was, it is no longer stopped, whatever its gateway had come to."""
    story = up("main", "other")
    reload(story, definition("main"), prune=True)
    if ended_before:
        story.exits(0, "other")
    roster = Roster((definition("main"), definition("other")))
    foretold = [change.effect for change in plan(story.fleet.children, roster, prune=False)]

    story.tell(Reloaded(roster))
    if not ended_before:
        story.exits(0, "other")

    assert foretold == ["none", "start" if ended_before else "none"]
    assert (story.state("other"), story.child("other").wanted) == ("starting", True)


def test_a_living_orphan_outlives_a_keeper_and_then_a_brain() -> None:
    """R27: its definition is gone, and it runs on until somebody stops it."""
    story = up("main")
    reload(story)
    for first in (True, False):
        story.fleet = replace(story.fleet, booted=False)
        reload(story)
        story.tell(Adopted("main", 1, 301, 1))
        story.tell(Booted(first=first))

    assert (story.state(), story.child().wanted, story.child().orphaned) == ("ready", True, True)


def test_a_gateway_that_comes_back_under_a_name_goes_on_counting_its_lives() -> None:
    """INTERFACE §7: what is still swept of its last life must not find the run token of that one in the new one's."""
    story = up("main", "other")
    reload(story, definition("other"), prune=True)
    story.exits(0)
    reload(story, definition("other"), prune=True)
    assert "main" not in story.fleet.children

    spawned = [
        action.life for action in reload(story, definition("main"), definition("other")) if isinstance(action, Spawn)
    ]

    assert spawned == [2]


@pytest.mark.parametrize(
    ("edited", "climbs_on"),
    [
        (definition(config_path="/srv/new.json"), False),
        (definition(command=("/opt/newer/openclaw",)), False),
        (definition(probe=Probe(interval=5)), True),
    ],
)
def test_a_new_definition_ends_a_ladder_that_is_about_the_old_one(edited: Definition, climbs_on: bool) -> None:
    """A rung may take 15 minutes; who points the gateway at another config meanwhile does not wait for it."""
    story = Story.of(definition())
    story.spawned()
    story.tell(Exited("main", 1, 78, None, config_key="k-bad", guarded=Guarded(good="k-good")))
    assert story.state() == "repairing"

    actions = reload(story, edited)

    assert story.child().definition == edited
    assert (story.state(), actions) == (
        ("repairing", ())
        if climbs_on
        else ("starting", (CancelRepair("main"), RepairEnd("main", mended=False), Spawn("main", 2)))
    )
