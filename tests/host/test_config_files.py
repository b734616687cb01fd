"""A config goes back byte for byte, whatever has taken its place."""

import os
from pathlib import Path

import pytest

from supervisor.host.config_files import Looked, read, replace
from supervisor.openclaw.content import Content


def content(path: Path, data: bytes = b"{good}") -> Content:
    return Content(((str(path), data),))


def test_bytes_mode_and_nothing_else_stand_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "openclaw.json"
    path.write_bytes(b"{broken")
    path.chmod(0o640)
    assert replace(content(path)) == ""
    assert path.read_bytes() == b"{good}"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["openclaw.json"]


def test_a_deleted_file_comes_back_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "openclaw.json"
    assert replace(content(path)) == ""
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_directory_in_its_place_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "openclaw.json"
    path.mkdir()
    (path / "precious").touch()
    assert read(str(path)).key == "unreadable: Is a directory"
    assert replace(content(path)) == ""
    assert path.read_bytes() == b"{good}"
    assert (next(tmp_path.glob("openclaw.json.aside-*")) / "precious").exists()


def test_a_symbolic_link_is_written_through(tmp_path: Path) -> None:
    target = tmp_path / "dotfiles" / "claw.json"
    target.parent.mkdir()
    target.write_bytes(b"{broken")
    path = tmp_path / "openclaw.json"
    path.symlink_to(target)
    assert replace(content(path)) == ""
    assert path.is_symlink()
    assert target.read_bytes() == b"{good}"


def test_a_file_that_is_right_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "openclaw.json"
    path.write_bytes(b"{good}")
    before = path.stat()
    assert replace(content(path)) == ""
    assert path.stat() == before


def test_what_cannot_be_written_is_told_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "openclaw.json"
    assert "No such file or directory" in replace(content(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can meet a directory of another user that it may write")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A gateway's user could have made its config a link to anywhere."""
    os.chown(tmp_path, 12345, 12345)
    path = tmp_path / "openclaw.json"
    assert "belongs to uid 12345" in replace(content(path), owner=23456)
    assert replace(content(path), owner=12345) == ""
    assert path.stat().st_uid == 12345


def test_a_fifo_is_never_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "openclaw.json"
    os.mkfifo(path)
    assert read(str(path)).key == "unreadable: Not a regular file"


def test_no_look_costs_a_descriptor(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").touch()
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for _ in range(3):
        for each in (tmp_path, tmp_path / "fifo", tmp_path / "file", tmp_path / "nothing"):
            read(str(each))
            Looked(str(each)).look()
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_a_look_sees_an_included_file_change(tmp_path: Path) -> None:
    path, more = tmp_path / "openclaw.json", tmp_path / "more.json"
    looked = Looked(str(path))
    keys = [looked.look().key]
    more.write_bytes(b"{}")
    path.write_bytes(b'{"$include": "more.json"}')
    keys += [looked.look().key, looked.look().key]
    more.write_bytes(b'{"a": 1}')
    keys += [looked.look().key, looked.look().key]
    assert keys[0] == ""
    assert keys[1] == keys[2] != keys[3] == keys[4]
