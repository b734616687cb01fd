"""The brain's one loop: event in, decide, journal, publish, act.

The order is raft's: a decision is in the journal and in the state records before any of its actions is performed, so a brain
that dies at any point leaves behind what the next one needs. Nobody else decides, and nobody else owns the fleet.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import anyio

from supervisor.policy import fleet as policy
from supervisor.policy import record
from supervisor.policy.actions import Action, CancelRepair, Spawn
from supervisor.policy.definition import Definition
from supervisor.policy.events import Event, Ticked
from supervisor.policy.fleet import Fleet
from supervisor.policy.state import Child

# More events waiting than this, and whoever posts the next one fails, and the brain with it: a flood costs no gateway.
INBOX = 100_000


class Hands(Protocol):
    """Performs actions; answers come back as events."""

    def perform(self, action: Action, definition: Definition | None) -> None:
        """Begin one action and return at once."""
        ...


class Memory(Protocol):
    """Keeps what must outlive a brain. Never raises: trouble with a disk is told elsewhere."""

    def write(self, lines: Sequence[record.Line]) -> None:
        """Append to the journal."""
        ...

    def say(self, lines: Sequence[record.Line]) -> None:
        """Tell a person."""
        ...

    def keep(self, child: Child) -> None:
        """Replace the child's state record."""
        ...

    def forget(self, name: str) -> None:
        """Remove the state record of a child that is no more."""
        ...


class Daemon:
    """Owns the fleet. `beat` is called at least every `beat_s` s, by the loop itself: a loop that stands still is not alive."""

    def __init__(
        self,
        fleet: Fleet,
        hands: Hands,
        memory: Memory,
        *,
        beat: Callable[[], None] = lambda: None,
        beat_s: float = math.inf,
    ) -> None:
        self.fleet = fleet
        self._hands = hands
        self._memory = memory
        self._beat = beat
        self._beat_s = beat_s
        self._send, self._inbox = anyio.create_memory_object_stream[Event](INBOX)
        self._changed = anyio.Event()
        self._decided = anyio.Event()
        self._posted = self._taken = 0

    def post(self, event: Event) -> None:
        """Put an event into the inbox; it is decided in its turn, and after the end of `run` never."""
        with suppress(anyio.ClosedResourceError):
            self._send.send_nowait(event)
            self._posted += 1

    async def decided(self) -> None:
        """Return once all that was posted before is decided, and so on record."""
        posted = self._posted
        while self._taken < posted:
            await self._decided.wait()

    async def changed(self) -> None:
        """Return after the next change of the fleet."""
        await self._changed.wait()

    async def run(self) -> None:
        """Decide events until everything has stopped after a ShutdownAsked."""
        with self._send, self._inbox:
            while not self.fleet.finished:
                self.decide(await self._next())
                self._decided.set()
                self._decided = anyio.Event()
                self._beat()

    def decide(self, event: Event) -> None:
        """One event, all the way."""
        now = anyio.current_time()
        before = self.fleet
        after, actions = policy.decide(before, event, now)
        lines = record.lines(before, event, after, actions, now)
        self._memory.write(lines)
        if lines:
            self._keep(before, after)
        self.fleet = after
        if after is not before:
            self._changed.set()
            self._changed = anyio.Event()
        # The users of a gateway wait for its spawn, and for nothing else that is to be done, but for a rung to be called off.
        for action in sorted(actions, key=lambda action: not isinstance(action, CancelRepair | Spawn)):
            child = after.children.get(getattr(action, "name", ""))
            self._hands.perform(action, child.definition if child else None)
        self._memory.say(lines)

    def _keep(self, before: Fleet, after: Fleet) -> None:
        for name, child in after.children.items():
            if before.children.get(name) is not child:
                self._memory.keep(child)
        for name in before.children:
            if name not in after.children:
                self._memory.forget(name)

    async def _next(self) -> Event:
        """The next event, or Ticked when a deadline has passed; beats while it waits."""
        while True:
            now = anyio.current_time()
            due = policy.wake_at(self.fleet, now)
            due = math.inf if due is None else due
            if now >= due:
                return Ticked()
            with anyio.move_on_at(min(due, now + self._beat_s)):
                event = await self._inbox.receive()
                self._taken += 1
                return event
            self._beat()
