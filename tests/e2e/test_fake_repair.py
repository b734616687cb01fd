"""The config guard and the repair ladder, as an operator and a broken config meet them (issue 7), with the fake."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Supervise
from tests.e2e.supervised import Supervisor
from tests.e2e.world import Gateway, World, kill

LADDER = ["rollback", "doctor", "rescue"]


def define(world: World, *steps: str, env: dict[str, str] | None = None, **sections: Any) -> Gateway:
    """A main whose runs are stable after a moment, with a ladder."""
    quick: dict[str, dict[str, Any]] = {
        "restart": {"delay": 0.1, "stable": 0.4},
        "repair": {"steps": list(steps or LADDER)},
    }
    return world.define("main", sections=quick | sections, role="main", env=env or {})


def stable(running: Supervisor) -> bytes:
    """Wait until main's config has been kept as good; its bytes."""
    running.wait_ready()
    running.wait_for(lambda: running.named("config_promoted"), "a good config")
    return running.world.gateways["main"].config.read_bytes()


def fall(running: Supervisor) -> None:
    """Kill main's gateway."""
    kill(running.gateway("main")["pid"])


def repaired(running: Supervisor, *, mended: bool) -> dict[str, Any]:
    """Wait for the end of a repair."""
    ended = running.wait_for(lambda: running.named("repair_ended"), "the end of a repair")[-1]
    assert ended["mended"] is mended, running.story()
    return dict(ended)


def rungs(running: Supervisor) -> list[tuple[str, str]]:
    return [(event["rung"], event["outcome"]) for event in running.named("repair_step")]


DAMAGES = {
    "truncated": b'{"gateway": {"mode": "local", "po',
    "empty": b"",
    "unknown-key": b'{"gateway": {"mode": "local"}, "bogus": 1}',
    "no-mode": b'{"gateway": {}, "meta": {"lastTouchedVersion": "2026.9.6"}}',
    "wrong-type": b'{"gateway": {"mode": "local", "port": "abc"}}',
}


@pytest.mark.parametrize("damage", ["truncated", "empty", "unknown-key", "wrong-type"])
def test_a_broken_config_is_rolled_back_and_the_edit_kept(world: World, supervise: Supervise, damage: str) -> None:
    """R25, R27: broken, killed, and ready again on the bytes that were good, with nothing lost."""
    main = define(world)
    running = supervise()
    good = stable(running)
    main.config.write_bytes(DAMAGES[damage])
    running.wait_for(lambda: running.gateway("main").get("config") == "bad", "the edit is seen to be bad")
    fall(running)

    running.wait_state("main", "ready", restarts=2)
    assert main.config.read_bytes() == good
    repaired(running, mended=True)
    assert rungs(running) == [("rollback", "start")]
    assert len(running.named("config_bad")) == 1
    (rolled,) = running.named("config_rolled_back")
    back = running.cli("config", "main", "rollback", rolled["from"][:12])
    assert back.returncode == 0, back.stderr
    assert main.config.read_bytes() == DAMAGES[damage]
    assert running.cli("config", "main", "rollback").returncode == 0
    assert main.config.read_bytes() == good


def test_an_edit_that_openclaw_restarts_for_and_then_refuses_is_rolled_back(world: World, supervise: Supervise) -> None:
    """`config validate` passes a config without gateway.mode."""
    main = define(world)
    running = supervise()
    good = stable(running)
    main.config.write_bytes(DAMAGES["no-mode"])

    repaired(running, mended=True)
    assert main.config.read_bytes() == good
    assert running.gateway("main")["restarts"] == 2


@pytest.mark.parametrize("replaced_by", ["nothing", "a directory", "a dangling link"])
def test_a_config_that_is_no_file_any_more_comes_back(world: World, supervise: Supervise, replaced_by: str) -> None:
    main = define(world)
    running = supervise()
    good = stable(running)
    main.config.unlink()
    if replaced_by == "a directory":
        main.config.mkdir()
    elif replaced_by == "a dangling link":
        main.config.symlink_to(main.state_dir / "elsewhere.json")
    fall(running)

    running.wait_state("main", "ready", restarts=2)
    assert main.config.read_bytes() == good
    assert rungs(running) == [("rollback", "start")]


def test_an_incident_keeps_the_rejected_bytes_and_is_told_without_secrets(world: World, supervise: Supervise) -> None:
    main = define(world)
    main.write_config(auth={"mode": "token", "token": "s3cr3t-of-main"})
    running = supervise()
    stable(running)
    rejected = main.config.read_text().replace('"mode": "local", ', "").replace("s3cr3t-of-main", "s3cr3t-of-edit")
    main.config.write_text(rejected)
    running.wait_state("main", "ready", restarts=2)
    repaired(running, mended=True)

    (config,) = (running.state_dir / "incidents").iterdir()
    assert (config / "config.rejected").read_text() == rejected
    assert (config / "config.rejected").stat().st_mode & 0o777 == 0o600
    account = json.loads((config / "incident.json").read_text())
    assert (account["cause"], account["tried"][0]["rung"], account["ended"][:6]) == ("config", "rollback", "mended")
    shown = running.cli("incidents", "show", config.name).stdout + running.cli("config", "main", "diff").stdout
    shown += running.cli("config", "main", "show").stdout + running.cli("why", "main").stdout
    shown += running.cli("incidents", "--json").stdout + running.cli("incidents", "show", config.name, "--json").stdout
    assert "gateway" in shown
    assert "s3cr3t" not in shown
    for path in config.iterdir():
        if path.name != "config.rejected":
            assert "s3cr3t" not in path.read_text(), path


def test_why_tells_the_newest_incident_in_ten_lines(world: World, supervise: Supervise) -> None:
    main = define(world)
    running = supervise()
    stable(running)
    main.config.write_bytes(DAMAGES["unknown-key"])
    fall(running)
    running.wait_state("main", "ready", restarts=2)
    repaired(running, mended=True)

    told = running.cli("why", "main").stdout.splitlines()
    assert len(told) <= 10
    assert any("rollback" in line for line in told), told
    assert "clawsup config main diff" in told[-1]


def test_doctor_mends_where_no_good_copy_is(world: World, supervise: Supervise) -> None:
    main = define(world)
    Path(f"{main.config}.last-good").write_bytes(main.config.read_bytes())
    main.config.write_bytes(DAMAGES["unknown-key"])
    running = supervise()

    running.wait_state("main", "ready", restarts=1)
    repaired(running, mended=True)
    assert rungs(running) == [("doctor", "start")]


def test_doctor_that_would_lose_settings_has_not_mended(world: World, supervise: Supervise) -> None:
    """Its own last-good is older than ours; what it would have lost is said, and the user's file goes back."""
    main = define(world, "doctor")
    main.write_config(auth={"mode": "token", "token": "t"})
    running = supervise()
    stable(running)
    older = {"gateway": {"mode": "local", "port": main.port, "bind": "loopback"}, "meta": {}}
    Path(f"{main.config}.last-good").write_text(json.dumps(older))
    main.config.write_bytes(DAMAGES["unknown-key"])
    fall(running)

    entry = running.wait_state("main", "blocked")
    assert "tried in vain: doctor" in entry["reason"]
    assert rungs(running) == [("doctor", "useless"), ("restore", "done")]
    assert "gateway.auth" in running.named("repair_step")[0]["detail"]
    assert main.config.read_bytes() == DAMAGES["unknown-key"]


def test_doctors_success_that_cannot_start_is_none(world: World, supervise: Supervise) -> None:
    main = define(world)
    Path(f"{main.config}.last-good").write_bytes(DAMAGES["no-mode"])
    main.config.write_bytes(DAMAGES["unknown-key"])
    running = supervise()

    running.wait_state("main", "blocked")
    assert rungs(running) == [("doctor", "useless"), ("restore", "done"), ("rescue", "unavailable")]
    assert "gateway.mode is missing" in running.named("repair_step")[0]["detail"]
    assert main.config.read_bytes() == DAMAGES["unknown-key"]


def test_in_vain_the_users_file_goes_back_and_an_edit_wakes_it_at_once(world: World, supervise: Supervise) -> None:
    main = define(world)
    running = supervise()
    stable(running)
    (main.fake_dir / "refuse").write_text("loopback")
    damage = main.config.read_bytes().replace(b"{", b'{"bogus": 1, ', 1)
    main.config.write_bytes(damage)
    fall(running)

    entry = running.wait_state("main", "blocked")
    assert main.config.read_bytes() == damage
    assert "tried in vain: rollback, doctor, rescue" in entry["reason"]
    assert entry["config"] == "bad"
    repaired(running, mended=False)
    main.write_config(bind="auto")
    running.wait_state("main", "ready")


def test_a_partial_write_is_waited_out(world: World, supervise: Supervise) -> None:
    """An editor that writes in two steps is neither started on half a file nor rolled back."""
    main = define(world, "rollback")
    running = supervise()
    stable(running)
    os.truncate(main.config, 9)
    kill(running.gateway("main")["pid"])
    running.wait_for(lambda: running.named("repair_started"), "the ladder")
    edit = json.dumps({"gateway": {"mode": "local", "port": main.port, "bind": "auto"}, "meta": {}}).encode()
    main.config.write_bytes(edit)

    running.wait_state("main", "ready")
    assert rungs(running) == [("rollback", "changed")]
    assert main.config.read_bytes() == edit


def test_a_crash_with_a_config_that_was_stable_changes_nothing(world: World, supervise: Supervise) -> None:
    main = define(world)
    running = supervise()
    good = stable(running)
    main.tell("boot-exit-78")
    fall(running)

    entry = running.wait_state("main", "blocked")
    assert "it has run with this very config" in entry["reason"]
    assert running.named("repair_started") == []
    assert main.config.read_bytes() == good


def test_a_valid_edit_is_pending_until_it_is_stable_and_then_good_but_hot(world: World, supervise: Supervise) -> None:
    main = define(world, restart={"delay": 0.1, "stable": 2})
    running = supervise()
    stable(running)
    config = json.loads(main.config.read_bytes())
    main.config.write_text(json.dumps(config | {"logging": {"level": "info"}}))
    running.wait_for(lambda: running.gateway("main").get("config") == "pending", "the edit is pending")

    running.wait_for(lambda: len(running.named("config_promoted")) == 2, "the edit is good")
    assert [event["how"] for event in running.named("config_promoted")] == ["booted", "hot"]
    assert len(running.named("config_pending")) == 1
    running.wait_for(lambda: running.gateway("main").get("config") == "good", "the edit is accepted")
    assert running.gateway("main")["restarts"] == 0
    history = json.loads(running.cli("config", "main", "history", "--json").stdout)["snapshots"]
    assert [(each["booted"], each["hot"], each["present"]) for each in history] == [
        (False, True, True),
        (True, False, False),
    ]


def test_a_hot_config_that_cannot_boot_gives_way_to_the_one_that_did(world: World, supervise: Supervise) -> None:
    """A rollback tries the newest good one, and then the newest that was ever booted."""
    main = define(world, "rollback")
    running = supervise()
    booted = stable(running)
    config = json.loads(booted)
    main.config.write_text(json.dumps(config | {"logging": {"level": "info"}}))
    running.wait_for(lambda: len(running.named("config_promoted")) == 2, "the edit is good")
    (main.fake_dir / "refuse").write_text("logging")
    main.config.write_bytes(DAMAGES["truncated"])
    fall(running)

    running.wait_state("main", "ready")
    assert main.config.read_bytes() == booted
    assert [rung for rung, _ in rungs(running)] == ["rollback", "rollback_booted"]


def test_a_restart_onto_a_bad_config_is_refused_unless_forced(world: World, supervise: Supervise) -> None:
    main = define(world, "rollback")
    running = supervise()
    stable(running)
    pid = running.gateway("main")["pid"]
    main.config.write_bytes(DAMAGES["unknown-key"])

    for flags in ((), ("--no-wait",)):
        refused = running.cli("restart", "main", *flags)
        assert refused.returncode == 1
        assert 'Unrecognized key: "bogus"' in refused.stderr
    assert running.gateway("main")["pid"] == pid
    assert running.named("restart_refused")
    forced = running.cli("restart", "main", "--force")
    assert forced.returncode == 0, forced.stderr
    repaired(running, mended=True)


def test_a_restart_onto_an_unchanged_config_asks_nobody(world: World, supervise: Supervise) -> None:
    define(world)
    running = supervise()
    stable(running)
    begun = time.monotonic()
    assert running.cli("restart", "main").returncode == 0
    assert time.monotonic() - begun < 20


def test_the_ladder_can_be_climbed_by_hand(world: World, supervise: Supervise) -> None:
    main = define(world)
    main.config.write_bytes(DAMAGES["unknown-key"])
    running = supervise()
    running.wait_state("main", "blocked")
    Path(f"{main.config}.last-good").write_text(json.dumps({"gateway": {"mode": "local"}, "meta": {}}))

    answer = running.cli("repair", "main")
    assert answer.returncode == 0, answer.stderr
    assert rungs(running)[-1] == ("doctor", "start")


def test_a_new_brain_goes_on_with_the_ladder(world: World, supervise: Supervise) -> None:
    main = define(world, env={"FAKE_DOCTOR_S": "2"})
    Path(f"{main.config}.last-good").write_bytes(main.config.read_bytes())
    main.config.write_bytes(DAMAGES["unknown-key"])
    running = supervise()
    running.wait_for(lambda: running.gateway("main").get("state") == "repairing", "doctor at work")
    running.replace_brain()

    running.wait_state("main", "ready")
    repaired(running, mended=True)


def test_a_stop_in_the_middle_of_doctor_leaves_the_users_file(world: World, supervise: Supervise) -> None:
    main = define(world, env={"FAKE_DOCTOR_S": "30"})
    main.config.write_bytes(DAMAGES["unknown-key"])
    running = supervise()
    running.wait_for(lambda: running.gateway("main").get("state") == "repairing", "doctor at work")

    assert running.cli("stop", "main").returncode == 0
    assert main.config.read_bytes() == DAMAGES["unknown-key"]
    assert running.named("repair_ended")


def test_a_lost_meta_block_comes_back_before_openclaw_puts_an_older_file_in_place(
    world: World, supervise: Supervise
) -> None:
    main = define(world)
    running = supervise()
    good = stable(running)
    bare = json.loads(good)
    del bare["meta"]
    main.config.write_text(json.dumps(bare))
    fall(running)

    running.wait_state("main", "ready")
    assert main.config.read_bytes() == good
    assert rungs(running) == [("rollback", "start")]


def test_an_included_file_is_rolled_back_with_the_config(world: World, supervise: Supervise) -> None:
    """The fake does not know $include, so the exit 78 is told to it; the guard does, and restores both files."""
    main = define(world, "rollback")
    more = main.state_dir / "more.json5"
    more.write_text("{logging: {level: 'info'}}")
    config = {"gateway": {"mode": "local", "port": main.port, "bind": "loopback"}, "meta": {"$include": "./more.json5"}}
    main.config.write_text(json.dumps(config))
    running = supervise()
    good = stable(running)
    kept = more.read_bytes()
    more.write_text("{broken")
    main.config.write_bytes(DAMAGES["unknown-key"])
    fall(running)

    running.wait_state("main", "ready")
    assert (main.config.read_bytes(), more.read_bytes()) == (good, kept)


def test_a_parked_gateway_is_replaced_and_its_state_kept_as_evidence(world: World, supervise: Supervise) -> None:
    main = define(world)
    running = supervise()
    running.wait_ready()
    main.tell("park")
    running.wait_state("main", "hung", "starting")
    (main.fake_dir / "park").unlink()

    entry = running.wait_state("main", "ready", restarts=1)
    assert entry["last_exit"]["cause"] == "parked"
    (incident,) = (running.state_dir / "incidents").iterdir()
    account = json.loads((incident / "incident.json").read_text())
    assert account["cause"] == "parked"
    assert "connection refused" in account["why"]
    assert "State:" in (incident / "process.txt").read_text()
    assert "connection refused" in (incident / "probes.txt").read_text()
