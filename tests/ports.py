"""Base ports for tests: whole families free, below the ephemeral range, never the same for two test runs at once."""

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

FIRST, LAST, SPACING = 12000, 32000, 120  # a full family each, so that no test trips over another's CDP range


class Ports:
    """Hands out bases; a file lock for each keeps other test processes of this user off it as long as we live."""

    def __init__(self) -> None:
        self._claims = Path(tempfile.gettempdir()) / f"openclaw-supervisor-test-ports-{os.getuid()}"
        self._claims.mkdir(mode=0o700, exist_ok=True)
        self._held: list[int] = []
        self._bases = self._candidates()

    def take(self) -> int:
        """Give a base that nobody else uses."""
        for base in self._bases:
            if self._claim(base):
                return base
        # All have been used once: what this run had is given back, and whoever still listens keeps its family.
        self.close()
        self._bases = self._candidates()
        for base in self._bases:
            if self._claim(base):
                return base
        raise AssertionError("no free port family below the ephemeral range")

    def close(self) -> None:
        """Give all bases back."""
        while self._held:
            os.close(self._held.pop())

    def _candidates(self) -> Iterator[int]:
        bases = range(FIRST, LAST, SPACING)
        begin = os.getpid() * 37 % len(bases)
        yield from bases[begin:]
        yield from bases[:begin]

    def _claim(self, base: int) -> bool:
        low = os.open(self._claims / str(base), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # A claim is kept for long, and low numbers are scarce: tests of the lock's slot need one.
        descriptor = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 64)
        os.close(low)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        if not all(bindable(port) for port in range(base, base + 21)):
            os.close(descriptor)
            return False
        self._held.append(descriptor)
        return True


def bindable(port: int) -> bool:
    """Tell whether nobody listens on 127.0.0.1:port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
