"""What the machine shows of sleep, of waiting for a CPU and of a process: the facts behind a probe that was not answered."""

import os
import time
from contextlib import suppress
from pathlib import Path

from supervisor.policy.discount import Load

_NS = 1e9
_US = 1e6
_TICK = os.sysconf("SC_CLK_TCK")


def look(pid: int, now: float) -> Load:
    """One look at the machine and a process; `now` is the monotonic instant of it."""
    asleep = time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    state, ran = _stat(pid)
    return Load(now, asleep, ran, _waited(pid), _pressed(), state)


def evidence(pid: int) -> str:
    """All that /proc tells of a process that does not answer, before it is ended; text, as it is there."""
    parts = []
    for name in ("status", "wchan", "schedstat", "stack", "io", "limits"):
        with suppress(OSError):
            parts.append(f"== /proc/{pid}/{name}\n{Path(f'/proc/{pid}/{name}').read_text(errors='replace')}")
    with suppress(OSError):
        threads = sorted(Path(f"/proc/{pid}/task").iterdir())
        lines = [f"{thread.name} {_stat(int(thread.name))[0]} {_one_line(thread / 'wchan')}" for thread in threads]
        parts.append("== threads: id, state, waiting in\n" + "\n".join(lines))
    for name in ("loadavg", "pressure/cpu", "pressure/memory", "pressure/io"):
        with suppress(OSError):
            parts.append(f"== /proc/{name}\n{Path(f'/proc/{name}').read_text()}")
    return "\n".join(parts)


def peak_bytes(pid: int) -> int:
    """The most memory it has had at once; 0 when it is gone."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _stat(pid: int) -> tuple[str, float]:
    with suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        fields = text[text.rindex(")") + 2 :].split()
        return fields[0], (int(fields[11]) + int(fields[12])) / _TICK
    return "", 0.0


def _waited(pid: int) -> float | None:
    """The second figure of schedstat, of the main thread: in Node that is the one that answers."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / _NS
    return None


def _pressed() -> float | None:
    with suppress(OSError, ValueError, IndexError):
        some = Path("/proc/pressure/cpu").read_text().splitlines()[0]
        return int(some.rpartition("total=")[2]) / _US
    return None


def _one_line(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace").strip()
    return ""
