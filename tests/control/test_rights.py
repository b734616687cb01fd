"""Who may do what over the socket (R9, R28)."""

import pytest

from supervisor.control.rights import LOOKS, MENDS, Standing, may

OPERATOR = Standing("operator")
RESCUE = Standing("gateway", "rescue", ("main",))
MAIN = Standing("gateway", "main")
OBSERVER = Standing("observer", why="it grew from nobody")
UP, DOWN = {"state": "ready", "wanted": True}, {"state": "blocked", "wanted": True}


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
