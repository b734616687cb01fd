"""What is known about a gateway from outside, as events and actions carry it."""

from dataclasses import dataclass
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
class Roster:
    """All definitions that can be read, and for each that cannot, why not."""

    definitions: tuple[Definition, ...]
    broken: tuple[tuple[str, Obstacle], ...] = ()
