"""Small state files are whole or untouched, and their directory is ours alone."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.errors import ClawsupError
from supervisor.host.records import Records, prepare_directory
from tests.killed import before_a_rename
from tests.shortage import without_descriptors

ROOT = Path(__file__).parents[2]

SAVE_FOR_EVER = """
import sys
from pathlib import Path
from supervisor.host.records import Records
records = Records(Path(sys.argv[1]))
print("begun", flush=True)
while True:
    for letter in b"ab":
        records.save("state", bytes([letter]) * int(sys.argv[2]), durable=False)
"""

SAVE = """
from supervisor.host.records import Records
Records(Path(sys.argv[1])).save("main.json", b"{}", durable=True)
"""

SAVE = """
from supervisor.host.records import Records
Records(Path(sys.argv[1])).save("main.json", b"{}", durable=True)
"""

SAVE_ON_A_SMALL_DISK = """
import resource, sys
from pathlib import Path
from supervisor.host.records import Records
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
print(Records(Path(sys.argv[1])).save("state", b"b" * 200_000, durable=True))
"""


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("durable", [True, False])
def test_a_saved_record_is_what_is_loaded(tmp_path: Path, durable: bool) -> None:
    records = Records(tmp_path)
    first = records.save("main.json", b"one", durable=durable)
    second = records.save("main.json", b"two", durable=durable)

    assert [first, second, records.load("main.json"), records.names()] == ["", "", b"two", ["main.json"]]
    assert (tmp_path / "main.json").stat().st_mode & 0o777 == 0o600
    assert names_in(tmp_path) == ["main.json"]


def test_a_record_that_is_not_there_loads_as_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("/etc/hostname")
    records = Records(tmp_path)

    assert [records.load(name) for name in ("missing", "pipe", "directory", "link", "", "..", "a/b")] == [None] * 7


def test_a_refused_save_says_why_and_leaves_the_earlier_record(tmp_path: Path) -> None:
    Records(tmp_path).save("state", b"a", durable=True)
    done = subprocess.run(
        [sys.executable, "-c", SAVE_ON_A_SMALL_DISK, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == f"{tmp_path / 'state'}: File too large"
    assert (Records(tmp_path).load("state"), names_in(tmp_path)) == (b"a", ["state"])


@pytest.mark.parametrize("name", ["", ".", "../x", "a/b", ".hidden", "nul\0"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    assert Records(tmp_path).save(name, b"", durable=False) == f"{name!r} is no name for a record"
    assert names_in(tmp_path) == []


def test_a_missing_directory_is_an_answer(tmp_path: Path) -> None:
    records = Records(tmp_path / "gone")

    assert records.save("state", b"", durable=True).endswith("No such file or directory")
    assert records.set_aside("state").endswith("No such file or directory")
    assert (records.names(), records.load("state"), records.remove("state")) == ([], None, "")


def test_what_cannot_be_seen_now_is_not_taken_for_lost(tmp_path: Path) -> None:
    """RELIABILITY.md Q8: without descriptors nobody knows what is there."""
    records = Records(tmp_path)
    records.save("main.json", b"{}", durable=False)
    with without_descriptors(os.getpid()):
        for look in (records.names, lambda: records.load("main.json")):
            with pytest.raises(ClawsupError, match="cannot be read now: Too many open files"):
                look()
        assert records.save("main.json", b"new", durable=False) == f"{tmp_path}/main.json: Too many open files"
    assert records.load("main.json") == b"{}"


def test_a_bad_record_is_set_aside_for_a_person(tmp_path: Path) -> None:
    records = Records(tmp_path, clock=lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    records.save("state", b"nonsense", durable=False)

    assert records.set_aside("state") == ""
    assert (records.load("state"), records.names()) == (None, [])
    assert (tmp_path / "state.bad-20260102T030405000000Z").read_bytes().rstrip() == b"nonsense"


def test_a_removed_record_is_gone(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.save("state", b"", durable=False)

    assert (records.remove("state"), records.remove("state"), records.names()) == ("", "", [])


def test_with_a_record_goes_what_a_killed_writer_left_of_it(tmp_path: Path) -> None:
    """R25: else it would stay for ever, with the secrets of a definition that is gone."""
    before_a_rename(SAVE, tmp_path)
    assert names_in(tmp_path) == [".main.json.tmp"]
    assert Records(tmp_path).remove("main.json") == ""
    assert names_in(tmp_path) == []


def test_a_record_of_one_page_is_written_over_in_place_and_a_copy_of_it_is_not(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.save("state", b"one", durable=False)
    before = (tmp_path / "state").stat().st_ino
    records.save("state", b"the second", durable=False)
    assert (records.load("state"), (tmp_path / "state").stat().st_ino) == (b"the second", before)
    (tmp_path / "copy").hardlink_to(tmp_path / "state")
    for number, data in enumerate((b"3", b"x" * 5000, b"4")):
        assert records.save("state", data, durable=number == 0) == ""
        assert records.load("state") == data
    assert records.load("copy") == b"the second"


@pytest.mark.parametrize("size", [300, 300_000])
def test_a_sigkill_in_mid_save_leaves_a_whole_record(tmp_path: Path, size: int) -> None:
    whole = {bytes([letter]) * size for letter in b"ab"}
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", SAVE_FOR_EVER, tmp_path, str(size)], cwd=ROOT, stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            writer.kill()

        assert Records(tmp_path).load("state") in {None, *whole}
        assert Records(tmp_path).names() in ([], ["state"])


def test_a_new_directory_is_private(tmp_path: Path) -> None:
    path = tmp_path / "var" / "state"

    assert prepare_directory(path) == ""
    assert path.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    """systemd's StateDirectory= is 0755 by default."""
    path = tmp_path / "state"
    path.mkdir(mode=0o755)

    assert prepare_directory(path) == ""
    assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o1777])
def test_a_directory_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(mode)

    assert f"{path} can be written by others (mode {mode:04o})" in prepare_directory(path)


def test_a_symlink_a_file_and_a_path_below_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()

    assert "is a symbolic link" in prepare_directory(tmp_path / "link")
    assert prepare_directory(tmp_path / "file") == f"{tmp_path / 'file'} is not a directory"
    assert prepare_directory(tmp_path / "file" / "state") == f"{tmp_path / 'file'} is not a directory"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    os.chown(path, 12345, 12345)

    assert prepare_directory(path) == f"{path} belongs to uid 12345, and we run as uid 0"
