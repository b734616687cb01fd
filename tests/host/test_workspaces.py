"""Our files in a gateway's directories: whole, its own user's, and never anywhere else."""

import os
from functools import partial
from pathlib import Path

import pytest

from supervisor.host.workspaces import put, read, remove

NAME = "skills/rescue/SKILL.md"
USER = 12345

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can meet what belongs to another user")


def test_a_file_comes_with_its_directories_and_goes_with_the_one_it_leaves_empty(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    assert put(root, NAME, b"one") == ""
    assert put(root, NAME, b"two") == ""
    assert read(root, NAME) == b"two"
    assert [entry.name for entry in (root / NAME).parent.iterdir()] == ["SKILL.md"]
    assert remove(root, NAME) == ""
    assert read(root, NAME) is None
    assert [entry.name for entry in (root / "skills").iterdir()] == []
    assert remove(root, NAME) == ""


@pytest.mark.parametrize("linked", ["skills", "skills/rescue"])
def test_no_link_below_the_root_is_followed(tmp_path: Path, linked: str) -> None:
    """`rescue disable` typed by root would delete what a link leads to."""
    root, elsewhere = tmp_path / "workspace", tmp_path / "elsewhere"
    there = elsewhere / Path(NAME).relative_to(linked)
    there.parent.mkdir(parents=True)
    there.write_bytes(b"precious")
    (root / linked).parent.mkdir(parents=True)
    (root / linked).symlink_to(elsewhere)
    assert read(root, NAME) is None
    assert "is a symbolic link" in put(root, NAME, b"ours")
    assert "is a symbolic link" in remove(root, NAME)
    assert there.read_bytes() == b"precious"


def test_a_link_in_the_place_of_the_file_is_replaced_and_removed_itself(tmp_path: Path) -> None:
    elsewhere, place = tmp_path / "elsewhere", tmp_path / "workspace" / "inbox" / "letter.md"
    elsewhere.write_bytes(b"precious")
    place.parent.mkdir(parents=True)
    putting = partial(put, tmp_path / "workspace", "inbox/letter.md", b"ours")
    for act in (putting, partial(remove, place.parent, place.name)):
        place.symlink_to(elsewhere)
        assert read(place.parent, place.name) is None
        assert act() == ""
        assert elsewhere.read_bytes() == b"precious"
        place.unlink(missing_ok=True)


def test_a_fifo_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "SKILL.md")
    assert read(tmp_path, "SKILL.md") is None


@as_root
def test_everything_belongs_to_whom_the_root_belongs_to(tmp_path: Path) -> None:
    os.chown(tmp_path, USER, USER)
    root = tmp_path / "workspace"
    assert put(root, NAME, b"ours", owner=USER) == ""
    assert {path.stat().st_uid for path in (root, *root.rglob("*"))} == {USER}


@as_root
def test_a_root_that_its_user_has_led_elsewhere_is_refused(tmp_path: Path) -> None:
    """R2: his workspace made a link to /etc must not get root to write there."""
    home, ours = tmp_path / "home", tmp_path / "ours"
    for place in (home, ours):
        place.mkdir()
    (ours / "SKILL.md").write_bytes(b"precious")
    os.chown(home, USER, USER)
    (home / "workspace").symlink_to(ours)
    assert "belongs to uid 0" in put(home / "workspace", NAME, b"ours", owner=USER)
    assert "belongs to uid 0" in remove(home / "workspace", "SKILL.md", owner=USER)
    assert [entry.name for entry in ours.iterdir()] == ["SKILL.md"]


@as_root
def test_a_root_is_made_only_where_its_user_could_make_it(tmp_path: Path) -> None:
    assert "belongs to uid 0" in put(tmp_path / "workspace", NAME, b"ours", owner=USER)
    assert list(tmp_path.iterdir()) == []
