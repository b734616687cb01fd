"""A cgroup v2 leaf for each life, where a cgroup is ours to divide: what is born in it cannot leave by itself, and `kill` misses nobody.

To be born there, a child needs no code of ours: we step into the leaf ourselves, start it, and step back (14 µs each way).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_MARKS_OF_DELEGATION = ("user.delegate", "trusted.delegate")


def ground(
    cgroup: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/proc/self/mountinfo"), *, uid: int | None = None
) -> Path | None:
    """Our own cgroup's directory, if it is ours to divide; None where nobody has delegated it, or there is no cgroup v2.

    It is ours when systemd has marked it so (`Delegate=yes`), when it was given to our own uid, which is not root's, or when
    it is the top of a container's own hierarchy.
    """
    try:
        inner = next(line[3:] for line in cgroup.read_text().splitlines() if line.startswith("0::"))
        fields = (line.split() for line in mounts.read_text().splitlines())
        root, where = next((words[3], words[4]) for words in fields if words[words.index("-") + 1] == "cgroup2")
        path = Path(where) / os.path.relpath(inner, root)
        # Only the root of the whole machine has no such file; a kernel before 5.14 has none anywhere, and then a leaf is no use.
        if not (path / "cgroup.kill").exists() or not os.access(path, os.W_OK | os.X_OK):
            return None
        uid = os.geteuid() if uid is None else uid
        ours = inner == root or (uid != 0 and path.stat().st_uid == uid) or _is_marked(path)
    except (OSError, StopIteration, ValueError):
        return None
    return path if ours and os.access(path / "cgroup.procs", os.W_OK) else None


@contextmanager
def inside(leaf: Path | None) -> Iterator[None]:
    """What is started in the meantime is born in the leaf, which is made for it; where that cannot be, it is born beside us."""
    entered = leaf is not None and _enter(leaf)
    try:
        yield
    finally:
        if entered and leaf is not None:
            _step(leaf.parent)


def end(leaf: Path) -> bool:
    """SIGKILL everybody in the leaf; True once nobody is left and the leaf is gone. Call again after a moment while False."""
    try:
        if "populated 1" in (leaf / "cgroup.events").read_text():
            if str(os.getpid()) in (leaf / "cgroup.procs").read_text().split():
                _step(leaf.parent)  # an earlier step back was refused
            (leaf / "cgroup.kill").write_text("1")
            return False
        _remove(leaf)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def leaves(base: Path, prefix: str) -> list[Path]:
    """All leaves below `base` whose names begin so."""
    try:
        return [path for path in base.iterdir() if path.name.startswith(prefix) and path.is_dir()]
    except OSError:
        return []


def _is_marked(path: Path) -> bool:
    for name in _MARKS_OF_DELEGATION:
        with suppress(OSError):
            if os.getxattr(path, name) == b"1":
                return True
    return False


def _enter(leaf: Path) -> bool:
    try:
        leaf.mkdir(exist_ok=True)
    except OSError:
        return False
    return _step(leaf)


def _step(where: Path) -> bool:
    """Move this process, all its threads with it."""
    try:
        (where / "cgroup.procs").write_text("0")
    except OSError:
        return False
    return True


def _remove(leaf: Path) -> None:
    """Remove an empty leaf, and what a gateway may have made below it."""
    for directory, below, _ in os.walk(leaf, topdown=False):
        for name in below:
            (Path(directory) / name).rmdir()
    leaf.rmdir()
