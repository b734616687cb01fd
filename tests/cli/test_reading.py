"""`logs` and `events`: they read files, so no supervisor is needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.host.journal import Journal
from tests.cli.typed import clawsup, environment


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    (tmp_path / "s" / "logs").mkdir(parents=True)
    (tmp_path / "s" / "logs" / "main.log").write_text("".join(f"line {number}\n" for number in range(100)))
    return tmp_path / "s"


@pytest.fixture
def conf_dir(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "quiet.toml").write_text("port = 1")
    return tmp_path / "conf.d"


def test_logs_are_the_last_lines(state_dir: Path, conf_dir: Path) -> None:
    done = clawsup(state_dir, "logs", "main", "-n", "2", conf_dir=conf_dir)

    assert (done.returncode, done.stdout, done.stderr) == (0, "line 98\nline 99\n", "")


def test_a_gateway_that_has_printed_nothing_has_no_lines(state_dir: Path, conf_dir: Path) -> None:
    done = clawsup(state_dir, "logs", "quiet", conf_dir=conf_dir)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["mian", "../logs/main", "/etc/passwd", ""])
def test_logs_of_a_name_that_nobody_has(state_dir: Path, conf_dir: Path, name: str) -> None:
    done = clawsup(state_dir, "logs", name, conf_dir=conf_dir)

    assert (done.returncode, done.stdout) == (4, "")
    assert "known: main, quiet" in done.stderr


@pytest.mark.parametrize("words", [["logs", "main"], ["events", "--json"]])
def test_following_goes_on_with_what_comes(state_dir: Path, conf_dir: Path, words: list[str]) -> None:
    journal = Journal(state_dir / "events.jsonl")
    journal.append("old", "main", {})
    places = ["--state-dir", str(state_dir), "--conf-dir", str(conf_dir)]
    command = [sys.executable, "-m", "supervisor", *places, *words, "-f", "-n", "1"]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        first = following.stdout.readline()
        journal.append("new", "main", {})
        with (state_dir / "logs" / "main.log").open("a") as log:
            log.write("new\n")
        second = following.stdout.readline()
        following.terminate()

    assert ("99" in first or "old" in first, "new" in second) == (True, True)


def test_events_are_told_to_people_and_to_programs(state_dir: Path) -> None:
    journal = Journal(state_dir / "events.jsonl")
    journal.append(
        "exited", "main", {"code": 1, "reason": "two words", "signal": None, "ran_s": 2.00049, "decision": {"much": 1}}
    )
    journal.append("supervisor_stopped", None, {})

    people = clawsup(state_dir, "events").stdout.splitlines()
    programs = [json.loads(line) for line in clawsup(state_dir, "events", "--json").stdout.splitlines()]

    assert people[0].split(" ", 1)[1] == "main: exited: code 1 after 2.0 s"
    assert people[1].split(" ", 1)[1] == "supervisor: stopped"
    assert [(event["seq"], event["event"]) for event in programs] == [(1, "exited"), (2, "supervisor_stopped")]


@pytest.mark.parametrize(("count", "numbers"), [("0", []), ("1", [3]), ("2", [2, 3]), ("9", [1, 2, 3])])
def test_the_last_events_are_as_many_as_were_asked_for(state_dir: Path, count: str, numbers: list[int]) -> None:
    journal = Journal(state_dir / "events.jsonl")
    for _ in range(3):
        journal.append("spawned", "main", {})

    lines = clawsup(state_dir, "events", "-n", count, "--json").stdout.splitlines()

    assert [json.loads(line)["seq"] for line in lines] == numbers


def test_a_state_dir_without_events_has_none_and_one_that_is_not_there_is_said_to_be(state_dir: Path) -> None:
    assert (clawsup(state_dir, "events").returncode, clawsup(state_dir / "absent", "events").returncode) == (0, 4)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("words", ["logs main", "events"])
def test_another_user_is_told_that_the_state_dir_is_closed(state_dir: Path, words: str) -> None:
    journal = Journal(state_dir / "events.jsonl")
    journal.append("old", "main", {})
    state_dir.chmod(0o700)
    # What is needed is imported before the user changes: that one may not be able to read these sources.
    script = (
        "import os, sys, supervisor.cli.events; from supervisor.cli import main; os.setuid(65534); sys.exit(main())"
    )
    command = [sys.executable, "-c", script, "--state-dir", str(state_dir), *words.split()]
    done = subprocess.run(command, env=environment(), cwd="/", capture_output=True, text=True, check=False)

    if "site-packages" in done.stderr:
        pytest.skip("another user cannot even list the directory of these sources")
    assert (done.returncode, done.stdout) == (1, "")
    assert "this user may not read it" in done.stderr
