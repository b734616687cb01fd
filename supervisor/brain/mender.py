"""Performs what policy has decided about configs and incidents: rungs, promotions, and what is written down of it."""

from collections.abc import Callable
from typing import TypeAlias, assert_never

import anyio

from supervisor.brain.calling import Calling
from supervisor.brain.casebook import Casebook
from supervisor.brain.guard import Extra, Guard
from supervisor.brain.launchers import Launchers
from supervisor.brain.rungs import Rungs
from supervisor.policy.actions import CancelRepair, Incident, Promote, RepairEnd, RepairStep
from supervisor.policy.definition import Definition
from supervisor.policy.events import ConfigPromoted, Event

Mending: TypeAlias = RepairStep | CancelRepair | RepairEnd | Promote | Incident
Post: TypeAlias = Callable[[Event], None]
Start: TypeAlias = Callable[..., None]


class Mender:
    """At most one rung a gateway is under way."""

    def __init__(self, guard: Guard, casebook: Casebook, launchers: Launchers, extra: Extra, calling: Calling) -> None:
        self._guard = guard
        self._casebook = casebook
        self._rungs = Rungs(guard, launchers, extra, casebook.add, calling)
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._idle = anyio.Event()

    def perform(self, action: Mending, definition: Definition | None, post: Post, start: Start) -> None:
        """Begin one action; `start` runs a task, and answers go to `post`."""
        match action:
            case Incident():
                self._casebook.ended(action, definition)
            case RepairEnd(name=name, mended=mended):
                self._casebook.close(name, mended=mended)
            case CancelRepair(name=name):
                if name in self._scopes:
                    self._scopes[name].cancel()
            case Promote():
                if definition is not None and self._guard.promote(definition, action.key, hot=action.how == "hot"):
                    post(ConfigPromoted(action.name, action.life, action.key, action.how))
            case RepairStep():
                if definition is not None:
                    start(self._climb, action, definition, post)
            case _:
                assert_never(action)

    async def finish(self) -> None:
        """Wait until what was cancelled has put back what it found."""
        while self._scopes:
            await self._idle.wait()

    async def _climb(self, step: RepairStep, definition: Definition, post: Post) -> None:
        while step.name in self._scopes:
            # One that was cancelled still puts back what it found.
            await self._idle.wait()
        with anyio.CancelScope() as scope:
            self._scopes[step.name] = scope
            try:
                stepped = await self._rungs.climb(step, definition)
                self._casebook.stepped(stepped)
                post(stepped)
            finally:
                del self._scopes[step.name]
                self._idle.set()
                self._idle = anyio.Event()
