"""The brain dies, hangs or cannot start: what that costs the gateways, which is nothing (the fake OpenClaw)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.run import keeper_argv
from tests.e2e.conftest import Supervise
from tests.e2e.supervised import Supervisor, gone
from tests.e2e.test_fake_supervisor import ask, hold, still_drips
from tests.e2e.world import REPOSITORY, World, kill, log_numbers

# The real brain, but for one place in its loop that fails on command; `how` stands in the file STATE/fail.
FAILPOINT = """
import os, runpy, sys
sys.path.append({repository!r})
from supervisor.daemon import Daemon
decide = Daemon.decide
def failing(self, event):
    fail = {fail!r}
    if os.path.exists(fail):
        how = open(fail).read()
        os.unlink(fail)
        exec(how)
    decide(self, event)
Daemon.decide = failing
sys.argv[0] = "brain"
runpy.run_module("supervisor.brain", run_name="__main__", alter_sys=True)
"""


class Failing(Supervisor):
    """A supervisor whose brains can be told to fail, or cannot start while STATE/broken exists."""

    def start(self, output: Any = None) -> "Failing":
        assert output is None
        self.state_dir.mkdir(mode=0o700, exist_ok=True)
        script = FAILPOINT.format(repository=str(REPOSITORY), fail=str(self.state_dir / "fail"))
        broken = f"import os, sys\nif os.path.exists({str(self.state_dir / 'broken')!r}): sys.exit('broken')\n"
        argv = keeper_argv(str(self.world.conf_dir), str(self.state_dir))
        dashes = argv.index("--")
        where = argv[argv.index("--conf-dir") :]
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*argv[: dashes + 1], sys.executable, "-I", "-c", broken + script, *where],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
        return self

    def fail(self, how: str) -> None:
        (self.state_dir / "fail.new").write_text(how)
        (self.state_dir / "fail.new").rename(self.state_dir / "fail")


@pytest.fixture
def failing(world: World) -> Iterator[Failing]:
    supervisor = Failing(world)
    yield supervisor
    supervisor.stop()


def next_brain(supervisor: Supervisor, old: int) -> float:
    """Wait for a brain other than `old`; how long that took, in seconds."""
    began = time.monotonic()
    supervisor.wait_for(lambda: supervisor.status().get("supervisor", {}).get("pid", old) != old, "another brain")
    return time.monotonic() - began


def test_no_line_is_lost_doubled_or_torn_over_six_deaths_of_the_brain(world: World, supervise: Supervise) -> None:
    """R25, R27: 1,000 lines a second go on while nobody reads them."""
    main = world.define("main", env={"FAKE_CHATTER": "1000"})
    supervisor = supervise()
    pid = supervisor.wait_ready()["main"]["pid"]
    with hold(main) as held:
        for _ in range(6):
            supervisor.replace_brain()
        assert still_drips(held)
    told = ask(main, "/fake")
    assert told["pid"] == pid
    supervisor.wait_for(lambda: f"{pid}#{told['lines']} " in supervisor.log("main"), "the log catches up")
    numbers = log_numbers(supervisor.log("main"), pid)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(main.lives()) == 1


def test_a_config_that_has_become_a_fifo_holds_no_brain_up(world: World, supervise: Supervise) -> None:
    """R27: the first probe of an adopted life reads it, and must not wait for a writer."""
    main = world.define("main")
    supervisor = supervise()
    pid = supervisor.wait_ready()["main"]["pid"]
    main.config.unlink()
    os.mkfifo(main.config)
    supervisor.replace_brain()
    assert supervisor.wait_state("main", "ready", adopted=True)["pid"] == pid


@pytest.mark.parametrize("how", ["raise RuntimeError('boom')", "raise MemoryError", "os._exit(3)"])
def test_a_fault_in_the_loop_costs_a_brain_and_nothing_else(world: World, failing: Failing, how: str) -> None:
    """R27: the state ready, the score and the pid are those of before."""
    world.define("main")
    failing.start().wait_ready()
    kill(failing.gateway("main")["pid"])
    before = failing.wait_state("main", "ready", restarts=1)
    brain = failing.status()["supervisor"]["pid"]
    failing.fail(how)
    next_brain(failing, brain)
    after = failing.wait_state("main", "ready", adopted=True)
    assert {key: after[key] for key in ("pid", "since", "restarts", "last_exit")} == {
        key: before[key] for key in ("pid", "since", "restarts", "last_exit")
    }


@pytest.mark.parametrize("how", ["import time; time.sleep(600)", "os.kill(os.getpid(), 19)"])
def test_a_brain_that_hangs_is_replaced_within_the_keepers_patience(world: World, failing: Failing, how: str) -> None:
    """R27: the keeper's patience is half of systemd's, here 1.5 s."""
    world.define("main")
    failing.env["WATCHDOG_USEC"] = "3000000"
    before = failing.start().wait_ready()["main"]
    brain = failing.status()["supervisor"]["pid"]
    failing.fail(how)
    failing.wait_for(lambda: gone(brain), "the brain is killed", 10)
    after = failing.wait_state("main", "ready", adopted=True)
    assert (after["pid"], after["restarts"]) == (before["pid"], 0)


def test_a_gateway_that_dies_while_no_brain_can_start_is_reported_with_its_code_and_last_words(
    world: World, failing: Failing
) -> None:
    """R27: a broken installation is tried again and again; the gateways run on, and what they do is not missed."""
    main, other = world.define("main", env={"FAKE_CHATTER": "500"}), world.define("other")
    before = failing.start().wait_ready()
    broken = failing.state_dir / "broken"
    broken.touch()
    kill(failing.status()["supervisor"]["pid"])
    failing.wait_for(lambda: failing.errors.read_text().count("broken") >= 3, "three brains fail to start")
    main.tell("exit-7")
    failing.wait_for(lambda: gone(before["main"]["pid"]), "main ends")
    assert not gone(before["other"]["pid"])
    broken.unlink()
    after = failing.wait_state("main", "ready", restarts=1)
    assert (after["last_exit"]["code"], after["last_exit"]["cause"]) == (7, "crash")
    numbers = log_numbers(failing.log("main"), before["main"]["pid"])
    assert numbers == list(range(1, len(numbers) + 1))
    assert f" {before['main']['pid']}#{numbers[-1]} told to exit 7\n" in failing.log("main")
    assert failing.gateway("other")["pid"] == before["other"]["pid"]
    assert [len(main.lives()), len(other.lives())] == [2, 1]


def test_a_stop_asked_while_no_brain_can_start_is_carried_out_by_the_first_that_can(
    world: World, failing: Failing
) -> None:
    """R26: in order, and without starting anything in between."""
    main, down = world.define("main"), world.define("down")
    failing.start().wait_ready()
    broken = failing.state_dir / "broken"
    broken.touch()
    kill(failing.status()["supervisor"]["pid"])
    down.tell("exit-1")
    failing.wait_for(lambda: failing.errors.read_text().count("broken") >= 2, "brains fail to start")
    assert failing.process is not None
    failing.process.send_signal(signal.SIGTERM)
    broken.unlink()
    assert failing.process.wait(30) == 0
    assert world.pids() == set()
    assert [len(main.lives()), len(down.lives())] == [1, 1]
    exits = {event["gateway"]: event["code"] for event in failing.events() if event["event"] == "exited"}
    assert exits == {"main": 0, "down": 1}


def test_definitions_that_all_break_cost_nothing_but_themselves(world: World, supervise: Supervise) -> None:
    """R22: a brain that comes up then runs by what the last one knew."""
    main = world.define("main")
    supervisor = supervise()
    before = supervisor.wait_ready()["main"]
    good = main.definition.read_text()
    main.definition.write_text("port = [")
    supervisor.replace_brain()
    assert supervisor.gateway("main")["pid"] == before["pid"]
    main.definition.write_text(good)
    supervisor.replace_brain()
    after = supervisor.wait_state("main", "ready", adopted=True)
    assert (after["pid"], after["restarts"]) == (before["pid"], 0)


def test_a_brain_killed_while_a_gateway_drains_lets_it_drain(world: World, supervise: Supervise) -> None:
    """R25: the stop goes on under the next brain, to the deadline that the first had set."""
    world.define("main", env={"FAKE_DRAIN_S": "2"})
    supervisor = supervise()
    pid = supervisor.wait_ready()["main"]["pid"]
    supervisor.cli("stop", "main", "--no-wait")
    supervisor.wait_state("main", "stopping")
    supervisor.replace_brain()
    seen = supervisor.wait_state("main", "stopped")
    assert gone(pid)
    assert (seen["last_exit"]["code"], seen["last_exit"]["cause"], seen["wanted"]) == (0, "asked", False)


def environment(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(os.fsdecode(pair).split("=", 1) for pair in pairs if pair)


def test_a_supervisor_started_from_within_a_gateway_does_not_take_itself_for_a_leftover(
    world: World, supervise: Supervise
) -> None:
    """R25: an agent's shell carries the gateway's token; what it starts is of that gateway's tree, but not the supervisor."""
    world.define("main")
    first = supervise()
    pids = first.wait_ready()["main"]["pid"], first.status()["supervisor"]
    inside = environment(pids[0])
    kill(pids[0], signal.SIGSTOP)
    assert first.stop() == 0
    second = supervise(env=inside | {"PATH": first.env["PATH"]})
    seen = second.wait_ready()["main"]
    assert environment(seen["pid"])["CLAWSUP_RUN"] != inside["CLAWSUP_RUN"]
