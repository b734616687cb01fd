"""What the machine has left and what its kernel can: memory, disk, clock, lingering, features."""

import ctypes
import os
import shutil
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

_CGROUPS: Final = Path("/sys/fs/cgroup")
_UNSYNCHRONISED: Final = 0x40  # STA_UNSYNC of <linux/timex.h>
_TIMEX_WORDS: Final = 64  # struct timex is 208 bytes; `status` is its fifth word
_TIMEX_STATUS: Final = 5
_WANTED_PIPE: Final = 1 << 20


def available_bytes() -> int:
    """Memory that new processes can have: the machine's, or what our own control group still allows."""
    free = int(psutil.virtual_memory().available)
    for group in _own_groups():
        with suppress(OSError, ValueError):
            limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
            free = min(free, max(0, limit - used))
    return free


def free_disk(path: str) -> int | None:
    """Bytes an ordinary user may still write where `path` is or would be; None when that cannot be told."""
    try:
        return shutil.disk_usage(existing(path)).free
    except OSError:
        return None


def existing(path: str) -> str:
    """The path itself, or the deepest directory above it that is there and can be seen."""
    while not os.path.exists(path) and path != os.path.dirname(path):  # noqa: PTH110,PTH120 (Path.exists raises where it may not look)
        path = os.path.dirname(path)  # noqa: PTH120
    return path


def clock_is_synchronised() -> bool | None:
    """Whether somebody keeps the clock right; None where the kernel does not say (a sandbox)."""
    timex = (ctypes.c_int * _TIMEX_WORDS)()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) < 0:
        return None
    word = _TIMEX_STATUS * ctypes.sizeof(ctypes.c_long) // ctypes.sizeof(ctypes.c_int)
    return not timex[word] & _UNSYNCHRONISED


def clock_lag_s() -> float:
    """Seconds that the clock is behind the youngest file of this package, which cannot be: 0 for a clock that may be right."""
    return max(0.0, Path(__file__).stat().st_mtime - time.time())


def has_systemd() -> bool:
    """Whether systemd runs this machine."""
    return Path("/run/systemd/system").is_dir()


def missing_features() -> Mapping[str, str]:
    """What this kernel or sandbox lacks, and how we do without."""
    lacks: dict[str, str] = {}
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4).close()
    except OSError:
        lacks["sock_diag"] = "listeners are looked up in /proc/net/tcp, which is slower"
    if not (_CGROUPS / "cgroup.controllers").exists():
        lacks["cgroup v2"] = "what a gateway leaves behind is found by its run token, not by its control group"
    with suppress(OSError, ValueError):
        if int(Path("/proc/sys/fs/pipe-max-size").read_text()) < _WANTED_PIPE and os.geteuid() != 0:
            lacks["pipes of 1 MiB"] = "a gateway's output waits in a smaller pipe while the supervisor is replaced"
    if not Path("/proc/1/stat").exists():
        lacks["/proc of other users"] = "a process of another user that holds a port cannot be named"
    return lacks


def has_pidfd() -> bool:
    """Whether processes can be pinned, without which nothing is signalled here (Linux 5.3)."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def _own_groups() -> list[Path]:
    """Our control group and all above it, but for the root, which has no limit."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                group = _CGROUPS / line[3:].lstrip("/")
                return [each for each in (group, *group.parents) if each.is_relative_to(_CGROUPS) and each.is_dir()]
    return []
