"""The brain dies at every single failpoint that the life of a supervisor passes, and nothing comes of it."""

import itertools
import os
from pathlib import Path

import pytest

from supervisor.host import cgroups
from tests.chaos.builds import build
from tests.chaos.failpoints import Failpoints, names
from tests.chaos.rig import QUICK, Rig
from tests.chaos.sweep import Sweep, learn, targets
from tests.ports import Ports

# Most of a death is waiting for others.
AT_ONCE = 3
# Each point in each stage of a life, not in one alone: three times as long.
EVERY = os.environ.get("CLAWSUP_FAILPOINTS_EVERY") == "1"
# Without a cgroup of one's own there is nothing to die between.
OF_CGROUPS = {f"host.cgroups.{name}" for name in ("_enter", "_step", "end", "_remove")} | {
    "brain.lives.Lives._sweep_leaf"
}


@pytest.mark.timeout(3600 if EVERY else 1200)
def test_a_brain_that_dies_between_any_two_system_calls_costs_nothing(short_dir: Path, ports: Ports) -> None:
    """R23 to R27: one gateway and one lock, all lines once, a journal that replays, a config that is one or the other."""
    made = build(short_dir / "build", QUICK, Failpoints(short_dir / "unused"))
    numbers = itertools.count(1)
    first = Rig(short_dir / "learn", ports, made)
    try:
        visits = learn(first)
    finally:
        first.clear()
    passed = {point.rpartition(":")[0] for stage in visits.values() for point in stage}
    assert set(names()) - passed <= (OF_CGROUPS if cgroups.ground() is None else set())

    chosen = targets(visits, every=EVERY)
    sweep = Sweep(lambda: Rig(short_dir / f"r{next(numbers)}", ports, made), chosen, visits)
    sweep.run(AT_ONCE)

    assert not sweep.wrong, "\n\n".join(sweep.wrong)
    assert len(sweep.hit) + len(sweep.missed) == len(chosen)
    # How often a thing is done in a stage is not always the same; that it is done at all is.
    assert not [target for target in sweep.missed if target.visit == 1]
    assert len(sweep.missed) < len(chosen) / 20, sweep.missed
