"""Plays systemd for one supervisor: starts its keeper again when it is gone, and knows which of its ends had a cause."""

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.chaos.builds import Build
from tests.chaos.sight import Seen
from tests.chaos.stage import Stage

RESTART_S = 0.2
# A keeper refuses at once; how long a second one may take on a machine that is busy.
REFUSAL_S = 10.0
REFUSED = 75
_SAID = "clawsup keeper: "
WATCHDOG_S = 6


class Unit:
    """One `clawsup run`, wanted up until `stop`. Instants are seconds into the run."""

    def __init__(self, stage: Stage, build: Build, conf_dir: Path, env: Mapping[str, str]) -> None:
        self._stage = stage
        self._build = build
        self._conf_dir = conf_dir
        # systemd tells how long it waits for a sign of life; half of that is the keeper's patience with a brain.
        self._env = {**env, **build.env, "WATCHDOG_USEC": str(WATCHDOG_S * 1_000_000)}
        self.errors = stage.root / "run.err"
        self._told = 0
        self._start_at = 0.0
        self._doomed: set[int] = set()
        self._causes: Counter[str] = Counter()
        self._ends: Counter[str] = Counter()
        self.keeper = 0
        self.brain: Seen | None = None
        self.brains: set[int] = set()
        self.since: float | None = None
        self.stopping = False
        self.keeper_deaths = 0

    @property
    def brain_deaths(self) -> int:
        """How many brains have ended, but for the last."""
        return len(self.brains) - (self.brain is not None)

    def argv(self) -> list[str]:
        """The keeper's command line."""
        return self._build.keeper_argv(self._conf_dir, self._stage.state_dir)

    def spawn(self, what: str, output: Path) -> int:
        """Start a keeper."""
        return self._stage.spawn(what, self.argv(), self._env, output)

    def tend(self, now: float) -> Iterator[str]:
        """See who ended, start the next; gives what ended without a cause."""
        if self.keeper in self._stage.ended:
            code = self._stage.ended.pop(self.keeper)
            if self.keeper not in self._doomed and not (self.stopping and code == 0):
                yield f"the keeper ended with {code}: {self.last_words()}"
            self.keeper_deaths += 1
            self.keeper, self.since = 0, None
            self._start_at = max(self._start_at, now + RESTART_S)
        if not self.keeper and not self.stopping and now >= self._start_at:
            self.keeper = self.spawn("keeper", self.errors)
        yield from self._ends_told()

    def see(self, now: float, processes: Mapping[int, Seen], booted: int) -> None:
        """Learn who the brain is, and since when it has been at work and left alone; `booted` is who last said that it is."""
        brains = [seen for seen in processes.values() if seen.is_brain and seen.parent == self.keeper]
        found = min(brains, key=lambda seen: seen.ticks, default=None) if self.keeper else None
        if found is None or found.is_stopped or self.brain is None or found.pid != self.brain.pid:
            self.since = None
        if found is not None:
            self.brains.add(found.pid)
            if self.since is None and not found.is_stopped and found.pid == booted:
                self.since = now
        self.brain = found

    def kill_keeper(self, again_at: float) -> None:
        """SIGKILL; the next one comes then."""
        if self.keeper:
            self._doomed.add(self.keeper)
            self._start_at, self.since = again_at, None
            os.kill(self.keeper, signal.SIGKILL)

    def kill_both(self, again_at: float) -> None:
        """SIGKILL brain and keeper while neither can act."""
        if self.keeper:
            os.kill(self.keeper, signal.SIGSTOP)
            self.kill_brain()
            self.kill_keeper(again_at)

    def kill_brain(self) -> int:
        """SIGKILL the brain; its pid, 0 where there is none."""
        if self.brain is None:
            return 0
        # Before it can be known: what is told of an end must find its cause.
        self._causes["killed"] += 1
        self.since = None
        self.signal_brain(signal.SIGKILL)
        return self.brain.pid

    def signal_brain(self, number: signal.Signals) -> None:
        """Send to the brain, if it is there."""
        if self.brain is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.brain.pid, number)

    def signal_keeper(self, number: signal.Signals) -> None:
        """Send to the keeper, if it is there."""
        if self.keeper:
            self._causes["made room"] += number == signal.SIGUSR2
            os.kill(self.keeper, number)

    def thaw_keeper(self, pid: int) -> None:
        """Let it go on, if it is still the one."""
        if self.keeper == pid:
            os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it in order."""
        self.stopping = True
        self.signal_keeper(signal.SIGTERM)

    def last_words(self) -> str:
        """The end of what it said on stderr, on one line."""
        return self.errors.read_text(errors="replace")[-500:].replace("\n", " | ") if self.errors.exists() else ""

    def _ends_told(self) -> Iterator[str]:
        """What the keepers say about their brains' ends, held against what was done to those."""
        if not self.errors.exists():
            return
        with self.errors.open("rb") as file:
            file.seek(self._told)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._told += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            words = line.removeprefix(_SAID) if line.startswith(_SAID) else ""
            if words.startswith("the brain has been silent"):
                self._causes["killed"] += 1
            elif words.startswith("the brain was killed by signal 9"):
                yield from self._ended("killed", line)
            elif words.startswith("the brain made room"):
                yield from self._ended("made room", line)
            elif words.startswith(("the brain", "cannot")):
                yield f"{line} | {self.last_words()}"

    def _ended(self, how: str, line: str) -> Iterator[str]:
        self._ends[how] += 1
        deaths = self._failpoints() if how == "killed" else 0
        if self._ends[how] > self._causes[how] + deaths:
            self._ends[how] -= 1
            yield f"nobody did this: {line} | {self.last_words()}"

    def _failpoints(self) -> int:
        """How many brains have ended at a failpoint."""
        told = Path(self._env.get("CLAWSUP_FAILPOINTS", "/nonexistent")) / "deaths"
        return told.read_bytes().count(b"\n") if told.exists() else 0


class Second:
    """Another supervisor of the same state directory, now and then, which must be refused."""

    def __init__(self, stage: Stage, unit: Unit) -> None:
        self._stage = stage
        self._unit = unit
        self._pid = self._beside = 0
        self._since = 0.0

    @property
    def runs(self) -> bool:
        """Whether it has not been refused yet."""
        return self._pid != 0

    def begin(self, now: float) -> str:
        """Start it beside one that runs; gives what came of it."""
        if self.runs or not self._unit.keeper:
            return "skipped: there is no first one"
        self._pid, self._beside, self._since = (
            self._unit.spawn("second", self._stage.root / "second.err"),
            self._unit.keeper,
            now,
        )
        return f"pid {self._pid}"

    def tend(self, now: float) -> str:
        """What is wrong, if anything is: it did not end, or not as it should while the first one lived."""
        if not self.runs:
            return ""
        pid = self._pid
        if pid in self._stage.ended:
            code, self._pid = self._stage.ended.pop(pid), 0
            return "" if code == REFUSED or self._beside != self._unit.keeper else f"it ended with {code}, not with 75"
        if now - self._since <= REFUSAL_S:
            return ""
        self._pid = 0
        os.kill(pid, signal.SIGKILL)
        return f"pid {pid} runs beside keeper {self._beside}"
