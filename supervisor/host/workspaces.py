"""Writes and removes the few files of ours that lie in a gateway's own directories: skill, inbox, and a config before it is judged.

Each is written whole or not at all, and belongs to whom its directory belongs to. No symbolic link is followed below the root.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def put(root: Path, name: str, data: bytes) -> str:
    """Write `root/name`, its directories made where they are missing; "" or, for a person, why not."""
    path = root / name
    try:
        # OpenClaw makes a workspace with the first turn of an agent, and that may be the one that we ask for.
        if not root.exists():
            root.mkdir(mode=0o700)
            above = root.parent.stat()
            os.chown(root, above.st_uid, above.st_gid)
        home = root.stat()
        owner = (home.st_uid, home.st_gid)
        for directory in reversed(path.relative_to(root).parents[:-1]):
            place = root / directory
            if place.is_symlink():
                return f"{place}: is a symbolic link"
            if not place.exists():
                place.mkdir(mode=0o700)
                os.chown(place, *owner)
        _write(path, data, owner)
    except OSError as refusal:
        return f"{refusal.filename or path}: {refusal.strerror}"
    return ""


def read(root: Path, name: str) -> bytes | None:
    """What is there; None where there is nothing that can be read."""
    with suppress(OSError):
        return (root / name).read_bytes()
    return None


def remove(root: Path, name: str) -> str:
    """Take the file away, and the directory that it leaves empty; "" or why not."""
    path = root / name
    try:
        path.unlink(missing_ok=True)
    except OSError as refusal:
        return f"{path}: {refusal.strerror}"
    if path.parent != root:
        with suppress(OSError):
            path.parent.rmdir()
    return ""


def _write(path: Path, data: bytes, owner: tuple[int, int]) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        if owner != (os.geteuid(), os.getegid()):
            os.chown(draft, *owner)
        draft.rename(path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
