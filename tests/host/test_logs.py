"""What a gateway prints gets into its log, whatever happens to the pump, the disk and the files (R24, R27)."""

import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from supervisor.host.logs import rotation
from supervisor.host.logs.pump import MIB, Log, outlet
from supervisor.host.logs.reading import follow, tail

ROOT = Path(__file__).parents[2]

PUMP = """
import anyio, sys
from pathlib import Path
from supervisor.host.logs.pump import Log
log = Log(Path(sys.argv[1]), Path(sys.argv[2]), max_bytes=int(sys.argv[3]), keep=10_000)
anyio.run(log.run)
"""

DRAIN = """
import sys
from pathlib import Path
from supervisor.host.logs.pump import Log
Log(Path(sys.argv[1]), Path(sys.argv[2]), max_bytes=int(sys.argv[3]), keep=10_000).drain()
"""

NUMBERS = """
import sys
for number in range(int(sys.argv[1])):
    print(f"line {number} " + "x" * (number % 97), flush=number % 50 == 0)
"""

ON_A_FULL_DISK = """
import json, os, subprocess, sys
from pathlib import Path
from supervisor.host.logs.pump import Log
where = Path(sys.argv[1])
ballast = where / "ballast"
ballast.write_bytes(bytes(1_500_000))
log = Log(where / ".main.fifo", where / "main.log", max_bytes=1_000_000)
def gateway(letter):
    child = subprocess.Popen([sys.executable, "-c", f"print(('{letter}' * 99 + chr(10)) * 3000, end='')"], stdout=log.child_end())
    code = child.wait(20)
    log.drain()
    return code
code, trouble, dropped, written = [gateway("a") for _ in range(3)], log.trouble, log.dropped, log.written
ballast.unlink()
later = gateway("b"), log.trouble, log.dropped, log.written
print(json.dumps([code, trouble, dropped, written, later, (where / "main.log").read_text()]))
"""


def wait_for(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what changes is outside this process, or counts without telling
        await anyio.sleep(0.001)


def numbered(count: int) -> bytes:
    return b"".join(f"line {number} {'x' * (number % 97)}\n".encode() for number in range(count))


def whole(file: Path) -> bytes:
    """The log as the concatenation of its parts, oldest first."""
    data = (gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes() for p in rotation.parts(file))
    return b"".join([*data, file.read_bytes()])


@contextmanager
def spawned(log: Log, code: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    end = log.child_end()
    try:
        child = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=end, stderr=end)
    finally:
        os.close(end)
    with child:
        try:
            yield child
        finally:
            child.kill()


@contextmanager
def pumping(log: Log) -> Iterator[None]:
    """The pump runs, in a thread of its own."""
    with start_blocking_portal() as portal:
        running = portal.start_task_soon(log.run)
        try:
            yield
        finally:
            running.cancel()


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    return tmp_path / "logs" / ".main.fifo"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "main.log"


@pytest.fixture
def log(fifo: Path, file: Path) -> Iterator[Log]:
    log = Log(fifo, file)
    yield log
    log.close()


def put(log: Log, data: bytes) -> None:
    """Print as a gateway does, and have it moved."""
    end = log.child_end()
    try:
        for start in range(0, len(data), 500_000):
            os.write(end, data[start : start + 500_000])
            log.drain()
    finally:
        os.close(end)


def test_stdout_and_stderr_of_a_child_reach_the_log(log: Log, fifo: Path, file: Path) -> None:
    with spawned(log, "import sys; print('out', flush=True); print('err', file=sys.stderr)") as child:
        assert child.wait(20) == 0
    log.drain()

    assert file.read_text() == "out\nerr\n"
    assert (log.written, log.dropped, log.trouble) == (8, 0, "")
    assert [path.stat().st_mode & 0o777 for path in (fifo, file)] == [0o600, 0o600]


def test_a_child_that_makes_its_stdout_nonblocking_changes_only_its_own(log: Log) -> None:
    """libuv does so in every Node."""
    one, other = log.child_end(), log.holder()
    os.set_blocking(one, False)

    assert (os.get_blocking(one), os.get_blocking(other)) == (False, True)
    assert not os.get_inheritable(one)
    os.close(one)
    os.close(other)


async def test_a_running_pump_moves_what_comes_and_what_comes_later(log: Log, file: Path) -> None:
    end = log.child_end()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.run)
        with anyio.fail_after(20):
            for number in range(3):
                os.write(end, b"%d\n" % number)
                await until(lambda: log.written == 2 * (number + 1))  # noqa: B023 - called at once
        tasks.cancel_scope.cancel()
    os.close(end)

    assert whole(file) == b"0\n1\n2\n"


async def test_a_loud_gateway_does_not_starve_the_loop(fifo: Path, file: Path) -> None:
    log = Log(fifo, file, max_bytes=4_000_000, keep=2)
    slowest = 0.0
    with spawned(log, "while True: print('x' * 4000)"):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log.run)
            with anyio.fail_after(60):
                while log.written < 40_000_000:
                    begun = anyio.current_time()
                    await anyio.sleep(0.001)
                    slowest = max(slowest, anyio.current_time() - begun)
            tasks.cancel_scope.cancel()
    log.close()

    assert slowest < 1
    assert sum(path.stat().st_size for path in file.parent.iterdir()) <= 12_000_000


def test_a_gateway_outlives_its_pump_and_the_holder_keeps_what_it_said(fifo: Path, file: Path) -> None:
    log = Log(fifo, file)
    holder = log.holder()
    with spawned(log, "import sys; sys.stdin.read(); print('last words')") as child:
        log.close()
        assert child.wait(20) == 0
    successor = Log(fifo, file)
    os.close(holder)
    successor.drain()
    successor.close()

    assert file.read_text() == "last words\n"


def test_a_sigkill_of_the_pump_loses_doubles_and_tears_nothing(fifo: Path, file: Path) -> None:
    count = 80_000
    log = Log(fifo, file)
    holder = log.holder()
    with spawned(log, NUMBERS, str(count)) as writer:
        log.close()
        for _ in range(10):
            before = sum(path.stat().st_size for path in file.parent.iterdir())
            target = before + random.randrange(100_000, 300_000)  # noqa: S311 - chaos, no secret
            with subprocess.Popen([sys.executable, "-c", PUMP, fifo, file, "50000"], cwd=ROOT) as pump:
                wait_for(lambda: sum_of(file.parent) >= target or writer.poll() is not None)  # noqa: B023 - called at once
                pump.kill()
        last = Log(fifo, file, max_bytes=50_000, keep=10_000)
        with pumping(last):
            wait_for(lambda: writer.poll() is not None)
    last.drain()
    last.close()
    os.close(holder)

    assert whole(file) == numbered(count)
    assert all(part.read_bytes().endswith(b"\n") for part in rotation.parts(file))


def sum_of(directory: Path) -> int:
    """Bytes of all files that stay for the length of the look."""
    total = 0
    for entry in os.scandir(directory):
        try:
            total += entry.stat().st_size
        except FileNotFoundError:
            continue
    return total


def strace(*injections: str) -> list[str]:
    """The command that runs another with faults at given system calls; skips where there is none."""
    command = ["strace", "-qq", "-o", "/dev/null", *(f"--inject={injection}" for injection in injections)]
    if not shutil.which("strace") or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("needs strace, and the right to trace")
    return command


@pytest.mark.parametrize("call", ["rename", "ftruncate", "splice"])
@pytest.mark.parametrize("when", [1, 2])
def test_a_sigkill_at_a_step_of_a_rotation_loses_and_doubles_nothing(
    fifo: Path, file: Path, call: str, when: int
) -> None:
    log = Log(fifo, file)
    end = log.child_end()
    os.write(end, numbered(2000))
    done = subprocess.run(
        [*strace(f"{call}:signal=SIGKILL:when={when}"), sys.executable, "-c", DRAIN, fifo, file, "30000"],
        cwd=ROOT, check=False,
    )  # fmt: skip
    log.close()
    survivor = Log(fifo, file, max_bytes=30_000, keep=10_000)
    survivor.drain()
    survivor.close()
    os.close(end)

    assert done.returncode != 0
    assert whole(file) == numbered(2000)


def test_a_file_system_without_splice_is_written_to(fifo: Path, file: Path) -> None:
    log = Log(fifo, file)
    end = log.child_end()
    os.write(end, numbered(2000))
    subprocess.run(
        [*strace("splice:error=EINVAL"), sys.executable, "-c", DRAIN, fifo, file, "30000"], cwd=ROOT, check=True
    )
    os.close(end)
    log.close()

    assert whole(file) == numbered(2000)


@pytest.mark.parametrize("step", ["copied", "half copied", "parted", "replaced", "finished"])
def test_what_a_kill_left_of_a_rotation_is_finished(fifo: Path, file: Path, step: str) -> None:
    file.parent.mkdir()
    part, successor = Path(f"{file}.20260101T000000000000Z"), Path(f"{file}.new")
    old = b"one\ntwo\n" * 100
    (file if "copied" in step else part).write_bytes(old + (b"" if step == "finished" else b"begun"))
    if step in {"copied", "half copied", "parted"}:
        successor.write_bytes(b"beg" if step == "half copied" else b"begun")
    else:
        file.write_bytes(b"begun")
    log = Log(fifo, file)
    put(log, b" and ended\n")
    log.close()

    assert whole(file) == old + b"begun and ended\n"
    assert not successor.exists()


def test_a_log_is_cut_at_line_ends_and_bounded_in_size_and_count(fifo: Path, file: Path) -> None:
    log = Log(fifo, file, max_bytes=5000, keep=3)
    put(log, numbered(2000))
    log.close()
    parts = rotation.parts(file)

    assert len(parts) == 3
    assert all(part.stat().st_size <= 5000 for part in [*parts, file])
    assert all(part.read_bytes().endswith(b"\n") for part in parts)
    assert numbered(2000).endswith(whole(file))
    assert all(datetime.strptime(p.name, "main.log.%Y%m%dT%H%M%S%fZ") for p in parts)  # noqa: DTZ007 - the Z is UTC


def test_a_line_longer_than_a_log_is_cut_but_not_lost(fifo: Path, file: Path) -> None:
    log = Log(fifo, file, max_bytes=5000, keep=100)
    put(log, b"x" * 30_000 + b"\n")
    log.close()

    assert whole(file) == b"x" * 30_000 + b"\n"


def test_a_clock_set_back_does_not_change_the_order_of_parts(file: Path) -> None:
    file.parent.mkdir()
    for number, year in enumerate((2026, 2025, 2025, 2026)):
        file.write_bytes(b"%d\n" % number)
        fd = os.open(file, os.O_RDWR)
        rotation.rotate(file, fd, datetime(year, 1, 1, tzinfo=UTC), 5000)
        os.close(fd)

    assert [part.read_bytes() for part in rotation.parts(file)] == [b"0\n", b"1\n", b"2\n", b"3\n"]


async def test_older_parts_are_compressed_beside_the_loop(fifo: Path, file: Path) -> None:
    log = Log(fifo, file, max_bytes=50_000, keep=100, compress_after_s=0.001)
    data = numbered(10_000)
    put(log, data)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.run)
        with anyio.fail_after(20):
            await until(lambda: all(part.suffix == ".gz" for part in rotation.parts(file)[:-1]))
        tasks.cancel_scope.cancel()
    log.close()

    assert whole(file) == data
    assert len(rotation.parts(file)) > 5
    assert all(part.stat().st_mode & 0o777 == 0o600 for part in rotation.parts(file))
    assert tail(file, 9_000) == data.decode().splitlines()[-9_000:]


def test_a_full_disk_costs_what_the_fifo_cannot_hold_and_says_how_much(tmp_path: Path) -> None:
    """On a tmpfs of its own, in a namespace of its own."""
    mount = f'mount -t tmpfs -o size=1600k none "{tmp_path}"'
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "sh", "-c", mount], check=False).returncode:
        pytest.skip("no mount namespace to be had here")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$0" -c "$1" "{tmp_path}"', sys.executable, ON_A_FULL_DISK],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, trouble, dropped, written, later, text = json.loads(done.stdout)

    assert (code, trouble) == ([0, 0, 0], f"{tmp_path}/main.log: No space left on device")
    assert (900_000 - dropped - written, dropped > 100_000, written > 50_000) == (MIB // 2, True, True)
    assert f"[clawsup: {dropped} bytes of output were dropped, the disk was full]" in text.splitlines()
    assert text.splitlines().count("b" * 99) == 3000
    assert (later[0], later[2], later[2] + later[3]) == (0, dropped, 1_200_000)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_machine_without_a_thread_packs_later(fifo: Path, file: Path) -> None:
    """R27: output goes on, and older parts are packed when there is a thread for it (trio waits for one that never starts)."""
    log = Log(fifo, file, max_bytes=10_000, keep=20, compress_after_s=0.01)
    put(log, (b"x" * 9_999 + b"\n") * 3)
    gateway = log.child_end()
    before = threading.stack_size(1 << 47)  # more than there are addresses
    try:
        async with anyio.create_task_group() as tasks:
            with anyio.fail_after(20):
                tasks.start_soon(log.run)
                for number in range(20):
                    os.write(gateway, b"%d\n" % number)
                    await until(lambda expected=str(number): tail(file, 1) == [expected])  # type: ignore[misc]  # mypy infers no default
                assert not list(file.parent.glob("*.gz"))
                threading.stack_size(before)
                os.write(gateway, b"and again\n")
                await until(lambda: bool(list(file.parent.glob("*.gz"))))
            tasks.cancel_scope.cancel()
    finally:
        threading.stack_size(before)
        os.close(gateway)
    log.close()


def test_a_directory_that_cannot_be_is_trouble_but_not_the_gateways(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    log = Log(tmp_path / "logs" / ".main.fifo", tmp_path / "logs" / "main.log")
    with spawned(log, "print('x' * 99)") as child:
        assert child.wait(20) == 0
    log.drain()
    trouble = log.trouble
    (tmp_path / "logs").unlink()
    log.drain()
    put(log, b"again\n")
    log.close()

    assert trouble == f"{tmp_path}/logs/main.log: Not a directory"
    assert (log.trouble, log.dropped) == ("", 0)
    assert tail(tmp_path / "logs" / "main.log", 9) == ["x" * 99, "again"]


def test_a_log_that_is_deleted_renamed_or_truncated_goes_on(log: Log, file: Path) -> None:
    put(log, b"one\n")
    file.unlink()
    put(log, b"two\n")
    after_unlink = file.read_bytes()
    file.rename(file.with_name("main.log.1"))
    put(log, b"three\n")
    after_rename = file.read_bytes()
    os.truncate(file, 0)
    put(log, b"four\n")

    assert [after_unlink, after_rename, file.read_bytes()] == [b"two\n", b"three\n", b"four\n"]


def test_what_is_neither_fifo_nor_file_is_set_aside(fifo: Path, file: Path) -> None:
    file.mkdir(parents=True)
    fifo.write_text("no fifo")
    log = Log(fifo, file)
    put(log, b"one\n")
    log.close()

    assert (file.read_bytes(), fifo.is_fifo()) == (b"one\n", True)
    assert [len(list(file.parent.glob(f"{name}.bad-*"))) for name in (".main.fifo", "main.log")] == [1, 1]


def test_a_symlink_is_never_written_through(log: Log, file: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    file.symlink_to(victim)
    put(log, b"one\n")

    assert (victim.read_bytes(), file.read_bytes()) == (b"", b"one\n")


def test_a_gateway_whose_fifo_was_removed_is_still_heard(fifo: Path, file: Path) -> None:
    log = Log(fifo, file)
    with spawned(
        log, "import sys; sys.stdin.read(); print('still here', flush=True); import time; time.sleep(60)"
    ) as child:
        in_place = outlet(child.pid, fifo)
        shutil.rmtree(fifo.parent)
        lost = outlet(child.pid, fifo)
        log.close()
        successor = Log(lost, file)
        with pumping(successor):
            wait_for(lambda: successor.written > 0)
        put(successor, b"next life\n")
        successor.close()

    assert (in_place, lost) == (fifo, Path(f"/proc/{child.pid}/fd/1"))
    assert outlet(child.pid, fifo) == fifo
    assert file.read_text() == "still here\nnext life\n"


def test_the_tail_reaches_into_older_parts(fifo: Path, file: Path) -> None:
    log = Log(fifo, file, max_bytes=2000, keep=100)
    data = numbered(500)
    put(log, data + b"begun \xff")
    log.close()
    expected = [*data.decode().splitlines(), "begun \ufffd"]

    assert [tail(file, count) for count in (0, 1, 7, 300, 501, 999)] == [
        [], expected[-1:], expected[-7:], expected[-300:], expected, expected,
    ]  # fmt: skip
    assert tail(file.with_name("none.log"), 5) == tail(Path("/nowhere/none.log"), 5) == []


def test_a_follower_sees_every_line_once_over_rotations(fifo: Path, file: Path) -> None:
    log = Log(fifo, file, max_bytes=20_000, keep=1000)
    data = numbered(3000)
    seen: list[str] = []
    done = threading.Event()
    put(log, data[:5003])

    def look() -> None:
        seen.extend(follow(file, lines=3, stop=done.is_set, poll_s=0.001))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        wait_for(lambda: len(seen) >= 3)
        for start in range(5003, len(data), 1009):
            put(log, data[start : start + 1009])
        wait_for(lambda: bool(seen) and seen[-1].startswith("line 2999 "))
    finally:
        done.set()
        reader.join()
        log.close()
    lines = data.decode().splitlines()

    assert seen == lines[lines.index(seen[0]) :]


def test_a_follower_goes_on_when_the_log_is_truncated_or_taken_away(log: Log, file: Path) -> None:
    put(log, b"zero\none\n")
    lines = follow(file, lines=1, poll_s=0.001)
    seen = [next(lines)]
    put(log, b"two\n")
    seen.append(next(lines))
    os.truncate(file, 0)
    put(log, b"three\n")
    seen.append(next(lines))
    file.unlink()
    put(log, b"four\n")
    seen += [next(lines), next(lines)]

    gap = "[clawsup: the log was taken away under its reader, lines may be missing here]"
    assert seen == ["one", "two", "three", gap, "four"]


def test_a_line_that_a_life_left_begun_is_ended_before_the_next_ones(log: Log, file: Path) -> None:
    """R24: once, and only where there is such a line."""
    log.end_line()
    put(log, b"whole\n")
    log.end_line()
    put(log, b"half")
    log.end_line()
    log.end_line()
    put(log, b"next\n")

    assert file.read_text() == "whole\nhalf\nnext\n"
    assert log.written == len("whole\nhalfnext\n")


def test_a_line_left_begun_before_the_pump_died_is_ended_behind_all_of_it(fifo: Path, file: Path) -> None:
    """R27: the line's end has its place behind what still was in the FIFO, over rotations and pumps."""
    log = Log(fifo, file, max_bytes=1000)
    end = log.child_end()
    os.write(end, b"x" * 990 + b"\nha")
    log.drain()
    os.write(end, b"lf")
    log.close()
    successor = Log(fifo, file, max_bytes=1000, keep=9)
    successor.end_line()
    os.write(end, b"next\n")
    successor.drain()
    os.write(end, b"y" * 990 + b"ha")
    for _ in range(2):
        successor.end_line()
    successor.close()
    os.close(end)

    assert whole(file) == b"x" * 990 + b"\nhalf\nnext\n" + b"y" * 990 + b"ha\n"


def test_no_line_is_ended_while_its_rest_waits_for_the_disk(tmp_path: Path) -> None:
    """RELIABILITY.md Q8: what a disk refuses waits in the FIFO, whole."""
    logs = tmp_path / "logs"
    log = Log(tmp_path / ".main.fifo", logs / "main.log")
    put(log, b"half ")
    aside = logs.rename(tmp_path / "aside")
    logs.touch()
    put(log, b"of a ")
    log.end_line()
    logs.unlink()
    aside.rename(logs)
    put(log, b"line\n")
    log.close()

    assert (logs / "main.log").read_text() == "half of a line\n"
