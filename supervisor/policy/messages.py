"""What can happen (events, past tense) and what can be done about it (actions, imperative).

A life is one spawn to one exit; lives of a child are numbered from 1, and an event about a life that is over is recognised
by its number. Instants are seconds on the monotonic clock.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

from supervisor.policy.definition import Definition


class Cause(StrEnum):
    """Why a life ended or may not begin (INTERFACE.md §5)."""

    ASKED = "asked"
    HANDOFF = "handoff"
    CRASH = "crash"
    CONFIG = "config"
    CONFLICT = "conflict"
    MISSING = "missing"
    HUNG = "hung"
    PARKED = "parked"
    CONTESTED = "contested"
    UPGRADED = "upgraded"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something outside that must change before a gateway can start.

    `key` identifies it: as long as a look at the machine gives the same key, nothing has changed. `reason` and `mend` are
    for the operator.
    """

    what: Literal["port", "lock", "launcher", "state_dir", "config", "definition", "contested"]
    cause: Cause
    reason: str
    mend: str
    key: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gateway said to one round of probes.

    `started`, `live` and `ready` are the verdicts of /startupz, /healthz and /readyz; None means not asked or not told.
    `detail` says why not. `progress` only ever grows while the process works (CPU ticks used and bytes written).
    """

    started: bool | None
    live: bool
    ready: bool | None
    detail: str = ""
    progress: int = 0


@dataclass(frozen=True, slots=True)
class Spawned:
    """The gateway process runs; `warnings` are ports of its family that others hold."""

    name: str
    life: int
    pid: int
    start_ticks: int
    warnings: tuple[str, ...] = ()
    kind: Literal["spawned"] = "spawned"


@dataclass(frozen=True, slots=True)
class SpawnRefused:
    """Nothing was started, because something stands in the way."""

    name: str
    life: int
    obstacle: Obstacle
    kind: Literal["spawn_refused"] = "spawn_refused"


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """Nothing was started, because the machine could not (no process slot, no descriptor, no memory): not the gateway's fault."""

    name: str
    life: int
    reason: str
    kind: Literal["spawn_failed"] = "spawn_failed"


@dataclass(frozen=True, slots=True)
class Adopted:
    """A new brain found the life that an earlier one had begun, and proved that it is the same process."""

    name: str
    life: int
    pid: int
    start_ticks: int
    kind: Literal["adopted"] = "adopted"


@dataclass(frozen=True, slots=True)
class Exited:
    """The life is over. `code` and `signal` are both None when nobody could learn the status.

    `obstacle` is what stood in the way of the gateway when we looked right after its exit (port or lock held by another, a
    launcher gone); `upgraded` says that the launcher's files changed under it; `config_key` identifies the config file as it
    was after the exit.
    """

    name: str
    life: int
    code: int | None
    signal: int | None
    obstacle: Obstacle | None = None
    upgraded: bool = False
    config_key: str = ""
    kind: Literal["exited"] = "exited"


@dataclass(frozen=True, slots=True)
class Probed:
    """One round of probes came back; every Probe action is answered by exactly one Probed."""

    name: str
    life: int
    answer: Answer
    kind: Literal["probed"] = "probed"


@dataclass(frozen=True, slots=True)
class ObstacleChanged:
    """What a blocked child waits for has changed: another obstacle stands there now, or none."""

    name: str
    obstacle: Obstacle | None
    kind: Literal["obstacle_changed"] = "obstacle_changed"


@dataclass(frozen=True, slots=True)
class HandoffAnswered:
    """`restart-handoff consume` said whether the exit 0 of that life was a restart the gateway asked for; None: it could not tell."""

    name: str
    life: int
    accepted: bool | None
    detail: str = ""
    kind: Literal["handoff_answered"] = "handoff_answered"


@dataclass(frozen=True, slots=True)
class StartAsked:
    """The operator wants it up."""

    name: str
    kind: Literal["start_asked"] = "start_asked"


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The operator wants it down; `at_once` skips the grace."""

    name: str
    at_once: bool = False
    kind: Literal["stop_asked"] = "stop_asked"


@dataclass(frozen=True, slots=True)
class RestartAsked:
    """The operator wants a new life."""

    name: str
    kind: Literal["restart_asked"] = "restart_asked"


@dataclass(frozen=True, slots=True)
class Booted:
    """A brain begins. `first` is true for the first one under its keeper: then the rescue goes first and `enabled` counts again."""

    first: bool
    kind: Literal["booted"] = "booted"


@dataclass(frozen=True, slots=True)
class Roster:
    """All definitions that can be read, and for each that cannot, why not."""

    definitions: tuple[Definition, ...]
    broken: tuple[tuple[str, Obstacle], ...] = ()


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The definitions were read anew."""

    roster: Roster = field(default_factory=lambda: Roster(()))
    kind: Literal["reloaded"] = "reloaded"


@dataclass(frozen=True, slots=True)
class ShutdownAsked:
    """Everything shall stop and the supervisor end; `at_once` skips the graces."""

    at_once: bool = False
    kind: Literal["shutdown_asked"] = "shutdown_asked"


@dataclass(frozen=True, slots=True)
class Ticked:
    """A deadline that some state carries may have passed."""

    kind: Literal["ticked"] = "ticked"


ChildEvent: TypeAlias = (
    Spawned
    | SpawnRefused
    | SpawnFailed
    | Adopted
    | Exited
    | Probed
    | ObstacleChanged
    | HandoffAnswered
    | StartAsked
    | StopAsked
    | RestartAsked
)
FleetEvent: TypeAlias = Booted | Reloaded | ShutdownAsked | Ticked
Event: TypeAlias = ChildEvent | FleetEvent


@dataclass(frozen=True, slots=True)
class Spawn:
    """Look whether anything stands in the way, else start the gateway."""

    name: str
    life: int
    kind: Literal["spawn"] = "spawn"


@dataclass(frozen=True, slots=True)
class Terminate:
    """Send SIGTERM (and SIGCONT, so that a stopped process can hear it) to the gateway's own process."""

    name: str
    life: int
    kind: Literal["terminate"] = "terminate"


@dataclass(frozen=True, slots=True)
class Kill:
    """Send SIGKILL to the gateway and to everything that grew from it."""

    name: str
    life: int
    kind: Literal["kill"] = "kill"


@dataclass(frozen=True, slots=True)
class Sweep:
    """Kill what a finished life left behind."""

    name: str
    life: int
    kind: Literal["sweep"] = "sweep"


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask the gateway at the instant `at`; `phase` says whether its start-up or its health is in question."""

    name: str
    life: int
    phase: Literal["start", "health"]
    at: float
    kind: Literal["probe"] = "probe"


@dataclass(frozen=True, slots=True)
class Watch:
    """Look again and again whether the obstacle is still there; tell when it is not, or is another."""

    name: str
    obstacle: Obstacle
    kind: Literal["watch"] = "watch"


@dataclass(frozen=True, slots=True)
class Unwatch:
    """Stop looking."""

    name: str
    kind: Literal["unwatch"] = "unwatch"


@dataclass(frozen=True, slots=True)
class ConsumeHandoff:
    """Ask OpenClaw whether the exit 0 of that life, whose process was `pid`, was a restart it asked for."""

    name: str
    life: int
    pid: int
    kind: Literal["consume_handoff"] = "consume_handoff"


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the operator something that changes nothing: an event that should have been impossible."""

    name: str
    text: str
    kind: Literal["report"] = "report"


@dataclass(frozen=True, slots=True)
class Finish:
    """Everything is down: end the brain."""

    kind: Literal["finish"] = "finish"


Action: TypeAlias = Spawn | Terminate | Kill | Sweep | Probe | Watch | Unwatch | ConsumeHandoff | Report | Finish
