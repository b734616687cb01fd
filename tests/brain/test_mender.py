"""What the mender has under way: one rung a gateway, and none that was called off."""

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

from supervisor.brain.mender import Mender
from supervisor.policy.actions import CancelRepair, RepairStep
from supervisor.policy.events import Event, RepairStepped
from supervisor.policy.facts import Rung
from tests.policy.builders import definition


class SlowRungs:
    """Rungs that take until they are let go, and as long again to put back what they found."""

    def __init__(self, *_: object) -> None:
        self.log: list[str] = []
        self.go = anyio.Event()
        self.put_back = anyio.Event()

    async def climb(self, step: RepairStep, _: object) -> RepairStepped:
        self.log.append(f"{step.rung} begins")
        try:
            await self.go.wait()
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self.put_back.wait()
            self.log.append(f"{step.rung} has put back")
            raise
        return RepairStepped(step.name, step.rung, "start", "", "k")


class Quiet:
    """A casebook that nobody reads."""

    def begun(self, *_: object) -> None: ...
    def stepped(self, *_: object) -> None: ...
    def add(self, *_: object) -> None: ...


class Scene:
    """A mender with slow rungs, and the task group in which they are climbed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rungs = SlowRungs()
        monkeypatch.setattr("supervisor.brain.mender.Rungs", lambda *_: self.rungs)
        nobody: Any = None
        quiet: Any = Quiet()
        self.mender = Mender(nobody, quiet, nobody, nobody)
        self.posted: list[Event] = []
        self.tasks: TaskGroup = anyio.create_task_group()

    def start(self, function: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> None:
        self.tasks.start_soon(function, *arguments)

    def climb(self, rung: Rung) -> None:
        self.mender.perform(RepairStep("main", rung, "b", "b"), definition(), self.posted.append, self.start)

    def cancel(self) -> None:
        self.mender.perform(CancelRepair("main"), definition(), self.posted.append, self.start)


async def settled() -> None:
    """Let every task come to where it waits."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("cancelled", ["before it began to wait", "while it waits"])
async def test_a_rung_called_off_while_it_waits_for_the_one_before_never_begins(
    monkeypatch: pytest.MonkeyPatch, cancelled: str
) -> None:
    """A stop in that moment must not be followed by a rollback of the user's config."""
    scene = Scene(monkeypatch)
    async with scene.tasks:
        scene.climb("doctor")
        await settled()
        scene.cancel()
        scene.climb("rollback")
        if cancelled == "while it waits":
            await settled()
        scene.cancel()
        await settled()
        scene.rungs.put_back.set()
        await scene.mender.finish()
    assert scene.rungs.log == ["doctor begins", "doctor has put back"]
    assert scene.posted == []


async def test_a_rung_waits_until_the_one_before_has_put_back_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    async with scene.tasks:
        scene.climb("doctor")
        await settled()
        scene.cancel()
        scene.climb("rollback")
        await settled()
        assert scene.rungs.log == ["doctor begins"]
        scene.rungs.put_back.set()
        scene.rungs.go.set()
        await scene.mender.finish()
    assert scene.rungs.log == ["doctor begins", "doctor has put back", "rollback begins"]
    assert [event.rung for event in scene.posted if isinstance(event, RepairStepped)] == ["rollback"]
