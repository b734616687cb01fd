import pytest

from supervisor.control.outcome import Outcome, Verb, differs, outcome
from tests.control.in_memory import entry

OK = Outcome(ok=True)


@pytest.mark.parametrize("state", ["ready", "degraded"])
def test_a_start_is_done_when_the_gateway_has_started(state: str) -> None:
    assert outcome("start", entry("a", "stopped"), entry("a", state), handled=True) == OK


def test_a_start_of_a_ready_gateway_is_done_before_anybody_looked_at_it() -> None:
    assert outcome("start", entry("a"), entry("a"), handled=False) == OK


@pytest.mark.parametrize("state", ["starting", "stopping", "hung", "repairing", "stopped"])
@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_gateway_on_its_way_has_no_outcome_yet(verb: Verb, state: str) -> None:
    assert outcome(verb, entry("a", "backoff"), entry("a", state), handled=True) is None


@pytest.mark.parametrize("state", ["blocked", "failed", "backoff"])
@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_gateway_that_fell_after_the_ask_is_a_failure_with_its_reason(verb: Verb, state: str) -> None:
    now = entry("a", state, reason="port 18789 is taken")

    assert outcome(verb, entry("a"), now, handled=True) == Outcome(ok=False, why="port 18789 is taken")


@pytest.mark.parametrize("state", ["blocked", "failed", "backoff"])
def test_what_was_wrong_before_the_ask_is_not_held_against_it(state: str) -> None:
    before = entry("a", state, reason="old")

    assert outcome("start", before, before, handled=False) is None


def test_a_failure_without_a_reason_still_says_something() -> None:
    assert outcome("start", entry("a"), entry("a", "failed"), handled=True) == Outcome(ok=False, why="it is failed")


@pytest.mark.parametrize("handled", [False, True])
def test_a_restart_is_not_fooled_by_the_old_life(*, handled: bool) -> None:
    assert outcome("restart", entry("a", pid=100, restarts=3), entry("a", pid=100, restarts=3), handled=handled) is None


@pytest.mark.parametrize("change", [{"pid": 101}, {"restarts": 4}, {"pid": 101, "restarts": 4}])
def test_a_restart_is_done_with_another_pid_or_another_count_of_spawns(change: dict[str, int]) -> None:
    """The kernel may give the old pid again, and a gateway's first spawn does not count as a restart."""
    before = entry("a", pid=100, restarts=3)

    assert outcome("restart", before, {**before, **change}, handled=True) == OK


def test_a_restart_of_a_blocked_gateway_that_stays_blocked_fails() -> None:
    before = entry("a", "blocked", reason="no launcher")

    assert outcome("restart", before, before, handled=True) == Outcome(ok=False, why="no launcher")


def test_a_stop_is_done_when_it_is_stopped_and_unwanted() -> None:
    assert outcome("stop", entry("a"), entry("a", "stopped", wanted=False), handled=True) == OK


@pytest.mark.parametrize("state", ["ready", "stopping", "hung", "backoff", "blocked", "failed"])
def test_a_stop_waits_for_stopped_and_nothing_else(state: str) -> None:
    assert outcome("stop", entry("a"), entry("a", state, wanted=False), handled=True) is None


def test_a_stop_does_not_take_a_gateway_that_is_about_to_start_for_a_stopped_one() -> None:
    waiting = entry("a", "stopped", wanted=True)

    assert outcome("stop", waiting, waiting, handled=False) is None


@pytest.mark.parametrize(
    ("verb", "now"),
    [
        ("stop", entry("a", "starting", wanted=True)),
        ("start", entry("a", "stopping", wanted=False)),
        ("restart", entry("a", "stopped", wanted=False)),
    ],
)
def test_another_operator_who_wants_the_opposite_ends_the_waiting(verb: Verb, now: dict[str, object]) -> None:
    result = outcome(verb, entry("a"), now, handled=True)

    assert result is not None
    assert not result.ok
    assert result.why.endswith("again")


def test_a_definition_that_is_gone_is_stopped_and_cannot_be_started() -> None:
    assert outcome("stop", entry("a"), None, handled=True) == OK
    assert outcome("start", entry("a"), None, handled=True) == Outcome(ok=False, why="it is no longer defined")


@pytest.mark.parametrize("key", ["rss_bytes", "config", "warnings", "since", "next_retry_at"])
def test_what_drifts_by_itself_is_no_sign_of_a_handled_ask(key: str) -> None:
    assert not differs(entry("a"), entry("a", **{key: "other"}))


@pytest.mark.parametrize("key", ["state", "wanted", "pid", "reason", "restarts"])
def test_whatever_the_ask_can_change_is_a_sign_that_it_was_handled(key: str) -> None:
    assert differs(entry("a"), entry("a", **{key: "other"}))
