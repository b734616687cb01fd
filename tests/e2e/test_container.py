"""`clawsup run` as PID 1 of a container: a pid namespace of its own, no systemd (the fake OpenClaw)."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.supervised import Supervisor, gone
from tests.e2e.world import REPOSITORY, World, kill

ENTER = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--")


@pytest.fixture
def container(world: World) -> Iterator[Supervisor]:
    """A supervisor whose keeper is PID 1; whatever is left of it is killed with its namespace."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a pid namespace needs root and unshare")
    world.define("main", role="main", env={"FAKE_HELPER": "daemon"})
    supervisor = Supervisor(world)
    supervisor.state_dir.mkdir(mode=0o700)
    with supervisor.errors.open("ab") as errors:
        process = subprocess.Popen(
            [*ENTER, *supervisor.argv("run")],
            cwd=REPOSITORY,
            env=world.env,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
        )
    supervisor.process = process
    yield supervisor
    process.kill()
    process.wait()


def first(supervisor: Supervisor) -> int:
    """PID 1 of the container, by its number outside."""
    assert supervisor.process is not None
    pid = supervisor.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_it_is_pid_1_reaps_every_orphan_and_ends_in_order(container: Supervisor) -> None:
    """R26: `docker stop` is SIGTERM to PID 1; an orphan of a gateway must not stay a zombie for ever."""
    seen = container.wait_ready()["main"]
    assert container.status()["supervisor"]["keeper_pid"] == 1
    keeper = first(container)
    inside = [int(pid) for pid in Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()]
    brain, *others = inside
    assert others, "the gateway and what it left behind are below PID 1"
    kill(brain)
    container.wait_for(lambda: gone(brain) and container.status(), "a new brain")
    assert container.wait_state("main", "ready", adopted=True)["pid"] == seen["pid"]
    children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    assert not [pid for pid in children if gone(int(pid))], "zombies"
    os.kill(keeper, signal.SIGTERM)
    assert container.process is not None
    assert container.process.wait(30) == 0
    assert container.events()[-1]["event"] == "supervisor_stopped"
