"""Completion: the shells' own interpreters judge the scripts."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.cli.arguments import VERBS
from tests.cli.typed import clawsup, environment

SHELLS = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "--no-execute"]}


@pytest.fixture
def conf_dir(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    for name in ("main", "rescue", ".draft"):
        (tmp_path / "conf.d" / f"{name}.toml").write_text("port = 1")
    return tmp_path / "conf.d"


@pytest.mark.parametrize("shell", SHELLS)
def test_every_script_names_every_verb(tmp_path: Path, shell: str) -> None:
    script = clawsup(tmp_path, "completion", shell).stdout
    assert all(verb in script for verb in VERBS)
    assert "completion names" in script


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_itself_can_read_it(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    (tmp_path / "script").write_text(clawsup(tmp_path, "completion", shell).stdout)
    done = subprocess.run([*SHELLS[shell], tmp_path / "script"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_names_are_those_of_the_definitions(tmp_path: Path, conf_dir: Path) -> None:
    assert clawsup(tmp_path, "completion", "names", conf_dir=conf_dir).stdout == "main\nrescue\n"
    assert clawsup(tmp_path, "completion", "names", conf_dir=tmp_path / "none").stdout == ""


def test_a_name_that_bash_would_run_is_not_offered(tmp_path: Path, conf_dir: Path) -> None:
    (conf_dir / "$(touch run).toml").write_text("port = 1")
    assert clawsup(tmp_path, "completion", "names", conf_dir=conf_dir).stdout == "main\nrescue\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("clawsup st", {"status", "start", "stop"}),
        ("clawsup stop --n", {"--no-wait", "--now"}),
        ("clawsup --conf-dir CONF restart r", {"rescue"}),
        ("clawsup --conf-dir CONF logs ma", {"main"}),
        ("clawsup --conf-dir CONF repair ma", {"main"}),
        ("clawsup --conf-dir CONF config ma", {"main"}),
        ("clawsup runtime l", {"list"}),
        ("clawsup check ma", set()),
    ],
)
def test_bash_completes(tmp_path: Path, conf_dir: Path, line: str, expected: set[str]) -> None:
    """What a person gets after the last word and a tab."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "clawsup").write_text(f'#!/bin/sh\nexec {sys.executable} -m supervisor "$@"\n')
    (tools / "clawsup").chmod(0o755)
    words = line.replace("CONF", str(conf_dir)).split()
    script = clawsup(tmp_path, "completion", "bash").stdout
    array = " ".join(f"'{word}'" for word in words)
    ask = f'{script}\nCOMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; _clawsup; printf "%s\\n" "${{COMPREPLY[@]}}"'
    env = environment(PATH=f"{tools}:/usr/bin:/bin")
    done = subprocess.run(["bash", "-c", ask], env=env, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected
