"""The output of all gateways: each one's FIFO, held by the keeper, and the pump that moves it to disk."""

from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from supervisor.brain.lives import Lives
from supervisor.host.line import Line
from supervisor.host.logs.pump import Log, outlet
from supervisor.policy.state import Child, Stopped

Start = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


class Outputs:
    """The logs of one brain, by gateway; `start` runs a task beside the actions."""

    def __init__(self, directory: Path, line: Line, lives: Lives, start: Start) -> None:
        self._directory = directory
        self._line = line
        self._lives = lives
        self._start = start
        self._pumps: dict[str, anyio.CancelScope] = {}
        self.logs: dict[str, Log] = {}

    def of(self, name: str) -> Log:
        """The gateway's log, its FIFO held by the keeper and moved to disk from the first call on."""
        if name not in self.logs:
            living = self._lives.of(name)
            fifo = self._fifo(name)
            source = outlet(living.process.pid, fifo) if living is not None else fifo
            log = Log(source, self._directory / f"{name}.log")
            try:
                self._line.hold(name, log.holder())
            except OSError:
                log.close()
                raise
            self.logs[name] = log
            self._start(partial(self._pump, name, log))
        return self.logs[name]

    def child_end(self, name: str) -> int:
        """A new descriptor for the output of the gateway's next life, which begins with a line of its own."""
        log = self.of(name)
        log.end_line()
        return log.child_end()

    def written(self, name: str) -> int:
        """The bytes of output that this brain has moved for a gateway."""
        return self.of(name).written

    def drain(self, name: str) -> None:
        """Move a gateway's last words to disk; with no descriptor left for that, the keeper holds them for the next brain."""
        with suppress(OSError):
            self.of(name).drain()

    def drain_all(self) -> None:
        """Move all output that there is to disk."""
        for log in self.logs.values():
            log.drain()

    def release(self, children: Mapping[str, Child]) -> None:
        """Let go, here and at the keeper, of the FIFO of each gateway that is down and has no definition any more."""
        for name in list(self._pumps):
            child = children.get(name)
            if child is None or (child.orphaned and isinstance(child.state, Stopped)):
                self._pumps.pop(name).cancel()
                del self.logs[name]
                self._line.drop(name)
                with suppress(OSError):
                    self._fifo(name).unlink()

    async def _pump(self, name: str, log: Log) -> None:
        with anyio.CancelScope() as scope:
            self._pumps[name] = scope
            await log.run()
        log.drain()
        log.close()

    def _fifo(self, name: str) -> Path:
        return self._directory / f".{name}.fifo"
