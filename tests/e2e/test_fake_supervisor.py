"""What the supervisor itself survives, refuses and leaves behind (the fake OpenClaw)."""

import contextlib
import json
import os
import signal
import socket
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

from tests.e2e.conftest import Supervise
from tests.e2e.supervised import Supervisor, closed_pipe, gone
from tests.e2e.world import Gateway, World, kill, log_numbers


def ask(gateway: Gateway, path: str) -> dict[str, Any]:
    with closing(HTTPConnection("127.0.0.1", gateway.port, timeout=5)) as connection:
        connection.request("GET", path)
        return dict(json.loads(connection.getresponse().read()))


def hold(gateway: Gateway) -> socket.socket:
    """Open a connection on which the gateway sends a byte a second for as long as it lives."""
    held = socket.create_connection(("127.0.0.1", gateway.port), timeout=15)
    held.sendall(b"GET /hold HTTP/1.1\r\nHost: gateway\r\n\r\n")
    assert held.recv(100).startswith(b"HTTP/1.1 200")
    return held


def still_drips(held: socket.socket) -> bool:
    """Forget what has come in so far, and wait for one byte more."""
    held.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        held.recv(4096)
    held.settimeout(15)
    return held.recv(1) == b"."


def test_a_killed_brain_costs_no_gateway_a_line_or_a_connection(world: World, supervise: Supervise) -> None:
    """R25, R27: the next brain adopts the same processes; the log is whole, the journal has no gap."""
    main = world.define("main", role="main", env={"FAKE_CHATTER": "200"})
    world.define("rescue", role="rescue")
    supervisor = supervise()
    before = supervisor.wait_ready()
    running = supervisor.status()["supervisor"]
    with hold(main) as held:
        for _ in range(3):
            supervisor.replace_brain()
            after = {name: supervisor.wait_state(name, "ready", adopted=True) for name in before}
            assert [after[name]["pid"] for name in after] == [before[name]["pid"] for name in before]
        assert still_drips(held)
    told = ask(main, "/fake")
    supervisor.wait_for(lambda: f"{told['pid']}#{told['lines']} " in supervisor.log("main"), "the log catches up")
    numbers = log_numbers(supervisor.log("main"), told["pid"])
    assert numbers == list(range(1, len(numbers) + 1))
    assert supervisor.status()["supervisor"]["keeper_pid"] == running["keeper_pid"]
    seqs = [event["seq"] for event in supervisor.events()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(main.lives()) == 1


def test_a_gateway_that_dies_while_no_brain_lives_is_noticed_with_its_status(
    world: World, supervise: Supervise
) -> None:
    """R27: the keeper reaps it and passes its status on."""
    main = world.define("main")
    supervisor = supervise()
    pid = supervisor.wait_ready()["main"]["pid"]
    brain = supervisor.status()["supervisor"]["pid"]
    kill(brain, signal.SIGSTOP)
    kill(pid)
    kill(brain)
    seen = supervisor.wait_state("main", "ready", restarts=1)
    assert seen["last_exit"]["signal"] == signal.SIGKILL
    assert len(main.lives()) == 2


def test_an_orderly_stop_leaves_nothing_and_stops_the_rescue_last(world: World, supervise: Supervise) -> None:
    """R25, R26: helpers in their own sessions go too."""
    main = world.define("main", role="main", env={"FAKE_DRAIN_S": "1", "FAKE_HELPER": "daemon"})
    rescue = world.define("rescue", role="rescue", env={"FAKE_HELPER": "setsid"})
    supervisor = supervise()
    supervisor.wait_ready()
    assert supervisor.stop() == 0
    assert world.pids() == set()
    order = [(event.get("gateway"), event["event"]) for event in supervisor.events()]
    assert order.index(("main", "exited")) < order.index(("rescue", "stopping"))
    assert order[-1] == (None, "supervisor_stopped")
    for port in (main.port, rescue.port):
        socket.create_server(("127.0.0.1", port)).close()
    assert supervisor.cli("status").returncode == 4


def test_stop_is_remembered_over_restarts_of_the_supervisor(world: World, supervise: Supervise) -> None:
    """`wanted` is the operator's, not the supervisor's."""
    main, _ = world.define("main"), world.define("other")
    first = supervise()
    first.wait_ready()
    assert first.cli("stop", "main").returncode == 0
    assert first.stop() == 0
    second = supervise()
    second.wait_ready(["other"])
    assert second.wait_state("main", "stopped")["wanted"] is False
    assert len(main.lives()) == 1
    assert second.cli("start", "main").returncode == 0
    second.wait_state("main", "ready", wanted=True)


def test_a_second_supervisor_on_the_same_state_dir_exits_75(world: World, supervise: Supervise) -> None:
    """R26: the first one is not disturbed."""
    world.define("main")
    first = supervise()
    before = first.wait_ready()
    second = supervise()
    assert second.process is not None
    assert second.process.wait(30) == 75
    assert str(first.status()["supervisor"]["keeper_pid"]) in second.errors.read_text(encoding="utf-8")
    assert first.gateway("main")["pid"] == before["main"]["pid"]


def test_another_supervisors_gateways_are_blocked_and_ours_untouched(world: World, supervise: Supervise) -> None:
    """R23, R24: same definitions, another state dir."""
    main = world.define("main")
    ours = supervise()
    before = ours.wait_ready()["main"]
    theirs = supervise(state_dir=world.root / "t")
    reason = theirs.wait_state("main", "blocked")["reason"]
    assert str(before["pid"]) in reason
    assert theirs.stop() == 0
    after = ours.gateway("main")
    assert (after["pid"], after["restarts"], after["state"]) == (before["pid"], 0, "ready")
    assert len(main.lives()) == 1


def test_sighup_never_stops_it(world: World, supervise: Supervise) -> None:
    """SIGHUP is reload: nothing changed, so nothing happens to any gateway."""
    world.define("main")
    supervisor = supervise()
    before = supervisor.wait_ready()["main"]
    assert supervisor.process is not None
    supervisor.process.send_signal(signal.SIGHUP)
    supervisor.wait_for(lambda: "reloaded" in [event["event"] for event in supervisor.events()], "reloaded")
    after = supervisor.wait_state("main", "ready")
    assert (after["pid"], after["restarts"]) == (before["pid"], 0)
    assert supervisor.process.poll() is None


def test_closed_output_does_not_matter(world: World, supervise: Supervise) -> None:
    """R27: a terminal or a log reader that goes away costs nothing."""
    world.define("main")
    broken = closed_pipe()
    supervisor = supervise(output=broken)
    os.close(broken)
    kill(supervisor.wait_ready()["main"]["pid"])
    supervisor.wait_state("main", "ready", restarts=1)
    assert supervisor.process is not None
    assert supervisor.process.poll() is None


def test_a_killed_keeper_ends_the_brain_and_the_next_run_adopts_what_it_left(
    world: World, supervise: Supervise
) -> None:
    """R25: the gateways live through it."""
    world.define("main")
    first = supervise()
    before = first.wait_ready()["main"]
    pids = first.status()["supervisor"]
    kill(pids["keeper_pid"])
    first.wait_for(lambda: gone(pids["pid"]), "the brain follows its keeper")
    assert not gone(before["pid"])
    second = supervise()
    assert second.wait_state("main", "ready", adopted=True)["pid"] == before["pid"]


def test_exec_runs_in_the_gateways_environment_without_its_token(world: World, supervise: Supervise) -> None:
    """R19: from inside another gateway's shell too, where OPENCLAW_GATEWAY_PORT points to the wrong one."""
    main, rescue = world.define("main", role="main"), world.define("rescue", role="rescue")
    supervisor = supervise()
    supervisor.wait_ready()
    inside_main = {name: str(value) for name, value in main.lives()[0]["env"].items()}
    browser = supervisor.cli("exec", "rescue", "--", "openclaw", "browser", "status", env=inside_main)
    assert f"cdpPort: {rescue.port + 11}" in browser.stdout
    env = supervisor.cli("exec", "rescue", "--", "env", env=inside_main).stdout.splitlines()
    names = dict(line.split("=", 1) for line in env if "=" in line)
    assert names["CLAWSUP_GATEWAY"] == "rescue"
    assert names["OPENCLAW_STATE_DIR"] == str(rescue.state_dir)
    assert "CLAWSUP_RUN" not in names
    assert supervisor.cli("exec", "main", "--", "sh", "-c", "exit 7").returncode == 7


def test_openclaw_gateway_restart_through_exec_is_a_handoff(world: World, supervise: Supervise) -> None:
    """R19: OpenClaw's own verb works and costs no penalty."""
    world.define("main", sections={"restart": {"delay": 600}})
    supervisor = supervise()
    supervisor.wait_ready()
    assert supervisor.cli("exec", "main", "--", "openclaw", "gateway", "restart").returncode == 0
    assert supervisor.wait_state("main", "ready", restarts=1)["last_exit"]["cause"] == "handoff"


def test_verbs_without_a_supervisor_or_a_gateway_exit_4_and_print_no_json(world: World, supervise: Supervise) -> None:
    """INTERFACE.md §3."""
    world.define("main")
    lonely = Supervisor(world).cli("status", "--json")
    assert (lonely.returncode, lonely.stdout) == (4, "")
    supervisor = supervise()
    supervisor.wait_ready()
    assert supervisor.cli("stop", "nobody").returncode == 4
    assert supervisor.cli("status", "nobody").returncode == 4
