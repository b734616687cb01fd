"""The loop in virtual time: the order of its work, its beat, its sleep and its end (R22, R27)."""

import math
from itertools import pairwise

import anyio
import pytest
from trio.testing import MockClock

from supervisor.daemon import Daemon
from supervisor.policy.actions import Action, Finish, Terminate
from supervisor.policy.events import Booted, Exited, Probed, Reloaded, ShutdownAsked, StartAsked, StopAsked
from supervisor.policy.facts import Roster
from supervisor.policy.fleet import Fleet
from tests.daemon.fake_host import Host, falls_at_once, obeys, running
from tests.policy.builders import STARTED, definition

HOUR_S = 3600.0


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, MockClock]]:
    """Trio, on a clock that jumps to the next deadline whenever everybody waits."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def test_a_decision_is_journalled_then_kept_then_acted_upon_then_told() -> None:
    async with running(definition()) as run:
        await anyio.sleep(1)

        done = run.host.done
        spawn = done.index("act spawn 18789")
        assert done[spawn - 2 : spawn + 2] == [
            "journal booted",
            "keep main starting",
            "act spawn 18789",
            "say booted",
        ]
        ready = done.index("journal ready")
        assert done[ready - 2 : ready + 3] == [
            "journal probed",
            "journal started",
            "journal ready",
            "keep main ready",
            "act probe 18789",
        ]


async def test_a_successor_is_spawned_before_anything_else_is_done_about_the_end() -> None:
    async with running(definition(restart={"stable": 1})) as run:
        await anyio.sleep(60)
        run.host.done.clear()

        run.daemon.post(Exited("main", 1, None, 9))
        await anyio.sleep(1)

        acts = [text.split()[1] for text in run.host.done if text.startswith("act")]
        assert acts[:3] == ["spawn", "incident", "sweep"]


async def test_what_is_not_worth_a_line_is_not_kept_either() -> None:
    async with running(definition()) as run:
        await anyio.sleep(1)
        run.host.done.clear()

        run.daemon.post(Probed("main", 1, STARTED))
        await anyio.sleep(1)

        assert run.host.done == ["act probe 18789"]


async def test_a_child_that_is_no_more_is_forgotten_on_disk() -> None:
    async with running(definition("main", enabled=False)) as run:
        await anyio.sleep(1)

        run.daemon.post(Reloaded(Roster(())))
        await anyio.sleep(1)

        assert "forget main" in run.host.done


async def test_a_gateway_is_spawned_by_its_new_definition() -> None:
    async with running(definition()) as run:
        await anyio.sleep(1)
        run.daemon.post(Reloaded(Roster((definition(port=20000),))))
        await anyio.sleep(1)
        run.daemon.post(Exited("main", 1, 0, None))
        await anyio.sleep(2)

        assert [text for text in run.host.done if text.startswith("act spawn")] == [
            "act spawn 18789",
            "act spawn 20000",
        ]


async def test_a_crash_loop_keeps_its_delays_over_an_hour() -> None:
    """R27: on the clock, not only in the arithmetic."""
    async with running(definition(restart={"burst": 0}), answer=falls_at_once) as run:
        await anyio.sleep(HOUR_S)

        gaps = [after - before for before, after in pairwise(run.host.spawned_at)]
        assert gaps == pytest.approx([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900])


async def test_a_crash_loop_keeps_the_burst_limit_over_an_hour() -> None:
    async with running(definition(), answer=falls_at_once) as run:
        await anyio.sleep(HOUR_S)

        spawns = run.host.spawned_at
        assert len(spawns) > 8
        assert all(later - earlier >= 310 for earlier, later in zip(spawns, spawns[3:], strict=False))


async def test_the_rescue_comes_back_every_30_s_for_an_hour() -> None:
    """R25, R28."""
    async with running(definition("rescue"), answer=falls_at_once) as run:
        await anyio.sleep(HOUR_S)

        gaps = [after - before for before, after in pairwise(run.host.spawned_at)]
        assert max(gaps) == pytest.approx(30)


async def test_an_idle_daemon_beats_in_time_and_does_nothing_else() -> None:
    async with running(definition("main", enabled=False), beat_s=3.0) as run:
        await anyio.sleep(1)
        run.host.done.clear()
        await anyio.sleep(HOUR_S)

        assert_beats(run.beats, 3.0)
        assert HOUR_S / 3.0 <= len(run.beats) <= HOUR_S / 3.0 + 10
        assert run.host.done == []


async def test_a_daemon_that_nobody_listens_to_sleeps() -> None:
    async with running(definition("main", enabled=False)) as run:
        await anyio.sleep(1)
        before = len(run.beats)
        await anyio.sleep(HOUR_S)

        assert len(run.beats) == before


async def test_a_flood_of_events_does_not_stop_the_beat_nor_a_deadline() -> None:
    async with running(definition("main"), definition("other"), beat_s=3.0) as run:
        await anyio.sleep(1)
        run.daemon.post(Exited("other", 1, 1, None))
        begun = anyio.current_time()
        for _ in range(400):
            for _ in range(25):
                run.daemon.post(StartAsked("main"))
            await anyio.sleep(0.01)

        assert_beats(run.beats, 3.0)
        assert run.host.spawned_at[-1] == pytest.approx(begun + 1, abs=0.1)


async def test_a_loop_that_is_given_a_full_inbox_lets_others_run() -> None:
    async with running(definition("main")) as run:
        await anyio.sleep(1)
        for _ in range(5000):
            run.daemon.post(StartAsked("main"))
        beats = len(run.beats)

        await anyio.lowlevel.checkpoint()

        assert len(run.beats) < beats + 5000


def assert_beats(beats: list[float], at_most_s: float) -> None:
    gaps = [after - before for before, after in pairwise(beats)]
    assert max(gaps) <= at_most_s + 1e-6


async def test_an_event_at_the_very_instant_of_a_deadline_is_not_lost() -> None:
    async with running(definition(restart={"burst": 0}), definition("other", enabled=False), beat_s=1.0) as run:
        await anyio.sleep(0.5)
        for _ in range(100):
            await anyio.sleep_until(math.floor(anyio.current_time()) + 1.0)
            run.daemon.post(StartAsked("other"))
            await anyio.sleep(0.5)
            assert run.daemon.fleet.children["other"].wanted
            run.daemon.post(StopAsked("other"))
            await anyio.sleep(0.25)
            assert not run.daemon.fleet.children["other"].wanted


async def test_changed_returns_after_the_next_change_and_not_before() -> None:
    async with running(definition()) as run:
        await anyio.sleep(1)
        with anyio.move_on_after(10) as idle:
            await run.daemon.changed()
        assert idle.cancelled_caught

        begun = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(run.daemon.changed)
            await anyio.sleep(5)
            run.daemon.post(StopAsked("main"))
        assert anyio.current_time() == begun + 5


async def test_decided_returns_once_all_that_was_posted_is_on_record_and_at_once_where_nothing_waits() -> None:
    """R27: an operator is not told that a stop is asked for which this brain could still forget."""
    async with running(definition()) as run:
        await anyio.sleep(1)
        run.host.done.clear()

        run.daemon.post(Probed("main", 1, STARTED))
        run.daemon.post(StopAsked("main"))
        await run.daemon.decided()
        assert "keep main stopping" in run.host.done
        await run.daemon.decided()


async def test_the_daemon_ends_when_everything_is_down_after_a_shutdown() -> None:
    """R25: and the rescue is the last."""
    host = Host(answer=obeys)
    daemon = Daemon(Fleet(cores=2), host, host)
    host.post = daemon.post
    daemon.post(Reloaded(Roster((definition("main"), definition("rescue")))))
    daemon.post(Booted(first=True))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(daemon.run)
        await anyio.sleep(1)
        daemon.post(ShutdownAsked())

    assert daemon.fleet.finished
    assert [text for text in host.done if not text.startswith("say")][-1] == f"act {Finish().kind} None"
    assert [text for text in host.done if text.startswith("keep") and "stopped" in text][-2:] == [
        "keep main stopped",
        "keep rescue stopped",
    ]


async def test_a_gateway_that_does_not_hear_ends_with_a_kill_at_its_deadline() -> None:
    def deaf(host: Host, action: Action) -> None:
        if not isinstance(action, Terminate):
            obeys(host, action)

    host = Host(answer=deaf)
    daemon = Daemon(Fleet(cores=2), host, host, beat_s=3.0)
    host.post = daemon.post
    daemon.post(Reloaded(Roster((definition("main", stop={"timeout": 20.0}),))))
    daemon.post(Booted(first=True))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(daemon.run)
        await anyio.sleep(1)
        daemon.post(ShutdownAsked())

    assert anyio.current_time() == pytest.approx(21)


async def test_hands_that_answer_at_once_are_heard_in_their_turn() -> None:
    """An answer posted from within an action is decided after the decision that led to it, never inside."""
    async with running(definition(), answer=falls_at_once) as run:
        await anyio.sleep(0.5)

        told = [text.removeprefix("journal ") for text in run.host.done if text.startswith("journal ")]
        assert told == ["reloaded", "booted", "spawned", "exited", "backoff"]
