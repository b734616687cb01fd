"""The keeper as a process of its own, with small brains that do one thing each."""

import itertools
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.supervised import gone
from tests.e2e.world import wait_for

KEEPER = Path(__file__).parents[1] / "supervisor" / "keeper.py"
# What every brain of these tests begins with: `born` in its notes, and the words it can say and hear.
PRELUDE = """
import json, os, socket, sys, time
directory, line = sys.argv[1], socket.socket(fileno=int(sys.argv[-1]))
line.settimeout(20)
hello = json.loads(line.recv(65536).decode().partition(" ")[2])
def note(**fields):
    with open(directory + "/notes", "a") as file:
        file.write(json.dumps({"pid": os.getpid(), "at": time.monotonic(), **fields}) + "\\n")
def say(words): line.send(words.encode())
def live():
    while word := line.recv(65536).decode():
        note(heard=word)
        if word == "STOP":
            say("STOPPING=1")
            sys.exit(0)
        if word == "REPLACE":
            sys.exit(0)
    sys.exit(1)
note(hello=hello)
"""
STEADY = "say('READY=1')\nlive()"


class Kept:
    """A keeper with brains of one script."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None

    def start(
        self, script: str, *, keeper: Path = KEEPER, env: Mapping[str, str] | None = None, errors: int | None = None
    ) -> "Kept":
        brain = [sys.executable, "-I", "-S", "-c", PRELUDE + script, str(self.directory)]
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(keeper), str(self.directory), "--", *brain],
            env={"PATH": "/usr/bin:/bin"} | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE if errors is None else errors,
        )
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def notes(self) -> list[dict[str, Any]]:
        path = self.directory / "notes"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def hellos(self) -> list[dict[str, Any]]:
        return [note for note in self.notes() if "hello" in note]

    def heard(self) -> list[str]:
        return [note["heard"] for note in self.notes() if "heard" in note]

    def wait_brains(self, count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = wait_for(
            lambda: hellos if len(hellos := self.hellos()) >= count else None, f"brain {count}", 20
        )
        return found

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, deadline_s: float = 20) -> int:
        assert self.process is not None
        return self.process.wait(deadline_s)

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        wait_for(lambda: all(gone(note["pid"]) for note in self.hellos()), "the brain ends with its keeper", 10)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    keeper = Kept(tmp_path)
    yield keeper
    keeper.close()


def children(pid: int) -> dict[int, str]:
    """Each child of the process, and its state."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(") ")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == pid:
                found[int(entry.name)] = fields[0]
    return found


@pytest.mark.parametrize("how", ["os.kill(os.getpid(), 9)", "raise MemoryError", "sys.exit(0)"])
def test_a_steady_brain_that_ends_is_replaced_within_a_second(kept: Kept, how: str) -> None:
    """R27: whatever ended it; an exit 0 that nobody asked for is an end like any other."""
    kept.start(f"say('READY=1')\nif hello['brains'] > 2: live()\nnote(dying=1)\n{how}")
    born = kept.wait_brains(3)
    died = [note["at"] for note in kept.notes() if "dying" in note]
    assert all(later["at"] - at < 1 for at, later in zip(died, born[1:], strict=True))
    assert [note["hello"]["first"] for note in born] == [True, False, False]


def test_a_silent_brain_is_replaced_within_the_patience(kept: Kept) -> None:
    """R27: half of the watchdog's limit; a stopped process says as little as one in an endless loop."""
    kept.start(
        "say('READY=1')\nif hello['brains'] > 1: live()\nos.kill(os.getpid(), 19)", env={"WATCHDOG_USEC": "2000000"}
    )
    first, second = kept.wait_brains(2)
    assert first["hello"]["silence_s"] == 1.0
    assert 0.9 < second["at"] - first["at"] < 5


def test_a_brain_that_cannot_start_is_tried_again_after_pauses_that_double(kept: Kept) -> None:
    kept.start("sys.exit(1)")
    born = [note["at"] for note in kept.wait_brains(5)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(born)]
    assert all(gap >= 0.1 * 2**number for number, gap in enumerate(gaps))


def test_a_brain_that_dies_soon_after_each_ready_is_not_replaced_in_a_tight_loop(kept: Kept) -> None:
    kept.start("say('READY=1')\nsys.exit(1)")
    born = [note["at"] for note in kept.wait_brains(5)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(born)]
    assert gaps[0] >= 0.1
    assert gaps[3] >= 0.8


@pytest.mark.parametrize("code", [2, 75, 78])
def test_a_first_brain_with_nothing_to_do_ends_the_keeper_with_its_code(kept: Kept, code: int) -> None:
    assert kept.start(f"sys.exit({code})").wait() == code


def test_the_same_code_after_a_brain_was_ready_ends_nothing(kept: Kept) -> None:
    """Definitions that break while gateways run are no reason to leave them."""
    kept.start("if hello['brains'] == 3: say('READY=1'), live()\nif hello['brains'] == 1: say('READY=1')\nsys.exit(78)")
    assert [note["hello"]["first"] for note in kept.wait_brains(3)] == [True, False, False]


def test_a_stop_that_met_no_brain_reaches_the_next_one_with_its_hello(kept: Kept) -> None:
    kept.start(
        "if hello['brains'] == 1: say('READY=1')\nif hello['stopping']: say('STOPPING=1'), sys.exit(0)\nsys.exit(1)"
    )
    kept.wait_brains(3)
    kept.send(signal.SIGTERM)
    assert kept.wait() == 0
    assert kept.hellos()[-1]["hello"]["stopping"] == 1


def test_two_stops_are_a_stop_and_a_stop_now(kept: Kept) -> None:
    kept.start("say('READY=1')\nwhile word := line.recv(99).decode():\n    note(heard=word)")
    kept.wait_brains(1)
    kept.send(signal.SIGTERM)
    wait_for(lambda: kept.heard() == ["STOP"], "STOP")
    kept.send(signal.SIGINT)
    wait_for(lambda: kept.heard() == ["STOP", "STOP NOW"], "STOP NOW")


def test_how_an_orphan_ended_is_told_to_the_brain_that_asks(kept: Kept) -> None:
    """R27: it died after its brain and before the next one; only the leader of a session can be a gateway."""
    kept.start(
        "ticks = lambda pid: int(open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[19])\n"
        "if hello['brains'] == 1:\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        os.setsid()\n"
        "        while os.getppid() != hello['keeper_pid']: time.sleep(.01)\n"
        "        os._exit(7)\n"
        "    note(child=pid, ticks=ticks(pid))\n"
        "    say('READY=1')\n"
        "    sys.exit(1)\n"
        "pid, start = (lambda n: (n['child'], n['ticks']))(\n"
        "    [n for n in map(json.loads, open(directory + '/notes')) if 'child' in n][0])\n"
        "while os.path.exists(f'/proc/{pid}'): time.sleep(.01)\n"
        "for asked in (start, start + 1):\n"
        "    say(f'ENDED={pid} {asked}')\n"
        "    note(heard=line.recv(99).decode().split()[3:])\n"
        "say('READY=1')\nlive()"
    )
    assert wait_for(lambda: len(kept.heard()) == 2 and kept.heard(), "both answers") == [[str(7 << 8)], []]


@pytest.mark.parametrize("question", ["ENDED=", "ENDED=7", "ENDED=x y", "HOLD=main", "DROP=nobody", "=", "?"])
def test_words_that_it_does_not_know_cost_no_keeper(kept: Kept, question: str) -> None:
    """R26: the brain may be newer than its keeper."""
    kept.start(f"say({question!r})\nsay('ENDED=1 1')\nnote(heard=line.recv(99).decode())\nsay('READY=1')\nlive()")
    assert wait_for(kept.heard, "an answer") == ["ENDED 1 1"]


def test_ten_thousand_orphans_leave_no_zombie(kept: Kept) -> None:
    """R26: as in a container, where everybody's orphans come to us; none of them is of interest to a brain."""
    kept.start(
        "say('READY=1')\n"
        "for _ in range(100):\n"
        "    middle = os.fork()\n"
        "    if not middle:\n"
        "        for _ in range(100):\n"
        "            if not os.fork(): os._exit(0)\n"
        "        os._exit(0)\n"
        "    os.waitpid(middle, 0)\n"
        "    say('WATCHDOG=1')\n"
        "note(heard='forked')\nlive()"
    )
    wait_for(kept.heard, "ten thousand forks", 60)
    brain = kept.hellos()[0]["pid"]
    wait_for(lambda: set(children(kept.pid)) == {brain}, "nothing but the brain is left")
    assert kept.heard() == ["forked"]
    assert len(kept.hellos()) == 1


def test_what_is_in_a_held_fifo_outlives_everybody_who_had_it_open(kept: Kept) -> None:
    kept.start(
        "path = directory + '/fifo'\n"
        "if hello['brains'] == 1: os.mkfifo(path)\n"
        "fifo = os.open(path, os.O_RDWR | os.O_NONBLOCK)\n"
        "if hello['brains'] == 1:\n"
        "    os.write(fifo, b'last words')\n"
        "    socket.send_fds(line, [b'HOLD=main'], [fifo])\n"
        "    say('READY=1')\n"
        "    sys.exit(1)\n"
        "note(heard=os.read(fifo, 99).decode())\n"
        "say('DROP=main')\nsay('READY=1')\nlive()"
    )
    assert wait_for(kept.heard, "the next brain reads") == ["last words"]
    fifo = str(kept.directory / "fifo")
    wait_for(
        lambda: fifo not in [str(fd.readlink()) for fd in Path(f"/proc/{kept.pid}/fd").iterdir()], "it is let go of"
    )


def renewed(kept: Kept, more: str) -> Path:
    """Give the keeper a file of its own, with `more` in what will be installed over it."""
    keeper = kept.directory / "keeper.py"
    keeper.write_bytes(KEEPER.read_bytes())
    entry = 'if __name__ == "__main__":'
    (kept.directory / "keeper.new").write_text(KEEPER.read_text().replace(entry, f"{more}\n{entry}"))
    return keeper


def test_a_keeper_becomes_the_one_that_was_installed_over_it_and_keeps_all_it_has(kept: Kept) -> None:
    """R26, R27: pid, lock, the FIFO with its content, who ended before, who ends after, and a stop in the very moment."""
    keeper = renewed(kept, "say('the new one')")
    ask = (
        "def status(pid, ticks):\n"
        "    while True:\n"
        "        say(f'ENDED={pid} {ticks}')\n"
        "        answer = line.recv(65536).decode().split()\n"
        "        if answer[0] == 'ENDED' and len(answer) == 4: return int(answer[3])\n"
        "        time.sleep(0.02)\n"
    )
    with (kept.directory / "errors").open("wb") as errors:
        kept.start(
            f"{ask}path = directory + '/fifo'\n"
            "if hello['brains'] == 1:\n"
            "    os.mkfifo(path)\n"
            "    fifo = os.open(path, os.O_RDWR | os.O_NONBLOCK)\n"
            "    os.write(fifo, b'last words')\n"
            "    socket.send_fds(line, [b'HOLD=main'], [fifo])\n"
            "    children = []\n"
            "    for code, rest in ((7, 0), (8, 1)):\n"
            "        pid = os.posix_spawn('/bin/sh', ['sh', '-c', f'sleep {rest}; exit {code}'], {}, setsid=True)\n"
            "        children.append((pid, int(open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[19])))\n"
            "    note(children=children)\n"
            "    os.waitid(os.P_PID, children[0][0], os.WEXITED | os.WNOWAIT)\n"
            "    say('READY=1')\n"
            "    while line.recv(99) != b'REPLACE': pass\n"
            "    os.kill(hello['keeper_pid'], 15)\n"
            "    sys.exit(0)\n"
            "known = [json.loads(each) for each in open(directory + '/notes')]\n"
            "children = next(each['children'] for each in known if 'children' in each)\n"
            "note(told=[status(*child) for child in children])\n"
            "note(heard=os.read(os.open(path, os.O_RDWR | os.O_NONBLOCK), 99).decode())\n"
            "say('STOPPING=1')\n",
            keeper=keeper,
            errors=errors.fileno(),
        )
        wait_for(lambda: any("children" in note for note in kept.notes()), "the first brain is ready")
        (kept.directory / "keeper.new").rename(keeper)
        kept.send(signal.SIGUSR2)
        first, second = kept.wait_brains(2)
        other = subprocess.run(
            [sys.executable, "-I", keeper, kept.directory, "--", "x"], capture_output=True, check=False
        )
        assert kept.wait() == 0
    assert other.returncode == 75
    assert next(note["told"] for note in kept.notes() if "told" in note) == [7 << 8, 8 << 8]
    assert kept.heard()[-1] == "last words"
    assert (second["hello"]["stopping"], second["hello"]["first"], second["hello"]["brains"]) == (1, False, 2)
    assert [second["hello"][key] for key in ("keeper_pid", "keeper_started", "epoch")] == [
        first["hello"][key] for key in ("keeper_pid", "keeper_started", "epoch")
    ]
    assert "the new one" in (kept.directory / "errors").read_text()


def upgraded(kept: Kept, keeper: Path, *, is_there: bool = True) -> str:
    """Put the new keeper, or none, in the place of one that runs, and have its brain replaced; what was said of it."""
    with (kept.directory / "errors").open("wb") as errors:
        kept.start(STEADY, keeper=keeper, errors=errors.fileno())
        kept.wait_brains(1)
        keeper.unlink()
        if is_there:
            (kept.directory / "keeper.new").rename(keeper)
        kept.send(signal.SIGUSR2)
        kept.wait_brains(2)
    return (kept.directory / "errors").read_text()


@pytest.mark.parametrize("broken", ["raise SystemExit(9)", "def half(:", None])
def test_a_keeper_that_would_not_start_replaces_nobody(kept: Kept, broken: str | None) -> None:
    """R27: half an upgrade costs no gateway, nor does the moment of one in which the file is gone."""
    keeper = renewed(kept, broken or "")
    said = upgraded(kept, keeper, is_there=broken is not None)
    assert "the keeper stays as it was started: the new one ends with" in said


def test_a_python_that_is_half_installed_costs_no_keeper(kept: Kept) -> None:
    """R27: what it would try the new one with cannot be imported any more."""
    keeper = renewed(kept, "pass")
    entry = 'if __name__ == "__main__":'
    keeper.write_text(KEEPER.read_text().replace(entry, f"sys.path.clear()\n{entry}"))
    assert "the keeper stays as it was started: No module named" in upgraded(kept, keeper)


def test_a_new_keeper_that_hangs_is_given_up_before_systemd_gives_us_up(kept: Kept) -> None:
    """R26: else it would end the unit, and every gateway with it."""
    keeper = renewed(kept, "time.sleep(60)")
    with (
        (kept.directory / "errors").open("wb") as errors,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
    ):
        systemd.bind(str(kept.directory / "notify"))
        systemd.settimeout(60)
        told = {"NOTIFY_SOCKET": str(kept.directory / "notify"), "WATCHDOG_USEC": "12000000"}
        kept.start(STEADY, keeper=keeper, errors=errors.fileno(), env=told)
        kept.wait_brains(1)
        (kept.directory / "keeper.new").rename(keeper)
        kept.send(signal.SIGUSR2)
        meals: list[float] = []
        while len(kept.hellos()) < 2 or len(meals) < 3:
            meals += [time.monotonic()] if systemd.recv(4096) == b"WATCHDOG=1" else []
    assert max(later - earlier for earlier, later in itertools.pairwise(meals)) < 12
    assert "the keeper stays as it was started: " in (kept.directory / "errors").read_text()


def test_sigusr2_replaces_the_brain_at_once(kept: Kept) -> None:
    kept.start(STEADY)
    kept.wait_brains(1)
    kept.send(signal.SIGUSR2)
    first, second = kept.wait_brains(2)
    assert kept.heard() == ["REPLACE"]
    assert second["at"] - first["at"] < 5
    assert second["hello"]["first"] is False


def test_a_brain_that_was_killed_instead_of_making_room_is_told_as_killed(kept: Kept) -> None:
    with (kept.directory / "errors").open("wb") as errors:
        kept.start(
            "say('READY=1')\nif hello['brains'] > 1: live()\nline.recv(99)\nos.kill(os.getpid(), 9)",
            errors=errors.fileno(),
        )
        kept.wait_brains(1)
        kept.send(signal.SIGUSR2)
        kept.wait_brains(2)
    assert "the brain was killed by signal 9" in (kept.directory / "errors").read_text()


def test_sighup_reloads_and_after_an_upgrade_replaces(kept: Kept) -> None:
    """The keeper's own directory is the package's: any source in it that is not as it was when the brain was started."""
    package = kept.directory / "supervisor"
    package.mkdir()
    copy = package / "keeper.py"
    copy.write_bytes(KEEPER.read_bytes())
    kept.start(STEADY, keeper=copy)
    kept.wait_brains(1)
    kept.send(signal.SIGHUP)
    wait_for(lambda: kept.heard() == ["RELOAD"], "RELOAD")
    (package / "new.py").write_text("")
    kept.send(signal.SIGHUP)
    kept.wait_brains(2)
    kept.send(signal.SIGHUP)
    wait_for(lambda: kept.heard() == ["RELOAD", "REPLACE", "RELOAD"], "RELOAD again: the new brain is of the new code")


def test_a_second_keeper_exits_75_and_names_the_first(kept: Kept) -> None:
    kept.start(STEADY)
    kept.wait_brains(1)
    second = Kept(kept.directory).start("sys.exit(0)")
    assert second.wait() == 75
    assert second.process is not None
    assert second.process.stderr is not None
    assert f"pid {kept.pid}" in second.process.stderr.read().decode()
    second.process.stderr.close()
    assert len(kept.hellos()) == 1


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("elsewhere")])
def test_a_lock_that_cannot_be_opened_is_named_with_the_mend(kept: Kept, make: Callable[[Path], None]) -> None:
    make(kept.directory / "supervisor.lock")
    assert kept.start(STEADY).wait() == 1
    assert kept.process is not None
    assert kept.process.stderr is not None
    said = kept.process.stderr.read().decode()
    assert said.startswith(f"clawsup keeper: {kept.directory}/supervisor.lock: ")
    assert "mend: " in said
    assert "Traceback" not in said


@pytest.mark.parametrize("words", [[], ["/s"], ["/s", "--"], ["/s", "brain", "--"]])
def test_words_that_name_no_brain_are_a_fault_of_usage(words: list[str]) -> None:
    """64, since Python itself ends with 2 where it cannot read the file."""
    done = subprocess.run([sys.executable, "-I", KEEPER, *words], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (64, b"clawsup keeper: usage: keeper.py STATE_DIR -- BRAIN...\n")


def test_a_full_stderr_does_not_hold_the_keeper(kept: Kept) -> None:
    """R27: a pager that has stopped reading, a terminal after Ctrl-S."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while select.select((), (writer,), (), 0)[1]:
        os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    try:
        kept.start("say('READY=1')\nif hello['brains'] > 2: live()\nsys.exit(1)", errors=writer)
        kept.wait_brains(3)
    finally:
        os.close(writer)
        os.close(reader)


def test_systemd_is_told_and_fed_also_while_no_brain_comes_up(kept: Kept) -> None:
    """R26: a pause longer than the watchdog's limit is no reason for systemd to take everything down."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        address = str(kept.directory / "notify")
        systemd.bind(address)
        systemd.settimeout(10)
        kept.start(
            "if hello['brains'] == 1: say('READY=1\\nSTATUS=all well')\nsys.exit(1)",
            env={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "800000"},
        )
        told = [(time.monotonic(), systemd.recv(4096)) for _ in range(12)]
    assert (b"READY=1\nSTATUS=all well") in [message for _, message in told]
    meals = [at for at, message in told if message == b"WATCHDOG=1"]
    assert max(later - earlier for earlier, later in itertools.pairwise(meals)) < 0.8


def test_a_keeper_out_of_descriptors_waits_for_some(kept: Kept) -> None:
    """R27: it never dies of a shortage."""
    kept.start("say('READY=1')\nlive()")
    [first] = kept.wait_brains(1)
    limits = resource.prlimit(kept.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(kept.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    os.kill(first["pid"], signal.SIGKILL)
    wait_for(lambda: not children(kept.pid), "it is reaped")
    time_up = time.monotonic() + 0.5
    wait_for(lambda: time.monotonic() > time_up, "some tries")
    assert len(kept.hellos()) == 1
    resource.prlimit(kept.pid, resource.RLIMIT_NOFILE, limits)
    kept.wait_brains(2)


def test_a_keeper_that_was_stopped_does_not_blame_its_brain(kept: Kept) -> None:
    """What the brain said in the meantime still waits to be heard."""
    kept.start(
        "say('READY=1')\nline.settimeout(.1)\nwhile True:\n"
        "    say('WATCHDOG=1')\n"
        "    try:\n        live()\n    except TimeoutError:\n        pass",
        env={"WATCHDOG_USEC": "2000000"},
    )
    kept.wait_brains(1)
    kept.send(signal.SIGSTOP)
    until = time.monotonic() + 1.5
    wait_for(lambda: time.monotonic() > until, "longer than the patience")
    kept.send(signal.SIGCONT)
    until = time.monotonic() + 0.5
    wait_for(lambda: time.monotonic() > until, "time to act on it")
    assert len(kept.hellos()) == 1


def test_a_keeper_that_was_stopped_with_its_brain_gives_it_time_to_speak(kept: Kept) -> None:
    """A container that was paused: who awakes first is chance."""
    kept.start(
        "say('READY=1')\nline.settimeout(.1)\nwhile True:\n"
        "    say('WATCHDOG=1')\n"
        "    try:\n        live()\n    except TimeoutError:\n        pass",
        env={"WATCHDOG_USEC": "6000000"},
    )
    [brain] = kept.wait_brains(1)
    os.kill(brain["pid"], signal.SIGSTOP)
    kept.send(signal.SIGSTOP)
    until = time.monotonic() + 5
    wait_for(lambda: time.monotonic() > until, "longer than the patience")
    kept.send(signal.SIGCONT)
    until = time.monotonic() + 0.3
    wait_for(lambda: time.monotonic() > until, "time to act on it")
    os.kill(brain["pid"], signal.SIGCONT)
    wait_for(lambda: time.monotonic() > until + 0.3, "time for a word")
    assert len(kept.hellos()) == 1
