"""The brain makes room for the next version while every gateway goes on (the fake OpenClaw)."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from supervisor.cli.run import keeper_argv
from tests.e2e.conftest import Supervise
from tests.e2e.supervised import Supervisor, gone
from tests.e2e.test_fake_supervisor import ask, hold, still_drips
from tests.e2e.world import REPOSITORY, World, kill, log_numbers


class Installed(Supervisor):
    """A supervisor that runs from a copy of the package, which a test may replace."""

    @property
    def package(self) -> Path:
        return self.world.root / "site" / "supervisor"

    def start(self, output: IO[bytes] | int | None = None) -> "Installed":
        assert output is None
        shutil.copytree(REPOSITORY / "supervisor", self.package, ignore=shutil.ignore_patterns("__pycache__"))
        self.state_dir.mkdir(mode=0o700, exist_ok=True)
        argv = keeper_argv(str(self.world.conf_dir), str(self.state_dir))
        where = argv[argv.index("--conf-dir") :]
        site = f"import runpy, sys; sys.path.insert(0, {str(self.package.parent)!r}); "
        brain = [sys.executable, "-I", "-c", site + "runpy.run_module('supervisor.brain', run_name='__main__')", *where]
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-I", str(self.package / "keeper.py"), str(self.state_dir), "--", *brain],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
        return self

    def upgrade(self, brain: str | None = None) -> None:
        """Install other code over the package: brains that begin with `brain`."""
        main = self.package / "brain" / "__main__.py"
        code = (REPOSITORY / "supervisor" / "brain" / "__main__.py").read_text()
        scratch = main.with_suffix(".new")
        scratch.write_text((brain or "") + "\n" + code)
        scratch.rename(main)

    def upgrade_keeper(self, says: str) -> None:
        """Install another keeper over the package: one that says something when it begins."""
        keeper = self.package / "keeper.py"
        entry = 'if __name__ == "__main__":'
        scratch = keeper.with_suffix(".new")
        scratch.write_text(
            (REPOSITORY / "supervisor" / "keeper.py").read_text().replace(entry, f"say({says!r})\n{entry}")
        )
        scratch.rename(keeper)

    def brain(self) -> int:
        return int(self.status().get("supervisor", {}).get("pid", 0))


@pytest.fixture
def installed(world: World) -> Iterator[Installed]:
    supervisor = Installed(world)
    yield supervisor
    supervisor.stop()


def test_reexec_replaces_the_brain_and_nothing_else(world: World, supervise: Supervise) -> None:
    """R26: pids, connections, states and every line of output are kept, and it says what has become of what."""
    main = world.define("main", role="main", env={"FAKE_CHATTER": "500"})
    world.define("rescue", role="rescue")
    supervisor = supervise()
    before, running = supervisor.wait_ready(), supervisor.status()["supervisor"]
    with hold(main) as held:
        answer = supervisor.cli("reexec")
        assert answer.returncode == 0, answer.stderr
        assert "untouched: main, rescue" in answer.stdout
        told = json.loads(supervisor.cli("reexec", "--json").stdout)
        assert still_drips(held)
    now = supervisor.status()["supervisor"]
    assert told["new"] == {"pid": now["pid"], "version": now["version"]}
    assert told["old"]["pid"] not in {running["pid"], now["pid"]}
    assert (told["kept"], told["changed"]) == (["main", "rescue"], [])
    assert now["keeper_pid"] == running["keeper_pid"]
    for name, seen in before.items():
        after = supervisor.wait_state(name, "ready", adopted=True)
        assert [after[key] for key in ("pid", "since", "restarts")] == [
            seen[key] for key in ("pid", "since", "restarts")
        ]
    lines = ask(main, "/fake")
    supervisor.wait_for(lambda: f"{lines['pid']}#{lines['lines']} " in supervisor.log("main"), "the log catches up")
    numbers = log_numbers(supervisor.log("main"), lines["pid"])
    assert numbers == list(range(1, len(numbers) + 1))
    seqs = [event["seq"] for event in supervisor.events()]
    assert seqs == list(range(1, len(seqs) + 1))


def test_reexec_without_a_supervisor_exits_4(world: World) -> None:
    world.define("main")
    answer = Supervisor(world).cli("reexec")
    assert answer.returncode == 4
    assert answer.stderr.startswith("clawsup: no supervisor")


def test_reexec_also_replaces_a_brain_that_no_longer_listens(world: World, supervise: Supervise) -> None:
    """R27: here one that is stopped; the keeper ends it when its patience is over."""
    world.define("main")
    supervisor = supervise(env={"WATCHDOG_USEC": "3000000"})
    pid = supervisor.wait_ready()["main"]["pid"]
    old = supervisor.status()["supervisor"]["pid"]
    kill(old, signal.SIGSTOP)
    answer = supervisor.cli("reexec", "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["old"] is None
    assert gone(old)
    assert supervisor.wait_state("main", "ready", adopted=True)["pid"] == pid


def test_sighup_after_an_upgrade_brings_the_new_code_and_reloads(world: World, installed: Installed) -> None:
    """R26: what `systemctl reload` sends."""
    world.define("main")
    before = installed.start().wait_ready()["main"]
    old = installed.brain()
    assert installed.process is not None
    installed.process.send_signal(signal.SIGHUP)
    installed.wait_for(lambda: [event["event"] for event in installed.events()].count("reloaded") == 2, "a reload")
    assert installed.brain() == old
    installed.upgrade("import os; os.write(2, b'the new code\\n')")
    world.define("added")
    installed.process.send_signal(signal.SIGHUP)
    installed.wait_state("added", "ready")
    assert "the new code" in installed.errors.read_text()
    after = installed.wait_state("main", "ready", adopted=True)
    assert (after["pid"], after["restarts"]) == (before["pid"], 0)


def test_twenty_upgrades_of_the_keeper_cost_no_gateway_no_line_and_no_exit_status(
    world: World, installed: Installed
) -> None:
    """R26, R27: each is another program in the same process, and holds what the one before held."""
    main = world.define("main", env={"FAKE_CHATTER": "500"})
    other = world.define("other")
    before = installed.start().wait_ready()
    assert installed.process is not None
    with hold(main) as held:
        for number in range(20):
            old = installed.brain()
            installed.upgrade_keeper(f"keeper number {number}")
            installed.process.send_signal(signal.SIGUSR2)
            if number == 10:
                other.tell("exit-7")
            installed.wait_for(lambda old=old: installed.brain() not in {0, old}, "the next brain")  # type: ignore[misc]  # mypy infers no default
        assert still_drips(held)
    assert [f"keeper number {number}\n" in installed.errors.read_text() for number in range(20)] == [True] * 20
    now = installed.wait_ready()
    assert now["main"]["pid"] == before["main"]["pid"]
    assert [event["code"] for event in installed.named("exited")] == [7]
    lines = ask(main, "/fake")
    installed.wait_for(lambda: f"{lines['pid']}#{lines['lines']} " in installed.log("main"), "the log catches up")
    numbers = log_numbers(installed.log("main"), lines["pid"])
    assert numbers == list(range(1, len(numbers) + 1))
    seqs = [event["seq"] for event in installed.events()]
    assert seqs == list(range(1, len(seqs) + 1))


def test_new_code_that_does_not_start_costs_no_gateway_and_is_given_up_for_what_does(
    world: World, installed: Installed
) -> None:
    """R26, R27: half an upgrade, then the whole one."""
    world.define("main")
    before = installed.start().wait_ready()["main"]
    installed.upgrade("import no_such_module")
    assert installed.process is not None
    installed.process.send_signal(signal.SIGUSR2)
    installed.wait_for(lambda: installed.errors.read_text().count("no_such_module'") >= 3, "three tries")
    assert not gone(before["pid"])
    installed.upgrade()
    after = installed.wait_state("main", "ready", adopted=True)
    assert (after["pid"], after["restarts"]) == (before["pid"], 0)
    assert os.getsid(after["pid"]) == after["pid"]
