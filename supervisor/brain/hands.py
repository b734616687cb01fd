"""Performs what policy has decided, through the doors; decides nothing, and answers with events.

Each action has its answer: a Spawn ends in Spawned, SpawnRefused or SpawnFailed, a Probe in Probed, a life in Exited. What
goes wrong on the way because the machine is short of something is tried again, or told as such, and never held against a
gateway.
"""

import math
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TypeVarTuple, Unpack, assert_never

import anyio
from anyio.abc import TaskGroup, TaskStatus

from supervisor.brain import preflight
from supervisor.brain.eyes import Extra, Eyes
from supervisor.brain.identity import Identity
from supervisor.brain.launchers import Launchers, Place, Short, account_of
from supervisor.brain.lives import SWEEP_PAUSE_S, SWEEP_ROUNDS, Lives, Living
from supervisor.host import locks, processes, strangers
from supervisor.host.line import Line
from supervisor.host.locks import LowSlot
from supervisor.host.logs.pump import Log, outlet
from supervisor.openclaw import launch
from supervisor.policy.definition import Definition
from supervisor.policy.messages import (
    Action,
    ConsumeHandoff,
    Event,
    Exited,
    Finish,
    Kill,
    Obstacle,
    Probe,
    Report,
    Spawn,
    Spawned,
    SpawnFailed,
    SpawnRefused,
    Sweep,
    Terminate,
    Unwatch,
    Watch,
)

Ts = TypeVarTuple("Ts")


class Hands:
    """The doors of one brain, tied together; nothing is done before `run` has started."""

    def __init__(self, place: Place, identity: Identity, line: Line, slot: LowSlot, extra: Extra) -> None:
        self._place = place
        self._line = line
        self._slot = slot
        self._extra = extra
        self._launchers = Launchers(place)
        self._lives = Lives(identity)
        self.eyes = Eyes(self._lives, self._launchers, extra, lambda name: self.log(name).written)
        self.logs: dict[str, Log] = {}
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
                self._signal(action, self._lives.of(name, life))
            case Sweep(name=name, life=life):
                self._start(self._sweep, name, life)
            case Unwatch(name=name):
                self._unwatch(name)
            case Finish() | Report():
                pass
            case Spawn() | Probe() | Watch() | ConsumeHandoff():
                if definition is not None:
                    self._begin(action, definition)
            case _:
                assert_never(action)

    def adopt(self, name: str, life: int, definition: Definition) -> processes.Process | None:
        """Find the process of an earlier brain's life and take it over; None when it is gone.

        The process carries the token of just that life and holds the lock of the state dir, and is pinned before either is
        looked at.
        """
        token = self._lives.token(name, life)
        holders = set(locks.holders(Path(definition.state_dir)))
        for pid in sorted(strangers.find_tokens(token)):
            process = processes.pin(pid)
            if process is None:
                continue
            if pid in holders and strangers.run_token(pid) == token:
                self._lives_on(name, Living(life, process, definition, None))
                return process
            os.close(process.pidfd)
        return None

    def newest_life(self, name: str) -> int | None:
        """The newest life of a gateway that still has a process, for when no record tells."""
        return self._lives.newest(name)

    async def ended_unseen(self, name: str, life: int, pid: int, definition: Definition, *, patient: bool) -> Exited:
        """The end of a life that nobody watched: what the keeper knows of it, and what the machine shows now.

        Only a keeper that is older than that brain can know, so only then is its word waited for (`patient`).
        """
        status = await self._line.status_of(pid) if patient else None
        return self._exit(name, life, status, definition, launcher=None)

    async def sweep_the_rest(self, current: Mapping[str, int]) -> None:
        """Kill what carries a token of ours but belongs to no present life; `current` maps gateways to theirs."""
        wanted = {self._lives.token(name, life) for name, life in current.items()}
        await self._lives.sweep(lambda token: token not in wanted)

    async def finish(self) -> None:
        """Wait for what is still being swept, and move the last output to disk."""
        while self._sweeping:
            await self._swept.wait()
        for log in self.logs.values():
            log.drain()

    def log(self, name: str) -> Log:
        """The gateway's log, its FIFO held by the keeper and moved to disk from the first call on."""
        if name not in self.logs:
            living = self._lives.of(name)
            fifo = self._place.state_dir / "logs" / f".{name}.fifo"
            source = outlet(living.process.pid, fifo) if living is not None else fifo
            log = Log(source, self._place.state_dir / "logs" / f"{name}.log")
            self._line.hold(name, log.holder())
            self.logs[name] = log
            self._start(log.run)
        return self.logs[name]

    def _begin(self, action: Spawn | Probe | Watch | ConsumeHandoff, definition: Definition) -> None:
        match action:
            case Spawn():
                self._start(self._spawn, action, definition)
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
            self._start(self._sweep, action.name, action.life)
        elif living is not None:
            processes.terminate(living.process)

    async def _spawn(self, action: Spawn, definition: Definition) -> None:
        extra = self._extra(definition)
        launcher = await self._launchers.usable(definition, extra)
        if not isinstance(launcher, str):
            self._refuse(action, launcher)
            return
        clear = await self._clear(definition)
        if not isinstance(clear, preflight.Clear):
            self._refuse(action, clear)
            return
        # From here on nothing waits: the low slot is lent to one spawn at a time.
        process = self._spawn_at_once(action, definition, launcher, clear.lock)
        if not isinstance(process, processes.Process):
            self._refuse(action, process)
            return
        identity = self._launchers.identity(definition, launcher, extra)
        self._lives_on(action.name, Living(action.life, process, definition, identity))
        self._post(Spawned(action.name, action.life, process.pid, process.start_ticks, clear.warnings))

    def _spawn_at_once(
        self, action: Spawn, definition: Definition, launcher: str, lock: int
    ) -> processes.Process | Obstacle | Short:
        """Hand lock and output over to a new process; ours are closed, whatever comes of it."""
        try:
            output = self.log(action.name).child_end()
        except OSError as error:
            locks.release(lock)
            return Short(f"{error.strerror}: the FIFO of its output")
        account = account_of(definition)
        token = self._lives.token(action.name, action.life)
        environment = self._launchers.environment(definition, launcher, self._extra(definition), token)
        argv = launch.argv(definition, launcher)
        try:
            with self._slot.lend(lock) as low:
                plan = processes.Plan(
                    argv, environment, definition.state_dir, output, lock=low, account=account[1] if account else None
                )
                process = processes.spawn(plan)
        finally:
            os.close(output)
            locks.release(lock)
        if isinstance(process, processes.NotSpawned):
            return self._launchers.refused(definition, process)
        return process

    async def _clear(self, definition: Definition) -> preflight.Clear | Obstacle | Short:
        """Look, and where a dead life of ours is in the way, sweep it and look again."""
        for _ in range(SWEEP_ROUNDS):
            found = preflight.look(definition, ours=self._lives.is_leftover)
            if not isinstance(found, preflight.Leftovers):
                return found
            processes.kill_all(found.pids, self._lives.is_leftover)
            await anyio.sleep(SWEEP_PAUSE_S)
        return Short("what an earlier life left behind does not end")

    def _refuse(self, action: Spawn, why: Obstacle | Short) -> None:
        if isinstance(why, Short):
            self._post(SpawnFailed(action.name, action.life, why.reason))
        else:
            self._post(SpawnRefused(action.name, action.life, why))

    def _lives_on(self, name: str, living: Living) -> None:
        self._lives.begin(name, living)
        self._start(self._await_end, name, living)

    async def _await_end(self, name: str, living: Living) -> None:
        status = await processes.ended(living.process)
        if status is None:
            status = await self._line.status_of(living.process.pid)
        self.log(name).drain()
        self._lives.end(name, living)
        self._post(self._exit(name, living.life, status, living.definition, launcher=living.launcher))

    def _exit(self, name: str, life: int, status: int | None, definition: Definition, *, launcher: object) -> Exited:
        code = None if status is None else os.waitstatus_to_exitcode(status)
        path = self._launchers.find(definition)
        identity = self._launchers.identity(definition, path, self._extra(definition)) if path else None
        return Exited(
            name,
            life,
            code=code if code is None or code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            obstacle=preflight.after_exit(definition, ours=self._lives.is_leftover),
            upgraded=launcher is not None and identity != launcher,
            config_key=preflight.config_key(definition.config_path),
        )

    async def _probe(self, action: Probe, definition: Definition) -> None:
        answer = await self.eyes.probe(action, definition)
        if answer is not None:
            self._post(answer)

    async def _watch(self, action: Watch, definition: Definition) -> None:
        with anyio.CancelScope() as scope:
            self._watches[action.name] = scope
            await self.eyes.watch(action, definition, self._post)

    async def _consume(self, action: ConsumeHandoff, definition: Definition) -> None:
        self._post(await self.eyes.consume(action, definition))

    async def _sweep(self, name: str, life: int) -> None:
        token = self._lives.token(name, life)
        self._sweeping += 1
        try:
            await self._lives.sweep(lambda found: found == token)
        finally:
            self._sweeping -= 1
            self._swept.set()
            self._swept = anyio.Event()

    def _unwatch(self, name: str) -> None:
        scope = self._watches.pop(name, None)
        if scope is not None:
            scope.cancel()

    def _start(self, function: Callable[[Unpack[Ts]], Coroutine[object, object, None]], *arguments: *Ts) -> None:
        if self._tasks is not None:
            self._tasks.start_soon(function, *arguments)


def _unheard(event: Event) -> None:
    """Events before `run` have nobody to hear them."""
