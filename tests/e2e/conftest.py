"""Worlds and supervisors, cleared away afterwards and looked over from outside."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

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
