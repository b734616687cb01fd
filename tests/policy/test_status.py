"""What an operator is shown of a child (INTERFACE.md §4, §5)."""

from dataclasses import replace

import pytest

from supervisor.policy.events import Spawned
from supervisor.policy.facts import Cause
from supervisor.policy.state import Child, LastExit, Starting, Stopped, life_of
from supervisor.policy.status import GatewayEntry, entry
from tests.policy.builders import BROKEN, NOW, STATES, Story, child, definition, fleet

PUBLIC = {"stopped", "blocked", "starting", "ready", "degraded", "hung", "stopping", "backoff", "repairing", "failed"}
KEYS = {
    "name", "role", "state", "wanted", "pid", "adopted", "port", "since", "restarts", "reason", "last_exit",
    "next_retry_at", "rss_bytes", "config",
}  # fmt: skip


def shown(one: Child, *, rescue_by: float | None = None) -> GatewayEntry:
    return entry(one, fleet(one, rescue_by=rescue_by), at=lambda at: f"+{at:g}", rss_bytes=7, config="good")


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_public_name_and_every_key(state: str) -> None:
    seen = shown(child(STATES[state]))

    assert seen["state"] in PUBLIC
    assert set(seen) >= KEYS
    assert seen["since"] == "+980"
    assert (seen["pid"] is not None) == (getattr(life_of(STATES[state]), "pid", None) is not None)


@pytest.mark.parametrize(
    "state", ["blocked-port", "blocked-config", "mended-in-vain", "degraded", "hung", "backoff", "failed", "contested"]
)
def test_what_is_not_well_has_a_reason(state: str) -> None:
    assert shown(child(STATES[state]))["reason"]


@pytest.mark.parametrize("state", ["backoff", "failed", "contested"])
def test_what_is_tried_again_says_when(state: str) -> None:
    assert shown(child(STATES[state]))["next_retry_at"] == "+1005"


@pytest.mark.parametrize("state", ["ready", "stopped", "starting", "blocked-port", "mended-in-vain"])
def test_what_waits_for_no_instant_has_no_next_retry(state: str) -> None:
    assert shown(child(STATES[state]))["next_retry_at"] is None


def test_a_ladder_climbed_in_vain_has_failed_and_says_what_would_mend_it() -> None:
    """Issue 7: given up, though not for ever; the reader is told what wakes it."""
    seen = shown(child(STATES["mended-in-vain"]))

    assert (seen["state"], seen["mend"]) == ("failed", "take it away")


def test_one_that_waits_for_its_turn_is_starting_and_says_what_it_waits_for() -> None:
    queued = child(STATES["queued"])

    assert shown(queued)["state"] == "starting"
    assert shown(queued)["reason"] == "waits for its turn to start"
    assert shown(queued, rescue_by=NOW)["reason"] == "waits for the rescue to start"
    assert shown(child(STATES["urgent"]), rescue_by=NOW)["reason"] == "waits for its turn to start"


def test_a_start_tells_what_the_gateway_says_of_it() -> None:
    state = STATES["starting"]
    assert isinstance(state, Starting)

    assert shown(child(state))["reason"] is None
    assert shown(child(replace(state, detail="migrating")))["reason"] == "migrating"


def test_a_stopped_gateway_says_who_stopped_it() -> None:
    assert shown(child(Stopped(), wanted=False, held=True))["reason"] == "stopped by the operator"
    assert shown(child(Stopped(), wanted=False))["reason"] == "not enabled"
    assert shown(child(Stopped()))["reason"] is None


def test_restarts_are_spawns_after_the_first() -> None:
    story = Story.of(definition())
    assert shown(story.child())["restarts"] == 0
    for count in range(1, 3):
        story.exits()
        assert shown(story.child())["restarts"] == count

    assert shown(child(Stopped(), spawns=0))["restarts"] == 0


def test_the_last_exit_is_told() -> None:
    fallen = child(STATES["backoff"], last_exit=LastExit(None, 9, Cause.CRASH, 990.0, 1 / 3))

    assert shown(fallen)["last_exit"] == {"code": None, "signal": 9, "cause": "crash", "at": "+990", "ran_s": 0.333}
    assert shown(child(STATES["ready"]))["last_exit"] is None


def test_a_definition_that_cannot_be_read_has_no_port_and_no_role() -> None:
    seen = shown(child(STATES["blocked-definition"], definition=None))

    assert (seen["port"], seen["role"], seen["reason"], seen["mend"]) == (
        None,
        None,
        BROKEN.reason,
        f"{BROKEN.mend}; then: clawsup reload",
    )


def test_a_running_gateway_warns_of_what_stands_around_it() -> None:
    ready = child(STATES["ready"])

    assert shown(ready)["warnings"] == []
    assert "last good definition" in shown(replace(ready, broken=BROKEN))["warnings"][0]
    assert "from the next start" in shown(replace(ready, pending=definition(port=1)))["warnings"][0]
    assert "its definition is gone" in shown(replace(ready, orphaned=True))["warnings"][0]


def test_ports_of_the_family_that_others_hold_are_warnings_of_this_life() -> None:
    story = Story.of(definition())
    story.tell(Spawned("main", 1, 301, 1, ("port 18800 is held by pid 7",)))
    assert shown(story.child())["warnings"] == ["port 18800 is held by pid 7"]

    story.exits()
    assert shown(story.child())["warnings"] == []


def test_a_pruned_gateway_that_is_down_says_that_its_definition_is_gone() -> None:
    down = shown(child(STATES["stopped"], wanted=False, orphaned=True))

    assert (down["reason"], down["warnings"]) == ("its definition is gone", ["its definition is gone"])
