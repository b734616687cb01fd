"""What the words that start OpenClaw say."""

from collections.abc import Mapping

import pytest

from supervisor.openclaw.command_line import option, runs_gateway, state_dir


@pytest.mark.parametrize(
    "words",
    [
        "openclaw gateway",
        "openclaw gateway run --port 1",
        "/usr/bin/node /opt/openclaw/dist/index.js --profile work gateway --port 1",
        "node --max-old-space-size=8192 /opt/openclaw/dist/index.js gateway --port 1",
        "openclaw --profile=work --no-color gateway run",
        "openclaw --profile gateway gateway",
    ],
)
def test_a_gateway_is_known_by_its_words(words: str) -> None:
    assert runs_gateway(words.split())


@pytest.mark.parametrize(
    "words",
    [
        "openclaw gateway status",
        "openclaw --profile work gateway logs --follow",
        "openclaw gateway call health",
        "openclaw --profile gateway status",
        "openclaw logs gateway",
        "openclaw",
        "vim gateway",
        "",
    ],
)
def test_what_only_talks_to_one_is_none(words: str) -> None:
    assert not runs_gateway(words.split())


@pytest.mark.parametrize(
    ("words", "environment", "found"),
    [
        ("", {}, "/home/ann/.openclaw"),
        ("--profile work", {}, "/home/ann/.openclaw-work"),
        ("--profile=work", {}, "/home/ann/.openclaw-work"),
        ("--profile work", {"HOME": "/h"}, "/h/.openclaw-work"),
        ("", {"OPENCLAW_HOME": "/o", "HOME": "/h"}, "/o/.openclaw"),
        ("--profile work", {"OPENCLAW_STATE_DIR": "/s"}, "/s"),
        ("", {"OPENCLAW_STATE_DIR": "~/s"}, "/home/ann/s"),
        ("", {"OPENCLAW_PROFILE": "work"}, "/home/ann/.openclaw"),
        (
            "--profile work",
            {"OPENCLAW_PROFILE": "main", "OPENCLAW_STATE_DIR": "/home/ann/.openclaw-main"},
            "/home/ann/.openclaw-work",
        ),
        ("--profile work", {"OPENCLAW_PROFILE": "main", "OPENCLAW_STATE_DIR": "/elsewhere"}, "/elsewhere"),
    ],
)
def test_the_state_dir_is_the_one_that_openclaw_would_take(
    words: str, environment: Mapping[str, str], found: str
) -> None:
    """R6: dist/profile-*.mjs of 2026.9.6, and FACTS.md §1.4."""
    assert state_dir(words.split(), environment, "/home/ann") == found


def test_an_option_without_a_value_has_none() -> None:
    assert option(["--profile"], "--profile") == ""
