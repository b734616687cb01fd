"""What /proc shows of a run: who lives, whose it is, and who has a state directory's lock."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
# A process may still turn into another program for so long after it was first seen.
_SETTLED_LOOKS = 10


@dataclass(frozen=True, slots=True)
class Seen:
    """One process that is no zombie. `gateway` is whose environment it has, `runs` whether it is that gateway itself."""

    pid: int
    ticks: int
    state: str
    parent: int
    words: str
    token: str = ""
    gateway: str = ""
    runs: bool = False

    @property
    def is_brain(self) -> bool:
        """Whether it is a brain, or a child of one that has not yet become somebody else."""
        return " --keeper-fd " in self.words

    @property
    def is_stopped(self) -> bool:
        """Whether it was stopped by a signal."""
        return self.state == "T"

    def __str__(self) -> str:
        return f"{self.pid} ({self.words.strip()[-70:]}) {self.gateway} {self.token[:24]} state {self.state}"


class Eyes:
    """Looks at /proc again and again, and remembers what does not change."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[int, str, dict[str, str]]] = {}

    def processes(self) -> dict[int, Seen]:
        """Everybody in sight but ourselves and what has ended."""
        found = {}
        for name in os.listdir("/proc"):  # noqa: PTH208 (twenty times a second)
            if name.isdecimal() and name != str(os.getpid()):
                with suppress(*_GONE):
                    seen = self._look(int(name))
                    if seen is not None:
                        found[seen.pid] = seen
        live = {(seen.pid, seen.ticks) for seen in found.values()}
        self._known = {identity: facts for identity, facts in self._known.items() if identity in live}
        return found

    def lives(self, pid: int, ticks: int) -> bool:
        """Whether that very process lives at this moment."""
        with suppress(*_GONE):
            state, _, started = _stat(pid)
            return started == ticks and state not in "ZX"
        return False

    def _look(self, pid: int) -> Seen | None:
        state, parent, ticks = _stat(pid)
        if state in "ZX":
            return None
        looks, words, env = self._known.get((pid, ticks), (0, "", {}))
        if looks < _SETTLED_LOOKS:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            env = _environment(pid)
            self._known[pid, ticks] = (looks + 1, words, env)
        runs = "fake_openclaw.py" in words and " gateway run " in words
        return Seen(
            *(pid, ticks, state, parent, words),
            token=env.get("CLAWSUP_RUN", ""),
            gateway=env.get("CLAWSUP_GATEWAY", ""),
            runs=runs,
        )


def holders(pids: Iterable[int], directories: Mapping[str, Path]) -> dict[str, frozenset[int]]:
    """Who has the flock of each directory: the kernel lists it with every descriptor that it belongs to."""
    wanted = {}
    for name, path in directories.items():
        found = path.stat()
        wanted[f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"] = name
    held: dict[str, set[int]] = {name: set() for name in directories}
    for pid in pids:
        with suppress(*_GONE):
            for descriptor in os.listdir(f"/proc/{pid}/fdinfo"):  # noqa: PTH208
                with suppress(*_GONE):
                    for line in Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text(encoding="ascii").splitlines():
                        if line.startswith("lock:") and " FLOCK " in line and line.split()[6] in wanted:
                            held[wanted[line.split()[6]]].add(pid)
    return {name: frozenset(pids) for name, pids in held.items()}


def _stat(pid: int) -> tuple[str, int, int]:
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    return fields[0].decode(), int(fields[1]), int(fields[19])


def _environment(pid: int) -> dict[str, str]:
    block = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    return dict(pair.split("=", 1) for pair in block.split("\0") if pair.startswith("CLAWSUP_") and "=" in pair)
