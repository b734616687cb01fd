"""One unit of the host under a real systemd (in a box, the fake OpenClaw): what every blow to it costs, counted from outside."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.boxed import UNIT, USERS, Installed, define
from tests.e2e.supervised import gone
from tests.e2e.world import World, kill
from tests.systemd_box import Box

FILE = Path("/etc/systemd/system") / UNIT


@pytest.fixture(scope="module")
def installed(box: Box, boxed: World) -> Iterator[Installed]:
    """Main and rescue of alice, installed as she would with sudo; uninstalled at the end."""
    define(boxed, "main", role="main")
    define(boxed, "rescue", role="rescue")
    unit = Installed(box, boxed)
    try:
        done = unit.type("install", "--system", SUDO_USER="alice")
        assert done.returncode == 0, f"{done.stdout}{done.stderr}{unit.story()}"
        yield unit
    finally:
        unit.type("uninstall", "--system")


@pytest.fixture
def unit(installed: Installed) -> Installed:
    """The unit, all of it ready, whatever the test before has done."""
    installed.systemctl("start", UNIT)
    installed.wait_ready(["main", "rescue"])
    return installed


def test_install_waits_until_all_is_ready_and_the_unit_says_what_it_must(unit: Installed) -> None:
    """R8, R26: as the invoking user, never as root; the stop time is what the gateways' definitions add up to."""
    said = unit.property("TimeoutStopUSec"), unit.property("WatchdogUSec"), unit.property("Type")
    assert said == ("35s", "30s", "notify")
    assert [unit.property(name) for name in ("KillMode", "Delegate", "Restart", "OOMPolicy")] == [
        *("mixed", "yes", "always", "continue"),
    ]
    assert unit.property("UnitFileState") == "enabled"
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in unit.unit_pids()} == {USERS["alice"][0]}
    unit.wait_for(lambda: unit.property("StatusText") == "2/2 ready", "the status line")
    assert unit.world.pids() <= unit.unit_pids()


def test_memory_runs_out_for_gateways_first_and_for_the_rescue_last_among_them(unit: Installed) -> None:
    """R25, R28: they do not inherit the unit's protection from the OOM killer."""
    pids = {name: unit.outside(pid) for name, pid in unit.pids_of_gateways().items()}
    pids |= {"keeper": unit.keeper(), "brain": unit.brain()}
    scores = {name: int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for name, pid in pids.items()}
    # Where root itself lacks CAP_SYS_RESOURCE, as in many containers, systemd can protect nobody and says nothing.
    assert unit.property("OOMScoreAdjust") == "-500"
    assert scores["keeper"] == scores["brain"] in {-500, 0}
    assert (scores["rescue"], scores["main"]) == (0, 200)


def test_the_unit_file_is_clean(unit: Installed) -> None:
    """R26: systemd itself finds nothing to say about it."""
    verified = unit.box.run("systemd-analyze", "verify", "--man=no", str(FILE))
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_installing_again_changes_nothing(unit: Installed) -> None:
    """An operator may repeat it: no gateway gets a new process."""
    before = unit.pids_of_gateways()
    again = unit.type("install", "--system", SUDO_USER="alice")
    assert (again.returncode, unit.pids_of_gateways()) == (0, before)


def test_what_root_types_for_it_is_done_as_the_one_it_runs_as(unit: Installed) -> None:
    """R19: alice's definitions mean her home, and what is written must stay readable to her supervisor."""
    done = unit.type("exec", "main", "--", "sh", "-c", 'id -un; echo "$HOME"')
    assert (done.returncode, done.stdout.split()) == (0, ["alice", "/home/alice"]), done.stderr
    assert unit.type("config", "main", "history").returncode == 0
    looked = unit.type("doctor").stdout
    assert f"{unit.state_dir} is closed to others" in looked
    assert "belongs to uid" not in looked


def test_reload_disturbs_nobody(unit: Installed) -> None:
    """SIGHUP by ExecReload."""
    before, main = unit.pids_of_gateways(), unit.keeper()
    seen = len([event for event in unit.events() if event["event"] == "reloaded"])
    unit.systemctl("reload", UNIT)
    unit.wait_for(lambda: len([event for event in unit.events() if event["event"] == "reloaded"]) > seen, "reloaded")
    unit.wait_ready(["main", "rescue"])
    assert (unit.pids_of_gateways(), unit.keeper()) == (before, main)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_a_brain_that_dies_or_hangs_costs_nothing(unit: Installed, blow: signal.Signals) -> None:
    """R27: systemd does not even notice; a hang is over within the keeper's patience."""
    before, main, brain = unit.pids_of_gateways(), unit.keeper(), unit.brain()
    restarts = unit.property("NRestarts")
    kill(brain, blow)
    unit.wait_for(lambda: gone(brain), "the brain is replaced")
    for name, pid in before.items():
        assert unit.wait_state(name, "ready", adopted=True)["pid"] == pid
    assert (unit.keeper(), unit.property("NRestarts")) == (main, restarts)
    unit.wait_for(lambda: unit.property("StatusText") == "2/2 ready", "the status line")
    assert len(unit.unit_pids()) == 4


def test_a_dead_keeper_is_a_clean_start(unit: Installed) -> None:
    """R27: systemd ends what is left and starts the unit anew; nobody is doubled, nobody left over."""
    before, restarts = unit.unit_pids(), int(unit.property("NRestarts"))
    kill(unit.keeper())
    unit.wait_for(lambda: all(map(gone, before)), "nothing of the old unit is left")
    unit.wait_ready(["main", "rescue"])
    assert int(unit.property("NRestarts")) == restarts + 1
    assert len(unit.unit_pids()) == 4
    assert unit.world.pids() <= unit.unit_pids()


def test_a_restart_asks_each_gateway_to_end(unit: Installed) -> None:
    """R26: no gateway counts it as an unclean boot."""
    before = unit.unit_pids()
    unit.systemctl("restart", UNIT)
    assert all(map(gone, before))
    assert {entry["last_exit"]["cause"] for entry in unit.wait_ready(["main", "rescue"]).values()} == {"asked"}
    assert len(unit.unit_pids()) == 4


def test_a_stop_leaves_nothing(unit: Installed) -> None:
    """R26: rescue last, the journal closed, the unit not failed."""
    before = unit.unit_pids() | unit.world.pids()
    unit.systemctl("stop", UNIT)
    assert all(map(gone, before))
    assert unit.world.pids() == set()
    assert (unit.property("ActiveState"), unit.property("Result")) == ("inactive", "success")
    assert unit.events()[-1]["event"] == "supervisor_stopped"


def test_a_stop_that_takes_longer_than_the_unit_says_is_not_cut_short(unit: Installed) -> None:
    """R26: a definition's timeout was raised after the installation; here main is deaf for all of its 10 s."""
    dropin = Path("/run/systemd/system") / f"{UNIT}.d"
    unit.box.done("sh", "-c", f"mkdir -p {dropin} && printf '[Service]\\nTimeoutStopSec=5\\n' >{dropin}/short.conf")
    unit.systemctl("daemon-reload")
    main = unit.world.gateways["main"]
    main.tell("hang")
    unit.systemctl("stop", UNIT)
    (main.fake_dir / "hang").unlink()
    unit.box.done("rm", "-r", str(dropin))
    unit.systemctl("daemon-reload")
    assert unit.property("Result") == "success"
    assert unit.events()[-1]["event"] == "supervisor_stopped"
    assert unit.world.pids() == set()


def test_a_stop_while_a_brain_is_being_replaced_leaves_nothing(unit: Installed) -> None:
    """R26, R27: the crash that left four orphans under KillMode=process."""
    before = unit.unit_pids() | unit.world.pids()
    kill(unit.brain())
    unit.systemctl("stop", UNIT)
    assert all(map(gone, before))
    assert unit.world.pids() == set()
    assert unit.property("Result") == "success"


def test_a_stop_while_systemd_is_about_to_restart_it_leaves_nothing(unit: Installed) -> None:
    """R26, R27: the keeper died a moment before."""
    before = unit.unit_pids() | unit.world.pids()
    kill(unit.keeper())
    unit.systemctl("stop", UNIT)
    unit.wait_for(lambda: all(map(gone, before)), "nothing is left")
    assert unit.world.pids() == set()
    assert unit.property("ActiveState") in {"inactive", "failed"}


def test_a_hung_keeper_is_replaced_by_systemd(unit: Installed) -> None:
    """R27: the watchdog, fed by the brain's loop, through the keeper."""
    unit.systemctl("stop", UNIT)
    dropin = Path("/run/systemd/system") / f"{UNIT}.d"
    unit.box.done("sh", "-c", f"mkdir -p {dropin} && printf '[Service]\\nWatchdogSec=3\\n' >{dropin}/quick.conf")
    unit.systemctl("daemon-reload")
    unit.systemctl("start", UNIT)
    unit.wait_ready(["main", "rescue"])
    before = unit.unit_pids()
    kill(unit.keeper(), signal.SIGSTOP)
    unit.wait_for(lambda: all(map(gone, before)), "the unit is replaced")
    unit.box.done("rm", "-r", str(dropin))
    unit.systemctl("daemon-reload")
    unit.wait_ready(["main", "rescue"])
    assert len(unit.unit_pids()) == 4


def test_definitions_that_were_never_usable_fail_the_unit_once(unit: Installed) -> None:
    """No loop, and the reason is one systemctl status away: exit 78."""
    unit.systemctl("stop", UNIT)
    aside = unit.world.root / "aside"
    children = unit.state_dir / "children"
    unit.world.conf_dir.rename(aside)
    children.rename(unit.world.root / "children")
    try:
        assert unit.box.run("systemctl", "start", UNIT).returncode != 0
        unit.wait_for(lambda: unit.property("ActiveState") == "failed", "it is given up")
        assert (unit.property("ExecMainStatus"), unit.property("NRestarts")) == ("78", "0")
    finally:
        aside.rename(unit.world.conf_dir)
        for made in children.glob("*"):
            made.unlink()
        children.rmdir()
        (unit.world.root / "children").rename(children)


def test_a_unit_beside_a_supervisor_started_by_hand_is_refused(unit: Installed) -> None:
    """Exit 75, and the one that runs is named; systemd does not try for ever."""
    unit.systemctl("stop", UNIT)
    unit.box.done(
        *("systemd-run", "--unit=byhand", "--uid=alice", f"--setenv=PATH={os.environ['PATH']}", "--"),
        *unit.command("run"),
    )
    unit.wait_ready(["main", "rescue"])
    refused = unit.type("install", "--system", SUDO_USER="alice")
    assert refused.returncode == 75
    assert str(unit.status()["supervisor"]["keeper_pid"]) in refused.stderr
    assert unit.box.run("systemctl", "start", UNIT).returncode != 0
    unit.wait_for(lambda: unit.property("ActiveState") == "failed", "it is given up")
    assert (unit.property("ExecMainStatus"), unit.property("NRestarts")) == ("75", "0")
    unit.box.done("systemctl", "stop", "byhand.service")


def test_uninstall_takes_away_what_install_brought_and_nothing_else(unit: Installed) -> None:
    """Definitions, logs and state directories stay; twice is once."""
    before = unit.unit_pids() | unit.world.pids()
    refused = unit.box.run(*unit.command("uninstall", state_dir="/elsewhere"))
    assert refused.returncode == 1
    assert str(unit.state_dir) in refused.stderr
    assert unit.type("uninstall").returncode == 0
    assert all(map(gone, before))
    assert unit.property("LoadState") == "not-found"
    assert unit.box.run("find", "/etc/systemd", "-name", "openclaw-supervisor*").stdout == ""
    assert (unit.state_dir / "events.jsonl").exists()
    assert (unit.world.home / ".openclaw-main" / "openclaw.json").exists()
    assert unit.type("uninstall").returncode == 0
    assert unit.type("install", "--system", SUDO_USER="alice").returncode == 0


def test_nobody_becomes_root_by_accident(box: Box, boxed: World) -> None:
    """R26: root without sudo has to say whose gateways they are; a unit that is not ours is left alone."""
    define(boxed, "main", role="main", port=boxed.gateways["main"].port if "main" in boxed.gateways else None)
    unit = Installed(box, boxed)
    nameless = unit.type("install", "--system")
    assert nameless.returncode == 2
    assert "--user-name" in nameless.stderr
    assert unit.type("install", "--user", SUDO_USER="alice").returncode == 2
    assert unit.type("install", "--system", as_user="alice").returncode == 1
