"""No process or thread can be started: what runs runs on, what is to start waits and says why, and nobody is blamed."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import Supervise
from tests.e2e.limits import brain_of, told_of, untouched
from tests.e2e.supervised import Supervisor
from tests.e2e.world import World, kill

EAGAIN = "Resource temporarily unavailable"


@contextmanager
def without_processes(supervisor: Supervisor) -> Iterator[None]:
    """Within, neither keeper nor brain can fork: by a pids cgroup as root, whom no limit binds, else by RLIMIT_NPROC."""
    pids = [supervisor.status()["supervisor"][key] for key in ("keeper_pid", "pid")]
    if os.geteuid() == 0:
        with pids_cgroup() as leaf:
            home = {pid: own_cgroup(pid) for pid in pids}
            for pid in pids:
                (leaf / "cgroup.procs").write_text(str(pid))
            (leaf / "pids.max").write_text("0")
            try:
                yield
            finally:
                (leaf / "pids.max").write_text("max")
                for pid in map(int, (leaf / "cgroup.procs").read_text().split()):
                    (home.get(pid, home[pids[0]]) / "cgroup.procs").write_text(str(pid))
        return
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_NPROC) for pid in pids}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_NPROC, (1, hard))
    try:
        yield
    finally:
        for pid, limit in limits.items():
            resource.prlimit(pid, resource.RLIMIT_NPROC, limit)


def own_cgroup(pid: int) -> Path:
    """Where a process is in the hierarchy that counts processes."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "pids":
            return Path("/sys/fs/cgroup/pids") / path.lstrip("/")
    inner = next(line[3:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    return Path("/sys/fs/cgroup") / inner.lstrip("/")


@contextmanager
def pids_cgroup() -> Iterator[Path]:
    """A cgroup of our own that counts processes."""
    leaf = own_cgroup(os.getpid()) / f"clawsup-test-{os.getpid()}"
    try:
        leaf.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup to be made here: {error.strerror}")
    try:
        if not (leaf / "pids.max").exists():
            pytest.skip("no cgroup here counts processes")
        yield leaf
    finally:
        leaf.rmdir()


def test_a_gateway_that_cannot_be_forked_waits_and_says_so(world: World, supervise: Supervise) -> None:
    """R24, R27: tried again every few seconds, without a restart or a boot counted, and started when that is possible."""
    main, other = world.define("main"), world.define("other")
    supervisor = supervise()
    pids = {name: entry["pid"] for name, entry in supervisor.wait_ready().items()}
    with untouched(supervisor, other):
        with without_processes(supervisor):
            kill(pids["main"])
            supervisor.wait_for(lambda: told_of(supervisor, "spawn_failed", "main"), "a spawn that failed")
            seen = supervisor.wait_state("main", "backoff", restarts=0)
            assert seen["reason"].startswith("cannot start: ")
            assert EAGAIN in seen["reason"]
            assert seen["last_exit"]["cause"] == "crash"
            failed = supervisor.cli("status")
            assert (failed.returncode, EAGAIN in failed.stdout) == (3, True)
            supervisor.wait_for(lambda: len(told_of(supervisor, "spawn_failed", "main")) > 1, "it is tried again")
        supervisor.wait_state("main", "ready", restarts=1)
    assert len(main.lives()) == 2
    assert len(told_of(supervisor, "exited", "main")) == 1


def test_a_brain_that_cannot_be_forked_is_tried_again(world: World, supervise: Supervise) -> None:
    """R25: the keeper says why; the gateways do not notice."""
    main = world.define("main")
    supervisor = supervise()
    with untouched(supervisor, main):
        with without_processes(supervisor):
            kill(brain_of(supervisor))
            supervisor.wait_for(
                lambda: f"cannot start a brain: {EAGAIN}" in supervisor.errors.read_text(), "the keeper says why"
            )
        supervisor.wait_state("main", "ready", adopted=True)
