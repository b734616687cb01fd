"""Performs what policy has decided, through the doors; decides nothing, and answers with events.

Each action has its answer: a Spawn ends in Spawned, SpawnRefused or SpawnFailed, a Probe in Probed, a life in Exited. What
goes wrong on the way because the machine is short of something is tried again, or told as such, and never held against a
gateway.
"""

import math
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TypeVarTuple, Unpack, assert_never

import anyio
from anyio.abc import TaskGroup, TaskStatus

from supervisor.brain.births import Births, Born, Outcome
from supervisor.brain.calling import Calling
from supervisor.brain.casebook import Casebook
from supervisor.brain.commands import Commands, Extra
from supervisor.brain.endings import Endings
from supervisor.brain.eyes import Eyes
from supervisor.brain.guard import Guard
from supervisor.brain.identity import Identity
from supervisor.brain.launchers import Launchers, Place
from supervisor.brain.lives import Lives, Living
from supervisor.brain.mender import Mender
from supervisor.brain.outputs import Outputs
from supervisor.host import cgroups, processes
from supervisor.host.line import Line
from supervisor.host.locks import LowSlot
from supervisor.policy.actions import (
    Action,
    CancelRepair,
    ConsumeHandoff,
    Evidence,
    Finish,
    Incident,
    Kill,
    Probe,
    Promote,
    RepairEnd,
    RepairStep,
    Report,
    Spawn,
    Sweep,
    Terminate,
    Unwatch,
    Watch,
)
from supervisor.policy.definition import Definition
from supervisor.policy.events import Adopted, Event, Exited
from supervisor.policy.facts import Cause
from supervisor.policy.state import Life

Ts = TypeVarTuple("Ts")

# So long is what a new gateway does first; a sweep, for which `finish` waits, takes longer than that.
BEHIND_S = 0.01


class Hands:
    """The doors of one brain, tied together; nothing is done before `run` has started."""

    def __init__(self, place: Place, identity: Identity, line: Line, slot: LowSlot, extra: Extra) -> None:
        self._line = line
        self.launchers = Launchers(place)
        self.lives = Lives(identity, cgroups.ground())
        self.outputs = Outputs(place.state_dir / "logs", line, self.lives, self.begin)
        self.commands = Commands(self.launchers, self.lives, extra)
        self.guard = Guard(place, self.launchers, self.commands)
        self.calling = Calling(place.state_dir, self.guard, self.launchers, extra)
        self.casebook = Casebook(place.state_dir, self.guard, self.launchers)
        self.eyes = Eyes(self.lives, self.launchers, self.guard, extra, self.outputs.written)
        self._endings = Endings(place, self.launchers, self.guard, self.lives, extra, self.outputs.written)
        self._births = Births(self.launchers, self.guard, self.lives, self.outputs, slot, extra, self._swept_once)
        self._mender = Mender(self.guard, self.casebook, self.commands, self.calling)
        self._watches: dict[str, anyio.CancelScope] = {}
        self._sweeping = 0
        self._swept = anyio.Event()
        self._post: Callable[[Event], None] = _unheard
        self._tasks: TaskGroup | None = None

    async def run(
        self, post: Callable[[Event], None], *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Perform, from the moment this has started; answers go to `post`."""
        self._post = post
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            task_status.started()
            await anyio.sleep(math.inf)

    def perform(self, action: Action, definition: Definition | None) -> None:
        """Begin one action; `definition` is the one of the child it is about."""
        match action:
            case Terminate(name=name, life=life) | Kill(name=name, life=life):
                self._signal(action, self.lives.of(name, life))
            case Sweep(name=name, life=life):
                # The end of this life is on record now.
                peak_bytes = self.lives.bury(name, life)
                self._start(self._behind, partial(self.casebook.buried, name, life, peak_bytes))
                self._sweep_soon(name, life)
            case Incident(cause=cause) if cause is not Cause.CONFIG:
                self._start(self._behind, partial(self.casebook.ended, action, definition))
            case Unwatch(name=name):
                self._unwatch(name)
            case RepairStep() | CancelRepair() | RepairEnd() | Promote() | Incident():
                self._mender.perform(action, definition, self._post, self._start)
            case Evidence(name=name, life=life):
                if (living := self.lives.of(name, life)) is not None:
                    self.casebook.look(name, living.process.pid)
            case Finish() | Report():
                pass
            case Spawn() | Probe() | Watch() | ConsumeHandoff():
                if definition is not None:
                    self._begin(action, definition)
            case _:
                assert_never(action)

    def adopt(self, name: str, definition: Definition, recorded: Life | None, lives: int) -> Adopted | None:
        """Find the process of a life that an earlier brain began and take it over; None when none lives.

        It is the `recorded` one, or one that came after the `lives` on record.
        """
        found = self.lives.find(name, Path(definition.state_dir), recorded, lives)
        if found is None:
            return None
        life, process = found
        living = Living(life, process, definition, None)
        living.config_key = recorded.config.booted if recorded is not None else ""
        self._lives_on(name, living)
        self.outputs.of(name)
        return Adopted(name, life, process.pid, process.start_ticks)

    async def ended_unseen(self, name: str, life: Life, definition: Definition) -> Exited:
        """The end of a life that nobody watched: what the keeper knows of it, and what the machine shows now."""
        status = await self._line.status_of(life.pid or 0, life.start_ticks or 0)
        self.outputs.drain(name)
        return self._endings.told(name, life.number, status, definition, None)

    async def sweep_the_rest(self) -> None:
        """Kill what an earlier brain started and nobody has adopted."""
        await self.lives.sweep_the_rest()

    async def finish(self) -> None:
        """Wait for what is still being swept, and move the last output to disk."""
        while self._sweeping:
            await self._swept.wait()
        await self._mender.finish()
        self.outputs.drain_all()

    def begin(self, function: Callable[[Unpack[Ts]], Coroutine[object, object, None]], *arguments: *Ts) -> None:
        """Run a task beside the actions."""
        self._start(function, *arguments)

    def _begin(self, action: Spawn | Probe | Watch | ConsumeHandoff, definition: Definition) -> None:
        match action:
            case Spawn():
                self._spawn(action, definition)
            case Probe():
                self._start(self._probe, action, definition)
            case Watch():
                self._unwatch(action.name)
                self._start(self._watch, action, definition)
            case ConsumeHandoff():
                self._start(self._consume, action, definition)
            case _:
                assert_never(action)

    def _signal(self, action: Terminate | Kill, living: Living | None) -> None:
        if isinstance(action, Kill):
            if living is not None:
                processes.send(living.process, signal.SIGKILL)
            self._sweep_soon(action.name, action.life)
        elif living is not None:
            living.is_told_to_end = True
            processes.terminate(living.process)

    def _spawn(self, action: Spawn, definition: Definition) -> None:
        # A task of its own would begin when all else of this decision has; but a rung may have something to put back.
        climbing = self._mender.is_climbing(action.name)
        outcome = None if climbing else self._births.at_once(action, definition)
        if outcome is None:
            self._start(self._spawn_in_time, action, definition)
        else:
            self._begun(action, outcome)

    async def _spawn_in_time(self, action: Spawn, definition: Definition) -> None:
        await self._mender.climbed(action.name)
        self._begun(action, await self._births.patiently(action, definition))

    def _begun(self, action: Spawn, outcome: Outcome) -> None:
        if isinstance(outcome, Born):
            self._lives_on(action.name, outcome.living)
        self._post(outcome.told if isinstance(outcome, Born) else outcome)

    def _lives_on(self, name: str, living: Living) -> None:
        self.lives.begin(name, living)
        self._start(self._await_end, name, living)

    async def _await_end(self, name: str, living: Living) -> None:
        process = living.process
        status = await processes.ended(process)
        if status is None:
            status = await self._line.status_of(process.pid, process.start_ticks)
        if status is None:
            status = await processes.status_after_reaping(process)
        self.outputs.drain(name)
        self.lives.end(name, living)
        self._post(self._endings.told(name, living.life, status, living.definition, living))

    async def _probe(self, action: Probe, definition: Definition) -> None:
        answer = await self.eyes.probe(action, definition)
        if answer is not None:
            living = self.lives.of(action.name, action.life)
            if living is not None:
                living.started = living.started or bool(answer.answer.started)
            self.casebook.probed(action.name, action.at, answer.answer, living.process.pid if living else 0)
            self._post(answer)

    async def _watch(self, action: Watch, definition: Definition) -> None:
        with anyio.CancelScope() as scope:
            self._watches[action.name] = scope
            await self.eyes.watch(action, definition, self._post)

    async def _consume(self, action: ConsumeHandoff, definition: Definition) -> None:
        self._post(await self.eyes.consume(action, definition))

    async def _behind(self, write: Callable[[], None]) -> None:
        """What is written about a life that is over leaves the CPU to a successor that is due in the same decision."""
        await anyio.sleep(BEHIND_S)
        write()

    def _sweep_soon(self, name: str, life: int) -> None:
        # Counted from now on, and not from its first step: `finish` may come in between.
        self._sweeping += 1
        self._start(self._sweep, name, life)

    async def _sweep(self, name: str, life: int) -> None:
        try:
            await self.lives.sweep(name, life)
        finally:
            self._sweeping -= 1
            self._swept.set()
            self._swept = anyio.Event()

    async def _swept_once(self) -> bool:
        """Wait for the end of the sweep that ends next; False where none is under way."""
        if self._sweeping:
            await self._swept.wait()
            return True
        return False

    def _unwatch(self, name: str) -> None:
        scope = self._watches.pop(name, None)
        if scope is not None:
            scope.cancel()

    def _start(self, function: Callable[[Unpack[Ts]], Coroutine[object, object, None]], *arguments: *Ts) -> None:
        if self._tasks is not None:
            self._tasks.start_soon(function, *arguments)


def _unheard(event: Event) -> None:
    """Events before `run` have nobody to hear them."""
