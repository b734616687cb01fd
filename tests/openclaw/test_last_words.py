"""What a gateway says last tells a restart of its own from somebody else's SIGTERM: it exits 0 for both."""

import pytest

from supervisor.openclaw.exits import heard

TERMED = "2026-11-22T17:50:10.050+00:00 [gateway] received SIGTERM; shutting down"
RESTARTED = "2026-11-22T17:49:15.518+00:00 [gateway] restart mode: full process restart (supervisor restart)"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (TERMED, "term"),
        (RESTARTED, "restart"),
        ("2026-11-22T17:49:15.159+00:00 [gateway] received SIGUSR2; restarting", ""),
        ("2026-11-22T17:49:15.159+00:00 [gateway] received SIGINT; shutting down", ""),
        ("2026-11-22T17:49:15.159+00:00 [gateway] restart mode: in-process restart", ""),
    ],
)
def test_a_sigterm_and_a_restart_are_told(line: str, told: str) -> None:
    assert heard(["[gateway] ready", line, "[shutdown] completed cleanly in 185ms"]) == told


def test_nothing_is_told_by_no_words() -> None:
    assert heard([]) == ""


@pytest.mark.parametrize(("before", "after", "told"), [(TERMED, RESTARTED, "restart"), (RESTARTED, TERMED, "term")])
def test_the_last_word_counts_not_that_of_an_earlier_life(before: str, after: str, told: str) -> None:
    assert heard([before, "[gateway] ready", after]) == told
