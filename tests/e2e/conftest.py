"""Worlds and supervisors, cleared away afterwards and looked over from outside."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import systemd_box
from tests.e2e.boxed import READABLE, USERS, own
from tests.e2e.supervised import Supervisor
from tests.e2e.world import World
from tests.ports import Ports

Supervise = Callable[..., Supervisor]


@pytest.fixture
def world(short_dir: Path, ports: Ports) -> Iterator[World]:
    """A host of its own; when the test is over no process of it may be left."""
    host = World(short_dir, ports)
    yield host
    strays = host.strays()
    assert not strays, f"processes left behind, now killed: {strays}"
    assert not list(host.home.glob("*/fake/overlap")), "two gateways met on one state directory"


@pytest.fixture
def supervise(world: World) -> Iterator[Supervise]:
    """Start supervisors on the world; each one is stopped in order at the end."""
    started: list[Supervisor] = []

    def start(output: int | None = None, **given: Any) -> Supervisor:
        supervisor = Supervisor(world, **given)
        started.append(supervisor)
        return supervisor.start(output)

    yield start
    for supervisor in started:
        supervisor.stop()


@pytest.fixture(scope="session")
def box() -> Iterator[systemd_box.Box]:
    """One real systemd for all tests of a run, with users of its own; in CI it may be missing only where root is."""
    if why := systemd_box.missing():
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(f"CI needs a systemd: {why}")
        pytest.skip(why)
    shared = Path(tempfile.mkdtemp(prefix="cs-"))
    shared.chmod(0o755)
    booted = systemd_box.Box([shared], READABLE)
    for name, (uid, _) in USERS.items():
        booted.done("useradd", "--create-home", "--uid", str(uid), "--user-group", name)
    yield booted
    booted.close()
    shutil.rmtree(shared)


@pytest.fixture(scope="session")
def box_roots(box: systemd_box.Box) -> Iterator[Path]:
    """Names for worlds that are the same inside the box and outside."""
    return (box.shared[0] / str(number) for number in itertools.count(1))


@pytest.fixture(scope="module")
def boxed(box_roots: Iterator[Path], ports: Ports) -> Iterator[World]:
    """A host for one test module, its home the first user's; when the tests are over no process of it may be left."""
    root = next(box_roots)
    root.mkdir()
    host = World(root, ports)
    own(host.home, USERS["alice"])
    yield host
    strays = host.strays()
    assert not strays, f"processes left behind, now killed: {strays}"
    assert not list(host.home.glob("*/fake/overlap")), "two gateways met on one state directory"
