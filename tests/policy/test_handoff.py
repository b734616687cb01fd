"""An exit 0 that nobody asked for, and SIGTERMs that we did not send: handoff and contest (DESIGN.md §3)."""

from typing import Any

import pytest

from supervisor.openclaw.exits import Heard
from supervisor.policy.actions import ConsumeHandoff, Spawn
from supervisor.policy.events import Exited, HandoffAnswered, StopAsked
from supervisor.policy.facts import Cause
from supervisor.policy.state import Backoff
from tests.policy.builders import (
    LIMITLESS,
    NOT_YET,
    SILENT,
    STARTED,
    Story,
    answer,
    blocked,
    cause,
    definition,
    main,
    only,
    running,
)


def handed_off(story: Story) -> list[ConsumeHandoff]:
    """A started life exits 0; what is asked once its successor is started."""
    assert story.exits(0) == 0
    assert cause(story) is Cause.HANDOFF
    story.spawned()
    assert only(ConsumeHandoff, story.probed(NOT_YET)) == []
    return only(ConsumeHandoff, story.probed(STARTED))


def test_an_exit_0_of_a_started_life_is_restarted_at_once_and_asked_about_beside_it() -> None:
    story = running()

    assert handed_off(story) == [ConsumeHandoff("main", 1, 301)]
    assert (story.child().score, story.child().boots) == (1, ())


def test_a_handoff_is_counted_until_it_is_accepted() -> None:
    story = running()
    handed_off(story)

    story.tell(HandoffAnswered("main", 1, accepted=True))

    assert (story.child().score, story.child().handoff) == (0, None)


def test_accepting_a_handoff_does_not_forgive_the_crash_that_came_between() -> None:
    """`consume` takes six seconds; a successor may fall in them."""
    story = running()
    handed_off(story)
    story.exits(1)
    assert story.child().score == pytest.approx(2)

    story.tell(HandoffAnswered("main", 1, accepted=True))

    assert story.child().score == 1


def test_accepted_handoffs_in_a_row_all_restart_at_once() -> None:
    story = running()
    for life in range(1, 10):
        assert handed_off(story) == [ConsumeHandoff("main", life, 300 + life)]
        story.tell(HandoffAnswered("main", life, accepted=True))

    assert story.child().score == 0


def test_an_unanswered_handoff_gives_one_immediate_restart_and_then_it_is_a_crash_loop() -> None:
    story = running()

    waits = []
    for _ in range(6):
        waits.append(story.exits(0))
        story.up()
        story.tell(HandoffAnswered("main", 1, accepted=None))

    assert waits == [0, 2, 4, 8, 16, 32]


def test_an_unanswered_handoff_is_forgotten_once_a_later_life_was_stable() -> None:
    story = running()
    handed_off(story)
    story.wait(120)
    story.probed(STARTED)

    assert story.exits(0) == 0
    assert cause(story) is Cause.HANDOFF


def test_a_handoff_is_asked_about_once_and_only_within_its_60_seconds() -> None:
    story = running()
    story.exits(0)
    story.spawned()
    story.wait(60)

    assert only(ConsumeHandoff, story.probed(STARTED)) == []
    assert story.exits(1) > 1
    story.spawned()
    assert only(ConsumeHandoff, story.probed(STARTED)) == []


def test_a_slow_start_does_not_outlast_the_row() -> None:
    """It is asked about beside the start then, and still only once."""
    story = running()
    story.exits(0)
    story.spawned()
    story.wait(19)
    assert only(ConsumeHandoff, story.probed(NOT_YET)) == []
    story.wait(1)
    assert only(ConsumeHandoff, story.probed(NOT_YET)) == [ConsumeHandoff("main", 1, 301)]
    story.wait(1)
    assert only(ConsumeHandoff, story.probed(NOT_YET)) == []
    assert only(ConsumeHandoff, story.probed(STARTED)) == []

    story.tell(HandoffAnswered("main", 1, accepted=True))
    assert (story.child().score, story.child().handoff) == (0, None)


def test_an_answer_about_another_handoff_is_old_news() -> None:
    story = running()
    handed_off(story)
    before = story.child()

    assert story.tell(HandoffAnswered("main", 7, accepted=True)) == ()
    assert story.child() == before


def test_rejected_handoffs_are_terms_of_somebody_else() -> None:
    story = running()
    for life in (1, 2):
        handed_off(story)
        story.tell(HandoffAnswered("main", life, accepted=False))
        assert len(story.child().terms) == life
        story.wait(1)

    assert story.exits(0) == 900
    assert cause(story) is Cause.CONTESTED


def test_an_exit_0_after_a_sigterm_is_somebody_elses_whatever_consume_finds() -> None:
    """OpenClaw exits 0 for a SIGTERM too; its last words tell, and no handoff is there to be consumed."""
    story = running()
    waits = []
    for life in (1, 2, 3):
        waits.append(story.exits(0, heard="term"))
        if life < 3:
            story.up()
            story.tell(HandoffAnswered("main", life, accepted=None, detail="missing"))

    assert waits == [0, 2, 900]
    assert cause(story) is Cause.CONTESTED


@pytest.mark.parametrize(
    ("heard", "becomes"), [("restart", Cause.HANDOFF), ("", Cause.CONTESTED), ("term", Cause.CONTESTED)]
)
def test_an_exit_0_that_is_no_sigterm_is_no_contest(heard: Heard, becomes: Cause) -> None:
    """After two SIGTERMs of somebody else: without a word it may be the third."""
    story = main()
    for _ in range(2):
        story.up()
        story.exits(None, signal=15)
    story.up()

    wait = story.exits(0, heard=heard)

    assert cause(story) is becomes
    assert wait == (0 if becomes is Cause.HANDOFF else 900)


def test_a_degraded_life_that_lasts_forgets_an_unanswered_handoff_too() -> None:
    story = running()
    handed_off(story)
    story.probed(answer(ready=False))
    story.wait(120)
    story.probed(answer(ready=False))

    assert story.exits(0) == 0
    assert cause(story) is Cause.HANDOFF


def contested_story(rival: str = "", **fields: Any) -> Story:
    """Three SIGTERMs of somebody else within five minutes."""
    story = main(**fields)
    for signal in (15, None):
        story.up()
        story.exits(None if signal else 143, signal=signal)
    story.up()
    story.tell(Exited("main", 3, None, 15, rival=rival))
    return story


def test_three_sigterms_of_somebody_else_in_five_minutes_are_a_contest() -> None:
    story = contested_story()

    assert (story.state(), cause(story)) == ("blocked", Cause.CONTESTED)
    assert blocked(story).obstacle.what == "contested"
    assert story.until_spawn() == 900


def test_a_contest_names_the_unit_that_is_the_same_gateway() -> None:
    reason = blocked(contested_story("openclaw-gateway-main.service")).obstacle.reason

    assert reason.endswith("; openclaw-gateway-main.service is this gateway too")


def test_a_contest_is_retried_at_the_cap_but_within_the_burst_limit() -> None:
    assert contested_story(restart={**LIMITLESS, "cap": 30}).until_spawn() == 30
    assert contested_story(restart={"cap": 30}).until_spawn() == pytest.approx(310, abs=5)


def test_an_operators_start_wakes_a_contest_and_forgives_it() -> None:
    story = contested_story()

    assert only(Spawn, story.start()) == [Spawn("main", 4)]
    story.up()
    story.exits(None, signal=15)
    assert cause(story) is Cause.CRASH


def test_two_sigterms_or_three_in_more_than_five_minutes_are_crashes() -> None:
    story = main()
    for _ in range(9):
        story.up(ready_s=150)
        story.exits(None, signal=15)
        assert cause(story) is Cause.CRASH


def test_our_own_sigterms_are_no_contest() -> None:
    story = main()
    for _ in range(9):
        story.up()
        story.tell(StopAsked("main"))
        story.exits(None, signal=15)
        story.start()

    assert (cause(story), story.child().terms) == (Cause.ASKED, ())


def test_a_sigterm_in_a_hang_is_ours() -> None:
    story = main(probe={"failures": 1})
    for _ in range(9):
        story.up()
        story.probed(SILENT)
        story.exits(None, signal=15)
        assert cause(story) is Cause.HUNG


def test_the_reason_of_a_hang_outlives_its_end() -> None:
    story = main(probe={"failures": 1})
    story.up()
    story.probed(SILENT)

    story.tell(Exited("main", 1, None, 9))

    state = story.child().state
    assert isinstance(state, Backoff)
    assert state.why == "no answer within 10 s (1 probes in a row)"


def test_one_sigterm_that_both_the_log_and_openclaw_tell_of_is_one() -> None:
    """Three in five minutes are a contest, not two that are told of twice."""
    story = Story.of(definition())
    story.up()
    story.tell(Exited("main", 1, 0, None, heard="term"))
    story.up()

    story.tell(HandoffAnswered("main", 1, accepted=False))

    assert len(story.child().terms) == 1
