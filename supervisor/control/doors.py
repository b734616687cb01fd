"""A socket for each other user that a gateway runs as, since the state dir is closed to all of them.

/run/clawsup-HASH/UID.sock, the hash being of the state dir's path. The directory is root's and only to be passed through, the
socket its user's alone. It opens to status and nothing else: what more a caller may is told by the tree that it grew from.
"""

import os
import socket
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio
from loguru import logger

from supervisor.control.address import side_path

_BACKLOG = 16
_PASSABLE = 0o711

Accept = Callable[[socket.socket], Awaitable[None]]


async def keep(
    state_dir: str, guests: Callable[[], frozenset[int]], changed: Callable[[], Awaitable[None]], accept: Accept
) -> None:
    """Have a socket for each of the `guests`, as they come and go, until cancelled; what cannot be made is said on stderr."""
    open_to: dict[int, anyio.CancelScope] = {}
    refused: dict[int, str] = {}
    try:
        async with anyio.create_task_group() as group:
            while True:
                wanted = guests()
                for uid in [uid for uid, scope in open_to.items() if uid not in wanted or scope.cancel_called]:
                    open_to.pop(uid).cancel()
                for uid in sorted(wanted - open_to.keys()):
                    open_to[uid] = anyio.CancelScope()
                    group.start_soon(_open, open_to[uid], Path(side_path(state_dir, uid)), uid, accept, refused)
                await changed()
    finally:
        with suppress(OSError):
            Path(side_path(state_dir, 0)).parent.rmdir()


async def _open(scope: anyio.CancelScope, path: Path, uid: int, accept: Accept, refused: dict[int, str]) -> None:
    try:
        listener = _bound(path, uid)
    except OSError as error:
        why = f"{path}: uid {uid} cannot call: {error.strerror}"
        # It is tried again with the next change, and said once.
        if refused.get(uid) != why:
            logger.warning(why)
        refused[uid] = why
        scope.cancel()
        return
    refused.pop(uid, None)
    try:
        with scope:
            await accept(listener)
    finally:
        listener.close()
        path.unlink(missing_ok=True)  # noqa: ASYNC240 (in /run, which is memory)


def _bound(path: Path, uid: int) -> socket.socket:
    with suppress(FileExistsError):
        path.parent.mkdir(_PASSABLE)
    found = path.parent.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise NotADirectoryError(20, "its directory is not the supervisor's own", str(path.parent))
    path.parent.chmod(_PASSABLE)
    listener = listening(path, _BACKLOG)
    try:
        os.chown(path, uid, -1)
    except OSError:
        listener.close()
        raise
    return listener


def listening(path: Path, backlog: int) -> socket.socket:
    """A socket that takes connections at `path`, its owner's alone, in place of what was there; OSError where that cannot be."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # Linux gives the file that bind() makes the mode of the socket: no moment with another mode, no umask of all threads.
        os.fchmod(listener.fileno(), 0o600)
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener
