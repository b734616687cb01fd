"""Files read without trusting them, and where a path really leads."""

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Final, TypeAlias

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

Mount: TypeAlias = tuple[str, str, str]
"""The device, the directory on it that is mounted, and where."""

# How the kernel writes a space, a tab, a line break or a backslash of a path into a list of mounts.
_OCTAL: Final = re.compile(r"\\(0[0-7]{2}|1[0-7]{2})")


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
    return Place(path, spot, frozenset([*above, *_behind(deepest)]) - {spot}, _kind(mode, exists=deepest == real))


def _behind(real: Path) -> Iterator[Spot]:
    """The directories that it lies in and that its path does not show: those around what a bind mount on the way was taken from."""
    mounts = _mounts()
    ways = [real]
    while ways:
        way = ways.pop()
        for step in (way, *way.parents):
            # Each mount is looked behind once, or two that show each other would have no end.
            for other in _also_at(step, mounts):
                mounts = [mount for mount in mounts if mount[2] != str(step)]
                ways.append(other)
                for above in other.parents:
                    with suppress(OSError):
                        status = above.stat()
                        yield (status.st_dev, status.st_ino, "")


def _also_at(point: Path, mounts: Sequence[Mount]) -> list[Path]:
    """Where else the directory that is mounted at this point can be seen."""
    found = []
    for device, root, at in mounts:
        if at != str(point):
            continue
        for other_device, other_root, other_at in mounts:
            if other_device == device and other_at != at and PurePath(root).is_relative_to(other_root):
                other = Path(other_at) / PurePath(root).relative_to(other_root)
                with suppress(OSError):
                    found += [other] if other.samefile(point) else []
    return found


def _mounts() -> list[Mount]:
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        device, root, at = (_OCTAL.sub(lambda code: chr(int(code[1], 8)), field) for field in line.split(" ")[2:5])
        found.append((device, root, at))
    return found


def _kind(mode: int, *, exists: bool) -> Kind:
    """What stands there, or, if nothing does, whether it could: below a file there is no room for anything."""
    if stat.S_ISDIR(mode):
        return "directory" if exists else "absent"
    return "file" if exists and stat.S_ISREG(mode) else "other"
