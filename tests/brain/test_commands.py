"""A short command of OpenClaw ends with all that grew from it, in time, late or cancelled; on real processes."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest

from supervisor.brain.commands import Commands
from supervisor.brain.identity import Identity
from supervisor.brain.launchers import Launchers, Place
from supervisor.brain.lives import Lives
from supervisor.host import processes
from supervisor.policy.definition import Definition

LAUNCHER = """#!/bin/sh
for way in "env -i setsid" "setsid" "env -i"; do $way sleep 600 </dev/null >/dev/null 2>&1 & echo $! >>"$PIDS"; done
(setsid sh -c 'sleep 600 & echo $! >>"$PIDS"' </dev/null >/dev/null 2>&1 &)
while [ "$(wc -l <"$PIDS")" -lt 4 ]; do sleep 0.01; done
echo "said $*"
"""


class Scene:
    """A launcher whose every call leaves four processes behind, and the commands that run it."""

    def __init__(self, root: Path) -> None:
        self.pids = root / "pids"
        launcher = root / "openclaw"
        launcher.write_text(LAUNCHER)
        launcher.chmod(0o755)
        home = root / "state"
        home.mkdir()
        names = {"name": "main", "port": 18789, "profile": "main", "command": (str(launcher),)}
        places = {"state_dir": str(home), "config_path": str(home / "openclaw.json")}
        self.definition = Definition.model_validate({**names, **places})
        place = Place(root, root / "s", str(root), {"PATH": os.environ["PATH"]})
        lives = Lives(Identity(f"test{os.getpid()}", "seed"), None)
        self.commands = Commands(Launchers(place), lives, lambda _: {"PIDS": str(self.pids)})

    def lingers(self, then: str) -> None:
        """From now on the launcher itself goes on so."""
        path = Path(self.definition.command[0])
        path.write_text(f"{LAUNCHER}{then}\n")

    async def tree(self) -> list[int]:
        """The processes that the launcher has left, once all four are there."""
        await until(lambda: self.pids.exists() and len(self.pids.read_text().split()) == 4)
        return [int(pid) for pid in self.pids.read_text().split()]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def gone(pid: int) -> bool:
    return processes.is_zombie(pid) or not Path(f"/proc/{pid}").exists()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - other processes tell nobody
            await anyio.sleep(0.01)


async def test_what_a_command_leaves_behind_ends_with_it(scene: Scene) -> None:
    result = await scene.commands.run(scene.definition, ("openclaw", "doctor"), 20)

    assert isinstance(result, processes.Finished)
    assert (result.code, result.output) == (0, "said --profile main doctor\n")
    for pid in await scene.tree():
        assert gone(pid)


async def test_a_command_that_is_late_is_killed_with_its_whole_tree(scene: Scene) -> None:
    """Also those in a session of their own, with an environment that tells nothing."""
    scene.lingers("exec sleep 600")
    result = await scene.commands.run(scene.definition, ("openclaw", "doctor"), 1)

    assert isinstance(result, processes.Finished)
    assert result.code is None
    for pid in await scene.tree():
        await until(partial(gone, pid))


async def test_a_command_that_is_given_up_is_killed_with_its_whole_tree(scene: Scene) -> None:
    scene.lingers("exec sleep 600")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scene.commands.run, scene.definition, ("openclaw", "doctor"), 600)
        await scene.tree()
        tasks.cancel_scope.cancel()

    for pid in await scene.tree():
        await until(partial(gone, pid))


async def test_two_commands_of_a_gateway_do_not_end_each_other(scene: Scene) -> None:
    scene.lingers("sleep 0.5; echo done")
    results: list[processes.Finished | processes.NotSpawned] = []

    async def run(seconds: float) -> None:
        results.append(await scene.commands.run(scene.definition, ("openclaw", "doctor"), seconds))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, 0.05)
        tasks.start_soon(run, 20)

    codes = [result.code for result in results if isinstance(result, processes.Finished)]
    assert codes == [None, 0]


async def test_a_launcher_that_is_not_there_is_said(scene: Scene) -> None:
    definition = scene.definition.model_copy(update={"command": ("no-such-openclaw",)})
    result = await scene.commands.run(definition, ("openclaw", "doctor"), 1)

    assert isinstance(result, processes.NotSpawned)
    assert "no such launcher" in result.reason
