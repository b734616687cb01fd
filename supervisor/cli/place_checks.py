"""Doctor's look at directories and secrets: who owns them, and who else can read them."""

import os
import pwd
import stat
from collections.abc import Iterator

from supervisor.cli import whose
from supervisor.cli.finding import Finding, error, ok, warning
from supervisor.host.definitions import Reading
from supervisor.policy.definition import Definition

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_WRITING = stat.S_IWGRP | stat.S_IWOTH


def findings(state_dir: str, reading: Reading) -> Iterator[Finding]:
    """Our own state dir, then each gateway's state dir and config file."""
    own = whose.account(state_dir).pw_uid
    if os.path.isdir(state_dir):
        yield from _private("state dir", state_dir, own, "700")
    for definition in reading.known:
        found = list(_of(definition, own))
        yield from found or [ok("permissions", f"{definition.name}: {definition.state_dir} is its own user's alone")]


def _of(definition: Definition, own: int) -> Iterator[Finding]:
    owner = _uid(definition, own)
    for path, mode in ((definition.state_dir, "700"), (definition.config_path, "600")):
        if owner is not None and os.path.exists(path):
            yield from (each for each in _private("permissions", path, owner, mode) if each.severity != "ok")


def _uid(definition: Definition, own: int) -> int | None:
    try:
        return own if definition.user is None else pwd.getpwnam(definition.user).pw_uid
    except KeyError:
        return None  # the definition's own fault tells it


def _private(about: str, path: str, owner: int, mode: str) -> Iterator[Finding]:
    try:
        found = os.stat(path)
    except OSError as refusal:
        yield error(about, f"{path}: {refusal.strerror}", "make it this user's")
        return
    bits = stat.S_IMODE(found.st_mode)
    if found.st_uid != owner:
        yield error(about, f"{path} belongs to uid {found.st_uid}, not to uid {owner}", f"chown -R {owner} {path}")
    elif bits & _OTHERS:
        make = error if bits & _WRITING else warning
        what = "written" if bits & _WRITING else "read"
        yield make(about, f"{path} can be {what} by others (mode {bits:04o})", f"chmod {mode} {path}")
    else:
        yield ok(about, f"{path} is closed to others")
