"""What an incident holds: memory, ports and their holders, versions, and what came of it; on real processes and sockets."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from supervisor.brain.casebook import Casebook
from supervisor.brain.commands import Commands
from supervisor.brain.guard import Guard
from supervisor.brain.identity import Identity
from supervisor.brain.launchers import Launchers, Place
from supervisor.brain.lives import Lives
from supervisor.policy.actions import Incident, RepairStep
from supervisor.policy.definition import Definition
from supervisor.policy.events import RepairStepped
from supervisor.policy.facts import Answer, Cause
from supervisor.policy.state import Blocked, Child
from tests.killed import before_a_rename
from tests.policy.builders import obstacle
from tests.ports import Ports

ADD = """
from supervisor.host.incidents import Incidents
store = Incidents(Path(sys.argv[1]))
store.add(store.ids()[0], "config.rejected", b"{token: 1}")
"""
READY = Answer(started=True, live=True, ready=True)
FELL = Incident("main", 4, Cause.CRASH, None, 9, 7.5)
STEP = RepairStep("main", "rollback", "k-bad", "k-bad", "k-good")


class Scene:
    """A casebook with one gateway, and its incidents as they are on disk."""

    def __init__(self, root: Path, port: int) -> None:
        home = root / "state"
        home.mkdir()
        self.config = home / "openclaw.json"
        self.config.write_text('{"gateway": {"auth": {"token": "s3cr3t-token"}}}')
        names = {"name": "main", "port": port, "profile": "main"}
        places = {"state_dir": str(home), "config_path": str(self.config)}
        self.definition = Definition.model_validate({**names, **places})
        self.place = Place(root, root / "s", str(root), {"PATH": os.environ["PATH"]})
        self.directory = root / "s" / "incidents"
        self.book = self.another()

    def another(self) -> Casebook:
        """The casebook of the next brain."""
        launchers = Launchers(self.place)
        commands = Commands(launchers, Lives(Identity("test", "seed"), None), lambda _: {})
        return Casebook(self.place.state_dir, Guard(self.place, launchers, commands), launchers)

    def kept(self) -> list[dict[str, Any]]:
        """All accounts, the oldest first."""
        return [json.loads((path / "incident.json").read_text()) for path in sorted(self.directory.iterdir())]


@pytest.fixture
def scene(tmp_path: Path, ports: Ports) -> Scene:
    return Scene(tmp_path, ports.take())


def test_the_memory_is_what_the_kernel_told_at_the_last_probe(scene: Scene) -> None:
    scene.book.probed("main", 1.0, READY, os.getpid())
    scene.book.ended(FELL, scene.definition)

    (account,) = scene.kept()
    assert account["memory_peak_bytes"] > 10e6
    assert account["memory_told_by"] == "VmHWM at its last probe"


def test_the_kernels_last_figure_is_better_and_is_not_given_to_another_life(scene: Scene) -> None:
    scene.book.ended(FELL, scene.definition)
    scene.book.buried("main", 3, 10**12)
    assert scene.kept()[0]["memory_peak_bytes"] is None
    scene.book.buried("main", 4, 2 * 10**9)

    (account,) = scene.kept()
    assert (account["memory_peak_bytes"], account["memory_told_by"]) == (2 * 10**9, "ru_maxrss at its end")


def test_who_holds_a_port_at_the_moment_is_kept_in_full(scene: Scene) -> None:
    with socket.create_server(("127.0.0.1", scene.definition.port + 2)):
        scene.book.ended(FELL, scene.definition)

    (account,) = scene.kept()
    (held,) = account["held"]
    assert (held["port"], held["kind"], held["pid"]) == (scene.definition.port + 2, "listener", os.getpid())
    assert "python" in held["command"]
    assert held["user"]
    assert account["ports"] == [scene.definition.port, scene.definition.port + 2]
    assert account["clawsup"]
    assert account["linux"] == os.uname().release


def test_a_repair_that_no_exit_began_has_an_incident_of_its_own(scene: Scene) -> None:
    """By hand, or because OpenClaw would have put an older config in place."""
    scene.book.ended(FELL, scene.definition)
    scene.book.probed("main", 1.0, READY, 0)
    scene.book.begun(STEP, scene.definition)
    scene.book.stepped(RepairStepped("main", "rollback", "start", "in place again", "k-good"))
    scene.book.close("main", mended=True)

    fell, repaired = scene.kept()
    assert ("tried" in fell, "ended" in fell) == (False, False)
    assert (repaired["cause"], repaired["ended"]) == ("config", "mended: it started")
    assert repaired["tried"] == [{"rung": "rollback", "outcome": "start", "detail": "in place again"}]
    (rejected,) = scene.directory.glob("*/config.rejected")
    assert rejected.read_bytes() == scene.config.read_bytes()
    assert rejected.stat().st_mode & 0o777 == 0o600


def test_what_the_last_brain_was_at_stays_one_incident(scene: Scene) -> None:
    scene.book.ended(Incident("main", 4, Cause.CONFIG, 78, None, 2.0), scene.definition)
    scene.book.begun(STEP, scene.definition)
    scene.book = scene.another()
    scene.book.begun(RepairStep("main", "rollback", "k-bad", "k-bad", "k-good", again=True), scene.definition)
    scene.book.close("main", mended=False)

    (account,) = scene.kept()
    assert account["ended"].startswith("not mended")


def test_a_block_of_more_than_a_minute_is_written_down_once(scene: Scene) -> None:
    child = Child("main", scene.definition, Blocked(obstacle()), 100.0)
    for now in (130.0, 161.0, 500.0):
        scene.book.tend([child], now)

    (account,) = scene.kept()
    assert (account["cause"], account["told_by"], account["mend"]) == ("conflict", "blocked by port", "take it away")


def test_a_block_that_an_exit_led_to_is_told_by_the_incident_of_that_exit(scene: Scene) -> None:
    scene.book.ended(Incident("main", 4, Cause.CONFLICT, 1, None, 2.0), scene.definition)
    scene.book.tend([Child("main", scene.definition, Blocked(obstacle()), 100.0, lives=4)], 161.0)
    assert len(scene.kept()) == 1
    scene.book.tend([Child("main", scene.definition, Blocked(obstacle(key="another")), 100.0, lives=5)], 400.0)
    assert len(scene.kept()) == 2


def test_a_refused_config_that_no_rung_mended_has_one_incident(scene: Scene) -> None:
    """However many lives the rungs took."""
    scene.book.ended(Incident("main", 4, Cause.CONFIG, 78, None, 2.0), scene.definition)
    scene.book.close("main", mended=False)
    key = scene.kept()[0]["config"]["key"]
    scene.book.tend(
        [Child("main", scene.definition, Blocked(obstacle("config", Cause.CONFIG, key)), 9.0, lives=7)], 99.0
    )
    assert len(scene.kept()) == 1


def test_the_next_brain_does_not_write_down_the_same_block_again(scene: Scene) -> None:
    child = Child("main", scene.definition, Blocked(obstacle()), 100.0, lives=4)
    scene.book.tend([child], 161.0)
    scene.another().tend([child], 400.0)
    assert len(scene.kept()) == 1


def test_a_log_of_long_lines_is_cut_line_by_line(scene: Scene) -> None:
    """Two hundred of them, masked whole, held the brain's loop for 2.4 s."""
    (scene.place.state_dir / "logs").mkdir(parents=True)
    line = "token s3cr3t-token " + "x" * 6500
    (scene.place.state_dir / "logs" / "main.log").write_text(f"{line}\n" * 200)
    scene.book.ended(FELL, scene.definition)
    (kept,) = scene.directory.iterdir()
    lines = (kept / "log.txt").read_text().splitlines()
    assert len(lines) == 200
    assert {len(line) for line in lines} == {2001}
    assert lines[0].startswith("token ***1 xxx")


def test_what_a_killed_brain_left_half_written_goes_with_the_next_one(scene: Scene) -> None:
    """R25: it may be the rejected config, with its secrets."""
    scene.book.ended(FELL, scene.definition)
    before = sorted(scene.directory.rglob("*"))
    before_a_rename(ADD, scene.directory)
    assert len(list(scene.directory.rglob("*"))) == len(before) + 1
    scene.another()
    assert sorted(scene.directory.rglob("*")) == before
