"""Appends events to the journal, and goes on in memory while the disk refuses them."""

import ctypes
import errno
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from supervisor.host.journal import lines, mending

MIB = 1024 * 1024

_RETRY_S = 1.0
_RESERVE_BYTES = 64 * 1024
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE of linux/falloc.h


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Journal:
    """The one writer of `path`; its present file and `keep` older parts have some `max_bytes` each.

    While there is room, 64 KiB stay allocated behind the end of the file: nobody else on a full disk can have them.
    Nothing here raises OSError. `seq` is the number of the last event, `trouble` "" or why events wait in memory; at most
    `max_waiting` bytes of them wait, the oldest give way, and a `journal_gap` line then tells their numbers. Where not even
    reading worked at first, numbers are provisional until it does. `damage` is where damaged lines have been put, for whoever
    tells of it to take out. `clock` gives UTC and is only written down.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = 8 * MIB,
        keep: int = 5,
        max_waiting: int = 4 * MIB,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._max_waiting = max_waiting
        self._clock = clock
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._waiting_bytes = 0
        self._written: int | None = None
        self._fd = -1
        self._identity: tuple[int, int] | None = None
        self._size = 0
        self._reserved = 0
        self._is_fresh = False
        self._sync_due = False
        self._retry_at = 0.0
        self.seq = 0
        self.trouble = ""
        self.damage: list[Path] = []
        self.flush()

    def append(self, event: str, gateway: str | None, fields: Mapping[str, object], *, durable: bool = False) -> int:
        """Write one event down and return its number; `durable` outlives a loss of power, for some 0.4 ms."""
        self.seq += 1
        line = lines.encode(self.seq, self._clock(), gateway, event, fields)
        self._waiting.append((self.seq, line))
        self._waiting_bytes += len(line)
        self._sync_due |= durable
        if not self.trouble or time.monotonic() >= self._retry_at:
            self.flush()
        while self._waiting_bytes > self._max_waiting:
            self._waiting_bytes -= len(self._waiting.popleft()[1])
        return self.seq

    def flush(self) -> None:
        """Try to write what waits; while there is `trouble`, to be called now and then."""
        try:
            if not self._is_in_place():
                self._open()
            self._write_waiting()
            if self._sync_due:
                self._sync()
        except OSError as refusal:
            self.trouble = f"{self._path}: {os.strerror(refusal.errno or errno.EIO)}"
            self._retry_at = time.monotonic() + _RETRY_S
        else:
            self.trouble = ""

    def __del__(self) -> None:
        # A descriptor is a bare number: nobody else would give it back.
        self._close()

    def _write_waiting(self) -> None:
        while self._waiting:
            seq, line = self._waiting[0]
            due = (self._written or 0) + 1
            if seq > due:
                self._write(seq - 1, lines.gap(due, seq - 1, self._clock()))
            self._write(seq, line)
            self._waiting.popleft()
            self._waiting_bytes -= len(line)

    def _write(self, seq: int, line: bytes) -> None:
        if self._size and self._size + len(line) > self._max_bytes:
            self._rotate()
        if self._size + len(line) > self._reserved - _RESERVE_BYTES // 2 and _allocate(self._fd, self._size):
            self._reserved = self._size + _RESERVE_BYTES
        taken = os.write(self._fd, line)
        if taken < len(line):
            try:
                os.ftruncate(self._fd, self._size)
            except OSError:
                self._close()  # the next opening mends the torn line
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += taken
        self._written = seq

    def _sync(self) -> None:
        os.fdatasync(self._fd)
        if self._is_fresh:
            _sync_directory(self._path.parent)
            self._is_fresh = False
        self._sync_due = False

    def _is_in_place(self) -> bool:
        try:
            found = os.lstat(self._path)
        except FileNotFoundError:
            return False
        self._size = found.st_size
        return (found.st_dev, found.st_ino) == self._identity

    def _open(self) -> None:
        self._close()
        now = self._clock()
        if os.path.lexists(self._path) and (self._path.is_symlink() or not self._path.is_file()):
            self._path.rename(self._path.with_name(f"{self._path.name}.bad-{now:%Y%m%dT%H%M%S%fZ}"))
        findings = mending.examine(self._path, now)
        if self._written is None:
            self._number_from(findings.last)
        if (kept := mending.mend(self._path, findings, now)) is not None:
            self.damage.append(kept)
        self._create()

    def _create(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o600)
        found = os.fstat(self._fd)
        self._identity = (found.st_dev, found.st_ino)
        self._size = found.st_size
        self._reserved = 0
        self._is_fresh = found.st_size == 0

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._identity = -1, None

    def _rotate(self) -> None:
        if self._sync_due:
            os.fdatasync(self._fd)
        os.truncate(self._fd, self._size)  # what was reserved behind it goes to the next one
        self._path.rename(self._path.with_name(f"{self._path.name}.{self._written or 0:012d}"))
        self._close()
        self._create()
        with suppress(OSError):
            for _, part in lines.parts(self._path)[: -self._keep]:
                part.unlink()

    def _number_from(self, last: int) -> None:
        """Give the events that came before the journal could be read the numbers that follow `last`."""
        self._written = last
        self.seq += last
        self._waiting = deque((seq + last, lines.renumber(line, seq + last)) for seq, line in self._waiting)


def _allocate(fd: int, end: int) -> bool:
    """Allocate the reserve behind the end of a file, whose size stays; False where there is no room, or a disk cannot."""
    fallocate = ctypes.CDLL(None).fallocate
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return bool(fallocate(fd, _KEEP_SIZE, end, _RESERVE_BYTES) == 0)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
