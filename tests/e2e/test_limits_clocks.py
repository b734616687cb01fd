"""Clocks that jump, a host that sleeps, a supervisor that stands still: nothing of it is held against a gateway."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from supervisor.cli.run import keeper_argv
from tests.e2e.conftest import Supervise
from tests.e2e.limits import brain_of, told_of, untouched
from tests.e2e.supervised import Supervisor
from tests.e2e.world import REPOSITORY, World, kill

DAY_S = 86400
PROBE = {"probe": {"interval": 1, "timeout": 1, "failures": 3}}

# The real brain on clocks of its own: STATE/clock says by how many seconds the wall clock is off, and how long the host has
# slept between any two looks at that.
CLOCKED = """
import datetime, runpy, sys, time
sys.path.append({repository!r})
wall, boot, slept = time.time, time.clock_gettime, [0.0]
def told(which):
    try:
        return float(open({clock!r}).read().split()[which])
    except FileNotFoundError:
        return 0.0
def clock_gettime(which):
    if which != time.CLOCK_BOOTTIME:
        return boot(which)
    slept[0] += told(1)
    return boot(which) + slept[0]
class Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
time.time, time.clock_gettime, datetime.datetime = lambda: wall() + told(0), clock_gettime, Datetime
sys.argv[0] = "brain"
runpy.run_module("supervisor.brain", run_name="__main__", alter_sys=True)
"""


class Clocked(Supervisor):
    """A supervisor whose brains are told what the clocks say."""

    def start(self, output: Any = None) -> "Clocked":
        assert output is None
        self.state_dir.mkdir(mode=0o700, exist_ok=True)
        argv = keeper_argv(str(self.world.conf_dir), str(self.state_dir))
        dashes, places = argv.index("--"), argv.index("--conf-dir")
        script = CLOCKED.format(repository=str(REPOSITORY), clock=str(self.state_dir / "clock"))
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*argv[: dashes + 1], sys.executable, "-I", "-c", script, *argv[places:]],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
        return self

    def set(self, *, wall_s: float = 0, sleeps_s: float = 0) -> None:
        """From now on the clocks say this."""
        (self.state_dir / "clock.new").write_text(f"{wall_s} {sleeps_s}")
        (self.state_dir / "clock.new").rename(self.state_dir / "clock")


@pytest.fixture
def clocked(world: World) -> Iterator[Clocked]:
    supervisor = Clocked(world)
    yield supervisor
    supervisor.stop()


def off_by(text: str) -> float:
    """How far a time that the supervisor tells is from the real one, in days."""
    return float((datetime.fromisoformat(text) - datetime.now(UTC)) / timedelta(days=1))


@pytest.mark.parametrize("days", [1, -1])
def test_a_wall_clock_that_is_set_moves_no_deadline(world: World, clocked: Clocked, days: int) -> None:
    """R27: a backoff ends when it would have, a crash is restarted, a brain adopts; only what is shown has the new time."""
    waits = world.define("waits", sections={"restart": {"delay": 4, "stable": 600}})
    main, other = world.define("main"), world.define("other")
    clocked.start().wait_ready()
    with untouched(clocked, other):
        kill(clocked.gateway("waits")["pid"])
        clocked.wait_state("waits", "backoff")
        began = time.monotonic()
        clocked.set(wall_s=days * DAY_S)
        seen = clocked.wait_state("waits", "backoff")
        assert abs(off_by(seen["next_retry_at"]) - days) < 0.01
        clocked.wait_state("waits", "ready", restarts=1)
        assert time.monotonic() - began < 40
        kill(clocked.gateway("main")["pid"])
        clocked.wait_state("main", "ready", restarts=1)
        assert abs(off_by(clocked.gateway("main")["since"]) - days) < 0.01
        clocked.replace_brain()
        clocked.wait_state("main", "ready", adopted=True, restarts=1)
    assert [len(gateway.lives()) for gateway in (waits, main)] == [2, 2]
    assert abs(off_by(told_of(clocked, "exited", "main")[0]["at"]) - days) < 0.01
    seqs = [event["seq"] for event in clocked.events()]
    assert seqs == list(range(1, len(seqs) + 1))


def test_after_the_clock_was_set_back_the_newest_failure_is_still_the_one_that_is_told(
    world: World, clocked: Clocked
) -> None:
    """R25: `why`, and the letter to the rescue, go by what happened last, whatever the clock said."""
    main = world.define("main")
    clocked.start().wait_ready()
    main.tell("exit-7")
    clocked.wait_state("main", "ready", restarts=1)
    clocked.set(wall_s=-DAY_S)
    main.tell("exit-9")
    clocked.wait_state("main", "ready", restarts=2)
    assert "exit 9" in clocked.cli("why", "main").stdout


def test_a_host_that_sleeps_between_two_looks_has_no_hung_gateway(world: World, clocked: Clocked) -> None:
    """R27: a probe that ran over a sleep proves nothing; one that did not does."""
    main = world.define("main", sections=PROBE)
    clocked.start()
    pid = clocked.wait_ready()["main"]["pid"]
    clocked.set(sleeps_s=60)
    main.tell("hang")
    asked = time.monotonic()
    # Three misses would take six seconds.
    clocked.wait_for(lambda: time.monotonic() - asked > 9, "as long again")
    seen = clocked.gateway("main")
    assert (seen["state"], seen["pid"], seen["restarts"]) == ("ready", pid, 0)
    clocked.set(sleeps_s=0)
    clocked.wait_for(lambda: told_of(clocked, "hung", "main"), "awake, it is found hung")
    (main.fake_dir / "hang").unlink(missing_ok=True)
    clocked.wait_state("main", "ready", restarts=1)


def test_a_brain_that_stood_still_blames_itself(world: World, supervise: Supervise) -> None:
    """R27: for longer than all probes that a gateway may miss, and shorter than its keeper's patience."""
    main = world.define("main")
    supervisor = supervise()
    with untouched(supervisor, main):
        brain = brain_of(supervisor)
        for _ in range(2):
            kill(brain, signal.SIGSTOP)
            time.sleep(4)
            kill(brain, signal.SIGCONT)
            supervisor.wait_state("main", "ready")
        assert brain_of(supervisor) == brain


class Elsewhen(Supervisor):
    """A supervisor in a time namespace, where the host has been up for longer, and has slept."""

    def start(self, output: Any = None) -> "Elsewhen":
        assert output is None
        clocks = ["--boottime", "900000", "--monotonic", "500000"]
        argv = ["unshare", "--time", *clocks, "--fork", "--kill-child=SIGTERM", *self.argv("run")]
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                argv, cwd=REPOSITORY, env=self.env, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
            )
        return self

    def stop(self, deadline_s: float = 60) -> int:
        """End the keeper, which is not what was started."""
        assert self.process is not None
        kill(self.status()["supervisor"]["keeper_pid"], signal.SIGTERM)
        return self.process.wait(deadline_s)


def test_clocks_that_begin_elsewhere_are_no_sleep(world: World) -> None:
    """R26: all that counts is how they move; so it is on a host that has slept before, and in a container."""
    probe = ["unshare", "--time", "--boottime", "900000", "--monotonic", "500000", "--fork", "true"]
    if os.geteuid() != 0 or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("no time namespace to be had here: it needs root and unshare(1)")
    main, hung = world.define("main", sections=PROBE), world.define("hung")
    supervisor = Elsewhen(world).start()
    try:
        supervisor.wait_ready()
        with untouched(supervisor, main):
            assert abs(off_by(supervisor.gateway("main")["since"])) < 0.01
            hung.tell("hang")
            supervisor.wait_for(lambda: told_of(supervisor, "hung", "hung"), "a silent gateway is not excused")
            (hung.fake_dir / "hang").unlink(missing_ok=True)
            supervisor.wait_state("hung", "ready", restarts=1)
            supervisor.replace_brain()
            supervisor.wait_state("main", "ready", adopted=True)
    finally:
        assert supervisor.stop() == 0
