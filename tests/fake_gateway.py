"""The gateway of the fake OpenClaw: one life of `gateway run`, from its first line to its exit."""

import errno
import fcntl
import json
import os
import selectors
import signal
import socket
import sys
import time
from typing import NoReturn

from tests.fake_http import Http, Page
from tests.fake_place import Place, read_config, start_refusal, start_ticks

VERSION = "2026.9.6"
TICK_S = 0.1
HELPER_S = "600"
NEVER = float("inf")
HELPERS = {"setsid": 'echo $$ >>"$0"; exec sleep "$1"', "daemon": 'sleep "$1" & echo $! >>"$0"'}


def knob(name: str, default: float) -> float:
    """Read a number from the environment."""
    return float(os.environ.get(name) or default)


def open_descriptors() -> dict[int, str]:
    """Give what each open descriptor of this process leads to."""
    numbers = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
    return {int(fd): os.readlink(f"/proc/self/fd/{fd}") for fd in numbers}


def ignored_signals() -> list[str]:
    """Name the signals that whoever started us told us to ignore; the two that Python itself ignores are left out."""
    with open("/proc/self/status", encoding="utf-8") as file:
        mask = next(int(line.split()[1], 16) for line in file if line.startswith("SigIgn"))
    ours = {signal.SIGPIPE, signal.SIGXFSZ}
    return [number.name for number in signal.Signals if mask >> (number - 1) & 1 and number < 32 and number not in ours]


class Gateway:
    """One life."""

    def __init__(self, place: Place) -> None:
        self.inherited = open_descriptors()
        self.place = place
        self.born = time.monotonic()
        self.lines = 0
        self.port = place.port(read_config(place.config_path)[0])
        self.external = os.environ.get("OPENCLAW_SUPERVISOR_MODE") == "external" and not os.environ.get(
            "OPENCLAW_NO_RESPAWN"
        )
        self.chatter = knob("FAKE_CHATTER", 0)
        self.listen_at = self.born + knob("FAKE_START_S", 0.05)
        self.exit_at = self.born + knob("FAKE_EXIT_AFTER_S", NEVER)
        self.drained_at = NEVER
        self.next_line_at = self.next_drip_at = self.born
        self.stuck = self.announced = False
        self.shadow = -1
        self.config_seen = self.restart_relevant()
        self.selector = selectors.DefaultSelector()
        self.http = Http(self.selector, self.page, self.hook)

    @property
    def started_at(self) -> float:
        """The instant from which /startupz says 200."""
        return self.listen_at + knob("FAKE_STARTED_S", 0.05)

    def say(self, text: str) -> None:
        """Print a numbered line; a reader that has gone ends the process with 0, a full disk with 1, as Node does."""
        self.lines += 1
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} [gateway] {os.getpid()}#{self.lines} {text}\n".encode()
        try:
            os.write(1, line)
        except BrokenPipeError:
            os._exit(0)
        except OSError:
            os._exit(1)
        if self.shadow >= 0:
            os.write(self.shadow, line)

    def die(self, code: int, text: str) -> NoReturn:
        """Print a last line and exit."""
        self.say(text)
        sys.exit(code)

    def note(self, name: str, text: str) -> None:
        """Append a line to one of our files."""
        with open(f"{self.place.fake_dir}/{name}", "a", encoding="utf-8") as file:
            file.write(text + "\n")

    def told(self, name: str) -> bool:
        """Whether the knob of that name is there."""
        return os.path.exists(f"{self.place.fake_dir}/{name}")

    def run(self) -> NoReturn:
        """Live."""
        self.record()
        self.own_state_dir()
        self.obey_files()
        if refusal := start_refusal(self.place.config_path):
            self.die(78, refusal)
        deaf = {signal.SIGTERM, signal.SIGINT} if os.environ.get("FAKE_IGNORE_TERM") else set[signal.Signals]()
        for number in deaf:
            signal.signal(number, signal.SIG_IGN)
        time.sleep((self.listen_at - self.born) / 2)
        ours, waker = socket.socketpair()
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno())
        for number in {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2} - deaf:
            signal.signal(number, lambda *_: None)
        self.selector.register(ours, selectors.EVENT_READ, self.hear)
        self.leave_helper()
        while True:
            self.work()
            until_listen = max(0.0, self.listen_at - time.monotonic()) or TICK_S
            for key, _ in self.selector.select(min(TICK_S, until_listen, 1 / (self.chatter or 1))):
                key.data(key.fileobj)

    def record(self) -> None:
        """Write down how this life was started."""
        os.makedirs(self.place.fake_dir, exist_ok=True)
        if os.environ.get("FAKE_SHADOW"):
            self.shadow = os.open(f"{self.place.fake_dir}/shadow", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        life = {
            "pid": os.getpid(),
            "ppid": os.getppid(),
            "sid": os.getsid(0),
            "uid": os.getuid(),
            "cwd": os.getcwd(),
            "argv": sys.argv[1:],
            "env": dict(os.environ),
            "fds": self.inherited,
            "ignored": ignored_signals(),
            "monotonic": self.born,
        }
        self.note("lives.jsonl", json.dumps(life))
        for fd in self.inherited:
            if 2 < fd < 17:  # libuv marks the low ones, so that a gateway's children do not inherit them
                os.set_inheritable(fd, False)

    def own_state_dir(self) -> None:
        """Hold the state directory, or refuse to run beside the one that does."""
        lock = os.open(f"{self.place.fake_dir}/lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.note("overlap", f"{os.getpid()} met {self.place.holder()}")
            self.die(78, "Doctor could not enter maintenance. another OpenClaw process owns gateway-lifecycle")
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps([os.getpid(), start_ticks(os.getpid())]).encode(), 0)
        with open("/proc/self/comm", "w", encoding="utf-8") as file:
            file.write("openclaw-gatewa")

    def leave_helper(self) -> None:
        """Start a process in a session of its own: a child of ours, or one whose parent has already gone."""
        if kind := os.environ.get("FAKE_HELPER"):
            argv = ["sh", "-c", HELPERS[kind], f"{self.place.fake_dir}/helpers", HELPER_S]
            pid = os.posix_spawn("/bin/sh", argv, os.environ, setsid=True)
            if kind == "daemon":
                os.waitpid(pid, 0)

    def work(self) -> None:
        """Do what is due, whatever woke us."""
        self.obey_files()
        now = time.monotonic()
        if now >= self.exit_at:
            self.die(int(knob("FAKE_EXIT_CODE", 1)), "exiting as told")
        if now >= self.drained_at:
            self.die(0, "[shutdown] completed cleanly")
        if now >= self.listen_at and not (self.http.listeners or self.stuck or self.told("park")):
            self.listen(now)
        if now >= self.started_at and self.http.listeners and not self.announced:
            self.announced = True
            self.say("ready")
        while self.chatter and self.next_line_at <= now:
            self.next_line_at += 1 / self.chatter
            self.say("chatter")
        if now >= self.next_drip_at:
            self.next_drip_at = now + 1
            self.http.drip()
        if self.config_seen != (relevant := self.restart_relevant()):
            self.config_seen = relevant
            if relevant is None:
                self.say("[reload] config reload skipped (invalid config)")
            elif not self.stuck:
                self.restart("config-write")

    def restart_relevant(self) -> str | None:
        """Render the part of the config file whose change needs a restart; None while the file is invalid."""
        config, issues = read_config(self.place.config_path)
        gateway = config.get("gateway", {})
        return None if issues else json.dumps([gateway.get(key) for key in ("port", "bind", "tls", "mode")])

    def obey_files(self) -> None:
        """Do what the files in STATE/fake/ say."""
        while self.told("hang"):
            time.sleep(TICK_S / 2)
        for name in os.listdir(self.place.fake_dir):
            verb, _, code = name.rpartition("-")
            if verb == "exit":
                os.unlink(f"{self.place.fake_dir}/{name}")
                self.die(int(code), f"told to exit {code}")
            if verb == "boot-exit" and not self.announced:
                self.die(int(code), f"told to fail with {code}")
        if self.told("restart"):
            os.unlink(f"{self.place.fake_dir}/restart")
            self.restart("gateway.restart")
        if self.told("park"):
            self.http.close()
        if self.told("shell"):
            self.run_shell()

    def run_shell(self) -> None:
        """Run what STATE/fake/shell says as a child of ours, as an agent's exec tool would."""
        script = f"{self.place.fake_dir}/shell.taken"
        os.rename(f"{self.place.fake_dir}/shell", script)
        os.posix_spawn("/bin/sh", ["sh", script], {**os.environ, "OPENCLAW_SHELL": "exec"})

    def hear(self, ours: socket.socket) -> None:
        """Obey signals."""
        for number in ours.recv(64):
            if number == signal.SIGUSR2:
                self.restart("SIGUSR2")
            elif number == signal.SIGUSR1:
                self.say("Debugger listening on ws://127.0.0.1:9229")
            elif self.drained_at < NEVER:
                self.say(f"received {signal.Signals(number).name} during shutdown; ignoring")
            else:
                self.say(f"received {signal.Signals(number).name}; shutting down")
                self.drained_at = time.monotonic() + knob("FAKE_DRAIN_S", 0)

    def restart(self, reason: str) -> None:
        """Exit 0 with a handoff under an external supervisor, else begin again in this process; a bad config then parks it."""
        if self.external:
            row = {
                "kind": "gateway-supervisor-restart-handoff",
                "pid": os.getpid(),
                "reason": reason,
                "createdAt": time.time(),
            }
            with open(f"{self.place.fake_dir}/handoff", "w", encoding="utf-8") as file:
                json.dump(row, file)
            self.die(0, "restart mode: full process restart (supervisor restart)")
        self.http.close()
        self.listen_at = time.monotonic() + knob("FAKE_START_S", 0.05)
        self.announced = False
        self.stuck = bool(start_refusal(self.place.config_path))
        self.say(
            "Process will stay alive; fix the issue and restart" if self.stuck else "restart mode: in-process restart"
        )

    def listen(self, now: float) -> None:
        """Bind both loopback addresses; the second one may fail."""
        try:
            self.http.bind(socket.AF_INET, "127.0.0.1", self.port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and now < self.listen_at + knob("FAKE_ADDRINUSE_S", 0.3):
                return
            text = f"another gateway instance is already listening on ws://127.0.0.1:{self.port} | {error}"
            self.die(1, f"Gateway failed to start: {text}")
        try:
            self.http.bind(socket.AF_INET6, "::1", self.port)
        except OSError as error:
            self.say(f"failed to bind loopback alias ::1: {error}")
        self.say(f"http server listening on {self.port}")

    def page(self, path: str) -> Page:
        """Answer a probe as the phase has it."""
        now = time.monotonic()
        about: dict[str, object] = {"version": VERSION, "uptimeMs": int((now - self.listen_at) * 1000)}
        waiting = ["startup-sidecars"] if now < self.started_at else []
        draining = ["gateway-draining"] if self.drained_at < NEVER else []
        match path:
            case "/health" | "/healthz":
                return 200, {"ok": True, "status": "live"}
            case "/startup" | "/startupz" if waiting:
                return 503, {"ok": False, "status": "starting", "pendingReason": waiting[0]} | about
            case "/startup" | "/startupz" if draining:
                return 503, {"ok": False, "status": "draining"} | about
            case "/startup" | "/startupz":
                return 200, {"ok": True, "status": "started"} | about
            case "/ready" | "/readyz":
                failing = waiting + draining + (["channels"] if self.told("notready") else [])
                return 503 if failing else 200, {"ready": not failing, "failing": failing} | about
            case "/fake":
                return 200, {"pid": os.getpid(), "lines": self.lines}
            case _:
                return 404, {"error": "not found"}

    def hook(self, path: str, token: str, sent: bytes) -> Page | None:
        """The hook for agents, if the config opens one: the token first, then the message, which runs the script `agent`."""
        hooks = read_config(self.place.config_path)[0].get("hooks", {})
        if not hooks.get("enabled") or path != f"{hooks['path']}/agent":
            return None
        if token != os.path.expandvars(hooks["token"]):
            return 401, {"error": "Unauthorized"}
        if not json.loads(sent).get("message"):
            return 400, {"ok": False, "error": "message required"}
        if self.told("agent"):
            os.rename(f"{self.place.fake_dir}/agent", f"{self.place.fake_dir}/shell")
        return 200, {"ok": True, "runId": "1"}
