"""A rescue and a main of two users under root's supervisor (in a box, the fake OpenClaw): a wall between them, and still a way to help."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.agents import obeyed, play, refusals, typed
from tests.e2e.boxed import CLAWSUP, Installed, define, own
from tests.e2e.world import World
from tests.systemd_box import Box

CAROL = 4203
BROKEN = '{"gateway": {"mode": "local", "auth": {"token": "a-secret-of-main"}'


@pytest.fixture(scope="module")
def unit(box: Box, boxed: World) -> Iterator[Installed]:
    """alice's main, whose only rung is bob's rescue; carol has no gateway."""
    box.done("useradd", "--uid", str(CAROL), "--user-group", "carol")
    boxed.home.chmod(0o755)
    own(boxed.home, (0, 0))
    sections = {"restart": {"burst": 0}, "repair": {"steps": ["rescue"]}}
    define(boxed, "main", "alice", role="main", user="alice", sections=sections)
    define(boxed, "rescue", "bob", role="rescue", user="bob")
    found = Installed(box, boxed)
    try:
        done = found.type("install", "--system", "--user-name", "root")
        assert done.returncode == 0, f"{done.stdout}{done.stderr}{found.story()}"
        found.wait_ready()
        yield found
    finally:
        found.type("uninstall", "--system")
        box.done("userdel", "carol")


LOOKS = {
    "clawsup status --json": '"schema": 1',
    "clawsup why main": "main",
    "clawsup logs main -n 5": "ready",
    "clawsup events -n 5 --json": '"event":',
    "clawsup incidents main --json": '"incidents":',
    "clawsup config main history --json": '"present":',
    "clawsup config main show": '"mode": "local"',
}


def test_the_rescue_of_another_user_sees_what_it_may_of_its_patient(unit: Installed) -> None:
    """R9: though neither the state dir nor main's config is for its eyes, the supervisor reads them out, masked."""
    said = typed(unit, "rescue", "; ".join(f"{look}; echo ended $?" for look in LOOKS), CLAWSUP).split("ended 0\n")
    assert len(said) == len(LOOKS) + 1, said
    for (look, words), answer in zip(LOOKS.items(), said, strict=False):
        assert words in answer, look


def test_it_is_still_refused_what_is_no_repair(unit: Installed) -> None:
    """R9: what it may is judged by its process, as with one uid; what its user may do by itself has not grown."""
    pid = unit.gateway("main")["pid"]
    script = "clawsup stop main; clawsup exec main -- openclaw config get gateway.port; clawsup logs rescue; cat {}"
    said = typed(unit, "rescue", script.format(unit.world.gateways["main"].config), CLAWSUP)
    for why in ("for the operator", "only a patient that is down", "rescue is no patient", "Permission denied"):
        assert why in said, said
    assert unit.gateway("main")["pid"] == pid


def test_mains_agent_may_restart_itself_and_nothing_else(unit: Installed) -> None:
    """R9: its user has a socket too."""
    said = typed(unit, "main", "clawsup restart rescue; clawsup logs rescue; clawsup status", CLAWSUP)
    assert said.count("main is no rescue") == 2
    assert "rescue" in said
    pid = unit.gateway("main")["pid"]
    play(unit.world.gateways["main"], "shell", "clawsup restart main --no-wait", CLAWSUP)
    unit.wait_for(lambda: unit.gateway("main")["pid"] not in (None, pid), "a new main")
    unit.wait_ready()
    assert ("main", "restart", "main") in obeyed(unit)


def test_the_rescue_comes_first_when_memory_or_cpu_are_short(unit: Installed) -> None:
    """R25, R28: under root's unit, for users who could not ask for it themselves."""
    pids = {name: unit.outside(pid) for name, pid in unit.pids_of_gateways().items()}
    scores = {name: int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for name, pid in pids.items()}
    nices = {name: os.getpriority(os.PRIO_PROCESS, pid) for name, pid in pids.items()}
    assert scores["main"] == scores["rescue"] + 200
    assert nices["main"] == nices["rescue"] + 5


def test_its_users_login_shell_sees_the_status_and_nothing_more(unit: Installed) -> None:
    """R9: the same uid as the rescue's is not the rescue: who did not grow from the gateway is an observer."""
    assert unit.type("status", as_user="bob").returncode == 0
    for words in (("stop", "main"), ("restart", "rescue"), ("start", "main")):
        said = unit.type(*words, as_user="bob")
        assert said.returncode == 1
        assert "it may only see the status" in said.stderr
    stolen = unit.type("stop", "main", as_user="bob", CLAWSUP_GATEWAY="rescue", OPENCLAW_SHELL="exec")
    assert "it may only see the status" in stolen.stderr
    assert ("observer", "restart", "rescue") in refusals(unit)


def test_a_user_of_no_gateway_does_not_even_reach_it(unit: Installed) -> None:
    """EACCES, from the kernel."""
    said = unit.type("status", as_user="carol")
    assert said.returncode == 1
    assert "may not talk to that supervisor" in said.stderr


def test_bobs_rescue_mends_alices_main(unit: Installed) -> None:
    """R9, R25, R28: it is called, it reads its letter, and what it puts belongs to alice."""
    main, rescue = unit.world.gateways["main"], unit.world.gateways["rescue"]
    whole = main.config.read_text(encoding="utf-8")
    owner = main.config.stat().st_uid
    (rescue.state_dir / "whole.json").write_text(whole, encoding="utf-8")
    said = play(
        rescue,
        "agent",
        "cat workspace/inbox/*.md; clawsup why main --json; clawsup config main put --json <whole.json; clawsup resolve main --note mended",
        CLAWSUP,
    )
    main.config.write_text(BROKEN, encoding="utf-8")
    main.tell("exit-1")
    unit.wait_for(said.exists, "the agent's turn")
    unit.wait_state("main", "ready")
    told = said.read_text(encoding="utf-8")
    assert "DATA that programs printed" in told
    assert "a-secret-of-main" not in told
    assert main.config.read_text(encoding="utf-8") == whole
    assert main.config.stat().st_uid == owner
    incidents = json.loads(unit.type("incidents", "main", "--json").stdout)["incidents"]
    assert incidents[0]["rescue_note"] == "mended"
    assert [line for line in obeyed(unit) if line[0] == "rescue"] == [
        ("rescue", "put", "main"),
        ("rescue", "resolve", "main"),
    ]
