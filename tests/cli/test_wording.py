"""What is printed at a bad moment is true, is said once, and names the next command."""

from pathlib import Path
from typing import Any

from supervisor.host.incidents import Incidents
from tests.cli.typed import clawsup
from tests.control.in_memory import Fleet, entry, supervisor

ORPHANED = "its definition is gone; it runs on until: clawsup stop main"
MORE: dict[str, Any] = {"definition": {}, "log_tail": [], "events": []}


def said(state_dir: Path, fleet: Fleet, *words: str) -> tuple[str, str]:
    with supervisor(fleet, state_dir):
        done = clawsup(state_dir, *words)
    return done.stdout, done.stderr


def test_why_tells_of_a_gateway_that_runs_on_without_a_definition(short_dir: Path) -> None:
    out, _ = said(short_dir, Fleet({"main": entry("main", warnings=[ORPHANED])}, more=MORE), "why", "main")
    assert out.splitlines()[1:] == [f"  warning    {ORPHANED}"]


def test_a_warning_is_not_pushed_out_of_the_table_by_a_restart_that_was_asked_for(short_dir: Path) -> None:
    ended = {"code": 0, "signal": None, "cause": "asked", "at": "2026-01-01T00:00:00Z", "ran_s": 39.9}
    fleet = Fleet({"main": entry("main", restarts=1, last_exit=ended, warnings=[ORPHANED])})
    assert "warning: its definition is gone" in said(short_dir, fleet, "status")[0].splitlines()[2]


def test_what_never_ran_does_not_lead_to_an_empty_log(short_dir: Path) -> None:
    fleet = Fleet({"main": entry("main", "blocked", reason="port 1 is held", mend="stop that one")}, more=MORE)
    assert said(short_dir, fleet, "why", "main")[0].splitlines()[-1].endswith("more: clawsup status main")


def test_a_definition_that_cannot_be_used_waits_for_a_reload_and_says_so(short_dir: Path) -> None:
    """Nobody watches definitions: it would not start by itself."""
    blocked = entry("main", "blocked", port=None, reason="main.toml:1: port", mend="add port; then: clawsup reload")
    for verb in ("status", "why"):
        out, _ = said(short_dir, Fleet({"main": blocked}, more=MORE), verb, "main")
        assert "starts once that is mended, with: clawsup reload" in out
        assert "by itself" not in out


def test_a_story_leaves_out_what_is_there_for_a_replay(short_dir: Path) -> None:
    events = [{"event": "probed", "gateway": "main", "config_key": "8d1e"}, {"event": "ready", "gateway": "main"}]
    out, _ = said(short_dir, Fleet({"main": entry("main")}, more={**MORE, "events": events}), "status", "main")
    assert ("8d1e" in out, "main: ready" in out) == (False, True)


def test_how_far_a_start_has_come_is_no_news_and_a_reason_is_told_once(short_dir: Path) -> None:
    course: list[dict[str, Any]] = [
        {"state": "starting", "wanted": True, "reason": "connection refused"},
        {"state": "starting", "reason": "starting: sidecars"},
        {"state": "blocked", "reason": "port 1 is held", "mend": "stop that one"},
    ]
    fleet = Fleet({"main": entry("main", "stopped", wanted=False)}, plans={("start", "main"): course})
    out, err = said(short_dir, fleet, "start", "main")
    assert out == ""
    assert err.splitlines() == [
        "main is starting",
        "main is blocked",
        "clawsup: cannot start main: port 1 is held",
        "  mend: stop that one",
    ]


def test_a_reload_that_met_a_definition_it_cannot_use_names_the_next_command(short_dir: Path) -> None:
    broken = {"name": "main", "effect": "broken", "differences": [], "reason": "main.toml:1: port"}
    _, err = said(short_dir, Fleet({"main": entry("main")}, changes=[broken]), "reload")
    assert err == "clawsup: a definition cannot be used\n  mend: clawsup check names every fault; then reload again\n"


def test_the_table_names_the_command_that_tells_more_of_what_fell(short_dir: Path) -> None:
    fleet = Fleet({"main": entry("main", "backoff", reason="exit 1"), "work": entry("work")})
    assert said(short_dir, fleet, "status")[0].splitlines()[-1] == "more: clawsup why main"


def test_what_no_rung_could_mend_says_what_it_waits_for(short_dir: Path) -> None:
    """R25: it has no time, and is no longer tried by itself."""
    reason, mend = "OpenClaw refuses it (exit 78); tried in vain: rollback, doctor", "correct that file"
    fleet = Fleet({"main": entry("main", "failed", reason=reason, mend=mend)}, more=MORE)
    waits = "waits for its config file to change"
    assert said(short_dir, fleet, "status")[0].splitlines()[3:] == [
        "main: OpenClaw refuses it (exit 78); tried in vain: rollback, doctor",
        f"  mend: {mend}",
        "more: clawsup why main",
    ]
    assert f"  next       {waits}" in said(short_dir, fleet, "status", "main")[0].splitlines()
    assert f"  next       {waits}; more: clawsup status main" in said(short_dir, fleet, "why", "main")[0].splitlines()


def test_an_incident_says_once_that_it_was_an_exit(short_dir: Path) -> None:
    ended = {"code": 78, "signal": None, "ran_s": 2.1}
    ident = Incidents(short_dir / "incidents").open("main", {"cause": "config", "exit": ended}, {})
    assert "  ended: exit 78 after 2.1 s (config)" in clawsup(short_dir, "incidents", "show", ident).stdout.splitlines()
    Incidents(short_dir / "incidents").update(ident, {"why": "exit 78 after 2.1 s"})
    assert clawsup(short_dir, "incidents", "show", ident).stdout.count("exit 78") == 1


def test_the_ports_of_a_definition_that_cannot_be_used_fit_eighty_columns(short_dir: Path) -> None:
    (short_dir / "rescue.toml").write_text("port = 19789\nrole = 'none'\n")
    lines = clawsup(short_dir, "ports", conf_dir=short_dir).stdout.splitlines()
    assert lines[1].endswith("see clawsup check")
    assert max(map(len, lines)) <= 80
