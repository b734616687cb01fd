"""A main with a repair ladder, the damages of its config, and what is to be seen of its mending."""

from collections.abc import Sequence
from typing import Any

from tests.e2e.supervised import Supervisor
from tests.e2e.world import Gateway, World, kill

LADDER = ["rollback", "doctor", "rescue"]


def define(
    world: World,
    *steps: str,
    env: dict[str, str] | None = None,
    command: Sequence[str] = (),
    port: int | None = None,
    **sections: Any,
) -> Gateway:
    """A main whose runs are stable after a moment, with a ladder."""
    quick: dict[str, dict[str, Any]] = {
        "restart": {"delay": 0.1, "stable": 0.4},
        "repair": {"steps": list(steps or LADDER)},
    }
    given = {"command": list(command)} if command else {}
    return world.define("main", sections=quick | sections, role="main", env=env or {}, port=port, **given)


def stable(running: Supervisor) -> bytes:
    """Wait until main's config has been kept as good; its bytes."""
    running.wait_ready()
    running.wait_for(lambda: running.named("config_promoted"), "a good config")
    return running.world.gateways["main"].config.read_bytes()


def fall(running: Supervisor) -> None:
    """Kill main's gateway."""
    kill(running.gateway("main")["pid"])


def repaired(running: Supervisor, *, mended: bool) -> dict[str, Any]:
    """Wait for the end of a repair."""
    ended = running.wait_for(lambda: running.named("repair_ended"), "the end of a repair")[-1]
    assert ended["mended"] is mended, running.story()
    return dict(ended)


def rungs(running: Supervisor) -> list[tuple[str, str]]:
    return [(event["rung"], event["outcome"]) for event in running.named("repair_step")]


DAMAGES = {
    "truncated": b'{"gateway": {"mode": "local", "po',
    "empty": b"",
    "unknown-key": b'{"gateway": {"mode": "local"}, "bogus": 1}',
    "no-mode": b'{"gateway": {}, "meta": {"lastTouchedVersion": "2026.9.6"}}',
    "wrong-type": b'{"gateway": {"mode": "local", "port": "abc"}}',
}
