"""Moves what a gateway prints from its FIFO into its log file, and never lets the disk's trouble reach the gateway.

The FIFO is opened O_RDWR by everybody, the gateway included: nobody ever sees EPIPE, EOF or a hang-up, and what is in it lives as
long as anybody has it open. `os.splice` moves bytes inside the kernel, so that a SIGKILL of the pump cannot catch
any in its memory; the next pump goes on at the end of the file. While a disk refuses, output waits in the FIFO, up to half of its
size; what is more is read, counted, and told in the log once the disk takes some again.
"""

import array
import errno
import fcntl
import math
import os
import termios
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread

from supervisor.host.logs import rotation

MIB = 1024 * 1024

_TURN_BYTES = MIB
_DROP_BYTES = MIB // 4
_BUSY_BYTES = MIB // 4
_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05
_RETRY_S = 5.0


def outlet(pid: int, fifo: Path) -> Path:
    """Where the output of that process can be read: `fifo`, or the process's own stdout if that is another FIFO.

    They differ when somebody removed the file under a running gateway: only /proc still leads to what it writes to.
    """
    stdout = Path(f"/proc/{pid}/fd/1")
    try:
        if not stdout.is_fifo() or (fifo.exists() and stdout.samefile(fifo)):
            return fifo
    except OSError:
        return fifo
    return stdout


class Log:
    """One gateway's FIFO and log file; `fifo` may be what `outlet` gave.

    The log and its `keep` older parts have at most `max_bytes` each. `written` and `dropped` count bytes since this object was
    made; `trouble` says why output waits, or is dropped where it cannot wait, "" if it does not. Raises OSError only if no pipe
    can be had at all (no descriptor left); a FIFO that cannot be made in the file system is replaced by a pipe without a name.
    """

    def __init__(
        self,
        fifo: Path,
        file: Path,
        *,
        max_bytes: int = 10 * MIB,
        keep: int = 5,
        compress_after_s: float = 30.0,
    ) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._keep = keep
        self._compress_after_s = compress_after_s
        self._pipe = _open_fifo(fifo)
        self._room = fcntl.fcntl(self._pipe, fcntl.F_GETPIPE_SZ) // 2
        self._out = -1
        self._identity: tuple[int, int] | None = None
        self._can_splice = True
        self._untold = 0
        self._refusal = ""
        self._rotated = True
        self._compressing = False
        self.written = 0
        self.dropped = 0
        self.trouble = ""

    def child_end(self) -> int:
        """A new descriptor for the stdout and stderr of a child: its own description, since Node sets O_NONBLOCK on it."""
        return os.open(f"/proc/self/fd/{self._pipe}", os.O_RDWR | os.O_CLOEXEC)

    def holder(self) -> int:
        """A new descriptor for the keeper: what is in the FIFO survives as long as it is open."""
        return self.child_end()

    def drain(self) -> None:
        """Move everything that is in the FIFO at this moment."""
        left = _waiting(self._pipe)
        while left > 0:
            moved = self._turn(min(left, _TURN_BYTES))
            if moved == 0:
                return
            left -= moved

    def end_line(self) -> None:
        """Move all, and end the line that is left begun: who printed it is no more. Where a disk refuses, it stays as it is."""
        self.drain()
        with suppress(OSError):
            # Behind bytes that still wait it would not be the line's end.
            if not _waiting(self._pipe) and (end := self._end()) and os.pread(self._out, 1, end - 1) != b"\n":
                os.pwrite(self._out, b"\n", end)

    async def run(self) -> None:
        """Move output for ever, 1 MiB a turn; between turns of little output rest up to 50 ms, so that chatter is cheap."""
        pause = 0.0
        async with anyio.create_task_group() as tasks:
            while True:
                if self._rotated and not self._compressing:
                    self._compressing = True
                    tasks.start_soon(self._compress)
                with anyio.move_on_after(_RETRY_S if self.trouble else math.inf):
                    await anyio.wait_readable(self._pipe)
                moved = self._turn(_TURN_BYTES)
                # A rest that doubles while little comes and ends when much comes keeps the FIFO from ever being full for long.
                pause = 0.0 if moved >= _BUSY_BYTES else min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, pause * 2))
                await anyio.sleep(pause)

    def close(self) -> None:
        """Let go of FIFO and file; whoever runs `run` has cancelled it before."""
        self._close_file()
        os.close(self._pipe)

    def _turn(self, limit: int) -> int:
        """Move up to `limit` bytes, or drop some if the disk refuses; the number taken out of the FIFO."""
        try:
            end = self._end()
            if self._untold:
                end = self._tell(end)
            moved = self._move(end, min(limit, self._max_bytes - end))
        except OSError as refusal:
            self._refusal = os.strerror(refusal.errno or errno.EIO)
            self.trouble = f"{self._file}: {self._refusal}"
            # What has room in the FIFO waits there: that outlives us, and what we count in our memory does not.
            return self._drop(min(limit, _DROP_BYTES, max(0, _waiting(self._pipe) - self._room)))
        self.trouble = ""
        self.written += moved
        return moved

    def _move(self, end: int, count: int) -> int:
        if self._can_splice:
            try:
                return os.splice(self._pipe, self._out, count, offset_dst=end)
            except BlockingIOError:
                return 0
            except OSError as refusal:
                if refusal.errno != errno.EINVAL:
                    raise
                self._can_splice = False  # a file system without splice
        data = _read(self._pipe, count)
        taken = 0
        try:
            while taken < len(data):
                taken += os.pwrite(self._out, data[taken:], end + taken)
        except OSError:
            self.written += taken
            self._lose(len(data) - taken)
            raise
        return taken

    def _drop(self, count: int) -> int:
        lost = len(_read(self._pipe, count))
        self._lose(lost)
        return lost

    def _lose(self, count: int) -> None:
        self.dropped += count
        self._untold += count

    def _tell(self, end: int) -> int:
        why = "the disk was full" if self._refusal == os.strerror(errno.ENOSPC) else self._refusal
        line = f"[clawsup: {self._untold} bytes of output were dropped, {why}]\n".encode()
        if end and os.pread(self._out, 1, end - 1) != b"\n":
            line = b"\n" + line
        if os.pwrite(self._out, line, end) < len(line):
            os.ftruncate(self._out, end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._untold = 0
        return self._end()

    def _end(self) -> int:
        """Where the next byte goes, in a file that is at the log's path now and has room; raises OSError."""
        size = self._size()
        if size is None:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.path.lexists(self._file) and (self._file.is_symlink() or not self._file.is_file()):
                rotation.set_aside(self._file, datetime.now(UTC))
            rotation.recover(self._file, self._max_bytes)
            size = self._open_file()
        if size >= self._max_bytes:
            # The oldest part goes first: on a disk that is full its room is what the rotation needs.
            rotation.prune(self._file, self._keep - 1, (self._keep - 1) * self._max_bytes)
            rotation.rotate(self._file, self._out, datetime.now(UTC), self._max_bytes)
            self._rotated = True
            size = self._open_file()
        return size

    def _size(self) -> int | None:
        """The size of the log, None if the file at its path is not the one we have open."""
        try:
            found = os.lstat(self._file)
        except FileNotFoundError:
            return None
        return found.st_size if (found.st_dev, found.st_ino) == self._identity else None

    def _open_file(self) -> int:
        self._close_file()
        self._out = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        found = os.fstat(self._out)
        self._identity = (found.st_dev, found.st_ino)
        return found.st_size

    def _close_file(self) -> None:
        if self._out >= 0:
            os.close(self._out)
        self._out, self._identity = -1, None

    async def _compress(self) -> None:
        # Waiting first lets a storm of output throw its own parts away before anybody has spent CPU on them.
        try:
            await anyio.sleep(self._compress_after_s)
            self._rotated = False
            await anyio.to_thread.run_sync(rotation.compress, self._file)
        except RuntimeError:
            self._rotated = True  # no thread to be had: the machine is short of processes, and a part can wait
        finally:
            self._compressing = False


def _open_fifo(fifo: Path) -> int:
    try:
        fifo.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.path.lexists(fifo) and not fifo.is_fifo():
            rotation.set_aside(fifo, datetime.now(UTC))
        if not fifo.exists():
            os.mkfifo(fifo, 0o600)
        pipe = os.open(fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        reading, writing = os.pipe()
        try:
            pipe = os.open(f"/proc/self/fd/{reading}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.close(reading)
            os.close(writing)
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, MIB)
    except OSError:
        return pipe  # over the user's share of pipe memory: the size it has must do
    return pipe


def _waiting(pipe: int) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def _read(pipe: int, count: int) -> bytes:
    try:
        return os.read(pipe, count)
    except BlockingIOError:
        return b""
