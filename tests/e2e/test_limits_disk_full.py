"""The state directory's disk is full, or has spoilt something: what was decided holds, and what was lost is told."""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import Supervise
from tests.e2e.enclosed import Enclosed, enclosed
from tests.e2e.limits import told_of, troubles, untouched, wait_recovered, wait_trouble
from tests.e2e.supervised import Supervisor
from tests.e2e.test_fake_supervisor import ask
from tests.e2e.world import World, kill, log_numbers

NO_SPACE = "No space left on device"


@pytest.fixture
def small(world: World) -> Iterator[Enclosed]:
    with enclosed(world) as supervisor:
        yield supervisor


def fill(supervisor: Enclosed) -> None:
    supervisor.within('while cat /dev/zero; do :; done >"$s/filler" 2>/dev/null || true; test -s "$s/filler"')


def fill_the_journal(supervisor: Enclosed, name: str) -> None:
    """On a disk that is full, let a gateway's restarts use up what is reserved for the journal."""

    def refused() -> bool:
        supervisor.cli("restart", name)
        return any("events.jsonl" in trouble for trouble in troubles(supervisor))

    supervisor.wait_for(refused, "no room for the journal")


def free(supervisor: Enclosed) -> None:
    supervisor.within('rm "$s/filler"')


def heard(systemd: socket.socket) -> list[str]:
    """What systemd has been told so far."""
    systemd.setblocking(False)
    told: list[str] = []
    with suppress(BlockingIOError):
        while True:
            told.append(systemd.recv(4096).decode())
    return told


def snapshots(supervisor: Enclosed) -> list[Path]:
    return list((supervisor.state_dir / "snapshots" / "main").glob("*.json"))


def seqs(supervisor: Supervisor) -> list[int]:
    return [event["seq"] for event in supervisor.events()]


@pytest.fixture
def systemd(world: World, small: Enclosed) -> Iterator[socket.socket]:
    """What the supervisor takes for systemd's notify socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(world.root / "notify"))
        small.env["NOTIFY_SOCKET"] = str(world.root / "notify")
        yield listener


def test_a_full_disk_costs_no_gateway_anything_not_even_a_line(
    world: World, small: Enclosed, systemd: socket.socket
) -> None:
    """R27: neither one that prints nor one that prints much; not a line of either is lost."""
    quiet, loud = world.define("quiet"), world.define("loud", env={"FAKE_CHATTER": "300"})
    small.start().wait_ready()
    pid = small.gateway("loud")["pid"]
    with untouched(small, quiet, loud):
        fill(small)
        trouble = wait_trouble(small, "logs/loud.log", NO_SPACE)
        assert any(said.startswith("STATUS=2/2 ready; degraded: ") and trouble in said for said in heard(systemd))
        systemd.close()
        seen = ask(loud, "/fake")["lines"]
        small.wait_for(lambda: ask(loud, "/fake")["lines"] > seen + 300, "it prints on")
        free(small)
        wait_recovered(small)
        text = small.log("loud")
        numbers = log_numbers(text, pid)
        # What the disk refuses waits in the FIFO, which has room for more than this; test_logs.py has what it has no room for.
        assert numbers == list(range(1, len(numbers) + 1))
    waits, kept = told_of(small, "output_waits", "loud"), told_of(small, "output_kept", "loud")
    assert (len(waits), len(kept)) == (1, 1)
    assert kept[0]["dropped_bytes"] == 0
    assert not told_of(small, "output_dropped", "loud")
    assert seqs(small) == list(range(1, len(seqs(small)) + 1))


def test_what_happens_on_a_full_disk_is_in_the_journal_at_once_or_afterwards(world: World, small: Enclosed) -> None:
    """R27: as long as its reserve lasts, then on stderr and, when there is room again, each event with its own number and time."""
    main, other = world.define("main"), world.define("other")
    world.define("spare")
    small.start().wait_ready()
    with untouched(small, other):
        fill(small)
        kill(small.gateway("main")["pid"])
        small.wait_state("main", "ready", restarts=1)
        assert [event["signal"] for event in told_of(small, "exited", "main")] == [9]
        fill_the_journal(small, "spare")
        kill(small.gateway("main")["pid"])
        small.wait_state("main", "ready", restarts=2)
        assert small.errors.read_text().count("main: exited: killed by signal 9") == 2
        assert len(told_of(small, "exited", "main")) == 1
        free(small)
        wait_recovered(small)
    assert [event["signal"] for event in told_of(small, "exited", "main")] == [9, 9]
    assert seqs(small) == list(range(1, len(seqs(small)) + 1))
    assert len(main.lives()) == 3
    incidents = [*(small.state_dir / "incidents").glob("*-main")]
    assert [json.loads((each / "incident.json").read_text())["cause"] for each in incidents] == ["crash", "crash"]


def test_a_stop_on_a_full_disk_is_remembered_once_there_is_room(world: World, small: Enclosed) -> None:
    """R27: the record of what an operator wants is written again by itself, so that the next brain knows it."""
    main, other = world.define("main"), world.define("other")
    small.start().wait_ready()
    with untouched(small, other):
        fill(small)
        assert small.cli("stop", "main").returncode == 0
        wait_trouble(small, "children/main.json", NO_SPACE)
        free(small)
        wait_recovered(small)
        small.replace_brain()
        assert small.wait_state("main", "stopped")["reason"] == "stopped by the operator"
        small.wait_state("other", "ready", adopted=True)
    assert len(main.lives()) == 1


def test_a_brain_that_comes_to_a_full_disk_adopts_all_and_lets_the_next_one_do_so_too(
    world: World, small: Enclosed
) -> None:
    """R25: nothing of it is on disk, its start included; then there is room, and it dies again."""
    main, other = world.define("main"), world.define("other")
    world.define("spare")
    small.start().wait_ready()
    with untouched(small, other):
        fill(small)
        fill_the_journal(small, "spare")
        small.replace_brain()
        small.wait_state("other", "ready", adopted=True)
        kill(small.gateway("main")["pid"])
        pid = small.wait_state("main", "ready", restarts=1)["pid"]
        wait_trouble(small, NO_SPACE)
        small.replace_brain()
        assert small.wait_state("main", "ready", adopted=True)["pid"] == pid
        free(small)
        wait_recovered(small)
        small.replace_brain()
        assert small.wait_state("main", "ready", adopted=True)["pid"] == pid
    assert len(main.lives()) == 2


def test_the_first_brain_of_a_boot_on_a_full_disk_leaves_gateways_that_the_next_one_knows(
    world: World, small: Enclosed
) -> None:
    """R25: the mark of this boot is written before any record that belongs to it."""
    main = world.define("main")
    small.start().wait_ready()
    assert small.stop() == 0
    small.within('echo another-boot >"$s/children/boot"')
    fill(small)
    small.start()
    pid = small.wait_ready()["main"]["pid"]
    wait_trouble(small, "children/boot", NO_SPACE)
    free(small)
    wait_recovered(small)
    small.replace_brain()
    assert small.wait_state("main", "ready", adopted=True)["pid"] == pid
    assert len(main.lives()) == 2


def test_a_config_that_proves_good_on_a_full_disk_is_kept_when_there_is_room(world: World, small: Enclosed) -> None:
    """R25: without a copy of it there would be nothing to roll back to."""
    main = world.define("main", sections={"restart": {"stable": 6}})
    small.start().wait_ready()
    with untouched(small, main):
        fill(small)
        wait_trouble(small, "snapshots/main", NO_SPACE)
        assert not any('"good_at":0.0' not in file.read_text() for file in snapshots(small))
        free(small)
        small.wait_for(lambda: small.named("config_promoted"), "it is kept as good")
        wait_recovered(small)
    assert all('"good_at":0.0' not in file.read_text() for file in snapshots(small))


def test_a_journal_that_a_disk_has_spoilt_keeps_every_good_line(world: World, supervise: Supervise) -> None:
    """RELIABILITY.md Q8: the next brain puts the rest aside and says so; numbers go on, and no gateway notices."""
    main = world.define("main")
    supervisor = supervise()
    with untouched(supervisor, main):
        journal = supervisor.state_dir / "events.jsonl"
        before = supervisor.events()
        lines = journal.read_bytes().splitlines(keepends=True)
        lines[2] = lines[2].replace(b'"', b"?", 1)
        journal.write_bytes(b"".join(lines))
        supervisor.replace_brain()
        told = supervisor.wait_for(lambda: supervisor.named("journal_mended"), "it is mended")
        assert Path(told[0]["damage_kept_in"]).read_bytes().strip() == lines[2].strip()
        assert "journal mended: " in supervisor.errors.read_text()
        gap = supervisor.named("journal_gap")
        assert [(line["from"], line["to"]) for line in gap] == [(before[2]["seq"], before[2]["seq"])]
        assert seqs(supervisor) == list(range(1, len(seqs(supervisor)) + 1))
        assert supervisor.events()[:2] == before[:2]


def test_a_start_on_a_disk_without_any_room_is_refused_with_a_mend(world: World, small: Enclosed) -> None:
    """R26: without an identity that lasts, the next brain would take our own gateways for strangers."""
    world.define("main")
    fill(small)
    small.start()
    small.wait_for(lambda: NO_SPACE in small.errors.read_text(), "it says why")
    assert "free space on its disk" in small.errors.read_text()
    free(small)
    small.wait_ready()
