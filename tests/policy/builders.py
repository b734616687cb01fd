"""Definitions, children and whole fleets in a given state, and a story that is told to a fleet event by event."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from supervisor.policy.actions import Action, Spawn
from supervisor.policy.definition import Definition
from supervisor.policy.events import Booted, Event, Exited, Probed, Reloaded, Spawned, StartAsked, StopAsked, Ticked
from supervisor.policy.facts import Answer, Cause, Obstacle, Roster
from supervisor.policy.fleet import Fleet, decide, in_order, wake_at
from supervisor.policy.record import dump_child, load_child
from supervisor.policy.state import (
    Backoff,
    Blocked,
    Child,
    Degraded,
    Failed,
    Handoff,
    Hung,
    Life,
    Queued,
    Ready,
    Repair,
    Repairing,
    Starting,
    State,
    Stopped,
    Stopping,
    life_of,
)

NOW = 1000.0
PATIENCE_S = 100_000.0
INF = float("inf")
LIMITLESS = {"burst": 0}

A = TypeVar("A", bound=Action)


def definition(name: str = "main", **fields: Any) -> Definition:
    """A definition whose role is its name where that is a role."""
    fields.setdefault("role", name if name in ("main", "rescue") else "extra")
    if fields["role"] == "rescue":
        fields.setdefault("restart", {"cap": 30.0, "burst": 0})
    home = f"/home/.openclaw-{name}"
    fixed = {"name": name, "port": 18789, "profile": name, "state_dir": home, "config_path": f"{home}/openclaw.json"}
    return Definition.model_validate({**fixed, **fields})


def obstacle(
    what: Literal["port", "lock", "launcher", "state_dir", "config", "definition"] = "port",
    cause: Cause = Cause.CONFLICT,
    key: str = "k",
) -> Obstacle:
    return Obstacle(what, cause, f"{what} {key} is in the way", "take it away", key)


BROKEN = obstacle("definition", Cause.CONFIG, "broken")


def answer(*, started: bool | None = None, live: bool = True, ready: bool | None = None, **more: Any) -> Answer:
    return Answer(started, live, ready, **more)


STARTED = answer(started=True, ready=True)
NOT_YET = answer(started=False)
SILENT = answer(live=False, detail="no answer within 10 s")


def life(number: int = 3, **fields: Any) -> Life:
    """A life that began 500 s ago and was started after 10 s; `pid=None` for one that is not spawned yet."""
    defaults: dict[str, Any] = {"begun": NOW - 500, "pid": 300 + number, "start_ticks": 1, "started": NOW - 490}
    return Life(number, **{**defaults, **fields})


def states() -> Iterator[tuple[str, State]]:
    """Every state, those with a life also as they are before the process is there; deadlines lie 5 s ahead of NOW."""
    young = life(started=None, begun=NOW - 20)
    unborn = life(started=None, begun=NOW - 20, pid=None, start_ticks=None)
    yield "stopped", Stopped()
    yield "queued", Queued(NOW - 1)
    yield "urgent", Queued(NOW - 1, urgent=True)
    yield "unborn", Starting(unborn, NOW + 5, NOW - 20)
    yield "starting", Starting(young, NOW + 5, NOW - 2, progress=7)
    yield "ready", Ready(life(), NOW - 490, NOW)
    yield "missed", Ready(life(), NOW - 490, NOW, misses=7)
    yield "degraded", Degraded(life(), NOW - 490, NOW, "telegram")
    yield "hung", Hung(life(), NOW + 5, "no answer")
    yield "hung-unborn", Hung(unborn, NOW + 5, "not started")
    yield "stopping", Stopping(life(), NOW + 5)
    yield "stopping-unborn", Stopping(unborn, NOW + 5)
    yield "backoff", Backoff(NOW + 5, "exit 1")
    yield "failed", Failed(NOW + 5, "exit 1")
    yield "blocked-port", Blocked(obstacle())
    yield "blocked-config", Blocked(obstacle("config", Cause.CONFIG))
    yield "mended-in-vain", Blocked(obstacle("config", Cause.CONFIG), vain=("rollback", "rescue"))
    yield "blocked-definition", Blocked(BROKEN)
    yield "contested", Blocked(replace(obstacle(), what="contested", cause=Cause.CONTESTED), until=NOW + 5)
    yield "repairing", Repairing("rollback", NOW + 5)
    yield "doctoring", Repairing("doctor", NOW + 5)


STATES = dict(states())


def repair(**fields: Any) -> Repair:
    """A ladder that has not come to anything yet."""
    stands = obstacle("config", Cause.CONFIG, "k-bad")
    return Repair(
        **{"broken": "k-bad", "since": NOW - 20, "obstacle": stands, "left": "k-bad", "good": "k-good", **fields}
    )


def child(state: State, name: str = "main", **fields: Any) -> Child:
    """A child of three lives with a past: a score, a boot, a term, and a handoff that was asked about."""
    past: dict[str, Any] = {
        "definition": definition(name),
        "score": 1.5,
        "boots": (NOW - 100,),
        "terms": (NOW - 100,),
        "lives": 3,
        "spawns": 3,
        "handoff": Handoff(2, 302, NOW - 510, 0.5, asked=True),
        "broken": BROKEN if state == Blocked(BROKEN) else None,
        "repair": repair() if isinstance(state, Repairing) else None,
    }
    return Child(name, state=state, since=NOW - 20, **{**past, **fields})


def fleet(*children: Child, **fields: Any) -> Fleet:
    """A fleet that is past its boot."""
    return Fleet({one.name: one for one in children}, **{"booted": True, "cores": 2, **fields})


@dataclass(slots=True)
class Story:
    """A fleet and the clock it lives by; `told` is everything that it decided, in order."""

    fleet: Fleet
    now: float = NOW
    told: list[Action] = field(default_factory=list)

    @classmethod
    def of(cls, *definitions: Definition, cores: int = 8) -> "Story":
        """A supervisor that has just begun with these definitions."""
        story = cls(Fleet(cores=cores))
        story.tell(Reloaded(Roster(definitions)))
        story.tell(Booted(first=True))
        return story

    def tell(self, event: Event) -> tuple[Action, ...]:
        """One event, now."""
        self.fleet, actions = decide(self.fleet, event, self.now)
        self.told += actions
        return actions

    def wait(self, seconds: float) -> tuple[Action, ...]:
        """Let time pass, with a Ticked at every deadline on the way."""
        until = self.now + seconds
        actions: tuple[Action, ...] = ()
        while (due := wake_at(self.fleet, self.now)) is not None and due <= until:
            self.now = max(self.now, due)
            actions = (*actions, *self.tell(Ticked()))
        self.now = until
        return actions

    def child(self, name: str = "main") -> Child:
        return self.fleet.children[name]

    def state(self, name: str = "main") -> str:
        return self.child(name).state.kind

    def life(self, name: str = "main") -> int:
        """The number of the present life, or of the last one."""
        present = life_of(self.child(name).state)
        return present.number if present is not None else self.child(name).lives

    def probed(self, said: Answer, name: str = "main") -> tuple[Action, ...]:
        return self.tell(Probed(name, self.life(name), said))

    def spawned(self, name: str = "main") -> tuple[Action, ...]:
        number = self.life(name)
        return self.tell(Spawned(name, number, 300 + number, 1))

    def up(self, name: str = "main", *, ready_s: float = 0.0) -> None:
        """The present life is spawned, started at once, and has been ready for so long."""
        self.spawned(name)
        self.probed(STARTED, name)
        self.wait(ready_s)

    def exits(self, code: int | None = 1, name: str = "main", *, signal: int | None = None, **more: Any) -> float:
        """The present life ends; returns after how many seconds the next one is spawned (inf: not by time alone)."""
        self.tell(Exited(name, self.life(name), code, signal, **more))
        return self.until_spawn(name)

    def until_spawn(self, name: str = "main") -> float:
        """Let time pass up to the next spawn of this gateway; inf when time alone does not bring it."""
        begun = self.now
        while life_of(self.child(name).state) is None:
            due = wake_at(self.fleet, self.now)
            if due is None or due > begun + PATIENCE_S:
                return INF
            self.wait(due - self.now)
        return self.now - begun

    def stop(self, name: str = "main", *, at_once: bool = False) -> tuple[Action, ...]:
        return self.tell(StopAsked(name, at_once=at_once))

    def start(self, name: str = "main") -> tuple[Action, ...]:
        return self.tell(StartAsked(name))

    def spawns(self) -> list[str]:
        """The gateways that were spawned, in order."""
        return [action.name for action in self.told if isinstance(action, Spawn)]

    def forget(self) -> None:
        """Begin a new page: what was told so far is set aside."""
        self.told.clear()


def begun(**fields: Any) -> Story:
    """One gateway whose first life has just been spawned."""
    story = Story.of(definition(**fields))
    story.spawned()
    return story


def main(**fields: Any) -> Story:
    """One gateway without a burst limit whose first life has just begun."""
    return Story.of(definition(**{"restart": LIMITLESS, **fields}))


def running(**fields: Any) -> Story:
    """The same, and that life is ready."""
    story = main(**fields)
    story.up()
    return story


def cause(story: Story) -> Cause:
    last = story.child().last_exit
    assert last is not None
    return last.cause


def blocked(story: Story) -> Blocked:
    state = story.child().state
    assert isinstance(state, Blocked)
    return state


def up(*names: str, cores: int = 8) -> Story:
    """Gateways that are all ready."""
    story = Story.of(*map(definition, names), cores=cores)
    for name in in_order(story.fleet.children.values()):
        story.up(name.name)
    return story


def reloaded(story: Story, *definitions: Definition, broken: tuple[str, ...] = ()) -> Story:
    """The story after these definitions were read; what was told before is set aside."""
    story.forget()
    story.tell(Reloaded(Roster(definitions, tuple((name, BROKEN) for name in broken))))
    return story


def new_supervisor(story: Story, *, first: bool = True, roster: Roster | None = None) -> Story:
    """The next brain, from what the records say; `first` under a new keeper."""
    known = {name: load_child(dump_child(one)) for name, one in story.fleet.children.items()}
    definitions = tuple(one.definition for one in known.values() if one.definition is not None)
    after = Story(Fleet(known, cores=8), story.now)
    after.tell(Reloaded(roster or Roster(definitions)))
    after.tell(Booted(first=first))
    return after


def only(kind: type[A], actions: tuple[Action, ...] | list[Action]) -> list[A]:
    """The actions of one kind."""
    return [action for action in actions if isinstance(action, kind)]
