"""Climbs one rung of the ladder: puts a kept config in place, or lets OpenClaw's doctor try; says what came of it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import anyio

from supervisor.brain.calling import Calling
from supervisor.brain.commands import Commands
from supervisor.brain.guard import Guard
from supervisor.brain.launchers import owner_of
from supervisor.host import config_files, locks, processes, strangers
from supervisor.openclaw import validation
from supervisor.openclaw.content import Content, parsed_of
from supervisor.openclaw.diffing import diff
from supervisor.openclaw.masking import Mask
from supervisor.policy.actions import RepairStep
from supervisor.policy.definition import Definition
from supervisor.policy.events import RepairStepped
from supervisor.policy.facts import RungOutcome

DOCTOR_S = 150.0

Evidence = Callable[[str, Mapping[str, bytes]], None]
"""Takes files for the incident that a gateway is in."""


class Rungs:
    """The rungs of all gateways of one brain."""

    def __init__(self, guard: Guard, commands: Commands, evidence: Evidence, calling: Calling) -> None:
        self._guard = guard
        self._commands = commands
        self._evidence = evidence
        self._calling = calling

    async def climb(self, step: RepairStep, definition: Definition) -> RepairStepped:
        """Carry the step out; cancelled, it leaves behind what it found."""
        if step.left == step.broken:
            # What is still being written is not to be judged.
            await self._guard.settles(definition)
        found = self._guard.present(definition)
        if not step.again and found.key not in (step.left, step.to):
            return self._said(step, definition, "changed", "somebody has changed the file meanwhile")
        if step.rung == "rescue":
            return self._said(step, definition, *await self._calling.climb(step, definition))
        if found.files:
            self._guard.store(step.name).keep(found, version="")
        try:
            if step.rung == "doctor":
                return await self._doctor(step, definition, found)
            return await self._put(step, definition)
        except anyio.get_cancelled_exc_class():
            config_files.replace(found, owner=owner_of(definition))
            raise

    async def _put(self, step: RepairStep, definition: Definition) -> RepairStepped:
        content = self._guard.store(step.name).content(step.to)
        if content is None:
            return self._said(step, definition, "unavailable", "its bytes are no longer there")
        refused = config_files.replace(content, owner=owner_of(definition))
        if refused:
            return self._said(step, definition, "unavailable", refused)
        if step.rung == "restore":
            return self._said(step, definition, "done", "")
        verdict = await self._guard.asked(definition)
        if verdict.valid is False:
            return self._said(step, definition, "useless", f"{step.to[:8]} is refused too: {verdict.why}")
        return self._said(step, definition, "start", f"{step.to[:8]} is in place again")

    async def _doctor(self, step: RepairStep, definition: Definition, found: Content) -> RepairStepped:
        taken = locks.take(Path(definition.state_dir))
        if not isinstance(taken, locks.Taken):
            holders = ", ".join(str(strangers.describe(pid)) for pid in getattr(taken, "holders", ()))
            return self._said(step, definition, "unavailable", f"the state dir is in use{holders and ' by '}{holders}")
        try:
            result = await self._commands.run(definition, validation.DOCTOR, DOCTOR_S)
        finally:
            locks.release(taken.fd)
        if isinstance(result, processes.NotSpawned):
            return self._said(step, definition, "unavailable", result.reason)
        return await self._judged(step, definition, found, result)

    async def _judged(
        self, step: RepairStep, definition: Definition, found: Content, result: processes.Finished
    ) -> RepairStepped:
        """What doctor's work is worth: it calls some a success that cannot start, or that has lost settings."""
        after = self._guard.present(definition)
        mask = Mask()
        lines = diff(found, after, labels=("before doctor", "after doctor"), mask=mask)
        output = mask.lines(result.output)
        self._evidence(step.name, {"doctor.diff": "\n".join(lines).encode(), "doctor.txt": output.encode()})
        how = f"exit {result.code}" if result.code is not None else f"not done in {DOCTOR_S:g} s"
        if after.key == found.key:
            # A brain died, and what is in place is not what was refused: a mend of somebody's, or doctor's own work, until a start tells.
            outcome: RungOutcome = "useless" if found.key == step.left else "start"
            return self._said(step, definition, outcome, f"it changed nothing ({how})")
        good = self._guard.knows(definition).good
        before, now = parsed_of(self._guard.store(step.name).content(good) if good else None), parsed_of(after)
        gone = validation.lost(before, now or {}) if before is not None else []
        if gone:
            return self._said(step, definition, "useless", f"it would have lost {validation.told(gone)} ({how})")
        verdict = await self._guard.asked(definition)
        if verdict.valid is False:
            return self._said(step, definition, "useless", f"still refused: {verdict.why} ({how})")
        return self._said(step, definition, "start", how)

    def _said(self, step: RepairStep, definition: Definition, outcome: RungOutcome, detail: str) -> RepairStepped:
        return RepairStepped(step.name, step.rung, outcome, detail, self._guard.key(definition))
