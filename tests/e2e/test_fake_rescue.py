"""The rescue and its patients, with the fake OpenClaw: an agent's shell is a child of its gateway's process."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.agents import CLAWSUP, define_three, play
from tests.e2e.conftest import Supervise
from tests.e2e.supervised import Supervisor
from tests.e2e.world import World, wait_for

BROKEN = '{"gateway": {"mode": "local", "auth": {"token": "a-secret-of-main"}'


@pytest.fixture
def running(world: World, supervise: Supervise) -> Supervisor:
    define_three(world)
    supervisor = supervise()
    supervisor.wait_ready()
    return supervisor


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


def test_what_the_rescue_puts_just_before_its_turn_ends_counts(running: Supervisor) -> None:
    """R9, R25: it says no last word, and the file has had no second to settle when the turn is over."""
    rescue, main = running.world.gateways["rescue"], running.world.gateways["main"]
    whole = main.config.read_text()
    (rescue.state_dir / "whole.json").write_text(whole)
    play(rescue, "agent", "clawsup config main put --json <whole.json")
    damage(running)
    running.wait_state("main", "ready", restarts=2)
    assert main.config.read_text() == whole
    account = running.wait_for(lambda: (found := incident(running)).get("ended") and found, "the incident's end")
    assert [(step["rung"], step["outcome"]) for step in account["tried"]] == [("rescue", "start")]


def test_a_rescue_that_cannot_be_reached_does_not_hold_the_ladder_up(running: Supervisor) -> None:
    """R25: its agent fails at once, and main waits for the file as without a rescue."""
    damage(running)
    failed = running.wait_state("main", "failed")
    assert "rescue" in failed["reason"]
    assert incident(running)["tried"][0]["outcome"] == "unavailable"
    assert running.world.gateways["main"].config.read_text() == BROKEN
    running.world.gateways["main"].write_config()
    running.wait_state("main", "ready")


def test_a_patient_is_not_called_about_without_end_and_a_rescue_never_waits_for_itself(running: Supervisor) -> None:
    """R9, R25: two calls a day for a patient; the ladder goes on without a third."""
    for number in range(3):
        main = running.world.gateways["main"]
        main.config.write_text(f"{BROKEN}, {number}", encoding="utf-8")
        running.cli("restart", "main", "--force", "--no-wait")
        running.wait_state("main", "failed")
        main.write_config()
        running.wait_state("main", "ready")
    assert [line["gateway"] for line in running.named("rescue_called")] == ["main", "main"]
    assert "2 times in the last day" in incident(running)["tried"][0]["detail"]
    running.world.gateways["rescue"].definition.write_text(
        running.world.gateways["rescue"].definition.read_text().replace("steps = []", 'steps = ["rescue"]')
    )
    running.cli("reload")
    running.world.gateways["rescue"].config.write_text(BROKEN, encoding="utf-8")
    running.world.gateways["rescue"].tell("exit-1")
    running.wait_state("rescue", "failed")
    told = json.loads(running.cli("incidents", "rescue", "--json").stdout)["incidents"][0]
    assert [(step["outcome"], step["detail"]) for step in told["tried"]] == [
        ("unavailable", "no rescue has it for a patient")
    ]


def test_a_rescue_that_is_down_is_not_called(running: Supervisor) -> None:
    """R25: nothing waits for it."""
    assert running.cli("stop", "rescue").returncode == 0
    damage(running)
    running.wait_state("main", "failed")
    assert "not up itself" in incident(running)["tried"][0]["detail"]
    assert running.named("rescue_called") == []


def open_hooks(running: Supervisor, **hooks: Any) -> None:
    """Let the rescue's config open its hook."""
    config = running.world.gateways["rescue"].config
    written = json.loads(config.read_text())
    config.write_text(json.dumps(written | {"hooks": {"enabled": True, "path": "/hooks", "token": "t"} | hooks}))


def test_the_rescue_is_called_through_its_hook_whose_token_is_kept_in_a_variable(
    world: World, supervise: Supervise
) -> None:
    """R9, R28: as its gateway knows it, from `[env]`."""
    define_three(world)
    world.define("rescue", role="rescue", env={"HOOKS_TOKEN": "out-of-the-file", "OPENCLAW_CONFIG_READONLY": "1"})
    running = supervise()
    open_hooks(running, token="${HOOKS_TOKEN}")
    running.wait_ready()
    said = play(world.gateways["rescue"], "agent", "clawsup resolve main --note nothing")
    damage(running)
    wait_for(said.exists, "the agent's turn", 30, running.story)
    assert [(line["by"], line["answer"]) for line in running.named("rescue_called")] == [("hook", "200")]
    assert world.gateways["rescue"].lives()[-1]["env"]["OPENCLAW_CONFIG_READONLY"] == "1"
    assert json.loads(running.cli("rescue", "status", "--json").stdout)["config"] == "read-only"


HOOKS: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "answers"),
    ({"path": "/elsewhere"}, "answers"),
    ({"token": "${NOWHERE}"}, "a variable"),
    ({"enabled": False}, "opens no hooks"),
)


def test_the_status_asks_the_hook_and_starts_no_turn(running: Supervisor) -> None:
    """R28: hot means proven."""
    said = play(running.world.gateways["rescue"], "agent", "true")
    for hooks, says in HOOKS:
        open_hooks(running, **hooks)
        facts = json.loads(running.cli("rescue", "status", "--json").stdout)
        assert says in facts["hook"]
        assert facts["called_by"] == ("hook" if says == "answers" else "command")
    assert not said.exists()


def test_a_hook_that_refuses_its_token_makes_a_rescue_that_could_not_be_called(running: Supervisor) -> None:
    """R28: with the mend."""
    open_hooks(running, token="${LANG}")
    running.world.gateways["rescue"].definition.write_text(
        running.world.gateways["rescue"].definition.read_text().replace("[env]", '[env]\nLANG = "other"')
    )
    asked = running.cli("rescue", "status", "--json")
    facts = json.loads(asked.stdout)
    assert asked.returncode == 1
    assert "401" in facts["hook"]
    assert any("the hook" in each["warning"] and "restart rescue" in each["mend"] for each in facts["warnings"])


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
    put = f"{CLAWSUP} --conf-dir {running.world.conf_dir} --state-dir {running.state_dir} config main put <{wrong}"
    done = subprocess.run(["sh", "-c", put], capture_output=True, text=True, check=False, env=running.env)
    assert done.returncode == 1
    assert "gateway.mode is missing" in done.stderr
    assert main.config.read_text() == before
    assert list(main.state_dir.glob(".openclaw.json.proposed*")) == []
