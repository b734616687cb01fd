"""What is spawned, watched, signalled and marked, on real processes."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import anyio
import pytest

from supervisor.host import processes
from supervisor.host.processes import Finished, NotSpawned, Plan, Process
from tests.e2e.world import wait_for
from tests.shortage import without_descriptors

ENV = {"PATH": "/usr/bin:/bin"}
MARK = (1 << 62) | 12345
RLIMIT_LOCKS = 10


@pytest.fixture
def output(tmp_path: Path) -> Iterator[BinaryIO]:
    with (tmp_path / "output").open("w+b") as file:
        yield file


def spawned(output: BinaryIO, *argv: str, mark: int = 0, env: dict[str, str] = ENV) -> Process:
    process = processes.spawn(Plan(argv, env, "/", output.fileno(), mark=mark))
    assert isinstance(process, Process), process
    return process


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def text(output: BinaryIO) -> str:
    return os.pread(output.fileno(), 65536, 0).decode()


async def end_of(process: Process) -> int | None:
    with anyio.fail_after(20):
        return await processes.ended(process)


async def test_a_child_leads_a_session_and_has_nothing_of_ours(output: BinaryIO) -> None:
    """R24: no descriptor but its streams, no signal ignored, no mark it was not given."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    process = spawned(output, "sh", "-c", "ls /proc/self/fd; grep -E 'SigIgn|SigBlk' /proc/self/status")
    assert processes.leads_a_session(process.pid)
    assert await end_of(process) == 0
    words = text(output).split()
    assert words[:3] == ["0", "1", "2"]
    assert str(write) not in words
    assert [word for word in words if len(word) == 16] == ["0" * 16] * 2
    processes.reap(process)
    os.close(read)
    os.close(write)


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", -9), ("kill -TERM $$", -15), ("exit 0", 0)])
async def test_the_status_of_an_end_can_be_learnt_again_until_it_is_reaped(
    output: BinaryIO, script: str, code: int
) -> None:
    """R27: a brain that dies before it has written the end down leaves a zombie, from which the keeper still learns it."""
    process = spawned(output, "sh", "-c", script)
    for _ in range(2):
        status = await end_of(process)
        assert status is not None
        assert os.waitstatus_to_exitcode(status) == code
    assert processes.is_zombie(process.pid)
    processes.reap(process)
    assert processes.start_ticks(process.pid) is None


async def test_another_spawn_does_not_take_the_status_away(output: BinaryIO) -> None:
    first = spawned(output, "sh", "-c", "exit 5")
    await anyio.wait_readable(first.pidfd)
    for _ in range(3):
        await anyio.run_process(["true"])
    assert await end_of(first) == 5 << 8
    processes.reap(first)


async def test_who_is_not_our_child_ends_without_a_status_that_waiting_gives(output: BinaryIO) -> None:
    process = spawned(output, "sh", "-c", "sleep 60 & echo $!; wait")
    wait_for(lambda: text(output).endswith("\n"), "the grandchild's pid")
    grandchild = processes.pin(int(text(output)))
    assert grandchild is not None
    assert processes.send(grandchild, signal.SIGKILL)
    assert await end_of(grandchild) is None
    processes.reap(grandchild)
    assert await end_of(process) == 0
    processes.reap(process)


async def test_its_last_reaping_tells_the_most_memory_it_had(output: BinaryIO) -> None:
    """Up to our own peak the kernel's figure is ours: it begins with what we had when we made the child."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 64 * 1024 * 1024
    for script, least in ((f"bytearray({most})", most), ("pass", 0)):
        process = spawned(output, sys.executable, "-I", "-c", script)
        assert await end_of(process) == 0
        told = processes.reap(process)
        assert (told >= least) if least else (told == 0)


async def test_the_kernel_tells_how_a_stranger_ended_once_its_parent_has_reaped_it(output: BinaryIO) -> None:
    """R27: where the keeper died too, init reaps (Linux 6.15; before that nobody can know)."""
    release = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2]))
    process = spawned(output, "sh", "-c", "(sleep 0.3; exit 7) & echo $!; wait; sleep 60")
    wait_for(lambda: text(output).endswith("\n"), "the grandchild's pid")
    grandchild = processes.pin(int(text(output)))
    assert grandchild is not None
    assert await end_of(grandchild) is None
    status = await processes.status_after_reaping(grandchild)
    assert status == (7 << 8 if release >= (6, 15) else None)
    processes.reap(grandchild)
    processes.send(process, signal.SIGKILL)
    await end_of(process)
    processes.reap(process)


@pytest.mark.parametrize(
    ("argv", "env", "directory"),
    [
        (["/no/such/launcher"], ENV, "/"),
        (["/etc/passwd"], ENV, "/"),
        (["/"], ENV, "/"),
        (["true"], ENV, "/no/such/directory"),
        (["true", "a\0b"], ENV, "/"),
        (["true"], {"KEY": "a\0b"}, "/"),
        (["true"], {"KEY": "\ud800"}, "/"),
    ],
)
def test_what_cannot_be_started_is_told_and_no_shortage(
    output: BinaryIO, argv: list[str], env: dict[str, str], directory: str
) -> None:
    found = processes.spawn(Plan(argv, env, directory, output.fileno()))
    assert isinstance(found, NotSpawned)
    assert found.reason
    assert not found.shortage


def test_a_machine_without_descriptors_is_a_shortage_and_leaves_no_child() -> None:
    """R27: nobody's fault; in a process of its own, since the limit is the whole process's."""
    script = (
        "import os, resource\n"
        "from supervisor.host.processes import NotSpawned, Plan, spawn\n"
        "plan = Plan(['/bin/true'], {}, '/', 1)\n"
        "os.set_blocking(1, True)\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "short = 0\n"
        "for limit in range(3, 64):\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))\n"
        "    found = spawn(plan)\n"
        "    if not isinstance(found, NotSpawned): break\n"
        "    assert found.shortage, found\n"
        "    short += 1\n"
        "    try: os.waitpid(-1, 0)\n"
        "    except ChildProcessError: pass\n"
        "    else: raise SystemExit('a child was left')\n"
        "os.write(1, b'%d' % short)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


async def test_without_descriptors_a_command_is_a_shortage_and_nobody_is_taken_for_gone(output: BinaryIO) -> None:
    """R25, R27: a brain that cannot look at a gateway must not take it for dead."""
    process = spawned(output, "sleep", "60")
    with without_descriptors(os.getpid()):
        found = await processes.run(["true"], ENV, "/", timeout_s=20, account=None)
        assert isinstance(found, NotSpawned)
        assert found.shortage
    # One is enough for the pidfd, and not for what is behind it.
    for left in (0, 1):
        with without_descriptors(os.getpid(), left), pytest.raises(OSError, match="Too many open files"):
            processes.pin(process.pid)
    before = open_descriptors()
    with without_descriptors(os.getpid()), pytest.raises(OSError, match="Too many open files"):
        processes.kill_all([process.pid], lambda _: True)
    assert open_descriptors() == before
    assert processes.kill_all([process.pid], lambda _: True) == 1
    assert await end_of(process) == signal.SIGKILL
    processes.reap(process)


async def test_a_mark_is_inherited_whatever_a_descendant_does_to_get_away(output: BinaryIO) -> None:
    """R26: its own session, a parent that has gone, an environment that is empty."""
    getting_away = "(env -i setsid sh -c 'echo $$; exec sleep 60' & ) ; exit 0"
    process = spawned(output, "sh", "-c", getting_away, mark=MARK)
    assert await end_of(process) == 0
    processes.reap(process)
    wait_for(lambda: text(output).endswith("\n"), "the daemon's pid")
    daemon = int(text(output))
    assert processes.mark_of(daemon) == MARK
    assert daemon in processes.pids()
    assert processes.kill_all([daemon], lambda pid: processes.mark_of(pid) == MARK) == 1
    wait_for(lambda: processes.mark_of(daemon) == 0, "it is gone")
    assert resource.getrlimit(RLIMIT_LOCKS)[0] == resource.RLIM_INFINITY
    assert processes.mark_of(os.getpid()) == 0


async def test_what_was_not_marked_does_not_inherit_a_mark_of_ours(output: BinaryIO) -> None:
    """A supervisor that an agent started within a gateway is marked itself."""
    _, hard = resource.getrlimit(RLIMIT_LOCKS)
    resource.setrlimit(RLIMIT_LOCKS, (MARK, hard))
    try:
        process = spawned(output, "sh", "-c", "ulimit -w 2>/dev/null || grep locks /proc/self/limits")
        assert processes.mark_of(os.getpid()) == MARK
    finally:
        resource.setrlimit(RLIMIT_LOCKS, (hard, hard))
    assert await end_of(process) == 0
    processes.reap(process)
    assert "unlimited" in text(output)
    assert str(MARK) not in text(output)


async def test_a_pin_is_never_another_process(output: BinaryIO) -> None:
    process = spawned(output, "sleep", "60")
    pinned = processes.pin(process.pid)
    assert pinned is not None
    assert (pinned.pid, pinned.start_ticks) == (process.pid, process.start_ticks)
    assert processes.terminate(pinned)
    assert await end_of(process) == signal.SIGTERM
    assert processes.pin(process.pid) is None  # a zombie is nobody to adopt
    processes.reap(process)
    assert processes.pin(process.pid) is None
    assert not processes.send(pinned, signal.SIGKILL)
    os.close(pinned.pidfd)


async def test_a_stopped_process_hears_a_terminate(output: BinaryIO) -> None:
    process = spawned(output, "sleep", "60")
    processes.send(process, signal.SIGSTOP)
    assert processes.terminate(process)
    assert await end_of(process) == signal.SIGTERM
    processes.reap(process)


async def test_a_short_command_gives_its_code_and_both_its_streams() -> None:
    found = await processes.run(["sh", "-c", "echo out; echo err >&2; exit 3"], ENV, "/", timeout_s=20, account=None)
    assert found == Finished(3, "out\nerr\n")


async def test_a_command_that_says_too_much_is_heard_to_its_end_and_cut() -> None:
    """An agent's `exec` may say as much as it likes, for minutes; before, all of it stayed in memory."""
    script = "head -c 8388608 /dev/zero | tr '\\0' x; exit 3"
    found = await processes.run(["sh", "-c", script], ENV, "/", timeout_s=60, account=None)
    assert isinstance(found, Finished)
    assert (found.code, found.cut) == (3, True)
    assert found.output == "x" * (1 << 20) + "\n(cut: it said more than 1024 KiB)\n"


async def test_what_is_just_short_enough_is_whole() -> None:
    script = f"head -c {1 << 20} /dev/zero | tr '\\0' x"
    assert await processes.run(["sh", "-c", script], ENV, "/", timeout_s=60, account=None) == Finished(
        0, "x" * (1 << 20)
    )


async def test_a_command_that_never_stops_talking_holds_up_nobody() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.sleep(0.01)
            ticks += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        answer = await processes.run(["yes"], ENV, "/", timeout_s=1, account=None)
        assert isinstance(answer, Finished)
        assert (answer.code, answer.cut) == (None, True)
        assert ticks > 10
        tasks.cancel_scope.cancel()


async def test_a_command_that_takes_too_long_is_killed_with_its_session() -> None:
    script = "echo $$; sleep 600 & echo $!; wait"
    found = await processes.run(["sh", "-c", script], ENV, "/", timeout_s=0.5, account=None)
    assert isinstance(found, Finished)
    assert found.code is None
    for pid in map(int, found.output.split()):
        wait_for(lambda pid=pid: processes.pin(pid) is None, "it is gone")  # type: ignore[misc]  # mypy infers no default


async def test_a_descriptor_is_closed_for_each_that_was_opened(output: BinaryIO) -> None:
    before = open_descriptors()
    for _ in range(3):
        process = spawned(output, "true")
        await end_of(process)
        processes.reap(process)
        await processes.run(["true"], ENV, "/", timeout_s=20, account=None)
        processes.spawn(Plan(["/no/such"], ENV, "/", output.fileno()))
    assert open_descriptors() == before


def test_what_has_gone_has_no_ticks_no_memory_and_no_mark() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    pid = child.pid
    assert processes.start_ticks(pid) is None
    assert (processes.cpu_ticks(pid), processes.resident_bytes(pid), processes.mark_of(pid)) == (0, 0, 0)
    assert not processes.is_zombie(pid)
    assert not processes.leads_a_session(pid)
