"""What definitions point to: directories, config files, environments, users, the defaults beside conf.d."""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.errors import ClawsupError, DefinitionsUnusable
from supervisor.host.definitions import read
from supervisor.host.definitions.disk import content
from tests.conf_d import ConfD, by_key, usable
from tests.shortage import without_descriptors

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do it")
needs_no_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may do it")

MS_BIND, MNT_DETACH = 4096, 2


@pytest.fixture
def conf(tmp_path: Path) -> ConfD:
    return ConfD.below(tmp_path)


def test_without_descriptors_nothing_is_said_about_any_definition(conf: ConfD) -> None:
    """RELIABILITY.md Q8: a definition that cannot be read now is not broken."""
    conf.write("a", "port = 18789")
    with without_descriptors(os.getpid()):
        for look in (conf.read, lambda: content(str(conf.directory / "a.toml"), 100)):
            with pytest.raises(ClawsupError, match="Too many open files") as refused:
                look()
            assert not isinstance(refused.value, DefinitionsUnusable)
    assert usable(conf.read()) == ["a"]


@contextmanager
def bound(source: Path, target: Path) -> Iterator[None]:
    """`source` is seen at `target` too."""
    libc = ctypes.CDLL(None, use_errno=True)
    target.mkdir()
    if libc.mount(os.fsencode(source), os.fsencode(target), None, MS_BIND, None) != 0:
        pytest.skip(f"no bind mounts here: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        libc.umount2(os.fsencode(target), MNT_DETACH)


def test_one_state_dir_by_symlink_is_found(conf: ConfD) -> None:
    """R2, R23."""
    conf.write("a", "port = 18789")
    (conf.home / "link").symlink_to(".openclaw-a")
    conf.write("b", "port = 19789\nstate_dir = '~/link'\nconfig_path = '~/b.json'", config=None)
    assert by_key(conf.read())["state_dir"].names == ("b", "a")


def test_one_state_dir_by_symlink_is_found_before_it_exists(conf: ConfD) -> None:
    """R2."""
    (conf.home / "real").mkdir()
    (conf.home / "link").symlink_to("real")
    conf.write("a", "port = 18789\nstate_dir = '~/real/deep/s'", config=None)
    conf.write("b", "port = 19789\nstate_dir = '~/link/deep/s'", config=None)
    assert by_key(conf.read())["state_dir"].names == ("b", "a")


@needs_root
def test_one_state_dir_by_bind_mount_is_found(conf: ConfD) -> None:
    """R2."""
    conf.write("a", "port = 18789")
    conf.write("b", "port = 19789\nstate_dir = '~/bound'\nconfig_path = '~/b.json'", config=None)
    with bound(conf.config("a").parent, conf.home / "bound"):
        assert by_key(conf.read())["state_dir"].names == ("b", "a")


@needs_root
@pytest.mark.parametrize("state_dir", ["~/bound there", "~/bound there/deep/s"])
def test_one_state_dir_inside_another_by_bind_mount_is_found(conf: ConfD, state_dir: str) -> None:
    """R2: containers are given a part of a directory beside the directory itself, and then beside that part."""
    conf.write("a", "port = 18789")
    conf.write("b", f"port = 19789\nstate_dir = '{state_dir}'\nconfig_path = '~/b.json'", config=None)
    inside = conf.config("a").parent / "x" / "y"
    inside.mkdir(parents=True)
    first, second = conf.home / "first", conf.home / "bound there"
    with bound(inside, first), bound(first, second):
        (second / "deep").mkdir()
        fault = by_key(conf.read())["state_dir"]
        assert (fault.severity, fault.names) == ("error", ("b", "a"))
        assert "inside" in fault.text


def test_one_config_file_by_hard_link_is_found(conf: ConfD) -> None:
    """R1: OpenClaw itself starts both."""
    conf.write("a", "port = 18789")
    conf.write("b", "port = 19789\nstate_dir = '~/b'\nconfig_path = '~/b.json'", config=None)
    (conf.home / "b.json").hardlink_to(conf.config("a"))
    assert by_key(conf.read())["config_path"].names == ("b", "a")


def test_a_loop_of_symlinks_harms_nobody(conf: ConfD) -> None:
    (conf.home / "loop").symlink_to("loop")
    conf.write("a", "port = 18789\nstate_dir = '~/loop/s'\nworkspace = '~/loop'", config=None)
    assert {fault.severity for fault in conf.read().faults} == {"warning"}


@pytest.mark.parametrize("state_dir", ["~/f", "~/f/below"])
def test_a_state_dir_where_a_file_is_in_the_way_is_an_error(conf: ConfD, state_dir: str) -> None:
    (conf.home / "f").write_text("")
    conf.write("a", f"port = 18789\nstate_dir = '{state_dir}'", config=None)
    found = conf.read()
    assert by_key(found)["state_dir"].severity == "error"
    assert usable(found) == []


# The config file.


@pytest.mark.parametrize("config", [None, "{", "{$include: 'gone.json'}"])
def test_a_missing_or_broken_config_file_is_a_warning(conf: ConfD, config: str | None) -> None:
    conf.write("a", "port = 18789", config=config)
    found = conf.read()
    assert by_key(found)["config_path"].severity == "warning"
    assert usable(found) == ["a"]


def test_a_config_file_that_is_a_fifo_does_not_hang(conf: ConfD) -> None:
    conf.write("a", "port = 18789")
    conf.config("a").unlink()
    os.mkfifo(conf.config("a"))
    reader = threading.Thread(target=conf.read, daemon=True)
    reader.start()
    reader.join(30)
    assert not reader.is_alive()


def test_the_workspaces_of_config_files_are_compared_where_they_lead(conf: ConfD) -> None:
    """R3: `~`, `${HOME}` and an include lead to one directory."""
    conf.write("a", "port = 18789", config="{gateway: {mode: 'local', port: PORT}, agents: {$include: 'agents.json5'}}")
    conf.config("a").with_name("agents.json5").write_text("{defaults: {workspace: '~/work'}}")
    agents = "{entries: {x: {workspace: '${HOME}/work'}}}"
    conf.write("b", "port = 19789", config=f"{{gateway: {{mode: 'local', port: PORT}}, agents: {agents}}}")
    fault = by_key(conf.read())["agents.entries.x.workspace"]
    assert (fault.severity, fault.names) == ("error", ("b", "a"))


def test_a_variable_that_the_definition_sets_is_known(conf: ConfD) -> None:
    """R3: `${OPENCLAW_PROFILE}` leads to the same directory as the name written out."""
    ports = "gateway: {mode: 'local', port: PORT}"
    conf.write(
        "a", "port = 18789", config=f"{{{ports}, agents: {{defaults: {{workspace: '/srv/${{OPENCLAW_PROFILE}}'}}}}}}"
    )
    conf.write("b", "port = 19789", config=f"{{{ports}, agents: {{defaults: {{workspace: '/srv/a'}}}}}}")
    fault = by_key(conf.read())["agents.defaults.workspace"]
    assert (fault.severity, fault.names) == ("error", ("b", "a"))


# The environment.


def test_the_environment_is_the_file_then_the_table(conf: ConfD) -> None:
    conf.env_file(b"# secrets\n\nexport A=1\nB = 'x y'\nC=\"=\"\nD=\n")
    conf.write("a", "port = 18789\nenv_file = 'a.env'\n[env]\nA = '2'")
    found = conf.read()
    assert found.faults == ()
    assert found.environments["a"] == {"A": "2", "B": "x y", "C": "=", "D": ""}


def test_a_definition_knows_what_its_env_file_comes_to_and_not_how_it_is_written(conf: ConfD) -> None:
    conf.write("a", "port = 18789\nenv_file = 'a.env'")

    def env_hash(content: bytes) -> str:
        conf.env_file(content)
        (definition,) = conf.read().roster.definitions
        return definition.env_hash

    first = env_hash(b"A=1\nB=2\n")
    assert first == env_hash(b"# a comment\nB = '2'\nA=0\nexport A=1\n")
    assert len({"", first, env_hash(b"A=1\nB=3\n"), env_hash(b"A=1\n"), env_hash(b"A='1B'\n")}) == 5
    assert env_hash(b"# nothing\n") == ""


@pytest.mark.parametrize("mode", [0o604, 0o602])
def test_an_env_file_that_is_open_to_others_is_an_error(conf: ConfD, mode: int) -> None:
    file = conf.env_file(b"A=1\n", mode=mode)
    conf.write("a", "port = 18789\nenv_file = 'a.env'")
    assert by_key(conf.read())["env_file"].mend == f"chmod 600 {file}"


@pytest.mark.parametrize("make", ["missing", "fifo", "latin"])
def test_an_env_file_that_cannot_be_read_is_an_error(conf: ConfD, make: str) -> None:
    if make == "fifo":
        os.mkfifo(conf.directory / "a.env")
    elif make == "latin":
        conf.env_file(b"A=\xe4\n")
    conf.write("a", "port = 18789\nenv_file = 'a.env'")
    found = conf.read()
    assert (by_key(found)["env_file"].line, usable(found)) == (2, [])


def test_the_bad_lines_of_an_env_file_are_told_by_its_own_lines(conf: ConfD) -> None:
    file = conf.env_file(b"A=1\nnonsense\nOPENCLAW_GATEWAY_PORT=1\n1A=x\n")
    conf.write("a", "port = 18789\nenv_file = 'a.env'")
    assert [fault.line for fault in conf.read().faults if fault.file == str(file)] == [2, 3, 4]


def test_a_secret_of_the_environment_is_not_shown(conf: ConfD) -> None:
    conf.env_file(b"sk-51e7\n")
    conf.write("a", "port = 18789\nenv_file = 'a.env'\n[env]\nTOKEN = ['sk-51e7']")
    conf.write("b", "port = 19789\nenv_file = 'a.env'")
    found = conf.read()
    assert usable(found) == []
    assert "sk-51e7" not in repr(found.faults)


# supervisor.toml.


def test_defaults_fill_what_a_definition_leaves_open(conf: ConfD) -> None:
    conf.defaults(
        "[defaults]\ncdp_ports = 20\nenv = {A = '1', B = '1'}\npatients = []\n"
        "[defaults.probe]\ninterval = 5\n[notify]\nx = 1"
    )
    conf.write("a", "port = 18789\ncdp_ports = 3\n[env]\nB = '2'\n[probe]\ntimeout = 2")
    conf.write("b", "port = 19789\nrole = 'rescue'")
    found = conf.read()
    assert found.faults == ()
    a, b = found.roster.definitions
    assert (a.cdp_ports, b.cdp_ports) == (3, 20)
    assert (a.probe.interval, a.probe.timeout) == (5, 2)
    assert found.environments == {"a": {"A": "1", "B": "2"}, "b": {"A": "1", "B": "1"}}


@pytest.mark.parametrize(
    ("text", "place", "severity"),
    [
        ("[defaults]\ncdp_prots = 3", "2: defaults.cdp_prots", "error"),
        ("[defaults]\nport = 3", "2: defaults.port", "error"),
        ("[defaults]\n[defaults.probe]\ninterval = 0", "3: defaults.probe.interval", "error"),
        ("[defaults.env]\nOPENCLAW_PROFILE = 'x'", "2: defaults.env.OPENCLAW_PROFILE", "error"),
        ("[defautls]\ncdp_ports = 3", "1: defautls", "warning"),
    ],
)
def test_a_fault_of_the_defaults_is_told_at_its_place_and_costs_no_gateway(
    conf: ConfD, text: str, place: str, severity: str
) -> None:
    file = conf.defaults(text)
    conf.write("a", "port = 18789")
    found = conf.read()
    (fault,) = found.faults
    assert str(fault).startswith(f"{file}:{place}: ")
    assert fault.severity == severity
    assert usable(found) == ["a"]


@needs_root
@pytest.mark.parametrize("text", ["nonsense", "[defaults]\nuser = 3", "[defaults]\nusr = 'claw'", "defaults = 3"])
def test_root_starts_nothing_while_the_default_user_cannot_be_known(conf: ConfD, text: str) -> None:
    conf.defaults(text)
    conf.write("a", "port = 18789")
    conf.write("b", "port = 19789\nuser = 'root'", config=None)
    found = conf.read()
    assert usable(found) == ["b"]
    assert by_key(found)["user"].names == ("a",)


# Users, and the machine.


@needs_root
def test_paths_of_a_gateway_of_another_user_are_in_that_users_home(conf: ConfD) -> None:
    conf.write("a", "port = 18789\nuser = 'nobody'", config=None)
    (definition,) = conf.read().known
    assert definition.state_dir == f"{Path('~nobody').expanduser()}/.openclaw-a"


@needs_root
def test_a_user_that_does_not_exist_is_an_error(conf: ConfD) -> None:
    conf.write("a", "port = 18789\nuser = 'no-such-user'")
    assert "no user of this machine" in by_key(conf.read())["user"].text


@needs_no_root
def test_a_user_is_an_error_where_the_supervisor_is_not_root(conf: ConfD) -> None:
    conf.write("a", "port = 18789\nuser = 'nobody'")
    assert "runs as root" in by_key(conf.read())["user"].text


def test_the_machines_range_for_outgoing_connections_is_looked_up(conf: ConfD) -> None:
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    conf.write("a", f"port = {(low + high) // 2}")
    assert f"{low}-{high}" in by_key(read(conf.directory, home=conf.home))["port"].text
