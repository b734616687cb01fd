"""Keeper and brain both die, at any moment, and what they knew is lost: the next `run` adopts what lives (the fake OpenClaw)."""

import json
import os
import random
import signal
import socket
import time
from pathlib import Path

import pytest

from supervisor.host import locks
from tests.e2e.conftest import Supervise
from tests.e2e.supervised import Supervisor, gone
from tests.e2e.world import Gateway, World, environ, kill, processes, wait_for

ROUNDS = int(os.environ.get("CLAWSUP_DEATH_ROUNDS", "12"))


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def children(pid: int) -> list[int]:
    return [each for each in processes() if parent_of(each) == pid]


def brains_of(supervisor: Supervisor) -> list[int]:
    """Every process with brain.lock: one, or for a moment its child that has not yet become somebody else."""
    return list(locks.holders(supervisor.state_dir / "brain.lock"))


def living(gateway: Gateway) -> list[int]:
    return [life["pid"] for life in gateway.lives() if not gone(life["pid"])]


def kill_both(supervisor: Supervisor) -> dict[str, int]:
    """SIGKILL keeper and brain, both while neither can act, and wait for their ends."""
    pids: dict[str, int] = supervisor.status()["supervisor"]
    kill(pids["keeper_pid"], signal.SIGSTOP)
    kill(pids["pid"])
    kill(pids["keeper_pid"])
    supervisor.wait_for(lambda: gone(pids["pid"]) and gone(pids["keeper_pid"]), "both are dead")
    return pids


def test_both_killed_at_random_moments_with_the_next_start_racing_never_make_two_gateways(
    world: World, supervise: Supervise
) -> None:
    """R23, R24: whatever the moment (CLAWSUP_DEATH_SEED, CLAWSUP_DEATH_ROUNDS), no gateway is started beside another, or twice."""
    seed = int(os.environ.get("CLAWSUP_DEATH_SEED") or time.time_ns() % 1_000_000)
    print(f"CLAWSUP_DEATH_SEED={seed}")  # noqa: T201 (shown with a failure: it makes it happen again)
    dice = random.Random(seed)  # noqa: S311 (no secret)
    gateways = [world.define("main", env={"FAKE_START_S": "0.3"}), world.define("rescue", role="rescue")]
    old, stopped = supervise(), list[int]()
    for _ in range(ROUNDS):
        moment = time.monotonic() + dice.uniform(0, 0.9)
        wait_for(lambda at=moment: time.monotonic() >= at, "the moment")  # type: ignore[misc]  # mypy cannot infer a default
        assert old.process is not None
        keeper = old.process.pid
        brain = next(iter(children(keeper)), 0)
        fate = dice.choice(["keeper", "brain first", "stopped brain"])
        if brain and fate == "brain first":
            kill(brain)
        if brain and fate == "stopped brain":
            kill(brain, signal.SIGSTOP)
            stopped.append(brain)
        kill(keeper)
        old.process.wait(10)
        old = supervise()
    seen = old.wait_ready()
    # Those that had not yet begun to act were left where they stood; awake, they see that they are nobody's.
    for brain in stopped:
        kill(brain, signal.SIGCONT)
    old.wait_for(lambda: all(map(gone, stopped)), "no brain without a keeper goes on")
    for gateway in gateways:
        assert not (gateway.fake_dir / "overlap").exists()
        assert living(gateway) == [seen[gateway.name]["pid"]]
        assert len(gateway.lives()) == 1, gateway.lives()
    assert len(brains_of(old)) == 1


def test_a_stopped_brain_without_a_keeper_is_ended_before_the_next_one_acts(world: World, supervise: Supervise) -> None:
    """R23: it cannot see that it has no right to live any more; awake, it would act beside the next one."""
    main = world.define("main")
    first = supervise()
    before = first.wait_ready()["main"]
    pids = first.status()["supervisor"]
    kill(pids["pid"], signal.SIGSTOP)
    kill(pids["keeper_pid"])
    second = supervise()
    assert second.wait_state("main", "ready", adopted=True)["pid"] == before["pid"]
    assert gone(pids["pid"])
    assert brains_of(second) == [second.status()["supervisor"]["pid"]]
    assert len(main.lives()) == 1


def test_an_adopted_gateway_that_is_nobodys_child_still_tells_how_it_ended(world: World, supervise: Supervise) -> None:
    """R27: its parent is now init, so the kernel itself is asked (Linux 6.15); before that, unknown is what is said."""
    world.define("main", sections={"restart": {"delay": 0.1}})
    first = supervise()
    first.wait_ready()
    kill_both(first)
    second = supervise()
    pid = second.wait_state("main", "ready", adopted=True)["pid"]
    assert parent_of(pid) != second.status()["supervisor"]["keeper_pid"]
    (world.gateways["main"].fake_dir / "exit-7").touch()
    ended = second.wait_state("main", "ready", restarts=1)["last_exit"]
    release = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2]))
    assert ended["code"] == (7 if release >= (6, 15) else None)


def test_a_lost_identity_is_taken_from_the_gateways_that_live(world: World, supervise: Supervise) -> None:
    """R23: without it, our own gateways would be strangers that block themselves; children's records are lost as well."""
    main, other = world.define("main", env={"FAKE_HELPER": "daemon"}), world.define("other")
    first = supervise()
    before = first.wait_ready()
    kill_both(first)
    (first.state_dir / "instance.json").write_text("{}")
    for record in (first.state_dir / "children").glob("*.json"):
        record.unlink()
    second = supervise()
    for name, seen in before.items():
        assert second.wait_state(name, "ready", adopted=True)["pid"] == seen["pid"]
    assert list(second.state_dir.glob("instance.json.bad-*"))
    assert [len(main.lives()), len(other.lives())] == [1, 1]
    second.replace_brain()
    assert second.wait_state("main", "ready", adopted=True)["pid"] == before["main"]["pid"]
    kill(before["main"]["pid"])
    assert second.wait_state("main", "ready", restarts=1)["pid"] not in (None, before["main"]["pid"])


@pytest.mark.parametrize("content", [b"", b"\x00\xff", b'{"schema": 2, "child": {}}', b"[]"])
def test_a_state_record_that_makes_no_sense_is_set_aside_and_its_gateway_adopted(
    world: World, supervise: Supervise, content: bytes
) -> None:
    """R23: torn, or written by a newer clawsup."""
    main = world.define("main")
    supervisor = supervise()
    before = supervisor.wait_ready()["main"]
    record = supervisor.state_dir / "children" / "main.json"
    brain = supervisor.status()["supervisor"]["pid"]
    kill(brain, signal.SIGSTOP)
    record.write_bytes(content)
    kill(brain)
    assert supervisor.wait_state("main", "ready", adopted=True)["pid"] == before["pid"]
    assert len(list(record.parent.glob("main.json.bad-*"))) == 1
    assert json.loads(record.read_bytes())["schema"] == 1
    assert len(main.lives()) == 1


def test_a_record_from_before_the_present_life_does_not_cost_the_present_life(
    world: World, supervise: Supervise
) -> None:
    """R27: a disk that was full when the life began; what lives counts for more than what is written."""
    main = world.define("main")
    supervisor = supervise()
    supervisor.wait_ready()
    record = supervisor.state_dir / "children" / "main.json"
    earlier = record.read_bytes()
    kill(supervisor.gateway("main")["pid"])
    second = supervisor.wait_state("main", "ready", restarts=1)
    brain = supervisor.status()["supervisor"]["pid"]
    kill(brain, signal.SIGSTOP)
    record.write_bytes(earlier)
    kill(brain)
    assert supervisor.wait_state("main", "ready", adopted=True)["pid"] == second["pid"]
    assert len(main.lives()) == 2


def test_a_gateway_started_by_the_dead_goes_on_serving_while_nobody_lives(world: World, supervise: Supervise) -> None:
    """R25: the last of its words are in the log of the next supervisor."""
    main = world.define("main", env={"FAKE_CHATTER": "100"})
    first = supervise()
    pid = first.wait_ready()["main"]["pid"]
    kill_both(first)
    socket.create_connection(("127.0.0.1", main.port), timeout=5).close()
    assert b"CLAWSUP_RUN=" in environ(pid)
    second = supervise()
    second.wait_state("main", "ready", adopted=True)
    lines = [int(line.partition("#")[2].split()[0]) for line in second.log("main").splitlines() if f" {pid}#" in line]
    assert lines == list(range(1, len(lines) + 1))
