"""Who calls on the control socket, and what comes of it, with the fake OpenClaw: RELIABILITY.md Q9, caller by caller."""

import re
import sys
from collections.abc import Callable
from functools import partial

import pytest

from supervisor.control.client import request
from tests.e2e.agents import CLAWSUP, define_three, obeyed, play, refusals, typed
from tests.e2e.conftest import Supervise
from tests.e2e.supervised import Supervisor
from tests.e2e.world import REPOSITORY, World, kill, wait_for

Shell = Callable[[str, str], str]


@pytest.fixture
def running(world: World, supervise: Supervise) -> Supervisor:
    define_three(world)
    supervisor = supervise()
    supervisor.wait_ready()
    return supervisor


@pytest.fixture
def shell(running: Supervisor) -> Shell:
    """Run a script in a gateway's own shell, and give what it said and `exit N`."""
    return partial(typed, running)


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
    assert [caller for caller, _, _ in refusals(running)] == ["rescue"] * len(REFUSED)
    assert {name: running.gateway(name)["pid"] for name in running.world.gateways} == before


def test_main_is_no_rescue_and_may_restart_only_itself(running: Supervisor, shell: Shell) -> None:
    """R9: neither a name, nor a cleared environment, nor a stolen token changes that."""
    token = running.world.gateways["rescue"].lives()[-1]["env"]["CLAWSUP_RUN"]
    places = f"--conf-dir {running.world.conf_dir} --state-dir {running.state_dir}"
    assert "main is no rescue" in shell("main", "CLAWSUP_GATEWAY=rescue clawsup restart rescue")
    assert "main is no rescue" in shell("main", f"env -i {CLAWSUP} {places} restart rescue")
    assert "carries the sign of another" in shell("main", f"CLAWSUP_RUN={token} clawsup restart rescue")
    # The shell ends with the gateway that it restarts, so its word is not waited for.
    pid = running.gateway("main")["pid"]
    play(running.world.gateways["main"], "shell", "clawsup restart main --no-wait")
    running.wait_for(lambda: running.gateway("main")["pid"] not in (None, pid), "a new main")
    assert ("restart", "main") in {(e["verb"], e["caller"]) for e in running.named("call_obeyed")}


def daemon(running: Supervisor, environment: str) -> str:
    """What a daemon hears that main's shell has started and left, so that nothing is above it but the keeper."""
    main = running.world.gateways["main"]
    places = f"--conf-dir {running.world.conf_dir} --state-dir {running.state_dir}"
    orphaned = f"grep -q '^PPid:[[:space:]]*{running.status()['supervisor']['keeper_pid']}$' /proc/$$/status"
    inner, said = main.fake_dir / "inner", main.fake_dir / "inner.said"
    said.unlink(missing_ok=True)
    inner.write_text(
        f"until {orphaned}; do sleep 0.05; done\n"
        f"({CLAWSUP} {places} status --json; {CLAWSUP} {places} restart main) >{inner}.new 2>&1; mv {inner}.new {said}\n"
    )
    play(main, "shell", f"{environment} setsid sh {inner} >/dev/null 2>&1 &")
    wait_for(said.exists, "the daemon's end", 30, running.story)
    return said.read_text()


def test_a_daemon_that_left_its_gateway_may_only_see_the_status(running: Supervisor) -> None:
    """R9: neither its own gateway's environment, nor a cleared one, nor the rescue's own token helps it."""
    stolen = f"CLAWSUP_RUN={running.world.gateways['rescue'].lives()[-1]['env']['CLAWSUP_RUN']}"
    clear = "env -i PATH=/usr/bin:/bin"
    for environment in ("env", clear, f"env {stolen}", f"{clear} {stolen}"):
        said = daemon(running, environment)
        assert '"schema": 1' in said, environment
        assert "may only see the status" in said, environment
    assert refusals(running) == [("observer", "restart", "main")] * 4


def test_an_operators_shell_may_everything_and_leaves_no_line(running: Supervisor) -> None:
    """R9: who did not grow from this supervisor is its owner; what he does is in the journal as what it brings about."""
    pid = running.gateway("ops")["pid"]
    assert running.cli("restart", "ops").returncode == 0
    assert running.gateway("ops")["pid"] not in (None, pid)
    assert running.cli("logs", "ops").returncode == 0
    assert refusals(running) == obeyed(running) == []


def down_for_good(running: Supervisor) -> None:
    """Make main crash at every start."""
    main = running.world.gateways["main"]
    main.tell("boot-exit-1")
    kill(running.gateway("main")["pid"])
    running.wait_state("main", "backoff", "failed")


DONE = {
    "clawsup start main --no-wait": "start main",
    "clawsup restart main --no-wait": "restart main",
    "clawsup exec main -- openclaw config validate --json": "exec main openclaw config validate --json",
    "clawsup exec main -- openclaw config set gateway.auth.token hush-hush": (
        "exec main openclaw config set gateway.auth.token …"
    ),
    "clawsup config main put <whole.json": "put main",
    "clawsup config main rollback": "rollback main",
    "clawsup restart rescue --no-wait": "restart rescue",
}


def test_all_that_a_rescue_does_is_in_the_journal_with_who_and_what(running: Supervisor, shell: Shell) -> None:
    """R9: its name, its pid and its words, without the value of a secret."""
    rescue = running.world.gateways["rescue"]
    main = running.world.gateways["main"].config.read_text()
    (rescue.state_dir / "whole.json").write_text(main.replace('"loopback"', '"lan"'))
    down_for_good(running)
    shell("rescue", "; ".join(DONE))
    told = running.named("call_obeyed")
    assert [line["argv"] for line in told] == list(DONE.values())
    assert {line["caller"] for line in told} == {"rescue"}
    assert all(line["pid"] > 0 for line in told)
    assert refusals(running) == []
    assert "hush-hush" not in (running.state_dir / "events.jsonl").read_text()


def test_an_agent_that_goes_in_circles_is_told_to_wait_and_an_operator_is_not(
    running: Supervisor, shell: Shell
) -> None:
    """RELIABILITY.md Q9: changes are limited, looks are not, and the limit is the caller's own; the next brain knows it."""
    down_for_good(running)
    sock = str(running.state_dir / "control.sock")
    path, change = "/v1/gateways/main/exec", {"words": ["openclaw", "config", "set", "gateway.port", "1"]}
    look = {"words": ["openclaw", "config", "validate"]}
    script = running.world.home / "circles.py"
    script.write_text(
        "from supervisor.control.client import request\n"
        f"for body in [{change}] * 14 + [{look}] * 2: print(*request('{sock}', 'POST', '{path}', body, 60))"
    )
    circles = f"PYTHONPATH={REPOSITORY} {sys.executable} {script}"
    said = shell("rescue", circles).splitlines()
    assert [line[:3] for line in said[:16]] == ["200"] * 12 + ["403"] * 2 + ["200"] * 2
    assert re.search(r"12 changes in 10 min, which is the limit: wait \d+ s", said[12])
    assert refusals(running) == [("rescue", "exec", "main")] * 2
    running.replace_brain()
    running.wait_state("rescue", "ready", adopted=True)
    said = shell("rescue", circles).splitlines()
    assert [line[:3] for line in said[:16]] == ["403"] * 14 + ["200"] * 2
    assert all("which is the limit" in line for line in said[:14])
    for _ in range(14):
        assert request(sock, "POST", path, change, 60)[0] == 200
