"""What a gateway says last tells a restart of its own from somebody else's SIGTERM: it exits 0 for both."""

import pytest

from supervisor.openclaw.exits import heard_term


@pytest.mark.parametrize(
    ("line", "heard"),
    [
        ("2026-11-22T17:50:10.050+00:00 [gateway] received SIGTERM; shutting down", True),
        ("2026-11-22T17:49:15.159+00:00 [gateway] received SIGUSR2; restarting", False),
        ("2026-11-22T17:49:15.159+00:00 [gateway] received SIGINT; shutting down", False),
        ("2026-11-22T17:49:15.518+00:00 [gateway] restart mode: full process restart (supervisor restart)", False),
    ],
)
def test_a_sigterm_is_told(line: str, *, heard: bool) -> None:
    assert heard_term(["[gateway] ready", line, "[shutdown] completed cleanly in 185ms"]) is heard
