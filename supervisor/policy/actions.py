"""What can be done about an event, in the imperative; instants are seconds on the monotonic clock."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from supervisor.policy.facts import Cause, Obstacle, Rung


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
