"""Main's trouble does not delay its rescue (R25, R28): how long it takes from SIGKILL to ready again, in quiet and in a storm."""

import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import pytest

from tests.e2e.supervised import Supervisor
from tests.e2e.world import World, kill, wait_for

KILLS = 6
LOG_BYTES = 320 * 1024
STEADY_S = 0.3
# As long as that a restart of its own is never what is measured: the rescue's life has been stable when it is killed.
CALM = {"restart": {"stable": STEADY_S / 2, "delay": 0.1}}
CRASHING = {"restart": {"delay": 0.01, "cap": 0.01, "burst": 0}}


class Cramped(Supervisor):
    """A supervisor whose logs lie on a disk of their own that is soon full; only root can mount one."""

    def argv(self, *words: str) -> list[str]:
        """Give the command line of a verb; `run` gets a mount namespace of its own."""
        if words != ("run",) or os.geteuid() != 0 or shutil.which("unshare") is None:
            return super().argv(*words)
        logs = self.state_dir / "logs"
        for directory in (self.state_dir, logs):
            directory.mkdir(mode=0o700, exist_ok=True)
        mount = f'mount -t tmpfs -o size={LOG_BYTES},mode=700 none "$0" && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", mount, str(logs), *super().argv(*words)]


@pytest.fixture
def running(world: World) -> Iterator[Supervisor]:
    """The rescue; a main that crashes soon, talks without end and leaves daemons behind; ops, which crashes, and whose port others take."""
    world.define("rescue", role="rescue", sections=CALM)
    storm = {"FAKE_EXIT_AFTER_S": "0.3", "FAKE_CHATTER": "5000", "FAKE_HELPER": "daemon"}
    world.define("main", role="main", env=storm, sections=CRASHING)
    world.define("ops", sections=CRASHING, env={"FAKE_EXIT_AFTER_S": "0.3", "FAKE_ADDRINUSE_S": "0.05"})
    supervisor = Cramped(world).start()
    yield supervisor
    supervisor.stop()


def instant(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


def ready_again(supervisor: Supervisor, pid: int) -> float:
    """Kill the rescue once it is steady; how many seconds pass until it is ready again, by the journal."""
    readies = [event for event in supervisor.events("rescue") if event["event"] == "ready"]
    wait_for(lambda: time.time() > instant(readies[-1]) + STEADY_S, "a steady rescue")
    killed = time.time()
    kill(pid)

    def ready() -> dict[str, Any]:
        found = [event for event in supervisor.events("rescue") if event["event"] == "ready"]
        return found[-1] if len(found) > len(readies) else {}

    return instant(supervisor.wait_for(ready, "the rescue is ready again", 60)) - killed


def worst(supervisor: Supervisor) -> float:
    """The worst of some kills, in seconds."""
    found = []
    for _ in range(KILLS):
        life = supervisor.world.gateways["rescue"].lives()[-1]
        found.append(ready_again(supervisor, life["pid"]))
    return max(found)


@contextmanager
def taken_again_and_again(port: int) -> Iterator[None]:
    """A stranger that listens on a port, and stops, and listens."""
    over = threading.Event()

    def storm() -> None:
        while not over.wait(0.1):
            with suppress(OSError), socket.create_server(("127.0.0.1", port)):
                over.wait(0.1)

    thread = threading.Thread(target=storm)
    thread.start()
    yield
    over.set()
    thread.join()


def count(supervisor: Supervisor, gateway: str, event: str) -> int:
    return sum(line["event"] == event for line in supervisor.events(gateway))


def test_the_rescue_is_back_as_soon_in_a_storm_as_in_quiet(running: Supervisor) -> None:
    """R25, R28: restarts without end, daemons left behind, a full log and a contested port are main's and ops' own trouble."""
    running.wait_ready(["rescue"])
    assert running.cli("stop", "main", "ops").returncode == 0
    quiet_s = worst(running)
    port = running.world.gateways["ops"].port
    with socket.create_server(("127.0.0.1", port)):
        running.cli("start", "main", "ops", "--no-wait")
        running.wait_for(lambda: count(running, "ops", "blocked") > 0, "ops has lost its port")
    with taken_again_and_again(port):
        running.wait_for(lambda: count(running, "main", "exited") > 3, "main's storm")
        before = {name: count(running, name, "spawned") for name in ("main", "ops")}
        storm_s = worst(running)
        spawned = {name: count(running, name, "spawned") - before[name] for name in before}
    sys.stdout.write(f"the rescue's worst of {KILLS}: quiet {quiet_s:.2f} s, storm {storm_s:.2f} s; {spawned}\n")
    assert spawned["main"] >= KILLS // 2
    if os.geteuid() == 0 and shutil.which("unshare") is not None:
        assert "main" in " ".join(running.status()["supervisor"]["degraded"])
    assert storm_s < 10 * quiet_s, f"{storm_s:.2f} s in the storm, {quiet_s:.2f} s in quiet"
