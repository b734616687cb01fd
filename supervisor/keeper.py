"""The process that never dies: holds the unit, reaps every orphan, keeps a brain alive; stdlib only, imports nothing of ours.

Theory of operation. `clawsup run` becomes this process. It takes the lock of the state dir, declares itself the reaper of
whatever its descendants leave behind, and then keeps one brain running, for as long as it lives. It decides nothing about
gateways. The two talk over a socket pair, one message a packet:

    keeper → brain   HELLO {json}         once, at the start of each brain
                     ENDED PID TICKS N    answer: that process ended with wait status N; without N, the keeper knows of none
                     STOP, STOP NOW       SIGTERM or SIGINT came; came again
                     RELOAD               SIGHUP came
                     REPLACE              SIGUSR2 came, or SIGHUP and our files have changed: make room for the next brain
    brain → keeper   READY=1, STATUS=…, STOPPING=1 and the like: sd_notify's words, passed on to systemd
                     WATCHDOG=1           alive
                     ENDED=PID TICKS      how did that process end?
                     HOLD=NAME            with a descriptor: keep it open, so that a FIFO's content outlives brain and gateway
                     DROP=NAME            let go of it

A brain that says nothing for too long is killed; one that is gone is replaced: at once after a steady one, else after pauses that
double. A brain whose keeper is gone finds the line closed, and exits.

Where this file has changed when a brain is to be replaced, the keeper first becomes the new one, between two brains and by exec: pid,
children, lock and all that is held stay what they are. What is to be known of them waits in a memfd. It is one file, so that an
upgrade can leave an old one or a new one here, and never half of each.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import math
import os
import select
import signal
import socket
import sys
import time

Files = dict[str, tuple[int, int, int]]
ITSELF = os.path.abspath(__file__)
SILENCE_S = 10.0
# A brain that has not been ready yet may be short of CPU and disk like everything else at a boot of the machine.
BIRTH_SILENCE_S = 60.0
PAUSE_MIN_S = 0.1
PAUSE_MAX_S = 10.0
# After a brain that had been ready, the pause grows no further than this.
PAUSE_READY_S = 1.0
STEADY_S = 10.0
# A brain that ends so before any brain was ever ready says that there is nothing to keep running.
FINAL_CODES = (2, 75, 78)
# Asked to stop so often while no brain lives that could do it, the keeper leaves the gateways to whoever comes next.
LAST_STOP = 3
# So many processes' ends are remembered, for a brain that did not live to see them; the oldest are forgotten first.
REMEMBERED = 4096
# In the environment of a keeper that was one before: the number of the memfd.
BEFORE = "CLAWSUP_KEEPER_BEFORE"
PASSED_ON = ("lock", "held", "started", "epoch", "brains", "stopping", "ever_ready")
NOT_FOR_CHILDREN = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)
PR_SET_CHILD_SUBREAPER = 36
# EX_USAGE, and not 2: so Python itself ends where it cannot read its file.
USAGE = 64
# Who wakes up so much later than he was to has been held up himself, as by a stop of the whole container.
LATE_S = 1.0
# A systemd that does not read holds nobody up.
NOTIFY_WITHIN_S = 1.0


class Keeper:
    """One brain at a time, the reaping of everything else, and the line to systemd; `argv` is the brain's command line.

    `lock` is the descriptor that holds the state dir.
    """

    def __init__(self, argv: list[str], lock: int = -1) -> None:
        self.argv = argv
        self.lock = lock
        self.own_file = _package_files().get(ITSELF)
        self.started = time.monotonic()
        self.epoch = time.time() - self.started
        self.brain = 0
        self.heard = self.next_brain = self.pause = 0.0
        self.ready_at: float | None = None
        self.line: socket.socket | None = None
        self.brains = self.stopping = 0
        self.ever_ready = self.finished = self.replacing = self.outdated = False
        self.exit_code: int | None = None
        self.held: dict[str, int] = {}
        self.ended: dict[tuple[int, int], int] = {}
        self.files: Files = {}
        address = os.environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL of an abstract name.
        self.systemd = "\0" + address[1:] if address.startswith("@") else address
        self.next_feed = 0.0 if self.systemd else math.inf
        watchdog_s = int(os.environ.get("WATCHDOG_USEC") or 0) / 1e6
        self.silence_s = min(SILENCE_S, watchdog_s / 2) if watchdog_s else SILENCE_S
        self.poller = select.poll()
        self.wake, self.wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> int:
        """Keep a brain alive until one of them has finished; the exit code."""
        signal.set_wakeup_fd(self.wake_writer, warn_on_full_buffer=False)
        for number in HEARD:
            # A handler must exist for the wake-up descriptor to be written.
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        self.poller.register(self.wake, select.POLLIN)
        while True:
            self.reap()
            self.look_at_brain()
            if self.exit_code is not None:
                return self.exit_code
            if not self.brain and time.monotonic() >= self.next_brain:
                if self.outdated:
                    self.renew()
                self.start_brain()
            due = self.due()
            for ready, _ in self.poller.poll(max(0, int((due - time.monotonic()) * 1000) + 1)):
                if ready == self.wake:
                    self.hear_signals()
                elif self.line is not None and ready == self.line.fileno():
                    self.hear_brain()
            if time.monotonic() > due + LATE_S:
                self.heard = time.monotonic()

    def due(self) -> float:
        """When to look again at the latest: the next brain, the end of this one's patience, or systemd's next meal."""
        return min(self.heard + self.patience_s() if self.brain else self.next_brain, self.next_feed)

    def patience_s(self) -> float:
        """How long this brain may be silent."""
        return self.silence_s if self.ready_at is not None else max(BIRTH_SILENCE_S, self.silence_s)

    def start_brain(self) -> None:
        """Start a brain in a session of its own, so that the terminal's Ctrl-C reaches only us."""
        environment = {name: value for name, value in os.environ.items() if name not in NOT_FOR_CHILDREN}
        self.files, self.ready_at, self.replacing = _package_files(), None, False
        # What nohup or a shell ignores would stay ignored in every gateway, over each exec.
        defaults = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                theirs.set_inheritable(True)
                argv = [*self.argv, "--keeper-fd", str(theirs.fileno())]
                self.brain = os.posix_spawn(argv[0], argv, environment, setsid=True, setsigdef=defaults, setsigmask=())
        except OSError as error:
            self.plan_next_brain(f"cannot start a brain: {error.strerror}")
            return
        ours.setblocking(False)
        self.poller.register(ours, select.POLLIN)
        self.line, self.heard, self.brains = ours, time.monotonic(), self.brains + 1
        hello = {
            "brains": self.brains,
            "first": not self.ever_ready,
            "stopping": self.stopping,
            "keeper_pid": os.getpid(),
            "keeper_started": self.started,
            "epoch": self.epoch,
            "silence_s": self.silence_s,
        }
        self.tell(f"HELLO {json.dumps(hello)}")

    def plan_next_brain(self, why: str) -> None:
        """The pause before the next one: none after a steady brain or when asked for another, then doubling."""
        now = time.monotonic()
        if self.replacing or (self.ready_at is not None and now - self.ready_at >= STEADY_S):
            self.pause = 0.0
        else:
            most = PAUSE_MAX_S if self.ready_at is None else PAUSE_READY_S
            self.pause = min(most, max(PAUSE_MIN_S, self.pause * 2))
        self.next_brain = now + self.pause
        say(f"{why}; the gateways run on; the next brain comes in {self.pause:.1f} s")

    def tell(self, message: str) -> None:
        """Send to the brain; one that does not read will be found silent, so nothing is waited for."""
        if self.line is not None:
            with contextlib.suppress(OSError):
                self.line.send(message.encode())

    def renew(self) -> None:
        """Become the keeper that is installed now; returns only where that cannot be, or would not start."""
        self.outdated = False
        why = _unfit(self.silence_s)
        if not why:
            # From here on a signal waits for the next keeper's handlers; those before are in what is passed on.
            signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
            self.hear_signals()
            try:
                self.pass_on()
            except OSError as error:
                why = os.strerror(error.errno or 0)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        say(f"the keeper stays as it was started: {why}")

    def pass_on(self) -> None:
        """Hand all that is ours to the next keeper, by exec; OSError where there is no exec."""
        ended = [[*identity, status] for identity, status in self.ended.items()]
        memory = os.memfd_create("clawsup-keeper")
        passed = (memory, self.lock, *self.held.values())
        try:
            with open(memory, "w", closefd=False) as file:
                json.dump({**{name: getattr(self, name) for name in PASSED_ON}, "ended": ended}, file)
            for descriptor in passed:
                os.set_inheritable(descriptor, True)
            os.execve(sys.executable, sys.orig_argv, {**os.environ, BEFORE: str(memory)})  # noqa: S606 - as we were started
        finally:
            for descriptor in passed:
                os.set_inheritable(descriptor, False)
            os.close(memory)

    def go_on(self, memory: int) -> None:
        """Be what the keeper was that became this one."""
        with open(memory) as file:
            file.seek(0)
            before = json.load(file)
        self.ended = {(pid, ticks): status for pid, ticks, status in before.pop("ended")}
        for name in before.keys() & {*PASSED_ON}:
            setattr(self, name, before[name])
        for descriptor in (self.lock, *self.held.values()):
            os.set_inheritable(descriptor, False)
        _sign(self.lock)

    def hear_signals(self) -> None:
        """Signals as the bytes that the interpreter wrote for them."""
        try:
            numbers = os.read(self.wake, 4096)
        except BlockingIOError:
            return
        for number in numbers:
            if number in (signal.SIGTERM, signal.SIGINT):
                self.stopping += 1
                self.tell("STOP" if self.stopping == 1 else "STOP NOW")
                if not self.brain:
                    self.give_up_if_hopeless()
            elif number == signal.SIGUSR2 or (number == signal.SIGHUP and _package_files() != self.files):
                self.replacing, self.next_brain = True, 0.0
                self.outdated = _package_files().get(ITSELF) != self.own_file
                self.tell("REPLACE")
            elif number == signal.SIGHUP:
                self.tell("RELOAD")

    def give_up_if_hopeless(self) -> None:
        """A stop that no brain is there to carry out: leave, if there never was one or we are told again and again."""
        if self.stopping and (not self.ever_ready or self.stopping >= LAST_STOP):
            self.exit_code = 1

    def hear_brain(self) -> None:
        """Everything the brain has said so far."""
        while self.line is not None:
            try:
                message, descriptors, *_ = socket.recv_fds(self.line, 65536, 4)
            except BlockingIOError:
                return
            except OSError:
                message, descriptors = b"", []
            if not message:
                self.hang_up()
                return
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            self.heard = time.monotonic()
            self.obey(message, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)

    def hang_up(self) -> None:
        """The end of the line to a brain."""
        if self.line is not None:
            self.poller.unregister(self.line)
            self.line.close()
            self.line = None

    def obey(self, message: bytes, descriptors: list[int]) -> None:
        """One message of the brain; what it hands over is taken out of `descriptors`."""
        verb, _, rest = message.partition(b"=")
        name = rest.decode(errors="replace")
        if verb == b"HOLD" and descriptors:
            self.drop(name)
            self.held[name] = descriptors.pop()
        elif verb == b"DROP":
            self.drop(name)
        elif verb == b"ENDED":
            # What has ended by now is a zombie of ours at the latest since that process's own parent was reaped.
            self.reap()
            # A newer brain than we are may ask in words that we do not know: it is not answered, and goes on without.
            with contextlib.suppress(ValueError):
                pid, ticks = map(int, rest.split())
                self.tell(f"ENDED {pid} {ticks} {self.ended.get((pid, ticks), '')}".rstrip())
        elif message != b"WATCHDOG=1":
            words = message.splitlines()
            if b"READY=1" in words:
                self.ever_ready, self.ready_at = True, time.monotonic()
            self.finished = self.finished or b"STOPPING=1" in words
            self.notify(message)

    def drop(self, name: str) -> None:
        """Let go of a held descriptor."""
        if name in self.held:
            os.close(self.held.pop(name))

    def reap(self) -> None:
        """Every child that is gone: the brain, or whatever was left to us, remembered if it could be a gateway."""
        while True:
            try:
                gone = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if gone is None:
                    return
                identity = _session_leader(gone.si_pid)
                pid, status = os.waitpid(gone.si_pid, os.WNOHANG)
            except ChildProcessError:
                return
            if pid and pid == self.brain:
                self.brain_ended(os.waitstatus_to_exitcode(status))
            elif pid and identity is not None:
                self.ended[identity] = status
                while len(self.ended) > REMEMBERED:
                    del self.ended[next(iter(self.ended))]

    def brain_ended(self, code: int) -> None:
        """The end of everything if the brain had finished or had nothing to do; else there will be another."""
        self.hear_brain()
        self.hang_up()
        self.brain = 0
        if (code == 0 and self.finished) or (code in FINAL_CODES and not self.ever_ready):
            self.exit_code = code
            return
        self.finished = False
        how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        self.plan_next_brain(f"the brain {'made room' if self.replacing and code == 0 else how}")
        self.replacing = False
        self.give_up_if_hopeless()

    def look_at_brain(self) -> None:
        """A brain that has been silent for too long is killed, and `reap` then sees it go; systemd is fed by us alone."""
        now = time.monotonic()
        if self.brain and now - self.heard >= self.patience_s():
            say(f"the brain has been silent for {self.patience_s():g} s: replacing it")
            self.heard = now
            os.kill(self.brain, signal.SIGKILL)
        if now >= self.next_feed:
            self.next_feed = now + self.silence_s / 2
            self.notify(b"WATCHDOG=1")

    def notify(self, message: bytes) -> None:
        """Pass a message on to systemd, if it is there."""
        if self.systemd:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
                line.settimeout(NOTIFY_WITHIN_S)
                line.sendto(message, self.systemd)


def main(arguments: list[str]) -> int:
    """`keeper.py STATE_DIR -- BRAIN…`; exits 75 when another keeper holds the state dir."""
    if arguments[1:2] != ["--"] or not (argv := arguments[2:]):
        say("usage: keeper.py STATE_DIR -- BRAIN...")
        return USAGE
    if (memory := os.environ.pop(BEFORE, "")).isdecimal():
        keeper = Keeper(argv)
        keeper.go_on(int(memory))
        return keeper.run()
    path = os.path.join(arguments[0], "supervisor.lock")
    try:
        lock = _lock(path)
    except OSError as error:
        say(f"{path}: {error.strerror}")
        say("  mend: move it away, or give this supervisor its own --state-dir")
        return 1
    if lock is None:
        return 75
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return Keeper(argv, lock).run()


def say(text: str) -> None:
    """One line to stderr, which may be closed; one that is full or stopped would hold us, so it has to do without."""
    line = f"clawsup keeper: {text}\n".encode(errors="replace")
    poller = select.poll()
    poller.register(2, select.POLLOUT)
    if any(what & select.POLLOUT for _, what in poller.poll(0)):
        with contextlib.suppress(OSError):
            os.write(2, line)


def _package_files() -> Files:
    """What changes when another version of the package is installed over this one."""
    found = {}
    for directory, _, names in os.walk(os.path.dirname(ITSELF)):
        for path in (os.path.join(directory, name) for name in names if name.endswith(".py")):
            with contextlib.suppress(OSError):
                status = os.stat(path)
                found[path] = status.st_mtime_ns, status.st_size, status.st_ino
    return found


def _unfit(within_s: float) -> str:
    """Why the keeper that is installed now would not start; "" if it tells its usage, as one that works does."""
    trial = [sys.executable, "-I", ITSELF, "", "--"]
    try:
        import subprocess  # noqa: PLC0415 - a keeper has no other use for it

        code = subprocess.run(trial, stderr=subprocess.DEVNULL, timeout=within_s, check=False).returncode
    except Exception as error:  # noqa: BLE001 - Python itself may be half installed
        return f"{error}"
    return "" if code == USAGE else f"the new one ends with {code}"


def _session_leader(pid: int) -> tuple[int, int] | None:
    """The pid and start ticks of a zombie that led a session of its own, as every gateway does; None for any other."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b") ")[2].split()
        return (pid, int(fields[19])) if int(fields[3]) == pid else None
    return None


def _lock(path: str) -> int | None:
    """The descriptor that holds the state dir for as long as this process lives; None, and said so, if another has it."""
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        # A disk that was made read-only still locks what is there.
        descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 64).decode(errors="replace").strip() or "unknown"
        say(f"another supervisor (pid {holder}) holds {os.path.dirname(path)}")
        say("  mend: use that one, or give this one its own --state-dir")
        return None
    _sign(descriptor)
    return descriptor


def _sign(lock: int) -> None:
    """Say who holds it, and since when it is this keeper; a disk that is full or read-only has to do without."""
    with contextlib.suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
