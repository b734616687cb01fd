import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.typed import clawsup, environment
from tests.control.in_memory import Fleet, entry, supervisor

RESTART: list[Mapping[str, object]] = [
    {"state": "stopping"},
    {"state": "starting", "pid": 101, "restarts": 1},
    {"state": "ready"},
]
STOP: list[Mapping[str, object]] = [{"state": "stopping", "wanted": False}, {"state": "stopped", "pid": None}]


def test_a_restart_tells_its_course_on_stderr_and_its_end_on_stdout(short_dir: Path) -> None:
    with supervisor(Fleet({"main": entry("main")}, {("restart", "main"): RESTART}), short_dir):
        done = clawsup(short_dir, "restart", "main")

    assert (done.returncode, done.stdout) == (0, "main is ready, pid 101\n")
    assert done.stderr.splitlines() == ["main is stopping", "main is starting", "main is ready"]


def test_a_stop_during_backoff_is_stopped(short_dir: Path) -> None:
    """Issue 2, item 9."""
    fleet = Fleet({"main": entry("main", "backoff")}, {("stop", "main"): [{"state": "stopped", "wanted": False}]})
    with supervisor(fleet, short_dir):
        done = clawsup(short_dir, "stop", "main", "--json")

    result = json.loads(done.stdout)
    assert (done.returncode, result["ok"], result["gateways"][0]["state"]) == (0, True, "stopped")


def test_a_start_that_fails_says_why_and_what_would_help(short_dir: Path) -> None:
    blocked = {"state": "blocked", "wanted": True, "reason": "port 18789 is held by pid 991", "mend": "stop it"}
    fleet = Fleet({"main": entry("main", "stopped", wanted=False)}, {("start", "main"): [blocked]})
    with supervisor(fleet, short_dir):
        done = clawsup(short_dir, "start", "main")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-2:] == [
        "clawsup: cannot start main: port 18789 is held by pid 991",
        "  mend: stop it",
    ]


@pytest.mark.parametrize(("words", "at_once"), [(["stop", "main"], False), (["stop", "main", "--now"], True)])
def test_now_skips_the_grace(short_dir: Path, words: list[str], *, at_once: bool) -> None:
    fleet = Fleet({"main": entry("main")}, {("stop", "main"): STOP})
    with supervisor(fleet, short_dir):
        assert clawsup(short_dir, *words).returncode == 0

    assert fleet.asked == [("stop", "main", at_once)]


def test_no_wait_only_asks(short_dir: Path) -> None:
    with supervisor(Fleet({"main": entry("main")}), short_dir):
        done = clawsup(short_dir, "stop", "main", "--no-wait")

    assert (done.returncode, done.stdout, done.stderr) == (0, "main: stop asked, ready so far\n", "")


def test_all_takes_every_gateway(short_dir: Path) -> None:
    fleet = Fleet({name: entry(name) for name in "ab"}, {("stop", name): STOP for name in "ab"})
    with supervisor(fleet, short_dir):
        done = clawsup(short_dir, "stop", "--all")

    assert (done.returncode, done.stdout) == (0, "a is stopped\nb is stopped\n")


def test_all_of_nothing_is_no_failure(short_dir: Path) -> None:
    with supervisor(Fleet({}), short_dir):
        done = clawsup(short_dir, "restart", "--all")

    assert (done.returncode, done.stdout) == (0, "nothing to restart\n")


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_a_name_that_nobody_has_changes_nothing_for_the_others(short_dir: Path, verb: str) -> None:
    fleet = Fleet({"main": entry("main")})
    with supervisor(fleet, short_dir):
        done = clawsup(short_dir, verb, "main", "mian", "--json")

    assert (done.returncode, done.stdout, fleet.asked) == (4, "", [])
    assert "no gateway is called mian; did you mean main?" in done.stderr


def test_a_supervisor_that_goes_away_leaves_the_outcome_open(short_dir: Path) -> None:
    command = [sys.executable, "-m", "supervisor", "--state-dir", str(short_dir), "restart", "main"]
    with supervisor(Fleet({"main": entry("main")}, {("restart", "main"): RESTART[:1]}), short_dir):
        waiting = subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == "main is stopping\n"
    out, said = waiting.communicate(timeout=20)

    assert (waiting.returncode, out) == (1, "")
    assert said.startswith("clawsup: the supervisor went away before the outcome was known")
