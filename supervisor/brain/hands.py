"""Performs what policy has decided, through the doors; decides nothing, and answers with events.

Each action has its answer: a Spawn ends in Spawned, SpawnRefused or SpawnFailed, a Probe in Probed, a life in Exited. What
goes wrong on the way because the machine is short of something is tried again here, or told as such, and never held
against a gateway.
"""

import math
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVarTuple, Unpack, assert_never

import anyio
from anyio.abc import TaskGroup, TaskStatus

from supervisor import preflight
from supervisor.host import locks, ports, probes, processes, strangers
from supervisor.host.line import Line
from supervisor.host.locks import LowSlot
from supervisor.host.logs.pump import Log, outlet
from supervisor.identity import Identity, life_in
from supervisor.launchers import Launchers, Place, Short, account_of
from supervisor.openclaw import handoff, launch
from supervisor.openclaw.config import ConfigFacts, read_config
from supervisor.policy.definition import Definition
from supervisor.policy.messages import (
    Action,
    Answer,
    ConsumeHandoff,
    Event,
    Exited,
    Finish,
    HandoffAnswered,
    Kill,
    Obstacle,
    ObstacleChanged,
    Probe,
    Probed,
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

WATCH_INTERVAL_S = 0.5
CONSUME_TIMEOUT_S = 30.0
# A sweep looks again this often until nothing carries the token any more; a re-forking process needs several looks.
SWEEP_ROUNDS = 100
SWEEP_PAUSE_S = 0.01
# A prober that could not even ask tries again after this long.
ASK_AGAIN_S = 1.0


Ts = TypeVarTuple("Ts")

Extra = Callable[[Definition], Mapping[str, str]]
"""What a definition gives its gateway beside what we give it: `env_file` overlaid with `[env]`."""


class Living:
    """One gateway process as the hands know it: pinned, and with what must be compared at its end."""

    def __init__(self, life: int, process: processes.Process, definition: Definition, launcher: object) -> None:
        self.life = life
        self.process = process
        self.definition = definition
        self.launcher = launcher
        self.tls: bool | None = None


class Hands:
    """The doors of one brain, tied together; `run` must be running for anything to be done."""

    def __init__(self, place: Place, identity: Identity, line: Line, slot: LowSlot, extra: Extra) -> None:
        self._place = place
        self._identity = identity
        self._line = line
        self._slot = slot
        self._extra = extra
        self._launchers = Launchers(place)
        self._living: dict[str, Living] = {}
        self._logs: dict[str, Log] = {}
        self._watches: dict[str, anyio.CancelScope] = {}
        self._sweeping = 0
        self._swept = anyio.Event()
        self.accepted: dict[str, str] = {}
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
        if isinstance(action, Finish | Report):
            return
        if isinstance(action, Unwatch):
            self._unwatch(action.name)
            return
        if definition is None:
            return
        match action:
            case Spawn():
                self._start(self._spawn, action, definition)
            case Terminate():
                living = self._of(action.name, action.life)
                if living is not None:
                    processes.terminate(living.process)
            case Kill():
                living = self._of(action.name, action.life)
                if living is not None:
                    processes.send(living.process, signal.SIGKILL)
                self._start(self._sweep, action.name, action.life)
            case Sweep():
                self._start(self._sweep, action.name, action.life)
            case Probe():
                self._start(self._probe, action, definition)
            case Watch():
                self._unwatch(action.name)
                self._start(self._watch, action, definition)
            case ConsumeHandoff():
                self._start(self._consume, action, definition)
            case _:
                assert_never(action)

    def adopt(self, name: str, life: int, definition: Definition) -> processes.Process | None:
        """Find the process of an earlier brain's life and take it over; None when it is gone.

        The process carries the token of just that life and holds the lock of the state dir, and is pinned before either is
        looked at.
        """
        token = self._identity.token(name, life)
        holders = set(locks.holders(Path(definition.state_dir)))
        for pid in sorted(strangers.find_tokens(token)):
            process = processes.pin(pid)
            if process is None:
                continue
            if pid in holders and strangers.run_token(pid) == token:
                self._lives(name, life, process, definition)
                return process
            os.close(process.pidfd)
        return None

    def living_life(self, name: str) -> int | None:
        """The newest life of a gateway that some process still carries the token of, for when no record tells."""
        tokens = set(strangers.find_tokens(self._identity.prefix).values())
        lives = [life for token in tokens if (life := life_in(token)) is not None]
        return max((life for life in lives if self._identity.token(name, life) in tokens), default=None)

    async def ended_unseen(self, name: str, life: int, pid: int, definition: Definition, *, patient: bool) -> Exited:
        """The end of a life that nobody watched: what the keeper knows of it, and what the machine shows now.

        Only a keeper that is older than that brain can know, so only then is its word waited for (`patient`).
        """
        status = await self._line.status_of(pid) if patient else None
        return self._exit(name, life, status, definition, launcher=None)

    def trouble(self) -> list[str]:
        """Why output is being dropped at present."""
        return [log.trouble for log in self._logs.values() if log.trouble]

    async def sweep_the_rest(self, current: Mapping[str, int]) -> None:
        """Kill what carries a token of ours but belongs to no present life; `current` maps gateways to theirs."""
        wanted = {self._identity.token(name, life) for name, life in current.items()}
        await self._sweep_tokens(lambda token: token not in wanted)

    async def finish(self) -> None:
        """Wait for what is still being swept, and move the last output to disk."""
        while self._sweeping:
            await self._swept.wait()
        for log in self._logs.values():
            log.drain()

    def log(self, name: str) -> Log:
        """The gateway's log, its FIFO held by the keeper and moved to disk from the first call on."""
        if name not in self._logs:
            living = self._living.get(name)
            fifo = self._place.state_dir / "logs" / f".{name}.fifo"
            source = outlet(living.process.pid, fifo) if living is not None else fifo
            log = Log(source, self._place.state_dir / "logs" / f"{name}.log")
            self._line.hold(name, log.holder())
            self._logs[name] = log
            self._start(log.run)
        return self._logs[name]

    async def _spawn(self, action: Spawn, definition: Definition) -> None:
        name, life = action.name, action.life
        extra = self._extra(definition)
        launcher = await self._launchers.usable(definition, extra)
        if not isinstance(launcher, str):
            self._refuse(name, life, launcher)
            return
        clear = await self._clear(definition)
        if not isinstance(clear, preflight.Clear):
            self._refuse(name, life, clear)
            return
        # From here to the registration of the process nothing waits: the low slot is lent to one spawn at a time.
        try:
            output = self.log(name).child_end()
        except OSError as error:
            locks.release(clear.lock)
            self._post(SpawnFailed(name, life, f"{error.strerror}: the log's FIFO"))
            return
        account = account_of(definition)
        token = self._identity.token(name, life)
        with self._slot.lend(clear.lock) as low:
            process = processes.spawn(
                processes.Plan(
                    launch.argv(definition, launcher),
                    self._launchers.environment(definition, launcher, extra, token),
                    definition.state_dir,
                    output,
                    lock=low,
                    account=account[1] if account else None,
                )
            )
        os.close(output)
        locks.release(clear.lock)
        if isinstance(process, processes.NotSpawned):
            self._refuse(name, life, self._launchers.refused(definition, process))
            return
        self._lives(name, life, process, definition, self._launchers.identity(definition, launcher, extra))
        self._post(Spawned(name, life, process.pid, process.start_ticks, clear.warnings))

    async def _clear(self, definition: Definition) -> preflight.Clear | Obstacle | Short:
        """Look, and where a dead life of ours is in the way, sweep it and look again."""
        for _ in range(SWEEP_ROUNDS):
            found = preflight.look(definition, ours=self._is_leftover)
            if not isinstance(found, preflight.Leftovers):
                return found
            processes.kill_all(found.pids, self._is_leftover)
            await anyio.sleep(SWEEP_PAUSE_S)
        return Short("what an earlier life left behind does not end")

    def _refuse(self, name: str, life: int, why: Obstacle | Short) -> None:
        if isinstance(why, Short):
            self._post(SpawnFailed(name, life, why.reason))
        else:
            self._post(SpawnRefused(name, life, why))

    def _lives(
        self, name: str, life: int, process: processes.Process, definition: Definition, launcher: object = None
    ) -> None:
        living = Living(life, process, definition, launcher)
        self._living[name] = living
        self._start(self._await_end, name, living)

    async def _await_end(self, name: str, living: Living) -> None:
        process = living.process
        status = await processes.ended(process)
        if status is None:
            status = await self._line.status_of(process.pid)
        self.log(name).drain()
        event = self._exit(name, living.life, status, living.definition, launcher=living.launcher)
        if self._living.get(name) is living:
            del self._living[name]
        os.close(process.pidfd)
        self._post(event)

    def _exit(self, name: str, life: int, status: int | None, definition: Definition, *, launcher: object) -> Exited:
        code = None if status is None else os.waitstatus_to_exitcode(status)
        path = self._launchers.find(definition)
        identity = self._launchers.identity(definition, path, self._extra(definition)) if path else None
        return Exited(
            name,
            life,
            code=code if code is None or code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            obstacle=preflight.after_exit(definition, ours=self._is_leftover),
            upgraded=launcher is not None and identity != launcher,
            config_key=preflight.config_key(definition.config_path),
        )

    async def _probe(self, action: Probe, definition: Definition) -> None:
        await anyio.sleep_until(action.at)
        while (living := self._of(action.name, action.life)) is not None:
            answer = await self._ask(action, living, definition)
            if isinstance(answer, Answer):
                if action.phase == "start" and answer.started:
                    self.accepted[action.name] = preflight.config_key(definition.config_path)
                self._post(Probed(action.name, action.life, answer))
                return
            await anyio.sleep(ASK_AGAIN_S)

    async def _ask(self, action: Probe, living: Living, definition: Definition) -> Answer | probes.CannotProbe:
        pid = living.process.pid
        if living.tls is None:
            facts = read_config(definition.config_path, _read)
            living.tls = isinstance(facts, ConfigFacts) and facts.tls
        answer = await probes.ask(
            port=living.definition.port,
            tls=living.tls,
            phase=action.phase,
            timeout_s=definition.probe.timeout,
            owner=lambda: self._owner(action.name, living),
        )
        if isinstance(answer, probes.CannotProbe):
            return answer
        progress = processes.cpu_ticks(pid) + self.log(action.name).written
        return replace(answer, progress=progress)

    def _owner(self, name: str, living: Living) -> str | probes.CannotProbe:
        """Whose the listener is: the gateway's own process, or one that grew from it, is ours."""
        found = ports.listener(living.definition.port, (living.process.pid,))
        if isinstance(found, ports.Foreign):
            try:
                grown = strangers.find_tokens(self._identity.token(name, living.life))
            except OSError as error:
                return probes.CannotProbe(f"/proc cannot be read: {error.strerror}")
            found = ports.listener(living.definition.port, grown)
        match found:
            case int():
                return ""
            case None:
                return "nobody listens there any more"
            case ports.Unseen(text=text):
                return probes.CannotProbe(text)
            case ports.Foreign(pid=pid, uid=uid):
                return f"the listener belongs to {f'uid {uid}' if pid is None else strangers.describe(pid)}"
            case _:
                assert_never(found)

    async def _watch(self, action: Watch, definition: Definition) -> None:
        told: Obstacle | None = action.obstacle
        with anyio.CancelScope() as scope:
            self._watches[action.name] = scope
            while True:
                await anyio.sleep(WATCH_INTERVAL_S)
                seen = await self._look_again(action.obstacle, definition)
                if isinstance(seen, Short) or (seen and told and seen.key == told.key):
                    continue
                if seen != told:
                    told = seen
                    self._post(ObstacleChanged(action.name, seen))

    async def _look_again(self, obstacle: Obstacle, definition: Definition) -> Obstacle | Short | None:
        match obstacle.what:
            case "config":
                unchanged = preflight.config_key(definition.config_path) == obstacle.key
                return obstacle if unchanged else None
            case "port" | "lock" | "state_dir":
                found = preflight.look(definition, ours=self._is_leftover)
                if isinstance(found, preflight.Clear):
                    locks.release(found.lock)
                return found if isinstance(found, Obstacle | Short) else None
            case "launcher":
                launcher = await self._launchers.usable(definition, self._extra(definition))
                return None if isinstance(launcher, str) else launcher
            case "definition" | "contested":
                return obstacle
            case _:
                assert_never(obstacle.what)

    async def _consume(self, action: ConsumeHandoff, definition: Definition) -> None:
        launcher = self._launchers.find(definition)
        accepted, detail = None, "no launcher"
        if launcher is not None:
            extra = self._extra(definition)
            account = account_of(definition)
            result = await processes.run(
                launch.openclaw_argv(definition, launcher, handoff.argv(action.pid)),
                self._launchers.environment(definition, launcher, extra, None),
                definition.state_dir,
                timeout_s=CONSUME_TIMEOUT_S,
                account=account[1] if account else None,
            )
            if isinstance(result, processes.Finished):
                accepted, detail = handoff.verdict(result.code, result.output)
        self._post(HandoffAnswered(action.name, action.life, accepted, detail))

    async def _sweep(self, name: str, life: int) -> None:
        token = self._identity.token(name, life)
        self._sweeping += 1
        try:
            await self._sweep_tokens(lambda found: found == token)
        finally:
            self._sweeping -= 1
            self._swept.set()
            self._swept = anyio.Event()

    async def _sweep_tokens(self, doomed: Callable[[str], bool]) -> None:
        def still(pid: int) -> bool:
            token = strangers.run_token(pid)
            return token is not None and token.startswith(self._identity.prefix) and doomed(token)

        for _ in range(SWEEP_ROUNDS):
            found = [pid for pid, token in strangers.find_tokens(self._identity.prefix).items() if doomed(token)]
            if not processes.kill_all(found, still):
                return
            await anyio.sleep(SWEEP_PAUSE_S)

    def _is_leftover(self, pid: int) -> bool:
        """Whether a process carries a token of ours that no present life has."""
        token = strangers.run_token(pid)
        if token is None or not token.startswith(self._identity.prefix):
            return False
        present = {self._identity.token(name, living.life) for name, living in self._living.items()}
        return token not in present

    def _of(self, name: str, life: int) -> Living | None:
        living = self._living.get(name)
        return living if living is not None and living.life == life else None

    def _unwatch(self, name: str) -> None:
        scope = self._watches.pop(name, None)
        if scope is not None:
            scope.cancel()

    def _start(self, function: Callable[[Unpack[Ts]], Coroutine[object, object, None]], *arguments: *Ts) -> None:
        if self._tasks is not None:
            self._tasks.start_soon(function, *arguments)


def _read(path: str) -> bytes:
    return Path(path).read_bytes()


def _unheard(event: Event) -> None:
    """Events before `run` have nobody to hear them."""
