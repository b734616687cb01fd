"""Definitions as they are written: what is filled in, and what every wrong one is told."""

import os
import socket
from pathlib import Path

import pytest

from supervisor.errors import DefinitionsUnusable
from supervisor.host.definitions import read
from supervisor.openclaw.config import ConfigFacts
from supervisor.policy.facts import Cause
from supervisor.policy.roster import Machine
from tests.conf_d import SAMPLES, ConfD, usable

needs_no_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


@pytest.fixture
def conf(tmp_path: Path) -> ConfD:
    return ConfD.below(tmp_path)


def test_defaults_are_those_of_the_interface(conf: ConfD) -> None:
    """R6, R22: INTERFACE.md §2."""
    conf.write("main", "port = 18789\nrole = 'main'")
    conf.write("rescue", "port = 19789\nrole = 'rescue'")
    found = conf.read()
    assert found.faults == ()
    main, rescue = found.roster.definitions
    assert (main.profile, main.state_dir) == ("main", f"{conf.home}/.openclaw-main")
    assert main.config_path == f"{conf.home}/.openclaw-main/openclaw.json"
    assert (main.restart.cap, main.restart.burst, main.patients) == (900, 3, ())
    assert (rescue.restart.cap, rescue.restart.burst, rescue.patients) == (30, 0, ("main",))
    assert isinstance(found.configs["main"], ConfigFacts)


def test_a_rescue_with_limits_of_its_own_keeps_them(conf: ConfD) -> None:
    conf.write("rescue", "port = 19789\nrole = 'rescue'\n[restart]\nburst = 5")
    (rescue,) = conf.read().roster.definitions
    assert (rescue.restart.cap, rescue.restart.burst) == (30, 5)


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        ("state_dir = '/s'\nconfig_path = '/c.json'", None),
        ("state_dir = '/s'", "a"),
        ("state_dir = '/s'\nconfig_path = '/c.json'\nprofile = 'x'", "x"),
        ("profile = 'Default'", "default"),
    ],
)
def test_the_manual_way_is_both_paths_and_no_profile(conf: ConfD, text: str, profile: str | None) -> None:
    """R6, R18."""
    conf.write("a", f"port = 18789\n{text}")
    assert conf.read().known[0].profile == profile


def test_paths_are_expanded_and_relative_to_conf_d(conf: ConfD) -> None:
    conf.write("a", 'port = 18789\nstate_dir = "~/s/../t"\nworkspace = "w"\ncommand = ["./openclaw", "./x"]')
    (definition,) = conf.read().roster.definitions
    assert definition.state_dir == f"{conf.home}/t"
    assert definition.config_path == f"{conf.home}/t/openclaw.json"
    assert definition.workspace == f"{conf.directory}/w"
    assert definition.command == (f"{conf.directory}/openclaw", "./x")


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "1: port", "is missing, expected a whole number from 1 to 65535"),
        ("\nprot = 3", "2: prot", 'did you mean "port"?'),
        (
            "port = 1\n\nrole = 'mian'",
            "3: role",
            'is "mian", expected "main", "rescue" or "extra"; did you mean "main"?',
        ),
        ("port = 70000", "1: port", "is 70000, expected a whole number from 1 to 65535"),
        ("port = '1'", "1: port", 'is "1"'),
        ("port = true", "1: port", "is true"),
        ("timeout = 3", "1: timeout", "belongs in [start] or [stop] or [probe]"),
        ("name = 'x'", "1: name", "unknown key"),
        ("env_hash = 'x'", "1: env_hash", "unknown key"),
        ("[start]\n\ntimeout = 0", "3: start.timeout", "is 0, expected a number of seconds > 0"),
        ("start.timeout = true", "1: start.timeout", "is true, expected a number of seconds"),
        ("start.timeout = inf", "1: start.timeout", "expected a number of seconds"),
        ("[start]\ntimeuot = 3", "2: start.timeuot", 'did you mean "timeout"?'),
        ("start = 3", "1: start", "is 3, expected a table"),
        ("[repair]\nsteps = [\n'rollback',\n'docter']", "4: repair.steps[1]", 'did you mean "doctor"?'),
        ("command = 'openclaw'", "1: command", 'expected a list of strings, like ["openclaw"]'),
        ("command = []", "1: command", "is empty"),
        ("cdp_ports = 101", "1: cdp_ports", "from 0 to 100"),
        ("enabled = 1", "1: enabled", "expected true or false"),
        ("profile = '../x'", "1: profile", "expected an OpenClaw profile"),
        ("state_dir = ''", "1: state_dir", "is empty"),
        ("state_dir = '~claw/x'", "1: state_dir", "only ~/ is expanded"),
        ('workspace = "a\\u0000"', "1: workspace", "NUL"),
        ("patients = ['a']", "1: patients", 'only for role = "rescue"'),
        ("[env]\nA = 3", "2: env.A", "no string, expected a string"),
        ('[env]\n"A B" = ""', "2: env.A B", "no name of a variable"),
        ("[env]\nOPENCLAW_STATE_DIR = '/x'", "2: env.OPENCLAW_STATE_DIR", "set by clawsup"),
        ("[env]\nCLAWSUP_RUN = 'x'", "2: env.CLAWSUP_RUN", "set by clawsup"),
        ("port = \n", "1", "is not valid TOML"),
    ],
)
def test_every_fault_has_its_line_and_says_what_was_expected(conf: ConfD, text: str, place: str, words: str) -> None:
    """R22."""
    file = conf.write("a", text)
    fault = next(fault for fault in conf.read().faults if str(fault).startswith(f"{file}:{place}: "))
    assert (fault.severity, fault.names) == ("error", ("a",))
    assert words in fault.text
    assert fault.mend


def test_all_faults_of_all_files_come_in_one_go(conf: ConfD) -> None:
    conf.write("a", "prot = 1\nrole = 'x'\nenabled = 3")
    conf.write("b", "[stop]\ntimeout = -1")
    conf.write("c", "port = 18789")
    found = conf.read()
    assert [(Path(fault.file).stem, fault.line, fault.key) for fault in found.faults] == [
        ("a", 1, "port"),
        ("a", 1, "prot"),
        ("a", 2, "role"),
        ("a", 3, "enabled"),
        ("b", 1, "port"),
        ("b", 2, "stop.timeout"),
    ]
    assert usable(found) == ["c"]
    assert [(name, obstacle.cause) for name, obstacle in found.roster.broken] == [
        ("a", Cause.CONFIG),
        ("b", Cause.CONFIG),
    ]


def test_a_start_timeout_past_its_cap_is_a_warning(conf: ConfD) -> None:
    conf.write("a", "port = 18789\n[start]\ntimeout = 2000")
    (fault,) = conf.read().faults
    assert (fault.line, fault.key, fault.severity) == (3, "start.timeout", "warning")


# What is no definition at all.


def test_files_of_other_kinds_cost_only_themselves(conf: ConfD, monkeypatch: pytest.MonkeyPatch) -> None:
    """R22: none of them hangs the reading, none keeps the others from running."""
    conf.write("fine", "port = 18789")
    conf.write("Not_A_Name", "port = 19789", config=None)
    monkeypatch.chdir(conf.directory)  # the path of a unix socket has at most 107 bytes, so it is bound from within
    Path("directory.toml").mkdir()
    os.mkfifo("fifo.toml")
    Path("huge.toml").write_bytes(b"#" * 10_000_000)
    Path("latin.toml").write_bytes(b"port = 1\n# \xe4\n")
    Path("dangling.toml").symlink_to("nowhere")
    Path("zero.toml").symlink_to("/dev/zero")
    Path(".hidden.toml").write_text("nonsense")
    Path("readme.md").write_text("nonsense")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.toml")
        found = conf.read()
    words = {
        "directory": "directory",
        "fifo": "FIFO",
        "huge": "larger than 1024 KiB",
        "latin": "UTF-8",
        "dangling": "No such file",
        "zero": "device",
        "socket": "socket",
    }
    told = {Path(fault.file).stem: fault.text for fault in found.faults}
    assert told.keys() == words.keys() | {"Not_A_Name"}
    assert len(found.faults) == len(told)
    assert all(word in told[name] for name, word in words.items())
    assert usable(found) == ["fine"]
    assert [name for name, _ in found.roster.broken] == sorted(words)


def test_what_is_no_file_leaves_no_descriptor_open(conf: ConfD) -> None:
    (conf.directory / "a.toml").mkdir()
    os.mkfifo(conf.directory / "b.toml")
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 (iterdir holds one of its own open)
    conf.read()
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 (as above)


@pytest.mark.parametrize("make", ["missing", "empty", "file"])
def test_a_directory_without_definitions_is_refused_by_name(tmp_path: Path, make: str) -> None:
    directory = tmp_path / "conf.d"
    if make == "empty":
        directory.mkdir()
    elif make == "file":
        directory.write_text("port = 1")
    with pytest.raises(DefinitionsUnusable) as caught:
        read(directory)
    assert str(directory) in caught.value.what
    assert "--conf-dir" in caught.value.mend


@needs_no_root
def test_a_directory_that_may_not_be_read_is_refused_by_name(conf: ConfD) -> None:
    conf.directory.chmod(0)
    try:
        with pytest.raises(DefinitionsUnusable, match="Permission denied"):
            conf.read()
    finally:
        conf.directory.chmod(0o700)


# The samples.


def test_the_samples_run_as_they_are(conf: ConfD) -> None:
    """R9, R10, R21: main on 18789, rescue on 19789."""
    found = read(SAMPLES, home=conf.home, machine=Machine())
    assert [fault for fault in found.faults if fault.severity == "error"] == []
    assert [(each.name, each.role, each.port) for each in found.roster.definitions] == [
        ("main", "main", 18789),
        ("rescue", "rescue", 19789),
    ]


def test_the_defaults_that_the_sample_shows_are_the_defaults(conf: ConfD) -> None:
    examples = {"workspace", "env_file", "user", "TZ"}
    conf.write("main", "port = 18789\nrole = 'main'")
    bare = conf.read().roster
    lines = [line.removeprefix("# ") for line in (SAMPLES / "main.toml").read_text().splitlines()]
    shown = [line for line in lines if " = " in line or line.startswith("[")]
    kept = [line for line in shown if line.split(" = ")[0] not in examples and not line.startswith("This")]
    assert len(kept) > len(examples)
    conf.write("main", "\n".join(kept), config=None)
    found = conf.read()
    assert (found.roster, found.faults) == (bare, ())
