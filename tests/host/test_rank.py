"""Who is first when memory or CPU are short (R25, R28): the rule of `processes.Plan.first`, by what the kernel says of each child."""

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

# A supervisor that starts the first and another, and tells what came of it; nobody's, with the limit and score that it is given.
STARTS = """
import ctypes, json, os, resource, sys
from supervisor.host import processes
limit, score, uid = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NICE, (limit, limit))
open("/proc/self/oom_score_adj", "w").write(str(score))
if uid != os.getuid():
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
    ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE, as it is after an exec
found = []
for first in (True, False):
    process = processes.spawn(processes.Plan(["/bin/sleep", "60"], {}, "/", 2, first=first))
    autogroup = f"/proc/{process.pid}/autogroup"
    found.append([
        int(open(f"/proc/{process.pid}/oom_score_adj").read()),
        os.getpriority(os.PRIO_PROCESS, process.pid),
        open(autogroup).read() if os.path.exists(autogroup) else "",
    ])
    os.kill(process.pid, 9)
print(json.dumps(found))
"""
NOBODY = 65534
CAN_RAISE = bool(int(re.findall(r"CapEff:\s*(\w+)", Path("/proc/self/status").read_text())[0], 16) >> 24 & 1)


class Rank(NamedTuple):
    """What the kernel says of one process; the group's nice value as /proc shows it."""

    oom_score: int
    nice: int
    autogroup: str


def ranks(*, limit: int, score: int, uid: int) -> tuple[Rank, Rank]:
    """The first and another, as started by a supervisor of that user with that RLIMIT_NICE and oom_score_adj."""
    if limit and not CAN_RAISE:
        pytest.skip("this root has no CAP_SYS_RESOURCE, and cannot raise a limit")
    argv = [sys.executable, "-c", STARTS, str(limit), str(score), str(uid)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2], timeout=60)
    assert done.returncode == 0, done.stderr
    first, other = json.loads(done.stdout)
    return Rank(*first), Rank(*other)


def grouped(autogroup: str) -> int | None:
    """The nice value of a session's group; None where the kernel has no such groups."""
    found = re.search(r"nice (-?\d+)", autogroup)
    return int(found[1]) if found else None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give nice levels and become somebody else")
def test_root_puts_the_first_before_all_others() -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    first, other = ranks(limit=0, score=0, uid=0)
    assert (first.oom_score, other.oom_score) == (0, 200)
    assert (first.nice, other.nice) == (ours - 5, ours)
    assert grouped(first.autogroup) in {None, ours - 5}
    assert grouped(other.autogroup) in {None, 0}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
@pytest.mark.parametrize(("limit", "gain"), [(0, 0), (25, 5)])
def test_another_user_puts_it_as_far_before_them_as_its_limit_lets_it(limit: int, gain: int) -> None:
    """RLIMIT_NICE 25 is systemd's LimitNICE=-5."""
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    first, other = ranks(limit=limit if ours == 0 else 20 - ours + gain, score=0, uid=NOBODY)
    assert (first.oom_score, other.oom_score) == (0, 200)
    assert (first.nice, other.nice) == (ours - gain, ours)


def test_a_score_that_may_not_be_lowered_is_kept_and_the_others_still_have_more() -> None:
    """As in a user's own systemd, whose score is 100 or more."""
    uid = NOBODY if os.geteuid() == 0 else os.geteuid()
    limit = resource.getrlimit(resource.RLIMIT_NICE)[0]
    first, other = ranks(limit=limit, score=900, uid=uid)
    assert first.oom_score in {0, 900}
    assert other.oom_score == min(1000, first.oom_score + 200)
