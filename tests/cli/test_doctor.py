"""`doctor`: every finding names what to do, and the exit code is that of the worst."""

import json
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.typed import clawsup, environment
from tests.control.in_memory import Fleet, entry, supervisor
from tests.e2e.world import FAKE, wait_for

Findings = dict[tuple[str, str], list[dict[str, Any]]]


@pytest.fixture
def home(short_dir: Path, base_port: int) -> Path:
    """A host in order: one gateway, set up, that does not run."""
    (short_dir / "conf.d").mkdir()
    command = json.dumps([sys.executable, "-I", str(FAKE)])
    (short_dir / "conf.d/main.toml").write_text(f'port = {base_port}\nrole = "main"\ncommand = {command}\n')
    state_dir = short_dir / ".openclaw-main"
    state_dir.mkdir(mode=0o700)
    (state_dir / "openclaw.json").write_text(f'{{"gateway": {{"mode": "local", "port": {base_port}}}}}')
    (state_dir / "openclaw.json").chmod(0o600)
    (short_dir / "s").mkdir(mode=0o700)
    return short_dir


def looked(home: Path, **env: str) -> tuple[int, Findings]:
    done = clawsup(home / "s", "doctor", "--json", conf_dir=home / "conf.d", env=environment(HOME=str(home), **env))
    found: Findings = {}
    for finding in json.loads(done.stdout)["findings"]:
        found.setdefault((finding["about"], finding["severity"]), []).append(finding)
    return done.returncode, found


def test_a_host_in_order_has_no_error(home: Path) -> None:
    code, found = looked(home)
    assert not [key for key in found if key[1] == "error"]
    assert {"definitions", "OpenClaw", "permissions", "rivals", "ports, locks", "memory", "disk", "kernel"} <= {
        about for about, severity in found if severity == "ok" or about == "memory"
    }
    assert code == 5
    assert found["supervisor", "warning"][0]["mend"].startswith("clawsup up")


def test_a_running_supervisor_is_well(home: Path) -> None:
    with supervisor(Fleet({"main": entry("main")}), home / "s"):
        found = looked(home)[1]
        assert ("supervisor", "ok") in found
        assert ("containment", "ok") in found


def test_a_launcher_is_looked_for_where_the_running_supervisor_looks_or_else_where_this_shell_does(home: Path) -> None:
    """The shell that `doctor` is typed in may know nothing of the PATH that the unit gives the supervisor."""
    definition = home / "conf.d/main.toml"
    definition.write_text(definition.read_text().partition("command")[0])
    (home / "bin").mkdir()
    (home / "bin/openclaw").write_text(f'#!/bin/sh\nexec {sys.executable} -I {FAKE} "$@"\n')
    (home / "bin/openclaw").chmod(0o755)
    with supervisor(Fleet({"main": entry("main")}, path=f"{home}/bin:/usr/bin:/bin"), home / "s"):
        (well,) = looked(home, PATH="/usr/bin:/bin")[1]["OpenClaw", "ok"]
    assert well["text"].endswith(f"({home}/bin/openclaw, on the supervisor's PATH)")
    (lost,) = looked(home, PATH="/usr/bin:/bin")[1]["OpenClaw", "error"]
    assert lost["text"] == "openclaw does not work: no such launcher, on this shell's PATH"


def test_the_gateways_of_a_supervisor_that_does_not_answer_are_no_orphans(home: Path, base_port: int) -> None:
    """Their mark tells whose they are; what holds their lock and port is not to be ended."""
    argv = [sys.executable, "-I", str(FAKE), "--profile", "main", "gateway", "run", "--port", str(base_port)]
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "CLAWSUP_RUN": "x", "CLAWSUP_STATE_DIR": str(home / "s")}
    with subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL) as gateway, socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(home / "s/control.sock"))
        deaf.listen()
        try:
            wait_for((home / ".openclaw-main/fake/lives.jsonl").exists, "the gateway")
            _, found = looked(home)
        finally:
            gateway.kill()
    assert "does not answer" in found["supervisor", "error"][0]["text"]
    assert {about for about, severity in found if severity != "ok"} <= {"supervisor", "memory", "Node", "clock"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root looks after the supervisor of somebody else")
def test_root_is_told_how_things_are_for_the_user_whom_the_supervisor_runs_as(home: Path) -> None:
    """A system unit runs as somebody: what is theirs is right, is not to be given to root, and is not run by root either."""
    definition = home / "conf.d/main.toml"
    named = f'state_dir = "{home}/.openclaw-main"\nconfig_path = "{home}/.openclaw-main/openclaw.json"\n'
    theirs = pwd.getpwnam("nobody").pw_uid
    asked = f'command = ["/bin/sh", "-c", "test $(id -u) = {theirs} && echo OpenClaw 2026.9.6"]\n'
    definition.write_text(named + definition.read_text().partition("command")[0] + asked)
    for path in (home / "s", home / ".openclaw-main", home / ".openclaw-main/openclaw.json"):
        os.chown(path, theirs, -1)
    found = looked(home)[1]
    assert {about for about, severity in found if severity == "error"} == set()
    assert ("permissions", "ok") in found


def test_every_warning_and_error_has_a_mend_and_text_is_for_people(home: Path) -> None:
    (home / ".openclaw-main").chmod(0o777)
    done = clawsup(home / "s", "doctor", conf_dir=home / "conf.d", env=environment(HOME=str(home)))
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    bad = [index for index, line in enumerate(lines) if line.startswith(("warning", "error "))]
    assert bad
    assert all("mend: " in lines[index + 1] for index in bad)
    assert lines[-1].endswith("checks")


def open_config(home: Path) -> None:
    (home / ".openclaw-main/openclaw.json").chmod(0o644)


def open_state_dir(home: Path) -> None:
    (home / ".openclaw-main").chmod(0o770)


def broken_definition(home: Path) -> None:
    (home / "conf.d/bad.toml").write_text("port = 'x'")


def no_launcher(home: Path) -> None:
    with (home / "conf.d/main.toml").open("r+") as definition:
        port = definition.readline()
        definition.truncate(0)
        definition.seek(0)
        definition.write(f'{port}command = ["/nowhere/openclaw"]\n')


def no_config(home: Path) -> None:
    (home / ".openclaw-main/openclaw.json").unlink()


def old_unit(home: Path) -> None:
    units = home / ".config/systemd/user"
    (units / "default.target.wants").mkdir(parents=True)
    name = "openclaw-gateway-main.service"
    (units / name).write_text("[Service]\nExecStart=/usr/bin/openclaw gateway\nEnvironment=OPENCLAW_PROFILE=main\n")
    (units / "default.target.wants" / name).symlink_to(units / name)


def pm2(home: Path) -> None:
    (home / ".pm2").mkdir()
    started = {"name": "bot", "pm_exec_path": "/usr/bin/openclaw", "args": ["--profile", "main", "gateway"]}
    (home / ".pm2/dump.pm2").write_text(json.dumps([started]))


def short_unit(home: Path) -> None:
    where = f"--conf-dir {home}/conf.d --state-dir {home}/s"
    units = home / ".config/systemd/user"
    (units / "openclaw-supervisor.service.d").mkdir(parents=True)
    text = f"[Service]\nExecStart=/usr/bin/clawsup {where} run\nTimeoutStopSec=675\n"
    (units / "openclaw-supervisor.service").write_text(text)
    (units / "openclaw-supervisor.service.d/mine.conf").write_text("[Service]\nTimeoutStopSec=344\n")


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
        (open_config, ("permissions", "warning", "chmod 600")),
        (open_state_dir, ("permissions", "error", "chmod 700")),
        (broken_definition, ("definitions", "error", "port")),
        (no_launcher, ("OpenClaw", "error", "clawsup runtime install")),
        (no_config, ("config", "warning", "clawsup add main --setup")),
        (old_unit, ("units", "error", "disable --now openclaw-gateway-main.service")),
        (short_unit, ("unit", "warning", "clawsup install")),
        (pm2, ("pm2", "error", "pm2 delete bot")),
    ],
)
def test_what_is_wrong_is_found_with_its_mend(
    home: Path, spoil: Callable[[Path], None], finding: tuple[str, str, str]
) -> None:
    """R8 for the rivals, R23 for the rights."""
    spoil(home)
    code, found = looked(home)
    about, severity, mend = finding
    assert mend in found[about, severity][0]["mend"]
    assert code == (1 if any(key[1] == "error" for key in found) else 5)


def test_a_unit_that_waits_long_enough_is_well_and_another_supervisors_is_not_looked_at(home: Path) -> None:
    """R26: 330 s for main and 15 for the supervisor."""
    short_unit(home)
    dropin = home / ".config/systemd/user/openclaw-supervisor.service.d/mine.conf"
    for enough in ("345", "10min", "infinity"):
        dropin.write_text(f"[Service]\nTimeoutStopSec={enough}\n")
        assert ("unit", "ok") in looked(home)[1]
    unit = home / ".config/systemd/user/openclaw-supervisor.service"
    unit.write_text(unit.read_text().replace(f"{home}/s", "/another"))
    assert "unit" not in {about for about, _ in looked(home)[1]}


def test_a_stranger_on_a_port_is_named(home: Path, base_port: int) -> None:
    """R5."""
    with socket.create_server(("127.0.0.1", base_port)):
        code, found = looked(home)
    assert code == 1
    assert f"pid {os.getpid()}" in found["ports", "error"][0]["text"]


def test_a_gateway_that_another_has_started_is_named_once(home: Path, base_port: int) -> None:
    """R8, R23."""
    argv = [sys.executable, "-I", str(FAKE), "--profile", "main", "gateway", "run", "--port", str(base_port)]
    with subprocess.Popen(argv, env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, stdout=subprocess.DEVNULL) as other:
        try:
            wait_for((home / ".openclaw-main/fake/lives.jsonl").exists, "the gateway")
            code, found = looked(home)
        finally:
            other.kill()
    assert code == 1
    (finding,) = found["processes", "error"]
    assert f"pid {other.pid}" in finding["text"]
    assert ("ports", "error") not in found


def test_without_definitions_it_tells_where_to_begin(short_dir: Path) -> None:
    done = clawsup(short_dir / "s", "doctor", conf_dir=short_dir / "none", env=environment(HOME=str(short_dir)))
    assert done.returncode == 1
    assert "clawsup up" in done.stdout
