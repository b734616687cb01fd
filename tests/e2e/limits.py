"""What a test of limits looks at before and after: the gateways as nobody may have touched them, and the supervisor's own trouble."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.supervised import Supervisor
from tests.e2e.test_fake_supervisor import hold, still_drips
from tests.e2e.world import Gateway


class Bystanders:
    """Gateways that a limit must not cost anything: same process, open connection, no restart, no incident, no score."""

    def __init__(self, supervisor: Supervisor, *gateways: Gateway) -> None:
        self._supervisor = supervisor
        self._gateways = gateways
        ready = supervisor.wait_ready([gateway.name for gateway in gateways])
        self._pids = {name: entry["pid"] for name, entry in ready.items()}
        self._held: list[socket.socket] = [hold(gateway) for gateway in gateways]

    def close(self) -> None:
        """Let go of the connections."""
        for held in self._held:
            held.close()

    def are_untouched(self) -> None:
        """Assert it."""
        for held in self._held:
            assert still_drips(held)
        for gateway in self._gateways:
            seen = self._supervisor.wait_state(gateway.name, "ready")
            assert (seen["pid"], seen["restarts"], seen["last_exit"]) == (self._pids[gateway.name], 0, None)
            assert len(gateway.lives()) == 1
            told = {event["event"] for event in self._supervisor.events(gateway.name)}
            assert told.isdisjoint({"hung", "exited", "backoff", "failed", "blocked", "stopping", "repair_started"})


@contextmanager
def untouched(supervisor: Supervisor, *gateways: Gateway) -> Iterator[None]:
    """Whatever happens within, these gateways do not notice."""
    bystanders = Bystanders(supervisor, *gateways)
    try:
        yield
        bystanders.are_untouched()
    finally:
        bystanders.close()


def troubles(supervisor: Supervisor) -> list[str]:
    """What `status` says is wrong with the supervisor itself."""
    return list(supervisor.status().get("supervisor", {}).get("degraded", []))


def wait_trouble(supervisor: Supervisor, *words: str) -> str:
    """Wait until `status` tells of a trouble with all these words, and stderr does; the exit code says degraded or down."""

    def found() -> str:
        return next((text for text in troubles(supervisor) if all(word in text for word in words)), "")

    text = str(supervisor.wait_for(found, f"degraded by {words}"))
    said = "supervisor: degraded: reason "
    supervisor.wait_for(
        lambda: all(word in supervisor.errors.read_text().rpartition(said)[2] for word in words), "stderr says so"
    )
    assert supervisor.cli("status").returncode in {3, 5}
    return text


def wait_recovered(supervisor: Supervisor) -> None:
    """Wait until nothing is wrong any more, by itself; the journal and stderr say so."""
    supervisor.wait_for(lambda: supervisor.status() and not troubles(supervisor), "no trouble any more")
    supervisor.wait_for(
        lambda: own_story(supervisor)[-2:] == ["supervisor_degraded", "supervisor_recovered"], "and the journal says so"
    )
    assert supervisor.cli("status").returncode == 0
    errors = supervisor.errors.read_text()
    assert "supervisor: degraded: reason " in errors
    assert errors.rindex("supervisor: recovered") > errors.rindex("supervisor: degraded: reason ")
    assert "Traceback" not in errors


def own_story(supervisor: Supervisor) -> list[str]:
    """The events of the journal that are about the supervisor's own trouble."""
    events = [event["event"] for event in supervisor.events()]
    return [event for event in events if event in {"supervisor_degraded", "supervisor_recovered"}]


def brain_of(supervisor: Supervisor) -> int:
    """The brain's pid."""
    return int(supervisor.status()["supervisor"]["pid"])


def told_of(supervisor: Supervisor, event: str, gateway: str) -> list[dict[str, Any]]:
    """The lines of one kind about one gateway."""
    return [line for line in supervisor.events(gateway) if line["event"] == event]
