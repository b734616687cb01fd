"""Whether a launcher can be used, and who is to blame where it cannot."""

import os
import sys
from pathlib import Path

import pytest

from supervisor.brain.launchers import Launchers, Place, Short
from supervisor.policy.facts import Obstacle
from tests.policy.builders import definition
from tests.shortage import without_descriptors


@pytest.fixture
def launchers(tmp_path: Path) -> Launchers:
    return Launchers(Place(tmp_path, tmp_path, str(Path(sys.executable).parent), {"PATH": "/usr/bin:/bin"}))


async def test_a_user_that_cannot_be_looked_up_now_is_not_gone(launchers: Launchers) -> None:
    """RELIABILITY.md Q8: our shortage of descriptors blocks no gateway."""
    known = definition(user="nobody", command=("true",))
    with without_descriptors(os.getpid()):
        tried = await launchers.usable(known, {})
    assert isinstance(tried, Short)
    assert "Too many open files" in tried.reason
    gone = await launchers.usable(definition(user="no-such-user", command=("true",)), {})
    assert isinstance(gone, Obstacle)
    assert gone.reason == "no-such-user is no longer a user of this machine"


async def test_a_launcher_that_cannot_be_tried_now_is_not_broken(launchers: Launchers) -> None:
    with without_descriptors(os.getpid()):
        tried = await launchers.usable(definition(command=("true",)), {})
    assert isinstance(tried, Short)
    assert isinstance(await launchers.usable(definition(command=("true",)), {}), str)
