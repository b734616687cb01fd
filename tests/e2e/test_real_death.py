"""What a brain's death, and a restart that OpenClaw itself makes, do to real gateways; one world serves all tests, in their order."""

import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests import real_openclaw
from tests.e2e.supervised import Supervisor, gone
from tests.e2e.world import World, kill, wait_for
from tests.ports import Ports

READY_S = 120
# Beside others on a loaded machine a restart within the process closes the port for longer than eight quick probes.
REAL = {"start": {"timeout": 300}, "stop": {"timeout": 60}, "probe": {"interval": 1, "timeout": 10, "failures": 60}}

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def supervisor(openclaw: real_openclaw.RealOpenClaw, ports: Ports) -> Iterator[Supervisor]:
    """`main` as we start gateways; `inside` told to restart in its own process."""
    root = Path(tempfile.mkdtemp(prefix="cs-"))
    world = World(root, ports)
    for name, env in (("main", {}), ("inside", {"OPENCLAW_NO_RESPAWN": "1"})):
        gateway = world.define(name, sections=REAL, command=[str(openclaw.launcher)], env=env)
        real_openclaw.write_config(gateway.config, gateway.port)
    running = Supervisor(world).start()
    yield running
    running.stop()
    strays = world.strays()
    shutil.rmtree(root)
    assert not strays, f"processes left behind, now killed: {strays}"


def uptime_ms(port: int) -> int:
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/startupz")
        answer = connection.getresponse().read().partition(b'"uptimeMs":')[2]
        return int(answer.strip().rstrip(b"}").split(b",")[0] or 0)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_brain_killed_during_their_start_finds_them_and_sees_them_become_ready(supervisor: Supervisor) -> None:
    """R25, R27: a second start on the state directory would cost OpenClaw's unclean boots."""
    names = list(supervisor.world.gateways)
    supervisor.wait_for(lambda: all(supervisor.gateway(name).get("pid") for name in names), "both are spawned", READY_S)
    before = {name: supervisor.gateway(name) for name in names}
    assert {seen["state"] for seen in before.values()} == {"starting"}
    supervisor.replace_brain()
    for name in names:
        after = supervisor.wait_state(name, "ready", deadline_s=READY_S, adopted=True)
        assert (after["pid"], after["restarts"]) == (before[name]["pid"], 0)


def test_a_brain_killed_when_they_are_ready_costs_them_nothing(supervisor: Supervisor) -> None:
    """R25, R27: state and instant of readiness are those of before."""
    before = supervisor.wait_ready(deadline_s=READY_S)
    supervisor.replace_brain()
    for name, seen in before.items():
        after = supervisor.wait_state(name, "ready", adopted=True)
        assert [after[key] for key in ("pid", "since", "restarts")] == [
            seen[key] for key in ("pid", "since", "restarts")
        ]


def test_a_handoff_that_no_brain_saw_is_still_a_handoff(supervisor: Supervisor) -> None:
    """R27: SIGUSR2 while the brain stands still; it exits 0, which the keeper passes on to the next brain. No backoff, no score."""
    before = supervisor.wait_ready(deadline_s=READY_S)["main"]
    seen = len(supervisor.events("main"))
    brain = supervisor.status()["supervisor"]["pid"]
    kill(brain, signal.SIGSTOP)
    kill(before["pid"], signal.SIGUSR2)
    wait_for(lambda: gone(before["pid"]), "it makes way for its successor", 30)
    kill(brain)
    after = supervisor.wait_state("main", "ready", deadline_s=READY_S, restarts=before["restarts"] + 1)
    assert after["pid"] != before["pid"]
    assert (after["last_exit"]["code"], after["last_exit"]["cause"]) == (0, "handoff")
    assert not {"backoff", "failed", "blocked"} & {event["event"] for event in supervisor.events("main")[seen:]}


def test_a_restart_within_the_process_is_no_exit_and_no_failure(supervisor: Supervisor) -> None:
    """R19, R27: `openclaw gateway restart` of a gateway with OPENCLAW_NO_RESPAWN: its port is closed for seconds, its pid stays."""
    before = supervisor.wait_ready(deadline_s=READY_S)["inside"]
    port = supervisor.world.gateways["inside"].port
    seen = len(supervisor.events("inside"))
    up_before = uptime_ms(port)
    answer = supervisor.cli("exec", "inside", "--", "openclaw", "gateway", "restart", timeout_s=READY_S)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    supervisor.wait_for(lambda: listens(port) and uptime_ms(port) < up_before, "it has begun anew", READY_S)
    after = supervisor.wait_state("inside", "ready", deadline_s=READY_S)
    assert (after["pid"], after["restarts"], after["last_exit"]) == (before["pid"], before["restarts"], None)
    assert not {"exited", "hung", "backoff"} & {event["event"] for event in supervisor.events("inside")[seen:]}


def test_nobody_reading_its_output_is_no_reason_for_it_to_end(supervisor: Supervisor) -> None:
    """R25, R27: on a plain pipe OpenClaw exits 0 then (FACTS); here it talks on, and the next supervisor has every byte."""
    before = supervisor.wait_ready(deadline_s=READY_S)
    pids = supervisor.status()["supervisor"]
    kill(pids["keeper_pid"], signal.SIGSTOP)
    kill(pids["pid"])
    kill(pids["keeper_pid"])
    supervisor.wait_for(lambda: gone(pids["pid"]), "keeper and brain are dead")
    inside = supervisor.world.gateways["inside"]
    written = len(supervisor.log("inside"))
    up_before = uptime_ms(inside.port)
    kill(before["inside"]["pid"], signal.SIGUSR2)
    wait_for(lambda: listens(inside.port) and uptime_ms(inside.port) < up_before, "a talkative restart", READY_S)
    assert not any(gone(seen["pid"]) for seen in before.values())
    assert len(supervisor.log("inside")) == written
    if supervisor.process is not None:
        supervisor.process.wait(10)
    supervisor.start()
    for name, seen in before.items():
        assert supervisor.wait_state(name, "ready", deadline_s=READY_S, adopted=True)["pid"] == seen["pid"]
    supervisor.wait_for(
        lambda: "restart" in supervisor.log("inside")[written:], "its words from between are in the log"
    )
