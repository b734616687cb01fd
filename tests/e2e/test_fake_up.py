"""`clawsup up`, with a fake OpenClaw on the PATH of a host that has nothing else."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.supervised import Supervisor
from tests.e2e.world import FAKE, REPOSITORY, World, command_line, kill, wait_for
from tests.ports import Ports


class Host:
    """A host on which `up` is typed; what it prints is in one file."""

    def __init__(self, world: World, ports: Ports) -> None:
        self.world = world
        self.base, self.rescue = ports.take(), ports.take()
        tools = world.root / "bin"
        tools.mkdir()
        (tools / "openclaw").write_text(f'#!/bin/sh\nexec {sys.executable} -I {FAKE} "$@"\n')
        (tools / "openclaw").chmod(0o755)
        self.supervisor = Supervisor(world, env={"PATH": f"{tools}:/usr/bin:/bin"})
        self.output = world.root / "up.out"
        self.process: subprocess.Popen[bytes] | None = None

    def up(self, *words: str) -> "subprocess.Popen[bytes]":
        """Type it, and leave it in the foreground of nobody's terminal."""
        with self.output.open("wb") as output:
            self.process = self.supervisor.process = subprocess.Popen(
                self.supervisor.argv("up", *words),
                cwd=REPOSITORY,
                env=self.supervisor.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self.process

    def said(self) -> str:
        """All that it has printed."""
        return self.output.read_text()

    def shows(self, text: str) -> None:
        """Wait until it has printed that."""
        wait_for(lambda: text in self.said(), f"{text!r} printed", story=self.said)

    def definition(self, name: str) -> dict[str, object]:
        """A definition as it is written."""
        return tomllib.loads((self.world.conf_dir / f"{name}.toml").read_text())

    def profile(self, name: str, port: int) -> Path:
        """A profile that was set up before clawsup came."""
        directory = self.world.home / (".openclaw" if name == "default" else f".openclaw-{name}")
        directory.mkdir(mode=0o700)
        config = {"gateway": {"mode": "local", "port": port, "bind": "loopback"}}
        (directory / "openclaw.json").write_text(json.dumps(config))
        return directory


@pytest.fixture
def host(world: World, ports: Ports) -> Iterator[Host]:
    made = Host(world, ports)
    yield made
    if made.process is not None:
        made.supervisor.stop()


def test_from_nothing_to_two_ready_gateways_and_the_table(host: Host) -> None:
    """R4, R7, R9: one command; the token is in OpenClaw's file and nowhere else."""
    host.up("--port", str(host.base))
    host.shows("Ctrl-C stops them all")

    assert "2/2 ready" in host.said()
    assert host.definition("main") == {"port": host.base, "role": "main"}
    rescue = host.definition("rescue")
    assert rescue == {"port": rescue["port"], "role": "rescue"}
    for name, port in (("main", host.base), ("rescue", rescue["port"])):
        assert f"http://127.0.0.1:{port}/" in host.said()
        config = json.loads((host.world.home / f".openclaw-{name}" / "openclaw.json").read_text())
        assert config["gateway"]["port"] == port
        assert config["gateway"]["auth"]["token"] not in host.said()
    order = [host.said().index(text) for text in ("rescue     starting", "rescue     ready", "main       ready")]
    assert order == sorted(order)


def test_ctrl_c_stops_everything_in_order(host: Host) -> None:
    """The keeper is what stands in the foreground: it hears the signal and gives the exit code."""
    process = host.up("--port", str(host.base))
    host.shows("Ctrl-C stops them all")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 0
    assert host.world.strays() == {}
    ended = [event["gateway"] for event in host.supervisor.events() if event["event"] == "exited"]
    assert ended == ["main", "rescue"]


def test_a_second_up_changes_nothing(host: Host) -> None:
    host.up("--port", str(host.base))
    host.shows("Ctrl-C stops them all")
    assert host.supervisor.stop() == 0
    before = {
        file: file.read_bytes() for file in (*host.world.conf_dir.iterdir(), *host.world.home.glob("*/openclaw.json"))
    }
    host.up()
    host.shows("Ctrl-C stops them all")
    assert "set-up" not in host.said()
    after = {
        file: file.read_bytes() for file in (*host.world.conf_dir.iterdir(), *host.world.home.glob("*/openclaw.json"))
    }
    assert after == before


def test_beside_a_running_supervisor_it_shows_the_table_and_ends_well(host: Host) -> None:
    host.up("--port", str(host.base))
    host.shows("Ctrl-C stops them all")
    second = host.supervisor.cli("up")
    assert second.returncode == 0
    assert "2/2 ready" in second.stdout
    assert f"http://127.0.0.1:{host.base}/" in second.stdout
    assert "runs already" in second.stdout


def test_the_front_may_die_and_no_gateway_notices(host: Host) -> None:
    process = host.up("--port", str(host.base))
    host.shows("Ctrl-C stops them all")
    before = host.supervisor.wait_ready(["main", "rescue"])
    fronts = [pid for pid in host.world.pids() if command_line(pid).rstrip().endswith(f"up --port {host.base}")]
    assert len(fronts) == 1
    kill(fronts[0])
    kill(before["main"]["pid"])
    after = host.supervisor.wait_state("main", "ready", restarts=1)
    assert after["pid"] != before["main"]["pid"]
    assert process.poll() is None


def test_what_changes_later_is_told(host: Host) -> None:
    host.up("--port", str(host.base))
    host.shows("Ctrl-C stops them all")
    kill(host.supervisor.gateway("main")["pid"])
    wait_for(lambda: host.said().count("main       ready") == 2, "main's return told", story=host.said)
    assert "main       starting" in host.said().partition("Ctrl-C")[2]


def test_the_address_of_what_is_not_up_is_told_once_it_is(host: Host) -> None:
    """Whoever holds the port meanwhile would be taken for the gateway."""
    host.up("--port", str(host.base))
    host.shows("Ctrl-C stops them all")
    assert host.supervisor.stop() == 0
    address = f"http://127.0.0.1:{host.base}/"
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", host.base))
        stranger.listen()
        host.up()
        host.shows("Ctrl-C stops them all")
        assert "main    not now: it is blocked" in host.said()
        assert "to get in: clawsup exec rescue" in host.said()
        assert address not in host.said()
    host.shows(f"main       ready: {address}")


def test_a_default_profile_bot_becomes_main_as_it_is(host: Host) -> None:
    """R6: its files and its port stay, the rescue is a new one beside it."""
    config = host.profile("default", host.base) / "openclaw.json"
    before = config.read_bytes()
    host.up()
    host.shows("Ctrl-C stops them all")

    assert host.definition("main") == {"port": host.base, "role": "main", "profile": "default"}
    assert config.read_bytes() == before
    assert not (host.world.home / ".openclaw-main").exists()
    assert (host.world.home / ".openclaw-rescue" / "openclaw.json").exists()
    assert host.supervisor.gateway("main")["port"] == host.base


def test_other_profiles_are_offered_and_left_alone(host: Host) -> None:
    host.profile("work", host.rescue)
    host.up("--port", str(host.base))
    host.shows("Ctrl-C stops them all")
    assert f"clawsup add work --port {host.rescue} adds it" in host.said()
    assert sorted(file.name for file in host.world.conf_dir.iterdir()) == ["main.toml", "rescue.toml"]
    added = host.supervisor.cli("add", "work", "--port", str(host.rescue))
    assert added.returncode == 0, added.stderr
    assert host.definition("work") == {"port": host.rescue, "role": "extra"}


def test_a_gateway_that_runs_already_is_named_and_nothing_is_touched(host: Host) -> None:
    """R8: two on one state dir would fight."""
    host.profile("default", host.base)
    words = ["openclaw", "gateway", "run", "--port", str(host.base)]
    with subprocess.Popen(words, executable=f"{host.world.root}/bin/openclaw", env=host.supervisor.env) as other:
        wait_for((host.world.home / ".openclaw/fake/lives.jsonl").exists, "the other gateway")
        done = host.supervisor.cli("up")
        other.terminate()
    assert done.returncode == 1
    assert f"pid {other.pid}" in done.stderr
    assert "nothing was touched" in done.stderr
    assert list(host.world.conf_dir.iterdir()) == []
    assert not (host.world.home / ".openclaw-rescue").exists()


def test_an_enabled_old_unit_is_named_with_the_command_that_makes_way(host: Host) -> None:
    """R8."""
    host.profile("default", host.base)
    units = host.world.home / ".config/systemd/user"
    (units / "default.target.wants").mkdir(parents=True)
    (units / "openclaw-gateway.service").write_text("[Service]\nExecStart=/usr/bin/openclaw gateway --port 1\n")
    (units / "default.target.wants/openclaw-gateway.service").symlink_to("../openclaw-gateway.service")
    done = host.supervisor.cli("up")
    assert done.returncode == 1
    assert "openclaw-gateway.service" in done.stderr
    assert "disable --now openclaw-gateway.service" in done.stderr
    assert list(host.world.conf_dir.iterdir()) == []


def test_a_taken_base_is_passed_over(host: Host) -> None:
    """R10."""
    with socket.create_server(("127.0.0.1", host.base)):
        host.up("--port", str(host.base))
        host.shows("Ctrl-C stops them all")
    ports = [host.definition(name)["port"] for name in ("main", "rescue")]
    assert host.base not in ports
    assert host.supervisor.cli("check").returncode == 0


def test_a_failed_set_up_says_what_openclaw_said_and_is_done_again(host: Host) -> None:
    broken = host.world.root / "broken"
    broken.mkdir()
    (broken / "openclaw").write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo OpenClaw 2026.9.6 && exit\necho no room left; exit 1\n'
    )
    (broken / "openclaw").chmod(0o755)
    done = host.supervisor.cli("up", "--port", str(host.base), env={"PATH": f"{broken}:/usr/bin:/bin"})
    assert done.returncode == 1
    assert "no room left" in done.stderr
    host.up()
    host.shows("Ctrl-C stops them all")
    assert "2/2 ready" in host.said()


def test_two_at_once_do_not_do_the_same_work(host: Host) -> None:
    host.supervisor.state_dir.mkdir(mode=0o700)
    with (host.supervisor.state_dir / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = host.supervisor.cli("up")
    assert done.returncode == 75
    assert list(host.world.conf_dir.iterdir()) == []
