"""What answers and silence lead to: started, ready, degraded, hung (issue 2, item 6)."""

import pytest

from supervisor.policy.actions import Evidence, Probe, Terminate
from supervisor.policy.events import Probed
from supervisor.policy.fleet import decide
from supervisor.policy.state import Hung, Life, Ready, Stopping
from tests.policy.builders import (
    NOT_YET,
    NOW,
    SILENT,
    STARTED,
    Story,
    answer,
    begun,
    child,
    fleet,
    only,
)


def test_a_start_asks_until_it_is_started_and_then_asks_for_health() -> None:
    story = begun()

    (early,) = only(Probe, story.probed(NOT_YET))
    (late,) = only(Probe, story.probed(STARTED))

    assert (early.phase, late.phase) == ("start", "health")
    assert story.state() == "ready"
    assert late.at == story.now + 15


def test_a_start_is_asked_quickly_at_first_then_once_a_second() -> None:
    story = begun()

    pauses = []
    for _ in range(30):
        (probe,) = only(Probe, story.probed(NOT_YET))
        pauses.append(probe.at - story.now)
        story.wait(pauses[-1])

    assert pauses[0] == pytest.approx(0.05)
    assert pauses == sorted(pauses)
    assert pauses[-1] == 1.0


def test_a_start_without_progress_is_hung_at_its_timeout() -> None:
    story = begun(start={"timeout": 20})

    story.wait(19.9)
    assert story.state() == "starting"
    actions = story.wait(0.2)

    assert story.state() == "hung"
    assert only(Terminate, actions) == [Terminate("main", 1)]
    assert "not started after 20 s" in status_of(story)


def status_of(story: Story) -> str:
    state = story.child().state
    assert isinstance(state, Hung)
    return state.why


def progressing(story: Story, seconds: int) -> None:
    """A start that does something every second."""
    for done in range(1, seconds + 1):
        story.probed(answer(started=False, progress=done, detail="migrating"))
        story.wait(1)


def test_a_start_that_makes_progress_gets_more_time() -> None:
    story = begun(start={"timeout": 20, "cap": 200})

    progressing(story, 100)

    assert story.state() == "starting"


def test_a_start_that_stops_making_progress_is_hung_a_minute_later() -> None:
    story = begun()
    progressing(story, 350)

    story.wait(55)
    assert story.state() == "starting"
    story.wait(5)

    assert story.state() == "hung"


def test_progress_extends_a_start_never_past_its_cap() -> None:
    story = begun(start={"timeout": 20, "cap": 50})

    progressing(story, 49)
    assert story.state() == "starting"
    progressing(story, 1)

    assert story.state() == "hung"
    assert "migrating" in status_of(story)


def test_work_before_the_timeout_does_not_stretch_a_short_one_to_a_minute() -> None:
    """`[start] timeout` is longer while start-up makes progress, not for having begun with some."""
    story = begun(start={"timeout": 2})
    story.probed(answer(started=False, progress=5))

    story.wait(2.1)

    assert story.state() == "hung"


def test_eight_missed_probes_in_a_row_are_a_hang() -> None:
    story = begun()
    story.probed(STARTED)

    for _ in range(7):
        story.probed(SILENT)
    assert story.state() == "ready"
    actions = story.probed(SILENT)

    assert story.state() == "hung"
    assert actions == (Evidence("main", 1), Terminate("main", 1))
    assert "no answer within 10 s (8 probes in a row)" in status_of(story)


def test_one_answer_forgives_all_misses() -> None:
    story = begun()
    story.probed(STARTED)

    for _ in range(5):
        for _ in range(7):
            story.probed(SILENT)
        story.probed(answer(ready=True))

    assert story.state() == "ready"


def test_missed_probes_keep_their_rhythm() -> None:
    """The interval runs from question to question, whatever the wait for an answer cost."""
    story = begun()
    story.probed(STARTED)
    story.wait(15 + 10)

    (probe,) = only(Probe, story.probed(SILENT))

    assert probe.at == story.now - 10 + 15


def test_degraded_never_restarts_anything() -> None:
    story = begun()
    story.probed(STARTED)

    for _ in range(1000):
        actions = story.probed(answer(ready=False, detail="telegram"))
        assert [type(action) for action in actions] == [Probe]
        story.wait(15)

    assert story.state() == "degraded"
    assert story.spawns() == ["main"]


def test_a_degraded_gateway_is_asked_often_for_a_minute_only() -> None:
    story = begun()

    (first,) = only(Probe, story.probed(answer(started=True, ready=False)))
    assert first.at == story.now + 2
    story.wait(60)
    (later,) = only(Probe, story.probed(answer(ready=False)))

    assert later.at == story.now + 15


def test_ready_time_is_summed_over_spells_and_degraded_time_is_not_in_it() -> None:
    story = begun()
    story.probed(STARTED)
    story.wait(70)
    story.probed(answer(ready=False))
    story.wait(500)
    story.probed(answer(ready=True))
    story.wait(49.5)

    assert story.exits(1) == 1.0

    story.up(ready_s=70)
    story.probed(answer(ready=False))
    story.probed(answer(ready=True))
    story.wait(50)

    assert story.exits(1) == 0


def test_a_stop_of_a_ready_life_keeps_what_it_was_ready_for() -> None:
    story = begun()
    story.probed(STARTED)
    story.wait(40)

    story.stop()

    state = story.child().state
    assert isinstance(state, Stopping)
    assert state.life.ready_s == 40


def test_an_old_answer_changes_nothing() -> None:
    before = fleet(child(Ready(Life(3, 0, 303, 1, 1), 0, 0)))

    assert decide(before, Probed("main", 2, SILENT), NOW) == (before, ())


def test_a_cap_below_the_timeout_ends_a_start_all_the_same() -> None:
    """INTERFACE.md §2: never past [start] cap, as `check` says of such a definition."""
    story = begun(start={"timeout": 50, "cap": 20})

    story.wait(20)

    assert story.state() == "hung"
