"""What policy holds about a child: its state, and what it must remember from one life to the next.

A state is one of the frozen classes below, each with its own deadline and nothing else; what outlives a state stands in
`Child`. Instants are seconds on the machine's monotonic clock, so a saved child means the same to the next brain.
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from supervisor.policy.definition import Definition
from supervisor.policy.facts import Cause, Obstacle, Rung, RungOutcome


@dataclass(frozen=True, slots=True)
class RunsOn:
    """The contents of its config that a life has to do with, by their keys; "" where not known.

    `booted` is what it started on, `accepted` that or what it was reloaded into and stable on since; `candidate` is the present
    one, seen since `since`, and `promoted` says that it is kept as good.
    """

    booted: str = ""
    accepted: str = ""
    candidate: str = ""
    since: float = 0.0
    promoted: bool = False


@dataclass(frozen=True, slots=True)
class Life:
    """One spawn to one exit. `started` is the instant it answered /startupz; `ready_s` sums its finished spells of being ready.

    `bound`: an answer has come from its port.
    """

    number: int
    begun: float
    pid: int | None = None
    start_ticks: int | None = None
    started: float | None = None
    ready_s: float = 0.0
    adopted: bool = False
    bound: bool = False
    config: RunsOn = RunsOn()


@dataclass(frozen=True, slots=True)
class Stopped:
    """Down, and nobody wants it otherwise."""

    kind: Literal["stopped"] = "stopped"


@dataclass(frozen=True, slots=True)
class Queued:
    """About to start, as soon as its turn comes. `urgent`: an operator asked, so it waits for nobody's start but its own turn."""

    since: float
    urgent: bool = False
    kind: Literal["queued"] = "queued"


@dataclass(frozen=True, slots=True)
class Starting:
    """Spawned, not yet started. `ready_by` moves while `progress` grows (last seen growing at `progressed`)."""

    life: Life
    ready_by: float
    progressed: float
    progress: int = 0
    detail: str = ""
    kind: Literal["starting"] = "starting"


@dataclass(frozen=True, slots=True)
class Ready:
    """Started and ready since `since`; `asked` is the instant of the probe that is under way, `misses` those in a row before it.

    `silent` is the instant of the first answer that failed to come since the last that came, `refused` that of the first
    connection refused since one was taken.
    """

    life: Life
    since: float
    asked: float
    misses: int = 0
    silent: float | None = None
    refused: float | None = None
    kind: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True)
class Degraded:
    """Started, but /readyz says no, and `why`."""

    life: Life
    since: float
    asked: float
    why: str
    misses: int = 0
    silent: float | None = None
    refused: float | None = None
    kind: Literal["degraded"] = "degraded"


@dataclass(frozen=True, slots=True)
class Hung:
    """Told to end because it no longer answers or never came up, or (`cause` parked) lives without listening; killed at `kill_at`."""

    life: Life
    kill_at: float
    why: str
    cause: Cause = Cause.HUNG
    kind: Literal["hung"] = "hung"


@dataclass(frozen=True, slots=True)
class Stopping:
    """Told to end because somebody wants it so; killed at `kill_at`."""

    life: Life
    kill_at: float
    kind: Literal["stopping"] = "stopping"


@dataclass(frozen=True, slots=True)
class Backoff:
    """Fell; is tried again at `until`."""

    until: float
    why: str
    kind: Literal["backoff"] = "backoff"


@dataclass(frozen=True, slots=True)
class Failed:
    """Fell so often that it has reached the cap; is still tried again at `until`."""

    until: float
    why: str
    kind: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class Blocked:
    """Cannot start before something outside changes; `until`, where given, is the instant to try again all the same.

    `vain` are the rungs of the ladder that did not help: with any the world is told `failed`, although the file still wakes it.
    """

    obstacle: Obstacle
    until: float | None = None
    vain: tuple[Rung, ...] = ()
    kind: Literal["blocked"] = "blocked"


@dataclass(frozen=True, slots=True)
class Repairing:
    """OpenClaw refused its config, and a rung of the ladder is being climbed, until `until` at the longest."""

    rung: Rung
    until: float
    kind: Literal["repairing"] = "repairing"


State: TypeAlias = (
    Stopped | Queued | Starting | Ready | Degraded | Hung | Stopping | Backoff | Failed | Blocked | Repairing
)


@dataclass(frozen=True, slots=True)
class LastExit:
    """How the last life ended; `ran_s` from spawn to exit."""

    code: int | None
    signal: int | None
    cause: Cause
    at: float
    ran_s: float


@dataclass(frozen=True, slots=True)
class Handoff:
    """An exit 0 that may have been a restart the gateway asked for: `score` is the failure score without that exit."""

    life: int
    pid: int
    at: float
    score: float
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Tried:
    """What a rung of the ladder came to."""

    rung: Rung
    outcome: RungOutcome
    detail: str


@dataclass(frozen=True, slots=True)
class Repair:
    """An incident of cause config while it is being mended.

    `broken` is the content that was refused and goes back if nothing helps, `left` what the last rung left in place; `good`
    and `booted` are what there is to go back to; `obstacle` is what blocks in the end; `other` says that it was not the config.
    """

    broken: str
    since: float
    obstacle: Obstacle
    left: str
    good: str = ""
    booted: str = ""
    other: str = ""
    tried: tuple[Tried, ...] = ()


@dataclass(frozen=True, slots=True)
class Child:
    """A definition plus its supervised state.

    `definition` is the one that the present life runs by (None while no readable one was ever seen), `pending` the one for
    the next life. `wanted` is what shall be; `held` remembers an operator's stop over restarts of the supervisor. `boots` and
    `terms` are instants of unclean boots and of SIGTERMs that we did not send. `lives` counts for ever, `spawns` since the
    keeper started. `repair` is the ladder being climbed, `spent` the (content, rung) pairs that are not tried again.
    """

    name: str
    definition: Definition | None
    state: State
    since: float
    wanted: bool = True
    held: bool = False
    closing: bool = False
    orphaned: bool = False
    pending: Definition | None = None
    broken: Obstacle | None = None
    score: float = 0.0
    boots: tuple[float, ...] = ()
    terms: tuple[float, ...] = ()
    lives: int = 0
    spawns: int = 0
    last_exit: LastExit | None = None
    handoff: Handoff | None = None
    warnings: tuple[str, ...] = ()
    repair: Repair | None = None
    spent: tuple[tuple[str, Rung], ...] = ()


def public(state: State) -> str:
    """The state under the name that the world knows (INTERFACE.md §4): what waits for its turn is starting."""
    match state:
        case Queued():
            return "starting"
        case Blocked(vain=vain) if vain:
            return "failed"
        case _:
            return state.kind


def life_of(state: State) -> Life | None:
    """The life that a state is about, if it has one."""
    match state:
        case Starting(life=life) | Ready(life=life) | Degraded(life=life) | Hung(life=life) | Stopping(life=life):
            return life
        case _:
            return None


def ready_seconds(child: Child, now: float) -> float:
    """How long the present life has been ready, in seconds."""
    life = life_of(child.state)
    if life is None:
        return 0.0
    return life.ready_s + (now - child.state.since if isinstance(child.state, Ready) else 0.0)


def enter(child: Child, state: State, now: float) -> Child:
    """The child in a new state, since now."""
    return replace(child, state=state, since=now)
