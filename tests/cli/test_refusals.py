"""What a verb may not or cannot do is said before anything is done, with the exit code that means it."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.typed import clawsup, environment
from tests.control.in_memory import Fleet, entry, supervisor

NOT_UTF_8 = os.fsdecode(b"ma\xffin")
# Everything is imported before the user changes: that one may not be able to read these sources.
AS_NOBODY = """
import encodings.utf_8_sig, importlib, os, pkgutil, sys, supervisor.cli
for module in pkgutil.iter_modules(supervisor.cli.__path__):
    importlib.import_module(f"supervisor.cli.{module.name}")
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(supervisor.cli.main())
"""


@pytest.fixture
def home(short_dir: Path) -> Path:
    """A conf.d with one definition, and a state dir that a supervisor has used."""
    for made in ("conf.d", "s", "s/logs", "s/incidents", "s/snapshots", "s/runtimes/2026.9.6/bin"):
        (short_dir / made).mkdir(parents=True)
    (short_dir / "conf.d/main.toml").write_text('port = 18789\nrole = "main"\n')
    (short_dir / "s/events.jsonl").touch()
    (short_dir / "s/logs/main.log").touch()
    return short_dir


def typed(home: Path, *words: str) -> tuple[int, str, str]:
    done = clawsup(home / "s", *words, conf_dir=home / "conf.d", env=environment(HOME=str(home)))
    return done.returncode, done.stdout, done.stderr


def removal() -> Fleet:
    """A main that stops when it is asked to."""
    plans: dict[tuple[str, str], list[dict[str, Any]]] = {
        ("stop", "main"): [{"state": "stopped", "wanted": False, "pid": None}]
    }
    return Fleet({"main": entry("main")}, plans=plans)


def change(name: str, effect: str) -> dict[str, Any]:
    return {"name": name, "effect": effect, "differences": [], "reason": ""}


@pytest.mark.parametrize(
    "words",
    [
        ["status", NOT_UTF_8],
        ["stop", NOT_UTF_8],
        ["start", "main", NOT_UTF_8],
        ["restart", NOT_UTF_8, "--no-wait"],
        ["repair", NOT_UTF_8],
        ["why", NOT_UTF_8],
        ["logs", NOT_UTF_8],
        ["incidents", "show", NOT_UTF_8],
        ["config", NOT_UTF_8, "rollback"],
        ["config", "main", "rollback", NOT_UTF_8],
        ["resolve", NOT_UTF_8, "--note", "done"],
        ["resolve", "main", "--note", NOT_UTF_8],
        ["exec", NOT_UTF_8, "--", "true"],
        ["remove", NOT_UTF_8],
        ["add", NOT_UTF_8],
        ["runtime", "remove", NOT_UTF_8],
    ],
    ids=lambda words: " ".join(map(ascii, words)),
)
def test_a_name_that_is_not_utf_8_is_refused_before_anybody_is_asked(home: Path, words: Sequence[str]) -> None:
    fleet = Fleet({"main": entry("main")})
    with supervisor(fleet, home / "s"):
        assert typed(home, *words)[:2] == (2, "")
        assert typed(home, *words)[2].startswith(r"clawsup: ma\xffin is not UTF-8 text")
    assert fleet.asked == []


def test_a_place_may_be_any_bytes(home: Path) -> None:
    place = home / NOT_UTF_8
    place.mkdir()
    with supervisor(Fleet({"main": entry("main")}), place):
        assert clawsup(place, "status").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    "words",
    [
        "logs main",
        "events",
        "incidents",
        "incidents main",
        "incidents show 20260101T000000000Z-main",
        "runtime list",
        "runtime remove 2026.9.6",
        "config main history",
        "config main diff",
        "config main rollback",
        "status",
        "stop main",
        "reload",
        "why main",
        "remove main",
        "reexec",
    ],
)
def test_what_another_user_may_not_see_is_not_called_absent(home: Path, words: str) -> None:
    home.chmod(0o755)
    (home / "s").chmod(0o700)
    where = ["--conf-dir", str(home / "conf.d"), "--state-dir", str(home / "s")]
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *where, *words.split()],
        env=environment(HOME=str(home)),
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if "site-packages" in done.stderr:
        pytest.skip("another user cannot even list the directory of these sources")
    assert (done.returncode, done.stdout) == (1, "")
    assert "this user may not" in done.stderr
    assert "\n  mend: " in done.stderr


def test_a_gateway_that_nobody_has_has_no_incidents_either(home: Path) -> None:
    assert typed(home, "incidents", "main") == (0, "no incidents\n", "")
    code, out, err = typed(home, "incidents", "mian")
    assert (code, out) == (4, "")
    assert err == "clawsup: no gateway is called mian\n  mend: known: main\n"


def test_what_is_no_program_is_not_called_missing(home: Path) -> None:
    (home / ".openclaw-main").mkdir()
    for file in ("/etc/passwd", "/etc"):
        code, _, err = typed(home, "exec", "main", "--", file)
        assert (code, f"{file}: Permission denied" in err) == (126, True)
    assert typed(home, "exec", "main", "--", "/no/such/file")[0] == 127


def test_up_beside_a_running_supervisor_says_that_a_port_changes_nothing(home: Path) -> None:
    with supervisor(Fleet({"main": entry("main")}), home / "s"):
        code, out, err = typed(home, "up", "--port", "20000")
    assert (code, "runs already" in out) == (0, True)
    assert err.startswith("--port 20000 changed nothing")


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/usr/bin/chattr").exists(), reason="root writes everywhere else")
def test_a_gateway_whose_definition_cannot_go_is_not_stopped(home: Path) -> None:
    lock = ["chattr", "+i"] if os.geteuid() == 0 else ["chmod", "555"]
    unlock = ["chattr", "-i"] if os.geteuid() == 0 else ["chmod", "755"]
    if subprocess.run([*lock, str(home / "conf.d")], capture_output=True, check=False).returncode:
        pytest.skip("this file system makes nothing immutable")
    fleet = removal()
    try:
        with supervisor(fleet, home / "s"):
            code, out, err = typed(home, "remove", "main")
    finally:
        subprocess.run([*unlock, str(home / "conf.d")], check=True)
    assert (code, out, fleet.asked) == (1, "", [])
    assert "main was left as it is" in err


def test_a_removed_gateway_is_forgotten_at_once(home: Path) -> None:
    fleet = removal()
    fleet.changes = [change("main", "forget"), change("rescue", "none"), change("gone", "orphaned")]
    with supervisor(fleet, home / "s"):
        code, out, _ = typed(home, "remove", "main")
    assert (code, fleet.reloads) == (0, 1)
    assert "reload" not in out


def test_what_else_was_edited_is_not_put_into_effect_by_a_removal(home: Path) -> None:
    fleet = removal()
    fleet.changes = [change("main", "forget"), change("rescue", "restart")]
    with supervisor(fleet, home / "s"):
        code, out, _ = typed(home, "remove", "main")
    assert (code, fleet.reloads) == (0, 0)
    assert "until the next clawsup reload (that changes rescue too" in out


def test_the_last_definition_can_be_removed(home: Path) -> None:
    fleet = removal()
    fleet.unreadable = "there is no definition"
    with supervisor(fleet, home / "s"):
        code, out, err = typed(home, "remove", "main")
    assert (code, "until the next clawsup reload (there is no definition)" in out) == (0, True)
    assert "Traceback" not in err
