"""Writes and removes the few files of ours that lie in a gateway's own directories: skill and inbox.

Each is written whole or not at all, and belongs to whom the root belongs to. No symbolic link is followed below the root, however
quickly it is put there; and with an `owner`, a root that leads to a directory of anybody else is refused.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_BYTES = 1 << 20


def put(root: Path, name: str, data: bytes, *, owner: int | None = None) -> str:
    """Write `root/name`, its directories made where they are missing; "" or, for a person, why not."""
    try:
        # OpenClaw makes a workspace with the first turn of an agent, and that may be the one that we ask for.
        if not root.exists():
            with _opened(root.parent, (), owner) as (above, _):
                _make(root.name, above)
        with _opened(root, PurePath(name).parts[:-1], owner, make=True) as (directory, whose):
            _write(directory, PurePath(name).name, data, whose)
    except OSError as refusal:
        return f"{root / name}: {refusal.strerror}"
    return ""


def read(root: Path, name: str) -> bytes | None:
    """What is there, up to 1 MiB; None where there is no file that can be read."""
    with suppress(OSError), _opened(root, PurePath(name).parts[:-1], None) as (directory, _):
        fd = os.open(PurePath(name).name, _FILE, dir_fd=directory)
        try:
            return os.read(fd, _MAX_BYTES) if stat.S_ISREG(os.fstat(fd).st_mode) else None
        finally:
            os.close(fd)
    return None


def remove(root: Path, name: str, *, owner: int | None = None) -> str:
    """Take the file away, and the directory that it leaves empty; "" or why not."""
    path = PurePath(name)
    try:
        with suppress(FileNotFoundError), _opened(root, path.parts[:-1], owner) as (directory, _):
            os.unlink(path.name, dir_fd=directory)
    except OSError as refusal:
        return f"{root / name}: {refusal.strerror}"
    if path.parts[:-1]:
        with suppress(OSError), _opened(root, path.parts[:-2], owner) as (above, _):
            os.rmdir(path.parts[-2], dir_fd=above)
    return ""


@contextmanager
def _opened(
    root: Path, below: tuple[str, ...], owner: int | None, *, make: bool = False
) -> Iterator[tuple[int, tuple[int, int]]]:
    """The directory `below` the root, open, and whose the root is."""
    here = os.open(root, _DIRECTORY)
    try:
        home = os.fstat(here)
        if owner is not None and home.st_uid != owner:
            raise PermissionError(errno.EPERM, f"{root} belongs to uid {home.st_uid}")
        for name in below:
            if make:
                _make(name, here)
            following = _entered(name, here)
            os.close(here)
            here = following
        yield here, (home.st_uid, home.st_gid)
    finally:
        os.close(here)


def _entered(name: str, above: int) -> int:
    if stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
        raise OSError(errno.ELOOP, f"{name} is a symbolic link")
    return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=above)


def _make(name: str, above: int) -> None:
    """Make a directory, unless it is there, for whom the one above belongs to."""
    try:
        os.mkdir(name, 0o700, dir_fd=above)
    except FileExistsError:
        return
    made = _entered(name, above)
    try:
        home = os.fstat(above)
        # With something in it, it is not the one that we made.
        if not os.listdir(made):  # noqa: PTH208 (a descriptor is no path)
            _give(made, (home.st_uid, home.st_gid))
    finally:
        os.close(made)


def _write(directory: int, name: str, data: bytes, whose: tuple[int, int]) -> None:
    draft = f".{name}.{secrets.token_hex(4)}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            _give(fd, whose)
        os.rename(draft, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        with suppress(OSError):
            os.unlink(draft, dir_fd=directory)
        raise


def _give(fd: int, whose: tuple[int, int]) -> None:
    if whose != (os.geteuid(), os.getegid()):
        os.fchown(fd, *whose)
