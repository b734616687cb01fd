"""What the config guard asks of OpenClaw about a file that has changed, and how often; with a launcher that counts."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from trio.testing import MockClock

from supervisor.brain.commands import Commands
from supervisor.brain.guard import ASKED_AGAIN, VALIDATE_S, Guard
from supervisor.brain.identity import Identity
from supervisor.brain.launchers import Launchers, Place
from supervisor.brain.lives import Lives
from supervisor.host.config_files import proposal
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

    def __init__(self, root: Path, validate_s: float = VALIDATE_S) -> None:
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
        self.guard = Guard(place, launchers, commands, validate_s=validate_s, again_s=0.2)
        key = Content(((str(self.config), GOOD),)).key
        life = Life(1, 0.0, 1, 1, started=0.0, config=RunsOn(key, key, key, 0.0))
        self.child = Child("main", self.definition, Ready(life, 0.0, 0.0), 0.0)
        self.notes: list[Line] = []
        self.says("", 1)

    def says(self, text: str, code: int | None) -> None:
        """What `config validate` answers from now on, and its exit code: with None, it never ends."""
        self.answer.write_text(text)
        ends = Path(f"{self.answer}.code")
        ends.unlink(missing_ok=True)
        if code is None:
            os.mkfifo(ends)
        else:
            ends.write_text(str(code))

    def times(self) -> int:
        """How often it was asked."""
        return len(self.asked.read_text().splitlines()) if self.asked.exists() else 0

    def note(self, lines: Sequence[Line]) -> None:
        self.notes += lines

    async def watches(self, seconds: float, *others: Child) -> None:
        """Let the guard look for so long, or until it has said something."""
        children = {child.name: child for child in (self.child, *others)}
        self.guard.turns.attach(lambda: children)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.guard.watch, self.note)
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
    now = anyio.current_time()
    other = Child("other", None, Starting(Life(1, now), now + 100, now), now)
    await scene.watches(2, other)
    assert scene.times() == 0


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})])
async def test_a_file_that_never_rests_is_not_asked_about(scene: Scene) -> None:
    """Whoever waits for a verdict is told so after ten seconds, and nothing is known against the file."""
    async with anyio.create_task_group() as tasks:

        async def write() -> None:
            for number in range(1000):
                scene.config.write_bytes(EDIT + b" " * number)
                await anyio.sleep(0.5)

        tasks.start_soon(write)
        verdict = await scene.guard.verdict(scene.definition)
        assert (verdict.valid, verdict.why) == (None, "the file keeps changing")
        assert scene.times() == 0
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(("hot", "proven"), [(True, False), (False, True)])
def test_only_what_was_booted_is_proven_to_boot(scene: Scene, *, hot: bool, proven: bool) -> None:
    """A running gateway that was reloaded into a config says nothing about the next start on it."""
    key = scene.guard.key(scene.definition)
    scene.guard.promote(scene.definition, key, hot=hot)

    assert scene.guard.refused(scene.definition, [], key).proven is proven


@pytest.mark.parametrize(("until", "shown"), [(None, "bad"), (900.0, "pending")])
def test_a_config_that_was_not_to_blame_is_not_shown_as_bad(scene: Scene, until: float | None, shown: str) -> None:
    """Blocked for what a newer OpenClaw wrote, say; then there is an instant to try again."""
    obstacle = Obstacle("config", Cause.CONFIG, "why", "mend", scene.guard.key(scene.definition))
    assert scene.guard.status(replace(scene.child, state=Blocked(obstacle, until))) == shown


async def test_what_ran_out_of_time_is_no_verdict_whatever_it_had_said(tmp_path: Path) -> None:
    """On a busy machine `config validate` may take longer than it is given: it is asked again, and no config is bad for that."""
    scene = Scene(tmp_path, validate_s=1.0)
    scene.says(INVALID, None)
    scene.config.write_bytes(EDIT)
    verdict = await scene.guard.asked(scene.definition)
    assert (verdict.valid, verdict.why) == (None, "config validate ran out of time")
    assert scene.guard.status(scene.child) == "pending"

    scene.says(INVALID, 1)
    with anyio.fail_after(30):
        while verdict.valid is None:
            verdict = await scene.guard.asked(scene.definition)
    assert (verdict.valid, scene.guard.status(scene.child)) == (False, "bad")
    assert scene.times() >= 2


def test_a_proposal_that_a_killed_brain_left_goes_with_the_first_look(scene: Scene) -> None:
    """R1: it has the config's secrets; one that is judged now stays."""
    left, present = (Path(proposal(str(scene.config))) for _ in range(2))
    left.touch()
    scene.guard.key(scene.definition)
    assert not left.exists()
    present.touch()
    scene.guard.key(scene.definition)
    assert present.exists()
