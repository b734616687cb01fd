"""`clawsup run`: makes the state dir, then becomes the keeper, which starts the brain."""

import argparse
import os
import site
import stat
import sys
from contextlib import suppress
from typing import NoReturn

import supervisor
from supervisor.control.address import socket_path
from supervisor.errors import ClawsupError

_PRIVATE = 0o700
_MARK = "supervisor.lock"  # a directory with this in it is a supervisor's

# The isolated interpreter (-I) knows installed packages only; this is how it runs the brain from anywhere else.
_FROM_SOURCES = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_module('supervisor.brain', run_name='__main__')"
)


def main(args: argparse.Namespace) -> NoReturn:
    """Become the keeper; nothing has been started when this raises."""
    socket_path(args.state_dir)
    make_private(args.state_dir)
    os.execv(sys.executable, keeper_argv(args.conf_dir, args.state_dir))  # noqa: S606 (the keeper is our own)


def keeper_argv(conf_dir: str, state_dir: str) -> list[str]:
    """Give the keeper's command line, with the brain's behind it."""
    package = os.path.dirname(supervisor.__file__ or "")
    above = os.path.dirname(package)
    installed = above in map(os.path.abspath, site.getsitepackages())
    module = ["-m", "supervisor.brain"] if installed else ["-c", _FROM_SOURCES, above]
    keeper = [sys.executable, "-I", os.path.join(package, "keeper.py"), state_dir, "--"]
    return [*keeper, sys.executable, "-I", *module, "--conf-dir", conf_dir, "--state-dir", state_dir]


def make_private(state_dir: str) -> None:
    """Make the state dir, or make one that is there this user's alone (0700); ClawsupError where that cannot be."""
    mend = "name another place with --state-dir"
    try:
        os.makedirs(os.path.dirname(state_dir), exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(state_dir, _PRIVATE)
        found = os.stat(state_dir)
        if not stat.S_ISDIR(found.st_mode):
            raise ClawsupError(f"{state_dir}: the state dir is a file", mend=mend)
        if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != _PRIVATE:
            _close(state_dir, found.st_mode)
    except OSError as error:
        raise ClawsupError(f"{error.filename}: cannot make the state dir: {error.strerror}", mend=mend) from error
    is_read_only = os.statvfs(state_dir).f_flag & os.ST_RDONLY
    if is_read_only and os.path.exists(os.path.join(state_dir, _MARK)):
        return  # a supervisor has been here, and can go on without writing anything down
    if is_read_only or not os.access(state_dir, os.W_OK | os.X_OK):
        raise ClawsupError(
            f"{state_dir}: this user may not write the state dir", mend=f"chown it to this user, or {mend}"
        )


def _close(state_dir: str, mode: int) -> None:
    """Shut others out, but never out of a directory that holds other things than ours: `--state-dir /tmp` is a slip."""
    found = os.listdir(state_dir)
    if not found or _MARK in found:
        os.chmod(state_dir, _PRIVATE)
    elif mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ClawsupError(
            f"{state_dir}: others may write it, and it holds other things than a supervisor's",
            mend="name a directory of its own with --state-dir",
        )
