"""`clawsup run` as a real process, and everything that a test may ask it from outside."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests.e2e.world import REPOSITORY, World, kill, wait_for


class Supervisor:
    """One `clawsup run` on a world; its errors go to `run.err` beside its state directory."""

    def __init__(self, world: World, state_dir: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        self.world = world
        self.state_dir = state_dir or world.root / "s"
        self.env = world.env | dict(env or {})
        self.errors = self.state_dir.with_suffix(".err")
        self.process: subprocess.Popen[bytes] | None = None

    def argv(self, *words: str) -> list[str]:
        """Give the command line of a verb, the directories before it."""
        where = ["--conf-dir", str(self.world.conf_dir), "--state-dir", str(self.state_dir)]
        return [sys.executable, "-m", "supervisor", *where, *words]

    def start(self, output: IO[bytes] | int | None = None) -> "Supervisor":
        """Start `run`; output goes to the errors file unless given."""
        with self.errors.open("ab") as errors:
            target = errors if output is None else output
            self.process = subprocess.Popen(
                self.argv("run"), cwd=REPOSITORY, env=self.env, stdin=subprocess.DEVNULL, stdout=target, stderr=target
            )
        return self

    def cli(
        self, *words: str, env: Mapping[str, str] | None = None, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        return subprocess.run(
            self.argv(*words),
            cwd=REPOSITORY,
            env=self.env | dict(env or {}),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """Give `status --json`; nothing while no supervisor answers."""
        answer = self.cli("status", "--json").stdout
        return dict(json.loads(answer)) if answer else {}

    def gateway(self, name: str) -> dict[str, Any]:
        """Give one gateway's part of the status; nothing while it is unknown."""
        return next((entry for entry in self.status().get("gateways", []) if entry["name"] == name), {})

    def events(self, gateway: str | None = None) -> list[dict[str, Any]]:
        """Give the whole lines of the journal, oldest first."""
        journal = self.state_dir / "events.jsonl"
        if not journal.exists():
            return []
        lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)
        events: list[dict[str, Any]] = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in events if gateway in (None, event.get("gateway"))]

    def named(self, event: str) -> list[dict[str, Any]]:
        """Give the lines of the journal that tell of one kind of event, oldest first."""
        return [line for line in self.events() if line["event"] == event]

    def log(self, name: str) -> str:
        """Give a gateway's log."""
        path = self.state_dir / "logs" / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def wait_for(self, condition: Callable[[], Any], what: str, deadline_s: float = 30) -> Any:
        """Poll as `world.wait_for`; a failure tells this supervisor's story."""
        return wait_for(condition, what, deadline_s, self.story)

    def wait_state(self, name: str, *states: str, deadline_s: float = 30, **facts: Any) -> dict[str, Any]:
        """Wait until a gateway is in one of the states and shows the facts, and give its status."""

        def seen() -> dict[str, Any]:
            entry = self.gateway(name)
            fits = entry.get("state") in states and all(entry.get(key) == value for key, value in facts.items())
            return entry if fits else {}

        return dict(self.wait_for(seen, f"{name} {'|'.join(states)} {facts or ''}", deadline_s))

    def wait_ready(self, names: Sequence[str] = (), deadline_s: float = 30) -> dict[str, dict[str, Any]]:
        """Wait until the gateways (all of the world unless named) are ready, and give their status by name."""
        return {name: self.wait_state(name, "ready", deadline_s=deadline_s) for name in names or self.world.gateways}

    def replace_brain(self) -> None:
        """SIGKILL the brain and wait until another one answers."""
        old = self.status()["supervisor"]["pid"]
        kill(old)
        self.wait_for(lambda: self.status().get("supervisor", {}).get("pid", old) != old, "a new brain")

    def story(self) -> str:
        """Tell status, the last events and the last errors, for a failure."""
        asked = self.cli("status", "--json")
        events = "\n".join(json.dumps(event) for event in self.events()[-20:])
        errors = self.errors.read_text(errors="replace")[-4000:] if self.errors.exists() else ""
        return f"status ({asked.returncode}): {asked.stdout}{asked.stderr}\nevents:\n{events}\nstderr:\n{errors}"

    def stop(self, deadline_s: float = 60) -> int:
        """End it as systemd would, and give its exit code."""
        if self.process is None:
            raise AssertionError("this supervisor was never started")
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            story = self.story()
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not stop within {deadline_s} s\n{story}") from None


def gone(pid: int) -> bool:
    """Tell whether no process of that pid runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def closed_pipe() -> int:
    """Give the write end of a pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer
