"""OpenClaw's own rule for where a profile lives."""

import pytest

from supervisor.openclaw import paths


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("default", "/home/claw/.openclaw"),
        ("Default", "/home/claw/.openclaw"),
        ("main", "/home/claw/.openclaw-main"),
        ("rescue", "/home/claw/.openclaw-rescue"),
        ("Main", "/home/claw/.openclaw-Main"),
    ],
)
def test_a_profile_names_its_state_dir_and_keeps_its_case(profile: str, expected: str) -> None:
    """R6: profiles are the normal way; `main` is a named profile, not the default one."""
    assert paths.state_dir(profile, "/home/claw") == expected


def test_the_config_file_is_in_the_state_dir() -> None:
    assert paths.config_path("/home/claw/.openclaw-main") == "/home/claw/.openclaw-main/openclaw.json"


@pytest.mark.parametrize("name", ["a", "0", "Main", "a_b-c", "x" * 64])
def test_openclaw_takes_it_as_a_profile(name: str) -> None:
    assert paths.is_profile(name)


@pytest.mark.parametrize("name", ["", "-a", "_a", "x" * 65, "a b", "a/b", "..", "a\n", "ä"])
def test_openclaw_refuses_it_as_a_profile(name: str) -> None:
    assert not paths.is_profile(name)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("~", "/home/claw"),
        ("~/x", "/home/claw/x"),
        ("x/../y", "/etc/conf.d/y"),
        ("/a//b/./c/", "/a/b/c"),
        ("//a", "/a"),
        ("~x", "/etc/conf.d/~x"),
    ],
)
def test_a_path_becomes_absolute_and_normal(path: str, expected: str) -> None:
    assert paths.expand(path, home="/home/claw", base="/etc/conf.d") == expected
