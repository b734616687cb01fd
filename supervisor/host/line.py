"""The brain's end of the line to its keeper (keeper.py says what is spoken)."""

import json
import os
import select
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields

import anyio

# A keeper reaps before it answers, and it answers at once.
ANSWER_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Hello:
    """What a keeper tells each new brain: how many it has had, this one included, since when it runs, its patience in s.

    `first` says that no brain of this keeper has ever been ready; `stopping`, how often the keeper has been asked to stop;
    `epoch`, what the wall clock said at the monotonic clock's zero, in seconds, when the keeper began.
    """

    brains: int
    keeper_pid: int
    keeper_started: float
    silence_s: float
    first: bool = False
    stopping: int = 0
    epoch: float = 0.0


class Line:
    """Tells the keeper, and hears from it, over the socket that is `descriptor`."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._socket.set_inheritable(False)
        self._unsent: deque[tuple[bytes, int | None]] = deque()
        self._ends: dict[tuple[int, int], int | None] = {}
        self._news = anyio.Event()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def keeper_lives(self) -> bool:
        """Whether the other end is open; the kernel tells, whatever still waits to be read."""
        poller = select.poll()
        poller.register(self._socket, 0)
        return not poller.poll(0)

    async def hello(self) -> Hello:
        """The first word of the keeper; what a newer keeper says beyond it is passed over."""
        await anyio.wait_readable(self._socket)
        verb, _, rest = self._socket.recv(65536).decode().partition(" ")
        if verb != "HELLO":
            msg = f"the keeper began with {verb!r}"
            raise RuntimeError(msg)
        known = {field.name for field in fields(Hello)}
        return Hello(**{name: value for name, value in json.loads(rest).items() if name in known})

    async def listen(self, hear: Callable[[str], None]) -> None:
        """Pass on STOP, STOP NOW, RELOAD and REPLACE until the keeper is gone; then return."""
        while True:
            await anyio.wait_readable(self._socket)
            try:
                message = self._socket.recv(65536).decode()
            except BlockingIOError:
                continue
            except OSError:
                return
            if not message:
                return
            if message.startswith("ENDED "):
                pid, ticks, *status = map(int, message.split()[1:])
                self._ends[pid, ticks] = status[0] if status else None
                self._news.set()
                self._news = anyio.Event()
            else:
                hear(message)

    async def status_of(self, pid: int, start_ticks: int) -> int | None:
        """The wait status of a process that has ended and that the keeper reaped in our place; None when it knows of none.

        Only while `listen` runs.
        """
        identity = (pid, start_ticks)
        self._ends.pop(identity, None)
        self._send(f"ENDED={pid} {start_ticks}".encode())
        with anyio.move_on_after(ANSWER_WITHIN_S):
            while identity not in self._ends:
                await self._news.wait()
        return self._ends.pop(identity, None)

    def beat(self) -> None:
        """Tell that we live; a keeper too busy to take more hears it from what it has not read yet."""
        self._flush()
        if not self._unsent:
            with suppress(OSError):
                self._socket.send(b"WATCHDOG=1")

    def notify(self, *words: str) -> None:
        """Words of sd_notify, for the keeper and, through it, for systemd."""
        self._send("\n".join(words).encode())

    def hold(self, name: str, descriptor: int) -> None:
        """Give the keeper a descriptor to keep open, in place of any other of that name; ours is closed once it is sent."""
        self._send(f"HOLD={name}".encode(), descriptor)

    def drop(self, name: str) -> None:
        """Let the keeper close what it holds under that name."""
        self.notify(f"DROP={name}")

    def _send(self, message: bytes, descriptor: int | None = None) -> None:
        self._unsent.append((message, descriptor))
        self._flush()

    def _flush(self) -> None:
        """Send what waits, in its order; what a stopped keeper does not take now is sent with the next beat."""
        while self._unsent:
            message, descriptor = self._unsent[0]
            try:
                if descriptor is None:
                    self._socket.send(message)
                else:
                    socket.send_fds(self._socket, [message], [descriptor])
            except BlockingIOError:
                return
            except OSError:
                # The keeper is gone, and so shall we be in a moment; or the kernel has no room for one more descriptor in flight.
                pass
            self._unsent.popleft()
            if descriptor is not None:
                os.close(descriptor)
