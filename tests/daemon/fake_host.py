"""Hands and memory that only note what they are told, and a daemon that runs with them."""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from supervisor.daemon import Daemon
from supervisor.policy import record
from supervisor.policy.actions import Action, Kill, Probe, Spawn, Terminate
from supervisor.policy.definition import Definition
from supervisor.policy.events import Booted, Event, Exited, Probed, Reloaded, Spawned
from supervisor.policy.facts import Roster
from supervisor.policy.fleet import Fleet
from supervisor.policy.state import Child
from tests.policy.builders import STARTED


@dataclass
class Host:
    """Hands and memory in one, so that the order of their work can be seen in `done`."""

    done: list[str] = field(default_factory=list)
    spawned_at: list[float] = field(default_factory=list)
    post: Callable[[Event], None] = lambda _: None
    answer: Callable[["Host", Action], None] = lambda _host, _action: None

    def perform(self, action: Action, definition: Definition | None) -> None:
        """Note it, and answer as this host answers."""
        self.done.append(f"act {action.kind} {definition.port if definition is not None else None}")
        if isinstance(action, Spawn):
            self.spawned_at.append(anyio.current_time())
        self.answer(self, action)

    def write(self, lines: Sequence[record.Line]) -> None:
        """Note that something was written down."""
        self.done += [f"journal {line.event}" for line in lines]

    def say(self, lines: Sequence[record.Line]) -> None:
        """Note that something was said."""
        self.done += [f"say {line.event}" for line in lines]

    def keep(self, child: Child) -> None:
        """Note what was kept."""
        self.done.append(f"keep {child.name} {child.state.kind}")

    def forget(self, name: str) -> None:
        """Note what was forgotten."""
        self.done.append(f"forget {name}")


def falls_at_once(host: Host, action: Action) -> None:
    """Every life is over as soon as it has begun."""
    if isinstance(action, Spawn):
        host.post(Spawned(action.name, action.life, 100 + action.life, 1))
        host.post(Exited(action.name, action.life, None, 9))


def obeys(host: Host, action: Action) -> None:
    """Every life is ready as soon as it has begun, and ends when it is told to."""
    match action:
        case Spawn(name=name, life=life):
            host.post(Spawned(name, life, 100 + life, 1))
        case Probe(name=name, life=life, phase="start"):
            host.post(Probed(name, life, STARTED))
        case Terminate(name=name, life=life) | Kill(name=name, life=life):
            host.post(Exited(name, life, 0, None))
        case _:
            pass


@dataclass
class Run:
    """A daemon that runs, its host, and the instants of its beats."""

    daemon: Daemon
    host: Host
    beats: list[float]


@asynccontextmanager
async def running(
    *definitions: Definition, answer: Callable[[Host, Action], None] = obeys, beat_s: float = math.inf
) -> AsyncIterator[Run]:
    host = Host(answer=answer)
    beats: list[float] = []
    daemon = Daemon(Fleet(cores=2), host, host, beat=lambda: beats.append(anyio.current_time()), beat_s=beat_s)
    host.post = daemon.post
    daemon.post(Reloaded(Roster(definitions)))
    daemon.post(Booted(first=True))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(daemon.run)
        yield Run(daemon, host, beats)
        tasks.cancel_scope.cancel()
