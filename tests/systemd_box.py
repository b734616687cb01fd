"""A real systemd in a box: PID 1 of namespaces of its own over an overlay of this machine, which nothing it writes reaches.

What a test names as shared (its own small directory) is the same inside and outside; the rest of /tmp, and /run, begin empty.
The network is the host's, so loopback and its ports are common. The box's processes are ordinary pids outside, which is how
they are counted and killed. systemd-tmpfiles is masked inside: it empties /tmp.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

SYSTEMD = Path("/lib/systemd/systemd")
MASKED = (
    *("systemd-tmpfiles-setup.service", "systemd-tmpfiles-setup-dev.service", "systemd-tmpfiles-clean.timer"),
    *("systemd-timesyncd.service", "systemd-udevd.service", "systemd-sysctl.service", "apt-daily.timer"),
    *("systemd-networkd.service", "systemd-resolved.service", "systemd-oomd.service", "e2scrub_all.timer"),
    *(
        "systemd-udev-trigger.service",
        "systemd-remount-fs.service",
        "systemd-modules-load.service",
        "dpkg-db-backup.timer",
        "fstrim.timer",
    ),
)
# Runs as PID 1 of the new namespaces: BOX, what is shared as it is, `--`, what every user inside may read.
# An overlay of / shows no other file system, nor what is below /tmp: such a directory gets an overlay of its own.
INSIDE = """
set -eu
box=$1; shift
mount -t tmpfs tmpfs "$box"
mkdir -p "$box/upper" "$box/work" "$box/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$box/upper,workdir=$box/work" "$box/root"
r=$box/root
mount -t proc proc "$r/proc"
mount -t sysfs sysfs "$r/sys"
mount -t tmpfs -o mode=755 tmpfs "$r/run"
mount -t tmpfs -o mode=1777 tmpfs "$r/tmp"
mount -t tmpfs -o mode=755 tmpfs "$r/dev"
for d in null zero full random urandom tty; do touch "$r/dev/$d"; mount --bind "/dev/$d" "$r/dev/$d"; done
ln -s /proc/self/fd "$r/dev/fd"
ln -s fd/0 "$r/dev/stdin"; ln -s fd/1 "$r/dev/stdout"; ln -s fd/2 "$r/dev/stderr"
mkdir -p "$r/dev/pts" "$r/dev/shm" "$r/run/lock" "$r/run/user" "$r/sys/fs/cgroup"
mount -t tmpfs -o mode=1777 tmpfs "$r/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$r/dev/pts"
ln -s pts/ptmx "$r/dev/ptmx"
mount -t cgroup2 cgroup2 "$r/sys/fs/cgroup"
rm -f "$r"/etc/systemd/system/openclaw-* "$r"/etc/systemd/system/*.wants/openclaw-*
for unit in $MASKED; do ln -sf /dev/null "$r/etc/systemd/system/$unit"; done
while [ "$1" != -- ]; do mkdir -p "$r$1"; mount --bind "$1" "$r$1"; shift; done
shift
n=0
for d in "$@"; do
  if [ -z "$(ls -A "$r$d" 2>/dev/null)" ]; then
    n=$((n + 1)); mkdir -p "$box/upper$n" "$box/work$n" "$r$d"
    mount -t overlay overlay -o "lowerdir=$d,upperdir=$box/upper$n,workdir=$box/work$n" "$r$d"
  fi
  while [ "$d" != / ]; do chmod go+rx "$r$d"; d=$(dirname "$d"); done
done
cd "$r"
mkdir -p .host
pivot_root . .host
umount -l /.host
export container=lxc
exec /lib/systemd/systemd --system --unit=basic.target --log-target=journal --show-status=0
"""


class Box:
    """One booted systemd. `shared` directories are common to inside and outside, `readable` ones open to every user inside."""

    def __init__(self, shared: Sequence[Path], readable: Sequence[Path] = ()) -> None:
        self.shared = tuple(shared)
        self._directory = Path(tempfile.mkdtemp(prefix="box-", dir="/var/tmp"))
        self._cgroup = _cgroup_root() / self._directory.name
        self._cgroup.mkdir()
        self.pid = 0
        self._boot([*map(str, shared), "--", *map(str, readable)])

    def _boot(self, arguments: Sequence[str]) -> None:
        flags = "--pid --fork --mount --propagation private --cgroup --uts --ipc --kill-child"
        enter = f'echo $$ >"{self._cgroup}/cgroup.procs"; exec unshare {flags} bash -c "$INSIDE" inside "$@"'
        with (self._directory.with_suffix(".log")).open("wb") as log:
            self._unshare = subprocess.Popen(
                ["bash", "-c", enter, "enter", str(self._directory), *arguments],
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "INSIDE": INSIDE, "MASKED": " ".join(MASKED)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self._unshare.poll() is not None:
                break
            self.pid = self.pid or self._init()
            if self.pid and self.run("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}:
                return
            time.sleep(0.1)
        said = self._directory.with_suffix(".log").read_text(errors="replace")
        self.close()
        raise AssertionError(f"the box did not boot: {said}")

    def _init(self) -> int:
        """The process that its own pid namespace numbers 1, once it is systemd."""
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        with suppress(OSError):
            for pid in children.read_text().split():
                if Path(f"/proc/{pid}/exe").readlink().name == "systemd":
                    return int(pid)
        return 0

    def run(
        self, *argv: str, user: str | None = None, env: dict[str, str] | None = None, timeout_s: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command inside to its end, as root or as another `user` with a session bus address of its own."""
        given = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **(env or {})}
        become: list[str] = []
        if user is not None:
            words = self.run("getent", "passwd", user).stdout.strip().split(":")
            given = {
                "HOME": words[5],
                "USER": user,
                "LOGNAME": user,
                "XDG_RUNTIME_DIR": f"/run/user/{words[2]}",
            } | given
            become = ["setpriv", "--reuid", user, "--regid", words[3], "--init-groups"]
        return subprocess.run(
            ["nsenter", "-t", str(self.pid), "-a", "--wd=/", "--", *become, "env", "-i", *_assignments(given), *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def done(self, *argv: str, user: str | None = None) -> str:
        """Run a command that must succeed, and give its output."""
        result = self.run(*argv, user=user)
        assert result.returncode == 0, f"{argv}: {result.returncode}\n{result.stdout}{result.stderr}"
        return result.stdout

    def property(self, unit: str, name: str, *, user: str | None = None) -> str:
        """One property of a unit, as systemd has it."""
        scope = ("--user",) if user else ()
        return self.run("systemctl", *scope, "show", "-P", name, unit, user=user).stdout.strip()

    def seen(self, pid: int) -> int:
        """The number outside of a process that the box knows as `pid`; 0 when there is none."""
        for procs in self._cgroup.rglob("cgroup.procs"):
            with suppress(OSError):
                for outside in procs.read_text().split():
                    if _innermost_pid(int(outside)) == pid:
                        return int(outside)
        return 0

    def pids(self, unit: str) -> set[int]:
        """The numbers outside of all processes in a unit's cgroup, leaves included."""
        found: set[int] = set()
        for directory in self._cgroup.rglob(unit):
            for procs in directory.rglob("cgroup.procs"):
                with suppress(OSError):
                    found |= set(map(int, procs.read_text().split()))
        return found

    def journal(self, unit: str, *, user: str | None = None) -> str:
        """What a unit has said, for a failure."""
        scope = "--user-unit" if user else "--unit"
        return self.run("journalctl", "--no-pager", "-n", "60", f"{scope}={unit}").stdout

    def close(self) -> None:
        """Kill its PID 1, and with it everything inside; nothing of the box is left."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._unshare.wait(10)
        if self._unshare.poll() is None:
            self._unshare.kill()
            self._unshare.wait()
        for directory in sorted(self._cgroup.rglob("*/"), reverse=True):
            _vanish(directory)
        _vanish(self._cgroup)
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.with_suffix(".log").unlink(missing_ok=True)


def missing() -> str:
    """Why no box can be booted here; empty when one can."""
    if os.geteuid() != 0:
        return "a box needs root"
    absent = [name for name in ("unshare", "nsenter", "systemctl", "setpriv", "bash") if shutil.which(name) is None]
    if absent or not SYSTEMD.exists():
        return f"a box needs {', '.join(absent) or 'systemd'}"
    root = _cgroup_root()
    if not root.is_dir() or not os.access(root, os.W_OK):
        return "a box needs a cgroup2 hierarchy that can be written"
    trial = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount", "--cgroup", "true"], capture_output=True, text=True, check=False
    )
    return f"a box needs namespaces: {trial.stderr.strip()}" if trial.returncode else ""


def _cgroup_root() -> Path:
    """Where the unified hierarchy is mounted."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        if line.partition(" - ")[2].startswith("cgroup2 "):
            return Path(line.split()[4])
    return Path("/nonexistent")


def _innermost_pid(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    return next(int(line.split()[-1]) for line in status.splitlines() if line.startswith("NSpid:"))


def _assignments(environment: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in environment.items()]


def _vanish(directory: Path) -> None:
    """Remove a cgroup whose last process is still on its way out."""
    for _ in range(50):
        try:
            directory.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
