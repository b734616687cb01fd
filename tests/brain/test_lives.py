"""Which process is the gateway, what belongs to a life that is over, and how it ends; on real processes."""

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.brain.identity import Identity
from supervisor.brain.lives import Lives, Living
from supervisor.host import processes
from supervisor.host.processes import Plan, Process
from supervisor.policy.definition import Definition
from supervisor.policy.state import Life
from tests.e2e.world import wait_for

IDENTITY = Identity(f"test{os.getpid()}", "seed")
Born = Callable[..., Process]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture
def born(state_dir: Path) -> Iterator[Born]:
    """Give birth to a process of a life of main: `locked` as its gateway is, and running a script."""
    started: list[Process] = []

    def start(life: int, script: str = "exec sleep 600", *, locked: bool = True, marked: bool = True) -> Process:
        token = IDENTITY.token("main", life)
        lock = os.open(state_dir, os.O_RDONLY)
        if locked:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        null = os.open(os.devnull, os.O_RDWR)
        env = {"PATH": "/usr/bin:/bin", "CLAWSUP_RUN": token}
        mark = IDENTITY.mark(token) if marked else 0
        process = processes.spawn(Plan(["sh", "-c", script], env, "/", null, lock, mark=mark))
        os.close(null)
        os.close(lock)
        assert isinstance(process, Process)
        started.append(process)
        return process

    yield start
    for process in started:
        processes.send(process, signal.SIGKILL)
    for process in started:
        wait_for(lambda each=process: processes.pin(each.pid) is None, "its end")  # type: ignore[misc]  # mypy infers no default
        processes.reap(process)


def living(life: int, process: Process, state_dir: Path) -> Living:
    definition = Definition.model_validate(
        {"name": "main", "port": 20000, "profile": "main", "state_dir": str(state_dir), "config_path": f"{state_dir}/c"}
    )
    return Living(life, process, definition, None)


def pid_of(found: tuple[int, Process] | None) -> tuple[int, int] | None:
    if found is None:
        return None
    os.close(found[1].pidfd)
    return found[0], found[1].pid


def test_the_process_on_record_is_found(born: Born, state_dir: Path) -> None:
    """R25: also where the lock cannot be seen on it."""
    process = born(3, locked=False)
    recorded = Life(3, 0.0, process.pid, process.start_ticks)
    assert pid_of(Lives(IDENTITY, None).find("main", state_dir, recorded, 3)) == (3, process.pid)


def test_a_life_whose_pid_was_never_recorded_is_found_by_lock_and_token(born: Born, state_dir: Path) -> None:
    """R23: the brain died between the spawn and its record."""
    process = born(3)
    lives = Lives(IDENTITY, None)
    assert pid_of(lives.find("main", state_dir, Life(3, 0.0), 3)) == (3, process.pid)
    assert lives.find("other", state_dir, Life(3, 0.0), 3) is None


def test_a_life_later_than_all_on_record_is_found(born: Born, state_dir: Path) -> None:
    process = born(4)
    lives = Lives(IDENTITY, None)
    assert pid_of(lives.find("main", state_dir, Life(3, 0.0, 1, 1), 3)) == (4, process.pid)
    assert pid_of(lives.find("main", state_dir, None, 0)) == (4, process.pid)


@pytest.mark.parametrize(
    ("recorded", "lives"),
    [(Life(3, 0.0, 1, 1), 3), (None, 3), (None, 4)],
    ids=["the record names another process", "that life is known to be over", "long over"],
)
def test_a_helper_that_outlived_its_gateway_is_not_taken_for_it(
    born: Born, state_dir: Path, recorded: Life | None, lives: int
) -> None:
    """R26: it has the token, leads a session of its own and holds the lock, as the children of a shell do."""
    born(3)
    assert Lives(IDENTITY, None).find("main", state_dir, recorded, lives) is None


def test_who_has_the_token_but_neither_lock_nor_record_is_not_the_gateway(born: Born, state_dir: Path) -> None:
    born(3, locked=False)
    assert Lives(IDENTITY, None).find("main", state_dir, Life(3, 0.0), 3) is None


async def test_a_sweep_ends_a_life_and_spares_the_others(born: Born, state_dir: Path) -> None:
    """R26: what has cleared its environment too."""
    lives = Lives(IDENTITY, None)
    old = born(1, "(env -i setsid sleep 600 &) ; exec sleep 600", locked=False)
    present = born(2, "(env -i setsid sleep 600 &) ; exec sleep 600")
    lives.begin("main", living(2, present, state_dir))

    def marked(life: int) -> set[int]:
        mark = IDENTITY.mark(IDENTITY.token("main", life))
        return {pid for pid in processes.pids() if processes.mark_of(pid) == mark and not processes.is_zombie(pid)}

    wait_for(lambda: len(marked(1)) == len(marked(2)) == 2, "gateway and daemon of both")
    assert all(map(lives.is_leftover, marked(1)))
    assert not any(map(lives.is_leftover, marked(2)))
    assert not lives.is_leftover(os.getpid())
    await lives.sweep("main", 1)
    wait_for(lambda: not marked(1), "nothing of the first life is left")
    assert len(marked(2)) == 2
    assert processes.pin(old.pid) is None
    await lives.sweep_the_rest()
    assert len(marked(2)) == 2


async def test_what_no_present_life_owns_is_swept_with_the_rest(born: Born) -> None:
    lives = Lives(IDENTITY, None)
    unmarked, stranger = born(7, locked=False, marked=False), os.getpid()
    await lives.sweep_the_rest()
    wait_for(lambda: processes.pin(unmarked.pid) is None, "its end")
    assert processes.start_ticks(stranger) is not None


async def test_a_life_is_buried_by_its_own_sweep_though_its_successor_was_born_before(
    born: Born, state_dir: Path
) -> None:
    """The most memory it had is learnt with its burial, and once."""
    lives = Lives(IDENTITY, None)
    first, second = born(1, "exit 7"), born(2, locked=False)
    wait_for(lambda: processes.is_zombie(first.pid), "its end")
    ended = living(1, Process(first.pid, os.dup(first.pidfd), first.start_ticks), state_dir)
    lives.begin("main", ended)
    lives.end("main", ended)
    lives.begin("main", living(2, second, state_dir))
    assert processes.is_zombie(first.pid)
    lives.bury("main", 1)
    assert not processes.is_zombie(first.pid)


async def test_a_status_can_be_learnt_by_others_until_its_life_is_buried(born: Born, state_dir: Path) -> None:
    """R27: a brain may die between having seen the end and having written it down."""
    lives = Lives(IDENTITY, None)
    first = born(1, "exit 7")
    wait_for(lambda: processes.is_zombie(first.pid), "its end")
    kept = Process(first.pid, os.dup(first.pidfd), first.start_ticks)
    lives.begin("main", living(1, kept, state_dir))
    lives.end("main", living(1, kept, state_dir))
    assert await processes.ended(first) == 7 << 8
    lives.bury("main", 1)
    assert processes.start_ticks(first.pid) is None
    lives.bury("main", 1)
