"""Whose supervisor a state dir is: root may type for one that runs as somebody else, and means that user's home and files."""

import os
import pwd
from contextlib import suppress

from supervisor.errors import ClawsupError


def account(state_dir: str) -> pwd.struct_passwd:
    """The user that a supervisor on `state_dir` runs as: to root the owner of what it made, to anybody else the one who types."""
    return typist() if os.geteuid() else _user(_owner(state_dir))


def typist() -> pwd.struct_passwd:
    """Who types, with the home that he says is his."""
    return _user(os.geteuid())


def _owner(state_dir: str) -> int:
    # Each brain makes its socket anew; the directory may be a volume of anybody's.
    for path in (f"{state_dir}/control.sock", f"{state_dir}/supervisor.lock", state_dir):
        with suppress(OSError):
            return os.lstat(path).st_uid
    return os.geteuid()


def _user(uid: int) -> pwd.struct_passwd:
    own = uid == os.geteuid()
    try:
        found = pwd.getpwuid(uid)
    except KeyError:  # in a container a user may be a number and nothing else
        found = pwd.struct_passwd((str(uid), "x", uid, os.getegid() if own else uid, "", "/", "/bin/sh"))
    return pwd.struct_passwd((*found[:5], os.path.expanduser("~") if own else found.pw_dir, found.pw_shell))


def become(state_dir: str) -> None:
    """Be that user from here on, so that `~` is their home, and what is written is theirs."""
    entry = account(state_dir)
    if entry.pw_uid == os.geteuid():
        return
    os.initgroups(entry.pw_name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    if not all(os.access(file, os.R_OK) for file in (__file__, os.__file__)):
        raise ClawsupError(
            f"{entry.pw_name}, as whom that supervisor runs, cannot read this clawsup",
            mend=f"type it as {entry.pw_name}, with the clawsup that the supervisor was started with",
        )
    os.environ |= {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name, "SHELL": entry.pw_shell}
