"""What the config guard sees of an edit, and what it refuses to do onto a bad one (issue 7), with the fake."""

import json
import os
import sys
import time
from datetime import datetime

from tests.e2e.conftest import Supervise
from tests.e2e.mending import DAMAGES, define, fall, repaired, rungs, stable
from tests.e2e.world import FAKE, World, kill


def test_an_edit_that_openclaw_restarts_for_and_then_refuses_is_rolled_back(world: World, supervise: Supervise) -> None:
    """`config validate` passes a config without gateway.mode."""
    main = define(world)
    running = supervise()
    good = stable(running)
    main.config.write_bytes(DAMAGES["no-mode"])

    repaired(running, mended=True)
    assert main.config.read_bytes() == good
    assert running.gateway("main")["restarts"] == 2


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


WITNESS = """#!/bin/sh
case "$*" in *"config validate"*) date +%s.%N >>"$HOME/validated" ;; esac
exec "$REAL_PYTHON" -I "$REAL_FAKE" "$@"
"""


def test_a_repair_asks_about_a_config_only_when_the_start_of_another_is_over(
    world: World, supervise: Supervise
) -> None:
    launcher = world.root / "openclaw"
    launcher.write_text(WITNESS)
    launcher.chmod(0o755)
    env = {"REAL_PYTHON": sys.executable, "REAL_FAKE": str(FAKE)}
    main = define(world, "rollback", command=[str(launcher)], env=env)
    world.define("other", env={"FAKE_STARTED_S": "5"})
    running = supervise()
    good = stable(running)
    main.config.write_bytes(DAMAGES["truncated"])
    running.wait_for(lambda: running.gateway("main").get("config") == "bad", "the edit is seen to be bad")
    kill(running.gateway("other")["pid"])
    running.wait_state("other", "starting", restarts=1)
    fall(running)

    running.wait_state("main", "ready", restarts=2)
    assert main.config.read_bytes() == good
    assert rungs(running) == [("rollback", "start")]
    running.wait_state("other", "ready", restarts=1)
    started = [event["at"] for event in running.events("other") if event["event"] == "started"]
    asked = (world.home / "validated").read_text().splitlines()
    assert float(asked[-1]) > datetime.fromisoformat(started[1]).timestamp()


def test_a_reload_onto_a_bad_config_is_refused(world: World, supervise: Supervise) -> None:
    main = define(world, "rollback")
    running = supervise()
    stable(running)
    pid = running.gateway("main")["pid"]
    main.config.write_bytes(DAMAGES["unknown-key"])
    define(world, "rollback", env={"TZ": "UTC"}, port=main.port)
    main.config.write_bytes(DAMAGES["unknown-key"])
    refused = running.cli("reload")
    assert refused.returncode == 1
    assert running.gateway("main")["pid"] == pid
    assert "main: not reloaded: its config would not start it again" in refused.stderr
    assert "its config is invalid" in str(running.named("reported"))

    forced = running.cli("reload", "--force")
    assert "main: restarts" in forced.stdout
    assert running.wait_state("main", "ready")["pid"] != pid
    assert main.lives()[-1]["env"]["TZ"] == "UTC"


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
