"""What the control socket shows of the fleet, and how it steers it."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import anyio

from supervisor.brain.chronicle import Chronicle
from supervisor.brain.hands import Hands
from supervisor.brain.launchers import Place
from supervisor.brain.preflight import config_key
from supervisor.daemon import Daemon
from supervisor.host import processes
from supervisor.host.journal import read as read_journal
from supervisor.host.line import Hello
from supervisor.host.logs.reading import tail
from supervisor.policy import status as shown
from supervisor.policy.fleet import in_order
from supervisor.policy.messages import Event, RestartAsked, StartAsked, StopAsked
from supervisor.policy.state import Blocked, Child, life_of

STORY_LINES = 10
STORY_EVENTS = 10
# A wall clock that moved against the monotonic one by more than this was set, and did not only drift.
CLOCK_SET_S = 0.5


class Overview:
    """The fleet as operators see it (control.models.Supervised)."""

    def __init__(self, place: Place, hello: Hello, daemon: Daemon, hands: Hands, chronicle: Chronicle) -> None:
        self._place = place
        self._hello = hello
        self._daemon = daemon
        self._hands = hands
        self._chronicle = chronicle
        self._version = metadata.version("openclaw-supervisor")
        self._epoch = 0.0

    def status(self) -> dict[str, Any]:
        """The document of INTERFACE.md §5."""
        return {
            "schema": 1,
            "supervisor": {
                "pid": os.getpid(),
                "keeper_pid": self._hello.keeper_pid,
                "version": self._version,
                "uptime_s": round(anyio.current_time() - self._hello.keeper_started, 3),
                "conf_dir": str(self._place.conf_dir),
                "state_dir": str(self._place.state_dir),
                "degraded": [
                    *self._chronicle.trouble,
                    *(log.trouble for log in self._hands.logs.values() if log.trouble),
                ],
            },
            "gateways": [self._entry(child) for child in in_order(self._daemon.fleet.children.values())],
        }

    def story(self, name: str) -> dict[str, Any] | None:
        """One gateway with its last output and events, and its definition without the values of its environment."""
        child = self._daemon.fleet.children.get(name)
        if child is None:
            return None
        definition = child.definition.model_dump(mode="json") if child.definition else None
        log = self._place.state_dir / "logs" / f"{name}.log"
        return {
            **self._entry(child),
            "definition": definition,
            "log_path": str(log),
            "log_tail": tail(log, STORY_LINES),
            "events": self._events(name),
        }

    def ask(self, verb: str, name: str, *, at_once: bool) -> None:
        """Post what an operator asked for."""
        events: Mapping[str, Callable[[], Event]] = {
            "start": lambda: StartAsked(name),
            "stop": lambda: StopAsked(name, at_once),
            "restart": lambda: RestartAsked(name),
        }
        self._daemon.post(events[verb]())

    async def changed(self) -> None:
        """Return at the next change of the fleet."""
        await self._daemon.changed()

    def _entry(self, child: Child) -> shown.GatewayEntry:
        life = life_of(child.state)
        rss = processes.resident_bytes(life.pid) if life is not None and life.pid is not None else 0
        return shown.entry(child, self._daemon.fleet, at=self._at, rss_bytes=rss, config=self._config(child))

    def _at(self, instant: float) -> str:
        """An instant of the monotonic clock as UTC; the same text each time, unless the wall clock was set."""
        epoch = datetime.now(UTC).timestamp() - anyio.current_time()
        if abs(epoch - self._epoch) > CLOCK_SET_S:
            self._epoch = epoch
        moment = datetime.fromtimestamp(self._epoch + instant, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _config(self, child: Child) -> str:
        """Whether the config file is the one that the gateway accepted, and if not, whether it was refused."""
        if child.definition is None:
            return "pending"
        present = config_key(child.definition.config_path)
        if isinstance(child.state, Blocked) and child.state.obstacle.what == "config":
            return "bad" if present == child.state.obstacle.key else "pending"
        return "good" if present and present == self._hands.eyes.accepted.get(child.name) else "pending"

    def _events(self, name: str) -> list[dict[str, Any]]:
        mine = [
            line
            for line in read_journal(self._place.state_dir / "events.jsonl", last=200)
            if line.get("gateway") == name
        ]
        return [{key: value for key, value in line.items() if key not in ("decision", "crc")} for line in mine][
            -STORY_EVENTS:
        ]
