"""README's first command from nothing, and `up` beside a bot that was there before: the real OpenClaw, a home of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests import real_openclaw
from tests.e2e.supervised import Supervisor
from tests.e2e.world import REPOSITORY, World, wait_for
from tests.ports import Ports

INSTALL_S, READY_S = 600, 240

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


@pytest.fixture
def processes() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """What was left in the foreground; ended in order at the end."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(120)


def newcomer(world: World) -> dict[str, str]:
    """The environment of someone who has Python alone: the host's tools, its way to the registries, and no caches lost."""
    foreign = ("CLAWSUP_", "OPENCLAW_", "PYTHON", "VIRTUAL_ENV", "NODE_OPTIONS")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    home = Path.home()
    env |= {"HOME": str(world.home), "PATH": "/usr/local/bin:/usr/bin:/bin", "npm_config_cache": str(home / ".npm")}
    env["XDG_CACHE_HOME"] = os.environ.get("XDG_CACHE_HOME") or str(home / ".cache")
    for name, file in (("NPM_CONFIG_USERCONFIG", ".npmrc"), ("PIP_CONFIG_FILE", ".config/pip/pip.conf")):
        if (home / file).exists():
            env.setdefault(name, str(home / file))
    return env


def typed(
    env: dict[str, str], output: Path, *argv: str | Path, started: list["subprocess.Popen[bytes]"]
) -> "subprocess.Popen[bytes]":
    with output.open("wb") as file:
        process = subprocess.Popen(
            argv, cwd=REPOSITORY, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    started.append(process)
    return process


def settled(process: "subprocess.Popen[bytes]", output: Path) -> str:
    """Wait until `up` shows its table, or has ended; what it printed."""
    wait_for(
        lambda: "Ctrl-C stops them all" in output.read_text() or process.poll() is not None,
        "the table",
        INSTALL_S,
        output.read_text,
    )
    said = output.read_text()
    if process.poll() is not None and "could not install" in said and os.environ.get("CI") != "true":
        pytest.skip(f"OpenClaw cannot be installed here: {said}")
    assert process.poll() is None, said
    return said


def control_ui(port: int) -> str:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.status == 200
    text = answer.read().decode()
    connection.close()
    return text


def test_the_first_command_brings_two_gateways_up_from_nothing_but_python(
    world: World, processes: list["subprocess.Popen[bytes]"]
) -> None:
    """R4, R7, R9, R22: a venv, `pip install .`, `clawsup up`."""
    env, venv = newcomer(world), world.root / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], env=env, check=True, timeout=120)
    pip: list[str | Path] = [venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "."]
    subprocess.run(pip, cwd=REPOSITORY, env=env, check=True, timeout=300)
    places = ("--conf-dir", str(world.conf_dir), "--state-dir", str(world.root / "s"))
    output = world.root / "out"
    process = typed(env, output, venv / "bin/clawsup", *places, "up", started=processes)
    said = settled(process, output)

    assert "2/2 ready" in said
    check = subprocess.run(
        [venv / "bin/clawsup", *places, "check"], env=env, capture_output=True, text=True, check=False
    )
    assert (check.returncode, check.stdout) == (0, "0 errors, 0 warnings: main ok, rescue ok\n")
    status = subprocess.run(
        [venv / "bin/clawsup", *places, "status", "--json"], env=env, capture_output=True, check=True
    )
    for entry in json.loads(status.stdout)["gateways"]:
        config = json.loads((world.home / f".openclaw-{entry['name']}/openclaw.json").read_text())
        assert config["gateway"]["port"] == entry["port"]
        assert config["gateway"]["auth"]["token"] not in said
        assert "<html" in control_ui(entry["port"]).lower()
    again = subprocess.run([venv / "bin/clawsup", *places, "up"], env=env, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout.partition("\n")[0]) == (0, "2/2 ready")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(120) == 0


def test_a_bot_on_the_default_profile_becomes_main_as_it_is(
    world: World,
    ports: Ports,
    openclaw: real_openclaw.RealOpenClaw,
    processes: list["subprocess.Popen[bytes]"],
) -> None:
    """R6: its config is not written to, its token and its port stay."""
    supervisor = Supervisor(world, env={"PATH": f"{openclaw.launcher.parent}:/usr/bin:/bin"})
    config, port = world.home / ".openclaw/openclaw.json", ports.take()
    real_openclaw.write_config(config, port)
    before = json.loads(config.read_text())
    output = world.root / "out"
    process = typed(supervisor.env, output, *supervisor.argv("up"), started=processes)
    said = settled(process, output)

    assert f"{config.parent}: becomes main, as it is, on port {port}" in said
    seen = supervisor.wait_ready(["main", "rescue"], deadline_s=READY_S)
    assert seen["main"]["port"] == port
    assert json.loads(config.read_text())["gateway"] == before["gateway"]
    assert not (world.home / ".openclaw-main").exists()
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(120) == 0
