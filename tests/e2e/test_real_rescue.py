"""The rescue mends main: a real agent, driven by a scripted model, with nothing but the verbs that the supervisor gives it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from supervisor.host import hooks
from supervisor.openclaw import rescuing
from tests import real_openclaw
from tests.e2e.supervised import Supervisor
from tests.e2e.world import REPOSITORY, World, kill
from tests.model_stub import MODEL
from tests.ports import Ports

READY_S = 240
HOOKS_TOKEN = "hooks-1234567890"  # noqa: S105 (of the test)
REAL = {"start": {"timeout": 300}, "stop": {"timeout": 60}, "probe": {"interval": 1, "timeout": 10, "failures": 8}}

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

Play = Callable[[str, list[str]], list[str]]

# What a good agent does: the facts, the lint, the smallest change, the check. It never sees a secret of main.
MENDING = [
    "cat inbox/*.md",
    "clawsup why main --json",
    "clawsup exec main -- openclaw config validate --json",
    "(clawsup config main show; echo '}') | clawsup config main put --json",
    "timeout 100 sh -c 'until clawsup status main >/dev/null; do sleep 1; done'; clawsup status main",
    "clawsup resolve main --note 'a brace was missing' --json",
]


def define(world: World, openclaw: real_openclaw.RealOpenClaw, name: str, model_port: int, **keys: Any) -> None:
    """A real gateway whose agent asks the model on that port."""
    sections = {**REAL, "repair": {"steps": keys.pop("steps", [])}}
    gateway = world.define(name, sections=sections, command=[str(openclaw.launcher)], **keys)
    real_openclaw.write_config(gateway.config, gateway.port)
    config = json.loads(gateway.config.read_text(encoding="utf-8"))
    provider = {
        "baseUrl": f"http://127.0.0.1:{model_port}/v1",
        "apiKey": "key-of-the-stub",
        "models": [{"id": MODEL, "name": "Stub"}],
    }
    config["models"] = {"providers": {"stub": provider}}
    config["agents"]["defaults"] |= {"model": {"primary": f"stub/{MODEL}"}, "skipBootstrap": True}
    if name == "rescue":
        config["hooks"] = {"enabled": True, "token": "${RESCUE_HOOKS_TOKEN}", "path": "/hooks"}
    gateway.config.write_text(json.dumps(config, indent=1), encoding="utf-8")


@pytest.fixture(scope="module")
def script() -> Iterator[Path]:
    """What the model plays; see tests/model_stub.py."""
    directory = Path(tempfile.mkdtemp(prefix="cs-"))
    yield directory / "script.json"
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def supervisor(openclaw: real_openclaw.RealOpenClaw, ports: Ports, script: Path) -> Iterator[Supervisor]:
    model_port = ports.take()
    model = [sys.executable, str(REPOSITORY / "tests" / "model_stub.py"), str(model_port), str(script)]
    world = World(Path(tempfile.mkdtemp(prefix="cs-")), ports)
    define(world, openclaw, "main", model_port, role="main", steps=["rescue"])
    # As README says it may be run: its own config is read-only to it, and its hook's token is kept out of the file.
    env = {"OPENCLAW_CONFIG_READONLY": "1", "RESCUE_HOOKS_TOKEN": HOOKS_TOKEN}
    define(world, openclaw, "rescue", model_port, role="rescue", env=env)
    world.define("ops")
    running = Supervisor(world)
    with subprocess.Popen(model, env={"PATH": os.defpath}) as stub:
        running.start()
        yield running
        running.stop()
        stub.kill()
    strays = world.strays()
    shutil.rmtree(world.root)
    assert not strays, f"processes left behind, now killed: {strays}"


def ask(supervisor: Supervisor, gateway: str) -> None:
    """Say `play` to a gateway's agent: the rescue through its hook, which does not wait, another as an operator would."""
    if gateway == "rescue":
        port, body = supervisor.world.gateways[gateway].port, rescuing.body("play")
        # A gateway that has no time for it answers 503.
        supervisor.wait_for(lambda: anyio.run(post, port, HOOKS_TOKEN, body) == 200, "its hook takes the word", READY_S)
        return
    words = ("exec", gateway, "--", "openclaw", "agent", "--agent", "main", "--message", "play", "--json")
    asked = supervisor.cli(*words, timeout_s=READY_S)
    assert asked.returncode == 0, asked.stderr + asked.stdout


async def post(port: int, token: str, body: bytes) -> int | str:
    return await hooks.post(port, "/hooks/agent", token, body, tls=False)


def answers(script: Path, count: int) -> list[str]:
    """What the tools have answered, once there are so many."""
    said = script.with_suffix(".said")
    lines = said.read_text(encoding="utf-8").splitlines() if said.exists() else []
    return [str(json.loads(line)) for line in lines] if len(lines) >= count else []


@pytest.fixture
def play(supervisor: Supervisor, script: Path) -> Play:
    """Have a gateway's agent run commands, and give what its tool answered to each, once the last one has."""

    def played(gateway: str, commands: list[str]) -> list[str]:
        supervisor.wait_ready(deadline_s=READY_S)
        script.write_text(json.dumps([[["play"], commands]]), encoding="utf-8")
        script.with_suffix(".said").unlink(missing_ok=True)
        ask(supervisor, gateway)
        said = supervisor.wait_for(lambda: answers(script, len(commands)), f"the answers to {commands}", READY_S)
        return list(said)

    return played


def refusals(supervisor: Supervisor, caller: str) -> set[tuple[str, str | None]]:
    """What a gateway's agent was refused: verb and gateway."""
    return {(str(e["verb"]), e["gateway"]) for e in supervisor.named("call_refused") if e["caller"] == caller}


def test_the_rescue_is_proven_hot_and_to_ask_starts_no_turn(supervisor: Supervisor, script: Path) -> None:
    """R9, R28: OpenClaw's own listing has the skill, its hook takes the token and no other; the model hears of none of that."""
    supervisor.wait_ready(["rescue"], deadline_s=READY_S)
    enabled = supervisor.cli("rescue", "enable")
    assert enabled.returncode == 0, enabled.stderr
    facts = json.loads(supervisor.cli("rescue", "status", "--json").stdout)
    warnings = json.dumps(facts.pop("warnings"))
    assert facts == {
        "schema": 1,
        "gateway": "rescue",
        "state": "ready",
        "patients": ["main"],
        "skill": "installed",
        "skill_loaded": True,
        "called_by": "hook",
        "hook": "answers",
        "install": "shared",
        "provider": "shared",
        "config": "read-only",
        "could_be_called": True,
    }
    assert "depend on one model provider, stub" in warnings
    assert "use the same provider key" in warnings
    port = supervisor.world.gateways["rescue"].port
    assert anyio.run(post, port, HOOKS_TOKEN, rescuing.PROOF) == 400
    assert anyio.run(post, port, "another-token", rescuing.PROOF) == 401
    assert not script.with_suffix(".said").exists()


def test_the_rescues_agent_is_refused_what_is_not_a_repair(supervisor: Supervisor, play: Play) -> None:
    """R9, R28: a healthy patient, another's gateway and a secret; each is in the journal."""
    pids = {name: entry["pid"] for name, entry in supervisor.wait_ready(deadline_s=READY_S).items()}
    said = play(
        "rescue",
        [
            "clawsup stop main",
            "clawsup restart ops",
            "clawsup exec main -- openclaw config get gateway.auth.token",
            "clawsup logs ops",
        ],
    )
    port = supervisor.world.gateways["main"].port
    assert "for the operator" in said[0], said
    assert "no patient of rescue" in said[1], said
    assert "only a patient that is down" in said[2], said
    assert "no patient of rescue" in said[3], said
    assert f"token-{port}" not in "".join(said)
    assert refusals(supervisor, "rescue") >= {("stop", "main"), ("restart", "ops"), ("exec", "main"), ("logs", "ops")}
    assert {name: entry["pid"] for name, entry in supervisor.wait_ready().items()} == pids


def test_mains_agent_is_no_rescue_whatever_it_says(supervisor: Supervisor, play: Play) -> None:
    """R9: neither a name in the environment nor the rescue's own token makes it one."""
    token = next(
        entry.partition(b"=")[2].decode()
        for entry in Path(f"/proc/{supervisor.gateway('rescue')['pid']}/environ").read_bytes().split(b"\0")
        if entry.startswith(b"CLAWSUP_RUN=")
    )
    said = play(
        "main",
        [
            "CLAWSUP_GATEWAY=rescue OPENCLAW_PROFILE=rescue clawsup config rescue rollback",
            f"CLAWSUP_RUN={token} clawsup restart rescue",
        ],
    )
    assert "main is no rescue" in said[0], said
    assert "may only see the status" in said[1], said
    assert ("rollback", "rescue") in refusals(supervisor, "main")
    assert ("restart", "rescue") in refusals(supervisor, "observer")


def test_the_rescue_mends_a_config_that_nothing_else_could(supervisor: Supervisor, script: Path) -> None:
    """R9, R25, R28: main falls on a damaged config, its rescue is called, puts a whole one, and main is ready again."""
    before = supervisor.wait_ready(deadline_s=READY_S)
    script.write_text(json.dumps([[["clawsup calls its rescue"], MENDING]]), encoding="utf-8")
    script.with_suffix(".said").unlink(missing_ok=True)
    config = supervisor.world.gateways["main"].config
    whole = config.read_text(encoding="utf-8")
    config.write_text(whole.rstrip().removesuffix("}"), encoding="utf-8")
    kill(before["main"]["pid"])
    supervisor.wait_for(lambda: supervisor.named("rescue_called"), "the rescue is called", READY_S)
    supervisor.wait_for(
        lambda: supervisor.gateway("main")["pid"] not in (None, before["main"]["pid"]), "a new main", READY_S
    )
    supervisor.wait_state("main", "ready", deadline_s=READY_S)
    assert json.loads(config.read_text(encoding="utf-8"))["gateway"] == json.loads(whole)["gateway"]
    assert supervisor.gateway("rescue")["pid"] == before["rescue"]["pid"]

    def noted() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(supervisor.cli("incidents", "main", "--json").stdout)["incidents"][0]
        return found if "rescue_note" in found else {}

    account = supervisor.wait_for(noted, "the rescue's note", READY_S)
    assert account["rescue_note"] == "a brace was missing"
    assert [(step["rung"], step["outcome"]) for step in account["tried"]] == [("rescue", "start")]
    assert account["ended"].startswith("mended"), account
    assert ("put", "rescue") in {(e["verb"], e["caller"]) for e in supervisor.named("call_obeyed")}
    assert f"token-{supervisor.world.gateways['main'].port}" not in script.with_suffix(".said").read_text("utf-8")
