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
children, lock and all that is held stay what they are. What is to be known of them waits in a memfd.
"""

import array
import contextlib
import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import sys
import time

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
TRIAL_S = 10.0
NOT_FOR_CHILDREN = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)
PR_SET_CHILD_SUBREAPER = 36
USAGE = 2
# A systemd that does not read holds nobody up.
NOTIFY_WITHIN_S = 1.0


class Keeper:
    """One brain at a time, the reaping of everything else, and the line to systemd; `argv` is the brain's command line.

    `lock` is the descriptor that holds the state dir.
    """

    def __init__(self, argv: list[str], lock: int = -1) -> None:
        self.argv = argv
        self.lock = lock
        self.source = _source()
        self.started = time.monotonic()
        self.epoch = time.time() - self.started
        self.brain = 0
        self.heard = self.next_brain = self.next_feed = self.pause = 0.0
        self.ready_at: float | None = None
        self.line: socket.socket | None = None
        self.brains = self.stopping = 0
        self.ever_ready = self.finished = self.replacing = self.outdated = False
        self.exit_code: int | None = None
        self.held: dict[str, int] = {}
        self.ended: dict[tuple[int, int], int] = {}
        self.files: object = None
        self.notify_address = _notify_address()
        watchdog_s = int(os.environ.get("WATCHDOG_USEC") or 0) / 1e6
        self.silence_s = min(SILENCE_S, watchdog_s / 2) if watchdog_s else SILENCE_S
        self.poller = select.poll()
        self.wake, self.wake_writer = socket.socketpair()

    def run(self) -> int:
        """Keep a brain alive until one of them has finished; the exit code."""
        for end in (self.wake, self.wake_writer):
            end.setblocking(False)
        signal.set_wakeup_fd(self.wake_writer.fileno(), warn_on_full_buffer=False)
        for number in HEARD:
            signal.signal(number, _noted)
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
            for ready, _ in self.poller.poll(self.wait_ms()):
                if ready == self.wake.fileno():
                    self.hear_signals()
                elif self.line is not None and ready == self.line.fileno():
                    self.hear_brain()

    def wait_ms(self) -> int:
        """Milliseconds until something is due: the next brain, the end of this one's patience, or systemd's next meal."""
        due = self.heard + self.patience_s() if self.brain else self.next_brain
        if self.notify_address is not None:
            due = min(due, self.next_feed)
        return max(0, int((due - time.monotonic()) * 1000) + 1)

    def patience_s(self) -> float:
        """How long this brain may be silent."""
        return self.silence_s if self.ready_at is not None else max(BIRTH_SILENCE_S, self.silence_s)

    def start_brain(self) -> None:
        """Start a brain in a session of its own, so that the terminal's Ctrl-C reaches only us."""
        environment = {name: value for name, value in os.environ.items() if name not in NOT_FOR_CHILDREN}
        self.files, self.ready_at, self.replacing = _package_files(), None, False
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            self.plan_next_brain(f"cannot speak to a brain: {error.strerror}")
            return
        argv = [*self.argv, "--keeper-fd", str(theirs.fileno())]
        try:
            theirs.set_inheritable(True)
            # What nohup or a shell ignores would stay ignored in every gateway, over each exec.
            defaults = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
            self.brain = os.posix_spawn(argv[0], argv, environment, setsid=True, setsigdef=defaults, setsigmask=())
        except OSError as error:
            ours.close()
            self.plan_next_brain(f"cannot start a brain: {error.strerror}")
            return
        finally:
            theirs.close()
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
        if why := _unfit():
            say(f"the keeper stays as it was started: {why}")
            return
        try:
            memory = os.memfd_create("clawsup-keeper")
        except OSError as error:
            say(f"the keeper stays as it was started: {error.strerror}")
            return
        # From here on a signal waits for the next keeper's handlers; those before are in what is passed on.
        signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
        self.hear_signals()
        ended = [[*identity, status] for identity, status in self.ended.items()]
        with open(memory, "w", closefd=False) as file:
            json.dump({**{name: getattr(self, name) for name in PASSED_ON}, "ended": ended}, file)
        passed = (memory, self.lock, *self.held.values())
        for descriptor in passed:
            os.set_inheritable(descriptor, True)
        try:
            os.execve(sys.executable, sys.orig_argv, {**os.environ, BEFORE: str(memory)})  # noqa: S606 - as we were started
        except OSError as error:
            say(f"the keeper stays as it was started: {error.strerror}")
        for descriptor in passed:
            os.set_inheritable(descriptor, False)
        os.close(memory)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)

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
            numbers = self.wake.recv(4096)
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
                self.outdated = _source() != self.source
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
                message, descriptors = _receive(self.line)
            except BlockingIOError:
                return
            except OSError:
                message, descriptors = b"", []
            if not message:
                self.poller.unregister(self.line)
                self.line.close()
                self.line = None
                return
            self.heard = time.monotonic()
            self.obey(message, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)

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
        descriptor = self.held.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

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
        if self.line is not None:
            self.poller.unregister(self.line)
            self.line.close()
            self.line = None
        self.brain = 0
        if (code == 0 and self.finished) or (code in FINAL_CODES and not self.ever_ready):
            self.exit_code = code
            return
        self.finished = False
        how = "made room" if self.replacing else f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        self.plan_next_brain(f"the brain {how}")
        self.replacing = False
        self.give_up_if_hopeless()

    def look_at_brain(self) -> None:
        """A brain that has been silent for too long is killed, and `reap` then sees it go; systemd is fed by us alone."""
        now = time.monotonic()
        if self.brain and now - self.heard >= self.patience_s():
            say(f"the brain has been silent for {self.patience_s():g} s: replacing it")
            self.heard = now
            os.kill(self.brain, signal.SIGKILL)
        if self.notify_address is not None and now >= self.next_feed:
            self.next_feed = now + self.silence_s / 2
            self.notify(b"WATCHDOG=1")

    def notify(self, message: bytes) -> None:
        """Pass a message on to systemd, if it is there."""
        if self.notify_address is None:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.settimeout(NOTIFY_WITHIN_S)
            line.sendto(message, self.notify_address)


def main(arguments: list[str]) -> int:
    """`keeper.py STATE_DIR -- BRAIN…`; exits 75 when another keeper holds the state dir."""
    state_dir, dashes, *argv = arguments
    if dashes != "--" or not argv:
        say("usage: keeper.py STATE_DIR -- BRAIN...")
        return USAGE
    if (memory := os.environ.pop(BEFORE, "")).isdecimal():
        keeper = Keeper(argv)
        keeper.go_on(int(memory))
        return keeper.run()
    lock = _lock(os.path.join(state_dir, "supervisor.lock"))
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


def _package_files() -> object:
    """What changes when another version of the package is installed over this one."""
    found = []
    for directory, _, names in os.walk(os.path.dirname(os.path.abspath(__file__))):
        for name in names:
            if name.endswith(".py"):
                with contextlib.suppress(OSError):
                    status = os.stat(os.path.join(directory, name))
                    found.append((directory, name, status.st_mtime_ns, status.st_size, status.st_ino))
    return sorted(found)


def _source() -> bytes:
    """This file as it is now; nothing while it cannot be read."""
    with contextlib.suppress(OSError), open(__file__, "rb") as file:
        return file.read()
    return b""


def _unfit() -> str:
    """Why the keeper that is installed now would not start; "" if it tells its usage, as one that works does."""
    try:
        import subprocess  # noqa: PLC0415 - a keeper has no other use for it
    except OSError as error:
        return str(error)
    trial = [sys.executable, "-I", __file__, "", "--"]
    try:
        code = subprocess.run(trial, stderr=subprocess.DEVNULL, timeout=TRIAL_S, check=False).returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if code == USAGE else f"the new one ends with {code}"


def _session_leader(pid: int) -> tuple[int, int] | None:
    """The pid and start ticks of a zombie that led a session of its own, as every gateway does; None for any other."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b") ")[2].split()
        return (pid, int(fields[19])) if int(fields[3]) == pid else None
    return None


def _lock(path: str) -> int | None:
    """The descriptor that holds the state dir for as long as this process lives; None, and said so, if another has it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        # A disk that was made read-only still locks what is there.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
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


def _receive(line: socket.socket) -> tuple[bytes, list[int]]:
    """One packet and the descriptors that came with it, close-on-exec."""
    numbers = array.array("i")
    message, ancillary, _, _ = line.recvmsg(65536, socket.CMSG_SPACE(4 * numbers.itemsize), socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    return message, list(numbers)


def _notify_address() -> str | None:
    """systemd's notify socket; a leading @ stands for the NUL of an abstract name."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return None
    return "\0" + address[1:] if address.startswith("@") else address


def _noted(number: int, frame: object) -> None:
    """A handler must exist for the wake-up descriptor to be written."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
