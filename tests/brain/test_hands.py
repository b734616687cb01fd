"""What hands owe to whoever comes after them; on real processes, with the keeper's end of the line in our own hands."""

import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from supervisor.brain.hands import Hands
from supervisor.brain.identity import Identity
from supervisor.brain.launchers import Place
from supervisor.host import locks, processes
from supervisor.host.line import Line
from supervisor.policy.actions import Kill, Spawn, Sweep
from supervisor.policy.definition import Definition
from supervisor.policy.events import Adopted, Event, Exited, Spawned
from supervisor.policy.state import Life

LAUNCHER = """#!/bin/sh
case "$1" in --version) echo OpenClaw 2026.9.6; exit 0; esac
echo last words
(env -i setsid sleep 600 </dev/null >/dev/null 2>&1 &)
{then}
"""
IDENTITY = Identity(f"test{os.getpid()}", "seed")


@pytest.fixture(autouse=True)
def any_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest has many low descriptors open, and these gateways have no children of Node's to inherit a lock."""
    monkeypatch.setattr(locks.LowSlot, "highest", 1000)


class Scene:
    """Hands at work on one gateway, and what they have told."""

    def __init__(self, root: Path, port: int, then: str) -> None:
        (root / "s" / "logs").mkdir(parents=True)
        (root / "state").mkdir()
        launcher = root / "openclaw"
        launcher.write_text(LAUNCHER.format(then=then))
        launcher.chmod(0o755)
        self.definition = Definition.model_validate(
            {
                "name": "main",
                "port": port,
                "profile": "main",
                "command": (str(launcher),),
                "state_dir": str(root / "state"),
                "config_path": str(root / "state" / "openclaw.json"),
            }
        )
        keeper, brain = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.keeper = keeper
        self.line = Line(brain.detach())
        self.slot = locks.LowSlot()
        place = Place(root / "conf.d", root / "s", str(Path(sys.executable).parent), {"PATH": "/usr/bin:/bin"})
        self.hands = Hands(place, IDENTITY, self.line, self.slot, lambda definition: definition.env)
        self.told: list[Event] = []
        self.log = root / "s" / "logs" / "main.log"

    async def wait_told(self, kind: type[Event]) -> Event:
        with anyio.fail_after(20):
            while True:
                for event in self.told:
                    if isinstance(event, kind):
                        return event
                await anyio.sleep(0.01)

    def of_life(self, life: int) -> set[int]:
        mark = IDENTITY.mark(IDENTITY.token("main", life))
        return {pid for pid in processes.pids() if processes.mark_of(pid) == mark and not processes.is_zombie(pid)}


@asynccontextmanager
async def scene(root: Path, port: int, then: str) -> AsyncIterator[Scene]:
    made = Scene(root, port, then)
    async with anyio.create_task_group() as tasks:
        await tasks.start(made.hands.run, made.told.append)
        tasks.start_soon(made.line.listen, lambda _: None)
        try:
            yield made
        finally:
            made.hands.perform(Kill("main", 1), made.definition)
            await made.hands.finish()
            tasks.cancel_scope.cancel()
    made.line.close()
    made.keeper.close()
    made.slot.close()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_end_is_told_with_its_last_words_and_stays_to_be_learnt_until_it_is_on_record(
    tmp_path: Path, base_port: int
) -> None:
    """R27: the zombie goes with the Sweep, which is performed only when the decision has been written down."""
    async with scene(tmp_path, base_port, "exit 7") as made:
        made.hands.perform(Spawn("main", 1), made.definition)
        exited = await made.wait_told(Exited)
        spawned = await made.wait_told(Spawned)
        assert isinstance(exited, Exited)
        assert isinstance(spawned, Spawned)
        assert (exited.code, exited.signal) == (7, None)
        assert made.log.read_text() == "last words\n"
        assert processes.is_zombie(spawned.pid)
        made.hands.perform(Sweep("main", 1), made.definition)
        assert processes.start_ticks(spawned.pid) is None


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_successor_is_born_within_the_action_itself(tmp_path: Path, base_port: int) -> None:
    """R23: its launcher is known and nothing stands in the way, so that nothing has to be waited for."""
    async with scene(tmp_path, base_port, "exit 7") as made:
        made.hands.perform(Spawn("main", 1), made.definition)
        await made.wait_told(Exited)
        made.hands.perform(Sweep("main", 1), made.definition)
        await made.hands.finish()
        made.hands.perform(Spawn("main", 2), made.definition)
        assert made.hands.lives.of("main", 2) is not None
        assert [event for event in made.told if isinstance(event, Spawned)][-1].life == 2
        made.hands.perform(Kill("main", 2), made.definition)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_to_finish_waits_for_a_sweep_that_was_asked_for_in_the_same_breath(
    tmp_path: Path, base_port: int
) -> None:
    """R26: the last gateway's end and the supervisor's own are one decision."""
    async with scene(tmp_path, base_port, "exit 0") as made:
        made.hands.perform(Spawn("main", 1), made.definition)
        await made.wait_told(Exited)
        assert made.of_life(1)
        made.hands.perform(Sweep("main", 1), made.definition)
        await made.hands.finish()
        assert not made.of_life(1)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_adopted_life_is_watched_and_its_output_moved_from_the_first_moment(
    tmp_path: Path, base_port: int
) -> None:
    """R25: also one that nobody probes, because it is stopping."""
    async with scene(tmp_path, base_port, "while :; do echo line; sleep 0.05; done") as made:
        made.hands.perform(Spawn("main", 1), made.definition)
        spawned = await made.wait_told(Spawned)
        assert isinstance(spawned, Spawned)
        recorded = Life(1, 0.0, spawned.pid, spawned.start_ticks)
        second = Hands(
            Place(tmp_path / "conf.d", tmp_path / "t", str(tmp_path), {"PATH": "/usr/bin:/bin"}),
            IDENTITY,
            made.line,
            made.slot,
            lambda definition: definition.env,
        )
        told: list[Event] = []
        async with anyio.create_task_group() as tasks:
            await tasks.start(second.run, told.append)
            assert second.adopt("main", made.definition, recorded, 1) == Adopted(
                "main", 1, spawned.pid, spawned.start_ticks
            )
            assert list(second.outputs.logs) == ["main"]
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_life_that_ends_in_mid_line_leaves_the_next_one_a_line_of_its_own(
    tmp_path: Path, base_port: int
) -> None:
    """R24."""
    async with scene(tmp_path, base_port, "printf half; exit 7") as made:
        for life in (1, 2):
            made.hands.perform(Spawn("main", life), made.definition)
            exited = await made.wait_told(Exited)
            assert isinstance(exited, Exited)
            assert exited.life == life
            made.told.clear()
            made.hands.perform(Sweep("main", life), made.definition)
        assert made.log.read_text() == "last words\nhalf\nlast words\nhalf"
