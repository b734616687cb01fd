"""Silence that is not the gateway's fault: our own stall and a starved CPU excuse it, for a while (issue 7; RELIABILITY.md V12)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import Supervise
from tests.e2e.supervised import Supervisor
from tests.e2e.world import Gateway, World, kill

CPUS = sorted(os.sched_getaffinity(0))
needs_a_cpu_to_take = pytest.mark.skipif(
    len(CPUS) < 2 or os.geteuid() != 0, reason="to take one CPU away takes root, and another one for all others"
)


def define(world: World, **probe: float) -> Gateway:
    sections: dict[str, dict[str, Any]] = {"probe": probe, "stop": {"timeout": 1}}
    return world.define("main", sections=sections, role="main")


def probes(running: Supervisor) -> str:
    """The answers that an incident of main has kept: one is made by killing it."""
    kill(running.gateway("main")["pid"])
    path = running.wait_for(lambda: list(running.state_dir.glob("incidents/*-main/probes.txt")), "an incident")[0]
    return str(path.read_text())


def asks(brain: int, port: int) -> bool:
    """Whether a brain has a connection to a gateway."""
    reached = (getattr(each.raddr, "port", None) for each in psutil.Process(brain).net_connections("tcp"))
    return port in reached


def group_nice(pid: int, nice: int) -> None:
    """Where the kernel compares sessions, their own nice values count."""
    with suppress(FileNotFoundError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


@contextmanager
def starved(pid: int) -> Iterator[None]:
    """Nearly no time on its CPU for a process, which stays runnable: some hundred microseconds a second."""
    os.sched_setaffinity(pid, CPUS[-1:])
    os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    group_nice(pid, 19)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True) as spinner:
        os.sched_setaffinity(spinner.pid, CPUS[-1:])
        os.setpriority(os.PRIO_PROCESS, spinner.pid, -20)
        group_nice(spinner.pid, -20)
        try:
            yield
        finally:
            spinner.kill()


def test_a_probe_that_we_ourselves_slept_through_is_no_miss(world: World, supervise: Supervise) -> None:
    """R27: one miss would be a hang here; the brain is stopped in mid-probe, for longer than the probe may take."""
    main = define(world, interval=0.2, timeout=2, failures=1)
    running = supervise()
    pid = running.wait_ready()["main"]["pid"]
    brain = running.status()["supervisor"]["pid"]
    main.tell("hang")
    time.sleep(0.5)  # it looks for that ten times a second
    running.wait_for(lambda: asks(brain, main.port), "a probe is under way")
    kill(brain, signal.SIGSTOP)
    time.sleep(3.5)  # longer than it may take and a second
    kill(brain, signal.SIGCONT)
    running.wait_for(running.status, "the brain again", 10)
    (main.fake_dir / "hang").unlink()

    running.wait_state("main", "ready", pid=pid, restarts=0)
    assert running.status()["supervisor"]["pid"] == brain
    assert running.named("hung") == []


@needs_a_cpu_to_take
def test_a_gateway_that_got_no_cpu_is_not_hung(world: World, supervise: Supervise) -> None:
    """R27: two misses would be a hang."""
    define(world, interval=1, timeout=1, failures=2)
    running = supervise()
    pid = running.wait_ready()["main"]["pid"]
    with starved(pid):
        time.sleep(6)  # three times what it takes; the excuse holds for ten seconds

    running.wait_state("main", "ready", pid=pid, restarts=0)
    assert running.named("hung") == []
    assert "(starved)" in probes(running)


@needs_a_cpu_to_take
def test_no_excuse_holds_for_ever(world: World, supervise: Supervise) -> None:
    """R27: after five times what makes a hang, every miss counts."""
    define(world, interval=0.3, timeout=0.3, failures=2)
    running = supervise()
    pid = running.wait_ready()["main"]["pid"]
    begun = time.monotonic()
    with starved(pid):
        running.wait_for(lambda: running.named("hung"), "it is hung")
        assert time.monotonic() - begun > 2 * 0.3
    running.wait_state("main", "ready", restarts=1)
    (kept,) = running.state_dir.glob("incidents/*-main/probes.txt")
    assert "(starved)" in kept.read_text()
