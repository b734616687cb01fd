"""Calls the rescue's agent to a patient, and waits until the patient's config is worth a start; the last rung of the ladder.

One call an incident, two a day a patient. What the agent says counts for nothing: the probes tell whether it has helped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import anyio

from supervisor.brain.commands import Extra
from supervisor.brain.guard import Guard
from supervisor.brain.launchers import Launchers, account_of, home_of, owner_of
from supervisor.host import hooks, processes, workspaces
from supervisor.host.incidents import Incidents
from supervisor.openclaw import launch, rescuing
from supervisor.openclaw.content import parsed_of
from supervisor.openclaw.masking import Mask
from supervisor.policy.actions import RepairStep
from supervisor.policy.definition import Definition
from supervisor.policy.facts import RungOutcome
from supervisor.policy.record import Line
from supervisor.policy.state import Child, Degraded, Ready

A_DAY = 2
LOOK_S = 0.5
GONE_S = 60.0
AGENT_S = 870.0
_EVIDENCE = ("log.txt", "config.diff", "doctor.txt", "probes.txt")
_LINES = 60
_CALLED = "rescue_called_at"

Came: TypeAlias = tuple[RungOutcome, str]


@dataclass(slots=True)
class Wait:
    """One call under way; `said` is set when the agent's turn has ended without a result that could help."""

    patient: str
    before: str
    resolved: str | None = None
    said: Came | None = None
    away_s: float = field(default=0.0)


class Calling:
    """The calls of one brain; at most one a patient is under way."""

    def __init__(self, state_dir: Path, guard: Guard, launchers: Launchers, extra: Extra) -> None:
        self._incidents = Incidents(state_dir / "incidents")
        self._guard = guard
        self._launchers = launchers
        self._extra = extra
        self._children: Callable[[], Mapping[str, Child]] = dict
        self._note: Callable[[Sequence[Line]], None] = _unheard
        self._waits: dict[str, Wait] = {}

    def attach(self, children: Callable[[], Mapping[str, Child]], note: Callable[[Sequence[Line]], None]) -> None:
        """From now on it is known who lives, and what is worth a line goes into the journal."""
        self._children = children
        self._note = note

    def resolve(self, name: str, note: str) -> bool:
        """The rescue is done with a patient: whoever waits for that goes on; False where it was not called about its last incident."""
        wait = self._waits.get(name)
        ident = next(iter(self._incidents.ids(name)), "")
        called = _CALLED in (self._incidents.account(ident) or {})
        if wait is not None:
            wait.resolved = note
        if called:
            self._incidents.update(ident, {"rescue_note": Mask().line(note)})
        return called or wait is not None

    async def climb(self, step: RepairStep, definition: Definition) -> Came:
        """Call, and wait for what comes of it; whoever set this rung its time cancels it."""
        rescue = self._rescue_of(step.name)
        if rescue is None:
            return "unavailable", "no rescue has it for a patient"
        if not self._is_up(rescue.name):
            return "unavailable", f"{rescue.name} is not up itself"
        ident = next(iter(self._incidents.ids(step.name)), "")
        account = self._incidents.account(ident) or {}
        wait = self._waits[step.name] = Wait(step.name, self._guard.key(definition))
        try:
            if _CALLED in account:
                # An earlier brain has called it, and it may be at work: only the wait begins anew.
                if step.again:
                    return await self._await(wait, rescue, definition)
                return "unavailable", f"{rescue.name} was called about this already"
            if self._today(step.name) >= A_DAY:
                return "unavailable", f"{rescue.name} was called {A_DAY} times in the last day"
            return await self._call(wait, rescue, definition, ident)
        finally:
            del self._waits[step.name]

    async def _call(self, wait: Wait, rescue: Definition, definition: Definition, ident: str) -> Came:
        config = parsed_of(self._guard.present(rescue)) or {}
        home = home_of(rescue, self._extra(rescue))
        root = Path(rescue.workspace or rescuing.workspace(config, rescue.state_dir, home))
        file = f"{rescuing.INBOX}/{ident or wait.patient}.md"
        letter = self._letter(wait.patient, ident, definition).encode()
        if refused := workspaces.put(root, file, letter, owner=owner_of(rescue)):
            return "unavailable", refused
        message = rescuing.message(wait.patient, ident, str(root / file))
        if ident:
            self._incidents.update(ident, {_CALLED: datetime.now(UTC).isoformat()})
        hook = rescuing.hook(config, self._extra(rescue))
        if isinstance(hook, rescuing.Hook):
            answer = await hooks.post(rescue.port, hook.path, hook.token, rescuing.body(message), tls=hook.tls)
            self._tell(wait.patient, rescue.name, "hook", f"{answer}")
            if answer == 200:  # noqa: PLR2004 (HTTP's OK)
                return await self._await(wait, rescue, definition)
        self._tell(wait.patient, rescue.name, "command", "")
        came: Came = "useless", ""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._command, wait, rescue, message)
            came = await self._await(wait, rescue, definition)
            # The turn goes on by itself in the gateway; only who waited for its end is let go.
            tasks.cancel_scope.cancel()
        return came

    async def _command(self, wait: Wait, rescue: Definition, message: str) -> None:
        launcher = self._launchers.find(rescue)
        if launcher is None:
            wait.said = "unavailable", f"{rescue.command[0]}: no such launcher"
            return
        account = account_of(rescue)
        result = await processes.run(
            launch.openclaw_argv(rescue, launcher, rescuing.command(message, AGENT_S)),
            self._launchers.environment(rescue, launcher, self._extra(rescue), None),
            rescue.state_dir,
            timeout_s=AGENT_S,
            account=account[1] if account else None,
        )
        if isinstance(result, processes.NotSpawned):
            wait.said = "unavailable", result.reason
        elif result.code != 0:
            wait.said = "unavailable", f"its agent could not be reached (exit {result.code})"
        else:
            wait.said = "useless", f"the turn of {rescue.name} ended without a config that could start"

    async def _await(self, wait: Wait, rescue: Definition, definition: Definition) -> Came:
        judged = wait.before
        while True:
            if wait.resolved is not None:
                return "start", f"{rescue.name} says it is done: {Mask().line(wait.resolved)[:200]}"
            key = self._guard.key(definition)
            if key != judged:
                # What was put in place just before the turn ended counts as well, once it has settled.
                if self._guard.settled(definition):
                    judged = key
                    verdict = await self._guard.asked(definition)
                    if verdict.valid is not False and key == self._guard.key(definition):
                        return "start", f"{key[:8]} was put in place while {rescue.name} was at it"
            elif wait.said is not None:
                return wait.said
            wait.away_s = 0.0 if self._is_up(rescue.name) else wait.away_s + LOOK_S
            if wait.away_s >= GONE_S:
                return "useless", f"{rescue.name} went down itself"
            await anyio.sleep(LOOK_S)

    def _letter(self, patient: str, ident: str, definition: Definition) -> str:
        mask = Mask()
        mask.config(self._guard.present(definition).text)
        account = self._incidents.account(ident) or {}
        texts = [(name, self._incidents.evidence(ident, name)) for name in _EVIDENCE]
        evidence = [
            (name, mask.lines("\n".join(data.decode(errors="replace").splitlines()[-_LINES:])))
            for name, data in texts
            if data
        ]
        return rescuing.letter(patient, account, evidence)

    def _today(self, name: str) -> int:
        """How often the rescue was called to a patient in the last day."""
        now = datetime.now(UTC)
        # A call from the future was made before the clock was set back, and says nothing about this day.
        since, until = (now - timedelta(days=1)).isoformat(), now.isoformat()
        accounts = (self._incidents.account(ident) or {} for ident in self._incidents.ids(name))
        return sum(since < str(account.get(_CALLED, "")) <= until for account in accounts)

    def _rescue_of(self, patient: str) -> Definition | None:
        """Whose patient it is; a rescue never waits for itself."""
        known = [child.definition for child in self._children().values() if child.definition is not None]
        return next(
            (each for each in known if each.role == "rescue" and patient in each.patients and each.name != patient),
            None,
        )

    def _is_up(self, name: str) -> bool:
        """With its channels suppressed it can still be called."""
        child = self._children().get(name)
        return child is not None and isinstance(child.state, Ready | Degraded)

    def _tell(self, patient: str, rescue: str, how: str, answer: str) -> None:
        self._note([Line("rescue_called", patient, {"rescue": rescue, "by": how, "answer": answer})])


def _unheard(lines: Sequence[Line]) -> None:
    """Before `attach` there is no journal."""
