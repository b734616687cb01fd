"""The process that never dies: holds the unit, reaps every orphan, keeps a brain alive; stdlib only, imports nothing of ours.

Theory of operation. `clawsup run` becomes this process. It takes the lock of the state dir, declares itself the reaper of
whatever its descendants leave behind, and then keeps one brain running, for as long as it lives. It decides nothing about
gateways. The two talk over a socket pair, one message a packet:

    keeper → brain   HELLO {json}         once, at the start of each brain
                     REAPED PID STATUS    a process that was not the brain is gone (wait status)
                     STOP, STOP NOW       SIGTERM or SIGINT came; came again
                     RELOAD               SIGHUP came
    brain → keeper   READY=1, STATUS=…, WATCHDOG=1, STOPPING=1 and the like: sd_notify's words, passed on to systemd
                     HOLD=NAME            with a descriptor: keep it open, so that a FIFO's content outlives brain and gateway
                     DROP=NAME            let go of it

A brain that says nothing for `SILENCE_S` is killed and replaced; one that dies is replaced at once, and again with growing
pauses until one became ready. The brain's end of the pair closes with this process: a brain whose keeper is gone exits.
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
PAUSE_MIN_S = 0.1
PAUSE_MAX_S = 10.0
# A brain that ends so before any brain was ever ready says that there is nothing to keep running.
FINAL_CODES = (2, 75, 78)
# Asked to stop so often while no brain lives that could do it, the keeper leaves the gateways to whoever comes next.
LAST_STOP = 3
# Statuses of processes that died while no brain lived; the oldest are forgotten first.
REMEMBERED = 4096
NOT_FOR_CHILDREN = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
OWN_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE)
PR_SET_CHILD_SUBREAPER = 36


class Keeper:
    """One brain at a time, the reaping of everything else, and the line to systemd."""

    def __init__(self, argv: list[str]) -> None:
        self.argv = argv
        self.started = time.monotonic()
        self.brain = 0
        self.line: socket.socket | None = None
        self.heard = 0.0
        self.next_brain = 0.0
        self.pause = 0.0
        self.brains = 0
        self.ever_ready = False
        self.stopping = 0
        self.finished = False
        self.exit_code: int | None = None
        self.held: dict[str, int] = {}
        self.reaped: dict[int, int] = {}
        self.notify_address = _notify_address()
        watchdog_s = int(os.environ.get("WATCHDOG_USEC") or 0) / 1e6
        self.silence_s = min(SILENCE_S, watchdog_s / 2) if watchdog_s else SILENCE_S

    def run(self) -> int:
        """Keep a brain alive until one of them has finished; the exit code."""
        wake, wake_writer = socket.socketpair()
        for end in (wake, wake_writer):
            end.setblocking(False)
        signal.set_wakeup_fd(wake_writer.fileno(), warn_on_full_buffer=False)
        for number in OWN_SIGNALS[:4]:
            signal.signal(number, _noted)
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        while self.exit_code is None:
            if not self.brain and time.monotonic() >= self.next_brain:
                self.start_brain()
            if self.line is not None:
                poller.register(self.line, select.POLLIN)
            for ready, _ in poller.poll(self.wait_ms()):
                if ready == wake.fileno():
                    self.hear_signals(wake)
                elif self.line is not None and ready == self.line.fileno():
                    self.hear_brain(poller)
            self.reap(poller)
            self.look_at_brain()
        return self.exit_code

    def wait_ms(self) -> int:
        """Milliseconds until something is due: the next brain, or the end of this one's patience."""
        now = time.monotonic()
        due = self.heard + self.silence_s if self.brain else self.next_brain
        return max(0, int((due - now) * 1000) + 1)

    def start_brain(self) -> None:
        """Start a brain in a session of its own, so that the terminal's Ctrl-C reaches only us."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        theirs.set_inheritable(True)
        environment = {name: value for name, value in os.environ.items() if name not in NOT_FOR_CHILDREN}
        argv = [*self.argv, "--keeper-fd", str(theirs.fileno())]
        try:
            self.brain = os.posix_spawn(argv[0], argv, environment, setsid=True, setsigdef=OWN_SIGNALS)
        except OSError as error:
            say(f"cannot start a brain: {error}")
            ours.close()
            self.plan_next_brain()
            return
        finally:
            theirs.close()
        self.line, self.heard, self.brains = ours, time.monotonic(), self.brains + 1
        hello = {
            "brains": self.brains,
            "keeper_pid": os.getpid(),
            "keeper_started": self.started,
            "silence_s": self.silence_s,
        }
        self.tell(f"HELLO {json.dumps(hello)}")
        for pid, status in self.reaped.items():
            self.tell(f"REAPED {pid} {status}")
        if self.stopping:
            self.tell("STOP" if self.stopping == 1 else "STOP NOW")

    def plan_next_brain(self) -> None:
        """The pause before the next one: none after a brain that had been ready, then doubling."""
        self.next_brain = time.monotonic() + self.pause
        self.pause = min(PAUSE_MAX_S, max(PAUSE_MIN_S, self.pause * 2))
        self.notify(b"WATCHDOG=1")

    def tell(self, message: str) -> None:
        """Send to the brain; one that does not read will be found silent, so nothing is waited for."""
        if self.line is not None:
            with contextlib.suppress(OSError):
                self.line.send(message.encode())

    def hear_signals(self, wake: socket.socket) -> None:
        """Signals as the bytes that the interpreter wrote for them."""
        try:
            numbers = wake.recv(4096)
        except BlockingIOError:
            return
        for number in numbers:
            if number in (signal.SIGTERM, signal.SIGINT):
                self.stopping += 1
                self.tell("STOP" if self.stopping == 1 else "STOP NOW")
                if not self.brain and (not self.ever_ready or self.stopping >= LAST_STOP):
                    self.exit_code = 1
            elif number == signal.SIGHUP:
                self.tell("RELOAD")

    def hear_brain(self, poller: select.poll) -> None:
        """Everything the brain has said so far."""
        line = self.line
        while line is not None:
            try:
                message, descriptors = _receive(line)
            except BlockingIOError:
                return
            except OSError:
                message, descriptors = b"", []
            if not message:
                poller.unregister(line)
                line.close()
                self.line = None
                return
            self.heard = time.monotonic()
            self.obey(message, descriptors)

    def obey(self, message: bytes, descriptors: list[int]) -> None:
        """One message of the brain."""
        verb, _, name = message.partition(b"=")
        if verb == b"HOLD" and descriptors:
            self.drop(name.decode())
            self.held[name.decode()] = descriptors.pop()
        elif verb == b"DROP":
            self.drop(name.decode())
        else:
            words = message.splitlines()
            if b"READY=1" in words:
                self.ever_ready, self.pause = True, 0.0
                # It has heard of them with its HELLO, and acted on them.
                self.reaped.clear()
            self.finished = self.finished or b"STOPPING=1" in words
            self.notify(message)
        for descriptor in descriptors:
            os.close(descriptor)

    def drop(self, name: str) -> None:
        """Let go of a held descriptor."""
        descriptor = self.held.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

    def reap(self, poller: select.poll) -> None:
        """Every child that is gone: the brain, or whatever was left to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.brain:
                self.brain_ended(os.waitstatus_to_exitcode(status), poller)
            else:
                self.reaped[pid] = status
                while len(self.reaped) > REMEMBERED:
                    del self.reaped[next(iter(self.reaped))]
                self.tell(f"REAPED {pid} {status}")

    def brain_ended(self, code: int, poller: select.poll) -> None:
        """The end of everything if the brain had finished or had nothing to do; else there will be another."""
        if self.line is not None:
            self.hear_brain(poller)
        if self.line is not None:
            poller.unregister(self.line)
            self.line.close()
            self.line = None
        self.brain = 0
        if (code == 0 and self.finished) or (code in FINAL_CODES and not self.ever_ready):
            self.exit_code = code
            return
        if self.stopping and (not self.ever_ready or self.stopping >= LAST_STOP):
            self.exit_code = 1
            return
        self.finished = False
        how = f"killed by signal {-code}" if code < 0 else f"exit {code}"
        self.plan_next_brain()
        wait_s = max(0.0, self.next_brain - time.monotonic())
        say(f"the brain ended ({how}); the gateways run on; the next one comes in {wait_s:.1f} s")

    def look_at_brain(self) -> None:
        """A brain that has been silent for too long is killed; `reap` then sees it go."""
        if self.brain and time.monotonic() - self.heard >= self.silence_s:
            say(f"the brain has been silent for {self.silence_s:g} s: replacing it")
            self.heard = time.monotonic()
            os.kill(self.brain, signal.SIGKILL)
            self.notify(b"WATCHDOG=1")

    def notify(self, message: bytes) -> None:
        """Pass a message on to systemd, if it is there."""
        if self.notify_address is None:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto(message, self.notify_address)


def main(arguments: list[str]) -> int:
    """`keeper.py STATE_DIR -- BRAIN…`; exits 75 when another keeper holds the state dir."""
    state_dir, dashes, *argv = arguments
    if dashes != "--" or not argv:
        say("usage: keeper.py STATE_DIR -- BRAIN...")
        return 2
    lock = _lock(os.path.join(state_dir, "supervisor.lock"))
    if lock is None:
        return 75
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return Keeper(argv).run()


def say(text: str) -> None:
    """One line to stderr, which may be closed or full."""
    with contextlib.suppress(OSError):
        os.write(2, f"clawsup keeper: {text}\n".encode(errors="replace"))


def _lock(path: str) -> int | None:
    """The descriptor that holds the state dir for as long as this process lives; None, and said so, if another has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        holder = os.read(descriptor, 64).decode(errors="replace").strip() or "unknown"
        say(f"another supervisor (pid {holder}) holds {os.path.dirname(path)}")
        say("  mend: use that one, or give this one its own --state-dir")
        return None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


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
