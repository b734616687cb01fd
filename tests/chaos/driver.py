"""A whole run: one supervisor and its gateways, faults round after round, and what was seen of them from outside."""

import shutil
import time
from collections.abc import Callable, Sequence

from tests.chaos import journals, outputs, plans
from tests.chaos.builds import build
from tests.chaos.failpoints import Failpoints
from tests.chaos.faults import Faults
from tests.chaos.invariants import Violation
from tests.chaos.ledger import EVERYBODY
from tests.chaos.plans import Plan
from tests.chaos.report import Report, allowed_s
from tests.chaos.schedule import ROUND_S, Fault, rounds, weights
from tests.chaos.stage import Stage
from tests.chaos.unit import Unit
from tests.chaos.verbs import Operator
from tests.chaos.watch import Watch
from tests.e2e.world import World
from tests.ports import Ports

LOOK_S = 0.05
JOURNAL_EVERY_S = 0.3
STATUS_EVERY_S = 3.0
STATUS_IN_CALM_S = 0.4
# From the last fault's end to a gateway that is ready, on a machine that has much else to do.
BOUND_S = 25.0
RESCUE_BOUND_S = 20.0
BOOT_S = 60.0
STOP_S = 60.0


class Run:
    """One run; instants are seconds since it began."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._began = time.monotonic()
        self._stage = Stage()
        self._world = World(self._stage.root, Ports())
        names = ["rescue", "main", *(f"extra-{number}" for number in range(1, plan.gateways - 1))][: plan.gateways]
        for index, name in enumerate(names):
            plans.define(self._world, index, name)
        points = None
        if plan.failpoints:
            points = Failpoints(self._stage.root / "points")
            points.dice(plan.failpoints, plan.seed)
        made = build(self._stage.root / "build", [*plans.SMALL_FILES, *plan.edits], points)
        self._points = points
        self._unit = Unit(self._stage, made, self._world.conf_dir, self._world.env)
        self._operator = Operator(self._stage, self._world.conf_dir, self._world.env)
        places = {name: (each.port, each.state_dir) for name, each in self._world.gateways.items()}
        self._watch = Watch(places, lambda name: RESCUE_BOUND_S if name == "rescue" else BOUND_S)
        self._faults = Faults(self._stage, self._world, self._unit, self._operator, self._watch)
        self._journal = journals.Journal(self._stage.state_dir / "events.jsonl")
        self._journal_at = 0.0
        self._status_every_s = STATUS_EVERY_S
        self._calm_from = self._booted_at = 0.0
        self._died_at_points = 0
        self._accounts: dict[str, outputs.Account] = {}
        self.violations: list[Violation] = []

    @property
    def now(self) -> float:
        """Seconds into the run."""
        return time.monotonic() - self._began

    def run(self) -> Report:
        """From the first start to the last check."""
        minutes = self._plan.minutes
        if not self._until(self._is_calm, BOOT_S):
            self._violated("back in bound", f"not ready after the first start: {self._unrest()}")
            minutes = 0.0
        self._faults.ledger.lifted[EVERYBODY] = self._booted_at = started = self.now
        kinds = weights(disk_full=self._plan.disk_full, only=self._plan.only)
        endless = rounds(self._plan.seed, list(self._world.gateways), kinds, gap_s=self._plan.gap_s)
        end = started + minutes * 60
        for number, faults in enumerate(self._plan.script or endless, 1):
            if self.now >= end or self._is_caught:
                break
            self._plan.tell(f"round {number} of seed {self._plan.seed}, from {self.now:.1f} s on")
            self._round(faults, end)
            self._settle()
        lasted = self.now - started
        if not self._is_caught:
            self._stop()
            self._look_at_papers()
        return self._report(lasted)

    @property
    def _is_caught(self) -> bool:
        """Whether what was to be violated is."""
        return any(violation.invariant in self._plan.until for violation in self.violations)

    def _round(self, faults: Sequence[Fault], end: float) -> None:
        begun = self.now
        for fault in faults:
            if begun + fault.at >= end or self._is_caught:
                break
            self._until(lambda at=begun + fault.at: self.now >= at, ROUND_S * 2)  # type: ignore[misc]  # mypy cannot infer a default
            self._plan.tell(f"{fault}: {self._faults.apply(fault, self.now)}")

    def _settle(self) -> None:
        """After each round all must be as it is wanted, by what the machine and by what the supervisor shows."""
        self._until(lambda: self._faults.is_over, ROUND_S * 2)
        self._status_every_s = STATUS_IN_CALM_S
        self._calm_from = begun = self.now
        if not self._until(self._is_calm, BOUND_S):
            self._violated("back in bound", f"{BOUND_S:g} s after the last fault: {self._unrest()}")
        self._status_every_s = STATUS_EVERY_S
        self._plan.tell(f"        calm after {self.now - begun:.1f} s")

    def _is_calm(self) -> bool:
        return not self._unrest()

    def _unrest(self) -> str:
        """What is not yet as it should be."""
        names = self._world.gateways
        down = [name for name in names if name not in self._operator.unwanted and not self._watch.up(name)]
        if down:
            return f"not ready: {down}"
        if self._operator.waiting:
            return f"the operator waits for {self._operator.waiting}"
        if not self._operator.last or self._operator.last_at < self._calm_from:
            return "status does not answer"
        supervisor, entries = self._operator.last["supervisor"], self._operator.last["gateways"]
        odd = [f"{each['name']} is {each['state']}: {each['reason']}" for each in entries if each["state"] != "ready"]
        pids = {each["name"]: each["pid"] for each in entries}
        for name in names:
            seen = self._watch.gateway(name)
            if seen is None or seen.pid != pids.get(name):
                odd.append(f"{name} is {seen}, status says {pids.get(name)}")
        return "; ".join([*odd, *supervisor["degraded"]])

    def _until(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Go on looking until the condition holds, at most for so long."""
        deadline = self.now + within_s
        while True:
            self._step()
            if condition() or self._is_caught:
                return True
            if self.now >= deadline:
                return False
            time.sleep(LOOK_S)

    def _step(self) -> None:
        """One look at everything."""
        self._stage.reap()
        for text in self._unit.tend(self.now):
            self._violated("supervisor lives", text)
        self._unit.see(self.now, self._watch.see(), self._journal.booted)
        self._faults.tend(self.now)
        for text in self._operator.tend(self.now):
            self._violated("operator wins", text)
        if not self._unit.stopping:
            self._operator.look(self.now, self._status_every_s)
        if self._booted_at and not self._unit.stopping:
            self._tell_downtime()
        for violation in self._watch.judge(self.now, self._unit.since, self._operator.held):
            self._tell(violation)
        while self._faults.wrong:
            self._violated(*self._faults.wrong.pop())
        if self.now - self._journal_at >= JOURNAL_EVERY_S:
            self._look_at_journal()

    def _tell_downtime(self) -> None:
        now = self.now
        for name, downtime in self._watch.downtime.items():
            wanted = name not in self._operator.unwanted
            excused = self._faults.ledger.excused(name, now)
            for violation in downtime.tell(now, up=self._watch.up(name), wanted=wanted, excused=excused):
                self._tell(violation)

    def _look_at_journal(self) -> None:
        self._journal_at = self.now
        self._journal.look()
        while self._journal.wrong:
            self._violated("journal", self._journal.wrong.pop())
        if self._points is not None:
            deaths = len(self._points.deaths())
            self._faults.ledger.costs += [(self.now, EVERYBODY, Fault(0, "kill brain"))] * (
                deaths - self._died_at_points
            )
            self._died_at_points = deaths

    def _stop(self) -> None:
        """An orderly end, after which nothing is left."""
        self._until(lambda: not self._operator.waiting, STOP_S)
        for downtime in self._watch.downtime.values():
            list(downtime.tell(self.now, up=True, wanted=True, excused=0.0))
        self._unit.stop()
        keeper = self._unit.keeper
        if not self._until(lambda: self._unit.keeper != keeper, STOP_S):
            self._violated("orderly stop", f"the keeper still runs after {STOP_S:g} s: {self._unit.last_words()}")
        self._until(lambda: not self._stage.children, 5)
        for seen in self._watch.see().values():
            self._violated("orderly stop", f"left behind: {seen}")

    def _look_at_papers(self) -> None:
        """What only a whole run can show."""
        self._look_at_journal()
        for text in journals.replayed(self._journal.events):
            self._violated("replay", text)
        ledger = self._faults.ledger
        for text in journals.blamed(self._journal.events, ledger):
            self._violated("blame", text)
        for name in self._world.gateways:
            shadow = self._world.gateways[name].fake_dir / "shadow"
            log = outputs.read_log(self._stage.state_dir / "logs" / f"{name}.log")
            printed = shadow.read_text(encoding="utf-8").splitlines() if shadow.exists() else []
            self._accounts[name] = outputs.settle(printed, log, ledger.unheld)
            for text in self._accounts[name].wrong:
                self._violated("log", f"{name}: {text}")
        down, allowed = sum(self._watch.downtime["rescue"].lengths(self.now)), self._rescue_allowed_s()
        if down > allowed:
            text = f"the rescue was down for {down:.1f} s in all, {allowed:.1f} s are allowed for what was done"
            self._violated("rescue total", text)

    def _rescue_allowed_s(self) -> float:
        return allowed_s(self._faults.ledger.costs, "rescue", self._watch.downtime["rescue"].spells)

    def _report(self, lasted: float) -> Report:
        if self._plan.keep is not None:
            shutil.copytree(
                self._stage.root, self._plan.keep, ignore=shutil.ignore_patterns("build", "*.sock", ".*.fifo")
            )
        return Report(
            lasted_s=lasted,
            faults=self._faults.ledger.counted,
            verbs=self._operator.done,
            brain_deaths=self._unit.brain_deaths,
            keeper_deaths=self._unit.keeper_deaths,
            failpoints=self._died_at_points,
            adopted=sum(event["event"] == "adopted" for event in self._journal.events),
            events=len(self._journal.events),
            accounts=self._accounts,
            downtimes={name: downtime.lengths(self.now) for name, downtime in self._watch.downtime.items()},
            rescue_allowed_s=self._rescue_allowed_s(),
            violations=self.violations,
        )

    def _violated(self, invariant: str, evidence: str) -> None:
        self._tell(Violation(self.now, invariant, evidence))

    def _tell(self, violation: Violation) -> None:
        self.violations.append(violation)
        self._plan.tell(f"VIOLATION {violation}")
