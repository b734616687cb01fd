"""The brain's end of the line to its keeper (keeper.py says what is spoken)."""

import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import anyio

# A keeper that has reaped a process says so within milliseconds.
REAPED_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Hello:
    """What a keeper tells each new brain: how many it has had, this one included, since when it runs, its patience in s."""

    brains: int
    keeper_pid: int
    keeper_started: float
    silence_s: float


class Line:
    """Tells the keeper, and hears from it, over the socket that is `descriptor`."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._socket.set_inheritable(False)
        self._statuses: dict[int, int] = {}
        self._news = anyio.Event()

    async def hello(self) -> Hello:
        """The first word of the keeper."""
        await anyio.wait_readable(self._socket)
        verb, _, rest = self._socket.recv(65536).decode().partition(" ")
        if verb != "HELLO":
            msg = f"the keeper began with {verb!r}"
            raise RuntimeError(msg)
        return Hello(**json.loads(rest))

    async def listen(self, hear: Callable[[str], None]) -> None:
        """Pass on STOP, STOP NOW and RELOAD until the keeper is gone; then return."""
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
            if message.startswith("REAPED "):
                _, pid, status = message.split()
                self._statuses[int(pid)] = int(status)
                self._news.set()
                self._news = anyio.Event()
            else:
                hear(message)

    async def status_of(self, pid: int) -> int | None:
        """The wait status of a process that the keeper reaps in our place; None when it does not know within 2 s."""
        with anyio.move_on_after(REAPED_WITHIN_S):
            while pid not in self._statuses:
                await self._news.wait()
        return self._statuses.pop(pid, None)

    def notify(self, *words: str) -> None:
        """Words of sd_notify, for the keeper and, through it, for systemd."""
        with suppress(OSError):
            self._socket.send("\n".join(words).encode())

    def hold(self, name: str, descriptor: int) -> None:
        """Give the keeper a descriptor to keep open, in place of any other of that name; ours is closed."""
        with suppress(OSError):
            socket.send_fds(self._socket, [f"HOLD={name}".encode()], [descriptor])
        os.close(descriptor)

    def drop(self, name: str) -> None:
        """Let the keeper close what it holds under that name."""
        self.notify(f"DROP={name}")
