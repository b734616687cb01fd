"""One brain at a time, also where a keeper died and left a brain that cannot see it: stopped, or held up by a disk."""

import errno
import fcntl
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

from supervisor.errors import ClawsupError
from supervisor.host import locks, processes

WAIT_S = 20.0
_LOOK_S = 0.01
_DIE_MS = 500


def be_alone(state_dir: Path, keeper_lives: Callable[[], bool]) -> int:
    """Take `brain.lock` for as long as this process lives, SIGKILLing whoever has it; ClawsupError if nobody lets go.

    Whoever was there before our keeper was last seen alive is a brain of another keeper, which is dead, since ours has its
    `supervisor.lock`; or what that brain was about to start and had not yet. Neither has a right to act any more.
    """
    path = state_dir / "brain.lock"
    try:
        lock = _open(path)
    except OSError as error:
        raise ClawsupError(f"{path}: {error.strerror}", mend="make the state dir writable") from error
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _oust(path, keeper_lives)
            time.sleep(_LOOK_S)
        else:
            if keeper_lives():
                return lock
            os.close(lock)
            raise _orphaned()
    os.close(lock)
    raise ClawsupError(f"{path} is held by a process that cannot be ended", mend=f"find it: fuser {path}")


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        # A disk that was made read-only still locks what is there.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


def _oust(path: Path, keeper_lives: Callable[[], bool]) -> None:
    for pid in locks.holders(path):
        process = processes.pin(pid)
        if process is None:
            continue
        # Pinned first, and the keeper seen alive last: so it was there while our keeper already had the state dir.
        if pid in locks.holders(path, known=(pid,)) and keeper_lives():
            processes.send(process, signal.SIGKILL)
            end = select.poll()
            end.register(process.pidfd, select.POLLIN)
            end.poll(_DIE_MS)
        os.close(process.pidfd)
    if not keeper_lives():
        raise _orphaned()


def _orphaned() -> ClawsupError:
    return ClawsupError("the keeper of this brain is gone", mend="clawsup run")
