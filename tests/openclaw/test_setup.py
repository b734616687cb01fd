"""What OpenClaw wants before it runs."""

import pytest

from supervisor.openclaw import setup


@pytest.mark.parametrize("said", ["v24.16.0", "v24.19.0\n", "v26.1.0", "v27.0.0", "24.18.2"])
def test_a_node_in_openclaws_range_is_supported(said: str) -> None:
    assert setup.node_is_supported(said)


@pytest.mark.parametrize(
    "said", ["v20.20.2", "v24.15.9", "v25.3.0", "v26.0.4", "", "command not found", "OpenClaw 24.19.0"]
)
def test_any_other_node_is_not(said: str) -> None:
    assert not setup.node_is_supported(said)


def test_a_version_is_read_from_openclaws_answer_only() -> None:
    assert setup.version_in("OpenClaw 2026.9.6 (eb377ac)") == "2026.9.6"
    assert setup.version_in("v24.19.0") is None


@pytest.mark.parametrize("text", ["2026.9.6", "2026.10.12", "2026.9.1-beta.1"])
def test_versions_of_openclaw_are_versions(text: str) -> None:
    assert setup.is_version(text)


@pytest.mark.parametrize("text", ["", "latest", "2026.9", "../2026.9.6", "2026.9.6/..", "--force"])
def test_what_could_be_a_path_or_a_flag_is_no_version(text: str) -> None:
    assert not setup.is_version(text)


def test_a_profile_without_a_port_listens_where_openclaw_hashes_it_to() -> None:
    """R4: the two figures were measured on 2026.9.6."""
    assert setup.default_port("main") == 23592
    assert setup.default_port("rescue") == 23532
    assert setup.default_port("default") == 18789


def test_setting_up_puts_no_secret_into_the_command_line() -> None:
    """R7."""
    words = setup.onboard_words(18789)
    assert "--non-interactive" in words
    assert words[words.index("--gateway-port") + 1] == "18789"
    assert not any(word in {"--gateway-token", "--gateway-password"} or "key" in word for word in words)
    assert "--no-install-daemon" in words
