"""What /proc tells of a process, gone or not; everything but a shortage of the machine is an answer."""

import os
import re
from contextlib import suppress
from pathlib import Path

_LIMIT = re.compile(rb"^Max file locks +(\d+)", re.MULTILINE)
ENDED = frozenset("ZX")
"""The states of one that only waits to be reaped."""


def mark_of(pid: int) -> int:
    """The mark that a process carries or has inherited; 0 when it has none or is gone."""
    try:
        fd = os.open(f"/proc/{pid}/limits", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        found = _LIMIT.search(os.read(fd, 4096))
    except OSError:
        return 0
    finally:
        os.close(fd)
    return int(found[1]) if found else 0


def pids() -> list[int]:
    """Every process of this machine, the newest first, as far as numbers tell; an OSError means that /proc cannot be read."""
    return sorted(map(int, filter(str.isdecimal, os.listdir("/proc"))), reverse=True)  # noqa: PTH208 - a Path each would cost ten times as much


def start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat: clock ticks from boot to its start; None when it is gone."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def cpu_ticks(pid: int) -> int:
    """User and system time it has used so far, in clock ticks."""
    fields = _stat(pid)
    return int(fields[11]) + int(fields[12]) if fields else 0


def is_zombie(pid: int) -> bool:
    """Whether it has ended and only waits to be reaped."""
    fields = _stat(pid)
    return bool(fields) and fields[0] in ENDED


def leads_a_session(pid: int) -> bool:
    """Whether it is the leader of its session, as everything is that `spawn` starts."""
    fields = _stat(pid)
    return bool(fields) and int(fields[3]) == pid


def resident_bytes(pid: int) -> int:
    """Its resident memory; 0 when it is gone."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def boot_id() -> str:
    """What tells this boot of the machine from any other; instants of the monotonic clock mean something only within one."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _stat(pid: int) -> list[str]:
    with suppress(OSError):
        return stat_of(pid)
    return []


def stat_of(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: the command before them may hold anything. OSError when it is gone."""
    text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    return text[text.rindex(")") + 2 :].split()
