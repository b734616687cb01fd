"""The keeper dies at every single failpoint that its life passes, and the next `run` goes on with all that lives."""

import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from supervisor.host import locks
from tests.chaos.builds import build
from tests.chaos.failpoints import OF_THE_KEEPER, Failpoints
from tests.chaos.rig import QUICK, Rig
from tests.e2e.world import kill
from tests.ports import Ports

# Most of a death is waiting for others.
AT_ONCE = 3
LATE_S = 0.3
Status = dict[str, Any]
# The keeper itself stays as it is, and so does the way in which it starts a brain.
EDITS = [edit for edit in QUICK if edit.file != "keeper.py"]


def dead(rig: Rig) -> bool:
    """Whether the keeper is gone."""
    return rig.supervisor.process is None or rig.supervisor.process.poll() is not None


def await_another(rig: Rig, before: Status, what: str) -> None:
    """Wait for another brain, or another life of main; or for the keeper's death."""

    def pid(status: Status) -> int:
        return int(status[what]["pid"] if what == "main" else status["pid"])

    rig.ensure(lambda: dead(rig) or ((now := rig.up()) and pid(now) != pid(before)), f"another {what}")


def replace(rig: Rig, before: Status) -> None:
    """A brain is asked to make room."""
    assert rig.supervisor.process is not None
    rig.supervisor.process.send_signal(signal.SIGUSR2)
    await_another(rig, before, "brain")


def lose(rig: Rig, before: Status) -> None:
    """A brain dies."""
    kill(before["pid"])
    await_another(rig, before, "brain")


def renew(rig: Rig, before: Status) -> None:
    """The keeper becomes the one that was installed over it."""
    keeper = rig.made.root / "supervisor" / "keeper.py"
    scratch = keeper.with_suffix(".new")
    scratch.write_bytes(keeper.read_bytes())
    scratch.rename(keeper)
    replace(rig, before)


def bereave(rig: Rig, before: Status) -> None:
    """A gateway dies that only the keeper can reap."""
    replace(rig, before)
    if not dead(rig):
        kill(before["main"]["pid"])
        await_another(rig, before, "main")


def end(rig: Rig, _: Status) -> None:
    """The whole supervisor is told to stop."""
    rig.end()
    rig.ensure(lambda: dead(rig), "the end")


def again(rig: Rig, before: Status) -> None:
    """A keeper is killed, and another one started."""
    assert rig.supervisor.process is not None
    rig.supervisor.process.kill()
    rig.ensure(lambda: dead(rig), "the keeper is dead")
    rig.supervisor.start()
    await_another(rig, before, "brain")


def birth(rig: Rig) -> None:
    """A new state dir, a new keeper, a first brain, a first life."""
    rig.begin()
    rig.ensure(rig.up, "main is up for the first time")


# What takes long is done for what comes in nothing shorter.
STAGES: Mapping[str, Callable[[Rig, Status], None]] = {
    each.__name__: each for each in (replace, lose, renew, again, bereave, end)
}

# In these main lives on, whoever dies.
UNTOUCHED = {"replace", "lose", "renew", "again"}


@dataclass(frozen=True, slots=True)
class Target:
    """Die at the first visit of that point while that is done."""

    stage: str
    point: str


def learn(rig: Rig) -> list[Target]:
    """Live through every stage once, undisturbed: each point that is passed, in the first stage that passes it."""
    birth(rig)
    passed: dict[str, set[str]] = {}
    for name, stage in STAGES.items():
        seen = len(rig.points.visited())
        stage(rig, rig.up())
        passed[name] = set(rig.points.visited()[seen:])
    rig.check_end()
    points = dict.fromkeys(point for stage in STAGES for point in passed[stage])
    return [Target(next(stage for stage in STAGES if point in passed[stage]), point) for point in points]


def strike(rig: Rig, target: Target) -> bool:
    """Have the keeper die at the target, and see what the next one finds; whether it came by there."""
    if dead(rig):
        birth(rig)
    before = rig.ensure(rig.up, "main is up")
    deaths = len(rig.points.deaths())
    rig.points.aim(target.point)
    STAGES[target.stage](rig, before)
    with suppress(AssertionError):
        # What comes last may come a little later than what was waited for.
        rig.ensure(lambda: not rig.points.is_aimed(), "the hit", LATE_S)
    hit = not rig.points.is_aimed()
    rig.points.disarm()
    died = rig.ensure(lambda: rig.points.deaths()[deaths:], "it is told")[0].pid if hit else 0
    # It may have been the next keeper, on trial; then the present one stays.
    if rig.supervisor.process is not None and died == rig.supervisor.process.pid:
        rig.ensure(lambda: dead(rig), "the keeper is dead")
        brain = rig.supervisor.state_dir / "brain.lock"
        rig.ensure(lambda: not locks.holders(brain), "its brain has followed")
        rig.supervisor.start()
    if not dead(rig):
        pid = rig.ensure(rig.up, "main is up")["main"]["pid"]
        assert target.stage not in UNTOUCHED or pid == before["main"]["pid"], "the gateway died with its keeper"
        rig.check(wanted=True)
    return hit


class Sweep:
    """Rigs side by side, each with a build of its own, since one stage installs over it."""

    def __init__(self, rigs: Callable[[], Rig], targets: list[Target]) -> None:
        self._rigs = rigs
        self._todo = deque(targets)
        self.missed: list[Target] = []
        self.wrong: list[str] = []

    def work(self) -> None:
        """Strike targets until there are no more; what goes wrong costs the rig."""
        while self._todo and not self.wrong:
            rig, target = self._rigs(), None
            try:
                while self._todo:
                    target = self._todo.popleft()
                    if not (strike(rig, target) or strike(rig, target)):
                        self.missed.append(target)
                if not dead(rig):
                    end(rig, {})
                    rig.check_end()
            except (AssertionError, OSError) as failure:
                self.wrong.append(f"{target}, after {len(rig.points.deaths())} deaths: {failure!r}")
            finally:
                rig.clear()


@pytest.mark.timeout(300)
def test_a_keeper_that_dies_between_any_two_calls_leaves_all_to_the_next(short_dir: Path, ports: Ports) -> None:
    """R23, R25, R27: its brain follows it, gateways live on and are adopted, one on a state dir; no number of the journal is lost."""
    numbers: Iterator[int] = iter(range(1000))

    def rig() -> Rig:
        root = short_dir / f"b{next(numbers)}"
        made = build(root, EDITS, Failpoints(root / "unused"), OF_THE_KEEPER)
        return Rig(root / "r", ports, made)

    first = rig()
    try:
        targets = learn(first)
    finally:
        first.clear()
    passed = {target.point.rpartition(":")[0] for target in targets}
    assert passed == {f"keeper.{name}" for name in OF_THE_KEEPER["keeper"]["keeper.py"]}

    sweep = Sweep(rig, targets)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(sweep.work) for _ in range(AT_ONCE)]:
            done.result()

    assert not sweep.wrong, "\n\n".join(sweep.wrong)
    assert not sweep.missed
