"""Who may act on a state dir: one brain, that of the keeper that lives."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.brain.alone import be_alone
from supervisor.errors import ClawsupError

HOLD = (
    "import fcntl, os, sys, time\n"
    "lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
    "fcntl.flock(lock, fcntl.LOCK_EX)\n"
    "print('held', flush=True)\n"
    "time.sleep(600)\n"
)
Holder = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> "subprocess.Popen[bytes]":
        argv = [sys.executable, "-c", HOLD, str(tmp_path / "brain.lock")]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_the_lock_is_taken_and_not_inherited(tmp_path: Path) -> None:
    lock = be_alone(tmp_path, lambda: True)
    assert not os.get_inheritable(lock)
    assert (tmp_path / "brain.lock").stat().st_mode & 0o777 == 0o600
    os.close(lock)


@pytest.mark.parametrize("stopped", [True, False])
def test_a_brain_of_a_dead_keeper_is_ended_first(tmp_path: Path, holder: Holder, *, stopped: bool) -> None:
    """R23: a stopped one cannot hear that its keeper has gone."""
    old = holder()
    if stopped:
        old.send_signal(signal.SIGSTOP)
    lock = be_alone(tmp_path, lambda: True)
    assert old.wait(10) == -signal.SIGKILL
    os.close(lock)


def test_a_brain_whose_own_keeper_is_dead_ends_nobody(tmp_path: Path, holder: Holder) -> None:
    """It came late: who holds the lock is the brain of the keeper that lives."""
    successor = holder()
    with pytest.raises(ClawsupError, match="keeper"):
        be_alone(tmp_path, lambda: False)
    assert successor.poll() is None


def test_a_free_lock_is_no_use_to_a_brain_without_a_keeper(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ClawsupError, match="keeper"):
        be_alone(tmp_path, lambda: False)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
