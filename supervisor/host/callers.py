"""Who is at the other end of a unix socket: its process, pinned, and the processes that it grew from.

The kernel tells who connected (SO_PEERPIDFD, since Linux 6.5, else SO_PEERCRED). A pidfd pins that process, so that its number
cannot pass to another while its ancestors are read. Whatever a caller says about itself, it cannot choose its ancestors.
"""

import os
import select
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_SO_PEERPIDFD = 77  # asm-generic/socket.h; SPARC and PA-RISC number theirs otherwise, and fall back
_UCRED = struct.Struct("iII")
_INT = struct.Struct("i")
_DEEPEST = 256


@dataclass(frozen=True, slots=True)
class Caller:
    """The process that connected, as the kernel recorded it then; pid 0 is outside our pid namespace.

    `pidfd` pins it, and is the receiver's to close; -1 where that could not be.
    """

    pid: int
    uid: int
    gid: int
    pidfd: int = field(default=-1, compare=False)


def caller_of(connection: socket.socket) -> Caller:
    """Tell who connected."""
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Caller(pid, uid, gid, _pinned(connection, pid))


def lineage(pid: int, pidfd: int) -> tuple[int, ...] | None:
    """Give the pinned process and its ancestors, up to the first process that we can see; None where that is in doubt.

    Two readings must agree: a process whose parent ends in between is handed to another one.
    """
    first = _ancestors(pid)
    if not first or first != _ancestors(pid) or _has_ended(pidfd):
        return None
    return tuple(ancestor for ancestor, _ in first)


def _pinned(connection: socket.socket, pid: int) -> int:
    with suppress(OSError):
        (pidfd,) = _INT.unpack(connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, _INT.size))
        os.set_inheritable(pidfd, False)
        return int(pidfd)
    # Before 6.5 the number may have passed to another between connect and now; then that one is below no gateway that the
    # first was not below, or it is refused by the two readings of its ancestors.
    with suppress(OSError):
        return os.pidfd_open(pid)
    return -1


def _has_ended(pidfd: int) -> bool:
    """Whether the pinned process is over; one that could not be pinned counts as over."""
    if pidfd < 0:
        return True
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _ancestors(pid: int) -> list[tuple[int, int]]:
    """Each as (pid, start ticks), from the process up; empty where one of them cannot be read."""
    chain: list[tuple[int, int]] = []
    while pid > 0:
        try:
            text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return []
        fields = text[text.rindex(")") + 2 :].split()
        parent, ticks = int(fields[1]), int(fields[19])
        # No parent is younger than its child, so a younger one has only come by the number of the real one.
        if (chain and ticks > chain[-1][1]) or len(chain) == _DEEPEST:
            return []
        chain.append((pid, ticks))
        pid = parent
    return chain
