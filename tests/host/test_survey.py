"""What is on a host already."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.host.survey import machine
from supervisor.host.survey.profiles import gateways, profiles
from supervisor.host.survey.services import starters
from supervisor.openclaw.config import ConfigFacts, ConfigFault


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
    (tmp_path / ".openclaw-empty").mkdir()
    (tmp_path / ".openclaw-file").write_text("")
    assert profiles(str(tmp_path)) == ()
    assert profiles(str(tmp_path / "nowhere")) == ()


def test_a_profile_with_a_broken_config_is_there_all_the_same(tmp_path: Path) -> None:
    profile(tmp_path, ".openclaw-main", "{")
    (found,) = profiles(str(tmp_path))
    assert isinstance(found.config, ConfigFault)
    assert found.port == 23592


def test_a_running_gateway_is_found_with_its_state_dir(tmp_path: Path) -> None:
    launcher = tmp_path / "openclaw"
    launcher.write_text("import time\nprint('up', flush=True)\ntime.sleep(60)\n")
    env = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin"}
    argv = [sys.executable, str(launcher), "--profile", "work", "gateway", "run"]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            found = {each.pid: each for each in gateways()}[child.pid]
        finally:
            child.kill()
    assert found.state_dir == os.path.realpath(tmp_path / ".openclaw-work")
    assert (found.launcher_dir, found.supervisor) == (str(tmp_path), "")


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


def test_a_pm2_dump_that_is_none_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PM2_HOME", raising=False)
    (tmp_path / ".pm2").mkdir()
    (tmp_path / ".pm2/dump.pm2").write_text("{")
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
