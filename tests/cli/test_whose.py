"""Whose supervisor a state dir is, for root who types."""

import os
import pwd
from pathlib import Path

import pytest

from supervisor.cli import whose

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root types for somebody else")
THEIRS = pwd.getpwnam("nobody").pw_uid


def test_before_it_has_ever_run_the_directory_tells(tmp_path: Path) -> None:
    os.chown(tmp_path, THEIRS, -1)
    assert whose.account(str(tmp_path)).pw_uid == THEIRS


def test_roots_own_supervisor_on_a_volume_of_somebody_else_is_roots(tmp_path: Path) -> None:
    """A container: what a supervisor has made there is its user's, whatever the directory."""
    os.chown(tmp_path, THEIRS, -1)
    (tmp_path / "supervisor.lock").touch()
    assert whose.account(str(tmp_path)) == whose.typist()


def test_a_directory_that_is_not_there_is_the_typists(tmp_path: Path) -> None:
    assert whose.account(str(tmp_path / "gone")) == whose.typist()
