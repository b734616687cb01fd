"""What `openclaw doctor --fix` may do for a refused config, and what it may not leave behind (issue 7), with the fake."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Supervise
from tests.e2e.mending import DAMAGES, define, fall, repaired, rungs, stable
from tests.e2e.supervised import gone
from tests.e2e.world import FAKE, World


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

    entry = running.wait_state("main", "failed")
    assert "tried in vain: doctor" in entry["reason"]
    assert rungs(running) == [("doctor", "useless"), ("restore", "done")]
    assert "gateway.auth" in running.named("repair_step")[0]["detail"]
    assert main.config.read_bytes() == DAMAGES["unknown-key"]


def test_doctors_diff_is_kept_and_told_without_secrets(world: World, supervise: Supervise) -> None:
    main = define(world, "doctor")
    mended = json.loads(main.config.read_bytes())
    mended["gateway"]["auth"] = {"mode": "token", "token": "s3cr3t-of-main"}
    Path(f"{main.config}.last-good").write_text(json.dumps(mended | {"skills": {"entries": {}}}))
    main.config.write_text(json.dumps(mended | {"bogus": 1}))
    running = supervise()
    repaired(running, mended=True)

    (diff,) = running.state_dir.glob("incidents/*/doctor.diff")
    assert "bogus" in diff.read_text()
    assert "skills" in diff.read_text()
    shown = running.cli("incidents", "show", diff.parent.name).stdout
    assert "doctor.diff:" in shown
    assert "s3cr3t" not in shown + diff.read_text()


def test_doctors_success_that_cannot_start_is_none(world: World, supervise: Supervise) -> None:
    main = define(world)
    Path(f"{main.config}.last-good").write_bytes(DAMAGES["no-mode"])
    main.config.write_bytes(DAMAGES["unknown-key"])
    running = supervise()

    running.wait_state("main", "failed")
    assert rungs(running) == [("doctor", "useless"), ("restore", "done"), ("rescue", "unavailable")]
    assert "gateway.mode is missing" in running.named("repair_step")[0]["detail"]
    assert main.config.read_bytes() == DAMAGES["unknown-key"]


WITNESS = """#!/bin/sh
case "$*" in *"gateway run"*) ;; *) printf '%s|' "$*" "$(readlink /proc/$$/fd/0)" "$OPENCLAW_STATE_DIR" "$OPENCLAW_CONFIG_PATH" \
  "$OPENCLAW_SUPERVISOR_MODE" "$COLOUR" "${CLAWSUP_RUN-no token}" >>"$HOME/ran"; echo >>"$HOME/ran" ;; esac
exec "$REAL_PYTHON" -I "$REAL_FAKE" "$@"
"""


def test_a_rung_runs_two_commands_alone_in_the_gateways_environment_without_stdin(
    world: World, supervise: Supervise
) -> None:
    path = world.root / "openclaw"
    path.write_text(WITNESS)
    path.chmod(0o755)
    env = {"REAL_PYTHON": sys.executable, "REAL_FAKE": str(FAKE), "COLOUR": "blue"}
    main = define(world, command=[str(path)], env=env)
    Path(f"{main.config}.last-good").write_bytes(main.config.read_bytes())
    main.config.write_bytes(DAMAGES["unknown-key"])
    running = supervise()
    running.wait_state("main", "ready", restarts=1)
    repaired(running, mended=True)

    ran = [line.split("|") for line in (world.home / "ran").read_text().splitlines()]
    version, *rest = [words for words, *_ in ran]
    assert version == "--version"
    assert rest == [
        "--profile main doctor --fix --yes --non-interactive",
        "--profile main config validate --json",
    ]
    given = ["/dev/null", str(main.state_dir), str(main.config), "external", "blue", "no token", ""]
    assert [facts for _, *facts in ran[1:]] == [given, given]


LAUNCHER = """#!/bin/sh
case "$*" in
*doctor*) setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $! >"$HOME/grown" ;;
*"config validate"*) while test -e "$HOME/hold"; do sleep 0.05; done ;;
*"gateway run"*) test -e "$HOME/newer" && echo "state database $HOME/x uses newer schema version 19" && exit 78 ;;
esac
exec "$REAL_PYTHON" -I "$REAL_FAKE" "$@"
"""


def launcher(world: World) -> dict[str, Any]:
    """The fake behind a launcher whose doctor leaves a process in a session of its own, and whose state may be too new."""
    path = world.root / "openclaw"
    path.write_text(LAUNCHER)
    path.chmod(0o755)
    return {"command": [str(path)], "env": {"REAL_PYTHON": sys.executable, "REAL_FAKE": str(FAKE)}}


def test_a_stop_in_the_middle_of_a_rollback_leaves_the_users_edit_in_place(world: World, supervise: Supervise) -> None:
    """Nobody would put it back any more: the ladder ends with the wish for the gateway."""
    main = define(world, "rollback", **launcher(world))
    running = supervise()
    good = stable(running)
    (world.home / "hold").touch()
    main.config.write_bytes(DAMAGES["unknown-key"])
    fall(running)
    running.wait_for(lambda: main.config.read_bytes() == good, "the good config in place")
    assert running.gateway("main")["state"] == "repairing"
    assert running.cli("stop", "main").returncode == 0
    running.wait_for(lambda: main.config.read_bytes() == DAMAGES["unknown-key"], "the edit in place")


@pytest.mark.parametrize("ends", ["by itself", "by a stop"])
def test_doctor_ends_with_all_that_grew_from_it(world: World, supervise: Supervise, ends: str) -> None:
    given = launcher(world)
    given["env"]["FAKE_DOCTOR_S"] = "0" if ends == "by itself" else "600"
    main = define(world, "doctor", **given)
    main.config.write_bytes(DAMAGES["unknown-key"])
    running = supervise()
    grown = world.home / "grown"
    running.wait_for(lambda: grown.exists() and grown.read_text().strip(), "doctor at work")
    if ends == "by a stop":
        assert running.cli("stop", "main").returncode == 0

    running.wait_for(partial(gone, int(grown.read_text())), "what grew from doctor is gone")
    running.wait_state("main", "failed" if ends == "by itself" else "stopped")
    assert main.config.read_bytes() == DAMAGES["unknown-key"]


def test_the_next_brain_ends_the_doctor_of_the_last_before_it_asks_its_own(world: World, supervise: Supervise) -> None:
    given = launcher(world)
    given["env"]["FAKE_DOCTOR_S"] = "600"
    main = define(world, "doctor", **given)
    main.config.write_bytes(DAMAGES["unknown-key"])
    running = supervise()
    grown = world.home / "grown"
    running.wait_for(lambda: grown.exists() and grown.read_text().strip(), "doctor at work")
    first = int(grown.read_text())
    running.replace_brain()

    running.wait_for(partial(gone, first), "the first doctor's child is gone")
    running.wait_for(lambda: int(grown.read_text()) != first, "another doctor")
    assert running.cli("stop", "main").returncode == 0


def test_a_state_of_a_newer_openclaw_is_named_and_no_rung_is_climbed(world: World, supervise: Supervise) -> None:
    """An exit 78 for a schema is not the config's fault, even where the config is new as well."""
    main = define(world, **launcher(world))
    running = supervise()
    stable(running)
    edit = main.config.read_bytes().replace(b"{", b'{"logging": {"level": "info"}, ', 1)
    main.config.write_bytes(edit)
    (world.home / "newer").touch()
    fall(running)

    entry = running.wait_state("main", "blocked")
    assert "uses newer schema version 19" in entry["reason"]
    assert entry["mend"].startswith("put back the newer OpenClaw")
    assert entry["config"] != "bad"
    assert running.named("repair_started") == []
    assert main.config.read_bytes() == edit
    assert running.cli("why", "main").stdout.splitlines()[-1].endswith("clawsup start main")
    (world.home / "newer").unlink()
    assert running.cli("start", "main").returncode == 0


def test_words_of_an_earlier_life_are_not_held_for_those_of_this_one(world: World, supervise: Supervise) -> None:
    """It said that its state was too new; that is mended, and now it refuses its config, with a line or two."""
    main = define(world, "rollback", **launcher(world))
    running = supervise()
    good = stable(running)
    (world.home / "newer").touch()
    fall(running)
    running.wait_state("main", "blocked")
    (world.home / "newer").unlink()
    main.config.write_bytes(DAMAGES["unknown-key"])
    running.cli("start", "main", "--no-wait")

    running.wait_state("main", "ready")
    repaired(running, mended=True)
    assert main.config.read_bytes() == good


def test_a_stop_in_the_middle_of_doctor_leaves_the_users_file(world: World, supervise: Supervise) -> None:
    main = define(world, env={"FAKE_DOCTOR_S": "30"})
    main.config.write_bytes(DAMAGES["unknown-key"])
    running = supervise()
    running.wait_for(lambda: running.gateway("main").get("state") == "repairing", "doctor at work")

    assert running.cli("stop", "main").returncode == 0
    assert main.config.read_bytes() == DAMAGES["unknown-key"]
    assert running.named("repair_ended")
