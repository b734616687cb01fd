"""What can happen, in the past tense.

A life is one spawn to one exit; lives of a child are numbered from 1, and an event about a life that is over is recognised
by its number. Instants are seconds on the monotonic clock.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from supervisor.openclaw.exits import Heard
from supervisor.policy.facts import Answer, Guarded, Obstacle, Roster, Rung, RungOutcome


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
    guarded: Guarded = field(default_factory=Guarded)
    kind: Literal["spawn_refused"] = "spawn_refused"


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """Nothing was started, because the machine could not (no process slot, no descriptor, no memory): not the gateway's fault.

    `cut_short`: because the brain that was at it died.
    """

    name: str
    life: int
    reason: str
    cut_short: bool = False
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

    `obstacle` is what stood in the way of the gateway when we looked right after its exit (port or lock held by another); one
    that had started, and does not refuse its config, had both, and is not looked at. `upgraded` says of an exit 1 that the
    launcher's files changed under it; `config_key` identifies the config file as it was after the exit; `heard` is what it
    said before an exit 0; `rival` is a unit that is this gateway too, looked for where a SIGTERM was not ours.
    """

    name: str
    life: int
    code: int | None
    signal: int | None
    obstacle: Obstacle | None = None
    upgraded: bool = False
    config_key: str = ""
    guarded: Guarded = field(default_factory=Guarded)
    heard: Heard = ""
    rival: str = ""
    kind: Literal["exited"] = "exited"


@dataclass(frozen=True, slots=True)
class Probed:
    """One round of probes came back; every Probe action is answered by exactly one Probed.

    `config_key` is the content that the gateway runs on: what it booted on, or a later one that is valid; "" where that is not
    known.
    """

    name: str
    life: int
    answer: Answer
    config_key: str = ""
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
class RepairStepped:
    """A rung of the ladder has come to an end; `key` is the content that is in place now."""

    name: str
    rung: Rung
    outcome: RungOutcome
    detail: str
    key: str
    kind: Literal["repair_step"] = "repair_step"


@dataclass(frozen=True, slots=True)
class RepairAsked:
    """The operator wants the ladder climbed on the content that is in place now, `config_key`."""

    name: str
    config_key: str
    guarded: Guarded = field(default_factory=Guarded)
    kind: Literal["repair_asked"] = "repair_asked"


@dataclass(frozen=True, slots=True)
class ConfigPromoted:
    """A content is kept as good: `booted` when the gateway had started on it, `hot` when it was only reloaded into it."""

    name: str
    life: int
    key: str
    how: Literal["booted", "hot"]
    kind: Literal["config_promoted"] = "config_promoted"


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
class Reloaded:
    """The definitions were read anew; `prune` stops gateways whose definition is gone.

    `unfit` are the living gateways whose config has become invalid: none of them is restarted for this.
    """

    roster: Roster = field(default_factory=lambda: Roster(()))
    prune: bool = False
    unfit: tuple[str, ...] = ()
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
    | RepairStepped
    | RepairAsked
    | ConfigPromoted
    | StartAsked
    | StopAsked
    | RestartAsked
)
FleetEvent: TypeAlias = Booted | Reloaded | ShutdownAsked | Ticked
Event: TypeAlias = ChildEvent | FleetEvent
