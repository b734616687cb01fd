"""A config goes back byte for byte, whatever has taken its place."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from supervisor.host.config_files import Looked, forget_proposals, proposal, read, replace
from supervisor.openclaw.content import Content
from tests.access_lists import allow
from tests.killed import before_a_rename
from tests.shortage import without_descriptors

USER = 12345

PROPOSE = """
from supervisor.host.config_files import proposal, replace
from supervisor.openclaw.content import Content
replace(Content(((proposal(sys.argv[1]), b"{token: 1}"),)))
"""


@dataclass(frozen=True, slots=True)
class Places:
    """A directory of a gateway's user, and one of root's that everybody may look into."""

    his: Path
    ours: Path


@pytest.fixture
def places() -> Iterator[Places]:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory to another user")
    # Not in tmp_path: there, the other user could not even go.
    top = Path(tempfile.mkdtemp())
    top.chmod(0o755)
    found = Places(top / "his", top / "ours")
    for place in (found.his, found.ours):
        place.mkdir()
    os.chown(found.his, USER, USER)
    yield found
    shutil.rmtree(top)


def link(path: Path, target: Path, uid: int = USER) -> None:
    path.symlink_to(target)
    os.lchown(path, uid, uid)


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


def test_the_draft_of_a_replacement_that_was_killed_goes_with_the_next_one(tmp_path: Path) -> None:
    """It would keep the config's secrets for ever; what has only a similar name is somebody else's."""
    path = tmp_path / "openclaw.json"
    (tmp_path / ".openclaw.json.0123abcd.tmp").write_bytes(b"{go")
    (tmp_path / ".openclaw.json.mine.tmp").write_bytes(b"{mine}")
    assert replace(content(path)) == ""
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".openclaw.json.mine.tmp", "openclaw.json"]


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


def test_a_file_that_no_memory_would_hold_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "openclaw.json").open("wb") as file:
        file.truncate(1 << 40)
    assert read(str(tmp_path / "openclaw.json")).key == "unreadable: File too large"


def test_no_look_costs_a_descriptor(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").touch()
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for _ in range(3):
        for each in (tmp_path, tmp_path / "fifo", tmp_path / "file", tmp_path / "nothing"):
            read(str(each))
            Looked(str(each)).look()
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_a_file_that_cannot_be_seen_now_is_as_it_was(tmp_path: Path) -> None:
    """RELIABILITY.md Q8: our shortage of descriptors is no change of a gateway's config."""
    path, more = tmp_path / "openclaw.json", tmp_path / "more.json"
    path.write_text('{$include: "./more.json"}')
    more.write_text("{}")
    looked = Looked(str(path))
    before = looked.look()
    more.write_text("{ }")
    with without_descriptors(os.getpid()):
        assert looked.look() == before
    assert looked.look() != before
    path.write_text('{$include: "./more.json" }')
    unseen = Looked(str(path))
    with without_descriptors(os.getpid()):
        assert unseen.look().key == "unreadable: Too many open files"
    assert unseen.look().files


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


def test_root_is_not_led_into_its_own_directory(places: Places) -> None:
    """R2: the bytes are the gateway's user's, so where they go must not be his choice."""
    target = places.ours / "openclaw.json"
    target.write_bytes(b"{ours}")
    path = places.his / "openclaw.json"
    link(path, target)
    assert "belongs to uid 0" in replace(content(path), owner=USER)
    assert target.read_bytes() == b"{ours}"
    path.unlink()
    link(places.his / "there", places.ours)
    assert "belongs to uid 0" in replace(content(places.his / "there" / "new.json"), owner=USER)
    assert not (places.ours / "new.json").exists()


def test_a_link_of_his_leads_wherever_he_may_write_himself(places: Places) -> None:
    dotfiles = places.his / "dotfiles"
    dotfiles.mkdir()
    os.chown(dotfiles, USER, USER)
    path = places.his / "openclaw.json"
    link(path, Path("dotfiles/../dotfiles/claw.json"))
    assert replace(content(path), owner=USER) == ""
    assert path.is_symlink()
    assert (dotfiles / "claw.json").read_bytes() == b"{good}"
    assert (dotfiles / "claw.json").stat().st_uid == USER


def test_what_root_has_linked_is_followed_to_roots_own_directory(places: Places) -> None:
    (places.ours / "openclaw.json").symlink_to("claw.json")
    assert replace(content(places.ours / "openclaw.json"), owner=USER) == ""
    assert (places.ours / "claw.json").read_bytes() == b"{good}"


def test_an_included_file_of_roots_is_not_written_for_him(places: Places) -> None:
    """He names it in his config, and its earlier bytes could be what he wants there again."""
    path, included = places.his / "openclaw.json", places.ours / "more.json"
    included.write_bytes(b"{now}")
    both = Content(((str(path), b"{}"), (str(included), b"{before}")))
    assert "belongs to uid 0" in replace(both, owner=USER)
    assert included.read_bytes() == b"{now}"


def test_root_reads_nothing_for_him_that_he_could_not_read(places: Places) -> None:
    secret, hidden = places.ours / "secret.json", places.ours / "hidden"
    secret.write_bytes(b"{secret}")
    secret.chmod(0o600)
    hidden.mkdir(mode=0o700)
    (hidden / "notes.json").write_bytes(b"{secret}")
    path = places.his / "openclaw.json"
    for target in (secret, hidden / "notes.json"):
        link(path, target)
        assert read(str(path), owner=USER).key == "unreadable: Permission denied"
        assert Looked(str(path), USER).look().key == "unreadable: Permission denied"
        assert read(str(path)).text == "{secret}"
        path.unlink()
        path.write_text(f'{{$include: "{target}"}}')
        os.chown(path, USER, USER)
        assert [file for file, _ in read(str(path), owner=USER).files] == [str(path)]
        path.unlink()


def test_what_everybody_may_read_is_read_for_him(places: Places) -> None:
    (places.ours / "more.json").write_bytes(b"{}")
    link(places.his / "openclaw.json", places.ours / "more.json")
    assert read(str(places.his / "openclaw.json"), owner=USER).text == "{}"


def test_links_that_go_in_a_circle_are_told(tmp_path: Path) -> None:
    path = tmp_path / "openclaw.json"
    path.symlink_to(path)
    assert read(str(path)).key == "unreadable: Too many levels of symbolic links"
    assert "Too many levels of symbolic links" in replace(content(path))


def test_a_proposal_that_a_killed_brain_left_is_forgotten_whole_or_half(tmp_path: Path) -> None:
    """R1: it has the config's secrets; what has only a similar name is somebody else's."""
    path = tmp_path / "openclaw.json"
    path.write_bytes(b"{mine}")
    before_a_rename(PROPOSE, path)
    assert replace(content(Path(proposal(str(path))))) == ""
    (tmp_path / ".openclaw.json.proposed-mine").touch()
    assert len(list(tmp_path.iterdir())) == 4
    forget_proposals(str(path))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".openclaw.json.proposed-mine", "openclaw.json"]
    forget_proposals(str(tmp_path / "gone" / "openclaw.json"))


def test_no_link_of_his_makes_root_forget_the_proposals_of_others(places: Places) -> None:
    """R2."""
    others = Path(proposal(str(places.ours / "openclaw.json")))
    others.touch()
    link(places.his / "there", places.ours)
    forget_proposals(str(places.his / "there" / "openclaw.json"), owner=USER)
    assert others.exists()


@pytest.mark.parametrize("masked", [False, True], ids=["", "all masked"])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604, 0o644])
@pytest.mark.parametrize(
    "entries",
    [
        [],
        [("user", 4)],
        [("user", 0)],
        [("another", 0)],
        [("another", 4)],
        [("group", 4)],
        [("group", 0)],
        [("group", 0), ("user", 4)],
        [("group", 4), ("user", 0)],
        [("another group", 4)],
    ],
    ids=str,
)
def test_root_reads_for_him_what_the_kernel_lets_him_read(
    places: Places, masked: bool, mode: int, entries: list[tuple[str, int]]
) -> None:
    """R2: by the access list, where there is one: what the mode then shows as the group's is not what the group may."""
    user = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)
    numbers = {"user": (2, user.pw_uid), "another": (2, USER), "group": (8, user.pw_gid), "another group": (8, USER)}
    path = places.ours / "more.json"
    path.write_bytes(b"{}")
    path.chmod(mode)
    allow(path, *((numbers[who][0], permissions, numbers[who][1]) for who, permissions in entries))
    if masked:
        path.chmod(mode & 0o707)
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    for gid in (0, user.pw_gid):
        os.chown(path, 0, gid)
        himself = subprocess.run(
            ["cat", path], user=user.pw_uid, group=user.pw_gid, extra_groups=groups, capture_output=True, check=False
        )
        assert read(str(path), owner=user.pw_uid).text.encode() == himself.stdout


def test_an_access_list_says_through_which_directory_root_goes_for_him(places: Places) -> None:
    """R2."""
    (places.ours / "more.json").write_bytes(b"{}")
    link(places.his / "openclaw.json", places.ours / "more.json")
    places.ours.chmod(0o755)
    allow(places.ours, (2, 0, USER))
    assert read(str(places.his / "openclaw.json"), owner=USER).key == "unreadable: Permission denied"
    allow(places.ours, (2, 1, USER))
    assert read(str(places.his / "openclaw.json"), owner=USER).text == "{}"
