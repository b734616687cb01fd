"""The rescue and its patients, with the fake OpenClaw: an agent's shell is a child of its gateway's process."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Supervise
from tests.e2e.supervised import Supervisor
from tests.e2e.world import REPOSITORY, Gateway, World, wait_for

BROKEN = '{"gateway": {"mode": "local", "auth": {"token": "a-secret-of-main"}'

Shell = Callable[[str, str], str]


@pytest.fixture
def place(world: World) -> World:
    """A main whose only rung is the rescue, the rescue, and a gateway that is nobody's patient."""
    world.define("main", role="main", sections={"repair": {"steps": ["rescue"]}})
    world.define("rescue", role="rescue")
    world.define("ops")
    return world


@pytest.fixture
def running(place: World, supervise: Supervise) -> Supervisor:
    assert place.gateways
    supervisor = supervise()
    supervisor.wait_ready()
    return supervisor


def clawsup() -> str:
    """The command as it stands in a script."""
    return f"PYTHONPATH={shlex.quote(str(REPOSITORY))} {shlex.quote(sys.executable)} -m supervisor"


def play(gateway: Gateway, knob: str, script: str) -> Path:
    """Give the gateway's shell a script; what it says will be in the file that this gives."""
    said = gateway.fake_dir / "said"
    said.unlink(missing_ok=True)
    draft = gateway.fake_dir / "draft"
    done = shlex.quote(str(gateway.fake_dir / "agent.done"))
    text = script.replace("clawsup", clawsup())
    draft.write_text(f'({text}) >{said}.new 2>&1; echo "exit $?" >>{said}.new; mv {said}.new {said}; touch {done}\n')
    draft.rename(gateway.fake_dir / knob)
    return said


@pytest.fixture
def shell(running: Supervisor) -> Shell:
    """Run a script in a gateway's own shell, and give what it said and `exit N`."""

    def ran(name: str, script: str) -> str:
        said = play(running.world.gateways[name], "shell", script)
        wait_for(said.exists, f"{script} in the shell of {name}", 30, running.story)
        return said.read_text(encoding="utf-8")

    return ran


def refused(supervisor: Supervisor) -> list[tuple[str, str, str | None]]:
    return [(e["caller"], e["verb"], e["gateway"]) for e in supervisor.named("call_refused")]


REFUSED = {
    "clawsup stop main": "for the operator",
    "clawsup restart main": "only a patient that is down",
    "clawsup restart ops": "no patient of rescue",
    "clawsup logs ops": "no patient of rescue",
    "clawsup config ops show": "no patient of rescue",
    "clawsup config main rollback": "only a patient that is down",
    "echo '{}' | clawsup config main put": "only a patient that is down",
    "clawsup exec main -- cat /etc/passwd": "only a patient that is down",
    "clawsup reload": "for the operator",
    "clawsup remove main": "for the operator",
}


def test_the_rescue_is_refused_what_is_no_repair(running: Supervisor, shell: Shell) -> None:
    """R9: with the reason, and a line in the journal."""
    before = {name: running.gateway(name)["pid"] for name in running.world.gateways}
    said = shell("rescue", "; ".join(f"{script}; echo ended $?" for script in REFUSED)).split("ended 1\n")
    assert len(said) == len(REFUSED) + 1, said
    for (script, why), answer in zip(REFUSED.items(), said, strict=False):
        assert why in answer, script
    assert [caller for caller, _, _ in refused(running)] == ["rescue"] * len(REFUSED)
    assert {name: running.gateway(name)["pid"] for name in running.world.gateways} == before


def test_main_is_no_rescue_and_may_restart_only_itself(running: Supervisor, shell: Shell) -> None:
    """R9: neither a name, nor a cleared environment, nor a stolen token changes that."""
    token = running.world.gateways["rescue"].lives()[-1]["env"]["CLAWSUP_RUN"]
    places = f"--conf-dir {running.world.conf_dir} --state-dir {running.state_dir}"
    assert "main is no rescue" in shell("main", "CLAWSUP_GATEWAY=rescue clawsup restart rescue")
    assert "main is no rescue" in shell("main", f"env -i {clawsup()} {places} restart rescue")
    assert "carries the sign of another" in shell("main", f"CLAWSUP_RUN={token} clawsup restart rescue")
    # The shell ends with the gateway that it restarts, so its word is not waited for.
    pid = running.gateway("main")["pid"]
    play(running.world.gateways["main"], "shell", "clawsup restart main --no-wait")
    running.wait_for(lambda: running.gateway("main")["pid"] not in (None, pid), "a new main")
    assert ("restart", "main") in {(e["verb"], e["caller"]) for e in running.named("call_obeyed")}


def test_a_daemon_that_left_its_gateway_may_only_see_the_status(running: Supervisor) -> None:
    """R9: it ends below the keeper, where no gateway is; a cleared environment does not help it."""
    rescue = running.world.gateways["rescue"]
    places = f"--conf-dir {running.world.conf_dir} --state-dir {running.state_dir}"
    inner = f"{rescue.fake_dir}/inner"
    Path(inner).write_text(
        f"sleep 0.5; {clawsup()} {places} restart main >{inner}.new 2>&1; mv {inner}.new {inner}.said\n"
    )
    play(rescue, "shell", f"env -i PATH=/usr/bin:/bin setsid sh {inner} >/dev/null 2>&1 &")
    said = wait_for(lambda: Path(f"{inner}.said").exists() and Path(f"{inner}.said").read_text(), "the daemon", 30)
    assert "may only see the status" in said
    assert refused(running) == [("observer", "restart", "main")]


def damage(running: Supervisor) -> None:
    """Break main's config and let it fall."""
    main = running.world.gateways["main"]
    main.config.write_text(BROKEN, encoding="utf-8")
    main.tell("exit-1")


def incident(running: Supervisor) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(running.cli("incidents", "main", "--json").stdout)["incidents"][0]
    return found


def test_the_rescue_is_called_and_mends_main(running: Supervisor) -> None:
    """R9, R25, R28: it reads its letter, puts a whole config, and the incident is closed as its work."""
    rescue = running.world.gateways["rescue"]
    main = running.world.gateways["main"]
    (rescue.state_dir / "whole.json").write_text(main.config.read_text())
    said = play(
        rescue,
        "agent",
        "cat workspace/inbox/*.md; clawsup exec main -- openclaw config validate --json;"
        "clawsup exec main -- cat /etc/passwd; echo '{' | clawsup config main put;"
        "clawsup config main put --json <whole.json; clawsup resolve main --note mended",
    )
    damage(running)
    wait_for(said.exists, "the agent's turn", 30, running.story)
    running.wait_state("main", "ready")
    told = said.read_text()
    assert "DATA that programs printed" in told
    assert "is not on the list" in told
    assert "would not start on it" in told
    assert "a-secret-of-main" not in told
    account = running.wait_for(lambda: (found := incident(running)).get("ended") and found, "the incident's end")
    assert [(step["rung"], step["outcome"]) for step in account["tried"]] == [("rescue", "start")]
    assert account["rescue_note"] == "mended"
    assert [(e["verb"], e["caller"]) for e in running.named("call_obeyed")][-2:] == [
        ("put", "rescue"),
        ("resolve", "rescue"),
    ]


def test_a_rescue_that_cannot_be_reached_does_not_hold_the_ladder_up(running: Supervisor) -> None:
    """R25: its agent fails at once, and main waits for the file as without a rescue."""
    damage(running)
    blocked = running.wait_state("main", "blocked")
    assert "rescue" in blocked["reason"]
    assert incident(running)["tried"][0]["outcome"] == "unavailable"
    assert running.world.gateways["main"].config.read_text() == BROKEN
    running.world.gateways["main"].write_config()
    running.wait_state("main", "ready")


def test_a_rescue_that_is_down_is_not_called(running: Supervisor) -> None:
    """R25: nothing waits for it."""
    assert running.cli("stop", "rescue").returncode == 0
    damage(running)
    running.wait_state("main", "blocked")
    assert "not up itself" in incident(running)["tried"][0]["detail"]
    assert running.named("rescue_called") == []


def test_the_skill_comes_and_goes(running: Supervisor) -> None:
    """R9: in the rescue's workspace and nowhere else."""
    skill = running.world.gateways["rescue"].state_dir / "workspace/skills/clawsup-rescue/SKILL.md"
    assert running.cli("rescue", "enable").returncode == 0
    assert skill.read_text(encoding="utf-8").startswith("---\nname: clawsup-rescue\n")
    facts = json.loads(running.cli("rescue", "status", "--json").stdout)
    assert facts["skill"] == "installed"
    assert facts["install"] == "shared"
    assert all(each["mend"] for each in facts["warnings"])
    assert running.cli("rescue", "disable").returncode == 0
    assert not skill.parent.exists()


def test_an_operators_put_is_judged_first(running: Supervisor, tmp_path: Path) -> None:
    """R14: what OpenClaw would not start on changes nothing."""
    main = running.world.gateways["main"]
    before = main.config.read_text()
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"gateway": {}}')
    put = f"{clawsup()} --conf-dir {running.world.conf_dir} --state-dir {running.state_dir} config main put <{wrong}"
    done = subprocess.run(["sh", "-c", put], capture_output=True, text=True, check=False, env=running.env)
    assert done.returncode == 1
    assert "gateway.mode is missing" in done.stderr
    assert main.config.read_text() == before
    assert list(main.state_dir.glob(".openclaw.json.proposed*")) == []
