"""A host that is only thought of: it does what policy says, late and in any order, and knows what must never happen."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import assert_never

from supervisor.openclaw.exits import Heard
from supervisor.policy import record
from supervisor.policy.actions import (
    Action,
    CancelRepair,
    ConsumeHandoff,
    Evidence,
    Finish,
    Incident,
    Kill,
    Probe,
    Promote,
    RepairEnd,
    RepairStep,
    Report,
    Spawn,
    Sweep,
    Terminate,
    Unwatch,
    Watch,
)
from supervisor.policy.events import (
    Adopted,
    Booted,
    ConfigPromoted,
    Event,
    Exited,
    HandoffAnswered,
    ObstacleChanged,
    Probed,
    Reloaded,
    RepairStepped,
    Spawned,
    SpawnFailed,
    SpawnRefused,
    Ticked,
)
from supervisor.policy.facts import Answer, Guarded, Obstacle, Roster, RungOutcome
from supervisor.policy.fleet import Fleet, decide, wake_at
from supervisor.policy.state import Child, Degraded, Ready, Repairing, Starting, life_of
from tests.policy import books
from tests.policy.books import Place, Process
from tests.policy.builders import BROKEN, STARTED, obstacle
from tests.policy.invariants import hold

BEGIN = 1e6 / 7
OUTCOMES: dict[bool | None, RungOutcome] = {True: "start", False: "useless", None: "unavailable"}
# Longest way back: a stop's grace, a burst or the cap of the backoff, a cold start of others, and the kill in between.
BOUND_S = 330.0 + 900.0 + 310.0 + 60.0 + 60.0


@dataclass(slots=True)
class Host:
    """The machine, the supervisor's disk, and the brain's present fleet."""

    places: dict[str, Place]
    cores: int = 2
    now: float = BEGIN
    fleet: Fleet = field(default_factory=Fleet)
    processes: list[Process] = field(default_factory=list)
    asked: list[Action] = field(default_factory=list)
    posted: list[Event] = field(default_factory=list)
    watches: dict[str, Obstacle] = field(default_factory=dict)
    records: dict[str, bytes] = field(default_factory=dict)
    journal: list[str] = field(default_factory=list)
    pids: int = 100
    finished: bool = False

    # The brain.

    def boot(self, *, first: bool) -> None:
        """A brain begins with nothing but the records, and takes over what lives."""
        known = {name: record.load_child(data) for name, data in self.records.items()}
        unseen = [event for event in self.posted if isinstance(event, Exited)]
        self.fleet, self.finished = Fleet(known, cores=self.cores), False
        self.asked, self.posted = [], []
        self.watches.clear()
        self._line(record.Line("supervisor_started", None, record.beginning(self.fleet)))
        self.tell(self.roster())
        for name, child in list(self.fleet.children.items()):
            life = life_of(child.state)
            living = next((p for p in self.processes if p.alive and p.name == name), None)
            if living is not None:
                self.tell(Adopted(name, living.life, living.pid, 1))
            elif life is not None and life.pid is None:
                self.tell(SpawnFailed(name, life.number, "the brain died", cut_short=True))
            elif life is not None:
                known_end = [event for event in unseen if (event.name, event.life) == (name, life.number)]
                self.tell(known_end[0] if known_end else Exited(name, life.number, None, None))
        self.tell(Booted(first=first))

    def roster(self) -> Reloaded:
        files = {name: place.file for name, place in self.places.items()}
        good = tuple(place.definition for place in self.places.values() if place.file == "good")
        return Reloaded(Roster(good, tuple((name, BROKEN) for name, file in files.items() if file == "broken")))

    def tell(self, event: Event, *, dies: bool = False) -> None:
        """Decide, journal, keep, and act (unless the brain dies just before it acts)."""
        before = self.fleet
        after, actions = decide(before, event, self.now)
        hold(before, event, after, actions, self.now)
        lines = record.lines(before, event, after, actions, self.now)
        for line in lines:
            self._line(line)
        if lines:
            self.records = {name: record.dump_child(child) for name, child in after.children.items()}
        books.account(self.places, before, event, after, self.now)
        books.check_order_of_stopping(before, event, after)
        self.fleet = after
        for action in actions:
            books.check(self.places, after, action, self.now)
            if not dies:
                self._perform(action)

    def _line(self, line: record.Line) -> None:
        fixed = {"seq": len(self.journal) + 1, "gateway": line.gateway, "event": line.event}
        self.journal.append(json.dumps({**fixed, **line.fields}))

    # The hands.

    def _perform(self, action: Action) -> None:
        match action:
            case Spawn() | Probe() | ConsumeHandoff() | RepairStep():
                self.asked.append(action)
            case CancelRepair(name=name):
                self.asked = [a for a in self.asked if not isinstance(a, RepairStep) or a.name != name]
            case Promote():
                self.posted.append(ConfigPromoted(action.name, action.life, action.key, action.how))
            case RepairEnd() | Evidence() | Incident():
                pass
            case Terminate():
                process = self._process(action.name, action.life)
                if process is not None and not process.deaf:
                    self.die(process, 0 if process.started else None, None if process.started else 15)
            case Kill():
                process = self._process(action.name, action.life)
                if process is not None:
                    self.die(process, None, 9)
            case Watch():
                self.watches[action.name] = action.obstacle
            case Unwatch():
                self.watches.pop(action.name, None)
            case Sweep():
                assert self._process(action.name, action.life) is None, "a living gateway was swept"
            case Finish():
                assert not any(process.alive for process in self.processes)
                self.finished = True
            case Report(text="repair_step: no gateway has this name"):
                pass  # A rung may be answered while a reload forgets its gateway.
            case Report() if "cannot happen" in action.text or "no gateway" in action.text:
                raise AssertionError(f"the host did something impossible: {action.text}")
            case Report():
                pass
            case _:
                assert_never(action)

    def _process(self, name: str, life: int) -> Process | None:
        found = [p for p in self.processes if p.alive and (p.name, p.life) == (name, life)]
        return found[0] if found else None

    def die(
        self, process: Process, code: int | None, signal: int | None, *, upgraded: bool = False, heard: Heard = ""
    ) -> None:
        """The process is gone; somebody will be told."""
        process.alive = False
        place = self.places[process.name]
        key = f"k{place.config_version}"
        stands = obstacle() if place.port_stolen else None
        guarded = Guarded(good="k-good", booted="k-booted")
        self.posted.append(Exited(process.name, process.life, code, signal, stands, upgraded, key, guarded, heard))

    def perform_asked(self, index: int, said: Answer, *, short: bool, accepted: bool | None) -> None:
        """Do one thing that was asked for and not done yet; a probe not before its time."""
        action = self.asked[index % len(self.asked)]
        match action:
            case Spawn():
                self._spawn(action, short=short)
            case Probe():
                if action.at > self.now:
                    return
                process = self._process(action.name, action.life)
                if process is not None:
                    process.started = process.started or said.started is True
                    key = f"k{self.places[action.name].config_version}"
                    self.posted.append(Probed(action.name, action.life, said, key))
            case ConsumeHandoff():
                self.posted.append(HandoffAnswered(action.name, action.life, accepted))
            case RepairStep():
                self._climb(action, OUTCOMES[accepted] if action.rung != "restore" else "done")
            case _:
                pass
        self.asked.remove(action)

    def _climb(self, action: RepairStep, outcome: RungOutcome) -> None:
        place = self.places[action.name]
        # The bytes of a rung are as good as any other version.
        place.config_version += outcome == "start"
        key = f"k{place.config_version}"
        self.posted.append(RepairStepped(action.name, action.rung, outcome, "", key))

    def _spawn(self, action: Spawn, *, short: bool) -> None:
        place = self.places[action.name]
        if short:
            self.posted.append(SpawnFailed(action.name, action.life, "no process slot"))
        elif place.port_stolen:
            self.posted.append(SpawnRefused(action.name, action.life, obstacle()))
        else:
            assert not any(p.alive and p.name == action.name for p in self.processes), "two gateways on one state dir"
            self.pids += 1
            self.processes.append(Process(action.name, action.life, self.pids))
            self.posted.append(Spawned(action.name, action.life, self.pids, 1))

    def hear(self, index: int, *, dies: bool = False) -> None:
        """One of the posted events is decided; an exit never before the spawn it ends."""
        event = self.posted[index % len(self.posted)]
        if isinstance(event, Exited):
            same = [
                e
                for e in self.posted
                if isinstance(e, Spawned | Probed) and (e.name, e.life) == (event.name, event.life)
            ]
            event = next((e for e in same if isinstance(e, Spawned)), event)
        if isinstance(event, Probed):
            event = next((e for e in self.posted if isinstance(e, Spawned) and e.name == event.name), event)
        self.posted.remove(event)
        self.tell(event, dies=dies)

    # The outside.

    def look(self) -> None:
        """What hands that watch would see by now."""
        for name, watched in list(self.watches.items()):
            place = self.places[name]
            if watched.key != f"k{place.config_version}" if watched.what == "config" else not place.port_stolen:
                self.posted.append(ObstacleChanged(name, None))
                self.watches.pop(name)

    def elapse(self, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Time passes, with a Ticked at every deadline, and `meanwhile` after each."""
        until = self.now + seconds
        while (due := wake_at(self.fleet, self.now)) is not None and due <= until and not self.finished:
            self.now = max(self.now, due)
            self.tell(Ticked())
            meanwhile()
        self.now = max(self.now, until)

    def answer_everything(self) -> None:
        """Everything asked is done well and everything posted is heard, except probes of the future."""
        for _ in range(1000):
            self.look()
            due = [a for a in self.asked if not isinstance(a, Probe) or a.at <= self.now]
            if due:
                self.perform_asked(self.asked.index(due[0]), STARTED, short=False, accepted=True)
            elif self.posted:
                self.hear(0)
            else:
                return
        raise AssertionError("it never comes to rest")

    def settle(self) -> None:
        """Nothing stands in anybody's way any more: within the bound all that is wanted is ready."""
        for place in self.places.values():
            place.port_stolen = False
            place.config_version += 1
            place.file = "good"
        self.answer_everything()
        self.tell(self.roster())
        end = self.now + BOUND_S
        self.answer_everything()
        while self.now < end and not self.finished and (self.fleet.closing or self.wanted_but_down()):
            due = wake_at(self.fleet, self.now)
            steps = [a.at for a in self.asked if isinstance(a, Probe)] + ([due] if due is not None else [])
            self.elapse(max(0.0, min([*steps, end]) - self.now), self.answer_everything)
            self.answer_everything()

    def unwatched(self) -> list[str]:
        """Gateways that live and should be probed, and are not by exactly one question that is under way."""
        found = []
        for name, child in self.fleet.children.items():
            life = life_of(child.state)
            if not isinstance(child.state, Starting | Ready | Degraded) or life is None or life.pid is None:
                continue
            asked = [a for a in self.asked if isinstance(a, Probe) and (a.name, a.life) == (name, life.number)]
            told = [e for e in self.posted if isinstance(e, Probed) and (e.name, e.life) == (name, life.number)]
            if self._process(name, life.number) is not None and len(asked) + len(told) != 1:
                found.append(name)
        return found

    def unclimbed(self) -> list[str]:
        """Gateways for whom exactly one rung should be under way, and is not."""
        found = []
        for name, child in self.fleet.children.items():
            if isinstance(child.state, Repairing):
                rungs = [a for a in self.asked if isinstance(a, RepairStep) and a.name == name]
                told = [e for e in self.posted if isinstance(e, RepairStepped) and e.name == name]
                late = self.now >= child.state.until
                if not late and (len(rungs) > 1 or not [*rungs, *told]):
                    found.append(name)
        return found

    def race(self, name: str) -> None:
        """A stranger takes the port while the gateway starts, so that it ends, and leaves it again."""
        self.answer_spawn()
        self.places[name].port_stolen = True
        for process in self.processes:
            if process.alive and process.name == name:
                self.die(process, 1, None)
        self.answer_posted()
        self.places[name].port_stolen = False
        self.look()
        self.answer_posted()

    def say(self, said: Answer) -> None:
        """Every gateway that is up is asked, in its time, and says this."""
        self.answer_spawn()
        for probe in [action for action in self.asked if isinstance(action, Probe)]:
            self.elapse(max(0.0, probe.at - self.now))
            self.perform_asked(self.asked.index(probe), said, short=False, accepted=None)
            self.answer_posted()

    def answer_spawn(self) -> None:
        """Everything that is to be spawned is, and is heard of."""
        for action in [action for action in self.asked if isinstance(action, Spawn)]:
            self.perform_asked(self.asked.index(action), STARTED, short=False, accepted=True)
        self.answer_posted()

    def answer_posted(self) -> None:
        """Everything posted is heard."""
        while self.posted:
            self.hear(0)

    def wanted_but_down(self) -> list[Child]:
        return [c for c in self.fleet.children.values() if c.wanted and c.state.kind != "ready"]

    def differences(self) -> list[str]:
        """What a replay of the journal finds."""
        return list(record.replay(map(json.loads, self.journal)))
