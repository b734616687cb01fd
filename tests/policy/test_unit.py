"""The unit file as text."""

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.policy import unit
from tests.policy.candidates import candidate


def rendered(**changes: Any) -> str:
    facts: dict[str, Any] = {
        "scope": "system",
        "command": ("/opt/clawsup/bin/clawsup", *places("/etc/o/conf.d", "/var/lib/o"), "run"),
        "path": "/usr/bin:/bin",
        "user": "alice",
        "stop_s": 675,
    }
    return unit.render(unit.Unit(**facts | changes))


def places(conf_dir: str, state_dir: str) -> tuple[str, ...]:
    return ("--conf-dir", conf_dir, "--state-dir", state_dir)


def lines(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def test_a_unit_of_the_host_says_who_it_runs_as_and_starts_at_boot() -> None:
    """R8, R26: one unit, never root's unless it says so."""
    text = rendered()
    assert lines(text, "User") == ["alice"]
    assert lines(text, "WantedBy") == ["multi-user.target"]
    assert lines(text, "OOMScoreAdjust") == ["-500"]
    assert lines(text, "LimitNICE") == ["-5"]


def test_a_users_own_unit_has_nothing_that_only_the_hosts_systemd_may_set() -> None:
    """R26: a user's systemd refuses to start a unit that drops capabilities."""
    text = rendered(scope="user", user=None)
    assert not lines(text, "User")
    assert not lines(text, "CapabilityBoundingSet")
    assert not lines(text, "OOMScoreAdjust")
    assert not lines(text, "LimitNICE")
    assert lines(text, "WantedBy") == ["default.target"]


@pytest.mark.parametrize("scope", ["system", "user"])
def test_nothing_hides_state_dirs_or_takes_sudo_jit_and_sandbox_away(scope: str) -> None:
    """R2: PrivateTmp splits OpenClaw's own locks; much else implies NoNewPrivileges."""
    keys = {line.partition("=")[0] for line in rendered(scope=scope).splitlines()}
    hurtful = {
        "PrivateTmp",
        "ProtectHome",
        "ProtectSystem",
        "NoNewPrivileges",
        "MemoryDenyWriteExecute",
        "PrivateUsers",
    }
    implying = {"SystemCallFilter", "RestrictNamespaces", "PrivateDevices", "ProtectKernelTunables", "LockPersonality"}
    assert not keys & (hurtful | implying)


def test_the_stop_time_is_the_others_longest_and_the_rescues_and_a_margin() -> None:
    """R26: gateways read it to know how long they may drain."""
    main, rescue = candidate("main", 18789).definition, candidate("rescue", 19789, role="rescue").definition
    assert unit.stop_s([main, rescue]) == 675
    assert unit.stop_s([main]) == 345
    short = main.model_copy(update={"stop": main.stop.model_copy(update={"timeout": 0.5})})
    assert unit.stop_s([short]) == 16
    assert unit.stop_s_of(rendered(stop_s=123)) == 123
    assert unit.stop_s_of(f"{rendered(stop_s=123)}\n[Service]\nTimeoutStopSec=99\n") == 99
    assert unit.stop_s_of(f"{rendered(stop_s=123)}\n[Service]\nTimeoutStopSec=20min\n") == 0


def test_a_unit_tells_its_directories_again() -> None:
    """`uninstall` and `install` must know whose it is."""
    text = rendered()
    assert unit.directories_of(text) == unit.directories_line("/etc/o/conf.d", "/var/lib/o")
    assert unit.directories_of(text) != unit.directories_line("/etc/o/conf.d", "/var/lib/p")
    assert unit.directories_of("[Service]\nExecStart=/bin/true\n") == ""


def test_what_was_taken_over_is_told_again_in_order_and_once() -> None:
    """R8: the way back."""
    commands = ["systemctl --user enable --now a.service", "systemctl enable --now b.service"]
    text = rendered() + unit.taken_over([*commands, commands[0]])
    assert list(unit.taken(text)) == commands
    assert unit.taken_over([]) == ""
    assert unit.taken(rendered()) == ()


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_any_path_is_one_word_without_specifiers_or_variables(path: str) -> None:
    """R22: spaces, quotes, percent and dollar signs in a directory's name are only that."""
    text = rendered(command=("/bin/clawsup", *places(f"/{path}", "/s"), "run"))
    found = unit.command_of(text)
    assert found
    assert found.replace("%%", "").count("%") == found.replace("$$", "").count("$") == 0
    if path.isascii() and path.isprintable():
        plain = found.replace("%%", "%").replace("$$", "$")
        assert shlex.split(plain) == ["/bin/clawsup", *places(f"/{path}", "/s"), "run"]
