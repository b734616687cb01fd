import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli.status import verdict
from supervisor.cli.words import ending, instant, printable, span
from tests.cli.typed import clawsup, environment
from tests.control.in_memory import Fleet, entry, supervisor

EXIT = {"code": 1, "signal": None, "cause": "crash", "at": "2026-01-01T00:00:00Z", "ran_s": 2.1}


def ahead(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown(fleet: Fleet, state_dir: Path, *words: str) -> str:
    with supervisor(fleet, state_dir):
        return clawsup(state_dir, "status", *words).stdout


@pytest.mark.parametrize(
    ("entries", "degraded", "code"),
    [
        ([entry("a"), entry("b")], [], 0),
        ([entry("a"), entry("b", "stopped", wanted=False)], [], 0),
        ([entry("a"), entry("b", "degraded")], [], 5),
        ([entry("a")], ["the journal cannot be written"], 5),
        ([entry("a", "degraded"), entry("b", "backoff")], [], 3),
        ([], [], 0),
        *(([entry("a", state)], [], 3) for state in ("starting", "backoff", "blocked", "repairing", "hung", "failed")),
        *(([entry("a", state)], [], 3) for state in ("stopping", "stopped")),
        ([entry("a", warnings=["port 18800 is taken"])], [], 0),
    ],
)
def test_the_exit_code_tells_how_the_wanted_ones_are(entries: list[Any], degraded: list[str], code: int) -> None:
    assert verdict({"supervisor": {"degraded": degraded}, "gateways": entries}) == code


@pytest.mark.parametrize(("state", "code"), [("ready", 0), ("backoff", 3), ("degraded", 5)])
@pytest.mark.parametrize("words", [[], ["main"], ["--json"], ["main", "--json"]])
def test_every_form_of_status_has_the_same_exit_code(short_dir: Path, state: str, code: int, words: list[str]) -> None:
    with supervisor(Fleet({"main": entry("main", state)}), short_dir):
        done = clawsup(short_dir, "status", *words)

    assert (done.returncode, done.stderr) == (code, "")


def test_named_gateways_alone_decide_the_exit_code(short_dir: Path) -> None:
    with supervisor(Fleet({"main": entry("main", "failed"), "rescue": entry("rescue")}), short_dir):
        assert clawsup(short_dir, "status", "rescue").returncode == 0


def test_json_is_the_document_and_names_choose_from_it(short_dir: Path) -> None:
    fleet = Fleet({"main": entry("main"), "rescue": entry("rescue")}, more={"log_tail": ["hello"]})

    assert json.loads(shown(fleet, short_dir, "--json")) == fleet.status()
    assert json.loads(shown(fleet, short_dir, "rescue", "--json"))["gateways"] == [entry("rescue", log_tail=["hello"])]


@pytest.mark.parametrize("name", ["mian", "ma/in", "mai?n", "../main", "", "mäin", "a b"])
def test_a_name_that_nobody_has_is_told_the_names_there_are(short_dir: Path, name: str) -> None:
    with supervisor(Fleet({"main": entry("main")}), short_dir):
        done = clawsup(short_dir, "status", name)

    assert (done.returncode, done.stdout) == (4, "")
    assert f"no gateway is called {name}" in done.stderr
    assert "known: main" in done.stderr


def test_ten_gateways_with_the_longest_names_fit_eighty_columns(short_dir: Path) -> None:
    trouble = {
        "last_exit": EXIT,
        "next_retry_at": ahead(38),
        "reason": "why " * 30,
        "mend": "do " * 40,
        "restarts": 1234,
    }
    fleet = Fleet({(name := f"{number}{'x' * 31}"): entry(name, "degraded", **trouble) for number in range(10)})

    lines = shown(fleet, short_dir).splitlines()

    assert max(map(len, lines)) <= 80
    assert len([line for line in lines if " degraded " in line and "18789" in line]) == 10


def test_a_glance_tells_what_is_up_since_when_where_how_often_and_why_not(short_dir: Path) -> None:
    fleet = Fleet(
        {
            "rescue": entry("rescue", port=19789, since=ahead(-3 * 86400 - 4 * 3600 - 60)),
            "main": entry(
                "main", "backoff", restarts=4, next_retry_at=ahead(90), reason="exit 1 after 2.1 s", since=ahead(-12)
            ),
            "lab": entry("lab", "blocked", reason="port 21789 is held by pid 991 (node, user claw)", mend="stop it"),
            "old": entry("old", "stopped", wanted=False, reason="stopped by the operator", port=None),
        }
    )

    lines = shown(fleet, short_dir).splitlines()

    assert lines[0] == "1/3 ready, 1 backoff, 1 blocked, 1 not wanted"
    assert lines[2].split() == ["rescue", "ready", "3d4h", "19789", "0"]
    assert lines[3].split()[:5:1] == ["main", "backoff", lines[3].split()[2], "18789", "4"]
    assert "retry in " in lines[3]
    assert lines[3].endswith("s; exit 1 after 2.1 s")
    assert lines[5].split()[0] == "old"
    assert lines[6:] == [
        "lab: port 21789 is held by pid 991 (node, user claw)",
        "  mend: stop it",
        "more: clawsup why main",
    ]


def test_the_supervisors_own_trouble_comes_first(short_dir: Path) -> None:
    fleet = Fleet({"main": entry("main")}, degraded=["the journal cannot be written: No space left on device"])

    assert shown(fleet, short_dir).splitlines()[:2] == [
        "1/1 ready",
        "supervisor: the journal cannot be written: No space left on device",
    ]


def test_a_name_gets_the_whole_story(short_dir: Path) -> None:
    fleet = Fleet(
        {
            "main": entry(
                "main", "failed", last_exit=EXIT, reason="five crashes", mend="read its log", next_retry_at=ahead(850)
            )
        },
        more={
            "log_tail": ["first line", "last \x1b[31mline"],
            "events": [{"seq": 7, "at": "2026-01-01T00:00:00Z", "gateway": "main", "event": "exited", "code": 1}],
            "definition": {
                "state_dir": "/s/main",
                "config_path": "/s/main/openclaw.json",
                "env": {"API_KEY": "s3cret"},
            },
        },
    )

    story = shown(fleet, short_dir, "main")

    assert story.startswith("main: failed for ")
    for part in (
        "why        five crashes",
        "mend       read its log",
        "next       retry in 14m; at once with: clawsup start main",
        "last life  exit 1 after 2.1 s (crash), ",
        "config     /s/main/openclaw.json (good)",
        "2026-01-01T00:00:00Z main: exited: code 1",
        "last ?[31mline",
    ):
        assert f"  {part}" in story
    assert "s3cret" not in story


def test_colour_is_for_terminals(short_dir: Path) -> None:
    assert "\x1b" not in shown(Fleet({"main": entry("main", "failed")}), short_dir)


@pytest.mark.parametrize(("changes", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_a_terminal_gets_colour_unless_it_is_not_wanted(
    short_dir: Path, changes: dict[str, str], *, coloured: bool
) -> None:
    import os  # noqa: PLC0415 (for the one test that makes a terminal)

    ours, theirs = os.openpty()
    env = environment(TERM="xterm", **changes) if "TERM" not in changes else environment(**changes)
    if "NO_COLOR" not in changes:
        env.pop("NO_COLOR", None)
    with supervisor(Fleet({"main": entry("main", "failed")}), short_dir):
        clawsup(short_dir, "status", env=env, stdout=theirs)
    os.close(theirs)

    assert ("\x1b[31mfailed" in os.read(ours, 65536).decode()) == coloured
    os.close(ours)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2400, 1, 1)))  # noqa: DTZ001 (made UTC below)
def test_an_instant_is_read_as_datetime_reads_it(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)

    assert instant(moment.isoformat().replace("+00:00", "Z")) == pytest.approx(moment.timestamp(), abs=1e-3)


@pytest.mark.parametrize("text", [None, "", "yesterday", "2026-01-01", "2026-01T00:00:00Z", "2026-01-01T00:00Z"])
def test_what_is_no_instant_is_none(text: str | None) -> None:
    assert instant(text) is None


@given(st.floats(min_value=-10, max_value=3e9, allow_nan=False))
def test_a_span_never_takes_more_than_six_columns(seconds: float) -> None:
    assert len(span(seconds)) <= 6


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (3599, "59m"),
        (3600, "1h00m"),
        (86399, "23h59m"),
        (90000, "1d1h"),
        (1e7, "115d"),
    ],
)
def test_a_span_is_said_as_people_do(seconds: float, said: str) -> None:
    assert span(seconds) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "exit 1 after 2.1 s (crash)"),
        ({"signal": 9, "code": None, "ran_s": 7300.0}, "SIGKILL after 2h01m (crash)"),
        ({"signal": 99, "code": None}, "signal 99 after 2.1 s (crash)"),
        ({"code": None}, "exit unknown after 2.1 s (crash)"),
        ({"ran_s": None, "cause": "config", "code": 78}, "exit 78 (config)"),
    ],
)
def test_an_ending_is_told_by_its_code_or_its_signal(changes: dict[str, Any], said: str) -> None:
    assert ending(EXIT | changes) == said


@given(st.text())
def test_nothing_that_others_wrote_can_steer_the_terminal(text: str) -> None:
    assert printable(text).isprintable()
