"""Files read without trusting them, and where a path really leads."""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from supervisor.errors import ClawsupError
from supervisor.policy.candidate import Kind, Place, Spot

SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
SEEN_BY_OTHERS: Final = stat.S_IROTH | stat.S_IWOTH

_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def content(path: str, limit: int) -> tuple[bytes, int]:
    """All bytes and the mode of a regular file; OSError for anything else and for more than `limit` bytes. Never waits.

    ClawsupError where the machine is short of what it takes to look: that is no fault of the file.
    """
    # A FIFO would make a plain open wait for a writer, a terminal would become ours: hence the flags.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # what a socket says to being opened, and a device without its driver
            raise OSError(errno.ENXIO, "it is a socket or a device, not a file", path) from error
        if error.errno in SHORTAGES:
            raise ClawsupError(f"{path} cannot be read now: {error.strerror}", mend="raise the limit") from error
        raise
    try:
        return _regular(path, fd, limit)
    finally:
        os.close(fd)


def _regular(path: str, fd: int, limit: int) -> tuple[bytes, int]:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", path)
    with os.fdopen(fd, "rb", closefd=False) as file:
        data = file.read(limit + 1) if status.st_size <= limit else b""
    if max(len(data), status.st_size) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit // 1024} KiB", path)
    return data, stat.S_IMODE(status.st_mode)


def place(path: str) -> Place:
    """Where the path leads, symlinks and bind mounts followed, as far as it exists."""
    real = Path(os.path.realpath(path))  # Path.resolve() raises on a loop of symlinks
    spots: list[Spot] = []
    deepest, device, inode, mode = Path("/"), 0, 0, stat.S_IFDIR
    for step in (*reversed(real.parents), real):
        try:
            status = step.stat()
        except OSError:
            # What is not there, or not for us to see, is named by how it is reached from what is.
            spots.append((device, inode, str(step.relative_to(deepest))))
        else:
            deepest, device, inode, mode = step, status.st_dev, status.st_ino, status.st_mode
            spots.append((device, inode, ""))
    *above, spot = spots
    return Place(path, spot, frozenset(above) - {spot}, _kind(mode, exists=deepest == real))


def _kind(mode: int, *, exists: bool) -> Kind:
    """What stands there, or, if nothing does, whether it could: below a file there is no room for anything."""
    if stat.S_ISDIR(mode):
        return "directory" if exists else "absent"
    return "file" if exists and stat.S_ISREG(mode) else "other"
