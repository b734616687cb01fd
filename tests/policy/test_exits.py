"""The table of causes (DESIGN.md §3), row by row (R24, R27)."""

import pytest

from supervisor.policy.actions import Incident, Spawn, Sweep, Unwatch, Watch
from supervisor.policy.events import Exited, HandoffAnswered, ObstacleChanged, RestartAsked
from supervisor.policy.facts import Answer, Cause, Guarded
from supervisor.policy.state import Failed
from tests.policy.builders import (
    INF,
    LIMITLESS,
    SILENT,
    STARTED,
    Story,
    answer,
    blocked,
    cause,
    definition,
    main,
    obstacle,
    only,
    running,
)


def test_what_we_asked_for_is_asked_whatever_the_status() -> None:
    for code, signal in ((0, None), (1, None), (78, None), (None, 9), (None, None)):
        story = main()
        story.up()
        story.stop()

        assert story.exits(code, signal=signal) == INF
        assert (story.state(), cause(story), story.child().score) == ("stopped", Cause.ASKED, 0)


@pytest.mark.parametrize(
    ("code", "signal"),
    [(1, None), (2, None), (127, None), (143, None), (None, 9), (None, 11), (None, 15), (None, None)],
)
def test_any_other_exit_is_a_crash(code: int | None, signal: int | None) -> None:
    story = running()

    assert story.exits(code, signal=signal) == 1
    assert cause(story) is Cause.CRASH


def test_an_exit_0_before_the_gateway_was_started_is_a_crash() -> None:
    story = main()
    story.spawned()

    assert story.exits(0) == 1
    assert cause(story) is Cause.CRASH


def test_the_end_of_a_life_is_told_with_its_length_and_swept() -> None:
    story = main()
    story.up(ready_s=7)

    actions = story.tell(Exited("main", 1, None, 9))

    assert actions == (Incident("main", 1, Cause.CRASH, None, 9, 7.0), Sweep("main", 1))
    last = story.child().last_exit
    assert last is not None
    assert (last.code, last.signal, last.at, last.ran_s) == (None, 9, story.now, 7)


def test_a_crash_loop_waits_1_2_4_seconds_up_to_the_cap() -> None:
    story = main()
    story.spawned()

    assert [story.exits() for _ in range(12)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]


def test_waiting_does_not_decay_the_score() -> None:
    story = main()
    for _ in range(11):
        story.exits()

    assert story.child().score == 11


@pytest.mark.parametrize("said", [STARTED, answer(started=True, ready=False)])
def test_an_hour_of_serving_halves_the_score_ready_or_not(said: Answer) -> None:
    story = main(restart={**LIMITLESS, "stable": 7200, "delay": 1})
    for _ in range(4):
        story.exits()
    story.spawned()
    story.probed(said)
    story.wait(3600)

    assert story.exits() == pytest.approx(4)
    assert story.child().score == 4 / 2 + 1


def test_an_account_that_is_broken_for_weeks_never_makes_one_crash_a_day_a_failure() -> None:
    """/readyz only informs (DESIGN.md §3); but it takes being ready to be stable, and so to be restarted at once."""
    story = Story.of(definition())
    for _ in range(30):
        story.spawned()
        story.probed(answer(started=True, ready=False, detail="telegram"))
        story.wait(86_400)
        assert story.exits() == pytest.approx(1)


def test_what_follows_a_hang_is_no_serving() -> None:
    story = main(probe={"failures": 1}, restart={**LIMITLESS, "stable": 7200})
    story.exits()
    story.up(ready_s=3600)
    story.probed(SILENT)
    story.wait(36_000)

    story.exits(None, signal=9)

    assert story.child().score == 1 / 2 + 1


@pytest.mark.parametrize("how", ["asked", "upgraded", "accepted handoff"])
def test_being_ready_decays_the_score_however_the_life_ended(how: str) -> None:
    """Three healthy days are not forgotten because an operator's restart ended them."""
    story = main()
    for _ in range(11):
        story.exits()
    story.up(ready_s=3 * 86400)
    if how == "asked":
        story.tell(RestartAsked("main"))
    story.exits(0 if how != "upgraded" else 1, upgraded=how == "upgraded")
    if how == "accepted handoff":
        story.tell(HandoffAnswered("main", 12, accepted=True))
    assert story.child().score == pytest.approx(0)
    story.up()
    assert story.exits() == pytest.approx(1)


def test_the_first_restart_after_a_stable_life_is_at_once_and_the_second_is_not() -> None:
    story = main()
    for _ in range(6):
        story.exits()
    story.up(ready_s=120)

    assert story.exits() == 0
    assert story.exits() > 32


def test_at_the_cap_it_is_failed_and_still_retried_and_one_short_of_it_is_backoff() -> None:
    story = main(restart={**LIMITLESS, "cap": 4})
    story.exits()
    story.tell(Exited("main", 2, 1, None))
    assert story.state() == "backoff"
    story.until_spawn()

    story.tell(Exited("main", 3, 1, None))

    assert isinstance(story.child().state, Failed)
    assert story.until_spawn() == 4


def test_the_rescue_is_never_given_up() -> None:
    """R25, R28."""
    story = Story.of(definition("rescue"))

    waits = []
    for _ in range(500):
        story.tell(Exited("rescue", story.life("rescue"), None, 9))
        assert story.state("rescue") == "backoff"
        waits.append(story.until_spawn("rescue"))

    assert waits[:7] == [1, 2, 4, 8, 16, 30, 30]
    assert max(waits) == 30


def test_78_before_started_is_no_boot_no_failure_and_blocked_until_the_file_changes() -> None:
    story = Story.of(definition(repair={"steps": ()}))
    for life in range(1, 20):
        story.spawned()
        actions = story.tell(Exited("main", life, 78, None, config_key=f"key {life}"))

        watch = blocked(story).obstacle
        assert actions[1:] == (Sweep("main", life), Watch("main", watch))
        assert (cause(story), watch.key, watch.what) == (Cause.CONFIG, f"key {life}", "config")
        assert story.until_spawn() == INF
        assert story.tell(ObstacleChanged("main", None)) == (Unwatch("main"), Spawn("main", life + 1))

    assert (story.child().score, story.child().boots) == (0, ())


def test_78_of_a_life_that_had_been_started_counts() -> None:
    story = Story.of(definition(repair={"steps": ()}))
    story.up()

    assert story.exits(78, config_key="k") == INF
    assert (story.child().score, len(story.child().boots)) == (1, 1)
    assert cause(story) is Cause.CONFIG


def test_a_config_that_never_existed_says_how_to_get_one() -> None:
    story = main()
    story.exits(78, config_key="")

    assert blocked(story).obstacle.reason == "there is no /home/.openclaw-main/openclaw.json"
    assert "onboard" in blocked(story).obstacle.mend


@pytest.mark.parametrize("code", [0, 1, 78, None])
def test_an_exit_before_started_with_a_port_or_lock_taken_is_a_conflict(code: int | None) -> None:
    """R4, R23: before anything else is believed about an exit, look at the ports and the lock."""
    for what in ("port", "lock"):
        story = main()
        story.spawned()
        taken = obstacle(what)

        assert story.exits(code, obstacle=taken) == INF
        assert (cause(story), blocked(story).obstacle) == (Cause.CONFLICT, taken)
        assert story.child().score == 0
        assert only(Spawn, story.tell(ObstacleChanged("main", None))) == [Spawn("main", 2)]


def test_78_is_config_only_with_ports_and_lock_free() -> None:
    story = running()

    story.exits(78, obstacle=obstacle("lock"))

    assert cause(story) is Cause.CONFLICT


def test_a_started_gateway_that_crashed_is_a_crash_even_if_its_port_is_taken_by_now() -> None:
    story = running()

    assert story.exits(None, signal=9, obstacle=obstacle()) == 1
    assert cause(story) is Cause.CRASH


def test_a_launcher_that_is_gone_is_missing_until_it_is_there() -> None:
    story = running()
    gone = obstacle("launcher", Cause.MISSING)

    assert story.exits(127, obstacle=gone) == INF
    assert (cause(story), blocked(story).obstacle) == (Cause.MISSING, gone)
    assert only(Spawn, story.tell(ObstacleChanged("main", None))) == [Spawn("main", 2)]


def test_an_upgrade_under_a_running_gateway_restarts_at_once_without_penalty() -> None:
    story = Story.of(definition())
    for _ in range(10):
        story.up()
        assert story.exits(1, upgraded=True) == 0
        assert cause(story) is Cause.UPGRADED

    assert (story.child().score, story.child().boots) == (0, ())


def test_a_start_that_fails_while_the_files_change_is_a_crash() -> None:
    """Else a launcher that never looks the same twice would be started without a pause for ever."""
    story = main()

    waits = []
    for _ in range(3):
        story.spawned()
        waits.append(story.exits(1, upgraded=True))

    assert (waits, cause(story)) == ([1, 2, 4], Cause.CRASH)


@pytest.mark.parametrize(("code", "signal"), [(None, 9), (2, None)])
def test_only_exit_1_is_an_upgrade(code: int | None, signal: int | None) -> None:
    story = running()
    story.exits(code, signal=signal, upgraded=True)

    assert cause(story) is Cause.CRASH


def test_an_exit_78_of_a_started_gateway_whose_file_has_moved_on_is_counted_once() -> None:
    story = Story.of(definition())
    story.up()

    story.tell(Exited("main", 1, 78, None, config_key="k2", guarded=Guarded(moved=True)))

    assert story.child().score == 1
