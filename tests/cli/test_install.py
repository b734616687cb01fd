"""`clawsup install` as far as it goes without a systemd (e2e/test_systemd_*.py go on in a box)."""

import os
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.policy import unit
from tests.cli.typed import clawsup, environment

Type = Callable[..., "subprocess.CompletedProcess[str]"]
NAME = pwd.getpwuid(os.geteuid()).pw_name
MAIN = 'port = 18789\nrole = "main"\n[stop]\ntimeout = 40\n'


@pytest.fixture
def conf_dir(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    return tmp_path / "conf.d"


@pytest.fixture
def install(short_dir: Path, conf_dir: Path) -> Type:
    """Types it with a home of its own, and with no sudo around it unless said."""

    def run(*words: str, **env: str) -> "subprocess.CompletedProcess[str]":
        given = {name: value for name, value in environment(**env).items() if name != "SUDO_USER" or name in env}
        return clawsup(short_dir / "s", *words, conf_dir=conf_dir, env=given)

    return run


def test_print_writes_the_unit_to_stdout_and_does_nothing(install: Type, conf_dir: Path, short_dir: Path) -> None:
    """R8, R26: a packager's way, and an operator's to look first."""
    (conf_dir / "main.toml").write_text(MAIN)
    done = install("install", "--user", "--print")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(unit.MARK)
    assert unit.stop_s_of(done.stdout) == 55
    assert unit.directories_of(done.stdout) == unit.directories_line(str(conf_dir), str(short_dir / "s"))
    assert not (short_dir / "s").exists()


def test_print_for_the_host_names_its_user(install: Type, conf_dir: Path) -> None:
    """R26: root only when it is said."""
    (conf_dir / "main.toml").write_text(MAIN)
    done = install("install", "--system", "--user-name", NAME, "--print")
    assert f"\nUser={NAME}\n" in done.stdout


def test_print_without_definitions_guesses_the_stop_time_and_says_so(install: Type) -> None:
    """A unit may be packaged before there is anything to run."""
    done = install("install", "--user", "--print")
    assert (done.returncode, unit.stop_s_of(done.stdout)) == (0, 675)
    assert "TimeoutStopSec" in done.stderr


def test_the_path_is_written_in_without_what_is_not_there(install: Type, conf_dir: Path, short_dir: Path) -> None:
    """A unit has no shell's PATH; root's has nothing that anybody may write."""
    (conf_dir / "main.toml").write_text(MAIN)
    there = short_dir / "bin"
    there.mkdir()
    there.chmod(0o777)
    path = f"{there}:/nowhere:relative:{os.environ['PATH']}"
    line = next(
        line
        for line in install("install", "--user", "--print", PATH=path).stdout.splitlines()
        if line.startswith("Environment=PATH=")
    )
    assert (str(there) in line) == (os.geteuid() != 0)
    assert "/usr/bin" in line
    assert "/nowhere" not in line
    assert "relative" not in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be told to run something as root")
def test_root_is_never_assumed(install: Type, conf_dir: Path) -> None:
    """R26: neither for the host's unit nor, under sudo, for a user's."""
    (conf_dir / "main.toml").write_text(MAIN)
    for words, env in (
        (("--system",), {}),
        (("--system",), {"SUDO_USER": "root"}),
        (("--user",), {"SUDO_USER": "daemon"}),
    ):
        refused = install("install", *words, "--print", **env)
        assert (refused.returncode, refused.stdout) == (2, ""), words
        assert "mend" in refused.stderr
    told = install("install", "--system", "--user-name", "root", "--print")
    assert "\nUser=root\n" in told.stdout
    assert "\nUser=daemon\n" in install("install", "--system", "--print", SUDO_USER="daemon").stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root may install for the host")
def test_the_hosts_unit_needs_root(install: Type, conf_dir: Path) -> None:
    """R26: and is told how."""
    (conf_dir / "main.toml").write_text(MAIN)
    refused = install("install", "--system")
    assert refused.returncode == 1
    assert "sudo clawsup" in refused.stderr


def test_a_user_that_does_not_exist_is_refused(install: Type, conf_dir: Path) -> None:
    """R26."""
    (conf_dir / "main.toml").write_text(MAIN)
    assert install("install", "--system", "--user-name", "no-such-user-here", "--print").returncode == 1


def test_user_and_system_exclude_each_other(install: Type) -> None:
    """INTERFACE.md §3."""
    assert install("install", "--user", "--system", "--print").returncode == 2


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="a systemd runs here, and is not ours to talk to")
def test_without_a_systemd_nothing_is_written(install: Type, conf_dir: Path, tmp_path: Path) -> None:
    """A container: it says what to do instead."""
    (conf_dir / "main.toml").write_text(MAIN)
    done = install("install", "--system", "--user-name", NAME, HOME=str(tmp_path))
    assert done.returncode == 1
    assert not Path("/etc/systemd/system", unit.NAME).exists()
    assert install("uninstall", "--user").returncode == 0


def test_no_usable_definition_is_78(install: Type, conf_dir: Path) -> None:
    """Nothing is installed that could not start."""
    (conf_dir / "main.toml").write_text("prot = 1\n")
    assert install("install", "--system", "--user-name", NAME).returncode in ({78} if os.geteuid() == 0 else {1, 78})
