"""A whole new config from outside: it is judged beside the old one, and nothing of it stays but what was taken."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Supervise
from tests.e2e.supervised import Supervisor
from tests.e2e.world import FAKE, REPOSITORY, Gateway, World, kill

# `config validate` waits while there is a file `wait` beside the config, and then dies with no answer.
LAUNCHER = """#!/bin/sh
case "$*" in
*"config validate"*) while test -e "$OPENCLAW_STATE_DIR/wait"; do sleep 0.05; done; exit 137 ;;
esac
exec "{python}" -I "{fake}" "$@"
"""


@pytest.fixture
def main(world: World) -> Gateway:
    launcher = world.root / "openclaw"
    launcher.write_text(LAUNCHER.format(python=sys.executable, fake=FAKE))
    launcher.chmod(0o755)
    return world.define("main", command=[str(launcher)])


def put(supervisor: Supervisor, gateway: Gateway) -> subprocess.Popen[str]:
    """Begin to propose what the gateway has, with a secret in it."""
    writing = subprocess.Popen(
        supervisor.argv("config", gateway.name, "put"),
        cwd=REPOSITORY, env=supervisor.env, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert writing.stdin is not None
    writing.stdin.write(gateway.config.read_text().replace("{", '{"secret": "s3cr3t",', 1))
    writing.stdin.close()
    writing.stdin = None
    return writing


def proposals(gateway: Gateway) -> list[Path]:
    return [path for path in gateway.state_dir.iterdir() if ".proposed-" in path.name]


def test_a_config_that_cannot_be_judged_now_is_not_called_bad(main: Gateway, supervise: Supervise) -> None:
    """R25: on a machine that is short of time or memory."""
    supervisor = supervise()
    supervisor.wait_ready()
    before = main.config.read_bytes()
    writing = put(supervisor, main)
    _, said = writing.communicate(timeout=60)
    assert writing.returncode == 1
    assert "it cannot be told now: config validate: exit 137" in said
    assert "would not start" not in said
    assert "try again; nothing was changed" in said
    assert main.config.read_bytes() == before
    assert not proposals(main)


def test_a_proposal_dies_with_the_brain_that_judges_it(main: Gateway, supervise: Supervise) -> None:
    """R1: its secrets are not left in the gateway's directory."""
    supervisor = supervise()
    supervisor.wait_ready()
    (main.state_dir / "wait").touch()
    writing = put(supervisor, main)
    supervisor.wait_for(lambda: proposals(main), "it is proposed")
    kill(int(supervisor.status()["supervisor"]["pid"]))
    assert writing.wait(60) == 1
    supervisor.wait_for(lambda: not proposals(main), "the next brain forgets it")
    supervisor.wait_state("main", "ready", adopted=True)
    (main.state_dir / "wait").unlink()
    assert writing.stderr is not None
    writing.stderr.close()
