"""What a failpoint does in a running brain; `tests.chaos.failpoints` puts this file and the calls of `at` into a build.

The directory that CLAWSUP_FAILPOINTS names has `aim`, `POINT VISIT`: die at that visit of the point, counted in this process while
the aim stands; `dice`, `P SEED`: die at any visit with probability P, drawn by the seed and the number of brains so far; and
`trace`, which makes every visit be told, not the first of each process alone. Told are `visited`, `PID POINT`, and
`deaths`, `PID POINT VISIT`, each line with one write before anything else happens.
"""

import os
import random
import signal
from pathlib import Path


class _Failpoints:
    """One process's view of the directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.trace = (directory / "trace").exists()
        self.seen: dict[str, int] = {}
        self.aimed: tuple[str, int] = ("", 0)
        self.tell("brains", str(os.getpid()))
        brains = (directory / "brains").read_bytes().count(b"\n")
        chance, seed = ((directory / "dice").read_text() if (directory / "dice").exists() else "0 0").split()
        self.chance, self.dice = float(chance), random.Random(f"{seed}:{brains}")  # noqa: S311 (chance, and no secret)

    def tell(self, name: str, line: str) -> None:
        """Append a line, whole."""
        file = os.open(self.directory / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(file, f"{line}\n".encode())
        os.close(file)

    def visit(self, point: str) -> None:
        """Live on, or not."""
        self.seen[point] = self.seen.get(point, 0) + 1
        if self.trace or self.seen[point] == 1:
            self.tell("visited", f"{os.getpid()} {point}")
        if self.is_hit(point) or (self.chance and self.dice.random() < self.chance):
            self.tell("deaths", f"{os.getpid()} {point} {self.seen[point]}")
            os.kill(os.getpid(), signal.SIGKILL)

    def is_hit(self, point: str) -> bool:
        """Whether the aim is at this visit; who is hit takes the aim with him."""
        aim = self.directory / "aim"
        try:
            target, visit = aim.read_text().split()
        except FileNotFoundError:
            return False
        if target != point:
            return False
        before = self.aimed[1] if self.aimed[0] == target else 0
        self.aimed = (target, before + 1)
        if self.aimed[1] < int(visit):
            return False
        aim.unlink()
        return True


_present: list[_Failpoints] = []


def at(point: str) -> None:
    """Pass a failpoint; a process without CLAWSUP_FAILPOINTS passes them all."""
    directory = os.environ.get("CLAWSUP_FAILPOINTS")
    if directory is None:
        return
    if not _present:
        _present.append(_Failpoints(Path(directory)))
    _present[0].visit(point)
