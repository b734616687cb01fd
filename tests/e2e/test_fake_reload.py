"""`clawsup reload`: only what changed is touched, one gateway at a time (the fake OpenClaw)."""

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Supervise
from tests.e2e.supervised import Supervisor
from tests.e2e.world import Gateway, World, kill, log_numbers

SECRET = "hunter2-hunter2"  # noqa: S105 (a value that must never be printed)


def reload(supervisor: Supervisor, *flags: str) -> tuple[int, str, str]:
    done = supervisor.cli("reload", *flags)
    return done.returncode, done.stdout, done.stderr


def redefine(gateway: Gateway, world: World, **keys: Any) -> None:
    """The same gateway on the same port, with something else changed."""
    world.define(gateway.name, port=gateway.port, **keys)


def pids(supervisor: Supervisor) -> dict[str, int]:
    return {entry["name"]: entry["pid"] for entry in supervisor.status()["gateways"]}


def test_unchanged_definitions_are_no_changes_and_not_one_signal(world: World, supervise: Supervise) -> None:
    main = world.define("main", role="main")
    supervisor = supervise()
    before = supervisor.wait_ready()["main"]["pid"]

    assert reload(supervisor) == (0, "no changes\n", "")
    assert pids(supervisor) == {"main": before}
    assert len(main.lives()) == 1


def test_a_plan_tells_and_does_nothing_and_masks_secrets(world: World, supervise: Supervise) -> None:
    main = world.define("main", role="main")
    supervisor = supervise()
    before = supervisor.wait_ready()["main"]["pid"]
    redefine(main, world, role="main", env={"API_TOKEN": SECRET})

    code, said, _ = reload(supervisor, "--plan")

    assert (code, said) == (0, "main: restarts\n  env.API_TOKEN: (none) -> ***\n")
    assert pids(supervisor) == {"main": before}


def test_live_keys_are_taken_without_a_restart_and_others_with_one(world: World, supervise: Supervise) -> None:
    """R22: the probe is taken by the running gateway, the environment by its next life; the rescue is not touched."""
    main = world.define("main", role="main")
    other = world.define("other")
    world.define("rescue", role="rescue")
    supervisor = supervise()
    supervisor.wait_ready()
    before = pids(supervisor)
    redefine(main, world, sections={"probe": {"interval": 1.0}}, role="main")
    redefine(other, world, env={"TZ": "UTC"})

    code, said, _ = reload(supervisor)
    after = pids(supervisor)

    assert code == 0
    assert "main: takes it at once" in said
    assert "other: restarts" in said
    assert (after["main"], after["rescue"]) == (before["main"], before["rescue"])
    assert after["other"] != before["other"]
    assert other.lives()[-1]["env"]["TZ"] == "UTC"


def test_a_changed_env_file_restarts_its_gateway_and_only_that(world: World, supervise: Supervise) -> None:
    """R22: its content is compared, whatever it is called; a plan takes nothing over."""
    secrets = world.conf_dir / "main.env"
    secrets.write_text("FAKE_CHATTER=0\nEXTRA=first\n", encoding="utf-8")
    secrets.chmod(0o600)
    main = world.define("main", role="main", env_file="main.env")
    world.define("other")
    supervisor = supervise()
    before = {name: entry["pid"] for name, entry in supervisor.wait_ready().items()}
    assert reload(supervisor) == (0, "no changes\n", "")
    secrets.write_text(f"EXTRA={SECRET}\n", encoding="utf-8")

    assert reload(supervisor, "--plan")[1] == "main: restarts\n  env_file.content: *** -> ***\n"
    kill(before["main"])
    supervisor.wait_for(lambda: len(main.lives()) == 2, "a second life")
    assert main.lives()[1]["env"]["EXTRA"] == "first"
    supervisor.wait_ready()
    code, said, why = reload(supervisor)

    assert (code, said) == (0, "main: restarts\n  env_file.content: *** -> ***\n")
    assert main.lives()[2]["env"]["EXTRA"] == SECRET
    assert pids(supervisor)["other"] == before["other"]
    assert reload(supervisor) == (0, "no changes\n", "")
    told = said + why + supervisor.cli("status", "main", "--json").stdout + supervisor.errors.read_text()
    assert SECRET not in told
    assert "env_hash" not in told


def test_a_file_that_cannot_be_read_leaves_its_gateway_on_the_last_good_one(world: World, supervise: Supervise) -> None:
    main = world.define("main", role="main")
    supervisor = supervise()
    before = supervisor.wait_ready()["main"]["pid"]
    main.definition.write_text(f"prot = 4\n{main.definition.read_text()}")

    code, said, _ = reload(supervisor)

    assert code == 1
    assert 'did you mean "port"?' in said
    assert pids(supervisor) == {"main": before}
    assert "last good definition" in supervisor.gateway("main")["warnings"][0]


def test_a_removed_file_stops_its_gateway_only_with_prune(world: World, supervise: Supervise) -> None:
    world.define("main", role="main")
    other = world.define("other")
    supervisor = supervise()
    before = supervisor.wait_ready()["other"]["pid"]
    other.definition.unlink()

    assert reload(supervisor)[0] == 0
    assert supervisor.gateway("other")["orphaned"]
    assert pids(supervisor)["other"] == before
    assert reload(supervisor, "--prune")[0] == 0
    supervisor.wait_state("other", "stopped")


def test_a_pruned_gateway_leaves_its_log_and_no_fifo_behind(world: World, supervise: Supervise) -> None:
    """Neither with the brain nor with the keeper, which would hold it for ever; who comes back gets another."""
    world.define("main", role="main")
    other = world.define("other", env={"FAKE_CHATTER": "200"})
    supervisor = supervise()
    supervisor.wait_ready()
    told = supervisor.status()["supervisor"]

    def fifos(name: str) -> list[str]:
        links = []
        for pid in (told["pid"], told["keeper_pid"]):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):
                    links.append(str(descriptor.readlink()))
        return [link for link in links if f".{name}.fifo" in link]

    assert len(fifos("other")) == 2
    text = other.definition.read_text()
    other.definition.unlink()
    assert reload(supervisor, "--prune")[0] == 0
    supervisor.wait_for(lambda: not fifos("other"), "letting go")

    numbers = log_numbers(supervisor.log("other"), other.lives()[0]["pid"])
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(fifos("main")) == 2
    other.definition.write_text(text)
    assert reload(supervisor)[0] == 0
    supervisor.wait_for(lambda: log_numbers(supervisor.log("other"), other.lives()[1]["pid"]), "its output")
    assert len(fifos("other")) == 2


def test_a_new_file_is_started(world: World, supervise: Supervise) -> None:
    world.define("main", role="main")
    supervisor = supervise()
    supervisor.wait_ready()
    world.define("other")

    code, said, _ = reload(supervisor, "--json")

    changes = {change["name"]: change["effect"] for change in json.loads(said)["changes"]}
    assert (code, changes) == (0, {"main": "none", "other": "start"})
    assert supervisor.gateway("other")["state"] == "ready"


def test_the_first_gateway_that_does_not_come_up_ends_the_reload(world: World, supervise: Supervise) -> None:
    main = world.define("main", role="main")
    other = world.define("other")
    supervisor = supervise()
    supervisor.wait_ready()
    before = pids(supervisor)
    redefine(main, world, role="main", env={"TZ": "UTC"})
    redefine(other, world, command=["/nowhere/openclaw"])

    code, _, why = reload(supervisor)

    assert code == 1
    assert "other: " in why
    assert "main: not reloaded" in why
    assert supervisor.gateway("other")["state"] == "blocked"
    assert pids(supervisor)["main"] == before["main"]


def test_sighup_is_a_reload_and_never_a_stop(world: World, supervise: Supervise) -> None:
    world.define("main", role="main")
    supervisor = supervise()
    before = supervisor.wait_ready()["main"]["pid"]
    world.define("other")

    os.kill(supervisor.status()["supervisor"]["keeper_pid"], signal.SIGHUP)

    supervisor.wait_state("other", "ready")
    assert pids(supervisor)["main"] == before
