"""Small state files: written whole or not at all, read whole or set aside."""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from supervisor.errors import ClawsupError

_BAD = ".bad-"
_PRIVATE = 0o700
_WRITABLE_BY_OTHERS = 0o022
# A record that fits is padded to one page, and then written over in place: 0.01 ms, where ext4 takes 1 ms for a rename onto a
# file. Of one page the next reader sees the old or the new, whenever the writer is killed.
_PAGE = 4096
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def _utc_now() -> datetime:
    return datetime.now(UTC)


def prepare_directory(path: Path) -> str:
    """Make `path` a directory of ours that nobody else can enter; "" or, for a person, why that cannot be."""
    try:
        path.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(mode=_PRIVATE)
        if path.is_symlink():
            return f"{path} is a symbolic link: name the directory itself"
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileExistsError, NotADirectoryError) as refusal:
        return f"{refusal.filename} is not a directory"
    except OSError as refusal:
        return f"{refusal.filename}: {refusal.strerror}"
    try:
        return _unsafe(path, fd)
    finally:
        os.close(fd)


def _unsafe(path: Path, fd: int) -> str:
    found = os.fstat(fd)
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.geteuid():
        return f"{path} belongs to uid {found.st_uid}, and we run as uid {os.geteuid()}"
    if mode & _WRITABLE_BY_OTHERS:
        return f"{path} can be written by others (mode {mode:04o}): look what is in it, then chmod 0700 {path}"
    if mode != _PRIVATE:
        try:
            os.fchmod(fd, _PRIVATE)
        except OSError as refusal:
            return f"{path} has mode {mode:04o}, not 0700, and that cannot be changed: {refusal.strerror}"
    return ""


class Records:
    """The records of one directory, which exists; a name is a file name that does not begin with a dot.

    What is kept does not end in a blank. One process writes. Nothing here raises, but to read raises ClawsupError where the machine is short of what it takes: a record
    that cannot be seen now is not to be taken for one that is lost.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], datetime] = _utc_now) -> None:
        self._directory = directory
        self._clock = clock

    def save(self, name: str, data: bytes, *, durable: bool) -> str:
        """Replace the record as a whole; "" or why not, and then the earlier one stands. `durable` outlives a loss of power."""
        if not _is_name(name):
            return f"{name!r} is no name for a record"
        data = data.ljust(_PAGE)
        if not durable and _written_over(f"{self._directory}/{name}", data):
            return ""
        draft = self._directory / f".{name}.tmp"
        try:
            _write(draft, data, durable=durable)
            draft.rename(self._directory / name)
            if durable:
                _sync_directory(self._directory)
        except OSError as refusal:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            return f"{self._directory / name}: {refusal.strerror}"
        return ""

    def load(self, name: str) -> bytes | None:
        """The record's bytes; None if there is none that can be read."""
        if not _is_name(name):
            return None
        try:
            # O_NONBLOCK: a FIFO of that name must not hold us.
            fd = os.open(self._directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(fd, "rb") as file:
                return file.read().rstrip(b" ") if stat.S_ISREG(os.fstat(fd).st_mode) else None
        except OSError as refusal:
            _unless_short(self._directory / name, refusal)
            return None

    def set_aside(self, name: str) -> str:
        """Rename a record that makes no sense to NAME.bad-STAMP, for a person to look at; "" or why not."""
        stamp = self._clock().strftime("%Y%m%dT%H%M%S%fZ")
        try:
            (self._directory / name).rename(self._directory / f"{name}{_BAD}{stamp}")
        except OSError as refusal:
            return f"{self._directory / name}: {refusal.strerror}"
        return ""

    def names(self) -> list[str]:
        """The names of all records, sorted; none if the directory cannot be read."""
        try:
            return sorted(
                path.name for path in self._directory.iterdir() if _is_name(path.name) and _BAD not in path.name
            )
        except OSError as refusal:
            _unless_short(self._directory, refusal)
            return []

    def remove(self, name: str) -> str:
        """Forget the record, if there is one, and what a writer that was killed has left of it; "" or why not."""
        try:
            for each in (name, f".{name}.tmp"):
                (self._directory / each).unlink(missing_ok=True)
        except OSError as refusal:
            return f"{self._directory / name}: {refusal.strerror}"
        return ""


def _unless_short(path: Path, refusal: OSError) -> None:
    if refusal.errno in _SHORTAGES:
        raise ClawsupError(f"{path} cannot be read now: {refusal.strerror}", mend="raise the limit") from refusal


def _is_name(name: str) -> bool:
    return bool(name) and not name.startswith(".") and "/" not in name and "\0" not in name


def _written_over(path: str, page: bytes) -> bool:
    """Write one page over a file of that size; False where there is none that can take it."""
    if len(page) != _PAGE:
        return False
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = os.fstat(fd)
        # A second name of the file is somebody's copy of what it was.
        is_ours = stat.S_ISREG(found.st_mode) and (found.st_size, found.st_nlink) == (_PAGE, 1)
        return is_ours and os.pwrite(fd, page, 0) == _PAGE
    except OSError:
        return False
    finally:
        os.close(fd)


def _write(path: Path, data: bytes, *, durable: bool) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
