"""A main and a rescue gateway of the real OpenClaw under one supervisor; one world serves all tests, in the order of the file."""

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests import real_openclaw
from tests.e2e.supervised import Supervisor
from tests.e2e.world import World, environ, kill
from tests.ports import Ports

READY_S = 120  # a start takes 8 s alone, 20 s beside others; a loaded machine is given six times that
REAL = {"start": {"timeout": 300}, "stop": {"timeout": 60}, "probe": {"interval": 1, "timeout": 10, "failures": 8}}

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


def define(world: World, openclaw: real_openclaw.RealOpenClaw, name: str, **keys: Any) -> None:
    gateway = world.define(name, sections=REAL, command=[str(openclaw.launcher)], **keys)
    real_openclaw.write_config(gateway.config, gateway.port)


@pytest.fixture(scope="module")
def supervisor(openclaw: real_openclaw.RealOpenClaw, ports: Ports) -> Iterator[Supervisor]:
    root = Path(tempfile.mkdtemp(prefix="cs-"))
    world = World(root, ports)
    define(world, openclaw, "main", role="main")
    define(world, openclaw, "rescue", role="rescue")
    running = Supervisor(world).start()
    yield running
    running.stop()
    strays = world.strays()
    shutil.rmtree(root)
    assert not strays, f"processes left behind, now killed: {strays}"


def startupz(port: int) -> dict[str, Any]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/startupz")
        return dict(json.loads(connection.getresponse().read()))


def environment(pid: int) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in os.fsdecode(environ(pid)).split("\0") if entry)
    return {name: value for name, _, value in pairs}


def test_two_definitions_become_two_ready_gateways(supervisor: Supervisor) -> None:
    """R4, R9, R22, R24, R25: the rescue had started before main was spawned."""
    seen = supervisor.wait_ready(deadline_s=READY_S)
    for name, gateway in supervisor.world.gateways.items():
        assert startupz(gateway.port) | {"uptimeMs": 0} == {
            "ok": True,
            "status": "started",
            "version": real_openclaw.VERSION,
            "uptimeMs": 0,
        }
        assert seen[name]["port"] == gateway.port
        assert seen[name]["restarts"] == 0
    order = [(event["gateway"], event["event"]) for event in supervisor.events()]
    assert order.index(("rescue", "started")) < order.index(("main", "spawned"))


def test_a_killed_main_is_ready_again_while_the_rescue_keeps_its_pid(supervisor: Supervisor) -> None:
    """R24, R25, R27, R28."""
    before = supervisor.wait_ready(deadline_s=READY_S)
    kill(before["main"]["pid"])
    after = supervisor.wait_state("main", "ready", deadline_s=READY_S, restarts=before["main"]["restarts"] + 1)
    assert after["last_exit"]["signal"] == 9
    assert after["last_exit"]["cause"] == "crash"
    assert supervisor.gateway("rescue")["pid"] == before["rescue"]["pid"]


def test_a_killed_brain_finds_its_gateways_again(supervisor: Supervisor) -> None:
    """R25, R27."""
    before = supervisor.wait_ready(deadline_s=READY_S)
    supervisor.replace_brain()
    for name, seen in before.items():
        after = supervisor.wait_state(name, "ready", adopted=True)
        assert (after["pid"], after["restarts"]) == (seen["pid"], seen["restarts"])


def test_a_second_supervisors_gateways_are_blocked_and_ours_untouched(supervisor: Supervisor) -> None:
    """R23, R24."""
    before = supervisor.wait_ready(deadline_s=READY_S)
    second = Supervisor(supervisor.world, state_dir=supervisor.world.root / "t").start()
    try:
        for name, seen in before.items():
            assert str(seen["pid"]) in second.wait_state(name, "blocked")["reason"]
    finally:
        assert second.stop() == 0
    after = supervisor.wait_ready(deadline_s=READY_S)
    assert {name: seen["pid"] for name, seen in after.items()} == {name: seen["pid"] for name, seen in before.items()}


def test_two_definitions_on_one_config_file_are_refused(world: World, openclaw: real_openclaw.RealOpenClaw) -> None:
    """R1: OpenClaw itself runs both without a word."""
    define(world, openclaw, "one")
    define(world, openclaw, "two", config_path=str(world.gateways["one"].config))
    answer = Supervisor(world).cli("check")
    assert answer.returncode == 78
    assert "one.toml" in answer.stdout + answer.stderr
    assert "two.toml" in answer.stdout + answer.stderr


def test_openclaws_own_restart_verb_is_a_handoff_without_penalty(supervisor: Supervisor) -> None:
    """R19, R24: `openclaw gateway restart` makes the gateway exit 0, and waits for the successor that we start."""
    before = supervisor.wait_ready(deadline_s=READY_S)["main"]
    seen = len(supervisor.events("main"))
    answer = supervisor.cli("exec", "main", "--", "openclaw", "gateway", "restart", timeout_s=READY_S)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    after = supervisor.wait_state("main", "ready", deadline_s=READY_S, restarts=before["restarts"] + 1)
    assert after["last_exit"]["cause"] == "handoff"
    assert after["pid"] != before["pid"]
    assert "backoff" not in [event["event"] for event in supervisor.events("main")[seen:]]


def test_exec_reaches_its_own_gateway_from_inside_anothers_shell(supervisor: Supervisor) -> None:
    """R15, R19: main's OPENCLAW_GATEWAY_PORT would send the rescue's command line to main."""
    pids = {name: seen["pid"] for name, seen in supervisor.wait_ready(deadline_s=READY_S).items()}
    inside_main = environment(pids["main"]) | {"OPENCLAW_GATEWAY_URL": "ws://127.0.0.1:1"}
    answer = supervisor.cli("exec", "rescue", "--", "openclaw", "browser", "status", env=inside_main, timeout_s=READY_S)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"cdpPort: {supervisor.world.gateways['rescue'].port + 11}" in answer.stdout


def test_an_orderly_stop_leaves_nothing(supervisor: Supervisor) -> None:
    """R25, R26: the rescue stops last, both cleanly; this test ends the world of this file."""
    supervisor.wait_ready(deadline_s=READY_S)
    assert supervisor.stop() == 0
    assert supervisor.world.pids() == set()
    events = supervisor.events()
    exits = {event["gateway"]: event for event in events if event["event"] == "exited"}
    assert list(exits)[-1] == "rescue" or exits["main"]["seq"] < exits["rescue"]["seq"]
    assert {name: exits[name]["code"] for name in ("main", "rescue")} == {"main": 0, "rescue": 0}
    for gateway in supervisor.world.gateways.values():
        socket.create_server(("127.0.0.1", gateway.port)).close()
