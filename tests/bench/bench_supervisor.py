"""What the supervisor costs, as ratios within one run: `python tests/bench/bench_supervisor.py [FIGURE…]`; nothing is asserted."""

import os
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.e2e.supervised import Supervisor
from tests.e2e.world import FAKE, Gateway, World, kill, wait_for
from tests.ports import Ports

IDLE: Mapping[str, Mapping[str, Any]] = {
    "probe": {"interval": 15, "timeout": 10, "failures": 8},
    "restart": {"delay": 0.001, "cap": 0.001, "burst": 0, "stable": 0.1},
}
TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def fleet(
    count: int, sections: Mapping[str, Mapping[str, Any]] = IDLE, command: list[str] | None = None, **env: str
) -> Iterator[Supervisor]:
    """Run `count` fakes under one supervisor, ready when the block begins, gone when it has ended."""
    ports, root = Ports(), Path(tempfile.mkdtemp(prefix="cs-"))
    world = World(root, ports)
    for number in range(count):
        world.define(f"g{number}", sections=sections, env=env, command=command or [sys.executable, "-I", str(FAKE)])
    supervisor = Supervisor(world).start()
    try:
        wait_for(lambda: all_ready(supervisor), f"{count} ready", 300, supervisor.story)
        yield supervisor
    finally:
        supervisor.stop(120)
        if strays := world.strays():
            say("left behind, now killed", str(strays))
        ports.close()
        shutil.rmtree(root)


def all_ready(supervisor: Supervisor) -> bool:
    """Tell whether every gateway is ready."""
    entries = supervisor.status().get("gateways", [])
    return len(entries) == len(supervisor.world.gateways) and all(entry["state"] == "ready" for entry in entries)


def say(what: str, figure: str) -> None:
    """Print one line of the table."""
    sys.stdout.write(f"{what:<66} {figure}\n")
    sys.stdout.flush()


def milliseconds(seconds: float) -> str:
    """Render a duration."""
    return f"{seconds * 1000:.1f} ms"


def seconds_of(argv: list[str], env: Mapping[str, str]) -> float:
    """Time a command."""
    begin = time.monotonic()
    subprocess.run(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.monotonic() - begin


class Stamped:
    """One program for every supervisor: the first that it does, each time, is to tell its pid; we note when we hear it.

    Without arguments it is the gateway `alone`: what dies under one supervisor must be as large as what dies under another.
    """

    def __init__(self, directory: Path, alone: Gateway) -> None:
        fifo = directory / "pids"
        os.mkfifo(fifo)
        self._fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        self.program = directory / "stamped"
        self.program.write_text(
            f"""#!/bin/sh
case "$*" in "" | *" run "*) echo $$ >{fifo} ;; esac
if [ $# = 0 ]; then
    export OPENCLAW_STATE_DIR={alone.state_dir} OPENCLAW_CONFIG_PATH={alone.config}
    set -- gateway run --port {alone.port}
fi
exec {sys.executable} -I {FAKE} "$@"
""",
            encoding="utf-8",
        )
        self.program.chmod(0o700)

    def next(self) -> tuple[int, float]:
        """Wait for the next start: its pid, and when it was heard of."""
        if not select.select([self._fifo], [], [], 30)[0]:
            raise TimeoutError(f"{self.program} has not been started")
        heard = time.monotonic()
        return int(os.read(self._fifo, 4096).split()[-1]), heard

    def again(self, pid: int) -> tuple[int, float]:
        """Kill it; its successor's pid, and how long that took to come."""
        begin = time.monotonic()
        kill(pid)
        successor, heard = self.next()
        return successor, heard - begin

    def bare(self) -> float:
        """Time from spawning it ourselves until we hear of it."""
        begin = time.monotonic()
        with subprocess.Popen([self.program]) as process:
            heard = self.next()[1]
            process.kill()
        return heard - begin


@contextmanager
def runit(directory: Path, program: Path) -> Iterator[None]:
    """Run Debian's runit with one service, whose `run` is the program itself."""
    service = directory / "services" / "one"
    service.mkdir(parents=True)
    shutil.copy(program, service / "run")
    with subprocess.Popen(["runsvdir", service.parent], stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGHUP)  # ends what it runs, and itself


def respawn() -> None:
    """SIGKILL of a gateway → the first instruction of its replacement, beside runit with the same program, kill by kill."""
    if shutil.which("runsvdir") is None:
        say("SIGKILL → replacement's first instruction / runit's", "skipped: Debian's runit is not installed")
        return
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (scratch / "ours").mkdir()
        (scratch / "theirs").mkdir()
        ports = Ports()
        stack.callback(ports.close)
        alone = Gateway("alone", ports.take(), scratch / "theirs" / "state", scratch / "alone.toml")
        alone.state_dir.mkdir(mode=0o700)
        alone.write_config()
        ours, theirs = Stamped(scratch / "ours", alone), Stamped(scratch / "theirs", alone)
        supervisor = stack.enter_context(fleet(1, command=[str(ours.program)]))
        stack.enter_context(runit(scratch, theirs.program))
        ours_pid, theirs_pid = ours.next()[0], theirs.next()[0]
        took: dict[str, list[float]] = {"bare": [], "ours": [], "runit": []}
        for _ in range(25):
            wait_for(lambda: all_ready(supervisor), "ready", story=supervisor.story)
            time.sleep(1.2)  # runit starts at once what has lived for a second
            ours_pid, again = ours.again(ours_pid)
            took["ours"].append(again)
            time.sleep(0.3)
            theirs_pid, again = theirs.again(theirs_pid)
            took["runit"].append(again)
            took["bare"].append(theirs.bare())
        bare, we, they = (statistics.median(took[name]) for name in ("bare", "ours", "runit"))
        say("SIGKILL → replacement's first instruction / runit's", f"{we / they:.2f} x")
        figures = f"{milliseconds(we)}, {milliseconds(they)}, {milliseconds(bare)}"
        say("  ours, runit's, a bare spawn → the same (medians of 25)", figures)


def cpu_and_switches(pid: int) -> tuple[float, int]:
    """CPU seconds and voluntary context switches of a process and all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    switches = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for line in (thread / "status").read_text(encoding="utf-8").splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                switches += int(line.split()[1])
    return (int(fields[11]) + int(fields[12])) / TICKS, switches


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident and proportional memory in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1000 for line in lines[1:]}
    return sizes["Rss"], sizes["Pss"]


def idle() -> None:
    """Brain and keeper with ten idle gateways, for 30 s."""
    with fleet(10) as supervisor:
        told = supervisor.status()["supervisor"]
        pids = {"brain": told["pid"], "keeper": told["keeper_pid"]}
        time.sleep(30)  # what a start leaves to do is done, the promotion of its config too
        before = {name: cpu_and_switches(pid) for name, pid in pids.items()}
        time.sleep(30)
        rounds = 10 * 30 / 15
        for name, pid in pids.items():
            cpu, switches = (after - then for after, then in zip(cpu_and_switches(pid), before[name], strict=True))
            say(
                f"{name}, ten idle gateways: CPU of one core, wake-ups a second", f"{cpu / 30:.2%}, {switches / 30:.1f}"
            )
            say("  wake-ups / round of probes", f"{switches / rounds:.1f} x")
        sizes = {name: memory_mb(pid) for name, pid in pids.items()}
        resident = sum(rss for rss, _ in sizes.values())
        say(
            "keeper + brain memory / 70 MB",
            f"{resident / 70:.2f} x (RSS {resident:.1f} MB, PSS {sum(pss for _, pss in sizes.values()):.1f} MB)",
        )


def status() -> None:
    """`clawsup status` against a bare Python that imports json and socket."""
    clawsup = Path(sys.executable).with_name("clawsup")
    with fleet(2) as supervisor:
        words = supervisor.argv("status")
        command = [str(clawsup), *words[words.index("--conf-dir") :]] if clawsup.exists() else words
        bare, ours = [], []
        for _ in range(25):
            bare.append(seconds_of([sys.executable, "-c", "import json, socket"], supervisor.env))
            ours.append(seconds_of(command, supervisor.env | {"PYTHONPATH": str(FAKE.parents[1])}))
        ratio = statistics.median(ours) / statistics.median(bare)
        say(
            "`clawsup status` / `python3 -c 'import json, socket'`",
            f"{ratio:.2f} x ({milliseconds(statistics.median(ours))})",
        )


def all_gone(processes: list[int]) -> float:
    """Wait for the end of each, given by its pidfd, which is closed; when the last was seen to be gone."""
    poller = select.poll()
    for pidfd in processes:
        poller.register(pidfd, select.POLLIN)
    left = len(processes)
    while left:
        for pidfd, _ in poller.poll():
            poller.unregister(pidfd)
            os.close(pidfd)
            left -= 1
    return time.monotonic()


def bare_end(gateways: Collection[Gateway], env: Mapping[str, str]) -> float:
    """Time from the first SIGKILL that we send to as many of the same gateways to the end of the last."""
    started = []
    for gateway in gateways:
        argv = [sys.executable, "-I", str(FAKE), "gateway", "--port", str(gateway.port)]
        own = {**env, "OPENCLAW_STATE_DIR": str(gateway.state_dir), "OPENCLAW_CONFIG_PATH": str(gateway.config)}
        started.append(subprocess.Popen(argv, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    wait_for(lambda: all(len(gateway.lives()) > 1 for gateway in gateways), "all have begun", 120)
    time.sleep(2)
    pidfds = [os.pidfd_open(process.pid) for process in started]
    begin = time.monotonic()
    for pidfd in pidfds:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    took = all_gone(pidfds) - begin
    for process in started:
        process.wait()
    return took


def deaf() -> None:
    """A hundred gateways that ignore SIGTERM, stopped at once; beside it, what a hundred ends by SIGKILL take by themselves."""
    timeout = 5.0
    with fleet(100, sections={**IDLE, "stop": {"timeout": timeout}}, FAKE_IGNORE_TERM="1") as supervisor:
        assert supervisor.process is not None
        gateways = supervisor.world.gateways.values()
        pidfds = [os.pidfd_open(gateway.lives()[-1]["pid"]) for gateway in gateways]
        begin = time.monotonic()
        supervisor.process.send_signal(signal.SIGTERM)
        gone = all_gone(pidfds) - begin
        supervisor.process.wait(120)
        took = time.monotonic() - begin
        floor = bare_end(gateways, supervisor.env)
        say(
            "100 TERM-deaf gateways: SIGTERM → last one gone / stop timeout",
            f"{gone / timeout:.2f} x (timeout + {milliseconds(gone - timeout)})",
        )
        say("  SIGKILL by a bare loop → last one gone", milliseconds(floor))
        say(
            "  SIGTERM → supervisor gone / stop timeout",
            f"{took / timeout:.2f} x (timeout + {milliseconds(took - timeout)})",
        )


def adopt() -> None:
    """SIGKILL of the brain → all ten gateways adopted."""
    with fleet(10) as supervisor:
        walls = []
        for round_number in range(1, 6):
            brain = supervisor.status()["supervisor"]["pid"]
            begin = time.monotonic()
            kill(brain)
            while adopted(supervisor) < 10 * round_number:
                time.sleep(0.005)
            walls.append(time.monotonic() - begin)
            wait_for(lambda: all_ready(supervisor), "ready", story=supervisor.story)
        bare = statistics.median(
            seconds_of([sys.executable, "-c", "import anyio, pydantic"], supervisor.env) for _ in range(5)
        )
        say(
            "SIGKILL of the brain → ten adopted / `python3 -c 'import anyio, pydantic'`",
            f"{statistics.median(walls) / bare:.2f} x ({milliseconds(statistics.median(walls))})",
        )


def adopted(supervisor: Supervisor) -> int:
    """Count the adoptions in the journal."""
    return sum(event["event"] == "adopted" for event in supervisor.events())


FIGURES: dict[str, Callable[[], None]] = {
    "respawn": respawn,
    "idle": idle,
    "status": status,
    "deaf": deaf,
    "adopt": adopt,
}


if __name__ == "__main__":
    for name in sys.argv[1:] or FIGURES:
        FIGURES[name]()
