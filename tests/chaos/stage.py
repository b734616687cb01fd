"""Where a run happens: namespaces of its own, with small disks of their own, of which this process is init and nothing outlives it."""

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PLACE = Path("/mnt")
_INSIDE = "CLAWSUP_CHAOS_INSIDE"
_SHARED = ("--mount", "--pid", "--net", "--ipc", "--fork", "--mount-proc", "--kill-child")
_MS_REMOUNT = 32
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_PAGE = os.sysconf("SC_PAGESIZE")
_MIB = 1024 * 1024
_SIZES = {"world": 512 * _MIB, "state": 256 * _MIB, "logs": 256 * _MIB}
_FILL_TRIES = 20


def unshare() -> list[str]:
    """Give the command that makes the namespaces; without root's rights it makes a user namespace around them."""
    return ["unshare", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")), *_SHARED]


def missing() -> str:
    """Say why no such namespaces are to be had; nothing if they are."""
    if shutil.which("unshare") is None:
        return "unshare (util-linux) is not installed"
    if not PLACE.is_dir():
        return f"there is no {PLACE} to mount on"
    tried = subprocess.run([*unshare(), "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"no namespaces here: {tried.stderr.strip()}"


def is_inside() -> bool:
    """Whether this process is the init of such namespaces."""
    return os.getpid() == 1 and _INSIDE in os.environ


def enter() -> None:
    """Begin this very command again, inside."""
    argv = [*unshare(), sys.executable, "-m", "tests.chaos", *sys.argv[1:]]
    os.execvpe(argv[0], argv, os.environ | {_INSIDE: "1"})  # noqa: S606 (our own command)


class Stage:
    """The inside: disks that can be filled, children that are reaped like everybody whose parent has gone."""

    def __init__(self) -> None:
        self.root = PLACE
        self.state_dir = PLACE / "s"
        self._disks = {"world": PLACE, "state": self.state_dir, "logs": self.state_dir / "logs"}
        for disk, path in self._disks.items():
            path.mkdir(mode=0o700, exist_ok=True)
            _mount(path, _SIZES[disk], 0)
        _raise_loopback()
        self.children: dict[int, str] = {}
        self.ended: dict[int, int] = {}

    def fill(self, disk: str) -> bool:
        """Leave no page free on a disk; False if it grew faster than that could be done."""
        for _ in range(_FILL_TRIES):
            found = os.statvfs(self._disks[disk])
            try:
                _mount(self._disks[disk], max(_PAGE, (found.f_blocks - found.f_bfree) * found.f_frsize), _MS_REMOUNT)
            except OSError:
                continue
            return True
        return False

    def free(self, disk: str) -> None:
        """Give a disk its room back."""
        _mount(self._disks[disk], _SIZES[disk], _MS_REMOUNT)

    def spawn(self, what: str, argv: list[str], env: Mapping[str, str], output: Path) -> int:
        """Start a child of ours in a session of its own, its output appended to a file."""
        opened = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(output), opened, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        pid = os.posix_spawn(argv[0], argv, env, file_actions=actions, setsid=True, setsigdef=[signal.SIGINT])
        self.children[pid] = what
        return pid

    def reap(self) -> None:
        """Bury everybody who has ended, as init does; the exit codes of our own children (-N for a signal) are kept."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self.children.pop(pid, None) is not None:
                self.ended[pid] = os.waitstatus_to_exitcode(status)


def _mount(path: Path, size: int, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={size},mode=0700".encode()
    if libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", flags, options) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, asked))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
