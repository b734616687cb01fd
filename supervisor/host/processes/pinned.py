"""Processes held by a pidfd: watched, signalled and reaped, never by a number that may be another's by now."""

import errno
import fcntl
import os
import resource
import signal
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import anyio

from supervisor.host.processes.looking import ENDED, stat_of

# Errors of the machine, not of the launcher: the same spawn may work in a moment.
SHORTAGES = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EINTR})
# linux/pidfd.h, since 6.15: the first 64 bytes of struct pidfd_info, whose first word says what is wanted, and given.
_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO = struct.Struct("=Q52xi")
_PIDFD_INFO_EXIT = 1 << 3
_REAPED_WITHIN_S = 2.0
_LOOK_AGAIN_S = 0.01


@dataclass(frozen=True, slots=True)
class Process:
    """A pinned process: `pidfd` is ours to close, `start_ticks` is field 22 of /proc/PID/stat."""

    pid: int
    pidfd: int
    start_ticks: int


def pin(pid: int) -> Process | None:
    """The process that has this pid now, or None; look at its token only after this, or it may be another's.

    OSError where the machine is short of what a look takes: nobody is gone because we cannot see him.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in SHORTAGES:
            raise
        return None
    fields: list[str] = []
    try:
        fields = stat_of(pid)
    except OSError as error:
        if error.errno in SHORTAGES:
            os.close(pidfd)
            raise
    if not fields or fields[0] in ENDED:
        os.close(pidfd)
        return None
    return Process(pid, pidfd, int(fields[19]))


async def ended(process: Process) -> int | None:
    """Wait for the end; the wait status, or None when another process is its parent.

    It stays a zombie, its status there to be learnt again by whoever comes after us, until `reap`.
    """
    await anyio.wait_readable(process.pidfd)
    try:
        result = os.waitid(os.P_PIDFD, process.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # noqa: ASYNC222 - it has ended: no wait
    except ChildProcessError:
        return None
    if result is None:
        return None
    return result.si_status << 8 if result.si_code == os.CLD_EXITED else result.si_status


def reap(process: Process) -> int:
    """Let go of a process that has ended: its zombie, if it is ours, and its pidfd.

    Gives the most memory that it, or a child it waited for, had at once, in bytes; 0 where that cannot be known.
    """
    peak = 0
    with suppress(ChildProcessError):
        if os.waitid(os.P_PIDFD, process.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            # It is our zombie, and until we reap it nobody else has its number.
            peak = os.wait4(process.pid, os.WNOHANG)[2].ru_maxrss
    os.close(process.pidfd)
    # The kernel's figure begins with what we had when we made it: one that is no larger says nothing of the child.
    return peak * 1024 if peak > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss else 0


async def status_after_reaping(process: Process) -> int | None:
    """The wait status of a process that ended and that a stranger reaps, such as init; None before Linux 6.15."""
    with anyio.move_on_after(_REAPED_WITHIN_S):
        while True:
            try:
                answer = fcntl.ioctl(process.pidfd, _PIDFD_GET_INFO, _PIDFD_INFO.pack(_PIDFD_INFO_EXIT, 0))
            except OSError:
                return None
            given, status = _PIDFD_INFO.unpack(answer)
            if given & _PIDFD_INFO_EXIT:
                return int(status)
            await anyio.sleep(_LOOK_AGAIN_S)
    return None


def send(process: Process, number: signal.Signals) -> bool:
    """Send a signal; False when the process is gone (or not ours to signal)."""
    try:
        signal.pidfd_send_signal(process.pidfd, number)
    except OSError:
        return False
    return True


def terminate(process: Process) -> bool:
    """SIGTERM, and SIGCONT so that a stopped process can hear it."""
    sent = send(process, signal.SIGTERM)
    send(process, signal.SIGCONT)
    return sent


def kill_all(pids: Iterable[int], still: Callable[[int], bool]) -> int:
    """SIGKILL those of the pids that, once pinned, still are what they were taken for; how many were killed. OSError as `pin`."""
    killed = 0
    for pid in pids:
        process = pin(pid)
        if process is None:
            continue
        if still(pid):
            killed += send(process, signal.SIGKILL)
        os.close(process.pidfd)
    return killed
