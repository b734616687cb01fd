"""A process, this one or another, for which no descriptor is left."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def descriptors(pid: int) -> set[int]:
    """The numbers of the descriptors that a process has open."""
    return {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}


@contextmanager
def without_descriptors(pid: int, left: int = 0) -> Iterator[None]:
    """Within, the process can open nothing, or `left` more: no number is free below its limit."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    most = len(descriptors(pid)) + left + 1
    free = [number for number in range(most) if not os.path.lexists(f"/proc/{pid}/fd/{number}")]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[left], hard))
    try:
        yield
    finally:
        if Path(f"/proc/{pid}").exists():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
