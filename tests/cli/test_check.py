"""`clawsup check` and `clawsup ports`, as they are typed."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "conf.d"

Clawsup = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def conf_dir(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    return tmp_path / "conf.d"


@pytest.fixture
def clawsup(tmp_path: Path, conf_dir: Path) -> Clawsup:
    """Types `clawsup` with a home of its own."""
    (tmp_path / "home").mkdir()

    def run(*words: str, conf_dir: Path = conf_dir) -> "subprocess.CompletedProcess[str]":
        command = [
            sys.executable,
            "-m",
            "supervisor",
            "--conf-dir",
            str(conf_dir),
            "--state-dir",
            str(tmp_path / "s"),
            *words,
        ]
        environment = {**os.environ, "HOME": str(tmp_path / "home")}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)

    return run


def test_the_samples_pass_with_warnings_alone(clawsup: Clawsup) -> None:
    """R9, R21: the config files are not there yet, which is a warning."""
    done = clawsup("check", conf_dir=SAMPLES)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "0 errors, 2 warnings: main ok, rescue ok"


def test_every_error_is_a_line_that_an_editor_can_jump_to(clawsup: Clawsup, conf_dir: Path) -> None:
    """R22: all faults in one go, and 78."""
    (conf_dir / "a.toml").write_text("prot = 1\n\nrole = 'mian'\n")
    (conf_dir / "b.toml").write_text("port = 19789\n")
    done = clawsup("check")
    assert (done.returncode, done.stderr) == (78, "")
    errors = done.stdout.partition("warnings:")[0]
    assert re.findall(rf"^{re.escape(str(conf_dir))}/a\.toml:(\d+): (\w+): ", errors, re.MULTILINE) == [
        ("1", "port"),
        ("1", "prot"),
        ("3", "role"),
    ]
    assert 'did you mean "port"?' in errors
    assert done.stdout.splitlines()[-1] == "3 errors, 1 warning: a unusable, b ok"


def test_check_says_the_same_to_programs(clawsup: Clawsup, conf_dir: Path) -> None:
    (conf_dir / "main.toml").write_text("port = 18789\nrole = 'main'\n")
    (conf_dir / "rescue.toml").write_text("port = 18799\nrole = 'rescue'\n")
    done = clawsup("check", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["schema"], told["conf_dir"]) == (78, 1, str(conf_dir))
    (error,) = [fault for fault in told["faults"] if fault["severity"] == "error"]
    assert (error["file"], error["line"], error["key"]) == (f"{conf_dir}/main.toml", 1, "port")
    assert error["gateways"] == ["main", "rescue"]
    assert error["mend"] == "port = 18819"
    assert [(gateway["name"], gateway["port"], gateway["usable"]) for gateway in told["gateways"]] == [
        ("main", 18789, False),
        ("rescue", 18799, True),
    ]


def test_check_touches_nothing(clawsup: Clawsup, conf_dir: Path, tmp_path: Path) -> None:
    """INTERFACE.md §3: it starts nothing and takes no lock."""
    (conf_dir / "a.toml").write_text("port = 18789\n")
    before = sorted(tmp_path.rglob("*"))
    assert clawsup("check").returncode == 0
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("verb", ["check", "ports"])
def test_no_definitions_at_all_is_78_with_the_directory_named(clawsup: Clawsup, conf_dir: Path, verb: str) -> None:
    done = clawsup(verb)
    assert (done.returncode, done.stdout) == (78, "")
    assert str(conf_dir) in done.stderr
    assert "Traceback" not in done.stderr


def test_ports_tells_each_family(clawsup: Clawsup) -> None:
    """R5, R11 to R13."""
    done = clawsup("ports", conf_dir=SAMPLES)
    assert done.returncode == 0
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["GATEWAY", "BASE", "CONTROL", "CANVAS", "RELAY", "CDP"],
        ["main", "18789", "18791", "18789", "18792-18799", "18800-18808"],
        ["rescue", "19789", "19791", "19789", "19792-19799", "19800-19808"],
    ]


def test_ports_tells_programs_what_cannot_be_used_too(clawsup: Clawsup, conf_dir: Path) -> None:
    (conf_dir / "a.toml").write_text("port = 18789\ncdp_ports = 0\n")
    (conf_dir / "b.toml").write_text("nonsense\n")
    done = clawsup("ports", "--json")
    assert json.loads(done.stdout)["gateways"] == [
        {
            "name": "a",
            "usable": True,
            "base": 18789,
            "control": 18791,
            "canvas": 18789,
            "relay": [18792, 18799],
            "cdp": None,
        },
        {"name": "b", "usable": False, "base": None, "control": None, "canvas": None, "relay": None, "cdp": None},
    ]
    assert "see clawsup check" in clawsup("ports").stdout
