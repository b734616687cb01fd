"""What the config guard asks of OpenClaw about a file that has changed, and how often; with a launcher that counts."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from supervisor.brain.commands import Commands
from supervisor.brain.guard import ASKED_AGAIN, Guard
from supervisor.brain.identity import Identity
from supervisor.brain.launchers import Launchers, Place
from supervisor.brain.lives import Lives
from supervisor.openclaw.content import Content
from supervisor.policy.definition import Definition
from supervisor.policy.facts import Cause, Obstacle
from supervisor.policy.record import Line
from supervisor.policy.state import Blocked, Child, Life, Ready, RunsOn, Starting

LAUNCHER = """#!/bin/sh
echo "$*" >>"$ASKED"
cat "$ANSWER"
exit "$(cat "$ANSWER.code")"
"""
INVALID = '{"ok":false,"valid":false,"issues":[{"path":"gateway.port","message":"expected number"}]}'
GOOD = b'{"gateway": {"mode": "local"}, "meta": {}}'
EDIT = b'{"gateway": {"mode": "local", "port": "x"}, "meta": {}}'


class Scene:
    """A gateway that runs on GOOD, its file, and a guard that asks again after a moment."""

    def __init__(self, root: Path) -> None:
        self.asked = root / "asked"
        self.answer = root / "answer"
        launcher = root / "openclaw"
        launcher.write_text(LAUNCHER)
        launcher.chmod(0o755)
        home = root / "state"
        home.mkdir()
        self.config = home / "openclaw.json"
        self.config.write_bytes(GOOD)
        names = {"name": "main", "port": 18789, "profile": "main", "command": (str(launcher),)}
        places = {"state_dir": str(home), "config_path": str(self.config)}
        self.definition = Definition.model_validate({**names, **places})
        place = Place(root, root / "s", str(root), {"PATH": os.environ["PATH"]})
        launchers = Launchers(place)
        told = {"ASKED": str(self.asked), "ANSWER": str(self.answer)}
        commands = Commands(launchers, Lives(Identity(f"test{os.getpid()}", "seed"), None), lambda _: told)
        self.guard = Guard(place, launchers, commands, again_s=0.2)
        key = Content(((str(self.config), GOOD),)).key
        life = Life(1, 0.0, 1, 1, started=0.0, config=RunsOn(key, key, key, 0.0))
        self.child = Child("main", self.definition, Ready(life, 0.0, 0.0), 0.0)
        self.notes: list[Line] = []
        self.says("", 1)

    def says(self, text: str, code: int) -> None:
        """What `config validate` answers from now on."""
        self.answer.write_text(text)
        Path(f"{self.answer}.code").write_text(str(code))

    def times(self) -> int:
        """How often it was asked."""
        return len(self.asked.read_text().splitlines()) if self.asked.exists() else 0

    def note(self, lines: Sequence[Line]) -> None:
        self.notes += lines

    async def watches(self, seconds: float, *others: Child) -> None:
        """Let the guard look for so long, or until it has said something."""
        children = {child.name: child for child in (self.child, *others)}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.guard.watch, lambda: children, self.note)
            with anyio.move_on_after(seconds):
                while not self.notes:  # noqa: ASYNC110 - a list tells nobody
                    await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_an_invalid_edit_is_told_once_and_shown_as_bad(scene: Scene) -> None:
    scene.says(INVALID, 1)
    scene.config.write_bytes(EDIT)
    await scene.watches(30)

    assert [(line.event, line.fields["why"]) for line in scene.notes] == [
        ("config_bad", "gateway.port: expected number")
    ]
    assert scene.guard.status(scene.child) == "bad"
    scene.notes.clear()
    await scene.watches(2)
    assert (scene.notes, scene.times()) == ([], 1)


async def test_what_could_not_be_told_is_asked_again_and_then_known(scene: Scene) -> None:
    """Out of time, out of memory, a state that a newer OpenClaw wrote: none of them is a verdict."""
    scene.says("Killed", 137)
    scene.config.write_bytes(EDIT)
    await scene.watches(2.5)
    assert scene.notes == []
    assert scene.times() >= 1
    assert scene.guard.status(scene.child) == "pending"

    scene.says(INVALID, 1)
    await scene.watches(30)
    assert [line.event for line in scene.notes] == ["config_bad"]


async def test_it_is_not_asked_for_ever(scene: Scene) -> None:
    scene.says("Killed", 137)
    scene.config.write_bytes(EDIT)
    await scene.watches(30)

    assert [(line.event, line.fields["why"]) for line in scene.notes] == [
        ("config_pending", "config validate: exit 137")
    ]
    await scene.watches(2)
    assert scene.times() == 1 + ASKED_AGAIN


async def test_nothing_is_asked_while_a_gateway_starts(scene: Scene) -> None:
    scene.says(INVALID, 1)
    scene.config.write_bytes(EDIT)
    other = Child("other", None, Starting(Life(1, 0.0), 100.0, 0.0), 0.0)
    await scene.watches(2, other)
    assert scene.times() == 0


@pytest.mark.parametrize(("until", "shown"), [(None, "bad"), (900.0, "pending")])
def test_a_config_that_was_not_to_blame_is_not_shown_as_bad(scene: Scene, until: float | None, shown: str) -> None:
    """Blocked for what a newer OpenClaw wrote, say; then there is an instant to try again."""
    obstacle = Obstacle("config", Cause.CONFIG, "why", "mend", scene.guard.key(scene.definition))
    assert scene.guard.status(replace(scene.child, state=Blocked(obstacle, until))) == shown
