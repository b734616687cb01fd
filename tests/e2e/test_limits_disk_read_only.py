"""The state directory's disk is read-only: what was decided goes on in memory, config writes are refused, and it ends in order."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.enclosed import Enclosed, enclosed
from tests.e2e.limits import brain_of, untouched, wait_recovered, wait_trouble
from tests.e2e.supervised import gone
from tests.e2e.world import World, kill

READ_ONLY = "Read-only file system"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can lay a read-only mount over a disk in use")


@pytest.fixture
def small(world: World) -> Iterator[Enclosed]:
    with enclosed(world) as supervisor:
        yield supervisor


def forbid(supervisor: Enclosed) -> None:
    """Lay the same disk over itself, read-only: what is open stays writable, as the kernel's own remount would not have it."""
    supervisor.within('mount --bind "$s" "$s" && mount -o remount,bind,ro "$s"')


def allow(supervisor: Enclosed) -> None:
    supervisor.within('umount -l "$s"')


def test_a_disk_that_turns_read_only_costs_no_gateway_anything(world: World, small: Enclosed) -> None:
    """R27: a crash and an operator's stop are obeyed, and are on record when the disk takes it."""
    main, other = world.define("main"), world.define("other", env={"FAKE_CHATTER": "100"})
    stopped = world.define("stopped")
    small.start().wait_ready()
    with untouched(small, other):
        forbid(small)
        kill(small.gateway("main")["pid"])
        small.wait_state("main", "ready", restarts=1)
        assert small.cli("stop", "stopped").returncode == 0
        wait_trouble(small, "children/", READ_ONLY)
        allow(small)
        wait_recovered(small)
        small.replace_brain()
        assert small.wait_state("stopped", "stopped")["reason"] == "stopped by the operator"
        small.wait_state("main", "ready", adopted=True)
    assert [len(gateway.lives()) for gateway in (main, stopped)] == [2, 1]


def test_a_brain_that_comes_to_a_read_only_disk_goes_on_without_a_socket(world: World, small: Enclosed) -> None:
    """R25: it adopts all, looks after them, and is heard when the disk takes a socket."""
    main, other = world.define("main"), world.define("other")
    small.start().wait_ready()
    with untouched(small, other):
        forbid(small)
        kill(brain_of(small))
        small.wait_for(lambda: "supervisor: degraded: reason " in small.errors.read_text(), "the next brain says so")
        assert small.cli("status").returncode == 4
        kill(main.lives()[0]["pid"])
        small.wait_for(lambda: len(main.lives()) == 2, "it restarts what died")
        allow(small)
        small.wait_for(lambda: small.cli("status").returncode in {0, 5}, "it is heard")
        wait_recovered(small)
        small.wait_state("other", "ready", adopted=True)
        assert small.wait_state("main", "ready")["pid"] == main.lives()[1]["pid"]


def test_a_supervisor_ends_in_order_on_a_read_only_disk(world: World, small: Enclosed) -> None:
    """R26: SIGTERM stops every gateway once, and the exit code is 0."""
    main = world.define("main")
    small.start().wait_ready()
    pid = small.gateway("main")["pid"]
    forbid(small)
    assert small.stop() == 0
    assert gone(pid)
    assert len(main.lives()) == 1
    assert small.errors.read_text().count("supervisor: started") == 1


def test_a_run_on_a_read_only_disk_adopts_what_an_earlier_one_left(world: World, small: Enclosed) -> None:
    """R25: the whole disk, and nobody has anything of it open for writing; a first start on such a disk is refused."""
    main = world.define("main")
    small.within('mount -o remount,ro "$s"')
    refused = small.cli("run")
    assert (refused.returncode, "may not write the state dir" in refused.stderr) == (1, True)
    small.within('mount -o remount,rw "$s"')
    small.start().wait_ready()
    pid, keeper = small.gateway("main")["pid"], small.status()["supervisor"]["keeper_pid"]
    brain = brain_of(small)
    kill(keeper)
    small.wait_for(lambda: gone(brain), "the brain follows its keeper")
    assert small.process is not None
    small.process.wait()
    small.within('mount -o remount,ro "$s"')
    small.start()
    small.wait_for(lambda: f"main: adopted: pid {pid}" in small.errors.read_text(), "it is adopted")
    kill(pid)
    small.wait_for(lambda: len(main.lives()) == 2, "and started again")
    small.within('mount -o remount,rw "$s"')
    small.wait_state("main", "ready", restarts=1)
    wait_recovered(small)


def test_a_config_on_a_read_only_disk_is_not_written(world: World, small: Enclosed) -> None:
    """R9: put and rollback are refused with the reason, the gateway runs on, and the file is as it was."""
    main = world.define("main", sections={"restart": {"stable": 0.2}})
    small.start().wait_ready()
    small.wait_for(lambda: small.named("config_promoted"), "there is a good config")
    key = next((small.state_dir / "snapshots" / "main").glob("*.json")).stem
    with untouched(small, main):
        good = main.config.read_text()
        main.write_config(auth={"mode": "none"})
        edited = main.config.read_bytes()
        small.within(f'mount --bind "{main.state_dir}" "{main.state_dir}"; mount -o remount,bind,ro "{main.state_dir}"')
        argv = small.argv("config", "main", "put")
        put = subprocess.run(argv, input=good, env=small.env, capture_output=True, text=True, timeout=60, check=False)
        for refused in (put, small.cli("config", "main", "rollback", key)):
            assert refused.returncode == 1
            assert READ_ONLY in refused.stderr
            assert "Traceback" not in refused.stderr
        assert main.config.read_bytes() == edited
        small.within(f'umount -l "{main.state_dir}"')
        main.config.write_text(good)
