"""Spawns gateways, watches, signals and adopts them; every signal goes through a pidfd, never to a remembered number.

A process is known by more than its pid: (pid, start ticks) collide when pids are reused within a clock tick. So a process
is pinned first, and only then believed to be the one that its environment says (RELIABILITY.md Q7).

What grows from a gateway is known by a mark: the soft limit of RLIMIT_LOCKS, which no kernel since 2.4 enforces, set to a number
of ours. Every descendant inherits it, whatever it does to its environment, session or parent, and anybody may read it.
"""

import errno
import fcntl
import os
import re
import resource
import signal
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

MAX_OUTPUT_BYTES = 65536
# Errors of the machine, not of the launcher: the same spawn may work in a moment.
SHORTAGES = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EINTR})
# /usr/include/asm-generic/resource.h; MIPS, SPARC and Alpha have it at the same number.
_RLIMIT_LOCKS = 10
_LIMIT = re.compile(rb"^Max file locks +(\d+)", re.MULTILINE)
# linux/pidfd.h, since 6.15: the first 64 bytes of struct pidfd_info, whose first word says what is wanted, and given.
_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO = struct.Struct("=Q52xi")
_PIDFD_INFO_EXIT = 1 << 3
_REAPED_WITHIN_S = 2.0
_LOOK_AGAIN_S = 0.01


@dataclass(frozen=True, slots=True)
class Process:
    """A pinned process: `pidfd` is ours to close, `start_ticks` is field 22 of /proc/PID/stat."""

    pid: int
    pidfd: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class NotSpawned:
    """Nothing was started; `shortage` when the machine was short of something, else the launcher is to blame."""

    reason: str
    shortage: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """How a short command ended; `code` is None when it ran out of time, `output` is both of its streams."""

    code: int | None
    output: str


@dataclass(frozen=True, slots=True)
class Account:
    """The user a gateway runs as, where that is not ours."""

    uid: int
    gid: int
    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a spawn needs: descriptors are numbers in this process; `lock`, if any, keeps its number in the child.

    `mark`, where not 0, is below 2^63. `oom_score` is what the kernel adds, in thousandths of the memory, when it chooses whom to kill.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    directory: str
    output: int
    lock: int | None = None
    account: Account | None = None
    mark: int = 0
    oom_score: int = 200


def spawn(plan: Plan) -> Process | NotSpawned:
    """Start it in a session of its own, with nothing inherited but output and lock."""
    account = plan.account
    try:
        with _marked(plan.mark):
            child = subprocess.Popen(
                plan.argv,
                cwd=plan.directory,
                env=plan.environment,
                stdin=subprocess.DEVNULL,
                stdout=plan.output,
                stderr=plan.output,
                pass_fds=() if plan.lock is None else (plan.lock,),
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=account.groups if account else None,
            )
    except OSError as error:
        reason = f"{error.strerror}: {error.filename or plan.argv[0]}"
        return NotSpawned(reason, shortage=error.errno in SHORTAGES)
    except ValueError as error:
        # A NUL or a lone surrogate in a word or a variable: no kernel could take it.
        return NotSpawned(f"{error}: in the command line or the environment", shortage=False)
    # The pidfd is what waits for it: Popen must not, or the next Popen would take the exit status away.
    child.returncode = 0
    _expose(child.pid, plan.oom_score)
    try:
        return Process(child.pid, os.pidfd_open(child.pid), start_ticks(child.pid) or 0)
    except OSError as error:
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        return NotSpawned(f"{error.strerror}: pidfd_open", shortage=True)


def _expose(pid: int, oom_score: int) -> None:
    """Take from a child what protects us from the OOM killer; without the right to lower a score it keeps ours, which is higher."""
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(oom_score))


def pin(pid: int) -> Process | None:
    """The process that has this pid now, or None; look at its token only after this, or it may be another's."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return None
    ticks = start_ticks(pid)
    if ticks is None or is_zombie(pid):
        os.close(pidfd)
        return None
    return Process(pid, pidfd, ticks)


async def ended(process: Process) -> int | None:
    """Wait for the end; the wait status, or None when another process is its parent.

    It stays a zombie, its status there to be learnt again by whoever comes after us, until `reap`.
    """
    await anyio.wait_readable(process.pidfd)
    try:
        result = os.waitid(os.P_PIDFD, process.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # noqa: ASYNC222 - it has ended: no wait
    except ChildProcessError:
        return None
    if result is None:
        return None
    return result.si_status << 8 if result.si_code == os.CLD_EXITED else result.si_status


def reap(process: Process) -> None:
    """Let go of a process that has ended: its zombie, if it is ours, and its pidfd."""
    with suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, process.pidfd, os.WEXITED | os.WNOHANG)
    os.close(process.pidfd)


async def status_after_reaping(process: Process) -> int | None:
    """The wait status of a process that ended and that a stranger reaps, such as init; None before Linux 6.15."""
    with anyio.move_on_after(_REAPED_WITHIN_S):
        while True:
            try:
                answer = fcntl.ioctl(process.pidfd, _PIDFD_GET_INFO, _PIDFD_INFO.pack(_PIDFD_INFO_EXIT, 0))
            except OSError:
                return None
            given, status = _PIDFD_INFO.unpack(answer)
            if given & _PIDFD_INFO_EXIT:
                return int(status)
            await anyio.sleep(_LOOK_AGAIN_S)
    return None


def send(process: Process, number: signal.Signals) -> bool:
    """Send a signal; False when the process is gone (or not ours to signal)."""
    try:
        signal.pidfd_send_signal(process.pidfd, number)
    except OSError:
        return False
    return True


def terminate(process: Process) -> bool:
    """SIGTERM, and SIGCONT so that a stopped process can hear it."""
    sent = send(process, signal.SIGTERM)
    send(process, signal.SIGCONT)
    return sent


def kill_all(pids: Iterable[int], still: Callable[[int], bool]) -> int:
    """SIGKILL those of the pids that, once pinned, still are what they were taken for; how many were killed."""
    killed = 0
    for pid in pids:
        process = pin(pid)
        if process is None:
            continue
        if still(pid):
            killed += send(process, signal.SIGKILL)
        os.close(process.pidfd)
    return killed


async def run(
    argv: Sequence[str], environment: Mapping[str, str], directory: str, *, timeout_s: float, account: Account | None
) -> Finished | NotSpawned:
    """Run a short command to its end without a thread; its session is killed when `timeout_s` is over."""
    output = os.memfd_create("clawsup-output", os.MFD_CLOEXEC)
    try:
        process = spawn(Plan(argv, environment, directory, output, account=account))
        if isinstance(process, NotSpawned):
            return process
        code: int | None = None
        try:
            with anyio.move_on_after(timeout_s):
                status = await ended(process)
                code = None if status is None else os.waitstatus_to_exitcode(status)
        finally:
            # Out of time, or whoever waited for it has been cancelled.
            if code is None:
                with anyio.CancelScope(shield=True):
                    # Nobody has reaped it yet, so its number is still its own, and that of its session.
                    os.killpg(process.pid, signal.SIGKILL)
                    await ended(process)
            reap(process)
        return Finished(code, os.pread(output, MAX_OUTPUT_BYTES, 0).decode(errors="replace"))
    finally:
        os.close(output)


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
    with os.scandir("/proc") as entries:
        return sorted((int(entry.name) for entry in entries if entry.name.isdecimal()), reverse=True)


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
    return bool(fields) and fields[0] in ("Z", "X")


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
    """The fields of /proc/PID/stat from the third on: the command before them may hold anything."""
    with suppress(OSError):
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        return text[text.rindex(")") + 2 :].split()
    return []


@contextmanager
def _marked(mark: int) -> Iterator[None]:
    """Carry the mark, or none, ourselves while a child is made, so that it is born so and has no moment otherwise."""
    soft, hard = resource.getrlimit(_RLIMIT_LOCKS)
    if hard != resource.RLIM_INFINITY:
        yield
        return
    resource.setrlimit(_RLIMIT_LOCKS, (mark or hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(_RLIMIT_LOCKS, (soft, hard))
