"""What holds for every verb: arguments, places, errors, exit codes, streams."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.typed import clawsup, environment
from tests.control.in_memory import Fleet, entry, supervisor

# What the client's path must not import: the packages we depend on, and what is slow of the standard library.
SLOW = {"anyio", "asyncio", "filelock", "h11", "json5", "loguru", "psutil", "pydantic", "http", "inspect", "pathlib"}


def test_status_imports_none_of_the_packages_that_the_supervisor_needs(short_dir: Path) -> None:
    script = (
        "import sys; from supervisor.cli import main; code = main();"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr); sys.exit(code)"
    )
    with supervisor(Fleet({"main": entry("main", restarts=1)}), short_dir):
        command = [sys.executable, "-c", script, "--state-dir", str(short_dir), "status"]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())

    assert "main" in ran.stdout
    assert set(ran.stderr.split()) & SLOW == set()


def test_help_names_every_verb_and_where_things_are(short_dir: Path) -> None:
    done = clawsup(short_dir, "--help")

    assert done.returncode == 0
    for verb in ("run", "check", "ports", "status", "start", "stop", "restart", "logs", "events", "exec"):
        assert f"\n  {verb} " in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    "verb", ["run", "check", "ports", "status", "start", "stop", "restart", "logs", "events", "exec"]
)
def test_every_verb_explains_itself(short_dir: Path, verb: str) -> None:
    done = clawsup(short_dir, verb, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: clawsup {verb}")


def test_a_bare_clawsup_shows_the_way(short_dir: Path) -> None:
    done = clawsup(short_dir)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: clawsup")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["statsu"], "statsu is no verb of clawsup; did you mean status?"),
        (["status", "--jsno"], "clawsup status takes no --jsno; did you mean --json?"),
        (["--json", "status"], "--json stands after the verb"),
        (["logs"], "the following arguments are required: NAME"),
        (["logs", "main", "-n", "many"], "many is not a number of lines"),
        (["logs", "main", "-n", "-1"], "-1 is not a number of lines"),
        (["stop"], "stop which gateways?"),
        (["stop", "main", "--all"], "NAME and --all exclude each other"),
        (["start", "main", "--now"], "clawsup start takes no --now"),
        (["exec", "main", "--"], "exec what?"),
        (["--conf-dir"], "expected one argument"),
    ],
)
def test_wrong_words_are_a_usage_error_with_a_mend(short_dir: Path, words: list[str], said: str) -> None:
    done = clawsup(short_dir, *words)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("clawsup: ")
    assert said in done.stderr
    assert "\n  mend: clawsup " in done.stderr


@pytest.mark.parametrize("verb", ["status", "start", "stop", "restart"])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_without_a_supervisor_every_verb_says_so_and_json_says_nothing(
    short_dir: Path, verb: str, more: list[str]
) -> None:
    done = clawsup(short_dir, verb, *(["main"] if verb != "status" else []), *more)

    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("clawsup: no supervisor is running here")


def test_places_come_from_the_environment_and_flags_beat_them(short_dir: Path) -> None:
    env = environment(CLAWSUP_STATE_DIR=str(short_dir))
    command = [sys.executable, "-m", "supervisor"]
    with supervisor(Fleet({"main": entry("main")}), short_dir):
        from_environment = subprocess.run([*command, "status"], env=env, capture_output=True, text=True, check=False)
        from_flag = subprocess.run(
            [*command, "--state-dir", "/nowhere", "status"], env=env, capture_output=True, text=True, check=False
        )

    assert from_environment.returncode == 0
    assert (from_flag.returncode, "/nowhere/control.sock" in from_flag.stderr) == (4, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("uid", "place"), [(0, "/var/lib/openclaw-supervisor"), (65534, "/h/.local/state/openclaw-supervisor")]
)
def test_the_default_place_is_the_users_own(uid: int, place: str) -> None:
    script = "import os, sys; from supervisor.cli import main; os.setuid(int(sys.argv.pop())); sys.exit(main())"
    command = [sys.executable, "-c", script, "status", str(uid)]
    done = subprocess.run(command, env=environment(HOME="/h"), capture_output=True, text=True, check=False)

    # The other user may not even import the verb from a private checkout: then the place is in no message to look at.
    if uid and "No module named" in done.stderr:
        pytest.skip("another user cannot read these sources")
    assert f"{place}/control.sock" in done.stderr


def test_a_state_dir_too_long_for_a_socket_is_refused_with_its_length(tmp_path: Path) -> None:
    done = clawsup(tmp_path / ("x" * 107), "status")

    assert done.returncode == 1
    assert "bytes long, and the kernel takes 107" in done.stderr


@pytest.mark.parametrize("words", [["status"], ["--help"], ["statsu"]])
def test_closed_streams_crash_nothing(short_dir: Path, words: list[str]) -> None:
    with supervisor(Fleet({"main": entry("main")}), short_dir):
        typed = " ".join([sys.executable, "-m", "supervisor", "--state-dir", str(short_dir), *words])
        expected = clawsup(short_dir, *words).returncode
        for closed in (">&-", "2>&-", "<&-", "<&- >&- 2>&-"):
            shell = subprocess.run(
                ["sh", "-c", f"{typed} {closed}"], env=environment(), capture_output=True, check=False
            )
            assert (shell.returncode, b"Traceback" in shell.stderr) == (expected, False), closed


def test_a_reader_that_leaves_is_no_failure(short_dir: Path) -> None:
    with supervisor(Fleet({"main": entry("main", "blocked")}), short_dir):
        reader, writer = os.pipe()
        os.close(reader)
        done = clawsup(short_dir, "status", stdout=writer)
        os.close(writer)

    assert (done.returncode, done.stderr) == (3, "")


def test_a_stdout_that_is_full_is_named(short_dir: Path) -> None:
    with supervisor(Fleet({"main": entry("main")}), short_dir), Path("/dev/full").open("wb") as full:
        done = clawsup(short_dir, "status", stdout=full.fileno())

    assert done.returncode == 1
    assert done.stderr == f"clawsup: cannot write the output: {os.strerror(errno.ENOSPC)}\n"


@pytest.mark.parametrize(("words", "code"), [("statsu", 2), ("status nosuch", 4), ("check", 78)])
def test_a_stderr_that_is_full_does_not_change_the_exit_code(short_dir: Path, words: str, code: int) -> None:
    with supervisor(Fleet({"main": entry("main")}), short_dir), Path("/dev/full").open("wb") as full:
        command = [
            sys.executable,
            "-m",
            "supervisor",
            "--state-dir",
            str(short_dir),
            "--conf-dir",
            "/nowhere",
            *words.split(),
        ]
        done = subprocess.run(
            command, env=environment(PYTHONUNBUFFERED=""), stdout=subprocess.PIPE, stderr=full.fileno(), check=False
        )

    assert (done.returncode, done.stdout) == (code, b"")


def test_text_that_the_locale_cannot_write_is_written_all_the_same(short_dir: Path) -> None:
    fleet = Fleet({"main": entry("main", "blocked", reason="Größe ✗")})
    with supervisor(fleet, short_dir):
        done = clawsup(short_dir, "status", env=environment(PYTHONIOENCODING="ascii"))

    assert (done.returncode, done.stderr) == (3, "")
    assert "Gr\\xf6\\xdfe" in done.stdout


@pytest.mark.parametrize("metadata", ["supervisor-4.3.0.dist-info", "supervisor-4.2.5-py3.11.egg-info"])
@pytest.mark.parametrize("verb", ["status", "run", "check"])
def test_beside_the_other_package_of_our_name_nothing_runs(tmp_path: Path, metadata: str, verb: str) -> None:
    """Issue 2, item 10."""
    site = tmp_path / "site"
    (site / metadata).mkdir(parents=True)
    (site / "supervisor").symlink_to(Path(__file__).parents[2] / "supervisor")

    done = clawsup(tmp_path / "s", verb, env=environment(PYTHONPATH=str(site)))

    assert done.returncode == 78
    assert f"{metadata}: the package `supervisor` from PyPI" in done.stderr
    assert not (tmp_path / "s").exists()


def test_our_own_metadata_is_no_clash(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "openclaw_supervisor-0.1.0.dist-info").mkdir(parents=True)
    (site / "supervisor").symlink_to(Path(__file__).parents[2] / "supervisor")

    assert clawsup(tmp_path / "s", "status", env=environment(PYTHONPATH=str(site))).returncode == 4
