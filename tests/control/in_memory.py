"""A fleet in memory behind the real server: it answers asks with the changes that a test has planned."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.from_thread import start_blocking_portal

from supervisor.control.models import Reloading
from supervisor.control.outcome import Verb
from supervisor.control.server import May, may, serve
from supervisor.errors import DefinitionsUnusable


def entry(name: str, state: str = "ready", **changes: Any) -> dict[str, Any]:
    """One gateway of INTERFACE.md §5."""
    return {
        "name": name,
        "role": "main",
        "state": state,
        "wanted": True,
        "pid": 100 if state in {"ready", "degraded", "starting"} else None,
        "adopted": False,
        "port": 18789,
        "since": "2026-01-01T00:00:00Z",
        "restarts": 0,
        "reason": None,
        "last_exit": None,
        "next_retry_at": None,
        "rss_bytes": 0,
        "config": "good",
        "mend": None,
        "warnings": [],
    } | changes


@dataclass
class Fleet:
    """`plans[verb, name]` are the changes that follow an ask; without a plan an ask changes nothing.

    `changes` are what a reload finds, or it finds conf.d `unreadable`; `consents[name]` are the answers to whether it may be restarted, one a question; after the last one it may.
    A fleet that `judges` leaves a reload undecided until the test sets its `decision`.
    """

    entries: dict[str, dict[str, Any]]
    plans: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    degraded: list[str] = field(default_factory=list)
    path: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str, bool]] = field(default_factory=list)
    consents: dict[str, list[str | None]] = field(default_factory=dict)
    changes: list[dict[str, Any]] = field(default_factory=list)
    unreadable: str = ""
    reloading: list[str] = field(default_factory=list)
    reloads: int = 0
    judges: bool = False
    decision: anyio.Event | None = None
    _handled: int = 0
    _change: anyio.Event | None = None

    def status(self) -> dict[str, Any]:
        """Give the entries as they are now."""
        supervisor = {"pid": 2, "keeper_pid": 1, "version": "0", "uptime_s": 1.0, "conf_dir": "", "state_dir": ""}
        gateways = [dict(each) for each in self.entries.values()]
        more = {"degraded": self.degraded, "reloading": self.reloading, "path": self.path}
        return {"schema": 1, "supervisor": {**supervisor, **more}, "gateways": gateways}

    def story(self, name: str) -> dict[str, Any] | None:
        """Give an entry and `more`."""
        return {**self.entries[name], **self.more} if name in self.entries else None

    def consent(self, verb: Verb, name: str) -> str | None:
        """Give the next planned answer."""
        answers = self.consents.get(name, []) if verb == "restart" else []
        return answers.pop(0) if answers else ""

    def ask(self, verb: Verb, name: str, *, at_once: bool) -> None:
        """Note it; `run` comes to it."""
        self.asked.append((verb, name, at_once))
        self.tell()

    async def reload(self, *, prune: bool, dry: bool, force: bool = False) -> Reloading:  # noqa: ARG002 (the shape of Supervised)
        """Give `changes`; unless dry, `reloading` is theirs until the test empties it."""
        if self.unreadable:
            raise DefinitionsUnusable(self.unreadable, mend="mend it")
        if not dry:
            self.reloads += 1
            self.reloading = [change["name"] for change in self.changes if change["effect"] in {"restart", "replace"}]
        self.decision = anyio.Event()
        if not self.judges:
            self.decision.set()
        return Reloading([change for change in self.changes if prune or change["effect"] != "stop"], self.decision)

    async def changed(self) -> None:
        """Await the next `tell`."""
        if self._change is None:
            self._change = anyio.Event()
        await self._change.wait()

    async def decided(self) -> None:
        """Nothing waits here."""

    def tell(self) -> None:
        """Wake whoever awaits a change."""
        change, self._change = self._change, None
        if change is not None:
            change.set()

    async def run(self) -> None:
        """Handle the asks in their turn, a change at a time."""
        while True:
            while self._handled == len(self.asked):
                await self.changed()
            verb, name, _ = self.asked[self._handled]
            self._handled += 1
            for change in self.plans.get((verb, name), ()):
                await anyio.sleep(0.01)
                self.entries[name] |= change
                self.tell()


@asynccontextmanager
async def serving(fleet: Fleet, path: Path, allowed: May = may) -> AsyncIterator[None]:
    """The server and the fleet on the running loop."""
    fleet.tell()  # whatever the last loop left behind is forgotten
    async with anyio.create_task_group() as group:

        async def served(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            await serve(path, fleet, allowed=allowed, task_status=task_status)

        await group.start(served)
        group.start_soon(fleet.run)
        yield
        group.cancel_scope.cancel()


@contextmanager
def supervisor(fleet: Fleet, state_dir: Path) -> Iterator[None]:
    """The server and the fleet on a loop of their own, for tests that run a command."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving(fleet, state_dir / "control.sock")),
    ):
        yield
