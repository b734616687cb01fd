"""What the supervisor reads out for an agent whose user cannot read the state dir (R9): these command lines and no other."""

import pytest

from supervisor.control.telling import look


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("logs main", ("logs", "main")),
        ("logs main -n 80", ("logs", "main")),
        ("logs --since 10m main", ("logs", "main")),
        ("why main --json", ("why", "main")),
        ("events", ("events", "")),
        ("events --json --after 12 -n 5", ("events", "")),
        ("incidents --json", ("incidents", "")),
        ("incidents main", ("incidents", "main")),
        ("incidents show 20260101T000000Z-main --json", ("incidents", "main")),
        ("config main history --json", ("history", "main")),
        ("config main show", ("show", "main")),
        ("config main diff 0a1b2c3d --json", ("diff", "main")),
    ],
)
def test_a_look_names_its_verb_and_its_gateway(line: str, found: tuple[str, str]) -> None:
    assert look(line.split()) == found


@pytest.mark.parametrize(
    "line",
    [
        "",
        "stop main",
        "exec main -- cat /etc/shadow",
        "config main rollback",
        "config main put",
        "config main show 1 2",
        "logs",
        "logs main ops",
        "logs main -f",
        "logs main -n",
        "logs main -n -f",
        "logs ../main",
        "why main --state-dir /x",
        "why --conf-dir=/x main",
        "incidents show a b",
        "events main",
    ],
)
def test_nothing_else_is_read_out(line: str) -> None:
    """No other verb, no other supervisor, nothing that never ends."""
    assert look(line.split()) is None
