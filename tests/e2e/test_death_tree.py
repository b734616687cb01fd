"""What grows from a gateway ends with it, whatever it does to get away (the fake OpenClaw behind a launcher that leaves a lot behind)."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from supervisor.host import locks
from tests.e2e.conftest import Supervise
from tests.e2e.supervised import Supervisor, gone
from tests.e2e.world import FAKE, REPOSITORY, Gateway, World, command_line, kill, processes, wait_for

CGROUPS = Path("/sys/fs/cgroup/unified") if Path("/sys/fs/cgroup/unified").exists() else Path("/sys/fs/cgroup")
KINDS = ("child", "session", "daemon", "cleared", "hydra")
# Five ways to get away; everybody's command line names this directory. The last one re-forks every 5 ms, with a clean environment.
LAUNCHER = """#!/bin/sh
here={here}
case "$*" in *"gateway run"*)
    {here}/sleep-child 600 &
    setsid {here}/sleep-session 600 &
    (setsid {here}/sleep-daemon 600 &)
    (env -i setsid {here}/sleep-cleared 600 </dev/null >/dev/null 2>&1 &)
    (env -i PATH=/usr/bin:/bin setsid sh {here}/hydra </dev/null >/dev/null 2>&1 &)
esac
exec {python} -I {fake} "$@"
"""
HYDRA = """sleep 0.005
setsid sh "$0" &
"""


def nasty(world: World, name: str, **keys: Any) -> Gateway:
    """Define a gateway whose launcher leaves every kind of process behind."""
    here = world.root / f"nasty-{name}"
    here.mkdir()
    for kind in KINDS[:-1]:
        (here / f"sleep-{kind}").symlink_to("/bin/sleep")
    (here / "hydra").write_text(HYDRA)
    launcher = here / "openclaw"
    launcher.write_text(LAUNCHER.format(here=here, python=sys.executable, fake=FAKE))
    launcher.chmod(0o755)
    return world.define(name, command=[str(launcher)], **keys)


def tree(world: World, name: str) -> dict[int, str]:
    """Every process that the launcher of that gateway left, by its kind."""
    here = f"{world.root}/nasty-{name}/"
    lines = {pid: line for pid in processes() if here in (line := command_line(pid))}
    return {pid: next(kind for kind in KINDS if kind in line) for pid, line in lines.items() if "openclaw" not in line}


def wait_tree(supervisor: Supervisor, name: str) -> dict[int, str]:
    def whole() -> dict[int, str]:
        found = tree(supervisor.world, name)
        return found if set(found.values()) == set(KINDS) else {}

    found: dict[int, str] = supervisor.wait_for(whole, "all kinds of processes")
    return found


def end_leftovers(world: World) -> None:
    for name in world.gateways:
        for _ in range(200):
            found = tree(world, name)
            for pid in found:
                kill(pid)
            if not found:
                break


@pytest.fixture
def nest(world: World) -> Iterator[World]:
    """The world, from which what a failed test has left is removed."""
    yield world
    end_leftovers(world)


def kept_alive(pids: dict[int, str]) -> set[int]:
    return {pid for pid, kind in pids.items() if kind != "hydra" and not gone(pid)}


def prove_nothing_is_left(supervisor: Supervisor) -> None:
    """After a crash, a kill and a stop; the tree of a gateway beside it stays whole until its own turn comes."""
    world = supervisor.world
    supervisor.wait_ready()
    first, other = wait_tree(supervisor, "main"), wait_tree(supervisor, "other")
    kill(supervisor.gateway("main")["pid"])
    supervisor.wait_state("main", "ready", restarts=1)
    supervisor.wait_for(lambda: not kept_alive(first), "nothing of the life that crashed is left", 10)
    wait_tree(supervisor, "main")
    supervisor.replace_brain()
    assert supervisor.cli("stop", "--now", "main").returncode == 0
    supervisor.wait_for(lambda: not tree(world, "main"), "nothing of main is left", 10)
    assert kept_alive(other) == {pid for pid, kind in other.items() if kind != "hydra"}
    assert supervisor.stop() == 0
    wait_for(lambda: not tree(world, "other"), "nothing at all is left", 10)


def test_nothing_of_a_tree_is_left_where_no_cgroup_is_ours(nest: World, supervise: Supervise) -> None:
    """R26: who clears his environment, session and parents still carries the mark."""
    nasty(nest, "main")
    nasty(nest, "other")
    prove_nothing_is_left(supervise())


class Prefixed(Supervisor):
    """A supervisor whose `run` is started by another command."""

    prefix: tuple[str, ...] = ()

    def start(self, output: IO[bytes] | int | None = None) -> "Prefixed":
        assert output is None
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*self.prefix, *self.argv("run")],
                cwd=REPOSITORY,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
        return self


@pytest.fixture
def delegated() -> Iterator[Path]:
    """A cgroup that is given away as systemd gives them."""
    cgroup = CGROUPS / f"clawsup-test-{os.getpid()}"
    try:
        cgroup.mkdir()
        os.setxattr(cgroup, "user.delegate", b"1")
    except OSError as error:
        pytest.skip(f"no cgroup v2 in which this user may make one: {error}")
    if not (cgroup / "cgroup.kill").exists():
        cgroup.rmdir()
        pytest.skip("this kernel has no cgroup.kill")
    yield cgroup
    cgroup.rmdir()


def test_nothing_of_a_tree_is_left_in_a_delegated_cgroup(nest: World, delegated: Path) -> None:
    """R26: each life in a leaf of its own; here marks cannot be set, since the hard limit is not ours to pass."""
    nasty(nest, "main")
    nasty(nest, "other")
    supervisor = Prefixed(nest)
    enter = f'echo 0 >{delegated}/cgroup.procs; exec prlimit --locks=99:99 "$@"'
    supervisor.prefix = ("sh", "-c", enter, "sh")
    supervisor.start()
    try:
        pid = supervisor.wait_ready()["main"]["pid"]
        cgroup = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1]
        assert cgroup.rpartition("/")[0].endswith(f"/{delegated.name}")
        assert cgroup.endswith("-main-1")
        prove_nothing_is_left(supervisor)
    finally:
        supervisor.stop()
    assert [path for path in delegated.iterdir() if path.is_dir()] == []


def test_what_a_dead_brain_and_keeper_left_behind_is_swept_by_the_next(nest: World, supervise: Supervise) -> None:
    """R26: also where its gateway died with them, and holds the state dir's lock no more than its helpers do."""
    nasty(nest, "main")
    first = supervise()
    pid = first.wait_ready()["main"]["pid"]
    before = wait_tree(first, "main")
    pids = first.status()["supervisor"]
    for each in (pids["keeper_pid"], pids["pid"], pid):
        kill(each, signal.SIGSTOP)
    for each in (pid, pids["pid"], pids["keeper_pid"]):
        kill(each)
    second = supervise()
    second.wait_state("main", "ready", adopted=False)
    second.wait_for(lambda: not kept_alive(before), "nothing of the dead life is left", 10)
    assert second.stop() == 0
    wait_for(lambda: not tree(nest, "main"), "nothing at all is left", 10)


def test_as_pid_1_of_a_container_it_reaps_and_stops_in_order(world: World) -> None:
    """R26: ten thousand orphans of others leave no zombie; TERM to PID 1 is an orderly stop."""
    box = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    if subprocess.run([*box, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a pid namespace")
    main = world.define("main", env={"FAKE_HELPER": "daemon"})
    supervisor = Prefixed(world)
    supervisor.prefix = box
    supervisor.start()
    try:
        supervisor.wait_ready()
        [keeper] = locks.holders(supervisor.state_dir / "supervisor.lock")
        assert supervisor.status()["supervisor"]["keeper_pid"] == 1
        orphans = "i=0; while [ $i -lt 10000 ]; do (:&); i=$((i+1)); done"
        subprocess.run(["nsenter", "-t", str(keeper), "-p", "-m", "sh", "-c", orphans], check=True, timeout=100)
        supervisor.wait_for(lambda: "Z" not in states_of_children(keeper), "no zombie is left")
        assert supervisor.gateway("main")["restarts"] == 0
        kill(keeper, signal.SIGTERM)
        assert supervisor.process is not None
        assert supervisor.process.wait(30) == 0
    finally:
        supervisor.stop()
    assert [event["event"] for event in supervisor.events()][-1] == "supervisor_stopped"
    assert [event["code"] for event in supervisor.events("main") if event["event"] == "exited"] == [0]
    assert len(main.lives()) == 1


def states_of_children(parent: int) -> set[str]:
    found = set()
    for pid in processes():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
            if int(fields[1]) == parent:
                found.add(fields[0])
    return found
