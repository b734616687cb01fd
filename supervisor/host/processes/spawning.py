"""Starts processes, each in a session of its own, with its mark and its rank; and runs short commands to their end."""

import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

from supervisor.host.processes.hearing import Heard
from supervisor.host.processes.looking import stat_of
from supervisor.host.processes.pinned import SHORTAGES, Process, ended, reap

# /usr/include/asm-generic/resource.h; MIPS, SPARC and Alpha have it at the same number.
_RLIMIT_LOCKS = 10
_OOM_MARGIN, _OOM_MOST = 200, 1000
_NICE_GAIN, _NICE_BEST = 5, -20


@dataclass(frozen=True, slots=True)
class NotSpawned:
    """Nothing was started; `shortage` when the machine was short of something, else the launcher is to blame."""

    reason: str
    shortage: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """How a short command ended; `code` is None when it ran out of time, `output` is both of its streams, `cut` at 1 MiB."""

    code: int | None
    output: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """The user a gateway runs as, where that is not ours."""

    uid: int
    gid: int
    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a spawn needs: descriptors are numbers in this process; `lock`, if any, keeps its number in the child.

    `mark`, where not 0, is below 2^63. `first` when memory or CPU are short: see `_rank`.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    directory: str
    output: int
    lock: int | None = None
    account: Account | None = None
    mark: int = 0
    first: bool = False


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
    _rank(child.pid, first=plan.first)
    try:
        # Without its ticks, the next brain would not know it again.
        ticks = int(stat_of(child.pid)[19])
        return Process(child.pid, os.pidfd_open(child.pid), ticks)
    except OSError as error:
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        return NotSpawned(f"{error.strerror}: its pidfd or /proc/{child.pid}/stat", shortage=True)


def _rank(pid: int, *, first: bool) -> None:
    """Say whom the kernel is to kill last, and to run first, from outside on the new process; what it refuses stays as it is.

    Memory: who is first has oom_score_adj 0, or ours where that is higher and we may not lower it; the others have 200 more.
    CPU: who is first is five nice levels better than we are, as root, with CAP_SYS_NICE or within RLIMIT_NICE; the others are
    what we are. Where the kernel groups sessions (autogroup), it compares the groups' own nice values.
    """
    score = Path(f"/proc/{pid}/oom_score_adj")
    with suppress(OSError):
        score.write_text("0")
    with suppress(OSError):
        if not first:
            score.write_text(str(min(_OOM_MOST, int(score.read_text()) + _OOM_MARGIN)))
    if first:
        nice = max(_NICE_BEST, os.getpriority(os.PRIO_PROCESS, 0) - _NICE_GAIN)
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, nice)
        with suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(nice))


async def run(  # noqa: PLR0913 - what a spawn needs, each once
    argv: Sequence[str],
    environment: Mapping[str, str],
    directory: str,
    *,
    timeout_s: float,
    account: Account | None,
    cradle: Callable[[], AbstractContextManager[int]] = lambda: nullcontext(0),
) -> Finished | NotSpawned:
    """Run a short command to its end without a thread; its session is killed when `timeout_s` is over.

    `cradle` gives the mark that it is born with, and ends when it is born.
    """
    try:
        heard = Heard()
    except OSError as error:
        return NotSpawned(f"{error.strerror}: its output", shortage=error.errno in SHORTAGES)
    try:
        try:
            with cradle() as mark:
                process = spawn(Plan(argv, environment, directory, heard.writing, account=account, mark=mark))
        finally:
            heard.given()
        if isinstance(process, NotSpawned):
            return process
        code = await _end_of(process, heard, timeout_s)
    finally:
        heard.end()
    return Finished(code, heard.text, heard.cut)


async def _end_of(process: Process, heard: Heard, timeout_s: float) -> int | None:
    """Hear a command out, and reap it; its exit code, None when its time was over."""
    code: int | None = None
    status: int | None = None
    try:
        with anyio.move_on_after(timeout_s):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(heard.hear)
                status = await ended(process)
                tasks.cancel_scope.cancel()
            code = None if status is None else os.waitstatus_to_exitcode(status)
    finally:
        # Out of time, or whoever waited for it has been cancelled.
        if code is None:
            with anyio.CancelScope(shield=True):
                # Nobody has reaped it yet, so its number is still its own, and that of its session.
                os.killpg(process.pid, signal.SIGKILL)
                await ended(process)
        reap(process)
    return code


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
