"""`why`: what went wrong last, in at most ten lines, with and without a supervisor."""

import json
from pathlib import Path

import pytest

from supervisor.host.incidents import Incidents
from supervisor.host.journal import Journal
from tests.cli.typed import clawsup
from tests.control.in_memory import Fleet, entry, supervisor

EXIT = {"code": 78, "signal": None, "cause": "config", "at": "2026-01-01T00:00:00Z", "ran_s": 2.1}
TAIL = {"log_tail": [f"line {number}" for number in range(10)]}


def test_a_blocked_gateway_tells_cause_exit_last_lines_mend_and_next(short_dir: Path) -> None:
    blocked = entry("main", "blocked", reason="OpenClaw refuses it", mend="edit the file", last_exit=EXIT)
    with supervisor(Fleet({"main": blocked}, more=TAIL), short_dir):
        done = clawsup(short_dir, "why", "main")
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert len(lines) <= 10
    assert lines[0].startswith("main: blocked for")
    for text in ("OpenClaw refuses it", "exit 78 after 2.1 s (config)", "line 9", "edit the file", "starts by itself"):
        assert text in done.stdout
    assert "line 5" not in done.stdout


@pytest.mark.parametrize(
    "cause", ["asked", "handoff", "upgraded", "crash", "config", "conflict", "missing", "hung", "parked", "contested"]
)
def test_every_cause_is_said_in_words(short_dir: Path, cause: str) -> None:
    fallen = entry("main", "backoff", last_exit=EXIT | {"cause": cause})
    with supervisor(Fleet({"main": fallen}), short_dir):
        shown = clawsup(short_dir, "why", "main").stdout
    assert "ago: " in shown


@pytest.mark.parametrize(
    ("state", "mend", "command"),
    [
        ("backoff", None, "clawsup start main"),
        ("failed", None, "clawsup incidents show {id}"),
        ("ready", None, "clawsup incidents show {id}"),
        ("degraded", None, "clawsup incidents show {id}"),
        ("hung", None, "clawsup incidents show {id}"),
        ("blocked", "stop that one", "clawsup incidents show {id}"),
        ("blocked", "put it back, then: clawsup start main", "clawsup start main"),
        ("blocked", "see clawsup logs main", "clawsup incidents show {id}"),
    ],
)
def test_the_last_line_ends_with_the_one_next_command(
    short_dir: Path, state: str, mend: str | None, command: str
) -> None:
    exits = EXIT | {"at": "2020-01-01T00:00:00Z", "cause": "crash", "code": 1}
    ident = Incidents(short_dir / "incidents").open("main", {"cause": "crash", "tried": [{"rung": "x"}]}, {})
    fallen = entry("main", state, reason="it fell", mend=mend, last_exit=exits)
    with supervisor(Fleet({"main": fallen}, more=TAIL), short_dir):
        lines = clawsup(short_dir, "why", "main").stdout.splitlines()
    assert len(lines) <= 10
    assert lines[-1].startswith("  next")
    assert lines[-1].endswith(f": {command.format(id=ident)}")
    assert lines[-1].count("clawsup") == 1


def test_warnings_leave_why_within_its_ten_lines(short_dir: Path) -> None:
    steps = [{"rung": "rollback", "detail": "in place again"}]
    account = {"cause": "crash", "tried": steps, "ended": "mended: it started"}
    Incidents(short_dir / "incidents").open("main", account, {})
    warnings = [f"port {port} is held by pid 5" for port in range(18800, 18809)]
    exits = EXIT | {"at": "2020-01-01T00:00:00Z"}
    shown = entry("main", "degraded", reason="telegram", mend="see to it", warnings=warnings, last_exit=exits)
    with supervisor(Fleet({"main": shown}, more=TAIL), short_dir):
        lines = clawsup(short_dir, "why", "main").stdout.splitlines()
    assert len(lines) <= 10
    for text in ("telegram", "port 18800", "rollback", "mended", "line 9", "see to it"):
        assert text in "\n".join(lines)
    assert lines[-1].startswith("  next")


def test_a_refused_config_leads_to_its_difference_from_the_good_one(short_dir: Path) -> None:
    account = {"cause": "config", "config": {"path": "x", "key": "k", "good": "g"}}
    Incidents(short_dir / "incidents").open("main", account, {})
    refused = entry("main", "blocked", mend="see clawsup logs main, then edit the file", last_exit=EXIT)
    with supervisor(Fleet({"main": refused}), short_dir):
        lines = clawsup(short_dir, "why", "main").stdout.splitlines()
    assert lines[-1] == "  next       starts by itself once that is mended; more: clawsup config main diff"


def test_a_gateway_with_nothing_behind_it_says_so(short_dir: Path) -> None:
    with supervisor(Fleet({"main": entry("main")}, more=TAIL), short_dir):
        assert clawsup(short_dir, "why", "main").stdout.splitlines()[1:] == [
            "  nothing went wrong that is still remembered"
        ]


def test_json_has_the_same_facts(short_dir: Path) -> None:
    blocked = entry("main", "blocked", reason="x", mend="y", last_exit=EXIT)
    with supervisor(Fleet({"main": blocked}, more=TAIL), short_dir):
        document = json.loads(clawsup(short_dir, "why", "main", "--json").stdout)
    assert (document["schema"], document["reason"], document["mend"]) == (1, "x", "y")
    assert document["last_exit"]["cause"] == "config"
    assert document["next"]


def test_without_a_supervisor_the_journal_and_the_log_tell(short_dir: Path) -> None:
    (short_dir / "s/logs").mkdir(parents=True)
    journal = Journal(short_dir / "s/events.jsonl")
    journal.append("spawned", "main", {"life": 1, "pid": 5})
    journal.append("exited", "main", {"life": 1, "code": 78, "signal": None, "upgraded": False})
    obstacle = {
        "what": "config",
        "cause": "config",
        "reason": "OpenClaw refuses it",
        "mend": "edit the file",
        "key": "",
    }
    journal.append("blocked", "main", {"obstacle": obstacle, "until": None})
    (short_dir / "s/logs/main.log").write_text("Unrecognized key\n")
    shown = clawsup(short_dir / "s", "why", "main", conf_dir=short_dir).stdout
    for text in (
        "main: unsupervised",
        "OpenClaw refuses it",
        "exit 78",
        "(config)",
        "Unrecognized key",
        "edit the file",
    ):
        assert text in shown
    assert "clawsup up" in shown.splitlines()[-1]


def test_trouble_that_is_over_is_not_told(short_dir: Path) -> None:
    (short_dir / "s/logs").mkdir(parents=True)
    journal = Journal(short_dir / "s/events.jsonl")
    journal.append("blocked", "main", {"obstacle": {"reason": "the port was taken", "mend": "x"}, "until": None})
    journal.append("spawned", "main", {"life": 1, "pid": 5})
    journal.append("exited", "main", {"life": 1, "code": 0, "signal": None, "upgraded": False})
    shown = clawsup(short_dir / "s", "why", "main", conf_dir=short_dir).stdout
    assert "the port was taken" not in shown
    assert "it was stopped as asked" in shown


def test_a_name_that_nobody_has(short_dir: Path) -> None:
    assert clawsup(short_dir / "s", "why", "x", conf_dir=short_dir).returncode == 4
    with supervisor(Fleet({"main": entry("main")}), short_dir):
        assert clawsup(short_dir, "why", "x").returncode == 4
