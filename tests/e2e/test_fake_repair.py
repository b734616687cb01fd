"""The repair ladder, as an operator and a broken config meet it (issue 7), with the fake."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Supervise
from tests.e2e.mending import DAMAGES, define, fall, repaired, rungs, stable
from tests.e2e.supervised import Supervisor
from tests.e2e.world import World, kill


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


def test_in_vain_the_users_file_goes_back_and_an_edit_wakes_it_at_once(world: World, supervise: Supervise) -> None:
    main = define(world)
    running = supervise()
    stable(running)
    (main.fake_dir / "refuse").write_text("loopback")
    damage = main.config.read_bytes().replace(b"{", b'{"bogus": 1, ', 1)
    main.config.write_bytes(damage)
    fall(running)

    entry = running.wait_state("main", "failed")
    assert main.config.read_bytes() == damage
    assert "tried in vain: rollback, doctor, rescue" in entry["reason"]
    assert entry["config"] == "bad"
    repaired(running, mended=False)
    main.write_config(bind="auto")
    running.wait_state("main", "ready")


def hot(running: Supervisor) -> bytes:
    """Have main reloaded into an edit that it would not boot on, until that is good; the bytes that it has booted on."""
    main = running.world.gateways["main"]
    booted = stable(running)
    main.config.write_text(json.dumps(json.loads(booted) | {"logging": {"level": "info"}}))
    running.wait_for(lambda: len(running.named("config_promoted")) == 2, "the edit is good")
    (main.fake_dir / "refuse").write_text("logging")
    return booted


def test_a_hot_config_that_cannot_boot_gives_way_to_the_one_that_did(world: World, supervise: Supervise) -> None:
    """A rollback tries the newest good one, and then the newest that was ever booted."""
    main = define(world, "rollback")
    running = supervise()
    booted = hot(running)
    main.config.write_bytes(DAMAGES["truncated"])
    fall(running)

    running.wait_state("main", "ready")
    assert main.config.read_bytes() == booted
    assert [rung for rung, _ in rungs(running)] == ["rollback", "rollback_booted"]


def test_a_hot_config_that_is_refused_at_its_first_boot_gives_way_to_the_booted_one(
    world: World, supervise: Supervise
) -> None:
    """That a gateway was reloaded into it, and stable, is no proof that one starts on it."""
    main = define(world, "rollback")
    running = supervise()
    booted = hot(running)
    fall(running)

    running.wait_state("main", "ready", restarts=2)
    assert main.config.read_bytes() == booted
    assert rungs(running) == [("rollback_booted", "start")]


def test_the_ladder_can_be_climbed_by_hand(world: World, supervise: Supervise) -> None:
    main = define(world)
    main.config.write_bytes(DAMAGES["unknown-key"])
    running = supervise()
    running.wait_state("main", "failed")
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


def test_a_mend_that_a_new_brain_finds_in_place_is_tried_and_not_overwritten(
    world: World, supervise: Supervise
) -> None:
    """The last brain died at the rung, so nobody knows whose content that is; the refused one must not come back over it."""
    main = define(world, env={"FAKE_DOCTOR_S": "2"})
    good = main.config.read_bytes()
    main.config.write_bytes(DAMAGES["unknown-key"])
    running = supervise()
    running.wait_for(lambda: running.gateway("main").get("state") == "repairing", "doctor at work")
    main.config.with_suffix(".mended").write_bytes(good)
    kill(running.status()["supervisor"]["pid"])
    main.config.with_suffix(".mended").rename(main.config)

    running.wait_state("main", "ready")
    assert main.config.read_bytes() == good


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
