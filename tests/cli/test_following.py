"""`logs` of several gateways and since when, `events --after`, `status --watch`."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import pytest

from supervisor.host.journal import Journal
from tests.cli.typed import clawsup, environment
from tests.control.in_memory import Fleet, entry, supervisor


def stamp(seconds_ago: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat(timespec="milliseconds")


@pytest.fixture
def state_dir(short_dir: Path) -> Path:
    """Two gateways that took turns at printing; main's second word has a stack trace below it."""
    (short_dir / "logs").mkdir()
    main = f"{stamp(7200)} [gateway] one\n{stamp(600)} [gateway] three\n    at somewhere\n{stamp(60)} [gateway] five\n"
    rescue = f'{stamp(3600)} [gateway] two\n{{"time":"{stamp(300)}","message":"four"}}\n'
    (short_dir / "logs/main.log").write_text(main)
    (short_dir / "logs/rescue.log").write_text(rescue)
    return short_dir


def shown(state_dir: Path, *words: str) -> list[str]:
    """The last word of every line."""
    done = clawsup(state_dir, "logs", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.rsplit(" ", 1)[-1] for line in done.stdout.splitlines()]


@contextmanager
def typing(state_dir: Path, *words: str) -> Iterator[tuple["subprocess.Popen[str]", IO[str]]]:
    """A verb that goes on until Ctrl-C."""
    command = [sys.executable, "-m", "supervisor", "--state-dir", str(state_dir), *words]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield child, child.stdout
        finally:
            child.send_signal(signal.SIGINT)


def test_several_are_told_in_the_order_of_time_each_with_its_name(state_dir: Path) -> None:
    done = clawsup(state_dir, "logs", "main", "rescue")
    names = [line.split(" | ")[0] for line in done.stdout.splitlines()]
    assert names == ["main  ", "rescue", "main  ", "main  ", "rescue", "main  "]


@pytest.mark.parametrize(
    ("since", "expected"),
    [("20m", ["three", "somewhere", "five"]), ("100s", ["five"]), ("1d", ["one", "three", "somewhere", "five"])],
)
def test_since_leaves_out_what_is_older_and_keeps_a_trace_with_its_line(
    state_dir: Path, since: str, expected: list[str]
) -> None:
    assert shown(state_dir, "main", "--since", since) == expected


def test_since_takes_a_time_too_and_n_still_limits(state_dir: Path) -> None:
    at = (datetime.now(UTC) - timedelta(minutes=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert shown(state_dir, "main", "--since", at) == ["three", "somewhere", "five"]
    assert shown(state_dir, "main", "--since", at, "-n", "1") == ["five"]


def test_since_looks_as_far_back_as_it_must(state_dir: Path) -> None:
    lines = "".join(f"{stamp(3000 - number / 10)} [gateway] {number}\n" for number in range(5000))
    (state_dir / "logs/main.log").write_text(f"{stamp(9000)} [gateway] old\n{lines}")
    told = shown(state_dir, "main", "--since", "1h")
    assert (told[0], len(told)) == ("0", 5000)


@pytest.mark.parametrize("since", ["yesterday", "10", "-5m", ""])
def test_a_time_that_is_none_is_refused(state_dir: Path, since: str) -> None:
    assert clawsup(state_dir, "logs", "main", f"--since={since}").returncode == 2


def test_following_several_tells_whose_each_line_is(state_dir: Path) -> None:
    with typing(state_dir, "logs", "main", "rescue", "-f", "-n", "1") as (_, output):
        assert {output.readline().partition(" ")[0] for _ in range(2)} == {"main", "rescue"}
        for name in ("rescue", "main", "rescue"):
            with (state_dir / f"logs/{name}.log").open("a") as log:
                log.write(f"hello of {name}\n")
            assert output.readline() == f"{name:<6} | hello of {name}\n"


def test_following_since_begins_there(state_dir: Path) -> None:
    with typing(state_dir, "logs", "main", "-f", "--since", "100s") as (_, output):
        assert output.readline().endswith("five\n")
        with (state_dir / "logs/main.log").open("a") as log:
            log.write(f"{stamp(0)} [gateway] six\n")
        assert output.readline().endswith("six\n")


def test_events_go_on_after_a_number(state_dir: Path) -> None:
    journal = Journal(state_dir / "events.jsonl")
    for name in "abcd":
        journal.append("ready", name, {})
    told = [
        json.loads(line)["seq"] for line in clawsup(state_dir, "events", "--json", "--after", "2").stdout.splitlines()
    ]
    assert told == [3, 4]
    last = clawsup(state_dir, "events", "--json", "--after", "1", "-n", "1").stdout
    assert json.loads(last)["seq"] == 4
    with typing(state_dir, "events", "-f", "--json", "--after", "3") as (_, output):
        assert json.loads(output.readline())["seq"] == 4
        journal.append("ready", "e", {})
        assert json.loads(output.readline())["seq"] == 5


def test_watch_prints_each_change_until_ctrl_c(short_dir: Path) -> None:
    fleet = Fleet({"main": entry("main", "starting")})
    with supervisor(fleet, short_dir), typing(short_dir, "status", "--watch", "--json") as (child, output):
        first = json.loads(output.readline())
        fleet.entries["main"]["state"] = "ready"
        second = json.loads(output.readline())
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 130
    assert [document["gateways"][0]["state"] for document in (first, second)] == ["starting", "ready"]


def test_watching_nobody_ends_at_once(short_dir: Path) -> None:
    assert clawsup(short_dir, "status", "--watch").returncode == 4


@pytest.mark.parametrize("since", ["99999999999d", "9999999d", "0001-01-01T00:00+10:00"])
def test_a_time_before_all_times_is_refused(state_dir: Path, since: str) -> None:
    done = clawsup(state_dir, "logs", "main", "--since", since)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no time" in done.stderr


@pytest.mark.parametrize("head", ["2026-13-45T99:99:99Z", "2016-12-31T23:59:60Z", "0001-01-01T00:00:00+10:00"])
def test_a_line_that_only_looks_like_a_time_is_shown_like_any_other(state_dir: Path, head: str) -> None:
    with (state_dir / "logs" / "main.log").open("a") as log:
        log.write(f"{head} odd\n")
    done = clawsup(state_dir, "logs", "main", "-n", "1")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{head} odd\n", "")
