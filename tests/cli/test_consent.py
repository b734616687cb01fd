"""A planned restart waits for a verdict on the config as it is now, and does not happen onto a bad one (issue 7)."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.typed import clawsup
from tests.control.in_memory import Fleet, entry, supervisor

WHY = 'its config would not start it again: Unrecognized key: "bogus" (--force restarts it all the same)'
RESTART: list[Mapping[str, object]] = [{"state": "stopping"}, {"state": "ready", "pid": 101, "restarts": 1}]


def fleet(**consents: list[str | None]) -> Fleet:
    entries = {name: entry(name) for name in ("main", "other")}
    return Fleet(entries, {("restart", name): RESTART for name in entries}, consents=consents)


@pytest.mark.parametrize("flags", [(), ("--no-wait",)])
def test_a_restart_onto_a_bad_config_is_refused_and_not_even_asked_for(short_dir: Path, flags: tuple[str, ...]) -> None:
    """Also where nobody waits for its end: the verdict is waited for."""
    present = fleet(main=[None, None, WHY])
    with supervisor(present, short_dir):
        done = clawsup(short_dir, "restart", "main", *flags)

    assert done.returncode == 1
    assert WHY in done.stderr
    assert present.asked == []


def test_a_verdict_that_takes_its_time_is_waited_for(short_dir: Path) -> None:
    present = fleet(main=[None] * 5)
    with supervisor(present, short_dir):
        done = clawsup(short_dir, "restart", "main")

    assert (done.returncode, done.stdout) == (0, "main is ready, pid 101\n")
    assert present.consents == {"main": []}


def test_force_asks_for_no_verdict(short_dir: Path) -> None:
    present = fleet(main=[WHY])
    with supervisor(present, short_dir):
        done = clawsup(short_dir, "restart", "main", "--force")

    assert done.returncode == 0
    assert present.asked == [("restart", "main", False)]
    assert present.consents == {"main": [WHY]}


def test_one_that_is_refused_does_not_keep_another_from_its_restart(short_dir: Path) -> None:
    present = fleet(main=[None, WHY])
    with supervisor(present, short_dir):
        done = clawsup(short_dir, "restart", "--all")

    assert done.returncode == 1
    assert "other is ready" in done.stdout
    assert WHY in done.stderr
    assert present.asked == [("restart", "other", False)]


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_only_a_restart_needs_a_verdict(short_dir: Path, verb: str) -> None:
    present = fleet(main=[WHY])
    with supervisor(present, short_dir):
        clawsup(short_dir, verb, "main", "--no-wait")

    assert present.asked == [(verb, "main", False)]
