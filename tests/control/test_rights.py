"""Who may do what over the socket (R9, R28)."""

from typing import Any

import pytest

from supervisor.cli.arguments import VERBS
from supervisor.control import rights
from supervisor.control.rights import LOOKS, MENDS, Standing, changes

OPERATOR = Standing("operator")
RESCUE = Standing("gateway", "rescue", ("main",))
MAIN = Standing("gateway", "main")
OBSERVER = Standing("observer", why="it grew from nobody")
LINT = ["openclaw", "doctor", "--lint"]
UP, DOWN = {"state": "ready", "wanted": True}, {"state": "blocked", "wanted": True}


def may(caller: Standing, verb: str, name: str, gateway: dict[str, Any] | None) -> str:
    """As the rules say; what is executed is on the list."""
    return rights.may(caller, verb, name, gateway, LINT if verb == "exec" else ())


# By verb: an operator; a rescue and its patient that is down, one that is up, itself, another's gateway; main and itself, main and
# the rescue; an observer.
LOOK, MEND, OWNERS = "yyynnnnn", "yynnnnnn", "ynnnnnnn"
TABLE = {
    "status": "yyyyyyyy",
    **dict.fromkeys(("logs", "why", "history", "show", "diff", "events", "incidents"), LOOK),
    **dict.fromkeys(("start", "rollback", "put", "exec"), MEND),
    "restart": "yynynynn",
    "resolve": LOOK,
    **dict.fromkeys(
        ("stop", "repair", "reload", "add", "remove", "up", "install", "uninstall", "run", "reexec"), OWNERS
    ),
    **dict.fromkeys(("rescue", "runtime", "doctor"), OWNERS),
}


@pytest.mark.parametrize(("verb", "row"), TABLE.items())
def test_who_may_do_what_to_whom(verb: str, row: str) -> None:
    """Issue 8, item 1, verb by verb: whatever is refused says why."""
    cases = (
        (OPERATOR, "main", DOWN),
        (RESCUE, "main", DOWN),
        (RESCUE, "main", UP),
        (RESCUE, "rescue", UP),
        (RESCUE, "ops", DOWN),
        (MAIN, "main", UP),
        (MAIN, "rescue", DOWN),
        (OBSERVER, "main", DOWN),
    )
    answers = [may(caller, verb, name, entry) for caller, name, entry in cases]
    assert "".join("n" if why else "y" for why in answers) == row
    assert all(len(why.split()) > 3 for why in answers if why), answers


def test_the_table_leaves_no_verb_out() -> None:
    """What needs no right (it reads only what the caller could read) is judged by nobody."""
    free = {"check", "ports", "completion", "config"}
    assert LOOKS | MENDS | VERBS.keys() == TABLE.keys() | free


@pytest.mark.parametrize("verb", [*sorted(LOOKS | MENDS), "stop", "reload", "status"])
def test_an_operator_may_everything(verb: str) -> None:
    assert may(OPERATOR, verb, "main", UP) == ""


@pytest.mark.parametrize("caller", [OPERATOR, RESCUE, MAIN, OBSERVER])
def test_everybody_may_see_the_status(caller: Standing) -> None:
    assert may(caller, "status", "", None) == ""


@pytest.mark.parametrize("verb", [*sorted(LOOKS | MENDS), "stop", "reload"])
def test_an_observer_may_nothing_else_and_hears_why(verb: str) -> None:
    assert "it grew from nobody" in may(OBSERVER, verb, "main", DOWN)


@pytest.mark.parametrize("caller", [RESCUE, MAIN])
def test_every_gateway_may_restart_itself(caller: Standing) -> None:
    assert may(caller, "restart", caller.name, UP) == ""


@pytest.mark.parametrize("verb", [*sorted(LOOKS | MENDS), "stop", "reload"])
def test_a_gateway_that_is_no_rescue_may_do_nothing_to_another(verb: str) -> None:
    assert "main is no rescue" in may(MAIN, verb, "rescue", DOWN)


@pytest.mark.parametrize("state", ["blocked", "failed", "backoff", "repairing", "starting", "hung"])
@pytest.mark.parametrize("verb", sorted(MENDS))
def test_a_rescue_may_mend_a_patient_that_is_down(verb: str, state: str) -> None:
    assert may(RESCUE, verb, "main", {"state": state, "wanted": True}) == ""


@pytest.mark.parametrize("state", ["ready", "degraded", "stopping", "stopped"])
@pytest.mark.parametrize("verb", sorted(MENDS - {"resolve"}))
def test_a_rescue_may_not_change_a_patient_that_is_up(verb: str, state: str) -> None:
    assert state in may(RESCUE, verb, "main", {"state": state, "wanted": True})


@pytest.mark.parametrize("verb", sorted(MENDS - {"resolve"}))
def test_a_rescue_may_not_undo_an_operators_stop(verb: str) -> None:
    assert "an operator wants it so" in may(RESCUE, verb, "main", {"state": "stopped", "wanted": False})


@pytest.mark.parametrize("verb", sorted(LOOKS | MENDS))
def test_a_rescue_may_neither_look_at_nor_mend_who_is_no_patient(verb: str) -> None:
    assert "ops is no patient of rescue" in may(RESCUE, verb, "ops", DOWN)


@pytest.mark.parametrize("verb", ["stop", "reload", "repair", "install", "remove", "uninstall", "run", "rescue"])
def test_what_no_repair_needs_stays_with_the_operator(verb: str) -> None:
    assert "for the operator" in may(RESCUE, verb, "main", DOWN)


@pytest.mark.parametrize("verb", sorted(LOOKS | {"resolve"}))
def test_a_rescue_may_look_at_its_patient_at_any_time(verb: str) -> None:
    assert may(RESCUE, verb, "main", UP) == ""


@pytest.mark.parametrize(
    ("verb", "line", "counts"),
    [
        *((verb, "", verb in {"start", "restart", "put", "rollback"}) for verb in sorted((LOOKS | MENDS) - {"exec"})),
        ("exec", "openclaw --version", False),
        ("exec", "openclaw doctor --lint --json", False),
        ("exec", "openclaw config validate --json", False),
        ("exec", "openclaw config get gateway.port", False),
        ("exec", "openclaw plugins list --json", False),
        ("exec", "openclaw doctor --fix --yes --non-interactive", True),
        ("exec", "openclaw config set gateway.port 1", True),
        ("exec", "openclaw config unset gateway.port", True),
        ("exec", "openclaw plugins disable bad", True),
    ],
)
def test_what_changes_something_counts_and_a_look_does_not(verb: str, line: str, counts: bool) -> None:
    """The limit of control/pace.py must not keep an agent from finding out what is wrong."""
    assert changes(verb, line.split()) is counts


def test_a_rescue_executes_what_is_on_the_list_and_hears_what_that_is() -> None:
    refused = rights.may(RESCUE, "exec", "main", DOWN, ["cat", "/etc/passwd"])
    assert "`cat /etc/passwd` is not on the list" in refused
    assert "openclaw config validate" in refused
    assert rights.may(OPERATOR, "exec", "main", DOWN, ["cat", "/etc/passwd"]) == ""
