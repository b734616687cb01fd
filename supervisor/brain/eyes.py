"""Asks gateways how they are, watches what blocks them, and asks OpenClaw about an exit 0; tells, and touches nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

import anyio

from supervisor.brain import preflight
from supervisor.brain.commands import Extra
from supervisor.brain.guard import Guard
from supervisor.brain.launchers import Launchers, Short, account_of
from supervisor.brain.lives import Lives, Living
from supervisor.host import load, locks, ports, probes, processes, strangers
from supervisor.openclaw import handoff, launch
from supervisor.openclaw.content import facts_of
from supervisor.policy.actions import ConsumeHandoff, Probe, Watch
from supervisor.policy.definition import Definition
from supervisor.policy.discount import excuse
from supervisor.policy.events import HandoffAnswered, ObstacleChanged, Probed
from supervisor.policy.facts import Answer, Obstacle

WATCH_INTERVAL_S = 0.5
CONSUME_TIMEOUT_S = 45.0
# A prober that could not even ask tries again after this long.
ASK_AGAIN_S = 1.0


class Eyes:
    """Everything that only looks. `written` gives the bytes of output a gateway has made so far."""

    def __init__(
        self, lives: Lives, launchers: Launchers, guard: Guard, extra: Extra, written: Callable[[str], int]
    ) -> None:
        self._lives = lives
        self._guard = guard
        self._launchers = launchers
        self._extra = extra
        self._written = written

    async def probe(self, action: Probe, definition: Definition) -> Probed | None:
        """One round at its time; None when the life was over before an answer came.

        Our own trouble with asking is no answer: it is asked again.
        """
        await anyio.sleep_until(action.at)
        while (living := self._lives.of(action.name, action.life)) is not None:
            before = load.look(living.process.pid, anyio.current_time())
            answer = await self._ask(action, living, definition)
            if isinstance(answer, Answer):
                if action.phase == "health" and not answer.live:
                    after = load.look(living.process.pid, anyio.current_time())
                    why = excuse(before, after, due=action.at, timeout=definition.probe.timeout)
                    answer = replace(answer, excuse=why)
                return Probed(action.name, action.life, answer, self._config_key(action, living, definition, answer))
            await anyio.sleep(ASK_AGAIN_S)
        return None

    async def watch(self, action: Watch, definition: Definition, tell: Callable[[ObstacleChanged], None]) -> None:
        """Look twice a second, until cancelled, and tell whenever what stands in the way is another or gone."""
        told: Obstacle | None = action.obstacle
        while True:
            await anyio.sleep(WATCH_INTERVAL_S)
            seen = await self._look_again(action.obstacle, definition)
            if isinstance(seen, Short) or _key(seen) == _key(told):
                continue
            told = seen
            tell(ObstacleChanged(action.name, seen))

    async def consume(self, action: ConsumeHandoff, definition: Definition) -> HandoffAnswered:
        """`restart-handoff consume`, once, in the gateway's environment less its run token."""
        launcher = self._launchers.find(definition)
        if launcher is None:
            return HandoffAnswered(action.name, action.life, None, "no launcher")
        account = account_of(definition)
        result = await processes.run(
            launch.openclaw_argv(definition, launcher, handoff.argv(action.pid)),
            self._launchers.environment(definition, launcher, self._extra(definition), None),
            definition.state_dir,
            timeout_s=CONSUME_TIMEOUT_S,
            account=account[1] if account else None,
        )
        if isinstance(result, processes.NotSpawned):
            return HandoffAnswered(action.name, action.life, None, result.reason)
        return HandoffAnswered(action.name, action.life, *handoff.verdict(result.code, result.output))

    def _config_key(self, action: Probe, living: Living, definition: Definition, answer: Answer) -> str:
        if action.phase == "health":
            return self._guard.runs_on(definition, living.config_key)
        return self._guard.started(definition, living.config_key) if answer.started else ""

    async def _ask(self, action: Probe, living: Living, definition: Definition) -> Answer | probes.CannotProbe:
        if living.tls is None:
            facts = facts_of(self._guard.present(definition))
            living.tls = facts is not None and facts.tls
        answer = await probes.ask(
            port=living.definition.port,
            tls=living.tls,
            phase=action.phase,
            timeout_s=definition.probe.timeout,
            owner=lambda: self._owner(action.name, living),
        )
        if isinstance(answer, probes.CannotProbe):
            return answer
        progress = processes.cpu_ticks(living.process.pid) + self._written(action.name)
        return replace(answer, progress=progress)

    def _owner(self, name: str, living: Living) -> str | probes.CannotProbe:
        """Whose the listener is: the gateway's own process, or one that grew from it, is ours."""
        found = ports.listener(living.definition.port, (living.process.pid,))
        if isinstance(found, ports.Foreign):
            try:
                grown = strangers.find_tokens(self._lives.token(name, living.life))
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

    async def _look_again(self, obstacle: Obstacle, definition: Definition) -> Obstacle | Short | None:
        match obstacle.what:
            case "config":
                unchanged = self._guard.key(definition) == obstacle.key or not self._guard.is_whole(definition)
                return obstacle if unchanged else None
            case "port" | "lock" | "state_dir":
                found = preflight.look(definition, ours=self._lives.is_leftover)
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


def _key(obstacle: Obstacle | None) -> str | None:
    return None if obstacle is None else obstacle.key
