"""Puts the bytes of a config back where they belong, whatever stands there by now: whole or not at all, file by file.

A file goes to its place by rename, in its own directory, after fsync; a symbolic link is written through to its target; a
directory in the place is moved aside. Mode and owner are those of the file that it replaces, else of the directory.
"""

import errno
import os
import secrets
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from supervisor.openclaw.content import Content, collect

_PRIVATE = 0o600
_BLOCK_BYTES = 1024 * 1024


def read(path: str) -> Content:
    """The present content, included files and all."""
    return collect(path, _read)


@dataclass(slots=True)
class Looked:
    """A config file under watch: read again only when a file of it has changed."""

    path: str
    content: Content = field(default_factory=Content)
    _stamps: tuple[tuple[str, tuple[int, ...]], ...] | None = None

    def look(self) -> Content:
        """The present content."""
        # The stamps are taken before the bytes: a write in between is seen by the next look.
        stamps = _stamps([self.path, *(path for path, _ in self.content.files[1:])])
        if stamps != self._stamps:
            self.content = read(self.path)
            known = [self.path, *(path for path, _ in self.content.files[1:])]
            self._stamps = stamps if [path for path, _ in stamps] == known else None
        return self.content


def replace(
    content: Content, *, owner: int | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> str:
    """Make the files of `content` what is on disk, byte for byte; "" or, for a person, why not.

    With `owner`, a directory that belongs neither to that uid nor to us is refused: the gateway's user could have led us there.
    """
    for path, data in content.files:
        with suppress(OSError):
            if _read(path) == data:
                continue
        try:
            _replace(Path(os.path.realpath(path)), data, owner, clock)
        except OSError as refusal:
            return f"{path}: {refusal.strerror or refusal}"
    return ""


def _replace(target: Path, data: bytes, owner: int | None, clock: Callable[[], datetime]) -> None:
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        home = os.fstat(directory)
        if owner is not None and home.st_uid not in {owner, os.geteuid()}:
            raise PermissionError(errno.EPERM, f"{target.parent} belongs to uid {home.st_uid}")
        before = _stat(target.name, directory)
        if before is not None and not stat.S_ISREG(before.st_mode):
            stamp = clock().strftime("%Y%m%dT%H%M%S%fZ")
            os.rename(target.name, f"{target.name}.aside-{stamp}", src_dir_fd=directory, dst_dir_fd=directory)
            before = None
        draft = f".{target.name}.{secrets.token_hex(4)}.tmp"
        try:
            _write(draft, directory, data, before or home, before is not None)
            os.rename(draft, target.name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            with suppress(OSError):
                os.unlink(draft, dir_fd=directory)
            raise
        os.fsync(directory)
    finally:
        os.close(directory)


def _write(name: str, directory: int, data: bytes, like: os.stat_result, same_mode: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, _PRIVATE, dir_fd=directory)
    try:
        if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
            with suppress(PermissionError):
                os.fchown(fd, like.st_uid, like.st_gid)
        os.fchmod(fd, stat.S_IMODE(like.st_mode) if same_mode else _PRIVATE)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def _read(path: str) -> bytes:
    """A file's bytes; OSError for anything else, and never a wait for a FIFO."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", path)
        # Not open(): it would keep the descriptor of what it refuses.
        return b"".join(iter(lambda: os.read(fd, _BLOCK_BYTES), b""))
    finally:
        os.close(fd)


def _stat(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _stamps(paths: Sequence[str]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((path, _stamp(path)) for path in paths)


def _stamp(path: str) -> tuple[int, ...]:
    try:
        found = Path(path).stat()
    except OSError as error:
        return (-1, error.errno or 0)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
