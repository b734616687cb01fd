"""Terminals and pipes that go away, fill up or stand still: the supervisor says less, and does the same."""

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import Supervise
from tests.e2e.limits import told_of, untouched
from tests.e2e.supervised import Supervisor, closed_pipe
from tests.e2e.world import REPOSITORY, World, kill

PAGE = 4096


def full_pipe() -> tuple[int, int]:
    """Give both ends of a pipe that takes no byte more."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PAGE)
    os.write(writer, b"x" * PAGE)
    return reader, writer


@contextmanager
def output(kind: str) -> Iterator[int]:
    """A descriptor to print on, such as nobody would want it."""
    others: list[int] = []
    if kind == "full disk":
        writer = os.open("/dev/full", os.O_WRONLY)
    elif kind == "nobody reads":
        reader, writer = full_pipe()
        others = [reader]
    else:
        writer = closed_pipe()
    try:
        yield writer
    finally:
        for descriptor in (*others, writer):
            os.close(descriptor)


def lives_as_ever(world: World, supervisor: Supervisor) -> None:
    """A crash, a reload, a dead brain: all is as it would be with a reader."""
    main, other = world.gateways["main"], world.gateways["other"]
    supervisor.wait_ready()
    with untouched(supervisor, other):
        kill(supervisor.gateway("main")["pid"])
        supervisor.wait_state("main", "ready", restarts=1)
        pids = supervisor.status()["supervisor"]
        for pid in (pids["pid"], pids["keeper_pid"]):
            kill(pid, signal.SIGHUP)
        supervisor.wait_for(lambda: len(supervisor.named("reloaded")) > 1, "a reload")
        assert supervisor.status()["supervisor"]["pid"] == pids["pid"]
        supervisor.replace_brain()
        supervisor.wait_state("other", "ready", adopted=True)
        assert supervisor.status()["supervisor"]["degraded"] == []
    assert len(main.lives()) == 2
    assert [event["signal"] for event in told_of(supervisor, "exited", "main")] == [signal.SIGKILL]


@pytest.mark.parametrize("kind", ["full disk", "nobody reads", "nobody is there"])
def test_what_cannot_be_printed_is_not_missed(world: World, supervise: Supervise, kind: str) -> None:
    """R27: neither keeper nor brain waits for, or dies of, where they print; the journal has it all."""
    world.define("main")
    world.define("other", env={"FAKE_CHATTER": "50"})
    with output(kind) as writer:
        supervisor = supervise(output=writer)
    lives_as_ever(world, supervisor)
    assert supervisor.stop() == 0


def test_a_run_without_standard_streams_lives_as_ever(world: World) -> None:
    """R27: as `clawsup run <&- >&- 2>&-`; no socket or log gets one of their numbers."""
    world.define("main")
    world.define("other")
    supervisor = Supervisor(world)
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *supervisor.argv("run")]
    supervisor.process = subprocess.Popen(command, cwd=REPOSITORY, env=supervisor.env)
    try:
        lives_as_ever(world, supervisor)
        for pid in (supervisor.status()["supervisor"][key] for key in ("keeper_pid", "pid")):
            assert {str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)} == {"/dev/null"}
    finally:
        assert supervisor.stop() == 0


def test_a_terminal_that_hangs_up_ends_nothing(world: World) -> None:
    """R27: SIGHUP comes to everybody in the session, and what is printed fails from then on; before that, Ctrl-S stops it."""
    world.define("main")
    world.define("other")
    supervisor = Supervisor(world)
    ours, theirs = os.openpty()
    supervisor.process = subprocess.Popen(
        ["setsid", "--ctty", *supervisor.argv("run")],
        cwd=REPOSITORY, env=supervisor.env, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    try:
        pid = supervisor.wait_ready()["other"]["pid"]
        os.write(ours, b"\x13")
        kill(supervisor.gateway("main")["pid"])
        supervisor.wait_state("main", "ready", restarts=1)
        os.close(ours)
        supervisor.wait_for(lambda: len(supervisor.named("reloaded")) > 1, "SIGHUP is a reload")
        kill(supervisor.gateway("main")["pid"])
        supervisor.wait_state("main", "ready", restarts=2)
        supervisor.replace_brain()
        seen = supervisor.wait_state("other", "ready", adopted=True)
        assert (seen["pid"], seen["restarts"]) == (pid, 0)
    finally:
        assert supervisor.stop() == 0


VERBS = ("status", "status main", "status --json", "events", "logs main", "ports", "check", "config main show")


def test_no_verb_dies_of_where_it_prints(world: World, supervise: Supervise) -> None:
    """INTERFACE.md §3: a full disk is a failure with a sentence, a reader that has had enough is none, nothing coming or not."""
    world.define("main", env={"FAKE_CHATTER": "200"})
    world.define("quiet")
    world.define("idle")
    supervisor = supervise()
    supervisor.wait_ready()
    supervisor.wait_for(lambda: len(supervisor.log("main")) > PAGE, "something to print")
    for verb in VERBS:
        with Path("/dev/full").open("wb") as full:
            failed = typed(supervisor, verb, full.fileno())
        assert (failed.returncode, failed.stderr) == (
            1,
            "clawsup: cannot write the output: No space left on device\n",
        ), verb
        gone = closed_pipe()
        left = typed(supervisor, verb, gone)
        os.close(gone)
        assert (left.returncode, left.stderr) == (0, ""), verb
    for verb in ("events -n 1000 --json", "events -f", "logs main -n 1000", "logs quiet -f", "logs quiet idle -f"):
        command = " ".join(supervisor.argv(verb))
        head = subprocess.run(
            ["sh", "-c", f"{command} | head -n 1"],
            cwd=REPOSITORY, env=supervisor.env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (head.stdout.count("\n"), head.stderr) == (1, ""), verb


def typed(supervisor: Supervisor, verb: str, stdout: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        supervisor.argv(*verb.split()),
        cwd=REPOSITORY, env=supervisor.env, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
