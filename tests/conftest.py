"""Fixtures that tests of every floor may use."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import real_openclaw
from tests.parked import leave, park
from tests.ports import Ports

PARKED: list[int] = []


def pytest_configure() -> None:
    """Undo ignored signals (nohup, and shells without job control, ignore some, and that outlives every exec); park low numbers."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    PARKED.extend(park())


@pytest.fixture
def low_numbers() -> Iterator[None]:
    """Descriptor numbers that a lock's slot can have."""
    leave(PARKED)
    yield
    PARKED.extend(park())


@pytest.fixture(scope="session")
def ports() -> Iterator[Ports]:
    taken = Ports()
    yield taken
    taken.close()


@pytest.fixture
def base_port(ports: Ports) -> int:
    return ports.take()


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory with a path short enough for unix sockets (107 bytes) below it."""
    directory = Path(tempfile.mkdtemp(prefix="cs-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def openclaw() -> real_openclaw.RealOpenClaw:
    """The real OpenClaw; where it cannot be had the test is skipped, in CI it fails."""
    try:
        return real_openclaw.ensure()
    except real_openclaw.InstallError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs the real OpenClaw: {error}")
        pytest.skip(f"the real OpenClaw cannot be installed here: {error}")
