"""Brings gateways to life: looks what stands in the way, hands lock and output over, and says what came of it."""

import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias

import anyio

from supervisor.brain import preflight
from supervisor.brain.commands import Extra
from supervisor.brain.guard import Guard
from supervisor.brain.launchers import Launchers, Short, account_of
from supervisor.brain.lives import SWEEP_PAUSE_S, SWEEP_ROUNDS, Lives, Living
from supervisor.brain.outputs import Outputs
from supervisor.host import locks, processes
from supervisor.host.locks import LowSlot
from supervisor.openclaw import launch
from supervisor.policy.actions import Spawn
from supervisor.policy.definition import Definition
from supervisor.policy.events import Spawned, SpawnFailed, SpawnRefused
from supervisor.policy.facts import Obstacle


@dataclass(frozen=True, slots=True)
class Born:
    """A life that has begun, and what is to be told of it."""

    living: Living
    told: Spawned


Outcome: TypeAlias = Born | SpawnRefused | SpawnFailed


class Births:
    """The births of one brain; `swept` waits for the end of a sweep, and is False where none is under way."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a birth takes, each once
        self,
        launchers: Launchers,
        guard: Guard,
        lives: Lives,
        outputs: Outputs,
        slot: LowSlot,
        extra: Extra,
        swept: Callable[[], Coroutine[Any, Any, bool]],
    ) -> None:
        self._launchers = launchers
        self._guard = guard
        self._lives = lives
        self._outputs = outputs
        self._slot = slot
        self._extra = extra
        self._swept = swept

    def at_once(self, action: Spawn, definition: Definition) -> Outcome | None:
        """What came of it; None where its launcher is to be asked, or something in its way to be waited for."""
        launcher = self._launchers.known(definition, self._extra(definition))
        if launcher is None:
            return None
        found = preflight.look(definition, ours=self._lives.is_leftover)
        return self._unless_lacking(action, definition, launcher, found) if isinstance(found, preflight.Clear) else None

    async def patiently(self, action: Spawn, definition: Definition) -> Outcome:
        """What came of it, in the end."""
        launcher = await self._launchers.usable(definition, self._extra(definition))
        if not isinstance(launcher, str):
            return _refused(action, launcher)
        found = await self._clear(definition)
        if not isinstance(found, preflight.Clear):
            return _refused(action, found)
        return self._unless_lacking(action, definition, launcher, found)

    async def _clear(self, definition: Definition) -> preflight.Clear | Obstacle | Short:
        """Look, and where a dead life of ours is in the way, sweep it and look again."""
        for _ in range(SWEEP_ROUNDS):
            found = preflight.look(definition, ours=self._lives.is_leftover)
            # What stands in the way may be what is being swept, too quick to be named.
            if isinstance(found, Obstacle) and await self._swept():
                continue
            if not isinstance(found, preflight.Leftovers):
                return found
            try:
                processes.kill_all(found.pids, self._lives.is_leftover)
            except OSError as error:
                return Short(f"{error.strerror}: what an earlier life left behind")
            await anyio.sleep(SWEEP_PAUSE_S)
        return Short("what an earlier life left behind does not end")

    # From here on nothing waits: the low slot is lent to one birth at a time.

    def _unless_lacking(self, action: Spawn, definition: Definition, launcher: str, clear: preflight.Clear) -> Outcome:
        lacking = self._guard.lacks(definition) if "rollback" in definition.repair.steps else None
        if lacking is not None:
            locks.release(clear.lock)
            return SpawnRefused(action.name, action.life, lacking, self._guard.knows(definition))
        config_key = self._guard.key(definition)
        process = self._spawn(action, definition, launcher, clear.lock)
        if not isinstance(process, processes.Process):
            return _refused(action, process)
        identity = self._launchers.identity(definition, launcher, self._extra(definition))
        living = Living(action.life, process, definition, identity)
        # Nothing that it says is moved before the next turn of the loop.
        living.config_key, living.said_before = config_key, self._outputs.written(action.name)
        told = Spawned(action.name, action.life, process.pid, process.start_ticks, clear.warnings)
        return Born(living, told)

    def _spawn(
        self, action: Spawn, definition: Definition, launcher: str, lock: int
    ) -> processes.Process | Obstacle | Short:
        """Hand lock and output over to a new process; ours are closed, whatever comes of it."""
        try:
            output = self._outputs.child_end(action.name)
        except OSError as error:
            locks.release(lock)
            return Short(f"{error.strerror}: the FIFO of its output")
        account = account_of(definition)
        token = self._lives.token(action.name, action.life)
        environment = self._launchers.environment(definition, launcher, self._extra(definition), token)
        argv = launch.argv(definition, launcher)
        try:
            with self._lives.cradle(action.name, action.life) as mark, self._slot.lend(lock) as low:
                user = account[1] if account else None
                first = definition.role == "rescue"
                plan = processes.Plan(argv, environment, definition.state_dir, output, low, user, mark, first)
                process = processes.spawn(plan)
        finally:
            os.close(output)
            locks.release(lock)
        if isinstance(process, processes.NotSpawned):
            return self._launchers.refused(definition, process)
        return process


def _refused(action: Spawn, why: Obstacle | Short) -> SpawnRefused | SpawnFailed:
    if isinstance(why, Short):
        return SpawnFailed(action.name, action.life, why.reason)
    return SpawnRefused(action.name, action.life, why)
