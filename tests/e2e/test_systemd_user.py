"""A unit of a user's own systemd, and the take-over of OpenClaw's own units (in a box, the fake OpenClaw)."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.boxed import UNIT, USERS, Installed, define, own
from tests.e2e.supervised import gone
from tests.e2e.world import FAKE, Gateway, World, kill
from tests.systemd_box import Box

OLD = "openclaw-gateway-main.service"
OLD_UNIT = """\
[Unit]
Description=OpenClaw Gateway (profile: main)

[Service]
ExecStart={command}
Restart=always
RestartSec=1
KillMode=mixed
Environment=OPENCLAW_STATE_DIR={state_dir} OPENCLAW_CONFIG_PATH={config} "PATH={path}"
Environment=OPENCLAW_PROFILE=main OPENCLAW_GATEWAY_PORT={port} OPENCLAW_SERVICE_KIND=gateway

[Install]
WantedBy=default.target
"""


@pytest.fixture(scope="module")
def session(box: Box) -> str:
    """alice, whose systemd is up because she lingers."""
    box.done("systemctl", "start", "dbus.socket", "systemd-logind.service")
    box.done("loginctl", "enable-linger", "alice")
    box.done("systemctl", "start", f"user@{USERS['alice'][0]}.service")
    return "alice"


@pytest.fixture
def unit(box: Box, boxed: World, session: str) -> Iterator[Installed]:
    """Definitions of alice's main and rescue, nothing of them running; whatever was installed is uninstalled."""
    if not boxed.gateways:
        define(boxed, "main", role="main")
        define(boxed, "rescue", role="rescue")
        own(boxed.root, USERS["alice"])
    found = Installed(box, boxed, session=session)
    yield found
    found.type("uninstall", "--user")


@pytest.fixture
def old(unit: Installed) -> Iterator[Gateway]:
    """What `openclaw --profile main gateway install` leaves: an enabled user unit that runs main."""
    gateway = unit.world.gateways["main"]
    directory = Path("/home/alice/.config/systemd/user")
    command = shlex.join([sys.executable, "-I", str(FAKE), "gateway", "--port", str(gateway.port)])
    text = OLD_UNIT.format(
        command=command,
        state_dir=gateway.state_dir,
        config=gateway.config,
        path=unit.world.env["PATH"],
        port=gateway.port,
    )
    written = unit.world.root / OLD
    written.write_text(text, encoding="utf-8")
    own(written, USERS["alice"])
    unit.box.done("mkdir", "-p", str(directory), user="alice")
    unit.box.done("cp", str(written), str(directory / OLD), user="alice")
    unit.systemctl("daemon-reload")
    lives = len(gateway.lives())
    unit.systemctl("enable", "--now", OLD)
    unit.wait_for(lambda: len(gateway.lives()) == lives + 1, "the old gateway runs")
    yield gateway
    unit.box.run("systemctl", "--user", "disable", "--now", OLD, user="alice")
    unit.box.done("rm", str(directory / OLD))


def test_a_user_unit_is_whole_through_every_blow(unit: Installed) -> None:
    """R8, R26, R27: the same unit under `systemd --user`, without root."""
    installed = unit.type("install", "--user")
    assert installed.returncode == 0, installed.stderr + unit.story()
    assert "enable-linger" not in installed.stderr
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in unit.unit_pids()} == {USERS["alice"][0]}
    before, main, brain = unit.pids_of_gateways(), unit.keeper(), unit.brain()
    kill(brain)
    for name, pid in before.items():
        assert unit.wait_state(name, "ready", adopted=True)["pid"] == pid
    assert unit.keeper() == main
    everything = unit.unit_pids()
    kill(main)
    unit.wait_for(lambda: all(map(gone, everything)), "nothing of the old unit is left")
    unit.wait_ready(["main", "rescue"])
    unit.systemctl("reload", UNIT)
    everything = unit.unit_pids()
    assert len(everything) == 4
    kill(unit.brain())
    unit.systemctl("stop", UNIT)
    assert all(map(gone, everything))
    assert unit.world.pids() == set()


def test_without_lingering_it_says_what_that_means(unit: Installed, box: Box) -> None:
    """R26: a gateway that ends at logout is a surprise."""
    box.done("mv", "/var/lib/systemd/linger/alice", "/var/lib/systemd/not-lingering")
    try:
        installed = unit.type("install")
        assert installed.returncode == 0
        assert "sudo loginctl enable-linger alice" in installed.stderr
    finally:
        box.done("mv", "/var/lib/systemd/not-lingering", "/var/lib/systemd/linger/alice")


def test_an_old_unit_is_named_with_the_commands_that_end_it_and_left_alone(unit: Installed, old: Gateway) -> None:
    """R8, R23: nothing of ours is written or started beside it."""
    lives = len(old.lives())
    refused = unit.type("install")
    assert refused.returncode == 1
    assert f"systemctl --user disable --now {OLD}" in refused.stderr
    assert "--take-over" in refused.stderr
    assert unit.property("LoadState") == "not-found"
    assert unit.property("ActiveState", OLD) == "active"
    assert len(old.lives()) == lives


def test_an_old_unit_that_would_only_start_at_the_next_login_is_in_the_way_too(unit: Installed, old: Gateway) -> None:
    """R8: enabled, stopped at present."""
    unit.systemctl("stop", OLD)
    assert unit.type("install").returncode == 1
    unit.systemctl("disable", OLD)
    assert unit.type("install").returncode == 0
    assert unit.gateway("main")["pid"] == old.lives()[-1]["pid"]


def test_take_over_ends_the_old_one_before_ours_begins(unit: Installed, old: Gateway) -> None:
    """R8, R23: the state directory never has two; what was disabled is remembered for the way back."""
    before = unit.box.pids(OLD)
    lives = len(old.lives())
    taken = unit.type("install", "--take-over")
    assert taken.returncode == 0, taken.stderr + unit.story()
    assert all(map(gone, before))
    assert (unit.property("ActiveState", OLD), unit.property("UnitFileState", OLD)) == ("inactive", "disabled")
    assert unit.gateway("main")["state"] == "ready"
    assert len(old.lives()) == lives + 1
    assert not (old.fake_dir / "overlap").exists()
    assert unit.type("install").returncode == 0
    assert f"systemctl --user enable --now {OLD}" in unit.type("uninstall").stdout


def test_root_takes_over_a_users_unit_for_a_unit_of_the_host(unit: Installed, old: Gateway, box: Box) -> None:
    """R8: the old way was a unit of alice; the new one is the host's, and still runs as her."""
    system = Installed(box, unit.world)
    refused = system.type("install", "--system", SUDO_USER="alice")
    assert refused.returncode == 1
    assert f"systemctl --user -M alice@ disable --now {OLD}" in refused.stderr
    try:
        assert system.type("install", "--system", "--take-over", SUDO_USER="alice").returncode == 0
        assert unit.property("ActiveState", OLD) == "inactive"
        assert system.gateway("main")["state"] == "ready"
        assert not (old.fake_dir / "overlap").exists()
    finally:
        system.type("uninstall", "--system")
