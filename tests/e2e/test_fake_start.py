"""How gateways are started, and what keeps them from it (the fake OpenClaw)."""

import fcntl
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Supervise
from tests.e2e.world import FAKE, World

NODE_HINT_FDS = 16  # Node marks descriptors up to here close-on-exec for its own children
INHERITED = {"HOME", "USER", "LANG", "LC_ALL", "TZ", "HTTPS_PROXY", "no_proxy", "SSL_CERT_FILE", "PATH"}
OPENCLAW = {"OPENCLAW_STATE_DIR", "OPENCLAW_CONFIG_PATH", "OPENCLAW_GATEWAY_PORT", "OPENCLAW_PROFILE"} | {
    "OPENCLAW_SUPERVISOR_MODE",
    "OPENCLAW_SERVICE_REPAIR_POLICY",
    "OPENCLAW_NO_AUTO_UPDATE",
    "OPENCLAW_DISABLE_BONJOUR",
}
OURS = {"CLAWSUP_GATEWAY", "CLAWSUP_CONF_DIR", "CLAWSUP_STATE_DIR", "CLAWSUP_RUN"}
HOSTILE = {
    "INVOCATION_ID": "1",
    "JOURNAL_STREAM": "1:2",
    "SYSTEMD_EXEC_PID": "1",
    "LISTEN_FDS": "1",
    "NODE_OPTIONS": "--no-such-option",
    "NODE_COMPILE_CACHE": "/nowhere",
    "OPENCLAW_GATEWAY_PORT": "1",
    "OPENCLAW_STATE_DIR": "/nowhere",
    "OPENCLAW_PROFILE": "other",
    "OPENCLAW_WORKSPACE_DIR": "/nowhere",
    "OPENCLAW_GATEWAY_TOKEN": "secret",
    "OPENCLAW_NO_RESPAWN": "1",
    "CLAWDBOT_STATE_DIR": "/nowhere",
    "MOLTBOT_STATE_DIR": "/nowhere",
    "CLAWSUP_RUN": "stolen",
    "AWS_SECRET_ACCESS_KEY": "secret",
}


def test_two_definitions_become_two_ready_gateways_rescue_first(world: World, supervise: Supervise) -> None:
    """R22, R24, R28: main is not even spawned before the rescue has started."""
    main = world.define("main", role="main")
    rescue = world.define("rescue", role="rescue", env={"FAKE_STARTED_S": "1"})
    supervisor = supervise()
    seen = supervisor.wait_ready()
    order = [(event["gateway"], event["event"]) for event in supervisor.events()]
    assert order.index(("rescue", "started")) < order.index(("main", "spawned"))
    for gateway in (main, rescue):
        assert [life["pid"] for life in gateway.lives()] == [seen[gateway.name]["pid"]]
        assert seen[gateway.name]["port"] == gateway.port
        assert seen[gateway.name]["restarts"] == 0
    assert supervisor.cli("status").returncode == 0


def test_the_command_line_and_working_directory_are_openclaws(world: World, supervise: Supervise) -> None:
    """R4, R6, R18: with --profile, without it for the default profile, and the manual way."""
    main = world.define("main")
    default = world.define("plain", profile="default", state_dir=str(world.home / ".openclaw"))
    manual_dir = world.home / "by-hand"
    manual = world.define("manual", state_dir=str(manual_dir), config_path=str(manual_dir / "openclaw.json"))
    supervise().wait_ready()
    run = ["gateway", "run", "--port"]
    assert main.lives()[0]["argv"] == ["--profile", "main", *run, str(main.port)]
    assert default.lives()[0]["argv"] == [*run, str(default.port)]
    assert manual.lives()[0]["argv"] == [*run, str(manual.port)]
    assert "OPENCLAW_PROFILE" not in default.lives()[0]["env"]
    assert [gateway.lives()[0]["cwd"] for gateway in (main, default, manual)] == [
        str(gateway.state_dir) for gateway in (main, default, manual)
    ]


def test_the_environment_of_a_gateway_is_exactly_the_allow_list(world: World, supervise: Supervise) -> None:
    """R1, R2, R4: nothing of a hostile environment gets through."""
    main = world.define("main", env={"COLOUR": "blue"})
    wanted = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "HTTPS_PROXY": "http://p", "no_proxy": "x", "SSL_CERT_FILE": "/c"}
    supervisor = supervise(env=HOSTILE | wanted)
    supervisor.wait_ready()
    env = main.lives()[0]["env"]
    assert set(env) == INHERITED | OPENCLAW | OURS | {"COLOUR"}
    assert env["OPENCLAW_GATEWAY_PORT"] == str(main.port)
    assert env["OPENCLAW_STATE_DIR"] == str(main.state_dir)
    assert env["OPENCLAW_CONFIG_PATH"] == str(main.config)
    assert env["OPENCLAW_PROFILE"] == env["CLAWSUP_GATEWAY"] == "main"
    assert env["OPENCLAW_SUPERVISOR_MODE"] == "external"
    assert env["CLAWSUP_RUN"] != "stolen"
    assert env["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert wanted.items() <= env.items()


def test_a_gateway_inherits_its_stdio_and_the_lock_alone(world: World, supervise: Supervise) -> None:
    """R23: the lock is a descriptor of the state directory, low enough for Node to keep it from its children."""
    main = world.define("main", env={"FAKE_HELPER": "setsid"})
    supervise().wait_ready()
    fds = {int(number): target for number, target in main.lives()[0]["fds"].items()}
    (lock,) = fds.keys() - {0, 1, 2}
    assert fds[0] == "/dev/null"
    assert fds[1] == fds[2]
    assert fds[lock] == str(main.state_dir)
    assert lock <= NODE_HINT_FDS
    life = main.lives()[0]
    assert life["sid"] == life["pid"]


def test_a_gateway_inherits_no_ignored_signal(world: World, supervise: Supervise) -> None:
    """Ignoring survives exec: a gateway that inherited it would be deaf to SIGTERM until it has a handler of its own."""
    main = world.define("main")
    supervise().wait_ready()
    assert main.lives()[0]["ignored"] == []


def test_the_state_directory_is_locked_while_its_gateway_lives(world: World, supervise: Supervise) -> None:
    """R23."""
    main = world.define("main")
    supervisor = supervise()
    supervisor.wait_ready()
    mine = os.open(main.state_dir, os.O_RDONLY | os.O_DIRECTORY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert supervisor.cli("stop", "main").returncode == 0
    fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(mine)


@pytest.mark.parametrize("offset", [0, 2])
def test_a_squatted_port_blocks_naming_it_and_its_holder_and_starts_once_freed(
    world: World, supervise: Supervise, offset: int
) -> None:
    """R4, R5, R24: base and browser control; nothing is spawned into a taken port."""
    main = world.define("main")
    with socket.create_server(("127.0.0.1", main.port + offset)):
        supervisor = supervise()
        blocked = supervisor.wait_state("main", "blocked")
        assert str(main.port + offset) in blocked["reason"]
        assert str(os.getpid()) in blocked["reason"]
        assert supervisor.cli("status").returncode == 3
        assert main.lives() == []
    supervisor.wait_state("main", "ready", deadline_s=10)
    assert len(main.lives()) == 1


def test_a_squatted_cdp_port_is_only_warned_of(world: World, supervise: Supervise) -> None:
    """R13: it starts, and `status` says which port is missing."""
    main = world.define("main")
    with socket.create_server(("127.0.0.1", main.port + 11)):
        supervisor = supervise()
        supervisor.wait_ready()
        assert str(main.port + 11) in supervisor.cli("status", "main").stdout


def test_a_lock_held_by_another_blocks_naming_it(world: World, supervise: Supervise) -> None:
    """R23: the other gateway is not touched by it, and a released lock starts this one."""
    main, _ = world.define("main"), world.define("other")
    foreign = os.open(main.state_dir, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(foreign, fcntl.LOCK_EX)
    supervisor = supervise()
    assert str(os.getpid()) in supervisor.wait_state("main", "blocked")["reason"]
    supervisor.wait_ready(["other"])
    assert main.lives() == []
    os.close(foreign)
    supervisor.wait_state("main", "ready", deadline_s=10)


def test_a_launcher_that_fails_or_is_missing_blocks_until_it_is_mended(world: World, supervise: Supervise) -> None:
    """A wrong Node makes `--version` fail; a path may lead to nothing or to a directory."""
    launcher = world.root / "openclaw"
    main = world.define("main", command=[str(launcher)])
    world.define("folder", command=[str(world.home)])
    world.define("node", env={"FAKE_VERSION_EXIT": "1"})
    supervisor = supervise()
    for name in ("main", "folder", "node"):
        blocked = supervisor.wait_state(name, "blocked")
        assert blocked["reason"]
        assert "clawsup runtime install" in blocked["mend"]
    assert main.lives() == []
    launcher.write_text(f'#!/bin/sh\nexec {sys.executable} -I {FAKE} "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
    supervisor.wait_state("main", "ready", deadline_s=15)


@pytest.mark.parametrize("config", [None, '{"gateway": {', '{"gateway": {}}'])
def test_a_config_that_cannot_start_blocks_until_the_file_changes(
    world: World, supervise: Supervise, config: str | None
) -> None:
    """Exit 78 is not retried blindly; a mended file starts it at once."""
    main = world.define("main")
    main.config.unlink() if config is None else main.config.write_text(config, encoding="utf-8")
    supervisor = supervise()
    supervisor.wait_state("main", "blocked")
    starts = len(main.lives())
    assert starts <= 1
    main.write_config()
    supervisor.wait_state("main", "ready", deadline_s=10)
    assert len(main.lives()) == starts + 1


def test_a_broken_definition_is_blocked_beside_a_good_one_that_runs(world: World, supervise: Supervise) -> None:
    """R22: one broken file never keeps the others from running."""
    good, broken = world.define("good"), world.define("broken")
    broken.definition.write_text("port = 'no'\nprot = 1\n", encoding="utf-8")
    supervisor = supervise()
    supervisor.wait_state("good", "ready")
    seen = supervisor.wait_state("broken", "blocked")
    assert "broken.toml" in seen["reason"]
    assert seen["port"] is None
    assert broken.lives() == []
    assert len(good.lives()) == 1
    assert supervisor.cli("check").returncode == 78


def test_two_definitions_on_one_config_file_are_refused(world: World, supervise: Supervise) -> None:
    """R1: OpenClaw itself would run both; `check` names both files, and `run` never lets both run."""
    one = world.define("one")
    two = world.define("two", config_path=str(one.config))
    world.define("other")
    supervisor = supervise()
    answer = supervisor.cli("check")
    assert answer.returncode == 78
    assert "one.toml" in answer.stdout + answer.stderr
    assert "two.toml" in answer.stdout + answer.stderr
    supervisor.wait_ready(["other"])
    assert supervisor.wait_state("two", "blocked")["reason"]
    assert not (one.lives() and two.lives())


def test_a_disabled_definition_is_known_and_starts_only_when_asked(world: World, supervise: Supervise) -> None:
    """R22."""
    main = world.define("main", enabled=False)
    supervisor = supervise()
    assert supervisor.wait_state("main", "stopped")["wanted"] is False
    assert main.lives() == []
    assert supervisor.cli("start", "main").returncode == 0
    supervisor.wait_state("main", "ready", wanted=True)
    assert supervisor.stop() == 0
    assert supervise().wait_state("main", "stopped")["wanted"] is False
    assert len(main.lives()) == 1


def test_an_empty_conf_dir_is_unusable(world: World, supervise: Supervise) -> None:
    """78, and a text that names the directory."""
    supervisor = supervise()
    assert supervisor.process is not None
    assert supervisor.process.wait(30) == 78
    assert str(world.conf_dir) in supervisor.errors.read_text(encoding="utf-8")


def test_a_stranger_on_the_port_is_never_signalled(world: World, supervise: Supervise) -> None:
    """R24: this very process holds the port, and is asked for no signal at all."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    main = world.define("main")
    with socket.create_server(("127.0.0.1", main.port)):
        supervisor = supervise()
        supervisor.wait_state("main", "blocked")
        supervisor.cli("restart", "main", "--no-wait")
        supervisor.cli("stop", "main", "--now")
        supervisor.wait_state("main", "stopped")
    signal.signal(signal.SIGTERM, before)
    assert heard == []
