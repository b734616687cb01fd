"""No descriptor is left: the gateways notice nothing, operators are answered, and all goes on when there are some again."""

import os
import resource
import signal
import sys
from pathlib import Path

from tests.e2e.conftest import Supervise
from tests.e2e.limits import brain_of, told_of, untouched, wait_recovered, wait_trouble
from tests.e2e.supervised import gone
from tests.e2e.world import FAKE, World, kill, log_numbers, wait_for
from tests.shortage import descriptors, without_descriptors

LEFT = "no descriptor is left: Too many open files"


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_an_exhausted_brain_answers_operators_and_blames_nobody(world: World, supervise: Supervise) -> None:
    """R25, R27: what died waits for a descriptor, its score as the crash left it; nobody else notices."""
    main, chatty = world.define("main"), world.define("chatty", env={"FAKE_CHATTER": "100"})
    supervisor = supervise()
    pids = {name: entry["pid"] for name, entry in supervisor.wait_ready().items()}
    brain = brain_of(supervisor)
    before = descriptors(brain)
    with untouched(supervisor, chatty):
        with without_descriptors(brain):
            wait_trouble(supervisor, LEFT)
            kill(pids["main"])
            seen = supervisor.wait_state("main", "backoff", restarts=0)
            supervisor.wait_for(lambda: told_of(supervisor, "spawn_failed", "main"), "a spawn that failed")
            seen = supervisor.wait_state("main", "backoff", restarts=0)
            assert seen["reason"].startswith("cannot start: ")
            assert seen["reason"].endswith("Too many open files")
            assert (seen["last_exit"]["cause"], seen["last_exit"]["signal"]) == ("crash", signal.SIGKILL)
            told = supervisor.cli("status")
            assert (told.returncode, LEFT in told.stdout) == (3, True)
        supervisor.wait_state("main", "ready", restarts=1)
    wait_recovered(supervisor)
    assert brain_of(supervisor) == brain
    assert len(main.lives()) == 2
    assert len(told_of(supervisor, "exited", "main")) == 1
    wait_for(lambda: len(descriptors(brain)) <= len(before), "no descriptor has leaked")
    numbers = log_numbers(supervisor.log("chatty"), pids["chatty"])
    assert numbers == list(range(1, len(numbers) + 1))


def test_an_exhausted_brain_obeys_a_stop_and_a_shutdown(world: World, supervise: Supervise) -> None:
    """R26: what an operator wants needs no more than what is kept back for it."""
    world.define("main", env={"FAKE_HELPER": "setsid"})
    world.define("other")
    supervisor = supervise()
    pids = {name: entry["pid"] for name, entry in supervisor.wait_ready().items()}
    brain = brain_of(supervisor)
    with without_descriptors(brain):
        assert supervisor.cli("stop", "main").returncode == 0
        assert gone(pids["main"])
        assert "stopped by the operator" in supervisor.cli("status", "main").stdout
    (helper,) = (world.gateways["main"].fake_dir / "helpers").read_text(encoding="utf-8").split()
    supervisor.wait_for(lambda: gone(int(helper)), "what it left behind is swept when it can be seen")
    assert supervisor.cli("start", "main").returncode == 0
    with without_descriptors(brain):
        assert supervisor.process is not None
        supervisor.process.send_signal(signal.SIGTERM)
        supervisor.wait_for(lambda: gone(pids["other"]), "it stops")
    assert supervisor.process.wait(30) == 0
    assert supervisor.named("supervisor_stopped")


def test_an_exhausted_brain_does_not_take_a_definition_for_broken(world: World, supervise: Supervise) -> None:
    """R22: a reload that cannot look changes nothing; one that an operator asks for may look with what is kept back."""
    main, other = world.define("main"), world.define("other")
    supervisor = supervise()
    with untouched(supervisor, main, other):
        with without_descriptors(brain_of(supervisor)):
            assert supervisor.cli("reload").stdout == "no changes\n"

            def refused() -> bool:
                # What is kept back may still be lent to the last caller.
                assert supervisor.process is not None
                supervisor.process.send_signal(signal.SIGHUP)
                return "reload: " in supervisor.errors.read_text()

            supervisor.wait_for(refused, "the refusal is said")
            assert {entry["mend"] for entry in supervisor.status()["gateways"]} == {None}
        assert supervisor.cli("reload").returncode == 0


def test_an_exhausted_brain_does_not_spin(world: World, supervise: Supervise) -> None:
    """A client that waits to be taken must not turn the loop into a busy one."""
    main = world.define("main")
    supervisor = supervise()
    with untouched(supervisor, main):
        brain = brain_of(supervisor)
        soft, hard = resource.prlimit(brain, resource.RLIMIT_NOFILE)
        # Not even what is kept back has a number now.
        resource.prlimit(brain, resource.RLIMIT_NOFILE, (3, hard))
        used = cpu_ticks(brain)
        mute = supervisor.cli("status")
        used = cpu_ticks(brain) - used
        resource.prlimit(brain, resource.RLIMIT_NOFILE, (soft, hard))
        assert mute.returncode == 1
        assert "does not answer" in mute.stderr
        assert used / os.sysconf("SC_CLK_TCK") < 2.5
    wait_recovered(supervisor)


def test_a_launcher_that_was_not_tried_yet_waits_for_descriptors(world: World, supervise: Supervise) -> None:
    """R24: `--version` needs descriptors before the spawn does."""
    main = world.define("main")
    late = world.define("late", enabled=False, command=[sys.executable, "-I", "-B", str(FAKE)])
    supervisor = supervise()
    with untouched(supervisor, main):
        brain = brain_of(supervisor)
        with without_descriptors(brain):
            assert supervisor.cli("start", "late").returncode == 1
            assert "Too many open files" in supervisor.wait_state("late", "backoff")["reason"]
            assert brain_of(supervisor) == brain
        supervisor.wait_state("late", "ready", restarts=0)
    assert len(late.lives()) == 1


def test_a_keeper_without_descriptors_still_hears_its_brain_and_systemd(world: World, supervise: Supervise) -> None:
    """R25: it needs none to go on, and waits for some to start another brain."""
    main = world.define("main")
    supervisor = supervise()
    with untouched(supervisor, main):
        keeper, brain = supervisor.status()["supervisor"]["keeper_pid"], brain_of(supervisor)
        with without_descriptors(keeper):
            kill(brain)
            why = "cannot start a brain: Too many open files"
            supervisor.wait_for(lambda: why in supervisor.errors.read_text(), "it cannot start one")
        supervisor.wait_state("main", "ready", adopted=True)
