"""Unit files as they lie about, and a systemctl that fails, hangs or is not there."""

import os
import pwd
import sys
from pathlib import Path

import pytest

from supervisor.host.systemd import Manager, User, find_user, run, session

PATTERN = "openclaw-gateway*.service"


@pytest.fixture
def ann(tmp_path: Path) -> User:
    """A user whose home is a directory of the test, and whose uid is ours."""
    return User("ann", os.geteuid(), os.getegid(), (os.getegid(),), str(tmp_path), "/bin/sh")


def unit_dir(user: User) -> Path:
    directory = Path(user.home, ".config/systemd/user")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def test_units_are_found_with_their_drop_ins_and_whether_a_target_wants_them(ann: User) -> None:
    """R8: what starts by itself at the next login counts."""
    directory = unit_dir(ann)
    (directory / "openclaw-gateway-a.service").write_text("[Service]\nUser=a\n")
    (directory / "openclaw-gateway-b.service").write_text("[Service]\nUser=b\n")
    (directory / "other.service").write_text("[Service]\n")
    (directory / "openclaw-gateway-b.service.d").mkdir()
    (directory / "openclaw-gateway-b.service.d" / "x.conf").write_text("[Service]\nUser=c\n")
    (directory / "default.target.wants").mkdir()
    (directory / "default.target.wants" / "openclaw-gateway-a.service").symlink_to("../openclaw-gateway-a.service")
    a, b = Manager(ann).unit_files(PATTERN)
    assert (a.name, a.enabled, b.name, b.enabled) == (
        *("openclaw-gateway-a.service", True),
        *("openclaw-gateway-b.service", False),
    )
    assert b.text.index("User=b") < b.text.index("User=c")


def test_a_masked_unit_starts_nothing(ann: User) -> None:
    """R8: /dev/null has no text."""
    (unit_dir(ann) / "openclaw-gateway.service").symlink_to("/dev/null")
    assert Manager(ann).unit_files(PATTERN) == ()


def test_what_is_no_unit_file_is_not_waited_for(ann: User) -> None:
    """A gateway's own user may put anything there, and the brain looks."""
    directory = unit_dir(ann)
    os.mkfifo(directory / "openclaw-gateway-a.service")
    (directory / "openclaw-gateway-b.service").symlink_to("/dev/zero")
    (directory / "openclaw-gateway-c.service").write_text("[Service]\nUser=c\0d\n")
    (found,) = Manager(ann).unit_files(PATTERN)
    assert (found.name, found.text) == ("openclaw-gateway-c.service", "[Service]\nUser=cd")


def test_no_systemd_is_an_answer(ann: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A container has no systemctl."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not Manager(ann).reachable()
    answer = Manager().call("daemon-reload")
    assert (answer.ok, answer.code) == (False, None)
    assert "No such file" in answer.error


def test_a_program_that_hangs_is_left_after_its_time() -> None:
    """No command of an operator waits for ever."""
    answer = run((sys.executable, "-c", "import time; time.sleep(600)"), {}, None, timeout_s=0.2)
    assert answer.code is None
    assert "0.2 s" in answer.error


def test_what_a_program_says_is_given_back(ann: User) -> None:
    """In the environment of that user's session."""
    code = "import os, sys; print(os.environ['XDG_RUNTIME_DIR']); print('why', file=sys.stderr); sys.exit(3)"
    answer = run((sys.executable, "-c", code), session(ann), ann, timeout_s=30)
    assert (answer.code, answer.output, answer.error) == (3, f"/run/user/{os.geteuid()}\n", "why")


def test_users_are_looked_up_with_their_groups() -> None:
    """As a login would give them."""
    entry = pwd.getpwuid(os.geteuid())
    found = find_user(entry.pw_name)
    assert found is not None
    assert (found.uid, found.home) == (entry.pw_uid, entry.pw_dir)
    assert entry.pw_gid in found.groups
    assert find_user("no-such-user-here") is None
