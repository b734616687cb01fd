"""The lock on a state directory, with real processes that hold it."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.errors import ClawsupError
from supervisor.host import locks
from supervisor.host.locks import Held, LowSlot, Taken, Unusable, holders, release, take
from tests.real_openclaw import node_binary

REPOSITORY = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("low_numbers")


def taken(state_dir: Path) -> int:
    outcome = take(state_dir)
    assert isinstance(outcome, Taken)
    return outcome.fd


@contextmanager
def gateway(state_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A child that holds the lock, and lives until its input is closed."""
    fd = taken(state_dir)
    try:
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[fd])
    finally:
        release(fd)
    with child:
        yield child


def freed(state_dir: Path) -> bool:
    """Whether the lock can be taken within 10 s."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        outcome = take(state_dir)
        if isinstance(outcome, Taken):
            release(outcome.fd)
            return True
        time.sleep(0.01)
    return False


def descriptors() -> set[str]:
    """The numbers of all our open descriptors."""
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


@contextmanager
def limited(descriptors: int) -> Iterator[None]:
    """No descriptor number from here up can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def used_up(below: int) -> Iterator[None]:
    """Every descriptor number under this one is in use."""
    filler = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while filler[-1] < below - 1:
            filler.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for fd in filler:
            os.close(fd)


def test_a_held_lock_names_its_holder(tmp_path: Path) -> None:
    """R23."""
    with gateway(tmp_path) as child:
        assert take(tmp_path) == Held((child.pid,))
        assert take(tmp_path, known=[os.getpid(), child.pid]) == Held((child.pid,))
        assert take(tmp_path, known=[os.getpid()]) == Held((child.pid,))


def test_the_lock_lives_exactly_as_long_as_the_gateway(tmp_path: Path) -> None:
    with gateway(tmp_path) as child:
        assert isinstance(take(tmp_path), Held)
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(10) == 0
        assert holders(tmp_path) == ()
        release(taken(tmp_path))


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "sys.exit(0)"])
def test_the_lock_outlives_the_process_that_took_it(tmp_path: Path, end: str) -> None:
    """SIGKILL runs no handler; an orderly exit runs filelock's own, which must not free what the gateway holds."""
    script = (
        "import os, subprocess, sys\n"
        "from pathlib import Path\n"
        "from supervisor.host import locks\n"
        "fd = locks.take(Path(sys.argv[1])).fd\n"
        "child = subprocess.Popen(['cat'], stdout=subprocess.DEVNULL, pass_fds=[fd])\n"
        "print(child.pid, flush=True)\n" + end
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY) as taker:
        assert taker.stdin is not None
        assert taker.stdout is not None
        orphan = int(taker.stdout.readline())
        taker.wait(10)
        assert take(tmp_path) == Held((orphan,))
        taker.stdin.close()  # The orphan reads from it, and ends.
        assert freed(tmp_path)


def test_releasing_our_descriptor_does_not_unlock_the_gateways(tmp_path: Path) -> None:
    fd = taken(tmp_path)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[fd]) as child:
        assert set(holders(tmp_path)) == {os.getpid(), child.pid}
        release(fd)
        assert take(tmp_path) == Held((child.pid,))


def test_a_lock_in_our_hands_is_not_inherited_by_accident(tmp_path: Path) -> None:
    fd = taken(tmp_path)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False):
        release(fd)
        release(taken(tmp_path))


def test_every_name_of_the_directory_meets_the_same_lock(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    (tmp_path / "link").symlink_to(state_dir)
    with gateway(state_dir) as child:
        for name in (tmp_path / "link", tmp_path / "link" / ".." / "state", Path(f"{state_dir}//.")):
            assert take(name) == Held((child.pid,))


def test_a_bind_mount_meets_the_same_lock(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mounting needs root and unshare(1)")
    state_dir, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    state_dir.mkdir()
    elsewhere.mkdir()
    script = (
        "import sys; from pathlib import Path; from supervisor.host import locks; print(locks.take(Path(sys.argv[1])))"
    )
    mount = 'mount --bind "$0" "$1" && exec "$2" -c "$3" "$1"'
    arguments = [state_dir, elsewhere, sys.executable, script]
    with gateway(state_dir) as child:
        command = ["unshare", "--mount", "sh", "-c", mount, *map(str, arguments)]
        answer = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            pytest.skip(f"no mount namespace here: {answer.stderr.strip()}")
        assert answer.stdout.strip() == str(Held((child.pid,)))


def test_emptying_the_directory_does_not_free_it(tmp_path: Path) -> None:
    (tmp_path / "openclaw.json").write_text("{}")
    with gateway(tmp_path) as child:
        (tmp_path / "openclaw.json").unlink()
        assert take(tmp_path) == Held((child.pid,))


def test_what_is_no_directory_is_refused_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    expected = {
        "nowhere": ("absent", "does not exist"),
        "file": ("not a directory", "is not a directory"),
        "file/state": ("not a directory", "is not a directory"),
        "fifo": ("not a directory", "is not a directory"),
        "loop": ("other", "symbolic link"),
        "x" * 300: ("other", "too long"),
        "nul\0byte": ("other", "no path can look like this"),
    }
    for name, (why, words) in expected.items():
        outcome = take(tmp_path / name)
        assert isinstance(outcome, Unusable)
        assert outcome.why == why
        assert words in outcome.text
        assert outcome.mend
        assert holders(tmp_path / name) == ()


def test_a_directory_of_another_user_is_forbidden(tmp_path: Path) -> None:
    tmp_path.chmod(0o000)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        outcome = take(tmp_path)
    finally:
        if root:
            os.seteuid(0)
        tmp_path.chmod(0o700)
    assert isinstance(outcome, Unusable)
    assert outcome.why == "forbidden"


@pytest.mark.parametrize("number", [errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_flock_is_refused_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """No network file system can be had in a test: its answer to flock(2) stands in for it."""

    def refuse(fd: int, *, blocking: bool) -> bool:
        raise OSError(number, os.strerror(number), fd, blocking)

    monkeypatch.setattr(locks, "lock_descriptor", refuse)
    before = descriptors()
    outcome = take(tmp_path)
    assert isinstance(outcome, Unusable)
    assert outcome.why == "no flock"
    assert f"where a directory cannot be locked ({os.strerror(number)})" in outcome.text
    elsewhere = take(Path("/proc"))
    assert isinstance(elsewhere, Unusable)
    assert "lies on proc, where" in elsewhere.text
    assert descriptors() == before


def test_used_up_descriptors_are_the_machines_fault(tmp_path: Path) -> None:
    with limited(3):
        outcome = take(tmp_path)
    assert isinstance(outcome, Unusable)
    assert outcome.why == "machine"


def test_without_a_descriptor_to_look_with_the_holder_stays_unnamed(tmp_path: Path) -> None:
    with gateway(tmp_path), limited(64), used_up(63):
        assert take(tmp_path) == Held(())


def test_the_slot_lends_a_low_number_and_takes_it_back(tmp_path: Path) -> None:
    slot = LowSlot()
    fd = taken(tmp_path)
    with slot.lend(fd) as low:
        assert 3 <= low <= 16
        assert os.path.samestat(os.fstat(low), tmp_path.stat())
        assert not os.get_inheritable(low)
    assert os.path.samestat(os.fstat(low), Path(os.devnull).stat())
    with slot.lend(fd) as again:
        assert again == low
    release(fd)
    release(taken(tmp_path))  # Nothing of the loans is left.
    slot.close()


def test_a_failed_spawn_ends_the_loan(tmp_path: Path) -> None:
    slot = LowSlot()
    fd = taken(tmp_path)
    with pytest.raises(FileNotFoundError), slot.lend(fd) as low:
        subprocess.Popen([str(tmp_path / "nothing")], pass_fds=[low])
    release(fd)
    release(taken(tmp_path))
    slot.close()


def test_the_slot_is_lent_to_one_at_a_time(tmp_path: Path) -> None:
    slot = LowSlot()
    fd = taken(tmp_path)
    with slot.lend(fd), pytest.raises(RuntimeError, match="lent already"), slot.lend(fd):
        pass
    release(fd)
    release(taken(tmp_path))
    slot.close()


def test_a_loan_ends_well_when_all_descriptors_are_used_up(tmp_path: Path) -> None:
    slot = LowSlot()
    fd = taken(tmp_path)
    with limited(64), used_up(64):
        with slot.lend(fd):
            pass
        release(fd)
        release(taken(tmp_path))
    slot.close()


def test_without_a_low_number_there_is_no_slot() -> None:
    with used_up(17), pytest.raises(ClawsupError, match="up to 16 are in use"):
        LowSlot()
    with limited(3), pytest.raises(ClawsupError, match="no descriptor could be parked"):
        LowSlot()


def test_what_node_starts_does_not_inherit_the_lock(tmp_path: Path) -> None:
    """At a number above 16 it would, and the lock would outlive the gateway."""
    node = str(node_binary())
    script = (
        "const child = require('child_process').spawn('cat', {stdio: ['pipe', 'ignore', 'ignore']});"
        "child.on('spawn', () => console.log(child.pid)); process.stdin.resume();"
    )
    slot = LowSlot()
    fd = taken(tmp_path)
    with used_up(17), slot.lend(fd) as low:
        gateway = subprocess.Popen([node, "-e", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[low])
    release(fd)
    with gateway:
        try:
            assert gateway.stdout is not None
            grandchild = int(gateway.stdout.readline())
            assert Path(f"/proc/{grandchild}").exists()
            assert take(tmp_path) == Held((gateway.pid,))
        finally:
            gateway.kill()
        gateway.wait(10)
        assert freed(tmp_path)
    slot.close()
