"""A small host for end-to-end tests: a home, definitions, gateways' directories, and what is to be seen of them from outside."""

import contextlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.ports import Ports

REPOSITORY = Path(__file__).resolve().parents[2]
FAKE = REPOSITORY / "tests" / "fake_openclaw.py"
QUICK: Mapping[str, Mapping[str, Any]] = {
    "start": {"timeout": 30},
    "stop": {"timeout": 10},
    "probe": {"interval": 0.2, "timeout": 1, "failures": 3},
    "restart": {"delay": 0.1},
    "repair": {"steps": []},
}


class Gateway:
    """One definition and its directories, and the records of the fake that ran on them."""

    def __init__(self, name: str, port: int, state_dir: Path, definition: Path) -> None:
        self.name = name
        self.port = port
        self.state_dir = state_dir
        self.config = state_dir / "openclaw.json"
        self.definition = definition
        self.fake_dir = state_dir / "fake"

    def write_config(self, **gateway: Any) -> None:
        """Write a config file that starts, `gateway` laid over its keys (None takes one out)."""
        keys = {"mode": "local", "port": self.port, "bind": "loopback"} | gateway
        content = {"gateway": {key: value for key, value in keys.items() if value is not None}}
        scratch = self.config.with_suffix(".new")
        scratch.write_text(json.dumps(content | {"meta": {"lastTouchedVersion": "2026.9.6"}}), encoding="utf-8")
        scratch.rename(self.config)

    def tell(self, knob: str) -> None:
        """Set a run-time knob of the fake."""
        (self.fake_dir / knob).touch()

    def lives(self) -> list[dict[str, Any]]:
        """Give what each start of the fake recorded, oldest first."""
        record = self.fake_dir / "lives.jsonl"
        return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []


class World:
    """Everything a supervisor under test sees, below one short directory."""

    def __init__(self, root: Path, ports: Ports) -> None:
        self.root = root
        self.ports = ports
        self.home = root / "h"
        self.conf_dir = root / "etc" / "conf.d"
        self.home.mkdir()
        self.conf_dir.mkdir(parents=True)
        self.gateways: dict[str, Gateway] = {}

    @property
    def env(self) -> dict[str, str]:
        """The environment of an ordinary user of this host; nothing of the one that runs the tests."""
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        return {"HOME": str(self.home), "PATH": path, "LANG": "C.UTF-8", "USER": "tester"}

    def define(self, name: str, sections: Mapping[str, Mapping[str, Any]] | None = None, **keys: Any) -> Gateway:
        """Write conf.d/NAME.toml with small numbers, a state directory and a config file that starts."""
        port = keys.pop("port", None) or self.ports.take()
        command = keys.pop("command", [sys.executable, "-I", str(FAKE)])
        profile = keys.get("profile", name)
        state_dir = Path(keys.get("state_dir", self.home / f".openclaw-{profile}"))
        gateway = Gateway(name, port, state_dir, self.conf_dir / f"{name}.toml")
        given = {**(sections or {}), "env": keys.pop("env", {})}
        tables = {section: {**QUICK.get(section, {}), **given.get(section, {})} for section in {*QUICK, *given}}
        gateway.definition.write_text(toml({"port": port, "command": command} | keys, tables), encoding="utf-8")
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        gateway.write_config()
        self.gateways[name] = gateway
        return gateway

    def pids(self) -> set[int]:
        """Find every process whose environment mentions this world, whoever its parent is."""
        mark = os.fsencode(self.root) + b"/"
        return {pid for pid in processes() if mark in environ(pid)}

    def strays(self, deadline_s: float = 10) -> dict[int, str]:
        """Wait for the world's last process to go; name those that do not, and kill them."""
        deadline = time.monotonic() + deadline_s
        while (left := self.pids()) and time.monotonic() < deadline:
            time.sleep(0.05)
        named = {pid: command_line(pid) for pid in left}
        for pid in left:
            kill(pid)
        return named


def toml(keys: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Render TOML; JSON's strings, numbers, booleans and flat lists are TOML's too."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    for table, content in tables.items():
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in content.items())]
    return "\n".join(lines) + "\n"


def processes() -> Iterator[int]:
    """Give the pids of this machine."""
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def environ(pid: int) -> bytes:
    """Give the environment block a process was started with; nothing for one that is gone, a zombie or another user's."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def command_line(pid: int) -> str:
    """Give the command line of a process; nothing for one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a process that may have gone meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_for(condition: Callable[[], Any], what: str, deadline_s: float = 30, story: Callable[[], str] = str) -> Any:
    """Poll until the condition gives something true, and give that; fail with the story of what was seen."""
    deadline = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {deadline_s} s: {what}\n{story()}")
        time.sleep(0.1)
    return value


def log_numbers(log: str, pid: int) -> list[int]:
    """Give the line numbers that the fake of that pid has in the log, in the log's order."""
    return [int(number) for number in re.findall(rf"\] {pid}#(\d+) ", log)]
