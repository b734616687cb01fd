"""The lock on a state directory: an exclusive flock on the directory's own inode, which lives in the gateway.

A file inside could be deleted and made anew under a live holder; a directory in use cannot, and its inode is the same
through every symlink and bind mount. The lock belongs to the open file description: it ends when the last descriptor of
that description is closed, wherever it is. So it is handed to a gateway by letting it inherit the descriptor and closing
ours. Unlocking ours would unlock the gateway's.
"""

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from filelock import lock_descriptor

from supervisor.errors import ClawsupError

# Another process may end, or turn out to be another user's, between any two looks at it.
_OUT_OF_SIGHT = (FileNotFoundError, ProcessLookupError, PermissionError)


@dataclass(frozen=True, slots=True)
class Taken:
    """The lock is ours for as long as somebody has `fd`, or what was inherited from it, open."""

    fd: int


@dataclass(frozen=True, slots=True)
class Held:
    """Another has the lock. `holders` are the pids that have it open, empty where only another user's could be."""

    holders: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unusable:
    """There is nothing to lock. `machine` means descriptors or memory are used up: no fault of the directory."""

    why: Literal["absent", "not a directory", "forbidden", "no flock", "machine", "other"]
    text: str
    mend: str


def take(state_dir: Path, *, known: Iterable[int] = ()) -> Taken | Held | Unusable:
    """Lock the directory if nobody has; who polls passes the holders seen last as `known`, which spares a look at all."""
    try:
        fd = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except ValueError:
        return Unusable("other", f"state directory {str(state_dir)!r}: no path can look like this", "mend `state_dir`")
    except OSError as error:
        return _unopened(state_dir, error)
    taken = False
    try:
        taken = lock_descriptor(fd, blocking=False)
    except OSError as error:
        return _unlocked(state_dir, os.fstat(fd).st_dev, error)
    finally:
        if not taken:
            os.close(fd)
    return Taken(fd) if taken else Held(holders(state_dir, known=known))


def release(fd: int) -> None:
    """Give up our descriptor of the lock. It only closes: whoever inherited the lock keeps it."""
    os.close(fd)


def holders(path: Path, *, known: Iterable[int] = ()) -> tuple[int, ...]:
    """Name all visible pids with a flock on `path` open, ascending; those of `known` alone if any of them is one."""
    try:
        directory = path.stat()
        if again := tuple(sorted(pid for pid in known if _holds(pid, directory))):
            return again
        with os.scandir("/proc") as entries:
            pids = sorted(int(entry.name) for entry in entries if entry.name.isdecimal())
        return tuple(pid for pid in pids if _holds(pid, directory))
    except (OSError, ValueError):
        return ()  # No such directory, or no descriptor left to look with: nobody can be named.


def _holds(pid: int, directory: os.stat_result) -> bool:
    try:
        with os.scandir(f"/proc/{pid}/fdinfo") as entries:
            return any(_is_lock(pid, entry.name, directory) for entry in entries)
    except _OUT_OF_SIGHT:
        return False


def _is_lock(pid: int, number: str, directory: os.stat_result) -> bool:
    try:
        info = os.open(f"/proc/{pid}/fdinfo/{number}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if b": FLOCK " not in os.read(info, 4096):
                return False
        finally:
            os.close(info)
        # The lock's own line has a device too, but on btrfs and overlayfs it is not the one that stat() gives.
        return os.path.samestat(Path(f"/proc/{pid}/fd/{number}").stat(), directory)
    except _OUT_OF_SIGHT:
        return False


def _unopened(path: Path, error: OSError) -> Unusable:
    match error.errno:
        case errno.ENOENT:
            return Unusable("absent", f"state directory {path} does not exist", f"mkdir -m 700 {path}")
        case errno.ENOTDIR:
            return Unusable("not a directory", f"state directory {path} is not a directory", "move the file away")
        case errno.EACCES | errno.EPERM:
            mend = f"make it readable for uid {os.geteuid()}, or run clawsup as its owner"
            return Unusable("forbidden", f"state directory {path} may not be opened by uid {os.geteuid()}", mend)
        case errno.EMFILE | errno.ENFILE | errno.ENOMEM:
            mend = "raise LimitNOFILE of the unit" if error.errno == errno.EMFILE else "free the machine's resources"
            return Unusable("machine", f"state directory {path} cannot be opened: {error.strerror}", mend)
        case _:
            return Unusable("other", f"state directory {path} cannot be opened: {error.strerror}", "mend `state_dir`")


def _unlocked(path: Path, device: int, error: OSError) -> Unusable:
    if error.errno == errno.ENOMEM:
        return Unusable("machine", f"state directory {path} cannot be locked: {error.strerror}", "free some memory")
    # NFS wants a descriptor open for writing (EBADF), which no directory has; others have no flock at all.
    where = f"lies on {_filesystem(device)}, where a directory cannot be locked ({error.strerror})"
    return Unusable("no flock", f"state directory {path} {where}", "put it on a local file system")


def _filesystem(device: int) -> str:
    """Name the type of the file system with that device number, as mount(8) knows it."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        mounts = []
    # Field 3 is the device; the type stands behind a lone dash, after a varying number of optional fields.
    types = (line.partition(" - ")[2].split()[0] for line in mounts if line.split()[2] == number)
    return next(types, "a file system")


class LowSlot:
    """A low descriptor number, parked on /dev/null, onto which a lock is laid while a gateway is spawned.

    Node marks its inherited descriptors 0 to 16 close-on-exec and stops at the first gap after that: a lock at a higher
    number would be inherited by everything that the gateway starts. Make it before many descriptors are open.
    """

    highest: ClassVar[int] = 16

    def __init__(self) -> None:
        try:
            self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            # From 3 up: in the child, 0 to 2 are overlaid by its own standard streams.
            self._low = fcntl.fcntl(self._null, fcntl.F_DUPFD_CLOEXEC, 3)
        except OSError as error:
            msg = f"no descriptor could be parked for the locks: {error.strerror}"
            raise ClawsupError(msg, mend="raise the limit of open files") from error
        self._lent = False
        if self._low > self.highest:
            self.close()
            msg = f"all descriptor numbers up to {self.highest} are in use"
            raise ClawsupError(msg, mend="start clawsup without inherited descriptors")

    @contextmanager
    def lend(self, fd: int) -> Iterator[int]:
        """Lay `fd` onto the low number, which is given out for `pass_fds`, and take it off at the end; one at a time."""
        if self._lent:
            msg = "the low slot is lent already: spawn one gateway after the other, without an await between"
            raise RuntimeError(msg)
        self._lent = True
        try:
            yield os.dup2(fd, self._low, inheritable=False)
        finally:
            # /dev/null is kept open for this: with all descriptors used up, opening it anew could fail.
            os.dup2(self._null, self._low, inheritable=False)
            self._lent = False

    def close(self) -> None:
        """Free both descriptors."""
        os.close(self._low)
        os.close(self._null)
