"""Whatever becomes of stdout and stderr, each verb keeps its exit code, changes what it was to change, and has no traceback."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.cli.typed import environment
from tests.control.in_memory import Fleet, entry, supervisor
from tests.e2e.supervised import closed_pipe
from tests.e2e.world import FAKE

VERBS = (
    "--help",
    "--version",
    "",
    "statsu",
    "status",
    "status main",
    "status --json",
    "status nosuch",
    "logs main",
    "events",
    "why main",
    "why main --json",
    "incidents",
    "incidents show nosuch",
    "doctor",
    "ports",
    "start main",
    "stop main",
    "repair main",
    "reload",
    "config main history",
    "config main show",
    "config main diff",
    "resolve main --note done",
    "exec main -- true",
    "exec main -- no-such-command",
    "rescue status",
    "check",
    "reexec",
    "runtime list",
    "completion bash",
)
# Alone it would become the supervisor.
BESIDE = ("up",)
# What is another way through the code where nobody answers.
ALONE = ("status", "stop main --json", "reload", "why main", "doctor", "config main history", "reexec")
# What becomes of stdout and of stderr: None is a reader that stays, and what a shell can close is closed by one.
OUTLETS: Mapping[str, tuple[str | None, str | None]] = {
    "all well": (None, None),
    "both readers left": ("left", "left"),
    "a full disk": ("full", None),
    "an stderr on a full disk": (None, "full"),
    "nothing open": (">&-", "2>&-"),
}


@contextmanager
def world(home: Path, *, running: bool) -> Iterator[list[str]]:
    """A home with main and a rescue; gives the beginning of every command."""
    for made in ("conf.d", "s", "s/logs", ".openclaw-main", ".openclaw-rescue"):
        (home / made).mkdir(mode=0o700, parents=True)
    (home / "s/logs/main.log").write_text("one\ntwo\n")
    (home / "s/events.jsonl").write_text(
        '{"seq": 1, "at": "2026-01-01T00:00:00Z", "gateway": "main", "event": "ready"}\n'
    )
    for name, port in (("main", 18789), ("rescue", 19789)):
        command = f'command = ["{sys.executable}", "-I", "{FAKE}"]'
        (home / f"conf.d/{name}.toml").write_text(f'port = {port}\nrole = "{name}"\n{command}\n')
        (home / f".openclaw-{name}/openclaw.json").write_text(f'{{"gateway": {{"mode": "local", "port": {port}}}}}')
    states = {
        "start": {"state": "ready", "wanted": True, "pid": 101},
        "stop": {"state": "stopped", "wanted": False, "pid": None},
        "repair": {"state": "ready", "wanted": True, "pid": 103, "restarts": 2},
    }
    fleet = Fleet(
        {"main": entry("main"), "rescue": entry("rescue")},
        plans={(verb, "main"): [changes] for verb, changes in states.items()},
        changes=[{"name": "main", "effect": "none", "differences": [], "reason": ""}],
        more={"definition": {}, "log_path": "", "log_tail": [], "events": []},
    )
    with ExitStack() as stack:
        if running:
            stack.enter_context(supervisor(fleet, home / "s"))
        yield [sys.executable, "-m", "supervisor", "--conf-dir", str(home / "conf.d"), "--state-dir", str(home / "s")]


def typed(home: Path, command: list[str], stdout: str | None, stderr: str | None) -> "subprocess.Popen[bytes]":
    """Begin it with such streams."""
    shut = " ".join(each for each in (stdout, stderr) if each and each.endswith("&-"))
    with ExitStack() as stack:
        ends: dict[str | None, int] = {"left": closed_pipe(), "full": os.open("/dev/full", os.O_WRONLY)}
        for end in ends.values():
            stack.callback(os.close, end)
        return subprocess.Popen(
            ["sh", "-c", f'exec "$@" {shut}', "sh", *command],
            cwd=home,
            env=environment(HOME=str(home)),
            stdin=subprocess.DEVNULL,
            stdout=ends.get(stdout, subprocess.PIPE),
            stderr=ends.get(stderr, subprocess.PIPE),
        )


def codes(home: Path, command: list[str], verb: str) -> dict[str, int]:
    """The exit code of a verb with each kind of streams; all of them at the same time, none of them with a traceback."""
    children = {name: typed(home, [*command, *verb.split()], *streams) for name, streams in OUTLETS.items()}
    printed = {name: child.communicate(timeout=60) for name, child in children.items()}
    assert not [name for name, said in printed.items() if b"Traceback" in (said[1] or b"")], printed
    found = {name: child.returncode for name, child in children.items()}
    if found["all well"] == 0 and printed["all well"][0]:
        # What was to be printed is lost on a full disk: that is a failure, and the only one of these.
        assert found["a full disk"] == 1
        assert b"cannot write the output" in printed["a full disk"][1]
        del found["a full disk"]
    return found


@pytest.mark.parametrize("verb", [*VERBS, *BESIDE])
def test_beside_a_supervisor(short_dir: Path, verb: str) -> None:
    with world(short_dir, running=True) as command:
        found = codes(short_dir, command, verb)
    assert set(found.values()) == {found["all well"]}, found


@pytest.mark.parametrize("verb", ALONE)
def test_without_a_supervisor(short_dir: Path, verb: str) -> None:
    with world(short_dir, running=False) as command:
        found = codes(short_dir, command, verb)
    assert set(found.values()) == {found["all well"]}, found
