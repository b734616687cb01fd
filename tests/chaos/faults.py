"""Does to a running world what a schedule says, takes it back when its time is over, and remembers to whom what was done."""

import contextlib
import heapq
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tests.chaos.ledger import EVERYBODY, Ledger
from tests.chaos.schedule import Fault
from tests.chaos.sight import Seen
from tests.chaos.stage import Stage
from tests.chaos.unit import Second, Unit
from tests.chaos.verbs import Operator
from tests.chaos.watch import Watch
from tests.e2e.world import World

STRANGER = Path(__file__).with_name("stranger.py")
# Who starts on a broken config, or on a stolen port, may only end after it was mended, or given back.
HINDERED_S = 5.0
UNHEARD_S = 0.5
BROKEN = (b"{", b"\xff\xfe\x00", b'{"gateway": {"mode": "remote"}}', b'{"meta": {}}', b"")


class Faults:
    """The hand that does them; `wrong` is what an invariant forbids of what it touched itself."""

    def __init__(self, stage: Stage, world: World, unit: Unit, operator: Operator, watch: Watch) -> None:
        self._stage, self._world, self._unit, self._operator, self._watch = stage, world, unit, operator, watch
        self._later: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = 0
        self._good = {name: gateway.config.read_bytes() for name, gateway in world.gateways.items()}
        self._stranger: dict[str, int] = {}
        self._second = Second(stage, unit)
        self.ledger = Ledger()
        self.wrong: list[tuple[str, str]] = []

    @property
    def is_over(self) -> bool:
        """Whether everything has been taken back."""
        return not self._later and not self._second.runs and not self._stranger

    def apply(self, fault: Fault, now: float) -> str:
        """Do it; gives what came of it."""
        does: dict[str, Callable[[Fault, float], str]] = {
            "kill": self._kill,
            "term": self._term,
            "freeze": self._freeze,
            "stun": self._stun,
            "hang": self._hang,
            "crash": lambda fault, now: self._tell_it("exit-7", "kill", fault, now),
            "handoff": lambda fault, now: self._tell_it("restart", "term", fault, now),
            "kill, then brain": self._kill_then_brain,
            "steal port": self._steal_port,
            "break config": self._break_config,
            "kill helper": self._kill_helper,
            "stop, then start": self._stop_then_start,
            "restart": lambda fault, now: self._asked("restart", fault.target, now),
            "kill brain": self._kill_brain,
            "freeze brain": self._freeze_brain,
            "freeze keeper": self._freeze_keeper,
            "kill keeper": self._kill_keeper,
            "kill both": self._kill_both,
            "second supervisor": lambda _, now: self._second.begin(now),
            "reload": lambda _, now: self._asked("reload", EVERYBODY, now),
            "hangup": lambda _, now: self._signal(signal.SIGHUP, now),
            "replace": lambda _, now: self._signal(signal.SIGUSR2, now),
            "fill logs": lambda fault, now: self._fill("logs", fault, now),
            "fill state": lambda fault, now: self._fill("state", fault, now),
        }
        came = does[fault.kind](fault, now)
        if not came.startswith("skipped"):
            self.ledger.counted[fault.kind] += 1
            self.ledger.costs.append((now, fault.target or EVERYBODY, fault))
        return came

    def tend(self, now: float) -> None:
        """Take back what is due, and see what became of second supervisors and of strangers."""
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)[2](now)
        if text := self._second.tend(now):
            self.wrong.append(("second supervisor", text))
        for name, pid in self._stranger.items():
            if pid in self._stage.ended:
                self.wrong.append(("stranger", f"the stranger on {name}'s port ended: {self._stage.ended.pop(pid)}"))
                self._stranger[name] = 0
        living = {seen.pid for seen in self._watch.processes.values() if seen.runs}
        self.ledger.see(now, living, since=self._unit.since if self._unit.keeper else None)

    def _after(self, at: float, do: Callable[[float], None]) -> None:
        self._order += 1
        heapq.heappush(self._later, (at, self._order, do))

    def _lasts(self, name: str, until: float, undo: Callable[[float], None]) -> None:
        """What holds on until an instant, and is taken back then."""

        def lift(now: float) -> None:
            undo(now)
            self.ledger.end(name, now)

        self.ledger.begin(name)
        self._after(until, lift)

    def _hit(self, name: str, number: signal.Signals, how: str, now: float) -> Seen | None:
        seen = self._watch.gateway(name)
        if seen is None or not self._watch.is_alive(seen):
            return None
        self.ledger.pids[seen.pid].add(how)
        self.ledger.lifted[name] = now
        with contextlib.suppress(ProcessLookupError):
            os.kill(seen.pid, number)
        return seen

    def _kill(self, fault: Fault, now: float) -> str:
        return _pid(self._hit(fault.target, signal.SIGKILL, "kill", now))

    def _term(self, fault: Fault, now: float) -> str:
        return _pid(self._hit(fault.target, signal.SIGTERM, "term", now))

    def _stun(self, fault: Fault, now: float) -> str:
        return _pid(self._hit(fault.target, signal.SIGSTOP, "stun", now))

    def _hang(self, fault: Fault, now: float) -> str:
        """It does not answer, hears no SIGTERM, and nobody sees that it was stopped; nor does who comes next, until it is over."""
        seen, hangs = self._watch.gateway(fault.target), self._world.gateways[fault.target].fake_dir / "hang"
        if seen is None or hangs.exists():
            return "skipped: nobody is there, or hangs"
        hangs.touch()
        self.ledger.hinder(fault.target, fault.lasts + HINDERED_S)
        self.ledger.pids[seen.pid].add("hang")
        self._lasts(fault.target, now + fault.lasts, lambda _: hangs.unlink())
        return _pid(seen)

    def _tell_it(self, knob: str, how: str, fault: Fault, now: float) -> str:
        """It ends by itself; `how` it is taken to have been made to."""
        seen = self._watch.gateway(fault.target)
        if seen is not None:
            gateway = self._world.gateways[fault.target]
            gateway.tell(knob)
            # One that is gone already leaves it to the next.
            self._after(now + UNHEARD_S, lambda _: (gateway.fake_dir / knob).unlink(missing_ok=True))
            self.ledger.hinder(fault.target, UNHEARD_S + HINDERED_S)
            self.ledger.pids[seen.pid].add(how)
            self.ledger.lifted[fault.target] = now
        return _pid(seen)

    def _freeze(self, fault: Fault, now: float) -> str:
        seen = self._hit(fault.target, signal.SIGSTOP, "freeze", now)
        if seen is not None:
            self._lasts(fault.target, now + fault.lasts, lambda _: self._thaw(seen))
        return _pid(seen)

    def _thaw(self, seen: Seen) -> None:
        if self._watch.is_alive(seen):
            os.kill(seen.pid, signal.SIGCONT)

    def _kill_then_brain(self, fault: Fault, now: float) -> str:
        seen = self._hit(fault.target, signal.SIGKILL, "kill", now)
        self._lasts(EVERYBODY, now + fault.lasts, lambda _: self._count_brain(self._unit.kill_brain()))
        return _pid(seen)

    def _count_brain(self, pid: int) -> None:
        self.ledger.counted["  of these, with a brain"] += pid > 0

    def _kill_helper(self, fault: Fault, _: float) -> str:
        helpers = [seen for seen in self._watch.processes.values() if seen.gateway == fault.target and not seen.runs]
        helpers = [seen for seen in helpers if "sleep" in seen.words]
        if not helpers:
            return "skipped: it has none"
        chosen = helpers[int(fault.twist * len(helpers))]
        with contextlib.suppress(ProcessLookupError):
            os.kill(chosen.pid, signal.SIGKILL)
        return _pid(chosen)

    def _steal_port(self, fault: Fault, now: float) -> str:
        name = fault.target
        if name in self._stranger:
            return "skipped: it is stolen"
        argv = [sys.executable, "-I", "-S", str(STRANGER), str(self._world.gateways[name].port)]
        self._stranger[name] = self._stage.spawn(
            "stranger", argv, {"PATH": "/usr/bin:/bin"}, self._stage.root / "stranger.out"
        )
        self.ledger.hinder(name, 0.15 + fault.lasts + HINDERED_S)
        # The thief has to be there before the port is free.
        self._after(now + 0.15, lambda now: self._rob(name, now))
        self._lasts(name, now + 0.15 + fault.lasts, lambda _: self._end_stranger(name))
        return f"pid {self._stranger[name]}"

    def _rob(self, name: str, now: float) -> None:
        self._hit(name, signal.SIGKILL, "kill", now)

    def _end_stranger(self, name: str) -> None:
        pid = self._stranger.pop(name)
        if pid and pid in self._stage.children:
            # What we end ourselves tells us nothing.
            del self._stage.children[pid]
            os.kill(pid, signal.SIGKILL)

    def _break_config(self, fault: Fault, now: float) -> str:
        name, gateway = fault.target, self._world.gateways[fault.target]
        gateway.config.write_bytes(BROKEN[int(fault.twist * len(BROKEN))])
        self.ledger.hinder(name, fault.lasts + HINDERED_S)
        self._lasts(name, now + fault.lasts, lambda _: self._mend_config(name))
        if fault.twist * len(BROKEN) % 1 < 0.5:
            self._hit(name, signal.SIGKILL, "kill", now)
            return "and killed"
        return "and left running"

    def _mend_config(self, name: str) -> None:
        path = self._world.gateways[name].config
        scratch = path.with_suffix(".mended")
        scratch.write_bytes(self._good[name])
        scratch.rename(path)

    def _stop_then_start(self, fault: Fault, now: float) -> str:
        if not self._operator.ask("stop", fault.target, now):
            return "skipped: another verb is under way"
        self._after(now + fault.lasts, lambda now: self._start(fault.target, now))
        return "asked"

    def _start(self, name: str, now: float) -> None:
        if self._operator.ask("start", name, now):
            self.ledger.lifted[name] = now
        else:
            self._after(now + 0.1, lambda now: self._start(name, now))

    def _asked(self, verb: str, name: str, now: float) -> str:
        if name in self._operator.unwanted or not self._operator.ask(verb, name, now):
            return "skipped: another verb is under way"
        self.ledger.lifted[name] = now
        return "asked"

    def _kill_brain(self, _: Fault, now: float) -> str:
        self.ledger.lifted[EVERYBODY] = now
        return f"pid {self._unit.kill_brain()}" if self._unit.brain else "skipped: there is none"

    def _freeze_brain(self, fault: Fault, now: float) -> str:
        if self._unit.brain is None:
            return "skipped: there is none"
        seen = self._unit.brain
        self._unit.signal_brain(signal.SIGSTOP)
        self._lasts(EVERYBODY, now + fault.lasts, lambda _: self._thaw(seen))
        return _pid(seen)

    def _freeze_keeper(self, fault: Fault, now: float) -> str:
        pid = self._unit.keeper
        if not pid or self._unit.since is None:
            return "skipped: there is none"
        self._unit.signal_keeper(signal.SIGSTOP)
        self._lasts(EVERYBODY, now + fault.lasts, lambda _: self._unit.thaw_keeper(pid))
        return f"pid {pid}"

    def _kill_keeper(self, fault: Fault, now: float) -> str:
        return self._without_keeper(fault, now, self._unit.kill_keeper)

    def _kill_both(self, fault: Fault, now: float) -> str:
        return self._without_keeper(fault, now, self._unit.kill_both)

    def _without_keeper(self, fault: Fault, now: float, kill: Callable[[float], None]) -> str:
        if not self._unit.keeper or self._second.runs:
            return "skipped: not now"
        pid = self._unit.keeper
        self.ledger.keeperless = True
        kill(now + fault.lasts)
        self._lasts(EVERYBODY, now + fault.lasts, lambda _: None)
        return f"pid {pid}"

    def _signal(self, number: signal.Signals, now: float) -> str:
        # Before it has begun it cannot hear, and dies; nobody would tell it anything so early.
        if not self._unit.keeper or self._unit.since is None:
            return "skipped: there is no brain"
        self._unit.signal_keeper(number)
        self.ledger.lifted[EVERYBODY] = now
        return f"pid {self._unit.keeper}"

    def _fill(self, disk: str, fault: Fault, now: float) -> str:
        if not self._stage.fill(disk):
            return "skipped: it could not be filled"
        self._lasts(EVERYBODY, now + fault.lasts, lambda _: self._stage.free(disk))
        return "full"


def _pid(seen: Seen | None) -> str:
    return "skipped: nobody is there" if seen is None else f"pid {seen.pid}"
