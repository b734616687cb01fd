"""The ladder for a refused config: every rung, every outcome, and all that must never be repaired (issue 7)."""

from typing import Any

import pytest

from supervisor.policy.actions import CancelRepair, Incident, Promote, RepairEnd, RepairStep, Spawn, Watch
from supervisor.policy.definition import Definition
from supervisor.policy.events import (
    Booted,
    ConfigPromoted,
    Exited,
    ObstacleChanged,
    Probed,
    RepairAsked,
    RepairStepped,
    SpawnFailed,
    SpawnRefused,
    StartAsked,
    StopAsked,
)
from supervisor.policy.facts import Cause, Guarded, Rung, RungOutcome
from supervisor.policy.fleet import Fleet
from supervisor.policy.repair import BUDGET_S
from supervisor.policy.state import Blocked, public
from tests.policy.builders import STARTED, Story, answer, definition, obstacle, only

BAD, GOOD, BOOTED, DOCTORED = "k-bad", "k-good", "k-booted", "k-doctored"
KNOWN = Guarded(good=GOOD, booted=BOOTED)


def refused(guarded: Guarded = KNOWN, key: str = BAD, **fields: Any) -> Story:
    """A gateway whose first life has just exited 78 on the content `key`."""
    story = Story.of(definition(**fields))
    story.spawned()
    exits_78(story, key, guarded)
    return story


def exits_78(story: Story, key: str, guarded: Guarded) -> None:
    """The present life ends with 78; no time passes."""
    story.tell(Exited("main", story.life(), 78, None, config_key=key, guarded=guarded))


def step(story: Story) -> RepairStep:
    """The rung that was begun last."""
    return only(RepairStep, story.told)[-1]


def comes_to(story: Story, outcome: RungOutcome, key: str, detail: str = "") -> None:
    """The present rung ends so."""
    story.tell(RepairStepped("main", step(story).rung, outcome, detail, key))


def is_refused_again(story: Story, key: str, guarded: Guarded = KNOWN) -> None:
    """The start that the rung led to exits 78."""
    assert story.state() == "starting"
    story.spawned()
    exits_78(story, key, guarded)


def climbed(story: Story) -> list[Rung]:
    return [each.rung for each in only(RepairStep, story.told)]


def test_a_refused_config_is_rolled_back_to_the_newest_good_one_and_that_mends_it() -> None:
    story = refused()

    assert story.state() == "repairing"
    assert step(story) == RepairStep("main", "rollback", BAD, BAD, GOOD)
    comes_to(story, "start", GOOD)
    assert story.state() == "starting"
    story.spawned()
    actions = story.probed(STARTED)

    assert story.state() == "ready"
    assert RepairEnd("main", mended=True) in actions
    assert story.child().repair is None
    assert [action.cause for action in only(Incident, story.told)] == [Cause.CONFIG]


def test_the_whole_ladder_in_vain_puts_the_users_file_back_and_has_failed_until_it_changes() -> None:
    """The newest good may never have been booted, so the newest booted one is tried too; then doctor; then the rescue."""
    story = refused()
    comes_to(story, "start", GOOD)
    is_refused_again(story, GOOD)
    assert step(story) == RepairStep("main", "rollback_booted", BAD, GOOD, BOOTED)
    comes_to(story, "start", BOOTED)
    is_refused_again(story, BOOTED)
    assert step(story) == RepairStep("main", "doctor", BAD, BOOTED)
    comes_to(story, "useless", DOCTORED)
    assert step(story) == RepairStep("main", "restore", BAD, DOCTORED, BAD)
    comes_to(story, "done", BAD)
    assert step(story) == RepairStep("main", "rescue", BAD, BAD)
    comes_to(story, "unavailable", BAD)

    assert climbed(story) == ["rollback", "rollback_booted", "doctor", "restore", "rescue"]
    state = story.child().state
    assert isinstance(state, Blocked)
    assert (public(state), state.until) == ("failed", None)
    assert (state.obstacle.what, state.obstacle.key) == ("config", BAD)
    assert "tried in vain: rollback, doctor, rescue" in state.obstacle.reason
    assert RepairEnd("main", mended=False) in story.told
    assert Watch("main", state.obstacle) in story.told
    story.tell(ObstacleChanged("main", None))
    assert story.state() == "starting"


@pytest.mark.parametrize(
    ("steps", "guarded", "key", "rungs"),
    [
        (("rollback", "doctor", "rescue"), Guarded(), BAD, ["doctor", "rescue"]),
        (("rollback", "doctor", "rescue"), Guarded(good=GOOD, booted=GOOD), BAD, ["rollback", "doctor", "rescue"]),
        (("rollback", "doctor", "rescue"), Guarded(good=GOOD), "", ["rollback", "rescue"]),
        (("rollback", "doctor"), Guarded(good=GOOD), "unreadable: Is a directory", ["rollback"]),
        (("doctor", "rollback"), Guarded(good=GOOD), BAD, ["doctor", "rollback"]),
        (("rollback",), Guarded(good=BAD, booted=BAD), BAD, []),
        (("rollback",), Guarded(), BAD, []),
        (("rollback", "doctor", "rescue"), Guarded(), "", []),
        ((), KNOWN, BAD, []),
    ],
)
def test_the_rungs_are_those_of_the_definition_that_have_something_to_offer(
    steps: tuple[str, ...], guarded: Guarded, key: str, rungs: list[Rung]
) -> None:
    """Doctor makes a missing file worse, so it is not asked for one; a config that never existed is not repaired at all."""
    story = refused(guarded, key, repair={"steps": steps})
    while story.state() == "repairing":
        comes_to(story, "useless", key)

    assert climbed(story) == rungs
    assert public(story.child().state) == ("failed" if rungs else "blocked")


def test_a_content_whose_rungs_are_spent_has_failed_at_once_and_says_what_was_tried() -> None:
    """An operator's start on it is one more refusal, not one more ladder."""
    story = refused()
    while story.state() == "repairing":
        comes_to(story, "useless", BAD)
    story.tell(StartAsked("main"))
    story.spawned()
    exits_78(story, BAD, KNOWN)

    state = story.child().state
    assert isinstance(state, Blocked)
    assert public(state) == "failed"
    assert state.obstacle.reason.endswith("; tried before: rollback, doctor, rescue")
    assert len(climbed(story)) == len(set(climbed(story)))


@pytest.mark.parametrize(
    ("guarded", "says"),
    [
        (Guarded(proven=True, good=GOOD), "it has run with this very config"),
        (Guarded(good=GOOD, other="uses newer schema version 19"), "newer schema version 19"),
    ],
)
def test_a_78_that_is_not_about_the_config_is_never_repaired(guarded: Guarded, says: str) -> None:
    story = refused(guarded)

    assert climbed(story) == []
    state = story.child().state
    assert isinstance(state, Blocked)
    assert says in state.obstacle.reason
    assert state.until == story.now + 900


@pytest.mark.parametrize(
    ("other", "mend"),
    [
        ("state database uses newer schema version 19", "put back the newer OpenClaw that wrote /home/.openclaw-main"),
        ("another OpenClaw process owns gateway-lifecycle", "stop the other OpenClaw process"),
        ("shared state database is unreadable", "give /home/.openclaw-main back"),
        ("Gateway failed to start: database or disk is full", "make room on the disk of /home/.openclaw-main"),
    ],
)
def test_what_would_help_is_said_where_the_config_is_not_to_blame(other: str, mend: str) -> None:
    state = refused(Guarded(good=GOOD, other=other)).child().state
    assert isinstance(state, Blocked)
    assert state.obstacle.mend.startswith(mend)
    assert state.obstacle.mend.endswith("clawsup start main")


def test_a_rungs_start_that_finds_a_newer_state_puts_the_users_file_back_and_names_that() -> None:
    story = refused()
    comes_to(story, "start", GOOD)
    is_refused_again(story, GOOD, Guarded(good=GOOD, other="uses newer schema version 19"))
    assert step(story).rung == "restore"
    comes_to(story, "done", BAD)

    state = story.child().state
    assert isinstance(state, Blocked)
    assert "newer schema version 19" in state.obstacle.reason
    assert state.until is not None
    assert climbed(story) == ["rollback", "restore"]
    assert RepairEnd("main", mended=False) in story.told


def test_an_exit_78_with_the_port_taken_is_never_repaired() -> None:
    story = Story.of(definition())
    story.spawned()
    story.tell(Exited("main", 1, 78, None, obstacle(), config_key=BAD, guarded=KNOWN))

    assert climbed(story) == []
    assert story.state() == "blocked"


@pytest.mark.parametrize(("code", "signal"), [(1, None), (0, None), (None, 9), (143, None)])
def test_a_crash_is_never_repaired(code: int | None, signal: int | None) -> None:
    story = Story.of(definition())
    story.up(ready_s=500)
    story.exits(code, signal=signal, config_key=BAD, guarded=KNOWN)

    assert climbed(story) == []


def test_a_file_that_changed_while_it_started_is_started_again_before_it_is_judged() -> None:
    story = Story.of(definition())
    story.spawned()

    exits_78(story, BAD, Guarded(good=GOOD, moved=True))
    assert story.until_spawn() == 1
    assert climbed(story) == []


def test_no_rung_is_ever_tried_twice_on_the_same_bytes() -> None:
    """An agent that writes the same broken config again and again is not rolled back again and again."""
    story = refused()
    comes_to(story, "start", GOOD)
    story.up(ready_s=500)
    exits_78(story, BAD, KNOWN)

    assert climbed(story) == ["rollback", "rollback_booted"]
    comes_to(story, "start", BOOTED)
    story.up(ready_s=500)
    exits_78(story, BAD, KNOWN)
    assert step(story).rung == "doctor"


def test_a_file_that_goes_missing_again_after_a_stable_run_is_a_new_mishap() -> None:
    """It has no bytes to tell it by."""
    missing = Guarded(good=GOOD, booted=GOOD)
    story = refused(missing, "")
    comes_to(story, "start", GOOD)
    story.up()
    story.tell(ConfigPromoted("main", 2, GOOD, "booted"))
    exits_78(story, "", missing)

    assert climbed(story) == ["rollback", "rollback"]


def test_a_stop_before_a_rungs_start_is_spawned_ends_the_ladder() -> None:
    story = refused()
    comes_to(story, "start", GOOD)
    story.tell(StopAsked("main"))
    story.tell(SpawnFailed("main", story.life(), "no process slot"))

    assert (story.state(), story.child().repair) == ("stopped", None)
    assert RepairEnd("main", mended=False) in story.told


def test_a_rung_that_takes_too_long_is_ended_and_the_next_one_begun() -> None:
    story = refused(Guarded(good=GOOD, booted=GOOD))
    story.forget()
    story.wait(BUDGET_S["rollback"])

    assert CancelRepair("main") in story.told
    assert step(story).rung == "doctor"
    story.tell(RepairStepped("main", "rollback", "start", "too late", GOOD))
    assert story.state() == "repairing", "news of a rung that was given up is old news"


def test_a_rung_that_was_called_off_has_not_been_tried() -> None:
    """Nobody knows what it would have come to; the next refusal begins with it again."""
    story = refused(Guarded(good=GOOD), repair={"steps": ("rollback",)})
    story.tell(StopAsked("main"))
    story.tell(StartAsked("main"))
    story.spawned()
    exits_78(story, BAD, Guarded(good=GOOD))

    assert (story.state(), step(story).rung) == ("repairing", "rollback")


def test_an_edit_just_after_the_users_file_was_put_back_is_started() -> None:
    """Nobody has tried it yet, so nobody may wait for another edit."""
    story = refused(Guarded(good=GOOD, booted=GOOD), repair={"steps": ("rollback",)})
    comes_to(story, "start", GOOD)
    is_refused_again(story, GOOD, Guarded(good=GOOD, booted=GOOD))
    assert step(story).rung == "restore"
    comes_to(story, "done", "k-edit")

    assert story.state() == "starting"


def test_somebodys_edit_in_between_is_started_and_goes_back_in_the_end() -> None:
    story = refused(Guarded(good=GOOD, booted=GOOD))
    comes_to(story, "changed", "k-edit")
    is_refused_again(story, "k-edit", Guarded(good=GOOD, booted=GOOD))
    comes_to(story, "useless", "k-edit")
    comes_to(story, "useless", DOCTORED)

    assert climbed(story)[-3:] == ["rollback", "doctor", "restore"]
    assert step(story).to == "k-edit"


def test_starts_by_a_rung_wait_for_neither_backoff_nor_burst() -> None:
    story = Story.of(definition())
    for _ in range(3):
        story.up()
        story.exits(1)
        story.start()
    story.spawned()
    exits_78(story, BAD, KNOWN)
    before = len(only(Spawn, story.told))
    comes_to(story, "start", GOOD)

    assert len(only(Spawn, story.told)) == before + 1


def test_a_crash_of_a_rungs_start_leaves_the_ladder_standing() -> None:
    story = refused()
    comes_to(story, "start", GOOD)
    story.spawned()
    story.exits(1)
    story.spawned()
    exits_78(story, GOOD, KNOWN)

    assert step(story).rung == "rollback_booted"


@pytest.mark.parametrize("dies", ["before the rung", "in the rung"])
def test_a_brain_that_dies_at_a_ladder_leaves_one_rung_to_the_next_and_not_two(dies: str) -> None:
    """The exit may be learned by the next brain, before it has booted, or be known to it."""
    story = refused() if dies == "in the rung" else Story.of(definition())
    if dies == "before the rung":
        story.spawned()
    story.fleet = Fleet(story.fleet.children)
    story.forget()
    if dies == "before the rung":
        exits_78(story, BAD, KNOWN)
    story.tell(Booted(first=False))
    assert story.state() == "repairing"
    assert [(each.rung, each.to, each.again) for each in only(RepairStep, story.told)] == [("rollback", GOOD, True)]


def test_a_stop_ends_the_ladder() -> None:
    story = refused()
    actions = story.stop()

    assert CancelRepair("main") in actions
    assert RepairEnd("main", mended=False) in actions
    assert (story.state(), story.child().repair) == ("stopped", None)


def test_a_start_that_is_asked_for_meanwhile_changes_nothing() -> None:
    story = refused()
    assert story.tell(StartAsked("main")) == ()
    assert story.state() == "repairing"


def test_by_hand_everything_may_be_tried_again() -> None:
    story = refused()
    while story.state() == "repairing":
        comes_to(story, "useless", BAD)
    story.forget()
    story.tell(RepairAsked("main", BAD, KNOWN))

    assert step(story) == RepairStep("main", "rollback", BAD, BAD, GOOD)


def test_by_hand_nothing_is_done_beside_a_living_gateway() -> None:
    story = Story.of(definition())
    story.up()
    assert story.tell(RepairAsked("main", BAD, KNOWN)) == ()


def test_a_config_that_openclaw_would_revert_is_first_replaced_by_our_own() -> None:
    """It would put an older file of its own in place of one without `meta`; ours says the same, and has it."""
    story = Story.of(definition())
    stands = obstacle("config", Cause.CONFIG, BAD)
    story.tell(SpawnRefused("main", 1, stands, KNOWN))

    assert step(story) == RepairStep("main", "rollback", BAD, BAD, GOOD)
    comes_to(story, "start", GOOD)
    story.up()
    assert story.child().repair is None
    story.exits(1)
    story.tell(SpawnRefused("main", story.life(), stands, KNOWN))
    assert story.state() == "starting", "once a content; then it starts as it is"


@pytest.mark.parametrize("defined", [definition(), definition(repair={"steps": ("doctor", "rollback")})])
def test_doctor_is_not_asked_about_a_config_that_was_never_refused(defined: Definition) -> None:
    story = Story.of(defined)
    story.tell(SpawnRefused("main", 1, obstacle("config", Cause.CONFIG, BAD), Guarded()))

    assert climbed(story) == []
    assert story.state() == "starting"


def test_a_config_is_good_after_a_stable_run_on_it_and_no_sooner() -> None:
    story = Story.of(definition())
    story.spawned()
    story.tell(Probed("main", 1, STARTED, "k1"))
    story.wait(119)
    assert only(Promote, story.tell(Probed("main", 1, STARTED, "k1"))) == []
    story.wait(1)
    asked = [Promote("main", 1, "k1", "booted")]
    assert only(Promote, story.tell(Probed("main", 1, STARTED, "k1"))) == asked
    story.wait(500)
    # Nobody has said that it was done: the disk was full, or the brain died.
    assert only(Promote, story.tell(Probed("main", 1, STARTED, "k1"))) == asked
    story.tell(ConfigPromoted("main", 1, "k1", "booted"))
    assert only(Promote, story.tell(Probed("main", 1, STARTED, "k1"))) == []


def test_an_edit_begins_the_time_anew_and_is_hot() -> None:
    story = Story.of(definition())
    story.spawned()
    for key, waits in (("k1", 100.0), ("k2", 60.0), ("", 30.0), ("k2", 29.0)):
        story.tell(Probed("main", 1, STARTED, key))
        story.wait(waits)
    assert only(Promote, story.tell(Probed("main", 1, STARTED, "k2"))) == []
    story.wait(1)
    assert only(Promote, story.tell(Probed("main", 1, STARTED, "k2"))) == [Promote("main", 1, "k2", "hot")]


def test_a_degraded_gateway_proves_nothing_about_its_config() -> None:
    story = Story.of(definition())
    story.spawned()
    for _ in range(3):
        story.tell(Probed("main", 1, answer(started=True, ready=False), "k1"))
        story.wait(200)
    assert only(Promote, story.told) == []


def test_a_gateway_without_its_listener_is_parked_within_a_minute() -> None:
    story = Story.of(definition())
    story.up()
    silence = answer(live=False, refused=True, detail="connection refused")
    begun = story.now
    while story.state() == "ready":
        story.probed(silence)
        story.wait(15)
    assert story.now - begun <= 60
    story.exits(None, signal=15)

    last = story.child().last_exit
    assert last is not None
    assert last.cause is Cause.PARKED


@pytest.mark.parametrize(
    ("excuse", "state"), [("slept", "ready"), ("stalled", "ready"), ("starved", "hung"), ("", "hung")]
)
def test_two_looks_with_a_gap_between_do_not_make_it_parked(excuse: Any, state: str) -> None:
    """It may have listened while nobody looked."""
    story = Story.of(definition())
    story.up()
    story.probed(answer(live=False, refused=True))
    story.wait(60)

    story.probed(answer(live=False, refused=True, excuse=excuse))

    assert story.state() == state


@pytest.mark.parametrize(("excuse", "hung_after"), [("", 8), ("slept", 43), ("starved", 43)])
def test_an_excuse_buys_time_but_not_for_ever(excuse: Any, hung_after: int) -> None:
    """RELIABILITY.md V12: at most five times what makes a hang, then every miss counts."""
    story = Story.of(definition())
    story.up()
    asked = 0
    while story.state() == "ready":
        asked += 1
        story.probed(answer(live=False, excuse=excuse))
        story.wait(15)

    assert abs(asked - hung_after) <= 5


@pytest.mark.parametrize("when", ["while the rung ran", "after it"])
def test_a_bad_edit_that_overtakes_a_rung_is_mended_by_the_rungs_that_are_left(when: str) -> None:
    """What an edit has overtaken has done nothing, and is not used up; the next rung knows what is in place."""
    story = Story.of(definition())
    story.spawned()
    story.tell(Exited("main", 1, 78, None, config_key="k1", guarded=Guarded(good="g")))
    story.tell(RepairStepped("main", "rollback", "changed" if when == "while the rung ran" else "start", "", "k2"))
    story.spawned()

    actions = story.tell(Exited("main", 2, 78, None, config_key="k3", guarded=Guarded(good="g")))

    (step,) = [action for action in actions if isinstance(action, RepairStep)]
    assert (step.broken, step.left) == ("k3", "k3")
    assert step.rung == ("rollback" if when == "while the rung ran" else "doctor")
