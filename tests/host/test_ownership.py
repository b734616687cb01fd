"""Whose a directory or a file is."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.host import ownership
from tests.access_lists import allow

US = os.geteuid()
OTHER = US + 1


@pytest.fixture
def state_dir(short_dir: Path) -> Iterator[Path]:
    """A state directory of ours with a config file, below a sticky /tmp."""
    path = short_dir / "s"
    path.mkdir(mode=0o700)
    (path / "openclaw.json").write_text("{}")
    (path / "openclaw.json").chmod(0o644)
    yield path
    path.chmod(0o700)


def wrong(path: Path, uid: int = US) -> str:
    found = ownership.directory(str(path), uid, "someone")
    return found.text if found else ""


def test_what_is_ones_own_is_right(state_dir: Path) -> None:
    """R2: its group may read it; the config file inside needs no mode of its own."""
    assert not wrong(state_dir)
    state_dir.chmod(0o750)
    assert not wrong(state_dir)
    assert ownership.config(str(state_dir / "openclaw.json"), US, "someone", str(state_dir)) is None


def test_what_is_not_there_is_for_others_to_say(short_dir: Path) -> None:
    """A missing state directory is an obstacle of its own."""
    assert not wrong(short_dir / "absent")
    assert ownership.config(str(short_dir / "absent"), US, "someone", str(short_dir)) is None


def test_another_owner_is_named_with_the_command_that_mends_it(state_dir: Path) -> None:
    """R2."""
    found = ownership.directory(str(state_dir), OTHER, "someone")
    assert found is not None
    assert found.mend == f"chown -R someone: {state_dir}"


@pytest.mark.parametrize("mode", [0o701, 0o704, 0o702, 0o720, 0o755, 0o770])
def test_a_directory_that_others_may_enter_or_change_is_not_ones_own(state_dir: Path, mode: int) -> None:
    """R2: a wall with a door in it."""
    state_dir.chmod(mode)
    assert f"mode {mode:04o}" in wrong(state_dir)


def test_an_access_list_cannot_give_more_than_the_mode_shows(state_dir: Path) -> None:
    """R2: whoever is named in one may do no more than its mask, and that is where a mode has its group."""
    allow(state_dir, (2, 7, OTHER))
    assert "mode 0770" in wrong(state_dir)


def test_a_way_that_others_may_change_is_no_way(short_dir: Path) -> None:
    """They could put a directory of their own in its place; where it is sticky they cannot."""
    above = short_dir / "above"
    (above / "s").mkdir(mode=0o700, parents=True)
    above.chmod(0o777)
    assert str(above) in wrong(above / "s")
    above.chmod(0o1777)
    assert not wrong(above / "s")


def test_a_config_file_elsewhere_is_private_by_itself(short_dir: Path, state_dir: Path) -> None:
    """R1: it holds tokens."""
    config = short_dir / "elsewhere.json"
    config.write_text("{}")
    config.chmod(0o644)
    found = ownership.config(str(config), US, "someone", str(state_dir))
    assert found is not None
    assert found.mend == f"chmod 600 {config}"
    config.chmod(0o600)
    assert ownership.config(str(config), US, "someone", str(state_dir)) is None
    link = state_dir / "link.json"
    link.symlink_to(config)
    config.chmod(0o644)
    assert ownership.config(str(link), US, "someone", str(state_dir)) is not None


@pytest.mark.skipif(US != 0, reason="only root can give a link to another user")
def test_a_link_that_another_user_could_change_is_no_way(short_dir: Path) -> None:
    """R2: it leads to what is one's own today, and tomorrow to what he likes."""
    his, state_dir = short_dir / "his", short_dir / "s"
    his.mkdir()
    state_dir.mkdir(mode=0o700)
    (state_dir / "openclaw.json").write_text("{}")
    os.chown(his, 12345, 12345)
    (his / "link").symlink_to(state_dir)
    (short_dir / "way").symlink_to("his/../his/link")
    for path in (his / "link", short_dir / "way"):
        assert f"{his}, on the way to {path}, belongs to uid 12345" in wrong(path)
        found = ownership.config(str(path / "openclaw.json"), US, "someone", str(state_dir))
        assert found is not None
        assert "uid 12345" in found.text
    mine = short_dir / "mine"
    mine.symlink_to(state_dir)
    assert not wrong(mine)
    os.lchown(mine, 12345, 12345)
    assert f"{mine}, on the way" in wrong(mine)
