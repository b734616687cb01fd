"""README's recipe for a new OpenClaw: beside the old one, one gateway at a time, and back again."""

import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Supervise
from tests.e2e.supervised import Supervisor
from tests.e2e.world import FAKE, World


@pytest.fixture
def supervisor(world: World, supervise: Supervise) -> Supervisor:
    """Main and rescue on an installation called old; new is there too, and bad does not start."""
    for name, line in (("old", ""), ("new", ""), ("bad", '[ "$1" = --version ] || exit 9\n')):
        launcher = world.root / name / "openclaw"
        launcher.parent.mkdir()
        launcher.write_text(f'#!/bin/sh\n{line}exec {sys.executable} -I {FAKE} "$@"\n')
        launcher.chmod(0o755)
    for name in ("main", "rescue"):
        world.define(name, role=name, command=[f"{world.root}/old/openclaw"])
    running = supervise()
    running.wait_ready()
    return running


def use(definition: Path, version: str) -> None:
    """What a person edits: the directory in `command`."""
    lines = definition.read_text().splitlines()
    launcher = definition.parents[2] / version / "openclaw"
    kept = [line if not line.startswith("command") else f'command = ["{launcher}"]' for line in lines]
    definition.write_text("\n".join(kept) + "\n")


def pids(supervisor: Supervisor) -> dict[str, int]:
    return {name: supervisor.gateway(name)["pid"] for name in ("main", "rescue")}


def test_a_new_version_reaches_the_gateway_whose_command_changed_and_no_other(
    world: World, supervisor: Supervisor
) -> None:
    """R24, R28: the rescue stays on what is known to work."""
    before = pids(supervisor)
    use(world.gateways["main"].definition, "new")
    assert supervisor.cli("reload").returncode == 0
    after = pids(supervisor)
    assert after["rescue"] == before["rescue"]
    assert after["main"] != before["main"]
    path = world.gateways["main"].lives()[-1]["env"]["PATH"]
    assert path.startswith(f"{world.root}/new:")


def test_a_version_that_does_not_start_is_taken_back(world: World, supervisor: Supervisor) -> None:
    """R25, R28: the reload tells that it failed, the rescue is untouched, and the old line brings main back."""
    before = pids(supervisor)
    definition = world.gateways["main"].definition
    use(definition, "bad")
    assert supervisor.cli("reload").returncode == 1
    assert supervisor.gateway("rescue")["pid"] == before["rescue"]
    use(definition, "old")
    supervisor.cli("reload")
    supervisor.wait_ready()
    assert supervisor.gateway("rescue")["pid"] == before["rescue"]
