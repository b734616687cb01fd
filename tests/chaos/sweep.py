"""Every failpoint that a supervisor's life passes, one brain's death at each: what is done to it, and in which order."""

import dataclasses
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from tests.chaos.rig import Rig
from tests.e2e.supervised import gone
from tests.e2e.world import kill

LATE_S = 0.5
WRONG_ENOUGH = 10


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """Die at that visit of that point while that is done."""

    stage: str
    point: str
    visit: int = 1


def birth(rig: Rig) -> None:
    """A new state dir, a new keeper, a first brain, a first life."""
    rig.begin()
    rig.ensure(rig.up, "main is up for the first time")


def crash(rig: Rig) -> None:
    """The gateway dies, and another follows."""
    before = rig.fall()
    rig.ensure(lambda: rig.up().get("main", {"pid": before})["pid"] != before, "main is up again")


def spoil(rig: Rig) -> None:
    """A broken config, met at the next start, is rolled back."""
    broken = rig.spoil()
    rig.fall()
    rig.ensure(lambda: rig.is_mended(broken), "the rollback")
    rig.ensure(rig.up, "main is up on what was good")
    rig.check_config(broken)


def stop(rig: Rig) -> None:
    """An operator's stop, which nobody forgets."""
    rig.ensure(lambda: rig.ask("stop"), "the stop is heard")
    rig.ensure(rig.down, "main is down")


def start(rig: Rig) -> None:
    """An operator's start."""
    rig.ensure(lambda: rig.ask("start"), "the start is heard")
    rig.ensure(rig.up, "main is up")


def rotate(rig: Rig) -> None:
    """Output comes, and logs rotate."""
    logs = rig.supervisor.state_dir / "logs"
    before = set(logs.glob("main.log.*Z*"))
    rig.ensure(lambda: len(set(logs.glob("main.log.*Z.gz")) - before) > 1, "logs rotate")


def adopt(rig: Rig) -> None:
    """A brain dies, and its successor takes over."""
    before = rig.ensure(rig.up, "main is up")
    kill(before["pid"])
    _follow(rig, before)


def tear(rig: Rig) -> None:
    """A brain dies in the middle of a line of its journal, and what it knew of main is lost with it."""
    before = rig.ensure(rig.up, "main is up")
    with _brainless(rig, before):
        with (rig.supervisor.state_dir / "events.jsonl").open("ab") as journal:
            journal.write(b'{"seq":')
        (rig.supervisor.state_dir / "children" / "main.json").write_bytes(b"{")
    _follow(rig, before)


def unseen(rig: Rig) -> None:
    """The gateway dies while no brain lives."""
    before = rig.ensure(rig.up, "main is up")
    with _brainless(rig, before):
        kill(before["main"]["pid"])
    rig.ensure(lambda: rig.up().get("main", before["main"])["pid"] != before["main"]["pid"], "main is up again")


def bereave(rig: Rig) -> None:
    """A gateway dies that is no child of the brain's, but was adopted."""
    adopt(rig)
    crash(rig)


def replace(rig: Rig) -> None:
    """The keeper asks a brain to make room."""
    before = rig.ensure(rig.up, "main is up")
    kill(before["keeper_pid"], signal.SIGUSR2)
    _follow(rig, before)


@contextmanager
def _brainless(rig: Rig, before: dict[str, Any]) -> Iterator[None]:
    """Between two brains."""
    kill(before["keeper_pid"], signal.SIGSTOP)
    try:
        kill(before["pid"])
        rig.ensure(lambda: gone(before["pid"]), "the brain is dead")
        yield
    finally:
        kill(before["keeper_pid"], signal.SIGCONT)


def _follow(rig: Rig, before: dict[str, Any]) -> None:
    rig.ensure(lambda: rig.up().get("pid", before["pid"]) != before["pid"], "another brain")
    assert rig.ensure(rig.up, "main is up")["main"]["pid"] == before["main"]["pid"]


def end(rig: Rig) -> None:
    """The whole supervisor is told to stop."""
    rig.end()
    rig.check_end()


STAGES: Mapping[str, Callable[[Rig], None]] = {
    each.__name__: each
    for each in (birth, crash, spoil, stop, start, rotate, adopt, tear, unseen, bereave, replace, end)
}
# What takes long, a repair or a supervisor's whole life, is done for what comes in nothing shorter.
_COSTS = {"spoil": 1, "rotate": 1, "birth": 2, "end": 2}
Visits = Mapping[str, Counter[str]]


def learn(rig: Rig) -> Visits:
    """Live through every stage once, undisturbed; the visits of each."""
    visits: dict[str, Counter[str]] = {}
    for name, stage in STAGES.items():
        seen = len(rig.points.visited())
        stage(rig)
        visits[name] = Counter(rig.points.visited()[seen:])
    return visits


def stages_of(point: str, visits: Visits) -> list[str]:
    """The stages in which a point is passed, the cheapest first, and of these the one that is the surest to pass it."""
    passing = [name for name in visits if visits[name][point]]
    return sorted(passing, key=lambda name: (_COSTS.get(name, 0), -visits[name][point]))


def targets(visits: Visits, *, every: bool) -> list[Target]:
    """Each point once, or with `every` in each stage; and each decision of each stage: before, within and behind its writing."""
    points = list(dict.fromkeys(point for stage in STAGES for point in visits[stage]))
    chosen = [Target(stage, point) for point in points for stage in stages_of(point, visits)[: None if every else 1]]
    decide = max((point for point in points if point.startswith("daemon.Daemon.decide:")), key=_in_place)
    around = ("brain.chronicle.Chronicle.write:1", "daemon.Daemon._keep:1", decide)
    if gone := set(around) - set(points):
        raise LookupError(f"nobody comes by {gone} any more")
    decisions = (crash, spoil, stop, start, unseen, end)
    chosen += [
        Target(stage.__name__, point, visit)
        for stage in decisions
        for point in around
        for visit in range(1, visits[stage.__name__][point] + 1)
    ]
    # What shares its preparations stands together.
    return sorted(set(chosen), key=lambda target: list(STAGES).index(target.stage))


def _in_place(point: str) -> tuple[int, str]:
    """Sorts the points of one function as they stand in it."""
    return len(point), point


def strike(rig: Rig, target: Target) -> bool:
    """Have a brain die at the target, and see that it costs nothing; whether one came by there."""
    prepare(rig, target.stage)
    rig.points.aim(target.point, target.visit)
    STAGES[target.stage](rig)
    if target.stage != "end":
        # What comes last may come a little later than what was waited for.
        with suppress(AssertionError):
            rig.ensure(lambda: not rig.points.is_aimed(), "the hit", LATE_S)
    hit = not rig.points.is_aimed()
    rig.points.disarm()
    if target.stage != "end":
        rig.check(wanted=target.stage != "stop")
    return hit


def prepare(rig: Rig, stage: str) -> None:
    """Bring about what the stage begins with."""
    process = rig.supervisor.process
    lives = process is not None and process.poll() is None
    if stage == "birth":
        if lives:
            end(rig)
        return
    if not lives:
        birth(rig)
    if stage == "start":
        if not rig.down():
            stop(rig)
    elif rig.down():
        start(rig)


class Sweep:
    """Rigs side by side, each with the next target; `wrong` says what went wrong where, `missed` where no brain came by."""

    def __init__(self, rig: Callable[[], Rig], chosen: Iterable[Target], visits: Visits) -> None:
        self._rig = rig
        self._visits = visits
        self._todo = deque(chosen)
        self.hit: list[Target] = []
        self.missed: list[Target] = []
        self.wrong: list[str] = []

    def run(self, at_once: int) -> None:
        """Strike every target; what goes wrong costs a rig, and too much of it ends the sweep."""
        with ThreadPoolExecutor(at_once) as pool:
            for done in [pool.submit(self._work) for _ in range(at_once)]:
                done.result()

    def _work(self) -> None:
        while self._todo and len(self.wrong) < WRONG_ENOUGH:
            rig = self._rig()
            target: Target | None = None
            try:
                while self._todo:
                    target = self._todo.popleft()
                    (self.hit if self._strike(rig, target) else self.missed).append(target)
                target = None
                prepare(rig, "birth")
            except (AssertionError, OSError) as failure:
                self.wrong.append(
                    f"{target or 'the end of a rig'}, after {len(rig.points.deaths())} deaths: {failure!r}"
                )
            finally:
                rig.clear()

    def _strike(self, rig: Rig, target: Target) -> bool:
        """Strike it, where it is missed in the other stages as well: what a stage passes by is in part chance."""
        others = [dataclasses.replace(target, stage=stage) for stage in stages_of(target.point, self._visits)]
        tries = [target, target, *(others if target.visit == 1 else ())]
        return any(strike(rig, each) for each in tries)
