"""What a run runs: which product, with which gateways, under which faults."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.builds import Edit
from tests.chaos.schedule import Fault
from tests.e2e.world import World

# The same product with smaller files: every run rotates, and nothing is thrown away for its age.
SMALL_FILES = (
    Edit(
        "host/journal/writing.py",
        "max_bytes: int = 8 * MIB,\n        keep: int = 5,",
        "max_bytes: int = MIB // 2,\n        keep: int = 10**6,",
    ),
    Edit(
        "host/logs/pump.py",
        "max_bytes: int = 10 * MIB,\n        keep: int = 5,",
        "max_bytes: int = 40_000,\n        keep: int = 10**6,",
    ),
    Edit("host/logs/pump.py", "compress_after_s: float = 30.0", "compress_after_s: float = 1.0"),
)
SECTIONS: Mapping[str, Mapping[str, Any]] = {
    "start": {"timeout": 20},
    "stop": {"timeout": 4},
    "probe": {"interval": 0.5, "timeout": 1, "failures": 3},
    "restart": {"delay": 0.1, "cap": 2, "stable": 3, "burst": 0},
}
STEPS: Sequence[Sequence[str]] = (["rollback"], ["rollback", "doctor"], [], ["rollback"])
HELPERS = ("setsid", "daemon")
LINES_A_SECOND = 60


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run; `edits` make it another product, `only` leaves out all other kinds of faults, `gap_s` lies between two.

    With a `script`, that is all that is done; `until` says which violations leave nothing more to be learnt.
    """

    seed: int
    minutes: float
    gateways: int = 4
    disk_full: bool = True
    failpoints: float = 0.0
    edits: Sequence[Edit] = ()
    only: Sequence[str] = ()
    gap_s: float = 0.7
    script: Sequence[Sequence[Fault]] = ()
    until: frozenset[str] = frozenset()
    keep: Path | None = None
    tell: Callable[[str], None] = print


def define(world: World, index: int, name: str) -> None:
    """Make a gateway with small numbers, which prints much, leaves a process behind and, mostly, may have its config rolled back."""
    env = {
        "FAKE_SHADOW": "1",
        "FAKE_CHATTER": str(LINES_A_SECOND),
        "FAKE_HELPER": HELPERS[index % len(HELPERS)],
        "FAKE_START_S": "0.1",
    }
    role = {"rescue": "rescue", "main": "main"}.get(name, "extra")
    sections = {**SECTIONS, "repair": {"steps": list(STEPS[index % len(STEPS)])}}
    world.define(name, sections, port=12000 + index * 120, role=role, env=env)
