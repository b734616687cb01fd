"""One profile of the fake OpenClaw in a home of its own, without any supervisor."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

FAKE = Path(__file__).with_name("fake_openclaw.py")
DEADLINE_S = 20


class Installed:
    """The profile `main`, its calls and its gateways."""

    def __init__(self, home: Path, port: int) -> None:
        self.port = port
        self.state_dir = home / ".openclaw-main"
        self.state_dir.mkdir()
        self.fake_dir = self.state_dir / "fake"
        self.config = self.state_dir / "openclaw.json"
        self.config.write_text('{"gateway": {"mode": "local"}}')
        self.env = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "OPENCLAW_SUPERVISOR_MODE": "external",
        }
        self.started: list[subprocess.Popen[str]] = []

    def argv(self, *words: str) -> list[str]:
        """Give the command line of a call."""
        return [sys.executable, "-I", str(FAKE), "--profile", "main", *words]

    def call(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a call to its end."""
        return subprocess.run(
            self.argv(*words), env=self.env | env, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )

    def gateway(self, *words: str, **env: str) -> subprocess.Popen[str]:
        """Start a gateway."""
        argv = self.argv("gateway", "run", "--port", str(self.port), *words)
        process = subprocess.Popen(argv, env=self.env | env, stdout=subprocess.PIPE, text=True)
        self.started.append(process)
        return process

    def ready_gateway(self, **env: str) -> subprocess.Popen[str]:
        """Start a gateway and wait until it is ready."""
        process = self.gateway(**env)
        wait_for(lambda: self.get("/readyz")[0] == 200)
        return process

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
        """Give status and body; status 0 when nobody answers."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=0.5)) as connection:
            try:
                connection.request(method, path, headers=headers)
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read() or "null")
            except (ConnectionError, TimeoutError):
                return 0, None

    def lives(self) -> list[dict[str, Any]]:
        """Give what each start recorded."""
        return [json.loads(line) for line in (self.fake_dir / "lives.jsonl").read_text().splitlines()]


def wait_for(condition: Callable[[], bool]) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.02)
