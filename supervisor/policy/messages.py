"""What can happen (events, past tense) and what can be done about it (actions, imperative).

A life is one spawn to one exit; lives of a child are numbered from 1, and an event about a life that is over is recognised
by its number. Instants are seconds on the monotonic clock.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

from supervisor.policy.definition import Definition
from supervisor.policy.discount import Excuse


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
    `detail` says why not. `progress` only ever grows while the process works (CPU ticks used and bytes written). `refused`: the
    port takes no connection; `excuse`: why its silence may say nothing about the gateway (policy/discount.py).
    """

    started: bool | None
    live: bool
    ready: bool | None
    detail: str = ""
    progress: int = 0
    refused: bool = False
    excuse: Excuse = ""


Rung: TypeAlias = Literal["rollback", "rollback_booted", "doctor", "restore", "rescue"]
"""One attempt at a refused config; `restore` puts the refused one back when all was in vain."""

RungOutcome: TypeAlias = Literal["start", "useless", "unavailable", "changed", "done"]
"""What a rung came to: worth a start, no help, not to be had, overtaken by somebody's edit, or done (a `restore`)."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the config guard knows when a gateway has refused its config; keys are those of contents (openclaw/content.py).

    `proven`: this very OpenClaw has run on the refused content; `good` and `booted` are the newest that were found good, and
    the newest good one that was ever started on; `other` is what the gateway said that shows that it was about something else;
    `moved` says that the file changed while the gateway started, so that it is not known what was refused.
    """

    proven: bool = False
    good: str = ""
    booted: str = ""
    other: str = ""
    moved: bool = False


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
    guarded: Guarded = Guarded()
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
    guarded: Guarded = Guarded()
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
    guarded: Guarded = Guarded()
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
class Roster:
    """All definitions that can be read, and for each that cannot, why not."""

    definitions: tuple[Definition, ...]
    broken: tuple[tuple[str, Obstacle], ...] = ()


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
class RepairStep:
    """Climb one rung: put the content `to` in place, or let somebody try.

    `broken` is what was refused, `left` what should be in place now; `again` says that an earlier brain may have begun it.
    """

    name: str
    rung: Rung
    broken: str
    left: str
    to: str = ""
    again: bool = False
    kind: Literal["repair_step"] = "repair_step"


@dataclass(frozen=True, slots=True)
class CancelRepair:
    """Give up the rung that is under way, and put back what it found."""

    name: str
    kind: Literal["cancel_repair"] = "cancel_repair"


@dataclass(frozen=True, slots=True)
class RepairEnd:
    """The ladder is done with; `mended`: a gateway has started."""

    name: str
    mended: bool
    kind: Literal["repair_end"] = "repair_end"


@dataclass(frozen=True, slots=True)
class Promote:
    """Keep a content as good."""

    name: str
    life: int
    key: str
    how: Literal["booted", "hot"]
    kind: Literal["promote"] = "promote"


@dataclass(frozen=True, slots=True)
class Evidence:
    """See what the process of a life is doing, before it is ended."""

    name: str
    life: int
    kind: Literal["evidence"] = "evidence"


@dataclass(frozen=True, slots=True)
class Incident:
    """Write down how a life ended; `why` where more is known than its exit status."""

    name: str
    life: int
    cause: Cause
    code: int | None
    signal: int | None
    ran_s: float
    why: str = ""
    kind: Literal["incident"] = "incident"


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


Action: TypeAlias = (
    Spawn
    | Terminate
    | Kill
    | Sweep
    | Probe
    | Watch
    | Unwatch
    | ConsumeHandoff
    | RepairStep
    | CancelRepair
    | RepairEnd
    | Promote
    | Evidence
    | Incident
    | Report
    | Finish
)
