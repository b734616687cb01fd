"""What the supervisor costs, as ratios within one run: `python tests/bench/bench_supervisor.py [FIGURE…]`; nothing is asserted."""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
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
def fleet(count: int, sections: Mapping[str, Mapping[str, Any]] = IDLE, **env: str) -> Iterator[Supervisor]:
    """Run `count` fakes under one supervisor, ready when the block begins, gone when it has ended."""
    ports, root = Ports(), Path(tempfile.mkdtemp(prefix="cs-"))
    world = World(root, ports)
    for number in range(count):
        world.define(f"g{number}", sections=sections, env=env)
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


def bare_start(directory: Path) -> float:
    """Time from spawning the fake ourselves to its first own instruction: what the measure below has on top of exec."""
    env = {"HOME": str(directory), "PATH": os.environ["PATH"]}
    begin = time.monotonic()
    subprocess.run([sys.executable, "-I", FAKE, "gateway"], env=env, stdout=subprocess.DEVNULL, check=False)
    lives = (directory / ".openclaw" / "fake" / "lives.jsonl").read_text(encoding="utf-8").splitlines()
    return float(json.loads(lives[-1])["monotonic"]) - begin


def outlived(gateway: Gateway, lives: int) -> bool:
    """Tell whether more than that many lives have begun."""
    return len(gateway.lives()) > lives


def respawn() -> None:
    """SIGKILL of a gateway → its replacement is exec'ed."""
    with fleet(1) as supervisor, tempfile.TemporaryDirectory() as scratch:
        (gateway,) = supervisor.world.gateways.values()
        bare, supervised = [], []
        for _ in range(15):
            bare.append(bare_start(Path(scratch)))
            wait_for(lambda: all_ready(supervisor), "ready", story=supervisor.story)
            lives = len(gateway.lives())
            begin = time.monotonic()
            kill(gateway.lives()[-1]["pid"])
            wait_for(partial(outlived, gateway, lives), "respawned", story=supervisor.story)
            supervised.append(gateway.lives()[lives]["monotonic"] - begin)
        start, again = statistics.median(bare), statistics.median(supervised)
        say("SIGKILL → replacement's first instruction / bare spawn → the same", f"{again / start:.2f} x")
        say(
            "  of which SIGKILL → exec, about",
            f"{milliseconds(again - start)} (worst {milliseconds(max(supervised) - start)})",
        )


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
        time.sleep(5)  # what a start leaves to do is done
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


def deaf() -> None:
    """A hundred gateways that ignore SIGTERM, stopped at once."""
    timeout = 5.0
    with fleet(100, sections={**IDLE, "stop": {"timeout": timeout}}, FAKE_IGNORE_TERM="1") as supervisor:
        assert supervisor.process is not None
        begin, wall = time.monotonic(), time.time()
        supervisor.process.send_signal(signal.SIGTERM)
        supervisor.process.wait(120)
        took = time.monotonic() - begin
        exits = [
            datetime.fromisoformat(event["at"]).timestamp()
            for event in supervisor.events()
            if event["event"] == "exited"
        ]
        last = max(exits) - wall
        say(
            "100 TERM-deaf gateways: SIGTERM → last one gone / stop timeout",
            f"{last / timeout:.2f} x (timeout + {milliseconds(last - timeout)})",
        )
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
