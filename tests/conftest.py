"""Fixtures that tests of every floor may use."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import real_openclaw
from tests.ports import Ports


def pytest_configure() -> None:
    """Undo an ignored SIGINT: a shell without job control ignores it in what it runs behind, and over every exec."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
