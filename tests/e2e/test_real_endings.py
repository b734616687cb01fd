"""How real gateways end, and what is made of it: handoffs, upgrades, somebody else's SIGTERMs, a newer state (issue 7).

One gateway serves the tests of the supervisor, in the order of the file; the last test asks `restart-handoff` itself.
"""

import json
import os
import shutil
import signal
import sqlite3
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from supervisor.openclaw import handoff
from supervisor.openclaw.output import last_object
from tests import real_openclaw
from tests.e2e.supervised import Supervisor
from tests.e2e.world import Gateway, World, environ, kill, wait_for
from tests.ports import Ports

READY_S = 120
SECTIONS: dict[str, dict[str, Any]] = {
    "start": {"timeout": 300},
    "stop": {"timeout": 60},
    "probe": {"interval": 1, "timeout": 10, "failures": 60},
    "restart": {"burst": 0},
    "repair": {"steps": ["rollback", "doctor"]},
}

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def installation(openclaw: real_openclaw.RealOpenClaw) -> Iterator[Path]:
    """An installation to be replaced: the cached one's files by other names, so nothing in it may be written to."""
    cached = openclaw.launcher.parents[1]
    # Only beside it is surely the same file system.
    copy = Path(tempfile.mkdtemp(prefix="copy-", dir=cached.parent)) / cached.name
    shutil.copytree(cached, copy, symlinks=True, copy_function=os.link)
    yield copy
    shutil.rmtree(copy.parent)


@pytest.fixture(scope="module")
def supervisor(installation: Path, ports: Ports) -> Iterator[Supervisor]:
    root = Path(tempfile.mkdtemp(prefix="cs-"))
    world = World(root, ports)
    gateway = world.define("main", sections=SECTIONS, command=[str(installation / "bin" / "openclaw")], role="main")
    real_openclaw.write_config(gateway.config, gateway.port)
    inside = world.define(
        "inside",
        sections=SECTIONS | {"restart": {"delay": 600}},
        command=[str(installation / "bin" / "openclaw")],
        enabled=False,
        env={"OPENCLAW_NO_RESPAWN": "1"},
    )
    real_openclaw.write_config(inside.config, inside.port)
    config = json.loads(inside.config.read_bytes())
    config["gateway"]["tls"] = {"enabled": True}
    inside.config.write_text(json.dumps(config), encoding="utf-8")
    running = Supervisor(world).start()
    yield running
    running.stop()
    strays = world.strays()
    shutil.rmtree(root)
    assert not strays, f"processes left behind, now killed: {strays}"


def replace_build(installation: Path, build_id: str) -> None:
    """Put another build in the place of the present one, as far as a running gateway looks: by rename, as the files are the cache's too."""
    build = installation / "node_modules" / "openclaw" / "dist" / "build-info.json"
    newer = build.with_suffix(".newer")
    newer.write_text(json.dumps(json.loads(build.read_text("utf-8")) | {"buildId": build_id}), "utf-8")
    newer.rename(build)


def database(gateway: Gateway) -> "closing[sqlite3.Connection]":
    return closing(sqlite3.connect(gateway.state_dir / "state" / "openclaw.sqlite", isolation_level=None))


def test_a_restart_that_it_asks_for_is_accepted_and_costs_nothing(supervisor: Supervisor) -> None:
    before = supervisor.wait_state("main", "ready", deadline_s=READY_S)
    kill(before["pid"], signal.SIGUSR2)
    (answered,) = supervisor.wait_for(lambda: supervisor.named("handoff_answered"), "consume has answered", READY_S)
    assert (answered["accepted"], answered["life"]) == (True, 1)
    entry = supervisor.wait_state("main", "ready", deadline_s=READY_S, restarts=1)
    assert (entry["last_exit"]["code"], entry["last_exit"]["cause"]) == (0, "handoff")
    assert supervisor.named("backoff") == []
    assert list((supervisor.state_dir / "incidents").glob("*")) == []


def test_an_installation_that_is_replaced_under_it_is_a_handoff(supervisor: Supervisor, installation: Path) -> None:
    """It looks for another build once in a while, and leaves as for a restart: with exit 0 and a row that is accepted."""
    before = supervisor.wait_state("main", "ready", deadline_s=READY_S)
    replace_build(installation, "a-newer-build")
    supervisor.wait_for(lambda: len(supervisor.named("handoff_answered")) == 2, "consume has answered", 2 * READY_S)
    entry = supervisor.wait_state("main", "ready", deadline_s=READY_S, restarts=before["restarts"] + 1)
    assert "Installation replaced" in supervisor.log("main")
    assert (entry["last_exit"]["code"], entry["last_exit"]["cause"]) == (0, "handoff")
    assert supervisor.named("backoff") == []


def test_three_sigterms_of_somebody_else_are_a_contest(supervisor: Supervisor) -> None:
    """It exits 0 for them, as for a restart; its last words tell them apart, and `consume` accepts none of them."""
    for restarts in (2, 3, 4):
        entry = supervisor.wait_state("main", "ready", deadline_s=READY_S, restarts=restarts)
        kill(entry["pid"], signal.SIGTERM)
    blocked = supervisor.wait_state("main", "blocked", deadline_s=READY_S)
    assert (blocked["last_exit"]["code"], blocked["last_exit"]["cause"]) == (0, "contested")
    assert blocked["mend"].endswith("(clawsup doctor looks for it), then: clawsup start main")
    assert [event["life"] for event in supervisor.named("handoff_answered") if event["accepted"]] == [1, 2]
    assert [event["cause"] for event in supervisor.named("exited")][2:] == ["handoff", "crash", "contested"]


def test_a_state_of_a_newer_openclaw_is_named_and_no_rung_is_climbed(supervisor: Supervisor) -> None:
    """It exits 78 for it as for a bad config, and calls every config invalid then."""
    gateway = supervisor.world.gateways["main"]
    config = gateway.config.read_bytes()
    with database(gateway) as state:
        version = state.execute("PRAGMA user_version").fetchone()[0]
        state.execute(f"PRAGMA user_version = {version + 1}")
    assert supervisor.cli("start", "main", timeout_s=READY_S).returncode == 1

    entry = supervisor.wait_state("main", "blocked")
    assert f"newer schema version {version + 1}" in entry["reason"]
    assert "put back the newer OpenClaw" in entry["mend"]
    assert str(gateway.state_dir) in entry["mend"]
    assert entry["config"] != "bad"
    assert supervisor.named("repair_started") == []
    assert gateway.config.read_bytes() == config
    assert supervisor.cli("why", "main").stdout.splitlines()[-1].endswith("clawsup start main")
    with database(gateway) as state:
        state.execute(f"PRAGMA user_version = {version}")
    assert supervisor.cli("start", "main", timeout_s=READY_S).returncode == 0


class Alone:
    """A gateway that no supervisor has: what it hands over nobody has consumed."""

    def __init__(self, launcher: Path, gateway: Gateway, environment: dict[str, str]) -> None:
        self.launcher = launcher
        self.gateway = gateway
        self.environment = environment

    def command(self, *words: str) -> list[str]:
        return [str(self.launcher), "--profile", "main", *words]

    def hands_off(self) -> int:
        """Start it, have it restart, and give the pid of what has ended."""
        words = self.command("gateway", "run", "--port", str(self.gateway.port))
        with (self.gateway.state_dir / "alone.log").open("w+", encoding="utf-8") as log:
            process = subprocess.Popen(words, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            wait_for(lambda: "[gateway] ready" in Path(log.name).read_text("utf-8"), "a gateway alone", READY_S)
            process.send_signal(signal.SIGUSR2)
            assert process.wait(60) == 0
        return process.pid

    def asks(self, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            self.command(*words), env=self.environment, capture_output=True, text=True, timeout=READY_S, check=False
        )
        return done.returncode, done.stdout

    def consumes(self, pid: int) -> tuple[bool | None, str]:
        return handoff.verdict(*self.asks(*handoff.argv(pid)[1:]))


def test_consume_accepts_the_right_pid_once_and_in_time(supervisor: Supervisor, installation: Path) -> None:
    """None: the exit stays counted. False: it is somebody else's. Only what is accepted costs nothing."""
    pid = supervisor.wait_state("main", "ready", deadline_s=READY_S)["pid"]
    pairs = (entry.partition("=") for entry in os.fsdecode(environ(pid)).split("\0") if entry)
    environment = {name: value for name, _, value in pairs if name != "CLAWSUP_RUN"}
    assert supervisor.cli("stop", "main", timeout_s=READY_S).returncode == 0
    gateway = supervisor.world.gateways["main"]
    alone = Alone(installation / "bin" / "openclaw", gateway, environment)

    code, told = alone.asks("gateway", "restart-handoff", "capabilities", "--json")
    assert (code, (last_object(told) or {})["operations"]) == (0, ["consume"])
    assert alone.consumes(1) == (None, "missing")
    pid = alone.hands_off()
    assert alone.consumes(pid + 1) == (False, "pid-mismatch")
    assert alone.consumes(pid) == (True, "accepted")
    assert alone.consumes(pid) == (None, "missing")
    pid = alone.hands_off()
    with database(gateway) as state:
        state.execute(
            "UPDATE gateway_restart_handoff SET created_at = created_at - 60000, expires_at = expires_at - 60000"
        )
    assert alone.consumes(pid) == (None, "expired")


def test_a_gateway_that_serves_tls_is_asked_over_tls(supervisor: Supervisor) -> None:
    assert supervisor.cli("start", "inside", timeout_s=READY_S).returncode == 0
    supervisor.wait_state("inside", "ready", deadline_s=READY_S)
    port = supervisor.world.gateways["inside"].port
    assert ssl.get_server_certificate(("127.0.0.1", port)).startswith("-----BEGIN CERTIFICATE")


def test_an_upgrade_under_one_that_restarts_within_its_process_is_an_exit_1_without_penalty(
    supervisor: Supervisor, installation: Path
) -> None:
    """With OPENCLAW_NO_RESPAWN it cannot go on with its files gone, and writes no row: 1, as for a crash, but for the launcher."""
    before = supervisor.wait_state("inside", "ready", deadline_s=READY_S)
    launcher = (installation / "bin" / "openclaw").resolve()
    newer = launcher.with_suffix(".newer")
    shutil.copy2(launcher, newer)
    newer.rename(launcher)
    replace_build(installation, "a-still-newer-build")

    entry = supervisor.wait_state("inside", "ready", deadline_s=2 * READY_S, restarts=1)
    assert "Cannot continue in this process" in supervisor.log("inside")
    assert (entry["last_exit"]["code"], entry["last_exit"]["cause"]) == (1, "upgraded")
    assert entry["pid"] != before["pid"]
    assert [event["event"] for event in supervisor.events("inside") if event["event"] in ("backoff", "failed")] == []
    assert list((supervisor.state_dir / "incidents").glob("*-inside")) == []
