"""What `clawsup run` does before it becomes the keeper."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.cli.run import keeper_argv, make_private
from supervisor.errors import ClawsupError
from tests.cli.typed import ROOT, clawsup


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_state_dir_is_made_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_private(str(tmp_path / "a" / "b"))
    finally:
        os.umask(before)

    assert mode(tmp_path / "a" / "b") == 0o700


@pytest.mark.parametrize("inside", [[], ["supervisor.lock", "logs"]])
def test_an_open_state_dir_of_ours_is_closed(tmp_path: Path, inside: list[str]) -> None:
    state_dir = tmp_path / "s"
    state_dir.mkdir(mode=0o755)
    for name in inside:
        (state_dir / name).write_text("")

    make_private(str(state_dir))

    assert mode(state_dir) == 0o700


def test_a_directory_of_others_things_is_not_shut_to_them(tmp_path: Path) -> None:
    state_dir = tmp_path / "s"
    state_dir.mkdir()
    state_dir.chmod(0o755)
    (state_dir / "something").write_text("")

    make_private(str(state_dir))

    assert mode(state_dir) == 0o755


def test_a_directory_that_others_write_is_refused(tmp_path: Path) -> None:
    """`--state-dir /tmp` is a slip, and /tmp must stay as it is."""
    state_dir = tmp_path / "s"
    state_dir.mkdir()
    state_dir.chmod(0o1777)
    (state_dir / "something").write_text("")

    with pytest.raises(ClawsupError, match=r"others may write it.*\n  mend: name a directory of its own"):
        make_private(str(state_dir))

    assert mode(state_dir) == 0o1777


@pytest.mark.parametrize("below", ["", "/s"])
def test_a_state_dir_that_is_a_file_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("precious")

    done = clawsup(Path(f"{tmp_path}/file{below}"), "run")

    assert done.returncode == 1
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "file").read_text() == "precious"


def test_a_state_dir_where_nothing_can_be_made_is_named() -> None:
    done = clawsup(Path("/proc/clawsup"), "run")

    assert done.returncode == 1
    assert done.stderr.startswith("clawsup: /proc/clawsup: cannot make the state dir: ")


def test_a_state_dir_too_long_for_a_socket_is_not_even_made(tmp_path: Path) -> None:
    state_dir = tmp_path / ("x" * 107)

    done = clawsup(state_dir, "run")

    assert done.returncode == 1
    assert "bytes long, and the kernel takes 107" in done.stderr
    assert not state_dir.exists()


def test_the_keeper_and_the_brain_run_isolated_from_the_directory_they_are_started_in() -> None:
    argv = keeper_argv("/c", "/s")
    dashes = argv.index("--")

    assert argv[:dashes] == [sys.executable, "-I", str(ROOT / "supervisor" / "keeper.py"), "/s"]
    assert argv[dashes + 1 : dashes + 3] == [sys.executable, "-I"]
    assert argv[-4:] == ["--conf-dir", "/c", "--state-dir", "/s"]


def test_the_brains_command_line_finds_the_package_from_anywhere(tmp_path: Path) -> None:
    """From sources as well as installed: what stands behind the dashes is run as it is, up to its own usage."""
    argv = keeper_argv("/c", "/s")
    brain = [*argv[argv.index("--") + 1 :], "--help"]
    ran = subprocess.run(brain, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert "--keeper-fd" in ran.stdout + ran.stderr
