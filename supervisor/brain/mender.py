"""Performs what policy has decided about configs and incidents: rungs, promotions, and what is written down of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

import anyio
import anyio.lowlevel

from supervisor.brain.calling import Calling
from supervisor.brain.casebook import Casebook
from supervisor.brain.commands import Commands
from supervisor.brain.guard import Guard
from supervisor.brain.rungs import Rungs
from supervisor.policy.actions import CancelRepair, Incident, Promote, RepairEnd, RepairStep
from supervisor.policy.definition import Definition
from supervisor.policy.events import ConfigPromoted, Event

# A disk that was full is asked again after so long.
PROMOTE_AGAIN_S = 5.0

Mending: TypeAlias = RepairStep | CancelRepair | RepairEnd | Promote | Incident
Post: TypeAlias = Callable[[Event], None]
Start: TypeAlias = Callable[..., None]


class Mender:
    """At most one rung a gateway is under way."""

    def __init__(self, guard: Guard, casebook: Casebook, commands: Commands, calling: Calling) -> None:
        self._guard = guard
        self._casebook = casebook
        self._rungs = Rungs(guard, commands, casebook.add, calling)
        self._climbs: dict[str, _Climb] = {}

    def perform(self, action: Mending, definition: Definition | None, post: Post, start: Start) -> None:
        """Begin one action; `start` runs a task, and answers go to `post`."""
        match action:
            case Incident():
                self._casebook.ended(action, definition)
            case RepairEnd(name=name, mended=mended):
                self._casebook.close(name, mended=mended)
            case CancelRepair(name=name):
                if name in self._climbs:
                    self._climbs[name].scope.cancel()
            case Promote():
                if definition is not None:
                    start(self._promote, action, definition, post)
            case RepairStep():
                if definition is not None:
                    self._casebook.begun(action, definition)
                    earlier, mine = self._climbs.get(action.name), _Climb()
                    self._climbs[action.name] = mine
                    start(self._climb, action, definition, post, mine, earlier)
            case _:
                assert_never(action)

    def is_climbing(self, name: str) -> bool:
        """Whether a rung is under way, or has been cancelled and puts back what it found."""
        return name in self._climbs

    async def climbed(self, name: str) -> None:
        """Wait until none is."""
        while name in self._climbs:
            await self._climbs[name].over.wait()

    async def _promote(self, action: Promote, definition: Definition, post: Post) -> None:
        """As soon as a disk takes it, for as long as the content is in its place."""
        while not self._guard.promote(definition, action.key, hot=action.how == "hot"):
            await anyio.sleep(PROMOTE_AGAIN_S)
            if self._guard.key(definition) != action.key:
                self._guard.give_up(definition, action.key)
                return
        post(ConfigPromoted(action.name, action.life, action.key, action.how))

    async def finish(self) -> None:
        """Wait until what was cancelled has put back what it found."""
        while self._climbs:
            await next(iter(self._climbs.values())).over.wait()

    async def _climb(
        self, step: RepairStep, definition: Definition, post: Post, mine: "_Climb", earlier: "_Climb | None"
    ) -> None:
        with mine.scope:
            try:
                if earlier is not None:
                    # One that was cancelled still puts back what it found.
                    with anyio.CancelScope(shield=True):
                        await earlier.over.wait()
                await anyio.lowlevel.checkpoint_if_cancelled()
                stepped = await self._rungs.climb(step, definition)
                self._casebook.stepped(stepped)
                post(stepped)
            finally:
                if self._climbs[step.name] is mine:
                    del self._climbs[step.name]
                mine.over.set()


@dataclass(eq=False, slots=True)
class _Climb:
    """A rung that is under way, or waits for the one before it."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    over: anyio.Event = field(default_factory=anyio.Event)
