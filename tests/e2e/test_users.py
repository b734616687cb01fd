"""A supervisor of root with a user for each gateway (in a box, the fake OpenClaw): two uids are a wall, logs stay root's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.boxed import UNIT, USERS, Installed, define, own
from tests.e2e.world import World
from tests.systemd_box import Box


@pytest.fixture(scope="module")
def unit(box: Box, boxed: World) -> Iterator[Installed]:
    """alice's main and bob's rescue under one unit of root."""
    box.done("groupadd", "--gid", "4300", "shared")
    box.done("usermod", "--append", "--groups", "shared", "alice")
    boxed.home.chmod(0o755)
    own(boxed.home, (0, 0))
    define(boxed, "main", "alice", role="main", user="alice")
    define(boxed, "rescue", "bob", role="rescue", user="bob")
    found = Installed(box, boxed)
    try:
        done = found.type("install", "--system", "--user-name", "root")
        assert done.returncode == 0, f"{done.stdout}{done.stderr}{found.story()}"
        yield found
    finally:
        found.type("uninstall", "--system")


def facts(unit: Installed, name: str) -> dict[str, list[str]]:
    """What the kernel says of a gateway's process."""
    pid = unit.outside(unit.gateway(name)["pid"])
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}


def test_each_gateway_has_its_users_ids_groups_and_home_and_nothing_of_root(unit: Installed) -> None:
    """`user =`: groups as at a login, no capability left, an environment of that user."""
    for name, user, groups in (("main", "alice", {"4201", "4300"}), ("rescue", "bob", {"4202"})):
        uid, gid = map(str, USERS[user])
        seen = facts(unit, name)
        assert (seen["Uid"], seen["Gid"], set(seen["Groups"])) == ([uid] * 4, [gid] * 4, groups)
        assert seen["CapEff"] == seen["CapPrm"] == seen["CapAmb"] == ["0000000000000000"]
        env: dict[str, Any] = unit.world.gateways[name].lives()[-1]["env"]
        assert (env["HOME"], env["USER"], env["LOGNAME"]) == (f"/home/{user}", user, user)
    keeper = Path(f"/proc/{unit.keeper()}/status").read_text(encoding="utf-8")
    assert "Uid:\t0\t0\t0\t0" in keeper


def test_one_gateways_user_cannot_read_signal_or_write_the_other(unit: Installed) -> None:
    """R1, R2: what one uid could not promise."""
    main, rescue = unit.world.gateways["main"], unit.world.gateways["rescue"]
    pid = unit.gateway("rescue")["pid"]
    assert unit.box.run("cat", str(main.config), user="alice").returncode == 0
    attempts = (
        ("cat", str(rescue.config)),
        ("ls", str(rescue.state_dir)),
        ("touch", str(rescue.state_dir / "mine")),
        ("cat", f"/proc/{pid}/environ"),
        ("ls", f"/proc/{pid}/fd"),
        ("sh", "-c", f"kill -STOP {pid}"),
        ("ls", str(unit.state_dir)),
        ("cat", str(unit.state_dir / "logs" / "rescue.log")),
        ("python3", "-c", f"import socket; socket.socket(socket.AF_UNIX).connect('{unit.state_dir}/control.sock')"),
    )
    for attempt in attempts:
        said = unit.box.run(*attempt, user="alice")
        assert said.returncode != 0, attempt
        assert any(word in said.stderr.lower() for word in ("denied", "not permitted")), (attempt, said.stderr)
    assert unit.gateway("rescue")["pid"] == pid


def test_logs_and_state_of_the_supervisor_stay_its_own(unit: Installed) -> None:
    """A gateway writes its output without being able to open what it is written to."""
    unit.wait_for(lambda: unit.log("main") and unit.log("rescue"), "both have printed something")
    for path in (unit.state_dir, *unit.state_dir.rglob("*")):
        found = path.stat()
        assert (found.st_uid, found.st_mode & 0o077) == (0, 0), path


def test_a_brain_of_root_adopts_gateways_of_others(unit: Installed) -> None:
    """R27: as with one uid."""
    before = unit.pids_of_gateways()
    unit.replace_brain()
    for name, pid in before.items():
        assert unit.wait_state(name, "ready", adopted=True)["pid"] == pid


@pytest.mark.parametrize(
    ("spoil", "mend", "says"),
    [
        ("chown root: {dir}", "chown alice: {dir}", "belongs to root"),
        ("chmod 755 {dir}", "chmod 700 {dir}", "open to other users"),
        ("chown bob: {config}", "chown alice: {config}", "belongs to bob"),
        ("chmod 777 {home}", "chmod 755 {home}", "can be written by other users"),
    ],
)
def test_what_is_not_that_users_own_blocks_the_gateway_until_it_is(
    unit: Installed, spoil: str, mend: str, says: str
) -> None:
    """R2: the reason names it, the mend is a command, and nobody has to say start again."""
    main = unit.world.gateways["main"]
    places = {"dir": main.state_dir, "config": main.config, "home": unit.world.home}
    assert unit.cli("stop", "main").returncode == 0
    unit.box.done("sh", "-c", spoil.format(**places))
    try:
        unit.cli("start", "main", "--no-wait")
        seen = unit.wait_state("main", "blocked")
        assert says in seen["reason"]
        assert seen["mend"]
        assert unit.gateway("rescue")["state"] == "ready"
        unit.wait_for(lambda: "main blocked (state_dir)" in unit.property("StatusText"), "the status line says so")
    finally:
        unit.box.done("sh", "-c", mend.format(**places))
    unit.wait_state("main", "ready")


def test_a_user_that_is_gone_never_means_root(unit: Installed) -> None:
    """The account is looked up at each start: without it there is no start at all."""
    assert unit.cli("stop", "main").returncode == 0
    unit.box.done("sed", "-i.kept", "s/^alice:/nobody-knows:/", "/etc/passwd")
    try:
        unit.cli("start", "main", "--no-wait")
        assert "alice" in unit.wait_state("main", "blocked")["reason"]
    finally:
        unit.box.done("mv", "/etc/passwd.kept", "/etc/passwd")
    unit.wait_state("main", "ready")
    assert facts(unit, "main")["Uid"][0] == str(USERS["alice"][0])


def test_only_root_can_give_a_gateway_a_user(unit: Installed, box: Box) -> None:
    """A unit that runs as somebody refuses such definitions before anything is written."""
    box.done("chmod", "-R", "a+rX", str(unit.world.conf_dir))
    refused = box.run(*unit.command("check"), user="alice")
    assert refused.returncode == 78
    assert "only a supervisor that runs as root" in refused.stdout
    assert unit.property("ActiveState", UNIT) == "active"
