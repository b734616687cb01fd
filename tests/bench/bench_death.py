"""What deaths cost, measured on fakes: `python tests/bench/bench_death.py [ROUNDS]`; one line a figure, nothing is asserted."""

import os
import select
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.e2e.supervised import Supervisor
from tests.e2e.world import World, kill, wait_for
from tests.ports import Ports

GATEWAYS = 10
STEADY_S = 11


@contextmanager
def fleet(**env: str) -> Iterator[Supervisor]:
    """Ten ready gateways under one supervisor."""
    ports, root = Ports(), Path(tempfile.mkdtemp(prefix="cs-"))
    world = World(root, ports)
    for number in range(GATEWAYS):
        world.define(f"g{number}", env=env, sections={"probe": {"interval": 15}, "restart": {"delay": 0.1}})
    supervisor = Supervisor(world).start()
    try:
        supervisor.wait_ready(deadline_s=120)
        yield supervisor
    finally:
        supervisor.stop(120)
        world.strays()
        ports.close()
        shutil.rmtree(root)


def until(condition: Callable[[], bool]) -> None:
    """Poll as finely as the figures need."""
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("not within 60 s")
        time.sleep(0.001)


def adoptions(journal: Path) -> int:
    return journal.read_bytes().count(b'"event":"adopted"')


def adopted_again(supervisor: Supervisor, strike: Callable[[], None], more: int = GATEWAYS) -> float:
    """Seconds from the strike to the last gateway's adoption on record."""
    journal = supervisor.state_dir / "events.jsonl"
    before = adoptions(journal)
    began = time.monotonic()
    strike()
    until(lambda: adoptions(journal) >= before + more)
    took = time.monotonic() - began
    supervisor.wait_ready()
    return took


def brain_of(supervisor: Supervisor) -> int:
    return int(supervisor.status()["supervisor"]["pid"])


def import_only() -> float:
    """What of it is Python's: a bare start of the brain's modules."""
    began = time.monotonic()
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "import supervisor.brain.__main__"], os.environ)
    os.waitpid(pid, 0)
    return time.monotonic() - began


def end_of_brain_after_its_keeper(supervisor: Supervisor) -> float:
    pids = supervisor.status()["supervisor"]
    brain = os.pidfd_open(pids["pid"])
    began = time.monotonic()
    kill(pids["keeper_pid"])
    poller = select.poll()
    poller.register(brain, select.POLLIN)
    poller.poll(60_000)
    took = time.monotonic() - began
    os.close(brain)
    if supervisor.process is not None:
        supervisor.process.wait()
    return took


def killed(supervisor: Supervisor) -> float:
    """A brain that was steady: one that dies sooner after it became ready is replaced after a pause."""
    pid = brain_of(supervisor)
    time.sleep(STEADY_S)
    return adopted_again(supervisor, lambda: kill(pid))


def hang(supervisor: Supervisor) -> float:
    pid = brain_of(supervisor)
    return adopted_again(supervisor, lambda: kill(pid, signal.SIGSTOP))


def both(supervisor: Supervisor) -> float:
    pids = supervisor.status()["supervisor"]

    def strike() -> None:
        kill(pids["keeper_pid"], signal.SIGSTOP)
        kill(pids["pid"])
        kill(pids["keeper_pid"])
        if supervisor.process is not None:
            supervisor.process.wait()
        supervisor.start()

    return adopted_again(supervisor, strike)


def reexec(supervisor: Supervisor) -> float:
    keeper = supervisor.status()["supervisor"]["keeper_pid"]
    return adopted_again(supervisor, lambda: kill(keeper, signal.SIGUSR2))


def say(what: str, taken: list[float]) -> None:
    figures = f"median {statistics.median(taken) * 1000:.0f} ms, worst {max(taken) * 1000:.0f} ms of {len(taken)}"
    sys.stdout.write(f"{what:<66} {figures}\n")
    sys.stdout.flush()


def main(rounds: int) -> None:
    """Print the table of README's section on deaths."""
    say("Python: start, and import of the brain's modules", [import_only() for _ in range(rounds)])
    with fleet() as supervisor:
        steady = [killed(supervisor) for _ in range(rounds)]
        say("SIGKILL of the brain to all 10 gateways adopted", steady)
        say("clawsup reexec to all 10 gateways adopted", [reexec(supervisor) for _ in range(rounds)])
        say("brain stopped (SIGSTOP) to all 10 gateways adopted", [hang(supervisor)])
        say("SIGKILL of both and a new `run` to all 10 gateways adopted", [both(supervisor) for _ in range(rounds)])
        say("SIGKILL of the keeper to the end of its brain", [end_of_brain_after_its_keeper(supervisor)])
        supervisor.start()
        wait_for(supervisor.status, "the next run answers")
        supervisor.wait_ready()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
