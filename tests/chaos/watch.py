"""Looks at everything from outside, all the time, and hands what it sees to the invariants."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.chaos import sight
from tests.chaos.invariants import (
    Downtime,
    Judge,
    Look,
    NoOrphans,
    OneGateway,
    OneHolder,
    StaysStopped,
    Violation,
)

PROBE_S = 0.1
ANSWER_S = 1.0
# Looking at every descriptor of everybody costs more than the rest.
LOCKS_EVERY = 4


class Prober:
    """Asks one gateway again and again whether it is ready, in a thread of its own, as somebody who needs it would."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.up = False
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            self.up = is_ready(self._port)
            time.sleep(PROBE_S)


def is_ready(port: int) -> bool:
    """Whether a gateway, and not a stranger in its place, says that it is ready."""
    with contextlib.suppress(OSError, ValueError), socket.create_connection(("127.0.0.1", port), ANSWER_S) as peer:
        peer.settimeout(ANSWER_S)
        peer.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while data := peer.recv(4096):
            answer += data
        body = json.loads(answer.partition(b"\r\n\r\n")[2])
        return bool(body.get("ready")) and "uptimeMs" in body
    return False


class Watch:
    """All that is seen of the gateways of a run, `places` by name: port and state directory."""

    def __init__(self, places: Mapping[str, tuple[int, Path]], bounds_s: Callable[[str], float]) -> None:
        self._directories = {name: directory for name, (_, directory) in places.items()}
        self._eyes = sight.Eyes()
        self._judges: Sequence[Judge] = (OneGateway(), OneHolder(), NoOrphans(), StaysStopped())
        self._probers = {name: Prober(port) for name, (port, _) in places.items()}
        self._looks = 0
        self._overlaps: set[str] = set()
        self.downtime = {name: Downtime(name, bounds_s(name)) for name in places}
        self.processes: Mapping[int, sight.Seen] = {}

    def up(self, name: str) -> bool:
        """Whether it was ready a moment ago."""
        return self._probers[name].up

    def see(self) -> Mapping[int, sight.Seen]:
        """Look at who lives."""
        self.processes = self._eyes.processes()
        return self.processes

    def gateway(self, name: str) -> sight.Seen | None:
        """The gateway's process, if it is in sight."""
        return next((seen for seen in self.processes.values() if seen.runs and seen.gateway == name), None)

    def is_alive(self, seen: sight.Seen) -> bool:
        """Whether that very process lives at this moment."""
        return self._eyes.lives(seen.pid, seen.ticks)

    def judge(self, now: float, supervised: float | None, held: Mapping[str, float]) -> Iterator[Violation]:
        """Hold what was seen last against the invariants."""
        self._looks += 1
        holders = sight.holders(self.processes, self._directories) if self._looks % LOCKS_EVERY == 0 else None
        if holders is not None:
            # Who came or went meanwhile was not looked at in both places.
            holders = {name: pids & self.processes.keys() for name, pids in holders.items()}
        look = Look(now, self.processes, supervised, holders, held)
        for judge in self._judges:
            yield from judge(look)
        for name, directory in self._directories.items():
            overlap = directory / "fake" / "overlap"
            if name not in self._overlaps and overlap.exists():
                self._overlaps.add(name)
                yield Violation(now, "one gateway", f"{name}: {overlap.read_text().strip()}")
