"""One supervisor of a build with failpoints, one gateway, and what of it must be true after every death of a brain."""

import gzip
import http.client
import json
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from supervisor.control import client
from supervisor.errors import ClawsupError
from supervisor.host.journal import lines, read
from supervisor.host.logs import rotation
from supervisor.policy.record import replay
from tests.chaos.builds import Build, Built, Edit
from tests.chaos.failpoints import Failpoints
from tests.chaos.sight import holders
from tests.e2e.world import World, environ, kill
from tests.ports import Ports

# A brain forked from a keeper that has imported it begins within 0.05 s, where a new interpreter takes 0.5 s of CPU.
_FORK = """
def _fork(argv: list[str], environment: dict[str, str]) -> int:
    if pid := os.fork():
        return pid
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in HEARD:
            signal.signal(number, signal.SIG_DFL)
        line = int(argv[-1])
        os.closerange(3, line)
        os.closerange(line + 1, 1024)
        os.environ.clear()
        os.environ.update(environment)
        code = brain.main(argv[argv.index("--conf-dir"):])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import traceback

    from supervisor.brain import __main__ as brain
"""
# The same product, with smaller numbers: every run rotates log and journal, and brains follow each other at once.
QUICK = (
    Edit("keeper.py", '\nif __name__ == "__main__":\n', _FORK),
    Edit(
        "keeper.py",
        "os.posix_spawn(argv[0], argv, environment, setsid=True, setsigdef=defaults, setsigmask=())",
        "_fork(argv, environment)",
    ),
    Edit("keeper.py", "\nSTEADY_S = 10.0\n", "\nSTEADY_S = 0.0\n"),
    Edit("brain/guard.py", "\nSETTLED_S = 1.0\n", "\nSETTLED_S = 0.2\n"),
    Edit("host/journal/writing.py", "max_bytes: int = 8 * MIB,\n", "max_bytes: int = MIB // 64,\n"),
    Edit("host/journal/writing.py", "keep: int = 5,\n", "keep: int = 10_000,\n"),
    Edit("host/logs/pump.py", "max_bytes: int = 10 * MIB,\n", "max_bytes: int = MIB // 128,\n"),
    Edit("host/logs/pump.py", "keep: int = 5,\n", "keep: int = 10_000,\n"),
    Edit("host/logs/pump.py", "compress_after_s: float = 30.0", "compress_after_s: float = 0.05"),
)
BOUND_S = 30.0
_LOOK_S = 0.01
SECTIONS: dict[str, dict[str, Any]] = {
    "restart": {"delay": 0.1, "cap": 0.2, "stable": 0.1, "burst": 0},
    "repair": {"steps": ["rollback"]},
}
# The gateway is up within a moment, prints some 12 kB a second, and leaves a process of its own behind.
FAKE = {"FAKE_START_S": "0.02", "FAKE_STARTED_S": "0", "FAKE_CHATTER": "200", "FAKE_HELPER": "daemon"}
_LINE = re.compile(r"\S+ \[gateway\] (\d+)#(\d+) .*")


class Rig:
    """A world with a gateway `main`, whose supervisors come and go with a state dir each."""

    def __init__(self, root: Path, ports: Ports, made: Build) -> None:
        root.mkdir()
        self.world = World(root, ports)
        self.points = Failpoints(root / "points", trace=True)
        self.made = replace(made, env=self.points.env)
        self.main = self.world.define("main", sections=SECTIONS, env=FAKE)
        self.good = self.main.config.read_bytes()
        self._supervisors = 0
        self._edits = 0
        self._told: dict[int, int] = {}
        self.supervisor = self._next()

    def _next(self) -> Built:
        self._supervisors += 1
        self._told = {}
        return Built(self.world, self.made, self.world.root / f"s{self._supervisors}")

    def ask(self, verb: str) -> bool:
        """Ask for a verb; whether the supervisor has said that this is asked for now."""
        try:
            _, body = client.request(self._socket, "POST", f"/v1/{verb}", {"names": ["main"], "wait": False}, BOUND_S)
        except ClawsupError:
            return False
        return any(json.loads(line).get("done") for line in body.splitlines())

    def status(self) -> dict[str, Any]:
        """What the supervisor says of itself and of main; nothing while there is none to say it."""
        try:
            status, body = client.request(self._socket, "GET", "/v1/status", timeout_s=BOUND_S)
            document: dict[str, Any] = json.loads(body)
        except (ClawsupError, ValueError):
            return {}
        return {**document["supervisor"], "main": document["gateways"][0]} if status == 200 else {}

    def up(self) -> dict[str, Any]:
        """What is said of main if it is ready, on a config that has proved good; else nothing."""
        status = self.status()
        return status if status and status["main"]["state"] == "ready" and self._is_promoted() else {}

    def down(self) -> dict[str, Any]:
        """What is said of main if it is stopped, because somebody wants it so; else nothing."""
        status = self.status()
        return status if status and (status["main"]["state"], status["main"]["wanted"]) == ("stopped", False) else {}

    def ensure(self, condition: Callable[[], Any], what: str, bound_s: float = BOUND_S) -> Any:
        """Wait for something, as long as a brain's death may cost, and give it."""
        deadline = time.monotonic() + bound_s
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not within {bound_s} s: {what}\n{self.supervisor.story()}"
            time.sleep(_LOOK_S)
        return found

    def begin(self) -> None:
        """Start a supervisor that has never been."""
        self.supervisor = self._next().start()

    def end(self) -> None:
        """SIGTERM to the keeper."""
        assert self.supervisor.process is not None
        self.supervisor.process.send_signal(signal.SIGTERM)

    def fall(self) -> int:
        """Kill the gateway, and give its pid; what it had said by then must be found in its log."""
        pid = self.ensure(self.up, "main is up")["main"]["pid"]
        connection = http.client.HTTPConnection("127.0.0.1", self.main.port, timeout=BOUND_S)
        connection.request("GET", "/fake")
        self._told[pid] = json.loads(connection.getresponse().read())["lines"]
        connection.close()
        kill(pid)
        return int(pid)

    def spoil(self) -> bytes:
        """Put a config in place that no gateway starts on, and that never was there before."""
        self._edits += 1
        broken = json.dumps({"gateway": {"mode": "local"}, f"bogus{self._edits}": self._edits}).encode()
        draft = self.main.config.with_suffix(".edit")
        draft.write_bytes(broken)
        draft.rename(self.main.config)
        return broken

    def check(self, *, wanted: bool) -> None:
        """What must be true of processes and files once all is quiet again."""
        pid = self.ensure(self.up if wanted else self.down, "what is wanted")["main"]["pid"]
        assert (pid is not None) is wanted
        assert not (self.main.fake_dir / "overlap").exists(), (self.main.fake_dir / "overlap").read_text()
        assert holders(self.world.pids(), {"main": self.main.state_dir})["main"] == ({pid} if pid else set())
        self.ensure(lambda: not self._leftovers(pid), f"nothing is left of dead lives: {self._leftovers(pid)}")
        strange = [path.name for path in self.main.state_dir.iterdir() if path.name not in ("openclaw.json", "fake")]
        assert not strange, f"left in the gateway's own directory: {strange}"

    def check_config(self, broken: bytes) -> None:
        """After a rollback: the good bytes are in place, and the others are kept."""
        assert self.main.config.read_bytes() == self.good
        blob = self.supervisor.state_dir / "snapshots" / "main" / "blobs" / sha256(broken).hexdigest()
        assert blob.read_bytes() == broken

    def is_mended(self, broken: bytes) -> bool:
        """Whether the good bytes are in place again; whatever is not the one content or the other has never been there."""
        found = self.main.config.read_bytes()
        assert found in (broken, self.good), found
        return found == self.good

    def check_end(self) -> None:
        """After the last brain: keeper and brain gone in order, nobody left, and every line that was ever written is there once."""
        process = self.supervisor.process
        assert process is not None
        assert process.wait(BOUND_S) == 0, self.supervisor.story()
        self.ensure(lambda: not self.world.pids(), "nobody is left")
        journal = self.supervisor.state_dir / "events.jsonl"
        events = list(read(journal))
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert not [event for event in events if event["event"] == "journal_gap"]
        assert [*replay(iter(events))] == []
        for _, path in [*lines.parts(journal), (0, journal)]:
            whole = path.read_bytes().split(b"\n")
            assert whole.pop() == b""
            assert all(map(lines.is_whole, whole)), path
        self._check_log()

    def clear(self) -> None:
        """Leave nobody behind, whatever has happened."""
        process = self.supervisor.process
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
        self.world.strays(0)

    def _check_log(self) -> None:
        log = self.supervisor.state_dir / "logs" / "main.log"
        said: dict[int, list[int]] = {}
        text = b"".join(_content(path) for path in [*rotation.parts(log), log]).decode()
        assert text.endswith("\n")
        for line in text.splitlines():
            found = _LINE.fullmatch(line)
            assert found, f"torn: {line!r}"
            said.setdefault(int(found[1]), []).append(int(found[2]))
        for pid, numbers in said.items():
            assert numbers == list(range(1, len(numbers) + 1)), f"lines of {pid}: {_breaks(numbers)}"
        for pid, least in self._told.items():
            assert len(said.get(pid, ())) >= least, (
                f"{pid} had said {least} lines, the log has {len(said.get(pid, ()))}"
            )

    def _is_promoted(self) -> bool:
        record = self.supervisor.state_dir / "snapshots" / "main"
        with suppress(FileNotFoundError, ValueError):
            return any(known["booted"] or known["hot"] for known in map(_fields, record.glob("*.json")))
        return False

    def _leftovers(self, pid: int | None) -> list[int]:
        """Those who carry the token of a life that is over."""
        tokens = {each: _token(each) for each in self.world.pids()}
        return [each for each, token in tokens.items() if token and (pid is None or token != tokens.get(pid))]

    @property
    def _socket(self) -> str:
        return str(self.supervisor.state_dir / "control.sock")


def _token(pid: int) -> bytes:
    block = environ(pid).split(b"\0")
    return next((pair for pair in block if pair.startswith(b"CLAWSUP_RUN=")), b"")


def _fields(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes()))


def _content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _breaks(numbers: list[int]) -> list[tuple[int, int]]:
    return [(a, b) for a, b in pairwise(numbers) if b != a + 1]
