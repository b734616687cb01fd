"""What is on a host already."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.host.survey import machine
from supervisor.host.survey.profiles import gateways, profiles
from supervisor.host.survey.services import starters
from supervisor.openclaw.config import ConfigFacts, ConfigFault
from tests.real_openclaw import node_binary


def profile(home: Path, name: str, text: str = '{"gateway": {"mode": "local"}}') -> None:
    directory = home / name
    directory.mkdir()
    (directory / "openclaw.json").write_text(text)


def test_profiles_are_found_by_their_config_with_the_port_they_would_take(tmp_path: Path) -> None:
    """R4, R6."""
    profile(tmp_path, ".openclaw", '{gateway: {mode: "local", port: 18000}}')
    profile(tmp_path, ".openclaw-main")
    profile(tmp_path, ".openclaw-Work_2", '{"gateway": {"port": 70000}}')
    found = {each.name: each for each in profiles(str(tmp_path))}

    assert list(found) == ["default", "Work_2", "main"]
    assert (found["default"].port, found["main"].port) == (18000, 23592)
    assert found["Work_2"].port >= 20000
    assert found["main"].state_dir == f"{tmp_path}/.openclaw-main"
    assert isinstance(found["main"].config, ConfigFacts)


def test_what_only_looks_like_a_profile_is_none(tmp_path: Path) -> None:
    profile(tmp_path, ".openclaw_old")
    profile(tmp_path, ".openclaw-")
    profile(tmp_path, ".openclaw-default")
    (tmp_path / ".openclaw-empty").mkdir()
    (tmp_path / ".openclaw-file").write_text("")
    assert profiles(str(tmp_path)) == ()
    assert profiles(str(tmp_path / "nowhere")) == ()


def test_a_profile_with_a_broken_config_is_there_all_the_same(tmp_path: Path) -> None:
    profile(tmp_path, ".openclaw-main", "{")
    (found,) = profiles(str(tmp_path))
    assert isinstance(found.config, ConfigFault)
    assert found.port == 23592


def test_a_config_that_would_be_waited_for_is_not(tmp_path: Path) -> None:
    """`clawsup add` and `up` look at every profile of a home, whoever may have made it what it is."""
    for name in (".openclaw-fifo", ".openclaw-large"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / ".openclaw-fifo" / "openclaw.json")
    with (tmp_path / ".openclaw-large" / "openclaw.json").open("wb") as file:
        file.truncate(1 << 40)
    fifo, large = profiles(str(tmp_path))
    assert isinstance(fifo.config, ConfigFault)
    assert "not a file" in fifo.config.text
    assert isinstance(large.config, ConfigFault)
    assert "larger than 2048 KiB" in large.config.text


@contextmanager
def user(uid: int) -> Iterator[None]:
    """This process as another user."""
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_looked_into_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that somebody once set up with sudo; a cron.d, hardened, that only root sees."""
    monkeypatch.delenv("PM2_HOME", raising=False)
    # Not in tmp_path: there, the other user could not even go.
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        (home / "etc/cron.d").mkdir(parents=True)
        profile(home, ".openclaw-main")
        profile(home, ".openclaw-sudo")
        for closed in (".openclaw-sudo", "etc/cron.d"):
            (home / closed).chmod(0o700)
        with user(65534):
            assert [each.name for each in profiles(str(home))] == ["main"]
            assert starters(str(home), home) == ()


def test_a_uid_without_a_name_has_no_crontab() -> None:
    with user(54_321):
        assert all(each.where != "crontab -l" for each in starters("/nowhere"))


@contextmanager
def process(home: Path, code: str, *argv: str, program: str = sys.executable) -> Iterator[int]:
    """A launcher called openclaw that does this and then waits; it says when it has."""
    launcher = home / "openclaw"
    launcher.write_text(code)
    env = {"HOME": str(home), "PATH": f"{home}:/usr/bin"}
    with subprocess.Popen([program, str(launcher), *argv], env=env, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"up\n"
            yield child.pid
        finally:
            child.kill()


WAITS = "import time\nprint('up', flush=True)\ntime.sleep(60)\n"


@pytest.mark.parametrize("argv", [("--profile", "work"), ("--profile=work",)])
def test_a_running_gateway_is_found_with_its_state_dir(tmp_path: Path, argv: tuple[str, ...]) -> None:
    with process(tmp_path, WAITS, *argv, "gateway", "run") as pid:
        found = {each.pid: each for each in gateways()}[pid]
    assert found.state_dir == os.path.realpath(tmp_path / ".openclaw-work")
    assert (found.launcher_dir, found.supervisor) == (str(tmp_path), "")


def test_a_command_that_talks_to_a_gateway_is_none(tmp_path: Path) -> None:
    """R8: `doctor` called it an error, and `up` refused."""
    with process(tmp_path, WAITS, "gateway", "status") as pid:
        assert pid not in {each.pid for each in gateways()}


def test_a_gateway_under_its_title_is_known_by_its_lock_and_a_command_under_that_title_is_none(tmp_path: Path) -> None:
    """All of `openclaw gateway …` is called openclaw-gateway, with its argv gone; of OpenClaw's lock see FACTS.md §7.1."""
    title = "process.title = 'openclaw-gateway'; console.log('up'); setTimeout(() => 0, 60000);"
    state_dir = tmp_path / "elsewhere"
    locks = state_dir / "tmp" / "openclaw-0"
    locks.mkdir(parents=True)
    opens = f"require('fs').openSync('{locks}/gateway.state.lock.sqlite', 'w'); {title}"
    listens = f"require('net').createServer().listen(0, '127.0.0.1', () => {{ {title} }});"
    argv, program = (
        ("--profile", "work", "gateway", "run", "--port", "18789", "--allow-unconfigured"),
        str(node_binary()),
    )
    with process(tmp_path, opens, *argv, program=program) as pid:
        found = {each.pid: each for each in gateways()}[pid]
    assert found.state_dir == os.path.realpath(state_dir)
    with process(tmp_path, listens, *argv, program=program) as pid:
        assert pid in {each.pid for each in gateways()}
    with process(tmp_path, title, *argv, program=program) as pid:
        assert pid not in {each.pid for each in gateways()}


def test_pm2_entries_tell_which_gateway_they_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PM2_HOME", raising=False)
    entries = [
        {"name": "bot", "pm_exec_path": "/usr/bin/openclaw", "args": ["--profile", "main", "gateway", "run"]},
        {
            "name": "by env",
            "pm_exec_path": "/usr/bin/openclaw",
            "args": "gateway",
            "OPENCLAW_STATE_DIR": f"{tmp_path}/x",
        },
        {"name": "web", "pm_exec_path": "/usr/bin/next", "args": ["start"]},
        "nonsense",
    ]
    (tmp_path / ".pm2").mkdir()
    (tmp_path / ".pm2/dump.pm2").write_text(json.dumps(entries))
    found = starters(str(tmp_path), tmp_path / "root")

    assert [(each.name, Path(each.state_dir).name) for each in found] == [("bot", ".openclaw-main"), ("by env", "x")]
    assert found[0].mend == "pm2 delete bot && pm2 save"


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "7"])
def test_a_pm2_dump_that_is_none_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.delenv("PM2_HOME", raising=False)
    (tmp_path / ".pm2").mkdir()
    (tmp_path / ".pm2/dump.pm2").write_text(text)
    assert starters(str(tmp_path), tmp_path) == ()


def test_cron_lines_that_start_a_gateway_are_found_and_comments_are_not(tmp_path: Path) -> None:
    (tmp_path / "etc/cron.d").mkdir(parents=True)
    (tmp_path / "etc/cron.d/claw").write_text(
        "# openclaw gateway\n@reboot me openclaw --profile rescue gateway --port 1\n"
    )
    (tmp_path / "etc/crontab").write_text("* * * * * root openclaw status\n")
    (found,) = starters(str(tmp_path), tmp_path)
    assert found.kind == "crontab line"
    assert found.where.endswith("cron.d/claw")
    assert Path(found.state_dir).name == ".openclaw-rescue"


def test_of_a_cron_line_only_what_tells_its_gateway_is_shown(tmp_path: Path) -> None:
    """R1: people put tokens into crontabs, and `doctor` is pasted into bug reports."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/crontab").write_text(
        "MAILTO=me\n@reboot root K=s3cr3t /opt/claw/openclaw --token s3cr3t --profile main gateway --password s3cr3t\n"
    )
    (found,) = starters(str(tmp_path), tmp_path)
    assert str(found) == f"crontab line 2: /opt/claw/openclaw --profile main gateway ({tmp_path}/etc/crontab)"
    assert "s3cr3t" not in repr(found)


@pytest.mark.parametrize(
    "line", ["openclaw gateway status", "openclaw --profile x gateway call health", "openclaw; gateway"]
)
def test_a_cron_line_that_only_talks_to_a_gateway_starts_none(tmp_path: Path, line: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/crontab").write_text(f"* * * * * root {line}\n")
    assert starters(str(tmp_path), tmp_path) == ()


def test_the_machine_tells_what_it_has() -> None:
    assert 0 < machine.available_bytes() < 1 << 50
    assert machine.has_pidfd()
    assert machine.clock_lag_s() < 10
    assert machine.clock_is_synchronised() in {True, False, None}


def test_free_disk_is_told_for_what_is_not_there_yet(tmp_path: Path) -> None:
    there, to_be = machine.free_disk(str(tmp_path)), machine.free_disk(str(tmp_path / "a" / "b"))
    assert there is not None
    assert to_be is not None
    assert abs(there - to_be) < 1 << 30
